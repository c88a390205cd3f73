"""Ignition configs that operators add: checked, and embedded as they are.

mic never merges and never rewrites them. Its own config names each in ``ignition.config.merge``,
and Ignition merges: a later config wins over an earlier one, and all win over mic's (Ignition's
``docs/operator-notes.md``, "Config Merging").
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mic.common.errors import BuildInvalid
from mic.common.text import printable
from mic.common.warning import HostWarning

MAX_LENGTH: Final = 1024 * 1024
"""Most bytes of one config."""

_VERSION: Final = re.compile(r"3\.(0|[1-9][0-9]{0,2})\.0(-experimental)?")
_NEWEST_COMMON: Final = 4
"""Newest minor version that most live images in use know (Ignition 2.15, 2022)."""
_FETCHED: Final = re.compile(r"(?:https?|tftp|s3|gs|arn):", re.IGNORECASE)
_SHOWN: Final = 40
_LEVEL: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraConfig:
    """A checked Ignition config. ``source`` names where it comes from; the repr shows no content.

    ``fetches``: whether it has Ignition fetch something over the network.
    """

    source: str
    content: bytes = field(repr=False)
    version: str
    fetches: bool
    paths: frozenset[str] = field(repr=False)
    units: frozenset[str] = field(repr=False)
    users: frozenset[str] = field(repr=False)

    @property
    def minor(self) -> int:
        """The minor number of its version."""
        return int(self.version.split(".")[1])

    def reference(self) -> dict[str, str]:
        """Return the member of ``ignition.config.merge`` that embeds this config.

        Equal contents give equal references.
        """
        packed = base64.b64encode(gzip.compress(self.content, _LEVEL, mtime=0)).decode()
        return {"source": f"data:;base64,{packed}", "compression": "gzip"}


def parse(content: bytes, source: str) -> ExtraConfig:
    """Return a checked Ignition config.

    Raises `BuildInvalid` with ``source`` and the reason, without content of the config: it may
    hold secrets.
    """
    if len(content) > MAX_LENGTH:
        raise BuildInvalid(f"{source}: has {len(content)} bytes, more than {MAX_LENGTH}")
    value = _object(content, source)
    ignition = value.get("ignition")
    if not isinstance(ignition, dict):
        if "variant" in value:
            raise BuildInvalid(f"{source}: is a Butane config: run butane first")
        raise BuildInvalid(f"{source}: is not an Ignition config: it has no member 'ignition'")
    version = ignition.get("version")
    if not isinstance(version, str):
        raise BuildInvalid(f"{source}: ignition.version is missing or not a text")
    if re.match(r"[12]\.", version):
        raise BuildInvalid(
            f"{source}: Ignition version {_shown(version)} is another language than 3.x: convert "
            "it, for example with ign-converter"
        )
    if not _VERSION.fullmatch(version):
        raise BuildInvalid(
            f"{source}: ignition.version is {_shown(version)}, expected 3.N.0, for example 3.4.0"
        )
    config = ignition.get("config")
    if isinstance(config, dict) and _is_set(config.get("replace")):
        raise BuildInvalid(
            f"{source}: ignition.config.replace would throw away the rest of this config: use "
            "ignition.config.merge"
        )
    return ExtraConfig(
        source=source,
        content=content,
        version=version,
        fetches=any(_FETCHED.match(each) for each in _sources(value)),
        paths=_paths(value),
        units=_units(value),
        users=_names(value, "passwd", ("users",), "name"),
    )


def doubts(configs: Sequence[ExtraConfig], own: bytes) -> Iterator[HostWarning]:
    """Yield what is doubtful about configs that are merged over mic's ``own``.

    SSH keys of a user are merged by Ignition, so a user of both is fine.
    """
    value = json.loads(own)
    ours = {"path": _paths(value), "unit": _units(value)}
    for config in configs:
        if config.version.endswith("-experimental"):
            yield _warning(
                config,
                f"version {config.version}: Ignition refuses an experimental version as soon as "
                "it has become stable, and the host does not boot",
            )
        elif config.minor > _NEWEST_COMMON:
            yield _warning(
                config,
                f"version {config.version}: images with an older Ignition do not know it, and "
                "the host does not boot there",
            )
        for what, theirs in (("path", config.paths), ("unit", config.units)):
            for name in sorted(theirs & ours[what]):
                yield _warning(config, f"{what} {name} is mic's too: this config replaces it")


def _object(content: bytes, source: str) -> dict[str, Any]:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BuildInvalid(f"{source}: is not UTF-8 text at byte {error.start}") from None
    if not text.strip():
        raise BuildInvalid(f"{source}: is empty: remove it, or give an Ignition config")
    if text.startswith("\N{BYTE ORDER MARK}"):
        raise BuildInvalid(
            f"{source}: starts with a byte order mark, which Ignition refuses: save it without"
        )
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_as_go_reads)
    except RecursionError:
        raise BuildInvalid(f"{source}: is nested too deeply") from None
    except json.JSONDecodeError as error:
        if re.match(r"\s*(?:#.*\n\s*)*(?:variant|version|---|[a-z_]+:)", text):
            raise BuildInvalid(
                f"{source}: is YAML, not JSON: run butane first, which makes Ignition configs "
                "of Butane configs"
            ) from None
        place = f"line {error.lineno} column {error.colno}"
        raise BuildInvalid(f"{source}: is not valid JSON at {place}: {error.msg}") from None
    except ValueError as error:
        raise BuildInvalid(f"{source}: is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise BuildInvalid(f"{source}: is not a JSON object")
    return value


def _as_go_reads(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with folded names: Go, and so Ignition, reads them in any case."""
    return {name.casefold(): value for name, value in members}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _is_set(reference: object) -> bool:
    return bool(reference.get("source") if isinstance(reference, dict) else reference)


def _sources(value: object) -> Iterator[str]:
    """Yield all values of members ``source``, wherever they are."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            source = item.get("source")
            if isinstance(source, str):
                yield source
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)


def _paths(value: dict[str, Any]) -> frozenset[str]:
    # They share one space of keys: a link may replace a file.
    return _names(value, "storage", ("files", "directories", "links"), "path")


def _units(value: dict[str, Any]) -> frozenset[str]:
    return _names(value, "systemd", ("units",), "name")


def _names(value: dict[str, Any], section: str, lists: tuple[str, ...], key: str) -> frozenset[str]:
    members = value.get(section)
    found: set[str] = set()
    for name in lists if isinstance(members, dict) else ():
        items = members.get(name) if isinstance(members, dict) else None
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and isinstance(item.get(key), str):
                found.add(item[key])
    return frozenset(found)


def _warning(config: ExtraConfig, text: str) -> HostWarning:
    shown = printable(text)
    return HostWarning(
        place=config.source, text=shown, without_content=f"{config.source}: has a doubtful member"
    )


def _shown(text: str) -> str:
    return f"'{printable(text[:_SHOWN])}'"
