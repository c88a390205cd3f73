"""Packaging of mic. What is not said here is in pyproject.toml."""

from setuptools import find_packages, setup

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
    install_requires=[
        # Older ones change a TLS context that is in use, which today's pyOpenSSL refuses.
        "twisted[tls]>=26.4.0",
        "pyopenssl>=25.2.0",
        "cryptography>=45.0.7",
        "treq>=24.9.1",
        "pyyaml>=6.0.3",
        "kubernetes>=37.0.0",
        "prometheus-client>=0.20.0",
    ],
    extras_require={
        "test": [
            "pytest>=8.2",
            "pytest-twisted>=1.14.3",
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
            "mic = mic.cli:main",
            "machine-image-customization-controller = mic.cli:controller",
            "image-customization-controller = mic.cli:controller",
            "machine-image-customization-server = mic.cli:static_server",
            "image-customization-server = mic.cli:static_server",
        ],
    },
)
