"""Names and their images: validators change exactly when the bytes do."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import live_iso, put

from mic.errors import BuildInvalid
from mic.image.base import Base, Kind, read_base
from mic.image.basefile import open_base
from mic.image.store import Content, Store


class Now:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.time = 1000.9

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def store(now: Now) -> Store:
    return Store(now)


def content(archive: bytes = b"config", kind: Kind = Kind.ISO) -> Content:
    return Content(label="host.iso", kind=kind, archive=archive)


def base_of(path: Path, kind: Kind = Kind.ISO) -> Base:
    return read_base(open_base(str(path)), kind, inside_iso=kind is not Kind.ISO)


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return base_of(put(tmp_path / "base.iso", live_iso()))


def test_a_name_is_there_from_publish_to_discard(store: Store) -> None:
    assert store.get("host.iso") is None
    store.publish("host.iso", content())
    entry = store.get("host.iso")
    assert entry is not None
    assert (entry.name, len(store), list(store)) == ("host.iso", 1, [entry])
    store.discard("host.iso")
    store.discard("host.iso")
    assert store.get("host.iso") is None
    assert len(store) == 0


def test_the_same_content_again_changes_nothing(store: Store, now: Now) -> None:
    entry = store.publish("host.iso", content())
    now.time = 5000
    assert store.publish("host.iso", content()) is entry
    assert entry.date == 1000


def test_other_content_moves_the_date(store: Store, now: Now, base: Base) -> None:
    before = store.publish("host.iso", content()).image(base, now())
    now.time = 5000.5
    after = store.publish("host.iso", content(b"other")).image(base, now())
    assert (before.last_modified, after.last_modified) == (1000, 5000)
    assert before.etag != after.etag


@pytest.mark.parametrize("later", [1000.95, 1000.9, 3.0])
def test_the_date_moves_within_the_second_and_when_the_clock_goes_back(
    store: Store, now: Now, later: float
) -> None:
    store.publish("host.iso", content())
    now.time = later
    assert store.publish("host.iso", content(b"other")).date == 1001
    assert store.publish("host.iso", content(b"third")).date == 1002


@pytest.mark.parametrize("later", [1000.95, 3.0])
def test_the_date_moves_when_a_name_comes_back_with_other_bytes(
    store: Store, now: Now, later: float
) -> None:
    """A file taken away and put back: caches (Ironic's) compare dates alone."""
    date = store.publish("host.iso", content()).date
    store.discard("host.iso")
    now.time = later
    assert store.publish("host.iso", content(b"other")).date > date


def test_an_image_is_composed_once_for_a_base(store: Store, base: Base) -> None:
    entry = store.publish("host.iso", content())
    image = entry.image(base, 2000)
    assert entry.image(base, 3000) is image
    assert (image.size, image.last_modified, image.filename) == (len(live_iso()), 1000, "host.iso")


def test_another_base_moves_tag_and_date(store: Store, base: Base, tmp_path: Path) -> None:
    entry = store.publish("host.iso", content())
    before = entry.image(base, 2000)
    other = base_of(put(tmp_path / "other.iso", live_iso(kernel=b"other")))
    after = entry.image(other, 2000.5)
    assert before.etag != after.etag
    assert (before.last_modified, after.last_modified) == (1000, 2000)
    # And back again: the old bytes are new bytes to those who hold the second ones.
    again = entry.image(base, 2000.7)
    assert again.etag == before.etag
    assert again.last_modified == 2001
    assert entry.date == 2001


def test_a_base_with_the_same_bytes_moves_neither(store: Store, base: Base, tmp_path: Path) -> None:
    entry = store.publish("host.iso", content())
    before = entry.image(base, 2000)
    after = entry.image(base_of(put(tmp_path / "copy.iso", live_iso())), 3000)
    assert after is not before
    assert (after.etag, after.last_modified) == (before.etag, before.last_modified)


def test_invalidating_moves_neither(store: Store, base: Base) -> None:
    entry = store.publish("host.iso", content())
    before = entry.image(base, 2000)
    entry.invalidate()
    after = entry.image(base, 3000)
    assert after is not before
    assert (after.etag, after.last_modified) == (before.etag, before.last_modified)


def test_two_stores_agree_on_the_tag(base: Base) -> None:
    tags = {
        Store(Now()).publish("host.iso", content()).image(base, date).etag for date in (1.0, 1000.0)
    }
    assert len(tags) == 1


def test_a_config_that_does_not_fit_leaves_the_entry_as_it_was(store: Store, base: Base) -> None:
    entry = store.publish("host.iso", content(bytes(100_000)))
    with pytest.raises(BuildInvalid):
        entry.image(base, 2000)
    assert entry.date == 1000


def test_content_types(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path / "base.iso", live_iso())
    types = {
        kind: store.publish(kind.value, content(kind=kind))
        .image(base_of(path, kind), 0)
        .content_type
        for kind in Kind
    }
    assert types == {
        Kind.ISO: "application/vnd.efi-iso",
        Kind.INITRAMFS: "application/octet-stream",
        Kind.KERNEL: "application/octet-stream",
    }


def test_neither_the_archive_nor_the_secret_name_is_in_a_repr(store: Store, base: Base) -> None:
    entry = store.publish("random-name.iso", content(b"hunter2"))
    text = repr((entry, entry.content, entry.image(base, 0)))
    assert "hunter2" not in text
    assert "random-name" not in text
