"""``python -m mic.cli.healthcheck`` against servers that respond, fail, and stay silent."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mic.cli import healthcheck as health


@contextmanager
def _server(status: int) -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "outcome"), [(200, 0), (404, 0), (500, 1), (503, 1)])
def test_succeeds_unless_the_response_is_a_server_error(
    status: int, outcome: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with _server(status) as url:
        assert health.main([url]) == outcome
    assert capsys.readouterr().err == (f"mic: {url}: answers {status}\n" if outcome else "")


def test_fails_when_the_connection_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert health.main([url]) == 1
    assert "Connection refused" in capsys.readouterr().err


def test_fails_without_a_response_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        health.answer(f"http://127.0.0.1:{silent.getsockname()[1]}/", 0.05)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:8084", "http://", "http://a:b/"])
def test_fails_and_names_what_is_no_url(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main([url]) == 1
    assert url in capsys.readouterr().err


@pytest.mark.parametrize("word", ["-h", "-help", "--help"])
def test_help_exits_0(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main([word]) == 0
    assert capsys.readouterr().out.startswith("Usage: python -m mic.cli.healthcheck [URL]")


@pytest.mark.parametrize("arguments", [["-x"], ["http://a/", "http://b/"]])
def test_other_arguments_print_the_usage_and_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert health.main(arguments) == 2
    assert capsys.readouterr().err.startswith("Usage: python -m mic.cli.healthcheck [URL]")


def test_imports_no_other_module_of_mic() -> None:
    code = (
        "import sys, mic.cli.healthcheck; print(*(m for m in sys.modules if m.startswith('mic')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["mic", "mic.cli", "mic.cli.healthcheck"]
