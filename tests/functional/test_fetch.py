"""The command ``mic fetch``: its flags, output and exit status, signals, and full disks."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import forkserver
import pytest
from fetching import BEFORE, DIGEST, ISO, complete, files, there_before
from functional.daemon import MIC, ROOT, eventually
from http_proxy import proxying
from lying_server import Exchange, cut, serving, status, without_length
from toys import put

LIMIT = 20000
"""Bytes of a file that a test lets mic write: less than the image has."""


def start(
    directory: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    **more: Any,
) -> forkserver.Process:
    given = {"PATH": os.environ["PATH"], **(environment or {})}
    return forkserver.start(["fetch", *arguments], environment=given, cwd=directory, **more)


def end(process: forkserver.Process, given: str = "") -> tuple[int, str, str]:
    """Its exit status and what it wrote, once it has ended."""
    out, err = process.communicate(given.encode(), timeout=60)
    return process.wait(), out.decode(), err.decode()


def run(
    directory: Path,
    *arguments: str,
    given: str = "",
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    pipe = subprocess.PIPE
    return end(start(directory, *arguments, environment=environment, stdin=pipe), given)


def run_program(
    *arguments: str, before: Callable[[], None], cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, which is made different ``before``."""
    return subprocess.run(
        [*MIC, "fetch", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=before,
    )


OUTPUT = ("-output", "coreos.iso")


def test_downloads_and_says_what(tmp_path: Path) -> None:
    """With URL and digest by all ways in one go; nothing is printed that is not needed."""
    sums = ("--sha256", DIGEST)
    with serving(ISO) as server:
        expected = f"coreos.iso: {len(ISO)} bytes, sha256 {DIGEST}, volume mic\n"
        warning = "mic fetch: warning: its volume name is 'mic', which is none of CoreOS\n"
        assert run(tmp_path, server.url, *OUTPUT, *sums) == (0, expected, warning)
        assert files(tmp_path) == complete()
        again = run(tmp_path, f"--sha256={DIGEST}", *OUTPUT, "--", server.url)
        assert again == (0, expected.replace(": ", ": unchanged, ", 1), warning)
        assert len(server.asked) == 1


def test_takes_metadata_from_standard_input(tmp_path: Path) -> None:
    with serving(ISO) as server:
        disk = f'{{"disk": {{"location": "{server.url}", "sha256": "{DIGEST}"}}}}'
        place = '{"architectures": {"aarch64": {"artifacts": {"metal": {"formats": {"iso": %s}}}}}}'
        given = place % disk
        flags = ("-stream-json", "-", "-arch", "arm64", *OUTPUT)
        assert run(tmp_path, *flags, given=given)[0] == 0
        assert files(tmp_path) == complete()
        done, out, err = run(tmp_path, *flags[:2], "-arch", "s390x", *OUTPUT, given=given)
    assert (done, out) == (1, "")
    assert err == (
        "mic fetch: stream metadata standard input: it has nothing for the architecture s390x, "
        "only for aarch64; -arch chooses one\n"
    )


def test_takes_a_url_from_standard_input_and_prints_no_secret(tmp_path: Path) -> None:
    with serving(ISO, status("403 Forbidden")) as server:
        url = server.url.replace("http://", "http://user:hunter2@") + "?X-Token=hunter2"
        done, out, err = run(tmp_path, "-", *OUTPUT, given=f"{url}\n")
        assert server.asked[0].fields["authorization"].startswith("Basic ")
    assert (done, out) == (1, "")
    assert err == (
        f"mic fetch: {server.url}?...: answers 403: access is forbidden, or the file is not there\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*OUTPUT], "name a URL, or -stream-json"),
        (["http://a/x"], "-output is missing"),
        (["http://a/x", "http://b/x", *OUTPUT], "name one URL"),
        (["a.iso", *OUTPUT], "'a.iso' is not a URL"),
        (["http://a/x", "-output", "-"], "-output names a file"),
        (["-", "-stream-json", "-", *OUTPUT], "cannot both be standard input"),
        (["http://a/x", *OUTPUT, "-sha256", "abc"], "-sha256 must have 64 hexadecimal digits"),
        (["http://a/x", *OUTPUT, "-kind", "initrams"], "did you mean initramfs?"),
        (["http://a/x", *OUTPUT, "-signature", "x.sig"], "-signature needs -gpg-keyring"),
        (["http://a/x", *OUTPUT, "-sha265", "x"], "did you mean -sha256?"),
        (["http://a/x", *OUTPUT, "-resume=maybe"], "invalid boolean value for -resume"),
    ],
)
def test_explains_its_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    from mic.cli.fetch import main

    try:
        done = main(arguments)
    except SystemExit as end:
        done = int(end.code or 0)
    shown = capsys.readouterr()
    assert (done, shown.out) == (2, "")
    assert words in shown.err
    assert shown.err.startswith("mic fetch: ")
    assert shown.err.endswith("see mic fetch -h\n")


