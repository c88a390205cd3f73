"""Whether a downloaded file is what was wanted, by its content. Pure.

A content delivery network may end a file early and still announce that length, and a proxy may
answer with a page of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from mic.common.text import printable
from mic.fetch.failure import FetchError
from mic.fetch.metadata import Kind
from mic.media import coreos
from mic.media.iso9660 import Iso, IsoError
from mic.media.layout import Source
from mic.media.probe import iso_problem
from mic.media.signature import Form, signature

_VOLUMES = ("rhcos-", "fedora-coreos-", "scos-")
_FORMS = {
    Kind.KERNEL: (Form.KERNEL, Form.ELF, Form.PACKED),
    Kind.INITRAMFS: (Form.CPIO, Form.PACKED),
    Kind.ROOTFS: (Form.CPIO, Form.PACKED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """The volume name of an ISO, and warnings."""

    volume: str = ""
    warnings: tuple[str, ...] = ()


def inspected(source: Source, kind: Kind, architecture: str) -> Inspected:
    """Return what a file is; raise `FetchError` when it certainly is not what was wanted.

    ``architecture`` is the one that was asked for, empty for any. Raises the errors of reading.
    """
    if kind is Kind.ISO:
        return _iso(source, architecture)
    seen = signature(source)
    if seen.form in (Form.TEXT, Form.ISO):
        raise FetchError(f"it is {seen.words}, not the {kind} of CoreOS")
    _check_architecture(seen.architecture, architecture)
    fits = seen.form in _FORMS[kind] and not (seen.rootfs and kind is Kind.INITRAMFS)
    warnings = () if fits else (f"it looks like {seen.words}, not like the {kind} of CoreOS",)
    return Inspected(warnings=warnings)


def _iso(source: Source, architecture: str) -> Inspected:
    if problem := iso_problem(source):
        raise FetchError(problem)
    try:
        iso = Iso(source)
        kernel = coreos.kernel(iso)
        parts = {"kernel": kernel, "initramfs": coreos.initramfs(iso)}
        parts["root file system"] = iso.find(coreos.ROOTFS)
    except IsoError as error:
        raise FetchError(f"{error}; is it the live ISO of CoreOS, and not a minimal one?") from None
    for name, extent in parts.items():
        if not extent.length:
            raise FetchError(f"its {name} is empty")
    seen = signature(source, kernel.offset, kernel.offset + kernel.length)
    _check_architecture(seen.architecture or coreos.architecture(iso), architecture)
    volume = printable(iso.volume_id)
    warnings: tuple[str, ...] = ()
    if not volume.startswith(_VOLUMES):
        warnings = (f"its volume name is {volume!r}, which is none of CoreOS",)
    return Inspected(volume=volume, warnings=warnings)


def _check_architecture(found: str, wanted: str) -> None:
    if found and wanted and found != wanted:
        raise FetchError(f"it is made for {found}, not for {printable(wanted)}")
