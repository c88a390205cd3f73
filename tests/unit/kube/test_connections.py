"""Scope: HTTP with the API server, on real sockets: what a server may send, and when it stops.

TLS, proxies and credentials are in `test_configuration`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from queue import Queue

import pytest

from mic.kube.api_server import ApiServer
from mic.kube.connections import MAX_HEAD, ConnectionLost, Connections, InvalidToken

MARKER = b"c2VjcmV0LW1hcmtlcg"
"""Is in what servers send, and must not be in an error."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
LARGE = b"x" * 64 * 1024 * 1024
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1\r\na\r\n2;extension=1\r\nbc\r\n0\r\nTrailer: 1\r\n\r\n"
)
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 9\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\nabc"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"


class Server:
    """Answers the requests of each connection by a script: pieces to send, None to hang up."""

    def __init__(self) -> None:
        self.script: list[bytes | None] = []
        """What the next connection sends, a piece for each request; then it waits for ever."""
        self.requests: Queue[tuple[int, bytes]] = Queue()
        """(number of the connection, the whole request) in the order of arrival."""
        self.first = b""
        """What the next connection sends before it has read anything."""
        self.size = 1 << 20
        """How many bytes to send at once."""
        self.ended: Queue[int] = Queue()
        """Connections that the client has closed, by number."""
        self.hung_up: Queue[int] = Queue()
        """Connections that the server has closed, by number."""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            script, number = list(self.script), number + 1
            threading.Thread(target=self._serve, args=(client, number, script), daemon=True).start()

    def _serve(self, client: socket.socket, number: int, script: list[bytes | None]) -> None:
        with suppress(OSError):  # the client may close at any time
            self._play(client, number, script)

    def _play(self, client: socket.socket, number: int, script: list[bytes | None]) -> None:
        with client:
            client.sendall(self.first)
            for piece in script:
                if piece is None:
                    client.close()
                    self.hung_up.put(number)
                    return
                request = self._receive(client)
                if not request:
                    break
                self.requests.put((number, request))
                for at in range(0, len(piece), self.size):
                    client.sendall(piece[at : at + self.size])
            while client.recv(4096):
                pass
            self.ended.put(number)

    @staticmethod
    def _receive(client: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request:
            data = client.recv(4096)
            if not data:
                return b""
            request += data
        head, _, body = request.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0"
        while len(body) < int(length):
            body += client.recv(4096)
        return head + b"\r\n\r\n" + body

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as server:
        yield server


@pytest.fixture
def connections(server: Server) -> Iterator[Connections]:
    with closing(Connections(ApiServer(url=server.url), user_agent="mic/1")) as connections:
        yield connections


def ask(connections: Connections, *, silence: float = 60.0) -> tuple[int, bytes]:
    """Status and body of one request."""
    with closing(connections.request("GET", "/x", silence=silence)) as response:
        return response.status, response.read()


# --- what is sent -------------------------------------------------------------------------------


def test_sends_a_request_with_its_query_and_its_body(server: Server) -> None:
    server.script = [OK, OK]
    found = ApiServer(url=f"{server.url}/clusters/c 1/", authorization=lambda: "Bearer t")
    with closing(Connections(found, user_agent="mic/1")) as connections:
        query = {"labelSelector": "!a,b=c", "continue": "a+b/="}
        connections.request("GET", "/api", query, silence=60).close()
        connections.request("PUT", "/api", None, b'{"a": 1}', silence=60).close()
    host = server.url.removeprefix("http://").encode()
    common = (
        b"Host: " + host + b"\r\nUser-Agent: mic/1\r\nAccept: application/json\r\n"
        b"Accept-Encoding: identity\r\nAuthorization: Bearer t\r\n"
    )
    target = b"/clusters/c%201/api"
    asked = b"?labelSelector=%21a%2Cb%3Dc&continue=a%2Bb%2F%3D"
    body = b'Content-Type: application/json\r\nContent-Length: 8\r\n\r\n{"a": 1}'
    assert server.requests.get() == (
        1,
        b"GET " + target + asked + b" HTTP/1.1\r\n" + common + b"\r\n",
    )
    assert server.requests.get()[1] == b"PUT " + target + b" HTTP/1.1\r\n" + common + body


@pytest.mark.parametrize("token", ["a\r\nHost: other", "a\nb", "a\x00", "é", "\u2028"])
def test_sends_no_token_that_is_not_one(server: Server, token: str) -> None:
    server.script = [OK]
    found = ApiServer(url=server.url, authorization=lambda: token)
    with (
        closing(Connections(found, user_agent="mic/1")) as connections,
        pytest.raises(InvalidToken, match="the token has a character") as caught,
    ):
        ask(connections)
    assert token not in str(caught.value)
    assert server.requests.empty()


def test_a_proxy_forwards_requests_to_a_plain_server(server: Server) -> None:
    server.script = [OK]
    proxy = server.url.replace("//", "//me:pass%20word@")
    found = ApiServer(url="http://api.test:8080/root", proxy=proxy)
    with closing(Connections(found, user_agent="mic/1")) as connections:
        assert ask(connections) == (200, b"abc")
    head = server.requests.get()[1]
    assert head.startswith(b"GET http://api.test:8080/root/x HTTP/1.1\r\nHost: api.test:8080\r\n")
    assert b"\r\nproxy-authorization: basic bwu6cgfzcyb3b3jk\r\n" in head.lower()


# --- what arrives -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize(
    "answer",
    [
        OK,
        CHUNKED,
        LAST,
        UNTIL_CLOSED,
        INTERIM + OK,
        INTERIM + INTERIM + CHUNKED,
        b"HTTP/1.0 200 OK\r\n\r\nabc",
        b"HTTP/1.1 200 \r\ncontent-LENGTH:3\r\n\r\nabc",
    ],
)
def test_reads_a_response_however_it_is_framed_and_split(
    server: Server, connections: Connections, answer: bytes, size: int
) -> None:
    server.script, server.size = [answer, None], size
    assert ask(connections) == (200, b"abc")


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_some_responses_have_no_body(
    server: Server, connections: Connections, status: bytes
) -> None:
    server.script = [b"HTTP/1.1 " + status + b"\r\n\r\n"]
    assert ask(connections) == (int(status[:3]), b"")


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_keeps_the_phrase_and_the_headers_by_names_in_lower_case(
    server: Server, connections: Connections, size: int
) -> None:
    server.size = size
    server.script = [
        INTERIM + b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    ]
    with closing(connections.request("GET", "/x", silence=60)) as response:
        assert (response.status, response.reason) == (429, "Too Many")
        assert response.headers == {"retry-after": "7", "content-length": "0"}


