"""Find files in ISO 9660 images: real, self-made and hostile ones."""

from __future__ import annotations

import lzma
import shutil
import struct
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import INITRAMFS, KERNEL, Bytes, live_iso

from mic.media import coreos
from mic.media.iso9660 import SECTOR, Extent, Iso, IsoError, IsoNotFound
from mic.media.isowriter import write_iso

ROOT = 20
"""The sector of the root directory in `crafted` images."""


def both32(number: int) -> bytes:
    return struct.pack("<I", number) + struct.pack(">I", number)


def record(
    name: bytes,
    sector: int,
    length: int,
    *,
    flags: int = 0,
    use: bytes = b"",
    size: int | None = None,
) -> bytes:
    """Return a directory record (ECMA-119 section 9.1); ``size`` overrides its real length."""
    padding = bytes(1 - len(name) % 2)
    body = (
        bytes([0])
        + both32(sector)
        + both32(length)
        + bytes(7)
        + bytes([flags, 0, 0])
        + bytes([1, 0, 0, 1])
        + bytes([len(name)])
        + name
        + padding
        + use
    )
    return bytes([1 + len(body) if size is None else size]) + body


def crafted(
    root: bytes, *, sectors: int = 40, volume: int | None = None, root_length: int | None = None
) -> Bytes:
    """Return an ISO image with the bytes ``root`` as its root directory."""
    image = bytearray(sectors * SECTOR)
    descriptor = bytearray(SECTOR)
    descriptor[:7] = b"\x01CD001\x01"
    descriptor[80:88] = both32(sectors if volume is None else volume)
    descriptor[128:132] = struct.pack("<H", SECTOR) + struct.pack(">H", SECTOR)
    length = max(len(root), 1) if root_length is None else root_length
    descriptor[156:190] = record(b"\0", ROOT, length, flags=2)
    image[16 * SECTOR : 17 * SECTOR] = descriptor
    image[17 * SECTOR : 17 * SECTOR + 6] = b"\xffCD001"
    image[ROOT * SECTOR : ROOT * SECTOR + len(root)] = root
    return Bytes(bytes(image))


def named(name: bytes) -> bytes:
    """A Rock Ridge NM field."""
    return b"NM" + bytes([5 + len(name), 1, 0]) + name


def continued(sector: int, offset: int, length: int) -> bytes:
    """A SUSP CE field."""
    return b"CE\x1c\x01" + both32(sector) + both32(offset) + both32(length)


SP = record(b"\0", ROOT, SECTOR, flags=2, use=b"SP\x07\x01\xbe\xef\0")


