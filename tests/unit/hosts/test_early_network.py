"""Keyfiles in the initramfs: which members, and which profiles are refused."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest

from mic.common.errors import BuildInvalid
from mic.common.keyfile import Keyfile
from mic.hosts.early_network import members
from mic.media.cpio import Member, archive, config_of
from mic.nmstate import keyfiles

STATIC = "[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\n"
DHCP = keyfiles(
    "interfaces: [{name: eth0, type: ethernet, state: up, ipv4: {enabled: true, dhcp: true}}]"
)


def test_nothing_for_a_host_without_keyfiles() -> None:
    assert members(()) == ()


def test_directories_come_before_profiles() -> None:
    found = members((Keyfile(name="eth0.nmconnection", content=STATIC),))
    assert [(member.path, oct(member.mode)) for member in found] == [
        ("etc", "0o40755"),
        ("etc/coreos-firstboot-network", "0o40755"),
        ("etc/coreos-firstboot-network/eth0.nmconnection", "0o100600"),
    ]
    assert found[-1].data.decode() == STATIC
    assert "eth0" not in repr(found[-1]).replace("eth0.nmconnection", "")


def test_dhcp_gives_up_in_the_initramfs() -> None:
    assert "dhcp-timeout=2147483647" in DHCP[0].content
    content = members(DHCP)[-1].data.decode()
    assert "dhcp-timeout=90\n" in content
    assert content.replace("dhcp-timeout=90", "dhcp-timeout=2147483647") == DHCP[0].content


def test_other_timeouts_stay() -> None:
    content = f"{STATIC}[ipv4]\ndhcp-timeout=21474836470\nmay-dhcp-timeout=2147483647\n"
    assert members((Keyfile(name="a", content=content),))[-1].data.decode() == content


@pytest.mark.parametrize(
    "section",
    ["[connection]\ninterface-name=eth0\n", "[ethernet]\nmac-address=02:00:00:00:00:01\n"],
)
def test_takes_profiles_for_one_device(section: str) -> None:
    assert members((Keyfile(name="a.nmconnection", content=f"[connection]\nid=a\n{section}"),))


@pytest.mark.parametrize("content", ["[connection]\nid=a\n", "[connection]\ninterface-name=\n"])
def test_refuses_profiles_for_any_device(content: str) -> None:
    with pytest.raises(BuildInvalid, match=r"a\.nmconnection names neither"):
        members((Keyfile(name="a.nmconnection", content=content),))


def test_the_archive_has_the_config_first_and_then_the_members() -> None:
    data = archive(b"{}", members(DHCP))
    assert config_of(data) == b"{}"
    found = list(entries(zlib.decompress(data, wbits=31)))
    assert [(name, oct(mode)) for name, mode in found] == [
        ("config.ign", "0o100644"),
        ("etc", "0o40755"),
        ("etc/coreos-firstboot-network", "0o40755"),
        ("etc/coreos-firstboot-network/eth0.nmconnection", "0o100600"),
        ("TRAILER!!!", "0o0"),
    ]


def entries(cpio: bytes) -> Iterator[tuple[str, int]]:
    """Yield the names and modes of a newc archive."""
    position = 0
    while position < len(cpio):
        fields = [int(cpio[position + at : position + at + 8], 16) for at in range(6, 110, 8)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        start = position + 110
        yield cpio[start : start + name_size - 1].decode(), mode
        body = -(-(start + name_size) // 4) * 4
        position = -(-(body + size) // 4) * 4


def test_members_of_equal_input_are_equal() -> None:
    assert archive(b"{}", members(DHCP)) == archive(b"{}", members(DHCP))
    assert archive(b"{}", ()) == archive(b"{}")
    assert Member("a", 0o100644) == Member("a", 0o100644)
