"""``mic static`` that logs at each SIGUSR1 how much memory Python holds in it.

``python -m functional.traced FLAGS``. The number is exact and does not depend on the allocator,
unlike the memory of a process. What libraries in C hold (OpenSSL) is not in it.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import tracemalloc

from twisted.internet import reactor
from twisted.logger import Logger

from mic import service
from mic.cli.flags import Command
from mic.cli.foreground import run
from mic.observe import log
from mic.service import Mic
from mic.settings.load import load
from mic.settings.model import Mode
from mic.settings.table import flags_of


def tell(*_: object) -> None:
    gc.collect()
    held, _peak = tracemalloc.get_traced_memory()
    Logger().info("held: {held}", held=held)


if __name__ == "__main__":
    flags = Command(program="traced", flags=flags_of(Mode.STATIC)).parse(sys.argv[1:])
    settings = load(Mode.STATIC, os.environ, flags)
    log.begin(settings.log)
    # A poll that is under way when the number is taken would count as what clients cost.
    service.POLL_SECONDS = 3600.0
    signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(tell))  # type: ignore[attr-defined]
    tracemalloc.start(1)
    sys.exit(run(Mic(settings, reactor)))
