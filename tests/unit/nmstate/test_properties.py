"""Properties of any document: there is an answer or an error, in time, and always the same."""

from __future__ import annotations

import json
import random
import time
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mic.common.keyfile import Keyfile
from mic.common.problems import DocumentInvalid
from mic.nmstate import from_yaml, keyfiles, to_yaml
from mic.nmstate.interface import COMMON_KEYS
from mic.nmstate.types import BY_NAME

_SECONDS = 5.0
_NAMES = ("eth0", "eth1", "bond0", "br0", "lo", "v.5")
_NAME = st.sampled_from(_NAMES)
_JUNK = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=5)),
        st.sampled_from(
            ("up", "absent", "true", "192.0.2.1", "::1", "10.0.0.0/8", "0x10", *_NAMES)
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
_ADDRESS4 = st.builds(
    lambda host, prefix: {"ip": f"192.0.2.{host}", "prefix-length": prefix},
    *(st.integers(0, 300), st.integers(0, 34)),
)
_ADDRESS6 = st.builds(
    lambda host, prefix: {"ip": f"2001:db8::{host:x}", "prefix-length": prefix},
    *(st.integers(0, 70_000), st.integers(0, 130)),
)


def _family(address: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"enabled": st.booleans()},
        optional={
            "dhcp": st.booleans(),
            "autoconf": st.booleans(),
            "address": st.lists(address, max_size=3),
            "auto-dns": st.booleans(),
            "auto-route-table-id": st.integers(-1, 500),
        },
    )


_PORTS = st.lists(_NAME, max_size=3)
_NAMED_PORTS = st.lists(st.fixed_dictionaries({"name": _NAME}), max_size=3)
_INTERFACE = st.fixed_dictionaries(
    {"name": _NAME},
    optional={
        "type": st.sampled_from((*BY_NAME, "other")),
        "state": st.sampled_from(("up", "down", "absent", "ignore")),
        "ipv4": _family(_ADDRESS4),
        "ipv6": _family(_ADDRESS6),
        "mtu": st.integers(0, 10_000),
        "controller": _NAME,
        "link-aggregation": st.fixed_dictionaries(
            {"mode": st.integers(0, 7)}, optional={"port": _PORTS}
        ),
        "bridge": st.fixed_dictionaries({}, optional={"port": _NAMED_PORTS}),
        "vlan": st.fixed_dictionaries({"base-iface": _NAME, "id": st.integers(0, 5000)}),
        "vrf": st.fixed_dictionaries({"port": _PORTS, "route-table-id": st.integers(0, 500)}),
        "veth": st.fixed_dictionaries({"peer": _NAME}),
    },
)
_ROUTE = st.fixed_dictionaries(
    {"destination": st.sampled_from(("0.0.0.0/0", "10.0.0.0/8", "::/0", "x"))},
    optional={"next-hop-interface": _NAME, "metric": st.integers(-1, 9), "table-id": _JUNK},
)
_RULE = st.fixed_dictionaries(
    {},
    optional={"ip-from": st.just("10.0.0.0/8"), "iif": _NAME, "route-table": st.integers(0, 500)},
)
_DOCUMENT = st.fixed_dictionaries(
    {"interfaces": st.lists(_INTERFACE, max_size=6)},
    optional={
        "routes": st.fixed_dictionaries({"config": st.lists(_ROUTE, max_size=3)}),
        "route-rules": st.fixed_dictionaries({"config": st.lists(_RULE, max_size=3)}),
        "dns-resolver": st.fixed_dictionaries(
            {
                "config": st.fixed_dictionaries(
                    {},
                    optional={
                        "server": st.lists(
                            st.sampled_from(("192.0.2.1", "::1", "fe80::1%eth0")), max_size=3
                        ),
                        "search": st.just(["a.test"]),
                    },
                )
            }
        ),
    },
)
_MEMBERS = (*COMMON_KEYS, *{key for type_ in BY_NAME.values() for key in type_.members.keys})


def _outcome(document: bytes | str) -> tuple[Keyfile, ...] | str:
    start = time.process_time()
    try:
        return keyfiles(document)
    except DocumentInvalid as refusal:
        problems = refusal.problems
    finally:
        assert time.process_time() - start < _SECONDS
    assert problems
    assert all(problem.isprintable() for problem in problems)
    return "; ".join(problems)


def _fits(document: Any) -> str | bytes:
    return document if isinstance(document, str) else json.dumps(document)


def _shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        members = [(key, _shuffled(item, chance)) for key, item in value.items()]
        chance.shuffle(members)
        return dict(members)
    if isinstance(value, list):
        return [_shuffled(item, chance) for item in value]
    return value


@given(_DOCUMENT)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_is_deterministic_and_reads_back_listings(document: Any) -> None:
    outcome = _outcome(_fits(document))
    assert _outcome(_fits(document)) == outcome
    if not isinstance(outcome, str):
        assert from_yaml(to_yaml(outcome)) == outcome


@given(_DOCUMENT, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_ignores_the_order_of_members(document: Any, chance: random.Random) -> None:
    outcome = _outcome(_fits(document))
    other = _outcome(_fits(_shuffled(document, chance)))
    assert isinstance(other, str) if isinstance(outcome, str) else other == outcome


@given(_DOCUMENT, st.lists(st.tuples(st.integers(0, 400), _JUNK), max_size=4))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_survives_documents_with_junk(document: Any, junk: list[tuple[int, Any]]) -> None:
    for where, what in junk:
        places: list[tuple[Any, Any]] = []
        stack = [document]
        while stack:
            container = stack.pop()
            keys = container if isinstance(container, dict) else range(len(container))
            for key in list(keys):
                places.append((container, key))
                if isinstance(container[key], dict | list):
                    stack.append(container[key])
        container, key = places[where % len(places)]
        container[key] = what
    _outcome(_fits(document))


@given(st.dictionaries(st.sampled_from(_MEMBERS), _JUNK, max_size=6), st.sampled_from([*BY_NAME]))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_survives_interfaces_of_junk(members: dict[str, Any], kind: str) -> None:
    _outcome(json.dumps({"interfaces": [{**members, "name": "eth0", "type": kind}]}))


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200)))
@settings(max_examples=120, deadline=None)
def test_survives_any_text(document: str | bytes) -> None:
    _outcome(document)


@given(_DOCUMENT, st.integers(0, 2000), st.binary(max_size=4), st.integers(0, 30))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_survives_mangled_text(document: Any, where: int, what: bytes, cut: int) -> None:
    text = json.dumps(document, indent=1).encode()
    where %= len(text)
    _outcome(text[:where] + what + text[where + cut :])
