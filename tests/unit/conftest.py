"""What several rooms' tests need."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_twisted
from twisted.internet import reactor

from mic.common.threads import Threads


@pytest_twisted.async_yield_fixture
async def threads() -> AsyncIterator[Threads]:
    pool = Threads(reactor)
    pool.startService()
    yield pool
    await pool.stopService()


@pytest.fixture
def started() -> Iterator[Callable[[], None]]:
    """Return what mic does when it has started: the collector leaves alone what exists then."""

    def freeze() -> None:
        gc.collect()
        gc.freeze()

    yield freeze
    gc.unfreeze()
