"""A certificate that follows its files, poll by poll.

Scope: mic.tls.current, with real files and threads; a handshake in memory shows which certificate
clients get. Rotation under load is in tests/functional/test_tls.py.
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

from mic.common.errors import ConfigError
from mic.common.health import Health
from mic.common.threads import Threads
from mic.tls.certificate import Tls
from mic.tls.current import CurrentCertificate

ROOT = issue(authority=True, name="root", life=timedelta(days=2000))


class Service:
    """A certificate in force, its files, and what it logs."""

    def __init__(self, directory: Path, threads: Threads) -> None:
        self.directory = directory
        self.first = self.write(issue(by=ROOT, life=timedelta(days=90)))
        self.now = self.first.certificate.not_valid_before_utc.timestamp() + 3600
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self._observe)
        self.tls = Tls(cert_file=str(directory / "cert.pem"), key_file=str(directory / "key.pem"))
        self.current = CurrentCertificate(self.tls, threads, lambda: self.now)

    def write(self, issued: Issued) -> Issued:
        issued.write(self.directory)
        return issued

    def new(self) -> Issued:
        return issue(by=ROOT, life=timedelta(days=90))

    def _observe(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "mic.tls.current.CurrentCertificate":
            level = event["log_level"].name
            text = eventAsText(event, includeTimestamp=False, includeSystem=False)
            self.logged.append(f"{level}: {text}")

    def close(self) -> None:
        globalLogPublisher.removeObserver(self._observe)

    def new_lines(self) -> list[str]:
        """Return what was logged since the last call."""
        logged, self.logged = self.logged, []
        return logged

    def seen(self) -> str:
        """Return the serial number that a new client sees."""
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
async def test_logs_and_uses_the_first_certificate(service: Service) -> None:
    (line,) = service.new_lines()
    assert line.startswith(f"info: {service.tls.cert_file}: TLS certificate of CN=localhost, ")
    assert service.first.serial in line
    assert service.seen() == service.first.serial
    await service.current.poll()
    assert service.new_lines() == []
    assert service.current.health() == Health()


def test_raises_for_unusable_files_at_the_start(tmp_path: Path) -> None:
    paths = [str(path) for path in issue().write(tmp_path)]
    Path(paths[0]).write_text("")
    tls = Tls(cert_file=paths[0], key_file=paths[1])
    with pytest.raises(ConfigError, match="holds no whole PEM certificates"):
        CurrentCertificate(tls, Threads(reactor), lambda: 0.0)


@pytest_twisted.ensureDeferred
async def test_uses_a_new_certificate_once_two_polls_agree(service: Service) -> None:
    new = service.write(service.new())
    await service.current.poll()
    assert service.seen() == service.first.serial
    await service.current.poll()
    assert service.seen() == new.serial
    assert new.serial in str(service.current.certificate)
    assert new.serial in service.new_lines()[-1]
    await service.current.poll()
    assert service.new_lines() == []


@pytest_twisted.ensureDeferred
async def test_uses_a_new_certificate_at_once_on_request(service: Service) -> None:
    new = service.write(service.new())
    await service.current.poll(at_once=True)
    assert service.seen() == new.serial


@pytest_twisted.ensureDeferred
async def test_connections_keep_their_certificate(service: Service) -> None:
    begun = service.current.serverConnectionForTLS(cast(TLSMemoryBIOProtocol, None))
    new = service.write(service.new())
    await service.current.poll(at_once=True)
    assert shown(begun) == service.first.serial
    assert service.seen() == new.serial


@pytest_twisted.ensureDeferred
async def test_reports_no_problem_while_files_are_being_replaced(service: Service) -> None:
    service.new_lines()
    new = service.new()
    put(service.directory / "key.pem", new.key_pem)
    await service.current.poll()
    put(service.directory / "cert.pem", new.chain_pem[:300])
    await service.current.poll()
    assert service.current.health() == Health()
    put(service.directory / "cert.pem", new.chain_pem)
    await service.current.poll()
    await service.current.poll()
    assert service.seen() == new.serial
    (line,) = service.new_lines()
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
async def test_logs_unusable_files_once_and_that_they_are_usable_again(
    service: Service, damage: Callable[[Service], None], words: str
) -> None:
    service.new_lines()
    damage(service)
    await service.current.poll()
    assert service.current.health() == Health()
    for _ in range(3):
        await service.current.poll()
        (problem,) = service.current.health().warnings
        assert words in problem
        assert problem.endswith("; the previous certificate stays in force")
    assert service.new_lines() == [f"error: {problem}"]
    assert service.seen() == service.first.serial
    # A new pair ends the problem; so do the files in force.
    new = service.write(service.new())
    await service.current.poll(at_once=True)
    assert service.current.health() == Health()
    usable = "info: the TLS certificate and its key are usable again"
    logged = service.new_lines()
    assert logged[0] == usable
    assert new.serial in logged[1]
    damage(service)
    await service.current.poll(at_once=True)
    assert service.current.health().warnings
    service.write(new)
    await service.current.poll()
    assert service.current.health() == Health()
    assert service.new_lines()[1:] == [usable]
    assert service.seen() == new.serial


@pytest_twisted.ensureDeferred
async def test_warns_of_dates_once(service: Service) -> None:
    service.new_lines()
    day = 86400.0
    service.now += 80 * day
    await service.current.poll()
    assert service.current.health() == Health()
    service.now += 4 * day
    for _ in range(3):
        await service.current.poll()
        service.now += 60
    (problem,) = service.current.health().warnings
    assert "cert.pem: the certificate of CN=localhost expires soon, on " in problem
    assert service.new_lines() == [f"warn: {problem}"]
    service.now += 6 * day
    await service.current.poll()
    (problem,) = service.current.health().warnings
    assert "has expired" in problem
    assert service.new_lines() == [f"warn: {problem}"]
    service.write(issue(by=ROOT, life=timedelta(days=400)))
    await service.current.poll(at_once=True)
    assert service.current.health() == Health()
