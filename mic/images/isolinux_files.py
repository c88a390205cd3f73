"""The files of ISOLINUX in force, for virtual ISOs that BIOS boots."""

from __future__ import annotations

import os
from collections.abc import Callable

from mic.common.errors import MicError, NotReady, without_frames
from mic.common.threads import Threads
from mic.media.basefile import change_time, version_of
from mic.media.isolinux import BINARY, LINKER, Isolinux, read_isolinux


class IsolinuxFiles:
    """Reads the files of a directory, and again when they change; no directory, no files.

    Two files of 150 KiB are kept in memory: ISOLINUX learns its place in the ISO, so its bytes are
    not those of the file. ``changed`` is called when the files in force, or their error, became
    others; the first read is no change.
    """

    def __init__(self, directory: str, threads: Threads, changed: Callable[[], None]) -> None:
        self._directory = directory
        self._threads = threads
        self._changed = changed
        self._found: object = None
        self._state: Isolinux | MicError | None = None

    async def load(self) -> Isolinux | None:
        """Return the files as last read; read them first if necessary. None without directory.

        Raises `BaseUnavailable` or `NotReady`, naming the file.
        """
        if self._state is None:
            await self.refresh()
        if isinstance(self._state, MicError):
            raise without_frames(self._state)
        return self._state

    async def refresh(self) -> None:
        """Read the files if they have changed, or could not be read."""
        if not self._directory:
            return
        found, state = await self._threads.run(self._read)
        before, self._found = self._state, found
        if state is not None:
            self._state = state
        if before is not None and _comparable(self._state) != _comparable(before):
            self._changed()

    def problems(self) -> list[str]:
        """Return why the files cannot be used."""
        return [str(self._state)] if isinstance(self._state, MicError) else []

    def _read(self) -> tuple[object, Isolinux | MicError | None]:
        """Return marks of the files, and their content or None if they are as before."""
        paths = [os.path.join(self._directory, name) for name in (BINARY, LINKER)]
        found = [(version_of(path), change_time(path)) for path in paths]
        if found == self._found and not isinstance(self._state, NotReady):
            return found, None
        try:
            return found, read_isolinux(self._directory)
        except MicError as error:
            return found, without_frames(error)


def _comparable(state: Isolinux | MicError | None) -> object:
    return str(state) if isinstance(state, MicError) else state
