"""Coverage against a set of bytes, and the log lines of downloads on a clock of the test's own."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mic.web.downloads import QUIET, Coverage, Downloads

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=20)


@given(SPANS)
def test_coverage_counts_each_byte_once(spans: list[tuple[int, int]]) -> None:
    coverage, seen = Coverage(), set[int]()
    for start, length in spans:
        coverage.add(start, start + length)
        seen.update(range(start, start + length))
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
    assert len(coverage._starts) <= 4096
    # What joins spans still counts, and the whole can still be reached.
    coverage.add(0, 20_000)
    assert coverage.covered == 20_000
    assert len(coverage._starts) == 1


def test_coverage_of_an_image_read_in_random_order() -> None:
    pieces = list(range(0, 100_000, 100))
    random.Random(3).shuffle(pieces)
    coverage = Coverage()
    for start in pieces:
        coverage.add(start, start + 100)
    assert coverage.covered == 100_000


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
        download = downloads.begin("worker-0.iso", "192.0.2.7", '"a"', 1000)
        clock.advance(QUIET - 1)
        downloads.sweep()
        downloads.wrote(download, start, start + 100)
        downloads.end(download)
    assert lines == [
        "worker-0.iso: 192.0.2.7 starts to download (1000 bytes)",
        "worker-0.iso: 192.0.2.7 has it all: 1000 bytes in 290.0 s, 100.0 % of the image",
    ]


def test_a_download_that_goes_quiet_is_told_with_its_share(lines: list[str]) -> None:
    clock = Clock()
    downloads = Downloads(clock.seconds)
    download = downloads.begin("worker-0.iso", "192.0.2.7", '"a"', 1000)
    downloads.wrote(download, 0, 200)
    downloads.wrote(download, 100, 250)
    clock.advance(2)
    downloads.end(download)
    clock.advance(QUIET - 0.1)
    downloads.sweep()
    assert len(lines) == 1
    clock.advance(0.1)
    downloads.sweep()
    assert lines[1:] == [
        "worker-0.iso: 192.0.2.7 went quiet: 350 bytes in 2.0 s, 25.0 % of the image"
    ]
    downloads.sweep()
    assert len(lines) == 2


def test_a_body_that_stands_still_is_not_quiet(lines: list[str]) -> None:
    clock = Clock()
    downloads = Downloads(clock.seconds)
    download = downloads.begin("worker-0.iso", "192.0.2.7", '"a"', 1000)
    clock.advance(10 * QUIET)
    downloads.sweep()
    assert len(lines) == 1
    downloads.end(download)
    clock.advance(QUIET)
    downloads.sweep()
    assert len(lines) == 2


def test_a_whole_image_is_whole_only_when_its_last_body_is_over(lines: list[str]) -> None:
    downloads = Downloads(Clock().seconds)
    first = downloads.begin("worker-0.iso", "192.0.2.7", '"a"', 10)
    second = downloads.begin("worker-0.iso", "192.0.2.7", '"a"', 10)
    assert first is second
    downloads.wrote(first, 0, 10)
    downloads.end(first)
    assert len(lines) == 1
    downloads.end(second)
    assert len(lines) == 2


def test_clients_images_and_versions_are_downloads_of_their_own(lines: list[str]) -> None:
    downloads = Downloads(Clock().seconds)
    for label, client, etag in [
        ("a", "192.0.2.1", "1"),
        ("b", "192.0.2.1", "1"),
        ("a", "192.0.2.2", "1"),
        ("a", "192.0.2.1", "2"),
    ]:
        downloads.begin(label, client, etag, 10)
    assert len(lines) == 4
    downloads.close()
    assert len(lines) == 8


def test_downloads_are_counted_by_how_they_end() -> None:
    clock = Clock()
    downloads = Downloads(clock.seconds)
    downloads.count("a", "192.0.2.1", "1", size=10, start=0, stop=10)
    downloads.count("b", "192.0.2.1", "1", size=10, start=0, stop=9)
    assert (len(downloads), downloads.ended) == (1, {"whole": 1, "quiet": 0})
    clock.advance(QUIET)
    downloads.sweep()
    assert (len(downloads), downloads.ended) == (0, {"whole": 1, "quiet": 1})
