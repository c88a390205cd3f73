"""Share one piece of work among all concurrent callers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_K = TypeVar("_K", bound=Hashable)
_T = TypeVar("_T")


class SingleFlight(Generic[_K, _T]):
    """Runs work by key, once for all waiting callers. Only for the reactor's thread.

    Cancelling one of the Deferreds does not cancel the work.
    """

    def __init__(self) -> None:
        self._waiting: dict[_K, list[Deferred[_T]]] = {}

    def run(self, key: _K, work: Callable[[], Awaitable[_T]]) -> Deferred[_T]:
        """Return the result of the work in progress for ``key``, or start ``work``."""
        waiting: Deferred[_T] = Deferred()
        if key in self._waiting:
            self._waiting[key].append(waiting)
        else:
            self._waiting[key] = [waiting]
            Deferred.fromCoroutine(self._run(key, work))
        return waiting

    async def _run(self, key: _K, work: Callable[[], Awaitable[_T]]) -> None:
        result: Any
        try:
            result = await work()
        except Exception:
            result = Failure()
        for waiting in self._waiting.pop(key):
            if isinstance(result, Failure):
                waiting.errback(result)
            else:
                waiting.callback(result)
