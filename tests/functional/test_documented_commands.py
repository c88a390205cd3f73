"""Commands of the docs, taken from there and run: they print what the pages show below them.

A block ``sh`` after the mark ``<!-- test: output -->`` is run in a directory with the README's host
file, while the README's daemon serves; ``<!-- test: fails -->`` marks a command that fails.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import forkserver
import pytest
from functional.daemon import ROOT, Daemon
from functional.media import IRONIC
from miniso import with_minimal

from mic.cli.demo import write_samples
from mic.media.isowriter import coreos_files

_MINUTE = 60.0
_README = (ROOT / "README.md").read_text()
_MARKED = re.compile(
    r"^<!-- test: (output|fails) -->\n```sh\n(.*?)^```$\n\n```\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_PAGES = tuple(
    f"docs/{name}.md"
    for name in ("build", "check", "commands", "network-boot", "network-data", "nmstate")
)
_DOCUMENTED = [
    pytest.param(*match.groups(), id=f"{page}: {match[2].splitlines()[0][:50]}")
    for page in ("README.md", *_PAGES)
    for match in _MARKED.finditer((ROOT / page).read_text())
]


def test_the_first_check_shows_what_it_says(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    page = (ROOT / "docs/install.md").read_text().partition("## First check")[2]
    started, tried = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert started.split()[:2] == [".venv/bin/mic", "demo"]

    arguments = ["-dir", str(tmp_path / "demo"), "-images-bind-addr", "127.0.0.1:0"]
    daemon = Daemon(tmp_path / "log", ["demo", *arguments], {})
    try:
        host, port = daemon.tcp
        assert daemon.process.stdout is not None
        said = ""
        for line in daemon.process.stdout:
            said += line.decode()
            if b"Ctrl-C" in line:
                break
        said = re.sub(r"(?m)^  .*(?= (?:show|status)\b)", "  .venv/bin/mic", said)
        said = said.replace(str(tmp_path / "demo"), "/tmp/mic-demo-x1y2z3")
        promise = page.partition("It ends with\n\n```\n")[2].partition("```")[0]
        assert resembles(said.lstrip("\n"), promise), said
        server = forkserver.program(tmp_path / "mic")
        for line in tried.splitlines():
            command, _, promised = line.partition("# ")
            command = command.replace("127.0.0.1:8084", f"{host}:{port}")
            # Others may run on this machine.
            command = command.replace("mic status", f"mic status -pid {daemon.pid}")
            command = command.replace(".venv/bin/mic", str(tmp_path / "mic"))
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                capture_output=True,
                text=True,
                cwd=ROOT,
                env={"PATH": os.environ["PATH"]},
                pass_fds=[server],
                timeout=_MINUTE,
                check=False,
            )
            assert done.returncode == 0, (line, done.stderr)
            for word in ("200", "206", "Accept-Ranges: bytes", "Ignition", "ready"):
                assert word not in promised or word in done.stdout, (line, done.stdout)
    finally:
        daemon.stop()


def test_the_example_that_customises_one_host(tmp_path: Path) -> None:
    base = coreos_files(kernel=b"kernel", initramfs=b"initramfs", rootfs=b"rootfs")
    base["/coreos/features.json"] = b'{"live-initrd-network": true}'
    (tmp_path / "coreos.iso").write_bytes(with_minimal(base))
    page = (ROOT / "docs/customise.md").read_text()
    shown, tried, *_ = re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    files = re.findall(r"^\$ cat (\S+)\n((?:(?!\$ ).*\n)*)", shown, re.MULTILINE)
    assert len(files) == 3
    (tmp_path / "hosts").mkdir()
    for name, content in files:
        (tmp_path / name).write_text(content)
    server = forkserver.program(tmp_path / "mic")
    commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", tried, re.MULTILINE)
    assert [command.partition("mic ")[2].split()[0] for command, _ in commands] == [
        *("check", "build", "show")
    ]
    for command, expected in commands:
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "DEPLOY_ISO": "coreos.iso",
                **IRONIC,
            },
            pass_fds=[server],
            timeout=_MINUTE,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, expected), done.stderr


class Documented:
    """The README's daemon, and a directory in which the commands of the docs can be run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_samples(str(folder / "media"))
        (folder / "hosts").mkdir()
        (folder / "hosts/worker-0.yaml").write_text(
            _block("<!-- test: file hosts/worker-0.yaml -->", "yaml")
        )
        network_data = (ROOT / "docs/network-data.md").read_text()
        first = re.search(r"^```yaml\n(.*?)^```$", network_data, re.MULTILINE | re.DOTALL)
        assert first
        (folder / "worker-0.yaml").write_text(first[1])
        (folder / "invalid.yaml").write_text("interfaces: [{name: eno1, mtu: x}]")
        (folder / "examples").symlink_to(ROOT / "examples")
        (folder / "bin").mkdir()
        self._server = forkserver.program(folder / "bin/mic")
        *exports, command = _block("<!-- test: serve -->", "sh").splitlines()
        settings = dict(line.removeprefix("export ").split("=", 1) for line in exports)
        self.iso = str(folder / "media/coreos.iso")
        self._settings = {**settings, "DEPLOY_ISO": self.iso}
        self.daemon = Daemon(
            folder / "log",
            [*shlex.split(command)[1:], "-images-bind-addr", "127.0.0.1:0"],
            self._settings,
            cwd=folder,
        )
        host, port = self.daemon.tcp
        self.address = f"{host}:{port}"

    def run(self, command: str) -> tuple[int, str]:
        """Return the status and the output of a command of the docs, with their addresses."""
        command = command.replace("192.0.2.1:8084", self.address)
        # Others may run on this machine.
        command = command.replace("mic status", f"mic status -pid {self.daemon.pid}")
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                **self._settings,
            },
            pass_fds=[self._server],
            timeout=_MINUTE,
            check=False,
        )
        return done.returncode, self.as_documented(done.stdout)

    def as_documented(self, output: str) -> str:
        replaced = {
            f"http://{self.address}": "http://192.0.2.1:8084",
            self.address: "[::]:8084",
            self.iso: "/srv/mic/coreos.iso",
            "liveiso=mic": "liveiso=fedora-coreos-42.20250901.3.0",
            ": mic-demo,": ": fedora-coreos-42.20250901.3.0,",
        }
        for ours, documented in replaced.items():
            output = output.replace(ours, documented)
        return output


