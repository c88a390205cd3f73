"""Which file is the base for which stream, architecture and format; images and their ETags."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toys import EMBED_LENGTH, INITRAMFS, KERNEL, live_iso, put

from mic.common.errors import BaseUnavailable, BuildInvalid
from mic.media.base import ARCHITECTURES, Kind, read_base
from mic.media.basefile import open_base
from mic.media.catalog import BasePaths, Part, catalog
from mic.media.cpio import archive
from mic.media.customisation import Customisation
from mic.media.isowriter import write_iso

ISO_ONLY = BasePaths(iso="/d/ipa.iso")
ALL = BasePaths(iso="/d/ipa.iso", initramfs="/e/ipa.initramfs", kernel="/e/ipa.kernel")


def iso_for(names: list[str], *, stream: str = "", architecture: str = "") -> str:
    """Return the base ISO that an x86_64 host gets from the names in a directory."""
    part = catalog(ISO_ONLY, {"/d": names}, "x86_64").select(
        Kind.ISO, stream=stream, architecture=architecture
    )
    return "" if part is None else part.path.removeprefix("/d/")


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a != "x86_64"])
@pytest.mark.parametrize("separator", ["_", "."])
def test_recognises_architectures_in_names(architecture: str, separator: str) -> None:
    name = f"ipa{separator}{architecture}.iso"
    assert iso_for([name], architecture=architecture) == name
    assert iso_for([name]) == "ipa.iso"


@pytest.mark.parametrize(
    "name",
    [
        *["ipa_aarch64.iso.sha256", "old-ipa_aarch64.iso", "ipa_aarch64.iso~", ".ipa_aarch64.iso"],
        *[
            "ipa-aarch64.iso",
            "ipaaarch64.iso",
            "ipa_arm64.iso",
            "ipa_AARCH64.iso",
            "ipa__aarch64.iso",
        ],
        *["ipa_aarch64.ISO", "ipa_aarch64.iso\n", "ipa_aarch64xiso", "ipa-_aarch64.iso"],
        *["ipa_aarch64", "ipa_aarch64.iso.iso", "IPA_aarch64.iso", "ipa-.x_aarch64.iso"],
        f"ipa-{'s' * 64}_aarch64.iso",
        "ipa-\u0661_aarch64.iso",
    ],
)
def test_ignores_other_names(name: str) -> None:
    assert iso_for([name], architecture="aarch64") == ""


@pytest.mark.parametrize(
    ("name", "stream", "architecture"),
    [
        ("ipa-rhel-9_aarch64.iso", "rhel-9", "aarch64"),
        ("ipa-rhel-9.6_aarch64.iso", "rhel-9.6", "aarch64"),
        ("ipa-rhel_9_x86_64.iso", "rhel_9", "x86_64"),
        ("ipa-rhel-9.x86_64.iso", "rhel-9", "x86_64"),
        ("ipa-rhel-9.iso", "rhel-9", ""),
        ("ipa-9.iso", "9", ""),
        ("ipa-x_x86_64_aarch64.iso", "x_x86_64", "aarch64"),
    ],
)
def test_recognises_streams_in_names(name: str, stream: str, architecture: str) -> None:
    assert iso_for([name], stream=stream, architecture=architecture) == name
    assert iso_for([name], stream="other") == "ipa.iso"


PREFERENCE = ["ipa-s_x86_64.iso", "ipa_x86_64.iso", "ipa-s.iso", "ipa.iso"]


@pytest.mark.parametrize("missing", range(4))
def test_order_of_preference_on_the_hosts_architecture(missing: int) -> None:
    """(stream, arch), (none, arch), (stream, host), (none, host)."""
    names = PREFERENCE[missing:]
    assert iso_for(names, stream="s", architecture="x86_64") == names[0]
    assert iso_for(list(reversed(names)), stream="s") == names[0]


def test_other_architectures_never_get_a_file_of_the_host() -> None:
    assert iso_for([*PREFERENCE, "ipa-t_aarch64.iso"], stream="s", architecture="aarch64") == ""
    names = [*PREFERENCE, "ipa_aarch64.iso"]
    assert iso_for(names, stream="s", architecture="aarch64") == "ipa_aarch64.iso"
    names.append("ipa-s_aarch64.iso")
    assert iso_for(names, stream="s", architecture="aarch64") == "ipa-s_aarch64.iso"


def test_first_of_two_equivalent_names_wins() -> None:
    names = ["ipa_aarch64.iso", "ipa.aarch64.iso"]
    assert iso_for(names, architecture="aarch64") == "ipa.aarch64.iso"
    assert iso_for(names[::-1], architecture="aarch64") == "ipa.aarch64.iso"


def test_escapes_pattern_characters_in_names() -> None:
    paths = BasePaths(iso="/d/i(p+a.x.iso")
    found = catalog(paths, {"/d": ["i(p+a.x_aarch64.iso", "ippaax_aarch64.iso"]}, "x86_64")
    part = found.select(Kind.ISO, architecture="aarch64")
    assert part == Part(path="/d/i(p+a.x_aarch64.iso")


def test_searches_the_directories_of_the_paths() -> None:
    assert ALL.directories() == ("/d", "/e")
    assert BasePaths(iso="ipa.iso").directories() == (".",)
    listings = {"/d": ["ipa_aarch64.iso"], "/e": ["ipa_s390x.iso", "ipa_aarch64.initramfs"]}
    found = catalog(ALL, listings, "x86_64")
    assert found.select(Kind.ISO, architecture="aarch64") == Part(path="/d/ipa_aarch64.iso")
    assert found.select(Kind.ISO, architecture="s390x") == Part(path="/e/ipa_s390x.iso")
    part = found.select(Kind.INITRAMFS, architecture="aarch64")
    assert part == Part(path="/e/ipa_aarch64.initramfs")


def test_searches_only_the_shared_directory_if_set() -> None:
    paths = BasePaths(iso="/d/ipa.iso", shared_dir="/shared")
    assert paths.directories() == ("/shared",)
    listings = {"/d": ["ipa_s390x.iso"], "/shared": ["ipa_aarch64.iso", "ipa.iso"]}
    found = catalog(paths, listings, "x86_64")
    assert found.select(Kind.ISO, architecture="s390x") is None
    assert found.select(Kind.ISO, architecture="aarch64") == Part(path="/shared/ipa_aarch64.iso")
    # The configured path always counts; a file of the same name elsewhere does not replace it.
    assert found.select(Kind.ISO) == Part(path="/d/ipa.iso")


def test_accepts_a_device_as_the_hosts_base() -> None:
    found = catalog(BasePaths(iso="/dev/sr0"), {"/dev": ["sr0", "sr1", "sr01", "null"]}, "x86_64")
    assert found.paths == {"/dev/sr0"}
    assert found.select(Kind.INITRAMFS) == Part(path="/dev/sr0", inside_iso=True)


def test_falls_back_to_initramfs_and_kernel_of_the_iso() -> None:
    found = catalog(ISO_ONLY, {"/d": ["ipa_aarch64.iso"]}, "x86_64")
    for kind in (Kind.INITRAMFS, Kind.KERNEL):
        assert found.select(kind) == Part(path="/d/ipa.iso", inside_iso=True)
        part = found.select(kind, architecture="aarch64")
        assert part == Part(path="/d/ipa_aarch64.iso", inside_iso=True)


def test_without_an_iso_only_the_configured_kinds_exist() -> None:
    found = catalog(BasePaths(initramfs="/e/ipa.initramfs"), {}, "x86_64")
    assert found.select(Kind.ISO) is None
    assert found.select(Kind.KERNEL) is None
    assert found.select(Kind.INITRAMFS) == Part(path="/e/ipa.initramfs")
    assert not found.supports("x86_64")


def test_supports_an_architecture_with_iso_and_initramfs() -> None:
    found = catalog(ALL, {"/d": [], "/e": ["ipa_aarch64.initramfs"]}, "x86_64")
    assert found.supports("x86_64")
    assert not found.supports("aarch64")
    assert not found.supports("riscv64")
    assert catalog(ALL, {"/d": ["ipa_aarch64.iso"]}, "x86_64").supports("aarch64")


def test_file_named_for_the_hosts_architecture_serves_the_host() -> None:
    found = catalog(ISO_ONLY, {"/d": ["ipa_aarch64.iso"]}, "aarch64")
    assert found.select(Kind.ISO) == Part(path="/d/ipa_aarch64.iso")
    assert found.select(Kind.ISO, architecture="x86_64") is None


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    return put(tmp_path / "ipa.iso", live_iso())


class TestImages:
    def test_iso_has_the_archive_in_its_embed_area(self, iso: Path) -> None:
        base = read_base(open_base(str(iso)), Kind.ISO, inside_iso=False)
        assert base.iso is not None
        start, length = base.iso.embed_area.offset, base.iso.embed_area.length
        data = archive(b"{}")
        layout = base.layout(Customisation(data))
        expected = bytearray(live_iso())
        expected[start : start + length] = data.ljust(length, b"\0")
        assert layout.read(0, layout.size) == expected

    def test_overwrites_an_embedded_config_completely(self, tmp_path: Path) -> None:
        plain = read_base(
            open_base(str(put(tmp_path / "a", live_iso()))), Kind.ISO, inside_iso=False
        )
        assert plain.iso is not None
        data = bytearray(live_iso())
        start = plain.iso.embed_area.offset
        data[start : start + EMBED_LENGTH] = b"\xaa" * EMBED_LENGTH
        used = read_base(
            open_base(str(put(tmp_path / "b", bytes(data)))), Kind.ISO, inside_iso=False
        )
        one, other = (
            plain.layout(Customisation(b"new!")),
            used.layout(Customisation(b"new!")),
        )
        assert one.read(0, one.size) == other.read(0, other.size)

    def test_initramfs_is_followed_by_the_archive(self, iso: Path, tmp_path: Path) -> None:
        separate = put(tmp_path / "ipa.initramfs", b"an initramfs")
        inside = read_base(open_base(str(iso)), Kind.INITRAMFS, inside_iso=True).layout(
            Customisation(b"arch")
        )
        assert inside.read(0, inside.size) == INITRAMFS + b"arch"
        alone = read_base(open_base(str(separate)), Kind.INITRAMFS, inside_iso=False).layout(
            Customisation(b"arch")
        )
        assert alone.read(0, alone.size) == b"an initramfsarch"

    def test_archive_follows_an_initramfs_of_odd_length(self, tmp_path: Path) -> None:
        """Linux finds a cpio header only at a multiple of 4, but gzip's magic anywhere."""
        odd = put(tmp_path / "ipa.initramfs", INITRAMFS + b"\0")
        layout = read_base(open_base(str(odd)), Kind.INITRAMFS, inside_iso=False).layout(
            Customisation(archive(b""))
        )
        assert layout.read(len(INITRAMFS) + 1, 2) == b"\x1f\x8b"

    def test_kernel_is_unchanged(self, iso: Path) -> None:
        base = read_base(open_base(str(iso)), Kind.KERNEL, inside_iso=True)
        layout = base.layout(Customisation(b"not for kernels"))
        assert layout.read(0, layout.size) == KERNEL
        assert base.etag(Customisation(b"one")) == base.etag(Customisation(b"other"))

    def test_refuses_a_config_that_exceeds_a_fixed_embed_area(self, tmp_path: Path) -> None:
        path = put(tmp_path / "a.iso", live_iso(fixed=True))
        base = read_base(open_base(str(path)), Kind.ISO, inside_iso=False)
        assert base.layout(Customisation(bytes(EMBED_LENGTH))).size == path.stat().st_size
        with pytest.raises(
            BuildInvalid, match=f"needs {EMBED_LENGTH + 1} .* has {EMBED_LENGTH} and"
        ):
            base.layout(Customisation(bytes(EMBED_LENGTH + 1)))

    @pytest.mark.parametrize(
        ("files", "reason"),
        [
            ({"/x": b"y"}, "is it a CoreOS live ISO"),
            ({"/images/pxeboot/initrd.img": b""}, "its initramfs is empty"),
        ],
    )
    def test_reports_an_iso_without_initramfs(
        self, tmp_path: Path, files: dict[str, bytes], reason: str
    ) -> None:
        path = put(tmp_path / "other.iso", write_iso(files))
        with pytest.raises(BaseUnavailable, match=reason) as caught:
            read_base(open_base(str(path)), Kind.INITRAMFS, inside_iso=True)
        assert str(path) in str(caught.value)


