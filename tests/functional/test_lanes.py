"""The fast lane and the normal way give the same bytes, over real TCP.

A field that mic does not know keeps a request from the fast lane and changes nothing else
(tests/unit/web/test_fastlane.py shows which requests the lane takes), so everything is sent with
such a field and without; to a mic with the lane in Python, and to one with the compiled lane.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import compiled
import pytest
from functional.daemon import ROOT, Daemon
from functional.media import Media, Server, make_hosts, tcp_client

SMALL = 64 * 1024
UNKNOWN = "X-Keeps-Off: the fast lane"
DATE = re.compile(rb"(\r\nDate: )[^\r]*")


@pytest.fixture(scope="module", params=["python", "compiled"])
def modules(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PYTHONPATH with the compiled lane, or with one that cannot be imported."""
    directory = tmp_path_factory.mktemp("modules")
    if request.param == "compiled":
        compiled.build(directory)
    else:
        (directory / "mic_native.py").write_text("raise ImportError\n")
    return directory


@pytest.fixture(scope="module")
def server(
    media: Media, modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("lanes")
    hosts = make_hosts(directory / "hosts", "worker-0.yaml", "worker-1.yaml")
    flags = ["static", "-images-bind-addr=127.0.0.1:0", f"-nmstate-dir={hosts}"]
    environment = {**media.environment, "PYTHONPATH": f"{modules}:{ROOT}"}
    program = [sys.executable, "-c", "from mic.cli.main import main; main()"]
    daemon = Daemon(directory / "log", flags, environment, command=program)
    try:
        connect = tcp_client(*daemon.tcp)
        is_compiled = str(modules) in Path(f"/proc/{daemon.pid}/maps").read_text()
        assert is_compiled == any(modules.glob("*.so"))
        yield Server(way="tcp", daemon=daemon, media=media, connect_socket=connect)
        daemon.stop()
    finally:
        daemon.kill()


def both(server: Server, *fields: str) -> bytes:
    """What both ways answer, but for the dates: the same."""
    found = []
    for more in ((), (UNKNOWN,)):
        with server.connect() as wire:
            wire.ask("/worker-0.iso", *fields, *more)
            wire.half_close()
            found.append(DATE.sub(rb"\1", wire.rest()))
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("flags", [["--requests", "1000"], ["--requests", "300", "--minimal"]])
def test_generated_requests_get_the_same_answers(flags: list[str], modules: Path) -> None:
    """The differential run of bench/lanes.py, which is 50,000 requests there."""
    done = subprocess.run(
        [sys.executable, ROOT / "bench/lanes.py", "--seed", "1", *flags],
        env={**os.environ, "PYTHONPATH": str(modules)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lane = "compiled" if any(modules.glob("*.so")) else "Python"
    assert f"fast lane: {lane}\n" in done.stdout
    assert done.stdout.endswith("\n0 differences\n"), done.stdout + done.stderr
    assert done.returncode == 0


def test_requests_one_after_the_other_may_take_turns_in_both(server: Server) -> None:
    image = server.iso
    with server.connect() as wire:
        for number, start in enumerate(range(0, image.size, 50_000)):
            more = (UNKNOWN,) if number % 3 == 1 else ()
            stop = min(start + 50_000, image.size)
            wire.ask(image.target, f"Range: bytes={start}-{stop - 1}", *more)
            answer = wire.answer()
            assert (answer.status, answer.body) == (206, image.data[start:stop])


def test_both_read_what_is_not_in_memory(server: Server) -> None:
    for start in range(0, server.iso.size, 400_000):
        forget(server.media.iso_path)
        answer = both(server, f"Range: bytes={start}-{start + 20_000}")
        assert answer.endswith(b"\r\n\r\n" + server.iso.data[start : start + 20_001])


def test_what_is_downloaded_counts_the_same(server: Server) -> None:
    # An image that no other test here asks for: what a client reads of one is one download.
    for more in ((), (UNKNOWN,)):
        server.daemon.turn_page()
        with server.connect() as wire:
            for start in range(0, server.iso.size, SMALL):
                wire.ask("/worker-1.iso", f"Range: bytes={start}-{start + SMALL - 1}", *more)
                assert wire.answer().status == 206
        server.daemon.wait_for(
            f"completed the download: {server.iso.size} bytes in .*100.0 % of the image"
        )


def forget(path: Path) -> None:
    """Have the kernel drop what it holds of a file."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
