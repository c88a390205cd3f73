"""``mic fetch`` next to curl and sha256sum: how long a download takes, and at which cost.

nginx serves a file from the page cache of the same machine. Both programs download it in turns,
write it, compute its SHA-256 and wait until it is on the disk. Figures are medians of rounds,
ratios medians of the ratios within a round; memory is that of the largest process. Needs nginx,
curl and openssl. The network is not measured: over a real one, both wait for it.

    python bench/fetch.py [--rounds 5] [--mib 512] [--directory DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "tests"))

from ports import free_port  # noqa: E402

_MIB = 1 << 20
_NGINX = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen unix:{directory}/ready;
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {directory}/cert.pem;
        ssl_certificate_key {directory}/key.pem;
        root {directory};
    }}
}}
"""
_CURL = 'curl -sSf --cacert "$1" "$2" | tee "$3" | sha256sum > "$3.sha256" && sync "$3"'
_IMAGE = """\
import os, pathlib, sys
from mic.media.cpio import archive
from mic.media.isowriter import coreos_files, write_iso

rootfs = os.urandom(1 << 20) * (int(sys.argv[2]) >> 20)
files = coreos_files(kernel=b"MZ", initramfs=archive(b"initramfs"), rootfs=rootfs)
pathlib.Path(sys.argv[1]).write_bytes(write_iso(files, "fedora-coreos-0"))
"""
_MIC = "from mic.cli.main import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a download cost: seconds, CPU seconds, and resident bytes of the largest process."""

    seconds: float
    cpu: float
    memory: int


def run(command: list[str]) -> Cost:
    """Run a program to its end; fails unless it succeeds."""
    began = time.monotonic()
    before = os.times()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "NO_PROXY": "*"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    after = os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])
    return Cost(seconds=time.monotonic() - began, cpu=cpu, memory=usage.ru_maxrss * 1024)


@contextmanager
def nginx(directory: Path) -> Iterator[tuple[int, int]]:
    """Serve a directory; yields the ports for HTTP and HTTPS."""
    port, tls_port = free_port(), free_port()
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(directory=directory, port=port, tls_port=tls_port))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    with subprocess.Popen(["nginx", "-c", str(config), "-e", str(directory / "log")]) as server:
        try:
            while not (directory / "ready").exists():
                assert server.poll() is None, "nginx has ended"
                time.sleep(0.01)
            yield port, tls_port
        finally:
            server.terminate()


def image(path: Path, size: int) -> str:
    """Write an image of about ``size`` bytes; return its SHA-256.

    In a process of its own: the memory of this one counts as that of its children.
    """
    command = [sys.executable, "-c", _IMAGE, str(path), str(size)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    subprocess.run(command, env=environment, check=True)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _row(name: str, found: dict[str, list[Cost]]) -> Iterator[str]:
    for what, unit, scale in (("seconds", "s", 1.0), ("cpu", "s", 1.0), ("memory", "MiB", _MIB)):
        values = {
            program: [getattr(cost, what) / scale for cost in costs]
            for program, costs in found.items()
        }
        ratio = statistics.median(
            mine / other for mine, other in zip(values["mic"], values["curl"], strict=True)
        )
        mine, other = (statistics.median(values[program]) for program in ("mic", "curl"))
        yield (
            f"{name:6} {what:8} mic fetch {mine:7.2f} {unit:3}  curl | sha256sum {other:7.2f} "
            f"{unit:3}  ratio {ratio:.2f}"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--directory", help="where to download to: a file system to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        digest = image(directory / "coreos.iso", options.mib * _MIB)
        with nginx(directory) as (port, tls_port):
            for way, url in (
                ("http", f"http://127.0.0.1:{port}/coreos.iso"),
                ("https", f"https://127.0.0.1:{tls_port}/coreos.iso"),
            ):
                found: dict[str, list[Cost]] = {"mic": [], "curl": []}
                for number in range(options.rounds):
                    for program in ("mic", "curl") if number % 2 else ("curl", "mic"):
                        target = directory / f"{program}.iso"
                        target.unlink(missing_ok=True)
                        ca = str(directory / "cert.pem")
                        if program == "curl":
                            command = ["sh", "-c", _CURL, "sh", ca, url, str(target)]
                        else:
                            command = [sys.executable, "-c", _MIC, "fetch", url, "-ca", ca]
                            command += ["-sha256", digest, "-output", str(target)]
                        found[program].append(run(command))
                        checksum = target.with_name(f"{target.name}.sha256").read_text()
                        assert checksum.startswith(digest), program
                for line in _row(way, found):
                    print(line)


if __name__ == "__main__":
    main()
