"""Minimal ISOs, rebuilt from full ones: the promised digest, and why damaged ones are refused."""

from __future__ import annotations

import hashlib
import lzma
import zlib
from pathlib import Path

import pytest
from miniso import description, with_minimal
from toys import Bytes, put

from mic.common.errors import BaseUnavailable, BuildInvalid
from mic.media.base import Base, Kind, read_base
from mic.media.basefile import open_base
from mic.media.coreos import ROOTFS, embed_area, embedded_config, kernel_arguments
from mic.media.cpio import archive
from mic.media.customisation import Customisation
from mic.media.iso9660 import SECTOR, Iso, IsoError, IsoNotFound
from mic.media.isowriter import coreos_files, write_iso
from mic.media.kernel_arguments import parse
from mic.media.layout import FileRange, Layout
from mic.media.minimal import DATA, minimal_iso

NAMES = (
    "2021-12",
    "2022-02",
    "2022-09",
    "2023-03.s390x",
    "2023-03.x86_64",
    "2023-07.s390x",
    "2023-07.x86_64",
)
URL = "http://192.0.2.1:8080/rootfs"
CONFIG = b'{"ignition": {"version": "3.2.0"}}'


def skeleton(shared: Path, name: str) -> bytes:
    path = shared / f"fixtures/coreos-iso/embed-areas-{name}.iso.xz"
    return lzma.decompress(path.read_bytes())


def minimal_base(path: Path) -> Base:
    return read_base(open_base(str(path)), Kind.ISO, inside_iso=False, minimal=True)


def image_of(base: Base, customisation: Customisation) -> Bytes:
    layout = base.layout(customisation)
    return Bytes(layout.read(0, layout.size))


@pytest.mark.parametrize("name", NAMES)
class TestRealImages:
    def test_has_the_promised_digest(self, shared: Path, name: str) -> None:
        source = Bytes(skeleton(shared, name))
        found = minimal_iso(Iso(source), Layout.of(source))
        image = found.layout.read(0, found.layout.size)
        assert hashlib.sha256(image).digest() == found.digest
        assert found.is_genuine()
        with pytest.raises(IsoNotFound):
            Iso(Bytes(image)).find(ROOTFS)

    def test_is_genuine_although_areas_were_changed(
        self, shared: Path, tmp_path: Path, name: str
    ) -> None:
        path = put(tmp_path / "a.iso", skeleton(shared, name))
        base = read_base(open_base(str(path)), Kind.ISO, inside_iso=False)
        assert base.iso is not None
        edits = (parse("ip=dhcp fips=1", "x"),) if base.iso.arguments else ()
        changed = image_of(base, Customisation(archive(CONFIG), edits))
        found = minimal_iso(Iso(changed), Layout.of(changed))
        image = found.layout.read(0, found.layout.size)
        assert hashlib.sha256(image).digest() != found.digest
        assert found.is_genuine()

    def test_other_bytes_are_not_genuine(self, shared: Path, name: str) -> None:
        data = bytearray(skeleton(shared, name))
        place = Iso(Bytes(bytes(data))).find("/images/pxeboot/initrd.img").offset
        data[place] ^= 1
        source = Bytes(bytes(data))
        assert not minimal_iso(Iso(source), Layout.of(source)).is_genuine()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "2023-03.s390x"])
def test_boots_with_the_url_of_the_rootfs(shared: Path, tmp_path: Path, name: str) -> None:
    base = minimal_base(put(tmp_path / "a.iso", skeleton(shared, name)))
    edits = (parse("console=ttyS0", "x"),)
    image = image_of(base, Customisation(archive(CONFIG), edits, rootfs_url=URL))
    iso = Iso(image)
    arguments = kernel_arguments(iso, image)
    assert arguments is not None
    words = arguments.text.split()
    assert words[-2:] == [f"coreos.live.rootfs_url={URL}", "console=ttyS0"]
    assert "ignition.firstboot" in words
    assert "coreos.liveiso" not in arguments.text
    assert embedded_config(image, embed_area(iso, image)) == CONFIG
    with pytest.raises(IsoNotFound):
        iso.find(ROOTFS)


