"""The Ignition config of a host (spec 3.2.0), as canonical JSON.

Specification: https://coreos.github.io/ignition/configuration-v3_2/. Equal inputs give equal
bytes: members are sorted, lists have a fixed order, and there are no random values or dates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from mic.common.errors import BuildInvalid
from mic.common.keyfile import Keyfile, check_names
from mic.common.urls import without_credentials
from mic.ignition.agent import Agent
from mic.ignition.escape import data_url, oslo_config, shell, terminal
from mic.ignition.extra import ExtraConfig
from mic.ignition.unit import AGENT_CONF, AUTH_FILE, IRONIC_CA, NAME, agent_unit

VERSION = "3.2.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The part of a config that differs from host to host.

    ``name`` is empty when it is unknown. ``network_data``: whether the host has network data, even
    if no keyfile results from it. ``extra`` are configs of the operator for this host, merged after
    those for all hosts; the last one wins.
    """

    name: str = ""
    keyfiles: tuple[Keyfile, ...] = field(default=(), repr=False)
    network_data: bool = False
    extra: tuple[ExtraConfig, ...] = ()


def lacks(agent: Agent) -> Iterator[str]:
    """Yield which settings are missing without which no image can be built, and why."""
    if not agent.ironic_urls:
        yield "IRONIC_BASE_URL is empty: the agent would not know where Ironic is"
    if not agent.image:
        yield "IRONIC_AGENT_IMAGE is empty: there is no agent to run"


def config(agent: Agent, host: Host) -> bytes:
    """Return the Ignition config of ``host``: UTF-8 JSON with sorted members.

    Raises `BuildInvalid` without Ironic's URL or the agent's image: the agent could not start, or
    not reach Ironic.
    """
    for lack in lacks(agent):
        raise BuildInvalid(lack)
    unit = agent_unit(agent, host_name=host.name, copy_network=bool(host.keyfiles))
    ignition: dict[str, Any] = {"version": VERSION}
    extra = [*map(_shared_reference, agent.extra), *(each.reference() for each in host.extra)]
    if extra:
        ignition["config"] = {"merge": extra}
    members = [f'"ignition":{_json(ignition)}']
    if agent.ssh_keys:
        # Without duplicates: Ignition refuses them ("duplicate entry defined"), and no host boots.
        keys = list(dict.fromkeys(agent.ssh_keys))
        users = {"users": [{"name": "core", "sshAuthorizedKeys": keys}]}
        members.append(f'"passwd":{_json(users)}')
    members.append(f'"storage":{{"files":[{",".join(_files(agent, host))}]}}')
    units = {"units": [{"name": NAME, "enabled": True, "contents": unit}]}
    members.append(f'"systemd":{_json(units)}')
    return f"{{{','.join(members)}}}".encode()


_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode

_shared_reference = lru_cache(maxsize=16)(ExtraConfig.reference)
"""As `ExtraConfig.reference`, for configs that all hosts have."""


def _files(agent: Agent, host: Host) -> list[str]:
    """Return the files of a host, each as JSON."""
    files = [_agent_conf(agent, network_data=host.network_data)]
    check_names(host.keyfiles)
    for keyfile in host.keyfiles:
        path = f"/etc/NetworkManager/system-connections/{keyfile.name}"
        files.append(_file(path, 0o600, keyfile.content.encode(), overwrite=True))
    if agent.pull_secret:
        files.append(_shared_file(AUTH_FILE, 0o600, agent.pull_secret))
    anchors = "/etc/pki/ca-trust/source/anchors"
    if agent.ca_bundle:
        files.append(_shared_file(f"{anchors}/ca.crt", 0o644, agent.ca_bundle, overwrite=False))
    if agent.ironic_ca_bundle:
        files.append(_shared_file(IRONIC_CA, 0o644, agent.ironic_ca_bundle, overwrite=False))
    files.append(
        _shared_file(
            "/etc/NetworkManager/conf.d/clientid.conf",
            0o644,
            b"[connection]\nipv6.dhcp-duid=ll\nipv6.dhcp-iaid=mac\n",
            overwrite=False,
        )
    )
    if agent.ntp_servers:
        lines = "".join(f"server {server} iburst\n" for server in agent.ntp_servers)
        # The last line of the file may lack its newline.
        append = [{"source": data_url(b"\n" + lines.encode())}]
        files.append(_json({"path": "/etc/chrony.conf", "mode": 0o644, "append": append}))
    if host.name:
        path = "/etc/NetworkManager/dispatcher.d/01-hostname"
        files.append(_file(path, 0o744, _set_host_name(host.name), overwrite=False))
    if agent.registries_conf:
        path = "/etc/containers/registries.conf"
        files.append(_shared_file(path, 0o644, agent.registries_conf, overwrite=True))
    files.append(_file("/etc/issue.d/ipa.issue", 0o644, _issue(host), overwrite=False))
    files.append(_file("/etc/motd.d/ipa.motd", 0o644, _motd(agent, host), overwrite=False))
    return files