class TestLookup:
    def test_finds_every_file_of_our_own_writer(self) -> None:
        iso = Iso(Bytes(live_iso()))
        assert iso.read(coreos.KERNEL, 1000) == KERNEL
        assert iso.read(coreos.INITRAMFS, 1000) == INITRAMFS

    @pytest.mark.parametrize(
        "path",
        [
            "coreos/igninfo.json",
            "/coreos/igninfo.json",
            "//coreos//igninfo.json",
            "COREOS/IGNINFO.JSO",
            "COREOS/IGNINFO.JSO;1",
            "CoreOS/IgnInfo.json",
        ],
    )
    def test_finds_rock_ridge_and_short_names_in_any_case(self, path: str) -> None:
        if path.endswith(";1"):
            # Users omit the version.
            with pytest.raises(IsoNotFound):
                Iso(Bytes(live_iso())).find(path)
        else:
            assert b"ignition.img" in Iso(Bytes(live_iso())).read(path, 1000)

    @pytest.mark.parametrize(
        "path",
        [
            *[
                "",
                "/",
                "coreos",
                "nothing",
                "coreos/nothing",
                "coreos/igninfo.json/more",
                "..",
                ".",
            ],
            *["coreos/../coreos/igninfo.json", "\0", "coreos/\0", "/".join("a" * 100), "é" * 500],
        ],
    )
    def test_does_not_find_other_names(self, path: str) -> None:
        with pytest.raises(IsoNotFound, match="no file"):
            Iso(Bytes(live_iso())).find(path)

    def test_the_synthetic_fixture_of_coreos_installer(self, shared: Path) -> None:
        """Many sectors of directory, deep paths, names without extensions."""
        packed = (shared / "fixtures/coreos-iso/synthetic.iso.xz").read_bytes()
        iso = Iso(Bytes(lzma.decompress(packed)))
        for number in (1, 75, 150):
            assert iso.find(f"LARGEDIR/{number}.DAT").length >= 0
        assert iso.read("REALLY/VERY/DEEPLY/NESTED/FILE.TXT", 1000)
        assert iso.read("CONTENT/DIR/SUBFILE.TXT", 1000)
        with pytest.raises(IsoNotFound):
            iso.find("LARGEDIR/9999.DAT")

    def test_joins_the_sections_of_a_file(self) -> None:
        """Files from 4 GiB on have several records (ECMA-119 section 6.5.1)."""
        root = SP + record(b"BIG.;1", 25, SECTOR, flags=0x80) + record(b"BIG.;1", 26, 100)
        assert Iso(crafted(root)).find("big") == Extent(offset=25 * SECTOR, length=SECTOR + 100)

    def test_refuses_a_scattered_file(self) -> None:
        root = SP + record(b"BIG.;1", 25, SECTOR, flags=0x80) + record(b"BIG.;1", 30, 100)
        with pytest.raises(IsoError, match="scattered"):
            Iso(crafted(root)).find("BIG")

    def test_does_not_find_a_file_without_its_last_section(self) -> None:
        root = SP + record(b"BIG.;1", 25, SECTOR, flags=0x80)
        with pytest.raises(IsoNotFound):
            Iso(crafted(root)).find("BIG")

    def test_reads_names_in_continuation_areas(self) -> None:
        use = named(b"long-") + continued(30, 8, len(named(b"name.txt")))
        root = SP + record(b"LONG_NAM.TXT;1", 25, 10, use=use)
        image = bytearray(crafted(root).data)
        image[30 * SECTOR + 8 : 30 * SECTOR + 8 + 13] = named(b"name.txt")
        assert Iso(Bytes(bytes(image))).find("long-name.txt").offset == 25 * SECTOR

    def test_finds_records_after_sector_padding(self) -> None:
        first = SP.ljust(SECTOR, b"\0")
        iso = Iso(crafted(first + record(b"FILE.;1", 25, 3)))
        assert iso.find("FILE").length == 3

    def test_refuses_to_read_a_long_file(self) -> None:
        with pytest.raises(IsoError, match="has 13 bytes, at most 12 are expected"):
            Iso(Bytes(live_iso())).read(coreos.KERNEL, 12)


