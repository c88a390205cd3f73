"""The header fields of an image's responses: what stays the same is made once. Pure."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from mic.web.conditions import format_date

SERVER = b"mic"
"""Which Twisted answers is nobody's business."""

_IMAGES = 1024
"""How many images that are being read at a time have their fields ready; a few KiB each."""


@lru_cache(_IMAGES)
def image_fields(
    etag: str, last_modified: int, content_type: str, filename: str
) -> tuple[tuple[bytes, bytes], ...]:
    """The fields that describe one version of an image, in the order they are sent in."""
    return (
        (b"Accept-Ranges", b"bytes"),
        (b"ETag", etag.encode()),
        (b"Last-Modified", format_date(last_modified)),
        (b"Content-Type", content_type.encode()),
        # sushy-tools looks for the name between quotes.
        (b"Content-Disposition", b'attachment; filename="%s"' % _quoted(filename)),
    )


@lru_cache(_IMAGES)
def image_lines(etag: str, last_modified: int, content_type: str, filename: str) -> bytes:
    """`image_fields` as they go over the wire."""
    fields = image_fields(etag, last_modified, content_type, filename)
    return b"".join(b"%s: %s\r\n" % field for field in fields)


def content_range(start: int, stop: int, size: int) -> bytes:
    """The value of Content-Range (RFC 9110 section 14.4) for ``start`` to ``stop`` (exclusive)."""
    return b"bytes %d-%d/%d" % (start, stop - 1, size)


def _quoted(name: str) -> bytes:
    # RFC 6266 appendix D: no quotes, backslashes or percent signs, ASCII only.
    return quote(name, safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~").replace("%", "_").encode()