def _block(mark: str, language: str) -> str:
    """Return a block of the README."""
    found = re.search(rf"^{re.escape(mark)}\n```{language}\n(.*?)^```$", _README, re.M | re.S)
    assert found, mark
    return found[1]


def _without_numbers(text: str) -> str:
    """Return text with one sign for all numbers, units and digests, and without wide gaps."""
    text = re.sub(r"\b[0-9a-f]{12}\b", "0", text)
    text = re.sub(r"\d+(?:[.,:]\d+)*", "0", text)
    text = re.sub(r"\b0 (?:[KMG]iB|s|min|h)\b", "0", text)
    return re.sub(r" +", " ", text)


def resembles(output: str, sample: str) -> bool:
    """Return whether output is the sample but for numbers; a line ``…`` is any number of lines."""
    lines = [
        "(?:.*\n)*?" if line == "…" else re.escape(_without_numbers(line)) + " ?\n"
        for line in sample.splitlines()
    ]
    return re.fullmatch("".join(lines), _without_numbers(output)) is not None


def test_resemblance_ignores_numbers_only() -> None:
    assert resembles("a 1\nb\nc\n", "a 2\n…\nc\n")
    assert not resembles("a 1\nb\n", "a 2\n")
    assert not resembles("a x\n", "a y\n")


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Documented]:
    if shutil.which("curl") is None or shutil.which("jq") is None:
        pytest.skip("no curl or jq on this machine")
    site = Documented(tmp_path_factory.mktemp("documented"))
    try:
        # So that mic status shows a download.
        command = "curl -sSf -r 0-2999999 -o /dev/null http://192.0.2.1:8084/worker-0.iso"
        assert site.run(command) == (0, "")
        yield site
    finally:
        site.daemon.stop()


@pytest.mark.parametrize(("mark", "command", "sample"), _DOCUMENTED)
def test_a_command_prints_what_its_page_shows(
    documented: Documented, mark: str, command: str, sample: str
) -> None:
    status, output = documented.run(command)
    assert (status != 0) == (mark == "fails"), output
    assert resembles(output, sample), output


def test_the_daemon_logs_what_the_readme_shows(documented: Documented) -> None:
    shown = _README.partition("<!-- test: serve -->")[2].split("```\n")[2]
    logged = documented.as_documented(documented.daemon.whole_log).splitlines()
    sample = shown.splitlines()
    assert resembles("".join(f"{line}\n" for line in logged[: len(sample)]), shown)
