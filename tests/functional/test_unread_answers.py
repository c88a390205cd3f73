"""What clients cost that ask and never read, over TCP and TLS, against a real mic that counts.

Scope: memory. That such clients are dropped in the end is in test_limits, that others are served
meanwhile in test_hostile_clients. `bench/unread.py` shows the same in resident memory.
"""

from __future__ import annotations

import base64
import random
import signal
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from functional.daemon import Daemon, eventually
from functional.media import EMBED, make_hosts, make_media
from functional.wire import Wire
from unread_attacks import (
    ATTACKS,
    HEADS,
    KIB,
    MIB,
    ONE_BY_ONE,
    Places,
    get,
    send_all,
    send_one_by_one,
)

CLIENTS = 8
LIMIT = 16 * KIB
"""Bytes that a client may cost which does not read, wherever in an image its answer begins."""
HEAD_LIMIT = 20 * KIB
"""The same for a request whose head is not whole: such a client has ten seconds."""
TLS_LIMIT = 96 * KIB
"""The same over TLS, without what OpenSSL holds: what was encrypted cannot be encrypted again."""
LEFT = 4 * KIB
"""Bytes that may stay of a client that is gone: that it has read of an image."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A mic that counts its memory, and where things are in its images."""

    daemon: Daemon
    context: ssl.SSLContext | None
    places: Places

    def connect(self, number: int = 0, room: int = 8 * KIB) -> socket.socket:
        """A connection from an address of its own that takes ``room`` bytes ahead of its reader."""
        sock = socket.socket()
        sock.settimeout(20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((f"127.0.1.{number + 1}", 0))
        sock.connect(self.daemon.tcp)
        return sock if self.context is None else self.context.wrap_socket(sock)

    def held(self) -> int:
        """Bytes that Python holds in it when it is idle."""
        self.daemon.wait_until_idle()
        self.daemon.turn_page()
        self.daemon.process.send_signal(signal.SIGUSR1)
        line = self.daemon.wait_for(r"held: \d+")[0]
        return int(line.rpartition(" ")[2])

    def etag(self) -> str:
        with Wire(self.connect()) as wire:
            wire.send(get(method="HEAD"))
            return dict(wire.head()[2])["ETag"]


def serve(directory: Path, certificate: tuple[Path, Path] | None) -> Iterator[Target]:
    media = make_media(directory / "media", 8 * MIB).write()
    hosts = make_hosts(directory / "hosts", "host.yaml")
    # An archive that fills half of the embed area: archives are in memory.
    noise = base64.b64encode(random.Random(0).randbytes(100 * KIB)).decode()
    (directory / "pull-secret").write_text(f'{{"auths": {{"quay.io": {{"auth": "{noise}"}}}}}}')
    flags = ["-images-bind-addr", "127.0.0.1:0", "-nmstate-dir", str(hosts)]
    flags += ["-metrics-addr", "127.0.0.1:0"]
    context = None
    if certificate is not None:
        cert, key = certificate
        flags += ["-images-tls-cert-file", str(cert), "-images-tls-key-file", str(key)]
        context = ssl.create_default_context(cafile=str(cert))
        context.check_hostname = False
    environment = {**media.environment, "CREDENTIALS_DIRECTORY": str(directory)}
    daemon = Daemon(directory / "log", flags, environment, module="functional.traced")
    try:
        places = Places(
            size=len(media.iso),
            area=media.area,
            embed=EMBED,
            initramfs=len(media.initramfs),
            etag="",
            flood=256 * KIB,
        )
        target = Target(daemon=daemon, context=context, places=places)
        yield replace(target, places=replace(places, etag=target.etag()))
        daemon.stop()
    finally:
        daemon.kill()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    yield from serve(tmp_path_factory.mktemp("plain"), None)


@pytest.fixture(scope="module")
def tls(
    tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]
) -> Iterator[Target]:
    yield from serve(tmp_path_factory.mktemp("tls"), certificate)


def test_a_client_of_the_metrics_that_does_not_read_costs_one_page(plain: Target) -> None:
    address = plain.daemon.whole_log.partition("health and metrics on ")[2].split()[0]
    host, _, port = address.rpartition(":")
    request = get(target="/metrics")
    with Wire(socket.create_connection((host, int(port)), 20)) as wire:
        wire.send(request)
        page = len(wire.answer().body)
    before = plain.held()
    socks = [socket.create_connection((host, int(port)), 20) for _ in range(CLIENTS)]
    send_all(socks, plain.places.endless(request))
    assert (plain.held() - before) // CLIENTS <= LIMIT + page
    for sock in socks:
        sock.close()


def cost(target: Target, attack: str) -> tuple[int, int]:
    """Bytes that a client costs while it does not read, and that stay when it is gone."""
    before = target.held()
    descriptors = target.daemon.descriptors()
    socks = [target.connect(number) for number in range(CLIENTS)]
    try:
        if attack == ONE_BY_ONE:
            send_one_by_one(socks, target.places, target.daemon.wait_until_idle)
        else:
            send_all(socks, ATTACKS[attack](target.places))
        during = target.held()
    finally:
        for sock in socks:
            # A reset: nobody wants what was not read.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
    eventually(lambda: target.daemon.descriptors() <= descriptors, "the connections are closed")
    after = target.held()
    target.daemon.check()
    return (during - before) // CLIENTS, (after - before) // CLIENTS


@pytest.mark.parametrize("attack", [*ATTACKS, ONE_BY_ONE])
def test_a_client_that_does_not_read_costs_little_and_leaves_nothing(
    plain: Target, attack: str
) -> None:
    held, left = cost(plain, attack)
    assert held <= (HEAD_LIMIT if attack in HEADS else LIMIT)
    assert left <= LEFT


@pytest.mark.parametrize(
    "attack",
    [
        "nothing asked",
        "whole image",
        "sixteen ranges",
        "20 small ranges",
        "20 ranges from the archive on",
        "flood of 404",
        "whole image, then noise",
    ],
)
def test_over_tls_it_costs_a_chunk_and_leaves_nothing(tls: Target, attack: str) -> None:
    held, left = cost(tls, attack)
    assert held <= TLS_LIMIT
    assert left <= LEFT
