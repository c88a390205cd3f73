"""What is wrong at start: every problem in one report, the reason as the last line, and status 1.

Operators show the last line on standard error as the pod's end message.
"""

from __future__ import annotations

import base64
import gzip
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import forkserver
import pytest
from functional.daemon import MIC, ROOT
from functional.media import Media, make_hosts

from mic.media.cpio import archive
from mic.media.isowriter import write_iso

SECRET = "c3VwZXItc2VjcmV0"


@dataclass(slots=True)
class Start:
    """What a mic is started with: right in everything until a test says otherwise."""

    directory: Path
    environment: dict[str, str]
    flags: dict[str, str] = field(default_factory=dict)

    def file(self, name: str, content: bytes) -> str:
        path = self.directory / name
        path.write_bytes(content)
        return str(path)


@pytest.fixture
def given(media: Media, tmp_path: Path) -> Start:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    flags = {"images-bind-addr": "127.0.0.1:0", "nmstate-dir": str(hosts)}
    return Start(tmp_path, media.environment, flags)


def run(
    arguments: list[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return forkserver.run(*arguments, environment=environment)


def start(given: Start) -> list[str]:
    """Start a mic that must give up; the lines of its standard error."""
    flags = [f"-{name}={value}" for name, value in given.flags.items()]
    done = run(["static", *flags], given.environment)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


def iso_of(given: Start) -> bytes:
    return Path(given.environment["DEPLOY_ISO"]).read_bytes()


def put(name: str, value: str) -> Callable[[Start], None]:
    return lambda given: given.environment.update({name: value})


def flag(name: str, value: str) -> Callable[[Start], None]:
    return lambda given: given.flags.update({name: value})


PROBLEMS: dict[str, tuple[Callable[[Start], object], list[str]]] = {
    "no ISO named": (lambda g: g.environment.pop("DEPLOY_ISO"), ["DEPLOY_ISO", "not set"]),
    "no agent image named": (
        lambda g: g.environment.pop("IRONIC_AGENT_IMAGE"),
        ["IRONIC_AGENT_IMAGE", "not set"],
    ),
    "a missing ISO": (put("DEPLOY_ISO", "/no/such.iso"), ["DEPLOY_ISO", "/no/such.iso", "No such"]),
    "a missing initramfs": (
        put("DEPLOY_INITRD", "/no/such.img"),
        ["DEPLOY_INITRD", "/no/such.img", "No such"],
    ),
    "a directory as ISO": (put("DEPLOY_ISO", "/usr"), ["DEPLOY_ISO", "/usr", "directory"]),
    "an ISO that leads to itself": (
        lambda g: (
            (g.directory / "loop").symlink_to(g.directory / "loop"),
            g.environment.update(DEPLOY_ISO=str(g.directory / "loop")),
        ),
        ["DEPLOY_ISO", "loop"],
    ),
    "an ISO without embed area": (
        lambda g: g.environment.update(DEPLOY_ISO=g.file("plain.iso", write_iso({"/a": b"b"}))),
        ["DEPLOY_ISO", "plain.iso", "CoreOS"],
    ),
    "an ISO cut short in its directory": (
        lambda g: g.environment.update(DEPLOY_ISO=g.file("cut.iso", iso_of(g)[:40_000])),
        ["DEPLOY_ISO", "cut.iso"],
    ),
    "an ISO cut short in its data": (
        lambda g: g.environment.update(DEPLOY_ISO=g.file("cut.iso", iso_of(g)[:-500_000])),
        ["DEPLOY_ISO", "cut.iso"],
    ),
    "an empty ISO": (
        lambda g: g.environment.update(DEPLOY_ISO=g.file("empty.iso", b"")),
        ["DEPLOY_ISO", "empty.iso"],
    ),
    "noise as ISO": (
        lambda g: g.environment.update(DEPLOY_ISO=g.file("noise.iso", os.urandom(100_000))),
        ["DEPLOY_ISO", "noise.iso"],
    ),
    "a FIFO as ISO": (
        lambda g: (
            os.mkfifo(g.directory / "fifo"),
            g.environment.update(DEPLOY_ISO=str(g.directory / "fifo")),
        ),
        ["DEPLOY_ISO", "fifo"],
    ),
    "an empty initramfs": (
        lambda g: g.environment.update(DEPLOY_INITRD=g.file("empty.img", b"")),
        ["DEPLOY_INITRD", "empty.img"],
    ),
    "a directory as initramfs": (
        put("DEPLOY_INITRD", "/usr"),
        ["DEPLOY_INITRD", "/usr", "directory"],
    ),
    "a program as initramfs": (
        put("DEPLOY_INITRD", "/bin/ls"),
        ["DEPLOY_INITRD", "/bin/ls", "ELF", "not an initramfs", "leave that empty"],
    ),
    "the ISO as initramfs": (
        lambda g: g.environment.update(DEPLOY_INITRD=g.file("i.iso", write_iso({"/a": b"b"}))),
        ["DEPLOY_INITRD", "i.iso", "ISO 9660", "not an initramfs"],
    ),
    "text as initramfs": (
        put("DEPLOY_INITRD", "/etc/passwd"),
        ["DEPLOY_INITRD", "/etc/passwd", "text", "not an initramfs"],
    ),
    "text as kernel": (
        put("DEPLOY_KERNEL", "/etc/passwd"),
        ["DEPLOY_KERNEL", "/etc/passwd", "text", "not a kernel"],
    ),
    "the ISO as kernel": (
        lambda g: g.environment.update(DEPLOY_KERNEL=g.file("k.iso", write_iso({"/a": b"b"}))),
        ["DEPLOY_KERNEL", "k.iso", "ISO 9660", "not a kernel"],
    ),
    "the initramfs as kernel": (
        lambda g: g.environment.update(DEPLOY_KERNEL=g.file("initramfs", archive(b"{}"))),
        ["DEPLOY_KERNEL", "initramfs", "cpio", "not a kernel"],
    ),
    "a compressed ISO": (
        lambda g: g.environment.update(DEPLOY_ISO=g.file("i.gz", gzip.compress(iso_of(g)))),
        ["DEPLOY_ISO", "i.gz", "compressed with gzip"],
    ),
    "a pull secret that is nothing": (
        put("IRONIC_AGENT_PULL_SECRET", "%%" + SECRET),
        ["IRONIC_AGENT_PULL_SECRET", "neither an auth.json nor base64"],
    ),
    "a pull secret that is base64 of nothing": (
        put("IRONIC_AGENT_PULL_SECRET", SECRET),
        ["IRONIC_AGENT_PULL_SECRET", "auth.json"],
    ),
    "a pull secret that is broken JSON": (
        put("IRONIC_AGENT_PULL_SECRET", '{"auths": {"x": "' + SECRET),
        ["IRONIC_AGENT_PULL_SECRET", "auth.json"],
    ),
    "a pull secret without auths": (
        put(
            "IRONIC_AGENT_PULL_SECRET",
            base64.b64encode(b'{"auth": "' + SECRET.encode() + b'"}').decode(),
        ),
        ["IRONIC_AGENT_PULL_SECRET", "auths"],
    ),
    "no URL for Ironic": (
        put("IRONIC_BASE_URL", "ironic:6385"),
        ["IRONIC_BASE_URL", "ironic:6385"],
    ),
    "a bad port for Ironic": (
        put("IRONIC_BASE_URL", "http://ironic:port"),
        ["IRONIC_BASE_URL", "http://ironic:port"],
    ),
    "bad brackets for the inspector": (
        put("IRONIC_INSPECTOR_BASE_URL", "http://[::1"),
        ["IRONIC_INSPECTOR_BASE_URL", "http://[::1"],
    ),
    "a password in a bad URL": (
        put("IRONIC_BASE_URL", f"ftp://me:{SECRET}@ironic"),
        ["IRONIC_BASE_URL", "not an http or https URL"],
    ),
    "no publish URL": (
        flag("images-publish-addr", "mic.example"),
        ["-images-publish-addr", "mic.example"],
    ),
    "a publish URL with a query": (
        flag("images-publish-addr", "http://mic.example/?a=b"),
        ["-images-publish-addr", "query"],
    ),
    "no address to listen on": (flag("images-bind-addr", "8084"), ["-images-bind-addr", "8084"]),
    "a port of no meaning": (flag("images-bind-addr", ":99999"), ["-images-bind-addr", ":99999"]),
    "a host of no meaning": (
        flag("images-bind-addr", "no-such-host.invalid:1"),
        ["-images-bind-addr", "no-such-host.invalid"],
    ),
    "an address of another machine": (
        flag("images-bind-addr", "192.0.2.1:8084"),
        ["-images-bind-addr", "192.0.2.1"],
    ),
    "an endpoint of no meaning": (
        flag("images-bind-addr", "tcp:nonsense"),
        ["-images-bind-addr", "tcp:nonsense"],
    ),
    "a socket in no directory": (
        flag("images-bind-addr", "unix:/no/such/socket"),
        ["-images-bind-addr", "/no/such/socket"],
    ),
    "a certificate without key": (
        lambda g: g.flags.update({"images-tls-cert-file": g.file("c", b"-----BEGIN CERTIFICATE")}),
        ["-images-tls", "-images-tls-key-file is missing"],
    ),
    "a key without certificate": (
        lambda g: g.flags.update({"images-tls-key-file": g.file("k", b"-----BEGIN PRIVATE KEY")}),
        ["-images-tls", "-images-tls-cert-file is missing"],
    ),
    "a missing TLS key files": (
        lambda g: g.flags.update(
            {"images-tls-cert-file": g.file("c", b"-----BEGIN C"), "images-tls-key-file": "/no/key"}
        ),
        ["-images-tls", "-images-tls-key-file: /no/key"],
    ),
    "TLS files that are none": (
        lambda g: g.flags.update(
            {
                "images-tls-cert-file": g.file("c", b"-----BEGIN CERTIFICATE-----\nAAAA\n"),
                "images-tls-key-file": g.file(
                    "k", b"-----BEGIN PRIVATE KEY-----\n" + SECRET.encode()
                ),
            }
        ),
        ["-images-tls-cert-file", "holds no whole PEM certificates"],
    ),
    "no directory named": (lambda g: g.flags.pop("nmstate-dir"), ["-nmstate-dir", "missing"]),
    "a missing directory": (flag("nmstate-dir", "/no/dir"), ["-nmstate-dir", "/no/dir", "No such"]),
    "a file as directory": (flag("nmstate-dir", "/etc/passwd"), ["-nmstate-dir", "/etc/passwd"]),
    "a missing registries.conf": (
        put("REGISTRIES_CONF_PATH", "/no/conf"),
        ["REGISTRIES_CONF_PATH", "/no/conf"],
    ),
    "a missing CA bundle": (put("CA_BUNDLE", "/no/ca"), ["CA_BUNDLE", "/no/ca"]),
    "a CA bundle that is none": (
        lambda g: g.environment.update(CA_BUNDLE=g.file("ca", b"hello")),
        ["CA_BUNDLE", "PEM"],
    ),
    "a line break in an option": (put("IP_OPTIONS", "ip=dhcp\nroot=x"), ["IP_OPTIONS"]),
    "a time server of no meaning": (
        put("ADDITIONAL_NTP_SERVERS", "ntp.example,a b"),
        ["ADDITIONAL_NTP_SERVERS", "a b"],
    ),
}


# Seen only once all else is right.
LATER = {
    "a host of no meaning",
    "an address of another machine",
    "an endpoint of no meaning",
    "a socket in no directory",
    "TLS files that are none",
}


def batches() -> list[list[str]]:
    """The problems, in as few starts as the inputs they spoil allow."""
    result: list[list[str]] = []
    for problem, (_, words) in PROBLEMS.items():
        about = words[0]
        for batch in result:
            others = [PROBLEMS[each][1][0] for each in batch]
            if not {problem, *batch} & LATER and about not in others:
                batch.append(problem)
                break
        else:
            result.append([problem])
    return result


@pytest.mark.parametrize("problems", batches())
def test_problems_are_reported_in_the_last_line(given: Start, problems: list[str]) -> None:
    for problem in problems:
        PROBLEMS[problem][0](given)
    last = start(given)[-1].removeprefix("mic: cannot start: ")
    for problem in problems:
        words = PROBLEMS[problem][1]
        reported = [each for each in last.split("; ") if all(word in each for word in words)]
        assert reported, f"{problem} is not reported in {last}"


def test_an_unreadable_file_is_reported(given: Start) -> None:
    with tempfile.TemporaryDirectory() as directory:
        # Other users cannot enter pytest's directories; root can read everything.
        Path(directory).chmod(0o755)
        path = Path(directory) / "secret.iso"
        path.touch(0o000)
        prefix: list[str] = []
        if os.geteuid() == 0:
            prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            trial = subprocess.run(
                [*prefix, *MIC, "-h"], cwd=ROOT, capture_output=True, check=False
            )
            if trial.returncode:
                pytest.skip("another user cannot run mic here")
        given.environment["DEPLOY_ISO"] = str(path)
        done = subprocess.run(
            [*prefix, *MIC, "static"],
            env={"PATH": os.environ["PATH"], **given.environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert f"DEPLOY_ISO: base image {path}: Permission denied" in done.stderr.splitlines()[-1]


def test_several_problems_come_in_one_report(given: Start) -> None:
    given.environment["DEPLOY_ISO"] = "/no/such.iso"
    given.environment["IRONIC_BASE_URL"] = "nonsense"
    given.environment["IRONIC_AGENT_PULL_SECRET"] = "%" + SECRET
    given.flags["nmstate-dir"] = "/no/dir"
    given.flags["images-bind-addr"] = "nonsense"
    given.flags["images-publish-addr"] = "nonsense"
    del given.environment["IRONIC_AGENT_IMAGE"]
    lines = start(given)
    names = [
        "DEPLOY_ISO",
        "IRONIC_AGENT_IMAGE",
        "IRONIC_BASE_URL",
        "IRONIC_AGENT_PULL_SECRET",
        "-images-bind-addr",
        "-images-publish-addr",
        "-nmstate-dir",
    ]
    for name in names:
        # A line of its own, and the last line for those who see only that.
        assert sum(name in line for line in lines[:-1]) == 1, lines
        assert name in lines[-1]


@pytest.mark.parametrize("address", ["127.0.0.1", "", "[::1]", "localhost"])
def test_a_port_that_is_taken_is_reported(given: Start, address: str) -> None:
    family = socket.AF_INET6 if address in ("", "[::1]") else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind(({"": "::", "[::1]": "::1"}.get(address, "127.0.0.1"), 0))
        taken.listen()
        port = taken.getsockname()[1]
        given.flags["images-bind-addr"] = f"{address}:{port}"
        last = start(given)[-1]
    assert "-images-bind-addr" in last
    assert f":{port}" in last
    assert "in use" in last


def test_nothing_at_all_is_reported() -> None:
    done = run(["static"])
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    for name in ("DEPLOY_ISO", "IRONIC_AGENT_IMAGE", "-nmstate-dir"):
        assert name in last


# The command line


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (["static"], "-no-such-flag"),
        (["static"], "--no-such-flag=x"),
        (["static"], "-images"),
        (["demo"], "-nmstate-dir"),
        (["show"], "-x"),
    ],
)
def test_an_unknown_flag_prints_one_line(command: list[str], flag: str) -> None:
    done = run([*command, flag, "x"])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert flag.lstrip("-").partition("=")[0] in line
    assert line.endswith(f"see mic {command[0]} -h")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("statik", "mic: unknown command 'statik'; did you mean static? see mic -h"),
        ("Controller", "mic: unknown command 'Controller'; did you mean controller? see mic -h"),
        ("frobnicate", "mic: unknown command 'frobnicate'; see mic -h"),
    ],
)
def test_an_unknown_command_prints_one_line_with_the_nearest(command: str, line: str) -> None:
    done = run([command])
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{line}\n")


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ([], "-h"),
        ([], "--help"),
        (["static"], "-h"),
        (["static"], "--help"),
        (["demo"], "-help"),
        (["show"], "-h"),
    ],
)
def test_help_is_no_error(command: list[str], flag: str) -> None:
    done = run([*command, flag])
    assert done.returncode == 0
    assert "mic" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["no-such-command"],
        ["-x"],
        ["static", "operand"],
        ["static", "-nmstate-dir"],
        ["demo", "operand"],
        ["show"],
        ["show", "one", "two"],
    ],
)
def test_a_command_line_that_cannot_be_used_is_reported(arguments: list[str]) -> None:
    done = run(arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("mic")
    assert done.stdout == ""


def test_every_way_to_write_a_flag_is_taken(given: Start) -> None:
    """All of them are read: each gets a value that is refused by name."""
    done = run(
        [
            *("static", "-images-bind-addr", "bad-1", "--images-publish-addr", "bad-2"),
            *(
                "-images-tls-cert-file=/bad-3",
                "--images-tls-key-file=/bad-4",
                "-nmstate-dir=/bad-5",
            ),
        ],
        given.environment,
    )
    assert done.returncode == 1
    for n in range(1, 6):
        assert f"bad-{n}" in done.stderr.splitlines()[-1]
