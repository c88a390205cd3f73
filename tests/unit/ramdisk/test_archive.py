"""The archive after an initramfs: what is in it, where, and in which order."""

from __future__ import annotations

import configparser
import stat

import pytest

from mic.common.errors import BuildInvalid
from mic.common.keyfile import Keyfile
from mic.ignition import Agent
from mic.media.cpio import Member, members_of
from mic.media.kernel_arguments import parse
from mic.ramdisk.archive import (
    RamdiskHost,
    RamdiskNetwork,
    agent_conf,
    archive,
    checked_arguments,
    iso_files,
    members,
    warnings,
)

CONF = "etc/ironic-python-agent.d/50-mic.conf"
DATA = "mnt/config/openstack/latest/network_data.json"
PROFILE = "etc/NetworkManager/system-connections/eth0.nmconnection"
UNITS = "etc/systemd/system"
NETWORKD = {"etc/systemd/network/99-dhcp.network", f"{UNITS}/systemd-networkd-wait-online.service"}
IFUPDOWN = "etc/network/interfaces.d"
BARE = Agent(image="")
FULL = Agent(
    image="",
    ironic_urls=("https://192.0.2.2", "https://[2001:db8::2]:6385"),
    inspector_urls=("http://192.0.2.2",),
    ssh_keys=("ssh-ed25519 A", "ssh-ed25519 B", "ssh-ed25519 A"),
    ntp_servers=("ntp1.example", "ntp2.example"),
    ca_bundle=b"bundle",
    ironic_ca_bundle=b"ironic",
)
HOST = RamdiskHost(
    keyfiles=(Keyfile(name="eth0.nmconnection", content="[connection]\n"),),
    network_data=b'{"links": []}',
    described=True,
)


def files(
    agent: Agent, host: RamdiskHost, network: RamdiskNetwork = RamdiskNetwork.AUTO
) -> dict[str, Member]:
    found = members_of(archive(agent, host, network))
    return {member.path: member for member in found if not stat.S_ISDIR(member.mode)}


def options(agent: Agent, *, described: bool = False) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(agent_conf(agent, described=described).decode())
    return dict(parser["DEFAULT"])


@pytest.mark.parametrize("network", RamdiskNetwork)
@pytest.mark.parametrize("agent", [BARE, FULL])
@pytest.mark.parametrize("host", [RamdiskHost(), HOST])
def test_each_directory_comes_before_what_is_in_it(
    agent: Agent, host: RamdiskHost, network: RamdiskNetwork
) -> None:
    seen = {""}
    for member in members(agent, host, network):
        assert member.path not in seen
        assert member.path.rpartition("/")[0] in seen
        if stat.S_ISDIR(member.mode):
            seen.add(member.path)


def test_settings_of_the_agent() -> None:
    assert options(FULL) == {
        "api_url": "https://192.0.2.2:6385,https://[2001:db8::2]:6385",
        "inspection_callback_url": "http://192.0.2.2:5050/v1/continue",
        "cafile": "/etc/pki/ca-trust/source/anchors/ironic-ca.crt",
        "ntp_server": "ntp1.example",
        "enable_vlan_interfaces": "all",
    }


def test_says_nothing_that_would_replace_what_ironic_says() -> None:
    """Files win over the kernel line: never insecure, and no URL without one."""
    assert options(BARE, described=True) == {}


def test_dollars_are_not_substituted() -> None:
    agent = Agent(image="", ironic_urls=("http://u:p$a@192.0.2.1:1",))
    assert options(agent)["api_url"] == "http://u:p$$a@192.0.2.1:1"


def test_files_and_their_modes() -> None:
    found = files(FULL, HOST)
    regular = {path: member for path, member in found.items() if stat.S_ISREG(member.mode)}
    assert {path: stat.S_IMODE(member.mode) for path, member in regular.items()} == {
        CONF: 0o644,
        "etc/pki/ca-trust/source/anchors/ca.crt": 0o644,
        "etc/pki/ca-trust/source/anchors/ironic-ca.crt": 0o644,
        "usr/local/share/ca-certificates/ca.crt": 0o644,
        "usr/local/share/ca-certificates/ironic-ca.crt": 0o644,
        "root/.ssh/authorized_keys": 0o600,
        DATA: 0o644,
        PROFILE: 0o600,
        f"{UNITS}/glean@.service.d/50-mic.conf": 0o644,
        f"{UNITS}/dhcp-interface@.service.d/50-mic.conf": 0o644,
    }
    assert found["root/.ssh/authorized_keys"].data == b"ssh-ed25519 A\nssh-ed25519 B\n"
    assert found[DATA].data == HOST.network_data
    assert found["etc/pki/ca-trust/source/anchors/ironic-ca.crt"].data == b"ironic"
    directories = {m.path: stat.S_IMODE(m.mode) for m in members(FULL, HOST, RamdiskNetwork.AUTO)}
    assert directories["root"] == directories["root/.ssh"] == 0o700
    assert directories["etc"] == 0o755


