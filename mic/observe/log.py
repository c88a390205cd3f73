"""The log: one line per event, as text for people and journald, or as JSON for machines.

All events arrive here: those of Twisted's loggers, which mic uses, those of the standard library's
loggers, which its libraries use, and Python's warnings. This module decides which events are shown,
removes secrets, and escapes characters that could forge a line or control a terminal.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    formatEvent,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from twisted.python.reflect import safe_repr, safe_str
from zope.interface import implementer

from mic.common.text import printable
from mic.observe.redact import redacted
from mic.settings.model import LogFormat, LogSettings

LINE_LIMIT = 16 * 1024
"""Length of a line with its newline, in bytes: container runtimes split longer ones."""

# Maximum lengths of a value, in characters; tried in order until the line is short enough.
_VALUE_LIMITS = (8192, 2048, 512)
_READ_LIMIT = 4 * _VALUE_LIMITS[0]

_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40, "critical": 50}
"""Levels and their numbers in the standard library's logging."""

_PRIORITIES = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}
"""Levels and their priorities in syslog and the journal (sd-daemon(3))."""

_CHATTY = (
    # Logs each idle connection that is closed.
    "twisted.web.http",
    # The legacy log of reactor and ports: starts and stops.
    "log_legacy",
)
"""Twisted's loggers whose events below warnings are shown at debug only."""

_HARMLESS = ("urllib3", "asyncio")
"""Loggers of libraries whose debug events contain no secrets. Others do: the Kubernetes client 31
logs response bodies, including Secrets, and oauthlib logs tokens."""

_RESERVED = ("time", "level", "logger", "message", "traceback")
"""Names of mic's own fields in JSON; events cannot replace them."""


def begin(settings: LogSettings, stream: TextIO = sys.stderr) -> None:
    """Send events to ``stream``, including those logged before this call."""
    bridge(settings)
    observer = Observer(settings, stream)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def bridge(settings: LogSettings) -> None:
    """Pass records of the standard library's logging to Twisted's."""
    root = logging.getLogger()
    root.addHandler(RecordBridge())
    root.setLevel(_LEVELS[settings.level])


@implementer(ILogObserver)
class Observer:
    """Writes each event to a stream as one line. Never raises."""

    def __init__(self, settings: LogSettings, stream: TextIO) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        self._stream = stream
        self._threshold = _LEVELS[settings.level]
        self._image_names = settings.image_names_are_secret
        self._prefixed = _is_journal(stream)
        self._line = _json_line if settings.format is LogFormat.JSON else _text_line

    def __call__(self, event: LogEvent) -> None:
        """Write an event if its level is shown."""
        level = getattr(event.get("log_level"), "name", None)
        level = level if isinstance(level, str) and level in _LEVELS else "info"
        name = safe_str(event.get("log_namespace", "-"))
        weight = _LEVELS[level]
        if weight < self._threshold or (
            self._threshold > _LEVELS["debug"]
            and weight < _LEVELS["warn"]
            and any(_is_within(name, each) for each in _CHATTY)
        ):
            return
        head = {"time": _time_of(event), "level": level, "logger": self._clean(name)}
        try:
            line = self._bounded(head, dict(self._values(event, own=_is_within(name, "mic"))))
        except Exception as error:
            # Log that there was an event, without any of its values.
            lost = f"an event that cannot be shown: {type(error).__name__}"
            line = self._line({**head, "message": lost})
        if self._prefixed:
            line = f"<{_PRIORITIES[level]}>{line}"
        # If the stream is closed or its disk is full, there is nowhere to report that.
        with suppress(OSError, ValueError):
            # In one call, because threads log too.
            self._stream.write(line + "\n")
            self._stream.flush()

    def _bounded(self, head: dict[str, Any], values: dict[str, Any]) -> str:
        """Return a line within the limit: shorten values in the middle, then drop fields."""
        for limit in _VALUE_LIMITS:
            line = self._line({key: _cut(value, limit) for key, value in (head | values).items()})
            if len(line.encode()) < LINE_LIMIT - len("<6>"):
                return line
        least = head | {"message": values["message"]}
        return self._line({key: _cut(value, _VALUE_LIMITS[-1]) for key, value in least.items()})

    def _values(self, event: LogEvent, *, own: bool) -> Iterator[tuple[str, Any]]:
        """Yield an event's message, its fields if it is mic's own, and a failure's traceback."""
        failure, text = event.get("log_failure"), formatEvent(event)
        if failure is None and event.get("log_namespace") == "log_legacy":
            # The legacy log includes the traceback in the text.
            failure = event.get("failure")
            text = safe_str(event.get("why") or "") if isinstance(failure, Failure) else text
        error = traceback = ""
        if isinstance(failure, Failure):
            error = self._clean(_tried(failure.getErrorMessage))
            # Twisted's default detail level shows no values of variables.
            traceback = self._safe(_tried(failure.getTraceback)).strip()
        yield "message", self._clean(text.strip()) or error
        # Libraries put whole objects into their events.
        for key, value in _fields(event) if own else ():
            if key not in _RESERVED:
                yield key, self._value(value)
        if error and not (own and "error" in event):
            yield "error", error
        if traceback:
            yield "traceback", "\n".join(map(printable, traceback.split("\n")))

    def _value(self, value: object) -> str | int | float | None:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and abs(value) < 2**63:
            return int(value)
        if isinstance(value, float) and math.isfinite(value):
            return round(value, 3)
        return self._clean(safe_str(value))

    def _clean(self, text: str) -> str:
        return printable(self._safe(text))

    def _safe(self, text: str) -> str:
        return redacted(_cut(text, _READ_LIMIT), image_names=self._image_names)


