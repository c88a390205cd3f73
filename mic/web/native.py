"""The compiled fast lane, where it is installed: the package of ``native/``, which is optional.

What it does, `mic.web.fastlane` does as well, only slower. It is a package of its own, so that mic
itself needs no compiler and is the same file for all machines.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from twisted.logger import Logger

from mic.images.store import Image
from mic.media.basefile import BaseFile
from mic.media.layout import FileRange
from mic.web.headers import image_head

INTERFACE = 2
"""The way in which mic calls the package: a package with another number is not used."""

_log = Logger()
_File = tuple[bytes, int, int, int, int, int, int, int, int]


class Sender(Protocol):
    """Sends small ranges of one version of an image; see ``native/fastlane.c``."""

    def send(self, fd: int, start: int, stop: int, begin: bytes, /) -> int | bytes | None:
        """Return the number of body bytes taken, or the rest of the head, or None: nothing sent."""

    def answer(
        self, fd: int, before: bytes, after: bytes, begin: bytes, /
    ) -> tuple[int, int, int | bytes] | bytes:
        """Receive, and answer a request of ``before``, a range and ``after``.

        Return the range and what was taken, as `send` does, or what came and is not answered.
        Raises `OSError`.
        """


class Native(Protocol):
    """The compiled module."""

    def plain_request(self, data: bytes, /) -> tuple[str, int, int] | None:
        """Return the name, first and last byte of a plain request, None for anything else."""

    def Sender(
        self,
        *,
        files: tuple[_File, ...],
        pieces: tuple[tuple[int, int, int] | memoryview, ...],
        held: tuple[BaseFile, ...],
        lines: bytes,
    ) -> Sender:
        """Return what sends ranges of an image with these pieces."""


def load() -> Native | None:
    """Return the compiled module, None where it is not installed or cannot be used."""
    try:
        module = import_module("mic_native")
        interface = getattr(module, "INTERFACE", None)
    except ModuleNotFoundError:
        return None
    except Exception as error:
        # Built for another Python, another C library: whatever it is, mic works without.
        _log.warn(
            "the compiled fast lane cannot be imported, and small ranges cost more CPU time: "
            "{error}; install the package mic-native anew, with the Python that runs mic",
            error=error,
        )
        return None
    if interface != INTERFACE:
        _log.warn(
            "the compiled fast lane is not of this version of mic, and not used: small ranges cost "
            "more CPU time; install the package mic-native from the sources of this version",
        )
        return None
    return cast(Native, module)


class _Made(NamedTuple):
    """A sender, and the change times for which it answers."""

    sender: Sender | None
    files: tuple[BaseFile, ...]
    changed_ns: tuple[int, ...]


_NONE = _Made(None, (), ())


class Senders:
    """The senders of images: made with the first small range of each, and freed with the image."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def of(self, image: Image) -> Sender | None:
        """Return the sender of an image, None if its ranges can be sent in Python only."""
        if len(image.made) < 2:
            image_head(image)
            image.made.append(self._make(image))
        made: _Made = image.made[1]
        return made.sender

    def renew(self, image: Image) -> None:
        """Note why an image had to be sent in Python, after that was done.

        Where a file was in doubt, and has turned out to be the same, its sender is made anew. Where
        the file system does not know what is in memory, the image has no sender any more.
        """
        made: _Made = image.made[1]
        if not all(file.cache.knows_nowait for file in made.files):
            image.made[1] = _NONE
        elif made.changed_ns != tuple(file.changed_ns for file in made.files):
            image.made[1] = self._make(image)

    def _make(self, image: Image) -> _Made:
        files = [image.base.file]
        pieces: list[tuple[int, int, int] | memoryview] = []
        for piece in image.layout:
            if not isinstance(piece, FileRange):
                pieces.append(piece.data)
                continue
            if not isinstance(piece.source, BaseFile):
                return _NONE
            if piece.source not in files:
                files.append(piece.source)
            pieces.append((files.index(piece.source), piece.start, len(piece)))
        changed_ns = tuple(file.changed_ns for file in files)
        if any(file.version.block_device or type(file) is not BaseFile for file in files):
            # What stat shows of a device says nothing about its medium, and what it shows of a
            # compressed file nothing about the unpacked one.
            return _NONE
        sender = self._native.Sender(
            files=tuple(map(_file, files)),
            pieces=tuple(pieces),
            held=tuple(files),
            lines=image_head(image).lines,
        )
        return _Made(sender, tuple(files), changed_ns)


def _file(file: BaseFile) -> _File:
    version = file.version
    return (
        os.fsencode(file.path),
        file.fd,
        version.device,
        version.inode,
        version.size,
        *divmod(version.modified_ns, 10**9),
        *divmod(file.changed_ns, 10**9),
    )
