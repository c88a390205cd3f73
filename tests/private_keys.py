"""Private keys in the forms in which people have them, made anew for each run.

``FORMS`` are files as programs write them; ``disguised`` is one of them as it comes out of
variables, spreadsheets, Kubernetes Secrets and clipboards.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

_PEM = serialization.Encoding.PEM
_PLAIN = serialization.NoEncryption()
_LOCKED = serialization.BestAvailableEncryption(b"passphrase")

_PUTTY = """\
PuTTY-User-Key-File-{version}: ssh-ed25519
Encryption: none
Comment: me@laptop
Public-Lines: 2
{public}
Private-Lines: 1
{private}
Private-MAC: {mac}
"""

_SSH_COM = """\
---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----
Subject: me
Comment: "2048-bit rsa, me@laptop"
{private}
---- END SSH2 ENCRYPTED PRIVATE KEY ----
"""


def _lines(data: bytes, width: int = 64) -> str:
    text = base64.b64encode(data).decode()
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


@cache
def forms() -> dict[str, str]:
    """Key files by the name of their format."""
    formats = serialization.PrivateFormat
    ed = ed25519.Ed25519PrivateKey.generate()
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    curve = ec.generate_private_key(ec.SECP256R1())
    old = dsa.generate_private_key(1024)
    made = {
        "OpenSSH": ed.private_bytes(_PEM, formats.OpenSSH, _PLAIN),
        "OpenSSH RSA": small.private_bytes(_PEM, formats.OpenSSH, _PLAIN),
        "PKCS#1": small.private_bytes(_PEM, formats.TraditionalOpenSSL, _PLAIN),
        "EC": curve.private_bytes(_PEM, formats.TraditionalOpenSSL, _PLAIN),
        "DSA": old.private_bytes(_PEM, formats.TraditionalOpenSSL, _PLAIN),
        "PKCS#8": curve.private_bytes(_PEM, formats.PKCS8, _PLAIN),
        "PKCS#8 Ed25519": ed.private_bytes(_PEM, formats.PKCS8, _PLAIN),
        "PKCS#8 encrypted": small.private_bytes(_PEM, formats.PKCS8, _LOCKED),
        "PEM encrypted": small.private_bytes(_PEM, formats.TraditionalOpenSSL, _LOCKED),
    }
    blob = ed.private_bytes(serialization.Encoding.DER, formats.PKCS8, _PLAIN)
    public = _lines(base64.b64decode(public_key().split()[1]))
    texts = {name: data.decode() for name, data in made.items()}
    for version, mac in (("2", "0" * 40), ("3", "0" * 64)):
        texts[f"PuTTY {version}"] = _PUTTY.format(
            version=version, public=public, private=_lines(blob[-32:] + b"\0" * 3), mac=mac
        )
    texts["SSH.COM"] = _SSH_COM.format(private=_lines(b"\x3f\x6f\xf9\xeb" + blob * 3, 70))
    return texts


FORMS = (
    *("OpenSSH", "OpenSSH RSA", "PKCS#1", "EC", "DSA", "PKCS#8", "PKCS#8 Ed25519"),
    *("PKCS#8 encrypted", "PEM encrypted", "PuTTY 2", "PuTTY 3", "SSH.COM"),
)

BARE = (
    *("OpenSSH", "OpenSSH RSA", "PKCS#1", "EC", "DSA", "PKCS#8", "PKCS#8 Ed25519"),
    "PKCS#8 encrypted",
)
"""Forms whose base64 is known as a private key without the lines around it."""


@cache
def public_key(comment: str = "me@laptop") -> str:
    """A public key as a line of ``authorized_keys``."""
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{line.decode()} {comment}"


def body(text: str) -> list[str]:
    """The lines of a key file that are secret."""
    text = text.partition("Private-Lines")[2] or text
    return [line for line in text.splitlines() if re.fullmatch(r"[A-Za-z0-9+/]{16,}=*", line)]


def disguised(text: str) -> Iterator[tuple[str, str]]:
    """A key file as it is found elsewhere: what was done to it, and the result."""
    lines = text.splitlines()
    encoded = base64.b64encode(text.encode()).decode()
    yield "as it is", text
    yield "indented", "".join(f"    {line}\n" for line in lines)
    yield "blank lines and comments first", f"\n \n# my key\n# really\n{text}"
    yield "CRLF", "\r\n".join(lines) + "\r\n"
    yield "CR", "\r".join(lines)
    yield "literal line breaks", "\\n".join(lines)
    yield "literal CRLF", "\\r\\n".join(lines)
    yield "blanks for line breaks", " ".join(lines)
    yield "no line breaks", "".join(lines)
    yield "in quotes", f'"{text}"'
    yield "a list in YAML", "".join(f"- {line}\n" for line in lines)
    yield "commas for line breaks", ",".join(lines)
    yield "percent-encoded", "%0A".join(line.replace(" ", "%20") for line in lines)
    yield "base64", encoded
    yield "base64, wrapped", base64.encodebytes(text.encode()).decode()
    yield "base64 of CRLF", base64.b64encode("\r\n".join(lines).encode()).decode()
    yield "base64 of UTF-16", base64.b64encode(text.encode("utf-16")).decode()
    yield "base64 for URLs", base64.urlsafe_b64encode(text.encode()).decode()
    yield "base64 with comments first", base64.b64encode(f"# my key\n{text}".encode()).decode()
    yield "cut off", "\n".join(lines[: max(len(lines) - 2, 1)])
    yield "cut off in base64", encoded[: len(encoded) * 2 // 3]
    yield "behind public keys", f"{public_key()}\n{public_key('other')}\n{text}"
    yield "behind public keys, in base64", f"{public_key()}\n{encoded}\n"
    yield "in a public key's line", f"{public_key()} {' '.join(lines)}"
    yield "in an option", f'environment="KEY={" ".join(lines)}" {public_key()}'
