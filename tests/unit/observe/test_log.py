"""Every event becomes one line, text or JSON, at the right level.

So do records of the standard library's logging, and warnings. Logs of real processes are in
tests/functional/test_logging.py, redaction in test_redact.py.
"""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from twisted.logger import LogEvent, Logger, LogLevel, globalLogPublisher
from twisted.python import log as legacy
from twisted.python.failure import Failure

from mic.observe import log
from mic.settings.model import LogFormat, LogSettings
from mic.settings.model import LogLevel as Lowest

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
TIME = 1700000000.5
WHEN = "2023-11-14T22:13:20.500+00:00"
FORMATS = list(LogFormat)


class Log:
    """An observer and its output."""

    def __init__(self, **settings: Any) -> None:
        self.stream = io.StringIO()
        self.observer = log.Observer(LogSettings(**settings), self.stream)

    def event(self, text: str | None, level: Any = LogLevel.info, **more: Any) -> None:
        format = {} if text is None else {"log_format": text}
        self.observer(
            {"log_time": TIME, "log_level": level, "log_namespace": "mic.x", **format, **more}
        )

    @property
    def lines(self) -> list[str]:
        text = self.stream.getvalue()
        assert not text or text.endswith("\n")
        return text.split("\n")[:-1]

    @property
    def line(self) -> str:
        (line,) = self.lines
        return line

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.line)
        assert isinstance(found, dict)
        return found


def failure_of(error: BaseException) -> Failure:
    secret_local = "hunter2"
    try:
        raise error
    except BaseException:
        assert secret_local
        return Failure()


class Unprintable:
    """An object whose str, repr and format fail."""

    def __str__(self) -> str:
        raise RuntimeError("no str")

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        raise RuntimeError("no format")


class Key(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


# --- the two formats ------------------------------------------------------------------------------


def test_text_has_time_level_and_message() -> None:
    written = Log()
    written.event("{image}: {client} went", image="worker-0.iso", client="192.0.2.1")
    assert written.line == f"{WHEN} info: worker-0.iso: 192.0.2.1 went"


def test_json_has_the_fields_of_the_event() -> None:
    written = Log(format=LogFormat.JSON)
    written.event(
        "{image}: {share:.1f} %", image="worker-0.iso", share=12.34567, bytes=7, none=None
    )
    assert written.line == (
        f'{{"time": "{WHEN}", "level": "info", "logger": "mic.x", '
        '"message": "worker-0.iso: 12.3 %", "image": "worker-0.iso", "share": 12.346, "bytes": 7, '
        '"none": null}'
    )


def test_json_is_ascii() -> None:
    written = Log(format=LogFormat.JSON)
    written.event("grün 機械")
    assert written.line.isascii()
    assert written.json["message"] == "grün 機械"


def test_a_named_tuple_is_a_field_for_each_part() -> None:
    written = Log(format=LogFormat.JSON)
    written.event("{key}: released", key=Key("metal3", "worker-0"))
    assert written.json["message"] == "metal3/worker-0: released"
    assert written.json["namespace"] == "metal3"
    assert written.json["name"] == "worker-0"
    assert "key" not in written.json


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, True),
        (0, 0),
        (1.25, 1.25),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**80, str(2**80)),
        (LogFormat.JSON, "json"),
        (ValueError("why"), "why"),
        (b"bytes", "bytes"),
        ([1, 2], "[1, 2]"),
        ({"a": 1}, "{'a': 1}"),
        ("a\nb\x1b[31m\u202e\ud800", r"a\nb\x1b[31m\u202e\ud800"),
        ("grün 機械", "grün 機械"),
    ],
)
def test_formats_values_without_a_json_type_as_strings(value: object, shown: object) -> None:
    written = Log(format=LogFormat.JSON)
    written.event("", value=value)
    assert written.json["value"] == shown
    assert type(written.json["value"]) is type(shown)


