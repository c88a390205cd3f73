"""Addresses to listen on, and URLs to publish."""

from __future__ import annotations

import pytest

from mic.common.errors import ConfigError
from mic.settings.model import (
    Endpoint,
    Tcp,
)
from mic.settings.values import bind, publish_url


class TestBind:
    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            (":8084", "", 8084),
            (":0", "", 0),
            (":65535", "", 65535),
            ("127.0.0.1:8084", "127.0.0.1", 8084),
            ("localhost:8084", "localhost", 8084),
            ("[::1]:8084", "::1", 8084),
            ("[::]:8084", "::", 8084),
            ("[fe80::1%eth0]:8084", "fe80::1%eth0", 8084),
            ("0.0.0.0:8084", "0.0.0.0", 8084),
            ("tcp-host:1", "tcp-host", 1),
        ],
    )
    def test_accepts_addresses_as_go_writes_them(self, text: str, host: str, port: int) -> None:
        assert bind("-images-bind-addr", text) == Tcp(host=host, port=port)

    @pytest.mark.parametrize(
        "text",
        [
            "tcp:8084",
            "tcp:8084:interface=127.0.0.1",
            r"tcp6:8084:interface=\:\:1",
            "ssl:8443:privateKey=key.pem",
            "unix:/run/mic.sock",
            "systemd:domain=INET:index=0",
        ],
    )
    def test_accepts_twisted_endpoints(self, text: str) -> None:
        assert bind("-images-bind-addr", text) == Endpoint(description=text)

    @pytest.mark.parametrize(
        "text",
        [
            *["", ":", "8084", "localhost", ":http", ":-1", ":65536", ":8o84", ":+80", ": 80"],
            *[":\u0668\u0660", f":{'9' * 5000}", "[::1]", "http://0.0.0.0:8084", "127.0.0.1:8084/"],
        ],
    )
    def test_rejects_other_addresses(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"-images-bind-addr: .* is not \[HOST\]:PORT"):
            bind("-images-bind-addr", text)

    @pytest.mark.parametrize("text", ["::1:8084", "::", "fe80::1:80", "2001:db8::1:8084"])
    def test_rejects_ipv6_without_brackets(self, text: str) -> None:
        with pytest.raises(ConfigError, match="-images-bind-addr"):
            bind("-images-bind-addr", text)


class TestPublishUrl:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("http://127.0.0.1:8084", "http://127.0.0.1:8084"),
            ("http://h/", "http://h"),
            ("http://h//", "http://h"),
            ("https://h/a/b/", "https://h/a/b"),
            ("http://[2001:db8::1]:80/p/", "http://[2001:db8::1]:80/p"),
            ("http://mic.ns.svc.cluster.local/", "http://mic.ns.svc.cluster.local"),
        ],
    )
    def test_accepts_a_prefix_a_slash_and_brackets(self, text: str, url: str) -> None:
        assert publish_url("-images-publish-addr", text) == url

    @pytest.mark.parametrize(
        "text", ["http://h/?", "http://h?a=b", "http://h/#", "http://h/#x", "http://h/a?"]
    )
    def test_rejects_a_query_or_a_fragment(self, text: str) -> None:
        with pytest.raises(ConfigError, match="must not have a query or a fragment"):
            publish_url("-images-publish-addr", text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "h",
            "h:80",
            ":8084",
            "//h",
            "ftp://h",
            "http://",
            "http://h:x",
            " http://h",
            "http://h ",
        ],
    )
    def test_rejects_other_urls(self, text: str) -> None:
        with pytest.raises(
            ConfigError, match=r"-images-publish-addr: .* is not an http or https URL"
        ):
            publish_url("-images-publish-addr", text)
