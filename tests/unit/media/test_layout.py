"""The image as a value: every range of every small image, compared with slices."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest
from toys import Bytes

from mic.media.layout import FileRange, Layout, Memory, Patch, Piece, memory, zeros

TOY = bytes(range(65, 65 + 24))


def spell(pieces: list[Piece]) -> bytes:
    """Return what a server would send for these pieces."""
    return b"".join(
        piece.source.read(piece.start, len(piece))
        if isinstance(piece, FileRange)
        else bytes(piece.data)
        for piece in pieces
    )


def patched(*patches: tuple[int, int], size: int = 24) -> tuple[Layout, bytes]:
    """Return a toy image with (offset, length) patches, and its bytes by slicing."""
    expected = bytearray(TOY[:size])
    made = []
    for number, (offset, length) in enumerate(patches):
        data = bytes([48 + number]) * length
        expected[offset : offset + length] = data
        # Two pieces, like an archive and its padding.
        pieces = (memory(data[: length // 2]), memory(data[length // 2 :]))
        made.append(Patch(offset=offset, pieces=pieces))
    return Layout.of(Bytes(TOY[:size])).patched(made), bytes(expected)


def every_range_is_right(layout: Layout, expected: bytes) -> None:
    assert layout.size == len(expected)
    for start in range(len(expected) + 1):
        for stop in range(start, len(expected) + 1):
            pieces = list(layout.pieces(start, stop))
            assert spell(pieces) == expected[start:stop], (start, stop)
            assert all(len(piece) for piece in pieces), "an empty piece was yielded"
    for position in range(len(expected)):
        piece, inner = layout.locate(position)
        assert spell([piece.part(inner, inner + 1)]) == expected[position : position + 1]


def places(size: int) -> list[tuple[int, int]]:
    """Yield every (offset, length) inside an image, including empty ones."""
    return [(offset, length) for offset in range(size + 1) for length in range(size + 1 - offset)]


def pairs(size: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield all pairs of non-empty ranges, the first completely before the second."""
    for first in places(size):
        for second in places(size):
            if first[0] + first[1] <= second[0] and first[1] and second[1]:
                yield first, second


def test_every_placement_of_one_patch_and_every_range() -> None:
    for place in places(24):
        every_range_is_right(*patched(place))


def test_every_placement_of_two_patches_and_every_range_at_half_the_size() -> None:
    """12 bytes suffice for every relation of two patches and a range; 24 take 30 s."""
    for first, second in pairs(12):
        every_range_is_right(*patched(first, second, size=12))


def test_every_placement_of_two_patches_and_every_range_from_seam_to_seam() -> None:
    for first, second in pairs(24):
        # In any order of the patches.
        layout, expected = patched(second, first)
        seams = {0, 24, *(o for o, _ in (first, second)), *(o + n for o, n in (first, second))}
        for start in seams:
            for stop in seams:
                if start <= stop:
                    assert layout.read(start, stop - start) == expected[start:stop]


