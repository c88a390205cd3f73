"""Settings from the environment and the flags: every name, every problem, in one report.

Scope: mic.config. Nothing is mocked: files are real files.
"""

from __future__ import annotations

import base64
import json
import os
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import issue
from hypothesis import given
from hypothesis import strategies as st
from toys import INITRAMFS, live_iso, put

from mic.config import (
    AgentSettings,
    Endpoint,
    LogFormat,
    LogLevel,
    LogSettings,
    Mode,
    Settings,
    Tcp,
    decode_pull_secret,
    flags_of,
    load,
    parse_bind,
    parse_publish_url,
    read_agent,
)
from mic.errors import BuildInvalid, ConfigError
from mic.ignition import Agent, VlanInterfaces
from mic.tls import DEFAULT_CIPHERS, MinVersion, Tls

SECRET = json.dumps(
    {"auths": {"quay.io": {"auth": "aHVudGVyMjpodW50ZXIy"}}, "x": "y" * 100}
).encode()
PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def iso(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp("iso") / "ipa.iso", live_iso())


@pytest.fixture
def environment(iso: Path) -> dict[str, str]:
    """The least there must be."""
    return {"DEPLOY_ISO": str(iso), "IRONIC_AGENT_IMAGE": "quay.io/ipa"}


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, str]:
    return {"nmstate-dir": str(tmp_path)}


def problems_of(environment: dict[str, str], flags: dict[str, str]) -> list[str]:
    """The problems of a configuration, which must have some."""
    with pytest.raises(ConfigError) as caught:
        load(Mode.STATIC, environment, flags)
    return caught.value.problems


def agent_of(environment: dict[str, str], flags: dict[str, str], **more: str) -> Agent:
    """The agent's settings that some variables lead to."""
    return load(Mode.STATIC, {**environment, **more}, flags).agent.agent


def test_the_defaults(environment: dict[str, str], flags: dict[str, str], iso: Path) -> None:
    settings = load(Mode.STATIC, environment, flags)
    assert settings.bind == Tcp(host="", port=8084)
    assert settings.publish_url == "http://127.0.0.1:8084"
    assert settings.tls is None
    assert settings.bases.iso == str(iso)
    assert settings.bases.initramfs == settings.bases.kernel == settings.bases.shared_dir == ""
    assert settings.agent.agent == Agent(image="quay.io/ipa")
    assert settings.host_architecture == os.uname().machine


def test_all_problems_are_in_one_report(tmp_path: Path) -> None:
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
def test_how_to_log(
    environment: dict[str, str], flags: dict[str, str], given: dict[str, str], settings: LogSettings
) -> None:
    assert load(Mode.STATIC, environment, {**flags, **given}).log == settings
    controller = load(Mode.CONTROLLER, environment, given).log
    assert controller.image_names_are_secret
    assert (controller.format, controller.level) == (settings.format, settings.level)


def test_what_is_no_format_and_no_level_of_the_log_is_refused(
    environment: dict[str, str], flags: dict[str, str]
) -> None:
    assert problems_of(environment, {**flags, "log-format": "xml", "log-level": "INFO"}) == [
        "-log-format: 'xml' is none of text, json",
        "-log-level: 'INFO' is none of debug, info, warn, error",
    ]


@pytest.mark.parametrize("name", ["DEPLOY_ISO", "IRONIC_AGENT_IMAGE"])
def test_required_means_present(
    environment: dict[str, str], flags: dict[str, str], name: str
) -> None:
    environment[name] = ""
    assert load(Mode.STATIC, environment, flags)
    del environment[name]
    (problem,) = problems_of(environment, flags)
    assert problem.startswith(f"{name} is not set")