def test_reads_why_a_server_refuses_a_request_before_its_end(
    server: Server, connections: Connections
) -> None:
    server.script = [None]
    server.first = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nabc"
    with closing(connections.request("PUT", "/x", None, LARGE, silence=60)) as response:
        assert (response.status, response.read()) == (413, b"abc")
    server.script, server.first = [OK], b""
    assert ask(connections) == (200, b"abc")
    assert used(server) == [2], "the rest of a request must not be the start of the next one"


def test_yields_what_has_arrived_before_the_rest_comes(
    server: Server, connections: Connections
) -> None:
    server.script = [CHUNKED[: CHUNKED.index(b"2;")]]
    with closing(connections.request("GET", "/x", silence=60)) as response:
        assert next(response.chunks()) == b"a"


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "closed before the end"),
        (OK[:10], "closed before the end"),
        (OK[:-1], "closed before the end"),
        (CHUNKED[:-2], "closed before the end"),
        (MARKER, "not HTTP"),
        (b"HTTP/2 200 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + MARKER + b"\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + MARKER + b"\r\n\r\n", "not HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "not HTTP|closed before the end",
        ),
        (
            b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc",
            "not HTTP|clos",
        ),
        (CHUNKED[:-20] + MARKER, "not HTTP"),
    ],
)
def test_names_what_is_wrong_and_quotes_nothing(
    server: Server, connections: Connections, answer: bytes, why: str, size: int
) -> None:
    server.script, server.size = [answer, None], size
    with pytest.raises(ConnectionLost, match=why) as caught:
        ask(connections)
    assert MARKER.decode() not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    server.script = [OK]
    assert ask(connections) == (200, b"abc"), "by another connection"


def test_a_trailer_is_no_header(server: Server, connections: Connections) -> None:
    server.script = [CHUNKED.replace(b"chunked", b"chunked\r\nTrailer: 0")]
    with closing(connections.request("GET", "/x", silence=60)) as response:
        assert response.read() == b"abc"
        assert response.headers["trailer"] == "0"


