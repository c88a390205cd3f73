"""mic show on files: what it prints, what it masks, and its messages about other files.

URLs are the functional tests' subject.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from certificates import issue
from hypothesis import given, settings
from hypothesis import strategies as st
from miniso import with_minimal
from private_keys import FORMS, body, disguised, forms, public_key
from toys import INITRAMFS, Bytes, live_iso, put

from mic.cli.show import main, read_image
from mic.cli.show_ignition import ShowError, config_as_json, describe, mask
from mic.common.keyfile import Keyfile
from mic.hosts.early_network import members
from mic.ignition import Agent, Host, config
from mic.ignition.extra import parse
from mic.media.base import Kind, read_base
from mic.media.basefile import open_base
from mic.media.cpio import archive, live_rootfs
from mic.media.customisation import Customisation
from mic.media.isowriter import coreos_files
from mic.media.kernel_arguments import parse as parse_arguments

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
    layout = base.layout(Customisation(archive(CONFIG)))
    return put(tmp_path / "worker-0.iso", layout.read(0, layout.size))


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (
            b"#!ipxe\nkernel http://user:hunter2@mic/k\033[0m\n",
            "iPXE script, 44 bytes\n\n#!ipxe\nkernel http://***@mic/k\\x1b[0m\n",
        ),
        (
            live_rootfs(b"hsqs"),
            "the live root file system (a cpio archive), 252 bytes: for all hosts, without an "
            "Ignition config\n",
        ),
        (
            bytes(56) + b"ARM\x64" + bytes(4),
            "a kernel for aarch64, 64 bytes: for all hosts, without an Ignition config\n",
        ),
    ],
    ids=["script", "rootfs", "kernel"],
)
def test_files_for_boot_loaders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, shown: str
) -> None:
    path = str(put(tmp_path / "file", data))
    assert main([path]) == 0
    assert capsys.readouterr().out == shown
    assert main(["-json", path]) == 1
    assert capsys.readouterr().err.endswith(" holds no Ignition config\n")


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


def test_shows_what_was_laid_over_the_release(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = read_base(open_base(str(put(tmp_path / "base", live_iso()))), Kind.ISO, inside_iso=False)
    content = (
        b'{"ignition": {"version": "3.3.0"}, "storage": {"files": [{"path": "/a"}]}, "x": "%s"}'
    )
    secret = b"hunter2" + random.Random(1).randbytes(300_000).hex().encode()
    host = replace(HOST, extra=(parse(content % secret, "x"),))
    edits = (parse_arguments("console=ttyS0", "x"),)
    layout = base.layout(Customisation(archive(config(AGENT, host)), edits))
    path = put(tmp_path / "worker-0.iso", layout.read(0, layout.size))
    text = shown(capsys, str(path))
    for line in (
        "kernel arguments: coreos.liveiso=mic ignition.firstboot ignition.platform.id=metal "
        "console=ttyS0",
        "kernel arguments of the release: coreos.liveiso=mic ignition.firstboot "
        "ignition.platform.id=metal",
        "the archive is relocated to the end of the image",
        "extra config 1: Ignition 3.3.0, ",
        "    file /a",
    ):
        assert f"\n{line}" in text
    assert "hunter2" not in text
    assert "hunter2" in shown(capsys, "-show-secrets", str(path))


@pytest.mark.parametrize("form", ["iso", "initramfs"])
def test_shows_what_the_initramfs_needs_the_network_for(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetching = b'{"ignition": {"version": "3.0.0", "config": {"merge": [{"source": "s3://b/c"}]}}}'
    keyfile = Keyfile(name="eno1.nmconnection", content="[connection]\ninterface-name=eno1\n")
    host = replace(HOST, keyfiles=(keyfile,), extra=(parse(fetching, "x"),))
    packed = archive(config(AGENT, host), members(host.keyfiles))
    if form == "iso":
        files = {
            **coreos_files(kernel=b"k", initramfs=INITRAMFS, rootfs=b"r"),
            "/coreos/features.json": b'{"live-initrd-network": true}',
        }
        file = open_base(str(put(tmp_path / "base", with_minimal(files))))
        base = read_base(file, Kind.ISO, inside_iso=False, minimal=True)
        layout = base.layout(Customisation(packed, rootfs_url="http://a/b", early_network=True))
        image = layout.read(0, layout.size)
    else:
        image = INITRAMFS + packed
    text = shown(capsys, str(put(tmp_path / "image", image)))
    path = "etc/coreos-firstboot-network/eno1.nmconnection"
    assert f"\nin the initramfs: {path} 0600, 33 bytes\n" in text
    assert "\n    fetches over the network\n" in text
    is_minimal = "\nminimal ISO: the host fetches its root file system\n" in text
    assert is_minimal == (form == "iso")


def test_describes_an_iso(iso: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert "minimal" not in text
    assert "in the initramfs" not in text


def test_describes_an_initramfs(initramfs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, str(initramfs))
    assert "unit ironic-agent.service, enabled" in text
    assert "kernel arguments" not in text


def test_masks_secrets_by_default(iso: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, str(iso))
    assert "hunter2" not in text
    assert "ter2" not in text
    assert "psk=***" in text
    for flag in ("-show-secrets", "--show-secrets=true", "-show-secrets=1"):
        assert "psk=hunter2" in shown(capsys, flag, str(iso))
    assert "hunter2" not in shown(capsys, "-show-secrets=0", str(iso))


def test_prints_the_config_unchanged(iso: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, str(iso), "-json") == CONFIG.decode() + "\n"


def test_indents_the_config_for_a_terminal() -> None:
    indented = config_as_json(CONFIG, indent=True)
    assert json.loads(indented) == json.loads(CONFIG)
    assert indented.startswith('{\n  "ignition": {\n')
    # A terminal interprets these.
    assert "\x9b" not in config_as_json('{"a": "\x9b"}'.encode(), indent=True)
    assert config_as_json(b"\x1b[2J{", indent=True) == "\\x1b[2J{\n"


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
def test_masks_secrets_in_any_text(text: str, masked: str) -> None:
    assert mask(text) == masked


def config_with(**parts: Any) -> bytes:
    return json.dumps({"ignition": {"version": "3.4.0"}, **parts}).encode()


def described(data: bytes) -> str:
    return "".join(describe(data, None, secrets=False))


def test_shows_base64_contents_and_names_remote_ones() -> None:
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


def source(data: bytes, form: str) -> dict[str, str]:
    """A file's contents as Ignition configs of others have them."""
    encoded = base64.b64encode(data).decode()
    return {
        "percent": {"source": f"data:,{quote(data)}"},
        "base64": {"source": f"data:;base64,{encoded}"},
        "base64 with a type": {"source": f"data:text/plain;charset=utf-8;BASE64,{quote(encoded)}"},
        "gzip": {
            "source": f"data:;base64,{base64.b64encode(gzip.compress(data)).decode()}",
            "compression": "gzip",
        },
    }[form]


