"""One download from its URL or stream metadata to the file in its place, or to a reason why not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mic.common.files import read_regular
from mic.common.text import printable
from mic.common.threads import Threads
from mic.fetch.failure import FetchError
from mic.fetch.inspection import Inspected, inspected
from mic.fetch.location import Location, is_url, location, sibling
from mic.fetch.metadata import MAX_METADATA, Artifact, Kind, artifact
from mic.fetch.openpgp import MAX_SIGNATURE, Verifier, check_keyring
from mic.fetch.partial import Partial, digest_of, resolved, unwritable, write_checksum
from mic.fetch.transfer import Transfer, read_small
from mic.media.basefile import peek
from mic.media.probe import seen_instead


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The file to download, and what it must be.

    ``url`` may be empty if ``stream_json``, a path, a URL or ``-``, names one. ``architecture`` is
    that of the file in stream metadata; ``any_architecture``: the file itself may be of another.
    ``keyring`` has the keys one of which must have made ``signature``, a URL or a path; empty: that
    of the metadata, or ``.sig`` next to the file. ``resume`` keeps what was received for the next
    run.
    """

    output: str
    url: str = field(default="", repr=False)
    stream_json: str = field(default="", repr=False)
    kind: Kind = Kind.ISO
    architecture: str = ""
    any_architecture: bool = True
    sha256: str = ""
    keyring: str = ""
    signature: str = field(default="", repr=False)
    resume: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The file; ``is_new`` unless it was there. ``key`` is the fingerprint of who signed it."""

    path: str
    size: int
    sha256: str
    is_new: bool
    volume: str = ""
    key: str = ""
    warnings: tuple[str, ...] = ()


class Job:
    """One download. ``note`` takes a sentence to show.

    ``given`` is the stream metadata if that is not at a path or a URL.
    """

    def __init__(
        self,
        wanted: Wanted,
        threads: Threads,
        *,
        note: Callable[[str], None],
        given: bytes = b"",
    ) -> None:
        self._wanted = wanted
        self._threads = threads
        self._given = given
        self._note = note
        self._target = resolved(wanted.output)
        self._verifier = Verifier(check_keyring(wanted.keyring)) if wanted.keyring else None
        self._partial: Partial | None = None

    async def run(self, transfer: Transfer) -> Fetched:
        """Download, verify and put the file into its place; raise `FetchError`."""
        described = await self._described(transfer)
        source = location(self._wanted.url or described.location)
        expected = self._expected(described)
        signature = b""
        if self._verifier is not None:
            signature = await self._signature(transfer, source, described)
        if expected and await self._threads.run(digest_of, self._target) == expected:
            found = await self._checked(self._target, source, signature)
            await self._threads.run(write_checksum, self._target, expected)
            return self._fetched(found, expected, is_new=False)
        partial = self._partial = Partial(self._target, source.url, keep=self._wanted.resume)
        try:
            await self._threads.run(partial.load)
            await self._download(transfer, source, partial, expected)
            found = await self._checked(partial.path, source, signature, partial)
            await self._threads.run(partial.sync)
            # mic reads a file that was replaced again, even if the bytes are the same.
            is_new = (
                expected != "" or await self._threads.run(digest_of, self._target) != partial.digest
            )
            digest = partial.digest
            if is_new:
                partial.commit()
            else:
                partial.discard()
                await self._threads.run(write_checksum, self._target, digest)
        except OSError as error:
            raise unwritable(self._target, error) from None
        finally:
            partial.close()
        fetched = self._fetched(found, digest, is_new=is_new)
        doubt = self._doubt(source)
        return replace(fetched, warnings=(*fetched.warnings, doubt)) if doubt else fetched

    def close(self) -> None:
        """Remove what is not complete, at once, and end what runs."""
        if self._verifier is not None:
            self._verifier.stop()
        if self._partial is not None:
            self._partial.close()

    async def _described(self, transfer: Transfer) -> Artifact:
        name = self._wanted.stream_json
        if not name:
            return Artifact(location="", sha256="")
        if name == "-":
            shown, data = "standard input", self._given
        elif is_url(name):
            where = location(name)
            shown, data = where.shown, await read_small(transfer, where, MAX_METADATA)
        else:
            shown = printable(name)
            try:
                data = await self._threads.run(read_regular, name, MAX_METADATA)
            except OSError as error:
                raise unwritable(name, error) from None
        try:
            return artifact(data, self._wanted.architecture, self._wanted.kind)
        except FetchError as error:
            raise FetchError(f"stream metadata {shown}: {error}") from None

    async def _signature(self, transfer: Transfer, source: Location, described: Artifact) -> bytes:
        name = self._wanted.signature
        if name and not is_url(name):
            try:
                return await self._threads.run(read_regular, name, MAX_SIGNATURE)
            except OSError as error:
                raise unwritable(name, error) from None
        if name:
            where = location(name)
        elif described.signature and not self._wanted.url:
            where = location(described.signature)
        else:
            where = sibling(source, ".sig")
        return await read_small(transfer, where, MAX_SIGNATURE)

    def _expected(self, described: Artifact) -> str:
        given = self._wanted.sha256.lower()
        if given and described.sha256 and given != described.sha256:
            raise FetchError(
                f"-sha256 is {given}, but the stream metadata says {described.sha256}: "
                "is it of another release?"
            )
        return given or described.sha256

    async def _download(
        self, transfer: Transfer, source: Location, partial: Partial, expected: str
    ) -> None:
        for is_last in (False, True):
            await transfer.run(source, partial, verified=bool(expected))
            if not expected or partial.digest == expected:
                return
            if is_last or not partial.is_continued:
                break
            # Of a file that changed between two parts, and a server that does not say so.
            self._note(f"{source.shown}: its parts do not fit together; starting again")
            partial.restart()
        with peek(partial.path) as content:
            instead = seen_instead(content) if self._wanted.kind is Kind.ISO else ""
        digest = partial.digest
        partial.discard()
        raise FetchError(f"{source.shown}: its sha256 is {digest}, expected is {expected}{instead}")

    async def _checked(
        self, path: str, source: Location, signature: bytes, partial: Partial | None = None
    ) -> tuple[Inspected, str]:
        """Return what a file is and which key signed it; discard it when it is something else."""
        try:
            found = await self._threads.run(self._inspect, path)
            key = ""
            if self._verifier is not None:
                key = await self._threads.run(self._verifier.verify, path, signature)
        except FetchError as error:
            if partial is not None:
                partial.discard()
            raise FetchError(f"{source.shown}: {error}") from None
        return found, key

    def _inspect(self, path: str) -> Inspected:
        wanted = "" if self._wanted.any_architecture else self._wanted.architecture
        with peek(path) as content:
            return inspected(content, self._wanted.kind, wanted)

    def _doubt(self, source: Location) -> str:
        """Return a warning when anyone on the way could have replaced the file, or nothing."""
        if self._wanted.sha256 or self._verifier is not None:
            return ""
        metadata = self._wanted.stream_json
        by_http = is_url(metadata) and location(metadata).scheme == "http"
        if source.scheme == "https":
            if by_http and not self._wanted.url:
                return "its URL came over plain HTTP: use https:// for the stream metadata"
            return ""
        if not metadata:
            return (
                "it came over plain HTTP, and neither a digest nor a signature says what it must "
                "be: give -sha256, -stream-json or -gpg-keyring"
            )
        if by_http:
            return "it and its digest came over plain HTTP: use https:// for the stream metadata"
        return ""

    def _fetched(self, found: tuple[Inspected, str], digest: str, *, is_new: bool) -> Fetched:
        inspection, key = found
        return Fetched(
            path=self._target,
            size=os.stat(self._target).st_size,
            sha256=digest,
            is_new=is_new,
            volume=inspection.volume,
            key=key,
            warnings=inspection.warnings,
        )