class TestEntityTags:
    def test_etags_differ_by_archive_base_and_kind(self, iso: Path, tmp_path: Path) -> None:
        other = put(tmp_path / "other.iso", live_iso(kernel=b"another kernel"))
        tags = {
            read_base(open_base(str(path)), kind, inside_iso=kind is not Kind.ISO).etag(
                Customisation(data)
            )
            for path in (iso, other)
            for kind in (Kind.ISO, Kind.INITRAMFS)
            for data in (b"", b"one", b"other")
        }
        assert len(tags) == 12

    def test_etags_are_strong_and_quoted(self, iso: Path) -> None:
        tag = read_base(open_base(str(iso)), Kind.ISO, inside_iso=False).etag(Customisation())
        assert tag.startswith('"')
        assert tag.endswith('"')
        assert tag[1:-1].isalnum()

    def test_etags_are_equal_across_processes_paths_and_dates(
        self, iso: Path, tmp_path: Path
    ) -> None:
        copy = put(tmp_path / "elsewhere" / "renamed.iso", live_iso())
        os.utime(copy, (1, 1))
        code = (
            "import sys\n"
            "from mic.media.base import Kind, read_base\n"
            "from mic.media.basefile import open_base\n"
            "from mic.media.cpio import archive\n"
            "base = read_base(open_base(sys.argv[1]), Kind.ISO, inside_iso=False)\n"
            "from mic.media.customisation import Customisation\n"
            "print(base.etag(Customisation(archive(b'{}'))))\n"
        )
        root = Path(__file__).parents[3]
        run = [sys.executable, "-c", code, str(copy)]
        other = subprocess.run(run, cwd=root, capture_output=True, check=True, text=True)
        base = read_base(open_base(str(iso)), Kind.ISO, inside_iso=False)
        assert other.stdout.strip() == base.etag(Customisation(archive(b"{}")))
