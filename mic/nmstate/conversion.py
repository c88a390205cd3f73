"""NMState documents to keyfiles by the chosen backend, or by both to compare them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.logger import Logger

from mic.errors import BuildInvalid, MicError
from mic.nmstate import nmstatectl
from mic.nmstate.backends import Backend
from mic.nmstate.generator import keyfiles
from mic.nmstate.keyfile import Keyfile
from mic.threads import Threads


class Conversion:
    """Converts documents by one backend; the built-in one works in a thread."""

    _log = Logger()

    def __init__(self, backend: Backend, reactor: Any, threads: Threads) -> None:
        self._backend = backend
        self._reactor = reactor
        self._threads = threads

    async def keyfiles(self, document: bytes) -> tuple[Keyfile, ...]:
        """Return the keyfiles of a document.

        Raises `mic.errors.BuildInvalid` or `mic.errors.NotReady`.
        """
        if self._backend is Backend.NMSTATECTL:
            return await nmstatectl.keyfiles(self._reactor, document)
        try:
            made = await self._threads.run(keyfiles, document)
        except BuildInvalid as refusal:
            await self._verify(document, refusal)
            raise
        await self._verify(document, made)
        return made

    async def _verify(self, document: bytes, ours: tuple[Keyfile, ...] | BuildInvalid) -> None:
        if self._backend is not Backend.VERIFY:
            return
        theirs: tuple[Keyfile, ...] | MicError
        try:
            theirs = await nmstatectl.keyfiles(self._reactor, document)
        except MicError as error:
            theirs = error
        for difference in differences(ours, theirs):
            self._log.warn("nmstatectl differs: {difference}", difference=difference)


def differences(
    ours: tuple[Keyfile, ...] | MicError, theirs: tuple[Keyfile, ...] | MicError
) -> Iterator[str]:
    """Yield what differs between two outcomes, a sentence each, without any content's values."""
    if isinstance(ours, MicError):
        if not isinstance(theirs, MicError):
            yield f"it accepts a document that is refused here: {ours}"
        return
    if isinstance(theirs, MicError):
        yield f"it refuses a document that is accepted here: {theirs}"
        return
    our_names = [keyfile.name for keyfile in ours]
    their_names = [keyfile.name for keyfile in theirs]
    if our_names != their_names:
        yield f"it makes {', '.join(their_names) or 'nothing'}, not {', '.join(our_names)}"
    by_name = {keyfile.name: keyfile.content for keyfile in theirs}
    for keyfile in ours:
        content = by_name.get(keyfile.name)
        if content is not None and content != keyfile.content:
            yield f"{keyfile.name}: {', '.join(_keys_that_differ(keyfile.content, content))}"


def _keys_that_differ(ours: str, theirs: str) -> list[str]:
    sets = [frozenset(_settings(content)) for content in (ours, theirs)]
    keys = {f"{section}.{key}" for section, key, _ in sets[0] ^ sets[1]}
    return sorted(keys) or ["order or blank lines"]


def _settings(content: str) -> Iterator[tuple[str, str, str]]:
    section = ""
    for line in content.splitlines():
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        key, equals, value = line.partition("=")
        if equals:
            yield section, key, value
