"""Things that take long to make, kept outside the checkout for the next run.

Every thing has a key that says all that goes into it, so that a stale one is never taken. It is
made beside its place, under a lock, and moved there when it is whole: a run that is killed, or
two at a time, leave nothing half made.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def directory() -> Path:
    """Where the cache is."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mic-e2e"
    path.mkdir(parents=True, exist_ok=True)
    return path


def kept(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The directory or file ``name`` for ``key``, made by ``make(path)`` if it is not there."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    place = directory() / f"{name}-{digest}"
    if place.exists():
        return place
    with locked(f"{name}-{digest}"):
        if place.exists():
            return place
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=directory()))
        try:
            work.chmod(0o755)
            make(work / "new")
            (work / "new").rename(place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return place


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one process of this machine at a time."""
    with open(directory() / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty directory that everyone may enter, gone afterwards.

    Not pytest's: that is closed to others, and Ignition's helpers fail below such a directory.
    """
    path = Path(tempfile.mkdtemp(prefix="mic-e2e-", dir="/var/tmp"))
    try:
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
