"""mic beside nginx: how fast, at which cost, and how steadily images are served.

Both serve the same base file from the page cache of the same machine, one process each, and are
measured in turns, so that what else the machine does hits both; the figures are medians of
rounds, the ratios medians of the ratios within a round. The load comes from ``load.c`` beside
this file, for ranges as fast as wrk; of whole images wrk, which reads 8 KiB at a time, takes a
fifth of what nginx can give. Needs nginx, gcc, curl and openssl.

    python bench/serve.py [--rounds 5] [--seconds 2] [--only NAME ...] [--beside CHECKOUT]

``--beside`` takes another checkout of mic into the rounds: before and after in one run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from mic.image.cpio import archive  # noqa: E402
from mic.image.isowriter import coreos_files, write_iso  # noqa: E402

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A row of the table: what is measured, in which unit, and how it is written.

    ``goal`` is the ratio to nginx to reach: at least, or, where ``lower`` is better, at most.
    """

    name: str
    unit: str
    form: str
    goal: float | None = None
    lower: bool = False


Measured = dict[Figure, float]
_rates = {
    (16, 1): Figure(name="16 KiB ranges, 1 connection", unit="1/s", form=".0f", goal=0.55),
    (16, 16): Figure(name="16 KiB ranges, 16 connections", unit="1/s", form=".0f", goal=0.42),
    (16, 64): Figure(name="16 KiB ranges, 64 connections", unit="1/s", form=".0f", goal=0.42),
    (64, 16): Figure(name="64 KiB ranges, 16 connections", unit="1/s", form=".0f", goal=0.40),
}


