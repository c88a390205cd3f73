"""The endpoints that a booted host must reach, by the settings that name them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from mic.common.endpoint import Endpoint, bypasses_proxy, endpoint, proxy_endpoint
from mic.ignition import Agent
from mic.ignition.agent import INSPECTOR_PORT, IRONIC_PORT
from mic.reachability.registry import sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Endpoints of which the host must reach one.

    ``setting`` names the variable that gives them, ``what`` is for people, for example "Ironic",
    and ``caveat`` what to add to a warning.
    """

    setting: str
    what: str
    endpoints: tuple[Endpoint, ...]
    caveat: str = ""


@lru_cache(maxsize=8)
def needs(agent: Agent, *, rootfs_url: str = "", early_network: bool = False) -> tuple[Need, ...]:
    """Return what a host needs: Ironic, inspector, the agent's registry, proxies, and the rootfs.

    ``rootfs_url`` is empty for hosts that do not fetch it. ``early_network``: the initramfs, which
    fetches it, has the host's network; otherwise it has DHCP. An endpoint that the agent reaches by
    a proxy is replaced by that proxy: podman passes the proxies to the agent. They are the same for
    most hosts.
    """
    found = [
        _need(agent, "IRONIC_BASE_URL", "Ironic", _endpoints(agent.ironic_urls, IRONIC_PORT)),
        _need(
            agent,
            "IRONIC_INSPECTOR_BASE_URL",
            "the inspector",
            _endpoints(agent.inspector_urls, INSPECTOR_PORT),
        ),
        _need(
            agent,
            "IRONIC_AGENT_IMAGE",
            "the registry of the agent's image",
            sources(agent.image, agent.registries_conf),
        ),
        # Fetched without a proxy.
        Need(
            setting="IRONIC_ROOTFS_URL",
            what="the rootfs",
            endpoints=_endpoints([rootfs_url], 0),
            caveat="" if early_network else "that is fine if DHCP in the initramfs reaches it",
        ),
    ]
    return tuple(need for need in dict.fromkeys(found) if need.endpoints)


def _endpoints(urls: Iterable[str], port: int) -> tuple[Endpoint, ...]:
    return tuple(found for url in urls if (found := endpoint(url, port)) is not None)


def _need(agent: Agent, setting: str, what: str, targets: tuple[Endpoint, ...]) -> Need:
    """Return the need for one of these targets, or for the proxy through which all are reached."""
    ways = [_way(agent, target) for target in targets]
    names = [name for name, _ in ways if name]
    if ways and len(names) == len(ways):
        setting, what = names[0], "the proxy"
    return Need(setting=setting, what=what, endpoints=tuple(dict.fromkeys(end for _, end in ways)))


def _way(agent: Agent, target: Endpoint) -> tuple[str, Endpoint]:
    """Return the proxy for a target, and the variable that names it; else the target itself."""
    https = target.scheme == "https"
    name, text = ("HTTPS_PROXY", agent.https_proxy) if https else ("HTTP_PROXY", agent.http_proxy)
    proxy = proxy_endpoint(text)
    return (
        ("", target) if proxy is None or bypasses_proxy(target, agent.no_proxy) else (name, proxy)
    )
