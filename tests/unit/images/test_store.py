"""Names and their images: validators change exactly when the bytes do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toys import live_iso, put
from twisted.internet import reactor

from mic.common.errors import BuildInvalid
from mic.common.threads import Threads
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, Store
from mic.media.base import IMAGES, SHARED, Base, Kind, read_base
from mic.media.basefile import open_base
from mic.media.catalog import BasePaths
from mic.media.customisation import Addition, Customisation
from mic.media.kernel_arguments import ArgumentEdits
from mic.media.netboot import ChainByMac

BOOT = Customisation(boot=ChainByMac("http://mic"))


class Now:
    """A clock that changes only when it is set."""

    def __init__(self) -> None:
        self.time = 1000.9

    def __call__(self) -> float:
        return self.time


def new_store(now: Now) -> Store:
    return Store(Bases(BasePaths(), "x86_64", Threads(reactor)), now)


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def store(now: Now) -> Store:
    return new_store(now)


def content(archive: bytes = b"config", kind: Kind = Kind.ISO) -> Content:
    return Content(id=ImageId("", "host", kind), customisation=Customisation(archive))


def base_of(path: Path, kind: Kind = Kind.ISO) -> Base:
    return read_base(open_base(str(path)), kind, inside_iso=kind is not Kind.ISO)


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return base_of(put(tmp_path / "base.iso", live_iso()))


def test_latest_entry_comes_last(store: Store) -> None:
    for name in ("one", "two", "one"):
        store.publish(name, content())
    assert [entry.name for entry in store] == ["two", "one"]
    store.publish("two", content(b"other"))
    assert [entry.name for entry in store] == ["one", "two"]


def test_knows_what_is_laid_over_the_base_of_an_image(store: Store, base: Base) -> None:
    arguments = (ArgumentEdits(appended=("quiet",)),)
    plain = store.publish("plain.iso", content())
    customised = replace(
        content(),
        customisation=Customisation(b"x" * 9000, arguments, extra_ignition=True),
    )
    other = store.publish("other.iso", customised)
    assert plain.additions == ()
    # Whether the archive fits is known with the base.
    assert other.additions == (Addition.KERNEL_ARGUMENTS, Addition.IGNITION)
    plain.compose(base, 0)
    other.compose(base, 0)
    assert plain.additions == ()
    assert other.additions[2:] == (Addition.RELOCATED,)
    assert store.additions() == {
        Addition.KERNEL_ARGUMENTS: 1,
        Addition.IGNITION: 1,
        Addition.EARLY_NETWORK: 0,
        Addition.RELOCATED: 1,
        Addition.MINIMAL: 0,
    }


def test_name_exists_from_publish_to_discard(store: Store) -> None:
    assert store.entry("host.iso") is None
    store.publish("host.iso", content())
    entry = store.entry("host.iso")
    assert entry is not None
    assert (entry.name, len(store), list(store)) == ("host.iso", 1, [entry])
    store.discard("host.iso")
    store.discard("host.iso")
    assert store.entry("host.iso") is None
    assert len(store) == 0


def test_same_content_changes_nothing(store: Store, now: Now) -> None:
    entry = store.publish("host.iso", content())
    now.time = 5000
    assert store.publish("host.iso", content()) is entry
    assert entry.date == 1000


def test_other_content_moves_the_date(store: Store, now: Now, base: Base) -> None:
    before = store.publish("host.iso", content()).compose(base, now())
    now.time = 5000.5
    after = store.publish("host.iso", content(b"other")).compose(base, now())
    assert (before.last_modified, after.last_modified) == (1000, 5000)
    assert before.etag != after.etag


@pytest.mark.parametrize("later", [1000.95, 1000.9, 3.0])
def test_date_moves_within_a_second_and_after_a_clock_step(
    store: Store, now: Now, later: float
) -> None:
    store.publish("host.iso", content())
    now.time = later
    assert store.publish("host.iso", content(b"other")).date == 1001
    assert store.publish("host.iso", content(b"third")).date == 1002


@pytest.mark.parametrize("later", [1000.95, 3.0])
def test_date_moves_when_a_name_returns_with_other_bytes(
    store: Store, now: Now, later: float
) -> None:
    """A file was removed and restored: caches such as Ironic's compare only dates."""
    date = store.publish("host.iso", content()).date
    store.discard("host.iso")
    now.time = later
    assert store.publish("host.iso", content(b"other")).date > date


