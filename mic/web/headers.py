"""The header fields of responses: what stays the same of an image's is made once. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from mic.media.base import Kind
from mic.web.conditions import format_date
from mic.web.request_head import REASONS, Refusal

if TYPE_CHECKING:
    from mic.images.store import Image

SERVER = b"mic"
"""The value of Server: the Twisted version is not disclosed."""

OWN_AGENT = b"mic/"
"""Start of the User-Agent of mic's own commands, whose requests are not counted as downloads."""


class ImageHead(NamedTuple):
    """The fields that describe one version of an image, in the order they are sent in, and the
    same as they go over the wire."""

    fields: tuple[tuple[bytes, bytes], ...]
    lines: bytes


def image_head(image: Image) -> ImageHead:
    """Return the header fields of an image; they are made once and kept with it."""
    if not image.made:
        image.made.append(_head(image))
    head: ImageHead = image.made[0]
    return head


def _head(image: Image) -> ImageHead:
    fields: tuple[tuple[bytes, bytes], ...] = (
        (b"Accept-Ranges", b"bytes"),
        (b"ETag", image.etag.encode()),
        (b"Last-Modified", format_date(image.last_modified)),
        (b"Content-Type", image.content_type.encode()),
        # sushy-tools looks for the name between quotes.
        (b"Content-Disposition", b'attachment; filename="%s"' % _quoted(image.filename)),
    )
    if image.id.kind is Kind.IPXE:
        fields = (*fields, (b"Cache-Control", b"no-store"))
    return ImageHead(fields, b"".join(b"%s: %s\r\n" % field for field in fields))


def content_range(start: int, stop: int, size: int) -> bytes:
    """Return Content-Range (RFC 9110 section 14.4) for ``start`` to ``stop`` (exclusive)."""
    return b"bytes %d-%d/%d" % (start, stop - 1, size)


def refusal_answer(refusal: Refusal, now: int, *, body: bool = True) -> bytes:
    """Return the whole response to a refused request; without ``body`` that to a HEAD.

    ``now`` is in seconds since the epoch.
    """
    text = f"{refusal}\n".encode()
    fields = (
        (b"Server", SERVER),
        (b"Date", format_date(now)),
        (b"Connection", b"close"),
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(text)),
    )
    status = b"HTTP/1.1 %d %s\r\n" % (refusal.status, REASONS[refusal.status].encode())
    head = status + b"".join(b"%s: %s\r\n" % each for each in fields) + b"\r\n"
    return head + text if body else head


def _quoted(name: str) -> bytes:
    # RFC 6266 appendix D: no quotes, backslashes or percent signs, ASCII only.
    return quote(name, safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~").replace("%", "_").encode()