def test_is_made_of_pieces_of_the_open_file(shared: Path, tmp_path: Path) -> None:
    """Only these are sent without a copy, and checked for changes until the body ends."""
    base = minimal_base(put(tmp_path / "a.iso", skeleton(shared, "2023-07.x86_64")))
    pieces = list(base.layout(Customisation(b"a", rootfs_url=URL)))
    files = [piece.source for piece in pieces if isinstance(piece, FileRange)]
    assert files
    assert all(file is base.file for file in files)


def test_full_and_minimal_images_have_tags_of_their_own(shared: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "a.iso", skeleton(shared, "2023-07.x86_64"))
    full = read_base(open_base(str(path)), Kind.ISO, inside_iso=False)
    minimal = minimal_base(path)
    tags = {
        base.etag(Customisation(b"a", rootfs_url=url))
        for base in (full, minimal)
        for url in (URL, f"{URL}2")
    }
    assert len(tags) == 3  # the full one ignores the URL


@pytest.mark.parametrize(
    ("url", "problem"),
    [("", "needs the URL of its root file system"), ("http://a/?b=1&c", "character '&'")],
)
def test_refuses_a_url_that_cannot_be_an_argument(
    shared: Path, tmp_path: Path, url: str, problem: str
) -> None:
    base = minimal_base(put(tmp_path / "a.iso", skeleton(shared, "2022-09")))
    with pytest.raises(BuildInvalid, match=problem):
        base.layout(Customisation(b"", rootfs_url=url))


def test_refuses_minimal_images_without_areas_for_arguments(shared: Path, tmp_path: Path) -> None:
    base = minimal_base(put(tmp_path / "a.iso", skeleton(shared, "2023-03.s390x")))
    with pytest.raises(BuildInvalid, match="cannot take kernel arguments"):
        base.layout(Customisation(b"", rootfs_url=URL))


def test_refuses_a_text_that_is_too_long_with_the_url(shared: Path, tmp_path: Path) -> None:
    base = minimal_base(put(tmp_path / "a.iso", skeleton(shared, "2022-09")))
    with pytest.raises(BuildInvalid, match=r"have \d{4} bytes, the areas .* room for 1138"):
        base.layout(Customisation(b"", rootfs_url=f"http://192.0.2.1/{'x' * 1100}"))


@pytest.mark.parametrize(("name", "reads"), [("2021-09", False), ("2021-12", True)])
def test_refuses_profiles_that_an_initramfs_does_not_read(
    shared: Path, tmp_path: Path, name: str, reads: bool
) -> None:
    path = put(tmp_path / "a.iso", skeleton(shared, name))
    base = read_base(open_base(str(path)), Kind.ISO, inside_iso=False)
    early = Customisation(b"a", early_network=True)
    if reads:
        assert base.layout(early).size
        return
    with pytest.raises(BuildInvalid) as refused:
        base.layout(early)
    text = str(refused.value)
    assert text.startswith(f"the base image {path} does not read network profiles in its initramfs")
    assert text.endswith("the host would have no network to fetch its Ignition config")


def test_a_minimal_iso_without_a_network_for_its_rootfs_is_refused(tmp_path: Path) -> None:
    files = coreos_files(kernel=b"k", initramfs=b"i", rootfs=b"r" * SECTOR)
    base = minimal_base(put(tmp_path / "a.iso", with_minimal(files)))
    with pytest.raises(BuildInvalid, match="no network to fetch its root file system"):
        base.layout(Customisation(b"a", rootfs_url=URL, early_network=True))
    assert base.layout(Customisation(b"a", rootfs_url=URL)).size  # a host on DHCP


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("2020-09", "no file '/coreos/miniso.dat' .*: it has no minimal ISO, .*MIC_ISO=full"),
        ("damaged", "does not have the promised digest"),
    ],
)
def test_names_the_image_that_has_no_usable_minimal_iso(
    shared: Path, tmp_path: Path, name: str, reason: str
) -> None:
    data = bytearray(skeleton(shared, "2022-09" if name == "damaged" else name))
    if name == "damaged":
        data[Iso(Bytes(bytes(data))).find("/images/pxeboot/initrd.img").offset] ^= 1
    path = put(tmp_path / "a.iso", bytes(data))
    with pytest.raises(BaseUnavailable, match=f"base image {path}: .*{reason}"):
        minimal_base(path)


