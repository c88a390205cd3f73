"""Archives that do not fit the embed area: moved to the end of the ISO, and found there."""

from __future__ import annotations

import json
import lzma
import random
import struct
from pathlib import Path

import pytest
from toys import Bytes, live_iso, put

from mic.common.errors import BuildInvalid
from mic.media.base import Base, Kind, read_base
from mic.media.basefile import open_base
from mic.media.coreos import embed_area, embedded_config
from mic.media.cpio import archive
from mic.media.customisation import Customisation
from mic.media.iso9660 import SECTOR, Iso, IsoNotFound
from mic.media.isowriter import write_iso
from mic.media.kernel_arguments import parse
from mic.media.liveiso import MAX_ARCHIVE

NOISE = random.Random(13).randbytes(300_000)
CONFIG = b'{"noise": "' + NOISE.hex().encode() + b'"}'
ARCHIVE = archive(CONFIG)
IMAGES = ("2020-09", "2021-01", "2021-12", "2022-09", "2023-03.x86_64", "2023-07.x86_64")


def base_of(path: Path) -> Base:
    return read_base(open_base(str(path)), Kind.ISO, inside_iso=False)


def image_of(base: Base, customisation: Customisation) -> bytes:
    layout = base.layout(customisation)
    return layout.read(0, layout.size)


def skeleton(shared: Path, name: str) -> bytes:
    path = shared / f"fixtures/coreos-iso/embed-areas-{name}.iso.xz"
    return lzma.decompress(path.read_bytes())


@pytest.mark.parametrize("name", IMAGES)
class TestRealImages:
    def test_our_own_reader_finds_the_archive(
        self, shared: Path, tmp_path: Path, name: str
    ) -> None:
        base = base_of(put(tmp_path / "a.iso", skeleton(shared, name)))
        assert base.iso is not None
        assert base.iso.relocation_for(Customisation(ARCHIVE))
        image = Bytes(image_of(base, Customisation(ARCHIVE)))
        area = embed_area(Iso(image), image)
        assert area.length == len(ARCHIVE)
        assert area.offset % SECTOR == 0
        assert embedded_config(image, area) == CONFIG

    def test_only_records_descriptors_and_the_old_area_change(
        self, shared: Path, tmp_path: Path, name: str
    ) -> None:
        plain = skeleton(shared, name)
        base = base_of(put(tmp_path / "a.iso", plain))
        image = image_of(base, Customisation(ARCHIVE))
        assert len(image) % SECTOR == 0
        changed = [
            n for n, (one, other) in enumerate(zip(plain, image, strict=False)) if one != other
        ]
        # A record's extent and length and a descriptor's size, in two trees; an old header.
        assert len(changed) <= 2 * (8 + 8 + 8) + 16
        assert base.iso is not None
        area = base.iso.embed_area
        assert not any(image[area.offset : area.offset + area.length])

    def test_the_volume_ends_where_the_image_does(
        self, shared: Path, tmp_path: Path, name: str
    ) -> None:
        base = base_of(put(tmp_path / "a.iso", skeleton(shared, name)))
        image = Bytes(image_of(base, Customisation(ARCHIVE)))
        assert Iso(image).volume_size == image.size
        try:
            joliet = Iso(image, joliet=True)
        except IsoNotFound:
            return
        assert joliet.volume_size == image.size
        found = joliet.find("images/ignition.img")
        assert found == Iso(image).find("images/ignition.img")


def test_an_archive_that_fits_stays_in_its_area(tmp_path: Path) -> None:
    base = base_of(put(tmp_path / "a.iso", live_iso()))
    assert base.iso is not None
    area = base.iso.embed_area
    exact = Customisation(bytes(area.length))
    assert base.iso.relocation_for(exact) is None
    assert base.layout(exact).size == (tmp_path / "a.iso").stat().st_size
    assert base.iso.relocation_for(Customisation(bytes(area.length + 1)))


@pytest.mark.parametrize("odd", [0, 1, 2047])
@pytest.mark.parametrize("length", [9000, 10240, 10241])
def test_archive_starts_and_ends_with_a_sector(tmp_path: Path, odd: int, length: int) -> None:
    """Some writers leave bytes after the volume, such as a checksum or a partition's end."""
    base = base_of(put(tmp_path / "a.iso", live_iso() + bytes(odd)))
    data = random.Random(length).randbytes(length)
    image = Bytes(image_of(base, Customisation(data)))
    area = embed_area(Iso(image), image)
    assert area.offset % SECTOR == 0
    assert image.size % SECTOR == 0
    assert image.read(area.offset, area.length) == data
    assert Iso(image).volume_size == image.size


def test_kernel_arguments_and_a_relocated_archive_go_together(tmp_path: Path) -> None:
    base = base_of(put(tmp_path / "a.iso", live_iso()))
    customisation = Customisation(ARCHIVE, (parse("console=ttyS0", "x"),))
    image = Bytes(image_of(base, customisation))
    assert b"console=ttyS0\n" in image.data
    assert embedded_config(image, embed_area(Iso(image), image)) == CONFIG


def test_the_header_of_old_images_names_the_new_place(tmp_path: Path) -> None:
    files = {"/images/ignition.img": bytes(SECTOR), "/a": b"b"}
    plain = bytearray(write_iso(files))
    area = Iso(Bytes(bytes(plain))).find("/images/ignition.img")
    struct.pack_into("<8sQQ", plain, 32768 - 24, b"coreiso+", area.offset, area.length)
    base = base_of(put(tmp_path / "a.iso", bytes(plain)))
    image = image_of(base, Customisation(bytes(SECTOR + 4)))
    magic, offset, length = struct.unpack_from("<8sQQ", image, 32768 - 24)
    assert (magic, offset, length) == (b"coreiso+", len(plain), SECTOR + 4)


@pytest.mark.parametrize(
    "info",
    [
        {"file": "images/ignition.img", "length": 4096},
        {"file": "images/cdboot.img", "offset": 100},
        {"file": "images/cdboot.img", "offset": 100, "length": 4000},
    ],
)
def test_refuses_to_move_a_part_of_a_file(tmp_path: Path, info: dict[str, object]) -> None:
    files = {
        "/coreos/igninfo.json": json.dumps(info).encode(),
        "/images/ignition.img": bytes(4096),
        "/images/cdboot.img": bytes(8192),
    }
    base = base_of(put(tmp_path / "a.iso", write_iso(files)))
    with pytest.raises(BuildInvalid, match="cannot be moved to the end of the image"):
        base.layout(Customisation(bytes(10_000)))


@pytest.mark.parametrize("name", ["2023-03.s390x", "2023-07.s390x"])
def test_refuses_to_move_the_area_of_s390x(shared: Path, tmp_path: Path, name: str) -> None:
    base = base_of(put(tmp_path / "a.iso", skeleton(shared, name)))
    with pytest.raises(BuildInvalid, match="cannot be moved to the end of the image"):
        base.layout(Customisation(ARCHIVE))


@pytest.mark.parametrize("kind", [Kind.ISO, Kind.INITRAMFS])
def test_refuses_archives_above_the_limit(tmp_path: Path, kind: Kind) -> None:
    path = put(tmp_path / "a.iso", live_iso())
    base = read_base(open_base(str(path)), kind, inside_iso=kind is Kind.INITRAMFS)
    with pytest.raises(BuildInvalid, match=f"{path} .* at most {MAX_ARCHIVE}"):
        base.layout(Customisation(bytes(MAX_ARCHIVE + 1)))
    assert base.layout(Customisation(bytes(MAX_ARCHIVE))).size > MAX_ARCHIVE
