"""The header fields of an image's responses: what stays the same is made once. Pure."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from mic.image.store import Image
from mic.web.conditions import format_date

SERVER = b"mic"
"""Which Twisted answers is nobody's business."""


class ImageHead(NamedTuple):
    """The fields that describe one version of an image, in the order they are sent in, and the
    same as they go over the wire."""

    fields: tuple[tuple[bytes, bytes], ...]
    lines: bytes


def image_head(image: Image) -> ImageHead:
    """The fields of an image: made once, and kept with it."""
    if not image.made:
        image.made.append(_head(image))
    head: ImageHead = image.made[0]
    return head


def _head(image: Image) -> ImageHead:
    fields = (
        (b"Accept-Ranges", b"bytes"),
        (b"ETag", image.etag.encode()),
        (b"Last-Modified", format_date(image.last_modified)),
        (b"Content-Type", image.content_type.encode()),
        # sushy-tools looks for the name between quotes.
        (b"Content-Disposition", b'attachment; filename="%s"' % _quoted(image.filename)),
    )
    return ImageHead(fields, b"".join(b"%s: %s\r\n" % field for field in fields))


def content_range(start: int, stop: int, size: int) -> bytes:
    """The value of Content-Range (RFC 9110 section 14.4) for ``start`` to ``stop`` (exclusive)."""
    return b"bytes %d-%d/%d" % (start, stop - 1, size)


def _quoted(name: str) -> bytes:
    # RFC 6266 appendix D: no quotes, backslashes or percent signs, ASCII only.
    return quote(name, safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~").replace("%", "_").encode()