def described(data: bytes) -> Layout:
    files = coreos_files(kernel=b"k", initramfs=b"i", rootfs=b"r" * SECTOR)
    source = Bytes(write_iso({**files, DATA: data}))
    return minimal_iso(Iso(source), Layout.of(source)).layout


def test_what_tests_describe_is_a_minimal_iso() -> None:
    files = coreos_files(kernel=b"k" * 5000, initramfs=b"i" * 3000, rootfs=b"r" * 90_000)
    source = Bytes(with_minimal(files))
    found = minimal_iso(Iso(source), Layout.of(source))
    assert found.is_genuine()
    assert found.layout.size < source.size - 90_000
    assert len(list(found.layout)) > 8


def test_composes_ranges_and_the_rest_in_order() -> None:
    rest = b"a" * SECTOR + b"b" * SECTOR + b"end"
    layout = described(description(ranges=[(1, 16, SECTOR), (3, 17, 100)], rest=rest))
    image = layout.read(0, layout.size)
    assert image[:SECTOR] == b"a" * SECTOR
    assert image[SECTOR : SECTOR + 6] == b"\x01CD001"
    assert image[2 * SECTOR : 3 * SECTOR] == b"b" * SECTOR
    assert image[3 * SECTOR : 3 * SECTOR + 6] == b"\xffCD001"
    assert image[3 * SECTOR + 100 :] == b"end"


def with_dictionary_of_4_gib(stream: bytes) -> bytes:
    """An xz stream whose decompressor is to allocate that (xz file format, sections 3.1, 5.3.1)."""
    header = bytearray(stream[12:24])
    assert bytes(header[1:4]) == b"\0\x21\x01"  # one filter, LZMA2, one byte of properties
    header[4] = 40
    header[8:] = zlib.crc32(header[:8]).to_bytes(4, "little")
    return stream[:12] + bytes(header) + stream[24:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is cut off"),
        (description(magic=b"MAXISO\0\0"), "does not start as"),
        (description(version=2), "has version 2"),
        (description(version=300), "has version 300"),
        (description()[:20], "is cut off"),
        (description(rest=b"a" * 1000)[:-10], "is cut off"),
        (b"MINISO\0\0\xfe", "a number of an unknown size"),
        (description(ranges=[(2, 0, 10), (1, 0, 10)]), "out of order or overlap"),
        (description(ranges=[(0, 0, SECTOR + 1), (1, 0, 10)]), "out of order or overlap"),
        (description(ranges=[(0, 0, 2**40)]), "more than 4294967296 bytes"),
        (description(ranges=[(2**40, 0, 1)]), "more than 4294967296 bytes"),
        (description(ranges=[(0, 10**6, 1)]), "past the end of the ISO image"),
        (description(ranges=[(1, 0, 1)], rest=b"short"), "is too short"),
        (description(packed=b"not xz at all"), "is damaged"),
        (description(packed=lzma.compress(bytes(1000))[:-20]), "is cut off"),
        (description(packed=lzma.compress(bytes(17 << 20))), "unpacks to more than"),
        (description(packed=with_dictionary_of_4_gib(lzma.compress(b"a"))), "Memory usage limit"),
        (bytes(1024 * 1024 + 1), "at most 1048576 are expected"),
    ],
)
def test_refuses_a_damaged_description(data: bytes, reason: str) -> None:
    with pytest.raises(IsoError, match=reason):
        described(data)


def test_cut_off_anywhere_is_an_error_in_words() -> None:
    data = description(ranges=[(1, 16, SECTOR)], rest=b"a" * SECTOR)
    for length in range(len(data)):
        with pytest.raises(IsoError, match="miniso"):
            described(data[:length])
