"""Check that files are what they are configured as. Scope: mic.media.probe."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Iterable
from pathlib import Path

import pytest
from toys import INITRAMFS, KERNEL, live_iso, put, without_bytes

from mic.common.errors import BaseUnavailable
from mic.media.base import Kind, read_base
from mic.media.basefile import open_base
from mic.media.isowriter import coreos_files, write_iso
from mic.media.probe import Doubt, doubts, probe

ARM64 = b"MZ" + bytes(54) + b"ARM\x64" + bytes(1000)
S390X = bytes.fromhex("00080000 80000200 02000018 60000050 02000068 60000050") + bytes(5000)
PPC64LE = b"\x7fELF\2\1\1" + bytes(11) + b"\x15\0" + bytes(1000)
PROGRAM = b"\x7fELF\2\1\1" + bytes(11) + b"\x3e\0" + bytes(1000)
TEXT = b"root:x:0:0:root:/root:/bin/bash\n" * 20
ROOTFS = gzip.decompress(INITRAMFS)[:110] + b"root.squashfs\0" + bytes(1000)


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        (Kind.INITRAMFS, PROGRAM, "is an ELF file for x86_64, not an initramfs: give "),
        (Kind.INITRAMFS, live_iso(), "is an ISO 9660 image, not an initramfs: give "),
        (Kind.INITRAMFS, TEXT, "is text, not an initramfs: .*DEPLOY_INITRD"),
        (Kind.KERNEL, TEXT, "is text, not a kernel: .*DEPLOY_KERNEL"),
        (Kind.KERNEL, live_iso(), "is an ISO 9660 image, not a kernel"),
        (Kind.KERNEL, INITRAMFS, "is a cpio archive, compressed with gzip, not a kernel"),
        (Kind.KERNEL, lzma.compress(ROOTFS), "compressed with xz, not a kernel"),
        (Kind.KERNEL, ROOTFS, "is the live root file system .a cpio archive., not a kernel"),
        (Kind.ISO, lzma.compress(live_iso()), "not an ISO 9660 image .*: it is .* with xz"),
        (Kind.ISO, gzip.compress(live_iso()), "with gzip: unpack it first$"),
        (Kind.ISO, b"BZh9" + bytes(9000), "it is bzip2-compressed data: unpack it first$"),
        (Kind.ISO, b"\x28\xb5\x2f\xfd" + bytes(99), "zstd-compressed data: unpack it first$"),
        (Kind.ISO, b"PK\x03\x04" + bytes(9000), "it is a zip archive: unpack it first$"),
        (Kind.ISO, b"QFI\xfb" + bytes(9000), "qcow2 disk image: give the live ISO of CoreOS$"),
        (Kind.ISO, b"<html>404</html>", "it is an HTML page: download the file again"),
        (Kind.ISO, TEXT * 2000, "not an ISO 9660 image .*: it is text"),
        (
            Kind.ISO,
            bytes(510) + b"\x55\xaa" + bytes(20_000),
            "it has 20512 bytes, fewer than the start of an ISO: copy it again$",
        ),
        (
            Kind.ISO,
            bytes(510) + b"\x55\xaa" + bytes(99_000) + b"conectix" + bytes(504),
            "VHD disk image .of fixed size.: give the live ISO of CoreOS$",
        ),
        (Kind.ISO, b"", "is empty"),
        (Kind.KERNEL, b"", "is empty"),
    ],
    ids=without_bytes,
)
def test_refuses_what_is_certainly_something_else(
    tmp_path: Path, kind: Kind, data: bytes, reason: str
) -> None:
    path = put(tmp_path / "file", data)
    with pytest.raises(BaseUnavailable, match=reason) as caught:
        probe(str(path), kind)
    assert str(caught.value).startswith(f"base image {path}")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Kind.INITRAMFS, INITRAMFS),
        (Kind.INITRAMFS, ROOTFS),
        (Kind.INITRAMFS, b"\x28\xb5\x2f\xfd zstd"),
        (Kind.INITRAMFS, b"a stub"),
        (Kind.INITRAMFS, ARM64),
        (Kind.INITRAMFS, gzip.compress(TEXT)),
        (Kind.KERNEL, PPC64LE),
        (Kind.KERNEL, PROGRAM),
        (Kind.KERNEL, KERNEL),
        (Kind.KERNEL, gzip.compress(ARM64)),
        (Kind.KERNEL, S390X),
        (Kind.KERNEL, b"a stub"),
        (Kind.ISO, live_iso(kernel=TEXT)),
    ],
    ids=without_bytes,
)
def test_accepts_possible_files(tmp_path: Path, kind: Kind, data: bytes) -> None:
    probe(str(put(tmp_path / "file", data)), kind)


def found(path: Path, kind: Kind, architectures: Iterable[str] = ("x86_64",)) -> list[Doubt]:
    base = read_base(open_base(str(path)), kind, inside_iso=False)
    return list(doubts(base, frozenset(architectures)))


def warned(path: Path, kind: Kind, architectures: Iterable[str] = ("x86_64",)) -> list[str]:
    """Return the warnings with evidence, without the file's name."""
    prefix = f"base image {path}"
    lines = [doubt.text for doubt in found(path, kind, architectures) if doubt.evidence]
    assert all(line.startswith(prefix) for line in lines)
    return [line.removeprefix(prefix) for line in lines]


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (Kind.INITRAMFS, b"a stub", " looks like no format that mic knows, not like an initramfs"),
        (Kind.INITRAMFS, ROOTFS, " looks like the live root file system (a cpio archive), not "),
        (Kind.INITRAMFS, ARM64, " looks like a kernel for aarch64, not like an initramfs"),
        (Kind.INITRAMFS, gzip.compress(TEXT), " looks like text, compressed with gzip, not like "),
        (Kind.KERNEL, b"a stub", " looks like no format that mic knows, not like a kernel"),
        (Kind.KERNEL, PROGRAM, " looks like an ELF file for x86_64, not like a kernel"),
        (Kind.KERNEL, lzma.compress(ARM64), " looks like a kernel for aarch64, compressed with xz"),
    ],
    ids=without_bytes,
)
def test_warns_of_what_is_probably_wrong(
    tmp_path: Path, kind: Kind, data: bytes, words: str
) -> None:
    line = warned(put(tmp_path / "file", data), kind, ("x86_64", "aarch64"))[0]
    assert line.startswith(words)
    assert line.endswith(": hosts that boot it will probably fail")


