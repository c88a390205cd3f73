"""Base images that are compared with the digest next to them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import pytest_twisted
from toys import live_iso, put

from mic.common.errors import BaseUnavailable
from mic.common.threads import Threads
from mic.images.bases import Bases
from mic.media.base import Base, Kind
from mic.media.catalog import BasePaths

ISO = live_iso()
DIGEST = hashlib.sha256(ISO).hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    return put(tmp_path / "coreos.iso", ISO)


def checksum(path: Path, text: str) -> Path:
    return put(path.with_name(f"{path.name}.sha256"), text.encode())


def made(threads: Threads, iso: Path, *, checksums: bool = True) -> Bases:
    return Bases(BasePaths(iso=str(iso)), "x86_64", threads, checksums=checksums)


async def refused(bases: Bases) -> str:
    with pytest.raises(BaseUnavailable) as caught:
        await bases.load(Kind.ISO)
    return str(caught.value)


async def loaded(bases: Bases) -> Base:
    return await bases.load(Kind.ISO)


@pytest_twisted.ensureDeferred
async def test_accepts_the_digest_next_to_it_and_none(threads: Threads, iso: Path) -> None:
    await loaded(made(threads, iso))
    checksum(iso, f"{DIGEST}  coreos.iso\n")
    await loaded(made(threads, iso))


@pytest_twisted.ensureDeferred
async def test_names_both_digests_and_the_files(threads: Threads, iso: Path) -> None:
    path = checksum(iso, f"{OTHER}  coreos.iso\n")
    error = await refused(made(threads, iso))
    assert error.startswith(f"base image {iso}: its sha256 is {DIGEST}, {path} says {OTHER}: ")


@pytest_twisted.ensureDeferred
async def test_is_off_by_default(threads: Threads, iso: Path) -> None:
    checksum(iso, OTHER)
    await loaded(made(threads, iso, checksums=False))
    assert (
        await Bases(BasePaths(iso=str(iso)), "x86_64", threads).load(Kind.ISO)
    ).file.sha256 == ""


@pytest_twisted.ensureDeferred
async def test_mics_own_digest_is_the_same_either_way(threads: Threads, iso: Path) -> None:
    first, second = [
        (await loaded(made(threads, iso, checksums=checksums))).file for checksums in (True, False)
    ]
    assert first.digest == second.digest
    assert first.sha256 == DIGEST


@pytest_twisted.ensureDeferred
async def test_a_malformed_digest_is_an_error(threads: Threads, iso: Path) -> None:
    path = checksum(iso, "<html>404</html>\n")
    error = await refused(made(threads, iso))
    assert error.startswith(f"base image {iso}: {path}: line 1 is not a SHA-256 digest")


@pytest_twisted.ensureDeferred
async def test_a_digest_that_cannot_be_read_is_an_error(threads: Threads, iso: Path) -> None:
    path = iso.with_name("coreos.iso.sha256")
    os.mkfifo(path)
    assert f"{path}: it is not a regular file" in await refused(made(threads, iso))


@pytest.mark.parametrize("mended", ["image", "digest"])
@pytest_twisted.ensureDeferred
async def test_looks_again_when_either_file_changes(
    threads: Threads, iso: Path, mended: str
) -> None:
    put(iso, live_iso(4096))
    checksum(iso, OTHER if mended == "digest" else DIGEST)
    bases = made(threads, iso)
    await refused(bases)
    await bases.refresh()
    await refused(bases)
    if mended == "image":
        put(iso, ISO)
    else:
        checksum(iso, hashlib.sha256(live_iso(4096)).hexdigest())
    await bases.refresh()
    await loaded(bases)
    assert bases.health().not_ready == ()


@pytest_twisted.ensureDeferred
async def test_looks_again_when_the_digest_goes(threads: Threads, iso: Path) -> None:
    path = checksum(iso, OTHER)
    bases = made(threads, iso)
    await refused(bases)
    path.unlink()
    await bases.refresh()
    await loaded(bases)


@pytest_twisted.ensureDeferred
async def test_of_a_link_finds_the_digest_next_to_its_target(threads: Threads, iso: Path) -> None:
    link = iso.with_name("current.iso")
    link.symlink_to(iso.name)
    checksum(iso, OTHER)
    assert "coreos.iso.sha256 says" in await refused(made(threads, link))
    checksum(link, DIGEST)
    await loaded(made(threads, link))


@pytest_twisted.ensureDeferred
async def test_what_is_served_stays_when_the_digest_changes(threads: Threads, iso: Path) -> None:
    checksum(iso, DIGEST)
    bases = made(threads, iso)
    await loaded(bases)
    checksum(iso, OTHER)
    await bases.refresh()
    assert bases.loaded(Kind.ISO) is not None


@pytest_twisted.ensureDeferred
async def test_other_base_files_are_compared_too(threads: Threads, tmp_path: Path) -> None:
    path = put(tmp_path / "initramfs", b"any bytes")
    checksum(path, OTHER)
    bases = Bases(BasePaths(initramfs=str(path)), "x86_64", threads, checksums=True)
    with pytest.raises(BaseUnavailable, match=f"says {OTHER}"):
        await bases.load(Kind.INITRAMFS)
