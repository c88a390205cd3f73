"""The head of a request, judged by RFC 9112 and RFC 9110. Pure.

Twisted cuts heads into lines and fields. What it accepts of them, and the words in which it
refuses the rest, are too loose for a server of firmware: so each part of a head goes through a
function of this module first. Section numbers are of RFC 9112.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

MAX_HEAD = 16 * 1024
"""Upper bound on a head, in bytes with its line ends."""

MAX_FIELDS = 500
"""Upper bound on the fields of a head."""

MAX_BODY = 64 * 1024
"""Upper bound on a request's body, in bytes: no method that mic serves has a use for one."""

HTTP_1_0 = b"HTTP/1.0"
HTTP_1_1 = b"HTTP/1.1"

HOST = rb"[A-Za-z0-9!$%&'()*+,\-.:;=\[\]_~]*"
"""A pattern for the value of Host: the bytes that Go's server allows, or nothing."""

REASONS = {
    400: "Bad Request",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    505: "HTTP Version Not Supported",
}
"""The statuses of refusals, and their reason phrases."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):([^\0\r\n]*)")
_HOST = re.compile(HOST)
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+(.*)")
# A length with more digits is too large, and `int` takes time for it, or raises.
_DIGITS = 18


class Refusal(Exception):
    """A refused request: the response is ``status`` and a line of text, then the connection closes.

    The text goes to the client, so it quotes nothing.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class RequestLine(NamedTuple):
    """The parts of a request's first line; ``version`` is `HTTP_1_0` or `HTTP_1_1`."""

    method: bytes
    target: bytes
    version: bytes


def request_line(line: bytes) -> RequestLine:
    """Parse a request line (section 3). Raises `Refusal`.

    A minor version of 1 that does not exist counts as HTTP/1.1 (RFC 9110 section 2.5).
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise Refusal(400, "The request line is not METHOD TARGET HTTP/1.1.")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise Refusal(505, "Only HTTP/1.0 and 1.1 are spoken here.")
    return RequestLine(method, target, HTTP_1_0 if minor == b"0" else HTTP_1_1)


def field(line: bytes) -> tuple[bytes, bytes]:
    """Return name and value of a header or trailer field (section 5); raise `Refusal`."""
    match = _FIELD.fullmatch(line)
    if match is None:
        raise Refusal(400, "A line of the header is not NAME: VALUE.")
    return match[1], match[2].strip(b" \t")


def check_host(version: bytes, hosts: Sequence[bytes]) -> None:
    """Raise `Refusal` unless there is one valid Host, or none in HTTP/1.0 (section 3.2)."""
    if len(hosts) > 1:
        raise Refusal(400, "There is more than one Host field.")
    if not hosts and version != HTTP_1_0:
        raise Refusal(400, "The Host field is missing; only HTTP/1.0 may omit it.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise Refusal(400, "The Host field is malformed.")


def body_length(version: bytes, lengths: Sequence[bytes], codings: Sequence[bytes]) -> int | None:
    """Return the length of a request's body in bytes (section 6), None if it is chunked.

    ``lengths`` and ``codings`` are the values of Content-Length and Transfer-Encoding. What could
    be read in two ways is refused, also where a server may guess: a proxy in front of mic may
    guess otherwise.
    """
    if codings:
        _check_coding(version, codings, lengths)
        return None
    if not lengths:
        return 0
    digits = lengths[0].lstrip(b"0")
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise Refusal(400, "Content-Length is not one number.")
    length = int(digits or b"0") if len(digits) <= _DIGITS else MAX_BODY + 1
    if length > MAX_BODY:
        raise Refusal(413, f"A request's body may have {MAX_BODY} bytes.")
    return length


def _check_coding(version: bytes, codings: Sequence[bytes], lengths: Sequence[bytes]) -> None:
    """Raise `Refusal` for anything but one "chunked" (sections 6.1 and 6.3)."""
    if lengths:
        raise Refusal(400, "There are both Content-Length and Transfer-Encoding.")
    if version == HTTP_1_0:
        raise Refusal(400, "There is no Transfer-Encoding in HTTP/1.0.")
    *others, last = [coding.strip(b" \t").lower() for coding in b",".join(codings).split(b",")]
    if last != b"chunked" or b"chunked" in others:
        raise Refusal(400, "Transfer-Encoding is not one final chunked.")
    if others:
        raise Refusal(501, "Of the transfer codings only chunked is known here.")


def path_of(target: bytes) -> bytes | None:
    """Return the path of a request target without query, None without a path (section 3.2).

    An absolute form names a path as well; whose host it names does not matter here.
    """
    if target.startswith(b"/"):
        return target
    match = _ABSOLUTE.fullmatch(target)
    return None if match is None else match[1] or b"/"
