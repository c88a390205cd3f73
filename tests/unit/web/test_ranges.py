"""Byte ranges: tables, and every range of a small image against plain slicing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mic.web.ranges import MAX_PARTS, ByteRange, Unsatisfiable, parse


def spans(header: str, size: int) -> list[tuple[int, int]] | None:
    """What `parse` says, as pairs; None for a header that is ignored, [] for unsatisfiable."""
    try:
        ranges = parse(header.encode("latin-1"), size)
    except Unsatisfiable:
        return []
    return None if ranges is None else [(each.start, each.stop) for each in ranges]


@pytest.mark.parametrize("size", range(1, 9))
def test_every_range_of_a_small_image_is_the_slice_it_says(size: int) -> None:
    data = bytes(range(size))
    for first in range(size + 3):
        after = spans(f"bytes={first}-", size)
        assert after == ([(first, size)] if first < size else [])
        for last in range(size + 3):
            expected: list[tuple[int, int]] | None
            if last < first:
                expected = None
            elif first >= size:
                expected = []
            else:
                expected = [(first, first + len(data[first : last + 1]))]
            assert spans(f"bytes={first}-{last}", size) == expected
    for suffix in range(size + 3):
        tail = data[-suffix:] if suffix else b""
        assert spans(f"bytes=-{suffix}", size) == ([(size - len(tail), size)] if tail else [])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9,20-29", [(0, 10), (20, 30)]),
        ("bytes=20-29,0-9", [(20, 30), (0, 10)]),
        ("bytes=0-9 , 20-29", [(0, 10), (20, 30)]),
        ("bytes=,0-9,,", [(0, 10)]),
        ("bytes= 0-9", [(0, 10)]),
        ("\tBYTES =0-9", [(0, 10)]),
        ("bytes=0-0,-1", [(0, 1), (99, 100)]),
        ("bytes=100-,0-9", [(0, 10)]),
        ("bytes=-0,0-9", [(0, 10)]),
        ("bytes=0-49,50-99", [(0, 50), (50, 100)]),
        ("bytes=0-98,50-51", None),
        ("bytes=0-,0-", None),
        ("bytes=0-,-1", None),
        ("bytes=100-,200-", []),
        ("bytes=-0", []),
        ("bytes=0-" + "9" * 20, [(0, 100)]),
        ("bytes=" + "9" * 20 + "-", []),
        ("bytes=" + "9" * 21 + "-", []),
        ("bytes=-" + "9" * 21, [(0, 100)]),
        ("bytes=5-" + "9" * 4000, [(5, 100)]),
        ("bytes=" + "0" * 4000 + "5-9", [(5, 10)]),
        ("bytes=-" + "0" * 4000, []),
        ("bytes=" + "9" * 30 + "-" + "9" * 29, None),
        ("bytes=" + "9" * 30 + "-" + "8" * 30, None),
        ("bytes=" + "9" * 30 + "-" + "0" * 9 + "9" * 30, []),
        ("bytes=1_0-20", None),
        ("bytes=0-+9", None),
        ("\x0bbytes=0-9", None),
        ("bytes=0-9" + "," * 5000, None),
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=,", None),
        ("bytes=-", None),
        ("bytes=--5", None),
        ("bytes=1-2-3", None),
        ("bytes=0-9;10-19", None),
        ("bytes=0-9,x", None),
        ("bytes=x,0-9", None),
        ("bytes=5-4,0-9", None),
        ("bytes=0 -9", None),
        ("bytes=0x0-9", None),
        ("bytes=+0-9", None),
        ("bytes=\u00b2-9", None),
        ("bit=0-9", None),
        ("bytes,x=0-9", None),
        ("octets=0-9", None),
    ],
)
def test_headers(header: str, expected: list[tuple[int, int]] | None) -> None:
    assert spans(header, 100) == expected


def test_as_many_parts_as_allowed_and_one_more() -> None:
    few = ",".join(f"{n}-{n}" for n in range(MAX_PARTS))
    assert spans(f"bytes={few}", 1000) == [(n, n + 1) for n in range(MAX_PARTS)]
    assert spans(f"bytes={few},999-", 1000) is None


def test_a_part_outside_counts_as_one_of_many() -> None:
    many = ",".join(f"{n}-" for n in range(2000, 2000 + MAX_PARTS))
    assert spans(f"bytes=0-0,{many}", 1000) is None


@given(st.text(alphabet="bytes=0123456789-, \t", max_size=40), st.integers(1, 1000))
def test_no_header_leads_outside_the_image(header: str, size: int) -> None:
    found = spans(header, size)
    assert sum(stop - start for start, stop in found or []) <= size
    for start, stop in found or []:
        assert 0 <= start < stop <= size


def test_a_range_knows_its_length() -> None:
    assert len(ByteRange(start=3, stop=10)) == 7
