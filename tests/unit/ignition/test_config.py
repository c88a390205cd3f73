"""The Ignition config: each row of the contract, escaping, determinism, no secret where it is seen.

That the real Ignition, systemd and the agent accept it is shown by the end-to-end tests; here
their own rules are written down as tables.
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mic.common.errors import BuildInvalid
from mic.common.keyfile import Keyfile
from mic.ignition import Agent, Host, VlanInterfaces, config
from mic.ignition.escape import data_url, oslo_config, shell, systemd_argument, systemd_environment
from mic.ignition.extra import parse

AGENT = Agent(image="quay.io/metal3/ipa:latest", ironic_urls=("http://192.0.2.1",))
FULL = replace(
    AGENT,
    inspector_urls=("http://[2001:db8::1]",),
    pull_secret=b'{"auths":{}}',
    ssh_keys=("ssh-ed25519 AAAA a", "ssh-rsa BBBB b"),
    registries_conf=b"[registries]\n",
    ip_options="ip=dhcp6",
    http_proxy="http://user:p%40ss@proxy:3128",
    https_proxy="http://proxy",
    no_proxy="localhost",
    ntp_servers=("192.0.2.9", "2001:db8::9"),
    ca_bundle=b"-----BEGIN CERTIFICATE-----\n",
    ironic_ca_bundle=b"-----BEGIN CERTIFICATE----- ironic\n",
    extra=(parse(b'{"ignition": {"version": "3.1.0"}}', "all.ign"),),
)
KEYFILES = (
    Keyfile(name="eth0.nmconnection", content="[connection]\nid=eth0\n"),
    Keyfile(name="bond 0.nmconnection", content="[connection]\nid=bond 0é\n"),
)
HOST = Host(name="worker-0", keyfiles=KEYFILES, network_data=True)


def made(agent: Agent = AGENT, host: Host | None = None) -> dict[str, Any]:
    """Return the parsed config of a host."""
    value: dict[str, Any] = json.loads(config(agent, host or Host()))
    return value


def files_of(agent: Agent = AGENT, host: Host | None = None) -> dict[str, dict[str, Any]]:
    """Return the files of a config by path."""
    return {file["path"]: file for file in made(agent, host)["storage"]["files"]}


def content(file: dict[str, Any]) -> bytes:
    """Return what Ignition writes for a file: percent-decoding, RFC 2397."""
    source = file["contents"]["source"]
    assert source.startswith("data:,")
    return unquote_to_bytes(source.removeprefix("data:,"))


def unit_of(agent: Agent = AGENT, host: Host | None = None) -> str:
    (unit,) = made(agent, host)["systemd"]["units"]
    assert (unit["name"], unit["enabled"]) == ("ironic-agent.service", True)
    return str(unit["contents"])


ALWAYS = {
    "/etc/ironic-python-agent.conf": (0o644, False),
    "/etc/NetworkManager/conf.d/clientid.conf": (0o644, False),
    "/etc/issue.d/ipa.issue": (0o644, False),
    "/etc/motd.d/ipa.motd": (0o644, False),
}
SOMETIMES = {
    "/etc/NetworkManager/system-connections/eth0.nmconnection": (0o600, True),
    "/etc/NetworkManager/system-connections/bond 0.nmconnection": (0o600, True),
    "/etc/authfile.json": (0o600, None),
    "/etc/pki/ca-trust/source/anchors/ca.crt": (0o644, False),
    "/etc/pki/ca-trust/source/anchors/ironic-ca.crt": (0o644, False),
    "/etc/chrony.conf": (0o644, None),
    "/etc/NetworkManager/dispatcher.d/01-hostname": (0o744, False),
    "/etc/containers/registries.conf": (0o644, True),
}


class TestFiles:
    def test_minimal_files(self) -> None:
        found = {path: (f["mode"], f.get("overwrite")) for path, f in files_of().items()}
        assert found == ALWAYS

    def test_all_files(self) -> None:
        found = {path: (f["mode"], f.get("overwrite")) for path, f in files_of(FULL, HOST).items()}
        assert found == ALWAYS | SOMETIMES

    def test_contents_are_unchanged(self) -> None:
        files = files_of(FULL, HOST)
        connections = "/etc/NetworkManager/system-connections"
        expected = {
            "/etc/authfile.json": FULL.pull_secret,
            "/etc/pki/ca-trust/source/anchors/ca.crt": FULL.ca_bundle,
            "/etc/pki/ca-trust/source/anchors/ironic-ca.crt": FULL.ironic_ca_bundle,
            "/etc/containers/registries.conf": FULL.registries_conf,
            **{f"{connections}/{k.name}": k.content.encode() for k in KEYFILES},
        }
        assert {path: content(files[path]) for path in expected} == expected

    @given(st.binary(max_size=100))
    def test_data_urls_round_trip(self, data: bytes) -> None:
        url = data_url(data)
        assert url.isascii()
        assert not re.search(r'[\s"\\#?<>{}|^`]', url)
        assert unquote_to_bytes(url.removeprefix("data:,")) == data

    def test_data_urls_keep_the_spelling_that_entity_tags_depend_on(self) -> None:
        every = bytes(range(256))
        assert data_url(every) == "data:," + quote(every, safe="-._~!$&'()*,;=:@/")

    def test_appends_to_chrony_conf(self) -> None:
        file = files_of(FULL)["/etc/chrony.conf"]
        (source,) = file["append"]
        text = unquote_to_bytes(source["source"].removeprefix("data:,")).decode()
        assert text.split("\n") == ["", "server 192.0.2.9 iburst", "server 2001:db8::9 iburst", ""]
        assert "contents" not in file

    def test_writes_client_ids(self) -> None:
        text = content(files_of()["/etc/NetworkManager/conf.d/clientid.conf"]).decode()
        parser = configparser.ConfigParser()
        parser.read_string(text)
        assert dict(parser["connection"]) == {"ipv6.dhcp-duid": "ll", "ipv6.dhcp-iaid": "mac"}

    @pytest.mark.parametrize(
        "name", ["../x", "a/b", "/x", "", ".a", "a\nb", "a\N{NO-BREAK SPACE}b", "é" * 128]
    )
    def test_refuses_a_keyfile_with_an_invalid_name(self, name: str) -> None:
        """Ignition would refuse the whole config later, on the host."""
        with pytest.raises(BuildInvalid, match="a file name "):
            config(AGENT, Host(keyfiles=(Keyfile(name=name, content=""),)))

    def test_refuses_two_keyfiles_with_one_name(self) -> None:
        one, other = (Keyfile(name="a.nmconnection", content=text) for text in "xy")
        with pytest.raises(BuildInvalid, match=r"two profiles are named 'a\.nmconnection'"):
            config(AGENT, Host(keyfiles=(one, other)))


class TestAgentConf:
    def options(self, agent: Agent, *, network_data: bool = False) -> dict[str, str]:
        text = content(
            files_of(agent, Host(network_data=network_data))["/etc/ironic-python-agent.conf"]
        )
        assert not re.search(rb"[ \t]$", text, re.MULTILINE)
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text.decode())
        return dict(parser["DEFAULT"])

    def test_writes_the_agents_options(self) -> None:
        assert self.options(AGENT) == {
            "api_url": "http://192.0.2.1:6385",
            "inspection_callback_url": "",
            "insecure": "True",
            "enable_vlan_interfaces": "all",
        }

    def test_writes_all_options(self) -> None:
        assert self.options(FULL, network_data=True) == {
            "api_url": "http://192.0.2.1:6385",
            "inspection_callback_url": "http://[2001:db8::1]:5050/v1/continue",
            "insecure": "False",
            "enable_vlan_interfaces": "",
        }

    @pytest.mark.parametrize("network_data", [True, False])
    def test_vlan_interfaces(self, network_data: bool) -> None:
        always = replace(AGENT, vlan_interfaces=VlanInterfaces.ALWAYS)
        assert self.options(always, network_data=network_data)["enable_vlan_interfaces"] == "all"
        never = replace(AGENT, vlan_interfaces=VlanInterfaces.NEVER)
        assert self.options(never, network_data=network_data)["enable_vlan_interfaces"] == ""

    def test_escapes_dollars_for_oslo_config(self) -> None:
        agent = replace(AGENT, ironic_urls=("http://u:pa$sword@h:1",))
        assert self.options(agent)["api_url"] == "http://u:pa$$sword@h:1"
        assert oslo_config("$x $$ ${y}") == "$$x $$$$ $${y}"


def systemd_words(text: str) -> list[str]:
    """Split a line into words as systemd does (systemd.syntax(7))."""
    words: list[str] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        word = ""
        quote = ""
        while position < len(text) and (quote or not text[position].isspace()):
            character = text[position]
            if character == "\\":
                word += text[position + 1]
                position += 1
            elif character == quote:
                quote = ""
            elif not quote and character in "\"'":
                quote = character
            else:
                word += character
            position += 1
        assert not quote, f"a quote is open: {text}"
        assert not re.search(r"(?<!%)(%%)*%(?!%)[^tn]", word), f"an unknown specifier: {word}"
        words.append(re.sub("%([%tn])", lambda m: {"%": "%", "t": "/run", "n": "UNIT"}[m[1]], word))
    return words


def systemd_arguments(text: str) -> list[str]:
    """Return the arguments of an Exec line (systemd.service(5)), with $ substituted."""
    words = systemd_words(text)
    assert not any(re.search(r"(?<!\$)(\$\$)*\$(?!\$)", word) for word in words)
    return [word.replace("$$", "$") for word in words]


def options_of(unit: str, name: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{name}=")]


NASTY = [
    "plain",
    "http://user:p%40ss@proxy:3128",
    "100%",
    "%n%t%%",
    "two words",
    'quo"te',
    "quo'te",
    "back\\slash",
    "ends in \\",
    "$HOME ${HOME} $$",
    "`id` $(id)",
    ";",
    "a;b",
    "#x",
    "\u00e9\u20ac",
    "\\x41\\n",
    "-",
    "--privileged",
    " leading and trailing ",
]


class TestUnit:
    def test_unit_order_type_and_restarts(self) -> None:
        sections: dict[str, dict[str, str]] = {}
        for line in unit_of().splitlines():
            if line.startswith("["):
                section = sections.setdefault(line.strip("[]"), {})
            elif line:
                name, _, value = line.partition("=")
                section[name] = value
        assert sections["Unit"]["After"] == sections["Unit"]["Wants"] == "network-online.target"
        assert sections["Unit"]["StartLimitIntervalSec"] == "0"
        service = sections["Service"]
        assert (service["Type"], service["TimeoutStartSec"]) == ("notify", "0")
        assert (service["Restart"], service["RestartSec"]) == ("on-failure", "5")
        assert sections["Install"] == {"WantedBy": "multi-user.target"}

    def test_passes_arguments_to_podman(self) -> None:
        (line,) = options_of(unit_of(FULL, HOST), "ExecStart")
        program, command, *arguments = systemd_arguments(line)
        assert (program, command) == ("/bin/podman", "run")
        assert arguments[-1] == FULL.image
        single = {
            "--detach",
            "--cgroups=no-conmon",
            "--sdnotify=conmon",
            "--rm",
            "--cidfile=/run/UNIT.ctr-id",
            "--privileged",
            "--ipc=host",
            "--uts=host",
            "--authfile=/etc/authfile.json",
        }
        assert single <= set(arguments)
        pairs = list(pairwise(arguments))
        assert ("--network", "host") in pairs
        assert ("--name", "ironic-agent") in pairs
        mounts = {value for name, value in pairs if name == "--mount"}
        ironic_ca = "/etc/pki/ca-trust/source/anchors/ironic-ca.crt"
        assert mounts == {
            "type=bind,src=/etc/ironic-python-agent.conf,dst=/etc/ironic-python-agent/ignition.conf",
            "type=bind,src=/dev,dst=/dev",
            "type=bind,src=/sys,dst=/sys",
            "type=bind,src=/run/udev,dst=/run/udev",
            "type=bind,src=/run/dbus/system_bus_socket,dst=/run/dbus/system_bus_socket",
            "type=bind,src=/,dst=/mnt/coreos",
            f"type=bind,src={ironic_ca},dst={ironic_ca},readonly",
        }
        environment = {value for name, value in pairs if name == "--env"}
        assert environment == {
            "IPA_COREOS_IP_OPTIONS=ip=dhcp6",
            "IPA_COREOS_COPY_NETWORK=true",
            "IPA_DEFAULT_HOSTNAME=worker-0",
            f"REQUESTS_CA_BUNDLE={ironic_ca}",
            f"SSL_CERT_FILE={ironic_ca}",
        }

    @pytest.mark.parametrize("agent", [AGENT, FULL])
    def test_pull_verifies_the_registrys_certificate(self, agent: Agent) -> None:
        """podman's default; the agent is a privileged container, and the pull sends the secret."""
        assert "tls-verify" not in unit_of(agent, HOST)

    def test_omits_unset_options(self) -> None:
        (line,) = options_of(unit_of(), "ExecStart")
        assert "authfile" not in line
        assert "readonly" not in line
        assert "CA_BUNDLE" not in line
        assert "IPA_COREOS_COPY_NETWORK=false" in systemd_arguments(line)
        assert "IPA_DEFAULT_HOSTNAME=" in systemd_arguments(line)

    @pytest.mark.parametrize(
        ("host", "copied"),
        [
            (Host(), "false"),
            (Host(network_data=True), "false"),
            (Host(network_data=True, keyfiles=KEYFILES), "true"),
        ],
    )
    def test_copies_the_network_exactly_with_keyfiles(self, host: Host, copied: str) -> None:
        (line,) = options_of(unit_of(AGENT, host), "ExecStart")
        assert f"IPA_COREOS_COPY_NETWORK={copied}" in systemd_arguments(line)

    def test_removes_a_stale_container_id_and_stops_the_container(self) -> None:
        unit = unit_of()
        (before,) = options_of(unit, "ExecStartPre")
        (stop,) = options_of(unit, "ExecStop")
        (after,) = options_of(unit, "ExecStopPost")
        assert systemd_arguments(before) == ["/bin/rm", "-f", "/run/UNIT.ctr-id"]
        assert systemd_arguments(stop)[1:] == ["stop", "--ignore", "--cidfile=/run/UNIT.ctr-id"]
        assert systemd_arguments(after)[1:3] == ["rm", "-f"]

    @pytest.mark.parametrize("value", NASTY)
    def test_proxies_are_unchanged_after_systemd(self, value: str) -> None:
        agent = replace(AGENT, http_proxy=value, https_proxy=value, no_proxy=value)
        words = [systemd_words(line) for line in options_of(unit_of(agent), "Environment")]
        names = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
        assert words == [[f"{name}={value}"] for name in names]

    @pytest.mark.parametrize("value", NASTY)
    def test_arguments_are_unchanged_after_systemd(self, value: str) -> None:
        agent = replace(AGENT, ip_options=value, image=value)
        (line,) = options_of(unit_of(agent, Host(name=value)), "ExecStart")
        arguments = systemd_arguments(line)
        assert arguments[-1] == value
        assert f"IPA_COREOS_IP_OPTIONS={value}" in arguments
        assert f"IPA_DEFAULT_HOSTNAME={value}" in arguments

    @given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30))
    def test_any_line_is_unchanged_after_systemd(self, value: str) -> None:
        assert systemd_arguments(f"/bin/x {systemd_argument('n=' + value)} y") == [
            "/bin/x",
            f"n={value}",
            "y",
        ]
        line = systemd_environment("N", value).removeprefix("Environment=")
        assert systemd_words(line) == [f"N={value}"]

    def test_systemd_accepts_the_unit(self, tmp_path: Path) -> None:
        if not shutil.which("systemd-analyze"):
            pytest.skip("no systemd-analyze program here")
        agent = replace(FULL, http_proxy=" ".join(NASTY), ip_options=" ".join(NASTY))
        path = tmp_path / "ironic-agent.service"
        path.write_text(unit_of(agent, replace(HOST, name=" ".join(NASTY))))
        run = ["systemd-analyze", "verify", "--man=no", str(path)]
        done = subprocess.run(run, capture_output=True, check=False, text=True)
        lines = [line for line in done.stderr.splitlines() if "ironic-agent.service" in line]
        assert [line for line in lines if "podman" not in line] == []


