"""The YAML that ``nmstatectl gc`` prints: ``NetworkManager:``, a list of [file name, content]."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from mic.common.keyfile import Keyfile
from mic.common.problems import DocumentInvalid
from mic.common.tree import Plain, is_null, parsed, resolved_scalar

MAX_LISTING: Final = 4 << 20
"""Cap on the characters of a listing, and of one keyfile in it: more than any host needs."""

_BACKEND: Final = "NetworkManager"
_PLAIN: Final = re.compile(
    r"[A-Za-z0-9_./][A-Za-z0-9_.+@/-]*|[A-Za-z](?:[A-Za-z0-9_.+@/-]|:(?=[A-Za-z0-9]))*", re.ASCII
)
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def to_yaml(keyfiles: Iterable[Keyfile]) -> str:
    """Return the listing of ``keyfiles``; `from_yaml` is the inverse."""
    lines = []
    for keyfile in keyfiles:
        lines.append(f"- - {_scalar(keyfile.name)}\n")
        content = keyfile.content
        if _fits_a_block(content):
            indented = "".join(
                f"    {line}" if line.strip("\n") else line for line in content.splitlines(True)
            )
            lines.append(f"  - |\n{indented}")
        else:
            lines.append(f"  - {_quoted(content)}\n")
    return f"{_BACKEND}:\n{''.join(lines)}" if lines else f"{_BACKEND}: []\n"


def from_yaml(listing: str) -> tuple[Keyfile, ...]:
    """Return the keyfiles of a listing; raises `DocumentInvalid` if it is malformed.

    Older releases print ``{}`` if there is nothing to configure.
    """
    tree = parsed(listing, max_scalar=MAX_LISTING, max_bytes=MAX_LISTING)
    if tree is None or tree == {} or (isinstance(tree, Plain) and is_null(tree)):
        return ()
    if not isinstance(tree, dict) or set(tree) != {_BACKEND}:
        raise DocumentInvalid((f"listing: expected a mapping with {_BACKEND!r} only",))
    items = tree[_BACKEND]
    if not isinstance(items, list):
        raise DocumentInvalid((f"listing: {_BACKEND} is not a list",))
    return tuple(_keyfile(item, index) for index, item in enumerate(items))


def _keyfile(item: Any, index: int) -> Keyfile:
    if isinstance(item, list) and len(item) == 2 and all(isinstance(part, str) for part in item):
        return Keyfile(name=str(item[0]), content=str(item[1]))
    raise DocumentInvalid((f"listing: {_BACKEND}[{index}] is not a [file name, content] pair",))


def _fits_a_block(content: str) -> bool:
    """Return whether a literal block can hold it: it has no escapes and ends with one newline."""
    return (
        content.endswith("\n")
        and not content.endswith("\n\n")
        and not content.startswith((" ", "\n"))
        and all(char.isprintable() or char == "\n" for char in content)
    )


def _scalar(text: str) -> str:
    is_text = isinstance(resolved_scalar(Plain(text)), str)
    return text if is_text and _PLAIN.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(char) or _escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 1 << 8:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