class TestBroken:
    @pytest.mark.parametrize("size", [0, 1, 2047, 16 * SECTOR, 17 * SECTOR - 1])
    def test_refuses_short_files(self, size: int) -> None:
        with pytest.raises(IsoError, match="not an ISO 9660 image"):
            Iso(Bytes(live_iso()[:size]))

    def test_refuses_a_truncated_iso_at_every_sector(self) -> None:
        """The volume descriptor has the size, so no truncated file is accepted."""
        image = live_iso()
        for sectors in range(17, len(image) // SECTOR):
            with pytest.raises(IsoError, match=r"truncated|not an ISO 9660"):
                Iso(Bytes(image[: sectors * SECTOR]))
        assert Iso(Bytes(image + bytes(1000))).find(coreos.KERNEL)

    def test_reports_both_sizes_of_a_truncated_volume(self) -> None:
        with pytest.raises(
            IsoError, match=f"volume has {90 * SECTOR} bytes, the file {40 * SECTOR}"
        ):
            Iso(crafted(SP, volume=90))

    @pytest.mark.parametrize("size", [0, 512, 4096, 65535])
    def test_refuses_other_sector_sizes(self, size: int) -> None:
        image = bytearray(crafted(SP).data)
        image[16 * SECTOR + 128 : 16 * SECTOR + 130] = struct.pack("<H", size)
        with pytest.raises(IsoError, match="block size"):
            Iso(Bytes(bytes(image)))

    def test_refuses_endless_descriptors(self) -> None:
        image = bytearray(crafted(SP, sectors=300).data)
        for sector in range(16, 300):
            image[sector * SECTOR : sector * SECTOR + 6] = b"\0CD001"
        source = Bytes(bytes(image))
        with pytest.raises(IsoError, match="no primary volume descriptor"):
            Iso(source)
        assert source.reads <= 64

    def test_refuses_a_root_that_is_a_file(self) -> None:
        image = bytearray(crafted(SP).data)
        image[16 * SECTOR + 156 + 25] = 0
        with pytest.raises(IsoError, match="root directory record is broken"):
            Iso(Bytes(bytes(image)))

    def test_refuses_a_root_past_the_end(self) -> None:
        with pytest.raises(IsoError, match="directory lies past its end"):
            Iso(crafted(SP, root_length=30 * SECTOR))

    def test_refuses_a_root_of_implausible_length(self) -> None:
        with pytest.raises(IsoError, match="implausible"):
            Iso(crafted(SP, root_length=0xFFFFFFFF))

    def test_refuses_a_file_past_the_end(self) -> None:
        with pytest.raises(IsoError, match="truncated ISO image: 'FILE' ends at byte"):
            Iso(crafted(SP + record(b"FILE.;1", 39, SECTOR + 1))).find("FILE")
        assert Iso(crafted(SP + record(b"FILE.;1", 39, SECTOR))).find("FILE")

    def test_refuses_a_file_with_the_largest_numbers(self) -> None:
        with pytest.raises(IsoError, match="truncated"):
            Iso(crafted(SP + record(b"FILE.;1", 0xFFFFFFFF, 0xFFFFFFFF))).find("FILE")

    @pytest.mark.parametrize("size", [1, 2, 33, 34, 255])
    def test_refuses_records_with_a_wrong_length(self, size: int) -> None:
        root = SP + record(b"FILE.;1", 25, 3, size=size)
        with suppress(IsoError):
            assert Iso(crafted(root)).find("FILE")

    def test_refuses_a_record_shorter_than_its_name(self) -> None:
        raw = bytearray(record(b"FILE.;1", 25, 3))
        raw[32] = 200
        with pytest.raises(IsoError, match="record is broken"):
            Iso(crafted(SP + bytes(raw))).find("FILE")

    def test_refuses_a_truncated_record(self) -> None:
        root = SP + record(b"FILE.;1", 25, 3)
        for length in range(len(SP) + 1, len(root)):
            with pytest.raises(IsoError, match="record is broken"):
                Iso(crafted(root, root_length=length)).find("FILE")

    @pytest.mark.parametrize(
        "field", [b"NM\0\1\0", b"NM\3\1\0", b"NM\xff\1\0", b"NM", b"N", b"CE\5\1\0"]
    )
    def test_system_use_fields_that_lie_about_their_length(self, field: bytes) -> None:
        """The plain name remains valid."""
        assert Iso(crafted(SP + record(b"FILE.;1", 25, 3, use=field))).find("FILE").length == 3

    def test_refuses_a_continuation_area_past_the_end(self) -> None:
        use = continued(39, 0, SECTOR + 1)
        with pytest.raises(IsoError, match="continuation area lies past the end"):
            Iso(crafted(SP + record(b"FILE.;1", 25, 3, use=use))).find("FILE")
        far = continued(0xFFFFFFFF, 0xFFFFFFFF, 10)
        with pytest.raises(IsoError, match="continuation area lies past the end"):
            Iso(crafted(SP + record(b"FILE.;1", 25, 3, use=far))).find("FILE")


class TestBounded:
    def test_a_continuation_area_that_continues_in_itself(self) -> None:
        use = continued(30, 0, 28)
        image = bytearray(crafted(SP + record(b"FILE.;1", 25, 3, use=use)).data)
        image[30 * SECTOR : 30 * SECTOR + 28] = use
        source = Bytes(bytes(image))
        assert Iso(source).find("FILE").length == 3
        assert source.reads < 40

    def test_a_directory_that_contains_itself(self) -> None:
        source = crafted(SP + record(b"LOOP", ROOT, SECTOR, flags=2) + record(b"F.;1", 25, 3))
        iso = Iso(source)
        assert iso.find("LOOP/" * 20 + "F").length == 3
        with pytest.raises(IsoNotFound):
            iso.find("LOOP/" * 32 + "F")
        assert source.reads < 60

    def test_a_great_directory_in_itself_with_names_in_circles(self) -> None:
        """Within each bound alone, but together it would take hours."""
        entry = record(b"A", 25, 3, use=continued(30, 0, 28))
        per_sector = SECTOR // len(entry)
        sector = (entry * per_sector).ljust(SECTOR, b"\0")
        count = 1000
        loop = record(b"LOOP", 50, count * SECTOR, flags=2)
        image = bytearray(crafted(SP + loop, sectors=1100).data)
        image[30 * SECTOR : 30 * SECTOR + 28] = continued(30, 0, 28)
        image[50 * SECTOR : (50 + count) * SECTOR] = sector * count
        end = (50 + count) * SECTOR
        image[end - SECTOR : end] = loop.ljust(SECTOR, b"\0")
        source = Bytes(bytes(image))
        iso = Iso(source)
        with pytest.raises(IsoError, match="need too many reads"):
            iso.find("LOOP/" * 30 + "F")
        assert source.reads <= 16 * 1024 * 1024 // SECTOR + 20

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_damage_raises_only_iso_errors(self, data: st.DataObject) -> None:
        """Anywhere in the structures, up to 8 bytes at a time."""
        image = bytearray(TREE)
        for _ in range(data.draw(st.integers(1, 8))):
            image[data.draw(st.sampled_from(STRUCTURES))] = data.draw(st.integers(0, 255))
        source = Bytes(bytes(image))
        with suppress(IsoError):
            iso = Iso(source)
            area = coreos.embed_area(iso, source)
            assert 0 <= area.offset <= area.offset + area.length <= source.size
            coreos.kernel_arguments(iso, source)
        assert source.reads < 9000


TREE = live_iso(2048)


def _structures() -> list[int]:
    """Return the offsets of non-zero bytes before the contents of files, and of the JSON files."""
    iso = Iso(Bytes(TREE))
    first = min(iso.find(path).offset for path in (coreos.KERNEL, coreos.IGNITION_IMAGE))
    places = [n for n in range(16 * SECTOR, first) if TREE[n]]
    for path in (coreos.IGNITION_INFO, coreos.KARGS_INFO):
        extent = iso.find(path)
        places += range(extent.offset, extent.offset + extent.length)
    return places


STRUCTURES = _structures()


class TestWriter:
    """mic.media.isowriter: mic and xorriso read its images."""

    FILES: ClassVar = {
        "/one.txt": b"1",
        "/empty": b"",
        "/images/sector.img": bytes(range(256)) * 8,
        "/images/sector-and-one.img": bytes(range(256)) * 8 + b"x",
        "/a/b/c/d/e/f/deep.json": b"{}",
        **{f"/many/{number:03}.data": b"%d" % number for number in range(120)},
    }

    def test_writes_every_file(self) -> None:
        iso = Iso(Bytes(write_iso(self.FILES)))
        for path, content in self.FILES.items():
            assert iso.read(path, 10_000) == content

    def test_equal_files_give_equal_images(self) -> None:
        backwards = dict(reversed(self.FILES.items()))
        assert write_iso(self.FILES) == write_iso(backwards)

    def test_the_volume_is_as_long_as_the_image(self) -> None:
        image = write_iso(self.FILES, "a-name")
        iso = Iso(Bytes(image))
        assert iso.volume_size == len(image)
        assert iso.volume_id == "a-name"

    def test_xorriso_reads_the_same(self, tmp_path: Path) -> None:
        if not shutil.which("xorriso"):
            pytest.skip("no xorriso program here")
        image = tmp_path / "made.iso"
        image.write_bytes(write_iso(self.FILES))
        run = ["xorriso", "-abort_on", "WARNING", "-osirrox", "on", "-indev", str(image)]
        run += ["-extract", "/", str(tmp_path / "out")]
        done = subprocess.run(run, capture_output=True, check=False, text=True)
        assert done.returncode == 0, done.stderr
        out = tmp_path / "out"
        found = {f"/{p.relative_to(out)}": p.read_bytes() for p in out.rglob("*") if p.is_file()}
        assert found == self.FILES

    @pytest.mark.parametrize(
        "files",
        [
            {"/a-long-name-1": b"", "/a-long-name-2": b""},
            {"/x": b"", "/X": b""},
            {"/x": b"", "/x/y": b""},
        ],
    )
    def test_refuses_names_that_collide(self, files: dict[str, bytes]) -> None:
        with pytest.raises(ValueError, match="collide"):
            write_iso(files)