class TestHostName:
    PATH = "/etc/NetworkManager/dispatcher.d/01-hostname"

    def run(self, tmp_path: Path, name: str, kernel: str, fqdn: str | None) -> list[str]:
        """Return the hostnamectl arguments of the script on a machine with a kernel's host name."""
        script = content(files_of(AGENT, Host(name=name))[self.PATH]).decode()
        assert script.startswith("#!/bin/sh\n")
        (tmp_path / "hostname").write_text(f"{kernel}\n")
        script = script.replace("/proc/sys/kernel/hostname", str(tmp_path / "hostname"))
        stub = tmp_path / "hostnamectl"
        stub.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/calls\n')
        stub.chmod(0o755)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        if fqdn is not None:
            environment["DHCP6_FQDN_FQDN"] = fqdn
        subprocess.run(
            ["sh", "-eu", "-c", script] if fqdn is not None else ["sh", "-c", script],
            env=environment,
            check=True,
            capture_output=True,
        )
        calls = tmp_path / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    @pytest.mark.parametrize("kernel", ["localhost", "localhost.localdomain"])
    @pytest.mark.parametrize("name", ["worker-0", "it's", "$(id)", "a b", "`x`;#", "-x"])
    def test_sets_the_name_of_a_host_without_one(
        self, tmp_path: Path, kernel: str, name: str
    ) -> None:
        assert self.run(tmp_path, name, kernel, None) == ["set-hostname", "--transient", name]

    def test_keeps_the_name_of_a_host_with_one(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "worker-0", "named", "") == []
        assert self.run(tmp_path, "worker-0", "localhost-not", None) == []

    def test_uses_a_full_name_of_dhcpv6(self, tmp_path: Path) -> None:
        calls = self.run(tmp_path, "worker-0", "named", "host.example.com")
        assert calls == ["set-hostname", "--static", "--transient", "host.example.com"]

    @pytest.mark.parametrize("fqdn", ["host", ""])
    def test_ignores_a_dhcpv6_name_without_a_dot(self, tmp_path: Path, fqdn: str) -> None:
        assert self.run(tmp_path, "worker-0", "named", fqdn) == []

    def test_writes_no_script_without_a_name(self) -> None:
        assert self.PATH not in files_of()

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
    def test_quotes_names_for_the_shell(self, name: str) -> None:
        assert shlex.split(shell(name)) == [name]


