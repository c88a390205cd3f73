"""Coverage against a set of bytes, and the log lines of downloads on a clock of the test's own."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mic.downloads.coverage import Coverage
from mic.downloads.state import STALL, State, share
from mic.downloads.tracker import QUIET, Downloads, Progress
from mic.images.store import ImageId
from mic.media.base import Kind

WORKER = ImageId("", "worker-0", Kind.ISO)
KERNEL = ImageId("", "kernel", Kind.KERNEL)
SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=20)


@given(SPANS)
def test_coverage_counts_each_byte_once(spans: list[tuple[int, int]]) -> None:
    coverage, seen = Coverage(), set[int]()
    for start, length in spans:
        coverage.add(start, start + length)
        seen.update(range(start, start + length))
        assert coverage.covered == len(seen)


@given(SPANS, st.integers(1, 45), st.sets(st.integers(0, 19)))
def test_coverage_that_is_seldom_looked_at_knows_the_whole(
    spans: list[tuple[int, int]], size: int, looks: set[int]
) -> None:
    coverage, seen = Coverage(), set[int]()
    for number, (start, length) in enumerate(spans):
        stop = min(start + length, size)
        if start >= stop:
            continue
        coverage.add(start, stop)
        seen.update(range(start, stop))
        if number in looks:
            assert coverage.covered == len(seen)
        assert coverage.covers(size) == (len(seen) == size)
    assert coverage.covered == len(seen)


def test_coverage_of_every_pair_of_spans() -> None:
    spans = [(start, stop) for start in range(7) for stop in range(start + 1, 8)]
    for first in spans:
        for second in spans:
            coverage = Coverage()
            coverage.add(*first)
            coverage.add(*second)
            assert coverage.covered == len({*range(*first), *range(*second)})


def test_coverage_is_bounded_and_never_counts_too_much() -> None:
    coverage = Coverage()
    for n in range(10_000):
        coverage.add(2 * n, 2 * n + 1)
    bounded = coverage.covered
    assert bounded <= 4096
    assert len(coverage) <= 4096
    # What joins spans still counts, and the whole can still be reached.
    coverage.add(0, 20_000)
    assert coverage.covered == 20_000
    assert len(coverage) == 1


def test_coverage_of_an_image_read_in_random_order() -> None:
    pieces = list(range(0, 100_000, 100))
    random.Random(3).shuffle(pieces)
    coverage = Coverage()
    for start in pieces:
        coverage.add(start, start + 100)
    assert coverage.covered == 100_000


def iso(name: str) -> ImageId:
    return ImageId("", name, Kind.ISO)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def test_a_download_is_a_line_at_its_start_and_one_at_its_end(lines: list[str]) -> None:
    clock = Clock()
    downloads = Downloads(clock.seconds)
    for start in range(0, 1000, 100):
        download = downloads.begin(WORKER, "192.0.2.7", '"a"', 1000)
        clock.advance(QUIET - 1)
        downloads.sweep()
        downloads.wrote(download, start, start + 100)
        downloads.end(download, whole=True)
    assert lines == [
        "worker-0.iso: 192.0.2.7 started to download (1000 bytes)",
        "worker-0.iso: 192.0.2.7 completed the download: 1000 bytes in 290.0 s, "
        "100.0 % of the image",
    ]


def test_a_download_that_goes_quiet_is_reported_with_its_share(lines: list[str]) -> None:
    clock = Clock()
    downloads = Downloads(clock.seconds)
    download = downloads.begin(WORKER, "192.0.2.7", '"a"', 1000)
    downloads.wrote(download, 0, 200)
    downloads.wrote(download, 100, 250)
    clock.advance(2)
    downloads.end(download, whole=True)
    clock.advance(QUIET - 0.1)
    downloads.sweep()
    assert len(lines) == 1
    clock.advance(0.1)
    downloads.sweep()
    assert lines[1:] == [
        "worker-0.iso: 192.0.2.7 stopped requesting data: 350 bytes in 2.0 s, 25.0 % of the image"
    ]
    downloads.sweep()
    assert len(lines) == 2


def test_a_body_that_stands_still_is_reported_once_as_stalled_and_when_it_goes_on(
    lines: list[str],
) -> None:
    clock = Clock()
    downloads = Downloads(clock.seconds)
    download = downloads.begin(WORKER, "192.0.2.7", '"a"', 1000)
    downloads.wrote(download, 0, 340)
    clock.advance(STALL - 0.1)
    downloads.sweep()
    assert len(lines) == 1
    for _ in range(10):
        clock.advance(STALL)
        downloads.sweep()
    assert lines[1:] == [
        "worker-0.iso: 192.0.2.7 stalled: no data taken for 30 s; "
        "340 bytes in 59.9 s so far, 34.0 % of the image"
    ]
    downloads.wrote(download, 340, 500)
    downloads.sweep()
    downloads.sweep()
    assert lines[2:] == [
        "worker-0.iso: 192.0.2.7 continues after a stall, 50.0 % of the image so far"
    ]
    downloads.end(download, whole=True)
    clock.advance(QUIET)
    downloads.sweep()
    assert "stopped requesting data" in lines[3]
    assert len(lines) == 4


def test_a_body_that_is_broken_off_is_reported_with_how_far_it_came(lines: list[str]) -> None:
    clock = Clock()
    downloads = Downloads(clock.seconds)
    download = downloads.begin(WORKER, "192.0.2.7", '"a"', 1000)
    clock.advance(4)
    downloads.wrote(download, 0, 999)
    downloads.end(download, whole=False)
    assert len(lines) == 1, "it may come back"
    clock.advance(QUIET)
    downloads.sweep()
    assert lines[1:] == [
        "worker-0.iso: 192.0.2.7 was interrupted: 999 bytes in 4.0 s, 99.9 % of the image"
    ]


def test_no_share_but_the_whole_is_100_per_cent() -> None:
    assert share(10**9 - 1, 10**9) == 99.9
    assert share(10**9, 10**9) == 100.0
    assert share(0, 10**9) == 0.0


def test_a_client_that_comes_back_goes_on_where_it_was(lines: list[str]) -> None:
    clock = Clock()
    downloads = Downloads(clock.seconds)
    for start, stop in ((0, 600), (500, 1000)):
        downloads.count(iso("a"), "192.0.2.7", '"1"', size=1000, start=start, stop=stop)
        clock.advance(QUIET)
        downloads.sweep()
    assert lines[1:] == [
        "a.iso: 192.0.2.7 stopped requesting data: 600 bytes in 0.0 s, 60.0 % of the image",
        "a.iso: 192.0.2.7 resumed the download, 60.0 % of the image so far",
        "a.iso: 192.0.2.7 completed the download: 500 bytes in 0.0 s, 100.0 % of the image",
    ]
    record = downloads.records[iso("a")]
    assert (record.times, record.readers["192.0.2.7"].times) == (2, 2)


def test_after_the_whole_image_a_client_starts_anew(lines: list[str]) -> None:
    downloads = Downloads(Clock().seconds)
    downloads.count(iso("a"), "192.0.2.7", '"1"', size=10, start=0, stop=10)
    downloads.count(iso("a"), "192.0.2.7", '"1"', size=10, start=0, stop=5)
    assert lines[2:] == ["a.iso: 192.0.2.7 started to download (10 bytes)"]
    reader = downloads.records[iso("a")].readers["192.0.2.7"]
    assert (reader.read, reader.state) == (5, State.DOWNLOADING)


def test_another_version_of_an_image_starts_anew_and_the_old_one_ends_as_it_may(
    lines: list[str],
) -> None:
    downloads = Downloads(Clock().seconds)
    old = downloads.begin(iso("a"), "192.0.2.7", '"1"', 10)
    downloads.count(iso("a"), "192.0.2.7", '"2"', size=20, start=0, stop=5)
    downloads.wrote(old, 0, 10)
    downloads.end(old, whole=True)
    assert "completed the download" in lines[-1]
    record = downloads.records[iso("a")]
    assert (record.etag, record.size, record.times) == ('"2"', 20, 1)
    assert record.readers["192.0.2.7"].read == 5


def test_listeners_are_called_every_turn_and_cannot_disturb(
    logged_failures: list[LogEvent],
) -> None:
    clock = Clock()
    downloads = Downloads(clock.seconds)
    told: list[Progress] = []

    def fail(progress: Progress) -> None:
        raise RuntimeError(str(progress.image))

    downloads.listeners += [fail, told.append]
    download = downloads.begin(iso("a"), "192.0.2.7", '"1"', 1000)
    downloads.wrote(download, 0, 300)
    clock.advance(STALL)
    downloads.sweep()
    downloads.wrote(download, 300, 600)
    downloads.sweep()
    downloads.end(download, whole=False)
    clock.advance(QUIET)
    downloads.sweep()
    assert [(each.before, each.state) for each in told] == [
        (None, State.DOWNLOADING),
        (State.DOWNLOADING, State.STALLED),
        (State.STALLED, State.DOWNLOADING),
        (State.DOWNLOADING, State.BROKEN_OFF),
    ]
    last = told[-1]
    assert (last.read, last.bytes, last.size, last.share) == (600, 600, 1000, 60.0)
    assert len(logged_failures) == 4
    logged_failures.clear()


def test_what_is_kept_of_an_image_is_bounded_and_those_who_read_stay() -> None:
    clock = Clock()
    downloads = Downloads(clock.seconds)
    reading = downloads.begin(KERNEL, "192.0.2.255", '"1"', 10**6)
    for client in range(100):
        for start in range(0, 10**6, 2000):
            downloads.count(
                KERNEL, f"192.0.2.{client}", '"1"', size=10**6, start=start, stop=start + 1000
            )
        clock.advance(QUIET)
        downloads.sweep()
    record = downloads.records[KERNEL]
    assert record.times == 101
    assert record.readers["192.0.2.255"] is reading
    assert set(record.readers) - {"192.0.2.255"} == {f"192.0.2.{n}" for n in range(96, 100)}
    kept = record.readers["192.0.2.99"]
    assert kept.read == 500_000, "what was read is known, though not which bytes"
    assert len(kept.coverage) == 64
    assert kept.coverage.covered == 64_000
    downloads.count(KERNEL, "192.0.2.99", '"1"', size=10**6, start=0, stop=1000)
    assert kept.read == 500_000, "never too much"


def test_trimmed_coverage_keeps_the_longest_spans() -> None:
    coverage = Coverage()
    for n in range(100):
        coverage.add(1000 * n, 1000 * n + 1 + n)
    coverage.trim()
    assert coverage.covered == sum(range(37, 101))
    coverage.add(0, 100_000)
    assert coverage.covered == 100_000


def test_images_that_are_gone_are_forgotten_but_for_the_last() -> None:
    downloads = Downloads(Clock().seconds)
    for n in range(1000):
        downloads.count(iso(f"host-{n}"), "192.0.2.1", '"1"', size=10, start=0, stop=10)
    downloads.retain({iso(f"host-{n}") for n in range(1000)})
    assert len(downloads.records) == 1000
    downloads.retain({iso("host-3"), iso("host-4")})
    assert {image.name for image in downloads.records} == {
        "host-3",
        "host-4",
        *(f"host-{n}" for n in range(744, 1000)),
    }


def test_a_whole_image_is_whole_only_when_its_last_body_is_over(lines: list[str]) -> None:
    downloads = Downloads(Clock().seconds)
    first = downloads.begin(WORKER, "192.0.2.7", '"a"', 10)
    second = downloads.begin(WORKER, "192.0.2.7", '"a"', 10)
    assert first is second
    downloads.wrote(first, 0, 10)
    downloads.end(first, whole=True)
    assert len(lines) == 1
    downloads.end(second, whole=True)
    assert len(lines) == 2


def test_clients_images_and_versions_are_downloads_of_their_own(lines: list[str]) -> None:
    downloads = Downloads(Clock().seconds)
    for image, client, etag in [
        (iso("a"), "192.0.2.1", "1"),
        (iso("b"), "192.0.2.1", "1"),
        (iso("a"), "192.0.2.2", "1"),
        (iso("a"), "192.0.2.1", "2"),
    ]:
        downloads.begin(image, client, etag, 10)
    assert len(lines) == 4
    downloads.close()
    assert len(lines) == 8


def test_downloads_are_counted_by_how_they_end() -> None:
    clock = Clock()
    downloads = Downloads(clock.seconds)
    downloads.count(iso("a"), "192.0.2.1", "1", size=10, start=0, stop=10)
    downloads.count(iso("b"), "192.0.2.1", "1", size=10, start=0, stop=9)
    downloads.end(downloads.begin(iso("c"), "192.0.2.1", "1", 10), whole=False)
    assert len(downloads) == 2
    assert downloads.ended == {State.COMPLETE: 1, State.BROKEN_OFF: 0, State.QUIET: 0}
    clock.advance(QUIET)
    downloads.sweep()
    assert len(downloads) == 0
    assert downloads.ended == {State.COMPLETE: 1, State.BROKEN_OFF: 1, State.QUIET: 1}


def test_a_body_that_is_open_when_mic_stops_is_broken_off_and_may_end_afterwards() -> None:
    downloads = Downloads(Clock().seconds)
    partly = downloads.begin(iso("a"), "192.0.2.1", "1", 10)
    downloads.wrote(partly, 0, 9)
    # All is handed over, but its last body has not come to its end.
    whole = downloads.begin(iso("b"), "192.0.2.1", "1", 10)
    downloads.wrote(whole, 0, 10)
    downloads.close()
    over = {State.COMPLETE: 1, State.BROKEN_OFF: 1, State.QUIET: 0}
    assert downloads.ended == over
    # The connections learn of their end one turn of the loop later.
    downloads.end(partly, whole=False)
    downloads.end(whole, whole=False)
    assert downloads.ended == over
    assert downloads.open == 0
