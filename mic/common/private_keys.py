"""Find private keys in texts.

Recognises the files of OpenSSH, OpenSSL (PKCS #1, PKCS #8, SEC 1, DSA, encrypted or not), PuTTY,
SSH.COM and PGP by the lines around the key; most of them, and PKCS #12, also by the start of the
base64 without those lines; base64 of such a file, compressed or not; JSON web keys and age
identities. Line breaks may be missing, escaped or doubled.

A doubtful text counts as a key: it may be shown to anyone.
"""

from __future__ import annotations

import base64
import binascii
import re
import string
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Final

# The lines around a key (RFC 7468, and the formats of SSH.COM and PGP). Line breaks may be missing,
# word processors replace the dashes, and a blank may have become %20.
_BLANK: Final = r"(?:%20|[^A-Za-z0-9]){1,4}"
_FRAME: Final = re.compile(
    rf"(?P<which>BEGIN|END){_BLANK}(?:[A-Z0-9]{{1,16}}{_BLANK}){{0,4}}?PRIVATE{_BLANK}KEY"
    rf"(?:{_BLANK}BLOCK)?(?:[ -]{{0,8}}-)?"
)
_OTHER_FRAME: Final = re.compile(r"-{4,5} ?BEGIN ")
# A header of RFC 1421, which OpenSSL writes only into encrypted keys.
_DEK_INFO: Final = re.compile(r"DEK-Info(?::|%3[Aa])[ %0-9A-Za-z-]{1,40},[0-9A-Fa-f]*")

# Private-Lines has the number of following lines; Private-MAC ends the file.
_PUTTY_LINES: Final = re.compile(r"Private-Lines(?::|%3[Aa])(?:.(?!Private-MAC))*.?", re.DOTALL)
_PUTTY: Final = re.compile(r"PuTTY-User-Key-File-[0-9]|Private-(?:Lines|MAC)(?::|%3[Aa])")

# RFC 7517 and 7518 section 6: d of EC and RSA keys, the other parts of RSA keys, k of secrets.
_JWK: Final = re.compile(
    r"\\{0,4}\"(?:d|p|q|dp|dq|qi|k)\\{0,4}\"\s{0,8}:\s{0,8}\\{0,4}\"([A-Za-z0-9_-]{16,})"
)
_AGE: Final = re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]{8,}")

# Base64 of both alphabets; four dashes belong to a frame.
_DIGIT: Final = r"(?:[A-Za-z0-9+/_]|-{1,3}(?!-)|%2[BbFf])"
_PAD: Final = r"(?:=|%3[Dd]){0,2}"
_BREAK: Final = r"(?:\s|\\[nrt]|%0[AaDd])"
_START: Final = r"(?:(?<![A-Za-z0-9+/_-])|(?<=\\[nrt])|(?<=%0[AaDd])|(?<=-----))"
_BASE64: Final = string.ascii_letters + string.digits + "+/_"
_BASE64_OR_BLANK: Final = _BASE64 + "=\\ \t\r\n"
_LONG: Final = 16  # least characters of base64 in a line of a key, except the last line
_REST: Final = re.compile(
    rf"{_DIGIT}*{_PAD}(?:{_BREAK}{{1,40}}{_DIGIT}{{{_LONG},}}{_PAD})*"
    rf"(?:{_BREAK}{{1,40}}{_DIGIT}{{1,{_LONG - 1}}}{_PAD}"
    r"(?=\s{0,40}(?:$|-----)|\\[nr]|[\"',]))?",
    re.MULTILINE,
)
_RUN: Final = re.compile(rf"[A-Za-z0-9+/_-]{{{_LONG}}}")
_DER: Final = re.compile(rf"{_START}M[A-Za-z0-9+/_-]{{{_LONG - 1}}}")
_GZIP: Final = re.compile(rf"{_START}H4sI[A-Za-z0-9+/_-]{{{_LONG - 4}}}")

_ENCRYPTION_SCHEMES: Final = (
    bytes.fromhex("06092a864886f70d0105"),  # PKCS #5, RFC 8018
    bytes.fromhex("060a2a864886f70d010c01"),  # PKCS #12, RFC 7292
)
_DECOMPRESSED: Final = 4 << 20  # limit in bytes for all decompressed data of a text