@pytest.mark.parametrize("way", ["percent", "base64", "base64 with a type", "gzip"])
@pytest.mark.parametrize("form", FORMS)
def test_masks_a_private_key_in_a_file(form: str, way: str) -> None:
    for what, text in disguised(forms()[form]):
        file = {"path": "/etc/x", "contents": source(text.encode(), way)}
        shown = described(config_with(storage={"files": [file]}))
        assert "***" in shown, what
        encoded = base64.b64encode(text.encode()).decode()
        assert not any(part in shown for part in (*body(forms()[form]), encoded[32:64])), what


@pytest.mark.parametrize("form", FORMS)
def test_masks_a_private_key_in_any_other_place(form: str) -> None:
    text = forms()[form]
    nested = json.dumps({"storage": {"files": [{"contents": source(text.encode(), "gzip")}]}})
    third = json.dumps({"path": "/key", "contents": source(text.encode(), "percent")})
    parts: dict[str, dict[str, Any]] = {
        "a user's key": {"passwd": {"users": [{"name": "a", "sshAuthorizedKeys": [text]}]}},
        # An image made by mic before it refused private keys.
        "a user's keys, by line": {
            "passwd": {"users": [{"name": "a", "sshAuthorizedKeys": text.splitlines()}]}
        },
        "a user's name": {"passwd": {"users": [{"name": text}]}},
        "a unit": {"systemd": {"units": [{"name": "a.service", "contents": f"#\n{text}"}]}},
        "a unit's name": {"systemd": {"units": [{"name": text}]}},
        "a path": {"storage": {"files": [{"path": text}]}},
        "appended pieces": {
            "storage": {
                "files": [
                    {
                        "path": "/x",
                        "append": [
                            source(text[:60].encode(), "base64"),
                            source(text[60:].encode(), "percent"),
                        ],
                    }
                ]
            }
        },
        "a config in a config": {
            "storage": {"files": [{"path": "/x", "contents": source(nested.encode(), "percent")}]}
        },
        "a config in a config, in percent": {
            "storage": {"files": [{"path": "/x", "contents": source(third.encode(), "base64")}]}
        },
    }
    for what, value in parts.items():
        shown = described(config_with(**value))
        assert "***" in shown, what
        assert not any(line in shown for line in body(text)), what
    shown = "".join(describe(config_with(), f"a=b {text}", secrets=False))
    assert not any(line in shown for line in body(text))