class TestBanners:
    def issue(self, host: Host | None = None) -> str:
        return content(files_of(AGENT, host)["/etc/issue.d/ipa.issue"]).decode()

    def motd(self, agent: Agent = AGENT, host: Host | None = None) -> str:
        return content(files_of(agent, host)["/etc/motd.d/ipa.motd"]).decode()

    def test_console_shows_what_the_image_is(self) -> None:
        for text in (self.issue(), self.motd()):
            assert "IPA" in text
            assert "discovery image" in text
            assert "not a node of a cluster" in text
        assert "worker-0" in self.issue(HOST)

    def test_escapes_backslashes_for_agetty(self) -> None:
        assert "a\\\\b" in self.issue(Host(name="a\\b"))

    def test_motd_shows_the_facts(self) -> None:
        text = self.motd(FULL, HOST)
        for fact in (
            "http://192.0.2.1:6385",
            "http://[2001:db8::1]:5050/v1/continue",
            FULL.image,
            "worker-0",
            "journalctl -u ironic-agent.service",
            "systemctl status ironic-agent.service",
            "ip addr",
            "nmcli connection show",
        ):
            assert fact in text
        assert "Inspector" not in self.motd()

    @pytest.mark.parametrize(
        ("host", "word"),
        [(Host(), "no, none"), (Host(network_data=True), "no, the"), (HOST, "yes")],
    )
    def test_motd_shows_whether_network_configuration_was_applied(
        self, host: Host, word: str
    ) -> None:
        assert f"Network configuration applied: {word}" in self.motd(AGENT, host)

    @pytest.mark.parametrize(
        "url", ["http://user:hunter2@h", "http://u:hun@ter2@h/x", "http://u:hunter2@[::1]:1"]
    )
    def test_motd_shows_no_password(self, url: str) -> None:
        agent = replace(AGENT, ironic_urls=(url, url), inspector_urls=(url,))
        text = self.motd(agent)
        assert "ter2" not in text
        assert "hun" not in text


