"""Scope: what is shown of the API server and of its proxy: never a user, a password or a query."""

from __future__ import annotations

import pytest

from mic.kube.api_server import ApiServer

SECRET = "c2VjcmV0"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.test:6443", "https://api.test:6443"),
        (f"https://api.test/clusters/a?token={SECRET}#{SECRET}", "https://api.test"),
        (f"https://me:{SECRET}@[fd00::1]:6443", "https://[fd00::1]:6443"),
        (f"https://me:a {SECRET}@api.test", "https://api.test"),
        (f"https://me:a@{SECRET}@api.test", "https://api.test"),
        (f"https://{SECRET}@api.test/a@b", "https://api.test"),
    ],
)
def test_shows_no_credentials(url: str, shown: str) -> None:
    assert str(ApiServer(url=url)) == shown
    assert str(ApiServer(url="http://x", proxy=url)) == f"http://x by the proxy {shown}"
    assert SECRET not in repr(ApiServer(url=url, proxy=url, authorization=lambda: SECRET))