class RecordBridge(logging.Handler):
    """Turns records of the standard library's logging into events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record as an event."""
        name = record.name
        if record.levelno < logging.INFO and not any(_is_within(name, each) for each in _HARMLESS):
            return
        try:
            text = record.getMessage()
        except Exception:
            text = f"{safe_str(record.msg)} {safe_repr(record.args)}"
        more = {}
        if record.exc_info and record.exc_info[1] is not None:
            kind, value, traceback = record.exc_info
            more["log_failure"] = Failure(value, kind, traceback)
        # The highest Twisted level not above the record's.
        level = max(
            (each for each in LogLevel.iterconstants() if _LEVELS[each.name] <= record.levelno),
            default=LogLevel.debug,
        )
        Logger(namespace=name).emit(level, "{text}", text=text, **more)


def _text_line(fields: dict[str, Any]) -> str:
    text = "\n".join(str(fields[key]) for key in ("message", "traceback") if fields.get(key))
    # Events of libraries need the name of their logger to be understood.
    whose = "" if _is_within(fields["logger"], "mic") else f"{fields['logger']}: "
    return f"{fields['time']} {fields['level']}: {whose}{printable(text)}"


# ASCII, for any encoding of the stream.
_json_line: Callable[[dict[str, Any]], str] = json.dumps


def _fields(event: LogEvent) -> Iterator[tuple[str, object]]:
    """Yield the keyword arguments of the log call; a named tuple as one field for each part."""
    for key, value in event.items():
        if not isinstance(key, str) or key.startswith("log_"):
            continue
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            yield from value._asdict().items()
        else:
            yield key, value


def _is_within(name: str, parent: str) -> bool:
    return name == parent or name.startswith(f"{parent}.")


def _time_of(event: LogEvent) -> str:
    """Return an event's time (RFC 3339, milliseconds, UTC), or now if it has no usable one."""
    try:
        time = datetime.fromtimestamp(event["log_time"], UTC)
    except Exception:
        time = datetime.now(UTC)
    return time.isoformat(timespec="milliseconds")


def _cut(value: Any, limit: int) -> Any:
    """Shorten a text to about ``limit`` characters; keep both ends."""
    if not isinstance(value, str) or len(value) <= limit:
        return value
    half = limit // 2
    return f"{value[:half]} ... {value[-half:]}"


def _tried(call: Callable[[], str]) -> str:
    try:
        return call()
    except Exception as error:
        return f"({type(error).__name__} while formatting this)"


def _is_journal(stream: TextIO) -> bool:
    """Return whether ``stream`` is systemd's journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
