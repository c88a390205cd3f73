"""A certificate that follows its files, look by look.

Scope: mic.web.certificate, with real files and threads; whom a connection would see is asked by a
handshake in memory. Rotation under load is in tests/functional/test_tls.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from certificates import Issued, issue
from OpenSSL import SSL
from toys import put
from twisted.internet import reactor
from twisted.logger import LogEvent, eventAsText, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOProtocol

from mic.errors import ConfigError
from mic.threads import Threads
from mic.tls import Tls
from mic.web.certificate import CurrentCertificate

ROOT = issue(authority=True, name="root", life=timedelta(days=2000))


class Service:
    """A certificate in force, its files, and what it logs."""

    def __init__(self, directory: Path, threads: Threads) -> None:
        self.directory = directory
        self.first = self.write(issue(by=ROOT, life=timedelta(days=90)))
        self.now = self.first.certificate.not_valid_before_utc.timestamp() + 3600
        self.said: list[str] = []
        globalLogPublisher.addObserver(self._hear)
        self.tls = Tls(cert_file=str(directory / "cert.pem"), key_file=str(directory / "key.pem"))
        self.current = CurrentCertificate(self.tls, threads, lambda: self.now)

    def write(self, issued: Issued) -> Issued:
        issued.write(self.directory)
        return issued

    def new(self) -> Issued:
        return issue(by=ROOT, life=timedelta(days=90))

    def _hear(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "mic.web.certificate.CurrentCertificate":
            level = event["log_level"].name
            text = eventAsText(event, includeTimestamp=False, includeSystem=False)
            self.said.append(f"{level}: {text}")

    def close(self) -> None:
        globalLogPublisher.removeObserver(self._hear)

    def heard(self) -> list[str]:
        """What was logged since the last time."""
        said, self.said = self.said, []
        return said

    def seen(self) -> str:
        """The serial number that a new client sees."""
        server = self.current.serverConnectionForTLS(cast(TLSMemoryBIOProtocol, None))
        return shown(server)


def shown(server: SSL.Connection) -> str:
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    client.set_connect_state()
    server.set_accept_state()
    for end, other in [(client, server), (server, client)] * 3:
        for step in (end.do_handshake, lambda e=end, o=other: o.bio_write(e.bio_read(65536))):
            with suppress(SSL.WantReadError):
                step()
    certificate = client.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    return f"{certificate.serial_number:x}"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    threads = Threads(reactor)
    threads.startService()
    service = Service(tmp_path, threads)
    yield service
    service.close()
    pytest_twisted.blockon(threads.stopService())


@pytest_twisted.ensureDeferred
async def test_the_one_at_the_start_is_logged_and_in_force(service: Service) -> None:
    (line,) = service.heard()
    assert line.startswith(f"info: {service.tls.cert_file}: TLS certificate of CN=localhost, ")
    assert service.first.serial in line
    assert service.seen() == service.first.serial
    await service.current.look()
    assert service.heard() == service.current.problems() == []


def test_files_that_cannot_be_used_are_an_error_at_the_start(tmp_path: Path) -> None:
    paths = [str(path) for path in issue().write(tmp_path)]
    Path(paths[0]).write_text("")
    tls = Tls(cert_file=paths[0], key_file=paths[1])
    with pytest.raises(ConfigError, match="holds no whole PEM certificates"):
        CurrentCertificate(tls, Threads(reactor), lambda: 0.0)


@pytest_twisted.ensureDeferred
async def test_another_is_taken_when_a_second_look_finds_the_same(service: Service) -> None:
    new = service.write(service.new())
    await service.current.look()
    assert service.seen() == service.first.serial
    await service.current.look()
    assert service.seen() == new.serial
    assert new.serial in str(service.current.certificate)
    assert new.serial in service.heard()[-1]
    await service.current.look()
    assert service.heard() == []


@pytest_twisted.ensureDeferred
async def test_it_is_taken_at_once_by_who_knows_it_to_be_there(service: Service) -> None:
    new = service.write(service.new())
    await service.current.look(at_once=True)
    assert service.seen() == new.serial


@pytest_twisted.ensureDeferred
async def test_a_connection_keeps_what_it_began_with(service: Service) -> None:
    begun = service.current.serverConnectionForTLS(cast(TLSMemoryBIOProtocol, None))
    new = service.write(service.new())
    await service.current.look(at_once=True)
    assert shown(begun) == service.first.serial
    assert service.seen() == new.serial


@pytest_twisted.ensureDeferred
async def test_what_is_half_done_at_one_look_is_no_fault(service: Service) -> None:
    service.heard()
    new = service.new()
    put(service.directory / "key.pem", new.key_pem)
    await service.current.look()
    put(service.directory / "cert.pem", new.chain_pem[:300])
    await service.current.look()
    assert service.current.problems() == []
    put(service.directory / "cert.pem", new.chain_pem)
    await service.current.look()
    await service.current.look()
    assert service.seen() == new.serial
    (line,) = service.heard()
    assert new.serial in line


def only_the_key(service: Service) -> None:
    put(service.directory / "key.pem", service.new().key_pem)


def only_the_certificate(service: Service) -> None:
    put(service.directory / "cert.pem", service.new().chain_pem)


def cut_off(service: Service) -> None:
    path = service.directory / "cert.pem"
    path.write_bytes(path.read_bytes()[:300])


def gone(service: Service) -> None:
    (service.directory / "key.pem").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (only_the_key, "key.pem is not the key of the first certificate in"),
        (only_the_certificate, "key.pem is not the key of the first certificate in"),
        (cut_off, "cert.pem holds no whole PEM certificates"),
        (gone, "key.pem: No such file or directory"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_stays_wrong_is_told_once_until_it_is_mended(
    service: Service, damage: Callable[[Service], None], words: str
) -> None:
    service.heard()
    damage(service)
    await service.current.look()
    assert service.current.problems() == []
    for _ in range(3):
        await service.current.look()
        (problem,) = service.current.problems()
        assert words in problem
        assert problem.endswith("; the certificate before stays in force")
    assert service.heard() == [f"error: {problem}"]
    assert service.seen() == service.first.serial
    # Mended by another, or by the one before.
    new = service.write(service.new())
    await service.current.look(at_once=True)
    assert service.current.problems() == []
    mended = "info: the TLS certificate and its key are in order again"
    said = service.heard()
    assert said[0] == mended
    assert new.serial in said[1]
    damage(service)
    await service.current.look(at_once=True)
    assert service.current.problems()
    service.write(new)
    await service.current.look()
    assert service.current.problems() == []
    assert service.heard()[1:] == [mended]
    assert service.seen() == new.serial


@pytest_twisted.ensureDeferred
async def test_a_date_that_comes_near_is_told_once(service: Service) -> None:
    service.heard()
    day = 86400.0
    service.now += 80 * day
    await service.current.look()
    assert service.current.problems() == []
    service.now += 4 * day
    for _ in range(3):
        await service.current.look()
        service.now += 60
    (problem,) = service.current.problems()
    assert "cert.pem: the certificate of CN=localhost expires soon, on " in problem
    assert service.heard() == [f"warn: {problem}"]
    service.now += 6 * day
    await service.current.look()
    (problem,) = service.current.problems()
    assert "has expired" in problem
    assert service.heard() == [f"warn: {problem}"]
    service.write(issue(by=ROOT, life=timedelta(days=400)))
    await service.current.look(at_once=True)
    assert service.current.problems() == []
