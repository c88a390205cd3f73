"""``mic show``: what an image carries, from a file or, by the ranges it needs, from a URL."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast
from urllib.parse import unquote_to_bytes, urlsplit

import treq
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.python.failure import Failure

from mic.config import Flag
from mic.errors import MicError
from mic.image.basefile import peek
from mic.image.coreos import embed_area, embedded_config, kernel_arguments
from mic.image.cpio import GZIP_MAGIC, ArchiveError, config_of
from mic.image.iso9660 import Iso, IsoError
from mic.image.layout import Source
from mic.run import parse_or_exit
from mic.text import printable

_TAB = "\t"
_FLAGS = (
    Flag(name="show-secrets", default="false", meaning="do not mask secrets", switch=True),
    Flag(name="json", default="false", meaning="print the Ignition config as it is", switch=True),
    Flag(name="insecure", default="false", meaning="do not verify TLS", switch=True),
)
_BLOCK = 64 * 1024
# With gzip's only method behind the magic: the two bytes alone are everywhere in an initramfs.
_DEFLATED = GZIP_MAGIC + b"\x08"
_TIMEOUT = 30.0
_TAILS = (512 * 1024, 4 * 1024 * 1024, 32 * 1024 * 1024)


class ShowError(MicError):
    """The image cannot be shown; the message says why."""


def main(arguments: Sequence[str]) -> int:
    """Print an image's content; status 1 with the reason on stderr where that cannot be done."""
    operands: list[str] = []
    flags = parse_or_exit("mic show FILE-or-URL", arguments, _FLAGS, operands)
    if len(operands) != 1:
        sys.stderr.write("mic show: name one file or URL\n")
        return 2
    (target,) = operands
    secrets = flags["show-secrets"] == "true"
    as_json = flags["json"] == "true"

    def printed(source: Source) -> str:
        config, kernel = read_image(source)
        if as_json:
            return config.decode("utf-8", "replace") + "\n"
        return "".join(describe(config, kernel, secrets=secrets))

    try:
        if urlsplit(target).scheme in ("http", "https"):
            text = _from_url(target, printed, verify=flags["insecure"] != "true")
        else:
            with peek(target) as source:
                text = printed(source)
    except OSError as error:
        return _fail(target, error.strerror or str(error))
    except (MicError, IsoError, ArchiveError) as error:
        return _fail(target, str(error))
    sys.stdout.write(text)
    return 0


def _fail(target: str, why: str) -> int:
    sys.stderr.write(f"mic show: {target}: {why}\n")
    return 1


def read_image(source: Source) -> tuple[bytes, str | None]:
    """The Ignition config of an ISO or an initramfs, and the ISO's kernel arguments.

    Raises `IsoError`, `ArchiveError` or `ShowError`.
    """
    try:
        iso = Iso(source)
    except IsoError as error:
        config = _appended_config(source)
        if config is None:
            raise ShowError(f"{error}; nor is it an initramfs with a config appended") from None
        return config, None
    area = embed_area(iso, source)
    config = embedded_config(source, area)
    if config is None:
        raise ShowError("the embed area is empty: this ISO is not customised")
    arguments = kernel_arguments(iso, source)
    return config, arguments.text if arguments else None


def _appended_config(source: Source) -> bytes | None:
    """The config in the archive at the end of an initramfs, looked for backwards."""
    for size in _TAILS:
        start = max(source.size - size, 0)
        tail = source.read(start, source.size - start)
        position = len(tail)
        while (position := tail.rfind(_DEFLATED, 0, position)) >= 0:
            try:
                return config_of(tail[position:])
            except ArchiveError:
                continue
        if start == 0:
            break
    return None


def describe(config: bytes, kernel: str | None, *, secrets: bool) -> Iterator[str]:
    """Lines that tell people what an Ignition config does; raises `ShowError` if it is none."""
    try:
        value: dict[str, Any] = json.loads(config)
        version = printable(value["ignition"]["version"])
        lines = list(_described(value, kernel, str if secrets else mask, secrets=secrets))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ShowError("the archive holds no Ignition config") from None
    yield f"Ignition {version}, {len(config)} bytes\n"
    yield from lines


def _described(
    value: dict[str, Any], kernel: str | None, hide: Callable[[str], str], *, secrets: bool
) -> Iterator[str]:
    if kernel is not None:
        yield f"kernel arguments: {printable(hide(kernel))}\n"
    for user in value.get("passwd", {}).get("users", []):
        yield f"\nuser {printable(user['name'])}\n"
        for key in user.get("sshAuthorizedKeys", []):
            yield from _indented(hide(key))
    for file in value.get("storage", {}).get("files", []):
        sources = [file["contents"]] if "contents" in file else file.get("append", [])
        appended = "" if "contents" in file else " (appended)"
        content = b"".join(_data(each.get("source", "")) for each in sources)
        path, mode = printable(file["path"]), file.get("mode") or 0
        yield f"\nfile {path} {mode:04o}, {len(content)} bytes{appended}\n"
        if path.endswith("authfile.json") and not secrets:
            yield "    (secret)\n"
        else:
            yield from _indented(hide(content.decode("utf-8", "replace")))
    for unit in value.get("systemd", {}).get("units", []):
        yield f"\nunit {printable(unit['name'])}{', enabled' if unit.get('enabled') else ''}\n"
        yield from _indented(hide(unit.get("contents") or ""))


