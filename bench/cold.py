"""A base file that is not in memory, on a slow disk: what other clients notice of its download.

mic serves an image whose first part is in the page cache. Random 16 KiB ranges of that part are
measured alone, and while another client downloads the rest, which the kernel reads at 20 MiB/s:
mic is put into a control group with that limit. Needs root, gcc, and a file system on a disk.

    python bench/cold.py [--rate 20] [--beside CHECKOUT]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from serve import load
from servers import KIB, Server, Site, certificate, make_iso, mic

HERE = Path(__file__).resolve().parent
MIB = KIB * KIB
WARM = 32 * MIB
_V1 = Path("/sys/fs/cgroup/blkio")
_V2 = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def slow_disk(pid: int, path: Path, rate: int) -> Iterator[None]:
    """Let a process read the disk of ``path`` at ``rate`` bytes per second at most."""
    # The limit is of whole disks: a partition's number is not accepted.
    device = os.stat(path).st_dev
    disk = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    if (disk / "partition").exists():
        disk = disk.parent
    number = (disk / "dev").read_text().strip()
    version_1 = _V1.is_dir()
    group = (_V1 if version_1 else _V2) / f"mic-bench-{pid}"
    group.mkdir()
    try:
        if version_1:
            (group / "blkio.throttle.read_bps_device").write_text(f"{number} {rate}")
        else:
            (group / "io.max").write_text(f"{number} rbps={rate}")
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def forget_all_but(path: Path, warm: int) -> None:
    """Have the kernel hold the first ``warm`` bytes of a file, and no more."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        file.read(warm)


def measure(binary: str, server: Server, iso: Path, rate: int) -> None:
    """Print how the warm part is served, alone and beside a cold download."""
    seconds = 4.0
    with slow_disk(server.pid, iso, rate):
        for what in ("alone", "beside a cold download"):
            forget_all_but(iso, WARM + MIB)
            cold: list[subprocess.CompletedProcess[bytes]] = []

            def download(cold: list[subprocess.CompletedProcess[bytes]] = cold) -> None:
                url = f"http://127.0.0.1:{server.port}/host.iso"
                span = f"{2 * WARM}-{2 * WARM + int(rate * seconds * 2)}"
                command = ["curl", "-s", "-m", str(seconds), "-r", span, "-w", "%{size_download}"]
                cold.append(
                    subprocess.run(
                        [*command, "-o", "/dev/null", url], capture_output=True, check=False
                    )
                )

            thread = threading.Thread(target=download)
            if what != "alone":
                thread.start()
            got = load(binary, server, WARM, length=16 * KIB, connections=4, seconds=seconds - 1)
            note = ""
            if what != "alone":
                thread.join()
                note = f", the download {int(cold[0].stdout) / MIB / seconds:.0f} MiB/s"
            print(
                f"| {server.name}, {what} | {got['requests'] / got['seconds']:.0f} 1/s | "
                f"p99 {got['p99'] / 1e3:.1f} ms, longest {got['max'] / 1e3:.0f} ms{note} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=int, default=20, help="MiB/s of the disk")
    parser.add_argument("--beside", type=Path, help="another checkout of mic")
    options = parser.parse_args()
    # Not /tmp, which may be in memory.
    with tempfile.TemporaryDirectory(prefix="mic-bench-", dir="/var/tmp") as name:
        directory = Path(name)
        binary = str(directory / "load")
        subprocess.run(["gcc", "-O2", "-o", binary, str(HERE / "load.c")], check=True)
        iso = directory / "base.iso"
        make_iso(iso, 512)
        cert, key = certificate(directory)
        hosts = directory / "hosts"
        hosts.mkdir()
        (hosts / "host.yaml").touch()
        site = Site(iso=iso, cert=cert, key=key, hosts=hosts)
        checkouts = {"mic": HERE.parent}
        if options.beside:
            checkouts["mic beside"] = options.beside.resolve()
        for server_name, checkout in checkouts.items():
            with mic(server_name, checkout, site) as server:
                measure(binary, server, iso, options.rate * MIB)


if __name__ == "__main__":
    main()
