"""Which file is the base for which stream, architecture and format; images and their tags."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toys import EMBED_LENGTH, INITRAMFS, KERNEL, live_iso, put

from mic.errors import BaseUnavailable, BuildInvalid
from mic.image.base import ARCHITECTURES, BasePaths, Kind, Part, catalog, read_base
from mic.image.basefile import open_base
from mic.image.cpio import archive
from mic.image.isowriter import write_iso

ISO_ONLY = BasePaths(iso="/d/ipa.iso")
ALL = BasePaths(iso="/d/ipa.iso", initramfs="/e/ipa.initramfs", kernel="/e/ipa.kernel")


def iso_for(names: list[str], *, stream: str = "", architecture: str = "") -> str:
    """The base ISO chosen on an x86_64 host from the names in its directory."""
    part = catalog(ISO_ONLY, {"/d": names}, "x86_64").select(
        Kind.ISO, stream=stream, architecture=architecture
    )
    return "" if part is None else part.path.removeprefix("/d/")


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a != "x86_64"])
@pytest.mark.parametrize("separator", ["_", "."])
def test_a_foreign_architecture_is_in_the_name(architecture: str, separator: str) -> None:
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
def test_only_whole_names_count(name: str) -> None:
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
def test_a_stream_is_in_the_name(name: str, stream: str, architecture: str) -> None:
    assert iso_for([name], stream=stream, architecture=architecture) == name
    assert iso_for([name], stream="other") == "ipa.iso"


PREFERENCE = ["ipa-s_x86_64.iso", "ipa_x86_64.iso", "ipa-s.iso", "ipa.iso"]


@pytest.mark.parametrize("missing", range(4))
def test_the_order_of_preference_on_the_hosts_architecture(missing: int) -> None:
    """(stream, arch), (none, arch), (stream, host), (none, host)."""
    names = PREFERENCE[missing:]
    assert iso_for(names, stream="s", architecture="x86_64") == names[0]
    assert iso_for(list(reversed(names)), stream="s") == names[0]


def test_a_foreign_architecture_never_gets_a_file_of_the_host() -> None:
    assert iso_for([*PREFERENCE, "ipa-t_aarch64.iso"], stream="s", architecture="aarch64") == ""
    names = [*PREFERENCE, "ipa_aarch64.iso"]
    assert iso_for(names, stream="s", architecture="aarch64") == "ipa_aarch64.iso"
    names.append("ipa-s_aarch64.iso")
    assert iso_for(names, stream="s", architecture="aarch64") == "ipa-s_aarch64.iso"


def test_two_files_for_one_place_whatever_the_order_of_the_directory() -> None:
    names = ["ipa_aarch64.iso", "ipa.aarch64.iso"]
    assert iso_for(names, architecture="aarch64") == "ipa.aarch64.iso"
    assert iso_for(names[::-1], architecture="aarch64") == "ipa.aarch64.iso"


def test_names_with_meaning_in_patterns_are_taken_as_they_are() -> None:
    paths = BasePaths(iso="/d/i(p+a.x.iso")
    found = catalog(paths, {"/d": ["i(p+a.x_aarch64.iso", "ippaax_aarch64.iso"]}, "x86_64")
    part = found.select(Kind.ISO, architecture="aarch64")
    assert part == Part(path="/d/i(p+a.x_aarch64.iso")


def test_directories_of_the_paths_are_searched() -> None:
    assert ALL.directories() == ("/d", "/e")
    assert BasePaths(iso="ipa.iso").directories() == (".",)
    listings = {"/d": ["ipa_aarch64.iso"], "/e": ["ipa_s390x.iso", "ipa_aarch64.initramfs"]}
    found = catalog(ALL, listings, "x86_64")
    assert found.select(Kind.ISO, architecture="aarch64") == Part(path="/d/ipa_aarch64.iso")
    assert found.select(Kind.ISO, architecture="s390x") == Part(path="/e/ipa_s390x.iso")
    part = found.select(Kind.INITRAMFS, architecture="aarch64")
    assert part == Part(path="/e/ipa_aarch64.initramfs")


def test_the_shared_directory_is_searched_in_their_place() -> None:
    paths = BasePaths(iso="/d/ipa.iso", shared_dir="/shared")
    assert paths.directories() == ("/shared",)
    listings = {"/d": ["ipa_s390x.iso"], "/shared": ["ipa_aarch64.iso", "ipa.iso"]}
    found = catalog(paths, listings, "x86_64")
    assert found.select(Kind.ISO, architecture="s390x") is None
    assert found.select(Kind.ISO, architecture="aarch64") == Part(path="/shared/ipa_aarch64.iso")
    # The exact path always counts, and no namesake elsewhere takes its place.
    assert found.select(Kind.ISO) == Part(path="/d/ipa.iso")


def test_a_device_is_the_base_of_the_host() -> None:
    found = catalog(BasePaths(iso="/dev/sr0"), {"/dev": ["sr0", "sr1", "sr01", "null"]}, "x86_64")
    assert found.paths == {"/dev/sr0"}
    assert found.select(Kind.INITRAMFS) == Part(path="/dev/sr0", inside_iso=True)


def test_initramfs_and_kernel_come_out_of_the_iso_where_there_is_no_file() -> None:
    found = catalog(ISO_ONLY, {"/d": ["ipa_aarch64.iso"]}, "x86_64")
    for kind in (Kind.INITRAMFS, Kind.KERNEL):
        assert found.select(kind) == Part(path="/d/ipa.iso", inside_iso=True)
        part = found.select(kind, architecture="aarch64")
        assert part == Part(path="/d/ipa_aarch64.iso", inside_iso=True)


def test_without_any_iso_there_is_only_what_is_given() -> None:
    found = catalog(BasePaths(initramfs="/e/ipa.initramfs"), {}, "x86_64")
    assert found.select(Kind.ISO) is None
    assert found.select(Kind.KERNEL) is None
    assert found.select(Kind.INITRAMFS) == Part(path="/e/ipa.initramfs")
    assert not found.supports("x86_64")


def test_an_architecture_needs_an_iso_and_an_initramfs() -> None:
    found = catalog(ALL, {"/d": [], "/e": ["ipa_aarch64.initramfs"]}, "x86_64")
    assert found.supports("x86_64")
    assert not found.supports("aarch64")
    assert not found.supports("riscv64")
    assert catalog(ALL, {"/d": ["ipa_aarch64.iso"]}, "x86_64").supports("aarch64")


def test_an_architecture_that_is_the_hosts_by_name() -> None:
    found = catalog(ISO_ONLY, {"/d": ["ipa_aarch64.iso"]}, "aarch64")
    assert found.select(Kind.ISO) == Part(path="/d/ipa_aarch64.iso")
    assert found.select(Kind.ISO, architecture="x86_64") is None


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    return put(tmp_path / "ipa.iso", live_iso())


class TestImages:
    def test_an_iso_has_the_archive_over_its_embed_area(self, iso: Path) -> None:
        base = read_base(open_base(str(iso)), Kind.ISO, inside_iso=False)
        assert base.embed_area is not None
        start, length = base.embed_area.offset, base.embed_area.length
        data = archive(b"{}")
        layout = base.layout(data)
        expected = bytearray(live_iso())
        expected[start : start + length] = data.ljust(length, b"\0")
        assert layout.read(0, layout.size) == expected

    def test_an_old_config_in_the_base_does_not_shine_through(self, tmp_path: Path) -> None:
        plain = read_base(
            open_base(str(put(tmp_path / "a", live_iso()))), Kind.ISO, inside_iso=False
        )
        assert plain.embed_area is not None
        data = bytearray(live_iso())
        start = plain.embed_area.offset
        data[start : start + EMBED_LENGTH] = b"\xaa" * EMBED_LENGTH
        used = read_base(
            open_base(str(put(tmp_path / "b", bytes(data)))), Kind.ISO, inside_iso=False
        )
        one, other = plain.layout(b"new!"), used.layout(b"new!")
        assert one.read(0, one.size) == other.read(0, other.size)

    def test_an_initramfs_has_the_archive_behind_it(self, iso: Path, tmp_path: Path) -> None:
        separate = put(tmp_path / "ipa.initramfs", b"an initramfs")
        inside = read_base(open_base(str(iso)), Kind.INITRAMFS, inside_iso=True).layout(b"arch")
        assert inside.read(0, inside.size) == INITRAMFS + b"arch"
        alone = read_base(open_base(str(separate)), Kind.INITRAMFS, inside_iso=False).layout(
            b"arch"
        )
        assert alone.read(0, alone.size) == b"an initramfsarch"

    def test_an_archive_starts_where_the_kernel_looks_for_one(self, tmp_path: Path) -> None:
        """initramfs.c skips zeros, but takes a cpio header only at a multiple of 4; gzip's magic
        it finds anywhere."""
        odd = put(tmp_path / "ipa.initramfs", INITRAMFS + b"\0")
        layout = read_base(open_base(str(odd)), Kind.INITRAMFS, inside_iso=False).layout(
            archive(b"")
        )
        assert layout.read(len(INITRAMFS) + 1, len(INITRAMFS) + 3) == b"\x1f\x8b"

    def test_a_kernel_is_as_it_is(self, iso: Path) -> None:
        base = read_base(open_base(str(iso)), Kind.KERNEL, inside_iso=True)
        layout = base.layout(b"not for kernels")
        assert layout.read(0, layout.size) == KERNEL
        assert base.etag(b"one") == base.etag(b"other")

    def test_a_config_that_just_fits_and_one_that_does_not(self, iso: Path) -> None:
        base = read_base(open_base(str(iso)), Kind.ISO, inside_iso=False)
        assert base.layout(bytes(EMBED_LENGTH)).size == len(live_iso())
        with pytest.raises(BuildInvalid, match=f"needs {EMBED_LENGTH + 1} .* has {EMBED_LENGTH}$"):
            base.layout(bytes(EMBED_LENGTH + 1))

    @pytest.mark.parametrize(
        ("files", "reason"),
        [
            ({"/x": b"y"}, "is it a CoreOS live ISO"),
            ({"/images/pxeboot/initrd.img": b""}, "its initramfs is empty"),
        ],
    )
    def test_an_iso_without_an_initramfs_is_told_so(
        self, tmp_path: Path, files: dict[str, bytes], reason: str
    ) -> None:
        path = put(tmp_path / "other.iso", write_iso(files))
        with pytest.raises(BaseUnavailable, match=reason) as caught:
            read_base(open_base(str(path)), Kind.INITRAMFS, inside_iso=True)
        assert str(path) in str(caught.value)


class TestEntityTags:
    def test_they_differ_by_archive_base_and_kind(self, iso: Path, tmp_path: Path) -> None:
        other = put(tmp_path / "other.iso", live_iso(kernel=b"another kernel"))
        tags = {
            read_base(open_base(str(path)), kind, inside_iso=kind is not Kind.ISO).etag(data)
            for path in (iso, other)
            for kind in (Kind.ISO, Kind.INITRAMFS)
            for data in (b"", b"one", b"other")
        }
        assert len(tags) == 12

    def test_they_are_strong_and_quoted(self, iso: Path) -> None:
        tag = read_base(open_base(str(iso)), Kind.ISO, inside_iso=False).etag(b"")
        assert tag.startswith('"')
        assert tag.endswith('"')
        assert tag[1:-1].isalnum()

    def test_two_processes_agree_whatever_path_and_date(self, iso: Path, tmp_path: Path) -> None:
        copy = put(tmp_path / "elsewhere" / "renamed.iso", live_iso())
        os.utime(copy, (1, 1))
        code = (
            "import sys\n"
            "from mic.image.base import Kind, read_base\n"
            "from mic.image.basefile import open_base\n"
            "from mic.image.cpio import archive\n"
            "base = read_base(open_base(sys.argv[1]), Kind.ISO, inside_iso=False)\n"
            "print(base.etag(archive(b'{}')))\n"
        )
        root = Path(__file__).parents[3]
        run = [sys.executable, "-c", code, str(copy)]
        other = subprocess.run(run, cwd=root, capture_output=True, check=True, text=True)
        base = read_base(open_base(str(iso)), Kind.ISO, inside_iso=False)
        assert other.stdout.strip() == base.etag(archive(b"{}"))
