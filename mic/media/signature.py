"""Identify a file by its first bytes, to warn of boot files that are something else.

Sources of the signatures: ``Documentation/arch/x86/boot.rst`` and ``arch/arm64/booting.rst`` of
Linux, the PE/COFF and ELF specifications, ``arch/s390/boot/head.S``, ECMA-119, and
``Documentation/driver-api/early-userspace/buffer-format.rst``. Only certain results lead to a
refusal (`Form.ISO`, `Form.TEXT`, `Form.CPIO`, `Form.ELF`); all others are guesses, which lead to
warnings at most. Reads at most `_HEAD` bytes and the last few, and unpacks at most as many.
"""

from __future__ import annotations

import lzma
import re
import zlib
from dataclasses import dataclass
from enum import Enum, auto

from mic.media.cpio import GZIP_MAGIC
from mic.media.iso9660 import SECTOR, SYSTEM_AREA
from mic.media.layout import Source

UNKNOWN_WORDS = "no format that mic knows"
"""`Signature.words` of a file that is none of the known ones."""

_HEAD = 68 * 1024
_LZMA_MEMORY = 128 * 1024 * 1024
_TEXT_SAMPLE = 4096

_XZ = b"\xfd7zXZ\x00"
# Other formats of Linux for an initramfs (lib/decompress.c); their content is not inspected.
_OTHER_PACKERS = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x02\x21\x4c\x18": "lz4",
    b"BZh": "bzip2",
    b"\x89LZO": "lzo",
    b"\x5d\x00\x00": "lzma",
}
_NEWC = re.compile(rb"07070[12][0-9A-Fa-f]{104}")
_ODC = re.compile(rb"070707[0-7]{70}")
_NEWC_HEADER = 110
_ROOTFS_MEMBERS = (b"root.squashfs\0", b"root.erofs\0")
_PE_MACHINES = {0x8664: "x86_64", 0xAA64: "aarch64"}
_ELF_BIG_ENDIAN = 2
_ELF_MACHINES = {21: "ppc64le", 22: "s390x", 62: "x86_64", 183: "aarch64"}
# The first channel programs of the IPL block, from byte 8.
_S390_BLOCK = bytes.fromhex("0200001860000050 0200006860000050")
_VHD = b"conectix"
_VHD_FOOTER = 512
# Other files that are taken for boot files: offset, magic and name.
_OTHERS = (
    (0, b"hsqs", "a squashfs file system"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"QFI\xfb", "a qcow2 disk image"),
    (0, b"KDMV", "a VMDK disk image"),
    (0, _VHD, "a VHD disk image"),
    (0, b"vhdxfile", "a VHDX disk image"),
    (512, b"EFI PART", "a raw disk image (with a GPT)"),
    (4096, b"EFI PART", "a raw disk image (with a GPT)"),
)
# Documents of a single line have no line break that shows them to be text.
_OPENINGS = (b"<!doctype", b"<html", b"<?xml", b"#!", b"-----begin ", b'{"', b"[{")
_CONTROLS = frozenset(range(0x20)) - frozenset(b"\t\n\f\r") | {0x7F}