def mask(text: str) -> str:
    """``text`` without passwords in URLs, keyfile secrets and private keys.

    Rather too much than too little: people paste this into tickets.
    """
    # Up to the last @ of the word: a password may hold any character but white space.
    text = re.sub(r"(://)\S*@", r"\1***@", text)
    keys = r"(?:[\w.-]*password|[\w-]*psk|pin|secret|[\w-]*mka-cak|wep-key\d|password-raw"
    keys += r"|private-key|preshared-key)"
    text = re.sub(rf"(?mi)^(\s*{keys}\s*=\s*).+$", r"\1***", text)
    return re.sub(r"(?s)(-----BEGIN [^-]*PRIVATE KEY-----).*?(-----END)", r"\1***\2", text)


def _indented(text: str) -> Iterator[str]:
    return (f"    {printable(line, keep=_TAB)}\n" for line in text.splitlines())


def _data(url: str) -> bytes:
    head, _, data = url.partition(",")
    if not head.startswith("data:"):
        return f"(fetched from {url})".encode()
    raw = unquote_to_bytes(data)
    if head.endswith(";base64"):
        import base64

        return base64.b64decode(raw)
    return raw


class _Remote:
    """A URL as a source: read in a thread, by ranges of whole blocks, each fetched once."""

    def __init__(self, reactor: IReactorFromThreads, client: Any, url: str) -> None:
        self._reactor = reactor
        self._client = client
        self._url = url
        self._blocks: dict[int, bytes] = {}
        head = self._ask("HEAD", {})
        self.size = int(head.headers.getRawHeaders(b"Content-Length", [b"0"])[0])
        if head.code != 200:
            raise ShowError(f"the server answers {head.code}")
        if head.headers.getRawHeaders(b"Accept-Ranges", [b""])[0].lower() != b"bytes":
            raise ShowError("the server does not serve ranges")

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there, fewer at the end of the image."""
        stop = min(offset + length, self.size)
        first, last = offset // _BLOCK, -(-stop // _BLOCK)
        missing = [n for n in range(first, last) if n not in self._blocks]
        if missing:
            self._fetch(missing[0], missing[-1] + 1)
        data = b"".join(self._blocks[number] for number in range(first, last))
        return data[offset - first * _BLOCK : stop - first * _BLOCK]

    def _fetch(self, first: int, last: int) -> None:
        start, stop = first * _BLOCK, min(last * _BLOCK, self.size)
        data = self._ask("GET", {b"Range": b"bytes=%d-%d" % (start, stop - 1)}, stop - start)
        for number in range(first, last):
            begin = (number - first) * _BLOCK
            self._blocks[number] = data[begin : begin + _BLOCK]

    def _ask(self, method: str, headers: dict[bytes, bytes], length: int | None = None) -> Any:
        async def ask() -> Any:
            response = await self._client.request(
                method, self._url, headers=headers, timeout=_TIMEOUT
            )
            if length is None:
                return response
            if response.code != 206:
                raise ShowError(f"the server answers a range with {response.code}")
            parts: list[bytes] = []
            await treq.collect(response, parts.append)
            data = b"".join(parts)
            if len(data) != length:
                raise ShowError(f"the server sent {len(data)} bytes, not {length}")
            return data

        try:
            return blockingCallFromThread(self._reactor, lambda: Deferred.fromCoroutine(ask()))
        except MicError:
            raise
        except (ConnectError, DNSLookupError) as error:
            raise ShowError(str(error)) from None
        except Exception as error:
            reasons = getattr(error, "reasons", None)
            why = reasons[0].getErrorMessage() if reasons else str(error) or type(error).__name__
            raise ShowError(f"cannot be fetched: {why}") from None


def _from_url(url: str, printed: Callable[[Source], str], *, verify: bool) -> str:
    """Run ``printed`` in a thread over a URL, and the reactor meanwhile."""
    from twisted.internet import reactor

    client = treq.client.HTTPClient(_agent(reactor, verify=verify))
    outcome: list[str | Failure] = []

    def start() -> None:
        done = deferToThread(
            lambda: printed(_Remote(cast(IReactorFromThreads, reactor), client, url))
        )
        done.addBoth(outcome.append)
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run()
    (result,) = outcome
    if isinstance(result, Failure) and result.value is not None:
        raise result.value.with_traceback(None)
    return str(result)


def _agent(reactor: Any, *, verify: bool) -> Any:
    from twisted.internet.ssl import CertificateOptions
    from twisted.web.client import Agent, HTTPConnectionPool
    from twisted.web.iweb import IPolicyForHTTPS
    from zope.interface import implementer

    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.retryAutomatically = False
    if verify:
        return Agent(reactor, pool=pool)

    @implementer(IPolicyForHTTPS)
    class Trusting:
        def creatorForNetloc(self, _host: bytes, _port: int) -> Any:
            return CertificateOptions(verify=False)

    return Agent(reactor, Trusting(), pool=pool)