def load(
    binary: str,
    server: Server,
    size: int,
    *,
    length: int,
    connections: int,
    seconds: float,
    pause_us: int = 0,
    rate: int = 0,
) -> dict[str, float]:
    """Run the load generator; what it prints."""
    numbers = (size, length, connections, seconds, pause_us, rate)
    command = [binary, "127.0.0.1", str(server.port), "/host.iso", *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    if result["errors"]:
        raise RuntimeError(f"{server.name}: {result['errors']:.0f} wrong or broken responses")
    return result


class Bench:
    """The measurements; each takes a server and gives figures."""

    def __init__(self, binary: str, iso: Path, seconds: float, clients: int) -> None:
        self.binary = binary
        self.size = iso.stat().st_size
        self.seconds = seconds
        self.clients = clients

    def whole(self, server: Server, connections: int) -> Measured:
        """The whole image, again and again."""
        before = server.cpu()
        got = load(
            self.binary,
            server,
            self.size,
            length=0,
            connections=connections,
            seconds=self.seconds,
        )
        gib = got["bytes"] / GIB
        clients = f"{connections} client{'s' if connections > 1 else ''}"
        rate = Figure(name=f"whole image, {clients}", unit="GiB/s", form=".2f", goal=0.95)
        cpu = Figure(name=f"CPU, {clients}", unit="s/GiB", form=".3f", goal=1.15, lower=True)
        return {rate: gib / got["seconds"], cpu: (server.cpu() - before) / gib}

    def ranges(self, server: Server, kib: int, connections: int) -> Measured:
        """Random small ranges, as a BMC reads."""
        before = server.cpu()
        got = load(
            self.binary,
            server,
            self.size,
            length=kib * KIB,
            connections=connections,
            seconds=self.seconds,
        )
        figure = _rates[kib, connections]
        cpu = Figure(
            name=f"CPU, {kib} KiB, {connections}", unit="us/request", form=".1f", lower=True
        )
        p99 = Figure(
            name=f"p99, {kib} KiB, {connections}", unit="us", form=".0f", goal=4, lower=True
        )
        share = Figure(name="load generator's CPU share", unit="cores", form=".2f")
        result = {
            figure: got["requests"] / got["seconds"],
            cpu: (server.cpu() - before) / got["requests"] * 1e6,
            p99: got["p99"],
        }
        if (kib, connections) == (16, 64):
            result[share] = got["cpu"] / got["seconds"]
        return result

    def slow(self, server: Server) -> Measured:
        """Many clients that take 1 MiB/s each; what it costs, and what others see of it."""
        rate = 1024 * KIB
        seconds = max(5.0, self.seconds)
        before, used = server.memory(), server.cpu()
        crowd: list[dict[str, float]] = []

        def take() -> None:
            crowd.append(
                load(
                    self.binary,
                    server,
                    self.size,
                    length=0,
                    connections=self.clients,
                    seconds=seconds,
                    rate=rate,
                )
            )

        thread = threading.Thread(target=take)
        thread.start()
        time.sleep(1)
        kernel = _tcp_memory()
        probe = load(
            self.binary,
            server,
            self.size,
            length=1,
            connections=1,
            seconds=seconds - 2,
            pause_us=2000,
        )
        memory = server.memory()
        thread.join()
        name = f"{self.clients} clients at 1 MiB/s"
        return {
            Figure(name=name, unit="MiB/s", form=".0f"): (
                crowd[0]["bytes"] / crowd[0]["seconds"] / KIB / KIB
            ),
            Figure(name=f"CPU, {name}", unit="cores", form=".2f", lower=True): (
                (server.cpu() - used) / seconds
            ),
            Figure(name="memory then (goal: < 120)", unit="MiB", form=".0f"): memory / KIB / KIB,
            Figure(name="memory before", unit="MiB", form=".0f"): before / KIB / KIB,
            Figure(name="kernel TCP memory then", unit="MiB", form=".0f"): kernel / KIB / KIB,
            Figure(name="answer to a probe then, p99", unit="ms", form=".1f"): probe["p99"] / 1e3,
            Figure(name="the same, longest (goal: < 50)", unit="ms", form=".1f"): (
                probe["max"] / 1e3
            ),
        }

    def tls(self, server: Server) -> Measured:
        """The whole image over TLS, by curl."""
        begin = time.perf_counter()
        url = f"https://127.0.0.1:{server.tls_port}/host.iso"
        subprocess.run(["curl", "-sfk", "-o", "/dev/null", url], check=True)
        figure = Figure(name="whole image over TLS", unit="GiB/s", form=".2f", goal=0.5)
        return {figure: self.size / GIB / (time.perf_counter() - begin)}


def _tcp_memory() -> int:
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.split()[-1]) * os.sysconf("SC_PAGESIZE")
    return 0


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


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
    port, tls_port = _free_port(), _free_port()
    config = directory / "nginx.conf"
    tls = _NGINX_TLS.format(port=tls_port, cert=site.cert, key=site.key)
    config.write_text(_NGINX.format(directory=directory, port=port, tls=tls, iso=site.iso))
    with _process(["nginx", "-p", str(directory), "-c", str(config)]) as process:
        _wait_for(port, process)
        yield Server(name="nginx", pid=process.pid, port=port, tls_port=tls_port)


@contextlib.contextmanager
def mic(name: str, checkout: Path, site: Site) -> Iterator[Server]:
    """``mic static`` of a checkout, plain and (a second process) with TLS."""
    with contextlib.ExitStack() as stack:
        started = []
        for tls in ([], [f"-images-tls-cert-file={site.cert}", f"-images-tls-key-file={site.key}"]):
            port = _free_port()
            command = [sys.executable, "-c", "from mic.cli import main; main()", "static"]
            flags = [f"-images-bind-addr=127.0.0.1:{port}", f"-nmstate-dir={site.hosts}", *tls]
            environment = {
                **os.environ,
                "PYTHONPATH": str(checkout),
                "DEPLOY_ISO": str(site.iso),
                "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
                "IRONIC_BASE_URL": "http://192.0.2.2:6385",
            }
            process = stack.enter_context(
                _process(command + flags, env=environment, cwd=checkout, stderr=subprocess.DEVNULL)
            )
            started.append((process, port))
        (plain, port), (secure, tls_port) = started
        _wait_for(port, plain)
        while subprocess.run(
            ["curl", "-sfkI", "-o", "/dev/null", f"https://127.0.0.1:{tls_port}/host.iso"],
            check=False,
        ).returncode:
            if secure.poll() is not None:
                raise RuntimeError(f"{name}: no TLS")
            time.sleep(0.1)
        yield Server(name=name, pid=plain.pid, port=port, tls_port=tls_port)


