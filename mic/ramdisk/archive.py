"""The archive after an initramfs that has the agent in it, and its settings in a virtual ISO.

Such an initramfs, as diskimage-builder makes it, is the whole system: it is never left for another
root, so files stay where the archive puts them. The agent, glean and NetworkManager read them there
(ironic-python-agent-builder, ``ironic-python-agent.service``).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mic.common.errors import BuildInvalid
from mic.common.keyfile import Keyfile, check_names
from mic.common.warning import HostWarning
from mic.ignition import Agent
from mic.ignition.escape import oslo_config
from mic.media.cpio import Member, packed
from mic.media.kernel_arguments import ArgumentEdits, appended
from mic.media.virtual_iso import AGENT_CONF_PATH, NETWORK_DATA_PATH
from mic.networkdata import gleaning_doubts

AUTHORIZED_KEYS: Final = "root/.ssh/authorized_keys"
IRONIC_CA: Final = "etc/pki/ca-trust/source/anchors/ironic-ca.crt"

_CONFIG_DRIVE: Final = "mnt/config"
"""Where a ramdisk mounts a config drive, and glean reads it, mounted or not."""
_KEYFILES: Final = "etc/NetworkManager/system-connections"
_UNITS: Final = "etc/systemd/system"
_ANCHORS: Final = ("etc/pki/ca-trust/source/anchors", "usr/local/share/ca-certificates")
"""Certificates of the Red Hat and of the Debian family."""

_DIRECTORY: Final = 0o040755
_PRIVATE_DIRECTORY: Final = 0o040700
_FILE: Final = 0o100644
_PRIVATE_FILE: Final = (
    0o100600  # NetworkManager and sshd refuse files that others can write or read
)
_LINK: Final = 0o120777

_GLEAN: Final = "glean@.service"
_DHCP: Final = "dhcp-interface@.service"
"""Units that configure each interface of a stock ramdisk: simple-init and dhcp-all-interfaces."""
_NETWORKD_DHCP: Final = "etc/systemd/network/99-dhcp.network"
"""By this file of a stock ramdisk of Debian systemd-networkd takes each interface for DHCP.

glean configures the same interface, and NetworkManager leaves alone what has an address.
"""
_NETWORKD_WAIT: Final = "systemd-networkd-wait-online.service"
"""Waits two minutes when systemd-networkd has no interface to configure."""
_IFUPDOWN: Final = "etc/network/interfaces.d"
"""glean writes into it, and fails without it. A stock ramdisk of Debian has removed it."""
_WITHOUT_NETWORKMANAGER: Final = b"""\
[Unit]
ConditionPathExists=!/usr/sbin/NetworkManager
"""

_RESERVED: Final = {
    "boot_method": "mic sets it for virtual ISOs",
    "ir_pub_id": "mic sets it: the agent finds its medium by it",
}


class RamdiskNetwork(StrEnum):
    """Program that configures the network of a ramdisk."""

    AUTO = "auto"
    """NetworkManager if the ramdisk has it, else glean."""
    NETWORKMANAGER = "networkmanager"
    GLEAN = "glean"


@dataclass(frozen=True, slots=True, kw_only=True)
class RamdiskHost:
    """The part of an archive that differs from host to host.

    ``network_data`` is a document of OpenStack as it was given, None for a host without one;
    ``keyfiles`` are made of that or of NMState. ``described``: the host has either, even if no
    keyfile results from it.
    """

    keyfiles: tuple[Keyfile, ...] = field(default=(), repr=False)
    network_data: bytes | None = field(default=None, repr=False)
    described: bool = False


def archive(agent: Agent, host: RamdiskHost, network: RamdiskNetwork) -> bytes:
    """Return the archive that follows the initramfs. Equal input gives equal bytes.

    Raises `BuildInvalid` for keyfiles with unusable names.
    """
    return packed(members(agent, host, network))


def members(agent: Agent, host: RamdiskHost, network: RamdiskNetwork) -> tuple[Member, ...]:
    """Return the members of the archive: each directory before what is in it.

    The kernel drops a file whose directory is missing.
    """
    files = list(_files(agent, host, network))
    directories: dict[str, None] = {}
    for file in files:
        directories.update(dict.fromkeys(_parents(file.path)))
    private = {posixpath.dirname(file.path) for file in files if file.mode == _PRIVATE_FILE}
    return (
        *(
            Member(path, _PRIVATE_DIRECTORY if path in private or path == "root" else _DIRECTORY)
            for path in directories
        ),
        *files,
    )


def iso_files(agent: Agent, host: RamdiskHost, network: RamdiskNetwork) -> dict[str, bytes]:
    """Return the files of a virtual ISO that ramdisks read from it, by path."""
    files = {AGENT_CONF_PATH: agent_conf(agent, described=host.described)}
    if host.network_data is not None and network is not RamdiskNetwork.NETWORKMANAGER:
        files[NETWORK_DATA_PATH] = host.network_data
    return files


def agent_conf(agent: Agent, *, described: bool) -> bytes:
    """Return the agent's settings, a file of oslo.config.

    Settings in files win over those on the kernel line, where Ironic puts its own. So there is no
    ``insecure``: it would switch verification off in ramdisks that verify.
    """
    options = {
        "api_url": agent.api_url,
        "inspection_callback_url": agent.inspection_callback_url,
        "cafile": f"/{IRONIC_CA}" if agent.ironic_ca_bundle else "",
        "ntp_server": agent.ntp_servers[0] if agent.ntp_servers else "",
        "enable_vlan_interfaces": agent.enable_vlan_interfaces(network_data=described),
    }
    lines = "".join(f"{name} = {oslo_config(value)}\n" for name, value in options.items() if value)
    return b"[DEFAULT]\n" + lines.encode()


def warnings(host: RamdiskHost, network: RamdiskNetwork) -> Iterator[HostWarning]:
    """Yield doubts about a host's network in such a ramdisk."""
    if host.described and host.network_data is None and network is RamdiskNetwork.GLEAN:
        text = (
            "NMState means nothing to glean (MIC_RAMDISK_NETWORK): the host will use DHCP; give "
            "OpenStack network data"
        )
        yield HostWarning("network data", text, f"network data: {text}")
    if host.network_data is not None and network is not RamdiskNetwork.NETWORKMANAGER:
        only_glean = network is RamdiskNetwork.GLEAN
        yield from gleaning_doubts(host.network_data, only_glean=only_glean)


