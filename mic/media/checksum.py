"""Files with the SHA-256 of the file next to them, ``NAME.sha256``.

Formats: coreutils (``sha256sum``, also with ``--tag``), OpenSSL's and BSD's, and the bare digest.
"""

from __future__ import annotations

import os
import re

SUFFIX = ".sha256"
"""Added to the name of a file, the name of the file with its digest."""

MAX_CHECKSUM = 64 * 1024
"""Most bytes of such a file; a real one has about a hundred."""

_HEX = "(?P<digest>[0-9A-Fa-f]{64})"
_FORMS = (
    re.compile(_HEX),
    # A leading backslash says that the name is escaped.
    re.compile(rf"\\?{_HEX} [ *](?P<name>.+)"),
    re.compile(rf"\\?SHA2?-?256 ?\((?P<name>.+)\) ?= ?{_HEX}"),
)
_PLAIN = re.compile(r"[^\\\r\n]+")


class ChecksumError(Exception):
    """A file is no list of SHA-256 digests, or has none for the file; the message says why."""


def read_checksum(data: bytes, name: str) -> str:
    """Return the digest of the file ``name`` in lower case.

    A single digest may have any name: files are renamed when they are copied. Of several, the one
    with this name counts. Raises `ChecksumError`.
    """
    if len(data) > MAX_CHECKSUM:
        raise ChecksumError(f"it has more than {MAX_CHECKSUM} bytes")
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError:
        raise ChecksumError("it is not text") from None
    lines = [line.strip() for line in re.split(r"\r?\n", text)]
    found: list[tuple[str, str]] = []
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        match = next(filter(None, (form.fullmatch(line) for form in _FORMS)), None)
        if match is None:
            raise ChecksumError(
                f"line {number} is not a SHA-256 digest: write 64 hexadecimal digits, alone or "
                "as sha256sum prints them"
            )
        found.append((match["digest"].lower(), match.groupdict().get("name", "")))
    if not found:
        raise ChecksumError("it is empty")
    if len(found) > 1:
        found = [each for each in found if os.path.basename(each[1]) == name]
    digests = {digest for digest, _ in found}
    if len(digests) != 1:
        raise ChecksumError(f"it has {'several digests' if digests else 'no digest'} for {name}")
    return digests.pop()


def checksum_text(digest: str, name: str) -> str:
    """Return the content of a checksum file as ``sha256sum`` prints it."""
    return f"{digest}  {name}\n" if _PLAIN.fullmatch(name) else f"{digest}\n"
