"""Settings from the environment and the flags: every name, every problem, in one report.

Scope: mic.settings. Nothing is mocked: files are real files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from settings_support import PEM, problems_of
from toys import INITRAMFS, live_iso, put

from mic.common.errors import ConfigError
from mic.ignition import Agent
from mic.settings.load import load
from mic.settings.model import (
    Backend,
    LogFormat,
    LogLevel,
    LogSettings,
    Mode,
    Settings,
    Tcp,
)
from mic.settings.read import read_agent
from mic.settings.table import flags_of
from mic.settings.values import bind, publish_url


def test_has_defaults(environment: dict[str, str], flags: dict[str, str], iso: Path) -> None:
    settings = load(Mode.STATIC, environment, flags)
    assert settings.bind == Tcp(host="", port=8084)
    assert settings.publish_url == "http://127.0.0.1:8084"
    assert settings.tls is None
    assert settings.bases.iso == str(iso)
    assert settings.bases.initramfs == settings.bases.kernel == settings.bases.shared_dir == ""
    assert settings.agent.agent == Agent(image="quay.io/ipa")
    assert settings.host_architecture == os.uname().machine


@pytest.mark.parametrize("name", ["a/b", "..", "Metal3", "a.b", "a,b", "x" * 64])
def test_refuses_an_impossible_namespace(environment: dict[str, str], name: str) -> None:
    for variables, flags in (({"WATCH_NAMESPACE": name}, {}), ({}, {"namespace": name})):
        with pytest.raises(ConfigError, match="-namespace or WATCH_NAMESPACE") as caught:
            load(Mode.CONTROLLER, {**environment, **variables}, flags)
        assert ascii(name) in str(caught.value)
    good = load(Mode.CONTROLLER, {**environment, "WATCH_NAMESPACE": "metal3"}, {})
    assert good.namespace == "metal3"
    assert load(Mode.CONTROLLER, environment, {}).namespace == ""


def test_reports_all_problems_at_once(tmp_path: Path) -> None:
    (tmp_path / "fifo").touch()
    environment = {
        "DEPLOY_ISO": str(tmp_path / "none.iso"),
        "DEPLOY_INITRD": str(tmp_path),
        "DEPLOY_KERNEL": str(tmp_path / "none.kernel"),
        "IRONIC_BASE_URL": "ironic:6385",
        "IRONIC_INSPECTOR_BASE_URL": "ftp://inspector",
        "IRONIC_AGENT_PULL_SECRET": "garbage!",
        "REGISTRIES_CONF_PATH": str(tmp_path / "none.conf"),
        "CA_BUNDLE": str(put(tmp_path / "empty.pem", b"")),
        "ADDITIONAL_NTP_SERVERS": "good.example,bad server",
        "IP_OPTIONS": "ip=dhcp\nmore",
    }
    flags = {
        "images-bind-addr": "8084",
        "images-publish-addr": "127.0.0.1:8084",
        "images-tls-cert-file": str(tmp_path / "none.pem"),
        "nmstate-dir": str(tmp_path / "none"),
    }
    problems = problems_of(environment, flags)
    for name in [*environment, "IRONIC_AGENT_IMAGE", *(f"-{flag}" for flag in flags)]:
        assert [p for p in problems if name in p], f"{name} is in no problem"
    assert [p for p in problems if "-images-tls-key-file is missing" in p]


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ({}, LogSettings(image_names_are_secret=False)),
        ({"log-format": "", "log-level": ""}, LogSettings(image_names_are_secret=False)),
        (
            {"log-format": "json", "log-level": "warn"},
            LogSettings(format=LogFormat.JSON, level=LogLevel.WARN, image_names_are_secret=False),
        ),
    ],
)
def test_reads_the_settings_of_the_log(
    environment: dict[str, str], flags: dict[str, str], given: dict[str, str], settings: LogSettings
) -> None:
    assert load(Mode.STATIC, environment, {**flags, **given}).log == settings
    controller = load(Mode.CONTROLLER, environment, given).log
    assert controller.image_names_are_secret
    assert (controller.format, controller.level) == (settings.format, settings.level)


def test_rejects_unknown_log_formats_and_levels(
    environment: dict[str, str], flags: dict[str, str]
) -> None:
    assert problems_of(environment, {**flags, "log-format": "xml", "log-level": "INFO"}) == [
        "-log-format: 'xml' is none of text, json",
        "-log-level: 'INFO' is none of debug, info, warn, error",
    ]


@pytest.mark.parametrize("name", ["DEPLOY_ISO", "IRONIC_AGENT_IMAGE"])
def test_required_variables_must_be_set_but_may_be_empty(
    environment: dict[str, str], flags: dict[str, str], name: str
) -> None:
    environment[name] = ""
    assert load(Mode.STATIC, environment, flags)
    del environment[name]
    (problem,) = problems_of(environment, flags)
    assert problem.startswith(f"{name} is not set")


class TestBases:
    def test_reads_all_paths(
        self, environment: dict[str, str], flags: dict[str, str], iso: Path, tmp_path: Path
    ) -> None:
        initramfs, kernel = put(tmp_path / "i", INITRAMFS), put(tmp_path / "k", b"MZ")
        environment |= {"DEPLOY_INITRD": str(initramfs), "DEPLOY_KERNEL": str(kernel)}
        environment["IMAGE_SHARED_DIR"] = "/shared/html/images"
        bases = load(Mode.STATIC, environment, flags).bases
        assert (bases.initramfs, bases.kernel) == (str(initramfs), str(kernel))
        assert bases.shared_dir == "/shared/html/images"

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda path: None, "No such file or directory"),
            (Path.mkdir, "Is a directory"),
            (Path.touch, "is empty"),
            (os.mkfifo, "it is neither a file nor a block device"),
            (lambda path: path.write_bytes(live_iso()[:50_000]), "truncated ISO image"),
            (lambda path: path.write_bytes(b"x" * 50_000), "not an ISO 9660 image"),
            (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
        ],
    )
    def test_rejects_a_bad_iso_with_variable_file_and_reason(
        self,
        environment: dict[str, str],
        flags: dict[str, str],
        tmp_path: Path,
        make: Callable[[Path], object],
        reason: str,
    ) -> None:
        path = tmp_path / "bad.iso"
        make(path)
        (problem,) = problems_of({**environment, "DEPLOY_ISO": str(path)}, flags)
        assert problem.startswith(f"DEPLOY_ISO: base image {path}")
        assert reason in problem

    @pytest.mark.parametrize("variable", ["DEPLOY_INITRD", "DEPLOY_KERNEL"])
    @pytest.mark.parametrize("make", [Path.touch, os.mkfifo, Path.mkdir, lambda path: None])
    def test_rejects_a_bad_initramfs_or_kernel(
        self,
        environment: dict[str, str],
        flags: dict[str, str],
        tmp_path: Path,
        make: Callable[[Path], object],
        variable: str,
    ) -> None:
        path = tmp_path / "bad"
        make(path)
        (problem,) = problems_of({**environment, variable: str(path)}, flags)
        assert problem.startswith(f"{variable}: base image {path}")
        assert not problem.endswith(": None")


class TestOtherFlags:
    def test_requires_the_directory_in_static_mode(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        (problem,) = problems_of(environment, {})
        assert problem.startswith("-nmstate-dir is missing")
        (problem,) = problems_of(environment, {"nmstate-dir": str(tmp_path / "none")})
        assert problem == f"-nmstate-dir: {tmp_path / 'none'}: No such file or directory"
        (problem,) = problems_of(environment, {"nmstate-dir": str(put(tmp_path / "f", b""))})
        assert problem == f"-nmstate-dir: {tmp_path / 'f'}: Not a directory"

    def test_default_addresses_are_valid(self) -> None:
        defaults = {flag.name: flag.default for flag in flags_of(Mode.STATIC)}
        assert bind("-images-bind-addr", defaults["images-bind-addr"])
        assert publish_url("-images-publish-addr", defaults["images-publish-addr"])


def test_repr_shows_no_secret(
    environment: dict[str, str], flags: dict[str, str], tmp_path: Path
) -> None:
    environment |= {
        "IRONIC_BASE_URL": "http://a:hunter2@ironic",
        "IRONIC_INSPECTOR_BASE_URL": "http://a:hunter2@ironic",
        "IRONIC_AGENT_PULL_SECRET": '{"auths": {"hunter2": {}}}',
        "HTTP_PROXY": "http://a:hunter2@proxy",
        "HTTPS_PROXY": "http://a:hunter2@proxy",
        "NO_PROXY": "hunter2",
        "IRONIC_RAMDISK_SSH_KEY": "ssh-rsa hunter2",
        "CA_BUNDLE": str(put(tmp_path / "ca.pem", PEM + b"hunter2")),
    }
    settings = load(Mode.STATIC, environment, flags)
    assert isinstance(settings, Settings)
    agent = read_agent(settings.agent)
    for text in (repr(settings), str(settings), repr(agent), f"{settings.agent}"):
        assert "hunter2" not in text
        assert "MIIB" not in text


class TestReplicas:
    """MIC_URL_KEY_FILE and -leader-elect."""

    def test_reads_the_key_without_its_line_break(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        key = tmp_path / "key"
        key.write_text("0123456789abcdef" * 2 + "\n")
        settings = load(
            Mode.CONTROLLER,
            {**environment, "MIC_URL_KEY_FILE": str(key)},
            {"leader-elect": "true"},
        )
        assert settings.url_key == b"0123456789abcdef" * 2
        assert settings.leader_elect
        assert "0123456789abcdef" not in repr(settings)

    def test_defaults_to_neither(self, environment: dict[str, str]) -> None:
        settings = load(Mode.CONTROLLER, environment, {})
        assert not settings.leader_elect
        assert settings.url_key == b""

    def test_rejects_replicas_without_a_key(self, environment: dict[str, str]) -> None:
        with pytest.raises(ConfigError, match="-leader-elect needs MIC_URL_KEY_FILE"):
            load(Mode.CONTROLLER, environment, {"leader-elect": "true"})

    @pytest.mark.parametrize(
        ("content", "problem"),
        [(b"", "holds 0 bytes"), (b"s3cr3t\n", "holds 6 bytes"), (None, "No such file")],
    )
    def test_rejects_a_bad_key_without_showing_it(
        self, environment: dict[str, str], tmp_path: Path, content: bytes | None, problem: str
    ) -> None:
        key = tmp_path / "key"
        if content is not None:
            key.write_bytes(content)
        with pytest.raises(ConfigError, match=f"MIC_URL_KEY_FILE: {key}.*{problem}") as caught:
            load(Mode.CONTROLLER, {**environment, "MIC_URL_KEY_FILE": str(key)}, {})
        assert "s3cr3t" not in str(caught.value)


class TestSpelling:
    @pytest.mark.parametrize("mode", Mode)
    def test_warns_of_a_misspelt_variable_without_its_value(
        self, environment: dict[str, str], flags: dict[str, str], mode: Mode
    ) -> None:
        environment |= {"IRONIC_BASEURL": "http://a:hunter2@ironic", "IP_OPTION": "hunter2"}
        assert load(mode, environment, flags).warnings == (
            "unknown variable IP_OPTION: did you mean IP_OPTIONS?",
            "unknown variable IRONIC_BASEURL: did you mean IRONIC_BASE_URL?",
        )

    def test_names_the_misspelt_variable_where_a_required_one_is_missing(
        self, flags: dict[str, str], iso: Path
    ) -> None:
        environment = {"DEPLOY_ISO": str(iso), "IRONIC_AGENT_IMGE": "hunter2", "IP_OPTION": ""}
        assert problems_of(environment, flags) == [
            "IRONIC_AGENT_IMAGE is not set: it must give the pull spec of the agent's container "
            "image; unknown variable IRONIC_AGENT_IMGE: did you mean IRONIC_AGENT_IMAGE?"
        ]


class TestBackend:
    @pytest.fixture
    def nmstatectl(self, tmp_path: Path) -> Path:
        program = tmp_path / "bin" / "nmstatectl"
        program.parent.mkdir()
        program.touch()
        program.chmod(0o755)
        return program.parent

    @pytest.mark.parametrize("text", ["", "builtin", " builtin "])
    def test_the_built_in_one_is_the_default(
        self, environment: dict[str, str], flags: dict[str, str], text: str
    ) -> None:
        environment["MIC_NMSTATE_BACKEND"] = text
        settings = load(Mode.STATIC, environment, flags)
        assert settings.nmstate_backend is Backend.BUILTIN
        assert settings.warnings == ()

    def test_nmstatectl_must_be_installed(
        self,
        environment: dict[str, str],
        flags: dict[str, str],
        nmstatectl: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        environment["MIC_NMSTATE_BACKEND"] = "nmstatectl"
        monkeypatch.setenv("PATH", str(nmstatectl))
        assert load(Mode.STATIC, environment, flags).nmstate_backend is Backend.NMSTATECTL
        monkeypatch.setenv("PATH", "/nowhere")
        assert problems_of(environment, flags) == [
            "MIC_NMSTATE_BACKEND: nmstatectl is not on PATH: install nmstate, or use builtin"
        ]

    @pytest.mark.parametrize("installed", [False, True])
    @pytest.mark.parametrize("mode", Mode)
    def test_verify_warns_and_acts_as_the_built_in_one(
        self,
        environment: dict[str, str],
        flags: dict[str, str],
        nmstatectl: Path,
        monkeypatch: pytest.MonkeyPatch,
        mode: Mode,
        installed: bool,
    ) -> None:
        environment["MIC_NMSTATE_BACKEND"] = "verify"
        monkeypatch.setenv("PATH", str(nmstatectl) if installed else "/nowhere")
        settings = load(mode, environment, flags)
        assert settings.nmstate_backend is Backend.BUILTIN
        assert settings.warnings == (
            "MIC_NMSTATE_BACKEND=verify is no longer a backend: using builtin; "
            "mic keyfiles -verify compares it with nmstatectl",
        )

    def test_rejects_other_words(self, environment: dict[str, str], flags: dict[str, str]) -> None:
        environment["MIC_NMSTATE_BACKEND"] = "rust"
        assert problems_of(environment, flags) == [
            "MIC_NMSTATE_BACKEND: 'rust' is none of builtin, nmstatectl"
        ]