def test_uses_the_proxy_of_the_environment(tmp_path: Path) -> None:
    with serving(ISO) as server, proxying() as proxy:
        url = server.url.replace("127.0.0.1", "mirror.test")
        environment = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}"}
        done, _, err = run(tmp_path, url, *OUTPUT, environment=environment)
        assert proxy.requests() == [f"GET {url}"]
    assert done == 0, err
    assert files(tmp_path) == complete()


def slowly(exchange: Exchange) -> None:
    """Half of the body, then nothing until the test ends."""
    start = exchange.start
    exchange.honest_head(start)
    exchange.send(exchange.content[start : len(exchange.content) // 2])
    exchange.stopped.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_download_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    before = there_before(tmp_path)
    with serving(ISO, slowly) as server:
        process = start(tmp_path, server.url, *OUTPUT)
        part = tmp_path / ".coreos.iso.part"
        eventually(lambda: part.exists() and part.stat().st_size > 0, "the first bytes")
        process.send_signal(number)
        assert end(process) == (128 + number, "", "mic fetch: interrupted\n")
    assert files(tmp_path) == before


def test_an_interrupted_verification_leaves_nothing(tmp_path: Path) -> None:
    """With a gpgv that does not end by itself."""
    before = there_before(tmp_path)
    programs = tmp_path.with_name(f"{tmp_path.name}-programs")
    programs.mkdir()
    gpgv = put(programs / "gpgv", b'#!/bin/sh\necho $$ > "$0.pid"\nexec sleep 100\n')
    gpgv.chmod(0o755)
    keyring = put(programs / "keys.gpg", b"any")
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    with serving(ISO, others={"/coreos.iso.sig": b"signature"}) as server:
        process = start(
            tmp_path,
            *(server.url, *OUTPUT, "-gpg-keyring", str(keyring)),
            environment=environment,
        )
        started = programs / "gpgv.pid"
        eventually(lambda: started.exists() and started.read_text(), "gpgv runs")
        process.terminate()
        assert end(process) == (143, "", "mic fetch: interrupted\n")
    assert files(tmp_path) == before
    number = int(started.read_text())
    eventually(lambda: not Path(f"/proc/{number}").exists() or is_dead(number), "gpgv ended")


def is_dead(number: int) -> bool:
    """Whether a process has ended and only waits for its parent."""
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_next_run_continues(tmp_path: Path, number: signal.Signals) -> None:
    with serving(ISO, slowly) as server:
        process = start(tmp_path, server.url, *OUTPUT, "-resume")
        part = tmp_path / ".coreos.iso.part"
        half = len(ISO) // 2
        eventually(lambda: part.exists() and part.stat().st_size == half, "half of the file")
        process.send_signal(number)
        end(process)
        done, _, err = run(tmp_path, server.url, *OUTPUT, "-resume", "-sha256", DIGEST)
        assert done == 0, err
        assert server.asked[-1].fields["range"] == f"bytes={half}-"
    assert files(tmp_path) == complete()


def test_a_file_too_large_for_the_system_changes_nothing(tmp_path: Path) -> None:
    before = there_before(tmp_path)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))

    with serving(ISO) as server:
        done = run_program(server.url, *OUTPUT, before=limit, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"mic fetch: {tmp_path}/coreos.iso: File too large\n"
    assert files(tmp_path) == before


@pytest.mark.parametrize("announced", [True, False])
def test_a_full_disk_changes_nothing(tmp_path: Path, announced: bool) -> None:
    there_before(tmp_path)
    mount = f"mount -t tmpfs -o size={LIMIT} none images && cp -p coreos.iso* images/ && "
    script = mount + 'cd images && "$@"; s=$?; ls -A; cat coreos.iso; exit $s'
    (tmp_path / "images").mkdir()
    private = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    trial = subprocess.run(
        [*private, f"{mount} true"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if trial.returncode:
        pytest.skip(f"no mount namespaces here: {trial.stderr.strip()}")
    with serving(ISO, *([] if announced else [without_length()])) as server:
        command = [*MIC, "fetch", server.url, *OUTPUT, "-sha256", DIGEST]
        done = subprocess.run(
            [*private, script, "sh", *command],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stdout == f"coreos.iso\ncoreos.iso.sha256\n{BEFORE.decode()}"
    assert "coreos.iso: No space left on device" in done.stderr
    assert ("bytes are free" in done.stderr) == announced


def test_a_directory_that_cannot_be_written_to(tmp_path: Path) -> None:
    there = tmp_path / "images"
    there.mkdir(mode=0o555)

    def another_user() -> None:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)

    with serving(ISO) as server:
        try:
            output = ("-output", str(there / "coreos.iso"))
            done = run_program(server.url, *output, before=another_user, cwd=Path("/"))
        except (OSError, subprocess.SubprocessError):
            pytest.skip("another user cannot run mic here")
    if "Permission denied" not in done.stderr and "Error" in done.stderr:
        pytest.skip("another user cannot run mic here")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"mic fetch: {there}/coreos.iso: Permission denied\n"
    assert server.asked == []


def test_shows_progress_on_a_terminal_only(tmp_path: Path) -> None:
    def pausing(exchange: Exchange) -> None:
        exchange.honest_head(0)
        half = len(exchange.content) // 2
        exchange.send(exchange.content[:half])
        # Longer than the time between two updates of the line.
        exchange.stopped.wait(0.5)
        exchange.send(exchange.content[half:])

    leader, follower = pty.openpty()
    with serving(ISO, pausing) as server:
        process = start(tmp_path, server.url, *OUTPUT, "-sha256", DIGEST, stderr=follower)
        os.close(follower)
        shown = b""
        try:
            while more := os.read(leader, 4096):
                shown += more
        except OSError:
            pass  # the other end was closed
        done, out, _ = end(process)
        os.close(leader)
    assert done == 0
    assert re.search(
        rb"\r\x1b\[K\[#* *\] \d+ %, \d+ of \d+ MiB, [\d.]+ MiB/s, \d+:\d\d left", shown
    )
    # The line is cleared before anything else is printed.
    assert shown.split(b"\r\x1b[K")[-1].startswith(b"mic fetch: warning: its volume")
    assert out.startswith("coreos.iso: ")


def test_says_that_it_tries_again(tmp_path: Path) -> None:
    with serving(ISO, cut(0.5), status("503 Busy", "Retry-After: 0")) as server:
        done, _, err = run(tmp_path, server.url, *OUTPUT, "-sha256", DIGEST)
    assert done == 0
    ended, busy, _ = err.splitlines()
    half = len(ISO) // 2
    words = f"mic fetch: {server.url}: the connection ended after {half} of {len(ISO)} bytes; "
    assert re.fullmatch(rf"{re.escape(words)}retrying in \d s", ended)
    assert busy.startswith(f"mic fetch: {server.url}: answers 503; retrying in ")


def test_static_mode_takes_up_what_was_fetched(tmp_path: Path) -> None:
    """With ``MIC_VERIFY_BASES``, and refuses what was damaged since."""
    hosts = tmp_path / "hosts"
    hosts.mkdir()
    with serving(ISO) as server:
        assert run(tmp_path, server.url, *OUTPUT, "-sha256", DIGEST)[0] == 0
    environment = {
        "DEPLOY_ISO": str(tmp_path / "coreos.iso"),
        "IRONIC_AGENT_IMAGE": "quay.io/ipa",
        "IRONIC_BASE_URL": "http://192.0.2.2:6385",
        "MIC_VERIFY_BASES": "true",
    }

    def check() -> tuple[int, str]:
        done = forkserver.run("check", "-nmstate-dir", hosts, environment=environment)
        return done.returncode, done.stdout

    assert check()[0] == 0
    damaged = ISO[:-1] + bytes((ISO[-1] ^ 1,))
    put(tmp_path / "coreos.iso", damaged)
    done, out = check()
    assert done == 1
    digest = hashlib.sha256(damaged).hexdigest()
    words = f"its sha256 is {digest}, {tmp_path}/coreos.iso.sha256 says {DIGEST}"
    assert words in out
    environment["MIC_VERIFY_BASES"] = ""
    assert check()[0] == 0


def test_a_server_is_any_server(tmp_path: Path) -> None:
    """One that Python's library has: ranges, dates and errors are not of our own making."""
    put(tmp_path / "www" / "coreos.iso", ISO)
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        command,
        cwd=tmp_path / "www",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"port (\d+)", server.stdout.readline())
            assert found
            url = f"http://127.0.0.1:{found[1]}/coreos.iso"
            (tmp_path / "out").mkdir()
            assert run(tmp_path / "out", url, *OUTPUT)[0] == 0
        finally:
            server.kill()
    assert files(tmp_path / "out") == complete()
