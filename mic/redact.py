"""What no log line may show, taken out by its looks: the last net, whoever logs whatever.

The first is that nothing secret is handed to a log. This one knows the forms in which secrets come
along all the same, in an error of a library or in somebody's URL: credentials in URLs and header
fields, values of keys that say what they are, JSON and longer binary data in base64, private keys,
and random image names, which open an image to whoever knows them.
"""

from __future__ import annotations

import re

REDACTED = "[redacted]"

# Quantifiers are bounded where text may make one search overlap the next: time stays linear.

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----"
    r"(?:(?!-----BEGIN ).)*?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)

# A password may hold an unescaped slash or at sign; digits and a slash are a port and a path.
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
# Without quotes only behind "=": "password: must be a string" is for people.
_QUOTED_VALUE = re.compile(
    rf"{_KEY}({_QUOTE}\s{{0,8}}[:=]\s{{0,8}}b?)"
    r"(?:\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|\\{1,4}[\"'][^\"'\\]*(?:\\{1,4}[\"'])?)",
    re.IGNORECASE | re.DOTALL,
)
_PLAIN_VALUE = re.compile(rf"{_KEY}=(?![\"'\\])[^\s&;,\"'<>()\[\]{{}}]+", re.IGNORECASE)

# '{"', '{ ' and '{' before a line break or a tab, as base64 starts; three of them are a JWT.
_JSON_IN_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?:eyJ|eyA|ewo|ewk|ew0)[A-Za-z0-9+/_-]{8,}[A-Za-z0-9+/_.=-]*"
)
_LONG = 40
_LONG_RUN = re.compile(rf"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{{_LONG},}}={{0,2}}")

_SHORTEST_NAME = 26
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_EXTENSION = r"\.(?:iso|initramfs)\b"
_IMAGE_NAME = re.compile(
    rf"{_UUID}(?={_EXTENSION})|(?<=/){_UUID}\b|(?<![A-Za-z0-9])[a-z2-7]{{{_SHORTEST_NAME},52}}(?={_EXTENSION})",
    re.IGNORECASE,
)


def redacted(text: str, *, image_names: bool = True) -> str:
    """``text`` with `REDACTED` for all that looks secret.

    ``image_names``: whether images have random names, which then are secrets as well. In static
    mode they are the hosts' names, which may look like anything and are none.
    """
    lower = text.lower()
    for words, pattern, replacement in _REPLACEMENTS:
        # A search that ignores case costs a hundred times what looking for a word does.
        if any(word in lower for word in words):
            text = pattern.sub(replacement, text)
    if len(text) >= _LONG:
        text = _LONG_RUN.sub(_long_run, text)
    if image_names and len(text) >= _SHORTEST_NAME:
        text = _IMAGE_NAME.sub(REDACTED, text)
    return text


def _long_run(found: re.Match[str]) -> str:
    """Binary data has letters of both cases and digits, and seldom a slash, unlike a path."""
    run = found[0]
    mixed = all(re.search(kind, run) for kind in ("[A-Z]", "[a-z]", "[0-9]"))
    return REDACTED if mixed and run.count("/") <= len(run) // 16 else run


_KEY_WORDS = ("auth", "pass", "secret", "token", "psk", "credential", "key")

_REPLACEMENTS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (("private key",), _PRIVATE_KEY, REDACTED),
    (("://",), _USER_INFORMATION, f"://{REDACTED}@"),
    (("authorization",), _AUTHORIZATION, rf"\1{REDACTED}"),
    (("bearer",), _BEARER, f"Bearer {REDACTED}"),
    (_KEY_WORDS, _QUOTED_VALUE, rf'\1\2"{REDACTED}"'),
    (_KEY_WORDS, _PLAIN_VALUE, rf"\1={REDACTED}"),
    (("eyj", "eya", "ewo", "ewk", "ew0"), _JSON_IN_BASE64, REDACTED),
)
"""What is looked for where one of the words is, and what is put in its place."""
