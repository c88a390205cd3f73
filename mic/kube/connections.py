"""HTTP/1.1 connections to the API server: urllib3 connects, httptools reads the responses.

Knows nothing of Kubernetes. Everything blocks, and is for threads. A whole HTTP client takes four
times the processor time for a small request, and mic sends five for each object
(docs/design/performance.md).
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote, urlencode, urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.util import Url, parse_url

from mic.kube.api_server import ApiServer, is_header_value

CONNECT_TIMEOUT = 5.0
"""Time limit for each step of connecting, in seconds."""

MAX_HEAD: Final = 256 * 1024
"""Upper bound on what a response has between two pieces of its body, in bytes: its head, trailers,
the extensions of chunks. The heads of the API server have about 500."""

_CHUNK: Final = 64 * 1024  # bytes to receive at once

_SOCKET_OPTIONS: Final = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # A watch is silent most of the time; this detects a dead peer within a minute.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class ConnectionLost(Exception):
    """A connection ended, fell silent, or carried something else than HTTP.

    The server may have acted on the request. The text holds nothing that was sent or received.
    """


class InvalidToken(Exception):
    """The token cannot be sent. The text does not hold it."""


class Connections:
    """Connections to one API server, each for one request at a time, kept for the next one.

    Any number of threads may call `request`.
    """

    def __init__(self, server: ApiServer, *, user_agent: str) -> None:
        self._server = server
        self._target = parse_url(server.url)
        self._proxy = parse_url(server.proxy) if server.proxy else None
        self._tls = self._target.scheme != "http"
        headers = {
            "Host": self._target.netloc or "",
            "User-Agent": user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        self._proxy_headers = _proxy_authorization(server.proxy)
        self._root = (self._target.path or "").rstrip("/")
        if self._proxy is not None and not self._tls:
            # Over plain HTTP a proxy forwards each request (RFC 9112 section 3.2.2).
            self._root = f"http://{self._target.netloc}{self._root}"
            headers |= self._proxy_headers
        self._head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._idle: list[HTTPConnection] = []
        self._closed = False

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        silence: float,
    ) -> Response:
        """Send a request and return the response, of which the head has arrived.

        ``body`` is JSON. ``silence`` is the longest time for sending all of it, and then the
        longest one without a byte of the response, in seconds. The caller closes the response.

        Raises `ConnectionLost`, `InvalidToken`, and for a connection that cannot be made or
        encrypted `OSError` or urllib3's ``HTTPError``.
        """
        target = f"{self._root}{path}"
        if query:
            target = f"{target}?{urlencode(query)}"
        fields = ""
        authorization = self._server.authorization()
        if authorization:
            if not is_header_value(authorization):
                raise InvalidToken("the token has a character that no header may have")
            fields = f"Authorization: {authorization}\r\n"
        if body is not None:
            fields = f"{fields}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        head = f"{method} {target} HTTP/1.1\r\n{self._head}{fields}\r\n".encode("ascii")
        response = Response(self._take(), self._finished, silence)
        response.exchange(head + body if body else head)
        return response

    def close(self) -> None:
        """Close the connections that no request uses; the others close when they are done."""
        self._closed = True
        with suppress(IndexError):  # another thread may take the last one
            while self._idle:
                self._idle.pop().close()

    def _take(self) -> HTTPConnection:
        """Return a connection without a request, a new one if there is none."""
        while self._idle:
            # Another thread may have taken the last one.
            with suppress(IndexError):
                connection = self._idle.pop()
                if _is_quiet(connection):
                    return connection
                connection.close()
        connection = self._new()
        try:
            connection.connect()
        except http.client.HTTPException:
            connection.close()
            raise OSError("the proxy's response to CONNECT is not HTTP") from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _finished(self, connection: HTTPConnection) -> None:
        self._idle.append(connection)
        if self._closed:
            self.close()

    def _new(self) -> HTTPConnection:
        """Return a connection that is not connected yet."""
        server, target, proxy = self._server, self._target, self._proxy
        first = proxy or target
        common: dict[str, Any] = {
            "host": (first.host or "").strip("[]"),
            "port": first.port or _default_port(first),
            "timeout": CONNECT_TIMEOUT,
            "socket_options": _SOCKET_OPTIONS,
            "proxy": proxy,
            "proxy_config": ProxyConfig(None, False, None, None) if proxy is not None else None,
        }
        if not (self._tls or first.scheme == "https"):
            return HTTPConnection(**common)
        connection = HTTPSConnection(
            **common,
            cert_reqs=ssl.CERT_REQUIRED if server.verify else ssl.CERT_NONE,
            ca_certs=server.ca_file,
            cert_file=server.certificate_file,
            key_file=server.key_file,
            server_hostname=server.tls_name,
        )
        if proxy is not None and self._tls:
            connection.set_tunnel(
                (target.host or "").strip("[]"),
                target.port or _default_port(target),
                headers=self._proxy_headers,
                scheme=proxy.scheme or "http",
            )
        return connection


class Response:
    """A response as it arrives, read in the thread that sent the request."""

    def __init__(
        self,
        connection: HTTPConnection,
        finished: Callable[[HTTPConnection], None],
        silence: float,
    ) -> None:
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        """By name in lower case; the last one of a name counts."""
        self._connection = connection
        self._finished = finished
        self._parser: Any = HttpResponseParser(self)
        self._is_sent = False
        self._has_head = False
        self._complete = False
        self._keeps_alive = False
        self._body: list[bytes] = []
        self._without_body = 0
        """Bytes that have arrived since the last piece of the body."""
        connection.sock.settimeout(silence)

    def exchange(self, request: bytes) -> None:
        """Send the request and receive the head of the response.

        Raises `ConnectionLost` and ``ssl.SSLError``; the response is closed then.
        """
        try:
            try:
                self._connection.sock.sendall(request)
                self._is_sent = True
            except TimeoutError:
                raise ConnectionLost("timed out") from None
            except OSError:
                pass  # the server may have refused it before its end, and its response says why
            while not self._has_head:
                self._receive()
        except BaseException:
            self.close()
            raise

    def read(self) -> bytes:
        """Return what is left of the body. Raises as `chunks`."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in the pieces in which it arrives.

        Raises `ConnectionLost`, and ``ssl.SSLError`` for bytes that cannot be decrypted.
        """
        while True:
            body, self._body = self._body, []
            yield from body
            if self._complete:
                return
            self._receive()

    def shutdown(self) -> None:
        """End the response; from any thread. A thread that waits for its body gets no more."""
        # Closing would wait for the blocked read, which only a shutdown of the socket wakes. It
        # fails if the connection has just ended.
        with suppress(OSError, AttributeError):
            sock = self._connection.sock
            # TLS within TLS, to a proxy, is no socket but has one.
            getattr(sock, "socket", sock).shutdown(socket.SHUT_RDWR)

    def close(self, *, keep: bool = True) -> None:
        """Keep the connection if the body was read to its end, otherwise close it.

        With ``keep`` false it is closed in any case: `shutdown` may be called at the same moment.
        """
        if self._parser is None:
            return
        # Its callbacks are methods of this object: without the cycle both go at once.
        self._parser = None
        if keep and self._is_sent and self._complete and self._keeps_alive:
            self._finished(self._connection)
        else:
            self._connection.close()

    def _receive(self) -> None:
        """Receive and parse what arrives next.

        Raises `ConnectionLost` and ``ssl.SSLError``.
        """
        try:
            data = self._connection.sock.recv(_CHUNK)
        except ssl.SSLError:
            raise  # such as a certificate that the server refuses: no ordinary end of a connection
        except OSError as error:
            raise ConnectionLost(str(error.strerror or error)) from None
        if not data:
            if not self._ends_with_connection():
                raise ConnectionLost("the connection was closed before the end of the response")
            self._complete, self._keeps_alive = True, False
            return
        self._without_body += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._keeps_alive = False
            # Not the parser's text: it may quote what it read.
            raise ConnectionLost("the response is not HTTP/1.1") from None
        if self._without_body > MAX_HEAD and not self._complete:
            raise ConnectionLost(f"the response has more than {MAX_HEAD} bytes of headers")

    def _ends_with_connection(self) -> bool:
        """Return whether closing is how the body ends (RFC 9112 section 6.3, rule 8)."""
        framed = self.headers.keys() & {"content-length", "transfer-encoding"}
        return self._has_head and not framed

    # The parser's callbacks, by the names that it wants.

    def on_message_begin(self) -> None:
        """Refuse a response that nobody asked for. The parser turns this into its own error."""
        if self._complete:
            raise ValueError("a second response")

    def on_status(self, reason: bytes) -> None:
        """Keep the phrase after the status code, which may come in parts."""
        self.reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field, unless it comes after the body."""
        if not self._has_head:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Keep the status code; forget the head of an interim response (RFC 9110 section 15.2)."""
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers, self.reason = {}, ""
        else:
            self._has_head = True

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body."""
        self._body.append(data)
        self._without_body = 0

    def on_message_complete(self) -> None:
        """Note the end of the response."""
        if self._has_head:
            self._complete = True
            self._keeps_alive = self._parser.should_keep_alive()


def _is_quiet(connection: HTTPConnection) -> bool:
    """Return whether an idle connection still stands and nothing has arrived since its response."""
    # TLS within TLS keeps bytes of its own, which the socket does not show.
    kept = getattr(getattr(connection.sock, "incoming", None), "pending", 0)
    return not kept and connection.is_connected


def _default_port(url: Url) -> int:
    return 443 if url.scheme == "https" else 80


def _proxy_authorization(proxy: str) -> dict[str, str]:
    """Return the header with user and password of a proxy's URL."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
