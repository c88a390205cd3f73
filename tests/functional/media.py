"""What a mic under test serves: base files, host files, and how to reach it."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from certificates import issue
from functional.daemon import Daemon
from functional.wire import Answer, Wire
from miniso import RESERVED, with_minimal

from mic.media.coreos import IGNITION_IMAGE
from mic.media.cpio import archive, config_of
from mic.media.isowriter import coreos_files, write_iso
from mic.media.minimal import DATA

EMBED = 256 * 1024
"""Bytes of the embed area."""

TIMEOUT = 30.0
"""Seconds a test's socket waits."""

IRONIC = {
    "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
    "IRONIC_BASE_URL": "http://192.0.2.2:6385",
}
"""The environment but for the base files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """Base files on disk and what is in them."""

    directory: Path
    iso: bytes = field(repr=False)
    initramfs: bytes = field(repr=False)
    area: int

    @property
    def iso_path(self) -> Path:
        return self.directory / "coreos.iso"

    @property
    def initramfs_path(self) -> Path:
        return self.directory / "coreos.initramfs"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **IRONIC,
            "DEPLOY_ISO": str(self.iso_path),
            "DEPLOY_INITRD": str(self.initramfs_path),
        }

    def write(self) -> Media:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.iso_path.write_bytes(self.iso)
        self.initramfs_path.write_bytes(self.initramfs)
        return self

    def with_config(self, iso: bytes) -> bytes:
        """The config in a customised ISO; fails unless all else in it is the base."""
        assert len(iso) == len(self.iso)
        assert iso[: self.area] == self.iso[: self.area]
        assert iso[self.area + EMBED :] == self.iso[self.area + EMBED :]
        return config_of(iso[self.area : self.area + EMBED])


def make_media(directory: Path, rootfs: int, seed: int = 0) -> Media:
    """A CoreOS-like ISO with a root file system of so many bytes, and its initramfs.

    The ISO describes its minimal one.
    """
    noise = random.Random(seed)
    files = coreos_files(
        kernel=noise.randbytes(64 * 1024),
        initramfs=archive(noise.randbytes(1000)),
        rootfs=noise.randbytes(rootfs),
        embed_length=EMBED,
    )
    # The writer's layout depends on lengths alone: a copy with marks shows where the area is.
    mark = b"\xaaEMBED" * (EMBED // 6 + 1)
    marked = write_iso({**files, IGNITION_IMAGE: mark[:EMBED], DATA: bytes(RESERVED)})
    return Media(
        directory=directory,
        iso=with_minimal(files),
        initramfs=archive(noise.randbytes(3000)),
        area=marked.index(mark[:EMBED]),
    )


def make_hosts(directory: Path, *names: str) -> Path:
    """A directory of hosts without network configuration."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_bytes(b"")
    return directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An image as it ought to be."""

    name: str
    content_type: str
    data: bytes = field(repr=False)

    @property
    def target(self) -> str:
        return f"/{self.name}"

    @property
    def size(self) -> int:
        return len(self.data)


@dataclass(slots=True, kw_only=True)
class Server:
    """A mic that serves, and how a client connects to it."""

    way: str
    daemon: Daemon
    media: Media
    connect_socket: Callable[[], socket.socket]
    iso: Served = field(init=False)
    initramfs: Served = field(init=False)

    def __post_init__(self) -> None:
        """Learn the config of a host, and from it what its images must be, byte by byte."""
        media = self.media
        served = self.get("/worker-0.initramfs").body
        assert served.startswith(media.initramfs)
        config = served[len(media.initramfs) :]
        assert b'"worker-0"' in config_of(config) or b"worker-0" in config_of(config)
        filled = config + bytes(EMBED - len(config))
        iso = media.iso[: media.area] + filled + media.iso[media.area + EMBED :]
        self.iso = Served(name="worker-0.iso", content_type="application/vnd.efi-iso", data=iso)
        self.initramfs = Served(
            name="worker-0.initramfs",
            content_type="application/octet-stream",
            data=media.initramfs + config,
        )

    @property
    def half_closes(self) -> bool:
        """Whether a client of it can close one direction alone: TLS has nothing like it."""
        return self.way != "tls"

    def connect(self) -> Wire:
        return Wire(self.connect_socket())

    def get(self, target: str, *headers: str, method: str = "GET", version: str = "1.1") -> Answer:
        """One request on a connection of its own; fails when anything follows the answer."""
        with self.connect() as wire:
            close = ("Connection: close",) if version == "1.1" and self.way != "kept" else ()
            wire.ask(target, *headers, *close, method=method, version=version)
            if self.way == "kept":
                wire.half_close()
            answer = wire.answer(method)
            wire.ends()
            return answer


def tcp_client(host: str, port: int) -> Callable[[], socket.socket]:
    return lambda: socket.create_connection((host, port), TIMEOUT)


def tls_client(host: str, port: int, cert: Path) -> Callable[[], socket.socket]:
    context = ssl.create_default_context(cafile=str(cert))

    def connect() -> socket.socket:
        plain = socket.create_connection((host, port), TIMEOUT)
        return context.wrap_socket(plain, server_hostname="localhost")

    return connect


def unix_client(path: Path) -> Callable[[], socket.socket]:
    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT)
        sock.connect(str(path))
        return sock

    return connect


def write_certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and its key."""
    return issue().write(directory)
