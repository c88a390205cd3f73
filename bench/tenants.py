"""One tenant attacks, another one is measured: controller mode with a real API server, or files.

    KUBEBUILDER_ASSETS=... python bench/tenants.py [--documents 40] [--kind routes] [--beside DIR]
    python bench/tenants.py --static [--documents 10] [--seconds 10]

The attack: a namespace with many legal NMState documents of 900 KB (``--kind`` says of what), then
one that edits them without end, then a restart with all of it in place. Of the victim, another
namespace, it prints how long a new object takes to be Ready, how long after a restart the process
and the victim are ready, and how long ranges of 4 KiB take; each without the attacker, with it, and
the ratio. ``--beside`` measures another checkout of mic as well: before and after in one run.

``--static`` needs no API server: large files of a directory are rewritten all the time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from kube_samples import image_body, secret_body  # noqa: E402
from kubeserver import KubeServer  # noqa: E402
from ports import free_port  # noqa: E402
from toys import live_iso, put  # noqa: E402

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS  # noqa: E402

HOSTILE, VICTIM = "hostile", "victim"
SMALL = b"interfaces:\n- {name: eth0, type: ethernet, ipv4: {enabled: true, dhcp: true}}\n"
AREA = 256 * 1024  # as CoreOS has it
RANGE = 4096
PAUSE = 0.002
_START = """
try:
    from mic.cli.main import main
except ImportError:
    from mic.cli import main
