"""The parts of ISOLINUX, by which BIOS boots an ISO."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from mic.common.errors import BaseUnavailable, NotReady
from mic.common.files import can_pass, read_regular
from mic.media.eltorito import BOOT_INFO_END

BINARY: Final = "isolinux.bin"
LINKER: Final = "ldlinux.c32"

_LIMIT: Final = 1024 * 1024
_MARK: Final = b"ISOLINUX"


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolinux:
    """The boot image, and the library that it loads."""

    binary: bytes = field(repr=False)
    linker: bytes = field(repr=False)


def read_isolinux(directory: str) -> Isolinux:
    """Return the files of ISOLINUX in a directory. Blocks.

    Raises `BaseUnavailable`, naming the file and the fix, when there is none, and `NotReady` when
    it may be readable later.
    """
    binary, linker = (_content(os.path.join(directory, name)) for name in (BINARY, LINKER))
    if binary.find(_MARK, BOOT_INFO_END) < 0:
        raise BaseUnavailable(f"MIC_ISOLINUX: {directory}/{BINARY} is not the boot image ISOLINUX")
    return Isolinux(binary=binary, linker=linker)


def _content(path: str) -> bytes:
    try:
        content = read_regular(path, _LIMIT)
    except OSError as error:
        kind = NotReady if can_pass(error) else BaseUnavailable
        raise kind(f"MIC_ISOLINUX: {path}: {error.strerror}") from None
    if not content:
        raise BaseUnavailable(f"MIC_ISOLINUX: {path} is empty")
    if len(content) > _LIMIT:
        raise BaseUnavailable(f"MIC_ISOLINUX: {path} has more than {_LIMIT} bytes")
    return content
