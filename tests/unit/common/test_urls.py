"""URLs lose their credentials, and nothing else."""

from __future__ import annotations

import pytest

from mic.common.urls import without_credentials


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://proxy.example.com:3128", "http://proxy.example.com:3128"),
        ("http://user:secret@proxy:3128/path", "http://proxy:3128/path"),
        ("http://user@[fd00::1]:3128", "http://[fd00::1]:3128"),
        ("http://user:se/cr@et@proxy", "http://proxy"),
        ("http://user:a,b@proxy", "http://proxy"),
        ("https://a:b@one,https://c:d@two:6385", "https://one,https://two:6385"),
        ("https://one, https://c:d@two", "https://one, https://two"),
        ("cannot reach http://u:p@host: refused", "cannot reach http://host: refused"),
        ("mail ops@example.com", "mail ops@example.com"),
        ("", ""),
    ],
)
def test_removes_user_information(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


def test_says_where_something_was_removed() -> None:
    assert without_credentials("http://u:p@host", replacement="***@") == "http://***@host"