main()
"""


# --- the attacker's documents ---------------------------------------------------------------------


def _ip(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _route(number: int) -> str:
    return (
        f"  - destination: {_ip(number)}/32\n    next-hop-address: 192.0.2.1\n"
        "    next-hop-interface: eth0\n    metric: 100\n"
    )


def _rule(number: int) -> str:
    return f"  - ip-from: {_ip(number)}/32\n    ip-to: 192.0.2.0/24\n    route-table: 77\n"


def _address(number: int) -> str:
    return f"    - ip: {_ip(number)}\n      prefix-length: 24\n"


KINDS: dict[str, Callable[[int], bytes]] = {
    "routes": lambda size: _document(SMALL.decode() + "routes:\n  config:\n", _route, size),
    "rules": lambda size: _document(SMALL.decode() + "route-rules:\n  config:\n", _rule, size),
    "rules-and-routes": lambda size: (
        _document(SMALL.decode() + "routes:\n  config:\n", _route, size // 2)
        + _document("route-rules:\n  config:\n", _rule, size // 2)
    ),
    "addresses": lambda size: _document(
        "interfaces:\n- name: eth0\n  type: ethernet\n  ipv4:\n    enabled: true\n    address:\n",
        _address,
        size,
    ),
}


def _document(head: str, item: Callable[[int], str], size: int) -> bytes:
    parts, length, number = [head], len(head), 0
    # No more than 90,000 values: beyond 100,000 a document is refused.
    per_item = 2 + 2 * item(0).count(":")
    while length + len(following := item(number)) <= size and number * per_item < 90_000:
        parts.append(following)
        length += len(following)
        number += 1
    return "".join(parts).encode()


# --- what is measured -----------------------------------------------------------------------------


def read(url: str) -> None:
    """Read small ranges until standard input ends; print how long each took, in seconds."""
    parts = urlsplit(url)
    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
    times: list[float] = []
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not stopped.wait(PAUSE):
            first = RANGE * (len(times) % 16)
            wanted = f"Range: bytes={first}-{first + RANGE - 1}"
            request = f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n{wanted}\r\n\r\n"
            began = time.perf_counter()
            connection.sendall(request.encode())
            got = b""
            while len(got) < RANGE or len(got) < got.index(b"\r\n\r\n") + 4 + RANGE:
                received = connection.recv(65536)
                if not received:
                    sys.exit(f"closed after {got[:200]!r}")
                got += received
                if not got.startswith(b"HTTP/1.1 206"):
                    sys.exit(f"answered {got[:200]!r}")
            times.append(time.perf_counter() - began)
            if len(times) == 1:
                print("reading", flush=True)
    json.dump(times, sys.stdout)


@contextmanager
def reading(url: str) -> Iterator[list[float]]:
    """Read small ranges meanwhile, from a process of its own; fill the list at the end."""
    command = [sys.executable, __file__, "--read", url]
    pipe = subprocess.PIPE
    times: list[float] = []
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        try:
            yield times
        finally:
            output, _ = reader.communicate("")
        if reader.returncode:
            sys.exit("small ranges could not be read")
        times += json.loads(output)


def percentile(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def show(what: str, alone: float, attacked: float, unit: str = "s", scale: float = 1.0) -> None:
    """One line of the report."""
    ratio = attacked / alone if alone else float("inf")
    print(
        f"  {what:44} {alone * scale:9.2f} {attacked * scale:9.2f} {unit:2} {ratio:8.2f}",
        flush=True,
    )


def show_ranges(alone: list[float], attacked: list[float], when: str) -> None:
    """The lines about small ranges."""
    for name, share in (("median", 0.5), ("p99", 0.99), ("longest", 1.0)):
        what = f"range of 4 KiB {when}, {name}"
        show(what, percentile(alone, share), percentile(attacked, share), "ms", 1e3)


# --- controller mode ------------------------------------------------------------------------------


class Controller:
    """``mic controller`` from a checkout, as a process."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.began = time.monotonic()
        self._log = folder / "mic.log"
        self._port, self._health = free_port(), free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(checkout),
            "DEPLOY_ISO": str(folder / "ipa.iso"),
            "DEPLOY_INITRD": "",
            "IRONIC_AGENT_IMAGE": "quay.example/ipa",
            "IRONIC_BASE_URL": "http://ironic.example",
        }
        command = [
            sys.executable,
            "-c",
            _START,
            "controller",
            "-kubeconfig",
            str(folder / "config"),
        ]
        addresses = [
            *("-images-bind-addr", f"127.0.0.1:{self._port}"),
            *("-metrics-addr", f"127.0.0.1:{self._health}"),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *addresses], cwd=checkout, env=environment, stderr=log, stdout=log
            )

    def url(self, published: str) -> str:
        """Where what is published under a URL is served."""
        return f"http://127.0.0.1:{self._port}/{published.rpartition('/')[2]}"

    def is_ready(self) -> bool:
        """Whether ``/readyz`` says so."""
        if self._process.poll() is not None:
            sys.exit(f"mic has ended:\n{self._log.read_text()[-3000:]}")
        try:
            with socket.create_connection(("127.0.0.1", self._health), 5) as connection:
                connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: x\r\n\r\n")
                return b" 200 " in connection.recv(64)
        except OSError:
            return False

    def peak(self) -> float:
        """MiB of memory at most so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024

    def stop(self) -> None:
        """End it, unless it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)


def wait(happens: Callable[[], Any], *, within: float = 600.0, every: float = 0.01) -> float:
    """Seconds until something is true."""
    began = time.monotonic()
    while not happens():
        if time.monotonic() - began > within:
            sys.exit("it does not happen")
        time.sleep(every)
    return time.monotonic() - began


