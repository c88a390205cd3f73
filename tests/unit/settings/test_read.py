"""Files that settings name, read at start and for each build."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from private_keys import FORMS, forms
from settings_support import PEM, SECRET, agent_of, problems_of
from toys import lack_of_descriptors, put

from mic.common.errors import BuildInvalid, NotReady
from mic.ignition import Agent
from mic.settings.load import load
from mic.settings.model import (
    AgentSettings,
    Mode,
)
from mic.settings.read import read_agent

FILES = {"REGISTRIES_CONF_PATH": b"[registries]", "CA_BUNDLE": PEM, "IRONIC_CA_BUNDLE": PEM}


class TestFiles:
    @pytest.mark.parametrize("name", FILES)
    def test_reads_contents_for_each_build(
        self, environment: dict[str, str], flags: dict[str, str], tmp_path: Path, name: str
    ) -> None:
        path = put(tmp_path / "file", FILES[name])
        settings = load(Mode.STATIC, {**environment, name: str(path)}, flags).agent
        before = read_agent(settings)
        assert read_agent(settings) == before
        put(path, FILES[name] + b"\nmore")
        after = read_agent(settings)
        assert after != before
        path.unlink()
        with pytest.raises(BuildInvalid, match=f"{name}: {path}: No such file or directory"):
            read_agent(settings)

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (Path.mkdir, "it is not a regular file"),
            (os.mkfifo, "it is not a regular file"),
            (lambda path: path.symlink_to("/dev/zero"), "it is not a regular file"),
            (lambda path: path.write_bytes(PEM + bytes(5_000_000)), "more than 4194304 bytes"),
        ],
    )
    def test_rejects_anything_but_a_small_regular_file(
        self, tmp_path: Path, name: str, make: Callable[[Path], object], reason: str
    ) -> None:
        path = tmp_path / "file"
        make(path)
        field = {"REGISTRIES_CONF_PATH": "registries_conf"}.get(name, name.lower())
        settings = AgentSettings(agent=Agent(image="i"), **{field: str(path)})
        with pytest.raises(BuildInvalid, match=reason) as caught:
            read_agent(settings)
        assert str(caught.value).startswith(f"{name}: {path}")

    @pytest.mark.parametrize(
        "name", ["registries_conf", "ca_bundle", "ironic_ca_bundle", "pull_secret_file"]
    )
    def test_a_temporary_error_makes_no_host_invalid(self, tmp_path: Path, name: str) -> None:
        path = put(tmp_path / "file", SECRET if name == "pull_secret_file" else PEM)
        settings = AgentSettings(
            agent=Agent(image="i"), **{"pull_secret_file": "/no/such", name: str(path)}
        )
        with lack_of_descriptors(), pytest.raises(NotReady, match="Too many open files"):
            read_agent(settings)
        assert read_agent(settings)

    def test_a_registries_file_may_be_empty(self, tmp_path: Path) -> None:
        path = put(tmp_path / "registries.conf", b"")
        settings = AgentSettings(agent=Agent(image="i"), registries_conf=str(path))
        assert read_agent(settings).registries_conf == b""
        settings = AgentSettings(agent=Agent(image="i"), registries_conf="/dev/null")
        assert read_agent(settings).registries_conf == b""

    def test_ironics_certificate_may_be_mounted_after_the_start(
        self, environment: dict[str, str], flags: dict[str, str], tmp_path: Path
    ) -> None:
        environment["IRONIC_CA_BUNDLE"] = str(tmp_path / "later.pem")
        settings = load(Mode.STATIC, environment, flags).agent
        with pytest.raises(BuildInvalid, match="IRONIC_CA_BUNDLE"):
            read_agent(settings)
        put(tmp_path / "later.pem", PEM)
        assert read_agent(settings).ironic_ca_bundle == PEM

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("form", FORMS)
    def test_rejects_a_private_key_in_an_embedded_file(
        self,
        environment: dict[str, str],
        flags: dict[str, str],
        tmp_path: Path,
        name: str,
        form: str,
    ) -> None:
        """For example a bundle with a server's certificate and its key, as HAProxy needs it."""
        path = put(tmp_path / "file", FILES[name])
        settings = load(Mode.STATIC, {**environment, name: str(path)}, flags).agent
        put(path, FILES[name] + b"\n" + forms()[form].encode())
        (problem,) = problems_of({**environment, name: str(path)}, flags)
        assert problem == (
            f"{name}: {path} holds a private key, which every image would show: take it out"
        )
        with pytest.raises(BuildInvalid, match=f"{name}: {path} holds a private key"):
            read_agent(settings)
        put(path, FILES[name])
        read_agent(settings)

    def test_a_private_key_may_be_in_a_pull_secret(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        """Google's registries take a service account's file as a password; only root reads it."""
        account = json.dumps({"type": "service_account", "private_key": forms()["PKCS#8"]})
        auth = base64.b64encode(f"_json_key:{account}".encode()).decode()
        secret = json.dumps({"auths": {"gcr.io": {"auth": auth}}})
        agent = agent_of(environment, flags, IRONIC_AGENT_PULL_SECRET=secret)
        assert agent.pull_secret == secret.encode()

    def test_rejects_a_bundle_without_a_certificate(self, tmp_path: Path) -> None:
        path = put(tmp_path / "ca.pem", b"0\x82DER")
        settings = AgentSettings(agent=Agent(image="i"), ca_bundle=str(path))
        with pytest.raises(BuildInvalid, match=f"CA_BUNDLE: {path} holds no PEM certificate"):
            read_agent(settings)
