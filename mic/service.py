"""The whole of mic as one service: what there is, in which order it starts and stops."""

from __future__ import annotations

import gc
import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from types import FrameType
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic import __version__
from mic.admin import AdminEndpoint
from mic.bases import Bases
from mic.build import Builder
from mic.config import (
    HTTP_ADDRESS,
    IMAGES_ADDRESS,
    METRICS_ADDRESS,
    Endpoint,
    Mode,
    Settings,
    Tcp,
)
from mic.errors import ConfigError
from mic.fetches import counts, fetches
from mic.images import Images
from mic.lag import LoopLag
from mic.metrics import Metrics
from mic.nmstate.conversion import Conversion
from mic.static import StaticHosts
from mic.systemd import HTTP_SOCKET_NAME, Systemd
from mic.threads import Threads
from mic.web.certificate import CurrentCertificate
from mic.web.channel import Limits
from mic.web.downloads import Downloads
from mic.web.health import HealthSite
from mic.web.listen import adopt, listen
from mic.web.site import ImageSite

LOOK_AGAIN = 2.0
"""Seconds between looks at the directories and files that mic depends on."""

LONGEST_LOOK = 600.0
"""Seconds after which a look counts as hanging: reading a large base image anew, on a slow disk,
takes minutes."""

_SWEEP = 5.0
_LAST_WORDS = 1.0


class Hosts(Protocol):
    """A source of hosts: publishes their images."""

    async def start(self) -> None:
        """Publish what is there at the start, as far as that can be waited for."""

    async def look(self) -> None:
        """Look for changes."""

    async def stop(self) -> None:
        """Publish no more."""

    def settled(self) -> bool:
        """Whether all that was there at the start is published: a name that is not is none."""

    def missing(self) -> list[str]:
        """What keeps hosts from their images, in words."""

    def problems(self) -> list[str]:
        """What is wrong with single hosts, or passes by itself, in words."""

    def defects(self) -> list[str]:
        """What only a restart mends, in words."""