class TestConfig:
    @pytest.mark.parametrize("agent", [AGENT, FULL])
    @pytest.mark.parametrize(
        "host",
        [
            Host(),
            HOST,
            replace(HOST, extra=FULL.extra),
            Host(name='"\\é', keyfiles=(Keyfile(name='"a\\é".nmconnection', content='"\\é\t'),)),
        ],
    )
    def test_version_and_canonical_form(self, agent: Agent, host: Host) -> None:
        data = config(agent, host)
        value = json.loads(data)
        assert value["ignition"]["version"] == "3.2.0"
        assert (
            data
            == json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        )

    def test_writes_keys_of_the_core_user(self) -> None:
        (user,) = made(FULL)["passwd"]["users"]
        assert user == {"name": "core", "sshAuthorizedKeys": list(FULL.ssh_keys)}
        assert "passwd" not in made()

    def test_writes_a_duplicate_key_once(self) -> None:
        """Ignition refuses a config with a duplicate: no host would boot."""
        (user,) = made(replace(AGENT, ssh_keys=("a", "b", "a")))["passwd"]["users"]
        assert user["sshAuthorizedKeys"] == ["a", "b"]

    def test_equal_inputs_give_equal_bytes(self) -> None:
        other = replace(FULL, no_proxy="x")
        assert config(FULL, HOST) == config(replace(other, no_proxy=FULL.no_proxy), replace(HOST))
        assert config(FULL, HOST) != config(other, HOST)

    def test_every_setting_changes_the_config(self) -> None:
        plain = config(AGENT, HOST)
        for name in FULL.__slots__:
            if name in ("image", "ironic_urls", "vlan_interfaces"):
                continue
            assert config(replace(AGENT, **{name: getattr(FULL, name)}), HOST) != plain, name

    def test_refuses_a_config_without_ironic_or_agent(self) -> None:
        with pytest.raises(BuildInvalid, match="IRONIC_BASE_URL"):
            config(replace(AGENT, ironic_urls=()), HOST)
        with pytest.raises(BuildInvalid, match="IRONIC_AGENT_IMAGE"):
            config(replace(AGENT, image=""), HOST)

    def test_ignition_accepts_the_config(self, tmp_path: Path) -> None:
        if not shutil.which("ignition-validate"):
            pytest.skip("no ignition-validate program here")
        nasty = replace(FULL, ip_options=" ".join(NASTY), ssh_keys=("k", "k"))
        for number, value in enumerate(
            (config(AGENT, Host()), config(FULL, HOST), config(nasty, replace(HOST, name="\u00e9")))
        ):
            path = tmp_path / f"{number}.ign"
            path.write_bytes(value)
            done = subprocess.run(["ignition-validate", path], capture_output=True, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_repr_shows_no_secret() -> None:
    secrets = replace(
        FULL,
        ironic_urls=("http://u:hunter2@h",),
        inspector_urls=("http://u:hunter2@h",),
        pull_secret=b"hunter2",
        ssh_keys=("hunter2",),
        registries_conf=b"hunter2",
        http_proxy="http://u:hunter2@h",
        https_proxy="http://u:hunter2@h",
        no_proxy="hunter2",
        ca_bundle=b"hunter2",
        ironic_ca_bundle=b"hunter2",
    )
    host = Host(name="h", keyfiles=(Keyfile(name="x", content="psk=hunter2"),))
    assert "hunter2" not in repr((secrets, host, host.keyfiles))
