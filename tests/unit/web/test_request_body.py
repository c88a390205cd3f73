"""Bodies of requests: their ends, however they are cut into pieces.

Which bodies are refused is shown over real connections, in tests/functional/test_request_heads.py.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mic.web.request_body import Body, ChunkedBody, FixedBody
from mic.web.request_head import MAX_BODY, Refusal

REST = b"GET / HTTP/1.1\r\n"
CUTS = st.lists(st.integers(1, 40), max_size=20)
TRAILERS = st.lists(st.sampled_from([b"A: b", b"C:", b"Digest: x=\xff"]), max_size=3)
CHUNKS = st.lists(st.tuples(st.binary(min_size=1, max_size=50), st.sampled_from([b"", b";a=b"])))


def fed(body: Body, data: bytes, cuts: list[int]) -> tuple[bytes | None, int]:
    """What followed the body, and how many bytes had been fed by then."""
    position = 0
    for cut in [*cuts, len(data)]:
        piece = data[position : position + cut]
        position += len(piece)
        rest = body.feed(piece)
        if rest is not None:
            return rest, position
    return None, position


def chunked(chunks: list[tuple[bytes, bytes]], trailers: list[bytes]) -> bytes:
    parts = [b"%x%s\r\n%s\r\n" % (len(data), more, data) for data, more in chunks]
    return b"".join([*parts, b"0\r\n", *(b"%s\r\n" % line for line in trailers), b"\r\n"])


@given(CHUNKS, TRAILERS, CUTS)
def test_a_chunked_body_ends_where_it_says(
    chunks: list[tuple[bytes, bytes]], trailers: list[bytes], cuts: list[int]
) -> None:
    data = chunked(chunks, trailers)
    rest, position = fed(ChunkedBody(), data + REST, cuts)
    assert rest == (data + REST)[len(data) : position]
    assert fed(ChunkedBody(), data[:-1], cuts)[0] is None


@given(st.integers(1, MAX_BODY), CUTS)
def test_a_body_of_a_fixed_length_ends_there(length: int, cuts: list[int]) -> None:
    data = bytes(length) + REST
    rest, position = fed(FixedBody(length), data, cuts)
    assert rest == data[length:position]
    assert fed(FixedBody(length), bytes(length - 1), cuts)[0] is None


def outcome(data: bytes, cuts: list[int]) -> bytes | int | None:
    try:
        rest, position = fed(ChunkedBody(), data, cuts)
    except Refusal as refusal:
        return refusal.status
    return rest if rest is None else rest + data[position:]


@given(st.lists(st.sampled_from([b"0", b"1", b"a", b"\r\n", b"\n", b"\r", b";", b":", b" "])), CUTS)
def test_the_pieces_in_which_a_chunked_body_comes_do_not_matter(
    parts: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(parts)
    assert outcome(data, cuts) == outcome(data, [])


@pytest.mark.parametrize("unit", [b"1;" + b"x" * 1000 + b"\r\na\r\n", b"0" * 1000 + b"1\r\na\r\n"])
def test_what_a_chunked_body_holds_besides_its_content_is_bounded(unit: bytes) -> None:
    with pytest.raises(Refusal):
        ChunkedBody().feed(unit * 1000)


def test_a_malformed_size_of_many_zeros_takes_no_time() -> None:
    began = time.process_time()
    for _ in range(50):
        with pytest.raises(Refusal):
            ChunkedBody().feed(b"0" * 1000 + b"!\r\n")
    assert time.process_time() - began < 0.5
