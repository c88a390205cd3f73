"""mic beside nginx: how fast, at which cost, and how steadily images are served.

Both serve the same base file from the page cache of the same machine, one process each, and are
measured in turns, so that what else the machine does hits both; the figures are medians of
rounds, the ratios medians of the ratios within a round. The load comes from ``load.c`` beside
this file, for ranges as fast as wrk; of whole images wrk, which reads 8 KiB at a time, takes a
fifth of what nginx can give. Needs nginx, gcc, curl and openssl.

    python bench/serve.py [--rounds 5] [--seconds 2] [--only NAME ...] [--beside CHECKOUT]

The goals are those of the compiled fast lane (docs/install.md).

``--beside`` takes another checkout of mic into the rounds: before and after in one run. Where the
machine does other work as well, compare CPU time per request.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

from servers import GIB, KIB, Server, Site, certificate, make_hosts, make_iso, mic, nginx  # noqa: E402
from toys import Bytes  # noqa: E402

from mic.media.coreos import embed_area, kernel_arguments  # noqa: E402
from mic.media.iso9660 import Iso  # noqa: E402


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
_GROUPS = ("whole", "ranges", "customised", "slow", "tls")
_CUSTOMISED = ("embed area", "kernel arguments", "relocated", "minimal")
_rates = {
    (16, 1): Figure(name="16 KiB ranges, 1 connection", unit="1/s", form=".0f", goal=0.7),
    (16, 16): Figure(name="16 KiB ranges, 16 connections", unit="1/s", form=".0f", goal=0.6),
    (16, 64): Figure(name="16 KiB ranges, 64 connections", unit="1/s", form=".0f", goal=0.6),
    (64, 16): Figure(name="64 KiB ranges, 16 connections", unit="1/s", form=".0f", goal=0.6),
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
    path: str = "/host.iso",
    first: int = 0,
) -> dict[str, float]:
    """Run the load generator; what it prints."""
    numbers = (first, size, length, connections, seconds, pause_us, rate)
    command = [binary, "127.0.0.1", str(server.port), path, *map(str, numbers)]
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
        self.image = _Opened(iso)
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

    def customised(self, server: Server, what: str) -> Measured:
        """Ranges of 16 KiB that touch what is laid over the image; of nginx, any of the base's."""
        serving, path, first, size = server, "/host.iso", 0, self.size
        if server.minimal is not None:
            serving, path, (first, size) = self._place(server, server.minimal, what)
        before = serving.cpu()
        got = load(
            self.binary,
            serving,
            size,
            length=16 * KIB,
            connections=16,
            seconds=self.seconds,
            path=path,
            first=first,
        )
        rate = Figure(name=f"16 KiB ranges, {what}", unit="1/s", form=".0f", goal=0.6)
        cpu = Figure(name=f"CPU, {what}", unit="us/request", form=".1f", lower=True)
        requests = got["requests"]
        used = (serving.cpu() - before) / requests * 1e6
        return {rate: requests / got["seconds"], cpu: used}

    def _place(
        self, full: Server, minimal: Server, what: str
    ) -> tuple[Server, str, tuple[int, int]]:
        """Who serves an image, its path, and the bytes between which the ranges are."""
        iso = Iso(self.image)
        area = embed_area(iso, self.image)
        arguments = kernel_arguments(iso, self.image)
        assert arguments is not None
        text = arguments.areas[0].extent
        if what == "minimal":
            return minimal, "/host.iso", (0, _size(minimal, "/host.iso"))
        if what == "relocated":
            # The archive, which is at the end.
            return full, "/large.iso", (self.size, _size(full, "/large.iso"))
        around = text.offset // 2048 * 2048
        place = {
            "kernel arguments": (around - 14 * KIB, around + 16 * KIB),
            "embed area": (area.offset, area.offset + area.length),
        }
        return full, "/arguments.iso", place[what]

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


class _Opened(Bytes):
    """The base file, read as needed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._length = path.stat().st_size

    @property
    def size(self) -> int:
        return self._length

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)


def _size(server: Server, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("HEAD", path)
    size = int(connection.getresponse().headers["Content-Length"])
    connection.close()
    return size


def _tcp_memory() -> int:
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.split()[-1]) * os.sysconf("SC_PAGESIZE")
    return 0


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
    parser.add_argument("--only", nargs="*", default=list(_GROUPS))
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
    hosts = make_hosts(directory / "hosts")
    site = Site(iso=iso, cert=cert, key=key, hosts=hosts)
    bench = Bench(binary, iso, options.seconds, options.clients)
    measurements: dict[str, list[Callable[[Server], Measured]]] = {
        "whole": [lambda server, n=n: bench.whole(server, n) for n in (1, 8)],
        "ranges": [lambda server, kib=kib, n=n: bench.ranges(server, kib, n) for kib, n in _rates],
        "customised": [
            lambda server, what=what: bench.customised(server, what) for what in _CUSTOMISED
        ],
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
