"""The base images in force: found, opened in a thread, and exchanged when they change on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic.errors import BaseUnavailable, MicError
from mic.image.base import Base, BasePaths, Kind, Part, catalog, read_base
from mic.image.basefile import BaseFile, Version, open_base, peek, version_of
from mic.image.coreos import embed_area
from mic.image.iso9660 import Iso, IsoError
from mic.threads import Threads

_Wanted = tuple[Kind, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """What opening a base file came to: bases, or the reason why there is none."""

    version: Version | None
    file: BaseFile | None
    bases: dict[Kind, Base | MicError]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseState:
    """A base file for people: what it is and which version, or the ``problem`` with it.

    ``volume`` is an ISO's own name; ``digest`` the first twelve hexadecimal digits, as in the log.
    """

    path: str
    kind: Kind
    volume: str = ""
    size: int = 0
    digest: str = ""
    problem: str = ""


class Bases:
    """Base images by kind, stream and architecture.

    ``changed`` is called, without arguments and on the reactor's thread, whenever a base
    appeared, went away or became another one.
    """

    _log = Logger()

    def __init__(self, paths: BasePaths, host_architecture: str, threads: Threads) -> None:
        self._paths = paths
        self._host = host_architecture
        self._threads = threads
        self._catalog = catalog(paths, {}, host_architecture)
        self._loaded: dict[str, _Loaded] = {}
        self._loads: dict[str, list[Deferred[_Loaded]]] = {}
        self._current: dict[_Wanted, Base] = {}
        self.changed: list[Callable[[], None]] = []

    def supports(self, architecture: str, stream: str = "") -> bool:
        """Whether an ISO and an initramfs are there for an architecture, by their names."""
        return self._catalog.supports(architecture, stream)

    def has(self, kind: Kind, *, stream: str = "", architecture: str = "") -> bool:
        """Whether there is a file for a kind of image, usable or not."""
        return self._catalog.select(kind, stream=stream, architecture=architecture) is not None

    def current(self, kind: Kind, *, stream: str = "", architecture: str = "") -> Base | None:
        """The base for a kind of image if it is loaded and still what is on disk.

        Never blocks for longer than a ``stat``; None means: ask `base`.
        """
        base = self._current.get((kind, stream, architecture))
        return base if base is not None and base.file.is_current() else None

    def problems(self) -> list[str]:
        """What is wrong with the bases that were named outright, in words."""
        problems = []
        for kind, path in self._paths.exact().items():
            loaded = self._loaded.get(path)
            base = loaded.bases[kind] if loaded is not None else None
            if base is None:
                problems.append(f"base image {path} has not been read yet")
            elif isinstance(base, MicError):
                problems.append(str(base))
        return problems

    def states(self) -> list[BaseState]:
        """The base files that were read, each as what its name says it is."""
        states = []
        for path, loaded in sorted(self._loaded.items()):
            kind = self._catalog.kind_of(path)
            base = loaded.bases[kind]
            if isinstance(base, MicError):
                states.append(BaseState(path=path, kind=kind, problem=str(base)))
            else:
                states.append(
                    BaseState(
                        path=path,
                        kind=kind,
                        volume=base.volume,
                        size=base.file.size,
                        digest=_shown_digest(base.file),
                    )
                )
        return states

    async def base(self, kind: Kind, *, stream: str = "", architecture: str = "") -> Base:
        """The base for a kind of image, loaded when it must be.

        Raises `BaseUnavailable` or `mic.errors.NotReady` with the file and the reason.
        """
        part = self._catalog.select(kind, stream=stream, architecture=architecture)
        if part is None:
            await self._find()
            part = self._catalog.select(kind, stream=stream, architecture=architecture)
        if part is None:
            raise BaseUnavailable(_missing(kind, stream, architecture or self._host))
        loaded = await self._load(part)
        base = loaded.bases[kind]
        if isinstance(base, MicError):
            raise base
        self._current[kind, stream, architecture] = base
        return base

    async def refresh(self) -> None:
        """Look at the directories and the files again; tell who listens when something changed."""
        await self._find()
        stale = await self._threads.run(self._stale, list(self._loaded.items()))
        for path in stale:
            await self._load(Part(path=path), again=True)

    async def load_all(self) -> list[str]:
        """Load every base there is a file for; the reasons why some cannot be used."""
        await self._find()
        problems: list[str] = []
        for path in sorted(self._catalog.paths):
            loaded = await self._load(Part(path=path))
            errors = [base for base in loaded.bases.values() if isinstance(base, MicError)]
            problems.extend(str(error) for error in errors[:1])
        return problems

    async def _find(self) -> None:
        listings = await self._threads.run(_list, self._paths.directories())
        found = catalog(self._paths, listings, self._host)
        if found != self._catalog:
            self._catalog = found
            self._tell()

    def _tell(self) -> None:
        """Let go of what is out of use, here and at those who listen."""
        self._current.clear()
        for path in self._loaded.keys() - self._catalog.paths:
            del self._loaded[path]
        for listener in self.changed:
            listener()

    @staticmethod
    def _stale(loaded: list[tuple[str, _Loaded]]) -> list[str]:
        """The paths that lead to something else than was loaded."""
        stale = []
        for path, what in loaded:
            now = version_of(path)
            failed_device = what.file is None and now is not None and now.block_device
            other_medium = what.file is not None and not what.file.same_medium()
            if now != what.version or failed_device or other_medium:
                stale.append(path)
        return stale

    async def _load(self, part: Part, *, again: bool = False) -> _Loaded:
        """Open a base file, once however many wait for it; ``again`` even if it looks the same."""
        path = part.path
        before = self._loaded.get(path)
        if before is not None and not again and before.version == version_of(path):
            return before
        waiting: Deferred[_Loaded] = Deferred()
        if path in self._loads:
            self._loads[path].append(waiting)
            return await waiting
        self._loads[path] = []
        kind = self._catalog.kind_of(path)
        try:
            loaded = await self._threads.run(_open, path, kind)
        except BaseException:
            failure = Failure()
            for waiter in self._loads.pop(path):
                waiter.errback(failure)
            raise
        self._report(path, kind, before, loaded)
        self._loaded[path] = loaded
        if before is not None and (before.file is not None or loaded.file is not None):
            # Here, not in `refresh`: when a request was faster, that finds nothing new.
            self._tell()
        for waiter in self._loads.pop(path):
            waiter.callback(loaded)
        return loaded

    def _report(self, path: str, kind: Kind, before: _Loaded | None, now: _Loaded) -> None:
        error = now.bases[kind]
        if isinstance(error, MicError):
            old = before.bases[kind] if before is not None else None
            if str(old) != str(error):
                self._log.error("{error}", error=error, path=path)
        elif now.file is not None:
            self._log.info(
                "base image {path}: {kind}, {size} bytes, digest {digest}",
                path=path,
                kind=kind.value,
                size=now.file.size,
                digest=_shown_digest(now.file),
            )


def _shown_digest(file: BaseFile) -> str:
    return file.digest.hex()[:12]


def _missing(kind: Kind, stream: str, architecture: str) -> str:
    variables = {
        Kind.ISO: "DEPLOY_ISO",
        Kind.INITRAMFS: "DEPLOY_INITRD",
        Kind.KERNEL: "DEPLOY_KERNEL",
    }
    of_stream = f" of stream {stream}" if stream else ""
    return (
        f"there is no base {kind}{of_stream} for architecture {architecture}: see {variables[kind]}"
    )


def _list(directories: tuple[str, ...]) -> dict[str, list[str]]:
    listings = {}
    for directory in directories:
        try:
            listings[directory] = os.listdir(directory)
        except OSError:
            listings[directory] = []
    return listings


def _open(path: str, kind: Kind) -> _Loaded:
    """In a thread: open, take the digest, find the parts."""
    version = version_of(path)
    kinds = [each for each in Kind if kind is Kind.ISO or each is not Kind.ISO]
    try:
        if kind is Kind.ISO:
            # Before the digest, which may take seconds: a file still being copied is cut off.
            _look(path)
        file = open_base(path)
    except MicError as error:
        return _Loaded(version=version, file=None, bases=dict.fromkeys(kinds, error))
    bases: dict[Kind, Base | MicError] = {}
    for each in kinds:
        try:
            bases[each] = read_base(file, each, inside_iso=kind is Kind.ISO and each is not kind)
        except MicError as error:
            bases[each] = error
    return _Loaded(version=file.version, file=file, bases=bases)


def _look(path: str) -> None:
    try:
        with peek(path) as source:
            embed_area(Iso(source), source)
    except OSError as error:
        raise BaseUnavailable(f"base image {path}: {error.strerror}") from None
    except IsoError as error:
        raise BaseUnavailable(f"base image {path}: {error}") from None
