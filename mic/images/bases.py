"""The base images in force: find, load, and replace them when they change on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial

from twisted.logger import Logger

from mic.common.errors import BaseUnavailable, MicError, NotReady, without_frames
from mic.common.health import Health
from mic.common.once import Once
from mic.common.singleflight import SingleFlight
from mic.common.threads import Threads
from mic.images.base_state import BaseState
from mic.images.finding import listings, missing
from mic.images.isolinux_files import IsolinuxFiles
from mic.images.opening import Opened, change_times, failed, open_bases
from mic.images.retries import Retries
from mic.media.base import DERIVED, IMAGES, Base, Kind, Ramdisk
from mic.media.basefile import BaseChanged, BaseFile, unreadable, version_of
from mic.media.catalog import BasePaths, Part, catalog
from mic.media.kernel import unpacked
from mic.media.probe import Doubt
from mic.media.virtual_iso import size_problem, virtual_iso

_Wanted = tuple[Kind, str, str]
_VIRTUAL = (Kind.KERNEL, Kind.INITRAMFS, Kind.BOOT_LOADER)
"""The base files that virtual ISOs are made of."""

_TRIES = 3
"""How often these are asked for until none was replaced meanwhile. On file systems where each look
shows another file that never happens."""


class Bases:
    """Base images by kind, stream and architecture.

    The listeners ``changed`` are called, without arguments and on the reactor's thread, whenever a
    base appeared, disappeared or was replaced. ``clock`` returns seconds.

    With ``minimal`` ISO images are made from minimal ISOs, which fetch their root file system.
    With ``checksums`` base files are compared with the SHA-256 next to them.
    """

    _log = Logger()

    def __init__(
        self,
        paths: BasePaths,
        host_architecture: str,
        threads: Threads,
        clock: Callable[[], float] = time.monotonic,
        *,
        minimal: bool = False,
        checksums: bool = False,
    ) -> None:
        self._paths = paths
        self.minimal = minimal
        self._checksums = checksums
        self.host_architecture = host_architecture
        self._threads = threads
        self._listings: dict[str, list[str]] = {}
        self._unlisted = Once()
        self._catalog = catalog(paths, {}, host_architecture)
        self._loaded: dict[str, Opened] = {}
        self._retries = Retries(clock)
        self._retry_all = False
        self._loading: SingleFlight[str, Opened] = SingleFlight()
        self._verifying: SingleFlight[BaseFile, bool] = SingleFlight()
        self._unpacking: SingleFlight[BaseFile, Base] = SingleFlight()
        self._unusable = Once()
        self._alone = Once()
        self._restless = Once()
        self._current: dict[_Wanted, Base] = {}
        self._isolinux = IsolinuxFiles(paths.isolinux, threads, self._notify)
        self.changed: list[Callable[[], None]] = []

    @property
    def ramdisk(self) -> Ramdisk:
        """Which system hosts boot."""
        return self._paths.ramdisk

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of images that each host is to get: no ISO without a boot loader for it."""
        if self.ramdisk is Ramdisk.IPA and not self._paths.boot_loader:
            return (Kind.INITRAMFS,)
        return IMAGES

    def supports(self, architecture: str, stream: str = "") -> bool:
        """Return whether there are all files for an architecture; see `Catalog.supports`."""
        return self._catalog.supports(architecture, stream)

    def has(self, kind: Kind, *, stream: str = "", architecture: str = "") -> bool:
        """Return whether there are the files for a kind of image, usable or not."""
        return all(
            self._catalog.select(each, stream=stream, architecture=architecture) is not None
            for each in (_VIRTUAL if self._is_virtual(kind) else (kind,))
        )

    def known(self) -> set[tuple[str, str]]:
        """Return the streams and architectures that there are files for, by their names."""
        return self._catalog.known()

    def can_serve(self, kind: Kind, *, stream: str = "", architecture: str = "") -> bool:
        """Return as `has`, but False if the file was read and has none of that kind."""
        part = self._catalog.select(kind, stream=stream, architecture=architecture)
        if part is None:
            return False
        loaded = self._loaded.get(part.path)
        return loaded is None or not isinstance(loaded.bases.get(kind), BaseUnavailable)

    def loaded(self, kind: Kind, *, stream: str = "", architecture: str = "") -> Base | None:
        """Return the base for a kind of image if it is loaded and still what is on disk.

        Never waits for longer than a ``stat``. None: call `load`.
        """
        base = self._current.get((kind, stream, architecture))
        return base if base is not None and base.is_current() else None

    def health(self) -> Health:
        """Return what is wrong with the bases that are configured by path."""
        problems = []
        for kind, path in self._paths.exact().items():
            loaded = self._loaded.get(path)
            base = loaded.bases.get(kind) if loaded is not None else None
            if base is None:
                problems.append(f"base image {path} has not been read yet")
            elif isinstance(base, MicError):
                problems.append(str(base))
        problems += self._isolinux.problems()
        warnings = (*self._alone.texts(), *self._too_large())
        return Health(not_ready=tuple(problems), warnings=warnings)

    def states(self) -> list[BaseState]:
        """Return the base files that were read, each as the kind that its name says."""
        states = []
        for path, loaded in sorted(self._loaded.items()):
            kind = self._catalog.kinds_of(path)[0]
            base = loaded.bases.get(kind)
            if base is None:
                continue
            if isinstance(base, MicError):
                states.append(BaseState(path=path, kind=kind, problem=str(base)))
            else:
                states.append(
                    BaseState(
                        path=path,
                        kind=kind,
                        volume=base.iso.volume if base.iso is not None else "",
                        size=base.file.size,
                        digest=_shown_digest(base.file),
                    )
                )
        return states

    def doubts(self) -> list[Doubt]:
        """Return what may keep hosts from booting the base files that were read."""
        found = [doubt for path in sorted(self._loaded) for doubt in self._loaded[path].doubts]
        return [*(Doubt(text=text) for text in self._alone.texts()), *found]

    async def load(self, kind: Kind, *, stream: str = "", architecture: str = "") -> Base:
        """Return the base for a kind of image; load it first if necessary.

        Raises `BaseUnavailable` or `NotReady` with the file and the reason.
        """
        current = self.loaded(kind, stream=stream, architecture=architecture)
        if current is not None:
            return current
        if self._is_virtual(kind):
            return await self._load_virtual(stream, architecture)

        def select() -> Part | None:
            return self._catalog.select(kind, stream=stream, architecture=architecture)

        if select() is None:
            await self._find()
        while (part := select()) is not None:
            loaded = await self._load(part.path)
            base = loaded.bases[kind]
            if isinstance(base, Base) and base.gzipped:
                base = await self._unpacking.run(base.file, partial(self._unpack, loaded, base))
            # Reading takes seconds: another file, or version of it, may be in force by now.
            if part == select() and loaded is self._loaded.get(part.path):
                if isinstance(base, MicError):
                    raise without_frames(base)
                self._current[kind, stream, architecture] = base
                return base
        raise BaseUnavailable(missing(kind, stream, architecture or self.host_architecture))

    def _is_virtual(self, kind: Kind) -> bool:
        return kind is Kind.ISO and self._paths.ramdisk is Ramdisk.IPA

    async def _load_virtual(self, stream: str, architecture: str) -> Base:
        bios = (architecture or self.host_architecture) == "x86_64"
        for _ in range(_TRIES):
            kernel, initramfs, boot_loader = parts = [
                await self.load(kind, stream=stream, architecture=architecture) for kind in _VIRTUAL
            ]
            isolinux = await self._isolinux.load() if bios else None
            # Each may have been replaced while the next one was read.
            in_force = [self._current.get((kind, stream, architecture)) for kind in _VIRTUAL]
            if all(one is other for one, other in zip(parts, in_force, strict=True)):
                break
        base = virtual_iso(
            kernel=kernel,
            initramfs=initramfs,
            boot_loader=boot_loader,
            grub_config=self._paths.grub_config,
            isolinux=isolinux,
        )
        wanted = (Kind.ISO, stream, architecture)
        if self._current.get(wanted) != base:
            self._current[wanted] = base
        # The same object for the same files: images are composed once for each.
        return self._current[wanted]

    async def verify(self, file: BaseFile) -> None:
        """Wait until a file in doubt is known to have the bytes that were loaded.

        Raises `BaseChanged` when it has other bytes, `NotReady` or `BaseUnavailable` when it cannot
        be read.
        """
        if not await self._verifying.run(file, partial(self._verify, file)):
            raise BaseChanged(f"{file.path} was changed while it was open")

    def retry(self) -> None:
        """Make the next `refresh` retry all failed files at once, whatever the reason."""
        self._retry_all = True

    async def refresh(self) -> None:
        """Poll the directories and the files; notify listeners of changes.

        Retry files with a temporary error when their delay is over.
        """
        at_once, self._retry_all = self._retry_all, False
        if at_once:
            self._retries.clear()
        await self._find()
        await self._isolinux.refresh()
        stale = await self._threads.run(self._stale, list(self._loaded.items()), at_once)
        for path in stale:
            await self._load(path, again=True)

    async def load_all(self) -> list[str]:
        """Load all bases; return the reasons why some cannot be used."""
        await self._find()
        problems: list[str] = []
        for path in sorted(self._catalog.paths):
            loaded = await self._load(path)
            # Only hosts that boot over the network from mic alone need all of an ISO's parts.
            needed = [kind for kind in loaded.bases if kind not in (Kind.ROOTFS, *DERIVED)]
            bases = [loaded.bases[kind] for kind in needed or loaded.bases]
            errors = [base for base in bases if isinstance(base, MicError)]
            problems.extend(str(error) for error in errors[:1])
        await self._isolinux.refresh()
        return [*problems, *self._isolinux.problems(), *self._too_large()]

    async def _find(self) -> None:
        directories = self._paths.directories()
        for directory, names in (await self._threads.run(listings, directories)).items():
            if isinstance(names, str):
                # Without descriptors, for example, the files must not seem to be gone.
                if self._unlisted.is_news(names, directory):
                    self._log.error("{error}; using its last listing", error=names)
            else:
                self._unlisted.is_over(directory)
                self._listings[directory] = names
        found = catalog(self._paths, self._listings, self.host_architecture)
        if found != self._catalog:
            self._catalog = found
            self._report_alone()
            self._notify()

    def _too_large(self) -> list[str]:
        """Return which files are too large for the ISOs that they are to be parts of."""
        if Kind.ISO not in self.kinds or self.ramdisk is Ramdisk.COREOS:
            return []
        loaded = (base for _, opened in sorted(self._loaded.items()) for base in opened.parts())
        return list(dict.fromkeys(filter(None, map(size_problem, loaded))))

    def _report_alone(self) -> None:
        """Log files that are not used because a file that belongs to them is missing."""
        alone = self._catalog.alone()
        for path in set(self._alone.subjects()) - alone.keys():
            self._alone.is_over(path)
        for path, lacks in alone.items():
            text = f"base image {path} is not used: the {lacks.value} of the same name is missing"
            if self._alone.is_news(text, path):
                self._log.warn("{error}", error=text, path=path)

    def _notify(self) -> None:
        """Release files that no base uses now, and call the listeners, which do the same."""
        self._current.clear()
        for path in self._loaded.keys() - self._catalog.paths:
            del self._loaded[path]
            self._retries.forget(path)
            self._unusable.is_over(path)
        for listener in self.changed:
            listener()

    def _stale(self, loaded: list[tuple[str, Opened]], at_once: bool) -> list[str]:
        """Return the paths of files to load or verify again. Blocks: for a thread."""
        stale = []
        for path, what in loaded:
            failed = what.file is None or what.can_pass
            now = version_of(path)
            failed_device = what.file is None and now is not None and now.block_device
            other_medium = what.file is not None and not what.file.same_medium()
            if self._is_stale(path, what) or failed_device or other_medium or (at_once and failed):
                stale.append(path)
        return stale

    def _is_stale(self, path: str, loaded: Opened) -> bool:
        if loaded.can_pass and self._retries.due(path):
            return True
        if loaded.bases.keys() != set(self._catalog.kinds_of(path)):
            return True  # a file with a claim to the same name appeared or disappeared
        if loaded.file is not None:
            return not loaded.file.is_current()
        return (version_of(path), change_times(path)) != (loaded.version, loaded.changed)

    async def _load(self, path: str, *, again: bool = False) -> Opened:
        """Open a base file, once for all waiting callers; ``again``: even if it looks unchanged."""
        before = self._loaded.get(path)
        if before is not None and not again and not self._is_stale(path, before):
            return before
        return await self._loading.run(path, partial(self._work, path))

    async def _work(self, path: str) -> Opened:
        before = self._loaded.get(path)
        kinds = self._catalog.kinds_of(path)
        loaded: Opened | None = None
        if before is not None and before.file is not None and not before.can_pass:
            if not before.file.is_current() and before.file.may_be_current():
                try:
                    await self.verify(before.file)
                    return before
                except BaseChanged:
                    pass
                except MicError as error:
                    loaded = failed(path, kinds, error)
        if loaded is None:
            architectures = self._catalog.architectures_of(path)
            loaded = await self._threads.run(
                open_bases, path, kinds, architectures, self.minimal, self._checksums
            )
        if path not in self._catalog.paths:
            # It went meanwhile: kept, it would stay open until the next change.
            return loaded
        self._report(path, kinds[0], loaded, before.doubts if before is not None else ())
        self._loaded[path] = loaded
        if loaded.can_pass:
            self._retries.failed(path)
        else:
            self._retries.forget(path)
        if before is not None and (before.file is not None or loaded.file is not None):
            # Here, not in `refresh`: that finds nothing new after a request was faster.
            self._notify()
        return loaded

    async def _verify(self, file: BaseFile) -> bool:
        try:
            same = await self._threads.run(file.verify)
        except OSError as error:
            raise unreadable(file.path, error) from None
        if not same:
            self._log.warn(
                "base image {path} was overwritten in place: downloads in progress are "
                "interrupted; replace base images by rename",
                path=file.path,
            )
        if self._restless.is_news("restless" if file.trusted_for else "", file.path):
            self._log.warn(
                "base image {path}: its attributes change repeatedly (chmod, chown, links), and "
                "each time mic must read its {size} bytes; it is not read for the next "
                "{delay:.0f} s",
                path=file.path,
                size=file.size,
                delay=file.trusted_for,
            )
        return same

    async def _unpack(self, loaded: Opened, base: Base) -> Base:
        """Return a kernel as it is served; keep it, so that it is unpacked once."""
        try:
            kernel = await self._threads.run(unpacked, base)
            if base.file.in_doubt():
                await self.verify(base.file)
        except BaseChanged:
            raise NotReady(f"base image {base.file.path} is being written") from None
        except BaseUnavailable as error:
            self._log.error("{error}", error=str(error), path=base.file.path)
            loaded.bases[Kind.KERNEL] = without_frames(error)
            raise
        loaded.bases[Kind.KERNEL] = kernel
        return kernel

    def _report(self, path: str, kind: Kind, now: Opened, known: Collection[Doubt]) -> None:
        """Log the version of a file or why it is unusable, and doubts that are not ``known``."""
        error = now.bases[kind]
        if isinstance(error, MicError):
            if self._unusable.is_news(str(error), path):
                self._log.error("{error}", error=error, path=path)
        else:
            self._unusable.is_over(path)
            if now.file is not None:
                self._log.info(
                    "base image {path}: {kind}, {size} bytes, digest {digest}",
                    path=path,
                    kind=kind.value,
                    size=now.file.size,
                    digest=_shown_digest(now.file),
                )
        for doubt in now.doubts:
            if doubt in known:
                continue
            if doubt.evidence:
                self._log.warn("{error}", error=doubt.text, path=path)
            else:
                self._log.info("{error}", error=doubt.text, path=path)


def _shown_digest(file: BaseFile) -> str:
    return file.digest.hex()[:12]
