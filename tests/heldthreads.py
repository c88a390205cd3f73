"""Threads that a test holds up, to have other things happen meanwhile."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mic.common.threads import Threads


class HeldThreads(Threads):
    """Keeps the result of one call until it is let go: the first of a function.

    With ``argument`` it is the first with that first argument.
    """

    def __init__(self, function: str, argument: object = None) -> None:
        super().__init__(reactor)
        self._function = function
        self._argument = argument
        self._held = False
        self._let_go: Deferred[None] = Deferred()
        self.has_run: Deferred[None] = Deferred()

    def run(self, call: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        result = super().run(call, *args, **kwargs)
        if self._held or call.__name__ != self._function or self._argument not in (None, *args[:1]):
            return result
        self._held = True
        return result.addCallback(self._keep)

    def _keep(self, result: Any) -> Deferred[Any]:
        self.has_run.callback(None)
        return self._let_go.addCallback(lambda _: result)

    def let_go(self) -> None:
        """Give the result."""
        self._let_go.callback(None)