class Form(Enum):
    """Kind of file."""

    ISO = auto()
    TEXT = auto()
    CPIO = auto()
    ELF = auto()
    KERNEL = auto()
    PACKED = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The apparent kind of a file; ``words`` follow "looks like" or "is".

    ``architecture`` is the kernel's name of the architecture it is for, or empty. ``packer`` is the
    compression; then ``form`` is that of the content, or `Form.PACKED` if that is unknown.
    ``rootfs``: it is the live root file system.
    """

    form: Form
    words: str
    architecture: str = ""
    packer: str = ""
    rootfs: bool = False


def signature(source: Source, start: int = 0, stop: int | None = None) -> Signature:
    """Return the signature of the bytes ``start`` to ``stop`` of a source.

    Raises the errors of reading the source.
    """
    size = (source.size if stop is None else stop) - start
    head = source.read(start, min(size, _HEAD))
    if head.startswith(GZIP_MAGIC):
        return _packed("gzip", _gunzipped(head))
    if head.startswith(_XZ):
        return _packed("xz", _unxzed(head))
    for magic, packer in _OTHER_PACKERS.items():
        if head.startswith(magic):
            return _packed(packer, b"")
    found = _plain(head)
    if found.form is Form.UNKNOWN and stop is None and _ends_as_vhd(source):
        return Signature(form=Form.UNKNOWN, words="a VHD disk image (of fixed size)")
    return found


def _ends_as_vhd(source: Source) -> bool:
    """Return whether a file ends as a disk image whose only mark is at its end."""
    return source.size > _VHD_FOOTER and source.read(source.size - _VHD_FOOTER, len(_VHD)) == _VHD


def _packed(packer: str, content: bytes) -> Signature:
    inner = _plain(content) if content else None
    if inner is None or inner.form is Form.UNKNOWN:
        return Signature(form=Form.PACKED, words=f"{packer}-compressed data", packer=packer)
    return Signature(
        form=inner.form,
        words=f"{inner.words}, compressed with {packer}",
        architecture=inner.architecture,
        packer=packer,
        rootfs=inner.rootfs,
    )


def _gunzipped(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD)
    except zlib.error:
        return b""


def _unxzed(head: bytes) -> bytes:
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)
        return unpacker.decompress(head, _HEAD)
    except lzma.LZMAError:
        return b""


def _plain(head: bytes) -> Signature:
    if _NEWC.match(head) or _ODC.match(head):
        name = head[_NEWC_HEADER:]
        if name.startswith(_ROOTFS_MEMBERS):
            words = "the live root file system (a cpio archive)"
            return Signature(form=Form.CPIO, words=words, rootfs=True)
        return Signature(form=Form.CPIO, words="a cpio archive")
    if head[SYSTEM_AREA + 1 : SYSTEM_AREA + 6] == b"CD001" and len(head) >= SYSTEM_AREA + SECTOR:
        return Signature(form=Form.ISO, words="an ISO 9660 image")
    kernel = _kernel(head)
    if kernel is not None:
        return kernel
    for offset, magic, words in _OTHERS:
        if head.startswith(magic, offset):
            return Signature(form=Form.UNKNOWN, words=words)
    if _is_text(head):
        return Signature(form=Form.TEXT, words=_kind_of_text(head))
    if len(head) > 512 and head[510:512] == b"\x55\xaa":
        return Signature(form=Form.UNKNOWN, words="a raw disk image (with an MBR)")
    return Signature(form=Form.UNKNOWN, words=UNKNOWN_WORDS)


def _kind_of_text(head: bytes) -> str:
    start = head[:_TEXT_SAMPLE].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith(b"version https://git-lfs.github.com/"):
        return "a Git LFS pointer"
    if start.startswith(b"# disk descriptorfile"):
        return "a VMDK disk image (its descriptor)"
    return "text"


def _kernel(head: bytes) -> Signature | None:
    """Return the signature of a kernel image or an ELF file (kernels of ppc64le), or None."""
    if head.startswith(b"\x7fELF") and len(head) >= 20:
        machine = int.from_bytes(head[18:20], "big" if head[5] == _ELF_BIG_ENDIAN else "little")
        architecture = _ELF_MACHINES.get(machine, "")
        return Signature(
            form=Form.ELF, words=_for("an ELF file", architecture), architecture=architecture
        )
    architecture = ""
    if head[56:60] == b"ARM\x64":
        architecture = "aarch64"
    elif head[0x202:0x206] == b"HdrS":
        architecture = "x86_64"
    elif head[8:24] == _S390_BLOCK or head[0x10008:0x1000E] == b"S390EP":
        architecture = "s390x"
    elif head.startswith(b"MZ"):
        start = int.from_bytes(head[0x3C:0x40], "little")
        if head[start : start + 4] == b"PE\0\0":
            machine = int.from_bytes(head[start + 4 : start + 6], "little")
            architecture = _PE_MACHINES.get(machine, "")
    else:
        return None
    return Signature(
        form=Form.KERNEL, words=_for("a kernel", architecture), architecture=architecture
    )


def _for(what: str, architecture: str) -> str:
    return f"{what} for {architecture}" if architecture else what


def _is_text(head: bytes) -> bool:
    """Return whether it is lines of text, or starts like a document: HTML, a script, a key."""
    sample = head[:_TEXT_SAMPLE]
    if not _CONTROLS.isdisjoint(sample):
        return False
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        # The sample may end within a character.
        if error.reason != "unexpected end of data" or len(head) <= _TEXT_SAMPLE:
            return False
    return b"\n" in sample or sample.lstrip().lower().startswith(_OPENINGS)
