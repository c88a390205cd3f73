"""``mic static`` with time limits of a second or less: ``python -m functional.impatient FLAGS``."""

from __future__ import annotations

import os
import sys

from twisted.internet import reactor

from mic import log, run
from mic.config import Mode, flags_of, load
from mic.service import Mic
from mic.web.channel import Limits

LIMITS = Limits(headers=0.4, idle=0.6, stall=0.8)

if __name__ == "__main__":
    flags = run.parse_or_exit("impatient", sys.argv[1:], flags_of(Mode.STATIC))
    settings = load(Mode.STATIC, os.environ, flags)
    log.begin(settings.log)
    sys.exit(run.run(Mic(settings, reactor, LIMITS)))
