"""A small real implementation of the image seam: makes names, remembers what is served."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mic.common.errors import BuildInvalid, NotReady
from mic.kube.builds import BuildRequest, Built

BASE_URL = "http://images.example/"


class StubImages:
    """Serves an image per request. ``b"garbage"`` is no NMState, and a line
    ``# warn TEXT`` a warning; ``usable`` says which base
    images there are; with ``keyed`` equal requests have equal URLs in all processes."""

    host_architecture = "x86_64"

    def __init__(
        self,
        clock: IReactorTime | None = None,
        *,
        latency: Callable[[], float] = lambda: 0.0,
        keyed: bool = False,
    ) -> None:
        self._clock = clock
        self._latency = latency
        self._serial = 0
        self._keyed = keyed
        self._callbacks: list[Callable[[], None]] = []
        self.served: dict[str, BuildRequest] = {}
        self.builds = 0
        self.usable: set[tuple[str, str]] = {("iso", "x86_64"), ("initrd", "x86_64")}
        self.not_ready = ""
        self.building: Callable[[BuildRequest], None] = lambda request: None
        """Called at the start of each build."""

    def supports_architecture(self, architecture: str, stream: str) -> bool:
        return ("iso", architecture) in self.usable and ("initrd", architecture) in self.usable

    def supports_format(self, format: str, architecture: str, stream: str) -> bool:
        return (format, architecture) in self.usable

    async def build(self, request: BuildRequest) -> Built:
        self.builds += 1
        self.building(request)
        if self._clock is not None:
            await deferLater(self._clock, self._latency())
        if self.not_ready:
            raise NotReady(self.not_ready)
        if request.data.network is not None and b"garbage" in request.data.network:
            raise BuildInvalid("line 1: that is no NMState")
        url = next((url for url, other in self.served.items() if other == request), "")
        if not url:
            self._serial += 1
            named = (request, request.data.network) if self._keyed else self._serial
            name = hashlib.sha256(repr(named).encode()).hexdigest()[:32]
            url = f"{BASE_URL}{name}.{'iso' if request.format == 'iso' else 'initramfs'}"
            self.served[url] = request
        lines = (request.data.network or b"").decode(errors="replace").splitlines()
        warnings = tuple(
            line.removeprefix("# warn ") for line in lines if line.startswith("# warn ")
        )
        changes = "".join(
            line.removeprefix("# change ") for line in lines if line.startswith("# change ")
        )
        if request.format == "iso":
            return Built(image_url=url, warnings=warnings, changes=changes)
        return Built(
            image_url=url,
            kernel_url=f"{BASE_URL}kernel",
            extra_kernel_params="coreos.live.rootfs_url=http://images.example/rootfs",
            warnings=warnings,
        )

    def discard(self, namespace: str, name: str, *, keep: Collection[str] = ()) -> None:
        for url, request in list(self.served.items()):
            if (request.namespace, request.name) == (namespace, name) and url not in keep:
                del self.served[url]

    def serves(self, url: str) -> bool:
        return url in self.served

    def missing(self) -> list[str]:
        return [] if self.usable else ["there is no base image"]

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def change(self, usable: set[tuple[str, str]]) -> None:
        """Base images come and go."""
        self.usable = usable
        for callback in self._callbacks:
            callback()
