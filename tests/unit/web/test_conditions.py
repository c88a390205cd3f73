"""Conditional requests: the tables of RFC 9110 section 13. Every combination is decided in the
order of section 13.2.2, which a second, naive formulation here repeats."""

from __future__ import annotations

from itertools import product

import pytest

from mic.web.conditions import Conditions, Outcome, evaluate, format_date, parse_date, range_applies

TAG = b'"abc"'
NOW = 784111777
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = b"Sun, 06 Nov 1994 08:49:36 GMT"
LATER = b"Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", NOW),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", NOW),
        (b"Sun Nov  6 08:49:37 1994", NOW),
        (b"  Sun, 06 Nov 1994 08:49:37 GMT ", NOW),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (b"Sun, 06 Nov 1994 08:49:37 +0100", None),
        (b"Sun, 06 Nov 1994 08:49:37 EST", None),
        (b"", None),
        (b"0", None),
        (b"-1", None),
        (b"784111777", None),
        (b"yesterday", None),
        (b"Sun, 06 Nov 1994", None),
        (b"Sun, 06 Nov 1994 25:49:37 GMT", None),
        (b"Sun, 40 Nov 1994 08:49:37 GMT", None),
        (b"Sun, 06 Foo 1994 08:49:37 GMT", None),
        (b"Sun, 06 Nov 99999 08:49:37 GMT", None),
        (b"Sun, 06 Nov 1994 08:49:37 GMT\xff", None),
        (b"," * 100, None),
        (b"Sun, 06 Nov " + b"9" * 5000 + b" 08:49:37 GMT", None),
    ],
)
def test_dates(text: bytes, seconds: int | None) -> None:
    assert parse_date(text) == seconds


def test_a_date_is_read_as_it_is_written() -> None:
    assert format_date(NOW) == DATE
    for seconds in (0, 1, 951782400, 2**31, 4102444800):
        assert parse_date(format_date(seconds)) == seconds


@pytest.mark.parametrize(
    ("header", "strong", "weak"),
    [
        (b'"abc"', True, True),
        (b' "abc"\t', True, True),
        (b'W/"abc"', False, True),
        (b'w/"abc"', False, False),
        (b"*", True, True),
        (b" * ", True, True),
        (b'"x", "abc"', True, True),
        (b'"abc", "x"', True, True),
        (b'"x" ,\t"abc" ,W/"y"', True, True),
        (b'"x", W/"abc"', False, True),
        (b'"x,y", "abc"', True, True),
        (b', ,"abc",', True, True),
        (b'""', False, False),
        (b'"ab"', False, False),
        (b'"ABC"', False, False),
        (b"abc", False, False),
        (b"'abc'", False, False),
        (b'"abc', False, False),
        (b'"abc" "x"', False, False),
        (b'"x y"', False, False),
        (b"", False, False),
        (b'"\xff"', False, False),
    ],
)
def test_lists_of_entity_tags(header: bytes, strong: bool, weak: bool) -> None:
    match = evaluate(Conditions(if_match=header), TAG, NOW)
    assert match is (Outcome.PROCEED if strong else Outcome.FAILED)
    none = evaluate(Conditions(if_none_match=header), TAG, NOW)
    assert none is (Outcome.NOT_MODIFIED if weak else Outcome.PROCEED)


TAGS = [None, TAG, b'W/"abc"', b'"other"', b"*"]
DATES = [None, DATE, EARLIER, LATER, b"nonsense"]


def test_every_combination_in_the_order_of_the_rfc() -> None:
    seconds = {DATE: NOW, EARLIER: NOW - 1, LATER: NOW + 1}
    for match, none, since, unless in product(TAGS, TAGS, DATES, DATES):
        expected = Outcome.PROCEED
        if match is not None:
            failed = match not in (TAG, b"*")
        else:
            failed = unless in seconds and seconds[unless] < NOW
        if failed:
            expected = Outcome.FAILED
        elif none is not None:
            if none in (TAG, b'W/"abc"', b"*"):
                expected = Outcome.NOT_MODIFIED
        elif since in seconds and seconds[since] >= NOW:
            expected = Outcome.NOT_MODIFIED
        conditions = Conditions(
            if_match=match,
            if_none_match=none,
            if_modified_since=since,
            if_unmodified_since=unless,
        )
        assert evaluate(conditions, TAG, NOW) is expected, conditions


@pytest.mark.parametrize(
    ("header", "applies"),
    [
        (None, True),
        (TAG, True),
        (b' "abc" ', True),
        (DATE, True),
        (b"Sun Nov  6 08:49:37 1994", True),
        (b'W/"abc"', False),
        (b'"other"', False),
        (b"abc", False),
        (b"*", False),
        (b'"other", "abc"', False),
        (EARLIER, False),
        (LATER, False),
        (b"", False),
        (b"nonsense", False),
    ],
)
def test_if_range(header: bytes | None, applies: bool) -> None:
    assert range_applies(header, TAG, NOW) is applies
