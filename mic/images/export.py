"""Write an image to a file or a pipe, byte for byte as it is served.

All calls block while they read the base file: not for the reactor's thread.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from mic.common.errors import MicError
from mic.common.files import sync_directory
from mic.common.text import printable
from mic.media.basefile import BaseChanged, BaseFile, unreadable
from mic.media.catalog import BasePaths, catalog
from mic.media.layout import FileRange, Layout, Piece

Progress = Callable[[int, int], None]
"""Called with the bytes that are done and those of the whole image."""

_CHUNK = 1 << 20
# The least that becomes a hole, and the block size of common file systems.
_BLOCK = 4096
_ZEROS = bytes(_BLOCK)


class ExportError(MicError):
    """The image cannot be written; the message names the file and the reason."""


def check_target(path: str, paths: BasePaths, architecture: str, inputs: Iterable[str]) -> str:
    """Return the file to write for ``path``: where its links lead.

    Nothing is written. Raises `ExportError` for anything but a regular file or a free name, for a
    directory that cannot be written to, for one of the ``inputs``, and for the name of a base
    image: mic would serve what is written there.
    """
    target = os.path.realpath(path)
    directory = os.path.dirname(target)
    try:
        mode = _mode(target)
        if path.endswith("/") or stat.S_ISDIR(mode):
            raise ExportError(f"{_shown(path)} is a directory; name a file")
        if mode and not stat.S_ISREG(mode):
            raise ExportError(
                f"{_shown(path)} is not a regular file; use -output - and redirect it there"
            )
        # Before the base image is read, which takes seconds.
        if not stat.S_ISDIR(os.stat(directory).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unwritable(path, error) from None
    for base in _base_paths(paths, architecture, target):
        if _is_same(base, target):
            raise ExportError(
                f"{_shown(path)} is, or would be, a base image of mic; choose another name"
            )
    for name in inputs:
        if _is_same(name, target):
            raise ExportError(f"{_shown(path)} is a file that the image is built from")
    return target


def write_file(layout: Layout, target: str, progress: Progress) -> None:
    """Write an image to a file of mode 0600, all at once: it replaces ``target`` when complete.

    Runs of zeros become holes. Where the file system can share extents, the file shares those of
    the base file.

    After any error or interrupt ``target`` is as before, and nothing else is left. Raises
    `ExportError`, `BaseChanged` when the base was overwritten or replaced meanwhile, and
    `BaseUnavailable` or `NotReady` when it cannot be read.
    """
    directory = os.path.dirname(target)
    temporary = ""
    try:
        # Created with mode 0600.
        fd, temporary = tempfile.mkstemp(dir=directory, prefix=".mic-build-")
        with open(fd, "wb", buffering=0):
            os.ftruncate(fd, layout.size)
            _fill(layout, fd, progress)
            os.fsync(fd)
        _check_unchanged(layout)
        os.replace(temporary, target)
        temporary = ""
        sync_directory(directory)
    except OSError as error:
        raise _unwritable(target, error) from None
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)


def write_stream(layout: Layout, fd: int, name: str, progress: Progress) -> None:
    """Write an image to an open file, pipe or device, called ``name`` in messages.

    What was written stays after an error; the errors are those of `write_file`.
    """
    for file in _files(layout):
        if os.path.samestat(os.fstat(fd), os.fstat(file.fd)):
            raise ExportError(f"{name} is the base image")
    for position, data, _ in _chunks(layout):
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[os.write(fd, rest) :]
                except BlockingIOError:
                    # The process that made the pipe may have made it non-blocking.
                    select.select([], [fd], [])
        except OSError as error:
            raise _unwritable(name, error) from None
        progress(position + len(data), layout.size)
    _check_unchanged(layout)


def _mode(path: str) -> int:
    """Return the mode of a file, 0 if there is none."""
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


def _base_paths(paths: BasePaths, architecture: str, target: str) -> Iterable[str]:
    """Return the paths of all base images, as if ``target`` existed already."""
    directory, name = os.path.split(target)
    listings: dict[str, set[str]] = {}
    for searched in paths.directories():
        with suppress(OSError):
            listings[searched] = set(os.listdir(searched))
        if _is_same(searched, directory):
            listings.setdefault(searched, set()).add(name)
    return catalog(paths, listings, architecture).paths


def _is_same(one: str, other: str) -> bool:
    """Return whether two paths lead to one file, by links of either sort, whether it exists."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _fill(layout: Layout, fd: int, progress: Progress) -> None:
    """Write all bytes that are not zero into an empty file."""
    can_copy = True
    for position, data, piece in _chunks(layout):
        for start, stop in _runs(data, position):
            copied = 0
            if can_copy and isinstance(piece, FileRange) and isinstance(piece.source, BaseFile):
                source = piece.source.fd
                copied = _copy(source, piece.start + start, fd, position + start, stop - start)
                # Otherwise the rest, and all that follows, is written from memory.
                can_copy = copied == stop - start
            rest = memoryview(data)[start + copied : stop]
            while rest:
                rest = rest[os.pwrite(fd, rest, position + stop - len(rest)) :]
        progress(position + len(data), layout.size)