@pytest.mark.parametrize(
    ("kind", "data", "architecture"),
    [
        (Kind.INITRAMFS, INITRAMFS, "x86_64"),
        (Kind.INITRAMFS, b"\x28\xb5\x2f\xfd zstd", "x86_64"),
        (Kind.KERNEL, KERNEL, "x86_64"),
        (Kind.KERNEL, PPC64LE, "ppc64le"),
        (Kind.KERNEL, S390X, "s390x"),
        (Kind.KERNEL, gzip.compress(ARM64), "aarch64"),
    ],
    ids=without_bytes,
)
def test_does_not_warn_of_correct_files(
    tmp_path: Path, kind: Kind, data: bytes, architecture: str
) -> None:
    assert warned(put(tmp_path / "file", data), kind, [architecture]) == []


@pytest.mark.parametrize(
    ("data", "architecture"),
    [(ARM64, "aarch64"), (gzip.compress(ARM64), "aarch64"), (S390X, "s390x"), (PPC64LE, "ppc64le")],
    ids=without_bytes,
)
def test_warns_of_a_kernel_of_another_architecture(
    tmp_path: Path, data: bytes, architecture: str
) -> None:
    (line,) = warned(put(tmp_path / "kernel", data), Kind.KERNEL)
    assert line.startswith(f" looks made for {architecture}, but is served to hosts of x86_64: ")
    assert line.endswith(f"ends in _{architecture}")


def live_files() -> dict[str, bytes]:
    return coreos_files(kernel=b"a stub", initramfs=INITRAMFS, rootfs=b"r", embed_length=8192)


@pytest.mark.parametrize(
    ("path", "architecture"),
    [
        ("/images/cdboot.img", "s390x"),
        ("/images/pxeboot/kernel.img", "s390x"),
        ("/isolinux/isolinux.bin", "x86_64"),
        ("/ppc/bootinfo.txt", "ppc64le"),
    ],
)
def test_finds_the_architecture_of_an_iso_by_its_files(
    tmp_path: Path, path: str, architecture: str
) -> None:
    iso = put(tmp_path / "a.iso", write_iso({**live_files(), path: b"1"}))
    lines = warned(iso, Kind.ISO, ["aarch64"])
    assert any(f"looks made for {architecture}" in line for line in lines)
    assert not any("looks made for" in line for line in warned(iso, Kind.ISO, [architecture]))


def test_inspects_the_parts_of_an_iso(tmp_path: Path) -> None:
    files = coreos_files(kernel=TEXT, initramfs=PROGRAM, rootfs=b"r", embed_length=8192)
    lines = warned(put(tmp_path / "a.iso", write_iso(files)), Kind.ISO)
    assert [line.partition(", not")[0] for line in lines] == [
        ": its initramfs looks like an ELF file for x86_64",
        ": its kernel looks like text",
    ]


def test_an_unknown_format_within_an_iso_is_no_evidence(tmp_path: Path) -> None:
    """A new release may compress its kernel in a way that mic does not know."""
    (doubt,) = found(put(tmp_path / "a.iso", write_iso(live_files())), Kind.ISO)
    assert "its kernel looks like no format that mic knows" in doubt.text
    assert not doubt.evidence


def test_does_not_warn_of_an_iso_without_boot_files(tmp_path: Path) -> None:
    files = live_files()
    for path in ("/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"):
        del files[path]
    assert warned(put(tmp_path / "a.iso", write_iso(files)), Kind.ISO) == []


def test_recognises_fixtures_of_other_architectures(tmp_path: Path, shared: Path) -> None:
    for fixture in sorted((shared / "fixtures/coreos-iso").glob("embed-areas-2023*.iso.xz")):
        iso = put(tmp_path / fixture.stem, lzma.decompress(fixture.read_bytes()))
        foreign = [line for line in warned(iso, Kind.ISO) if "looks made for" in line]
        assert bool(foreign) == ("s390x" in fixture.name), fixture