class Cluster:
    """An API server, the objects of both namespaces, and the process that serves them."""

    def __init__(self, kube: KubeServer, folder: Path, checkout: Path) -> None:
        self._kube = kube
        self._folder = folder
        self._checkout = checkout
        self._names = 0
        self._stale: set[str] = set()
        self.mic = Controller(checkout, folder)

    def restart(self) -> None:
        """Start another process in the place of the one that runs; its URLs are others."""
        self.mic.stop()
        for namespace in (HOSTILE, VICTIM):
            self._stale |= set(self.urls(namespace))
        self.mic = Controller(self._checkout, self._folder)

    def create(self, namespace: str, document: bytes) -> str:
        self._names += 1
        name = f"host-{self._names}"
        self._kube.create(SECRETS, secret_body(f"net-{name}", document, namespace=namespace))
        body = image_body(name, namespace=namespace, secret=f"net-{name}")
        self._kube.create(PREPROVISIONING_IMAGES, body)
        return name

    def edit(self, name: str, document: bytes) -> None:
        change = {"data": secret_body("", document)["data"]}
        self._kube.edit(SECRETS, HOSTILE, f"net-{name}", change)

    def urls(self, namespace: str) -> list[str]:
        """The URLs of the objects that this process has made ready."""
        where = f"/apis/metal3.io/v1alpha1/namespaces/{namespace}/preprovisioningimages"
        items = self._kube.ask("GET", f"{where}?resourceVersion=0")[1]["items"]
        return [url for item in items if (url := self._url(item))]

    def is_ready(self, name: str) -> bool:
        return bool(self._url(self._kube.find(PREPROVISIONING_IMAGES, VICTIM, name) or {}))

    def _url(self, item: dict[str, Any]) -> str:
        status = item.get("status") or {}
        states = {each["type"]: each["status"] for each in status.get("conditions", [])}
        url = str(status.get("imageUrl", ""))
        return url if states.get("Ready") == "True" and url not in self._stale else ""

    def seconds_to_ready(self, times: int = 5) -> list[float]:
        """How long new objects of the victim take, one after the other."""
        took = []
        for _ in range(times):
            began = time.monotonic()
            name = self.create(VICTIM, SMALL)
            wait(lambda name=name: self.is_ready(name))
            took.append(time.monotonic() - began)
        return took

    def restarted(self, victims: int) -> tuple[float, float]:
        """Restart; seconds until the process is ready, and until the victim's objects are."""
        self.restart()
        ready: list[float] = []

        def both() -> bool:
            if not ready and self.mic.is_ready():
                ready.append(time.monotonic() - self.mic.began)
            return len(self.urls(VICTIM)) >= victims

        wait(both, every=0.05)
        objects = time.monotonic() - self.mic.began
        if not ready:
            wait(self.mic.is_ready, every=0.05)
            ready.append(time.monotonic() - self.mic.began)
        return ready[0], objects


def in_controller_mode(cluster: Cluster, document: bytes, documents: int, seconds: float) -> None:
    """Measure one checkout, first without the attacker."""
    wait(cluster.mic.is_ready)
    alone = cluster.seconds_to_ready()
    url = cluster.urls(VICTIM)[0]
    with reading(cluster.mic.url(url)) as ranges_alone:
        time.sleep(seconds)
    restart_alone = cluster.restarted(len(alone))

    began = time.monotonic()
    with reading(cluster.mic.url(cluster.urls(VICTIM)[0])) as ranges:
        names = [cluster.create(HOSTILE, document) for _ in range(documents)]
        created = time.monotonic() - began
        attacked = cluster.seconds_to_ready()
        wait(lambda: len(cluster.urls(HOSTILE)) >= documents, every=0.2)
    all_ready = time.monotonic() - began
    stop = threading.Event()

    def edit() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            cluster.edit(names[number % len(names)], document + b"# %d\n" % number)

    editor = threading.Thread(target=edit)
    editor.start()
    with reading(cluster.mic.url(cluster.urls(VICTIM)[0])) as ranges_edited:
        edited = cluster.seconds_to_ready()
        time.sleep(seconds)
    stop.set()
    editor.join()
    victims = len(alone) + len(attacked) + len(edited)
    restart = cluster.restarted(victims)
    wait(lambda: len(cluster.urls(HOSTILE)) >= documents, every=0.2)
    hostile = time.monotonic() - cluster.mic.began

    print(f"  {'':44} {'alone':>9} {'attacked':>9}    {'ratio':>8}")
    middle = statistics.median
    show(f"new object to Ready, beside {documents} others, median", middle(alone), middle(attacked))
    show("  longest", max(alone), max(attacked))
    show("new object to Ready, beside edits, median", middle(alone), middle(edited))
    show("  longest", max(alone), max(edited))
    show("restart: process ready", restart_alone[0], restart[0])
    show("restart: the victim's objects ready", restart_alone[1], restart[1])
    show_ranges(ranges_alone, ranges, "beside new ones")
    show_ranges(ranges_alone, ranges_edited, "beside edits")
    print(
        f"  the attacker's objects: created in {created:.1f} s, all ready after {all_ready:.1f} s; "
        f"after the restart {hostile:.1f} s; peak memory {cluster.mic.peak():.0f} MiB",
        flush=True,
    )


