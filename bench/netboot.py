"""Fifty hosts that boot over the network at once: what they get, and what a BMC notices.

Each host downloads the root file system, as fast as it comes. Meanwhile a BMC reads random 16 KiB
ranges of an ISO image on four connections. mic and nginx, one process each, in turns; nginx serves
the root file system as a file. Needs nginx, gcc, curl and openssl.

    python bench/netboot.py [--hosts 50] [--mebibytes 1024] [--rate 100] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from serve import load
from servers import GIB, KIB, Server, Site, certificate, make_iso, mic, nginx

from mic.media.basefile import peek
from mic.media.coreos import rootfs
from mic.media.iso9660 import Iso

HERE = Path(__file__).resolve().parent
MIB = KIB * KIB
_BMC_PAUSE = 10_000  # microseconds between the ranges of a connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One round of one server: rates in GiB/s, times in microseconds, memory in bytes."""

    rate: float
    cpu: float
    """CPU seconds per GiB."""
    alone: float
    beside: float
    memory: int


def measure(
    binary: str, server: Server, path: str, size: int, *, hosts: int, rate: int, seconds: float
) -> Measured:
    """Measure small ranges alone, then beside hosts that download ``path`` of ``size`` bytes.

    ``rate`` is the most that all of them take together, in bytes per second; 0: any.
    """

    def ranges(seconds: float) -> float:
        got = load(
            binary,
            server,
            size,
            length=16 * KIB,
            connections=4,
            seconds=seconds,
            pause_us=_BMC_PAUSE,
        )
        return got["p99"]

    alone = ranges(seconds)
    found: list[dict[str, float]] = []

    def boot() -> None:
        got = load(
            binary,
            server,
            size,
            length=0,
            connections=hosts,
            seconds=seconds,
            rate=rate // hosts,
            path=path,
        )
        found.append(got)

    before = server.cpu()
    thread = threading.Thread(target=boot)
    thread.start()
    beside = ranges(seconds * 0.8)
    memory = server.memory()
    thread.join()
    gib = found[0]["bytes"] / GIB
    return Measured(
        rate=gib / found[0]["seconds"],
        cpu=(server.cpu() - before) / gib,
        alone=alone,
        beside=beside,
        memory=memory,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of the rootfs")
    parser.add_argument("--rate", type=int, default=0, help="MiB/s of all hosts together; 0: any")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mic-bench-") as name:
        directory = Path(name)
        binary = str(directory / "load")
        subprocess.run(["gcc", "-O2", "-o", binary, str(HERE / "load.c")], check=True)
        iso, file = directory / "base.iso", directory / "rootfs.img"
        make_iso(iso, options.mebibytes)
        with peek(str(iso)) as source, file.open("wb") as target:
            extent = rootfs(Iso(source))
            for offset in range(0, extent.length, MIB):
                length = min(MIB, extent.length - offset)
                target.write(source.read(extent.offset + offset, length))
        cert, key = certificate(directory)
        hosts = directory / "hosts"
        hosts.mkdir()
        (hosts / "host.yaml").touch()
        site = Site(iso=iso, cert=cert, key=key, hosts=hosts)
        results: dict[str, list[Measured]] = {"mic": [], "nginx": []}
        with (
            mic("mic", HERE.parent, site) as ours,
            nginx(directory, replace(site, iso=file)) as theirs,
        ):
            for _ in range(options.rounds):
                for server, path in ((ours, "/rootfs.img"), (theirs, "/host.iso")):
                    results[server.name].append(
                        measure(
                            binary,
                            server,
                            path,
                            extent.length,
                            hosts=options.hosts,
                            rate=options.rate * MIB,
                            seconds=options.seconds,
                        )
                    )
    print(f"| {options.hosts} hosts, {options.mebibytes} MiB | mic | nginx | mic / nginx |")
    print("|---|---|---|---|")
    rows = (
        ("rate, GiB/s", "rate", 1.0, ".2f"),
        ("CPU, s/GiB", "cpu", 1.0, ".3f"),
        ("p99 of 16 KiB ranges alone, ms", "alone", 1e-3, ".2f"),
        ("p99 of 16 KiB ranges meanwhile, ms", "beside", 1e-3, ".2f"),
        ("resident memory, MiB", "memory", 1 / MIB, ".0f"),
    )
    for title, field, scale, form in rows:
        ours_, theirs_ = (
            statistics.median(getattr(each, field) for each in results[name]) * scale
            for name in ("mic", "nginx")
        )
        print(f"| {title} | {ours_:{form}} | {theirs_:{form}} | {ours_ / theirs_:.2f} |")


if __name__ == "__main__":
    main()