def test_every_placement_of_three_patches_and_every_range() -> None:
    """As in an ISO: two areas for kernel arguments and the embed area."""
    for ends in combinations(range(9 + 3), 6):
        # Each patch has a byte or more; ends of neighbours may touch.
        bounds = [end - number // 2 for number, end in enumerate(ends)]
        starts, stops = bounds[::2], bounds[1::2]
        placed = [(start, stop - start) for start, stop in zip(starts, stops, strict=True)]
        every_range_is_right(*patched(*placed, size=9))


def test_every_patch_over_a_patched_layout_with_a_tail() -> None:
    """As in a minimal ISO, whose pieces are laid over again, with an archive at its end."""
    for first in places(6):
        below, expected = patched(first, size=6)
        for offset, length in places(6):
            data = b"z" * length
            layout = below.patched([Patch(offset=offset, pieces=(memory(data),))])
            content = expected[:offset] + data + expected[offset + length :]
            every_range_is_right(Layout([*layout, memory(b"yx")]), content + b"yx")


@pytest.mark.parametrize(
    ("first", "second"), [((0, 1), (1, 1)), ((3, 5), (11, 7)), ((0, 12), (12, 12))]
)
def test_every_range_over_two_patches(first: tuple[int, int], second: tuple[int, int]) -> None:
    every_range_is_right(*patched(first, second))


def test_appends_an_archive_to_an_initramfs() -> None:
    layout = Layout([FileRange(source=Bytes(TOY), start=0, stop=24), memory(b"archive")])
    every_range_is_right(layout, TOY + b"archive")


def test_accepts_a_part_of_a_file() -> None:
    every_range_is_right(Layout([FileRange(source=Bytes(TOY), start=5, stop=17)]), TOY[5:17])


def test_accepts_an_empty_image() -> None:
    layout = Layout([])
    assert layout.size == 0
    assert list(layout.pieces(0, 0)) == []


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2), (0, 25), (25, 25), (-2, -1)])
def test_refuses_a_range_outside(start: int, stop: int) -> None:
    layout, _ = patched()
    with pytest.raises(ValueError, match="outside an image of 24 bytes"):
        layout.pieces(start, stop)


@pytest.mark.parametrize(
    ("first", "second"), [((3, 4), (6, 1)), ((3, 4), (3, 4)), ((0, 24), (23, 1)), ((3, 4), (0, 24))]
)
def test_refuses_overlapping_patches(first: tuple[int, int], second: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="overlap"):
        Layout.of(Bytes(TOY)).patched(
            [Patch(offset=o, pieces=(memory(bytes(n)),)) for o, n in (first, second)],
        )


@pytest.mark.parametrize(("offset", "length"), [(24, 1), (20, 5), (25, 0), (-1, 1), (0, 25)])
def test_refuses_a_patch_outside(offset: int, length: int) -> None:
    with pytest.raises(ValueError, match=r"outside|ends at|overlap"):
        Layout.of(Bytes(TOY)).patched([Patch(offset=offset, pieces=(memory(bytes(length)),))])


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2), (0, 25)])
def test_refuses_a_file_range_outside(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="outside a source of 24 bytes"):
        FileRange(source=Bytes(TOY), start=start, stop=stop)


@pytest.mark.parametrize("length", [0, 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 1_000_000])
def test_zeros_share_one_block_of_memory(length: int) -> None:
    pieces = list(zeros(length))
    assert sum(map(len, pieces)) == length
    assert all(len(piece) for piece in pieces)
    assert not any(any(piece.data) for piece in pieces)
    assert len({id(piece.data.obj) for piece in pieces}) <= 1


def test_requests_share_a_layout() -> None:
    """Two interleaved requests for one image get their own bytes."""
    layout, expected = patched((3, 4), (11, 7))
    one, other = layout.pieces(0, 24), layout.pieces(5, 20)
    seen_one, seen_other = [], []
    for a in one:
        seen_one.append(a)
        seen_other += [b for b in [next(other, None)] if b]
    seen_other += list(other)
    assert spell(seen_one) == expected
    assert spell(seen_other) == expected[5:20]


def test_pieces_open_and_read_nothing() -> None:
    source = Bytes(TOY)
    list(Layout.of(source).patched([Patch(offset=3, pieces=(memory(b"xyz"),))]).pieces(0, 24))
    assert source.reads == 0


def test_pieces_are_in_order_without_gaps() -> None:
    layout, _ = patched((3, 4), (11, 7))
    ranges = [piece for piece in layout.pieces(0, 24) if isinstance(piece, FileRange)]
    assert [(piece.start, piece.stop) for piece in ranges] == [(0, 3), (7, 11), (18, 24)]
    assert all(a.stop <= b.start for a, b in pairwise(ranges))


def test_repr_shows_no_archive() -> None:
    piece = memory(b"secret")
    layout = Layout([piece])
    patch = Patch(offset=0, pieces=(piece,))
    assert isinstance(piece, Memory)
    for value in (piece, layout, patch):
        assert "secret" not in repr(value)
        assert "memory at" not in repr(value)
