"""Describe an image of another ramdisk than CoreOS: the files that mic put into it."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from mic.common.text import printable
from mic.media.catalog import GRUB_CONFIG
from mic.media.cpio import GZIP_MAGIC, ArchiveError, Member, members_of
from mic.media.iso9660 import Iso, IsoError
from mic.media.layout import FileRange, Layout, Source
from mic.media.virtual_iso import (
    AGENT_CONF_PATH,
    INITRAMFS_PATH,
    ISOLINUX_CONFIG,
    KERNEL_PATH,
    VOLUME,
)

# The magic and gzip's only method: the magic alone occurs everywhere in an initramfs.
_DEFLATED: Final = GZIP_MAGIC + b"\x08"
_TAILS: Final = (512 * 1024, 4 * 1024 * 1024, 32 * 1024 * 1024)
_MAX_CONFIG: Final = 64 * 1024
_OF_LOADERS: Final = (f"/{KERNEL_PATH}", "initrd=", "--")
"""Words of a config that do not reach the kernel."""
_TAB: Final = "\t"

_Content = TypeVar("_Content")


def appended(source: Source, read: Callable[[bytes], _Content]) -> _Content | None:
    """Return what ``read`` makes of the last archive of an initramfs, searched from the end.

    ``read`` raises `ArchiveError` for bytes that are not the archive. None when there is none.
    """
    for size in _TAILS:
        start = max(source.size - size, 0)
        tail = source.read(start, source.size - start)
        position = len(tail)
        while (position := tail.rfind(_DEFLATED, 0, position)) >= 0:
            try:
                return read(tail[position:])
            except ArchiveError:
                continue
        if start == 0:
            break
    return None


def ramdisk_members(source: Source) -> list[Member] | None:
    """Return the members that mic put into an ISO or initramfs; None for images of CoreOS."""
    try:
        iso = Iso(source)
    except IsoError:
        return appended(source, _members)
    if iso.volume_id != VOLUME:
        return None
    try:
        extent = iso.find(INITRAMFS_PATH)
    except IsoError:
        return None
    piece = FileRange(source=source, start=extent.offset, stop=extent.offset + extent.length)
    return appended(Layout([piece]), _members)


def _members(data: bytes) -> list[Member]:
    members = list(members_of(data))
    if all(member.path != AGENT_CONF_PATH for member in members):
        raise ArchiveError("the archive is not for such a ramdisk")
    return members


def described(source: Source, members: list[Member], hide: Callable[[str], str]) -> Iterator[str]:
    """Yield lines that describe the members, and the kernel arguments of an ISO."""
    files = [member for member in members if not stat.S_ISDIR(member.mode)]
    yield f"ramdisk with {len(files)} files of mic\n"
    arguments = _arguments(source)
    if arguments:
        yield f"kernel arguments: {printable(hide(arguments))}\n"
    for member in files:
        path = printable(hide(f"/{member.path}"))
        text = member.data.decode("utf-8", "replace")
        if stat.S_ISLNK(member.mode):
            yield f"\nlink {path} to {printable(hide(text))}\n"
            continue
        mode = stat.S_IMODE(member.mode)
        yield f"\nfile {path} {mode:04o}, {len(member.data)} bytes\n"
        yield from (f"    {printable(line, keep=_TAB)}\n" for line in hide(text).splitlines())


def _arguments(source: Source) -> str:
    """Return the kernel arguments in the config of a boot loader; empty if there is none."""
    for path, word in ((GRUB_CONFIG, "linux "), (ISOLINUX_CONFIG, "append ")):
        try:
            text = Iso(source).read(path, _MAX_CONFIG).decode("utf-8", "replace")
        except IsoError:
            continue
        for line in text.splitlines():
            if line.strip().startswith(word):
                words = line.partition(word)[2].split()
                return " ".join(each for each in words if not each.startswith(_OF_LOADERS))
    return ""
