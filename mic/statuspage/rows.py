"""Hosts joined with who read their images: the rows of the page."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from mic.downloads.report import image_report
from mic.downloads.state import share
from mic.downloads.tracker import Downloads
from mic.hosts import HostSource
from mic.images.store import ImageId, Store
from mic.media.base import IMAGES
from mic.statuspage.overview import LastRead, Row


def rows(hosts: HostSource, images: Store, downloads: Downloads, url: str) -> Iterator[Row]:
    """Yield a row for each host, lazily: thousands at once would block the reactor.

    ``url`` is that of the images, empty where their names are secret.
    """
    entries = {entry.content.id: entry for entry in images}
    records = downloads.records
    for status in hosts.statuses():
        ids = [ImageId(status.namespace, status.name, kind) for kind in IMAGES]
        reads = []
        for id in ids:
            if id in records:
                for reader in image_report(id, images, entries.get(id), records[id]).readers:
                    last = LastRead(
                        client=reader.client,
                        kind=id.kind.value,
                        state=reader.state,
                        outdated=reader.outdated,
                        share=share(reader.read, reader.size),
                        last=reader.last,
                    )
                    reads.append(last)
        found = [(id.kind.value, entries[id]) for id in ids if id in entries]
        yield Row(
            host=status,
            read=max(reads, key=lambda read: read.last, default=None),
            published=bool(found),
            images=tuple((kind, f"{url}/{quote(entry.name)}") for kind, entry in found)
            if url
            else (),
        )