def test_composes_an_image_once_per_base(store: Store, base: Base) -> None:
    entry = store.publish("host.iso", content())
    image = entry.compose(base, 2000)
    assert entry.compose(base, 3000) is image
    assert (image.size, image.last_modified, image.filename) == (len(live_iso()), 1000, "host.iso")


def test_another_base_changes_etag_and_date(store: Store, base: Base, tmp_path: Path) -> None:
    entry = store.publish("host.iso", content())
    before = entry.compose(base, 2000)
    other = base_of(put(tmp_path / "other.iso", live_iso(kernel=b"other")))
    after = entry.compose(other, 2000.5)
    assert before.etag != after.etag
    assert (before.last_modified, after.last_modified) == (1000, 2000)
    # And back again: the first bytes are new for clients that have the second ones.
    again = entry.compose(base, 2000.7)
    assert again.etag == before.etag
    assert again.last_modified == 2001
    assert entry.date == 2001


def test_base_with_the_same_bytes_changes_neither(store: Store, base: Base, tmp_path: Path) -> None:
    entry = store.publish("host.iso", content())
    before = entry.compose(base, 2000)
    after = entry.compose(base_of(put(tmp_path / "copy.iso", live_iso())), 3000)
    assert after is not before
    assert (after.etag, after.last_modified) == (before.etag, before.last_modified)


def test_invalidate_changes_neither(store: Store, base: Base) -> None:
    entry = store.publish("host.iso", content())
    before = entry.compose(base, 2000)
    entry.invalidate()
    after = entry.compose(base, 3000)
    assert after is not before
    assert (after.etag, after.last_modified) == (before.etag, before.last_modified)


def test_etag_is_the_same_in_two_stores(base: Base) -> None:
    tags = {
        new_store(Now()).publish("host.iso", content()).compose(base, date).etag
        for date in (1.0, 1000.0)
    }
    assert len(tags) == 1


def test_config_that_does_not_fit_keeps_the_date(store: Store, tmp_path: Path) -> None:
    base = base_of(put(tmp_path / "base.iso", live_iso(fixed=True)))
    entry = store.publish("host.iso", content(bytes(100_000)))
    with pytest.raises(BuildInvalid):
        entry.compose(base, 2000)
    assert entry.date == 1000


def test_content_types(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path / "base.iso", live_iso())
    types = {
        kind: store.publish(kind.value, replace(content(kind=kind), customisation=BOOT))
        .compose(base_of(path, kind), 0)
        .content_type
        for kind in (*IMAGES, *SHARED, Kind.IPXE)
    }
    assert types == {
        Kind.ISO: "application/vnd.efi-iso",
        Kind.INITRAMFS: "application/octet-stream",
        Kind.KERNEL: "application/octet-stream",
        Kind.ROOTFS: "application/octet-stream",
        Kind.IPXE: "text/plain; charset=utf-8",
    }


def test_repr_shows_neither_archive_nor_secret_name(store: Store, base: Base) -> None:
    entry = store.publish("random-name.iso", content(b"hunter2"))
    text = repr((entry, entry.content, entry.compose(base, 0)))
    assert "hunter2" not in text
    assert "random-name" not in text


@pytest.mark.parametrize(
    ("id", "label"),
    [
        (ImageId("", "worker-0", Kind.ISO), "worker-0.iso"),
        (ImageId("", "worker-0", Kind.INITRAMFS), "worker-0.initramfs"),
        (ImageId("hosts", "worker-0", Kind.ISO), "hosts/worker-0 iso"),
        (ImageId("hosts", "worker-0.iso", Kind.INITRAMFS), "hosts/worker-0.iso initramfs"),
        (ImageId("", "kernel rhel-9 aarch64", Kind.KERNEL), "kernel rhel-9 aarch64"),
        (ImageId("", "rootfs", Kind.ROOTFS), "rootfs"),
    ],
)
def test_id_as_text_is_the_label_in_logs(id: ImageId, label: str) -> None:
    assert str(id) == label