def test_only_mics_own_events_have_fields() -> None:
    written = Log(format=LogFormat.JSON)
    written.event("{request}", log_namespace="twisted.web", request="GET /", transport=object())
    assert set(written.json) == {"time", "level", "logger", "message"}
    assert written.json["message"] == "GET /"


def test_text_names_the_logger_of_a_library() -> None:
    written = Log()
    written.event("something", log_namespace="urllib3.connectionpool")
    assert written.line == f"{WHEN} info: urllib3.connectionpool: something"


def test_no_field_replaces_the_standard_ones() -> None:
    written = Log(format=LogFormat.JSON)
    written.event("right", time=1, level=2, logger=3, message=4, traceback=5)
    assert written.json == {
        "time": WHEN,
        "level": "info",
        "logger": "mic.x",
        "message": "right",
    }


@pytest.mark.parametrize("format", FORMATS)
def test_a_traceback_stays_on_the_line_and_shows_no_values(format: LogFormat) -> None:
    written = Log(format=format)
    failure = failure_of(ValueError("why"))
    written.event("{image}: broke", LogLevel.critical, image="x", log_failure=failure)
    assert "hunter2" not in written.line
    if format is LogFormat.JSON:
        assert written.json["level"] == "critical"
        assert written.json["message"] == "x: broke"
        assert written.json["error"] == "why"
        lines = written.json["traceback"].split("\n")
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[-1] == "builtins.ValueError: why"
    else:
        assert written.line.startswith(f"{WHEN} critical: x: broke\\nTraceback (most recent")
        assert written.line.endswith("\\nbuiltins.ValueError: why")


def test_a_failure_without_a_message_shows_its_error() -> None:
    written = Log(format=LogFormat.JSON)
    written.event("", LogLevel.critical, log_failure=failure_of(ValueError("why")))
    assert written.json["message"] == "why"


# --- what is hostile or broken --------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "nasty",
    ["\n", "\r\n", "\x00", "\x1b]0;title\x07", "\x9b31m", "\u2028", "\x85", "\u202e", "\u2066",
     "\u200b", "\ufeff", "\ud800", "\x7f"],
)  # fmt: skip
def test_untrusted_text_cannot_forge_lines_or_control_terminals(
    format: LogFormat, nasty: str
) -> None:
    written = Log(format=format)
    forged = f"x{nasty}{WHEN} critical: forged"
    written.event("{client}", client=forged, log_failure=failure_of(ValueError(forged)))
    (line,) = written.stream.getvalue().splitlines()
    assert line.isprintable()
    if format is LogFormat.JSON:
        values = dict(written.json)
        traceback = values.pop("traceback").split("\n")
        assert all(each.isprintable() for each in [*values.values(), *traceback])
    assert r"x\\" in line if format is LogFormat.JSON else "x\\" in line


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "event",
    [
        {},
        {"log_level": None, "log_namespace": None, "log_time": None, "log_format": None},
        {"log_level": "info", "log_namespace": 5, "log_time": "noon", "log_format": b"\xff"},
        {"log_time": float("nan"), "log_format": "{"},
        {"log_time": 1e300, "log_format": "{missing}"},
        {"log_format": "{x}", "x": Unprintable()},
        {"log_format": "{x.y[0]}", "x": Unprintable(), "log_failure": "no failure"},
        {"log_format": "fine", "x": Unprintable(), "log_namespace": Unprintable()},
        {"log_format": "fine", "log_failure": failure_of(Exception(Unprintable()))},
        {"log_format": 5, 5: 6, None: 7},
        {"log_format": "{x}", "x": 10**5000},
        {"log_format": "{log_text}"},
    ],
)
def test_logs_a_broken_event_as_one_line(format: LogFormat, event: LogEvent) -> None:
    for namespace in ("mic.x", "other"):
        written = Log(format=format)
        written.observer({"log_namespace": namespace, **event})
        assert written.line.isprintable()
        if format is LogFormat.JSON:
            assert datetime.fromisoformat(written.json["time"]).tzinfo is UTC


