"""``mic status`` asks a real daemon: who reads which image, and who may know.

Other users and network namespaces need root; those tests skip without it. Other daemons of this
test run share the network namespace, so that processes are named.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import forkserver
import pytest
from functional.daemon import MIC, ROOT, Daemon, eventually
from functional.media import Media, Server, make_hosts, make_media, tcp_client

from mic.cli.status import SOCKETS

BIND = "-images-bind-addr=127.0.0.1:0"
STRANGER = 100_000 + os.getpid()
"""A user who is nobody else here."""

OTHER = STRANGER + 10_000_000


def as_user(uid: int) -> list[str]:
    """A prefix that makes a command another user's; who may still read this checkout."""
    return [
        *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"),
    ]


def in_own_network() -> list[str]:
    """A prefix that gives a command a network namespace of its own, with loopback."""
    return ["unshare", "--net", "sh", "-ec", 'ip link set lo up; exec "$@"', "sh"]


def needs(prefix: Sequence[str]) -> None:
    if missing := _missing(tuple(prefix)):
        pytest.skip(missing)


@cache
def _missing(prefix: tuple[str, ...]) -> str:
    """Why mic cannot be run behind ``prefix`` here, if it cannot."""
    try:
        trial = subprocess.run([*prefix, *MIC, "-h"], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return f"not possible here: {trial.stderr.decode().strip()}" if trial.returncode else ""


def ask(*arguments: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    if not prefix:
        return forkserver.run("status", *arguments)
    return subprocess.run(
        [*prefix, *MIC, "status", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def status_of(daemon: Daemon, *arguments: str) -> dict[str, Any]:
    done = ask("-json", f"-pid={daemon.pid}", *arguments)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def rows(text: str) -> list[list[str]]:
    """The table's cells."""
    table = text[text.index("IMAGE ") :].splitlines()[1:]
    return [re.split(r" {2,}", line) for line in table]


class Run:
    """A mic with two hosts, at work."""

    def __init__(self, directory: Path, media: Media, start: Callable[..., Daemon]) -> None:
        self.hosts = make_hosts(directory / "hosts", "worker-0.yaml", "worker-1.yaml")
        self.media = media
        self.daemon = start(BIND, f"-nmstate-dir={self.hosts}", environment=media.environment)
        connect = tcp_client(*self.daemon.tcp)
        # What it learns by a first request of worker-0.initramfs.
        self.server = Server(way="tcp", daemon=self.daemon, media=media, connect_socket=connect)

    def image(self, label: str) -> dict[str, Any]:
        (image,) = status_of(self.daemon, label)["images"]
        assert isinstance(image, dict)
        return image

    def reader(self, label: str) -> dict[str, Any]:
        (reader,) = self.image(label)["readers"]
        assert isinstance(reader, dict)
        return reader


@pytest.fixture
def run(tmp_path: Path, media: Media, start: Callable[..., Daemon]) -> Run:
    return Run(tmp_path, media, start)


def test_it_reports_what_runs_and_which_images_were_never_fetched(run: Run) -> None:
    before = time.time()
    answer = status_of(run.daemon)
    assert answer["mode"] == "static"
    assert answer["pid"] == run.daemon.pid
    host, port = run.daemon.tcp
    assert answer["addresses"] == [f"{host}:{port}"]
    assert answer["serving"] is True
    assert before - 60 < answer["started"] <= before
    assert {base["kind"]: base["size"] for base in answer["bases"]} == {
        "iso": len(run.media.iso),
        "initramfs": len(run.media.initramfs),
    }
    assert {image["label"]: len(image["readers"]) for image in answer["images"]} == {
        "worker-0.iso": 0,
        "worker-0.initramfs": 1,
        "worker-1.iso": 0,
        "worker-1.initramfs": 0,
    }


def test_an_image_is_being_downloaded_and_then_complete(run: Run) -> None:
    server = run.server
    with server.connect() as wire:
        wire.take_little()
        wire.ask(server.iso.target)
        assert wire.head()[1] == 200
        reader = run.reader("worker-0.iso")
        assert reader["state"] == "downloading"
        assert reader["client"] == "127.0.0.1"
        assert 0 < reader["read"] < server.iso.size
        done = ask(f"-pid={run.daemon.pid}")
        first = rows(done.stdout)[0]
        assert first[0] == "worker-0.iso", "what is going on comes first"
        assert first[3] == "127.0.0.1"
        assert first[5:] == ["downloading", "1"]
        assert wire.take(server.iso.size) == server.iso.data
    eventually(lambda: run.reader("worker-0.iso")["state"] == "complete", "it is complete")
    reader = run.reader("worker-0.iso")
    assert (reader["read"], reader["downloads"]) == (server.iso.size, 1)
    text = ask(f"-pid={run.daemon.pid}").stdout
    assert [
        cell for row in rows(text) if row[0] == "worker-0.iso" for cell in (row[0], *row[4:6])
    ] == ["worker-0.iso", "100.0 %", "complete"]
    assert rows(text)[-1][2:] == ["-", "-", "-", "never fetched", "0"]


def test_a_body_that_was_broken_off_is_reported_with_how_far_it_came(run: Run) -> None:
    with run.server.connect() as wire:
        wire.take_little()
        wire.ask("/worker-1.iso")
        assert wire.head()[1] == 200
        wire.take(100_000)
    eventually(lambda: status_of(run.daemon)["bodies"]["open"] == 0, "the body is over")
    read = run.reader("worker-1.iso")["read"]
    assert 100_000 <= read < run.server.iso.size
    # At its end a process knows that nothing comes back.
    run.daemon.stop()
    assert f"worker-1.iso: 127.0.0.1 was interrupted: {read} bytes in " in run.daemon.log


def test_bytes_that_are_read_twice_count_once(run: Run) -> None:
    with run.server.connect() as wire:
        for start in (0, 1000, 1500, 0, 1_000_000):
            wire.ask("/worker-1.iso", f"Range: bytes={start}-{start + 999}")
            assert wire.answer().status == 206
    reader = run.reader("worker-1.iso")
    assert (reader["read"], reader["sent"], reader["downloads"]) == (3500, 5000, 1)


def test_heads_and_refusals_are_no_fetches(run: Run) -> None:
    assert run.server.get("/worker-1.iso", method="HEAD").status == 200
    assert run.server.get("/worker-1.iso", "Range: bytes=999999999-").status == 416
    assert run.image("worker-1.iso")["readers"] == []


def test_an_image_that_changed_has_not_been_fetched_yet(run: Run) -> None:
    size = len(run.server.get("/worker-1.initramfs").body)
    assert run.reader("worker-1.initramfs")["read"] == size
    hosts = run.hosts / "worker-1.yaml"
    hosts.write_text("interfaces: [{name: eth7, type: ethernet, state: up}]\n")
    run.daemon.hang_up()
    eventually(lambda: run.reader("worker-1.initramfs")["outdated"], "it is another version")
    text = ask(f"-pid={run.daemon.pid}", "worker-1.initramfs").stdout
    assert [row[4:6] for row in rows(text)] == [["-", "older version"]]
    run.server.get("/worker-1.initramfs", "Range: bytes=0-9")
    reader = run.reader("worker-1.initramfs")
    assert (reader["outdated"], reader["read"], reader["downloads"]) == (False, 10, 1)


def test_an_image_that_is_gone_is_reported_for_a_while(run: Run) -> None:
    (run.hosts / "worker-0.yaml").unlink()
    run.daemon.hang_up()
    eventually(lambda: not run.image("worker-0.initramfs")["published"], "it is gone")
    text = ask(f"-pid={run.daemon.pid}", "worker-0").stdout
    assert [row[5] for row in rows(text)] == ["complete, image gone"]


def test_a_customised_image_says_how(run: Run) -> None:
    assert run.image("worker-1.iso")["customised"] == []
    assert len(rows(ask(f"-pid={run.daemon.pid}", "worker-1").stdout)[0]) == 7
    (run.hosts / "worker-1.kargs").write_text("quiet")
    (run.hosts / "worker-1.ign").write_text('{"ignition": {"version": "3.2.0"}}')
    run.daemon.hang_up()
    expected = ["kernel arguments", "Ignition"]
    eventually(lambda: run.image("worker-1.iso")["customised"] == expected, "it is customised")
    # Network boot gets its arguments elsewhere.
    assert run.image("worker-1.initramfs")["customised"] == ["Ignition"]
    text = ask(f"-pid={run.daemon.pid}", "worker-1").stdout
    found = {row[0]: row[7] for row in rows(text)}
    assert found == {
        "worker-1.iso": "kernel arguments, Ignition",
        "worker-1.initramfs": "Ignition",
    }


def test_images_are_asked_for_by_host_or_label(run: Run) -> None:
    labels = {image["label"] for image in status_of(run.daemon, "worker-1")["images"]}
    assert labels == {"worker-1.iso", "worker-1.initramfs"}
    done = ask(f"-pid={run.daemon.pid}", "worker")
    assert done.returncode == 1
    assert "there is no image of worker" in done.stderr


def test_what_is_missing_is_reported_while_it_is(
    tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    media = make_media(tmp_path / "media", 1024 * 1024).write()
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    (hosts / "worker-1.yaml").write_text("interfaces: 7\n")
    daemon = start(BIND, f"-nmstate-dir={hosts}", environment=media.environment)
    daemon.wait_until_serving()
    media.iso_path.unlink()
    daemon.hang_up()

    def text() -> str:
        return ask(f"-pid={daemon.pid}").stdout

    eventually(lambda: "NOT READY" in text(), "it is not ready")
    assert re.search(rf"NOT READY\n +base image {media.iso_path}: No such file", text())
    assert re.search(r"problems:\n +\S+worker-1.yaml: ", text())


def test_hosts_without_an_image_are_listed_with_the_reason(run: Run) -> None:
    (run.hosts / "worker-1.yaml").write_text("interfaces: 7\n")
    (run.hosts / "worker-2.yaml").write_text("{")
    run.daemon.hang_up()

    def states() -> dict[str, str]:
        return {host["name"]: host["state"] for host in status_of(run.daemon)["hosts"]}

    expected = {"worker-0": "ready", "worker-1": "kept", "worker-2": "failed"}
    eventually(lambda: states() == expected, "all three are reported")
    text = ask(f"-pid={run.daemon.pid}").stdout
    assert "hosts without an image, or whose last change failed:\n" in text
    assert re.search(r"  worker-1: its last good image stays since \d+ s: interfaces: ", text)
    assert re.search(r"  worker-2: no image since \d+ s: document: ", text)
    about = ask(f"-pid={run.daemon.pid}", "worker-2").stdout
    assert "worker-2: no image" in about
    assert "worker-1: its last good image" not in about
    answer = run.server.get("/worker-2.iso")
    assert (answer.status, answer.body) == (404, b"worker-2 has no image: see mic's log\n")
    assert run.server.get("/worker-3.iso").body == b"There is no such image.\n"


def test_a_log_of_thousands_of_ranges_has_two_lines(run: Run) -> None:
    size = run.server.iso.size
    with run.server.connect() as wire:
        for start in range(0, size, 4096):
            wire.ask("/worker-0.iso", f"Range: bytes={start}-{min(start + 4095, size - 1)}")
            assert wire.answer().status == 206
    assert run.reader("worker-0.iso")["state"] == "complete"
    assert len(run.daemon.wait_for("worker-0.iso: 127.0.0.1", 2)) == 2


@pytest.fixture
def two(run: Run, start: Callable[..., Daemon]) -> tuple[Daemon, Daemon]:
    other = start(BIND, f"-nmstate-dir={run.hosts}", environment=run.media.environment)
    other.wait_until_serving()
    return run.daemon, other


def test_where_several_run_one_must_be_named(two: tuple[Daemon, Daemon]) -> None:
    done = ask()
    assert done.returncode == 1
    for daemon in two:
        assert re.search(rf"-pid {daemon.pid} .*static mode", done.stderr)
        assert status_of(daemon)["pid"] == daemon.pid


def test_a_process_that_is_no_mic_is_not_asked(run: Run) -> None:
    done = ask(f"-pid={os.getpid()}")
    assert done.returncode == 1
    assert f"process {os.getpid()} is not mic" in done.stderr


@pytest.mark.parametrize("arguments", [["a", "b"], ["-pid=x"], ["-nonsense"]])
def test_what_cannot_be_meant_is_a_usage_error(arguments: list[str]) -> None:
    assert ask(*arguments).returncode == 2


# --- who may know -------------------------------------------------------------------------------


@pytest.fixture
def strangers(run: Run, tmp_path: Path) -> Iterator[Daemon]:
    """A mic that another user runs."""
    needs(as_user(STRANGER))
    daemon = Daemon(
        tmp_path / "log",
        ["static", BIND, f"-nmstate-dir={run.hosts}"],
        run.media.environment,
        command=[*as_user(STRANGER), *MIC],
    )
    try:
        daemon.wait_until_serving()
        yield daemon
        daemon.stop()
    finally:
        daemon.kill()


def test_root_may_ask_another_users_mic(strangers: Daemon) -> None:
    assert status_of(strangers)["pid"] == strangers.pid
    assert f"of user {STRANGER}" in ask(f"-pid={strangers.pid}").stdout


def test_the_same_user_may_ask(strangers: Daemon) -> None:
    done = ask("-json", prefix=as_user(STRANGER))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pid"] == strangers.pid, "the others are not theirs"


def test_a_foreign_user_learns_which_user_to_be(strangers: Daemon) -> None:
    done = ask(f"-pid={strangers.pid}", prefix=as_user(OTHER))
    assert done.returncode == 1
    assert f"process {strangers.pid} belongs to user {STRANGER}" in done.stderr
    assert not done.stdout


def test_a_foreign_user_who_asks_all_the_same_gets_nothing(strangers: Daemon) -> None:
    open_files = {os.readlink(each) for each in Path(f"/proc/{strangers.pid}/fd").iterdir()}
    (name,) = (
        line.split()[-1].removeprefix("@")
        for line in Path(SOCKETS).read_text().splitlines()
        if "@mic-admin/" in line and f"socket:[{line.split()[6]}]" in open_files
    )
    program = (
        "import socket, sys\n"
        "sock = socket.socket(socket.AF_UNIX)\n"
        "sock.connect('\\0' + sys.argv[1])\n"
        "try:\n"
        "    assert not sock.recv(100)\n"
        "except ConnectionResetError:\n"
        "    pass\n"
    )
    command = [*as_user(OTHER), MIC[0], "-c", program, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    strangers.wait_for(
        f"refused mic status to user {OTHER}: only root and mic's own user may read it"
    )


def test_a_network_namespace_has_its_own(run: Run, tmp_path: Path) -> None:
    needs(in_own_network())
    daemon = Daemon(
        tmp_path / "log",
        ["static", BIND, f"-nmstate-dir={run.hosts}"],
        run.media.environment,
        command=[*in_own_network(), *MIC],
    )
    try:
        daemon.wait_until_serving()
        outside = ask(f"-pid={daemon.pid}")
        assert outside.returncode == 1
        assert "in this network namespace" in outside.stderr
        inside = ask(prefix=["nsenter", f"--target={daemon.pid}", "--net"])
        assert inside.returncode == 0, inside.stderr
        assert f"process {daemon.pid} " in inside.stdout, "and there is no other"
        daemon.stop()
    finally:
        daemon.kill()


def test_where_none_runs_that_is_said() -> None:
    needs(in_own_network())
    done = ask(prefix=in_own_network())
    assert done.returncode == 1
    assert done.stderr.startswith("mic status: mic is not running in this network namespace")


# --- endpoints that are none ---------------------------------------------------------------------


@pytest.fixture
def impostor() -> Iterator[Callable[[bytes], None]]:
    """Listens as a mic would, in this process, and says what the test gives it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0mic-admin/" + os.urandom(8).hex())
    listener.listen()
    child = 0

    def say(text: bytes) -> None:
        nonlocal child
        child = os.fork()
        if not child:
            while True:
                peer = listener.accept()[0]
                with suppress(OSError):
                    peer.sendall(text)
                peer.close()

    yield say
    os.kill(child, 9)
    os.waitpid(child, 0)
    listener.close()


def test_a_mic_is_found_among_however_many_that_only_have_the_name(run: Run) -> None:
    impostors = [socket.socket(socket.AF_UNIX) for _ in range(400)]
    try:
        for each in impostors:
            each.bind("\0mic-admin/" + os.urandom(8).hex())
            each.listen()
        assert status_of(run.daemon)["pid"] == run.daemon.pid
    finally:
        for each in impostors:
            each.close()


def lines(changes: Mapping[str, Any] | None = None, image: object = None) -> bytes:
    head = {
        "version": "1",
        "pid": 1,
        "mode": "static",
        "started": 0,
        "now": 9,
        "addresses": [],
        "url": "",
        "serving": True,
        "missing": [],
        "defects": [],
        "problems": [],
        "bodies": {"open": 0, "limit": 0},
        "http_addresses": [],
        "bases": [],
        **(changes or {}),
    }
    reported = [head, *([] if image is None else [image]), None]
    return b"".join(json.dumps(each).encode() + b"\n" for each in reported)


def test_what_is_reported_cannot_command_the_terminal(impostor: Callable[[bytes], None]) -> None:
    impostor(lines({"mode": "\x1b[2J", "problems": ["\x1b]0;x\x07\nready"], "addresses": ["\r"]}))
    done = ask(f"-pid={os.getpid()}")
    assert done.returncode == 0, done.stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout)
    assert "\\x1b[2J" in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        lines()[:-5],
        b"[" * 100_000 + b"\n",
        lines({"started": "x"}),
        lines({"started": 1e300}),
        lines(image={"label": 7}),
        lines(image=[]),
        b"\xff\xfe",
    ],
    ids=["nothing", "no end", "broken off", "deep", "text", "far", "label", "list", "no text"],
)
def test_nonsense_is_called_that(impostor: Callable[[bytes], None], text: bytes) -> None:
    impostor(text)
    done = ask(f"-pid={os.getpid()}")
    assert done.returncode == 1
    assert f"process {os.getpid()}" in done.stderr
    assert "Traceback" not in done.stderr