class TestBases:
    def test_everything_given(
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
    def test_a_bad_iso_names_the_variable_the_file_and_the_reason(
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
    def test_a_bad_initramfs_or_kernel_too(
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


PULL_SECRETS = {
    "raw JSON": SECRET,
    "raw JSON with a newline": b"\n" + SECRET + b"\n",
    "indented JSON": json.dumps(json.loads(SECRET), indent=4).encode(),
    "base64": base64.b64encode(SECRET),
    "base64 with a newline": base64.b64encode(SECRET) + b"\n",
    "base64 wrapped at 76": base64.encodebytes(SECRET),
    "base64 wrapped with carriage returns": base64.encodebytes(SECRET).replace(b"\n", b"\r\n"),
    "base64 of JSON with a newline": base64.b64encode(SECRET + b"\n"),
}

BAD_SECRETS = {
    "garbage": b"hunter2 is the word!",
    "base64 of garbage": base64.b64encode(b"hunter2 is the word"),
    "base64 of base64": base64.b64encode(base64.b64encode(SECRET)),
    "base64 cut off": base64.b64encode(SECRET)[:-3],
    "base64 of JSON cut off": base64.b64encode(SECRET[:-3]),
    "JSON cut off": SECRET[:-1],
    "no object": b'["hunter2"]',
    "base64 of no object": base64.b64encode(b'"hunter2"'),
    "null": base64.b64encode(b"null"),
    "an object without auths": b'{"hunter2": {}}',
    "auths is a list": b'{"auths": ["hunter2"]}',
    "auths is null": b'{"auths": null, "x": "hunter2"}',
    "not UTF-8": b'{"auths": {"hunter2\xff": {}}}',
    "base64 of bytes": base64.b64encode(b"\xff\xfe\x00hunter2"),
    "absurdly deep": b'{"auths": ' + b"[" * 100_000,
    "only brackets": b"{",
}


class TestPullSecret:
    @pytest.mark.parametrize("value", PULL_SECRETS.values(), ids=PULL_SECRETS)
    def test_every_form_in_the_field(self, value: bytes) -> None:
        assert json.loads(decode_pull_secret("NAME", value)) == json.loads(SECRET)

    @pytest.mark.parametrize("value", [b"", b" ", b"\n"])
    def test_nothing_is_no_secret(self, value: bytes) -> None:
        assert decode_pull_secret("NAME", value) == b""

    @pytest.mark.parametrize("value", BAD_SECRETS.values(), ids=BAD_SECRETS)
    def test_a_bad_one_is_named_but_never_shown(self, value: bytes) -> None:
        with pytest.raises(ConfigError) as caught:
            decode_pull_secret("NAME", value)
        assert str(caught.value).startswith("NAME is n")
        assert len(str(caught.value)) < 100
        # `from None` only hides the decoder's error, which holds the document.
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        shown = "".join(traceback.format_exception(caught.value))
        assert "hunter2" not in shown
        assert value[:40].decode("latin-1") not in shown or value == b"{"

    @given(st.binary(max_size=60))
    def test_any_bytes_give_a_config_error_at_worst(self, value: bytes) -> None:
        try:
            decode_pull_secret("NAME", value)
        except ConfigError as error:
            assert error.__context__ is None  # noqa: PT017 - which error is no question here

    def test_bytes_of_the_environment_that_are_no_text(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        environment["IRONIC_AGENT_PULL_SECRET"] = os.fsdecode(b'{"auths\xff": {}}')
        (problem,) = problems_of(environment, flags)
        assert problem.startswith("IRONIC_AGENT_PULL_SECRET is n")

    def test_where_the_variable_is_empty_the_file_serves(self, tmp_path: Path) -> None:
        settings = AgentSettings(agent=Agent(image="i"), pull_secret_file=str(tmp_path / "secret"))
        assert read_agent(settings).pull_secret == b""
        put(tmp_path / "secret", base64.encodebytes(SECRET))
        assert read_agent(settings).pull_secret == SECRET
        put(tmp_path / "secret", b"")
        assert read_agent(settings).pull_secret == b""

    def test_the_variable_wins(self, tmp_path: Path) -> None:
        put(tmp_path / "secret", b'{"auths": {"file": {}}}')
        settings = AgentSettings(
            agent=Agent(image="i", pull_secret=SECRET), pull_secret_file=str(tmp_path / "secret")
        )
        assert read_agent(settings).pull_secret == SECRET

    def test_a_bad_file_is_named_but_never_shown(self, tmp_path: Path) -> None:
        path = put(tmp_path / "secret", b"hunter2")
        settings = AgentSettings(agent=Agent(image="i"), pull_secret_file=str(path))
        with pytest.raises(BuildInvalid, match=str(path)) as caught:
            read_agent(settings)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


class TestVariables:
    def test_texts_reach_the_agent_as_they_are(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        proxy = "http://user:p%40ss@proxy:3128"
        agent = agent_of(
            environment,
            flags,
            IRONIC_BASE_URL="http://192.0.2.1:6385, https://[2001:db8::1],,",
            IRONIC_INSPECTOR_BASE_URL="",
            IP_OPTIONS=" ip=dhcp6 ",
            HTTP_PROXY=proxy,
            HTTPS_PROXY=proxy,
            NO_PROXY="localhost,.example",
            ADDITIONAL_NTP_SERVERS="192.0.2.9, ntp.example,,2001:db8::1",
            IRONIC_RAMDISK_SSH_KEY="ssh-ed25519 AAAA one\n\n# none\r\nssh-rsa BBBB two\n",
        )
        assert agent.ironic_urls == ("http://192.0.2.1:6385", "https://[2001:db8::1]")
        assert agent.inspector_urls == ()
        assert agent.ip_options == "ip=dhcp6"
        assert agent.http_proxy == agent.https_proxy == proxy
        assert agent.no_proxy == "localhost,.example"
        assert agent.ntp_servers == ("192.0.2.9", "ntp.example", "2001:db8::1")
        assert agent.ssh_keys == ("ssh-ed25519 AAAA one", "ssh-rsa BBBB two")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("always", VlanInterfaces.ALWAYS),
            (" Always ", VlanInterfaces.ALWAYS),
            ("NEVER", VlanInterfaces.NEVER),
            ("", VlanInterfaces.AUTOMATIC),
            ("auto", VlanInterfaces.AUTOMATIC),
            ("yes", VlanInterfaces.AUTOMATIC),
        ],
    )
    def test_vlan_interfaces(
        self,
        environment: dict[str, str],
        flags: dict[str, str],
        text: str,
        expected: VlanInterfaces,
    ) -> None:
        agent = agent_of(environment, flags, IRONIC_AGENT_VLAN_INTERFACES=text)
        assert agent.vlan_interfaces is expected

    @pytest.mark.parametrize(
        "name",
        ["IRONIC_AGENT_IMAGE", "IP_OPTIONS", "HTTP_PROXY", "NO_PROXY", "IRONIC_BASE_URL"],
    )
    @pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\x1bb", "a\x7fb", "a\udcffb"])
    def test_what_is_no_line_of_text_is_refused_and_not_shown(
        self, environment: dict[str, str], flags: dict[str, str], name: str, text: str
    ) -> None:
        """It lands in units and INI files, where a new line starts another option."""
        (problem,) = problems_of({**environment, name: text}, flags)
        assert problem.startswith(name)
        assert text not in problem

    def test_keys_that_are_no_text_are_refused(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        (problem,) = problems_of({**environment, "IRONIC_RAMDISK_SSH_KEY": "ssh-rsa \udcff"}, flags)
        assert problem == "IRONIC_RAMDISK_SSH_KEY is not UTF-8"

    @pytest.mark.parametrize(
        "url",
        [
            *["ironic", "ironic:6385", "192.0.2.1", "ftp://ironic", "http://", "http:///path"],
            *["http://ironic:port", "http://ironic:99999", "http://[::1"],
            *["http://2001:db8::1:6385", "http://[not:an:address]", "http://iro nic", "//ironic"],
        ],
    )
    @pytest.mark.parametrize("name", ["IRONIC_BASE_URL", "IRONIC_INSPECTOR_BASE_URL"])
    def test_a_bad_url_is_shown(
        self, environment: dict[str, str], flags: dict[str, str], name: str, url: str
    ) -> None:
        (problem,) = problems_of({**environment, name: f"http://good,{url}"}, flags)
        assert problem == f"{name}: {url!r} is not an http or https URL"

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://admin:hunter2@ironic",
            "http://admin:hunter2@ironic:port",
            "http://admin:hunter2@/",
            "http://admin:hun@ter2@ironic:x",
            "http://admin:h/hunter2@ironic",
            "http://admin:hunter2,x@ironic",
            "http://admin:x,hunter2@ironic",
            "admin:hunter2@ironic",
        ],
    )
    def test_a_bad_url_with_a_password_is_not_shown(
        self, environment: dict[str, str], flags: dict[str, str], url: str
    ) -> None:
        problems = problems_of({**environment, "IRONIC_BASE_URL": url}, flags)
        assert all("IRONIC_BASE_URL" in problem for problem in problems)
        for part in ("hunter2", "ter2", "hun"):
            assert part not in str(problems)
        with pytest.raises(ConfigError) as caught:
            load(Mode.STATIC, {**environment, "IRONIC_BASE_URL": url}, flags)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize("server", ["a b", "ntp.example iburst", "a;b", "ntp\u00e9.example"])
    def test_a_bad_ntp_server(
        self, environment: dict[str, str], flags: dict[str, str], server: str
    ) -> None:
        (problem,) = problems_of({**environment, "ADDITIONAL_NTP_SERVERS": server}, flags)
        assert problem == (
            f"ADDITIONAL_NTP_SERVERS: {server!r} is neither a host name nor an address"
        )


FILES = {"REGISTRIES_CONF_PATH": b"[registries]", "CA_BUNDLE": PEM, "IRONIC_CA_BUNDLE": PEM}


class TestFiles:
    @pytest.mark.parametrize("name", FILES)
    def test_contents_are_read_for_each_build(
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
    def test_what_is_no_such_file(
        self, tmp_path: Path, name: str, make: Callable[[Path], object], reason: str
    ) -> None:
        path = tmp_path / "file"
        make(path)
        field = {"REGISTRIES_CONF_PATH": "registries_conf"}.get(name, name.lower())
        settings = AgentSettings(agent=Agent(image="i"), **{field: str(path)})
        with pytest.raises(BuildInvalid, match=reason) as caught:
            read_agent(settings)
        assert str(caught.value).startswith(f"{name}: {path}")

    def test_a_registries_file_may_be_empty(self, tmp_path: Path) -> None:
        path = put(tmp_path / "registries.conf", b"")
        settings = AgentSettings(agent=Agent(image="i"), registries_conf=str(path))
        assert read_agent(settings).registries_conf == b""
        settings = AgentSettings(agent=Agent(image="i"), registries_conf="/dev/null")
        assert read_agent(settings).registries_conf == b""

    def test_ironics_certificate_may_come_later_but_stops_every_build(
        self, environment: dict[str, str], flags: dict[str, str], tmp_path: Path
    ) -> None:
        environment["IRONIC_CA_BUNDLE"] = str(tmp_path / "later.pem")
        settings = load(Mode.STATIC, environment, flags).agent
        with pytest.raises(BuildInvalid, match="IRONIC_CA_BUNDLE"):
            read_agent(settings)
        put(tmp_path / "later.pem", PEM)
        assert read_agent(settings).ironic_ca_bundle == PEM

    def test_a_bundle_without_a_certificate(self, tmp_path: Path) -> None:
        path = put(tmp_path / "ca.pem", b"0\x82DER")
        settings = AgentSettings(agent=Agent(image="i"), ca_bundle=str(path))
        with pytest.raises(BuildInvalid, match=f"CA_BUNDLE: {path} holds no PEM certificate"):
            read_agent(settings)


class TestBind:
    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            (":8084", "", 8084),
            (":0", "", 0),
            (":65535", "", 65535),
            ("127.0.0.1:8084", "127.0.0.1", 8084),
            ("localhost:8084", "localhost", 8084),
            ("[::1]:8084", "::1", 8084),
            ("[::]:8084", "::", 8084),
            ("[fe80::1%eth0]:8084", "fe80::1%eth0", 8084),
            ("0.0.0.0:8084", "0.0.0.0", 8084),
            ("tcp-host:1", "tcp-host", 1),
        ],
    )
    def test_addresses_as_go_writes_them(self, text: str, host: str, port: int) -> None:
        assert parse_bind(text) == Tcp(host=host, port=port)

    @pytest.mark.parametrize(
        "text",
        [
            "tcp:8084",
            "tcp:8084:interface=127.0.0.1",
            r"tcp6:8084:interface=\:\:1",
            "ssl:8443:privateKey=key.pem",
            "unix:/run/mic.sock",
            "systemd:domain=INET:index=0",
        ],
    )
    def test_twisted_endpoints(self, text: str) -> None:
        assert parse_bind(text) == Endpoint(description=text)

    @pytest.mark.parametrize(
        "text",
        [
            *["", ":", "8084", "localhost", ":http", ":-1", ":65536", ":8o84", ":+80", ": 80"],
            *[":\u0668\u0660", f":{'9' * 5000}", "[::1]", "http://0.0.0.0:8084", "127.0.0.1:8084/"],
        ],
    )
    def test_what_is_no_address(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"-images-bind-addr: .* is not \[HOST\]:PORT"):
            parse_bind(text)

    @pytest.mark.parametrize("text", ["::1:8084", "::", "fe80::1:80", "2001:db8::1:8084"])
    def test_ipv6_without_brackets(self, text: str) -> None:
        with pytest.raises(ConfigError, match="-images-bind-addr"):
            parse_bind(text)


class TestPublishUrl:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("http://127.0.0.1:8084", "http://127.0.0.1:8084"),
            ("http://h/", "http://h"),
            ("http://h//", "http://h"),
            ("https://h/a/b/", "https://h/a/b"),
            ("http://[2001:db8::1]:80/p/", "http://[2001:db8::1]:80/p"),
            ("http://mic.ns.svc.cluster.local/", "http://mic.ns.svc.cluster.local"),
        ],
    )
    def test_a_prefix_a_slash_and_brackets_are_fine(self, text: str, url: str) -> None:
        assert parse_publish_url(text) == url

    @pytest.mark.parametrize(
        "text", ["http://h/?", "http://h?a=b", "http://h/#", "http://h/#x", "http://h/a?"]
    )
    def test_no_query_and_no_fragment(self, text: str) -> None:
        with pytest.raises(ConfigError, match="must not have a query or a fragment"):
            parse_publish_url(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "h",
            "h:80",
            ":8084",
            "//h",
            "ftp://h",
            "http://",
            "http://h:x",
            " http://h",
            "http://h ",
        ],
    )
    def test_what_is_no_url(self, text: str) -> None:
        with pytest.raises(
            ConfigError, match=r"-images-publish-addr: .* is not an http or https URL"
        ):
            parse_publish_url(text)


