"""Connect to servers, directly or through a proxy, with or without TLS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from mic import __version__
from mic.fetch.explain import Distrust, Remedies, explain
from mic.fetch.failure import FetchError, Retryable
from mic.fetch.location import Location
from mic.fetch.proxies import Proxy, proxy_for
from mic.fetch.tunnel import Tunnel
from mic.fetch.verification import distrust

REMEDIES = Remedies(
    untrusted="-ca FILE with the certificate of its authority, or SSL_CERT_FILE=FILE",
    wrong_name="use a name that it has",
)
"""Remedies against certificates that are refused."""

_MAX_HEAD = 256 * 1024
_USER_AGENT = f"mic-fetch/{__version__}"


class Connections:
    """Makes requests; ``environment`` names the proxies, ``timeout`` is for connecting.

    ``trust`` are the authorities of `mic.fetch.verification.trust_root`.
    """

    def __init__(
        self,
        reactor: Any,
        environment: Mapping[str, str],
        *,
        trust: Any,
        timeout: float,
    ) -> None:
        self._reactor = reactor
        self._environment = environment
        self._policy = BrowserLikePolicyForHTTPS(trust)
        self._timeout = timeout

    def get(self, location: Location, fields: Mapping[str, str]) -> Any:
        """Request a location; the Deferred has the response. Raises `FetchError` for a bad proxy.

        No compression: the digest is of the file's own bytes.
        """
        headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"}
        headers.update(fields)
        if location.authorization:
            headers["Authorization"] = location.authorization
        counted = _Heads()
        agent, more = self._agent(location, counted)
        headers.update(more)
        raw = Headers({name: [value] for name, value in headers.items()})
        asked = agent.request(b"GET", location.url.encode("ascii"), raw)
        return asked.addCallbacks(counted.complete, counted.failed)

    def distrust(self, location: Location) -> Deferred[Distrust | None]:
        """Return why the certificate of a location is not trusted: see `distrust`."""
        found = distrust(self._creator(location.host, location.port), self._path(location))
        found.addTimeout(self._timeout, self._reactor, onTimeoutCancel=lambda *_: None)
        return found

    def _agent(self, location: Location, counted: _Heads) -> tuple[IAgent, dict[str, str]]:
        """Return the agent for a location, and header fields that its proxy needs."""

        def direct(endpoint: IStreamClientEndpoint) -> tuple[IAgent, dict[str, str]]:
            fixed = _Fixed(_Counted(endpoint, counted))
            return Agent.usingEndpointFactory(self._reactor, fixed), {}

        if location.scheme == "https":
            creator = self._creator(location.host, location.port)
            return direct(wrapClientTLS(creator, self._path(location)))
        proxy = proxy_for(location, self._environment)
        if proxy is None:
            return direct(self._endpoint(location.host, location.port))
        fields = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
        return ProxyAgent(_Counted(self._to_proxy(proxy), counted), self._reactor), fields

    def _path(self, location: Location) -> IStreamClientEndpoint:
        """Return what leads to the server of an ``https://`` URL, without its TLS."""
        proxy = proxy_for(location, self._environment)
        if proxy is None:
            return self._endpoint(location.host, location.port)
        return Tunnel(self._to_proxy(proxy), proxy, location.host, location.port)

    def _to_proxy(self, proxy: Proxy) -> IStreamClientEndpoint:
        endpoint = self._endpoint(proxy.host, proxy.port)
        if proxy.tls:
            endpoint = wrapClientTLS(self._creator(proxy.host, proxy.port), endpoint)
        return _ToProxy(endpoint, proxy, self._timeout)

    def _endpoint(self, host: str, port: int) -> IStreamClientEndpoint:
        return HostnameEndpoint(self._reactor, host, port, timeout=self._timeout)

    def _creator(self, host: str, port: int) -> IOpenSSLClientConnectionCreator:
        return self._policy.creatorForNetloc(host.encode("ascii"), port)


@implementer(IStreamClientEndpoint)
class _ToProxy:
    """Names the proxy in the errors of connecting to it."""

    def __init__(self, endpoint: IStreamClientEndpoint, proxy: Proxy, timeout: float) -> None:
        self._endpoint = endpoint
        self._proxy = proxy
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        def failed(failure: Failure) -> NoReturn:
            assert failure.value is not None  # noqa: S101
            why = explain(failure.value, f"http://{self._proxy}", self._timeout, REMEDIES)
            raise Retryable(f"the proxy {self._proxy}: {why}")

        return self._endpoint.connect(protocolFactory).addErrback(failed)


class _Heads(WrappingFactory):
    """Limits the bytes before a response begins: Twisted limits each line, but not their number."""

    def __init__(self) -> None:
        super().__init__(Factory())
        self.protocol = _Counting
        self._left = _MAX_HEAD
        self._is_complete = False

    def admits(self, size: int) -> bool:
        """Count received bytes; return whether the head may still have them."""
        self._left -= size
        return self._is_complete or self._left >= 0

    def complete(self, response: Any) -> Any:
        """Stop counting: the response is there."""
        self._is_complete = True
        return response

    def failed(self, failure: Failure) -> Failure:
        """Replace the failure of a connection that was ended for its head."""
        if self._left >= 0:
            return failure
        return Failure(FetchError(f"the head of the response has more than {_MAX_HEAD} bytes"))


class _Counting(ProtocolWrapper):
    factory: _Heads

    def dataReceived(self, data: bytes) -> None:
        if self.factory.admits(len(data)):
            super().dataReceived(data)
        else:
            self.abortConnection()


@implementer(IStreamClientEndpoint)
class _Counted:
    def __init__(self, endpoint: IStreamClientEndpoint, heads: _Heads) -> None:
        self._endpoint = endpoint
        self._heads = heads

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        self._heads.wrappedFactory = protocolFactory
        connected: Deferred[Any] = self._endpoint.connect(self._heads)
        return connected.addCallback(lambda protocol: protocol.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class _Fixed:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, _uri: Any) -> IStreamClientEndpoint:
        return self._endpoint