def make_iso(path: Path, mebibytes: int) -> None:
    block = random.Random(0).randbytes(KIB * KIB)
    files = coreos_files(
        kernel=block,
        initramfs=archive(b"boots nothing\n"),
        rootfs=block * mebibytes,
    )
    path.write_bytes(write_iso(files, "mic-bench"))


def certificate(directory: Path) -> tuple[Path, Path]:
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", str(key)]
    subprocess.run([*command, "-out", str(cert)], check=True, capture_output=True)
    return cert, key


def _measure(
    servers: list[Server], rounds: int, measurement: Callable[[Server], Measured]
) -> dict[Figure, dict[str, list[float]]]:
    """Each server in turn, ``rounds`` times over."""
    found: dict[Figure, dict[str, list[float]]] = {}
    for number in range(rounds):
        # Another order each time: what follows on what must not matter.
        turn = servers if number % 2 == 0 else servers[::-1]
        for server in turn:
            for figure, value in measurement(server).items():
                found.setdefault(figure, {}).setdefault(server.name, []).append(value)
    return found


def _row(figure: Figure, values: dict[str, list[float]], names: list[str]) -> str:
    base = values[names[0]]
    cells = []
    for name in names:
        median = format(statistics.median(values[name]), figure.form)
        if name == names[0]:
            cells.append(median)
        else:
            ratios = [
                mine / theirs for mine, theirs in zip(values[name], base, strict=True) if theirs
            ]
            ratio = statistics.median(ratios) if ratios else 0.0
            cells.append(f"{median} ({ratio:.2f})")
    goal = ""
    if figure.goal is not None:
        goal = f"{'≤' if figure.lower else '≥'} {figure.goal}"
    return f"| {figure.name}, {figure.unit} | {' | '.join(cells)} | {goal} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the image")
    parser.add_argument("--clients", type=int, default=500, help="how many slow clients")
    parser.add_argument("--only", nargs="*", default=["whole", "ranges", "slow", "tls"])
    parser.add_argument("--beside", type=Path, help="another checkout of mic")
    parser.add_argument("--iso", type=Path, help="keep the image here for another run")
    options = parser.parse_args()

    directory = Path(tempfile.mkdtemp(prefix="mic-bench-"))
    try:
        _run(options, directory)
    finally:
        shutil.rmtree(directory)


def _run(options: argparse.Namespace, directory: Path) -> None:
    binary = str(directory / "load")
    subprocess.run(["gcc", "-O2", "-o", binary, str(HERE / "load.c")], check=True)
    iso = options.iso or directory / "base.iso"
    if not iso.exists():
        make_iso(iso, options.size)
    cert, key = certificate(directory)
    hosts = directory / "hosts"
    hosts.mkdir()
    (hosts / "host.yaml").touch()
    site = Site(iso=iso, cert=cert, key=key, hosts=hosts)
    bench = Bench(binary, iso, options.seconds, options.clients)
    measurements: dict[str, list[Callable[[Server], Measured]]] = {
        "whole": [lambda server, n=n: bench.whole(server, n) for n in (1, 8)],
        "ranges": [lambda server, kib=kib, n=n: bench.ranges(server, kib, n) for kib, n in _rates],
        "slow": [bench.slow],
        "tls": [bench.tls],
    }
    checkouts = {"mic": HERE.parent}
    if options.beside:
        checkouts["mic beside"] = options.beside.resolve()
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(nginx(directory, site))]
        for name, checkout in checkouts.items():
            servers.append(stack.enter_context(mic(name, checkout, site)))
        names = [server.name for server in servers]
        print(f"| {iso.stat().st_size / GIB:.2f} GiB, {options.rounds} rounds |", end="")
        print(f" {' | '.join(names)} | goal |\n|---|{'---|' * len(names)}---|", flush=True)
        for group in options.only:
            for measurement in measurements[group]:
                found = _measure(servers, options.rounds, measurement)
                for figure, values in found.items():
                    print(_row(figure, values, names), flush=True)


if __name__ == "__main__":
    main()
