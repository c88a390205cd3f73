"""A minimal ISO whose host has a static address alone: its network, and its rootfs from mic.

`e2e.live_network` says what of the live system is real.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from e2e import daemon, guest, live_network, parts

_MAC = "52:54:00:12:34:56"
_NETWORK = f"""\
interfaces:
- name: provisioning
  identifier: mac-address
  mac-address: {_MAC}
  type: ethernet
  state: up
  ipv4: {{enabled: true, dhcp: false, address: [{{ip: 10.0.2.77, prefix-length: 24}}]}}
  ipv6: {{enabled: false}}
"""
_DHCP_COOKIE = b"\x63\x82\x53\x63"


def test_a_minimal_iso_reaches_its_rootfs_by_the_keyfiles_of_its_host(tmp_path: Path) -> None:
    media = live_network.media()
    parts.file("/usr/lib/x86_64-linux-gnu/qemu/block-curl.so", "qemu-block-extra")
    busybox = parts.program("busybox", "busybox-static")
    hosts = tmp_path / "hosts"
    hosts.mkdir()
    (hosts / "worker-0.yaml").write_text(_NETWORK)
    environment = {
        "DEPLOY_ISO": str(media.iso),
        "MIC_ISO": "minimal",
        "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
        "IRONIC_BASE_URL": "http://10.0.2.100:6385",
    }
    packets = tmp_path / "packets"
    # The guest's network has this address for mic, and a DHCP server that nobody must ask.
    address = "10.0.2.100:8084"
    flags = ("-images-bind-addr=127.0.0.1:0", f"-images-publish-addr=http://{address}")
    with daemon.running(hosts, environment, flags=flags) as mic:
        url = f"{mic.url}/worker-0.iso"
        forward = f"guestfwd=tcp:{address}-cmd:{busybox} nc 127.0.0.1 {mic.port}"
        found = live_network.boot(
            guest.qemu(
                *("-boot", "d"),
                *("-drive", f"file={url},media=cdrom,readonly=on,if=ide,format=raw"),
                *("-netdev", f"user,id=n0,{forward}"),
                *("-object", f"filter-dump,id=dump,netdev=n0,file={packets}"),
                *("-device", f"virtio-net-pci,netdev=n0,mac={_MAC}"),
                memory=1024,
            )
        )
        config = daemon.show(url)
    assert found.digest == hashlib.sha256(config).hexdigest()
    assert f"coreos.live.rootfs_url=http://{address}/rootfs.img" in found.arguments
    assert not any(word.startswith("coreos.liveiso") for word in found.arguments)
    profile = "/run/NetworkManager/system-connections/provisioning.nmconnection"
    assert profile in found.profiles
    assert "10.0.2.77/24" in found.addresses
    assert found.rootfs == hashlib.sha256(media.rootfs.read_bytes()).hexdigest()
    dumped = packets.read_bytes()
    assert b"HEAD /rootfs.img" in dumped
    assert _DHCP_COOKIE not in dumped
