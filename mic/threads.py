"""Work that blocks, done in threads of our own and awaited on the reactor's."""

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

_STOP_TIME = 2.0


class Threads(Service):
    """A pool for calls that block, at first for file and CPU work; `run` awaits a call in it."""

    def __init__(
        self,
        reactor: Any,
        size: int = 4,
        name: str = "mic-files",
        patience: float = _STOP_TIME,
    ) -> None:
        self._reactor = reactor
        self._name = name
        self._patience = patience
        self._pool = ThreadPool(minthreads=0, maxthreads=size, name=name)
        # A read that hangs (dead network storage, a scratched disc) must not keep the process.
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]

    def startService(self) -> None:
        """Start the pool."""
        super().startService()
        self._pool.start()

    def stopService(self) -> Deferred[None]:
        """Stop the pool; what still runs after ``patience`` seconds dies with the process."""
        super().stopService()
        stopped: Deferred[None] = Deferred()
        stopped.addTimeout(self._patience, self._reactor, onTimeoutCancel=lambda *_: None)

        def fire() -> None:
            if not stopped.called:
                stopped.callback(None)

        def stop() -> None:
            self._pool.stop()
            self._reactor.callFromThread(fire)

        Thread(target=stop, daemon=True, name=f"{self._name}-stop").start()
        return stopped

    def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        """Call in a thread."""
        return deferToThreadPool(self._reactor, self._pool, call, *args, **kwargs)
