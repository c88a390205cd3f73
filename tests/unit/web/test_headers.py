"""Scope: the header fields of an image: what they say, that they are made once, and let go."""

from __future__ import annotations

import gc
from pathlib import Path

from toys import live_iso, put

from mic.images.store import Content, Entry, Image, ImageId
from mic.media.base import Kind, read_base
from mic.media.basefile import open_base
from mic.media.customisation import Customisation
from mic.web.headers import ImageHead, image_head


def _image(tmp_path: Path, name: str = "host.iso") -> Image:
    base = read_base(
        open_base(str(put(tmp_path / "b.iso", live_iso()))), Kind.ISO, inside_iso=False
    )
    content = Content(id=ImageId("", "host", Kind.ISO), customisation=Customisation(b"config"))
    return Entry(name, content, 1000).compose(base, 1000.0)


def test_the_lines_are_the_fields(tmp_path: Path) -> None:
    image = _image(tmp_path)
    head = image_head(image)
    assert dict(head.fields) == {
        b"Accept-Ranges": b"bytes",
        b"ETag": image.etag.encode(),
        b"Last-Modified": b"Thu, 01 Jan 1970 00:16:40 GMT",
        b"Content-Type": b"application/vnd.efi-iso",
        b"Content-Disposition": b'attachment; filename="host.iso"',
    }
    assert head.lines == b"".join(b"%s: %s\r\n" % field for field in head.fields)


def test_they_are_made_once_for_each_image(tmp_path: Path) -> None:
    image = _image(tmp_path)
    assert image_head(image) is image_head(image)
    assert image_head(_image(tmp_path, "other.iso")) is not image_head(image)


def _heads() -> int:
    gc.collect()
    return sum(isinstance(each, ImageHead) for each in gc.get_objects())


def test_nothing_is_left_of_them_when_the_image_is_gone(tmp_path: Path) -> None:
    before = _heads()
    for number in range(20):
        image_head(_image(tmp_path, f"host-{number}.iso"))
    assert _heads() <= before
