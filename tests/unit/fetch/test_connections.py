"""Downloads over TLS and through proxies, which are processes of their own."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_twisted
from certificates import Issued, issue, pem
from fetching import ISO, complete, fetched, files, stream, there_before, wanted
from http_proxy import proxying
from lying_server import LyingServer, cut, redirect, serving, status

from mic.fetch.failure import FetchError
from mic.fetch.verification import trust_root

HOST = "mirror.test"


@pytest.fixture(scope="module")
def authority() -> Issued:
    return issue(name="authority", authority=True)


@pytest.fixture
def ca(authority: Issued, tmp_path: Path) -> str:
    path = tmp_path / "trusted" / "ca.pem"
    path.parent.mkdir()
    path.write_bytes(b"# of the site\n" + pem(authority.certificate))
    return str(path)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "images"
    path.mkdir()
    return path


@pytest.fixture
def context(authority: Issued, tmp_path: Path) -> ssl.SSLContext:
    return tls(issue(by=authority, host=HOST), tmp_path)


def tls(issued: Issued, directory: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*issued.write(directory / "served"))
    return context


def named(server: LyingServer) -> str:
    return server.url.replace("127.0.0.1", HOST)


@pytest_twisted.ensureDeferred
async def test_warns_of_a_url_that_came_over_plain_http(
    output: Path, authority: Issued, ca: str, tmp_path: Path
) -> None:
    context = tls(issue(by=authority), tmp_path)
    with serving(ISO, tls=context) as server, serving(b"") as other:
        other.content = stream(server).replace(b"127.0.0.1", b"localhost")
        described = {"stream_json": other.url, "architecture": "x86_64"}
        request = wanted(output, server, url="", **described)
        result = await fetched(request, trust=trust_root(ca))
        text = "its URL came over plain HTTP: use https:// for the stream metadata"
        assert result.warnings[-1] == text
        # Whoever chose the URL did not choose the server: a wrong digest would only be refused.
        request = replace(request, url=server.url.replace("127.0.0.1", "localhost"))
        result = await fetched(request, trust=trust_root(ca))
        assert text not in result.warnings


@pytest_twisted.ensureDeferred
async def test_downloads_over_tls(output: Path, ca: str, context: ssl.SSLContext) -> None:
    with serving(ISO, cut(0.5), tls=context) as server:
        await fetched(wanted(output, server), trust=trust_root(ca))
        assert len(server.asked) == 2
    assert files(output) == complete()


def _expired(authority: Issued) -> Issued:
    start = datetime.now(UTC) - timedelta(days=9)
    return issue(by=authority, start=start, life=timedelta(days=2))


def _future(authority: Issued) -> Issued:
    return issue(by=authority, start=datetime.now(UTC) + timedelta(days=2))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda _: issue(), "it is signed by itself: -ca FILE"),
        (
            lambda _: issue(by=issue(name="other", authority=True)),
            "its authority is unknown: -ca FILE",
        ),
        (_expired, "it has expired, or the clock of this machine is wrong"),
        (_future, "it is not valid yet, or the clock of this machine is wrong"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_says_why_a_certificate_is_not_trusted(
    tmp_path: Path,
    output: Path,
    authority: Issued,
    ca: str,
    made: Callable[[Issued], Issued],
    why: str,
) -> None:
    before = there_before(output)
    with (
        serving(ISO, tls=tls(made(authority), tmp_path)) as server,
        pytest.raises(FetchError) as caught,
    ):
        await fetched(wanted(output, server), trust=trust_root(ca))
    words = f"{server.url}: its certificate is not trusted: {why}"
    assert str(caught.value).startswith(words)
    assert ("-ca" in str(caught.value)) == ("-ca" in why)
    assert files(output) == before
    assert server.asked == []
    # Once more to learn why, and not again: it would be the same.
    assert server.connections == 2


@pytest_twisted.ensureDeferred
async def test_checks_the_name(
    output: Path, authority: Issued, ca: str, context: ssl.SSLContext
) -> None:
    with serving(ISO, tls=context) as server:
        request = wanted(output, server, url=server.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(FetchError) as caught:
            await fetched(request, trust=trust_root(ca))
    assert server.asked == []
    assert "its certificate is not for localhost: use a name that it has" in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_says_that_a_server_has_no_tls(output: Path) -> None:
    with serving(ISO) as server:
        request = wanted(output, server, url=server.url.replace("http:", "https:"))
        with pytest.raises(FetchError, match="does not speak TLS: try http:"):
            await fetched(request)


@pytest_twisted.ensureDeferred
async def test_never_follows_from_tls_to_plain_http(
    output: Path, ca: str, context: ssl.SSLContext
) -> None:
    before = there_before(output)
    with (
        serving(ISO) as plain,
        serving(ISO, redirect(plain.url), tls=context) as server,
        pytest.raises(FetchError, match="which has no TLS: refused"),
    ):
        await fetched(wanted(output, server), trust=trust_root(ca))
    assert plain.asked == []
    assert files(output) == before


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it holds no PEM certificates"),
        (b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", "it holds no PEM"),
        (None, "No such file"),
    ],
)
def test_refuses_other_files_as_authorities(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FetchError, match=f"^-ca .*{why}"):
        trust_root(str(path))


@pytest_twisted.ensureDeferred
async def test_credentials_go_to_their_server_only(output: Path) -> None:
    with serving(ISO) as other, serving(ISO, redirect("/here"), redirect(other.url)) as server:
        url = server.url.replace("http://", "http://us%40er:pw@")
        await fetched(wanted(output, server, url=url))
    assert [each.fields.get("authorization") for each in server.asked] == ["Basic dXNAZXI6cHc="] * 2
    assert "authorization" not in other.asked[0].fields


@pytest.mark.parametrize("password", ["", "us:er:hunter2"])
@pytest_twisted.ensureDeferred
async def test_reaches_http_through_a_proxy(output: Path, password: str) -> None:
    with serving(ISO, cut(0.5)) as server, proxying("--password", password) as proxy:
        at = "us:er%3Ahunter2@" if password else ""
        environment = {"HTTP_PROXY": f"http://{at}127.0.0.1:{proxy.port}"}
        if password:
            environment["HTTP_PROXY"] = f"http://us:er%3Ahunter2@127.0.0.1:{proxy.port}"
        await fetched(wanted(output, server, url=named(server)), environment=environment)
        assert proxy.requests() == [f"GET {named(server)}"] * 2
    assert files(output) == complete()
    assert all("proxy-authorization" not in each.fields for each in server.asked)
    assert server.asked[0].fields["host"] == f"{HOST}:{server.port}"


@pytest.mark.parametrize("password", ["", "user:hunter2"])
@pytest_twisted.ensureDeferred
async def test_reaches_https_through_a_proxy(
    output: Path, ca: str, context: ssl.SSLContext, password: str
) -> None:
    with serving(ISO, cut(0.5), tls=context) as server, proxying("--password", password) as proxy:
        at = f"{password}@" if password else ""
        environment = {"https_proxy": f"{at}127.0.0.1:{proxy.port}"}
        request = wanted(output, server, url=named(server))
        await fetched(request, environment=environment, trust=trust_root(ca))
        assert proxy.requests() == [f"CONNECT {HOST}:{server.port}"] * 2
    assert files(output) == complete()
    assert all("proxy-authorization" not in each.fields for each in server.asked)


@pytest_twisted.ensureDeferred
async def test_reaches_https_through_a_proxy_with_tls(
    tmp_path: Path, output: Path, ca: str, authority: Issued, context: ssl.SSLContext
) -> None:
    cert, key = issue(by=authority).write(tmp_path / "proxy")
    with (
        serving(ISO, tls=context) as server,
        proxying("--tls", str(cert), str(key)) as proxy,
    ):
        environment = {"HTTPS_PROXY": f"https://localhost:{proxy.port}"}
        request = wanted(output, server, url=named(server))
        await fetched(request, environment=environment, trust=trust_root(ca))
        assert proxy.requests() == [f"CONNECT {HOST}:{server.port}"]
    assert files(output) == complete()


@pytest_twisted.ensureDeferred
async def test_no_proxy_is_direct(output: Path) -> None:
    with serving(ISO) as server:
        environment = {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.0/8"}
        await fetched(wanted(output, server), environment=environment)
    assert files(output) == complete()


@pytest.mark.parametrize(
    ("arguments", "why", "requests"),
    [
        (["--password", "user:hunter2"], "refuses the connection: it answers 407 and wants", 1),
        (["--refuse", "403 Forbidden"], "refuses the connection: it answers 403", 1),
        (["--refuse", "502 Bad Gateway"], "it answers 502; gave up after 3 attempts", 3),
        (["--refuse", "odd"], "does not answer like a proxy", 1),
    ],
)
@pytest_twisted.ensureDeferred
async def test_says_why_a_proxy_refuses(
    output: Path, context: ssl.SSLContext, arguments: list[str], why: str, requests: int
) -> None:
    before = there_before(output)
    with serving(ISO, tls=context) as server, proxying(*arguments) as proxy:
        environment = {"HTTPS_PROXY": f"http://user:wrong@127.0.0.1:{proxy.port}"}
        request = wanted(output, server, url=named(server))
        with pytest.raises(FetchError) as caught:
            await fetched(request, environment=environment)
        assert len(proxy.requests()) == requests
    assert why in str(caught.value)
    assert f"the proxy 127.0.0.1:{proxy.port}" in str(caught.value)
    assert "wrong" not in str(caught.value)
    assert files(output) == before


@pytest_twisted.ensureDeferred
async def test_says_that_a_proxy_does_not_answer(output: Path) -> None:
    """A listener that is closed leaves a port on which nothing listens."""
    with serving(ISO, status("200 OK")) as gone:
        pass
    environment = {"HTTPS_PROXY": f"http://127.0.0.1:{gone.port}"}
    request = wanted(output, gone, url=f"https://{HOST}/x.iso")
    with pytest.raises(FetchError) as caught:
        await fetched(request, environment=environment)
    assert f"the proxy 127.0.0.1:{gone.port}" in str(caught.value)
