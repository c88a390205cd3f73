"""Recognise documents that are not NMState, or that contain it in another document.

A list of the members of NMState does not help their authors. The error is one sentence instead:
what the document is, and where its NMState is or what to write.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

_MEMBERS: Final = frozenset(
    ("interfaces", "routes", "route-rules", "dns-resolver", "hostname", "ovs-db", "ovn")
)
_OBJECTS: Final = {
    "NodeNetworkConfigurationPolicy": "only what is under spec.desiredState belongs here",
    "NodeNetworkState": "only what is under status.currentState is NMState; write the desired one",
    "NMStateConfig": "only what is under spec.config belongs here",
    "Secret": "only the text under stringData.nmstate belongs here",
    "ConfigMap": "only the NMState in it belongs here",
    "BareMetalHost": "NMState belongs into the Secret of spec.preprovisioningNetworkDataName",
    "AgentConfig": "only what is under networkConfig of one host belongs here",
}
_AROUND: Final = ("networkConfig", "nmstate", "desiredState", "config", "spec", "network_config")
_AROUND_NETWORK_DATA: Final = ("networkData", "network_data")
_TEXT_OF_NMSTATE: Final = re.compile(
    r"^[ \t]*(?:interfaces|routes|route-rules|dns-resolver)[ \t]*:", re.MULTILINE
)
_NETPLAN: Final = frozenset(
    ("ethernets", "bonds", "bridges", "vlans", "wifis", "tunnels", "renderer", "dummy-devices")
)
_NETWORK_DATA: Final = frozenset(("links", "networks", "services"))
_CLOUD_CONFIG: Final = frozenset(
    (
        *("bootcmd", "chpasswd", "disable_root", "final_message", "fqdn", "groups", "packages"),
        *("package_update", "package_upgrade", "password", "runcmd", "ssh_authorized_keys"),
        *("ssh_pwauth", "timezone", "users", "write_files"),
    )
)
_WRITE_NMSTATE: Final = "write NMState: interfaces, routes, dns-resolver"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}", re.ASCII)
_SEEMS_YAML: Final = re.compile(r"\A\s*(?:\{|---|#|[\w.\"'-]+\s*:)", re.ASCII)
_MAX_BASE64: Final = 3


def sentence(content: object) -> str:
    """Return what a document that is not NMState is, in a sentence, or nothing if unknown.

    ``content`` is the document's tree. The sentence quotes nothing of it.
    """
    if isinstance(content, str):
        return _of_text(content)
    if isinstance(content, list):
        named = [item for item in content if isinstance(item, dict) and "name" in item]
        return "it is a list of interfaces: put it under interfaces:" if named else ""
    if not isinstance(content, dict):
        return ""
    found = (of(content) for of in _KINDS)
    return next((text for text in found if text), "")


def _of_object(content: Mapping[str, Any]) -> str:
    kind = content.get("kind")
    if not isinstance(content.get("apiVersion"), str):
        return ""
    if isinstance(kind, str) and kind in _OBJECTS:
        return f"it is a Kubernetes object, a {kind!s}: {_OBJECTS[kind]}"
    return "it is a Kubernetes object: only the NMState in it belongs here"


def _around(content: Mapping[str, Any]) -> str:
    if _MEMBERS & content.keys():
        return ""
    for key in _AROUND:
        inner = content.get(key)
        if isinstance(inner, str) and _TEXT_OF_NMSTATE.search(inner):
            return f"only the text under {key}: belongs here"
        if not isinstance(inner, dict):
            continue
        if _MEMBERS & inner.keys():
            return f"only what is under {key}: belongs here"
        deeper = inner.get("desiredState") or inner.get("config")
        if isinstance(deeper, dict) and _MEMBERS & deeper.keys():
            below = "desiredState" if inner.get("desiredState") else "config"
            return f"only what is under {key}.{below} belongs here"
    # Whatever is in these, nothing else in the document is network data.
    named = (key for key in _AROUND_NETWORK_DATA if key in content)
    return next((f"only what is under {key}: belongs here" for key in named), "")


def _of_agent_config(content: Mapping[str, Any]) -> str:
    hosts = content.get("hosts")
    if isinstance(hosts, list) and any(
        isinstance(host, dict) and "networkConfig" in host for host in hosts
    ):
        return "it lists hosts: only what is under networkConfig of one host belongs here"
    return ""


def _of_netplan(content: Mapping[str, Any]) -> str:
    network = content.get("network")
    inner = network if isinstance(network, dict) else content
    if str(inner.get("version")) == "1" and isinstance(inner.get("config"), list):
        return f"it is a network config of cloud-init, version 1: {_WRITE_NMSTATE}"
    version = inner is network and "version" in inner
    if (version or _NETPLAN & inner.keys()) and not _MEMBERS & inner.keys():
        return f"it is a netplan or cloud-init network config: {_WRITE_NMSTATE}"
    return ""


def _of_network_data(content: Mapping[str, Any]) -> str:
    # By itself it is read as such, and does not come here.
    if _NETWORK_DATA & content.keys() and _MEMBERS & content.keys():
        return "it has members of OpenStack network data next to those of NMState: keep one of both"
    return ""


def _of_cloud_config(content: Mapping[str, Any]) -> str:
    if _CLOUD_CONFIG & content.keys() and not (_MEMBERS - {"hostname"}) & content.keys():
        return f"it is user data of cloud-init: {_WRITE_NMSTATE}"
    return ""


_KINDS: Final[tuple[Callable[[Mapping[str, Any]], str], ...]] = (
    _of_object,
    _around,
    _of_agent_config,
    _of_network_data,
    _of_netplan,
    _of_cloud_config,
)


def _of_text(text: str) -> str:
    """Return that a text is an ifcfg file, or base64 of a document, and how often."""
    if re.match(r"[A-Z][A-Z0-9_]*=", text):
        return f"it is an ifcfg file: {_WRITE_NMSTATE}"
    times = 0
    while times < _MAX_BASE64 and (inner := _decoded(text)) is not None:
        text, times = inner, times + 1
        if _SEEMS_YAML.match(text) and not _BASE64.fullmatch("".join(text.split())):
            often = {1: "", 2: " twice", 3: " three times"}[times]
            return f"it is base64{often}: write the decoded text (of a Secret it is encoded once)"
    return ""


def _decoded(text: str) -> str | None:
    joined = "".join(text.split()).replace("-", "+").replace("_", "/")
    if not _BASE64.fullmatch(joined):
        return None
    try:
        return base64.b64decode(joined + "=" * (-len(joined) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
