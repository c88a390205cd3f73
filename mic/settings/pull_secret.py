"""The pull secret: its forms, and what is wrong with a text that is none.

No message quotes the text.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress

from mic.common.errors import ConfigError

_PATH = re.compile(rb"(~?|\.\.?)/[^\n{}]{1,1000}|[^\n{}\s]{1,1000}\.json|@[^\n{}\s]{1,1000}")
_SECRET = re.compile(rb"^(apiVersion|kind|data|stringData|type):", re.MULTILINE)


def pull_secret(name: str, value: bytes) -> bytes:
    """Return the auth.json in ``value``: plain or base64, wrapped or not; empty stays empty.

    Raises `ConfigError` with ``name``; the value is in no message and no traceback.
    """
    value = value.strip()
    if not value:
        return b""
    given, document = value, None
    # The decoders' errors hold the document: none of them may be another error's context.
    with suppress(ValueError, RecursionError):
        if not value.startswith(b"{"):
            value = _decoded(value)
        document = json.loads(value)
    if document is None:
        why = _reason(given)
        raise ConfigError([f"{name} is neither an auth.json nor base64 of one{why and f': {why}'}"])
    if not isinstance(document, dict) or not isinstance(document.get("auths"), dict):
        why = _other(document)
        raise ConfigError(
            [f"{name} is not an auth.json: it has no object 'auths'{why and f': {why}'}"]
        )
    return value


def _decoded(value: bytes) -> bytes:
    """Return decoded base64; raises `ValueError`."""
    return base64.b64decode(b"".join(value.split()), validate=True).strip()


def _reason(value: bytes) -> str:
    """Return what a text is instead, or nothing if unknown."""
    if value[:1] in (b"'", b'"') and value[-1:] == value[:1]:
        return "it is in quotes: leave them out"
    if _PATH.fullmatch(value):
        return "it is a path: put the file's content there"
    if _SECRET.search(value):
        return "it is YAML: give the content of .dockerconfigjson"
    if value.startswith((b"{", b"[")):
        return _json_reason(value)
    try:
        once = _decoded(value)
    except ValueError:
        # RFC 4648: the alphabet, of URLs too, and a length that is no multiple of four.
        if not re.fullmatch(rb"[A-Za-z0-9+/_\s-]+=*", value) or not value.startswith(b"e"):
            return ""
        return "its base64 is cut off, or of the variant for URLs"
    with suppress(ValueError):
        if _decoded(once).startswith(b"{"):
            return "it is base64 twice: encode it once"
    return _json_reason(once) if once.startswith(b"{") else ""


def _json_reason(value: bytes) -> str:
    """Return where JSON is wrong, without any of it."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated string"):
            return f"JSON ends at character {len(text)}: it is cut off"
        return f"its JSON is wrong at line {error.lineno} column {error.colno}"
    except RecursionError:
        return "its JSON is nested too deeply"
    return ""


def _other(document: object) -> str:
    """Return what other JSON is, or nothing if unknown."""
    if not isinstance(document, dict):
        return "it is JSON, but not an object"
    if document.get("kind") in ("Secret", "List") or ".dockerconfigjson" in document:
        return "it is a Secret: give the content of .dockerconfigjson"
    if "auths" in document:
        return "'auths' is not an object"
    if document and all(isinstance(each, dict) and "auth" in each for each in document.values()):
        return 'it is an old .dockercfg: put it into {"auths": ...}'
    return ""