def _copy(source: int, offset: int, target: int, at: int, length: int) -> int:
    """Copy within the kernel, which shares extents if it can; return how many bytes it copied."""
    done = 0
    # An error, such as EXDEV, is ignored here: the caller writes the rest and meets real ones.
    with suppress(OSError):
        while done < length and (
            count := os.copy_file_range(source, target, length - done, offset + done, at + done)
        ):
            done += count
    return done


def _chunks(layout: Layout) -> Iterator[tuple[int, bytes | memoryview, Piece]]:
    """Yield the image's bytes in order: position, content, and the piece with that content."""
    position = 0
    while position < layout.size:
        # Up to a multiple, so that blocks of the base file stay whole.
        stop = min(layout.size, (position // _CHUNK + 1) * _CHUNK)
        for piece in layout.pieces(position, stop):
            if isinstance(piece, FileRange):
                yield position, _read(piece), piece
            else:
                yield position, piece.data, piece
            position += len(piece)


def _read(piece: FileRange) -> bytes:
    try:
        return piece.source.read(piece.start, len(piece))
    except OSError as error:
        if isinstance(piece.source, BaseFile):
            raise unreadable(piece.source.path, error) from None
        raise


def _runs(data: bytes | memoryview, position: int) -> Iterator[tuple[int, int]]:
    """Yield start and stop of the parts that are not zero; ``position`` is where ``data`` begins.

    The parts consist of blocks of the file, which has its holes between them.
    """
    begun = -1
    start = 0
    while start < len(data):
        stop = min(len(data), start + _BLOCK - (position + start) % _BLOCK)
        if bytes(data[start:stop]) == _ZEROS[: stop - start]:
            if begun >= 0:
                yield begun, start
            begun = -1
        elif begun < 0:
            begun = start
        start = stop
    if begun >= 0:
        yield begun, len(data)


def _files(layout: Layout) -> set[BaseFile]:
    return {
        piece.source
        for piece in layout
        if isinstance(piece, FileRange) and isinstance(piece.source, BaseFile)
    }


def _check_unchanged(layout: Layout) -> None:
    """Raise `BaseChanged` unless all base files of an image are still what is on disk."""
    for file in _files(layout):
        try:
            same = file.verify()
        except OSError as error:
            raise unreadable(file.path, error) from None
        if not same:
            raise BaseChanged(f"{file.path} was changed while it was open")
        if not (file.is_current() and file.same_medium()):
            raise BaseChanged(f"{file.path} was replaced while it was open")


def _unwritable(path: str, error: OSError) -> ExportError:
    return ExportError(f"{_shown(path)}: {error.strerror or error}")


def _shown(path: str) -> str:
    return printable(path)
