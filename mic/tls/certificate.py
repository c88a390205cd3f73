"""Check a certificate and its key, and make the TLS context for connections of them.

No clock, reactor or log here: `mic.tls.current` decides when to read the files. OpenSSL means
pyOpenSSL's, which serves connections, not that of Python's ``ssl``.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from mic.common.errors import ConfigError
from mic.common.files import read_regular

CERT_FILE = "-images-tls-cert-file"
KEY_FILE = "-images-tls-key-file"
MIN_VERSION = "-images-tls-min-version"
MAX_VERSION = "-images-tls-max-version"
CIPHERS = "-images-tls-ciphers"

DEFAULT_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 with forward secrecy and authenticated encryption only: Mozilla's intermediate
configuration without finite-field Diffie-Hellman, which costs several times as much."""

EXPIRY_WARNING = timedelta(days=7)
"""Warn this long before expiry. For a certificate with a lifetime below five times that, warn in
the last fifth of it: issuers of short-lived certificates renew them later."""

_FILE_LIMIT = 1024 * 1024
_FLIGHTS = 3  # round trips of a handshake
_FLIGHT = 2 * _FILE_LIMIT  # bytes of one; it may hold a chain as large as the file
_BEGIN = b"-----BEGIN CERTIFICATE-----"


class TlsVersion(StrEnum):
    """A supported version of TLS."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


_OPENSSL_VERSIONS = {
    TlsVersion.TLS_1_2: SSL.TLS1_2_VERSION,
    TlsVersion.TLS_1_3: SSL.TLS1_3_VERSION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Paths of a PEM certificate chain and its key, and what to negotiate.

    ``max_version`` None means the newest that OpenSSL supports. ``ciphers`` is an OpenSSL cipher
    list for TLS 1.2; the suites of TLS 1.3 are fixed.
    """

    cert_file: str
    key_file: str
    min_version: TlsVersion = TlsVersion.TLS_1_2
    max_version: TlsVersion | None = None
    ciphers: str = DEFAULT_CIPHERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem:
    """Content of a certificate file and a key file."""

    chain: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEntry:
    """Subject, serial number and validity of one certificate of a chain."""

    subject: str
    serial: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certificate:
    """A certificate, its chain and its key, ready to serve connections with ``context``."""

    context: SSL.Context
    chain: tuple[ChainEntry, ...]

    @property
    def expires(self) -> datetime:
        """Earliest expiry in the chain."""
        return min(entry.end for entry in self.chain)

    def __str__(self) -> str:
        own, *others = self.chain
        more = f" with {len(others)} more in its chain" if others else ""
        return (
            f"{own.subject}{more}, serial number {own.serial:x}, valid until {_date(self.expires)}"
        )

    def validity_warning(self, now: datetime) -> str:
        """Return why clients that check dates reject this certificate, now or soon; else empty."""
        for entry in self.chain:
            whose = f"the certificate of {entry.subject}"
            if now >= entry.end:
                return f"{whose} has expired on {_date(entry.end)}"
            if now < entry.start:
                return f"{whose} is not valid before {_date(entry.start)}: is the clock right?"
            if entry.end - now < min(EXPIRY_WARNING, (entry.end - entry.start) / 5):
                return f"{whose} expires soon, on {_date(entry.end)}"
        return ""


def read_pem(tls: Tls) -> Pem:
    """Read both files; raise `ConfigError` with the problems of either."""
    problems: list[str] = []
    chain = _read(CERT_FILE, tls.cert_file, problems)
    key = _read(KEY_FILE, tls.key_file, problems)
    if problems:
        raise ConfigError(problems)
    return Pem(chain=chain, key=key)


def load_certificate(tls: Tls, pem: Pem) -> Certificate:
    """Return the certificate of two files.

    Raises `ConfigError` when they do not belong together, or a handshake with them fails.
    """
    problems: list[str] = []
    chain: list[x509.Certificate] = []
    key: Any = None
    try:
        chain = _chain(tls, pem.chain)
    except ConfigError as error:
        problems += error.problems
    try:
        key = _private_key(tls, pem.key)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    entries = tuple(map(_chain_entry, chain))
    try:
        own = chain[0].public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        own = False
    if not own:
        raise ConfigError(
            [
                f"{KEY_FILE}: {tls.key_file} is not the key of the first certificate "
                f"in {tls.cert_file}"
            ]
        )
    try:
        context = _context(tls)
        context.use_certificate(chain[0])
        for each in chain[1:]:
            context.add_extra_chain_cert(each)
        context.use_privatekey(key)
        context.check_privatekey()
    except (SSL.Error, ValueError, TypeError) as error:
        raise ConfigError(
            [f"{CERT_FILE}: {tls.cert_file} cannot be used: {openssl_reason(error)}"]
        ) from None
    try:
        _shake_hands(context, tls.min_version)
    except SSL.Error as error:
        raise ConfigError(
            [
                f"{CERT_FILE}: {tls.cert_file} cannot serve TLS {tls.min_version} with the "
                f"ciphers {tls.ciphers!r} of {CIPHERS}: {openssl_reason(error)}"
            ]
        ) from None
    return Certificate(context=context, chain=entries)


