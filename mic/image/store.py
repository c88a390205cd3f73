"""The registry of images: name to image.

Holds one archive per host and, for each name, the image composed with the base in force. A
name is published and discarded by whoever owns the host; what is being served goes on, as
images are values. No locks: it belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mic.errors import BaseUnavailable
from mic.image.base import Base, Kind
from mic.image.layout import Layout

_CONTENT_TYPES = {
    # Makes UEFI HTTP boot firmware take it for an ISO whatever its name (UEFI 2.5, 24.7.3.1).
    Kind.ISO: "application/vnd.efi-iso",
    Kind.INITRAMFS: "application/octet-stream",
    Kind.KERNEL: "application/octet-stream",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One version of an image, ready to be served."""

    label: str
    layout: Layout
    base: Base
    etag: str
    last_modified: int
    content_type: str
    filename: str = field(repr=False)
    made: list[Any] = field(default_factory=list, repr=False, compare=False)
    """Room for what those who serve it make of it once. It goes when the image does: a cache of
    theirs would hold what was made of a thousand images that are gone."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.layout.size


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageVersion:
    """The one version of an image that its name stands for, on whichever base: its entity tag, and
    the date of these bytes in seconds since the epoch, the same in every process."""

    etag: str
    date: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an image is made of, its base left open.

    ``label`` is how logs call it: the random names of controller mode are capabilities. With
    ``version`` it is served on no base but the one that gives that.
    """

    label: str
    kind: Kind
    archive: bytes = field(repr=False)
    stream: str = ""
    architecture: str = ""
    version: ImageVersion | None = None


class Entry:
    """A published name: its content, and the image last composed from it."""

    __slots__ = ("_date", "_etag", "_image", "content", "name")

    def __init__(self, name: str, content: Content, date: int) -> None:
        self.name = name
        self.content = content
        self._date = date
        self._etag = ""
        self._image: Image | None = None

    def __repr__(self) -> str:
        return f"<Entry of {self.content.label}>"

    def image(self, base: Base, now: float) -> Image:
        """The image on ``base``: the same object until the base is another one.

        Its date moves, and then strictly forwards, exactly when its bytes change: caches
        compare nothing else (Ironic's does). Raises `mic.errors.BuildInvalid` when the archive
        does not fit the base, `BaseUnavailable` when it is meant for another version of it.
        """
        image = self._image
        if image is not None and image.base is base:
            return image
        archive = self.content.archive
        layout = base.layout(archive)
        etag = base.etag(archive)
        version = self.content.version
        if version is not None and version.etag != etag:
            raise BaseUnavailable(f"base image {base.file.path} is another one than it was made on")
        if self._etag not in ("", etag):
            self._date = max(int(now), self._date + 1)
        self._etag = etag
        self._image = Image(
            label=self.content.label,
            layout=layout,
            base=base,
            etag=etag,
            last_modified=self._date,
            content_type=_CONTENT_TYPES[base.kind],
            filename=self.name,
        )
        return self._image

    @property
    def composed(self) -> Image | None:
        """The image last made by `image`, current or not."""
        return self._image

    @property
    def date(self) -> int:
        """Last-Modified of the bytes now published, seconds since the epoch."""
        return self._date

    def invalidate(self) -> None:
        """Compose anew at the next request: lets go of a base file that is out of use."""
        self._image = None


class Store:
    """The published names. ``clock`` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._last_discarded = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def publish(self, name: str, content: Content) -> Entry:
        """Put ``content`` under ``name``, in place of what was there.

        The same content again changes nothing, not even the date.
        """
        old = self._entries.get(name)
        if old is not None and old.content == content:
            return old
        if content.version is not None:
            entry = self._entries[name] = Entry(name, content, content.version.date)
            return entry
        # A name may come back with other bytes within the second, or after the clock was set
        # back: one date for all that are gone costs less memory than one for each.
        newest = self._last_discarded if old is None else old.date
        date = max(int(self._clock()), newest + 1)
        entry = self._entries[name] = Entry(name, content, date)
        return entry

    def get(self, name: str) -> Entry | None:
        """The entry of a name, or None."""
        return self._entries.get(name)

    def discard(self, name: str) -> None:
        """Take a name away; one that is not there is no error."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._last_discarded = max(self._last_discarded, entry.date)
