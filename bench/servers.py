"""The servers that benchmarks measure: mic and nginx, and what they serve."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

from miniso import with_minimal  # noqa: E402
from ports import free_port  # noqa: E402

from mic.media.cpio import archive  # noqa: E402
from mic.media.isowriter import coreos_files  # noqa: E402

GIB = 1024**3
KIB = 1024
_TICKS = os.sysconf("SC_CLK_TCK")
_NGINX = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_rlimit_nofile 65536;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {tls}
        location = /host.iso {{ alias {iso}; }}
    }}
}}
"""
_NGINX_TLS = "listen 127.0.0.1:{port} ssl; ssl_certificate {cert}; ssl_certificate_key {key};"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server of the image."""

    name: str
    pid: int
    port: int
    tls_port: int
    minimal: Server | None = None
    """The same mic with minimal ISOs; None for nginx, which serves the base file alone."""

    def cpu(self) -> float:
        """CPU seconds used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGESIZE"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is served: the image, a certificate, and the directory of the one host."""

    iso: Path
    cert: Path
    key: Path
    hosts: Path


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the image is served: mic takes connections when the hosts are built."""
    deadline = time.monotonic() + 120
    request = b"HEAD /host.iso HTTP/1.0\r\n\r\n"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended at once")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 60) as s:
            s.sendall(request)
            if b" 200 " in s.recv(4096):
                return
        time.sleep(0.1)
    raise RuntimeError("a server did not come up")


@contextlib.contextmanager
def _process(command: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def nginx(directory: Path, site: Site) -> Iterator[Server]:
    """Debian's nginx as a single process."""
    port, tls_port = free_port(), free_port()
    config = directory / "nginx.conf"
    tls = _NGINX_TLS.format(port=tls_port, cert=site.cert, key=site.key)
    config.write_text(_NGINX.format(directory=directory, port=port, tls=tls, iso=site.iso))
    with _process(["nginx", "-p", str(directory), "-c", str(config)]) as process:
        _wait_for(port, process)
        yield Server(name="nginx", pid=process.pid, port=port, tls_port=tls_port)


@contextlib.contextmanager
def mic(name: str, checkout: Path, site: Site) -> Iterator[Server]:
    """``mic static`` of a checkout: plain, with TLS and with minimal ISOs, a process each."""
    tls = (f"-images-tls-cert-file={site.cert}", f"-images-tls-key-file={site.key}")
    minimal = {"MIC_ISO": "minimal", "IRONIC_ROOTFS_URL": "http://192.0.2.2/rootfs"}
    with contextlib.ExitStack() as stack:

        def start(environment: dict[str, str], *flags: str) -> tuple[subprocess.Popen[bytes], int]:
            port = free_port()
            command = [sys.executable, "-c", "from mic.cli.main import main; main()", "static"]
            command += [f"-images-bind-addr=127.0.0.1:{port}", f"-nmstate-dir={site.hosts}", *flags]
            environment = {
                **os.environ,
                "PYTHONPATH": str(checkout),
                "DEPLOY_ISO": str(site.iso),
                "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
                "IRONIC_BASE_URL": "http://192.0.2.2:6385",
                **environment,
            }
            process = stack.enter_context(
                _process(command, env=environment, cwd=checkout, stderr=subprocess.DEVNULL)
            )
            return process, port

        (plain, port), (small, small_port) = start({}), start(minimal)
        secure, tls_port = start({}, *tls)
        _wait_for(port, plain)
        _wait_for(small_port, small)
        while subprocess.run(
            ["curl", "-sfkI", "-o", "/dev/null", f"https://127.0.0.1:{tls_port}/host.iso"],
            check=False,
        ).returncode:
            if secure.poll() is not None:
                raise RuntimeError(f"{name}: no TLS")
            time.sleep(0.1)
        yield Server(
            name=name,
            pid=plain.pid,
            port=port,
            tls_port=tls_port,
            minimal=Server(name=f"{name}, minimal", pid=small.pid, port=small_port, tls_port=0),
        )


def make_hosts(directory: Path) -> Path:
    """A plain host, one with kernel arguments, and one whose archive goes to the image's end."""
    directory.mkdir()
    for name in ("host", "arguments", "large"):
        (directory / f"{name}.yaml").touch()
    (directory / "arguments.kargs").write_text("quiet console=ttyS0")
    noise = random.Random(0).randbytes(500 * KIB).hex()
    (directory / "large.ign").write_text(f'{{"ignition": {{"version": "3.2.0"}}, "x": "{noise}"}}')
    return directory


def make_iso(path: Path, mebibytes: int) -> None:
    block = random.Random(0).randbytes(KIB * KIB)
    files = coreos_files(
        kernel=block,
        initramfs=archive(b"boots nothing\n"),
        rootfs=block * mebibytes,
    )
    path.write_bytes(with_minimal(files))


def certificate(directory: Path) -> tuple[Path, Path]:
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", str(key)]
    subprocess.run([*command, "-out", str(cert)], check=True, capture_output=True)
    return cert, key
