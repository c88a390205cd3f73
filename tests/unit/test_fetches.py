"""Images joined with what was read of them: the rows of ``mic status`` and the figures.

Scope: which images count as what; the records themselves are tests/unit/web/test_downloads.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from toys import live_iso, put
from twisted.internet.task import Clock

from mic.fetches import Counts, Fetches, counts, fetches
from mic.image.base import Base, Kind, read_base
from mic.image.basefile import open_base
from mic.image.store import Content
from mic.images import Images
from mic.web.downloads import QUIET, STALL, Downloads, State


class OneBase:
    """A base in force, or none; see `mic.bases.Bases`."""

    def __init__(self, base: Base) -> None:
        self.base: Base | None = base
        self.changed: list[Callable[[], None]] = []

    def current(self, kind: Kind, **_: str) -> Base | None:
        return self.base


class Bench:
    """Images on one base, and their downloads."""

    def __init__(self, directory: Path) -> None:
        file = open_base(str(put(directory / "ipa.iso", live_iso())))
        self.clock = Clock()
        self.bases = OneBase(read_base(file, Kind.ISO, inside_iso=False))
        self.images = Images(self.bases, self.clock.seconds)  # type: ignore[arg-type]
        self.downloads = Downloads(self.clock.seconds)
        self.size = file.size

    def publish(self, host: str, archive: bytes = b"config") -> None:
        content = Content(label=f"{host}.iso", kind=Kind.ISO, archive=archive)
        self.images.publish(f"{host}.iso", content)

    def read(self, host: str, stop: int, client: str = "192.0.2.7") -> None:
        entry = self.images.entry(f"{host}.iso")
        assert entry is not None
        image = self.images.current(entry)
        assert image is not None
        self.downloads.count(image.label, client, image.etag, size=image.size, start=0, stop=stop)

    @property
    def found(self) -> dict[str, Fetches]:
        found = {each.label.removesuffix(".iso"): each for each in self.known}
        assert list(found) == sorted(found)
        return found

    @property
    def known(self) -> list[Fetches]:
        return list(fetches(self.images, self.downloads))

    @property
    def counts(self) -> Counts:
        return counts(self.images, self.downloads)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def figures(never: int = 0, partly: int = 0, complete: int = 0, **more: int) -> Counts:
    under_way = {"downloading": 0, "stalled": 0, **more}
    return Counts(never_fetched=never, partly_fetched=partly, complete=complete, **under_way)


def test_an_image_goes_from_never_fetched_to_complete(bench: Bench) -> None:
    bench.publish("a")
    bench.publish("b")
    assert bench.counts == figures(never=2)
    assert [(each.size, each.readers) for each in bench.known] == [(bench.size, ())] * 2
    bench.read("a", 100)
    assert bench.counts == figures(never=1, partly=1, downloading=1)
    bench.read("a", bench.size)
    assert bench.counts == figures(never=1, complete=1)
    (reader,) = bench.found["a"].readers
    assert (reader.read, reader.state, reader.outdated) == (bench.size, State.COMPLETE, False)


def test_readers_come_the_latest_first(bench: Bench) -> None:
    bench.publish("a")
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        bench.read("a", 100, client)
        bench.clock.advance(QUIET)
        bench.downloads.sweep()
    found = bench.found["a"]
    assert [(each.client, each.downloads) for each in found.readers] == [
        ("192.0.2.1", 2),
        ("192.0.2.2", 1),
    ]
    assert found.downloads == 3


def test_other_content_has_not_been_fetched(bench: Bench) -> None:
    bench.publish("a")
    bench.read("a", bench.size)
    bench.publish("a", b"another")
    assert [each.outdated for each in bench.found["a"].readers] == [True]
    assert bench.counts == figures(never=1)


def test_while_the_base_is_away_what_was_read_is_told_all_the_same(bench: Bench) -> None:
    bench.publish("a")
    bench.publish("b")
    bench.read("a", bench.size)
    bench.bases.base = None
    for tell in bench.bases.changed:
        tell()
    assert (bench.found["a"].size, bench.found["b"].size) == (bench.size, None)
    assert not bench.found["a"].readers[0].outdated
    assert bench.counts == figures(never=1, complete=1)


def test_an_image_that_is_gone_is_told_of_and_not_counted(bench: Bench) -> None:
    bench.publish("a")
    bench.read("a", 100)
    bench.images.discard("a.iso")
    assert not bench.found["a"].published
    assert bench.counts == figures(downloading=1)


def test_bodies_that_stand_still_count_as_stalled(bench: Bench) -> None:
    bench.publish("a")
    bench.read("a", 100)
    record = bench.downloads.records["a.iso"]
    bench.downloads.begin("a.iso", "192.0.2.8", record.etag, record.size)
    bench.clock.advance(STALL)
    bench.downloads.sweep()
    assert bench.counts == figures(partly=1, stalled=1)
