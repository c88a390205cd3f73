"""Scope: how mic finds the API server and its credentials: service account and kubeconfig files.

Where a connection matters it is a real one: TLS servers and proxies on loopback, asked by the
client in threads. No content of a file is in an error.
"""

from __future__ import annotations

import base64
import datetime
import http.server
import ipaddress
import json
import os
import re
import select
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from mic.common.errors import ConfigError
from mic.kube.api import SECRETS, Unavailable, WatchEvent
from mic.kube.client import ThreadedKubernetes
from mic.kube.configuration import load_configuration, own_namespace
from mic.kube.token_file import TOKEN_SECONDS

reactor = cast(Any, _reactor)
inline = pytest_twisted.ensureDeferred

SECRET = "c2VjcmV0"
"""Stands in every file that holds a secret; no error may show it."""

_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


# --- certificates, servers, proxies -------------------------------------------------------------


class Authority:
    """A certificate authority."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = self._certificate(self._name, self._key, ca=True, names=())

    def issue(self, common_name: str, *names: str) -> tuple[bytes, bytes]:
        """A certificate of this authority, and its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self._certificate(subject, key, ca=False, names=names), pem

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, ca: bool, names: tuple[str, ...]
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            general: list[x509.GeneralName] = [
                x509.IPAddress(ipaddress.ip_address(name))
                if name[0].isdigit()
                else x509.DNSName(name)
                for name in names
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)


