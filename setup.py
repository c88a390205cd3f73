"""Packaging of mic. What is not said here is in pyproject.toml."""

import gzip
import os
import tarfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist

EARLIEST = 315532800  # 1980-01-01: zip has no earlier times


class ReproducibleSdist(sdist):
    """A source archive that depends on the sources and SOURCE_DATE_EPOCH only."""

    def make_archive(self, base_name: str, *_args: object, **options: object) -> str:
        """Write a tar archive without times, users and modes of the machine; return its name."""
        folder = Path(str(options["base_dir"]))
        epoch = int(os.environ.get("SOURCE_DATE_EPOCH", EARLIEST))
        name = f"{base_name}.tar.gz"

        def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() else 0o644
            return member

        with (
            open(name, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in [folder, *sorted(folder.rglob("*"))]:
                archive.add(path, recursive=False, filter=plain)
        return name


def shared_files() -> list[tuple[str, list[str]]]:
    """Return man pages and shell completion, which keep their places below ``share``."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path("share").rglob("*")):
        if path.is_file():
            found.setdefault(path.parent.as_posix(), []).append(path.as_posix())
    return list(found.items())


setup(
    name="machine-image-customizer",
    version="0.1.0",
    description="Streams CoreOS live images customised per host, for Metal3 provisioning",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["mic", "mic.*"]),
    # Only the plugin module: an __init__.py under twisted/ would shadow Twisted itself.
    py_modules=["twisted.plugins.mic_plugin"],
    package_data={"mic": ["py.typed"]},
    data_files=shared_files(),
    cmdclass={"sdist": ReproducibleSdist},
    install_requires=[
        # Older ones change a TLS context that is in use, which today's pyOpenSSL refuses.
        "twisted[tls]>=26.4.0",
        "pyopenssl>=25.2.0",
        "cryptography>=45.0.7",
        "treq>=24.9.1",
        "pyyaml>=6.0.3",
        "kubernetes>=37.0.0",
        "urllib3>=2.8.0",
        "httptools>=0.6.4",
        "prometheus-client>=0.20.0",
    ],
    extras_require={
        "docs": ["mkdocs-material>=9.6"],
        "test": [
            "build>=1.2",
            "pytest>=8.2",
            "pytest-twisted>=1.14.3",
            "pytest-xdist>=3.8",
            "hypothesis>=6.100",
            "mypy>=1.13",
            "mypy-zope>=1.0.8",
            "ruff>=0.8",
            "types-PyYAML",
            "kubernetes-stubs",
        ],
    },
    entry_points={
        "console_scripts": [
            "mic = mic.cli.main:main",
            "machine-image-customization-controller = mic.cli.main:controller",
            "image-customization-controller = mic.cli.main:controller",
            "machine-image-customization-server = mic.cli.main:static_server",
            "image-customization-server = mic.cli.main:static_server",
        ],
    },
)
