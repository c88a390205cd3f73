"""``mic static`` with time limits of a second or two: ``python -m functional.impatient FLAGS``."""

from __future__ import annotations

import os
import sys

from twisted.internet import reactor

from mic.cli.flags import Command
from mic.cli.foreground import run
from mic.observe import log
from mic.service import Mic
from mic.settings.load import load
from mic.settings.model import Mode
from mic.settings.table import flags_of
from mic.web.channel import Limits

LIMITS = Limits(headers=0.8, idle=1.2, stall=1.6)
"""Seconds: no shorter, because a client of a test on a busy machine may pause that long."""

if __name__ == "__main__":
    flags = Command(program="impatient", flags=flags_of(Mode.STATIC)).parse(sys.argv[1:])
    settings = load(Mode.STATIC, os.environ, flags)
    log.begin(settings.log)
    sys.exit(run(Mic(settings, reactor, LIMITS)))
