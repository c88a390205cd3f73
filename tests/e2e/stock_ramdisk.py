"""A ramdisk as the stock elements make it of Debian, a whole system that QEMU boots.

The elements of diskimage-builder and of ironic-python-agent-builder, and glean's own installer, run
in a Debian tree: units, udev rules, programs and presets are theirs. Not real is the agent: in its
place, and by its unit, runs a program that says what the system came to and switches it off.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e import cache, debian, guest, kernel, parts, venv
from e2e import ramdisk as ramdisks
from e2e.network_data_consumers import GLEAN
from e2e.ramdisk import Ramdisk

CARD = "52:54:00:12:34:56"
"""MAC address of the machine's only network interface."""
GATEWAY = "192.0.2.1"
"""What answers in its network: to pings, and to DHCP with the addresses from 192.0.2.100 on."""

ARGUMENTS = (
    # A busy machine must not make a service too late.
    f"console=ttyS0 quiet panic=-1 {kernel.NO_TIMER_CHECK} systemd.default_timeout_start_sec=300"
)
"""Kernel arguments for it, in images or beside them."""

_BUILDER = "diskimage-builder==3.43.0"
_AGENT_BUILDER = "ironic-python-agent-builder==7.4.0"
_MINUTE = 60.0
_BUILD = 900.0
_BOOT = 1200.0
_MEMORY = 1024
_PACKAGES = (
    *("systemd-sysv", "dbus", "udev", "kmod", "iproute2", "iputils-ping", "python3"),
    # Of the elements themselves: package-installs.yaml and pkg-map.
    *("ifupdown", "isc-dhcp-client", "ndisc6", "net-tools", "python3-pkg-resources"),
)
_SCRIPTS = (
    "dhcp-all-interfaces/install.d/50-dhcp-all-interfaces",
    "simple-init/install.d/50-simple-init",
    "dhcp-all-interfaces/install.d/60-remove-cloud-image-interfaces",
    "simple-init/install.d/60-simple-init-remove-interfaces",
    "ironic-python-agent-ramdisk-base/post-install.d/80-ironic-python-agent-ramdisk",
)
"""What the elements run in the tree, in their order."""
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/elements/bin",
    "DIB_INIT_SYSTEM": "systemd",
    "DIB_DEBUG_TRACE": "0",
    "DIB_RELEASE": debian.RELEASE,
    "DISTRO_NAME": "debian",
    "IPA_DISTRO_FAMILY": "other",
}
# In the place of the agent: the last program that the system starts.
_AGENT = """\
#!/bin/sh
exec >/dev/ttyS1 2>&1
state=$(systemctl is-system-running --wait)
section() { echo "== $1"; }
section arguments; cat /proc/cmdline
section addresses; ip -j address show scope global
section routes; ip -j route show
section names; cat /etc/resolv.conf
section gateway; ping -c 1 -W 10 192.0.2.1
section units
systemctl show --all --property=Id,LoadState,ActiveState,ConditionResult '*.service'
section failed; systemctl list-units --failed --full --plain --no-legend | cut -d' ' -f1
# A process may be gone before its name is read.
section clients; cat /proc/[0-9]*/comm 2> /dev/null | grep -E 'dhclient|dhcpcd|udhcpc'
section connections
[ ! -e /usr/bin/nmcli ] || nmcli -c no -t -f NAME,DEVICE,STATE connection show --active
section files
find /etc/ironic-python-agent.d /mnt/config -name '*.conf' -o -name '*.json' | xargs sha256sum
section mounts; grep ' /mnt/config ' /proc/mounts
section medium; [ ! -e /dev/sr0 ] || udevadm info --query=property /dev/sr0
section journal; journalctl --no-pager --boot -o short-monotonic _TRANSPORT=stdout + _PID=1
section end
poweroff -f
"""
# Nothing in the stock ramdisk waits for the network.
_WAIT = """\
[Unit]
Wants=network-online.target systemd-udev-settle.service
After=systemd-udev-settle.service
"""
# It waits for 60 s by itself, and a busy machine must not make it fail.
_PATIENT = """\
[Service]
Environment=NM_ONLINE_TIMEOUT=300
"""
_GLEAN_INSTALL = '#!/bin/sh\nexec python3 -m glean.install "$@"\n'
_PRUNED = (
    *("sys", "proc", "tmp", "boot", "run", "elements", "usr/include", "usr/lib/locale"),
    *("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/i18n"),
    *("usr/share/bash-completion", "usr/share/perl", "usr/lib/x86_64-linux-gnu/perl"),
    *("usr/lib/x86_64-linux-gnu/gconv", "usr/lib/x86_64-linux-gnu/perl-base"),
    *("usr/lib/udev/hwdb.d", "usr/share/zoneinfo", "usr/share/perl5"),
    *("var/cache", "var/lib/apt", "var/lib/dpkg", "var/log"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Addresses, gateways and name servers; whether `GATEWAY` ``answers``."""

    addresses: frozenset[str]
    gateways: frozenset[str]
    name_servers: frozenset[str]
    answers: bool


NETWORK_DATA = """\
{"links": [{"id": "port0", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:56"}],
 "networks": [{"id": "n0", "link": "port0", "type": "ipv4", "network_id": "n0",
               "ip_address": "192.0.2.11", "netmask": "255.255.255.0",
               "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]}],
 "services": [{"type": "dns", "address": "192.0.2.53"}]}
"""
NETWORK = Network(
    addresses=frozenset({"192.0.2.11/24"}),
    gateways=frozenset({GATEWAY}),
    name_servers=frozenset({"192.0.2.53"}),
    answers=True,
)
"""What `NETWORK_DATA` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a booted ramdisk said of itself, by section."""

    sections: Mapping[str, str]

    def __getitem__(self, section: str) -> str:
        return self.sections[section].strip()

    @property
    def network(self) -> Network:
        """The network it came up with."""
        return Network(
            addresses=frozenset(
                f"{address['local']}/{address['prefixlen']}"
                for link in json.loads(self["addresses"])
                for address in link["addr_info"]
                if address
            ),
            gateways=frozenset(
                route["gateway"]
                for route in json.loads(self["routes"])
                if route["dst"] == "default"
            ),
            name_servers=frozenset(re.findall(r"^nameserver (\S+)$", self["names"], re.MULTILINE)),
            answers="1 packets transmitted, 1 received" in self["gateway"],
        )

    def unit(self, name: str) -> dict[str, str]:
        """Properties of a service; none of one that was not asked for."""
        for block in self["units"].split("\n\n"):
            found = dict(line.partition("=")[::2] for line in block.splitlines())
            if found.get("Id") == name:
                return found
        return {}

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of the files that the agent and glean read, by path."""
        pairs = re.findall(r"^([0-9a-f]{64})  /(\S+)$", self["files"], re.MULTILINE)
        return {path: digest for digest, path in pairs}

    @property
    def medium(self) -> dict[str, str]:
        """What udev knows of the machine's CD."""
        return dict(line.partition("=")[::2] for line in self["medium"].splitlines())


def ramdisk(network: str, compress: str) -> Ramdisk:
    """A ramdisk whose network ``NetworkManager`` configures, or ``glean`` beside systemd-networkd.

    ``compress`` is the program that packs it, as DIB_IPA_COMPRESS_CMD. It is made once.
    """
    manager = network == "NetworkManager"
    cpio = parts.program("cpio", "cpio")
    compressor = parts.program(compress, compress)
    packages = (*_PACKAGES, *(("network-manager",) if manager else ()))
    source = debian.tree(f"ramdisk-{network.lower()}", packages)
    glean, elements, agent = _glean(), _elements(), _agent_elements()
    booted = ramdisks.ramdisk()
    modules = kernel.modules()

    def make(place: Path) -> None:
        work = place.parent / "tree"
        debian.copy(source, work)
        _install(work, manager, glean, (elements, agent))
        shutil.copytree(modules, work / "lib/modules" / modules.name)
        place.mkdir()
        shutil.copy(booted.kernel, place / "ipa.kernel")
        pruned = [word for path in _PRUNED for word in ("-path", f"./{path}/*", "-prune", "-o")]
        find = ["find", ".", "-xdev", *pruned, "-print"]
        with (place / "ipa.initramfs").open("wb") as output:
            listed = subprocess.run(find, cwd=work, stdout=subprocess.PIPE, check=True).stdout
            with (
                subprocess.Popen(
                    [cpio, "-o", "-H", "newc", "--quiet"],
                    cwd=work,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                ) as packer,
                subprocess.Popen([compressor, "-1"], stdin=packer.stdout, stdout=output) as last,
            ):
                assert packer.stdin is not None
                assert packer.stdout is not None
                packer.stdout.close()
                packer.stdin.write(listed)
                packer.stdin.close()
                assert last.wait(_BUILD) == 0
                assert packer.wait(_BUILD) == 0
        shutil.rmtree(work)

    key = "\n".join(
        [
            *(str(source), str(modules), str(booted.kernel), GLEAN, _BUILDER, _AGENT_BUILDER),
            *(_GLEAN_INSTALL, _AGENT, _WAIT, _PATIENT, *_SCRIPTS, *_PRUNED),
            *(compress, str(_ENVIRONMENT)),
        ]
    )
    place = cache.kept(f"stock-ramdisk-{network.lower()}", key, make)
    return Ramdisk(
        kernel=place / "ipa.kernel",
        initramfs=place / "ipa.initramfs",
        boot_loader=booted.boot_loader,
        isolinux=booted.isolinux,
    )


def _install(tree: Path, manager: bool, glean: Path, elements: tuple[Path, ...]) -> None:
    """Do with a tree what diskimage-builder does."""
    shutil.copytree(glean, tree / "usr/lib/python3/dist-packages/glean")
    for place in elements:
        shutil.copytree(place, tree / "elements", dirs_exist_ok=True)
    base = tree / "elements/ironic-python-agent-ramdisk-base"
    shutil.copytree(base / "static", tree, dirs_exist_ok=True)
    unit = "install.d/ironic-python-agent-ramdisk-source-install/ironic-python-agent.service"
    shutil.copy(base / unit, tree / "usr/lib/systemd/system")
    debian.write(
        tree,
        {
            "elements/bin/svc-map": ("#!/bin/sh\necho ironic-python-agent\n", 0o755),
            "elements/bin/glean-install": (_GLEAN_INSTALL, 0o755),
            "usr/local/bin/ironic-python-agent": (_AGENT, 0o755),
            "etc/systemd/system/ironic-python-agent.service.d/wait.conf": (_WAIT, 0o644),
            "etc/systemd/system/NetworkManager-wait-online.service.d/patient.conf": (
                _PATIENT,
                0o644,
            ),
            "etc/fstab": ("#disabled\n", 0o644),
            "etc/hostname": ("localhost\n", 0o644),
        },
    )
    chroot = parts.program("chroot", "coreutils")
    environment = {**_ENVIRONMENT, "DIB_SIMPLE_INIT_NETWORKMANAGER": str(int(manager))}
    for script in _SCRIPTS:
        debian.run([chroot, tree, "bash", f"/elements/{script}"], _MINUTE, environment)
    # Takes long on an emulated processor, and is of no use without a file system to check.
    (tree / "etc/systemd/system/e2scrub_reap.service").symlink_to("/dev/null")
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    (tree / "etc/machine-id").write_text("")
    shutil.rmtree(tree / "elements")
    (tree / "init").symlink_to("sbin/init")


def _glean() -> Path:
    return _installed(venv.python_with(GLEAN), "lib/python3*/site-packages/glean")


def _elements() -> Path:
    python = venv.python_with(_BUILDER, "--no-deps")
    return _installed(python, "lib/python3*/site-packages/diskimage_builder/elements")


def _agent_elements() -> Path:
    python = venv.python_with(_AGENT_BUILDER, "--no-deps")
    return _installed(python, "share/ironic-python-agent-builder/dib")


def _installed(python: Path, pattern: str) -> Path:
    (found,) = python.parent.parent.glob(pattern)
    return found


def boot_initramfs(initramfs: bytes, vmlinuz: Path, arguments: str, directory: Path) -> Report:
    """Boot as from the network: the arguments follow those of the boot loader."""
    path = directory / "initramfs"
    path.write_bytes(initramfs)
    interface = f"BOOTIF=01-{CARD.replace(':', '-')}"
    return _boot(
        directory,
        *("-kernel", vmlinuz, "-initrd", path),
        *("-append", f"{interface} {arguments}"),
    )


def boot_iso(url: str, directory: Path) -> Report:
    """Boot from a CD that is read by ranges."""
    parts.file("/usr/lib/x86_64-linux-gnu/qemu/block-curl.so", "qemu-block-extra")
    return _boot(
        directory,
        *("-device", "virtio-scsi-pci,id=bus"),
        *("-drive", f"file={url},media=cdrom,readonly=on,if=none,id=cd,format=raw"),
        *("-device", "scsi-cd,drive=cd,bootindex=0"),
    )


def _boot(directory: Path, *arguments: str | Path) -> Report:
    report = directory / "report"
    network = f"net=192.0.2.0/24,host={GATEWAY},dns=192.0.2.3,dhcpstart=192.0.2.100,ipv6=off"
    command = guest.qemu(
        *("-serial", f"file:{report}"),
        *("-netdev", f"user,id=net,restrict=on,{network}"),
        *("-device", f"virtio-net-pci,netdev=net,mac={CARD}"),
        *arguments,
        memory=_MEMORY,
    )
    console = guest.console(command, _BOOT)
    text = report.read_text("utf-8", "replace").replace("\r", "") if report.exists() else ""
    found = dict(re.findall(r"^== (\w+)\n(.*?)(?=^== )", text, re.MULTILINE | re.DOTALL))
    assert "journal" in found, f"the guest reported:\n{text}\nconsole:\n{console}"
    return Report(sections=found)
