"""Published names, composed with the base images in force."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mic.bases import Bases
from mic.image.store import Content, Entry, Image, Store


class Images:
    """What is served: a store of names, and the bases they are composed with.

    ``clock`` gives seconds since the epoch.
    """

    def __init__(self, bases: Bases, clock: Callable[[], float]) -> None:
        self._bases = bases
        self._clock = clock
        self._store = Store(clock)
        bases.changed.append(self._release)

    def __len__(self) -> int:
        return len(self._store)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._store)

    def entry(self, name: str) -> Entry | None:
        """What is published under a name."""
        return self._store.get(name)

    def current(self, entry: Entry) -> Image | None:
        """The image of an entry if its base is loaded and unchanged; None means: ask `image`.

        Raises `mic.errors.BuildInvalid` when the base has become too small.
        """
        content = entry.content
        base = self._bases.current(
            content.kind, stream=content.stream, architecture=content.architecture
        )
        return None if base is None else entry.image(base, self._clock())

    async def image(self, entry: Entry) -> Image:
        """The image of an entry, its base loaded when it must be.

        Raises `mic.errors.BuildInvalid` or `mic.errors.NotReady`.
        """
        content = entry.content
        base = await self._bases.base(
            content.kind, stream=content.stream, architecture=content.architecture
        )
        return entry.image(base, self._clock())

    async def etag(self, content: Content) -> str:
        """The entity tag of the image that this content makes with the base in force.

        Raises what `image` would raise for it.
        """
        base = await self._bases.base(
            content.kind, stream=content.stream, architecture=content.architecture
        )
        base.layout(content.archive)
        return base.etag(content.archive)

    def publish(self, name: str, content: Content) -> None:
        """Serve ``content`` under ``name`` from now on; what is being served goes on."""
        self._store.publish(name, content)

    def discard(self, name: str) -> None:
        """Serve ``name`` no more."""
        self._store.discard(name)

    def _release(self) -> None:
        """Let go of base files that are out of use: a deleted ISO keeps its disk space else."""
        for entry in self._store:
            entry.invalidate()