def parse_ciphers(text: str) -> str:
    """Return a cipher list for TLS 1.2, the default for an empty text.

    Raises `ConfigError` when OpenSSL finds no suite in it. Only a handshake shows whether one fits
    the key: see `load_certificate`.
    """
    ciphers = text or DEFAULT_CIPHERS
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    try:
        context.set_cipher_list(ciphers.encode())
        suites = SSL.Connection(context).get_cipher_list()
    except (SSL.Error, ValueError):
        suites = []
    # OpenSSL lists the suites of TLS 1.3 too, whatever the list says.
    if all(name.startswith("TLS_") for name in suites):
        raise ConfigError([f"{CIPHERS}: {ciphers!r} leaves no cipher"])
    return ciphers


def openssl_reason(error: BaseException | None) -> str:
    """Return the reason in OpenSSL's words, from its list of (library, function, reason)."""
    reasons = error.args[0] if error is not None and error.args else ""
    if isinstance(reasons, list) and reasons:
        return f"OpenSSL says: {reasons[-1][-1]}"
    return str(error) or type(error).__name__


def _read(flag: str, path: str, problems: list[str]) -> bytes:
    if not path:
        problems.append(f"{flag} is missing: a certificate and its key go together")
        return b""
    try:
        data = read_regular(path, _FILE_LIMIT)
    except OSError as error:
        problems.append(f"{flag}: {path}: {error.strerror}")
        return b""
    if len(data) > _FILE_LIMIT:
        problems.append(f"{flag}: {path} has more than {_FILE_LIMIT} bytes")
    return data


def _chain(tls: Tls, data: bytes) -> list[x509.Certificate]:
    try:
        chain = x509.load_pem_x509_certificates(data)
        for each in chain:
            _chain_entry(each)
    except ValueError:
        chain = []
    # A file that is being written may hold whole certificates before a partial one.
    if not chain or len(chain) != data.count(_BEGIN):
        raise ConfigError([f"{CERT_FILE}: {tls.cert_file} holds no whole PEM certificates"])
    return chain


def _private_key(tls: Tls, data: bytes) -> PrivateKeyTypes:
    reason = "holds no PEM private key"
    try:
        return load_pem_private_key(data, None)
    except TypeError:
        reason = (
            "is encrypted, and mic cannot prompt for a passphrase: "
            "decrypt it with openssl pkey, and restrict its file mode"
        )
    except (ValueError, UnsupportedAlgorithm):
        # Their messages may contain parts of the key.
        pass
    raise ConfigError([f"{KEY_FILE}: {tls.key_file} {reason}"])


def _context(tls: Tls) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_OPENSSL_VERSIONS[tls.min_version])
    if tls.max_version is not None:
        context.set_max_proto_version(_OPENSSL_VERSIONS[tls.max_version])
    # No sessions and no tickets: every connection makes a full handshake with the certificate in
    # force, and no ticket key exists that could decrypt recorded traffic.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(
        SSL.OP_NO_COMPRESSION
        | SSL.OP_NO_TICKET
        | SSL.OP_NO_RENEGOTIATION
        | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    # Free the buffers of idle connections.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(tls.ciphers.encode())
    context.set_alpn_select_callback(_protocol)
    return context


def _protocol(_connection: SSL.Connection, offered: list[bytes]) -> Any:
    """Select HTTP/1.1, never HTTP/2: Twisted would use a channel of its own for that."""
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _shake_hands(context: SSL.Context, version: TlsVersion) -> None:
    """Make a handshake of the oldest allowed version in memory; raise `SSL.Error` if it fails.

    Only a handshake shows whether the ciphers fit the kind of key. The client accepts any suite
    that authenticates and encrypts.
    """
    any_client = SSL.Context(SSL.TLS_CLIENT_METHOD)
    any_client.set_max_proto_version(_OPENSSL_VERSIONS[version])
    any_client.set_cipher_list(b"ALL:!aNULL:!eNULL:@SECLEVEL=0")
    client, server = SSL.Connection(any_client), SSL.Connection(context)
    client.set_connect_state()
    server.set_accept_state()
    for end, other in [(client, server), (server, client)] * _FLIGHTS:
        # Raised while this end waits for the other, or has nothing to send.
        with suppress(SSL.WantReadError):
            end.do_handshake()
        with suppress(SSL.WantReadError):
            other.bio_write(end.bio_read(_FLIGHT))


def _chain_entry(certificate: x509.Certificate) -> ChainEntry:
    """Raise `ValueError` for a malformed certificate: some parts are parsed only on access."""
    return ChainEntry(
        subject=_subject(certificate),
        serial=certificate.serial_number,
        start=certificate.not_valid_before_utc,
        end=certificate.not_valid_after_utc,
    )


def _subject(certificate: x509.Certificate) -> str:
    """Return the subject, or the DNS names of a certificate without one."""
    name = certificate.subject.rfc4514_string()
    if not name:
        with suppress(x509.ExtensionNotFound):
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            name = ", ".join(names.value.get_values_for_type(x509.DNSName))
    return " ".join(name.split()) or "a certificate without a name"


def _date(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
