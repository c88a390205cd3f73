"""A kernel that is bare gzip, over a real connection: both lanes, and with sendfile.

Scope: mic.media.kernel as mic.web serves it. Static mode publishes no kernels, and controller
mode needs a cluster, so the site is made here.
"""

from __future__ import annotations

import gzip
import random
import socket
from pathlib import Path
from typing import Any

import pytest_twisted
from functional.wire import Answer, Wire
from toys import live_iso, put
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from mic.common.threads import Threads
from mic.downloads.tracker import Downloads
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, Store
from mic.media.base import Kind
from mic.media.catalog import BasePaths
from mic.media.customisation import Customisation
from mic.settings.model import Tcp
from mic.web.listen import listen
from mic.web.site import ImageSite

KERNEL = b"MZ" + bytes(54) + b"ARM\x64" + random.Random(1).randbytes(3_000_000)


def ask(port: int) -> list[Answer]:
    """The whole kernel, and a range that the fast lane answers, on one connection."""
    answers = []
    with Wire(socket.create_connection(("127.0.0.1", port), 10)) as wire:
        for fields in ((), ("Range: bytes=1000-1999",), ("Range: bytes=-5",)):
            wire.ask("/kernel-aarch64", *fields)
            answers.append(wire.answer())
    return answers


@pytest_twisted.ensureDeferred
async def test_is_served_unpacked(tmp_path: Path) -> None:
    iso = put(tmp_path / "ipa.iso", live_iso(kernel=gzip.compress(KERNEL, mtime=0)))
    threads = Threads(reactor)
    threads.startService()
    images = Store(Bases(BasePaths(iso=str(iso)), "aarch64", threads), lambda: 1e9)
    images.publish(
        "kernel-aarch64",
        Content(id=ImageId("", "kernel", Kind.KERNEL), customisation=Customisation()),
    )
    site = ImageSite(images, Downloads(lambda: 0.0), reactor, threads, settled=lambda: True)
    port: Any = await listen(reactor, Tcp(host="127.0.0.1", port=0), site, "-images-bind-addr")
    try:
        whole, part, end = await deferToThread(ask, port.getHost().port)
        assert whole.body == KERNEL
        assert whole.header("Content-Type") == "application/octet-stream"
        assert (part.status, part.body) == (206, KERNEL[1000:2000])
        assert end.body == KERNEL[-5:]
        assert whole.header("ETag") == part.header("ETag") == end.header("ETag")
        assert site.served.answers[Kind.KERNEL].statuses[206] == 2
    finally:
        await port.stopListening()
        for channel in list(site.channels):
            channel.abortConnection()
        while site.channels:
            await deferLater(reactor, 0)  # type: ignore[arg-type]
        await threads.stopService()
