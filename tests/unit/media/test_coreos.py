"""The metadata of CoreOS live ISOs: real skeletons with known offsets, and invalid data."""

from __future__ import annotations

import gzip
import json
import lzma
import struct
from pathlib import Path

import pytest
from toys import Bytes, live_iso

from mic.media.coreos import (
    IGNITION_IMAGE,
    IGNITION_INFO,
    KARGS_INFO,
    KernelArguments,
    architecture,
    embed_area,
    embedded_config,
    kernel,
    kernel_arguments,
)
from mic.media.cpio import ArchiveError, archive
from mic.media.iso9660 import SECTOR, SYSTEM_AREA, Extent, Iso, IsoError, IsoNotFound
from mic.media.isowriter import write_iso

AREA = 256 * 1024

# First sectors of files from xorriso's report_lba; offsets and texts from the images'
# own JSON files and headers, read by eye.
CDBOOT = 35 * SECTOR
SKELETONS: dict[str, tuple[int, tuple[int, tuple[int, ...], str] | None]] = {
    "2020-09": (45 * SECTOR, None),
    "2021-01": (47 * SECTOR, (1131, (94026, 365415), "rhcos-47.84.202112162337-0")),
    "2021-09": (50 * SECTOR, (1139, (371658, 98126), "fedora-coreos-34.20210921.dev.0")),
    "2021-12": (79 * SECTOR, (1139, (431050, 139086), "fedora-coreos-35.20211216.dev.0")),
    "2022-02": (78 * SECTOR, (1139, (429002, 137038), "fedora-coreos-35.20220217.dev.0")),
    "2022-09": (78 * SECTOR, (1139, (429002, 137038), "fedora-coreos-36.20220909.dev.0")),
    "2023-03.s390x": (CDBOOT + 132096, None),
    "2023-03.x86_64": (77 * SECTOR, (1139, (431050, 427853), "fedora-coreos-37.20230306.dev.0")),
    "2023-07.s390x": (CDBOOT + 132096, (896, (CDBOOT + 66688,), "fedora-coreos-38.20230718.dev.0")),
    "2023-07.x86_64": (68 * SECTOR, (1139, (408522, 137037), "fedora-coreos-38.20230718.dev.0")),
}


def skeleton(shared: Path, name: str) -> bytes:
    path = shared / f"fixtures/coreos-iso/embed-areas-{name}.iso.xz"
    return lzma.decompress(path.read_bytes())


@pytest.mark.parametrize("name", SKELETONS)
class TestSkeletons:
    def test_finds_the_embed_area(self, shared: Path, name: str) -> None:
        image = skeleton(shared, name)
        source = Bytes(image)
        area = embed_area(Iso(source), source)
        assert area == Extent(offset=SKELETONS[name][0], length=AREA)
        assert image[area.offset : area.offset + area.length] == bytes(AREA)
        assert embedded_config(source, area) is None

    def test_reads_an_embedded_config(self, shared: Path, name: str) -> None:
        image = bytearray(skeleton(shared, name))
        offset = SKELETONS[name][0]
        data = archive(b'{"ignition":{}}')
        image[offset : offset + len(data)] = data
        source = Bytes(bytes(image))
        assert embedded_config(source, embed_area(Iso(source), source)) == b'{"ignition":{}}'

    def test_finds_kernel_and_architecture(self, shared: Path, name: str) -> None:
        """s390x has two kernel files; the one for network boot counts."""
        image = skeleton(shared, name)
        iso = Iso(Bytes(image))
        extent = kernel(iso)
        data = image[extent.offset : extent.offset + extent.length]
        if "s390x" in name:
            assert (extent.length, data[:4].hex()) == (131072, "00080000")
            assert architecture(iso) == "s390x"
        else:
            assert data.startswith(b"the kernel")
            assert architecture(iso) == "x86_64"

    def test_reads_kernel_arguments(self, shared: Path, name: str) -> None:
        source = Bytes(skeleton(shared, name))
        expected = SKELETONS[name][1]
        found = kernel_arguments(Iso(source), source)
        if expected is None:
            assert found is None
            return
        assert found is not None
        size, offsets, version = expected
        places = [area.extent for area in found.areas]
        assert places == [Extent(offset=o, length=size) for o in offsets]
        assert found.text == found.default
        first = "random.trust_cpu=on" if version.startswith("rhcos") else "mitigations=auto,nosmt"
        rest = "ignition.firstboot ignition.platform.id=metal"
        assert found.text == f"{first} coreos.liveiso={version} {rest}"

    def test_refuses_a_truncated_iso(self, shared: Path, name: str) -> None:
        image = skeleton(shared, name)
        # After the volume there is only padding, for copies on a disk.
        for size in range(0, Iso(Bytes(image)).volume_size, 13 * SECTOR + 7):
            source = Bytes(image[:size])
            with pytest.raises(IsoError, match=r"truncated|not an ISO 9660"):
                embed_area(Iso(source), source)


