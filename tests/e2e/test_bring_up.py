"""A Debian system that Ignition has written from a config of ours comes up as a host would.

systemd runs as PID 1 in a container, the agent's unit starts a podman that records how it was
called, NetworkManager activates the keyfile on a veth pair, and its dispatcher names the host.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from e2e import cache, debian, ignition
from e2e.hosts import AWKWARD, ETHERNET, FULL_AGENT

from mic.ignition import Host, config

_HOST = Host(name="worker-0", keyfiles=(ETHERNET,), network_data=True)
_IP_OPTIONS = f"ip=dhcp6 100%h {AWKWARD}"
_AGENT = replace(FULL_AGENT, ip_options=_IP_OPTIONS)

_IRONIC_CA = "/etc/pki/ca-trust/source/anchors/ironic-ca.crt"

# Says that it is ready, as conmon does, and stays: what podman's container does is not our matter.
_PODMAN = """\
#!/bin/sh
printf '%s\\0' "$@" > "/var/lib/e2e/$1.arguments"
cat "/proc/$$/environ" > "/var/lib/e2e/$1.environment"
case $1 in
run) systemd-notify --ready && exec sleep infinity ;;
esac
"""

_REPORT = """\
#!/bin/sh
cd /var/lib/e2e || exit 1
systemctl show ironic-agent.service -p ActiveState -p NRestarts -p Type > agent
nmcli -t -f NAME,DEVICE,STATE connection show --active > connections
ip -4 -brief address show dev eth0 > addresses
ip -4 route show default > routes
# The dispatcher runs its scripts in its own time.
for _ in $(seq 200); do
    read -r name < /proc/sys/kernel/hostname
    case $name in
    localhost | localhost.localdomain) sleep 0.1 ;;
    *) break ;;
    esac
done
echo "$name" > hostname
systemctl --no-block poweroff
"""

_REPORT_UNIT = """\
[Unit]
After=ironic-agent.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/report
"""

_FILES = {
    # A first boot, at which systemd applies the presets that Ignition leaves.
    "etc/machine-id": ("uninitialized\n", 0o644),
    # Debian's own presets enable all there is, and two of a kind wait for one network.
    "etc/systemd/system-preset/00-test.preset": ("disable systemd-networkd*\n", 0o644),
    # Only what has a keyfile: the veth's other end would be configured as well.
    "etc/NetworkManager/conf.d/test.conf": ("[main]\nno-auto-default=*\n", 0o644),
    "usr/bin/podman": (_PODMAN, 0o755),
    "usr/local/sbin/report": (_REPORT, 0o755),
    "etc/systemd/system/report.service": (_REPORT_UNIT, 0o644),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What a host's coming up has left in its tree."""

    tree: Path

    def said(self, name: str) -> str:
        return (self.tree / "var/lib/e2e" / name).read_text()

    def arguments(self, command: str) -> list[str]:
        return self.said(f"{command}.arguments").removesuffix("\0").split("\0")

    def environment(self, command: str) -> dict[str, str]:
        pairs = self.said(f"{command}.environment").removesuffix("\0").split("\0")
        return dict(pair.split("=", 1) for pair in pairs)


@pytest.fixture(scope="module")
def outcome() -> Iterator[_Outcome]:
    """The host, brought up once and switched off again."""
    source = debian.networkmanager_tree()
    with cache.scratch() as work:
        tree = work / "root"
        debian.copy(source, tree)
        debian.write(tree, _FILES)
        (tree / "var/lib/e2e").mkdir()
        # As on CoreOS: the name is the kernel's own, and a static one would go before ours.
        assert not (tree / "etc/hostname").exists()
        wants = tree / "etc/systemd/system/multi-user.target.wants"
        (wants / "report.service").symlink_to("/etc/systemd/system/report.service")
        ignition.scratch_root(tree)
        ignition.apply(config(_AGENT, _HOST), tree, work)

        debian.boot(tree, "--hostname=localhost")
        yield _Outcome(tree=tree)


def test_the_agent_runs(outcome: _Outcome) -> None:
    assert set(outcome.said("agent").split()) == {
        "ActiveState=active",
        "NRestarts=0",
        "Type=notify",
    }


def test_podman_gets_the_arguments_of_the_contract(outcome: _Outcome) -> None:
    options, image = _options(outcome.arguments("run"))
    assert image == _AGENT.image
    assert options == sorted(
        [
            "--detach",
            "--rm",
            "--cgroups=no-conmon",
            "--sdnotify=conmon",
            "--cidfile=/run/ironic-agent.service.ctr-id",
            "--privileged",
            "--network=host",
            "--ipc=host",
            "--uts=host",
            "--name=ironic-agent",
            "--authfile=/etc/authfile.json",
            "--mount=type=bind,src=/etc/ironic-python-agent.conf,"
            "dst=/etc/ironic-python-agent/ignition.conf",
            "--mount=type=bind,src=/dev,dst=/dev",
            "--mount=type=bind,src=/sys,dst=/sys",
            "--mount=type=bind,src=/run/udev,dst=/run/udev",
            "--mount=type=bind,src=/run/dbus/system_bus_socket,dst=/run/dbus/system_bus_socket",
            "--mount=type=bind,src=/,dst=/mnt/coreos",
            f"--mount=type=bind,src={_IRONIC_CA},dst={_IRONIC_CA},readonly",
            f"--env=IPA_COREOS_IP_OPTIONS={_IP_OPTIONS}",
            "--env=IPA_COREOS_COPY_NETWORK=true",
            "--env=IPA_DEFAULT_HOSTNAME=worker-0",
            f"--env=REQUESTS_CA_BUNDLE={_IRONIC_CA}",
            f"--env=SSL_CERT_FILE={_IRONIC_CA}",
        ]
    )


def test_podman_gets_the_proxies_as_they_were_written(outcome: _Outcome) -> None:
    environment = outcome.environment("run")
    assert environment["HTTP_PROXY"] == AWKWARD
    assert environment["HTTPS_PROXY"] == _AGENT.https_proxy
    assert environment["NO_PROXY"] == _AGENT.no_proxy


def test_podman_is_asked_to_stop_and_remove_the_container(outcome: _Outcome) -> None:
    identity = "--cidfile=/run/ironic-agent.service.ctr-id"
    assert identity in outcome.arguments("stop")
    assert identity in outcome.arguments("rm")


def test_networkmanager_activates_the_connection(outcome: _Outcome) -> None:
    assert "eth0:eth0:activated" in outcome.said("connections").splitlines()
    assert "192.0.2.10/24" in outcome.said("addresses").split()
    assert outcome.said("routes").startswith("default via 192.0.2.1 dev eth0")


def test_the_host_has_its_name(outcome: _Outcome) -> None:
    assert outcome.said("hostname") == "worker-0\n"


def test_the_pull_secret_is_for_root_alone(outcome: _Outcome) -> None:
    status = (outcome.tree / "etc/authfile.json").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o600)


def _options(arguments: list[str]) -> tuple[list[str], str]:
    """podman run's options, each as ``--name=value`` and sorted, and the image."""
    command, *rest, image = arguments
    assert command == "run"
    options: list[str] = []
    for argument in rest:
        if argument.startswith("--"):
            options.append(argument)
        else:
            options[-1] += f"={argument}"
    return sorted(options), image
