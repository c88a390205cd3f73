"""Documents to keyfiles: NMState by the chosen backend, OpenStack network data by mic."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from mic import networkdata, nmstate
from mic.common import tree
from mic.common.errors import BuildInvalid
from mic.common.generated import Generated
from mic.common.threads import Threads
from mic.hosts import nmstatectl
from mic.settings.model import Backend


class Conversion:
    """Converts documents by one backend; the built-in one works in a thread."""

    def __init__(self, backend: Backend, reactor: Any, threads: Threads) -> None:
        self._backend = backend
        self._reactor = reactor
        self._threads = threads

    @property
    def external(self) -> Callable[[bytes], Awaitable[Generated]] | None:
        """The converter outside of this process; None for the built-in generator."""
        return self.generate if self._backend is Backend.NMSTATECTL else None

    @property
    def at_once(self) -> int:
        """Number of conversions that may run at the same time.

        The built-in backend delays the clients of this process, so it runs once. nmstatectl does
        not; a second run continues when a first one hangs.
        """
        return 2 if self._backend is Backend.NMSTATECTL else 1

    async def generate(self, document: bytes) -> Generated:
        """Return the keyfiles of a document, and warnings about it.

        Raises `BuildInvalid` or `NotReady`.
        """
        if self._backend is Backend.NMSTATECTL and not await self._threads.run(
            is_network_data, document
        ):
            return await self._by_nmstatectl(document)
        return await self._threads.run(built_in, document)

    async def _by_nmstatectl(self, document: bytes) -> Generated:
        """Return nmstatectl's keyfiles; the warnings come from mic's own reading."""
        keyfiles = await nmstatectl.keyfiles(self._reactor, document)
        own = await self._threads.run(_own_view, document)
        return replace(own, keyfiles=keyfiles)


def _own_view(document: bytes) -> Generated:
    """Return what the built-in generator makes of a document, nothing if it refuses it."""
    try:
        return built_in(document)
    except BuildInvalid:
        return Generated(keyfiles=())


def is_network_data(document: bytes) -> bool:
    """Return whether a document is OpenStack network data; False if it cannot be read."""
    try:
        return networkdata.is_network_data(tree.read(document))
    except BuildInvalid:
        return False


def built_in(document: bytes) -> Generated:
    """Return the keyfiles of a document and warnings, made with garbage collection off.

    The document is OpenStack network data or NMState, by its members.

    Call it in a thread.

    The collector would traverse the half-built document again and again, up to 20 ms at a time for
    one of 900 KB, and no client is served meanwhile. The document has no cycles; other garbage
    waits until the conversion has ended.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        content = tree.read(document)
        if networkdata.is_network_data(content):
            return networkdata.generate_from(content)
        return nmstate.generate_from(content)
    except BuildInvalid as refusal:
        # The frames would keep the half-built document alive for as long as the refusal.
        refusal.__context__ = None
        raise refusal.with_traceback(None) from None
    finally:
        if collecting:
            gc.enable()