def iso_with(
    info: object = None, kargs: object = None, system: bytes = b"", **more: bytes
) -> Bytes:
    """Return a CoreOS-like ISO with the given metadata."""
    files = {"/images/some.img": bytes(range(250)) * 40, "/grub.cfg": b"x" * 3000}
    files |= {f"/{path}": data for path, data in more.items()}
    for path, value in ((IGNITION_INFO, info), (KARGS_INFO, kargs)):
        if value is not None:
            files[path] = value if isinstance(value, bytes) else json.dumps(value).encode()
    image = bytearray(write_iso(files))
    image[SYSTEM_AREA - len(system) : SYSTEM_AREA] = system
    return Bytes(bytes(image))


def area_of(source: Bytes) -> Extent:
    return embed_area(Iso(source), source)


class TestEmbedArea:
    def test_igninfo_may_name_a_part_of_a_file(self) -> None:
        source = iso_with({"file": "images/some.img", "offset": 100, "length": 900})
        start = Iso(source).find("images/some.img").offset
        assert area_of(source) == Extent(offset=start + 100, length=900)

    def test_area_without_length_extends_to_the_end_of_the_file(self) -> None:
        source = iso_with({"file": "/images/some.img", "offset": 100})
        start = Iso(source).find("images/some.img").offset
        assert area_of(source) == Extent(offset=start + 100, length=9900)

    def test_zero_is_a_length_but_null_is_not(self) -> None:
        with pytest.raises(IsoError, match=r"area of 0 bytes"):
            area_of(iso_with({"file": "images/some.img", "length": 0}))
        assert area_of(iso_with({"file": "images/some.img", "length": None})).length == 10_000

    @pytest.mark.parametrize(
        ("info", "reason"),
        [
            (b"", "not valid JSON"),
            (b"{", "not valid JSON"),
            (b"\xff\xfe{}", "not valid JSON"),
            (b"[" * 60_000, "not valid JSON"),
            (b'{"file":"images/some.img","offset":' + b"9" * 6000 + b"}", "not valid JSON"),
            (b" " * 70_000, "at most 65536 are expected"),
            ([], "not a JSON object"),
            ("images/some.img", "not a JSON object"),
            ({}, "names no file"),
            ({"file": None}, "names no file"),
            ({"file": 7}, "names no file"),
            ({"file": "images/other.img"}, "no file 'images/other.img'"),
            ({"file": "images"}, "no file 'images'"),
            ({"file": "a/" * 5000}, "no file"),
            ({"file": "images/some.img", "offset": -1}, "offset is not a whole number"),
            ({"file": "images/some.img", "offset": 1.5}, "offset is not a whole number"),
            ({"file": "images/some.img", "offset": "1"}, "offset is not a whole number"),
            ({"file": "images/some.img", "offset": True}, "offset is not a whole number"),
            ({"file": "images/some.img", "length": [1]}, "length is not a whole number"),
            ({"file": "images/some.img", "offset": 10_001}, "which has 10000"),
            ({"file": "images/some.img", "offset": 10_000}, "area of 0 bytes"),
            ({"file": "images/some.img", "length": 10_001}, "which has 10000"),
            ({"file": "images/some.img", "offset": 1, "length": 10_000}, "which has 10000"),
            ({"file": "images/some.img", "length": 2**80}, "which has 10000"),
        ],
    )
    def test_refuses_invalid_igninfo(self, info: object, reason: str) -> None:
        with pytest.raises(IsoError, match=reason):
            area_of(iso_with(info))

    def test_without_igninfo_uses_the_ignition_image(self) -> None:
        files = {IGNITION_IMAGE: bytes(5000)}
        source = Bytes(write_iso(files))
        assert area_of(source) == Extent(
            offset=Iso(source).find(IGNITION_IMAGE).offset, length=5000
        )

    def test_without_ignition_image_uses_the_header(self) -> None:
        header = struct.pack("<8sQQ", b"coreiso+", 40_000, 3000)
        assert area_of(iso_with(system=header)) == Extent(offset=40_000, length=3000)

    @pytest.mark.parametrize(
        ("offset", "length", "reason"),
        [
            (40_000, 10**9, "past its end"),
            (2**64 - 1, 1, "past its end"),
            (2**64 - 1, 2**64 - 1, "past its end"),
            (40_000, 0, "implausible"),
        ],
    )
    def test_refuses_an_invalid_header(self, offset: int, length: int, reason: str) -> None:
        header = struct.pack("<8sQQ", b"coreiso+", offset, length)
        with pytest.raises(IsoError, match=reason):
            area_of(iso_with(system=header))

    def test_refuses_an_iso_that_is_not_coreos(self) -> None:
        with pytest.raises(IsoError, match=r"no Ignition embed area.*is it a CoreOS live ISO"):
            area_of(iso_with())


