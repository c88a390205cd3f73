"""Certificates as authorities and operators make them: with a chain, for keys of several kinds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_ADDRESS = x509.IPAddress(ip_address("127.0.0.1"))


def ec_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key() -> Key:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate, its key, and those that signed it up to, and without, the root."""

    certificate: x509.Certificate
    key: Key = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def serial(self) -> str:
        return f"{self.certificate.serial_number:x}"

    @property
    def chain_pem(self) -> bytes:
        return b"".join(map(pem, (self.certificate, *self.chain)))

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Paths of certificate and key."""
        directory.mkdir(parents=True, exist_ok=True)
        cert, key = directory / "cert.pem", directory / "key.pem"
        cert.write_bytes(self.chain_pem)
        key.write_bytes(self.key_pem)
        return cert, key


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def issue(
    *,
    by: Issued | None = None,
    key: Key | None = None,
    name: str = "localhost",
    authority: bool = False,
    start: datetime | None = None,
    life: timedelta = timedelta(days=2),
    host: str = "localhost",
) -> Issued:
    """A certificate for ``host``, or an authority's; without ``by`` it is signed by itself.

    It is valid since half of its life, unless ``start`` says otherwise.
    """
    key = key or ec_key()
    start = start or datetime.now(UTC) - life / 2
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + life)
    )
    if authority:
        basic = x509.BasicConstraints(ca=True, path_length=None)
        builder = builder.add_extension(basic, critical=True)
    else:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host), _ADDRESS]), critical=not name
        )
    certificate = builder.sign(by.key if by else key, hashes.SHA256())
    chain: tuple[x509.Certificate, ...] = ()
    # A root is not sent: clients have it.
    if by and by.certificate.issuer != by.certificate.subject:
        chain = (by.certificate, *by.chain)
    return Issued(certificate=certificate, key=key, chain=chain)
