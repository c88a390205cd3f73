"""Changes of kernel arguments: their text, and what they make of the text of a base image.

One text serves GRUB, ISOLINUX, iPXE and the kernel, which read special characters differently.
Those are refused instead of quoted: GRUB reads its line as a script, ISOLINUX takes it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mic.common.errors import BuildInvalid
from mic.common.text import printable

MAX_LENGTH: Final = 64 * 1024
"""Most bytes of a text with changes. An area holds at most 2048 characters of arguments."""

COMMAND_LINE: Final = 2047
"""Most characters of arguments that Linux reads on x86 and arm64 (COMMAND_LINE_SIZE in Linux 6): it
ignores the rest without a word."""

_ALLOWED: Final = re.compile(r"[!%()*+,./0-9:=?@A-Z\[\]^_a-z~-]+")
_SHOWN: Final = 60
_REPORTED: Final = 20

_RESERVED: Final = {
    "coreos.live.rootfs_url": "mic sets it: see IRONIC_ROOTFS_URL",
    "coreos.liveiso": "mic sets it: the live system finds its medium by it",
    "ignition.config.device": "it would replace the whole Ignition config of mic",
    "ignition.config.path": "it would replace the whole Ignition config of mic",
    "ignition.config.url": "it would replace the whole Ignition config of mic; give the config to "
    "mic instead",
    "ignition.firstboot": "without it, or with it twice, Ignition does not run as it must",
    "ignition.platform.id": "the live system is always on the platform metal",
    "initrd": "it is for boot loaders",
    "ostree": "the live system sets it itself",
    "root": "the live system finds its root by itself",
}
"""Arguments that cannot be added or removed, and why."""


@dataclass(frozen=True, slots=True)
class ArgumentEdits:
    """Changes of one level, such as one host: words to remove first, then words to append.

    A word in ``removed`` without ``=`` stands for the argument with any value.
    """

    removed: tuple[str, ...] = ()
    appended: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.removed or self.appended)

    def applied(self, text: str) -> str:
        """Return the arguments ``text`` with these changes; unchanged without any.

        A word that is there already is not appended again.
        """
        if not self:
            return text
        words = [word for word in text.split() if not self._removes(word)]
        present = set(words)
        for word in self.appended:
            if word not in present:
                words.append(word)
                present.add(word)
        return " ".join(words)

    def _removes(self, word: str) -> bool:
        return word in self.removed or word.partition("=")[0] in self.removed


class ArgumentsInvalid(BuildInvalid):
    """A text with words that cannot be used; a pair for each: its place, and what is wrong."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        more = len(problems) - _REPORTED
        self._end = [f"and {more} more problems"] if more > 0 else []
        self._places = [place for place, _ in problems[:_REPORTED]]
        texts = [f"{place}: {problem}" for place, problem in problems[:_REPORTED]]
        super().__init__("; ".join([*texts, *self._end]))

    @property
    def without_content(self) -> tuple[str, ...]:
        """The places of the problems."""
        return (*(f"{place}: has a word that cannot be used" for place in self._places), *self._end)


def appended(arguments: Iterable[ArgumentEdits]) -> tuple[str, ...]:
    """Return the words to append, each once, for kernels that mic gives all or more arguments.

    Raises `BuildInvalid` for a word to remove.
    """
    words: dict[str, None] = {}
    for edits in arguments:
        for word in edits.removed:
            name = word.partition("=")[0]  # a value may be a secret
            raise BuildInvalid(
                f"the kernel argument {name} cannot be taken away from network boot: Ironic's own "
                "parameters come first"
            )
        words.update(dict.fromkeys(edits.appended))
    return tuple(words)


def parse(text: bytes | str, source: str) -> ArgumentEdits:
    """Return the changes that a text asks for.

    Words are separated by white space; a line that starts with ``#`` is a comment. ``WORD`` is
    appended, ``-KEY=VALUE`` removes exactly that argument, ``-KEY`` the argument with any value.
    Raises `BuildInvalid` with every problem; ``source`` names the input in it.
    """
    if len(text) > MAX_LENGTH:
        raise BuildInvalid(f"{source}: has {len(text)} bytes, more than {MAX_LENGTH}")
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise BuildInvalid(f"{source}: is not UTF-8 text at byte {error.start}") from None
    removed: list[str] = []
    appended: list[str] = []
    problems: list[tuple[str, str]] = []
    for line, word in _words(text.removeprefix("\N{BYTE ORDER MARK}")):
        removal = word.startswith("-")
        argument = word[1:] if removal else word
        problem = _problem(argument)
        if problem:
            problems.append((f"{source}: line {line}", f"{_quoted(word)}: {problem}"))
        else:
            (removed if removal else appended).append(argument)
    if problems:
        raise ArgumentsInvalid(problems)
    return ArgumentEdits(tuple(dict.fromkeys(removed)), tuple(dict.fromkeys(appended)))


def edited(text: str, edits: Iterable[ArgumentEdits]) -> str:
    """Return the arguments ``text`` after the changes of each level in turn."""
    for each in edits:
        text = each.applied(text)
    return text


def _words(text: str) -> Iterator[tuple[int, str]]:
    # Only line feeds count lines, as in an editor; a carriage return is white space.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.lstrip().startswith("#"):
            yield from ((number, word) for word in line.split())


def argument_problem(argument: str) -> str:
    """Return why one argument cannot be part of the text, empty if it can."""
    if bad := _ALLOWED.sub("", argument):
        return (
            f"the character {_named(bad[0])} is not allowed: boot loaders give it a meaning of "
            "its own, and quoting does not work in all of them"
        )
    return ""


def _problem(argument: str) -> str:
    """Return why an argument cannot be added or removed, empty if it can."""
    if not argument:
        return "a '-' removes an argument and needs its name, without a blank between"
    if problem := argument_problem(argument):
        return problem
    key = argument.partition("=")[0]
    if not key:
        return "an argument needs a name before '='"
    if key.startswith("-"):
        return "the kernel passes what follows '--' to the init program"
    if "%default%" in argument:
        return "%default% stands for Ironic's own arguments, which come first in any case"
    reason = _RESERVED.get(key)
    return f"{key} cannot be changed: {reason}" if reason else ""


def _named(character: str) -> str:
    return f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"


def _quoted(word: str) -> str:
    shown = printable(word[:_SHOWN])
    return f"'{shown}...'" if len(word) > _SHOWN else f"'{shown}'"
