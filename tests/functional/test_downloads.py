"""Whole downloads: from files that are not in memory, and how many at a time, over real TCP.

Bytes and the limit alone; how others fare meanwhile is shown by bench/cold.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from functional.daemon import Daemon, eventually
from functional.media import Server, make_hosts, make_media, tcp_client
from functional.wire import Wire, parts


def forget(path: Path) -> None:
    """Have the kernel drop what it holds of a file."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def test_a_file_that_is_not_in_memory_is_sent_right(server: Server) -> None:
    for start in (0, 5, 1_000_000, server.iso.size - 70_000):
        forget(server.media.iso_path)
        answer = server.get(server.iso.target, f"Range: bytes={start}-")
        assert answer.status == 206
        assert answer.body == server.iso.data[start:]


def test_parts_of_a_file_that_is_not_in_memory_are_sent_right(server: Server) -> None:
    forget(server.media.iso_path)
    answer = server.get(server.iso.target, "Range: bytes=100-200,1000000-1500000,7-9")
    bodies = [body for _, _, body in parts(answer)]
    data = server.iso.data
    assert bodies == [data[100:201], data[1_000_000:1_500_001], data[7:10]]


def test_a_client_may_go_while_a_file_is_read(server: Server) -> None:
    for _ in range(10):
        forget(server.media.iso_path)
        with server.connect() as wire:
            wire.ask(server.iso.target)
    assert server.get(server.iso.target).body == server.iso.data


@pytest.fixture
def limited(tmp_path: Path, start: Callable[..., Daemon]) -> Server:
    """A mic that sends two large bodies at a time."""
    media = make_media(tmp_path / "media", 12 * 1024 * 1024).write()
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    flags = ["-images-bind-addr=127.0.0.1:0", f"-nmstate-dir={hosts}"]
    daemon = start(*flags, environment={**media.environment, "MIC_MAX_DOWNLOADS": "2"})
    connect = tcp_client(*daemon.tcp)
    return Server(way="tcp", daemon=daemon, media=media, connect_socket=connect)


def test_requests_of_a_command_of_mic_are_no_downloads(limited: Server) -> None:
    image, own = limited.iso, "User-Agent: mic/0.1.0"
    for span in ("0-2047", "0-99999", "0-9,1000000-1999999"):
        assert limited.get(image.target, own, f"Range: bytes={span}").status == 206
    assert limited.get(image.target, own).body == image.data
    assert "worker-0.iso: 127.0.0.1" not in limited.daemon.whole_log
    limited.get(image.target, "User-Agent: BMC/1.0", "Range: bytes=0-2047")
    assert len(limited.daemon.wait_for("worker-0.iso: 127.0.0.1 started")) == 1


def begin(server: Server) -> Wire:
    """A download whose client does not read on."""
    wire = server.connect()
    wire.take_little()
    wire.ask(server.iso.target)
    assert wire.head()[1] == 200
    return wire


def test_above_the_limit_clients_are_asked_to_come_again(limited: Server) -> None:
    image = limited.iso
    with begin(limited) as first, begin(limited) as second:
        for fields in ((), ("Range: bytes=5-",), ("Range: bytes=0-65536",)):
            answer = limited.get(image.target, *fields)
            assert answer.status == 503
            assert int(answer.header("Retry-After") or 0) > 0
            assert answer.header("Content-Range") is None
            assert answer.header("ETag") is None
        # What costs little is answered all the same: hosts that are booting must go on.
        assert limited.get(image.target, "Range: bytes=0-65535").body == image.data[:65536]
        assert limited.get(image.target, method="HEAD").status == 200
        assert limited.get(image.target, "If-None-Match: *").status == 304
        assert first.take(image.size) == image.data
        second.sock.close()
    eventually(lambda: limited.get(image.target).status == 200, "there is room again")
    assert len(limited.daemon.wait_for("MIC_MAX_DOWNLOADS")) == 1


def test_a_small_range_from_the_medium_is_no_room_for_others(limited: Server) -> None:
    image = limited.iso
    with begin(limited), begin(limited):
        for start in range(0, 5_000_000, 1_000_000):
            forget(limited.media.iso_path)
            # Not as plain as the fast lane wants it: read in a thread, as a body of its own.
            answer = limited.get(
                image.target, f"Range: bytes={start}-{start + 4095}", "X-Any: thing"
            )
            assert answer.body == image.data[start : start + 4096]
            assert limited.get(image.target).status == 503
    assert len(limited.daemon.wait_for("MIC_MAX_DOWNLOADS")) == 1, "logged once, not for each"
