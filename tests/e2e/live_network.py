"""The network of a live system in its initramfs, with dracut's NetworkManager module.

Real are Debian's kernel, systemd, NetworkManager, curl, and dracut with its units ``nm-initrd``
and ``nm-wait-online-initrd``, as in CoreOS. Written here are two services of CoreOS, by their
contract: ``coreos-copy-firstboot-network`` with the request for the network of
``coreos-enable-network`` (`_COPY`), and in place of ``coreos-livepxe-rootfs`` one that requests
the root file system in the same two steps but prints its digest, and switches the machine off
(`_REPORT`).
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e import cache, guest, kernel, parts, release

_BUILD = 900.0
_MODULES = (
    *("base", "bash", "systemd", "systemd-initrd", "dracut-systemd", "udev-rules", "fs-lib"),
    *("kernel-modules", "dbus-daemon", "network-manager"),
)
_PACKAGES = ("dracut-core", "dracut-network", "network-manager", "systemd", "dbus-daemon", "curl")

_COPY = """\
[Unit]
DefaultDependencies=no
After=dracut-cmdline.service
Before=nm-initrd.service
ConditionPathExistsGlob=/etc/coreos-firstboot-network/*
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mkdir -p /run/NetworkManager/initrd /run/NetworkManager/system-connections
ExecStart=/bin/sh -c 'rm -f /run/NetworkManager/system-connections/*'
ExecStart=/bin/sh -c 'cp /etc/coreos-firstboot-network/* /run/NetworkManager/system-connections'
ExecStart=/bin/touch /run/NetworkManager/initrd/neednet
"""
_REPORT = """\
[Unit]
DefaultDependencies=no
Wants=nm-wait-online-initrd.service
After=nm-wait-online-initrd.service
[Service]
Type=oneshot
ExecStart=/bin/sh /usr/libexec/report
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
"""
_SCRIPT = """\
echo
sed "s/^/arguments: /" /proc/cmdline
sha256sum /config.ign
nmcli --colors no -t -f FILENAME,STATE,ACTIVE connection show | sed "s/^/profile: /"
ip -o address show | sed "s/^/address: /"
url=$(sed -n 's/.* coreos.live.rootfs_url=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
curl --silent --show-error --fail --head --output /dev/null "$url" &&
    curl --silent --show-error --fail "$url" | sha256sum | sed "s/ .*//; s/^/rootfs: /"
echo o > /proc/sysrq-trigger
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the live system found; ``digest`` and ``rootfs`` are SHA-256 in hexadecimal.

    ``profiles`` are the files of the active profiles, ``addresses`` those of all interfaces, with
    their prefixes.
    """

    arguments: tuple[str, ...]
    digest: str
    profiles: tuple[str, ...]
    addresses: tuple[str, ...]
    rootfs: str


def media() -> release.Media:
    """A release with that initramfs, made once and kept in the cache."""
    dracut = parts.program("dracut", "dracut-core")
    parts.file("/usr/lib/dracut/modules.d/35network-manager/module-setup.sh", "dracut-network")
    parts.program("NetworkManager", "network-manager")
    versions = subprocess.run(
        ["dpkg-query", "-W", *_PACKAGES], capture_output=True, text=True, check=True
    )

    def write_initramfs(target: Path) -> None:
        with cache.scratch() as more:
            units = more / "etc/systemd/system"
            wanted = units / "initrd.target.wants"
            wanted.mkdir(parents=True)
            for name, unit in (("copy-network", _COPY), ("report", _REPORT)):
                (units / f"{name}.service").write_text(unit)
                (wanted / f"{name}.service").symlink_to(f"../{name}.service")
            (more / "usr/libexec").mkdir(parents=True)
            (more / "usr/libexec/report").write_text(_SCRIPT)
            modules = kernel.modules()
            done = subprocess.run(
                [
                    *(dracut, "--quiet", "--no-hostonly", "--no-hostonly-cmdline"),
                    *("--reproducible", "--no-early-microcode", "--compress", "gzip -1"),
                    *("--tmpdir", more.parent, "--kmoddir", modules, "--kver", modules.name),
                    *("--modules", " ".join(_MODULES), "--drivers", " ".join(kernel.NETWORK)),
                    *("--include", more, "/", "--install", "curl sha256sum cp mkdir rm sed touch"),
                    target,
                ],
                env={**os.environ, "DRACUT_KMODDIR_OVERRIDE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_BUILD,
                check=False,
            )
            assert done.returncode == 0, done.stdout
            target.chmod(0o644)

    key = "\n".join([versions.stdout, *_MODULES, _COPY, _REPORT, _SCRIPT])
    return release.made("live-network", key, write_initramfs)


def boot(command: list[str | os.PathLike[str]]) -> Found:
    """Run a guest to its end; return what it found."""
    console = guest.console(command)

    def lines(name: str) -> list[str]:
        return re.findall(rf"^{name}: (.*?)\s*$", console, re.MULTILINE)

    found = re.search(r"^([0-9a-f]{64})  /config\.ign\s*$", console, re.MULTILINE)
    rootfs = lines("rootfs")
    assert found, console
    assert rootfs, console
    profiles = [line.removesuffix(":activated:yes") for line in lines("profile")]
    return Found(
        arguments=tuple(lines("arguments")[0].split()),
        digest=found[1],
        profiles=tuple(profiles),
        addresses=tuple(re.findall(r" inet6? (\S+)", "\n".join(lines("address")))),
        rootfs=rootfs[0],
    )
