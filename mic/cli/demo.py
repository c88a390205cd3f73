"""``mic demo``: serve sample data, without CoreOS media or configuration."""

from __future__ import annotations

import os
import platform
import random
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from mic.cli.flags import Command
from mic.common.text import printable
from mic.media.cpio import archive, live_rootfs
from mic.media.isowriter import coreos_files, write_iso
from mic.settings.model import Mode
from mic.settings.table import STATUS_ADDRESS, Flag

if TYPE_CHECKING:
    from mic.service import Mic

_FLAGS = (
    Flag(
        name="dir",
        default="",
        help="directory for the sample files, which stay; empty: a new one, removed at the end",
    ),
    Flag(name="images-bind-addr", default="127.0.0.1:8084", help="address to serve on"),
    Flag(
        name=STATUS_ADDRESS[1:],
        default="127.0.0.1:0",
        help="address of the status page, port 0: any free one; empty: off",
    ),
)
COMMAND = Command(
    program="mic demo",
    summary="Try mic with sample files: no CoreOS media and no configuration needed.",
    example="mic demo -images-bind-addr 127.0.0.1:8085",
    flags=_FLAGS,
)

_STATIC_HOST = """\
# A host with a fixed address on its first Ethernet port.
interfaces:
- name: eth0
  type: ethernet
  state: up
  mac-address: 52:54:00:12:34:56
  ipv4:
    enabled: true
    dhcp: false
    address:
    - ip: 192.0.2.10
      prefix-length: 24
dns-resolver:
  config:
    server:
    - 192.0.2.1
routes:
  config:
  - destination: 0.0.0.0/0
    next-hop-address: 192.0.2.1
    next-hop-interface: eth0
"""


def main(arguments: Sequence[str]) -> int:
    """Write sample files, serve them on loopback, and print commands to try."""
    flags = COMMAND.parse(arguments)
    bind = _with_port(flags["images-bind-addr"])
    try:
        given = flags["dir"]
        directory = os.path.abspath(given) if given else tempfile.mkdtemp(prefix="mic-demo-")
        write_samples(directory)
    except OSError as error:
        where = printable(str(error.filename or flags["dir"]))
        sys.stderr.write(f"mic: cannot start: -dir: {where}: {error.strerror}\n")
        return 1
    try:
        return _serve(directory, bind, flags)
    finally:
        if flags["dir"]:
            sys.stderr.write(f"The sample files stay in {printable(directory)}.\n")
        else:
            shutil.rmtree(directory, ignore_errors=True)
            sys.stderr.write(f"The sample files in {printable(directory)} are removed.\n")


def _serve(directory: str, bind: str, flags: Mapping[str, str]) -> int:
    """Serve the sample files until a signal; return the exit status."""
    environment = {
        "DEPLOY_ISO": os.path.join(directory, "coreos.iso"),
        "DEPLOY_INITRD": os.path.join(directory, "coreos.initramfs"),
        "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
        "IRONIC_BASE_URL": "http://192.0.2.2:6385",
    }
    url = f"http://{bind if not bind.startswith(':') else '127.0.0.1' + bind}"
    given = {
        "images-bind-addr": bind,
        "images-publish-addr": url,
        "nmstate-dir": os.path.join(directory, "hosts"),
        STATUS_ADDRESS[1:]: flags[STATUS_ADDRESS[1:]],
    }

    def started(service: Mic) -> None:
        def suggest(_: None) -> None:
            page = f"http://{service.status_page.address}/" if service.status_page.address else ""
            sys.stdout.write(_text(directory, url, page, _command(sys.argv[0])))
            sys.stdout.flush()

        service.ready.addCallback(suggest)

    # Imported late: it installs the reactor.
    from mic.cli.foreground import serve

    return serve(Mode.STATIC, environment, given, started=started)


def _with_port(bind: str) -> str:
    """Return an address with a free port for port 0: URLs need one before mic listens.

    An address that cannot be used stays as it is; the daemon says why.
    """
    host, colon, port = bind.rpartition(":")
    if not colon or port != "0":
        return bind
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        with socket.create_server((host.strip("[]"), 0), family=family) as free:
            return f"{host}:{free.getsockname()[1]}"
    except OSError:
        return bind


def write_samples(directory: str) -> None:
    """Write a CoreOS-like ISO and initramfs of some megabytes, and two hosts under ``hosts/``.

    The bytes are the same each time. Files that are there already stay as they are: they may be
    more than samples. Raises `OSError`.
    """
    hosts = os.path.join(directory, "hosts")
    os.makedirs(hosts, exist_ok=True)
    initramfs = archive(b"this initramfs boots nothing\n")
    noise = random.Random(0)  # noqa: S311 - padding, not a secret
    files = coreos_files(
        kernel=_sample_kernel(noise.randbytes(256 * 1024), platform.machine()),
        initramfs=initramfs,
        rootfs=live_rootfs(noise.randbytes(4 * 1024 * 1024)),
    )
    samples = {
        "coreos.iso": write_iso(files, "mic-demo"),
        "coreos.initramfs": initramfs,
        "hosts/worker-0.yaml": _STATIC_HOST.encode(),
        "hosts/worker-1.yaml": b"",
    }
    for name, content in samples.items():
        with suppress(FileExistsError), open(os.path.join(directory, name), "xb") as file:
            file.write(content)


def _sample_kernel(padding: bytes, architecture: str) -> bytes:
    """Return ``padding`` with the signature of a kernel of this machine, as mic would warn of none.

    Sources: Documentation/arch/x86/boot.rst and arch/arm64/booting.rst of Linux.
    """
    offset, magic = (56, b"ARM\x64") if architecture == "aarch64" else (0x202, b"HdrS")
    return padding[:offset] + magic + padding[offset + len(magic) :]


def _command(program: str) -> str:
    """Return how a shell runs mic again: ``program`` is the path that this process was started by.

    It may not be on the PATH.
    """
    name = os.path.basename(program)
    if name in ("-c", "-m", "__main__.py", ""):  # started as a Python module
        return f"{shlex.quote(sys.executable)} -m mic.cli"
    found = shutil.which(name)
    path = os.path.abspath(program)
    return (
        name if found and os.path.realpath(found) == os.path.realpath(path) else shlex.quote(path)
    )


def _text(directory: str, url: str, page: str, mic: str) -> str:
    look = f"The status page is {page}\n" if page else ""
    host = os.path.join(directory, "hosts", "worker-0.yaml")
    return f"""
The sample files are in {directory}.
{look}Try, in another terminal:

  {mic} show {url}/worker-0.iso
  {mic} show {url}/worker-1.initramfs
  {mic} status

For network boot, iPXE goes to {url}/boot.ipxe. See what worker-0 gets by its MAC address:

  {mic} show {url}/52-54-00-12-34-56.ipxe

Edit {host} and show it again: the image follows within seconds.
Ctrl-C ends the demo.
"""
