"""The file that is being downloaded: next to the one that it will replace, all at once.

Calls block for as long as the disk does; `fsync` and digests of what is there are for a thread.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import replace

from mic.common.files import read_regular, sync_directory
from mic.common.text import printable
from mic.fetch.failure import FetchError
from mic.fetch.verdict import Held
from mic.media.checksum import SUFFIX, checksum_text

_CHUNK = 1 << 20
_MODE = 0o644  # mic serves as another user, and a release is no secret
_MAX_NOTES = 64 * 1024
_ATTEMPTS = 100


def resolved(path: str) -> str:
    """Return the file to write for ``path``: where its links lead.

    Nothing is written. Raises `FetchError` for anything but a regular file or a free name in a
    directory that can be written to.
    """
    target = os.path.realpath(path)
    try:
        for each in (target, f"{target}{SUFFIX}"):
            with suppress(FileNotFoundError):
                mode = os.lstat(each).st_mode
                if stat.S_ISDIR(mode):
                    raise FetchError(f"{printable(each)} is a directory; name a file")
                if not stat.S_ISREG(mode):
                    raise FetchError(f"{printable(each)} is not a regular file")
        if path.endswith("/"):
            raise FetchError(f"{printable(path)} is a directory; name a file")
        directory = os.path.dirname(target)
        if not stat.S_ISDIR(os.stat(directory).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise unwritable(path, error) from None
    return target


def digest_of(path: str) -> str | None:
    """Return the SHA-256 of a file, None without one. Blocks; raises `FetchError`."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: str, error: OSError) -> FetchError:
    """Return the error for a file that cannot be written or read."""
    return FetchError(f"{printable(path)}: {error.strerror or error}")


