"""mic as installed: a wheel in a virtual environment, and every name it can be started by."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import forkserver
import metrics_page
import pytest
from functional.daemon import DEADLINE, ROOT, Daemon, eventually
from functional.media import Media, Server, make_hosts, tcp_client, write_certificate

from mic import __version__

BIND = "127.0.0.1:0"


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of programs of an environment with mic in it, built from the checkout."""
    directory = tmp_path_factory.mktemp("installed")
    source = directory / "source"
    source.mkdir()
    for name in ("mic", "share", "twisted"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    environment = directory / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    scripts = environment / "bin"
    (packages,) = environment.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", scripts / "python"]
    install = [*pip, "install", "-q", "--no-deps", source]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a wheel cannot be built here: {done.stderr.splitlines()[-1:]}")
    # The libraries are those of the tests.
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return scripts


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    return make_hosts(tmp_path / "hosts", "worker-0.yaml")


@pytest.mark.parametrize(
    ("command", "dashes"),
    [
        (["mic", "static"], "-"),
        (["machine-image-customization-server"], "-"),
        (["image-customization-server"], "--"),
        (["twistd", "-n", "--pidfile=", "mic", "static"], "--"),
    ],
)
def test_static_mode_by_every_name(
    programs: Path, media: Media, hosts: Path, tmp_path: Path, command: list[str], dashes: str
) -> None:
    name, *rest = command
    program = [str(programs / name)]
    if name == "twistd":
        program = [str(programs / "python"), "-c", "from twisted.scripts.twistd import run; run()"]
    log = tmp_path / "log"
    flags = [f"{dashes}images-bind-addr", BIND, f"{dashes}nmstate-dir={hosts}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*program, *rest, *flags],
            env={"PATH": os.environ["PATH"], **media.environment},
            cwd=tmp_path,
            stdout=output,
            stderr=output,
        )
    try:
        serving = re.compile(r"serving 2 images on 127\.0\.0\.1:(\d+),")
        found = eventually(lambda: serving.search(log.read_text()), "it serves")
        assert found
        connect = tcp_client("127.0.0.1", int(found[1]))
        with connect() as sock:
            sock.sendall(b"HEAD /worker-0.iso HTTP/1.0\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.0 200 ")
        process.terminate()
        # twistd ends by the signal it was sent, after an orderly stop.
        assert process.wait(DEADLINE) == (-15 if name == "twistd" else 0)
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()
    assert not list(tmp_path.glob("*.pid"))


@pytest.mark.parametrize(
    "command", [["mic", "static"], ["machine-image-customization-server"], ["twistd"]]
)
def test_bad_input_by_every_name(programs: Path, tmp_path: Path, command: list[str]) -> None:
    program = [str(programs / command[0]), *command[1:]]
    if command == ["twistd"]:
        program = [
            *(str(programs / "python"), "-c", "from twisted.scripts.twistd import run; run()"),
            *("-n", "--pidfile=", "mic", "static"),
        ]
    done = subprocess.run(
        program,
        env={"PATH": os.environ["PATH"], "DEPLOY_ISO": "/no/such.iso"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    for word in ("/no/such.iso", "IRONIC_AGENT_IMAGE is not set", "-nmstate-dir is missing"):
        assert word in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (["mic", "controller"], "-leader-elect"),
        (["machine-image-customization-controller"], "--leader-elect=true"),
        (["twistd", "-n", "--pidfile=", "mic", "controller"], "--leader-elect"),
    ],
)
def test_a_switch_is_taken_at_both_doors(
    programs: Path, tmp_path: Path, media: Media, command: list[str], flag: str
) -> None:
    program = [str(programs / command[0])]
    if command[0] == "twistd":
        program = [str(programs / "python"), "-c", "from twisted.scripts.twistd import run; run()"]
    done = subprocess.run(
        [*program, *command[1:], flag],
        env={"PATH": os.environ["PATH"], **media.environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "-leader-elect needs MIC_URL_KEY_FILE" in done.stderr.splitlines()[-1]


def test_twistd_reports_a_port_that_is_taken(
    programs: Path, media: Media, hosts: Path, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    first = start(
        f"-images-bind-addr={BIND}", f"-nmstate-dir={hosts}", environment=media.environment
    )
    _, port = first.tcp
    done = subprocess.run(
        [
            *(str(programs / "python"), "-c", "from twisted.scripts.twistd import run; run()"),
            *("-n", "--pidfile=", "mic", "static", "--nmstate-dir", str(hosts)),
            *("--images-bind-addr", f"127.0.0.1:{port}"),
        ],
        env={"PATH": os.environ["PATH"], **media.environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    # twistd sends standard error to its log, and that to standard output.
    last = (done.stdout + done.stderr).splitlines()[-1]
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in last


@pytest.mark.parametrize(
    "command",
    ["build", "check", "controller", "demo", "fetch", "keyfiles", "show", "static", "status"],
)
def test_every_command_starts(programs: Path, tmp_path: Path, command: str) -> None:
    """Other tests start it where its modules are imported already."""
    done = subprocess.run(
        [programs / "mic", command, "-h"],
        env={"PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"mic {command}" in done.stdout


def test_only_the_plugin_goes_under_twisted(programs: Path) -> None:
    (packages,) = programs.parent.glob("lib/python*/site-packages")
    files = {
        str(path.relative_to(packages))
        for path in packages.glob("twisted/**/*")
        if path.is_file() and "__pycache__" not in str(path)
    }
    assert files - {"twisted/plugins/dropin.cache"} == {"twisted/plugins/mic_plugin.py"}


@pytest.mark.parametrize(
    "command",
    [
        "mic --version",
        "mic show -version",
        "machine-image-customization-server --version",
        "machine-image-customization-controller -version",
        "image-customization-server -version",
        "image-customization-controller --version",
        "twistd mic --version",
        "twistd mic static --version",
        "python -m mic.cli.healthcheck --version",
    ],
)
def test_every_name_reports_the_version(programs: Path, tmp_path: Path, command: str) -> None:
    name, *rest = command.split()
    program = [str(programs / name)]
    if name == "twistd":
        program = [str(programs / "python"), "-c", "from twisted.scripts.twistd import run; run()"]
    done = subprocess.run(
        [*program, *rest], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"mic {__version__}\n", "")
    assert done.returncode == 0


def test_man_pages_and_completion_are_installed(programs: Path) -> None:
    share = programs.parent / "share"
    assert (share / "man/man1/mic-show.1").is_file()
    assert (share / "bash-completion/completions/mic").is_file()
    assert (share / "bash-completion/completions/machine-image-customization-server").is_file()
    assert (share / "zsh/site-functions/_mic").is_file()


# mic demo, mic show


def test_the_demo_serves_what_it_says(tmp_path: Path, start: Callable[..., Daemon]) -> None:
    directory = tmp_path / "demo"
    daemon = start(
        *("-dir", str(directory), "-images-bind-addr", BIND), environment={}, command="demo"
    )
    host, port = daemon.tcp
    connect = tcp_client(host, port)
    with connect() as sock:
        sock.sendall(b"HEAD /worker-0.iso HTTP/1.0\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.0 200 ")
    assert daemon.process.stdout is not None
    lines = iter(daemon.process.stdout.readline, b"")
    text = b"".join(takewhile(lambda line: b"Ctrl-C" not in line, lines))
    assert str(directory).encode() in text
    # What it suggests can be tried, without other programs.
    commands = re.findall(r"^  (.*)$", text.decode(), re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        own = command.replace("mic.cli status", f"mic.cli status -pid {daemon.pid}")
        environment = {"PATH": os.environ["PATH"]}
        done = subprocess.run(
            own, shell=True, cwd=ROOT, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, (own, done.stderr)
    (page,) = re.findall(rb"The status page is http://127\.0\.0\.1:(\d+)/\n", text)
    with socket.create_connection(("127.0.0.1", int(page))) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        shown = sock.makefile("rb").read()
    assert shown.count(b"worker-1") > 0
    # Port 0 is in none of its URLs.
    assert f"http://{host}:{port}/worker-1.iso".encode() in shown
    with connect() as sock:
        sock.sendall(b"GET /worker-0.ipxe HTTP/1.0\r\n\r\n")
        assert f"kernel http://{host}:{port}/kernel.img ".encode() in sock.makefile("rb").read()
    daemon.stop()
    assert daemon.log.endswith(f"The sample files stay in {directory}.\n")
    assert (directory / "coreos.iso").exists()


def test_the_demo_leaves_nothing_behind(tmp_path: Path, start: Callable[..., Daemon]) -> None:
    flags = ("-images-bind-addr", BIND, "-status-addr", "")
    daemon = start(*flags, environment={"TMPDIR": str(tmp_path)}, command="demo")
    host, port = daemon.tcp
    (directory,) = tmp_path.glob("mic-demo-*")
    taken = start(
        *("-images-bind-addr", f"{host}:{port}"),
        environment={"TMPDIR": str(tmp_path)},
        command="demo",
        graceful=(1,),
    )
    assert taken.process.wait(20) == 1
    assert "Address already in use: another process listens there" in taken.log
    assert list(tmp_path.glob("mic-demo-*")) == [directory]
    daemon.stop()
    assert f"The sample files in {directory} are removed." in daemon.log
    assert list(tmp_path.glob("mic-demo-*")) == []


def show(*arguments: str) -> subprocess.CompletedProcess[str]:
    return forkserver.run("show", *arguments)


def test_show_prints_the_same_of_a_file_and_of_a_url(
    media: Media, hosts: Path, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    flags = f"-images-bind-addr={BIND}", f"-nmstate-dir={hosts}", "-metrics-addr=127.0.0.1:0"
    daemon = start(*flags, environment=media.environment)
    host, port = daemon.tcp
    metrics = f"{metrics_page.address(daemon)}/metrics"
    server = Server(way="tcp", daemon=daemon, media=media, connect_socket=tcp_client(host, port))
    for image in (server.iso, server.initramfs):
        path = tmp_path / image.name
        path.write_bytes(image.data)
        daemon.turn_page()
        by_url, by_file = show(f"http://{host}:{port}{image.target}"), show(str(path))
        assert (by_url.returncode, by_url.stderr) == (0, "")
        assert by_url.stdout == by_file.stdout
        assert "worker-0" in by_url.stdout
        assert "file /etc/ironic-python-agent.conf" in by_url.stdout
    # Of an image of megabytes it reads what it needs.
    before = bytes_sent(metrics)
    show(f"http://{host}:{port}{server.iso.target}")
    assert 0 < bytes_sent(metrics) - before < 3 * 256 * 1024
    daemon.stop()
    # A look by hand is no download.
    assert "to download" not in daemon.log


def bytes_sent(metrics: str) -> float:
    """Bytes of ISOs that the daemon with this metrics page has sent."""
    page = metrics_page.Page(metrics_page.ask(metrics)[2].decode())
    return page.value("mic_http_body_bytes_total", kind="iso")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/no/such.iso", ["No such file"]),
        ("/usr", ["directory"]),
        ("/etc/passwd", ["not an ISO 9660 image", "nor is it an initramfs"]),
        ("http://127.0.0.1:1/x.iso", ["refused"]),
        ("http://no-such-host.invalid/x.iso", ["no-such-host.invalid"]),
    ],
)
def test_show_reports_what_cannot_be_shown(target: str, words: list[str]) -> None:
    done = show(target)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"mic show: {target}: ")
    for word in words:
        assert word in line


def test_show_reports_that_there_is_no_such_image(
    media: Media, hosts: Path, start: Callable[..., Daemon]
) -> None:
    daemon = start(
        f"-images-bind-addr={BIND}", f"-nmstate-dir={hosts}", environment=media.environment
    )
    host, port = daemon.tcp
    done = show(f"http://{host}:{port}/unknown.iso")
    assert done.returncode == 1
    assert "404" in done.stderr


def test_show_over_plain_http_of_a_port_with_tls_says_what_to_try(
    media: Media, hosts: Path, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    certificate, key = write_certificate(tmp_path)
    daemon = start(
        *(f"-images-bind-addr={BIND}", f"-nmstate-dir={hosts}"),
        *(f"-images-tls-cert-file={certificate}", f"-images-tls-key-file={key}"),
        environment=media.environment,
    )
    host, port = daemon.tcp
    done = show(f"http://{host}:{port}/worker-0.iso")
    assert done.returncode == 1
    assert f"if it speaks TLS: try https://{host}:{port}/worker-0.iso" in done.stderr
