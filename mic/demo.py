"""``mic demo``: mic at work on sample data, without CoreOS media or configuration."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Sequence

from mic import log
from mic.config import Flag, Mode, load
from mic.errors import ConfigError
from mic.image.cpio import archive
from mic.image.isowriter import coreos_files, write_iso
from mic.run import parse_or_exit, run
from mic.service import Mic, reason

_FLAGS = (
    Flag(name="dir", default="", meaning="where to write the sample files; empty: a new directory"),
    Flag(name="images-bind-addr", default="127.0.0.1:8084", meaning="address to serve on"),
)

_STATIC_HOST = """\
# A host with a fixed address on its first Ethernet port.
interfaces:
- name: eth0
  type: ethernet
  state: up
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
    """Write sample files, serve them on loopback, and say what to try."""
    from twisted.internet import reactor

    flags = parse_or_exit("mic demo", arguments, _FLAGS)
    bind = flags["images-bind-addr"]
    try:
        directory = flags["dir"] or tempfile.mkdtemp(prefix="mic-demo-")
        write_samples(directory)
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
        }
        settings = load(Mode.STATIC, environment, given)
        log.begin(settings.log)
        service = Mic(settings, reactor)
    except OSError as error:
        where = error.filename or flags["dir"]
        sys.stderr.write(f"mic: cannot start: -dir: {where}: {error.strerror}\n")
        return 1
    except ConfigError as error:
        sys.stderr.write(reason(error) + "\n")
        return 1

    def served_url() -> str:
        # Port 0 is any free one.
        return f"{url.removesuffix(':0')}:{service.address.port}" if url.endswith(":0") else url

    service.ready.addCallback(lambda _: sys.stdout.write(_text(directory, served_url())))
    service.ready.addCallback(lambda _: sys.stdout.flush())
    return run(service)


def write_samples(directory: str) -> None:
    """A CoreOS-like ISO and initramfs of some megabytes, and two hosts under ``hosts/``.

    The same bytes each time. Raises `OSError`.
    """
    hosts = os.path.join(directory, "hosts")
    os.makedirs(hosts, exist_ok=True)
    initramfs = archive(b"this initramfs boots nothing\n")
    noise = random.Random(0)  # noqa: S311 - filling, not a secret
    files = coreos_files(
        kernel=noise.randbytes(256 * 1024),
        initramfs=initramfs,
        rootfs=noise.randbytes(4 * 1024 * 1024),
    )
    samples = {
        "coreos.iso": write_iso(files, "mic-demo"),
        "coreos.initramfs": initramfs,
        "hosts/worker-0.yaml": _STATIC_HOST.encode(),
        "hosts/worker-1.yaml": b"",
    }
    for name, content in samples.items():
        with open(os.path.join(directory, name), "wb") as file:
            file.write(content)


def _text(directory: str, url: str) -> str:
    return f"""
The sample files are in {directory}. Try, in another terminal:

  curl -I {url}/worker-0.iso
  curl -r 0-1023 -o part {url}/worker-0.iso
  mic show {url}/worker-0.iso
  mic show {url}/worker-1.initramfs

Edit {directory}/hosts/worker-0.yaml and show it again: the image follows within seconds.
Ctrl-C ends the demo.
"""
