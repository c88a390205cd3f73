"""Open a base file in a thread, and find in it what images are made from."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from mic.common.errors import BaseUnavailable, MicError, NotReady, without_frames
from mic.common.files import read_regular
from mic.media.base import DERIVED, Base, Kind, read_base
from mic.media.basefile import (
    BaseChanged,
    BaseFile,
    Version,
    change_time,
    open_base,
    unreadable,
    version_of,
)
from mic.media.checksum import MAX_CHECKSUM, SUFFIX, ChecksumError, read_checksum
from mic.media.iso9660 import IsoError
from mic.media.probe import Doubt, doubts, refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The result of opening a base file: its bases by kind, or the errors.

    ``changed`` are the `change_times` at a failure: new permissions change nothing else.
    """

    version: Version | None
    changed: tuple[int, ...]
    file: BaseFile | None
    bases: dict[Kind, Base | MicError]
    doubts: tuple[Doubt, ...] = ()

    def parts(self) -> list[Base]:
        """Return the usable bases."""
        return [base for base in self.bases.values() if isinstance(base, Base)]

    @property
    def can_pass(self) -> bool:
        """Whether a retry may succeed although the file stays the same."""
        return any(isinstance(base, NotReady) for base in self.bases.values())


def change_times(path: str) -> tuple[int, ...]:
    """Return the change times of a base file and of the files with its digest, 0 for none."""
    return tuple(change_time(each) for each in (path, *_checksums(path)))


def _checksums(path: str) -> Iterator[str]:
    """Yield the paths that the digest of a base file may have: by its name, by where that leads."""
    yield f"{path}{SUFFIX}"
    target = os.path.realpath(path)
    if target != os.path.abspath(path):
        yield f"{target}{SUFFIX}"


def open_bases(
    path: str,
    kinds: tuple[Kind, ...],
    architectures: Collection[str],
    minimal: bool = False,
    checksums: bool = False,
) -> Opened:
    """Probe a file, open it, compute its digest, and find its bases. Blocks: for a thread.

    With ``minimal`` the base of ISO images is the minimal ISO. With ``checksums`` the file must
    have the digest in the `.sha256` next to it, if there is one.
    """
    version, changed = version_of(path), change_times(path)
    # The parts of an ISO are probed together with it, and never refused.
    is_iso = kinds[0] is Kind.ISO
    given = kinds[:1] if is_iso else tuple(kind for kind in kinds if kind not in DERIVED)
    try:
        # Before the digest, which may take seconds: a file that is still being copied is truncated.
        refused = refusals(path, given)
        file = open_base(path, sha256=checksums)
        if file.in_doubt() and not file.verify():
            raise NotReady(f"base image {path} is being written")
        # Afterwards: mic fetch replaces a file and its checksum one after the other.
        if file.sha256:
            _check_digest(file)
    except MicError as error:
        return failed(path, kinds, error, version, changed)
    except OSError as error:
        return failed(path, kinds, unreadable(path, error), version, changed)
    except MemoryError:
        lack = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return failed(path, kinds, unreadable(path, lack), version, changed)
    bases: dict[Kind, Base | MicError] = dict(refused)
    for kind in kinds:
        if kind not in refused:
            try:
                inside_iso = is_iso and kind is not Kind.ISO
                bases[kind] = read_base(file, kind, inside_iso=inside_iso, minimal=minimal)
            except MicError as error:
                bases[kind] = without_frames(error)
    return Opened(
        version=file.version,
        changed=changed,
        file=file,
        bases=bases,
        doubts=_doubts([bases[kind] for kind in given], architectures),
    )


def _check_digest(file: BaseFile) -> None:
    """Compare a file with the digest next to it; raise `BaseUnavailable` or `NotReady`."""
    for path in _checksums(file.path):
        try:
            expected = read_checksum(
                read_regular(path, MAX_CHECKSUM), os.path.basename(path).removesuffix(SUFFIX)
            )
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreadable(path, error) from None
        except ChecksumError as error:
            raise BaseUnavailable(f"base image {file.path}: {path}: {error}") from None
        if expected != file.sha256:
            raise BaseUnavailable(
                f"base image {file.path}: its sha256 is {file.sha256}, {path} says {expected}: "
                "the file is damaged or was changed, or that digest is of another one; download "
                "both again, or remove the file with the digest"
            )
        return


def _doubts(bases: Iterable[Base | MicError], architectures: Collection[str]) -> tuple[Doubt, ...]:
    found: list[Doubt] = []
    for base in bases:
        if isinstance(base, Base):
            # Requests will report what cannot be read now.
            with suppress(OSError, IsoError, BaseChanged):
                found.extend(doubts(base, architectures))
    return tuple(found)


def failed(
    path: str,
    kinds: tuple[Kind, ...],
    error: MicError,
    version: Version | None = None,
    changed: tuple[int, ...] | None = None,
) -> Opened:
    """Return the result for a file that cannot be used as any of ``kinds``."""
    return Opened(
        version=version or version_of(path),
        changed=change_times(path) if changed is None else changed,
        file=None,
        bases=dict.fromkeys(kinds, without_frames(error)),
    )
