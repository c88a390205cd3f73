"""SSH public keys, read as sshd reads ``authorized_keys``.

Format: sshd(8), AUTHORIZED_KEYS FILE FORMAT; key blobs: RFC 4253 section 6.6, and for ECDSA and
FIDO keys RFC 5656 section 3.1 and OpenSSH's PROTOCOL.u2f.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from mic.common.private_keys import holds_private_key

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LINE_END: Final = re.compile("\r\n|\r|\n")

# Names, some with a quoted value, in which a backslash keeps a quote from ending it.
_OPTION: Final = r'[A-Za-z0-9-]+(?:="(?:[^"\\]|\\"|\\(?!"))*")?'
_OPTIONS: Final = re.compile(rf"(?:{_OPTION}(?=[, \t])|,)+[ \t]+")
_KEY: Final = re.compile(r"([A-Za-z0-9@._+-]{1,64})[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t].*)?")

_FIELDS: Final = {
    "ssh-rsa": 3,
    "ssh-dss": 5,
    "ssh-ed25519": 2,
    "ecdsa-sha2-nistp256": 3,
    "ecdsa-sha2-nistp384": 3,
    "ecdsa-sha2-nistp521": 3,
    "sk-ssh-ed25519@openssh.com": 3,
    "sk-ecdsa-sha2-nistp256@openssh.com": 4,
}
"""Number of strings in a key of each known type, its type included."""

_ECDSA: Final = re.compile(r"(?:sk-)?ecdsa-sha2-(nistp[0-9]+)(?:@openssh\.com)?")
_RSA_SIGNATURES: Final = re.compile(r"rsa-sha2-(?:256|512)(?=$|-cert-)")


class PrivateKeyFound(Exception):
    """The text holds a private key instead of public keys."""


def public_keys(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the lines of ``text`` that are public keys, and the numbers of those that are not.

    Comments and empty lines are skipped. Options before a key, and its comment, stay. Keys of
    unknown types are recognised by their form: ``TYPE BASE64``, with the type inside.
    Bytes that are not UTF-8 become U+FFFD. Raises `PrivateKeyFound`, without any of the text.
    """
    if holds_private_key(text):
        raise PrivateKeyFound
    keys: list[str] = []
    others: list[int] = []
    text = _SURROGATE.sub("\ufffd", text.removeprefix("\ufeff"))
    for number, raw in enumerate(_LINE_END.split(text), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if _is_key(line):
            keys.append(line)
        else:
            others.append(number)
    return tuple(keys), tuple(others)


def _is_key(line: str) -> bool:
    if _names_its_type(line):
        return True
    options = _OPTIONS.match(line)
    return options is not None and _names_its_type(line[options.end() :])


def _names_its_type(text: str) -> bool:
    """Return whether ``text`` is a type, and base64 of a key of that type."""
    found = _KEY.fullmatch(text)
    if found is None:
        return False
    # As in sshd, the name of a signature stands for that of the key.
    kind = _RSA_SIGNATURES.sub("ssh-rsa", found[1])
    try:
        blob = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        return False
    fields, rest = _strings(blob, _FIELDS.get(kind, 1))
    if not fields or fields[0] != kind.encode():
        return False
    if kind not in _FIELDS:
        return bool(rest)
    curve = _ECDSA.fullmatch(kind)
    return (
        len(fields) == _FIELDS[kind]
        and not rest
        and (curve is None or fields[1] == curve[1].encode())
    )


def _strings(blob: bytes, count: int) -> tuple[list[bytes], bytes]:
    """Return the first strings of a blob, at most ``count``, and the rest."""
    fields: list[bytes] = []
    while len(fields) < count and len(blob) >= 4:
        end = 4 + int.from_bytes(blob[:4], "big")
        if end > len(blob):
            break
        fields.append(blob[4:end])
        blob = blob[end:]
    return fields, blob
