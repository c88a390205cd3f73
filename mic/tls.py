"""TLS: a certificate and its key as files, checked, and made into what connections begin with.

A room without clock, reactor and log: who reads the files when is `mic.web.certificate`'s
business. OpenSSL here is pyOpenSSL's, the one that serves, not that of Python's ``ssl``.
"""

from __future__ import annotations

import re
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

from mic.errors import ConfigError
from mic.files import read_regular

CERT_FILE = "-images-tls-cert-file"
KEY_FILE = "-images-tls-key-file"
MIN_VERSION = "-images-tls-min-version"
CIPHERS = "-images-tls-ciphers"

DEFAULT_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 with forward secrecy and authenticated encryption alone: Mozilla's intermediate
configuration but for finite-field Diffie-Hellman, which costs several times as much."""

SOON = timedelta(days=7)
"""So long before its end a certificate is worth a warning; one that lives for less than five
times that, a fifth of its life: those who issue such ones replace them later."""

_FILE_LIMIT = 1024 * 1024
# Of a handshake, there and back; and bytes of one, which may hold a chain as large as a file.
_FLIGHTS = 3
_FLIGHT = 2 * _FILE_LIMIT
_BEGIN = b"-----BEGIN CERTIFICATE-----"
# In OpenSSL's names: suites without authentication, without encryption, or with one that is
# broken. Most of the latter are not even in today's builds.
_WEAK = re.compile(r"(^|-)(ADH|AECDH|NULL|EXP|RC2|RC4|DES|MD5|IDEA|SEED)(-|$)")


class MinVersion(StrEnum):
    """The oldest TLS that is spoken."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


_OPENSSL_VERSIONS = {
    MinVersion.TLS_1_2: SSL.TLS1_2_VERSION,
    MinVersion.TLS_1_3: SSL.TLS1_3_VERSION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Paths of a PEM certificate chain and its key; what is negotiated.

    ``ciphers`` is an OpenSSL cipher list, for TLS 1.2: what TLS 1.3 has is sound, and not set.
    """

    cert_file: str
    key_file: str
    min_version: MinVersion = MinVersion.TLS_1_2
    ciphers: str = DEFAULT_CIPHERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem:
    """What a certificate file and a key file held when they were read."""

    chain: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One of a chain: whose it is, and when it is valid."""

    subject: str
    serial: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certificate:
    """A certificate, its chain and its key, ready to serve: ``context`` makes connections."""

    context: SSL.Context
    chain: tuple[Link, ...]

    @property
    def expires(self) -> datetime:
        """When the first of the chain expires."""
        return min(link.end for link in self.chain)

    def __str__(self) -> str:
        """What it is, for logs."""
        own, *others = self.chain
        more = f" with {len(others)} more in its chain" if others else ""
        return (
            f"{own.subject}{more}, serial number {own.serial:x}, valid until {_date(self.expires)}"
        )

    def worry(self, now: datetime) -> str:
        """What clients that look at the time have, or soon will have, against it; else nothing."""
        for link in self.chain:
            whose = f"the certificate of {link.subject}"
            if now >= link.end:
                return f"{whose} has expired on {_date(link.end)}"
            if now < link.start:
                return f"{whose} is not valid before {_date(link.start)}: is the clock right?"
            if link.end - now < min(SOON, (link.end - link.start) / 5):
                return f"{whose} expires soon, on {_date(link.end)}"
        return ""


def read_pem(tls: Tls) -> Pem:
    """Read both files; raises `ConfigError` with what is wrong with either."""
    problems: list[str] = []
    chain = _read(CERT_FILE, tls.cert_file, problems)
    key = _read(KEY_FILE, tls.key_file, problems)
    if problems:
        raise ConfigError(problems)
    return Pem(chain=chain, key=key)


def load_certificate(tls: Tls, pem: Pem) -> Certificate:
    """The certificate that two files hold.

    Raises `ConfigError` when they do not belong together, or no connection can be made with them.
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
    links = tuple(map(_link, chain))
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
    return Certificate(context=context, chain=links)


def parse_min_version(text: str) -> MinVersion:
    """``1.2`` or ``1.3``; empty is the default. Raises `ConfigError` for anything else."""
    try:
        return MinVersion(text or MinVersion.TLS_1_2)
    except ValueError:
        known = " or ".join(MinVersion)
        raise ConfigError([f"{MIN_VERSION}: {text!r} is not {known}"]) from None


def parse_ciphers(text: str) -> str:
    """A cipher list; empty is the default.

    Raises `ConfigError` for a list that is wrong, in part too, or weak.
    """
    ciphers = text or DEFAULT_CIPHERS
    # OpenSSL skips what it does not know, if it only knows something: a typing error would go
    # unnoticed. Excluded may be what it does not know: today's builds have no RC4 and no 3DES.
    for name in re.split(r"[:, ]", ciphers):
        if not name or name.startswith(("!", "-", "@")):
            continue
        if name.startswith("TLS_"):
            raise ConfigError(
                [
                    f"{CIPHERS}: {name} is of TLS 1.3, whose suites are always on: "
                    "name those of TLS 1.2 alone"
                ]
            )
        if not _suites(f"{name.removeprefix('+')}:@SECLEVEL=0"):
            raise ConfigError([f"{CIPHERS}: OpenSSL knows no cipher {name!r}"])
    suites = _suites(ciphers)
    if not suites:
        raise ConfigError([f"{CIPHERS}: {ciphers!r} leaves no cipher"])
    weak = [name for name in suites if _WEAK.search(name)]
    if weak:
        raise ConfigError(
            [
                f"{CIPHERS}: {ciphers!r} holds {weak[0]}, which protects nothing: "
                "exclude such ones, as by adding :!aNULL:!eNULL"
            ]
        )
    return ciphers


def openssl_reason(error: BaseException | None) -> str:
    """Why, in OpenSSL's own words: it gives a list of (library, function, reason)."""
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
            _link(each)
    except ValueError:
        chain = []
    # Of a file that is being written, whole certificates before the end of it could be read.
    if not chain or len(chain) != data.count(_BEGIN):
        raise ConfigError([f"{CERT_FILE}: {tls.cert_file} holds no whole PEM certificates"])
    return chain


def _private_key(tls: Tls, data: bytes) -> PrivateKeyTypes:
    reason = "holds no PEM private key"
    try:
        return load_pem_private_key(data, None)
    except TypeError:
        reason = (
            "is encrypted, and there is nobody to ask for its passphrase: "
            "decrypt it with openssl pkey, and guard it by its mode"
        )
    except (ValueError, UnsupportedAlgorithm):
        # Their messages may hold parts of the key.
        pass
    raise ConfigError([f"{KEY_FILE}: {tls.key_file} {reason}"])


def _context(tls: Tls) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_OPENSSL_VERSIONS[tls.min_version])
    # No sessions and no tickets: every connection, one that a client would resume too, gets a
    # handshake with the certificate in force, and there is no key that opens old recordings.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(
        SSL.OP_NO_COMPRESSION
        | SSL.OP_NO_TICKET
        | SSL.OP_NO_RENEGOTIATION
        | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    # An idle connection holds no buffers.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(tls.ciphers.encode())
    context.set_alpn_select_callback(_protocol)
    return context


