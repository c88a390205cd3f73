"""Scope: what the client makes of the API server's refusals: their kind, and what they say.

Answers come from an HTTP server on loopback; what a real API server answers is in tests/contract.
"""

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

from mic.kube.api import (
    PREPROVISIONING_IMAGES,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from mic.kube.client import ThreadedKubernetes
from mic.kube.configuration import load_configuration

reactor = cast(Any, _reactor)

MARKER = "marker-of-a-payload"
BODY = {"metadata": {"namespace": "hosts", "name": "a", "resourceVersion": "1"}}
ASKED = "update preprovisioningimages hosts/a: "
GRANT = "403; grant `update` (deploy/kubernetes/base/rbac.yaml)"
RBAC = (
    'preprovisioningimages.metal3.io "a" is forbidden: User "mic" cannot update resource '
    '"preprovisioningimages" in API group "metal3.io" in the namespace "hosts"'
)
DENIED = f'admission webhook "deny.example.com" denied the request: {MARKER}'
BROKEN = f'Internal error occurred: failed calling webhook "deny.example.com": {MARKER}'
POLICY = f"a is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {MARKER}"
QUOTA = "exceeded quota: few, requested: count/x=1, used: count/x=1, limited: count/x=1"


class Server:
    """Answers every request alike."""

    def __init__(self) -> None:
        self.code = 200
        self.body = b""
        self.headers: dict[str, str] = {}
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(server.code)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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


def status(code: int, reason: str, message: str) -> bytes:
    return json.dumps(
        {"kind": "Status", "code": code, "reason": reason, "message": message}
    ).encode()


async def refusal(api: ThreadedKubernetes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await api.replace(PREPROVISIONING_IMAGES, BODY)
    assert MARKER not in str(caught.value)
    assert str(caught.value).removeprefix("cannot ").startswith(ASKED)
    return caught.value


@pytest.mark.parametrize(
    ("code", "reason", "message", "kind", "said"),
    [
        (400, "BadRequest", MARKER, Invalid, "400 BadRequest"),
        (401, "Unauthorized", "", Unauthorized, "401 Unauthorized: the API server does not accept"),
        (403, "Forbidden", RBAC, Forbidden, GRANT),
        (403, "Forbidden", "", Forbidden, GRANT),
        (403, "Forbidden", QUOTA, Forbidden, f"403 Forbidden: {QUOTA}"),
        (403, MARKER, DENIED, Forbidden, '403: admission webhook "deny.example.com" denied the'),
        (404, "NotFound", MARKER, NotFound, "404 NotFound"),
        (405, "MethodNotAllowed", MARKER, Invalid, "405 MethodNotAllowed"),
        (408, "Timeout", MARKER, Unavailable, "408 Timeout"),
        (409, "Conflict", MARKER, Conflict, "409 Conflict"),
        (410, "Expired", MARKER, Gone, "410 Expired"),
        (413, "RequestEntityTooLarge", MARKER, Invalid, "413 RequestEntityTooLarge"),
        (422, "Invalid", MARKER, Invalid, "422 Invalid"),
        (422, "Invalid", POLICY, Invalid, "422: ValidatingAdmissionPolicy 'p' with binding 'b'"),
        (429, "TooManyRequests", MARKER, TooManyRequests, "429 TooManyRequests"),
        (500, "InternalError", MARKER, ServerError, "500 InternalError"),
        (500, "InternalError", BROKEN, ServerError, '500: failed calling webhook "deny.example.c'),
        (503, "ServiceUnavailable", MARKER, Unavailable, "503 ServiceUnavailable"),
        (504, "Timeout", MARKER, ServerError, "504 Timeout"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_raises_a_refusal_by_its_kind_and_without_a_payload(
    server: Server,
    api: ThreadedKubernetes,
    code: int,
    reason: str,
    message: str,
    kind: type[ApiError],
    said: str,
) -> None:
    server.code, server.body = code, status(code, reason, message)
    error = await refusal(api)
    assert type(error) is kind
    assert str(error).removeprefix("cannot ").startswith(ASKED + said)


@pytest.mark.parametrize("code", [401, 403, 404, 408, 409, 422, 429, 500, 503, 504])
@pytest_twisted.ensureDeferred
async def test_a_webhook_that_chooses_its_code_concerns_its_object_alone(
    server: Server, api: ThreadedKubernetes, code: int
) -> None:
    server.code, server.body = code, status(code, MARKER, DENIED)
    error = await refusal(api)
    assert type(error) in (Forbidden, Invalid, ServerError)
    assert 'admission webhook "deny.example.com" denied the request' in str(error)


@pytest.mark.parametrize("code", [500, 502, 503, 504])
@pytest_twisted.ensureDeferred
async def test_an_error_of_a_proxy_concerns_every_request(
    server: Server, api: ThreadedKubernetes, code: int
) -> None:
    server.code, server.body = code, b"<html>" + MARKER.encode()
    assert type(await refusal(api)) is Unavailable


@pytest.mark.parametrize("code", [429, 503, 500])
@pytest_twisted.ensureDeferred
async def test_the_delay_that_the_server_asks_for_is_kept(
    server: Server, api: ThreadedKubernetes, code: int
) -> None:
    server.code, server.body = code, status(code, "Busy", "")
    server.headers["Retry-After"] = "7"
    error = await refusal(api)
    assert isinstance(error, Unavailable)
    assert error.retry_after == 7.0


@pytest_twisted.ensureDeferred
async def test_a_malformed_response_concerns_its_request_alone(
    server: Server, api: ThreadedKubernetes
) -> None:
    server.body = MARKER.encode()
    error = await refusal(api)
    assert type(error) is ServerError
    assert "malformed response" in str(error)
