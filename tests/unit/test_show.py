"""mic show on files: what is printed, what is masked, and what is said of other things.

URLs are the functional tests' subject.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import INITRAMFS, Bytes, live_iso, put

from mic.ignition import Agent, Host, config
from mic.image.base import Kind, read_base
from mic.image.basefile import open_base
from mic.image.cpio import archive
from mic.nmstate import Keyfile
from mic.show import ShowError, describe, main, mask, read_image

AGENT = Agent(
    image="quay.io/ipa",
    ironic_urls=("http://user:hunter2@ironic",),
    pull_secret=b'{"auths": {"quay.io": {"auth": "hunter2"}}}',
    ssh_keys=("ssh-ed25519 AAAA me",),
    http_proxy="http://user:hun'ter2\"@hunter2\\@proxy:3128",
)
HOST = Host(
    name="worker-0",
    network_data=True,
    keyfiles=(Keyfile(name="wifi.nmconnection", content="[wifi-security]\npsk=hunter2\n"),),
)
CONFIG = config(AGENT, HOST)


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    """A customised ISO as a file."""
    base = read_base(open_base(str(put(tmp_path / "base", live_iso()))), Kind.ISO, inside_iso=False)
    layout = base.layout(archive(CONFIG))
    return put(tmp_path / "worker-0.iso", layout.read(0, layout.size))


@pytest.fixture
def initramfs(tmp_path: Path) -> Path:
    return put(tmp_path / "worker-0.initramfs", INITRAMFS + archive(CONFIG))


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.strip()


def test_an_iso(iso: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, str(iso))
    for line in (
        f"Ignition 3.2.0, {len(CONFIG)} bytes",
        "kernel arguments: coreos.liveiso=mic ignition.firstboot ignition.platform.id=metal",
        "user core",
        "    ssh-ed25519 AAAA me",
        "file /etc/NetworkManager/dispatcher.d/01-hostname 0744, ",
        "unit ironic-agent.service, enabled",
        "    Type=notify",
        "    (secret)",
    ):
        assert line in text


def test_an_initramfs(initramfs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, str(initramfs))
    assert "unit ironic-agent.service, enabled" in text
    assert "kernel arguments" not in text


def test_secrets_are_masked_unless_asked_for(iso: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, str(iso))
    assert "hunter2" not in text
    assert "ter2" not in text
    assert "psk=***" in text
    for flag in ("-show-secrets", "--show-secrets=true", "-show-secrets=1"):
        assert "psk=hunter2" in shown(capsys, flag, str(iso))
    assert "hunter2" not in shown(capsys, "-show-secrets=0", str(iso))


def test_the_config_as_it_is(iso: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, str(iso), "-json") == CONFIG.decode() + "\n"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://u:p@h/x", "http://***@h/x"),
        ("http://u:p@ss@h", "http://***@h"),
        ("http://u:p/ss@h", "http://***@h"),
        ("http://u:p'\"ss@h", "http://***@h"),
        ("http://h:1/x", "http://h:1/x"),
        ("http://h/x and a@b", "http://h/x and a@b"),
        ("http://h,http://u:p@i", "http://***@i"),
        ("psk=x y", "psk=***"),
        (" leap-password = x", " leap-password = ***"),
        ("private-key=x\npublic=y", "private-key=***\npublic=y"),
        ("preshared-key=x", "preshared-key=***"),
        ("wep-key0=x", "wep-key0=***"),
        ("mka-cak=x", "mka-cak=***"),
        ("wpa-psk=x", "wpa-psk=***"),
        ("psk-flags=1", "psk-flags=1"),
        ("key-mgmt=wpa-psk", "key-mgmt=wpa-psk"),
        (
            "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----",
        ),
        ("-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN CERTIFICATE-----\nMII"),
    ],
)
def test_masks(text: str, masked: str) -> None:
    assert mask(text) == masked


def config_with(**parts: Any) -> bytes:
    return json.dumps({"ignition": {"version": "3.4.0"}, **parts}).encode()


def described(data: bytes) -> str:
    return "".join(describe(data, None, secrets=False))


def test_contents_in_base64_and_contents_elsewhere() -> None:
    encoded = base64.b64encode(b"some text").decode()
    files = [
        {"path": "/a", "contents": {"source": f"data:;base64,{encoded}"}},
        {"path": "/b", "contents": {"source": "https://u:hunter2@example/b"}},
        {"path": "/c"},
    ]
    text = described(config_with(storage={"files": files}))
    assert "file /a 0000, 9 bytes\n    some text\n" in text
    assert "(fetched from https://***@example/b)" in text
    assert "file /c" in text


def test_an_image_does_not_command_the_terminal() -> None:
    escape = "\x1b]0;owned\x07"
    data = config_with(
        storage={"files": [{"path": f"/{escape}", "contents": {"source": "data:,%1b%5b2J"}}]},
        systemd={"units": [{"name": escape, "contents": escape}]},
        passwd={"users": [{"name": escape, "sshAuthorizedKeys": [escape]}]},
    )
    text = "".join(describe(data, escape, secrets=True))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\\x1b" in text


@pytest.mark.parametrize(
    "data",
    [
        *[b"", b"{", b"[]", b"7", b"null", b"{}", b"\xff", b'{"ignition": 3}', b"[" * 100_000],
        b'{"ignition": {"version": 3}}',
        *[
            config_with(**{part: value})
            for part in ("passwd", "storage", "systemd")
            for value in (7, [])
        ],
        config_with(passwd={"users": [{}]}),
        config_with(storage={"files": [{"path": 7}]}),
        config_with(storage={"files": [{"path": "/x", "mode": "x"}]}),
        config_with(storage={"files": [{"path": "/x", "contents": {"source": "data:;base64,x"}}]}),
        config_with(systemd={"units": ["x"]}),
    ],
)
def test_what_is_no_ignition_config(data: bytes) -> None:
    with pytest.raises(ShowError, match="holds no Ignition config"):
        described(data)


KEYS = st.sampled_from(
    ["ignition", "version", "storage", "files", "path", "contents", "source", "systemd", "units"]
)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries(
        {"ignition": st.just({"version": "3"})},
        optional={"storage": VALUES, "systemd": VALUES, "passwd": VALUES},
    )
)
def test_any_json_is_shown_or_refused(value: object) -> None:
    try:
        described(json.dumps(value).encode())
    except ShowError:
        return


class TestOtherFiles:
    def test_an_iso_that_is_not_customised(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = put(tmp_path / "base.iso", live_iso())
        assert refused(capsys, str(path)).endswith(
            "the embed area is empty: this ISO is not customised"
        )

    def test_an_initramfs_that_is_not_customised(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = put(tmp_path / "x", os.urandom(300_000))
        assert "nor is it an initramfs with a config appended" in refused(capsys, str(path))

    def test_a_truncated_iso_is_called_so(
        self, iso: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        os.truncate(iso, 50_000)
        assert "truncated ISO image" in refused(capsys, str(iso))

    @pytest.mark.parametrize(
        ("name", "reason"), [("none", "No such file or directory"), ("", "Is a directory")]
    )
    def test_what_cannot_be_read(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str
    ) -> None:
        path = tmp_path / name
        assert refused(capsys, str(path)) == f"mic show: {path}: {reason}"

    @pytest.mark.parametrize("arguments", [[], ["one", "two"]])
    def test_not_one_operand(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments) == 2
        assert "name one file or URL" in capsys.readouterr().err

    def test_a_config_far_from_the_end(self) -> None:
        """Behind the archive there may be padding, and before it anything with gzip's magic."""
        noise = b"\x1f\x8b\x08\0" * 1000
        data = noise + archive(CONFIG) + bytes(600_000)
        assert read_image(Bytes(data)) == (CONFIG, None)


def test_an_agent_without_secrets_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    plain = replace(AGENT, ironic_urls=("http://ironic",), http_proxy="", pull_secret=b"")
    assert "***" not in described(config(plain, Host()))