def test_logs_an_event_that_cannot_be_formatted() -> None:
    class Evil(tuple[int, ...]):
        def _asdict(self) -> dict[str, Any]:
            raise RuntimeError("secret")

    written = Log(format=LogFormat.JSON)
    written.event("lost", x=Evil())
    assert written.json["message"] == "an event that cannot be shown: RuntimeError"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("character", ["x", "機", "\U0001f600", "\n", '"', "\\", "\ud800"])
def test_lines_are_bounded_and_keep_both_ends(format: LogFormat, character: str) -> None:
    written = Log(format=format)
    text = f"begin {character * 100_000} end"
    fields = {f"field_{number}": text for number in range(20)}
    written.event("{long}", LogLevel.critical, long=text, **fields,
                  log_failure=failure_of(ValueError(text)))  # fmt: skip
    assert len(written.line.encode()) < log.LINE_LIMIT
    assert "begin" in written.line
    assert "end" in written.line
    if format is LogFormat.JSON:
        assert written.json["message"].endswith(" end")


@pytest.mark.parametrize("format", FORMATS)
def test_redacts_every_part_of_an_event(format: LogFormat) -> None:
    written = Log(format=format)
    secret = f"http://u:hunter2@h/{UUID}.iso Bearer hunter2"
    written.event(secret.replace("u:", "{u}:"), u="u", field=secret, log_namespace=f"mic.{secret}",
                  log_failure=failure_of(ValueError(secret)))  # fmt: skip
    assert "hunter2" not in written.line
    assert UUID not in written.line


def test_redacts_shortened_values() -> None:
    written = Log()
    token = " Bearer " + "hunter2" * 10 + " "
    written.event("{x}", x="a" * 4000 + token + "b" * 90_000 + token + "c" * 4000)
    assert "hunter2" not in written.line


def test_ignores_a_broken_stream(tmp_path: Any) -> None:
    stream = (tmp_path / "log").open("w")
    observer = log.Observer(LogSettings(), stream)
    stream.close()
    observer({"log_format": "lost"})


def test_works_with_any_encoding_of_the_stream() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    log.Observer(LogSettings(), stream)({"log_format": "grün", "log_namespace": "mic"})
    stream.seek(0)
    assert stream.read().endswith(": gr\\xfcn\n")


# --- levels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lowest", "shown"),
    [
        (Lowest.DEBUG, ["debug", "info", "warn", "error", "critical"]),
        (Lowest.INFO, ["info", "warn", "error", "critical"]),
        (Lowest.WARN, ["warn", "error", "critical"]),
        (Lowest.ERROR, ["error", "critical"]),
    ],
)
def test_logs_the_chosen_level_and_above(lowest: Lowest, shown: list[str]) -> None:
    written = Log(level=lowest, format=LogFormat.JSON)
    for level in LogLevel.iterconstants():
        written.event("", level)
    assert [json.loads(line)["level"] for line in written.lines] == shown


@pytest.mark.parametrize("name", ["twisted.web.http.HTTPChannel", "twisted.web.http", "log_legacy"])
def test_shows_twisteds_chatter_at_debug_only(name: str) -> None:
    written, all_of_it = Log(), Log(level=Lowest.DEBUG)
    for each in (written, all_of_it):
        each.event("Timing out client", log_namespace=name)
        each.event("serious", LogLevel.warn, log_namespace=name)
    assert len(written.lines) == 1
    assert len(all_of_it.lines) == 2


