"""Unpack kernels that are bare gzip: some releases for aarch64 ship them so.

iPXE without gzip support refuses those ("Exec format error"), so mic serves the unpacked bytes.
They are in an anonymous file in memory (memfd): nothing is written to disk, and bodies use
sendfile as for base files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import zlib
from dataclasses import replace

from mic.common.errors import BaseUnavailable, NotReady
from mic.media.base import Base
from mic.media.basefile import BaseChanged, BaseFile, Version, unreadable
from mic.media.cpio import GZIP_MAGIC

MAX_KERNEL = 256 * 1024 * 1024
"""Upper bound on the unpacked size in bytes; kernels for aarch64 have 30 to 60 MiB."""

_CHUNK = 1024 * 1024
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class UnpackedFile(BaseFile):
    """The unpacked bytes of a part of another base file; current while that is.

    Changes of the other file do not change these bytes.
    """

    __slots__ = ("_origin",)

    def __init__(self, *, origin: BaseFile, fd: int, digest: bytes) -> None:
        status = os.fstat(fd)
        super().__init__(
            path=origin.path,
            fd=fd,
            size=status.st_size,
            version=Version.of(status),
            digest=digest,
            changed_ns=status.st_ctime_ns,
        )
        self._origin = origin

    def is_current(self) -> bool:
        """Return whether the path still leads to the file that these bytes came from."""
        return self._origin.is_current()


def unpacked(base: Base, limit: int = MAX_KERNEL) -> Base:
    """Return a gzip-compressed kernel as it is served: unpacked, in memory.

    Its digest is derived from the digest of the base and the range in it, so its entity tag is the
    same in every process. Blocks for about a second: for a thread. Raises `BaseUnavailable` when it
    is damaged or larger than ``limit``, `NotReady` when the file may be readable later.
    """
    place = f"gunzip {base.start} {base.stop} ".encode()
    digest = hashlib.blake2b(place + base.file.digest, digest_size=20).digest()
    try:
        fd = os.memfd_create("mic-kernel", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        raise unreadable(base.file.path, error) from None
    try:
        _unpack(base, fd, limit)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        file = UnpackedFile(origin=base.file, fd=fd, digest=digest)
    except OSError as error:
        os.close(fd)
        raise unreadable(base.file.path, error) from None
    except BaseException:
        os.close(fd)
        raise
    return replace(base, file=file, start=0, stop=file.size, gzipped=False)


def _unpack(base: Base, fd: int, limit: int) -> None:
    """Write the content of all gzip members; other bytes after them are padding."""
    stream = zlib.decompressobj(wbits=31)
    position, written = base.start, 0
    while position < base.stop:
        data = _read(base, position, min(_CHUNK, base.stop - position))
        position += len(data)
        while data:
            if stream.eof:
                if not data.startswith(GZIP_MAGIC):
                    return
                stream = zlib.decompressobj(wbits=31)
            try:
                content = stream.decompress(data, _CHUNK)
            except zlib.error as error:
                raise BaseUnavailable(
                    f"base image {base.file.path}: its kernel is damaged gzip ({error}): "
                    "copy the file again"
                ) from None
            written += len(content)
            if written > limit:
                raise BaseUnavailable(
                    f"base image {base.file.path}: its kernel unpacks to more than {limit} bytes"
                )
            _write(fd, content)
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
    if not stream.eof:
        raise BaseUnavailable(
            f"base image {base.file.path}: its kernel is truncated gzip: copy the file again"
        )


def _read(base: Base, offset: int, length: int) -> bytes:
    try:
        return base.file.read(offset, length)
    except BaseChanged:
        raise NotReady(f"base image {base.file.path} is being written") from None
    except OSError as error:
        raise unreadable(base.file.path, error) from None


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
