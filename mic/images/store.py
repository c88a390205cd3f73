"""The published images: which name serves which content, composed with the base in force.

Holds one archive per host and, for each name, the image last composed from it. Images are values:
a body in transit keeps its version, whatever is published or discarded. No locks: the store
belongs to one thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mic.common.errors import BaseUnavailable, BuildInvalid
from mic.images.bases import Bases
from mic.media.base import IMAGES, SERVED, SHARED, Base, Kind
from mic.media.basefile import BaseFile
from mic.media.customisation import Addition, Customisation
from mic.media.layout import Layout

_CONTENT_TYPES = {
    # With this type UEFI HTTP boot firmware treats it as an ISO, whatever its name
    # (UEFI 2.5, 24.7.3.1).
    Kind.ISO: "application/vnd.efi-iso",
    Kind.INITRAMFS: "application/octet-stream",
    Kind.KERNEL: "application/octet-stream",
    Kind.ROOTFS: "application/octet-stream",
    Kind.IPXE: "text/plain; charset=utf-8",
    Kind.INS: "text/plain; charset=utf-8",
    Kind.PRM: "text/plain; charset=utf-8",
    Kind.ADDRSIZE: "application/octet-stream",
}


@dataclass(frozen=True, slots=True)
class ImageId:
    """Which image it is, apart from its versions: an object's or a host's, and of which kind.

    ``namespace`` is empty in static mode, and for the kinds that all hosts share. As text it is
    the label that logs and ``mic status`` show; the random names of controller mode are
    capabilities and stay out of both.
    """

    namespace: str
    name: str
    kind: Kind

    def __str__(self) -> str:
        if self.namespace:
            return f"{self.namespace}/{self.name} {self.kind.value}"
        return self.name if self.kind in SHARED else f"{self.name}.{self.kind.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One version of an image, ready to be served."""

    id: ImageId
    layout: Layout
    base: Base
    etag: str
    last_modified: int
    content_type: str
    filename: str = field(repr=False)
    made: list[Any] = field(default_factory=list, repr=False, compare=False)
    """Cache for what the HTTP side derives from the image once; it is freed with the image."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.layout.size


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageVersion:
    """The only version of an image that its name stands for.

    ``etag`` is its entity tag, ``date`` the date of these bytes in seconds since the epoch; both
    are the same in every process.
    """

    etag: str
    date: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """An image except for its base.

    With ``version``, only the base that gives this version can serve it.
    """

    id: ImageId
    customisation: Customisation
    stream: str = ""
    architecture: str = ""
    version: ImageVersion | None = None

    @property
    def kind(self) -> Kind:
        """The kind of image."""
        return self.id.kind


class Entry:
    """A published name: its content, and the image last composed from it."""

    __slots__ = ("_date", "_etag", "_image", "additions", "content", "name")

    def __init__(self, name: str, content: Content, date: int) -> None:
        self.name = name
        self.content = content
        self._date = date
        self._etag = ""
        self._image: Image | None = None
        self.additions: tuple[Addition, ...] = ()
        """Additions to the base that was in force when the image was published or composed."""

    def __repr__(self) -> str:
        return f"<Entry of {self.content.id}>"

    def compose(self, base: Base, now: float) -> Image:
        """Return the image on ``base``: the same object until the base changes.

        Its date moves, always forwards, exactly when its bytes change: caches such as Ironic's
        compare nothing else. Raises `BuildInvalid` when the archive does not fit the base, and
        `BaseUnavailable` when the content is meant for another version of the base.
        """
        image = self._image
        if image is not None and image.base is base:
            return image
        customisation = self.content.customisation
        layout = base.layout(customisation)
        etag = base.etag(customisation)
        version = self.content.version
        if version is not None and version.etag != etag:
            raise BaseUnavailable(
                f"base image {base.file.path} has changed since this image was built"
            )
        if self._etag not in ("", etag):
            self._date = max(int(now), self._date + 1)
        self._etag = etag
        self.additions = tuple(base.additions(customisation))
        self._image = Image(
            id=self.content.id,
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
        """The image last composed, even if its base file has changed since.

        None when another base has come into force: see `Store`.
        """
        return self._image

    @property
    def date(self) -> int:
        """Last-Modified of the bytes now published, in seconds since the epoch."""
        return self._date

    def invalidate(self) -> None:
        """Drop the composed image, and with it the open base file."""
        self._image = None


class Store:
    """The published names, and their images on the bases in force.

    ``clock`` returns seconds since the epoch.
    """

    def __init__(self, bases: Bases, clock: Callable[[], float]) -> None:
        self._bases = bases
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._last_discarded = 0
        bases.changed.append(self._release)

    def __len__(self) -> int:
        """Return the number of images of hosts, without boot files and scripts."""
        return sum(entry.content.kind in IMAGES for entry in self._entries.values())

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def kinds(self) -> Counter[Kind]:
        """Return the number of published images by kind."""
        kinds: Counter[Kind] = Counter(dict.fromkeys(SERVED, 0))
        kinds.update(entry.content.kind for entry in self._entries.values())
        return kinds

    def additions(self) -> Counter[Addition]:
        """Return the number of published images by what is laid over their bases."""
        found = Counter(dict.fromkeys(Addition, 0))
        for entry in self._entries.values():
            found.update(entry.additions)
        return found

    def entry(self, name: str) -> Entry | None:
        """Return the entry of a name, or None."""
        return self._entries.get(name)

    def publish(self, name: str, content: Content) -> Entry:
        """Serve ``content`` under ``name`` from now on, in place of earlier content.

        The same content again changes nothing, not even the date. The latest entry comes last:
        where two have the same id, the earlier one stays for clients that are reading it.
        """
        old = self._entries.pop(name, None)
        if old is not None and old.content == content:
            self._entries[name] = old
            return old
        if content.version is not None:
            date = content.version.date
        else:
            # A name may return with other bytes within the second, or after the clock was set
            # back. One date for all discarded names costs less memory than one for each.
            newest = self._last_discarded if old is None else old.date
            date = max(int(self._clock()), newest + 1)
        entry = self._entries[name] = Entry(name, content, date)
        entry.additions = self._additions(content)
        return entry

    def _additions(self, content: Content) -> tuple[Addition, ...]:
        base = self._bases.loaded(
            content.kind, stream=content.stream, architecture=content.architecture
        )
        try:
            if base is not None:
                return tuple(base.additions(content.customisation))
        except BuildInvalid:
            pass  # requests for it get the reason
        return tuple(content.customisation.additions())

    def discard(self, name: str) -> None:
        """Stop serving ``name``; unknown names are ignored."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._last_discarded = max(self._last_discarded, entry.date)

    def loaded(self, entry: Entry) -> Image | None:
        """Return the image of an entry if its base is loaded and unchanged; never wait.

        None: call `load`. Raises `BuildInvalid` when the base has become too small.
        """
        content = entry.content
        base = self._bases.loaded(
            content.kind, stream=content.stream, architecture=content.architecture
        )
        return None if base is None else entry.compose(base, self._clock())

    async def load(self, entry: Entry) -> Image:
        """Return the image of an entry; load its base first if necessary.

        Raises `BuildInvalid` or `NotReady`.
        """
        return entry.compose(await self._base(entry.content), self._clock())

    async def check(self, content: Content) -> Base:
        """Check that ``content`` can be served on the base in force, and return that base.

        Raises `BuildInvalid` or `NotReady`, as `load` would.
        """
        base = await self._base(content)
        base.layout(content.customisation)
        return base

    async def _base(self, content: Content) -> Base:
        return await self._bases.load(
            content.kind, stream=content.stream, architecture=content.architecture
        )

    async def verify(self, file: BaseFile) -> None:
        """Wait until a base file in doubt is known to be unchanged; see `Bases.verify`."""
        await self._bases.verify(file)

    def _release(self) -> None:
        """Close base files that no base uses now: a deleted ISO keeps its disk space until then."""
        for entry in self._entries.values():
            entry.invalidate()
