"""Hosts joined with who read their images. Scope: which reader and which image count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toys import live_iso, put
from twisted.internet.task import Clock

from mic.downloads.state import State
from mic.downloads.tracker import Downloads
from mic.hosts.status import HostState, HostStatus
from mic.images.store import Content, ImageId, Store
from mic.media.base import Base, Kind, read_base
from mic.media.basefile import open_base
from mic.media.customisation import Customisation
from mic.statuspage.overview import Row
from mic.statuspage.rows import rows


class OneBase:
    """A base in force; see `mic.images.bases.Bases`."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.changed: list[Callable[[], None]] = []

    def loaded(self, kind: Kind, **_: str) -> Base | None:
        return self.base


class Bench:
    """Hosts of a namespace, with images under secret names."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        file = open_base(str(put(directory / "ipa.iso", live_iso())))
        base = OneBase(read_base(file, Kind.ISO, inside_iso=False))
        self.images = Store(base, self.clock.seconds)  # type: ignore[arg-type]
        self.downloads = Downloads(self.clock.seconds)
        self.names = ["w", "v"]

    def statuses(self) -> Iterator[HostStatus]:
        for name in self.names:
            yield HostStatus(namespace="metal3", name=name, state=HostState.READY)

    def publish(self, name: str, archive: bytes = b"config") -> None:
        id = ImageId("metal3", name, Kind.ISO)
        content = Content(id=id, customisation=Customisation(archive))
        self.images.publish(f"secret {name}.iso", content)

    def read(self, name: str, client: str, stop: int) -> None:
        entry = self.images.entry(f"secret {name}.iso")
        assert entry is not None
        image = self.images.loaded(entry)
        assert image is not None
        self.downloads.count(image.id, client, image.etag, size=image.size, start=0, stop=stop)

    def rows(self, url: str = "") -> dict[str, Row]:
        found = rows(self, self.images, self.downloads, url)  # type: ignore[arg-type]
        return {row.host.name: row for row in found}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_latest_reader_counts(bench: Bench) -> None:
    bench.publish("w")
    for client in ("192.0.2.1", "192.0.2.2"):
        bench.clock.advance(1)
        bench.read("w", client, 1000)
    found = bench.rows()
    read = found["w"].read
    assert read is not None
    assert (read.client, read.kind, read.last) == ("192.0.2.2", "iso", 2.0)
    assert (read.state, read.outdated) == (State.DOWNLOADING, False)
    assert 0 < read.share < 100
    assert (found["v"].read, found["v"].published) == (None, False)


def test_says_that_another_version_was_read(bench: Bench) -> None:
    bench.publish("w")
    bench.read("w", "192.0.2.1", 1000)
    bench.publish("w", b"another config")
    read = bench.rows()["w"].read
    assert read is not None
    assert read.outdated


def test_urls_are_shown_only_where_names_are_no_secret(bench: Bench) -> None:
    bench.publish("w")
    bench.read("w", "192.0.2.1", 1000)
    row = bench.rows()["w"]
    assert row.published
    assert "secret" not in repr(row)
    assert bench.rows("http://mic")["w"].images == (("iso", "http://mic/secret%20w.iso"),)
