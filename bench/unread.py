"""Clients that ask and never read: what each of them costs mic in memory, and what comes back.

For each attack a fresh ``mic static`` is attacked by many clients at once, each from a loopback
address of its own. The figures are resident bytes per client while all of them wait, and resident
bytes after they are gone, both above what the process had before. Plain HTTP and HTTPS.

    python bench/unread.py [--clients 500] [--only NAME ...] [--way plain tls] [--checkout DIR]
        [--limit KIB] [--tls-limit KIB]

With a limit the exit status is 1 when a client costs more than that. ``--checkout`` attacks another
checkout of mic: before and after. Needs openssl and curl, and descriptors for all clients.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import random
import re
import resource
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "tests"))

from servers import certificate  # noqa: E402
from unread_attacks import (  # noqa: E402
    ATTACKS,
    ISO,
    KIB,
    MIB,
    ONE_BY_ONE,
    ROOM,
    Places,
    get,
    send_all,
    send_one_by_one,
)

from mic.media.cpio import archive  # noqa: E402
from mic.media.isowriter import coreos_files, write_iso  # noqa: E402

_SECRET = 150 * KIB
"""Random bytes in the pull secret, so that a host's archive is as large as archives get."""
_EMBED = 256 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is attacked: a process, its port, and where things are in its images."""

    pid: int
    port: int
    tls: bool
    places: Places

    def resident(self) -> int:
        """Resident bytes that are not shared with files."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"RssAnon:\s+(\d+) kB", text)
        assert found
        return int(found[1]) * KIB

    def ticks(self) -> int:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def wait_until_idle(self) -> None:
        """Wait until it has used no processor time for half a second."""
        still, last = 0, -1
        while still < 10:
            time.sleep(0.05)
            now = self.ticks()
            still = still + 1 if now == last else 0
            last = now


def _connect(target: Target, number: int, *, room: int = ROOM) -> socket.socket:
    sock = socket.socket()
    if room:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind((f"127.1.{number // 250}.{number % 250 + 1}", 0))
    sock.connect(("127.0.0.1", target.port))
    if not target.tls:
        return sock
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an attack cost: resident bytes above those before it."""

    attack: str
    way: str
    clients: int
    held: int
    left: int

    @property
    def per_client(self) -> float:
        """KiB for each client while they wait."""
        return self.held / self.clients / KIB


def attack(target: Target, name: str, clients: int) -> Cost:
    """Attack a fresh process, and see what it costs."""
    _warm(target)
    target.wait_until_idle()
    before = target.resident()
    socks = [_connect(target, number) for number in range(clients)]
    if name == ONE_BY_ONE:
        send_one_by_one(socks, target.places, target.wait_until_idle)
    else:
        send_all(socks, ATTACKS[name](target.places))
    target.wait_until_idle()
    held = target.resident() - before
    for sock in socks:
        # A reset: what was not read is of no interest.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    # Housekeeping comes every five seconds.
    time.sleep(12)
    target.wait_until_idle()
    left = target.resident() - before
    return Cost(
        attack=name,
        way="tls" if target.tls else "plain",
        clients=clients,
        held=held,
        left=left,
    )


def _warm(target: Target) -> None:
    """Use each way once: what is made at the first request is no client's cost."""
    places = target.places
    requests = [
        get(),
        places.part(0, 5),
        places.part(places.area, places.area + 5),
        get(target="/x"),
        get(method="HEAD"),
        get("Range: bytes=0-1,5-9\r\n"),
    ]
    for one in requests:
        sock = _connect(target, 0, room=0)
        sock.sendall(one)
        sock.recv(1000)
        sock.close()


