"""Keyfiles in the initramfs: the network of a host before Ignition runs.

``coreos-copy-firstboot-network.service`` of a CoreOS live image copies them to where NetworkManager
of the initramfs reads profiles (fedora-coreos-config, ``35coreos-network``). Hosts need them that
fetch their root file system or a config; NetworkManager of the real root reads those that Ignition
writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mic.common.errors import BuildInvalid
from mic.common.keyfile import Keyfile
from mic.media.cpio import Member

DIRECTORY: Final = "etc/coreos-firstboot-network"

_DIRECTORY_MODE: Final = 0o040755
_PROFILE_MODE: Final = 0o100600  # NetworkManager refuses profiles that others can read

# NMState's DHCP never gives up; the initramfs would wait for an interface without a server.
_FOR_EVER: Final = re.compile(r"^dhcp-timeout=2147483647$", re.MULTILINE)
_PATIENCE: Final = "dhcp-timeout=90"

# A profile without any of these is used for every device of its type.
_IDENTIFIES: Final = re.compile(
    r"^(?:interface-name|mac-address|match\.[a-z-]+|path|driver)=.", re.MULTILINE
)


def members(keyfiles: Sequence[Keyfile]) -> tuple[Member, ...]:
    """Return the members of an archive that hold the keyfiles; none without keyfiles.

    Raises `BuildInvalid` for a profile that would be used for any device.
    """
    if not keyfiles:
        return ()
    for keyfile in keyfiles:
        if not _IDENTIFIES.search(keyfile.content):
            raise BuildInvalid(
                f"{keyfile.name} names neither an interface nor a MAC address: in the initramfs it "
                "would be used for every device"
            )
    parents = [Member(path, _DIRECTORY_MODE) for path in ("etc", DIRECTORY)]
    profiles = [
        Member(f"{DIRECTORY}/{each.name}", _PROFILE_MODE, _limited(each.content).encode())
        for each in keyfiles
    ]
    return (*parents, *profiles)


def _limited(content: str) -> str:
    return _FOR_EVER.sub(_PATIENCE, content)