def _encodings(sign: bytes) -> Iterator[str]:
    """Yield the base64 of ``sign`` inside other data, at each of the three offsets."""
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + sign).decode()
        whole = (offset + len(sign)) * 8 // 6  # characters that do not depend on the bytes after it
        yield text[-(-offset * 8 // 6) : whole]


_SIGNS: Final = tuple(
    dict.fromkeys(
        [
            "b3BlbnNzaC1rZXktdjEA",  # "openssh-key-v1" and a zero: OpenSSH's PROTOCOL.key
            *_encodings(b"openssh-key-v1\0"),
            *_encodings(b"b3BlbnNzaC1rZXktdjEA"),
            *(
                code
                for text in (
                    "PRIVATE KEY--",
                    "PRIVATE KEY --",
                    "PRIVATE KEY BLOCK--",
                    "PuTTY-User-Key-File-",
                )
                for data in (text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be"))
                for code in _encodings(data)
            ),
        ]
    )
)
"""Base64 that occurs in a private key or its file."""

_BREAKS: Final = re.compile(rf"{_BREAK}+")


@cache
def _sign() -> re.Pattern[str]:
    """Return the pattern of `_SIGNS`, whose line breaks may be anywhere.

    Made when a text has one: that takes 60 ms and 4 MiB, and hardly any process ever needs it.
    """
    return re.compile("|".join(rf"{_BREAK}{{0,40}}".join(sign) for sign in _SIGNS))


def holds_private_key(text: str) -> bool:
    """Return whether ``text`` contains a private key, a part of one, or the lines around one."""
    return _shows_one(text) or any(_spans(text))


def without_private_keys(text: str, replacement: str) -> str:
    """Return ``text`` with private keys replaced; the lines around a key stay."""
    parts: list[str] = []
    done = 0
    for start, end in sorted(_spans(text)):
        if end <= done and done:
            continue
        if start > done or not done:
            parts += (text[done:start], replacement)
        done = max(done, end)
    return "".join((*parts, text[done:])) if parts else text


def _shows_one(text: str) -> bool:
    """Return whether there is a sign of a key; fast also for long texts."""
    if "\0" in text:
        text = text.replace("\0", "")
    signs = (("PRIVATE", _FRAME), ("PuTTY-", _PUTTY), ("Private-", _PUTTY), ("DEK-Info", _DEK_INFO))
    if any(word in text and pattern.search(text) for word, pattern in signs):
        return True
    if _RUN.search(text) is None:
        return False
    squeezed = _BREAKS.sub("", text)
    return any(sign in squeezed for sign in _SIGNS)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges of keys in ``text``; they may overlap."""
    if "PRIVATE" in text:
        yield from _framed(text)
    if "Private-Lines" in text:
        yield from (found.span() for found in _PUTTY_LINES.finditer(text))
    if "DEK-Info" in text:
        ends = (found.end() for found in _DEK_INFO.finditer(text))
        yield from ((end, _end_of_run(text, end)) for end in ends)
    if '"' in text and "kty" in text:
        yield from (found.span(1) for found in _JWK.finditer(text))
    if "AGE-SECRET-KEY-" in text:
        yield from (found.span() for found in _AGE.finditer(text))
    if _RUN.search(text) is not None:
        yield from _encoded(text)


def _framed(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges between the lines around keys, to the end of the text without a last one."""
    begin: int | None = None
    done = 0
    for frame in _FRAME.finditer(text):
        # The dashes before it belong to the frame.
        start = done + len(text[done : frame.start()].rstrip("- "))
        if begin is not None:
            other = _OTHER_FRAME.search(text, begin, start)
            yield begin, other.start() if other else start
        elif frame["which"] == "END":
            # The first line is missing.
            first = done + len(text[done:start].rstrip(_BASE64_OR_BLANK))
            if first < start:
                yield first, start
        begin = frame.end() if frame["which"] == "BEGIN" else None
        done = frame.end()
    if begin is not None:
        other = _OTHER_FRAME.search(text, begin)
        yield begin, other.start() if other else len(text)


def _encoded(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges of base64 that is a key, or a file with one."""
    squeezed = _BREAKS.sub("", text)
    if any(sign in squeezed for sign in _SIGNS):
        done = 0
        while (found := _sign().search(text, done)) is not None:
            start = done + len(text[done : found.start()].rstrip(_BASE64))
            done = _end_of_run(text, found.end())
            yield start, done
    done = 0
    while (found := _DER.search(text, done)) is not None:
        done = found.end()
        if _is_private_der(_decoded(text[found.start() : found.end() + 32])):
            done = _end_of_run(text, done)
            yield found.start(), done
    left = _DECOMPRESSED
    done = 0
    while (found := _GZIP.search(text, done)) is not None:
        done = _end_of_run(text, found.end())
        content = _decompressed(_decoded(_BREAKS.sub("", text[found.start() : done])), left)
        left -= len(content)
        if left <= 0 or _shows_one(content):
            yield found.start(), done


def _end_of_run(text: str, position: int) -> int:
    found = _REST.match(text, position)
    return found.end() if found else position


def _decoded(text: str) -> bytes:
    """Return the decoded prefix of ``text`` that is valid base64."""
    run = text.replace("-", "+").replace("_", "/")
    clean = re.match(r"[A-Za-z0-9+/]*", run)
    whole = clean[0][: len(clean[0]) // 4 * 4] if clean else ""
    return binascii.a2b_base64(whole)


def _decompressed(data: bytes, limit: int) -> str:
    if limit <= 0:
        return ""
    try:
        content = zlib.decompressobj(wbits=31).decompress(data, limit)
    except zlib.error:
        return ""
    return content.decode("latin-1")


def _is_private_der(data: bytes) -> bool:
    """Return whether DER data starts like a structure with a private key.

    Version 0 or 1, then an integer (RFC 8017 appendix A.1.2, and DSA), octets (RFC 5915) or an
    algorithm (RFC 5958); the scheme of an encrypted key; or version 3 of PKCS #12 (RFC 7292).
    """
    content = _content(data)
    if content[:2] == b"\x02\x01" and len(content) > 3:
        return (content[2] in (0, 1) and content[3] in (0x02, 0x04, 0x30)) or (
            content[2] == 3 and content[3] == 0x30
        )
    return _content(content).startswith(_ENCRYPTION_SCHEMES)


def _content(data: bytes) -> bytes:
    """Return the content of the DER sequence at the start of ``data``, empty if there is none."""
    if len(data) < 2 or data[0] != 0x30:
        return b""
    return data[2:] if data[1] <= 0x80 else data[2 + (data[1] & 0x7F) :]
