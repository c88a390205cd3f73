"""Which proxy a URL is fetched through."""

from __future__ import annotations

import pytest

from mic.fetch.failure import FetchError
from mic.fetch.location import location
from mic.fetch.proxies import Proxy, proxy_for

HTTP, HTTPS = location("http://mirror.example/x"), location("https://mirror.example/x")


@pytest.mark.parametrize(
    ("environment", "http", "https"),
    [
        ({}, None, None),
        ({"HTTP_PROXY": "http://p:3128"}, "p:3128", None),
        ({"HTTPS_PROXY": "http://p:3128"}, None, "p:3128"),
        ({"https_proxy": "http://p:3128/"}, None, "p:3128"),
        ({"HTTP_PROXY": "one:1", "http_proxy": "two:2"}, "one:1", None),
        ({"HTTP_PROXY": "", "http_proxy": "two:2"}, "two:2", None),
        ({"HTTPS_PROXY": "https://p"}, None, "p:443"),
        ({"HTTPS_PROXY": "p"}, None, "p:80"),
        ({"HTTPS_PROXY": "http://[2001:db8::1]:3128"}, None, "[2001:db8::1]:3128"),
        ({"HTTPS_PROXY": "p:1", "NO_PROXY": "mirror.example"}, None, None),
        ({"HTTPS_PROXY": "p:1", "no_proxy": ".example"}, None, None),
        ({"HTTPS_PROXY": "p:1", "NO_PROXY": "mirror.example:80"}, None, "p:1"),
        ({"HTTPS_PROXY": "p:1", "NO_PROXY": "*"}, None, None),
        ({"HTTPS_PROXY": "p:1", "NO_PROXY": "other.example"}, None, "p:1"),
    ],
)
def test_chooses(environment: dict[str, str], http: str | None, https: str | None) -> None:
    for place, expected in ((HTTP, http), (HTTPS, https)):
        found = proxy_for(place, environment)
        assert (str(found) if found else None) == expected


def test_has_credentials_and_tls() -> None:
    found = proxy_for(HTTPS, {"HTTPS_PROXY": "https://us%3Aer:hunter2@p:8443"})
    assert found == Proxy(host="p", port=8443, tls=True, authorization="Basic dXM6ZXI6aHVudGVyMg==")
    assert "aHVudGVyMg" not in repr(found)


def test_name_of_a_proxy_may_have_any_letters() -> None:
    found = proxy_for(HTTPS, {"HTTPS_PROXY": "https://pr\u00f6xy.example:1"})
    assert found is not None
    assert found.host == "xn--prxy-6qa.example"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("socks5://u:hunter2@p:1080", "HTTPS_PROXY: socks5://p is not a proxy that mic can use"),
        ("http://u:hunter2@:3128", "HTTPS_PROXY: it is not the URL of a proxy"),
        ("http://p:port", "HTTPS_PROXY: it is not the URL of a proxy"),
        ("http://[p", "HTTPS_PROXY: it is not the URL of a proxy"),
        ("http://u\udce9:hunter2@p", "HTTPS_PROXY: it is not the URL of a proxy"),
        ("http://u:hunter2\udce9@p", "HTTPS_PROXY: it is not the URL of a proxy"),
        ("https://p\udce9:3128", "HTTPS_PROXY: it is not the URL of a proxy"),
        (f"https://{'ä' * 70}.example", "HTTPS_PROXY: it is not the URL of a proxy"),
    ],
)
def test_refuses(text: str, why: str) -> None:
    with pytest.raises(FetchError) as caught:
        proxy_for(HTTPS, {"HTTPS_PROXY": text})
    assert str(caught.value).startswith(why)
    assert "hunter2" not in str(caught.value)
    assert proxy_for(HTTP, {"HTTPS_PROXY": text}) is None
