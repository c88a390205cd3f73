"""The README's two commands, run in a clean Debian 12 tree: taken from the README itself.

The second is run where the first was, as a reader does. Each can be run alone.

The second command runs the test suite, which CI runs in full just before, on a machine that has
every program. Here it shows that the installation brings what the suite needs: every test module
is imported, and `_SELECTED` is run. With ``MIC_README_FULL=1`` it runs everything.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e import cache, debian, parts

ROOT = Path(__file__).resolve().parent.parent.parent

_MINUTE = 60.0
_COMMAND = 1200.0
_CHECKOUT = "/srv/mic"
_CERTIFICATES = "/etc/certificates-of-this-machine.pem"
_PORT = 8084
_READY = "Ctrl-C ends the demo"
_SELECTED = ("test_keyfiles_command", "test_show", "test_metrics")
"""Modules with quick tests of commands and daemons; ``pytest -k`` imports all others, too."""


def test_the_first_command_ends_in_a_demo_that_serves(clean: Path) -> None:
    curl = parts.program("curl", "curl")
    # Its port is its own, and one run on this machine has it at a time.
    with cache.locked(f"port-{_PORT}"), _running(clean, _command("run")) as output:
        # The URL of the status page is another one.
        urls = re.findall(r"http://\S+\.(?:iso|initramfs)", output)
        assert urls, output
        for url in urls:
            head = debian.run([curl, "-sSfI", url], _MINUTE)
            assert "accept-ranges: bytes" in head.lower(), url
            part = subprocess.run(
                [curl, "-sSf", "-r", "0-1023", url],
                stdout=subprocess.PIPE,
                timeout=_MINUTE,
                check=True,
            )
            assert len(part.stdout) == 1024, url


def test_the_second_command_passes_the_tests(clean: Path) -> None:
    # One process: each further one would import all tests, too.
    selected = f"-n 1 -k '{' or '.join(_SELECTED)}'"
    options = "" if os.environ.get("MIC_README_FULL") == "1" else selected
    command = _in_tree(clean, _command("tests"), PYTEST_ADDOPTS=options)
    output = debian.run(command, _COMMAND)
    closing = re.findall(r"^=+ (.*\d+ passed.*) in .* =+\s*$", output, re.MULTILINE)
    assert closing, output
    assert not re.search(r"failed|error", closing[-1]), output


@pytest.fixture(scope="module")
def clean() -> Iterator[Path]:
    """A minimal Debian tree, with a fresh checkout and this machine's registries."""
    source = debian.tree("debian-minimal", ())
    with cache.scratch() as work:
        tree = work / "root"
        debian.copy(source, tree)
        # What Debian's installer writes, and debootstrap and its like leave out.
        (tree / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
        checkout = tree / _CHECKOUT.lstrip("/")
        for name in _files_of_the_checkout():
            target = checkout / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
        certificates = _pip_settings().get("cert") or os.environ.get("SSL_CERT_FILE")
        if certificates:
            shutil.copy(certificates, tree / _CERTIFICATES.lstrip("/"))
        yield tree


def _command(name: str) -> str:
    """The block of the README that is marked with ``name``."""
    text = (ROOT / "README.md").read_text()
    mark = re.escape(f"<!-- readme-test: {name} -->")
    found = re.search(rf"^{mark}\n```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no block marked {name!r}"
    return found[1]


def _files_of_the_checkout() -> list[str]:
    """What a commit of everything here would hold."""
    git = parts.program("git", "git")
    listed = subprocess.run(
        [
            git,
            "-c",
            "safe.directory=*",
            "-C",
            ROOT,
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
        capture_output=True,
        text=True,
        timeout=_MINUTE,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip(f"this is no git checkout: {listed.stderr.strip()}")
    return [name for name in listed.stdout.split("\0") if name and os.path.lexists(ROOT / name)]


def _in_tree(tree: Path, command: str, **more: str) -> list[str | os.PathLike[str]]:
    """``command`` as root in the tree, in the checkout, on this machine's network."""
    # Most libraries are never imported; those that are, are compiled then. The value for an option
    # that begins with "no-" is the opposite of what one expects.
    given = _environment() | {"PIP_NO_COMPILE": "false"} | more
    environment = [f"--setenv={name}={value}" for name, value in given.items()]
    # What pip would download again: it asks the registry all the same which versions there are.
    downloads = cache.directory() / "pip"
    downloads.mkdir(exist_ok=True)
    options = (f"--chdir={_CHECKOUT}", f"--bind={downloads}:/root/.cache/pip", *environment)
    return [
        *debian.nspawn(tree, "--as-pid2", "--console=pipe", *options),
        *("/bin/sh", "-c", command),
    ]


def _environment() -> dict[str, str]:
    """What this machine needs to reach its package registries."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    environment = {
        variable: os.environ[variable]
        for name in names
        for variable in (name, name.upper())
        if variable in os.environ
    }
    settings = _pip_settings()
    for name in ("index-url", "extra-index-url", "trusted-host", "default-timeout", "proxy"):
        # Directories of this machine are not there, and no registries.
        values = [v for v in settings.get(name, "").split() if not v.startswith(("/", "file:"))]
        if values:
            environment[f"PIP_{name.replace('-', '_').upper()}"] = " ".join(values)
    if settings.get("cert") or "SSL_CERT_FILE" in os.environ:
        environment |= {"PIP_CERT": _CERTIFICATES, "SSL_CERT_FILE": _CERTIFICATES}
    return environment


def _pip_settings() -> dict[str, str]:
    """What pip's files and variables say here, by option."""
    listed = debian.run([sys.executable, "-m", "pip", "config", "list"], _MINUTE)
    found = re.findall(r"^(?:global|user|site|install|:env:)\.([\w-]+)='(.*)'$", listed, re.M)
    return dict(found)


@contextmanager
def _running(tree: Path, command: str) -> Iterator[str]:
    """Run ``command`` in the tree until it says that the demo serves: what it has said."""
    process = subprocess.Popen(
        _in_tree(tree, command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    # Ends the reading below as well.
    alarm = threading.Timer(_COMMAND, process.kill)
    alarm.start()
    assert process.stdout is not None
    try:
        output = ""
        for line in process.stdout:
            output += line
            if _READY in line:
                break
        else:
            pytest.fail(f"the command ended without a demo:\n{output}")
        yield output[output.index("The sample files are in") :]
    finally:
        alarm.cancel()
        process.terminate()
        try:
            process.wait(_MINUTE)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
    with pytest.raises(OSError, match="refused"):
        http.client.HTTPConnection("127.0.0.1", _PORT, timeout=_MINUTE).connect()
