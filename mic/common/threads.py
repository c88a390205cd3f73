"""Run blocking calls in threads, and await them on the reactor's thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

_P = ParamSpec("_P")
_T = TypeVar("_T")

_STOP_SECONDS = 2.0


class Threads(Service):
    """A pool of threads for blocking calls, mainly file and CPU work."""

    def __init__(
        self,
        reactor: Any,
        size: int = 4,
        name: str = "mic-files",
        stop_timeout: float = _STOP_SECONDS,
    ) -> None:
        self._reactor = reactor
        self._name = name
        self._timeout = stop_timeout
        self._pool = ThreadPool(minthreads=0, maxthreads=size, name=name)
        # A hanging read (dead network storage, a scratched disc) must not keep the process alive.
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]

    def startService(self) -> None:
        """Start the pool."""
        super().startService()
        self._pool.start()

    def stopService(self) -> Deferred[None]:
        """Stop the pool; calls that run longer than ``stop_timeout`` end with the process."""
        super().stopService()
        stopped: Deferred[None] = Deferred()
        stopped.addTimeout(self._timeout, self._reactor, onTimeoutCancel=lambda *_: None)

        def fire() -> None:
            if not stopped.called:
                stopped.callback(None)

        def stop() -> None:
            self._pool.stop()
            self._reactor.callFromThread(fire)

        Thread(target=stop, daemon=True, name=f"{self._name}-stop").start()
        return stopped

    def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        """Run ``call`` in a thread; the Deferred has its result."""
        return deferToThreadPool(self._reactor, self._pool, call, *args, **kwargs)
