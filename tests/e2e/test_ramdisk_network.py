"""A Debian system with our archive unpacked over it: what configures its interface.

systemd runs as PID 1 in a container and has the units of a stock ramdisk: glean's, from its
package, and the one for DHCP of diskimage-builder. Their programs only record that they ran.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e import cache, debian, venv
from e2e import ramdisk as ramdisks
from e2e.network_data_consumers import GLEAN

from mic.ignition import Agent
from mic.networkdata import generate
from mic.ramdisk.archive import RamdiskHost, RamdiskNetwork, archive

_BUILDER = "diskimage-builder==3.43.0"
_CARD = "52:54:00:12:34:56"
_NETWORK_DATA = f"""\
{{"links": [{{"id": "port0", "type": "phy", "ethernet_mac_address": "{_CARD}"}}],
 "networks": [{{"id": "n0", "link": "port0", "type": "ipv4", "network_id": "n0",
               "ip_address": "192.0.2.11", "netmask": "255.255.255.0"}}],
 "services": []}}
"""
_HOST = RamdiskHost(
    keyfiles=generate(_NETWORK_DATA).keyfiles, network_data=_NETWORK_DATA.encode(), described=True
)

# udev does not run in containers; a stock ramdisk's rules want these two of each interface.
_INTERFACES = """\
[Unit]
Wants=glean@eth0.service dhcp-interface@eth0.service
# Not by default: they have no default dependencies.
After=glean@eth0.service dhcp-interface@eth0.service
"""
_RECORD = """\
#!/bin/sh
echo "${0##*/}" >> /var/lib/e2e/ran
"""
_REPORT_UNIT = """\
[Unit]
Wants=network-online.target
After=network-online.target interfaces.target
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/report
"""
_REPORT = """\
#!/bin/sh
cd /var/lib/e2e || exit 1
touch ran
nmcli -t -f NAME,DEVICE,STATE connection show --active > connections

finish() { # NAME OF THE ROUND: keep what ran
    sort ran > "$1.ran"
    systemctl show --value --property=LoadState glean@eth0 dhcp-interface@eth0 > "$1.loaded"
    systemctl stop interfaces.target glean@eth0 dhcp-interface@eth0
    : > ran
}

start() { # ARCHIVE: a ramdisk with that archive
    cp -a "/archives/$1/." /
    systemctl daemon-reload
    systemctl start interfaces.target
}

remove() { # ARCHIVE
    (cd "/archives/$1" && find . ! -type d) | while read -r file; do rm "/$file"; done
}

finish auto
remove auto
start networkmanager
finish networkmanager
remove networkmanager
start stock
finish stock
rm /usr/sbin/NetworkManager
cp "/units/glean@.service" /usr/lib/systemd/system
start auto
finish without-networkmanager
remove auto
start glean
finish glean
systemctl --no-block poweroff
"""
_FILES = {
    # A first boot, at which systemd applies presets.
    "etc/machine-id": ("uninitialized\n", 0o644),
    "etc/systemd/system-preset/00-test.preset": ("disable systemd-networkd*\n", 0o644),
    # Only what has a keyfile: the veth's other end would be configured as well.
    "etc/NetworkManager/conf.d/test.conf": ("[main]\nno-auto-default=*\n", 0o644),
    "etc/systemd/system/interfaces.target": (_INTERFACES, 0o644),
    "etc/systemd/system/report.service": (_REPORT_UNIT, 0o644),
    "usr/local/sbin/report": (_REPORT, 0o755),
    "usr/local/sbin/python-glean": (_RECORD, 0o755),
    "usr/local/sbin/dhcp-all-interfaces.sh": (_RECORD, 0o755),
    "usr/sbin/ifup": ("#!/bin/sh\n", 0o755),
}
_BOTH = ["dhcp-all-interfaces.sh", "python-glean"]


@pytest.fixture(scope="module")
def reports() -> Iterator[Path]:
    """What the system wrote about itself, booted once and switched off again."""
    source = debian.networkmanager_tree()
    with cache.scratch() as work:
        tree = work / "root"
        debian.copy(source, tree)
        _write(tree)
        debian.boot(tree, address=_CARD)
        yield tree / "var/lib/e2e"


def _write(tree: Path) -> None:
    debian.write(tree, _FILES)
    (tree / "var/lib/e2e").mkdir()
    (tree / "units").mkdir()
    units = tree / "usr/lib/systemd/system"
    glean = _packaged(GLEAN, "glean/init")
    for name, target in (("glean-nm@", units), ("glean@", tree / "units")):
        text = (glean / f"{name}.service").read_text()
        text = text.replace("%%GLEAN_SCRIPTS_DIR%%", "/usr/local/sbin").replace(
            "%%EXTRA_ARGS%%", ""
        )
        (target / "glean@.service").write_text(text)
    element = _packaged(_BUILDER, "diskimage_builder/elements/dhcp-all-interfaces/install.d")
    text = (element / "dhcp-interface@.service").read_text()
    (units / "dhcp-interface@.service").write_text(text.replace("DIB_DHCP_TIMEOUT", "60s"))
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    for unit in ("interfaces.target", "report.service"):
        (wants / unit).symlink_to(f"/etc/systemd/system/{unit}")

    archives = tree / "archives"
    (archives / "stock").mkdir(parents=True)
    for by in RamdiskNetwork:
        ramdisks.unpack(archive(Agent(image=""), _HOST, by), archives / by)
    # As the kernel: over what is there.
    shutil.copytree(archives / "auto", tree, symlinks=True, dirs_exist_ok=True)


def _packaged(requirement: str, directory: str) -> Path:
    """A directory of a package from PyPI."""
    python = venv.python_with(requirement, *(("--no-deps",) if requirement == _BUILDER else ()))
    (found,) = python.parent.parent.glob(f"lib/python3*/site-packages/{directory}")
    return found


@pytest.mark.parametrize(
    ("case", "ran", "loaded"),
    [
        ("stock", _BOTH, ["loaded", "loaded"]),
        ("auto", [], ["loaded", "loaded"]),
        # As in a ramdisk of Ironic's own.
        ("without-networkmanager", _BOTH, ["loaded", "loaded"]),
        ("networkmanager", [], ["masked", "masked"]),
        ("glean", ["python-glean"], ["loaded", "masked"]),
    ],
)
def test_what_runs_for_an_interface(
    case: str, ran: list[str], loaded: list[str], reports: Path
) -> None:
    """In a ramdisk with NetworkManager: neither glean nor a second DHCP client."""
    assert (reports / f"{case}.ran").read_text().split() == ran
    assert (reports / f"{case}.loaded").read_text().split() == loaded


def test_networkmanager_activates_the_keyfile_alone(reports: Path) -> None:
    lines = (reports / "connections").read_text().splitlines()
    assert [line for line in lines if not line.startswith("lo:")] == ["port0:eth0:activated"]