class Mic(Service):
    """Base images, a source of hosts, and the HTTP server in front of them.

    Listens at once, so that a taken port is an error at start, but takes connections only when
    the hosts' `start` is over: until then they wait in the backlog, for a BMC that gets a 404
    gives up. Where that cannot be waited for, names not known yet are 503 until all are. Raises
    `ConfigError` when the source of hosts or the certificate cannot be used. ``failed`` tells
    whether it has ended because it could not start.
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
        # A medium that hangs takes all the threads that read from it, but no others.
        self.readers = Threads(reactor, size=8, name="mic-readers")
        self.bases = Bases(settings.bases, settings.host_architecture, self.threads)
        self.images = Images(self.bases, time.time)
        self.downloads = Downloads(time.time, settings.max_downloads)
        self.metrics = Metrics(settings.mode)
        self._lag = LoopLag(reactor)
        self.hosts = self._hosts()
        self.site = ImageSite(
            self.images,
            self.downloads,
            reactor,
            self.readers,
            settled=self.hosts.settled,
            limits=limits,
        )
        self.certificate = (
            CurrentCertificate(settings.tls, self.threads, time.time) if settings.tls else None
        )
        self._measure()
        self.health = HealthSite(
            defects=self._defects,
            missing=self.hosts.missing,
            problems=self._problems,
            metrics=self.metrics.page,
        )
        self._admin = AdminEndpoint(reactor, self.describe)
        self._started = 0.0
        self._ports: list[IListeningPort] = []
        self._http_ports: list[IListeningPort] = []
        self._pulse = LoopingCall(self._systemd.alive)
        self._pulse.clock = reactor
        self._health_port: IListeningPort | None = None
        self._loops = [
            (LoopingCall(self._look), LOOK_AGAIN),
            (LoopingCall(self._sweep), _SWEEP),
        ]
        if self.certificate is not None:
            # By itself: media that hang do not keep a certificate from being exchanged.
            self._loops.append((LoopingCall(self.certificate.look), LOOK_AGAIN))
        self._looks: list[float] = []
        """When the looks that are under way began, in seconds of the reactor."""
        self._old_hangup: Any = None
        self._announced = False
        self.failed = False
        self.ready: Deferred[None] = Deferred()

    def _hosts(self) -> Hosts:
        settings = self._settings
        conversion = Conversion(settings.nmstate_backend, self._reactor, self.threads)
        builder = Builder(settings.agent, conversion.keyfiles, self.threads)
        self.metrics.add_images(self.images.kinds, builder.builds, bases=self.bases.problems)
        if settings.mode is Mode.STATIC:
            return StaticHosts(
                directory=settings.nmstate_dir,
                publish_url=settings.publish_url,
                http_publish_url=settings.http_publish_url,
                images=self.images,
                bases=self.bases,
                builder=builder,
                threads=self.threads,
            )
        # The Kubernetes client takes half a second to import, and 30 MiB.
        from mic.controller import ClusterHosts
        from mic.provider import PublishedImages

        published = PublishedImages(
            publish_url=settings.publish_url,
            http_publish_url=settings.http_publish_url,
            rootfs_url=settings.rootfs_url,
            host_architecture=settings.host_architecture,
            url_key=settings.url_key,
            images=self.images,
            bases=self.bases,
            builder=builder,
        )
        hosts = ClusterHosts(
            kubeconfig=settings.kubeconfig,
            namespace=settings.namespace,
            leader_elect=settings.leader_elect,
            images=published,
            reactor=self._reactor,
        )
        self.metrics.add_cluster(hosts.counts, hosts.backlog)
        self.downloads.listeners.append(hosts.downloaded)
        return hosts

    def _measure(self) -> None:
        """Have numbers on the metrics page of all that both modes have."""
        self.metrics.add_http(
            self.site.served,
            connections=lambda: len(self.site.channels),
            open_bodies=lambda: self.downloads.open,
            most_bodies=self.downloads.limit,
        )
        self.metrics.add_downloads(
            self.downloads.ended, counts=lambda: counts(self.images, self.downloads)
        )
        self.metrics.add_certificate(self._expiry)
        self.metrics.add_health(
            defects=self._defects, missing=self.hosts.missing, problems=self._problems
        )
        self.metrics.add_loop(self._lag)

    def _expiry(self) -> int:
        if self.certificate is None:
            return 0
        return int(self.certificate.certificate.expires.timestamp())

    def startService(self) -> None:
        """Listen and start; raises `SystemExit` with the reason when that cannot be."""
        super().startService()
        # Its timers go by the wall clock else: when that is set back, as it is soon after machines
        # start, all that is due would wait for as long.
        self._reactor.seconds = time.monotonic
        self._started = time.time()
        _raise_descriptor_limit()
        problems: list[Failure] = []
        Deferred.fromCoroutine(self._listen()).addErrback(problems.append)
        for failure in problems:
            if isinstance(failure.value, ConfigError):
                raise SystemExit(reason(failure.value))
            failure.raiseException()
        self._admin.start()
        self._systemd.status("reading base images and hosts")
        if self._systemd.watchdog:
            # From the reactor's loop: when that hangs, systemd ends and restarts us.
            self._pulse.start(self._systemd.watchdog / 2)
        self.threads.startService()
        self.readers.startService()
        Deferred.fromCoroutine(self._start()).addErrback(self._failed)
        self._old_hangup = signal.signal(signal.SIGHUP, self._hang_up)

    def stopService(self) -> Deferred[None]:
        """Stop: first what makes work, then the listener, connections, and threads."""
        super().stopService()
        self._systemd.stopping()
        signal.signal(signal.SIGHUP, self._old_hangup or signal.SIG_DFL)
        self._lag.stop()
        for loop in (self._pulse, *(loop for loop, _ in self._loops)):
            if loop.running:
                loop.stop()
        return Deferred.fromCoroutine(self._stop())

    def _problems(self) -> list[str]:
        """What is wrong without keeping images from being served."""
        problems = self.certificate.problems() if self.certificate is not None else []
        if self._looks and self._reactor.seconds() - self._looks[0] >= LONGEST_LOOK:
            problems.append(
                f"a look for changes has gone on for more than {LONGEST_LOOK:.0f} s: a directory "
                "or a medium does not answer, and what changes there is not noticed"
            )
        return [*problems, *self.hosts.problems()]

    def _defects(self) -> list[str]:
        """What only a restart mends."""
        defects = self.hosts.defects()
        if self.running and self.ready.called and not all(loop.running for loop, _ in self._loops):
            defects.append("a loop of mic's own has ended; the log tells why")
        return defects

    @property
    def address(self) -> Any:
        """Where it listens, or the first of several places."""
        return self._ports[0].getHost() if self._ports else None

    async def _listen(self) -> None:
        settings = self._settings
        factory = self.site
        if self.certificate is not None:
            factory = self.certificate.factory(self.site, self._reactor)
        self._ports = await self._serve(
            factory, self._systemd.sockets, settings.bind, IMAGES_ADDRESS
        )
        if settings.http_bind is not None:
            self._http_ports = await self._serve(
                self.site, self._systemd.http_sockets, settings.http_bind, HTTP_ADDRESS
            )
        for port in (*self._ports, *self._http_ports):
            port.stopReading()  # type: ignore[attr-defined]
        if self._settings.metrics is not None:
            self._health_port = await listen(
                self._reactor, self._settings.metrics, self.health, METRICS_ADDRESS
            )
            self._lag.start()
            self._log.info(
                "health and metrics on {address}", address=_shown(self._health_port.getHost())
            )

    async def _serve(
        self, factory: Any, sockets: tuple[int, ...], bind: Tcp | Endpoint, flag: str
    ) -> list[IListeningPort]:
        """Listen on systemd's sockets, or for lack of them on an address."""
        if sockets:
            return [adopt(self._reactor, fd, factory) for fd in sockets]
        return [await listen(self._reactor, bind, factory, flag)]

    async def _start(self) -> None:
        await self.bases.load_all()
        await self.hosts.start()
        if not self.running:
            return
        # What is here now stays: going through it would stop everything for 25 ms, now and then,
        # and with ten thousand images for 85.
        gc.collect()
        gc.freeze()
        for port in (*self._ports, *self._http_ports):
            port.startReading()  # type: ignore[attr-defined]
        self._log.info(
            "serving {count} images on {address}, published as {url}",
            count=len(self.images),
            address=_shown(self.address),
            url=self._settings.publish_url,
        )
        if self._http_ports:
            self._log.info(
                "serving them over plain HTTP too, on {address}, published as {http_url}",
                address=_shown(self._http_ports[0].getHost()),
                http_url=self._settings.http_publish_url or "nothing",
            )
        self._announce()
        for loop, period in self._loops:
            loop.clock = self._reactor
            loop.start(period, now=False)
        self.ready.callback(None)

    def _failed(self, why: Failure) -> None:
        # Nothing in the first pass may fail as a whole: a fault of ours, better seen than served.
        self._log.failure("cannot start", why)
        self.failed = True
        self._reactor.stop()

    async def _look(self) -> None:
        began = self._reactor.seconds()
        self._looks.append(began)
        try:
            await self.bases.refresh()
            await self.hosts.look()
        except Exception:
            # The next look may be luckier; a loop that ends for good helps nobody.
            self._log.failure("cannot look for changes")
        finally:
            self._looks.remove(began)
        if self.ready.called and self.running:
            self._announce()

    def _announce(self) -> None:
        """Tell systemd how it stands: ready, once, when all that was there at the start is done."""
        if self.hosts.settled() and not self._announced:
            self._announced = True
            self._systemd.ready(self._status())
        else:
            self._systemd.status(self._status())

    def _sweep(self) -> None:
        try:
            self.downloads.sweep()
            self.downloads.keep({entry.content.label for entry in self.images})
        except Exception:
            # As in `_look`.
            self._log.failure("cannot see to downloads")

    def describe(self) -> Iterator[dict[str, Any]]:
        """What there is to know of this process, for `mic.status`: first of the process itself,
        then of each image. Times are seconds since the epoch.

        Images go by their labels: nothing here is the right to read one.
        """
        yield {
            "version": __version__,
            "pid": os.getpid(),
            "mode": self._settings.mode.value,
            "started": self._started,
            "now": time.time(),
            "addresses": [_shown(port.getHost()) for port in self._ports],
            "http_addresses": [_shown(port.getHost()) for port in self._http_ports],
            "url": self._settings.publish_url,
            "serving": self.ready.called,
            "missing": list(self.hosts.missing()),
            "defects": self._defects(),
            "problems": self._problems(),
            "bodies": {"open": self.downloads.open, "limit": self.downloads.limit},
            "bases": [asdict(base) for base in self.bases.states()],
        }
        yield from map(asdict, fetches(self.images, self.downloads))

    def _status(self) -> str:
        status = f"serving {len(self.images)} images on {_shown(self.address)}"
        problems = [*self._defects(), *self.hosts.missing()]
        return f"{status}; problems: {len(problems)}, see the log" if problems else status

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reread)

    def _reread(self) -> None:
        self._log.info("SIGHUP: looking for changes")
        Deferred.fromCoroutine(self._reload()).addErrback(
            lambda why: self._log.failure("cannot look for changes", why)
        )

    async def _reload(self) -> None:
        if self._announced:
            self._systemd.reloading()
        if self.certificate is not None:
            await self.certificate.look(at_once=True)
        await self._look()
        if self._announced and self.running:
            self._systemd.ready(self._status())

    async def _stop(self) -> None:
        await self._admin.stop()
        await self.hosts.stop()
        for port in (*self._ports, *self._http_ports, self._health_port):
            if port is not None:
                await maybeDeferred(port.stopListening)
        for channel in list(self.site.channels):
            if not channel.requests and not channel.fresh:
                channel.loseConnection()
        if self.site.channels:
            # A moment for first requests and small answers under way; downloads are resumed by
            # range.
            await deferLater(self._reactor, _LAST_WORDS)
        for channel in list(self.site.channels):
            channel.abortConnection()
        self.downloads.close()
        await gatherResults([self.readers.stopService(), self.threads.stopService()])


def reason(error: ConfigError) -> str:
    """All problems, a line each; the last line says it all, as it is the one people are shown."""
    lines = [f"mic: {problem}" for problem in error.problems] if len(error.problems) > 1 else []
    return "\n".join([*lines, f"mic: cannot start: {'; '.join(error.problems)}"])


def _raise_descriptor_limit() -> None:
    """Take all the descriptors we may have: one per client, and the soft limit is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _shown(address: Any) -> str:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        # The path of a unix socket comes as bytes.
        return os.fsdecode(getattr(address, "name", None) or str(address))
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
