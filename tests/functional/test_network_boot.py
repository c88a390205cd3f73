"""What a host that boots over the network gets from mic in static mode, over HTTP.

Scope: names, header fields and limits of boot files. That machines boot is shown by QEMU
(tests/e2e/test_network_boot.py).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from functional.daemon import Daemon, eventually
from functional.media import IRONIC, TIMEOUT, make_hosts, tcp_client, unix_client
from functional.wire import Answer, Wire

from mic.media.cpio import archive, live_rootfs
from mic.media.isowriter import coreos_files, write_iso

ROOTFS = live_rootfs(bytes(range(256)) * 4096 * 4)
KERNEL = b"MZ" + bytes(100_000)


@pytest.fixture(scope="module")
def mic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("boot")
    files = coreos_files(kernel=KERNEL, initramfs=archive(b"the initramfs"), rootfs=ROOTFS)
    iso = directory / "coreos.iso"
    iso.write_bytes(write_iso(files))
    hosts = make_hosts(directory / "hosts", "worker-0.yaml")
    daemon = Daemon(
        directory / "log",
        ["static", "-images-bind-addr", "127.0.0.1:0", "-nmstate-dir", str(hosts)],
        {**IRONIC, "DEPLOY_ISO": str(iso), "MIC_MAX_DOWNLOADS": "1"},
    )
    try:
        daemon.wait_until_serving()
        yield daemon
        daemon.stop()
    finally:
        daemon.kill()


def get(mic: Daemon, target: str, *fields: str, method: str = "GET") -> Answer:
    with Wire(tcp_client(*mic.tcp)()) as wire:
        wire.ask(target, *fields, "Connection: close", method=method)
        answer = wire.answer(method)
        wire.ends()
        return answer


@pytest.mark.parametrize(
    ("name", "data"), [("rootfs.img", ROOTFS), ("kernel.img", KERNEL)], ids=["rootfs", "kernel"]
)
def test_serves_the_parts_of_the_iso(mic: Daemon, name: str, data: bytes) -> None:
    head = get(mic, f"/{name}", method="HEAD")
    assert head.status == 200
    assert head.header("Content-Length") == str(len(data))
    assert head.header("Content-Type") == "application/octet-stream"
    whole = get(mic, f"/{name}")
    assert whole.body == data
    assert whole.header("ETag") == head.header("ETag")
    part = get(mic, f"/{name}", "Range: bytes=1000-1999")
    assert (part.status, part.body) == (206, data[1000:2000])


def test_a_rootfs_is_exempt_from_the_limit_of_downloads(mic: Daemon) -> None:
    """A live system bears a 503 five times only, and other clients must not wait for it."""
    wires = [Wire(_slow(mic)) for _ in range(3)]
    try:
        for wire in wires:
            wire.ask("/rootfs.img")
            assert wire.head()[1] == 200
        assert get(mic, "/worker-0.iso", "Range: bytes=0-999999").status == 206
        wires.append(Wire(_slow(mic)))
        wires[-1].ask("/worker-0.iso")
        assert wires[-1].head()[1] == 200
        assert get(mic, "/worker-0.iso").status == 503
        assert get(mic, "/rootfs.img", "Range: bytes=0-999999").status == 206
    finally:
        for wire in wires:
            wire.sock.close()


def _slow(mic: Daemon) -> socket.socket:
    """A connection on which mic's kernel takes little that nobody reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    sock.settimeout(TIMEOUT)
    sock.connect(mic.tcp)
    return sock


def test_a_rootfs_is_served_before_the_first_image_is_built(tmp_path: Path) -> None:
    """A host that is booting while mic restarts; requests for images wait meanwhile."""
    files = coreos_files(kernel=KERNEL, initramfs=archive(b"the initramfs"), rootfs=ROOTFS)
    (tmp_path / "coreos.iso").write_bytes(write_iso(files))
    hosts = make_hosts(tmp_path / "hosts")
    (hosts / "worker-0.yaml").write_text("interfaces: []")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    nmstatectl = tmp_path / "nmstatectl"
    nmstatectl.write_text(f"#!/bin/sh\ncat {gate}\n")
    nmstatectl.chmod(0o755)
    where = tmp_path / "socket"
    daemon = Daemon(
        tmp_path / "log",
        ["static", "-images-bind-addr", f"unix:{where}", "-nmstate-dir", str(hosts)],
        {
            **IRONIC,
            "DEPLOY_ISO": str(tmp_path / "coreos.iso"),
            "MIC_NMSTATE_BACKEND": "nmstatectl",
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
        },
    )
    try:
        eventually(where.exists, "mic listens")
        with Wire(unix_client(where)()) as early, Wire(unix_client(where)()) as host:
            early.ask("/worker-0.iso")
            host.ask("/rootfs.img", method="HEAD")
            assert host.answer("HEAD").header("Content-Length") == str(len(ROOTFS))
            host.ask("/rootfs.img", "Range: bytes=0-99")
            assert host.answer().body == ROOTFS[:100]
            # Opened for writing: nmstatectl has opened it, and ends when it is closed.
            gate.write_text("NetworkManager: []\n")
            assert early.answer().status == 200
        daemon.stop()
    finally:
        daemon.kill()


def test_a_script_is_text_that_nobody_keeps(mic: Daemon) -> None:
    answer = get(mic, "/worker-0.ipxe")
    assert answer.status == 200
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    assert answer.header("Cache-Control") == "no-store"
    assert answer.body.startswith(b"#!ipxe\n")
    tag = answer.header("ETag")
    assert get(mic, "/worker-0.ipxe", f"If-None-Match: {tag}").status == 304
    assert get(mic, "/boot.ipxe").body.startswith(b"#!ipxe\n")
    missing = get(mic, "/52-54-00-12-34-56.ipxe")
    assert (missing.status, missing.body) == (404, b"There is no such image.\n")


def test_a_base_that_is_replaced_while_a_host_boots(tmp_path: Path) -> None:
    """What was read before counts for nothing: no answer mixes two releases."""
    newer = live_rootfs(b"another release" * 100_000)
    iso = tmp_path / "coreos.iso"

    def put(rootfs: bytes) -> None:
        files = coreos_files(kernel=KERNEL, initramfs=archive(b"the initramfs"), rootfs=rootfs)
        (tmp_path / "new").write_bytes(write_iso(files))
        (tmp_path / "new").rename(iso)

    put(ROOTFS)
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    daemon = Daemon(
        tmp_path / "log",
        ["static", "-images-bind-addr", "127.0.0.1:0", "-nmstate-dir", str(hosts)],
        {**IRONIC, "DEPLOY_ISO": str(iso)},
    )
    try:
        daemon.wait_until_serving()
        tag = get(daemon, "/rootfs.img", method="HEAD").header("ETag")
        put(newer)
        resumed = get(daemon, "/rootfs.img", "Range: bytes=1000-", f"If-Range: {tag}")
        assert (resumed.status, resumed.body) == (200, newer)
        assert resumed.header("ETag") != tag
        assert get(daemon, "/rootfs.img", f"If-Match: {tag}").status == 412
        put(ROOTFS)
        again = get(daemon, "/rootfs.img", "Range: bytes=1000-1999", f"If-Range: {tag}")
        assert (again.status, again.body) == (206, ROOTFS[1000:2000])
        daemon.stop()
    finally:
        daemon.kill()