def checked_arguments(arguments: Iterable[ArgumentEdits]) -> tuple[str, ...]:
    """Return the kernel arguments of a host; raise `BuildInvalid` for one that is not possible."""
    words = appended(arguments)
    for word in words:
        reason = _RESERVED.get(word.partition("=")[0])
        if reason:
            raise BuildInvalid(f"the kernel argument {word} cannot be added: {reason}")
    return words


def _files(agent: Agent, host: RamdiskHost, network: RamdiskNetwork) -> Iterator[Member]:
    yield Member(AGENT_CONF_PATH, _FILE, agent_conf(agent, described=host.described))
    yield from _certificates(agent)
    if agent.ssh_keys:
        keys = "".join(f"{key}\n" for key in dict.fromkeys(agent.ssh_keys))
        yield Member(AUTHORIZED_KEYS, _PRIVATE_FILE, keys.encode())
    yield from _network(host, network)


def _network(host: RamdiskHost, network: RamdiskNetwork) -> Iterator[Member]:
    data = None if network is RamdiskNetwork.NETWORKMANAGER else host.network_data
    if data is not None:
        yield Member(f"{_CONFIG_DRIVE}/{NETWORK_DATA_PATH}", _FILE, data)
    if network is RamdiskNetwork.GLEAN:
        if data is None:
            return
        yield _masked(_DHCP)
    elif host.keyfiles:
        yield from _keyfiles(host.keyfiles, network)
    else:
        return
    if data is not None:
        yield Member(_IFUPDOWN, _DIRECTORY)
    yield Member(_NETWORKD_DHCP, _LINK, b"/dev/null")
    yield _masked(_NETWORKD_WAIT)


def _certificates(agent: Agent) -> Iterator[Member]:
    bundles = {"ca.crt": agent.ca_bundle, "ironic-ca.crt": agent.ironic_ca_bundle}
    for directory in _ANCHORS:
        for name, bundle in bundles.items():
            if bundle:
                yield Member(f"{directory}/{name}", _FILE, bundle)


def _keyfiles(keyfiles: tuple[Keyfile, ...], network: RamdiskNetwork) -> Iterator[Member]:
    check_names(keyfiles)
    for keyfile in keyfiles:
        yield Member(f"{_KEYFILES}/{keyfile.name}", _PRIVATE_FILE, keyfile.content.encode())
    # Or they would make a second profile for each interface, and wait for DHCP on all of them.
    for unit in (_GLEAN, _DHCP):
        if network is RamdiskNetwork.NETWORKMANAGER:
            yield _masked(unit)
        else:
            yield Member(f"{_UNITS}/{unit}.d/50-mic.conf", _FILE, _WITHOUT_NETWORKMANAGER)


def _masked(unit: str) -> Member:
    return Member(f"{_UNITS}/{unit}", _LINK, b"/dev/null")


def _parents(path: str) -> Iterator[str]:
    directory = posixpath.dirname(path)
    if directory:
        yield from _parents(directory)
        yield directory