# --- static mode ----------------------------------------------------------------------------------


def in_static_mode(checkout: Path, document: bytes, documents: int, seconds: float) -> None:
    """Measure small ranges beside a directory whose large files change all the time."""
    with tempfile.TemporaryDirectory(prefix="mic-bench-") as name:
        folder = Path(name)
        put(folder / "ipa.iso", live_iso(AREA))
        hosts = folder / "hosts"
        hosts.mkdir()
        put(hosts / "victim.yaml", SMALL)
        port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(checkout),
            "DEPLOY_ISO": str(folder / "ipa.iso"),
            "DEPLOY_INITRD": "",
            "IRONIC_AGENT_IMAGE": "quay.example/ipa",
            "IRONIC_BASE_URL": "http://ironic.example",
        }
        flags = ["-nmstate-dir", str(hosts), "-images-bind-addr", f"127.0.0.1:{port}"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _START, "static", *flags, "-metrics-addr", "0"],
                cwd=checkout,
                env=environment,
                stdout=log,
                stderr=log,
            )

        def serves() -> bool:
            if process.poll() is not None:
                sys.exit((folder / "log").read_text()[-3000:])
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return False
            return True

        url = f"http://127.0.0.1:{port}/victim.iso"
        stop = threading.Event()

        def rewrite() -> None:
            number = 0
            while not stop.wait(0.05):
                number += 1
                put(folder / "next", document + b"# %d\n" % number)
                (folder / "next").rename(hosts / f"large-{number % documents}.yaml")

        writer = threading.Thread(target=rewrite)
        try:
            wait(serves)
            with reading(url) as alone:
                time.sleep(seconds)
            writer.start()
            time.sleep(min(seconds, 3))  # until the first are noticed
            with reading(url) as attacked:
                time.sleep(seconds)
        finally:
            stop.set()
            if writer.ident:
                writer.join()
            process.terminate()
            process.wait(20)
        print(f"  {'':44} {'alone':>9} {'attacked':>9}    {'ratio':>8}")
        show_ranges(alone, attacked, "beside large files")


def main() -> None:
    """Measure this checkout, and another beside it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=40, help="the attacker's objects")
    parser.add_argument("--bytes", type=int, default=900_000, help="of each of its documents")
    parser.add_argument("--kind", choices=KINDS, default="routes", help="what they are full of")
    parser.add_argument("--seconds", type=float, default=5, help="to read ranges without attacker")
    parser.add_argument("--static", action="store_true", help="files of a directory instead")
    parser.add_argument("--beside", type=Path, help="another checkout of mic to measure as well")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(options.read)
        return
    document = KINDS[options.kind](options.bytes)
    print(f"{options.documents} documents of {len(document)} bytes of {options.kind}", flush=True)
    checkouts = [ROOT, options.beside.resolve()] if options.beside else [ROOT]
    for checkout in checkouts:
        if len(checkouts) > 1:
            print(f"{'this checkout' if checkout == ROOT else 'the other checkout'}:", flush=True)
        if options.static:
            in_static_mode(checkout, document, options.documents, options.seconds)
            continue
        with tempfile.TemporaryDirectory(prefix="mic-bench-") as name:
            folder = Path(name)
            kube = KubeServer(folder)
            try:
                kube.start()
                kube.install()
                put(folder / "ipa.iso", live_iso(AREA))
                kube.kubeconfig(folder / "config")
                for namespace in (HOSTILE, VICTIM):
                    kube.create_namespace(namespace)
                cluster = Cluster(kube, folder, checkout)
                try:
                    in_controller_mode(cluster, document, options.documents, options.seconds)
                finally:
                    cluster.mic.stop()
            finally:
                kube.stop()


if __name__ == "__main__":
    main()
