"""TLS of a real mic: what is negotiated, certificates that change under load, plain HTTP beside it.

Clients are Python's ssl and openssl, each with an OpenSSL of its own. They trust the root alone, so
that an intermediate certificate that is not sent fails them.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import forkserver
import pytest
from certificates import Issued, Key, ec_key, issue, pem, rsa_key
from functional.daemon import Daemon, eventually
from functional.media import TIMEOUT, Media, Server, make_hosts, tcp_client, unix_client
from functional.wire import Wire, parts, request, without

from mic.service import POLL_SECONDS
from mic.web.channel import Limits

AT_ONCE = Limits().headers
"""Seconds, the shortest of mic's time limits: what comes sooner did not wait for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A root that clients trust, an intermediate that signs, keys of several kinds."""

    root: Issued
    middle: Issued
    keys: tuple[Key, ...]

    def issue(self, number: int = 0) -> Issued:
        """A new certificate for one of the keys."""
        return issue(by=self.middle, key=self.keys[number % len(self.keys)])

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=pem(self.root.certificate).decode())


@pytest.fixture(scope="module")
def authority() -> Authority:
    root = issue(authority=True, name="root")
    middle = issue(by=root, authority=True, name="middle")
    return Authority(root=root, middle=middle, keys=(ec_key(), rsa_key(), ec_key(), rsa_key()))


@dataclass(slots=True, kw_only=True)
class Tls:
    """A mic with TLS, started with some flags, and its certificate's files."""

    daemon: Daemon
    authority: Authority
    first: Issued
    cert: Path
    key: Path

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(self.daemon.tcp, TIMEOUT)
        try:
            context = context or self.authority.client()
            return context.wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise

    def server(self, media: Media, way: str = "tls") -> Server:
        connect: Callable[[], socket.socket] = self.connect
        if way == "http":
            connect = tcp_client(*http_address(self.daemon))
        return Server(way=way, daemon=self.daemon, media=media, connect_socket=connect)


@pytest.fixture
def serve(
    media: Media, tmp_path: Path, start: Callable[..., Daemon], authority: Authority
) -> Callable[..., Tls]:
    def serve(
        *flags: str, cert: Path | None = None, key: Path | None = None, **more: object
    ) -> Tls:
        hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
        first = authority.issue()
        if cert is None or key is None:
            cert, key = first.write(tmp_path / "pair")
        daemon = start(
            "-images-bind-addr=127.0.0.1:0",
            f"-nmstate-dir={hosts}",
            f"-images-tls-cert-file={cert}",
            f"-images-tls-key-file={key}",
            *flags,
            **{"environment": media.environment, **more},  # type: ignore[arg-type]
        )
        return Tls(daemon=daemon, authority=authority, first=first, cert=cert, key=key)

    return serve


def http_address(daemon: Daemon) -> tuple[str, int]:
    """Where it serves plain HTTP beside HTTPS."""
    (line, *_) = daemon.wait_for("serving them over plain HTTP too, on ")
    found = re.search(r" on (\S+):(\d+),", line)
    assert found
    return found[1], int(found[2])


def serial(sock: ssl.SSLSocket) -> str:
    certificate = sock.getpeercert()
    assert certificate
    return f"{int(str(certificate['serialNumber']), 16):x}"


# What is negotiated