def test_masks_a_private_key_in_a_binary_file() -> None:
    for data in (
        base64.b64decode("".join(body(forms()["PKCS#8"]))),
        base64.b64decode("".join(body(forms()["OpenSSH"]))),
        forms()["EC"].encode("utf-16"),
        gzip.compress(forms()["EC"].encode()),
    ):
        file = {"path": "/etc/x", "contents": source(data, "base64")}
        shown = described(config_with(storage={"files": [file]}))
        assert f"file /etc/x 0000, {len(data)} bytes\n    ***\n" in shown


def test_shows_public_keys_and_certificates() -> None:
    certificate = issue(authority=True).chain_pem
    files = [{"path": "/ca.crt", "contents": source(certificate, "gzip")}]
    users = [{"name": "core", "sshAuthorizedKeys": [public_key(), public_key("other")]}]
    text = described(config_with(storage={"files": files}, passwd={"users": users}))
    assert "***" not in text
    for line in (public_key(), public_key("other"), *certificate.decode().split("\n")):
        assert line in text


def test_shows_a_file_that_cannot_be_decompressed_unchanged() -> None:
    contents = {"source": "data:,hello", "compression": "gzip"}
    text = described(config_with(storage={"files": [{"path": "/x", "contents": contents}]}))
    assert "file /x 0000, 5 bytes\n    hello\n" in text


def test_shows_part_of_a_huge_compressed_file() -> None:
    file = {"path": "/x", "contents": source(b"x" * (16 << 20), "gzip")}
    assert len(described(config_with(storage={"files": [file]}))) < 5 << 20


def test_escapes_control_characters() -> None:
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
def test_rejects_other_json(data: bytes) -> None:
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
def test_shows_or_rejects_any_json(value: object) -> None:
    try:
        described(json.dumps(value).encode())
    except ShowError:
        return


class TestOtherFiles:
    def test_reports_an_iso_that_is_not_customised(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = put(tmp_path / "base.iso", live_iso())
        assert refused(capsys, str(path)).endswith(
            "the embed area is empty: this ISO is not customised"
        )

    def test_reports_an_initramfs_that_is_not_customised(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = put(tmp_path / "x", os.urandom(300_000))
        assert "nor is it an initramfs with a config appended" in refused(capsys, str(path))

    def test_reports_a_truncated_iso(self, iso: Path, capsys: pytest.CaptureFixture[str]) -> None:
        os.truncate(iso, 50_000)
        assert "truncated ISO image" in refused(capsys, str(iso))

    @pytest.mark.parametrize(
        ("name", "reason"), [("none", "No such file or directory"), ("", "Is a directory")]
    )
    def test_reports_a_file_that_cannot_be_read(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str
    ) -> None:
        path = tmp_path / name
        assert refused(capsys, str(path)) == f"mic show: {path}: {reason}"

    @pytest.mark.parametrize("arguments", [[], ["one", "two"]])
    def test_requires_one_operand(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments) == 2
        assert "name one file or URL" in capsys.readouterr().err

    def test_finds_a_config_far_from_the_end(self) -> None:
        """Behind the archive there may be padding, and before it anything with gzip's magic."""
        noise = b"\x1f\x8b\x08\0" * 1000
        data = noise + archive(CONFIG) + bytes(600_000)
        assert read_image(Bytes(data)) == (CONFIG, None)


def test_shows_an_agent_without_secrets_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    plain = replace(AGENT, ironic_urls=("http://ironic",), http_proxy="", pull_secret=b"")
    assert "***" not in described(config(plain, Host()))
