"""Many hosts: what a config costs, how long a thousand take, what ten thousand hold in memory.

A whole mic in static mode runs in this process, so that the reactor's lag can be seen from
inside: a call that ought to come every 5 ms, and how late it comes at most.

    python bench/hosts.py [--hosts 1000 5000] [--rest 10] [--documents]

``--documents`` gives each host an NMState document of its own: a bond, a VLAN, static addresses.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

from certificates import issue, pem  # noqa: E402
from nmstate_documents import BOND_VLAN  # noqa: E402
from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import Deferred  # noqa: E402
from twisted.internet.task import LoopingCall, deferLater  # noqa: E402
from twisted.python.failure import Failure  # noqa: E402

from mic.cli.demo import write_samples  # noqa: E402
from mic.ignition import Host, config  # noqa: E402
from mic.media.cpio import archive  # noqa: E402
from mic.service import Mic  # noqa: E402
from mic.settings.load import load  # noqa: E402
from mic.settings.model import Mode  # noqa: E402
from mic.settings.read import read_agent  # noqa: E402

_TICK = 0.005
MIB = 1024 * 1024


def resident() -> float:
    """MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / MIB


class Lag:
    """How late the reactor calls."""

    def __init__(self) -> None:
        self._expected = 0.0
        self.late: list[float] = []
        self._loop = LoopingCall(self._tick)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.late.append(now - self._expected)
        self._expected = now + _TICK

    def start(self) -> None:
        self.late.clear()
        self._expected = time.perf_counter() + _TICK
        self._loop.start(_TICK, now=False)

    def stop(self) -> str:
        self._loop.stop()
        ordered = sorted(self.late)
        p99 = ordered[int(len(ordered) * 0.99)]
        return f"loop late by {p99 * 1e3:.0f} ms (p99), {ordered[-1] * 1e3:.0f} ms (longest)"


def environment(directory: Path) -> dict[str, str]:
    """Settings of a typical deployment: a pull secret of 3 KiB, a CA bundle of 8 KiB."""
    noise = random.Random(0)
    auths = {
        f"registry-{n}.example.com": {"auth": base64.b64encode(noise.randbytes(300)).decode()}
        for n in range(7)
    }
    bundle = directory / "ca.pem"
    bundle.write_bytes(b"".join(pem(issue(authority=True).certificate) for _ in range(14)))
    return {
        "DEPLOY_ISO": str(directory / "coreos.iso"),
        "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
        "IRONIC_BASE_URL": "https://192.0.2.2:6385",
        "IRONIC_AGENT_PULL_SECRET": json.dumps({"auths": auths}),
        "CA_BUNDLE": str(bundle),
        "IRONIC_RAMDISK_SSH_KEY": f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43} core@example",
    }


def one_config(settings: Any) -> None:
    """The time of one config, without NMState."""
    agent = read_agent(settings.agent)
    times = []
    for number in range(300):
        start = time.perf_counter()
        made = config(agent, Host(name=f"worker-{number}"))
        packed = archive(made)
        times.append(time.perf_counter() - start)
    print(
        f"config: {statistics.median(times) * 1e3:.2f} ms (goal: < 3), "
        f"{len(made)} bytes, {len(packed)} packed",
        flush=True,
    )


def document(number: int) -> str:
    """The NMState document of a host: the benchmark's bond and VLAN, and name servers."""
    third, last = divmod(number, 200)
    return (
        BOND_VLAN.replace("ip: 192.0.2.30", f"ip: 10.1.{third}.{last + 2}")
        .replace("prefix-length: 24", "prefix-length: 16")
        .replace("next-hop-address: 192.0.2.1,", "next-hop-address: 10.1.0.1,")
        .replace("02:00:00:00:00:99", f"02:00:00:00:{third:02x}:{last:02x}")
    ) + "dns-resolver:\n  config: {server: [10.1.0.53], search: [example.org]}\n"


async def measure(counts: list[int], rest: float, directory: Path, *, documents: bool) -> None:
    write_samples(str(directory))
    hosts = directory / "many"
    hosts.mkdir()
    flags = {"images-bind-addr": "127.0.0.1:0", "nmstate-dir": str(hosts)}
    settings = load(Mode.STATIC, environment(directory), flags)
    one_config(settings)
    lag = Lag()
    written = 0
    for count in counts:
        for number in range(written, count):
            content = document(number) if documents else ""
            (hosts / f"worker-{number}.yaml").write_text(content)
        written = count
        before = resident()
        mic = Mic(settings, reactor)
        start, used = time.perf_counter(), time.process_time()
        mic.startService()
        lag.start()  # mic has set the reactor's clock by now
        await mic.ready
        assert len(mic.images) == 2 * count, "not all hosts were built"
        took, cpu = time.perf_counter() - start, time.process_time() - used
        print(
            f"{count} hosts, {len(mic.images)} images: start {took:.1f} s ({cpu:.1f} s of CPU), "
            f"{lag.stop()}, memory {resident():.0f} MiB ({resident() - before:.0f} more)",
            flush=True,
        )
        lag.start()
        used = time.process_time()
        await deferLater(reactor, rest)
        cpu = (time.process_time() - used) / rest
        print(f"    at rest: {cpu:.3f} cores, {lag.stop()}", flush=True)
        for entry in mic.images:
            mic.images.loaded(entry)
        print(f"    every image asked for once: memory {resident():.0f} MiB", flush=True)
        await mic.stopService()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hosts", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--rest", type=float, default=10, help="seconds to watch it do nothing")
    parser.add_argument("--documents", action="store_true", help="with an NMState document each")
    options = parser.parse_args()

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="mic-bench-") as directory:
            await measure(options.hosts, options.rest, Path(directory), documents=options.documents)

    failures: list[Failure] = []

    def start() -> None:
        done = Deferred.fromCoroutine(run())
        done.addErrback(failures.append)
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run()
    if failures:
        sys.exit(failures[0].getTraceback())


if __name__ == "__main__":
    main()
