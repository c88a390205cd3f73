"""Scope: how the client reads the stream of a watch. A real API server's is in tests/contract."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
import yaml
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread

from mic.kube.api import SECRETS, ApiError, Forbidden, Gone, ServerError, Unavailable, WatchEvent
from mic.kube.client import ThreadedKubernetes
from mic.kube.configuration import load_configuration

reactor = cast(Any, _reactor)


class Server:
    """Answers each request with ``chunks``, then ends the response or hangs up."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.hangs_up = False
        self.waits: threading.Event | None = None
        """What the next response waits for; it does not end then."""
        self.requests = threading.Semaphore(0)
        """One for each request that has arrived."""
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                waits, chunks = server.waits, server.chunks
                server.requests.release()
                if waits is not None:
                    waits.wait()
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for chunk in chunks:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                if waits is not None:
                    self.rfile.read(1)
                if waits is not None or server.hangs_up:
                    self.close_connection = True
                else:
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def api(server: Server, tmp_path: Path) -> Iterator[ThreadedKubernetes]:
    content = {
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(content))
    api = ThreadedKubernetes(load_configuration(str(tmp_path / "config")), reactor, threads=1)
    api.startService()
    yield api
    pytest_twisted.blockon(api.stopService())


def event(name: str, kind: str = "ADDED") -> bytes:
    return json.dumps({"type": kind, "object": {"metadata": {"name": name}}}).encode() + b"\n"


async def watched(api: ThreadedKubernetes) -> list[str]:
    """The names of the objects in the events of one watch."""
    events: list[WatchEvent] = []
    await api.watch(SECRETS, namespace="hosts", resource_version="1", on_event=events.append)
    return [each.object["metadata"]["name"] for each in events]


@pytest_twisted.ensureDeferred
async def test_a_watch_that_is_stopped_before_its_response_frees_its_thread(
    server: Server, api: ThreadedKubernetes
) -> None:
    server.waits = threading.Event()
    events: list[WatchEvent] = []
    watch = Deferred.fromCoroutine(
        api.watch(SECRETS, namespace="hosts", resource_version="1", on_event=events.append)
    )
    watch.addErrback(lambda failure: failure.trap(CancelledError))
    await deferToThread(server.requests.acquire)
    watch.cancel()
    server.waits.set()
    server.waits, server.chunks = None, [event("b")]
    assert await watched(api) == ["b"], "by the only thread"
    assert events == []


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest_twisted.ensureDeferred
async def test_reads_events_however_the_bytes_arrive(
    server: Server, api: ThreadedKubernetes, size: int
) -> None:
    body = event("a") + b"\n" + event("bé") + event("c")
    server.chunks = [body[at : at + size] for at in range(0, len(body), size)]
    assert await watched(api) == ["a", "bé", "c"]


@pytest_twisted.ensureDeferred
async def test_a_connection_that_breaks_ends_the_watch_and_drops_the_incomplete_event(
    server: Server, api: ThreadedKubernetes
) -> None:
    server.chunks, server.hangs_up = [event("a"), event("b")[:-5]], True
    assert await watched(api) == ["a"]


@pytest_twisted.ensureDeferred
async def test_a_line_that_is_not_json_ends_the_watch(
    server: Server, api: ThreadedKubernetes
) -> None:
    server.chunks = [event("a") + b"<html>\n" + event("b")]
    assert await watched(api) == ["a"]


@pytest.mark.parametrize(
    "line", [b"[]\n", b'{"type": "ADDED"}\n', b'{"type": "ERROR", "object": 1}\n']
)
@pytest_twisted.ensureDeferred
async def test_an_event_without_its_members_is_malformed(
    server: Server, api: ThreadedKubernetes, line: bytes
) -> None:
    server.chunks = [line]
    with pytest.raises(ServerError, match="watch secrets in hosts: malformed response"):
        await watched(api)


@pytest.mark.parametrize(("code", "kind"), [(410, Gone), (403, Forbidden), (500, Unavailable)])
@pytest_twisted.ensureDeferred
async def test_an_error_event_is_raised_without_its_message(
    server: Server, api: ThreadedKubernetes, code: int, kind: type[ApiError]
) -> None:
    status = {"kind": "Status", "code": code, "reason": "Expired", "message": "secret-marker"}
    server.chunks = [json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"]
    with pytest.raises(kind, match=f": {code}(; grant `watch`| Expired)") as caught:
        await watched(api)
    assert "secret-marker" not in str(caught.value)
