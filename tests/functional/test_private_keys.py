"""Private keys where public data belongs: at the start, in the log, in images.

Which texts are private keys is shown by the unit tests of mic.common.private_keys.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import forkserver
import pytest
from functional.daemon import Daemon
from functional.media import Media, Server, make_hosts, tcp_client
from private_keys import body, forms, public_key

from mic.media.cpio import config_of

BIND = "-images-bind-addr=127.0.0.1:0"


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    return make_hosts(tmp_path / "hosts", "worker-0.yaml")


def refused(media: Media, hosts: Path, **environment: str) -> str:
    """The standard error of a mic that must not start."""
    flags = (BIND, f"-nmstate-dir={hosts}")
    done = forkserver.run("static", *flags, environment={**media.environment, **environment})
    assert done.returncode == 1
    return done.stdout + done.stderr


def test_a_private_key_as_the_ssh_key_stops_the_start(media: Media, hosts: Path) -> None:
    said = refused(media, hosts, IRONIC_RAMDISK_SSH_KEY=forms()["OpenSSH"])
    assert said.splitlines()[-1] == (
        "mic: cannot start: IRONIC_RAMDISK_SSH_KEY holds a private key, which every image would "
        "show: give the public key, which ssh-keygen -y prints"
    )
    assert not any(line in said for line in body(forms()["OpenSSH"]))


def test_a_private_key_in_a_bundle_stops_the_start(
    media: Media, hosts: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n" + forms()["PKCS#8"])
    said = refused(media, hosts, IRONIC_CA_BUNDLE=str(bundle))
    assert f"IRONIC_CA_BUNDLE: {bundle} holds a private key" in said.splitlines()[-1]
    assert not any(line in said for line in body(forms()["PKCS#8"]))


def test_any_other_text_is_a_warning_and_keys_get_into_images(
    start: Callable[..., Daemon], media: Media, hosts: Path
) -> None:
    option = f'command="echo hello",no-pty {public_key("other")}'
    text = f"# mine\r\n\r\n{public_key()}\r\nhunter2 hunter3\r\n{option}"
    daemon = start(
        BIND,
        f"-nmstate-dir={hosts}",
        environment={**media.environment, "IRONIC_RAMDISK_SSH_KEY": text},
    )
    (line,) = daemon.wait_for("IRONIC_RAMDISK_SSH_KEY")
    assert "line 4 is no SSH public key and is left out" in line
    assert " warn" in line
    server = Server(way="tcp", daemon=daemon, media=media, connect_socket=tcp_client(*daemon.tcp))
    config = config_of(server.get("/worker-0.initramfs").body[len(media.initramfs) :])
    assert b"hunter" not in config
    assert config.count(b"ssh-ed25519") == 2
    assert public_key().encode() in config
    assert "hunter" not in daemon.whole_log
