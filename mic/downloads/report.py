"""Published images, joined with what clients have read of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mic.common.errors import MicError
from mic.downloads.state import State
from mic.downloads.tracker import Downloads, Record
from mic.images.store import Entry, Image, ImageId, Store
from mic.media.base import IMAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Share of an image that one client has read.

    ``read`` counts each byte once, over ``downloads`` downloads. ``started`` and ``last`` are when
    the latest download started and sent its last byte, in seconds since the epoch; ``sent`` is the
    number of bytes it sent. ``outdated``: it read another version of the image.
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
class ImageReport:
    """An image and its last readers, the latest first; ``size`` is None while it is unknown.

    ``customised`` is what is laid over its base, besides mic's own config in its usual place.
    An image that is no longer ``published`` is reported for a while.
    """

    label: str
    namespace: str
    name: str
    kind: str
    size: int | None
    published: bool
    customised: tuple[str, ...]
    downloads: int
    readers: tuple[Reader, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Published images by how much of them was read, and downloads in progress."""

    never_fetched: int
    partly_fetched: int
    complete: int
    downloading: int
    stalled: int


def report(images: Store, downloads: Downloads) -> Iterator[ImageReport]:
    """Yield a report of each image that is published, or was until recently.

    Lazily: with thousands of images, all at once would block the reactor.
    """
    records = downloads.records
    published = _published(images, records)
    for id in sorted(published.keys() | records.keys(), key=str):
        yield image_report(id, images, published.get(id), records.get(id))


def _published(images: Store, records: Mapping[ImageId, Record]) -> dict[ImageId, Entry]:
    """Return the images that are published; boot files and scripts only if they were read.

    Those are published whether hosts use them or not.
    """
    entries = {entry.content.id: entry for entry in images}
    return {id: entry for id, entry in entries.items() if id.kind in IMAGES or id in records}


def image_report(
    id: ImageId, images: Store, entry: Entry | None, record: Record | None
) -> ImageReport:
    """Return the report of an image; ``entry`` is None when it is not published."""
    image: Image | None = None
    if entry is not None:
        try:
            image = images.loaded(entry)
        except MicError:
            image = None  # its base has become too small, as the log says
    outdated = image is not None and record is not None and record.etag != image.etag
    size = image.size if image is not None else record.size if record is not None else None
    readers = () if record is None else tuple(reversed(record.readers.values()))
    return ImageReport(
        label=str(id),
        namespace=id.namespace,
        name=id.name,
        kind=id.kind.value,
        size=size,
        published=entry is not None,
        customised=tuple(map(str, entry.additions)) if entry is not None else (),
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


def summary(images: Store, downloads: Downloads) -> Summary:
    """Return the totals of `report`, at little cost.

    An image whose base was replaced counts as before until it is requested again.
    """
    records = downloads.records
    published = _published(images, records)
    fetched = complete = 0
    for id, entry in published.items():
        record, image = records.get(id), entry.composed
        if record is None or (image is not None and image.etag != record.etag):
            continue
        fetched += 1
        complete += any(each.state is State.COMPLETE for each in record.readers.values())
    states = [each.state for each in downloads.in_progress]
    return Summary(
        never_fetched=len(published) - fetched,
        partly_fetched=fetched - complete,
        complete=complete,
        downloading=states.count(State.DOWNLOADING),
        stalled=states.count(State.STALLED),
    )