@contextlib.contextmanager
def serving(checkout: Path, directory: Path, *, tls: bool) -> Iterator[Target]:
    """A mic with a host whose archive is large."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    iso = directory / "base.iso"
    flags = [f"-images-bind-addr=127.0.0.1:{port}", f"-nmstate-dir={directory / 'hosts'}"]
    if tls:
        flags += [f"-images-tls-cert-file={directory / 'cert.pem'}"]
        flags += [f"-images-tls-key-file={directory / 'key.pem'}"]
    log = (directory / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-c", "from mic.cli.main import main; main()", "static", *flags],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(checkout),
            "DEPLOY_ISO": str(iso),
            "DEPLOY_INITRD": str(directory / "base.initramfs"),
            "CREDENTIALS_DIRECTORY": str(directory),
            "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
            "IRONIC_BASE_URL": "http://192.0.2.2:6385",
        },
        cwd=checkout,
        stderr=log,
    )
    try:
        deadline = time.monotonic() + 60
        while b"serving 2 images" not in (directory / "log").read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((directory / "log").read_text())
            time.sleep(0.05)
        yield Target(pid=process.pid, port=port, tls=tls, places=_places(directory, port, tls=tls))
        if process.poll() is not None:
            raise RuntimeError(f"mic ended: {(directory / 'log').read_text()[-2000:]}")
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def _places(directory: Path, port: int, *, tls: bool) -> Places:
    scheme = "https" if tls else "http"
    command = ["curl", "-skI", f"{scheme}://127.0.0.1:{port}{ISO}"]
    head = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    found = re.search(r"^ETag: (.*)$", head, re.IGNORECASE | re.MULTILINE)
    assert found, head
    return Places(
        size=(directory / "base.iso").stat().st_size,
        area=int((directory / "area").read_text()),
        embed=_EMBED,
        initramfs=(directory / "base.initramfs").stat().st_size,
        etag=found[1].strip(),
    )


def prepare(directory: Path) -> None:
    """Base files, a host, a certificate, and a pull secret that does not compress."""
    noise = random.Random(0)
    block = noise.randbytes(MIB)
    files = coreos_files(
        kernel=block, initramfs=archive(b"boots nothing\n"), rootfs=block * 40, embed_length=_EMBED
    )
    iso = write_iso(files)
    (directory / "base.iso").write_bytes(iso)
    (directory / "base.initramfs").write_bytes(archive(block))
    mark = noise.randbytes(_EMBED)
    marked = write_iso({**files, "/images/ignition.img": mark})
    (directory / "area").write_text(str(marked.index(mark)))
    (directory / "hosts").mkdir()
    (directory / "hosts" / "host.yaml").touch()
    auth = base64.b64encode(noise.randbytes(_SECRET)).decode()
    (directory / "pull-secret").write_text(f'{{"auths": {{"quay.io": {{"auth": "{auth}"}}}}}}')
    certificate(directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [*ATTACKS, ONE_BY_ONE]
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--only", nargs="*", default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--way", nargs="*", default=["plain", "tls"], choices=["plain", "tls"])
    parser.add_argument("--checkout", type=Path, default=HERE.parent)
    parser.add_argument("--limit", type=float, help="KiB for a client of plain HTTP")
    parser.add_argument("--tls-limit", type=float, help="KiB for a client of HTTPS")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if options.clients + 100 > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(options.clients + 100, hard), hard))
    limits = {"plain": options.limit, "tls": options.tls_limit}
    directory = Path(tempfile.mkdtemp(prefix="mic-unread-"))
    costs: list[Cost] = []
    try:
        prepare(directory)
        print(f"| {options.clients} clients | | held, KiB each | held, MiB | left, MiB |")
        print("|---|---|---|---|---|", flush=True)
        for way in options.way:
            for name in options.only:
                with serving(options.checkout.resolve(), directory, tls=way == "tls") as target:
                    cost = attack(target, name, options.clients)
                costs.append(cost)
                print(
                    f"| {name} | {way} | {cost.per_client:.1f} | {cost.held / MIB:.1f} "
                    f"| {cost.left / MIB:.1f} |",
                    flush=True,
                )
    finally:
        shutil.rmtree(directory)
    over = [cost for cost in costs if (limit := limits[cost.way]) and cost.per_client > limit]
    for cost in over:
        print(f"over the limit: {cost.attack}, {cost.way}: {cost.per_client:.1f} KiB a client")
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