class Partial:
    """The received part of a file, `.NAME.part`, its digest, and the version that it belongs to.

    Locked: a second download of the same file is an error. With ``keep`` what is there from an
    earlier run is continued, if it came from the same ``source``, and `close` leaves it there.
    ``is_continued``: the bytes came in more than one response.
    """

    def __init__(self, target: str, source: str, *, keep: bool) -> None:
        self.target = target
        directory, name = os.path.split(target)
        self.path = os.path.join(directory, f".{name}.part")
        self._notes = f"{self.path}.json"
        # A URL may hold a token.
        self._source = hashlib.sha256(source.encode()).hexdigest()
        self._keep = keep
        self._digest = hashlib.sha256()
        self.held = Held()
        self.is_continued = False
        try:
            self._fd = _locked(self.path)
        except OSError as error:
            raise unwritable(self.path, error) from None

    def load(self) -> None:
        """Take up what an earlier run left, or start with an empty file. Blocks.

        Raises `FetchError`.
        """
        held = self._read_notes() if self._keep else Held()
        try:
            size = os.fstat(self._fd).st_size
            if not held.validator or not size or size > (held.total or size):
                self.restart()
                return
            position = 0
            while data := os.pread(self._fd, _CHUNK, position):
                self._digest.update(data)
                position += len(data)
            self.held = replace(held, size=position)
            self.is_continued = True
        except OSError as error:
            raise unwritable(self.path, error) from None

    def begin(self, total: int | None, validator: str) -> None:
        """Note which version the bytes belong to that follow. Raises `OSError`.

        `ENOSPC` when the file system certainly has no room for them.
        """
        self.held = replace(self.held, total=total, validator=validator)
        self.is_continued = self.held.size > 0
        if total is not None:
            room = os.fstatvfs(self._fd)
            # Some network file systems do not say.
            if room.f_blocks and total - self.held.size > room.f_bavail * room.f_frsize:
                raise OSError(
                    errno.ENOSPC,
                    f"{os.strerror(errno.ENOSPC)}: {room.f_bavail * room.f_frsize} bytes are free, "
                    f"{total - self.held.size} are needed",
                )
        if self._keep:
            self._write_notes()

    def complete(self) -> None:
        """Note that the bytes are all there are."""
        self.held = replace(self.held, total=self.held.size)

    def restart(self) -> None:
        """Forget everything; raises `OSError`."""
        os.ftruncate(self._fd, 0)
        self._digest = hashlib.sha256()
        self.held = Held()
        self.is_continued = False

    def write(self, data: bytes) -> None:
        """Append bytes; raises `OSError`."""
        rest = memoryview(data)
        position = self.held.size
        while rest:
            written = os.pwrite(self._fd, rest, position)
            rest = rest[written:]
            position += written
        self._digest.update(data)
        self.held = replace(self.held, size=position)

    @property
    def digest(self) -> str:
        """SHA-256 of what was received, in hexadecimal."""
        return self._digest.hexdigest()

    def sync(self) -> None:
        """Wait until the bytes are on the disk. Blocks; raises `FetchError`."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise unwritable(self.target, error) from None

    def commit(self) -> None:
        """Replace the target and its checksum file; on an error both are as before.

        The old checksum goes first and the new one comes last: a crash leaves no file next to a
        checksum of another one. Raises `FetchError`.
        """
        checksum = f"{self.target}{SUFFIX}"
        old, new = _beside(checksum, ".old"), _beside(checksum, ".new")
        try:
            # First, so that a lack of space for it changes nothing.
            _write(new, checksum_text(self.digest, os.path.basename(self.target)).encode())
            try:
                with suppress(FileNotFoundError):
                    os.replace(checksum, old)
                os.replace(self.path, self.target)
            except OSError:
                with suppress(OSError):
                    os.rename(old, checksum)
                with suppress(OSError):
                    os.unlink(new)
                raise
            os.replace(new, checksum)
            with suppress(FileNotFoundError):
                os.unlink(old)
            sync_directory(os.path.dirname(self.target))
        except OSError as error:
            raise unwritable(self.target, error) from None
        self.discard()

    def discard(self) -> None:
        """Remove it even though it was to be kept: it is not what was wanted."""
        self._keep = False
        self.close()

    def close(self) -> None:
        """Release the file, and remove it unless it is kept for the next run."""
        if self._fd < 0:
            return
        if not self._keep or not self.held.can_continue:
            with suppress(OSError):
                if os.path.samestat(os.fstat(self._fd), os.lstat(self.path)):
                    os.unlink(self.path)
            with suppress(OSError):
                os.unlink(self._notes)
        os.close(self._fd)
        self._fd = -1

    def _read_notes(self) -> Held:
        try:
            notes = json.loads(read_regular(self._notes, _MAX_NOTES))
            source, total, validator = notes["source"], notes["total"], notes["validator"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return Held()
        usable = source == self._source and isinstance(validator, str)
        # It is sent as a header field.
        usable = usable and validator.isascii() and validator.isprintable()
        if not usable or type(total) not in (int, type(None)):
            return Held()
        return Held(total=total, validator=validator)

    def _write_notes(self) -> None:
        notes = {
            "source": self._source,
            "total": self.held.total,
            "validator": self.held.validator,
        }
        replace_file(self._notes, json.dumps(notes).encode())


def write_checksum(target: str, digest: str) -> None:
    """Write the checksum file of ``target``, unless it has this content; raises `FetchError`."""
    path = f"{target}{SUFFIX}"
    text = checksum_text(digest, os.path.basename(target)).encode()
    try:
        if _content(path) != text:
            replace_file(path, text)
        sync_directory(os.path.dirname(target))
    except OSError as error:
        raise unwritable(path, error) from None


def replace_file(path: str, data: bytes) -> None:
    """Write a small file, all at once; raises `OSError`."""
    temporary = _beside(path, ".new")
    _write(temporary, data)
    os.replace(temporary, path)


def _beside(path: str, ending: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name.removeprefix('.')}{ending}")


def _write(path: str, data: bytes) -> None:
    """Write a new file in the place of what an earlier run may have left there."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def _content(path: str) -> bytes | None:
    try:
        return read_regular(path, _MAX_NOTES)
    except OSError:
        return None


def _locked(path: str) -> int:
    """Open a file of our own for writing and lock it; replace one of another user or kind.

    A download that ends meanwhile renames or removes its file: then try again with a new one.
    """
    # Not always our own user: NFS maps root to another user (root_squash).
    with tempfile.TemporaryFile(dir=os.path.dirname(path) or ".") as own:
        owner = os.fstat(own.fileno()).st_uid
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            if not _is_own(os.lstat(path), owner):
                os.unlink(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(path, flags, _MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_own(os.fstat(fd), owner) and os.path.samestat(os.fstat(fd), os.lstat(path)):
                return fd
        except BlockingIOError:
            os.close(fd)
            raise FetchError(f"{printable(path)}: another mic fetch is writing this file") from None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    raise FetchError(f"{printable(path)}: it is replaced all the time, or not a file of our own")


def _is_own(status: os.stat_result, owner: int) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == owner
