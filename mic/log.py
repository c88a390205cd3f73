"""Logging to standard error, one line per event, for people and for journald."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TextIO

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    globalLogBeginner,
)


def begin(stream: TextIO = sys.stderr) -> None:
    """Send what is logged from now on, and what was before, to ``stream``."""
    levels = LogLevelFilterPredicate(LogLevel.info)
    # Says something for every connection that is closed for idling.
    levels.setLogLevelForNamespace("twisted.web.http", LogLevel.warn)
    # Reactor and ports tell in the old way that they start and stop.
    levels.setLogLevelForNamespace("log_legacy", LogLevel.warn)
    observer = FilteringLogObserver(FileLogObserver(stream, _line), [levels])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def _line(event: LogEvent) -> str:
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    time = datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds")
    level = getattr(event.get("log_level"), "name", "info")
    return f"{time} {level}: {text}\n"
