"""The whole of mic as one service: what there is, in which order it starts and stops."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic import __version__
from mic.common.errors import ConfigError
from mic.common.health import Health
from mic.common.memory import release_memory
from mic.common.threads import Threads
from mic.common.urls import without_credentials
from mic.downloads.report import report, summary
from mic.downloads.tracker import Downloads
from mic.hosts.sources import make_hosts
from mic.images.bases import Bases
from mic.images.store import Store
from mic.observe.admin import AdminEndpoint
from mic.observe.lag import LoopLag
from mic.observe.loops import Loops
from mic.observe.metrics import Metrics
from mic.observe.pages import HealthSite
from mic.observe.systemd import HTTP_SOCKET_NAME, Systemd
from mic.settings.model import IsoKind, Mode, Settings
from mic.settings.table import HTTP_ADDRESS, IMAGES_ADDRESS, METRICS_ADDRESS
from mic.statuspage.overview import Process
from mic.statuspage.rows import rows
from mic.statuspage.status_port import StatusPort
from mic.tls.current import CurrentCertificate
from mic.web import native
from mic.web.channel import Limits
from mic.web.https import https_factory
from mic.web.ports import Ports
from mic.web.site import ImageSite

POLL_SECONDS = 2.0
"""Interval between polls of the directories and files that mic depends on, in seconds."""

SWITCH_INTERVAL = 0.0002
"""Time after which a thread yields the interpreter to another one, in seconds. Python's default of
5 ms delays each system call for a small range while a document is converted."""

_SWEEP_SECONDS = 5.0
_MANY = 64
"""Number of closed connections after which their memory is worth returning."""
_DRAIN_SECONDS = 1.0


class Mic(Service):
    """Base images, a source of hosts, and the HTTP server in front of them.

    Listens at once, so that a port in use is an error at start, but accepts connections only when
    the base images are read. Requests for names that are not known then wait until the source has
    started, because a BMC gives up after a 404; after that they are 503 until it is settled.

    Raises `ConfigError` when the source of hosts or the certificate cannot be used. ``failed``
    says whether the process stopped because it could not start.
    """

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        limits: Limits | None = None,
        systemd: Systemd | None = None,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._systemd = systemd or Systemd({}, 0)
        if self._systemd.http_sockets and settings.http_bind is None:
            raise ConfigError(
                [
                    f"systemd passes a socket named {HTTP_SOCKET_NAME}: give {HTTP_ADDRESS} as "
                    "well, though the socket's address counts"
                ]
            )
        self.threads = Threads(reactor)
        # Separate, because a device that hangs blocks all threads that read from it.
        self.readers = Threads(reactor, size=8, name="mic-readers")
        self.bases = Bases(
            settings.bases,
            settings.host_architecture,
            self.threads,
            minimal=settings.iso_kind is IsoKind.MINIMAL,
            checksums=settings.verify_bases,
        )
        self.images = Store(self.bases, time.time)
        self.downloads = Downloads(time.time, settings.max_downloads)
        self.metrics = Metrics(settings.mode)
        self._lag = LoopLag(reactor)
        self._made = make_hosts(
            settings, reactor, threads=self.threads, images=self.images, bases=self.bases
        )
        self.hosts = self._made.source
        self.site = ImageSite(
            self.images,
            self.downloads,
            reactor,
            self.readers,
            settled=self.hosts.settled,
            has_no_image=self.hosts.has_no_image,
            limits=limits,
            native=native.load(),
        )
        self.certificate = (
            CurrentCertificate(settings.tls, self.threads, time.time) if settings.tls else None
        )
        self._add_metrics()
        self._health_site = HealthSite(health=self.health, metrics=self.metrics.page)
        self._admin = AdminEndpoint(reactor, self.describe)
        self._ports = Ports(reactor)
        self._http_ports = Ports(reactor)
        self._health_ports = Ports(reactor)
        # In controller mode the names of images are secret.
        url = settings.publish_url if settings.mode is Mode.STATIC else ""
        self.status_page = StatusPort(
            reactor,
            settings.status,
            settings.status_hosts,
            process=self._process,
            rows=lambda: rows(self.hosts, self.images, self.downloads, without_credentials(url)),
        )
        self._pulse = LoopingCall(self._systemd.alive)
        self._pulse.clock = reactor
        self._loops = Loops(reactor)
        self._loops.add(self.poll, POLL_SECONDS)
        self._loops.add(self._sweep, _SWEEP_SECONDS)
        if self.certificate is not None:
            # A loop of its own: a device that hangs must not keep the certificate from changing.
            self._loops.add(self.certificate.poll, POLL_SECONDS)
        self._started = 0.0
        self._old_hangup: Any = None
        self._announced = False
        self.failed = False
        self.ready: Deferred[None] = Deferred()

    def _add_metrics(self) -> None:
        """Add the metrics of both modes, and those of a cluster."""
        self.metrics.add_images(
            self.images.kinds,
            self._made.builds,
            bases=self.bases.health,
            additions=self.images.additions,
        )
        if self._made.cluster is not None:
            cluster = self._made.cluster
            self.metrics.add_cluster(cluster.counts, cluster.backlog)
            self.downloads.listeners.append(cluster.downloaded)
        self.metrics.add_http(
            self.site.served,
            connections=lambda: len(self.site.channels),
            open_bodies=lambda: self.downloads.open,
            most_bodies=self.downloads.limit,
        )
        self.metrics.add_downloads(
            self.downloads.ended, summary=lambda: summary(self.images, self.downloads)
        )
        self.metrics.add_certificate(self._expiry)
        self.metrics.add_health(self.health)
        self.metrics.add_loop(self._lag)

    def _expiry(self) -> int:
        if self.certificate is None:
            return 0
        return int(self.certificate.certificate.expires.timestamp())

    def health(self) -> Health:
        """Return the health of the process: of the certificate, the loops and the hosts."""
        parts = [self.certificate.health()] if self.certificate is not None else []
        return Health.of([*parts, self._loops.health(), self.hosts.health()])

    @property
    def address(self) -> Any:
        """The first address that it listens on, as Twisted's object; None before it does."""
        return next(iter(self._ports.hosts), None)

    def startService(self) -> None:
        """Listen and start; raise `SystemExit` with the reason when mic cannot listen."""
        super().startService()
        # A monotonic clock: the wall clock is often set back soon after a machine starts, and
        # timers would wait for that long.
        self._reactor.seconds = time.monotonic
        self._started = time.time()
        for warning in self._settings.warnings:
            self._log.warn("{error}", error=warning)
        sys.setswitchinterval(SWITCH_INTERVAL)
        _raise_descriptor_limit()
        problems: list[Failure] = []
        Deferred.fromCoroutine(self._listen()).addErrback(problems.append)
        for failure in problems:
            if isinstance(failure.value, ConfigError):
                raise SystemExit(failure.value.report())
            failure.raiseException()
        self._admin.start()
        self._systemd.status("reading base images and hosts")
        if self._systemd.watchdog:
            # From the reactor's loop: if that hangs, systemd restarts mic.
            self._pulse.start(self._systemd.watchdog / 2)
        self.threads.startService()
        self.readers.startService()
        Deferred.fromCoroutine(self._start()).addErrback(self._failed)
        self._old_hangup = signal.signal(signal.SIGHUP, self._hang_up)

    async def _listen(self) -> None:
        settings = self._settings
        factory: IProtocolFactory = self.site
        if self.certificate is not None:
            factory = https_factory(self.certificate, self.site, self._reactor)
        await self._ports.open(factory, self._systemd.sockets, settings.bind, IMAGES_ADDRESS)
        if settings.http_bind is not None:
            await self._http_ports.open(
                self.site, self._systemd.http_sockets, settings.http_bind, HTTP_ADDRESS
            )
        if settings.metrics is not None:
            await self._health_ports.open(self._health_site, (), settings.metrics, METRICS_ADDRESS)
            self._health_ports.accept()
            self._lag.start()
            (address,) = self._health_ports.addresses
            self._log.info("health and metrics on {address}", address=address)
        await self.status_page.open()

    async def _start(self) -> None:
        settings = self._settings
        await self.bases.load_all()
        self.hosts.publish_boot_files()
        if not self.running:
            return
        # Hosts that boot may ask for their root file system now; all else waits.
        self.site.hold()
        self._ports.accept()
        self._http_ports.accept()
        await self.hosts.start()
        if not self.running:
            return
        self.site.release()
        # Objects that exist now stay. Traversing them would block the process for 25 ms, now and
        # then, and for 85 ms with ten thousand images.
        gc.collect()
        gc.freeze()
        self._log.info(
            "serving {count} images on {address}, published as {url}",
            count=len(self.images),
            address=self._ports.addresses[0],
            url=settings.publish_url,
        )
        for http_address in self._http_ports.addresses[:1]:
            self._log.info(
                "serving them over plain HTTP too, on {address}, published as {http_url}",
                address=http_address,
                http_url=settings.http_publish_url or "nothing",
            )
        self._ports.note_loopback(settings.publish_url, "-images-publish-addr")
        self._http_ports.note_loopback(settings.http_publish_url, "-images-http-publish-addr")
        self._announce()
        self._loops.start()
        self.ready.callback(None)

    def _failed(self, why: Failure) -> None:
        # No single host or file makes the start fail: this is a defect, so do not serve.
        self._log.failure("cannot start", why)
        self.failed = True
        self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Stop the loops first, then hosts, ports, connections and threads."""
        super().stopService()
        self._systemd.stopping()
        signal.signal(signal.SIGHUP, self._old_hangup or signal.SIG_DFL)
        self._lag.stop()
        if self._pulse.running:
            self._pulse.stop()
        self._loops.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._admin.stop()
        await self.status_page.stop()
        await self.hosts.stop()
        for ports in (self._ports, self._http_ports, self._health_ports):
            await ports.close()
        for channel in list(self.site.channels):
            if not channel.requests and not channel.fresh:
                channel.loseConnection()
        if self.site.channels:
            # Let first requests and small responses complete; clients resume downloads by range.
            await deferLater(self._reactor, _DRAIN_SECONDS)
        for channel in list(self.site.channels):
            channel.abortConnection()
        self.downloads.close()
        await gatherResults([self.readers.stopService(), self.threads.stopService()])

    async def poll(self) -> None:
        """Find and publish changes of base images and hosts; log a failure and carry on."""
        with self._loops.poll():
            try:
                await self.bases.refresh()
                await self.hosts.poll()
            except Exception:
                # Keep polling; the next attempt may succeed.
                self._log.failure("polling for changes failed")
        if self.ready.called and self.running:
            self._announce()

    def _sweep(self) -> None:
        try:
            self.downloads.sweep()
            self.downloads.retain({entry.content.id for entry in self.images})
        except Exception:
            # As in `poll`.
            self._log.failure("download housekeeping failed")
        connections = len(self.site.channels)
        if self.site.peak - connections >= _MANY:
            self.site.peak = connections
            release_memory()

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reload_on_signal)

    def _reload_on_signal(self) -> None:
        self._log.info("SIGHUP: reloading")
        Deferred.fromCoroutine(self._reload()).addErrback(
            lambda why: self._log.failure("reload failed", why)
        )

    async def _reload(self) -> None:
        if self._announced:
            self._systemd.reloading()
        if self.certificate is not None:
            await self.certificate.poll(at_once=True)
        self.bases.retry()
        await self.poll()
        if self._announced and self.running:
            self._systemd.ready(self._status())

    def _announce(self) -> None:
        """Report the status to systemd; report ready once, when the source has caught up."""
        if self.hosts.caught_up() and not self._announced:
            self._announced = True
            self._systemd.ready(self._status())
        else:
            self._systemd.status(self._status())

    def _status(self) -> str:
        status = f"serving {len(self.images)} images on {self._ports.addresses[0]}"
        health = self.health()
        problems = [*health.fatal, *health.not_ready]
        return f"{status}; problems: {len(problems)}, see the log" if problems else status

    def _process(self) -> Process:
        return Process(
            version=__version__,
            mode=self._settings.mode.value,
            started=self._started,
            now=time.time(),
            addresses=tuple(self._ports.addresses),
            url=without_credentials(self._settings.publish_url),
            serving=self.ready.called,
            health=self.health(),
            bases=tuple(self.bases.states()),
        )

    def describe(self) -> Iterator[dict[str, Any]]:
        """Yield the state of the process, then of each image, for `mic.cli.status`.

        Times are seconds since the epoch. Images go by their labels: their names are capabilities.
        """
        process = self._process()
        yield {
            "version": process.version,
            "pid": os.getpid(),
            "mode": process.mode,
            "started": process.started,
            "now": process.now,
            "addresses": list(process.addresses),
            "http_addresses": self._http_ports.addresses,
            "url": process.url,
            "serving": process.serving,
            "missing": list(process.health.not_ready),
            "defects": list(process.health.fatal),
            "problems": list(process.health.warnings),
            "bodies": {"open": self.downloads.open, "limit": self.downloads.limit},
            "bases": [asdict(base) for base in process.bases],
        }
        yield from ({"host": asdict(status)} for status in self.hosts.statuses())
        yield from map(asdict, report(self.images, self.downloads))


def _raise_descriptor_limit() -> None:
    """Raise the soft limit of descriptors, often 1024, to the hard one: each client needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
