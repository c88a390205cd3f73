"""Who boots from what: the images that are published, and what clients have read of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mic.errors import MicError
from mic.image.store import Entry, Image
from mic.images import Images
from mic.web.downloads import Downloads, Record, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What one client has read of an image.

    ``read`` counts each byte once, over ``downloads`` downloads; ``started`` and ``last`` are
    when the latest began and got its last byte, in seconds since the epoch, and ``sent`` is what
    it took. With ``outdated`` it was another version of the image.
    """

    client: str
    state: State
    outdated: bool
    started: float
    last: float
    sent: int
    read: int
    size: int
    downloads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetches:
    """An image and its last readers, the latest first; ``size`` is None while it is not known.

    One that is ``published`` no more is told of for a while.
    """

    label: str
    size: int | None
    published: bool
    downloads: int
    readers: tuple[Reader, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Published images by what was read of them, and the downloads that are under way."""

    never_fetched: int
    partly_fetched: int
    complete: int
    downloading: int
    stalled: int


def fetches(images: Images, downloads: Downloads) -> Iterator[Fetches]:
    """What is known of every image that is published now, and of those that lately were.

    Looks at each when it is asked for: with thousands of images that is too much at once.
    """
    published = {entry.content.label: entry for entry in images}
    records = downloads.records
    for label in sorted(published.keys() | records.keys()):
        yield _fetches(label, images, published.get(label), records.get(label))


def _fetches(label: str, images: Images, entry: Entry | None, record: Record | None) -> Fetches:
    image: Image | None = None
    if entry is not None:
        try:
            image = images.current(entry)
        except MicError:
            image = None  # its base has become too small; the log tells
    outdated = image is not None and record is not None and record.etag != image.etag
    size = image.size if image is not None else record.size if record is not None else None
    readers = () if record is None else tuple(reversed(record.readers.values()))
    return Fetches(
        label=label,
        size=size,
        published=entry is not None,
        downloads=0 if record is None else record.times,
        readers=tuple(
            Reader(
                client=each.client,
                state=each.state,
                outdated=outdated,
                started=each.started,
                last=each.last,
                sent=each.bytes,
                read=each.read,
                size=each.size,
                downloads=each.times,
            )
            for each in readers
        ),
    )


def counts(images: Images, downloads: Downloads) -> Counts:
    """The figures that go with `fetches`, at little cost.

    An image counts as it did when its base was exchanged and nobody has asked for it since.
    """
    records = downloads.records
    published = {entry.content.label: entry for entry in images}
    fetched = complete = 0
    for label, entry in published.items():
        record, image = records.get(label), entry.composed
        if record is None or (image is not None and image.etag != record.etag):
            continue
        fetched += 1
        complete += any(each.state is State.COMPLETE for each in record.readers.values())
    states = [each.state for each in downloads.under_way]
    return Counts(
        never_fetched=len(published) - fetched,
        partly_fetched=fetched - complete,
        complete=complete,
        downloading=states.count(State.DOWNLOADING),
        stalled=states.count(State.STALLED),
    )
