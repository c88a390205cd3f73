"""Make the source of hosts that the settings name, with all that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mic.common.threads import Threads
from mic.hosts import HostSource
from mic.hosts.agent_files import AgentFiles
from mic.hosts.archive import ForAllHosts
from mic.hosts.build import Builder, Builds
from mic.hosts.convert import Conversion
from mic.hosts.directory import StaticHosts
from mic.hosts.publish import Publisher
from mic.images.bases import Bases
from mic.images.store import Store
from mic.settings.model import Mode, Settings

if TYPE_CHECKING:
    from mic.hosts.cluster import ClusterHosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A source of hosts, what it counts, and itself again if it is a cluster."""

    source: HostSource
    builds: Builds
    cluster: ClusterHosts | None = None


def make_hosts(
    settings: Settings, reactor: Any, *, threads: Threads, images: Store, bases: Bases
) -> Made:
    """Return the source of hosts for the settings' mode.

    Raises `ConfigError` when it cannot be used.
    """
    conversion = Conversion(settings.nmstate_backend, reactor, threads)
    builder = Builder(
        threads,
        external=conversion.external,
        at_once=conversion.at_once,
        for_all=ForAllHosts.of(settings),
    )
    agent_files = AgentFiles(settings.agent, threads)
    publisher = Publisher(
        images,
        publish_url=settings.publish_url,
        http_publish_url=settings.http_publish_url,
    )
    if settings.mode is Mode.STATIC:
        source = StaticHosts(
            directory=settings.nmstate_dir,
            images=images,
            bases=bases,
            agent_files=agent_files,
            builder=builder,
            publisher=publisher,
            threads=threads,
            reactor=reactor,
            rootfs_url=settings.rootfs_url,
        )
        return Made(source=source, builds=builder.builds)
    # Imported here: static mode does without these 4 MiB.
    from mic.hosts.cluster import ClusterHosts
    from mic.hosts.provider import Provider

    provider = Provider(
        rootfs_url=settings.rootfs_url,
        host_architecture=settings.host_architecture,
        url_key=settings.url_key,
        images=images,
        bases=bases,
        agent_files=agent_files,
        builder=builder,
        publisher=publisher,
        ipxe=settings.ipxe,
    )
    cluster = ClusterHosts(
        kubeconfig=settings.kubeconfig,
        namespace=settings.namespace,
        leader_elect=settings.leader_elect,
        images=provider,
        reactor=reactor,
    )
    return Made(source=cluster, builds=builder.builds, cluster=cluster)
