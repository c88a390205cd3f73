"""Reads keyfiles as strictly as libnm can, for the system's Python, which has its bindings.

Standard input is a JSON list of keyfile texts; standard output a list of lists of complaints.
NetworkManager itself reads past much of what is wrong with a keyfile: here every warning of the
reader counts, and every key that the setting of its section does not have.
"""

from __future__ import annotations

import json
import re
import sys

import gi

gi.require_version("NM", "1.0")
from gi.repository import NM, GLib  # noqa: E402

_SECTIONS = {"ethernet": "802-3-ethernet", "vpn-secrets": "vpn"}
_FREE = {"bond", "vpn", "vpn-secrets", "ethtool"}  # checked by verify(), or by the VPN's plugin
_NOT_HERE = re.compile("certificate or key file .* does not exist$")
_NUMBERED = re.compile(r"(address|route)[0-9]+(_options)?|routing-rule[0-9]+|vf\.[0-9]+|data\..+")


def complaints(content: str) -> list[str]:
    found: list[str] = []
    keyfile = GLib.KeyFile()

    def note(_keyfile, _connection, kind, data, _unused) -> bool:
        if kind == NM.KeyfileHandlerType.WARN:
            _, group, _, key = data.get_context()
            message = data.warn_get()[0]
            if not _NOT_HERE.search(message):
                found.append(f"[{group}] {key}: {message}")
        return True

    try:
        keyfile.load_from_data(content, len(content.encode()), GLib.KeyFileFlags.NONE)
        connection = NM.keyfile_read(keyfile, "/", NM.KeyfileHandlerFlags.NONE, note, None)
        connection.normalize()
        connection.verify()
    except GLib.Error as error:
        return [*found, error.message]
    for section in keyfile.get_groups()[0]:
        if section in _FREE or section == "user":
            continue
        setting = connection.get_setting_by_name(_SECTIONS.get(section, section))
        if setting is None:
            found.append(f"[{section}] is no section")
            continue
        for key in keyfile.get_keys(section)[0]:
            if setting.find_property(key) is None and not _NUMBERED.fullmatch(key):
                found.append(f"[{section}] {key} is no key")
    return found


json.dump([complaints(content) for content in json.load(sys.stdin)], sys.stdout)