# --- the journal ----------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_prefixes_lines_for_the_journal_with_a_priority(
    format: LogFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w") as stream:
        status = os.fstat(ours.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        observer = log.Observer(LogSettings(format=format, level=Lowest.DEBUG), stream)
        for level in LogLevel.iterconstants():
            observer({"log_format": "x", "log_level": level, "log_namespace": "mic"})
        lines = theirs.recv(100_000).decode().splitlines()
        elsewhere = Log(format=format)
    assert sorted(line[:3] for line in lines) == ["<2>", "<3>", "<4>", "<6>", "<7>"]
    elsewhere.event("x")
    assert not elsewhere.line.startswith("<")


# --- the standard library's logging, and warnings -------------------------------------------------


@pytest.fixture
def bridged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a log at a level, as a process does; stop it after the test."""
    root = logging.getLogger()
    handlers, level_before = list(root.handlers), root.level
    observers = []

    def start(level: Lowest) -> Log:
        written = Log(format=LogFormat.JSON, level=level)
        log.bridge(LogSettings(level=level))
        globalLogPublisher.addObserver(written.observer)
        observers.append(written.observer)
        return written

    yield start
    for observer in observers:
        globalLogPublisher.removeObserver(observer)
    root.handlers = handlers
    root.setLevel(level_before)


def test_passes_records_of_the_standard_library(bridged: Any) -> None:
    written = bridged(Lowest.INFO)
    logging.getLogger("urllib3.connectionpool").warning("Retrying %s", "a\nb")
    logging.getLogger("kubernetes.x").error("bad")
    logging.getLogger("asyncio").debug("not at info")
    logging.getLogger("odd").log(35, "between warning and error")
    found = [json.loads(line) for line in written.lines]
    assert [(each["logger"], each["level"], each["message"]) for each in found] == [
        ("urllib3.connectionpool", "warn", r"Retrying a\nb"),
        ("kubernetes.x", "error", "bad"),
        ("odd", "warn", "between warning and error"),
    ]


def test_passes_a_record_that_cannot_be_formatted(bridged: Any) -> None:
    written = bridged(Lowest.INFO)
    record = logging.LogRecord("broken", logging.WARNING, "", 0, "%d", ("no number",), None)
    # Not by its logger: pytest's own handlers insist on records that can be formatted.
    (bridge,) = [
        each for each in logging.getLogger().handlers if isinstance(each, log.RecordBridge)
    ]
    bridge.handle(record)
    assert written.json["message"] == "%d ('no number',)"


def test_passes_tracebacks_of_records(bridged: Any) -> None:
    written = bridged(Lowest.INFO)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("library").exception("it broke")
    assert written.json["message"] == "it broke"
    assert written.json["error"] == "why"
    assert written.json["traceback"].endswith("ValueError: why")


def test_drops_debug_records_of_libraries_that_log_secrets(bridged: Any) -> None:
    written = bridged(Lowest.DEBUG)
    for name in ("kubernetes.client.rest", "oauthlib.oauth2", "urllib3x", "unknown"):
        logging.getLogger(name).debug("response body: %s", "hunter2")
    logging.getLogger("asyncio").debug("Using selector")
    logging.getLogger("urllib3.connection").debug("Connecting")
    assert [json.loads(line)["logger"] for line in written.lines] == [
        "asyncio",
        "urllib3.connection",
    ]


def test_passes_events_of_twisteds_legacy_log(
    bridged: Any, logged_failures: list[LogEvent]
) -> None:
    written = bridged(Lowest.DEBUG)
    legacy.msg("old", "and older", system="-")
    legacy.err(ValueError("why"), "it broke")
    Logger(namespace="mic.y").warn("{image}", image="x")
    logged_failures.clear()
    old, error, new = (json.loads(line) for line in written.lines)
    assert (old["message"], old["logger"], set(old)) == (
        "old and older",
        "log_legacy",
        {"time", "level", "logger", "message"},
    )
    assert error["level"] == "critical"
    assert error["error"] == "why"
    assert new["image"] == "x"


def test_logs_python_warnings(tmp_path: Any) -> None:
    """In a process of its own: Twisted starts logging once per process."""
    import subprocess
    import sys

    code = """
import warnings
from mic.observe import log
from mic.settings.model import LogFormat, LogSettings
warnings.simplefilter("always")
log.begin(LogSettings(format=LogFormat.JSON))
warnings.warn("Unverified HTTPS request to 'x'\\nis made", UserWarning)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    (line,) = done.stderr.splitlines()
    found = json.loads(line)
    assert found["level"] == "warn"
    assert r"UserWarning: Unverified HTTPS request to 'x'\nis made" in found["message"]
    assert warnings.filters