class TestEmbeddedConfig:
    @pytest.mark.parametrize("junk", [b"x", bytes(4095) + b"x", b"070701"])
    def test_refuses_other_data_in_the_area(self, junk: bytes) -> None:
        with pytest.raises(ArchiveError):
            embedded_config(Bytes(junk.ljust(4096, b"\0")), Extent(offset=0, length=4096))

    def test_refuses_a_broken_archive(self) -> None:
        data = archive(b"{}")[:-10].ljust(4096, b"\0")
        with pytest.raises(ArchiveError):
            embedded_config(Bytes(data), Extent(offset=0, length=4096))
        with pytest.raises(ArchiveError, match=r"no config\.ign"):
            embedded_config(Bytes(gzip.compress(b"")), Extent(offset=0, length=20))


def arguments_of(source: Bytes) -> KernelArguments | None:
    return kernel_arguments(Iso(source), source)


def kargs(*files: object, size: object = 20, default: object = "a b") -> dict[str, object]:
    return {"default": default, "size": size, "files": list(files)}


class TestKernelArguments:
    def test_reads_arguments_of_our_own_iso(self) -> None:
        found = arguments_of(Bytes(live_iso()))
        assert found is not None
        assert found.text == found.default
        assert found.text.startswith("coreos.liveiso=")

    def test_supports_other_pad_and_end_characters(self) -> None:
        file = {"path": "a.cfg", "offset": 3, "pad": "\0", "end": "\0"}
        found = arguments_of(iso_with(kargs=kargs(file), **{"a.cfg": b"***a b c".ljust(50, b"\0")}))
        assert found is not None
        assert (found.text, found.default) == ("a b c", "a b")

    def test_keeps_a_pad_character_before_the_end(self) -> None:
        area = {"a.cfg": b"a b #1#\n############"}
        found = arguments_of(iso_with(kargs=kargs({"path": "a.cfg", "offset": 0}), **area))
        assert found is not None
        assert found.text == "a b #1#"

    def test_refuses_areas_that_differ(self) -> None:
        files = [{"path": "a.cfg", "offset": 0}, {"path": "b.cfg", "offset": 0}]
        texts = {"a.cfg": b"one\n".ljust(20, b"#"), "b.cfg": b"two\n".ljust(20, b"#")}
        with pytest.raises(IsoError, match="differ"):
            arguments_of(iso_with(kargs=kargs(*files), **texts))

    def test_returns_none_without_areas(self) -> None:
        assert arguments_of(iso_with(kargs=kargs())) is None
        assert arguments_of(iso_with()) is None

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ([], "not a JSON object"),
            ({}, "size is not a whole number"),
            (kargs(size=-1), "size is not a whole number"),
            (kargs(size=2049), "not as expected"),
            (kargs(default=7), "not as expected"),
            ({"default": "", "size": 1, "files": {}}, "not as expected"),
            (kargs("grub.cfg"), "not as expected"),
            (kargs({"offset": 1}), "not as expected"),
            (kargs({"path": "grub.cfg"}), "offset is not a whole number"),
            (kargs({"path": "grub.cfg", "offset": 2981}), "past the end of grub.cfg"),
            (kargs({"path": "none.cfg", "offset": 0}), "no file 'none.cfg'"),
            (kargs(*[{"path": "grub.cfg", "offset": 0}] * 65), "65 areas, at most 64"),
        ],
    )
    def test_refuses_an_invalid_description(self, value: object, reason: str) -> None:
        with pytest.raises(IsoError, match=reason):
            arguments_of(iso_with(kargs=value))

    @pytest.mark.parametrize(
        ("size", "default", "offset"),
        [(2049, 40_000, 40_000), (20, 10**9, 40_000), (20, 40_000, 2**64 - 1), (2**64 - 1, 0, 1)],
    )
    def test_refuses_an_invalid_header(self, size: int, default: int, offset: int) -> None:
        header = struct.pack("<8s8Q24x", b"coreKarg", size, default, offset, *[0] * 5)
        with pytest.raises(IsoError, match="past the end"):
            arguments_of(iso_with(system=header))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["kernel.img", "vmlinuz"], "kernel.img"),
        (["kernel.img"], "kernel.img"),
        (["vmlinuz"], "vmlinuz"),
    ],
)
def test_prefers_the_kernel_of_s390x(names: list[str], found: str) -> None:
    source = Bytes(write_iso({f"/images/pxeboot/{name}": name.encode() for name in names}))
    extent = kernel(Iso(source))
    assert source.read(extent.offset, extent.length) == found.encode()


def test_reports_an_iso_without_kernel() -> None:
    with pytest.raises(IsoNotFound, match="vmlinuz"):
        kernel(Iso(Bytes(write_iso({"/a": b"b"}))))


def test_returns_no_architecture_without_known_files() -> None:
    assert architecture(Iso(Bytes(live_iso()))) == ""
