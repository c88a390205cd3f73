"""Changes between two versions of a host's image, by name and never by value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from stat import S_ISDIR
from typing import Any, Final

from mic.ignition.unit import AGENT_CONF, AUTH_FILE
from mic.media.cpio import CONFIG_NAME, members_of
from mic.media.customisation import Customisation
from mic.media.virtual_iso import AGENT_CONF_PATH
from mic.ramdisk.archive import AUTHORIZED_KEYS

_KEYFILES: Final = "/etc/NetworkManager/system-connections/"
_NAMES: Final = {
    AGENT_CONF: "agent settings",
    AUTH_FILE: "pull secret",
    f"/{AGENT_CONF_PATH}": "agent settings",
    f"/{AUTHORIZED_KEYS}": "SSH keys",
}
_SHOWN: Final = 8


def changes(before: Customisation, after: Customisation) -> str:
    """Return what differs, for people: ``keyfiles eth0.nmconnection, pull secret``.

    Empty if nothing does. Names of files are shown, their content is not.
    """
    old, new = _parts(before), _parts(after)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    keyfiles = [name.removeprefix(_KEYFILES) for name in names if name.startswith(_KEYFILES)]
    rest = [_NAMES.get(name, name) for name in names if not name.startswith(_KEYFILES)]
    found = [f"keyfiles {_listed(keyfiles)}"] if keyfiles else []
    return ", ".join([*found, *([_listed(rest)] if rest else [])])


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _parts(customisation: Customisation) -> dict[str, object]:
    """Return what an image consists of, by name."""
    members = {member.path: member for member in members_of(customisation.archive)}
    ignition = members.pop(CONFIG_NAME, None)
    parts: dict[str, object] = _config_parts(ignition.data) if ignition is not None else {}
    if ignition is None:
        # Without an Ignition config the archive has the files themselves.
        parts |= {
            f"/{path}": member for path, member in members.items() if not S_ISDIR(member.mode)
        }
    parts["kernel arguments"] = customisation.kernel_arguments
    parts["network in the initramfs"] = customisation.early_network
    return {name: part for name, part in parts.items() if part}


def _config_parts(ignition: bytes) -> dict[str, object]:
    config: dict[str, Any] = json.loads(ignition)
    parts: dict[str, object] = {file["path"]: file for file in config["storage"]["files"]}
    parts.update(_named(config["systemd"]["units"]))
    parts["SSH keys"] = config.get("passwd")
    parts["Ignition"] = config["ignition"].get("config")
    return parts


def _named(items: Iterable[Mapping[str, Any]]) -> dict[str, object]:
    return {item["name"]: item for item in items}
