"""Describe Ignition configs for `mic show`, with secrets masked."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

from mic.common.errors import MicError
from mic.common.private_keys import holds_private_key, without_private_keys
from mic.common.text import printable
from mic.ignition.extra import parse

_TAB = "\t"
_DECOMPRESSED = 1 << 20  # cap on bytes of compressed content that are shown


class ShowError(MicError):
    """The image cannot be shown; the message gives the reason."""


def config_as_json(config: bytes, *, indent: bool) -> str:
    """Return an Ignition config as it is, or indented and with escapes for a terminal."""
    text = config.decode("utf-8", "replace")
    if indent:
        try:
            text = json.dumps(json.loads(text), indent=2)
        except (ValueError, RecursionError):
            text = printable(text, keep=_TAB)
    return text + "\n"


def describe(config: bytes, kernel: str | None, *, secrets: bool) -> Iterator[str]:
    """Yield lines that describe an Ignition config; raise `ShowError` for anything else."""
    try:
        value: dict[str, Any] = json.loads(config)
        hide = str if secrets else mask
        version = printable(hide(value["ignition"]["version"]))
        lines = list(_described(value, kernel, hide, secrets=secrets))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ShowError("the archive holds no Ignition config") from None
    yield f"Ignition {version}, {len(config)} bytes\n"
    yield from lines


def _described(
    value: dict[str, Any], kernel: str | None, hide: Callable[[str], str], *, secrets: bool
) -> Iterator[str]:
    if kernel is not None:
        yield f"kernel arguments: {printable(hide(kernel))}\n"
    for number, reference in enumerate(value["ignition"].get("config", {}).get("merge", []), 1):
        yield from _extra(number, _content(reference), hide, secrets=secrets)
    for user in value.get("passwd", {}).get("users", []):
        yield f"\nuser {printable(hide(user['name']))}\n"
        # Together: a private key may have a line in each.
        yield from _indented(hide("\n".join(user.get("sshAuthorizedKeys", []))))
    for file in value.get("storage", {}).get("files", []):
        sources = [file["contents"]] if "contents" in file else file.get("append", [])
        appended = "" if "contents" in file else " (appended)"
        content = b"".join(map(_content, sources))
        path, mode = printable(hide(file["path"])), file.get("mode") or 0
        yield f"\nfile {path} {mode:04o}, {len(content)} bytes{appended}\n"
        if path.endswith("authfile.json") and not secrets:
            yield "    (secret)\n"
        elif not secrets and _is_binary_key(content):
            yield "    ***\n"
        else:
            yield from _indented(hide(content.decode("utf-8", "replace")))
    for unit in value.get("systemd", {}).get("units", []):
        name = printable(hide(unit["name"]))
        yield f"\nunit {name}{', enabled' if unit.get('enabled') else ''}\n"
        yield from _indented(hide(unit.get("contents") or ""))


def _extra(
    number: int, content: bytes, hide: Callable[[str], str], *, secrets: bool
) -> Iterator[str]:
    """Yield lines about an Ignition config that is merged over mic's."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        config = parse(content, f"extra config {number}")
    except MicError as error:
        yield f"\n{printable(str(error))}\n"
        return
    yield (
        f"\nextra config {number}: Ignition {config.version}, {len(content)} bytes, "
        f"sha256 {digest}\n"
    )
    for what, names in (("file", config.paths), ("unit", config.units), ("user", config.users)):
        yield from (f"    {what} {printable(hide(name))}\n" for name in sorted(names))
    if config.fetches:
        yield "    fetches over the network\n"
    if secrets:
        yield from _indented(content.decode("utf-8", "replace"))


def mask(text: str) -> str:
    """Return ``text`` without passwords in URLs, keyfile secrets and private keys.

    Masks too much rather than too little: people paste this into tickets.
    """
    # Up to the last @ of the word: a password may hold any character except white space.
    text = re.sub(r"(://)\S*@", r"\1***@", text)
    keys = r"(?:[\w.-]*password|[\w-]*psk|pin|secret|[\w-]*mka-cak|wep-key\d|password-raw"
    keys += r"|private-key|preshared-key)"
    text = re.sub(rf"(?mi)^(\s*{keys}\s*=\s*).+$", r"\1***", text)
    return without_private_keys(text, "***")


def _is_binary_key(content: bytes) -> bool:
    """Return whether binary content is a private key: DER, UTF-16, compressed PEM."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    return "\0" in text and holds_private_key(base64.b64encode(content).decode())


def _indented(text: str) -> Iterator[str]:
    return (f"    {printable(line, keep=_TAB)}\n" for line in text.splitlines())


def _content(resource: dict[str, Any]) -> bytes:
    """Return the content of a file or of a part of it; remote content is not fetched."""
    url = resource.get("source") or ""
    head, _, data = url.partition(",")
    if not head.startswith("data:"):
        return f"(fetched from {url})".encode()
    content = unquote_to_bytes(data)
    if head.lower().endswith(";base64"):
        content = base64.b64decode(content)
    if resource.get("compression") == "gzip":
        with suppress(zlib.error):
            content = zlib.decompressobj(wbits=31).decompress(content, _DECOMPRESSED)
    return content
