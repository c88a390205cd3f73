"""The log: one line per event, as text for people and journald, or as JSON for machines.

Whatever is logged comes here: by Twisted's loggers, which mic uses, by those of the standard
library, which its libraries use, and Python's warnings. Here it is decided what of it is shown,
secrets are taken out, and nothing is left that could forge a line or steer a terminal.
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

from mic.config import LogFormat, LogSettings
from mic.redact import redacted
from mic.text import printable

LINE_LIMIT = 16 * 1024
"""Bytes of a line, its end included: container runtimes break longer ones up."""

# Characters of one value, tried until the line is short enough.
_VALUE_LIMITS = (8192, 2048, 512)
_READ_LIMIT = 4 * _VALUE_LIMITS[0]

_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40, "critical": 50}
"""Levels, and their weights in the standard library's logging."""

_PRIORITIES = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}
"""Levels as syslog and the journal have them (sd-daemon(3))."""

_CHATTY = (
    # Says something for every connection that is closed for idling.
    "twisted.web.http",
    # Reactor and ports tell in the old way that they start and stop.
    "log_legacy",
)
"""Twisted's loggers that are heard from warnings on, unless at debug."""

_HARMLESS = ("urllib3", "asyncio")
"""Loggers of libraries that tell nothing at debug that must not be seen. Others do: the Kubernetes
client 31 logs the bodies of answers, and with them Secrets; oauthlib logs tokens."""

_RESERVED = ("time", "level", "logger", "message", "traceback")
"""Fields that every line has in JSON, or a failure's."""


def begin(settings: LogSettings, stream: TextIO = sys.stderr) -> None:
    """Send what is logged from now on, and what was before, to ``stream``."""
    bridge(settings)
    observer = Observer(settings, stream)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def bridge(settings: LogSettings) -> None:
    """Send what is logged by the standard library's logging to Twisted's."""
    level = _LEVELS[settings.level]
    root = logging.getLogger()
    root.addHandler(_Bridge())
    root.setLevel(level)
    # The Kubernetes client sets its parent to warnings, with each copy of its configuration: what
    # is asked of the API server would never be seen.
    logging.getLogger("urllib3.connectionpool").setLevel(level)


@implementer(ILogObserver)
class Observer:
    """Writes events to a stream, a line each. Never raises."""

    def __init__(self, settings: LogSettings, stream: TextIO) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        self._stream = stream
        self._threshold = _LEVELS[settings.level]
        self._image_names = settings.image_names_are_secret
        self._prefixed = _is_journal(stream)
        self._line = _json_line if settings.format is LogFormat.JSON else _text_line

    def __call__(self, event: LogEvent) -> None:
        """Write an event, if its level is shown."""
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
            # Told of all the same, without anything of its own.
            lost = f"an event that cannot be shown: {type(error).__name__}"
            line = self._line({**head, "message": lost})
        if self._prefixed:
            line = f"<{_PRIORITIES[level]}>{line}"
        # When the stream is closed or its disk is full, there is no place to tell that.
        with suppress(OSError, ValueError):
            # In one call: threads log, too.
            self._stream.write(line + "\n")
            self._stream.flush()

    def _bounded(self, head: dict[str, Any], values: dict[str, Any]) -> str:
        """A line that is not too long: values lose their middle, and at last fields are lost."""
        for limit in _VALUE_LIMITS:
            line = self._line({key: _cut(value, limit) for key, value in (head | values).items()})
            if len(line.encode()) < LINE_LIMIT - len("<6>"):
                return line
        least = head | {"message": values["message"]}
        return self._line({key: _cut(value, _VALUE_LIMITS[-1]) for key, value in least.items()})

    def _values(self, event: LogEvent, *, own: bool) -> Iterator[tuple[str, Any]]:
        """What an event says: message, fields if it is ours, and a failure's traceback."""
        failure, text = event.get("log_failure"), formatEvent(event)
        if failure is None and event.get("log_namespace") == "log_legacy":
            # Twisted's old way of logging has the traceback within the text.
            failure = event.get("failure")
            text = safe_str(event.get("why") or "") if isinstance(failure, Failure) else text
        error = traceback = ""
        if isinstance(failure, Failure):
            error = self._clean(_tried(failure.getErrorMessage))
            # In Twisted's default detail, which shows no values of variables.
            traceback = self._safe(_tried(failure.getTraceback)).strip()
        yield "message", self._clean(text.strip()) or error
        # Others put whole objects of theirs there, for those who format.
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


class _Bridge(logging.Handler):
    """Makes events of the standard library's log records."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
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
        # The highest of Twisted's levels that is not above the record's.
        level = max(
            (each for each in LogLevel.iterconstants() if _LEVELS[each.name] <= record.levelno),
            default=LogLevel.debug,
        )
        Logger(namespace=name).emit(level, "{text}", text=text, **more)


def _text_line(fields: dict[str, Any]) -> str:
    text = "\n".join(str(fields[key]) for key in ("message", "traceback") if fields.get(key))
    # What others log is of little use without their name.
    whose = "" if _is_within(fields["logger"], "mic") else f"{fields['logger']}: "
    return f"{fields['time']} {fields['level']}: {whose}{printable(text)}"


# In ASCII, whatever the stream's encoding.
_json_line: Callable[[dict[str, Any]], str] = json.dumps


def _fields(event: LogEvent) -> Iterator[tuple[str, object]]:
    """What was given to the logger beside the format; of a named tuple, each part."""
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
    """RFC 3339, in milliseconds and UTC; of now for an event with no usable time."""
    try:
        time = datetime.fromtimestamp(event["log_time"], UTC)
    except Exception:
        time = datetime.now(UTC)
    return time.isoformat(timespec="milliseconds")


def _cut(value: Any, limit: int) -> Any:
    """A text of at most about ``limit`` characters: of a longer one both ends, which tell most."""
    if not isinstance(value, str) or len(value) <= limit:
        return value
    half = limit // 2
    return f"{value[:half]} ... {value[-half:]}"


def _tried(call: Callable[[], str]) -> str:
    try:
        return call()
    except Exception as error:
        return f"({type(error).__name__} while this was to be told)"


def _is_journal(stream: TextIO) -> bool:
    """Whether what is written goes to systemd's journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