def test_a_host_without_network_data_keeps_the_ramdisks_own_network() -> None:
    assert set(files(BARE, RamdiskHost())) == {CONF}


def masks(host: RamdiskHost, network: RamdiskNetwork) -> set[str]:
    """What an archive has as links to nowhere."""
    found = files(BARE, host, network)
    masked = {path for path, member in found.items() if member.mode == 0o120777}
    assert {found[path].data for path in masked} <= {b"/dev/null"}
    return masked


def has_ifupdown(host: RamdiskHost, network: RamdiskNetwork) -> bool:
    return IFUPDOWN in {member.path for member in members(BARE, host, network)}


def test_networkmanager_alone() -> None:
    masked = {f"{UNITS}/glean@.service", f"{UNITS}/dhcp-interface@.service", *NETWORKD}
    assert masks(HOST, RamdiskNetwork.NETWORKMANAGER) == masked
    assert set(files(BARE, HOST, RamdiskNetwork.NETWORKMANAGER)) == {CONF, PROFILE, *masked}
    assert not has_ifupdown(HOST, RamdiskNetwork.NETWORKMANAGER)


def test_glean_alone() -> None:
    masked = {f"{UNITS}/dhcp-interface@.service", *NETWORKD}
    assert masks(HOST, RamdiskNetwork.GLEAN) == masked
    assert set(files(BARE, HOST, RamdiskNetwork.GLEAN)) == {CONF, DATA, *masked}
    assert has_ifupdown(HOST, RamdiskNetwork.GLEAN)


def test_networkd_of_a_stock_ramdisk_stands_back_for_either() -> None:
    assert masks(HOST, RamdiskNetwork.AUTO) == NETWORKD
    assert has_ifupdown(HOST, RamdiskNetwork.AUTO)
    nmstate = RamdiskHost(keyfiles=HOST.keyfiles, described=True)
    assert masks(nmstate, RamdiskNetwork.AUTO) == NETWORKD
    assert not has_ifupdown(nmstate, RamdiskNetwork.AUTO)


def test_network_data_without_an_interface_keeps_the_ramdisks_own_network() -> None:
    host = RamdiskHost(network_data=b"{}", described=True)
    assert set(files(BARE, host)) == {CONF, DATA}
    assert not has_ifupdown(host, RamdiskNetwork.AUTO)


def test_glean_without_network_data_keeps_dhcp_and_warns() -> None:
    host = RamdiskHost(keyfiles=HOST.keyfiles, described=True)
    assert set(files(BARE, host, RamdiskNetwork.GLEAN)) == {CONF}
    (warning,) = warnings(host, RamdiskNetwork.GLEAN)
    assert "NMState means nothing to glean" in str(warning)
    for quiet in (HOST, RamdiskHost()):
        assert list(warnings(quiet, RamdiskNetwork.GLEAN)) == []
    assert list(warnings(host, RamdiskNetwork.AUTO)) == []


def test_network_data_that_glean_cannot_use_has_a_warning_where_glean_may_read_it() -> None:
    data = b'{"links": [{"id": "a", "name": "a"}], "networks": [{"link": "a", "type": "dhcp"}]}'
    host = RamdiskHost(network_data=data, described=True)
    found = {each: len(list(warnings(host, each))) for each in RamdiskNetwork}
    assert found == {
        RamdiskNetwork.AUTO: 3,
        RamdiskNetwork.NETWORKMANAGER: 0,
        RamdiskNetwork.GLEAN: 4,
    }


def test_a_virtual_iso_has_the_same_settings_and_network_data() -> None:
    found = files(FULL, HOST)
    assert iso_files(FULL, HOST, RamdiskNetwork.AUTO) == {
        CONF: found[CONF].data,
        "openstack/latest/network_data.json": HOST.network_data,
    }
    assert set(iso_files(FULL, HOST, RamdiskNetwork.NETWORKMANAGER)) == {CONF}


def test_arguments_that_mic_sets_are_refused() -> None:
    assert checked_arguments([parse("a=1 a=1 b", "x"), parse("b c", "y")]) == ("a=1", "b", "c")
    for word in ("boot_method=vmedia", "ir_pub_id=x"):
        with pytest.raises(BuildInvalid, match=f"{word} cannot be added"):
            checked_arguments([parse(word, "x")])
