"""Names and URLs of published images, and the log line that announces them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mic.common.threads import Threads
from mic.hosts.publish import Publisher
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, Store
from mic.media.base import Kind
from mic.media.catalog import BasePaths
from mic.media.customisation import Customisation

PLAIN = "http://boot.example:8085/b"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    bases = Bases(BasePaths(iso=str(tmp_path / "ipa.iso")), "x86_64", Threads(reactor))
    return Store(bases, lambda: 1e9)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    logged: list[str] = []

    def observe(event: LogEvent) -> None:
        logged.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield logged
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize(
    ("plain", "kind", "base"),
    [
        ("", Kind.ISO, "https://images.example"),
        ("", Kind.INITRAMFS, "https://images.example"),
        (PLAIN, Kind.ISO, "https://images.example"),
        (PLAIN, Kind.INITRAMFS, PLAIN),
        (PLAIN, Kind.KERNEL, PLAIN),
    ],
)
def test_network_boot_gets_the_plain_url_if_there_is_one(
    store: Store, plain: str, kind: Kind, base: str
) -> None:
    publisher = Publisher(store, publish_url="https://images.example", http_publish_url=plain)
    assert publisher.url("x", kind) == f"{base}/x"


@pytest.mark.parametrize(
    ("plain", "line"),
    [
        ("", "serving https://images.example/a%20b%25.iso"),
        (PLAIN, f"serving https://images.example/a%20b%25.iso and {PLAIN}/a%20b%25.iso"),
    ],
)
def test_announces_every_url_of_a_name_escaped(
    store: Store, lines: list[str], plain: str, line: str
) -> None:
    publisher = Publisher(store, publish_url="https://images.example", http_publish_url=plain)
    publisher.announce("a b%.iso", host="a b%")
    assert lines == [line]


def test_publishes_until_discarded_and_logs_no_name(store: Store, lines: list[str]) -> None:
    publisher = Publisher(store, publish_url="https://images.example")
    publisher.publish(
        "secret.iso", Content(id=ImageId("", "w", Kind.ISO), customisation=Customisation())
    )
    assert publisher.is_published("secret.iso")
    publisher.discard("secret.iso")
    assert not publisher.is_published("secret.iso")
    assert lines == []