def test_bounds_the_head(server: Server, connections: Connections) -> None:
    field = b"X: " + b"x" * 1000 + b"\r\n"
    server.script = [b"HTTP/1.1 200 OK\r\n" + field * (MAX_HEAD // len(field) + 70), None]
    with pytest.raises(ConnectionLost, match=f"more than {MAX_HEAD} bytes"):
        ask(connections)


@pytest.mark.parametrize("last", [b"0\r\nX: ", b"1;x="], ids=["trailer", "chunk extension"])
def test_bounds_what_is_not_body(server: Server, connections: Connections, last: bytes) -> None:
    start = CHUNKED[: CHUNKED.index(b"2;")]
    server.script = [start + last + b"x" * (MAX_HEAD + 200_000)]
    with pytest.raises(ConnectionLost, match=f"more than {MAX_HEAD} bytes"):
        ask(connections)


def test_a_large_body_in_small_chunks_is_no_head(server: Server, connections: Connections) -> None:
    count = MAX_HEAD // 4
    server.script = [CHUNKED[: CHUNKED.index(b"1\r")] + b"1\r\nx\r\n" * count + b"0\r\n\r\n"]
    assert ask(connections) == (200, b"x" * count)


@pytest.mark.parametrize("answer", [b"", OK[:20], OK[:-1]])
def test_a_server_that_falls_silent_is_given_up(
    server: Server, connections: Connections, answer: bytes
) -> None:
    server.script = [answer]
    with pytest.raises(ConnectionLost, match="timed out"):
        ask(connections, silence=0.05)
    assert server.ended.get(timeout=60) == 1, "the connection is closed"


def test_a_server_that_is_not_there_is_an_error_of_its_own() -> None:
    with (
        closing(Connections(ApiServer(url="http://127.0.0.1:1"), user_agent="mic")) as connections,
        pytest.raises(Exception, match="refused") as caught,
    ):
        ask(connections)
    assert not isinstance(caught.value, ConnectionLost)


# --- connections --------------------------------------------------------------------------------


def used(server: Server) -> list[int]:
    """The connections of the requests so far, by number."""
    return [server.requests.get_nowait()[0] for _ in range(server.requests.qsize())]


@pytest.mark.parametrize("answer", [OK, CHUNKED, INTERIM + OK, b"HTTP/1.1 204 No\r\n\r\n"])
def test_a_connection_is_used_again(
    server: Server, connections: Connections, answer: bytes
) -> None:
    server.script = [answer] * 3
    for _ in range(3):
        ask(connections)
    assert used(server) == [1, 1, 1]


@pytest.mark.parametrize(
    "answer", [LAST, UNTIL_CLOSED, b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"]
)
def test_a_connection_that_is_to_end_is_not_used_again(
    server: Server, connections: Connections, answer: bytes
) -> None:
    server.script = [answer, None]
    for _ in range(2):
        ask(connections)
    assert used(server) == [1, 2]


def test_a_connection_that_the_server_has_closed_is_replaced(
    server: Server, connections: Connections
) -> None:
    server.script = [OK, None]
    for _ in range(20):
        assert ask(connections) == (200, b"abc")
        server.hung_up.get(timeout=60)


@pytest.mark.parametrize("extra", [OK, b"HTTP", MARKER])
def test_a_connection_with_an_unexpected_response_is_not_used_again(
    server: Server, connections: Connections, extra: bytes
) -> None:
    server.script = [OK + extra]
    with pytest.raises(ConnectionLost, match="not HTTP"):
        ask(connections)
    server.script = [OK]
    assert ask(connections) == (200, b"abc")
    assert used(server) == [1, 2]


def test_a_response_that_is_not_read_to_its_end_closes_the_connection(
    server: Server, connections: Connections
) -> None:
    server.script = [OK[:-1]]
    connections.request("GET", "/x", silence=60).close()
    assert server.ended.get(timeout=60) == 1


def test_a_response_may_be_closed_twice(server: Server, connections: Connections) -> None:
    server.script = [OK] * 3
    for _ in range(2):
        response = connections.request("GET", "/x", silence=60)
        response.read()
        response.close()
        response.close()
    first, second = (connections.request("GET", "/x", silence=60) for _ in range(2))
    first.close()
    second.close()
    assert used(server) == [1, 1, 1, 2], "each has one of its own"


def test_shutting_down_ends_a_read_that_waits(server: Server, connections: Connections) -> None:
    server.script = [CHUNKED[: CHUNKED.index(b"2;")]]
    with closing(connections.request("GET", "/x", silence=60)) as response:
        chunks = response.chunks()
        assert next(chunks) == b"a"
        threading.Timer(0.0, response.shutdown).start()
        with pytest.raises(ConnectionLost):
            next(chunks)
    response.shutdown()


def test_requests_at_the_same_time_have_connections_of_their_own(
    server: Server, connections: Connections
) -> None:
    server.script = [OK] * 100
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(50):
                assert ask(connections) == (200, b"abc")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert max(used(server)) <= 6


def test_closing_closes_what_is_idle_now_and_what_is_in_use_later(
    server: Server, connections: Connections
) -> None:
    server.script = [OK, OK]
    first, second = (connections.request("GET", "/x", silence=60) for _ in range(2))
    assert first.read() == second.read() == b"abc"
    first.close()
    connections.close()
    assert server.ended.get(timeout=60) == 1
    assert server.ended.empty()
    second.close()
    assert server.ended.get(timeout=60) == 2
