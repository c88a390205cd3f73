"""URLs of downloads: what is accepted, what is shown, where redirections may lead."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mic.fetch.failure import FetchError
from mic.fetch.location import is_url, location, redirected, sibling


@pytest.mark.parametrize(
    ("text", "url", "host", "port"),
    [
        ("http://a.example/x.iso", "http://a.example/x.iso", "a.example", 80),
        ("HTTPS://A.Example", "https://a.example/", "a.example", 443),
        ("http://a:8080/x y".replace(" ", "%20"), "http://a:8080/x%20y", "a", 8080),
        ("http://[2001:db8::1]:81/x", "http://[2001:db8::1]:81/x", "2001:db8::1", 81),
        ("http://a/x?token=1#part", "http://a/x?token=1", "a", 80),
        ("http://u:p@a/x", "http://a/x", "a", 80),
        ("http://a/ä.iso", "http://a/%C3%A4.iso", "a", 80),
        ("http://bücher.example/x", "http://xn--bcher-kva.example/x", "xn--bcher-kva.example", 80),
    ],
)
def test_reads(text: str, url: str, host: str, port: int) -> None:
    found = location(text)
    assert (found.url, found.host, found.port) == (url, host, port)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ftp://a/x", "only http:// and https://"),
        ("file:///etc/passwd", "only http:// and https://"),
        ("http:///x", "it has no host"),
        ("http://a:0/x", "it has no host that can be connected to"),
        ("http://a:99999/x", "it is not a URL"),
        ("http://a:port/x", "it is not a URL"),
        ("http://[::1/x", "it is not a URL"),
        ("http://a/x\r\nHost: b", "white space or control characters"),
        ("http://a/x y", "white space"),
        ("http://a/\u202e", "white space or control characters"),
        (f"http://a/{'x' * 9000}", "more than 8192 characters"),
        (f"http://{'ä' * 70}.example/", "it is not a URL"),
    ],
)
def test_refuses(text: str, why: str) -> None:
    with pytest.raises(FetchError, match=why):
        location(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://user:hunter2@a/x?token=hunter2#hunter2",
        "http://user:hun%20ter2@a:x/",
        "ftp://hunter2@a/?hunter2",
        "http://user:hunter2@a/x y?hunter2",
        "http://a:x/#hunter2",
        # Characters of a password that end the host for a parser.
        "https://user:hunter2#more@a/x",
        "https://user:hunter2?more@a/x",
        "https://user:a?hunter2@a/x?token=hunter2@hunter2",
        "https://us er:hunter2@a/x",
        "https://user:hunter2 more@a/x",
    ],
)
def test_shows_no_secret(text: str) -> None:
    try:
        found = location(text)
        shown = f"{found.shown} {found!r} {found}"
    except FetchError as error:
        shown = str(error)
    assert "hunter2" not in shown
    assert "ter2" not in shown


def test_credentials_are_a_header_field() -> None:
    assert location("http://a/").authorization == ""
    assert location("http://us%40er:p%3Aw@a/").authorization == "Basic dXNAZXI6cDp3"
    assert location("http://user@a/").authorization == "Basic dXNlcjo="


START = location("https://user:pw@a.example/d/x.iso?token=1")


@pytest.mark.parametrize(
    ("target", "url", "keeps"),
    [
        ("/y.iso", "https://a.example/y.iso", True),
        ("y.iso", "https://a.example/d/y.iso", True),
        ("https://a.example:443/y", "https://a.example:443/y", True),
        ("https://b.example/y", "https://b.example/y", False),
        ("https://a.example:444/y", "https://a.example:444/y", False),
        ("//b.example/y", "https://b.example/y", False),
    ],
)
def test_credentials_stay_with_their_origin(target: str, url: str, keeps: bool) -> None:
    found = redirected(START, target)
    assert found.url == url
    assert bool(found.authorization) == keeps


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("http://a.example/x.iso", "which has no TLS: refused"),
        ("ftp://a.example/x", "only http:// and https://"),
        ("http://[x", "not a URL"),
        ("https://a.example/ x", "white space"),
        ("file:///etc/shadow", "only http:// and https://"),
    ],
)
def test_refuses_to_follow(target: str, why: str) -> None:
    with pytest.raises(FetchError, match=why) as caught:
        redirected(START, target)
    assert "pw" not in str(caught.value)
    assert "token" not in str(caught.value)


def test_http_may_lead_to_https() -> None:
    assert redirected(location("http://a/x"), "https://b/x").scheme == "https"


@given(st.text(max_size=60))
def test_any_text_is_a_location_or_refused(text: str) -> None:
    for given_text in (text, f"http://{text}", f"https://a/{text}"):
        with suppress(FetchError):
            location(given_text).url.encode("ascii")
        with suppress(FetchError):
            redirected(START, given_text)


def test_what_is_a_url() -> None:
    assert is_url("http://a")
    assert is_url("HTTPS://a")
    assert is_url("ftp://a")
    assert not is_url("stable.json")
    assert not is_url("/srv/http://a")


def test_a_signature_is_next_to_its_file() -> None:
    assert sibling(location("https://a/x.iso?t=1"), ".sig").url == "https://a/x.iso.sig?t=1"
