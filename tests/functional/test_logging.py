"""Scope: what a real mic logs, by both doors and in both formats, serving and failing.

How an event becomes a line is in tests/unit/observe/test_log.py; controller mode's log is looked
at with a real API server, in tests/e2e/test_controller_mode.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from functional.daemon import ROOT, Daemon, eventually
from functional.media import Media, make_hosts, tcp_client
from functional.wire import Wire

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
DOORS = ("mic", "twistd")
FORMATS = ("text", "json")
TEXT = re.compile(
    r"(<\d>)?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 (debug|info|warn|error): \S.*"
)

Starter = Callable[..., Daemon]


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    return make_hosts(tmp_path / "hosts", "worker-0.yaml")


@pytest.fixture
def begin(tmp_path: Path, media: Media, hosts: Path) -> Iterator[Starter]:
    """Starts a static mic by a door, with further flags of mic and of twistd."""
    daemons: list[Daemon] = []

    def begin(door: str, *flags: str, twistd: tuple[str, ...] = (), **environment: str) -> Daemon:
        # twistd logs to standard output.
        foreground = ("sh", "-c", 'exec "$0" "$@" >&2', *TWISTD, "-n", "--pidfile=", *twistd, "mic")
        daemon = Daemon(
            tmp_path / f"log-{len(daemons)}",
            ["static", "--images-bind-addr=127.0.0.1:0", f"--nmstate-dir={hosts}", *flags],
            {**media.environment, **environment},
            command=() if door == "mic" else foreground,
            # twistd ends by the signal that it was sent.
            graceful=(0,) if door == "mic" else (-signal.SIGTERM,),
        )
        daemons.append(daemon)
        return daemon

    try:
        yield begin
    finally:
        for daemon in daemons:
            daemon.kill()


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def read_all(daemon: Daemon) -> None:
    with Wire(tcp_client(*daemon.tcp)()) as wire:
        wire.ask("/worker-0.iso", "Connection: close")
        assert wire.answer("GET").status == 200


@pytest.mark.parametrize("door", DOORS)
def test_json_is_an_object_per_line_from_the_first_to_the_last(
    begin: Starter, hosts: Path, door: str
) -> None:
    daemon = begin(door, "--log-format=json")
    read_all(daemon)
    daemon.wait_for("completed the download")
    (hosts / "bad.yaml").write_text("- \x01")
    daemon.hang_up()
    daemon.wait_for("bad.yaml")
    daemon.stop()
    lines = objects(daemon.whole_log)
    assert all(line["level"] in ("info", "error") for line in lines)
    (serving,) = [line for line in lines if "count" in line]
    assert serving["count"] == 2
    assert serving["message"].startswith(f"serving 2 images on {serving['address']}, published as")
    (over,) = [line for line in lines if "outcome" in line]
    assert over["image"] == "worker-0.iso"
    assert over["client"] == "127.0.0.1"
    assert over["outcome"] == "completed the download"
    assert over["share"] == 100
    (error,) = [line for line in lines if line["level"] == "error"]
    assert error["host"] == "bad"
    assert error["error"] == error["message"]
    assert [line["url"] for line in lines if line.get("host") == "worker-0"] == [
        "http://127.0.0.1:8084/worker-0.iso",
        "http://127.0.0.1:8084/worker-0.initramfs",
    ]


@pytest.mark.parametrize("door", DOORS)
def test_text_is_the_default(begin: Starter, door: str) -> None:
    daemon = begin(door)
    read_all(daemon)
    daemon.wait_for(r" info: worker-0\.iso: 127\.0\.0\.1 completed the download: \d+ bytes in ")
    daemon.stop()
    assert all(TEXT.fullmatch(line) for line in daemon.whole_log.splitlines())


@pytest.mark.parametrize("door", DOORS)
def test_levels_by_flag(begin: Starter, hosts: Path, door: str) -> None:
    quiet = begin(door, "--log-level=error")
    (hosts / "bad.yaml").write_text("- \x01")
    quiet.wait_for("bad.yaml")
    quiet.stop()
    assert len(quiet.whole_log.splitlines()) == 1
    loud = begin(door, "--log-level=debug")
    loud.wait_until_serving()
    loud.stop()
    assert loud.whole_log.count(" info: log_legacy: ") >= 2  # Twisted's port opens and closes


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("level", ["info", "debug"])
def test_thousands_of_ranges_are_two_lines(begin: Starter, log_format: str, level: str) -> None:
    daemon = begin("mic", f"-log-format={log_format}", f"-log-level={level}")
    daemon.wait_until_serving()
    daemon.turn_page()
    with Wire(tcp_client(*daemon.tcp)()) as wire:
        for number in range(3000):
            # Both lanes: a field that only the slow one knows on every third.
            fields = ("If-Match: *",) if number % 3 == 0 else ()
            wire.ask("/worker-0.iso", f"Range: bytes={number * 100}-{number * 100 + 99}", *fields)
            assert wire.answer("GET").status == 206
    read_all(daemon)
    daemon.wait_for("completed the download")
    lines = daemon.log.splitlines()
    assert len(lines) == 2, lines
    daemon.stop()


def test_in_the_journal_lines_have_priorities(begin: Starter, hosts: Path, tmp_path: Path) -> None:
    (hosts / "bad.yaml").write_text("- \x01")
    # Who opens the file for it knows its number.
    (tmp_path / "log-0").touch()
    status = (tmp_path / "log-0").stat()
    where = f"{status.st_dev}:{status.st_ino}"
    daemon = begin("mic", "-log-format=json", JOURNAL_STREAM=where)
    daemon.wait_until_serving()
    daemon.stop()
    for line in daemon.whole_log.splitlines():
        found = json.loads(line[3:])
        assert line[:3] == {"info": "<6>", "warn": "<4>", "error": "<3>"}[found["level"]]


@pytest.mark.parametrize("door", DOORS)
def test_names_of_files_forge_no_line_and_show_no_secret(
    begin: Starter, hosts: Path, door: str
) -> None:
    forged = "x\n2026-11-24T06:10:27.123+00:00 info: forged\x1b[31m.yaml"
    (hosts / forged).write_text("")
    (hosts / "Bearer hunter2.yaml").write_text("- \x01")
    daemon = begin(door)
    daemon.wait_until_serving()
    daemon.stop()
    lines = daemon.whole_log.splitlines()
    assert all(TEXT.fullmatch(line) and line.isprintable() for line in lines)
    assert not [line for line in lines if line.startswith("2026-11-24T06:10:27.123+00:00")]
    assert "hunter2" not in daemon.whole_log


def test_why_it_cannot_start_is_plain_text_in_json_too(begin: Starter) -> None:
    first = begin("mic")
    host, port = first.tcp
    second = begin("mic", "-log-format=json", f"-images-bind-addr={host}:{port}")
    assert second.process.wait(20) == 1
    last = second.whole_log.splitlines()[-1]
    assert last == (
        f"mic: cannot start: -images-bind-addr: cannot listen on {host}:{port}: "
        "Address already in use: another process listens there; stop it, or choose another port"
    )
    first.stop()


def test_twistds_own_options_for_logs_win(begin: Starter, tmp_path: Path) -> None:
    file = tmp_path / "of-twistd"
    daemon = begin("twistd", "--log-format=json", twistd=(f"--logfile={file}",))
    eventually(lambda: file.exists() and "serving 2 images" in file.read_text(), "it serves")
    daemon.stop()
    assert daemon.whole_log == ""
    assert "[mic.service.Mic#info] serving 2 images" in file.read_text()


def test_a_daemon_logs_where_twistd_does(media: Media, hosts: Path, tmp_path: Path) -> None:
    flags = ["--images-bind-addr=127.0.0.1:0", f"--nmstate-dir={hosts}", "--log-format=json"]
    log, pid_file = tmp_path / "twistd.log", tmp_path / "pid"
    done = subprocess.run(
        [*TWISTD, f"--pidfile={pid_file}", "mic", "static", *flags],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **media.environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == done.stderr == ""
    try:
        eventually(lambda: "serving 2 images" in log.read_text(), "it serves")
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
    eventually(lambda: not pid_file.exists(), "it ends")
    assert "[mic.service.Mic#info] serving 2 images" in log.read_text()
