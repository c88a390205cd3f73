"""Variables of the agent: what is accepted, and how a refusal is worded."""

from __future__ import annotations

import traceback

import pytest
from private_keys import FORMS, body, disguised, forms, public_key
from settings_support import agent_of, problems_of

from mic.common.errors import ConfigError
from mic.ignition import VlanInterfaces
from mic.settings.load import load
from mic.settings.model import (
    Mode,
)


class TestVariables:
    def test_passes_texts_to_the_agent_unchanged(
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
            IRONIC_RAMDISK_SSH_KEY=f"{public_key()}\n\n# none\r\n{public_key('other')}\n",
        )
        assert agent.ironic_urls == ("http://192.0.2.1:6385", "https://[2001:db8::1]")
        assert agent.inspector_urls == ()
        assert agent.ip_options == "ip=dhcp6"
        assert agent.http_proxy == agent.https_proxy == proxy
        assert agent.no_proxy == "localhost,.example"
        assert agent.ntp_servers == ("192.0.2.9", "ntp.example", "2001:db8::1")
        assert agent.ssh_keys == (public_key(), public_key("other"))

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("true", True),
            (" True ", True),
            ("1", True),
            ("", False),
            ("false", False),
            ("F", False),
        ],
    )
    def test_reads_truth_values(
        self, environment: dict[str, str], flags: dict[str, str], text: str, expected: bool
    ) -> None:
        environment["MIC_VERIFY_BASES"] = text
        assert load(Mode.STATIC, environment, flags).verify_bases is expected

    @pytest.mark.parametrize("text", ["yes", "on", "2", "tru"])
    def test_refuses_other_words_for_truth(
        self, environment: dict[str, str], flags: dict[str, str], text: str
    ) -> None:
        environment["MIC_VERIFY_BASES"] = text
        (problem,) = problems_of(environment, flags)
        assert problem == f"MIC_VERIFY_BASES: {text!r} is neither true nor false"

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
    def test_reads_vlan_interfaces_in_any_case(
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
    def test_rejects_control_characters_without_showing_them(
        self, environment: dict[str, str], flags: dict[str, str], name: str, text: str
    ) -> None:
        """It is written into units and INI files, where a line break starts another option."""
        (problem,) = problems_of({**environment, name: text}, flags)
        assert problem.startswith(name)
        assert text not in problem

    def test_warns_of_lines_that_are_no_keys(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        """The Go program takes any text; mic starts with it, and embeds what is a key."""
        lines = ["hunter2", public_key(), "", "# hunter3", "ssh-rsa hunter4", "\udcff"]
        environment["IRONIC_RAMDISK_SSH_KEY"] = "\n".join(lines)
        settings = load(Mode.STATIC, environment, flags)
        assert settings.agent.agent.ssh_keys == (public_key(),)
        assert settings.warnings == (
            "IRONIC_RAMDISK_SSH_KEY: lines 1, 5 and 6 are no SSH public keys and are left out",
        )

    def test_warns_when_no_line_is_a_key(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        environment["IRONIC_RAMDISK_SSH_KEY"] = "hunter2"
        settings = load(Mode.STATIC, environment, flags)
        assert settings.agent.agent.ssh_keys == ()
        assert settings.warnings == (
            "IRONIC_RAMDISK_SSH_KEY: line 1 is no SSH public key and is left out; "
            "without a key, logging in as user core is impossible",
        )

    def test_warns_of_a_long_text_in_a_short_sentence(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        environment["IRONIC_RAMDISK_SSH_KEY"] = "hunter2\n" * 10_000
        (warning,) = load(Mode.STATIC, environment, flags).warnings
        assert "lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 9990 more are no SSH public keys" in warning
        assert len(warning) < 200

    def test_accepts_good_keys_without_a_warning(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        environment["IRONIC_RAMDISK_SSH_KEY"] = f"# mine\n\n{public_key()}\n"
        assert load(Mode.STATIC, environment, flags).warnings == ()

    @pytest.mark.parametrize("form", FORMS)
    def test_rejects_a_private_key_instead_of_a_public_one_without_showing_it(
        self, environment: dict[str, str], flags: dict[str, str], form: str
    ) -> None:
        for what, text in disguised(forms()[form]):
            (problem,) = problems_of({**environment, "IRONIC_RAMDISK_SSH_KEY": text}, flags)
            assert problem.startswith("IRONIC_RAMDISK_SSH_KEY holds a private key"), what
            assert len(problem) < 150

    @pytest.mark.parametrize(
        "name",
        [
            *("IRONIC_AGENT_IMAGE", "IP_OPTIONS", "HTTP_PROXY", "IRONIC_BASE_URL", "DEPLOY_ISO"),
            *("ADDITIONAL_NTP_SERVERS", "CA_BUNDLE", "IRONIC_ROOTFS_URL", "MIC_MAX_DOWNLOADS"),
        ],
    )
    def test_rejects_a_private_key_in_another_variable_without_showing_it(
        self, environment: dict[str, str], flags: dict[str, str], name: str
    ) -> None:
        for text in (forms()["EC"].replace("\n", "\\n"), forms()["EC"].replace("\n", " ")):
            problems = problems_of({**environment, name: text}, flags)
            assert problems[0].startswith(f"{name} holds a private key")
            assert not any(line in " ".join(problems) for line in body(forms()["EC"]))

    @pytest.mark.parametrize(
        "name", ["images-bind-addr", "images-publish-addr", "nmstate-dir", "log-level"]
    )
    def test_rejects_a_private_key_as_a_flag_without_showing_it(
        self, environment: dict[str, str], flags: dict[str, str], name: str
    ) -> None:
        (problem,) = problems_of(environment, {**flags, name: forms()["EC"]})
        assert problem.startswith(f"-{name}: ")
        assert not any(line in problem for line in body(forms()["EC"]))

    @pytest.mark.parametrize(
        "url",
        [
            *["ironic", "ironic:6385", "192.0.2.1", "ftp://ironic", "http://", "http:///path"],
            *["http://ironic:port", "http://ironic:99999", "http://[::1"],
            *["http://2001:db8::1:6385", "http://[not:an:address]", "http://iro nic", "//ironic"],
        ],
    )
    @pytest.mark.parametrize("name", ["IRONIC_BASE_URL", "IRONIC_INSPECTOR_BASE_URL"])
    def test_rejects_a_bad_url_and_shows_it(
        self, environment: dict[str, str], flags: dict[str, str], name: str, url: str
    ) -> None:
        (problem,) = problems_of({**environment, name: f"http://good,{url}"}, flags)
        assert problem.startswith(f"{name}: {url!r} is not an http or https URL")

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
    def test_rejects_a_bad_url_with_a_password_without_showing_it(
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
    def test_rejects_a_bad_ntp_server(
        self, environment: dict[str, str], flags: dict[str, str], server: str
    ) -> None:
        (problem,) = problems_of({**environment, "ADDITIONAL_NTP_SERVERS": server}, flags)
        assert problem == (
            f"ADDITIONAL_NTP_SERVERS: {server!r} is neither a host name nor an address"
        )
