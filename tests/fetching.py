"""Downloads by `mic.fetch` in the test's own process, and what they leave in a directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lying_server import LyingServer
from toys import live_iso
from twisted.internet import reactor
from twisted.internet.task import deferLater

from mic.common.backoff import Backoff
from mic.common.threads import Threads
from mic.fetch.connect import Connections
from mic.fetch.job import Fetched, Job, Wanted
from mic.fetch.transfer import Limits, Transfer, Watching

ISO = live_iso()
DIGEST = hashlib.sha256(ISO).hexdigest()
LIMITS = Limits(
    connect=10.0,
    head=10.0,
    interval=10.0,
    least=1,
    failures=3,
    progress=1,
    size=1024 * 1024,
    backoff=Backoff(first=0.0, longest=0.0),
)
BEFORE = b"the image that was there before"


async def fetched(
    wanted: Wanted,
    *,
    limits: Limits = LIMITS,
    environment: Mapping[str, str] | None = None,
    trust: Any = None,
    notes: list[str] | None = None,
) -> Fetched:
    """Run one download to its end."""
    said = notes if notes is not None else []
    threads = Threads(reactor)
    threads.startService()
    try:
        job = Job(wanted, threads, note=said.append)
        connections = Connections(reactor, environment or {}, trust=trust, timeout=limits.connect)
        watching = Watching(note=said.append)
        return await job.run(Transfer(reactor, connections, watching, limits=limits))
    finally:
        await threads.stopService()
        # Connections that were aborted end in the next turn.
        await deferLater(reactor, 0.0, lambda: None)


def stream(server: LyingServer, digest: str = DIGEST, architecture: str = "x86_64") -> bytes:
    disk = {"location": server.url, "sha256": digest, "signature": f"{server.url}.asc"}
    pxe = {"initramfs": {"location": f"{server.url}-initramfs", "sha256": digest}}
    formats = {"iso": {"disk": disk}, "pxe": pxe}
    metal = {"artifacts": {"metal": {"formats": formats}}}
    return json.dumps({"architectures": {architecture: metal}}).encode()


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def there_before(directory: Path) -> dict[str, bytes]:
    (directory / "coreos.iso").write_bytes(BEFORE)
    checksum = f"{hashlib.sha256(BEFORE).hexdigest()}  coreos.iso\n".encode()
    (directory / "coreos.iso.sha256").write_bytes(checksum)
    return files(directory)


def complete() -> dict[str, bytes]:
    return {"coreos.iso": ISO, "coreos.iso.sha256": f"{DIGEST}  coreos.iso\n".encode()}


def wanted(directory: Path, server: LyingServer, **more: Any) -> Wanted:
    given = {"output": str(directory / "coreos.iso"), "url": server.url, **more}
    return Wanted(**given)