def any_client(oldest: ssl.TLSVersion, newest: ssl.TLSVersion, ciphers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(ciphers)
    context.minimum_version, context.maximum_version = oldest, newest
    return context


def negotiated(tls: Tls, version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> str:
    """The version and the cipher of a client that can do one version only; nothing if refused."""
    try:
        with tls.connect(any_client(version, version, ciphers)) as sock:
            sock.sendall(b"HEAD /worker-0.iso HTTP/1.0\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.0 200 ")
            cipher = sock.cipher()
            assert cipher
            return f"{sock.version()} {cipher[0]}"
    except (ssl.SSLError, ConnectionResetError):
        return ""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("flags", "spoken"),
    [
        ((), {"1.2", "1.3"}),
        (("-images-tls-min-version=1.2", "-images-tls-max-version="), {"1.2", "1.3"}),
        (("-images-tls-min-version=1.3",), {"1.3"}),
        (("-images-tls-max-version=1.2",), {"1.2"}),
        (("-images-tls-min-version=1.3", "-images-tls-max-version=1.3"), {"1.3"}),
        # Not even for those who would have less.
        (("-images-tls-ciphers=DEFAULT:@SECLEVEL=0",), {"1.2", "1.3"}),
        (("-images-tls-ciphers=DEFAULT:@SECLEVEL=0", "-images-tls-max-version=1.2"), {"1.2"}),
    ],
)
def test_the_versions_are_what_the_flags_say_and_never_less_than_1_2(
    serve: Callable[..., Tls], flags: tuple[str, ...], spoken: set[str]
) -> None:
    tls = serve(*flags)
    tls.daemon.wait_until_serving()
    assert not negotiated(tls, ssl.TLSVersion.TLSv1)
    assert not negotiated(tls, ssl.TLSVersion.TLSv1_1)
    assert bool(negotiated(tls, ssl.TLSVersion.TLSv1_2)) is ("1.2" in spoken)
    newer = negotiated(tls, ssl.TLSVersion.TLSv1_3)
    assert newer.startswith("TLSv1.3 TLS_AES_") if "1.3" in spoken else not newer
    # A client that knows all versions gets the newest of them.
    with tls.connect() as sock:
        assert sock.version() == f"TLSv{max(spoken)}"
    tls.daemon.check()


def test_openssl_negotiates_the_same(serve: Callable[..., Tls]) -> None:
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl here")
    tls = serve()
    host, port = tls.daemon.tcp
    for option, good in (("-tls1", 0), ("-tls1_1", 0), ("-tls1_2", 1), ("-tls1_3", 1)):
        done = subprocess.run(
            [
                *("openssl", "s_client", "-connect", f"{host}:{port}", option),
                *("-cipher", "ALL:@SECLEVEL=0"),
            ],
            input=b"HEAD /worker-0.iso HTTP/1.0\r\n\r\n",
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert (b"Server certificate" in done.stdout) is bool(good), (option, done.stdout)
        # The intermediate is sent too.
        assert done.stdout.count(b"BEGIN CERTIFICATE") == good
        assert (b"\n 1 s:CN = middle" in done.stdout) is bool(good)
    tls.daemon.check()


def test_by_default_no_weak_cipher_is_negotiated(
    serve: Callable[..., Tls], authority: Authority, tmp_path: Path
) -> None:
    version = ssl.TLSVersion.TLSv1_2
    offered = [
        suite["name"] for suite in any_client(version, version, "ALL:@SECLEVEL=0").get_ciphers()
    ]
    assert len(offered) > 50
    found = set()
    for number, kind in enumerate(("ecdsa", "rsa")):
        cert, key = authority.issue(number).write(tmp_path / kind)
        tls = serve(cert=cert, key=key)
        tls.daemon.wait_until_serving()
        for name in offered:
            if answer := negotiated(tls, version, f"{name}:@SECLEVEL=0"):
                assert answer == f"TLSv1.2 {name}"
                found.add(name)
        tls.daemon.stop()
    assert found == {
        f"ECDHE-{auth}-{cipher}"
        for auth in ("ECDSA", "RSA")
        for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    }


def test_a_cipher_list_is_kept_to(
    serve: Callable[..., Tls], authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.issue(1).write(tmp_path / "rsa")
    # As old firmware may need it: no forward secrecy.
    tls = serve("-images-tls-ciphers=AES256-SHA256:ECDHE+AESGCM", cert=cert, key=key)
    version = ssl.TLSVersion.TLSv1_2
    assert negotiated(tls, version, "AES256-SHA256") == "TLSv1.2 AES256-SHA256"
    # The server's order counts.
    both = "ECDHE-RSA-AES128-GCM-SHA256:AES256-SHA256"
    assert negotiated(tls, version, both) == "TLSv1.2 AES256-SHA256"
    assert negotiated(tls, version, "ECDHE-RSA-AES128-GCM-SHA256")
    assert not negotiated(tls, version, "AES128-SHA256:ECDHE-RSA-CHACHA20-POLY1305")
    # TLS 1.3 is not concerned.
    assert negotiated(tls, ssl.TLSVersion.TLSv1_3)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(serve: Callable[..., Tls], version: ssl.TLSVersion) -> None:
    """What is resumed would have the certificate of before, without showing it."""
    tls = serve()
    context = tls.authority.client()
    context.maximum_version = version
    session = None
    for number in range(4):
        if number == 2:
            rotate_by_rename(tls, tls.authority.issue(number))
        plain = socket.create_connection(tls.daemon.tcp, TIMEOUT)
        sock = context.wrap_socket(plain, server_hostname="localhost", session=session)
        with Wire(sock) as wire:
            wire.ask("/worker-0.iso", "Range: bytes=0-9")
            assert wire.answer().status == 206
            assert not sock.session_reused
            session = sock.session


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-images-tls-min-version=1.1"], "-images-tls-min-version: '1.1' is none of 1.2, 1.3"),
        (["-images-tls-max-version=1.1"], "-images-tls-max-version: '1.1' is none of 1.2, 1.3"),
        (
            ["-images-tls-min-version=1.3", "-images-tls-max-version=1.2"],
            "-images-tls-max-version: 1.2 is older than the 1.3 of -images-tls-min-version",
        ),
        (["-images-tls-ciphers=ECDHE+AESGCM:!ALL"], "leaves no cipher"),
        (["-images-tls-ciphers=ECDHE-RSA-AES128-GCM-SHA256"], "no shared cipher"),
        (
            ["-images-http-publish-addr=http://mic"],
            "-images-http-publish-addr needs -images-http-bind-addr",
        ),
    ],
)
def test_what_cannot_be_is_reported_at_the_start(
    media: Media, tmp_path: Path, authority: Authority, flags: list[str], words: str
) -> None:
    status, error = refused(
        media, tmp_path, authority, "static", f"-nmstate-dir={tmp_path}", *flags
    )
    assert status == 1
    assert words in error.splitlines()[-1]


def test_a_plain_publish_address_is_refused_in_controller_mode(
    media: Media, tmp_path: Path, authority: Authority
) -> None:
    for flags in ((), ("-images-publish-addr=http://192.0.2.1:8084",)):
        status, error = refused(media, tmp_path, authority, "controller", *flags)
        assert status == 1
        assert "-images-publish-addr: http://1" in error.splitlines()[-1]
        assert "give the https:// URL" in error.splitlines()[-1]


def refused(
    media: Media, tmp_path: Path, authority: Authority, mode: str, *flags: str
) -> tuple[int, str]:
    """Status and standard error of a mic with TLS that cannot start."""
    cert, key = authority.issue().write(tmp_path)
    done = forkserver.run(
        *(mode, "-images-bind-addr=127.0.0.1:0"),
        *(f"-images-tls-cert-file={cert}", f"-images-tls-key-file={key}", *flags),
        environment=media.environment,
    )
    return done.returncode, done.stderr


def test_a_plain_publish_address_is_a_warning_in_static_mode(serve: Callable[..., Tls]) -> None:
    tls = serve("-images-publish-addr=http://192.0.2.1:8084")
    tls.daemon.wait_for("serving http://192.0.2.1:8084/worker-0.iso$")
    warnings = tls.daemon.wait_for("warn: -images-publish-addr: http://192.0.2.1:8084 is not https")
    assert len(warnings) == 1


def test_why_a_client_gets_nothing_is_reported_once(serve: Callable[..., Tls]) -> None:
    """To those who look for the reason: most BMCs say nothing but that there is no medium."""
    tls = serve()
    tls.daemon.wait_until_serving()
    for _ in range(3):
        assert not negotiated(tls, ssl.TLSVersion.TLSv1_2, "AES128-SHA:@SECLEVEL=0")
        with pytest.raises(ssl.SSLCertVerificationError):
            tls.connect(ssl.create_default_context(cadata=pem(issue().certificate).decode()))
        with Wire(socket.create_connection(tls.daemon.tcp, TIMEOUT)) as wire:
            wire.ask("/worker-0.iso")
            wire.rest()
    # Probes that only connect say nothing.
    socket.create_connection(tls.daemon.tcp, TIMEOUT).close()
    with tls.connect() as sock:
        sock.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
        assert sock.recv(100)
    tls.daemon.stop()
    lines = [line for line in tls.daemon.whole_log.splitlines() if "no TLS connection" in line]
    assert [line.partition(" warn: ")[2] for line in lines] == [
        "127.0.0.1: no TLS connection: OpenSSL says: no shared cipher",
        "127.0.0.1: no TLS connection: OpenSSL says: tlsv1 alert unknown ca",
        "127.0.0.1: no TLS connection: OpenSSL says: http request",
    ]


# Certificates that change


def in_force(tls: Tls, issued: Issued) -> None:
    """Wait until it has taken a certificate."""
    tls.daemon.wait_for(f"TLS certificate of .*{issued.serial}")


def rotate_by_rename(tls: Tls, issued: Issued) -> None:
    """The key first, and a signal when both are there, as careful scripts do."""
    _rename(tls.key, issued.key_pem)
    _rename(tls.cert, issued.chain_pem)
    tls.daemon.hang_up()
    in_force(tls, issued)


def _rename(path: Path, data: bytes) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    beside.rename(path)


def rotate_in_place(tls: Tls, issued: Issued) -> None:
    """Piece by piece, with somebody who looks too early."""
    with tls.key.open("wb", buffering=0) as key, tls.cert.open("wb", buffering=0) as cert:
        for file, data in ((key, issued.key_pem), (cert, issued.chain_pem)):
            for start in range(0, 600, 150):
                file.write(data[start : start + 150])
                tls.daemon.hang_up()
                time.sleep(random.uniform(0, 0.02))
            file.write(data[600:])
    tls.daemon.hang_up()
    in_force(tls, issued)


def rotate_a_mount(tls: Tls, issued: Issued) -> None:
    """As kubelet updates a Secret's mount: another directory, then a link to it, in one step."""
    mount = tls.cert.parent
    before = os.readlink(mount / "..data")
    fill_mount(mount, issued)
    shutil.rmtree(mount / before)
    tls.daemon.hang_up()
    in_force(tls, issued)


def fill_mount(mount: Path, issued: Issued) -> tuple[Path, Path]:
    data = mount / f"..{issued.serial}"
    data.mkdir(parents=True)
    (data / "tls.crt").write_bytes(issued.chain_pem)
    (data / "tls.key").write_bytes(issued.key_pem)
    (mount / "..data_tmp").symlink_to(data.name)
    (mount / "..data_tmp").rename(mount / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (mount / name).is_symlink():
            (mount / name).symlink_to(f"..data/{name}")
    return mount / "tls.crt", mount / "tls.key"


ROTATIONS = {
    "rename": rotate_by_rename,
    "in place": rotate_in_place,
    "mount": rotate_a_mount,
}


@pytest.fixture(params=ROTATIONS)
def rotated(
    request: pytest.FixtureRequest,
    serve: Callable[..., Tls],
    authority: Authority,
    tmp_path: Path,
) -> tuple[Tls, Callable[[Tls, Issued], None]]:
    """A mic with TLS, and a way to give it another certificate."""
    if request.param == "mount":
        first = authority.issue()
        cert, key = fill_mount(tmp_path / "mount", first)
        tls = serve(cert=cert, key=key)
        tls.first = first
    else:
        tls = serve()
    tls.daemon.wait_until_serving()
    return tls, ROTATIONS[request.param]


@dataclass(slots=True)
class History:
    """Which certificates there were, and how far clients may know of them."""

    order: list[str]
    written: int = 0
    """The last that may be in force."""
    taken: int = 0
    """The last that is known to be in force."""
    seen: set[int] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    requests: int = 0
    over: threading.Event = field(default_factory=threading.Event)


def load(tls: Tls, server: Server, history: History, seed: int) -> None:
    """Fresh connections, one or two requests each, until it is over."""
    dice = random.Random(seed)
    context = tls.authority.client()
    image = server.iso
    while not history.over.is_set():
        oldest = history.taken
        try:
            with tls.connect(context) as sock, Wire(sock) as wire:
                number = history.order.index(serial(sock))
                assert oldest <= number <= history.written, (oldest, number, history.written)
                for _ in range(dice.randint(1, 2)):
                    start = dice.randrange(image.size)
                    stop = min(image.size, start + dice.choice([1, 2048, 60_000, 400_000]))
                    wire.ask(image.target, f"Range: bytes={start}-{stop - 1}")
                    answer = wire.answer()
                    assert answer.status == 206
                    assert answer.body == image.data[start:stop]
                    history.requests += 1
                history.seen.add(number)
        except Exception as error:
            history.failures.append(f"{type(error).__name__}: {error}")


def test_no_request_fails_while_certificates_change(
    rotated: tuple[Tls, Callable[[Tls, Issued], None]], media: Media
) -> None:
    tls, rotate = rotated
    server = tls.server(media)
    image = server.iso
    rounds = 12
    certificates = [tls.authority.issue(number + 1) for number in range(rounds)]
    history = History([tls.first.serial, *(each.serial for each in certificates)])
    clients = [
        threading.Thread(target=load, args=(tls, server, history, seed)) for seed in range(4)
    ]
    # Downloads that last for all of it.
    long = [Wire(tls.connect()) for _ in range(3)]
    for wire in long:
        wire.take_little()
        wire.ask(image.target)
        assert wire.head()[1] == 200
    for client in clients:
        client.start()
    try:
        step = image.size // rounds
        for number, issued in enumerate(certificates):
            history.written = number + 1
            rotate(tls, issued)
            history.taken = number + 1
            done = history.requests
            eventually(lambda done=done: history.requests > done + 10, "clients go on")
            for wire in long:
                assert wire.take(step) == image.data[number * step : (number + 1) * step]
    finally:
        history.over.set()
        for client in clients:
            client.join()
    for wire in long:
        with wire:
            assert wire.take(image.size - rounds * step) == image.data[rounds * step :]
    assert history.failures == []
    assert history.seen == set(range(rounds + 1))
    tls.daemon.check()


def test_a_change_is_found_without_a_signal(
    rotated: tuple[Tls, Callable[[Tls, Issued], None]],
) -> None:
    tls, rotate = rotated
    tls.daemon.hang_up = lambda: None  # type: ignore[method-assign]
    new = tls.authority.issue(1)
    rotate(tls, new)
    with tls.connect() as sock:
        assert serial(sock) == new.serial
    # What was half done meanwhile was nobody's fault.
    assert " error: " not in tls.daemon.whole_log


def test_a_signal_has_it_taken_at_once(serve: Callable[..., Tls]) -> None:
    tls = serve()
    tls.daemon.wait_until_serving()
    before = time.monotonic()
    for number in range(5):
        rotate_by_rename(tls, tls.authority.issue(number))
    # Without, each takes until the second look from then.
    assert time.monotonic() - before < 5 * POLL_SECONDS


def test_a_connection_goes_on_with_the_certificate_of_before(
    serve: Callable[..., Tls], media: Media
) -> None:
    tls = serve()
    with tls.connect() as sock, Wire(sock) as wire:
        for number in range(1, 4):
            rotate_by_rename(tls, tls.authority.issue(number))
            wire.ask("/worker-0.iso", "Range: bytes=0-99")
            assert wire.answer().body == media.iso[:100]


def test_a_pair_that_does_not_fit_is_reported_until_it_does(
    serve: Callable[..., Tls], tmp_path: Path
) -> None:
    health = tmp_path / "health"
    tls = serve(f"-metrics-addr=unix:{health}")
    tls.daemon.wait_until_serving()

    def readiness() -> str:
        with Wire(unix_client(health)()) as wire:
            wire.ask("/readyz", "Connection: close")
            answer = wire.answer()
            assert answer.status == 200
            return answer.body.decode()

    assert readiness() == "ok\n"
    new = tls.authority.issue(1)
    _rename(tls.key, new.key_pem)
    problem = f"{tls.key} is not the key of the first certificate in {tls.cert}"
    tls.daemon.wait_for(f"error: .*{re.escape(problem)}")
    assert problem in readiness()
    for number in range(5):
        tls.daemon.hang_up()
        tls.daemon.wait_for("SIGHUP", number + 1)
    with tls.connect() as sock:
        assert serial(sock) == tls.first.serial
    _rename(tls.cert, new.chain_pem)
    in_force(tls, new)
    assert readiness() == "ok\n"
    assert tls.daemon.whole_log.count(problem) == 1
    assert new.key_pem.decode().splitlines()[1] not in tls.daemon.whole_log


def test_certificates_leave_nothing_behind(serve: Callable[..., Tls]) -> None:
    tls = serve()
    tls.daemon.wait_until_serving()
    context = tls.authority.client()
    pairs = [tls.authority.issue(number) for number in range(2)]

    def rotate(count: int) -> int:
        for number in range(count):
            tls.daemon.turn_page()
            rotate_by_rename(tls, pairs[number % 2])
            for _ in range(2):
                with tls.connect(context) as sock, Wire(sock) as wire:
                    wire.ask("/worker-0.iso", "Range: bytes=0-99")
                    assert wire.answer().status == 206
        return tls.daemon.resident()

    before, descriptors = rotate(40), tls.daemon.descriptors()
    after = rotate(80)
    eventually(lambda: tls.daemon.descriptors() <= descriptors, "descriptors are closed")
    # A context with its certificates and key has some 35 KiB: 80 of them more than this.
    assert after - before < 3 * 512 * 1024


# Plain HTTP beside it


HTTP = ("-images-http-bind-addr=127.0.0.1:0",)


def test_both_serve_the_same(serve: Callable[..., Tls], media: Media) -> None:
    tls = serve(*HTTP)
    secure, plain = tls.server(media), tls.server(media, "http")
    size = secure.iso.size
    for headers in (
        (),
        ("Range: bytes=0-99",),
        ("Range: bytes=100000-400000",),
        (f"Range: bytes={size - 70_000}-",),
        ("Range: bytes=-5",),
        ("Range: bytes=0-1,70000-300000",),
        (f"Range: bytes={size}-",),
        ('If-None-Match: "x"',),
    ):
        for target in ("/worker-0.iso", "/worker-0.initramfs", "/none.iso"):
            for method in ("GET", "HEAD"):
                one = secure.get(target, *headers, method=method)
                other = plain.get(target, *headers, method=method)
                assert (one.status, one.body) == (other.status, other.body)
                assert without(one, ["Date"]) == without(other, ["Date"])
    etag = secure.get("/worker-0.iso", method="HEAD").header("ETag")
    answer = plain.get("/worker-0.iso", "Range: bytes=5-9,100-199", f"If-Range: {etag}")
    assert [content for _, _, content in parts(answer)] == [
        secure.iso.data[5:10],
        secure.iso.data[100:200],
    ]
    assert plain.get("/worker-0.iso", f"If-None-Match: {etag}").status == 304


def test_both_count_as_one(serve: Callable[..., Tls], media: Media) -> None:
    tls = serve(*HTTP, environment={**media.environment, "MIC_MAX_DOWNLOADS": "1"})
    secure, plain = tls.server(media), tls.server(media, "http")
    for one, other in ((secure, plain), (plain, secure)):
        with one.connect() as wire:
            wire.take_little()
            wire.ask("/worker-0.iso")
            assert wire.head()[1] == 200
            assert other.get("/worker-0.iso").status == 503
        eventually(lambda other=other: other.get("/worker-0.iso").status == 200, "room again")


def test_both_urls_are_reported(serve: Callable[..., Tls]) -> None:
    tls = serve(
        *HTTP,
        "-images-publish-addr=https://mic.example:8084/a/",
        "-images-http-publish-addr=http://mic.example:8085/",
    )
    tls.daemon.wait_until_serving()
    for name in ("worker-0.iso", "worker-0.initramfs"):
        tls.daemon.wait_for(
            f"serving https://mic.example:8084/a/{name} and http://mic.example:8085/{name}$"
        )
    tls.daemon.wait_for("over plain HTTP too, on .*, published as http://mic.example:8085$")


def test_tls_at_the_plain_port_ends_at_once(serve: Callable[..., Tls]) -> None:
    tls = serve(*HTTP)
    address = http_address(tls.daemon)
    before = tls.daemon.descriptors()
    for context in (tls.authority.client(), any_client(*[ssl.TLSVersion.TLSv1_2] * 2, "ALL")):
        start = time.monotonic()
        plain = socket.create_connection(address, TIMEOUT)
        with plain, pytest.raises((ssl.SSLError, ConnectionResetError)):
            context.wrap_socket(plain, server_hostname="localhost")
        assert time.monotonic() - start < AT_ONCE
    eventually(lambda: tls.daemon.descriptors() <= before, "descriptors are closed")
    tls.daemon.check()


def test_plain_http_at_the_tls_port_gets_a_400_that_says_so(serve: Callable[..., Tls]) -> None:
    tls = serve(*HTTP)
    tls.daemon.wait_until_serving()
    for sent in (
        request("/worker-0.iso"),
        request("/worker-0.iso", "Range: bytes=0-9", version="1.0"),
        request("/", "Content-Length: 3", method="OPTIONS") + b"abc",
        b"get /worker-0.iso\n\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"A" * 20_000,
    ):
        start = time.monotonic()
        with Wire(socket.create_connection(tls.daemon.tcp, TIMEOUT)) as wire:
            wire.send(sent)
            answer = wire.answer()
            wire.ends()
        assert time.monotonic() - start < AT_ONCE
        assert (answer.status, answer.header("Server")) == (400, "mic")
        assert answer.header("Connection") == "close"
        assert answer.header("Content-Type") == "text/plain; charset=utf-8"
        assert b"https://" in answer.body
    tls.daemon.check()


def test_plain_http_at_the_tls_port_may_come_byte_by_byte(serve: Callable[..., Tls]) -> None:
    tls = serve()
    with Wire(socket.create_connection(tls.daemon.tcp, TIMEOUT)) as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request("/", method="HEAD"):
            wire.send(bytes([byte]))
        assert wire.answer("HEAD").status == 400
        wire.ends()
    tls.daemon.check()


def test_a_client_that_was_refused_may_go(serve: Callable[..., Tls]) -> None:
    tls = serve()
    tls.daemon.wait_until_idle()
    before = tls.daemon.descriptors()
    for say_so in (True, False):
        with tls.connect() as sock:
            sock.sendall(b"NONSENSE\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 400"
            # What it leaves unread makes its end a reset.
            while say_so and sock.recv(1024):
                pass
            if say_so:
                sock.unwrap().close()
        eventually(lambda: tls.daemon.descriptors() <= before, "it is let go of", AT_ONCE)


def test_the_end_is_clean_for_idle_clients_of_both(serve: Callable[..., Tls], media: Media) -> None:
    tls = serve(*HTTP)
    secure, plain = tls.server(media), tls.server(media, "http")
    with secure.connect() as one, plain.connect() as other:
        for wire in (one, other):
            wire.ask("/worker-0.iso", "Range: bytes=0-9")
            wire.answer()
        tls.daemon.stop()
        one.ends()
        other.ends()


def test_an_address_that_is_taken_is_reported_with_its_flag(
    serve: Callable[..., Tls], media: Media, tmp_path: Path
) -> None:
    tls = serve(*HTTP)
    host, port = http_address(tls.daemon)
    done = forkserver.run(
        *("static", f"-nmstate-dir={tmp_path}", "-images-bind-addr=127.0.0.1:0"),
        *(f"-images-tls-cert-file={tls.cert}", f"-images-tls-key-file={tls.key}"),
        f"-images-http-bind-addr={host}:{port}",
        environment=media.environment,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"-images-http-bind-addr: cannot listen on {host}:{port}: Address already in" in last


TWISTD = "from twisted.scripts.twistd import run; run()"
SOCKETS = """
import os, socket, sys
names = sys.argv.pop(1)
for number, name in enumerate(names.split(":")):
    sock = socket.create_server(("127.0.0.1", 0))
    os.dup2(sock.detach(), 3 + number)
os.environ["LISTEN_FDS"] = str(number + 1)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDNAMES"] = names
from mic.cli.main import main
main()
"""


@pytest.fixture
def other_door(
    media: Media, tmp_path: Path, authority: Authority
) -> Iterator[Callable[..., tuple[Tls, Media]]]:
    """Starts mic by another command; its flags have two dashes, which all doors take."""
    daemons: list[Daemon] = []

    def begin(
        command: list[str], *flags: str, graceful: tuple[int, ...] = (0,)
    ) -> tuple[Tls, Media]:
        first = authority.issue()
        cert, key = first.write(tmp_path / "pair")
        hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
        given = [
            *(f"--nmstate-dir={hosts}", f"--images-tls-cert-file={cert}"),
            *(f"--images-tls-key-file={key}", *flags),
        ]
        daemon = Daemon(
            tmp_path / "log",
            ["static", *given],
            media.environment,
            command=command,
            graceful=graceful,
        )
        daemons.append(daemon)
        return Tls(daemon=daemon, authority=authority, first=first, cert=cert, key=key), media

    try:
        yield begin
        for daemon in daemons:
            daemon.stop()
    finally:
        for daemon in daemons:
            daemon.kill()


def serves_both(tls: Tls, media: Media) -> None:
    tls.daemon.wait_until_serving()
    for way in ("tls", "http"):
        answer = tls.server(media, way).get("/worker-0.iso", "Range: bytes=0-99")
        assert answer.body == media.iso[:100]
    rotate_by_rename(tls, tls.authority.issue(1))


def test_twistd_serves_both(other_door: Callable[..., tuple[Tls, Media]]) -> None:
    # twistd logs to standard output, and ends by the signal that ends it.
    command = ["sh", "-c", 'exec "$0" "$@" >&2', sys.executable, "-c", TWISTD]
    serves_both(
        *other_door(
            [*command, "-n", "--pidfile=", "mic"],
            "--images-bind-addr=127.0.0.1:0",
            "--images-http-bind-addr=127.0.0.1:0",
            graceful=(-15,),
        )
    )


def test_sockets_of_systemd_serve_both(other_door: Callable[..., tuple[Tls, Media]]) -> None:
    """Whatever their order, and whatever the flags say of addresses."""
    serves_both(
        *other_door(
            [sys.executable, "-W", "ignore", "-c", SOCKETS, "images-http:images"],
            "--images-bind-addr=127.0.0.1:1",
            "--images-http-bind-addr=127.0.0.1:1",
        )
    )


def test_one_socket_of_systemd_leaves_the_other_address_to_mic(
    other_door: Callable[..., tuple[Tls, Media]],
) -> None:
    serves_both(
        *other_door(
            [sys.executable, "-W", "ignore", "-c", SOCKETS, "images"],
            "--images-http-bind-addr=127.0.0.1:0",
        )
    )


def test_a_socket_for_plain_http_that_no_flag_asks_for_is_an_error(
    other_door: Callable[..., tuple[Tls, Media]],
) -> None:
    tls, _ = other_door(
        [sys.executable, "-W", "ignore", "-c", SOCKETS, "images:images-http"], graceful=(1,)
    )
    assert tls.daemon.process.wait(TIMEOUT) == 1
    assert "give -images-http-bind-addr as well" in tls.daemon.whole_log.splitlines()[-1]