class ApiServer:
    """Answers every list with nothing, over TLS; remembers who asked."""

    def __init__(
        self, folder: Path, authority: Authority, clients: Authority | None = None
    ) -> None:
        self.tokens: list[str | None] = []
        self.clients: list[str] = []
        self.hangs_up = False
        """Whether each connection is good for one request."""
        certificate, key = authority.issue("server", "127.0.0.1", "localhost", "api.test")
        files = folder / "server.crt", folder / "server.key"
        files[0].write_bytes(certificate)
        files[1].write_bytes(key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=clients.pem.decode())
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._answer())
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.port = self._server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _answer(self) -> type[http.server.BaseHTTPRequestHandler]:
        server = self

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.tokens.append(self.headers.get("Authorization"))
                peer = cast(ssl.SSLSocket, self.connection).getpeercert() or {}
                names = dict(cast(Any, part)[0] for part in peer.get("subject", ()))
                server.clients.append(str(names.get("commonName", "")))
                if "watch=true" in self.path:
                    self._begin_a_watch()
                    return
                body = json.dumps({"items": [], "metadata": {"resourceVersion": "5"}}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = server.hangs_up

            def _begin_a_watch(self) -> None:
                event = b'{"type": "ADDED", "object": {}}\n'
                self.send_response(200)
                self.end_headers()
                self.wfile.write(event)
                self.rfile.read(1)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Answer

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Proxy:
    """A proxy that knows CONNECT alone, and takes every name for loopback."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        """For a proxy over TLS."""
        self.answer = b"HTTP/1.1 200 Connection established\r\n\r\n"
        """What CONNECT is answered; the proxy hangs up after anything else."""
        self.asked: list[tuple[str, str]] = []
        """(where to, Proxy-Authorization) of each connection."""
        self._socket = socket.create_server(("127.0.0.1", 0))
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        lines = head.decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines[1:])}
        where = lines[0].split()[1]
        self.asked.append((where, fields.get("proxy-authorization", "")))
        client.sendall(self.answer)
        if b" 200 " in self.answer:
            server = socket.create_connection(("127.0.0.1", int(where.rpartition(":")[2])))
            with server, suppress(OSError):
                self._relay(client, server)
        client.close()

    @staticmethod
    def _relay(client: socket.socket, server: socket.socket) -> None:
        """Copy until one of both ends; in one thread, because a TLS connection is for one."""
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)  # more than a TLS record
                if not data:
                    return
                (server if source is client else client).sendall(data)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(autouse=True)
def _outside_of_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No pod, no proxies, no home of this machine's."""
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in _PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture
def server(tmp_path: Path, authority: Authority) -> Iterator[ApiServer]:
    with closing(ApiServer(tmp_path, authority)) as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with closing(Proxy()) as proxy:
        yield proxy


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What mic logs meanwhile, without the requests."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        is_shown = event.get("log_level") is not LogLevel.debug
        if is_shown and str(event.get("log_namespace")).startswith("mic."):
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


async def ask(configuration: Any, times: int = 1) -> None:
    """List Secrets, by that configuration."""
    api = ThreadedKubernetes(configuration, reactor, threads=1)
    api.startService()
    try:
        for _ in range(times):
            page = await api.list(SECRETS, namespace="x")
            assert page.resource_version == "5"
    finally:
        await api.stopService()


def data(content: bytes) -> str:
    return base64.b64encode(content).decode()


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def kubeconfig(
    path: Path,
    *,
    cluster: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
    context: str = "x",
) -> Path:
    """A file with one cluster, one user and one context, or as many of them as are given."""
    content: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
    if cluster is not None:
        content["clusters"] = [{"name": f"c-{context}", "cluster": cluster}]
        about = {"cluster": f"c-{context}", "user": f"u-{context}"}
        content["contexts"] = [{"name": context, "context": about}]
        content["current-context"] = context
    if user is not None:
        content["users"] = [{"name": f"u-{context}", "user": user}]
    return write(path, yaml.safe_dump(content))


# --- the pod's service account ------------------------------------------------------------------


class Clock:
    """Seconds that pass when a test says so."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Pod:
    """What kubelet puts into a pod."""

    def __init__(self, folder: Path, server: ApiServer, authority: Authority) -> None:
        self.token = write(folder / "account" / "token", "one\n")
        self.ca = write(folder / "account" / "ca.crt", authority.pem)
        self.clock = Clock()

    def load(self) -> Any:
        return load_configuration(
            "", in_cluster_token=self.token, in_cluster_ca=self.ca, now=self.clock
        )


@pytest.fixture
def pod(
    tmp_path: Path, server: ApiServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Pod:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    return Pod(tmp_path, server, authority)


@inline
async def test_in_a_pod_the_service_account_is_used(pod: Pod, server: ApiServer) -> None:
    await ask(pod.load())
    assert server.tokens == ["Bearer one"], "without the file's newline"


@inline
async def test_a_renewed_token_is_used_within_a_minute(pod: Pod, server: ApiServer) -> None:
    configuration = pod.load()
    await ask(configuration)
    pod.token.write_text("two")
    pod.clock.seconds += TOKEN_SECONDS - 1
    await ask(configuration)
    pod.clock.seconds += 1
    await ask(configuration, times=2)
    assert server.tokens == ["Bearer one"] * 2 + ["Bearer two"] * 2


@pytest.mark.parametrize("how", ["vanished", "empty", "directory", "binary"])
@inline
async def test_without_a_new_token_the_old_one_is_used_and_one_line_logged(
    how: str, pod: Pod, server: ApiServer, log: list[str]
) -> None:
    configuration = pod.load()
    pod.token.unlink()
    if how == "directory":
        pod.token.mkdir()
    elif how != "vanished":
        pod.token.write_bytes(b"\n" if how == "empty" else b"\xff" + SECRET.encode())
    pod.clock.seconds += TOKEN_SECONDS
    await ask(configuration, times=3)
    assert server.tokens == ["Bearer one"] * 3
    (line,) = log
    assert str(pod.token) in line
    assert SECRET not in line
    if how == "directory":
        pod.token.rmdir()
    pod.token.write_text("two")
    await ask(configuration)
    assert server.tokens[-1] == "Bearer two", "as soon as it is there again"


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda pod: pod.token.unlink(), "token: No such file"),
        (lambda pod: pod.token.write_text(""), "is empty"),
        (lambda pod: pod.token.write_text("\n \n"), "is empty"),
        (lambda pod: pod.token.write_bytes(b"\xff\xfe" + SECRET.encode()), "is not text"),
        (lambda pod: pod.ca.unlink(), "ca.crt: No such file"),
        (lambda pod: pod.ca.write_text(""), "ca.crt holds no certificate"),
        (lambda pod: pod.ca.write_text(SECRET), "ca.crt holds no certificate"),
        (lambda pod: os.environ.pop("KUBERNETES_SERVICE_PORT"), "KUBERNETES_SERVICE_PORT"),
    ],
    ids=[
        *("no token", "empty token", "blank token", "binary token"),
        *("no CA bundle", "empty CA bundle", "broken CA bundle", "no port"),
    ],
)
def test_an_incomplete_service_account_is_a_configuration_error(
    spoil: Callable[[Pod], object], named: str, pod: Pod
) -> None:
    spoil(pod)
    with pytest.raises(ConfigError, match=r"the pod's service account.*set -kubeconfig") as caught:
        pod.load()
    assert named in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_kubeconfig_goes_before_the_service_account(
    pod: Pod, tmp_path: Path, server: ApiServer
) -> None:
    config = kubeconfig(tmp_path / "config", cluster={"server": "https://other.test"})
    assert load_configuration(str(config)).url == "https://other.test"


def test_services_of_ipv6_are_put_in_brackets(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert pod.load().url == "https://[fd00::1]:443"


# --- kubeconfig files ---------------------------------------------------------------------------


@inline
async def test_a_kubeconfig_with_everything_inline(
    tmp_path: Path, server: ApiServer, authority: Authority
) -> None:
    cluster = {"server": server.url, "certificate-authority-data": data(authority.pem)}
    config = kubeconfig(tmp_path / "config", cluster=cluster, user={"token": "inline"})
    await ask(load_configuration(str(config)))
    assert server.tokens == ["Bearer inline"]


@inline
async def test_outside_of_a_pod_the_one_in_the_home_directory_is_used(
    server: ApiServer, authority: Authority
) -> None:
    home = Path(os.environ["HOME"]) / ".kube"
    write(home / "ca.crt", authority.pem)
    cluster = {"server": server.url, "certificate-authority": "ca.crt"}
    write(home / "token", "at home\n")
    kubeconfig(home / "config", cluster=cluster, user={"tokenFile": "token"})
    await ask(load_configuration(""))
    assert server.tokens == ["Bearer at home"]


@inline
async def test_a_token_file_is_read_again_and_goes_before_a_token(
    tmp_path: Path, server: ApiServer, authority: Authority
) -> None:
    token = write(tmp_path / "token", "one\n")
    clock = Clock()
    cluster = {"server": server.url, "certificate-authority-data": data(authority.pem)}
    user = {"tokenFile": str(token), "token": "inline"}
    config = kubeconfig(tmp_path / "config", cluster=cluster, user=user)
    configuration = load_configuration(str(config), now=clock)
    await ask(configuration)
    token.write_text("two\n")
    clock.seconds += TOKEN_SECONDS
    await ask(configuration)
    assert server.tokens == ["Bearer one", "Bearer two"]


@inline
async def test_several_files_are_merged_and_each_has_its_own_relative_paths(
    tmp_path: Path, server: ApiServer, authority: Authority
) -> None:
    write(tmp_path / "a" / "ca.crt", authority.pem)
    write(tmp_path / "b" / "token", "of b\n")
    write(tmp_path / "a" / "token", "of a\n")
    cluster = {"server": server.url, "certificate-authority": "ca.crt"}
    first = kubeconfig(tmp_path / "a" / "config", cluster=cluster)
    second = kubeconfig(tmp_path / "b" / "config", user={"tokenFile": "token"})
    absent = tmp_path / "c" / "config"
    await ask(load_configuration(f"{absent}:{first}:{second}"))
    assert server.tokens == ["Bearer of b"]


def test_the_first_file_that_chooses_a_context_is_right(tmp_path: Path) -> None:
    files = [
        kubeconfig(tmp_path / "none", user={"token": "t"}),
        kubeconfig(tmp_path / "one", cluster={"server": "https://one.test"}, context="one"),
        kubeconfig(tmp_path / "two", cluster={"server": "https://two.test"}, context="two"),
    ]
    merged = ":".join(map(str, files))
    assert load_configuration(merged).url == "https://one.test"
    again = kubeconfig(tmp_path / "again", cluster={"server": "https://no.test"}, context="one")
    assert load_configuration(f"{merged}:{again}").url == "https://one.test"


def test_the_namespace_is_the_pods_or_the_contexts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for name in ("one", "two"):
        file = kubeconfig(tmp_path / name, cluster={"server": "https://x.test"}, context=name)
        content = yaml.safe_load(file.read_text())
        content["contexts"][0]["context"]["namespace"] = f"of-{name}"
        files.append(write(file, yaml.safe_dump(content)))
    assert own_namespace(":".join(map(str, files))) == "of-one"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    given = write(tmp_path / "namespace", "of-the-pod\n")
    assert own_namespace("", in_cluster_namespace=given) == "of-the-pod"
    with pytest.raises(ConfigError, match="cannot read the pod's namespace"):
        own_namespace("", in_cluster_namespace=tmp_path / "gone")
    for content in ("a/b", "A", "a.b", "..", "x" * 64):
        with pytest.raises(ConfigError, match=r"which cannot be"):
            own_namespace("", in_cluster_namespace=write(given, content))
    with pytest.raises(ConfigError, match="cannot read the pod's namespace"):
        own_namespace("", in_cluster_namespace=write(given, b"\xff"))


@inline
async def test_a_bundle_of_several_authorities_and_the_wrong_one(
    tmp_path: Path, server: ApiServer, authority: Authority
) -> None:
    other = Authority("another")
    bundle = write(tmp_path / "bundle.crt", b"# ours\n" + other.pem + authority.pem)
    for cluster in (
        {"certificate-authority": str(bundle)},
        {"certificate-authority-data": data(bundle.read_bytes())},
    ):
        config = kubeconfig(tmp_path / "config", cluster={"server": server.url, **cluster})
        await ask(load_configuration(str(config)))
    wrong = {"server": server.url, "certificate-authority-data": data(other.pem)}
    config = kubeconfig(tmp_path / "config", cluster=wrong)
    with pytest.raises(Unavailable, match=r"(?i)certificate.verify.failed"):
        await ask(load_configuration(str(config)))
    assert server.tokens == [None, None]


@inline
async def test_a_certificate_may_be_left_unverified_and_that_is_said(
    tmp_path: Path, server: ApiServer, log: list[str]
) -> None:
    cluster = {"server": server.url, "insecure-skip-tls-verify": True}
    config = kubeconfig(tmp_path / "config", cluster=cluster)
    await ask(load_configuration(str(config)))
    assert log == [f"{config} has the API server's certificate not verified"]


@inline
async def test_the_certificate_may_be_for_another_name(
    tmp_path: Path, server: ApiServer, authority: Authority
) -> None:
    ca = {"certificate-authority-data": data(authority.pem)}
    server_name = {"server": server.url, "tls-server-name": "api.test", **ca}
    config = kubeconfig(tmp_path / "config", cluster=server_name)
    await ask(load_configuration(str(config)))
    wrong = {**server_name, "tls-server-name": "other.test"}
    config = kubeconfig(tmp_path / "config", cluster=wrong)
    with pytest.raises(Unavailable, match=r"no answer"):
        await ask(load_configuration(str(config)))


@pytest.mark.parametrize("inline_data", [False, True], ids=["files", "data"])
@inline
async def test_a_client_certificate_is_shown(
    inline_data: bool, tmp_path: Path, authority: Authority
) -> None:
    clients = Authority("clients")
    certificate, key = clients.issue("mic")
    if inline_data:
        user = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    else:
        write(tmp_path / "etc" / "client.crt", certificate)
        write(tmp_path / "etc" / "client.key", key)
        user = {"client-certificate": "client.crt", "client-key": "client.key"}
    with closing(ApiServer(tmp_path, authority, clients)) as server:
        cluster = {"server": server.url, "certificate-authority-data": data(authority.pem)}
        config = kubeconfig(tmp_path / "etc" / "config", cluster=cluster, user=user)
        configuration = load_configuration(str(config))
        await ask(configuration)
        assert server.clients == ["mic"]
    if inline_data:
        made = Path(configuration.key_file)
        assert made.parent == Path("/dev/shm")
        assert stat.S_IMODE(made.stat().st_mode) == 0o600


@inline
async def test_a_watch_says_that_the_server_wants_a_certificate(
    tmp_path: Path, authority: Authority
) -> None:
    """With TLS 1.3 this comes after the handshake; it is no ordinary end of a watch."""
    with closing(ApiServer(tmp_path, authority, Authority("clients"))) as server:
        cluster = {"server": server.url, "certificate-authority-data": data(authority.pem)}
        config = load_configuration(str(kubeconfig(tmp_path / "config", cluster=cluster)))
        api = ThreadedKubernetes(config, reactor, threads=1)
        api.startService()
        with pytest.raises(Unavailable, match=r"(?i)certificate.required"):
            await api.watch(SECRETS, namespace="x", resource_version="1", on_event=print)
        await api.stopService()


@inline
async def test_files_that_are_replaced_hold_for_the_next_connection(
    tmp_path: Path, authority: Authority
) -> None:
    clients = Authority("clients")

    def renew(name: str) -> None:
        certificate, key = clients.issue(name)
        write(tmp_path / "client.crt", certificate)
        write(tmp_path / "client.key", key)

    renew("one")
    bundle = write(tmp_path / "ca.crt", Authority("another").pem)
    with closing(ApiServer(tmp_path, authority, clients)) as server:
        server.hangs_up = True
        cluster = {"server": server.url, "certificate-authority": "ca.crt"}
        user = {"client-certificate": "client.crt", "client-key": "client.key"}
        config = kubeconfig(tmp_path / "config", cluster=cluster, user=user)
        api = ThreadedKubernetes(load_configuration(str(config)), reactor, threads=1)
        api.startService()
        with pytest.raises(Unavailable, match=r"(?i)certificate.verify.failed"):
            await api.list(SECRETS, namespace="x")
        write(bundle, authority.pem)
        await api.list(SECRETS, namespace="x")
        renew("two")
        await api.list(SECRETS, namespace="x")
        await api.stopService()
        assert server.clients == ["one", "two"]


def test_inline_keys_become_files_in_memory_and_go_with_the_process(
    tmp_path: Path, authority: Authority
) -> None:
    """As in the container: nothing can be written but /dev/shm."""
    certificate, key = authority.issue("mic")
    user = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    cluster = {"server": "https://api.test", "certificate-authority-data": data(authority.pem)}
    config = kubeconfig(tmp_path / "config", cluster=cluster, user=user)
    program = (
        "import sys\n"
        "from mic.kube.configuration import load_configuration\n"
        "from mic.cli.foreground import exit_process\n"
        "made = load_configuration(sys.argv[1])\n"
        "for file in (made.key_file, made.certificate_file, made.ca_file):\n"
        "    open(file).close()\n"
        "    print(file)\n"
        "exit_process(0)\n"
    )
    enter = [
        *("unshare", "--mount", "sh", "-ec"),
        "mount --make-rprivate / && mount -o remount,ro,bind / && mount -t tmpfs tmpfs /dev/shm"
        ' && ! touch /tmp/x 2>/dev/null && exec "$@"',
        "sh",
    ]
    trial = subprocess.run([*enter, "true"], capture_output=True, check=False)
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [*(enter if trial.returncode == 0 else []), sys.executable, "-c", program, str(config)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.split()]
    assert len(files) == 3
    assert {file.parent for file in files} == {Path("/dev/shm")}
    assert not any(file.exists() for file in files)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "No such file"),
        ("", "is empty"),
        (f"{SECRET}: [", "it is not YAML: line 1, column 12"),
        (f"users: []\nclusters:\n- name: {SECRET}\n\tx: 1", "line 4, column 1: a tab, where YAML"),
        (f"a: b\n{SECRET}: *{SECRET}", "it is not YAML: line 2, column"),
        ("a: \x00", "character 4 is not allowed"),
        (f"- {SECRET}", "no usable cluster"),
        (f"users: [{{name: u, user: {{token: {SECRET}}}}}]", "no usable cluster"),
        (b"\xff\xfe" + SECRET.encode(), "byte 1 is not allowed"),
    ],
    ids=[
        "missing",
        "empty",
        "no YAML",
        "a tab",
        "an alias",
        "NUL",
        "a list",
        "no context",
        "no text",
    ],
)
def test_a_kubeconfig_without_use_is_a_configuration_error(
    content: str | bytes | None, named: str, tmp_path: Path
) -> None:
    path = tmp_path / "config"
    if content is not None:
        write(path, content)
    with pytest.raises(ConfigError, match=rf"cannot use {path} .*set -kubeconfig") as caught:
        load_configuration(str(path))
    assert named in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("cluster", "user", "named"),
    [
        ({}, {"token": f"{SECRET}\n{SECRET}"}, "its token has a character that no header may have"),
        ({}, {"tokenFile": "lines"}, "lines has a character that no header may have"),
        ({"certificate-authority": "gone.crt"}, {}, "gone.crt"),
        ({"certificate-authority": "broken"}, {}, "broken holds no certificate"),
        ({"certificate-authority-data": SECRET[:5]}, {}, "is not base64"),
        ({"certificate-authority-data": data(SECRET.encode())}, {}, "holds no certificate"),
        ({}, {"tokenFile": "gone"}, "gone"),
        ({}, {"tokenFile": "blank"}, "blank"),
        ({}, {"client-certificate": "gone.crt", "client-key": "broken"}, "gone.crt"),
        ({}, {"client-certificate": "broken", "client-key": "broken"}, "broken"),
        ({}, {"client-certificate": "good", "client-key": "encrypted"}, "encrypted"),
        ({}, {"client-certificate": "good"}, "no key"),
        ({}, {"exec": {"command": "./gone", "apiVersion": "v1"}}, "exec plugin"),
        ({}, {"exec": {"command": "./fails", "apiVersion": "v1"}}, "exec plugin"),
    ],
)
def test_names_an_unusable_file_of_a_kubeconfig(
    cluster: dict[str, str], user: dict[str, Any], named: str, tmp_path: Path, authority: Authority
) -> None:
    write(tmp_path / "broken", SECRET)
    write(tmp_path / "blank", " \n")
    write(tmp_path / "lines", f"{SECRET}\n{SECRET}")
    certificate, key = authority.issue("mic")
    write(tmp_path / "good", certificate)
    loaded = serialization.load_pem_private_key(key, None)
    locked = serialization.BestAvailableEncryption(b"password")
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    write(tmp_path / "encrypted", loaded.private_bytes(*form, locked))
    write(tmp_path / "fails", f"#!/bin/sh\necho {SECRET}\nexit 1\n").chmod(0o755)
    where = {"server": "https://api.test", **cluster}
    config = kubeconfig(tmp_path / "config", cluster=where, user=user)
    with pytest.raises(ConfigError, match=rf"cannot use {config} ") as caught:
        load_configuration(str(config))
    assert named in str(caught.value)
    assert SECRET not in str(caught.value)


# --- exec credential plugins --------------------------------------------------------------------


def _plugin(path: Path, expiry: str) -> dict[str, Any]:
    """A user whose token a program makes; it counts how often it is asked."""
    version = "client.authentication.k8s.io/v1"
    status = f'{{"token": "number-\'$n\'", "expirationTimestamp": "{expiry}"}}'
    answer = f'{{"apiVersion": "{version}", "kind": "ExecCredential", "status": {status}}}'
    write(
        path,
        "#!/bin/sh\nset -e\n"
        'n=$(($(cat "$COUNT" 2>/dev/null || echo 0) + 1))\n'
        'echo $n > "$COUNT"\n'
        f"echo '{answer}'\n",
    ).chmod(0o755)
    environment = [{"name": "COUNT", "value": str(path.with_suffix(".count"))}]
    return {"exec": {"command": str(path), "apiVersion": version, "env": environment}}


@inline
async def test_runs_the_exec_plugin_again_when_its_token_expires(
    tmp_path: Path, server: ApiServer, authority: Authority
) -> None:
    cluster = {"server": server.url, "certificate-authority-data": data(authority.pem)}
    lasting = kubeconfig(
        tmp_path / "lasting", cluster=cluster, user=_plugin(tmp_path / "a", "2099-01-01T00:00:00Z")
    )
    await ask(load_configuration(str(lasting)), times=2)
    assert server.tokens == ["Bearer number-1"] * 2
    expired = kubeconfig(
        tmp_path / "expired", cluster=cluster, user=_plugin(tmp_path / "b", "2020-01-01T00:00:00Z")
    )
    await ask(load_configuration(str(expired)), times=2)
    assert server.tokens[2:] == ["Bearer number-2", "Bearer number-3"]


# --- proxies ------------------------------------------------------------------------------------


def _behind(
    proxy: str, tmp_path: Path, server: ApiServer, authority: Authority, host: str = "api.test"
) -> Path:
    cluster = {
        "server": f"https://{host}:{server.port}",
        "certificate-authority-data": data(authority.pem),
    }
    if proxy:
        cluster["proxy-url"] = proxy
    return kubeconfig(tmp_path / "config", cluster=cluster)


@inline
async def test_a_proxy_of_the_environment_is_used(
    tmp_path: Path,
    server: ApiServer,
    authority: Authority,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", ".svc,10.0.0.0/8")
    config = _behind("", tmp_path, server, authority)
    await ask(load_configuration(str(config)))
    assert proxy.asked == [(f"api.test:{server.port}", "")]


@pytest.mark.parametrize(
    ("host", "exceptions"),
    [
        ("127.0.0.1", ""),
        ("localhost", ""),
        ("api.test", "other.test,api.test"),
        ("api.test", ".test"),
        ("api.test", "*"),
        ("10.1.2.3", "10.0.0.0/8"),
    ],
)
def test_bypasses_the_environments_proxy_for_some_hosts(
    host: str,
    exceptions: str,
    tmp_path: Path,
    server: ApiServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    # Unasked: these hosts exist nowhere.
    assert load_configuration(str(_behind("", tmp_path, server, authority, host))).proxy == ""


@inline
async def test_a_proxy_url_goes_before_the_environment_and_its_exceptions(
    tmp_path: Path,
    server: ApiServer,
    authority: Authority,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "api.test,127.0.0.1")
    for host in ("api.test", "127.0.0.1"):
        config = _behind(proxy.url, tmp_path, server, authority, host)
        await ask(load_configuration(str(config)))
        assert proxy.asked.pop() == (f"{host}:{server.port}", "")


@inline
async def test_sends_the_credentials_of_a_proxy_url_to_the_proxy_only(
    tmp_path: Path, server: ApiServer, authority: Authority, proxy: Proxy
) -> None:
    url = proxy.url.replace("://", f"://me%40home:{SECRET}@")
    await ask(load_configuration(str(_behind(url, tmp_path, server, authority))))
    expected = "Basic " + data(f"me@home:{SECRET}".encode())
    assert proxy.asked == [(f"api.test:{server.port}", expected)]
    assert server.tokens == [None]
    away = f"http://me:{SECRET}@127.0.0.1:1"
    with pytest.raises(Unavailable) as caught:
        await ask(load_configuration(str(_behind(away, tmp_path, server, authority))))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        (f"socks5://me:{SECRET}@proxy.test:1080", "socks5://proxy.test:1080"),
        (f"http://me:{SECRET}@", "http://"),
        ("http://proxy.test:0", "http://proxy.test:0"),
        ("http://proxy.test:port", "http://proxy.test:port"),
        ("http://[proxy.test", "http://[proxy.test"),
        ("http://proxy test:1", "http://proxy test:1"),
    ],
)
@pytest.mark.parametrize("where", ["kubeconfig", "environment"])
def test_refuses_a_proxy_that_cannot_be_used(
    where: str, proxy: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = {"server": "https://api.test"}
    if where == "kubeconfig":
        cluster["proxy-url"] = proxy
    else:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    config = kubeconfig(tmp_path / "config", cluster=cluster)
    with pytest.raises(ConfigError) as caught:
        load_configuration(str(config))
    expected = f"its proxy cannot be used: {shown}; use http://HOST:PORT or https://"
    assert expected in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"htps://me:{SECRET}@api.test:6443/x?y={SECRET}", "htps://api.test:6443/x"),
        (f"https://me:{SECRET}@api.test:99999", "https://api.test:99999"),
        ("https://api test", "https://api test"),
        (f"htps://me:{SECRET} x@api.test", "htps://api.test"),
        (f"htps://me:{SECRET}?x@api.test", "htps://api.test"),
        (f"htps://me:x@{SECRET}@api.test#{SECRET}", "htps://api.test"),
        (f"me:{SECRET}@api.test", "api.test"),
        (f"me:{SECRET}://x@api.test", "api.test"),
        ("https://", "https:"),
        ("api.test:6443", "api.test:6443"),
        ("unix:///run/api", "unix:///run/api"),
    ],
)
def test_refuses_a_server_that_cannot_be_used(url: str, shown: str, tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / "config", cluster={"server": url}, user={"token": "t"})
    with pytest.raises(ConfigError) as caught:
        load_configuration(str(config))
    assert f"its server cannot be used: {shown}; use https://HOST:PORT" in str(caught.value)
    assert SECRET not in str(caught.value)


@inline
async def test_a_token_may_end_in_a_newline(
    tmp_path: Path, server: ApiServer, authority: Authority
) -> None:
    cluster = {"server": server.url, "certificate-authority-data": data(authority.pem)}
    config = kubeconfig(tmp_path / "config", cluster=cluster, user={"token": "block\n"})
    await ask(load_configuration(str(config)))
    assert server.tokens == ["Bearer block"]


def test_a_proxy_without_a_scheme_is_a_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.test:3128")
    config = kubeconfig(tmp_path / "config", cluster={"server": "https://api.test"})
    assert load_configuration(str(config)).proxy == "http://proxy.test:3128"


@inline
async def test_a_proxy_may_be_reached_over_tls(
    tmp_path: Path, server: ApiServer, authority: Authority
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    with closing(Proxy(context)) as proxy:
        config = load_configuration(str(_behind(proxy.url, tmp_path, server, authority)))
        await ask(config, times=3)
        assert proxy.asked == [(f"api.test:{server.port}", "")], "one connection for all"
        # A stopped watch ends at once, although TLS within TLS is no socket.
        api = ThreadedKubernetes(config, reactor, threads=1)
        api.startService()
        news: Deferred[WatchEvent] = Deferred()
        watch = Deferred.fromCoroutine(
            api.watch(SECRETS, namespace="x", resource_version="1", on_event=news.callback)
        )
        watch.addErrback(lambda failure: failure.trap(CancelledError))
        await news
        watch.cancel()
        assert (await api.list(SECRETS, namespace="x")).items == []
        await api.stopService()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"SSH-2.0-x\r\n", "the proxy's response to CONNECT is not HTTP"),
        (b"", "the proxy's response to CONNECT is not HTTP"),
        (b"HTTP/1.1 407 Login\r\n\r\n", "Tunnel connection failed: 407 Login"),
    ],
)
@inline
async def test_a_proxy_that_makes_no_connection_concerns_every_request(
    tmp_path: Path, server: ApiServer, authority: Authority, proxy: Proxy, answer: bytes, why: str
) -> None:
    proxy.answer = answer
    with pytest.raises(Unavailable, match=re.escape(f" by the proxy {proxy.url} ({why})")):
        await ask(load_configuration(str(_behind(proxy.url, tmp_path, server, authority))))


@inline
async def test_names_the_server_that_does_not_respond_and_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in _PROXIES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    direct = {"server": f"https://me:{SECRET}@127.0.0.1:1/cluster?token={SECRET}"}
    with pytest.raises(Unavailable) as caught:
        await ask(load_configuration(str(kubeconfig(tmp_path / "config", cluster=direct))))
    begins = "list secrets in x: no answer from the API server at "
    assert str(caught.value).startswith(f"{begins}https://127.0.0.1:1 (")
    assert SECRET not in str(caught.value)
    behind = {"server": "https://api.test", "proxy-url": f"http://me:{SECRET}@[::1]:1"}
    with pytest.raises(Unavailable) as caught:
        await ask(load_configuration(str(kubeconfig(tmp_path / "config", cluster=behind))))
    assert str(caught.value).startswith(f"{begins}https://api.test by the proxy http://[::1]:1 (")
    assert SECRET not in str(caught.value)
