"""Secrets recognised by their form and removed from log lines: the second line of defence.

The first one is that mic passes no secret to a logger. Secrets may still arrive in an error of a
library or in a user's URL: credentials in URLs and header fields, values of keys such as
``password``, JSON and longer binary data in base64, private keys, and random image names, which
are capabilities.

Three patterns guess: values of keys such as ``password``, JSON in base64, and long runs of binary
data. They stay because the texts of libraries (OpenSSL, the Kubernetes client, YAML) end in log
lines too, and quote what they were given. A test has such a text for each guess; no test can have
them all.
"""

from __future__ import annotations

import re

from mic.common.private_keys import without_private_keys

REDACTED = "[redacted]"

# Quantifiers are bounded where matches may start within each other, so that time stays linear.

# A password may contain an unescaped slash or at sign; digits and a slash are a port and a path.
_USER_INFORMATION = re.compile(
    r"://(?:[^\s/@:'\"]{0,256}:(?![0-9]{1,5}/)[^\s@'\"]{0,256}|[^\s/@'\"]{1,512})@"
    r"(?:[^\s/@'\"]{0,256}@)*"
)

_QUOTE = r"\\{0,4}[\"']?"
_SEPARATOR = rf"{_QUOTE}\s{{0,8}}[:=,]\s{{0,8}}[\[(]?(?:b(?=[\"']))?{_QUOTE}"
_AFRESH = r"(?!\[?redacted\])"

_AUTHORIZATION = re.compile(
    rf"(\bauthorization{_SEPARATOR})(?:(?:bearer|basic|digest|negotiate)\s{{1,8}})?{_AFRESH}"
    r"[^\s\"'\\,)}\]]+",
    re.IGNORECASE,
)
_BEARER = re.compile(rf"\bbearer\s{{1,8}}{_AFRESH}[^\s\"'\\,;)}}\]]+", re.IGNORECASE)

_KEY = (
    r"(\bauth\b|(?:pass(?:word|wd|phrase|code)|secret|token|\bpsk|credential"
    r"|(?:client|private)[-_]?key)[\w-]{0,16})"
)
# Without quotes only after "=": "password: must be a string" is a message.
_QUOTED_VALUE = re.compile(
    rf"{_KEY}({_QUOTE}\s{{0,8}}[:=]\s{{0,8}}b?)"
    r"(?:\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|\\{1,4}[\"'][^\"'\\]*(?:\\{1,4}[\"'])?)",
    re.IGNORECASE | re.DOTALL,
)
_PLAIN_VALUE = re.compile(rf"{_KEY}=(?![\"'\\])[^\s&;,\"'<>()\[\]{{}}]+", re.IGNORECASE)

# How base64 of '{"', '{ ', and '{' before a line break or a tab starts. JWTs start that way too.
_JSON_IN_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?:eyJ|eyA|ewo|ewk|ew0)[A-Za-z0-9+/_-]{8,}[A-Za-z0-9+/_.=-]*"
)
_LONG = 40
_LONG_RUN = re.compile(rf"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{{_LONG},}}={{0,2}}")

_SHORTEST_NAME = 26
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_EXTENSION = r"\.(?:iso|initramfs|ipxe)\b"
_IMAGE_NAME = re.compile(
    rf"{_UUID}(?={_EXTENSION})|(?<=/){_UUID}\b|(?<![A-Za-z0-9])[a-z2-7]{{{_SHORTEST_NAME},52}}(?={_EXTENSION})",
    re.IGNORECASE,
)


def redacted(text: str, *, image_names: bool = True) -> str:
    """Return ``text`` with `REDACTED` in place of everything that looks secret.

    ``image_names``: whether image names are random and therefore secret. In static mode they are
    host names, which may look like random ones but are public.
    """
    text = without_private_keys(text, REDACTED)
    lower = text.lower()
    for words, pattern, replacement in _REPLACEMENTS:
        # A case-insensitive search costs a hundred times as much as the search for a word.
        if any(word in lower for word in words):
            text = pattern.sub(replacement, text)
    if len(text) >= _LONG:
        text = _LONG_RUN.sub(_long_run, text)
    if image_names and len(text) >= _SHORTEST_NAME:
        text = _IMAGE_NAME.sub(REDACTED, text)
    return text


def _long_run(found: re.Match[str]) -> str:
    """Return `REDACTED` for binary data: letters of both cases, digits and few slashes."""
    run = found[0]
    mixed = all(re.search(kind, run) for kind in ("[A-Z]", "[a-z]", "[0-9]"))
    return REDACTED if mixed and run.count("/") <= len(run) // 16 else run


_KEY_WORDS = ("auth", "pass", "secret", "token", "psk", "credential", "key")

_REPLACEMENTS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (("://",), _USER_INFORMATION, f"://{REDACTED}@"),
    (("authorization",), _AUTHORIZATION, rf"\1{REDACTED}"),
    (("bearer",), _BEARER, f"Bearer {REDACTED}"),
    (_KEY_WORDS, _QUOTED_VALUE, rf'\1\2"{REDACTED}"'),
    (_KEY_WORDS, _PLAIN_VALUE, rf"\1={REDACTED}"),
    (("eyj", "eya", "ewo", "ewk", "ew0"), _JSON_IN_BASE64, REDACTED),
)
"""Patterns and their replacements; each is tried if the text contains one of its words."""
