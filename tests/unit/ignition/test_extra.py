"""Ignition configs that operators add: what is refused, what is doubtful, how they are embedded."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from mic.common.errors import BuildInvalid
from mic.ignition import Agent, Host, config
from mic.ignition.extra import MAX_LENGTH, ExtraConfig, doubts, parse

AGENT = Agent(image="i", ironic_urls=("http://192.0.2.1",))


def document(version: str = "3.2.0", **members: Any) -> bytes:
    return json.dumps({"ignition": {"version": version}, **members}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\xff{}", "is not UTF-8 text at byte 0"),
        (b"\xef\xbb\xbf{}", "starts with a byte order mark"),
        (b"[]", "is not a JSON object"),
        (b"{}", "is not an Ignition config: it has no member 'ignition'"),
        (b'{"ignition": 3}', "is not an Ignition config"),
        (b'{"variant": "fcos", "version": "1.5.0"}', "is a Butane config: run butane first"),
        (b"variant: fcos\nversion: 1.5.0\n", "is YAML, not JSON: run butane first"),
        (b"# mine\nvariant: fcos\n", "run butane first"),
        (b"storage:\n  files: []\n", "run butane first"),
        (b'{"ignition": {}}', "ignition.version is missing"),
        (b'{"ignition": {"version": 3}}', "ignition.version is missing or not a text"),
        (document("2.3.0"), "another language than 3.x: convert it"),
        (document("1.0"), "another language than 3.x"),
        (document("3.1"), "is '3.1', expected 3.N.0"),
        (document("3.2.1"), "is '3.2.1', expected 3.N.0"),
        (document("4.0.0"), "is '4.0.0', expected 3.N.0"),
        (document("3.6.0-beta"), "expected 3.N.0"),
        (b'{"ignition": {"version": "3.2.0"}, "x": NaN}', "NaN is no JSON number"),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b" " * (MAX_LENGTH + 1), "more than 1048576"),
        (
            b'{"ignition": {"version": "3.2.0", "config": {"replace": {"source": "data:,"}}}}',
            "ignition.config.replace would throw away",
        ),
    ],
)
def test_refuses_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(BuildInvalid) as refused:
        parse(content, "w.ign")
    assert str(refused.value).startswith("w.ign: ")
    assert reason in str(refused.value)


def test_errors_quote_no_content() -> None:
    secret = b'{"ignition": {"version": "3.2.0"}, "passwd": "hunter2",}'
    with pytest.raises(BuildInvalid) as refused:
        parse(secret, "w.ign")
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(parse(secret.replace(b",}", b"}"), "w.ign"))


@pytest.mark.parametrize("version", ["3.0.0", "3.4.0", "3.10.0", "3.6.0-experimental"])
def test_takes_every_version_of_the_language(version: str) -> None:
    found = parse(document(version), "w.ign")
    assert (found.version, found.minor) == (version, int(version.split(".")[1]))


@pytest.mark.parametrize(
    ("members", "fetches"),
    [
        ({}, False),
        ({"storage": {"files": [{"path": "/a", "contents": {"source": "data:,x"}}]}}, False),
        (
            {"storage": {"files": [{"path": "/a", "contents": {"source": "HTTP://192.0.2.1/"}}]}},
            True,
        ),
        ({"storage": {"files": [{"path": "/a", "append": [{"source": "s3://b/k"}]}]}}, True),
        ({"x": "http://192.0.2.1/"}, False),
    ],
)
def test_finds_what_is_fetched(members: dict[str, Any], fetches: bool) -> None:
    assert parse(document(**members), "w.ign").fetches is fetches


def test_finds_a_merged_config_that_is_fetched() -> None:
    value = {"version": "3.2.0", "config": {"merge": [{"source": "https://192.0.2.1/a.ign"}]}}
    assert parse(json.dumps({"ignition": value}).encode(), "w.ign").fetches


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (document("3.4.0"), []),
        (document("3.5.0"), ["version 3.5.0: images with an older Ignition"]),
        (document("3.3.0-experimental"), ["refuses an experimental version"]),
        (
            document(
                storage={
                    "files": [{"path": "/etc/authfile.json"}, {"path": "/mine"}],
                    "links": [{"path": "/etc/ironic-python-agent.conf"}],
                },
                systemd={"units": [{"name": "ironic-agent.service"}, {"name": "my.service"}]},
                passwd={"users": [{"name": "core"}]},
            ),
            [
                "path /etc/authfile.json is mic's too",
                "path /etc/ironic-python-agent.conf is mic's too",
                "unit ironic-agent.service is mic's too",
            ],
        ),
        (document(storage={"files": "x", "links": [7, {"path": 7}]}, systemd=[]), []),
    ],
)
def test_warns_of_what_may_not_work(content: bytes, expected: list[str]) -> None:
    own = document(
        storage={
            "files": [{"path": "/etc/authfile.json"}, {"path": "/etc/ironic-python-agent.conf"}]
        },
        systemd={"units": [{"name": "ironic-agent.service"}]},
        passwd={"users": [{"name": "core"}]},
    )
    found = list(doubts([parse(content, "w.ign")], own))
    assert len(found) == len(expected)
    for warning, text in zip(found, expected, strict=True):
        assert warning.place == "w.ign"
        assert text in warning.text


def embedded(extra: tuple[ExtraConfig, ...]) -> list[bytes]:
    value = json.loads(config(AGENT, Host(name="w", extra=extra)))
    found = []
    for reference in value["ignition"]["config"]["merge"]:
        assert reference["compression"] == "gzip"
        prefix, _, packed = reference["source"].partition(",")
        assert prefix == "data:;base64"
        found.append(gzip.decompress(base64.b64decode(packed)))
    return found


def test_embeds_configs_in_order_without_a_change() -> None:
    one = b'{ "ignition": {"version": "3.0.0"},\n "storage": {} }\n'
    contents = [one, document("3.3.0")]
    extra = tuple(parse(content, "w.ign") for content in contents)
    assert embedded(extra) == contents
    assert config(AGENT, Host(extra=extra)) == config(AGENT, Host(extra=extra))


def test_without_extra_configs_the_config_stays_as_it_is() -> None:
    value = json.loads(config(AGENT, Host(name="w")))
    assert value["ignition"] == {"version": "3.2.0"}


def test_reads_names_in_any_case_as_ignition_does() -> None:
    content = b'{"Ignition": {"Version": "3.0.0", "Config": {"REPLACE": {"Source": "data:,"}}}}'
    with pytest.raises(BuildInvalid, match="would throw away the rest"):
        parse(content, "x")
    merging = content.replace(
        b'"REPLACE": {"Source": "data:,"}', b'"Merge": [{"SOURCE": "http:x"}]'
    )
    assert parse(merging, "x").fetches
