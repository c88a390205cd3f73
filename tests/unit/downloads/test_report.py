"""Images joined with what was read of them: the rows of ``mic status`` and the figures.

Scope: which images count as what; the records themselves are in
tests/unit/downloads/test_tracker.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from toys import live_iso, put
from twisted.internet.task import Clock

from mic.downloads.report import ImageReport, Summary, report, summary
from mic.downloads.state import STALL, State
from mic.downloads.tracker import QUIET, Downloads
from mic.images.store import Content, ImageId, Store
from mic.media.base import Base, Kind, read_base
from mic.media.basefile import open_base
from mic.media.customisation import Customisation


class OneBase:
    """A base in force, or none; see `mic.images.bases.Bases`."""

    def __init__(self, base: Base) -> None:
        self.base: Base | None = base
        self.changed: list[Callable[[], None]] = []

    def loaded(self, kind: Kind, **_: str) -> Base | None:
        return self.base


class Bench:
    """Images on one base, and their downloads."""

    def __init__(self, directory: Path) -> None:
        file = open_base(str(put(directory / "ipa.iso", live_iso())))
        self.clock = Clock()
        self.bases = OneBase(read_base(file, Kind.ISO, inside_iso=False))
        self.images = Store(self.bases, self.clock.seconds)  # type: ignore[arg-type]
        self.downloads = Downloads(self.clock.seconds)
        self.size = file.size

    def publish(self, host: str, archive: bytes = b"config") -> None:
        content = Content(id=ImageId("", host, Kind.ISO), customisation=Customisation(archive))
        self.images.publish(f"{host}.iso", content)

    def read(self, host: str, stop: int, client: str = "192.0.2.7") -> None:
        entry = self.images.entry(f"{host}.iso")
        assert entry is not None
        image = self.images.loaded(entry)
        assert image is not None
        self.downloads.count(image.id, client, image.etag, size=image.size, start=0, stop=stop)

    @property
    def found(self) -> dict[str, ImageReport]:
        found = {each.name: each for each in self.known}
        assert list(found) == sorted(found)
        return found

    @property
    def known(self) -> list[ImageReport]:
        return list(report(self.images, self.downloads))

    @property
    def summary(self) -> Summary:
        return summary(self.images, self.downloads)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def figures(never: int = 0, partly: int = 0, complete: int = 0, **more: int) -> Summary:
    in_progress = {"downloading": 0, "stalled": 0, **more}
    return Summary(never_fetched=never, partly_fetched=partly, complete=complete, **in_progress)


def test_an_image_goes_from_never_fetched_to_complete(bench: Bench) -> None:
    bench.publish("a")
    bench.publish("b")
    assert bench.summary == figures(never=2)
    assert [(each.size, each.readers) for each in bench.known] == [(bench.size, ())] * 2
    bench.read("a", 100)
    assert bench.summary == figures(never=1, partly=1, downloading=1)
    bench.read("a", bench.size)
    assert bench.summary == figures(never=1, complete=1)
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
    assert bench.summary == figures(never=1)


def test_while_the_base_is_away_what_was_read_is_reported_all_the_same(bench: Bench) -> None:
    bench.publish("a")
    bench.publish("b")
    bench.read("a", bench.size)
    bench.bases.base = None
    for tell in bench.bases.changed:
        tell()
    assert (bench.found["a"].size, bench.found["b"].size) == (bench.size, None)
    assert not bench.found["a"].readers[0].outdated
    assert bench.summary == figures(never=1, complete=1)


def test_an_image_that_is_gone_is_reported_and_not_counted(bench: Bench) -> None:
    bench.publish("a")
    bench.read("a", 100)
    bench.images.discard("a.iso")
    assert not bench.found["a"].published
    assert bench.summary == figures(downloading=1)


def test_bodies_that_stand_still_count_as_stalled(bench: Bench) -> None:
    bench.publish("a")
    bench.read("a", 100)
    image = ImageId("", "a", Kind.ISO)
    record = bench.downloads.records[image]
    bench.downloads.begin(image, "192.0.2.8", record.etag, record.size)
    bench.clock.advance(STALL)
    bench.downloads.sweep()
    assert bench.summary == figures(partly=1, stalled=1)


@pytest.mark.parametrize(
    ("id", "label"),
    [
        (ImageId("hosts", "worker-0", Kind.ISO), "hosts/worker-0 iso"),
        (ImageId("", "worker-0", Kind.ISO), "worker-0.iso"),
    ],
)
def test_reports_label_namespace_name_and_kind(bench: Bench, id: ImageId, label: str) -> None:
    bench.images.publish("any.iso", Content(id=id, customisation=Customisation(b"config")))
    (found,) = bench.known
    assert found.label == label
    assert (found.namespace, found.name, found.kind) == (id.namespace, id.name, "iso")
