"""The image as a value: every range of every small image, against plain slicing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from toys import Bytes

from mic.image.layout import FileRange, Layout, Memory, Patch, Piece, memory, zeros

TOY = bytes(range(65, 65 + 24))


def spell(pieces: list[Piece]) -> bytes:
    """What a server would send for these pieces, read one by one."""
    return b"".join(
        piece.source.read(piece.start, len(piece))
        if isinstance(piece, FileRange)
        else bytes(piece.data)
        for piece in pieces
    )


def patched(*patches: tuple[int, int], size: int = 24) -> tuple[Layout, bytes]:
    """A toy image with (offset, length) patches, and the same by slicing."""
    expected = bytearray(TOY[:size])
    made = []
    for number, (offset, length) in enumerate(patches):
        data = bytes([48 + number]) * length
        expected[offset : offset + length] = data
        # In two pieces, as an archive and its filling are.
        pieces = (memory(data[: length // 2]), memory(data[length // 2 :]))
        made.append(Patch(offset=offset, pieces=pieces))
    return Layout.patched(Bytes(TOY[:size]), made), bytes(expected)


def every_range_is_right(layout: Layout, expected: bytes) -> None:
    assert layout.size == len(expected)
    for start in range(len(expected) + 1):
        for stop in range(start, len(expected) + 1):
            pieces = list(layout.pieces(start, stop))
            assert spell(pieces) == expected[start:stop], (start, stop)
            assert all(len(piece) for piece in pieces), "an empty piece was yielded"


def places(size: int) -> list[tuple[int, int]]:
    """Every (offset, length) inside an image of a size, empty ones included."""
    return [(offset, length) for offset in range(size + 1) for length in range(size + 1 - offset)]


def pairs(size: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Every two places, neither empty, the first wholly before the second."""
    for first in places(size):
        for second in places(size):
            if first[0] + first[1] <= second[0] and first[1] and second[1]:
                yield first, second


def test_every_placement_of_one_patch_and_every_range() -> None:
    for place in places(24):
        every_range_is_right(*patched(place))


def test_every_placement_of_two_patches_and_every_range_at_half_the_size() -> None:
    """12 bytes hold every relation of two patches and a range; 24 take half a minute."""
    for first, second in pairs(12):
        every_range_is_right(*patched(first, second, size=12))


def test_every_placement_of_two_patches_and_every_range_from_seam_to_seam() -> None:
    for first, second in pairs(24):
        # Whatever the order in which the patches are given.
        layout, expected = patched(second, first)
        seams = {0, 24, *(o for o, _ in (first, second)), *(o + n for o, n in (first, second))}
        for start in seams:
            for stop in seams:
                if start <= stop:
                    assert layout.read(start, stop) == expected[start:stop]


@pytest.mark.parametrize(
    ("first", "second"), [((0, 1), (1, 1)), ((3, 5), (11, 7)), ((0, 12), (12, 12))]
)
def test_every_range_over_two_patches(first: tuple[int, int], second: tuple[int, int]) -> None:
    every_range_is_right(*patched(first, second))


def test_a_tail_behind_a_file_is_an_initramfs_with_its_archive() -> None:
    layout = Layout([FileRange(source=Bytes(TOY), start=0, stop=24), memory(b"archive")])
    every_range_is_right(layout, TOY + b"archive")


def test_a_part_of_a_file_is_an_image() -> None:
    every_range_is_right(Layout([FileRange(source=Bytes(TOY), start=5, stop=17)]), TOY[5:17])


def test_an_image_may_be_empty() -> None:
    layout = Layout([])
    assert layout.size == 0
    assert list(layout.pieces(0, 0)) == []


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2), (0, 25), (25, 25), (-2, -1)])
def test_a_range_outside_is_refused_at_once(start: int, stop: int) -> None:
    layout, _ = patched()
    with pytest.raises(ValueError, match="outside an image of 24 bytes"):
        layout.pieces(start, stop)


@pytest.mark.parametrize(
    ("first", "second"), [((3, 4), (6, 1)), ((3, 4), (3, 4)), ((0, 24), (23, 1)), ((3, 4), (0, 24))]
)
def test_patches_that_overlap_are_refused(first: tuple[int, int], second: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="overlap"):
        Layout.patched(
            Bytes(TOY),
            [Patch(offset=o, pieces=(memory(bytes(n)),)) for o, n in (first, second)],
        )


@pytest.mark.parametrize(("offset", "length"), [(24, 1), (20, 5), (25, 0), (-1, 1), (0, 25)])
def test_a_patch_outside_is_refused(offset: int, length: int) -> None:
    with pytest.raises(ValueError, match=r"outside|ends at|overlap"):
        Layout.patched(Bytes(TOY), [Patch(offset=offset, pieces=(memory(bytes(length)),))])


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2), (0, 25)])
def test_a_file_range_knows_the_end_of_its_file(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="outside a source of 24 bytes"):
        FileRange(source=Bytes(TOY), start=start, stop=stop)


@pytest.mark.parametrize("length", [0, 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 1_000_000])
def test_zeros_share_one_block_of_memory(length: int) -> None:
    pieces = list(zeros(length))
    assert sum(map(len, pieces)) == length
    assert all(len(piece) for piece in pieces)
    assert not any(any(piece.data) for piece in pieces)
    assert len({id(piece.data.obj) for piece in pieces}) <= 1


def test_cursors_belong_to_requests() -> None:
    """Two walks over one image, taking turns, each see their own bytes."""
    layout, expected = patched((3, 4), (11, 7))
    one, other = layout.pieces(0, 24), layout.pieces(5, 20)
    seen_one, seen_other = [], []
    for a in one:
        seen_one.append(a)
        seen_other += [b for b in [next(other, None)] if b]
    seen_other += list(other)
    assert spell(seen_one) == expected
    assert spell(seen_other) == expected[5:20]


def test_walking_opens_and_reads_nothing() -> None:
    source = Bytes(TOY)
    list(Layout.patched(source, [Patch(offset=3, pieces=(memory(b"xyz"),))]).pieces(0, 24))
    assert source.reads == 0


def test_pieces_are_in_order_without_gaps() -> None:
    layout, _ = patched((3, 4), (11, 7))
    ranges = [piece for piece in layout.pieces(0, 24) if isinstance(piece, FileRange)]
    assert [(piece.start, piece.stop) for piece in ranges] == [(0, 3), (7, 11), (18, 24)]
    assert all(a.stop <= b.start for a, b in pairwise(ranges))


def test_no_bytes_of_an_archive_are_in_a_repr() -> None:
    piece = memory(b"secret")
    layout = Layout([piece])
    patch = Patch(offset=0, pieces=(piece,))
    assert isinstance(piece, Memory)
    for value in (piece, layout, patch):
        assert "secret" not in repr(value)
        assert "memory at" not in repr(value)
