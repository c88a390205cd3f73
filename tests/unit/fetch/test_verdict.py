"""What is done about the head of a response."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mic.fetch.failure import FetchError, Retryable
from mic.fetch.verdict import Body, Fields, Held, Redirect, range_fields, verdict

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
HALF = Held(size=50, total=100, validator='"tag"')
FRESH = Held()
RANGE = "bytes 50-99/100"


def judged(
    status: int, held: Held = FRESH, length: int | None = None, **fields: str
) -> Body | Redirect:
    names = {name.replace("_", "-"): [value] for name, value in fields.items()}
    return verdict(status, Fields(names), length, held, NOW)


@pytest.mark.parametrize(
    ("fields", "validator"),
    [
        ({}, ""),
        ({"etag": '"tag"'}, '"tag"'),
        ({"etag": 'W/"tag"'}, ""),
        ({"etag": "tag"}, ""),
        ({"etag": '"t\xe4g"'}, ""),
        ({"etag": '"a" , "b"'}, ""),
        ({"last_modified": "Sun, 29 Nov 2026 11:00:00 GMT"}, ""),
        (
            {
                "last_modified": "Sun, 29 Nov 2026 11:00:00 GMT",
                "date": "Sun, 29 Nov 2026 11:00:59 GMT",
            },
            "",
        ),
        (
            {
                "last_modified": "Sun, 29 Nov 2026 11:00:00 GMT",
                "date": "Sun, 29 Nov 2026 11:01:00 GMT",
            },
            "Sun, 29 Nov 2026 11:00:00 GMT",
        ),
        ({"last_modified": "yesterday", "date": "today"}, ""),
    ],
)
def test_takes_a_whole_file_with_what_identifies_it(fields: dict[str, str], validator: str) -> None:
    assert judged(200, length=100, **fields) == Body(start=0, total=100, validator=validator)


def test_asks_for_the_rest_only_of_what_can_be_identified() -> None:
    assert range_fields(FRESH) == {}
    assert range_fields(Held(size=50)) == {}
    assert range_fields(Held(validator='"tag"')) == {}
    assert range_fields(HALF) == {"Range": "bytes=50-", "If-Range": '"tag"'}


def test_takes_the_rest() -> None:
    rest = Body(start=50, total=100, validator='"tag"')
    assert judged(206, HALF, 50, content_range=RANGE, etag='"tag"') == rest
    assert judged(206, HALF, None, content_range=RANGE) == rest
    assert judged(206, HALF, 10, content_range="bytes 50-59/100") == rest


def test_takes_the_whole_file_again() -> None:
    assert judged(200, HALF, 120, etag='"new"') == Body(start=0, total=120, validator='"new"')


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ({}, 50),
        ({"content_range": "bytes */100"}, 50),
        ({"content_range": "bytes 50-99/*"}, 50),
        ({"content_range": "bytes 0-99/100"}, 100),
        ({"content_range": "bytes 51-99/100"}, 49),
        ({"content_range": "bytes 50-100/100"}, 51),
        ({"content_range": "bytes 50-49/100"}, 0),
        ({"content_range": "bytes 50-99/200"}, 50),
        ({"content_range": RANGE}, 49),
        ({"content_range": RANGE, "etag": '"other"'}, 50),
        ({"content_range": RANGE, "etag": 'W/"tag"'}, 50),
        ({"content_range": f"bytes 50-{'9' * 30}/{'9' * 31}"}, 50),
    ],
)
def test_begins_again_when_a_part_does_not_fit(fields: dict[str, str], length: int) -> None:
    with pytest.raises(Retryable) as caught:
        judged(206, HALF, length, **fields)
    assert caught.value.afresh


def test_begins_again_when_the_rest_is_refused() -> None:
    with pytest.raises(Retryable) as caught:
        judged(416, HALF)
    assert caught.value.afresh
    with pytest.raises(FetchError, match="answers 416"):
        judged(416)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_tries_again_later_and_keeps_what_it_has(status: int) -> None:
    with pytest.raises(Retryable, match=f"answers {status}") as caught:
        judged(status, HALF)
    assert not caught.value.afresh
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("3600", 60.0),
        ("9" * 400, 60.0),
        ("Sun, 29 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 29 Nov 2026 23:00:00 GMT", 60.0),
        ("soon", None),
        ("-1", None),
        ("²", None),
    ],
)
def test_waits_for_as_long_as_the_server_asks_within_reason(
    value: str, seconds: float | None
) -> None:
    with pytest.raises(Retryable) as caught:
        judged(503, retry_after=value)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("status", [100, 204, 205, 226, 304, 400, 401, 403, 404, 407, 410, 418])
def test_gives_up(status: int) -> None:
    with pytest.raises(FetchError, match=f"answers {status}"):
        judged(status, HALF)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_follows(status: int) -> None:
    assert judged(status, location="/x") == Redirect(target="/x")
    with pytest.raises(FetchError, match="without saying where"):
        judged(status)


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity", "GZIP"])
@pytest.mark.parametrize("status", [200, 206])
def test_refuses_compressed_files(status: int, encoding: str) -> None:
    with pytest.raises(FetchError, match="sends the file compressed"):
        judged(status, HALF, 50, content_encoding=encoding, content_range=RANGE)


def test_refuses_a_part_that_it_did_not_ask_for() -> None:
    with pytest.raises(FetchError, match="answers 206"):
        judged(206, FRESH, 50, content_range=RANGE)
