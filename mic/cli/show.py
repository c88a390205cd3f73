"""``mic show``: print what an image carries, from a file or, by ranges, from a URL."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from urllib.parse import urlsplit

from mic.cli.flags import Command
from mic.cli.show_ignition import ShowError, config_as_json, describe, mask
from mic.cli.show_ramdisk import appended, described, ramdisk_members
from mic.cli.show_url import read_url
from mic.common.errors import MicError
from mic.common.text import printable
from mic.common.urls import without_credentials
from mic.media.basefile import peek
from mic.media.coreos import embed_area, embedded_config, has_rootfs, kernel_arguments
from mic.media.cpio import CONFIG_NAME, ArchiveError, config_of, members_of
from mic.media.iso9660 import SECTOR, Iso, IsoError
from mic.media.layout import Source
from mic.media.signature import Form, signature
from mic.settings.table import Flag

_FLAGS = (
    Flag(name="show-secrets", default="false", help="do not mask secrets", switch=True),
    Flag(
        name="json",
        default="false",
        help="print the Ignition config as JSON, with secrets; indented on a terminal",
        switch=True,
    ),
    Flag(name="insecure", default="false", help="do not verify TLS", switch=True),
)
COMMAND = Command(
    program="mic show",
    summary="Print what an image carries, from a file or a URL; secrets are masked.",
    example="mic show http://192.0.2.1:8084/worker-0.iso",
    flags=_FLAGS,
    synopsis="FILE-or-URL",
)
_EMBED_AREA = 256 * 1024
"""Bytes of the embed area of every release so far."""

_SCRIPT = b"#!ipxe\n"
_LONGEST_SCRIPT = 64 * 1024  # bytes


def main(arguments: Sequence[str]) -> int:
    """Print an image's content; on failure return 1 with the reason on stderr."""
    operands: list[str] = []
    flags = COMMAND.parse(arguments, operands)
    if len(operands) != 1:
        sys.stderr.write("mic show: name one file or URL\n")
        return 2
    (target,) = operands
    secrets = flags["show-secrets"] == "true"
    as_json = flags["json"] == "true"

    def printed(source: Source) -> str:
        hide = str if secrets else mask
        other = boot_file(source, hide)
        if other and as_json:
            raise ShowError(f"{other.partition(chr(10))[0]} holds no Ignition config")
        if other:
            return other
        members = ramdisk_members(source)
        if members is not None:
            if as_json:
                raise ShowError("it is no image of CoreOS and has no Ignition config: drop -json")
            return "".join(described(source, members, hide))
        config, kernel = read_image(source)
        if as_json:
            return config_as_json(config, indent=sys.stdout.isatty())
        shown = (describe(config, kernel, secrets=secrets), early_files(source))
        return "".join([*chain(*shown), *differences(source)])

    try:
        if urlsplit(target).scheme in ("http", "https"):
            text = read_url(target, printed, verify=flags["insecure"] != "true")
        else:
            with peek(target) as source:
                text = printed(source)
    except OSError as error:
        return _fail(target, error.strerror or str(error))
    except (MicError, IsoError, ArchiveError) as error:
        return _fail(target, str(error))
    sys.stdout.write(text)
    return 0


def _fail(target: str, why: str) -> int:
    sys.stderr.write(f"mic show: {without_credentials(target)}: {why}\n")
    return 1


def read_image(source: Source) -> tuple[bytes, str | None]:
    """Return the Ignition config of an ISO or an initramfs, and the ISO's kernel arguments.

    Raises `IsoError`, `ArchiveError` or `ShowError`.
    """
    try:
        iso = Iso(source)
    except IsoError as error:
        archive = _appended_archive(source)
        config = None if archive is None else config_of(archive)
        if config is None:
            raise ShowError(f"{error}; nor is it an initramfs with a config appended") from None
        return config, None
    area = embed_area(iso, source)
    config = embedded_config(source, area)
    if config is None:
        raise ShowError("the embed area is empty: this ISO is not customised")
    arguments = kernel_arguments(iso, source)
    return config, arguments.text if arguments else None


def boot_file(source: Source, hide: Callable[[str], str]) -> str:
    """Return what to show of a script, a kernel or a root file system; empty for other files."""
    if source.size <= _LONGEST_SCRIPT:
        text = source.read(0, source.size)
        if text.startswith(_SCRIPT):
            shown = printable(hide(text.decode("utf-8", "replace")), keep="\n")
            return f"iPXE script, {source.size} bytes\n\n{shown}"
    seen = signature(source)
    if seen.rootfs or seen.form is Form.KERNEL:
        return f"{seen.words}, {source.size} bytes: for all hosts, without an Ignition config\n"
    return ""


def early_files(source: Source) -> Iterator[str]:
    """Yield lines about the files that an image adds to its initramfs besides the config."""
    try:
        area = embed_area(Iso(source), source)
        data = source.read(area.offset, area.length)
    except IsoError:
        data = _appended_archive(source) or b""
    files = [each for each in members_of(data) if stat.S_ISREG(each.mode)]
    for file in files:
        if file.path != CONFIG_NAME:
            path, mode = printable(file.path), stat.S_IMODE(file.mode)
            yield f"\nin the initramfs: {path} {mode:04o}, {len(file.data)} bytes\n"


def differences(source: Source) -> Iterator[str]:
    """Yield lines about how an ISO differs from the release it was made of; nothing for others."""
    try:
        iso = Iso(source)
        area = embed_area(iso, source)
        arguments = kernel_arguments(iso, source)
    except IsoError:
        return
    if arguments is not None and arguments.text != arguments.default:
        yield f"\nkernel arguments of the release: {printable(mask(arguments.default))}\n"
    if not has_rootfs(iso):
        yield "\nminimal ISO: the host fetches its root file system\n"
    is_last = -(-(area.offset + area.length) // SECTOR) * SECTOR == source.size
    if is_last and area.length > _EMBED_AREA:
        yield "\nthe archive is relocated to the end of the image: it does not fit the embed area\n"


def _appended_archive(source: Source) -> bytes | None:
    """Return the last archive with a config of an initramfs."""

    def archive(data: bytes) -> bytes:
        config_of(data)
        return data

    return appended(source, archive)