def _file(path: str, mode: int, content: bytes, overwrite: bool | None = None) -> str:
    """Return a file as JSON, with sorted members."""
    # A data URL has no character that JSON escapes.
    contents = f'{{"source":"{data_url(content)}"}}'
    over = {None: "", False: '"overwrite":false,', True: '"overwrite":true,'}[overwrite]
    return f'{{"contents":{contents},"mode":{mode},{over}"path":{_json(path)}}}'


# A pull secret and CA bundles have kilobytes: encoding them takes longer than all the rest.
_shared_file = lru_cache(maxsize=16)(_file)
"""As `_file`, for files that all hosts have, or many."""


@lru_cache(maxsize=4)
def _agent_conf(agent: Agent, *, network_data: bool) -> str:
    """Return the file with the agent's settings as JSON."""
    options = {
        "api_url": agent.api_url,
        "inspection_callback_url": agent.inspection_callback_url,
        "insecure": "False" if agent.ironic_ca_bundle else "True",
        "enable_vlan_interfaces": agent.enable_vlan_interfaces(network_data=network_data),
    }
    lines = "".join(
        f"{name} = {oslo_config(value)}".rstrip() + "\n" for name, value in options.items()
    )
    return _file(AGENT_CONF, 0o644, b"[DEFAULT]\n" + lines.encode(), overwrite=False)


def _set_host_name(name: str) -> bytes:
    # POSIX shell with an absolute path: NetworkManager runs it with an almost empty environment;
    # without an interpreter line, the caller's shell would decide.
    return f"""\
#!/bin/sh
case "$DHCP6_FQDN_FQDN" in
*.*) hostnamectl set-hostname --static --transient "$DHCP6_FQDN_FQDN" ;;
esac
read -r current < /proc/sys/kernel/hostname
case "$current" in
localhost | localhost.localdomain) hostnamectl set-hostname --transient {shell(name)} ;;
esac
""".encode()


def _issue(host: Host) -> bytes:
    name = f"Host: {terminal(host.name)}\n" if host.name else ""
    return f"""\
This is an Ironic Python Agent (IPA) discovery image, run from memory to inspect
and provision this machine. It is not a node of a cluster.
{name}
""".encode()


def _motd(agent: Agent, host: Host) -> bytes:
    if host.keyfiles:
        network = "yes, by NetworkManager profiles in the image"
    elif host.network_data:
        network = "no, the given network data configures nothing"
    else:
        network = "no, none was given"
    facts = [("Ironic", _shown(agent.api_url))]
    if agent.inspector_urls:
        facts.append(("Inspector", _shown(agent.inspection_callback_url)))
    facts.append(("Agent image", agent.image))
    if host.name:
        facts.append(("Host name", host.name))
    facts.append(("Network configuration applied", network))
    lines = "".join(f"  {name}: {value}\n" for name, value in facts)
    return f"""\
This is an Ironic Python Agent (IPA) discovery image, run from memory to inspect
and provision this machine. It is not a node of a cluster.

{lines}
Useful commands:
  journalctl -u {NAME}
  systemctl status {NAME}
  ip addr
  nmcli connection show
""".encode()


def _shown(urls: str) -> str:
    """Return URLs without credentials: everyone who logs in can read this."""
    return without_credentials(urls).replace(",", ", ")
