"""``mic build``: the file has the bytes that a running mic serves."""

from __future__ import annotations

import base64
import fcntl
import lzma
import os
import pty
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import forkserver
import pytest
from functional.daemon import Daemon, eventually
from functional.media import Media, make_hosts, make_media, tcp_client
from functional.wire import Wire

NETWORK = """\
interfaces:
- name: eth0
  type: ethernet
  ipv4: {enabled: true, address: [{ip: 192.0.2.9, prefix-length: 24}]}
dns-resolver: {config: {server: [192.0.2.53]}}
routes: {config: [{destination: 0.0.0.0/0, next-hop-interface: eth0, next-hop-address: 192.0.2.1}]}
"""
SECRET = '{"auths": {"quay.io": {"auth": "aHVudGVyMjpodW50ZXIy"}}}'
IGNITION = '{"ignition": {"version": "3.2.0"}}'
ISO_KIND = ("-output", "-", "-kind", "iso")


class Build:
    """Runs ``mic build`` in an environment and a directory of its own."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = {"IRONIC_AGENT_PULL_SECRET": SECRET, **environment}
        self.hosts = make_hosts(directory / "hosts")
        self.host = self.hosts / "worker-0.yaml"
        self.host.write_text(NETWORK)
        self.output = directory / "out"
        self.output.mkdir()

    def start(self, *arguments: str | Path, **more: Any) -> forkserver.Process:
        return forkserver.start(
            ["build", *map(str, arguments)],
            environment={"PATH": os.environ["PATH"], **self.environment},
            cwd=self.output,
            **more,
        )

    def run(self, *arguments: str | Path, **more: object) -> tuple[int, bytes, str]:
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err.decode()

    def made(self, *arguments: str | Path) -> bytes:
        """The content of the only file that it writes."""
        assert self.run(self.host, *arguments) == (0, b"", "")
        (path,) = self.output.iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
        content = path.read_bytes()
        path.unlink()
        return content

    def fails(self, *arguments: str | Path, status: int = 1) -> str:
        """The message; nothing is written."""
        before = sorted(self.output.iterdir())
        done, out, err = self.run(*arguments)
        assert (done, out) == (status, b""), err
        assert sorted(self.output.iterdir()) == before
        return err


@pytest.fixture
def build(media: Media, tmp_path: Path) -> Build:
    return Build(tmp_path, media.environment)


def served(start: Callable[..., Daemon], build: Build, name: str) -> bytes:
    flags = ["-images-bind-addr=127.0.0.1:0", f"-nmstate-dir={build.hosts}"]
    daemon = start(*flags, environment=build.environment)
    with Wire(tcp_client(*daemon.tcp)()) as wire:
        wire.ask(f"/{name}", "Connection: close")
        answer = wire.answer("GET")
    assert answer.status == 200
    return bytes(answer.body)


@pytest.mark.parametrize("customised", [False, True])
def test_writes_what_mic_serves(
    build: Build, start: Callable[..., Daemon], customised: bool
) -> None:
    if customised:
        (build.hosts / "worker-0.kargs").write_text("console=ttyS0,115200n8\n")
        (build.hosts / "worker-0.ign").write_text(IGNITION)
        build.environment["MIC_KERNEL_ARGUMENTS"] = "nosmt"
        extra = build.directory / "all.ign"
        extra.write_text(IGNITION)
        build.environment["MIC_IGNITION"] = str(extra)
    for kind in ("iso", "initramfs"):
        expected = served(start, build, f"worker-0.{kind}")
        assert (b"nosmt" in expected) == (customised and kind == "iso")
        assert build.made("-output", f"any.{kind}") == expected
        assert build.made("-output", "any.img", "-kind", kind) == expected
        assert build.run(build.host, "-output", "-", "-kind", kind) == (0, expected, "")


def test_without_a_separate_initramfs(build: Build, start: Callable[..., Daemon]) -> None:
    del build.environment["DEPLOY_INITRD"]
    expected = served(start, build, "worker-0.initramfs")
    assert build.made("-output", "worker-0.initramfs") == expected


@pytest.mark.parametrize("name", ["2022-02", "2023-07.x86_64"])
def test_minimal_iso_of_a_real_one(
    build: Build, start: Callable[..., Daemon], shared: Path, name: str
) -> None:
    iso = build.directory / "coreos.iso"
    fixture = shared / f"fixtures/coreos-iso/embed-areas-{name}.iso.xz"
    iso.write_bytes(lzma.decompress(fixture.read_bytes()))
    # Moved to the end of the ISO for its length.
    noise = base64.b64encode(random.Random(0).randbytes(600_000)).decode()
    (build.hosts / "worker-0.ign").write_text(
        IGNITION[:-1] + ', "storage": {"files": [{"path": "/x", "contents": {"source": '
        f'"data:;base64,{noise}"}}}}]}}}}'
    )
    build.environment |= {
        "DEPLOY_ISO": str(iso),
        "MIC_ISO": "minimal",
        "IRONIC_ROOTFS_URL": "http://192.0.2.1/rootfs",
        "MIC_INITRAMFS_NETWORK": "always",
    }
    expected = served(start, build, "worker-0.iso")
    assert b"coreos.live.rootfs_url=http://192.0.2.1/rootfs" in expected
    status, _, err = build.run(build.host, "-output", "worker-0.iso")
    assert status == 0
    assert (build.output / "worker-0.iso").read_bytes() == expected
    # Text stands for them in this ISO.
    doubts = [
        f"mic build: warning: base image {iso}: its {part}" for part in ("initramfs", "kernel")
    ]
    assert [line.partition(" looks")[0] for line in err.splitlines()] == doubts


def test_zeros_take_no_space(build: Build) -> None:
    build.environment["DEPLOY_INITRD"] = ""
    assert build.run(build.host, "-output", "worker-0.iso")[0] == 0
    status = (build.output / "worker-0.iso").stat()
    # The embed area alone has more.
    assert status.st_blocks * 512 < status.st_size - 200 * 1024


def test_names_all_that_is_wrong(build: Build) -> None:
    build.environment |= {"IRONIC_BASE_URL": "", "CA_BUNDLE": "/nowhere/ca.pem"}
    build.host.write_text("interfaces: [{name: d0, mtu: x}, {name: d1, foo: 1}]\n")
    text = build.fails(build.host, "-output", "worker-0.iso")
    assert [line.removeprefix("mic build: ").split(": ")[0] for line in text.splitlines()] == [
        "CA_BUNDLE",
        "IRONIC_BASE_URL is empty",
        str(build.host),
        str(build.host),
    ]
    assert "interfaces[0].mtu" in text
    assert "hunter2" not in text


def test_warns_as_keyfiles_does(build: Build) -> None:
    build.environment |= {"IRONIC_BASE_URL": "http://[fd00::1]", "MIC_KERNEL_ARGUMENT": "x"}
    status, _, err = build.run(build.host, "-output", "worker-0.iso")
    assert status == 0
    assert err.startswith("mic build: warning: unknown variable MIC_KERNEL_ARGUMENT: ")
    assert f"\nmic build: warning: {build.host}: IRONIC_BASE_URL: Ironic is at [fd00::1]" in err


def test_refuses_companions_that_are_wrong(build: Build) -> None:
    (build.hosts / "worker-0.ign").write_text("{")
    assert f"mic build: {build.host}: worker-0.ign: " in build.fails(build.host, "-output", "a.iso")
    (build.hosts / "worker-0.ign").unlink()
    (build.hosts / "worker-0.kargs").write_text("root=/dev/sda")
    assert "worker-0.kargs: line 1: " in build.fails(build.host, "-output", "a.iso")


def test_host_files(build: Build) -> None:
    (build.hosts / "worker-0.yml").write_text(NETWORK)
    status, _, err = build.run(build.hosts / "worker-0.yml", "-output", "a.iso")
    assert (status, err) == (
        0,
        f"mic build: warning: {build.hosts}/worker-0.yml: mic static ignores it: worker-0.yaml "
        "names the same host\n",
    )
    for path, why in (
        (build.hosts / "none.yaml", "there is no such regular file"),
        (build.hosts / "worker-0.kargs", "a host file is called NAME.yaml, NAME.yml, NAME.json"),
        (build.directory / "none/worker-0.yaml", "No such file or directory"),
    ):
        assert build.fails(path, "-output", "b.iso") == f"mic build: {path}: {why}\n"


def test_outputs_that_are_refused(build: Build, media: Media) -> None:
    kind = ("-kind", "iso")
    (build.output / "base.iso").symlink_to(media.iso_path)
    for output, why in (
        (build.output, "is a directory; name a file"),
        (build.output / "base.iso", "base image of mic"),
        (media.iso_path, "base image of mic"),
        (build.host, "is a file that the image is built from"),
        ("/dev/null", "is not a regular file"),
        ("none/worker-0.iso", "No such file or directory"),
        ("/proc/worker-0.iso", "No such file or directory"),
    ):
        assert why in build.fails(build.host, "-output", output, *kind)
    assert media.iso_path.read_bytes() == media.iso


def test_a_full_device_and_a_closed_pipe(build: Build) -> None:
    with open("/dev/full", "wb") as full:
        status, _, err = build.run(build.host, *ISO_KIND, stdout=full)
    assert (status, err) == (1, "mic build: standard output: No space left on device\n")
    process = build.start(build.host, *ISO_KIND)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (1, b"mic build: standard output: Broken pipe\n")


@pytest.fixture
def heard() -> Iterator[None]:
    """No signal is ignored, as after ``nohup``: programs inherit that."""
    old = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, old)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(build: Build, number: signal.Signals) -> None:
    process = build.start(build.host, *ISO_KIND)
    try:
        assert process.stdout is not None
        # The pipe is full soon: it is writing, and will be.
        assert process.stdout.read(1)
        process.send_signal(number)
        # Not read: the rest would let it end.
        assert process.wait(30) == 128 + number
        assert process.stderr is not None
        assert process.stderr.read() == b"mic build: interrupted\n"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_before_it_writes(
    build: Build, tmp_path: Path, number: signal.Signals
) -> None:
    began = tmp_path / "began"
    os.mkfifo(tmp_path / "never")
    nmstatectl = tmp_path / "nmstatectl"
    nmstatectl.write_text(f"#!/bin/sh\n: > {began}\nexec cat {tmp_path}/never\n")
    nmstatectl.chmod(0o755)
    build.environment |= {
        "MIC_NMSTATE_BACKEND": "nmstatectl",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    process = build.start(build.host, "-output", "worker-0.iso", start_new_session=True)
    try:
        eventually(began.exists, "nmstatectl runs")
        process.send_signal(number)
        assert process.wait(30) == 130
    finally:
        # The converter too.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    assert (out, err) == (b"", b"mic build: interrupted\n")
    assert list(build.output.iterdir()) == []


def test_a_base_that_is_replaced_meanwhile(build: Build, tmp_path: Path) -> None:
    media = make_media(tmp_path / "media", 2 * 1024 * 1024, seed=3).write()
    build.environment |= media.environment
    process = build.start(build.host, *ISO_KIND)
    assert process.stdout is not None
    assert process.stdout.read(1)
    other = tmp_path / "other"
    other.write_bytes(media.iso)
    other.rename(media.iso_path)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error.decode() == (
        f"mic build: base image {media.iso_path} was replaced while it was open; try again\n"
    )


def test_progress_on_a_terminal(build: Build) -> None:
    master, slave = pty.openpty()
    fcntl.fcntl(master, fcntl.F_SETFL, os.O_NONBLOCK)
    process = build.start(build.host, "-output", "worker-0.iso", stderr=slave)
    os.close(slave)
    shown = bytearray()

    def ended() -> bool:
        try:
            shown.extend(os.read(master, 65536))
        except BlockingIOError:
            return False
        except OSError:
            return True  # EIO: the other end is closed
        return False

    try:
        eventually(ended, "it ends", 60)
    finally:
        os.close(master)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"\rmic build: 100 %" in shown.replace(b"\x1b[K", b"")
    assert shown.endswith(b"\r\x1b[K")


def test_no_image_on_a_terminal(build: Build) -> None:
    master, slave = pty.openpty()
    try:
        status, _, err = build.run(build.host, *ISO_KIND, stdout=slave)
    finally:
        os.close(slave)
        os.close(master)
    assert (status, err) == (
        1,
        "mic build: standard output is a terminal or closed: redirect it\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.yaml"],
        ["a.yaml", "b.yaml", "-output", "a.iso"],
        ["-", "-output", "a.iso"],
        ["a.yaml", "-output", "-"],
        ["a.yaml", "-output", "a.img"],
        ["a.yaml", "-output", "a.iso", "-kind", "initramfs"],
        ["a.yaml", "-output", "-", "-kind", "kernel"],
        ["a.yaml", "-nosuch"],
    ],
)
def test_usage_errors(build: Build, arguments: list[str]) -> None:
    err = build.fails(*arguments, status=2)
    assert err.count("\n") == 1
    assert err.startswith("mic build: ")
    assert err.endswith("see mic build -h\n")