def _protocol(_connection: SSL.Connection, offered: list[bytes]) -> Any:
    """Never HTTP/2: Twisted would use another channel than ours."""
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _shake_hands(context: SSL.Context, version: MinVersion) -> None:
    """Make a connection of the oldest version that is allowed; raises `SSL.Error` when none can be.

    Only this tells whether ciphers and kind of key fit.
    """
    any_client = SSL.Context(SSL.TLS_CLIENT_METHOD)
    any_client.set_max_proto_version(_OPENSSL_VERSIONS[version])
    any_client.set_cipher_list(b"ALL:@SECLEVEL=0")
    client, server = SSL.Connection(any_client), SSL.Connection(context)
    client.set_connect_state()
    server.set_accept_state()
    for end, other in [(client, server), (server, client)] * _FLIGHTS:
        # Raised when it waits for the other end, or has nothing to tell it.
        with suppress(SSL.WantReadError):
            end.do_handshake()
        with suppress(SSL.WantReadError):
            other.bio_write(end.bio_read(_FLIGHT))


def _suites(ciphers: str) -> list[str]:
    """The TLS 1.2 suites of a cipher list; none for one that is wrong."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    try:
        context.set_cipher_list(ciphers.encode())
    except (SSL.Error, ValueError):
        return []
    return [
        name for name in SSL.Connection(context).get_cipher_list() if not name.startswith("TLS_")
    ]


def _link(certificate: x509.Certificate) -> Link:
    """Raises `ValueError` for a certificate that is malformed: parts of it are parsed only here."""
    return Link(
        subject=_subject(certificate),
        serial=certificate.serial_number,
        start=certificate.not_valid_before_utc,
        end=certificate.not_valid_after_utc,
    )


def _subject(certificate: x509.Certificate) -> str:
    """Whose it is: the subject, or for lack of one the names it is for."""
    name = certificate.subject.rfc4514_string()
    if not name:
        with suppress(x509.ExtensionNotFound):
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            name = ", ".join(names.value.get_values_for_type(x509.DNSName))
    return " ".join(name.split()) or "nobody"


def _date(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