class TestTls:
    @pytest.fixture
    def files(self, tmp_path: Path) -> dict[str, str]:
        cert, key = issue().write(tmp_path)
        return {"images-tls-cert-file": str(cert), "images-tls-key-file": str(key)}

    def test_certificate_and_key(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str]
    ) -> None:
        cert, key = files.values()
        settings = load(Mode.STATIC, environment, {**flags, **files})
        assert settings.tls == Tls(cert_file=cert, key_file=key)
        assert settings.tls.min_version == "1.2"
        assert settings.http_bind is None

    def test_one_does_not_go_without_the_other(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str]
    ) -> None:
        for name in files:
            (problem,) = problems_of(environment, {**flags, **files, name: ""})
            assert problem.startswith(f"-{name} is missing")
            (problem,) = problems_of(environment, {**flags, **files, name: "/no/such"})
            assert problem == f"-{name}: /no/such: No such file or directory"

    def test_they_must_fit(
        self,
        environment: dict[str, str],
        flags: dict[str, str],
        files: dict[str, str],
        tmp_path: Path,
    ) -> None:
        _, other = issue().write(tmp_path / "other")
        given_flags = {**flags, **files, "images-tls-key-file": str(other)}
        (problem,) = problems_of(environment, given_flags)
        assert f"{other} is not the key of the first certificate in" in problem

    def test_the_version_and_the_ciphers(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str]
    ) -> None:
        given_flags = {**flags, **files, "images-tls-min-version": "1.3"}
        tls = load(Mode.STATIC, environment, given_flags).tls
        assert tls
        assert tls.min_version is MinVersion.TLS_1_3
        given_flags = {**flags, **files, "images-tls-ciphers": "ECDHE+AESGCM"}
        tls = load(Mode.STATIC, environment, given_flags).tls
        assert tls
        assert tls.ciphers == "ECDHE+AESGCM"
        empty = {"images-tls-min-version": "", "images-tls-ciphers": ""}
        tls = load(Mode.STATIC, environment, {**flags, **files, **empty}).tls
        assert tls
        assert (tls.min_version, tls.ciphers) == (MinVersion.TLS_1_2, DEFAULT_CIPHERS)

    @pytest.mark.parametrize("version", ["1.1", "1.0", "TLSv1.2", "1.4", "ssl3", "1.2 "])
    def test_other_versions_are_refused(
        self, environment: dict[str, str], flags: dict[str, str], version: str
    ) -> None:
        (problem,) = problems_of(environment, {**flags, "images-tls-min-version": version})
        assert problem == f"-images-tls-min-version: {version!r} is not 1.2 or 1.3"

    def test_all_problems_at_once(self, environment: dict[str, str], flags: dict[str, str]) -> None:
        problems = problems_of(
            environment,
            {
                **flags,
                "images-tls-cert-file": "/no/cert",
                "images-tls-key-file": "/no/key",
                "images-tls-min-version": "2",
                "images-tls-ciphers": "GOOD",
                "images-http-bind-addr": "8085",
                "images-http-publish-addr": "images:8085",
            },
        )
        assert [problem.split(":")[0] for problem in problems] == [
            "-images-tls-min-version",
            "-images-tls-ciphers",
            "-images-tls-cert-file",
            "-images-tls-key-file",
            "-images-http-bind-addr",
            "-images-http-publish-addr",
        ]

    def test_ciphers_of_a_version_that_is_ruled_out(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str]
    ) -> None:
        both = {"images-tls-min-version": "1.3", "images-tls-ciphers": "ECDHE+AESGCM"}
        (problem,) = problems_of(environment, {**flags, **files, **both})
        assert problem.startswith("-images-tls-ciphers is for TLS 1.2, which")

    @pytest.mark.parametrize(
        "more", [{"images-tls-min-version": "1.3"}, {"images-tls-ciphers": "ECDHE+AESGCM"}]
    )
    def test_what_asks_for_tls_is_not_served_without(
        self, environment: dict[str, str], flags: dict[str, str], more: dict[str, str]
    ) -> None:
        (problem,) = problems_of(environment, {**flags, **more})
        assert problem.startswith("-images-tls-cert-file is missing")

    def test_plain_http_beside_it(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str]
    ) -> None:
        http = {"images-http-bind-addr": ":8085", "images-http-publish-addr": "http://mic:8085/"}
        settings = load(Mode.STATIC, environment, {**flags, **files, **http})
        assert settings.http_bind == Tcp(host="", port=8085)
        assert settings.http_publish_url == "http://mic:8085"

    def test_plain_http_beside_plain_http_is_a_mistake(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        (problem,) = problems_of(environment, {**flags, "images-http-bind-addr": ":8085"})
        assert problem.startswith("-images-http-bind-addr needs -images-tls-cert-file")

    def test_a_url_where_nothing_is_served_is_a_mistake(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        (problem,) = problems_of(environment, {**flags, "images-http-publish-addr": "http://mic"})
        assert problem.startswith("-images-http-publish-addr needs -images-http-bind-addr")


class TestOtherFlags:
    def test_the_directory_is_required_in_static_mode(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        (problem,) = problems_of(environment, {})
        assert problem.startswith("-nmstate-dir is missing")
        (problem,) = problems_of(environment, {"nmstate-dir": str(tmp_path / "none")})
        assert problem == f"-nmstate-dir: {tmp_path / 'none'}: No such file or directory"
        (problem,) = problems_of(environment, {"nmstate-dir": str(put(tmp_path / "f", b""))})
        assert problem == f"-nmstate-dir: {tmp_path / 'f'}: Not a directory"

    def test_every_flag_has_a_default_that_can_be_used(self) -> None:
        defaults = {flag.name: flag.default for flag in flags_of(Mode.STATIC)}
        assert parse_bind(defaults["images-bind-addr"])
        assert parse_publish_url(defaults["images-publish-addr"])


def test_no_secret_is_in_the_repr_of_settings(
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


def test_wrapped_base64_is_what_the_shell_makes_of_it() -> None:
    """base64(1) wraps at 76 columns."""
    wrapped = "\n".join(textwrap.wrap(base64.b64encode(SECRET).decode(), 76))
    assert "\n" in wrapped
    assert decode_pull_secret("NAME", wrapped.encode()) == SECRET


class TestReplicas:
    """MIC_URL_KEY_FILE and -leader-elect."""

    def test_the_key_is_read_without_its_line_break(
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

    def test_neither_is_the_default(self, environment: dict[str, str]) -> None:
        settings = load(Mode.CONTROLLER, environment, {})
        assert not settings.leader_elect
        assert settings.url_key == b""

    def test_replicas_without_a_key_are_refused(self, environment: dict[str, str]) -> None:
        with pytest.raises(ConfigError, match="-leader-elect needs MIC_URL_KEY_FILE"):
            load(Mode.CONTROLLER, environment, {"leader-elect": "true"})

    @pytest.mark.parametrize(
        ("content", "problem"),
        [(b"", "holds 0 bytes"), (b"s3cr3t\n", "holds 6 bytes"), (None, "No such file")],
    )
    def test_a_bad_key_is_named_and_never_shown(
        self, environment: dict[str, str], tmp_path: Path, content: bytes | None, problem: str
    ) -> None:
        key = tmp_path / "key"
        if content is not None:
            key.write_bytes(content)
        with pytest.raises(ConfigError, match=f"MIC_URL_KEY_FILE: {key}.*{problem}") as caught:
            load(Mode.CONTROLLER, {**environment, "MIC_URL_KEY_FILE": str(key)}, {})
        assert "s3cr3t" not in str(caught.value)
