"""``mic check`` of static mode and of documents: all that is wrong at once, nothing written."""

from __future__ import annotations

import json
import lzma
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import forkserver
import pytest
from certificates import issue
from functional.media import Media, make_hosts
from toys import KERNEL

from mic.media.isowriter import coreos_files, write_iso

IPV4 = """\
interfaces:
- name: eth0
  type: ethernet
  ipv4: {enabled: true, address: [{ip: 192.0.2.9, prefix-length: 24}]}
dns-resolver: {config: {server: [192.0.2.53]}}
"""
BAD = "interfaces: [{name: d0, mtu: x}, {name: d1, foo: 1}]\n"
PULL_SECRET = '{"auths": {"quay.io": {"auth": "aHVudGVyMjpodW50ZXIy"}}}'
PASSWORD = "hunter2"


class Check:
    """Runs ``mic check`` in an environment of its own, and sees that it changes no file."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory = directory
        self.environment = environment
        self.hosts = make_hosts(directory / "hosts")

    def host(self, name: str, content: str = IPV4) -> Path:
        path = self.hosts / name
        path.write_text(content)
        return path

    def run(self, *arguments: str | Path, stdin: str = "") -> tuple[int, str, str]:
        before = list(_files(self.directory))
        done = forkserver.run("check", *arguments, environment=self.environment, stdin=stdin)
        assert list(_files(self.directory)) == before
        return done.returncode, done.stdout, done.stderr

    def static(self, *arguments: str | Path) -> tuple[int, list[str]]:
        status, out, err = self.run("-nmstate-dir", self.hosts, *arguments)
        assert err == ""
        return status, out.splitlines()


def _files(directory: Path) -> Iterator[tuple[Path, int, int]]:
    for path in sorted(directory.rglob("*")):
        stat = path.lstat()
        yield path, stat.st_mtime_ns, stat.st_mode


@pytest.fixture
def check(media: Media, tmp_path: Path) -> Check:
    # On the link of each host.
    return Check(tmp_path, {**media.environment, "IRONIC_AGENT_IMAGE": "192.0.2.5:5000/ipa"})


def test_nothing_is_wrong(check: Check) -> None:
    check.host("worker-0.yaml")
    check.host("worker-1.json")
    check.host("worker-2.yml", "")
    assert check.static("-strict") == (0, ["3 hosts: 0 errors, 0 warnings"])


def test_minimal_isos_fetch_the_rootfs(check: Check, shared: Path) -> None:
    iso = check.directory / "coreos.iso"
    packed = shared / "fixtures/coreos-iso/embed-areas-2023-07.x86_64.iso.xz"
    iso.write_bytes(lzma.decompress(packed.read_bytes()))
    check.environment |= {"DEPLOY_ISO": str(iso), "MIC_ISO": "minimal"}
    check.host("worker-0.yaml")
    status, lines = check.static()
    assert status == 0, lines  # from mic itself
    check.environment["IRONIC_ROOTFS_URL"] = "http://[fd00::1]/rootfs.img"
    status, lines = check.static()
    assert status == 0, lines
    assert any("the rootfs is at [fd00::1]:80 and the host has" in line for line in lines), lines


def test_doubts_beside_invalid_kernel_arguments(check: Check) -> None:
    host = check.host("worker-0.yaml", IPV4.replace("type: ethernet", "type: ethrnet"))
    check.host("worker-0.kargs", "root=/dev/sda")
    status, lines = check.static()
    assert status == 1
    assert lines[0] == f"{host}:"
    assert "  error: worker-0.kargs: " in lines[1]
    assert "did you mean ethernet?" in lines[2]
    assert lines[3:] == ["1 host: 1 error, 1 warning"]


def test_all_kinds_of_input_of_a_host_are_reported(check: Check) -> None:
    check.host("worker-0.yaml", "interfaces:\n- name: eth0\n   type: ethernet\n")
    check.host("worker-0.kargs", "root=/dev/sda")
    check.host("worker-0.ign", "variant: fcos")
    status, lines = check.static()
    assert status == 1
    path, network, line, caret, ignition, arguments = lines[:-1]
    assert path == f"{check.hosts / 'worker-0.yaml'}:"
    assert "document: line 3 column 8: " in network
    assert (line, caret) == ("      type: ethernet", "          ^")
    assert "worker-0.ign: is YAML, not JSON" in ignition
    assert "worker-0.kargs: line 1: 'root=/dev/sda'" in arguments
    assert lines[-1] == "1 host: 3 errors, 0 warnings"


def test_the_ignition_of_hosts_is_validated(check: Check) -> None:
    if shutil.which("ignition-validate") is None:
        pytest.skip("no ignition-validate program here")
    check.host("worker-0.yaml", IPV4)
    config = {"ignition": {"version": "3.2.0"}, "storage": {"files": [{"path": "etc/x"}]}, "foo": 1}
    check.host("worker-0.ign", json.dumps(config))
    status, lines = check.static()
    assert status == 1
    error, warning = lines[1:3]
    assert error.startswith("  error: worker-0.ign: $.storage.files.0.path, line 1 col ")
    assert error.endswith(": path not absolute (ignition-validate)")
    assert warning.startswith("  warning: worker-0.ign: $.foo, line 1 col ")


def test_everything_that_is_wrong_at_once(check: Check) -> None:
    del check.environment["DEPLOY_INITRD"]
    check.environment |= {
        "DEPLOY_ISO": str(check.host("README", "no ISO")),
        "IRONIC_BASE_URL": "",
        "IRONIC_BASEURL": "http://192.0.2.2",
        "IRONIC_INSPECTOR_BASE_URL": "192.0.2.3",
        "CA_BUNDLE": "/nowhere/ca.pem",
    }
    check.host("worker-0.yaml")
    check.host("worker-0.yml")
    check.host("worker-1.yaml", BAD)
    check.host("worker-2.yaml", "a: [")
    (check.hosts / "worker-3.yaml").symlink_to("nowhere")
    status, lines = check.static("-images-bind-addr", "8084")
    assert status == 1
    assert lines[-1] == f"3 hosts: {_errors(lines)} errors, 3 warnings"
    text = "\n".join(lines)
    place = str(check.hosts)
    settings = text[: text.index(f"{place}/worker-0.yaml:\n")]
    assert settings.startswith("settings:\n  error: ")
    for expected in (
        "  error: DEPLOY_ISO: ",
        "  error: IRONIC_BASE_URL is empty: the agent would not know where Ironic is",
        "  error: IRONIC_INSPECTOR_BASE_URL: ",
        "  error: CA_BUNDLE: /nowhere/ca.pem: No such file or directory",
        "  error: -images-bind-addr: '8084' is not [HOST]:PORT",
        "  warning: unknown variable IRONIC_BASEURL: did you mean IRONIC_BASE_URL?",
        "  warning: -nmstate-dir: ignored: README, worker-3.yaml; host files are",
    ):
        assert settings.count(expected) == 1, text
    assert f"{place}/worker-0.yaml:\n  warning: worker-0.yml names the same host" in text
    assert f"{place}/worker-1.yaml:\n  error: interfaces[0].mtu: " in text
    assert "  error: interfaces[1].foo: " in text
    assert f"{place}/worker-2.yaml:\n  error: " in text


def _errors(lines: list[str]) -> int:
    return sum(line.startswith("  error: ") for line in lines)


def test_each_unset_variable_is_one_error(check: Check) -> None:
    check.environment.clear()
    status, lines = check.static()
    assert status == 1
    assert [line.split()[1] for line in lines if line.startswith("  error: ")] == [
        "DEPLOY_ISO",
        "IRONIC_AGENT_IMAGE",
        "IRONIC_BASE_URL",
    ]


def test_warnings_are_errors_when_strict(check: Check) -> None:
    check.environment["IRONIC_BASE_URL"] = "http://[fd00::1]"
    place = check.host("worker-0.yaml")
    expected = [
        f"{place}:",
        "  warning: IRONIC_BASE_URL: Ironic is at [fd00::1]:6385 and the host has IPv4 addresses"
        " only",
        "1 host: 0 errors, 1 warning",
    ]
    assert check.static() == (0, expected)
    assert check.static("-strict") == (1, expected)


def test_hosts_with_the_same_findings_are_listed_together(check: Check) -> None:
    check.environment["IRONIC_BASE_URL"] = "http://[fd00::1]"
    places = [check.host(f"worker-{n}.yaml") for n in (0, 2)]
    bad = check.host("worker-1.yaml", "interfaces: 1")
    status, lines = check.static()
    assert status == 1
    assert lines[:2] == [f"{place}:" for place in places]
    assert lines[2].startswith("  warning: IRONIC_BASE_URL: ")
    assert lines[3] == f"{bad}:"
    assert lines[4].startswith("  error: interfaces: ")
    assert lines[5:] == ["3 hosts: 1 error, 2 warnings"]


def test_scripts_for_network_boot_that_no_host_gets(check: Check) -> None:
    document = IPV4.replace("type: ethernet", "type: ethernet\n  mac-address: 52:54:00:00:00:0a")
    place = check.host("worker-0.yaml", document)
    twin = check.host("worker-1.yaml", document)
    boot = check.host("boot.yaml")
    mac = "52:54:00:00:00:0a"
    text = f"  warning: the MAC address {mac} is that of {{}}, too: no script is served for it"
    assert check.static() == (
        0,
        [
            f"{boot}:",
            "  warning: it has no script under its name: boot.ipxe leads all hosts to theirs",
            f"{place}:",
            text.format("worker-1"),
            f"{twin}:",
            text.format("worker-0"),
            "3 hosts: 0 errors, 3 warnings",
        ],
    )
    # Without a root file system there are no scripts at all.
    iso = check.directory / "coreos.iso"
    files = coreos_files(kernel=KERNEL, initramfs=b"initramfs", rootfs=b"rootfs")
    del files["/images/pxeboot/rootfs.img"]
    iso.write_bytes(write_iso(files))
    check.environment["DEPLOY_ISO"] = str(iso)
    assert check.static() == (0, ["3 hosts: 0 errors, 0 warnings"])


def test_an_image_that_cannot_be_made_of_its_base(check: Check) -> None:
    check.environment["MIC_KERNEL_ARGUMENTS"] = " ".join(f"a{n}=1" for n in range(1000))
    place = check.host("worker-0.yaml")
    status, lines = check.static()
    assert status == 1
    assert lines[0] == f"{place}:"
    assert "kernel arguments" in lines[1]


def test_an_empty_directory_name_is_no_cluster(check: Check) -> None:
    status, out, _ = check.run("-nmstate-dir", "")
    assert status == 1
    assert out.startswith("settings:\n  error: -nmstate-dir is missing: ")


def test_json(check: Check) -> None:
    check.environment["IRONIC_BASE_URL"] = "http://[fd00::1]"
    bad = check.host("worker-1.yaml", "interfaces: 1")
    place = check.host("worker-0.yaml")
    status, lines = check.static("-json")
    assert status == 1
    found: dict[str, Any] = json.loads("\n".join(lines))
    texts = [finding.pop("text") for finding in found["findings"]]
    assert texts[0].startswith("IRONIC_BASE_URL: Ironic is at ")
    assert texts[1].startswith("interfaces: ")
    assert found == {
        "mode": "static",
        "hosts": 2,
        "errors": 1,
        "warnings": 1,
        "findings": [
            {"severity": "warning", "subject": str(place), "host": "worker-0"},
            {"severity": "error", "subject": str(bad), "host": "worker-1"},
        ],
    }


def test_a_base_image_that_cannot_be_used(check: Check, tmp_path: Path) -> None:
    """It is one error, however many hosts there are."""
    iso = tmp_path / "plain.iso"
    iso.write_bytes(write_iso({"/README": b"no embed area"}))
    check.environment["DEPLOY_ISO"] = str(iso)
    check.host("worker-0.yaml")
    check.host("worker-1.yaml")
    status, lines = check.static()
    assert status == 1
    assert lines[0] == "settings:"
    assert str(iso) in lines[1]
    assert lines[-1] == "2 hosts: 1 error, 0 warnings"


def test_a_base_image_of_another_architecture(check: Check, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    iso = shared / "coreos_aarch64.iso"
    iso.write_bytes(b"no ISO")
    check.environment["IMAGE_SHARED_DIR"] = str(shared)
    check.host("worker-0.yaml")
    status, lines = check.static()
    assert status == 1
    assert lines[0] == "base images:"
    assert lines[1].startswith(f"  error: base image {iso}: ")
    assert lines[2:] == ["1 host: 1 error, 0 warnings"]


def test_a_directory_that_cannot_be_listed(check: Check) -> None:
    status, out, err = check.run("-nmstate-dir", check.directory / "none")
    assert (status, err) == (1, "")
    assert out.count("-nmstate-dir: ") == 1
    assert out.endswith("0 hosts: 1 error, 0 warnings\n")


def test_an_empty_directory(check: Check) -> None:
    assert check.static() == (
        0,
        [
            "settings:",
            f"  warning: -nmstate-dir: no host files (*.yaml, *.yml, *.json) in {check.hosts}",
            "0 hosts: 0 errors, 1 warning",
        ],
    )


def test_a_certificate_that_ends_soon_or_is_none(check: Check, tmp_path: Path) -> None:
    check.host("worker-0.yaml")
    issued = issue(start=datetime.now(UTC) - timedelta(days=10), life=timedelta(days=11))
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(issued.chain_pem)
    key.write_bytes(issued.key_pem)
    flags = ["-images-tls-cert-file", cert, "-images-tls-key-file", key]
    flags += ["-images-publish-addr", "https://localhost:8084"]
    status, lines = check.static(*flags)
    assert status == 0
    assert [line for line in lines if line.startswith("  warning: ") and "expires" in line], lines
    cert.write_text("none")
    status, lines = check.static(*flags)
    assert status == 1
    assert _errors(lines) == 1


def test_binds_no_port(check: Check) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        address = f"127.0.0.1:{port}"
        status, _ = check.static("-images-bind-addr", address, "-metrics-addr", address)
    assert status == 0


def test_shows_no_secret(check: Check) -> None:
    check.environment |= {
        "IRONIC_AGENT_PULL_SECRET": PULL_SECRET.replace("auths", "auth"),
        "IRONIC_BASE_URL": f"http://user:{PASSWORD}@[fd00::1]",
        "HTTPS_PROXY": f"http://user:{PASSWORD}@[fd00::2]:3128",
    }
    check.host("worker-0.yaml")
    for arguments in ([], ["-json"]):
        _, lines = check.static(*arguments)
        text = "\n".join(lines)
        assert "[fd00::2]:3128" in text
        assert PASSWORD not in text
        assert "aHVudGVy" not in text


def test_files_need_no_settings(check: Check) -> None:
    check.environment.clear()
    good, bad = check.host("good.yaml"), check.host("bad.txt", BAD)
    assert check.run(good, "-strict") == (0, "1 file: 0 errors, 0 warnings\n", "")
    status, out, err = check.run(good, bad, check.hosts, check.directory / "none")
    assert (status, err) == (1, "")
    assert out.splitlines()[0] == f"{bad}:"
    assert f"{check.hosts}:\n  error: a directory: check it with -nmstate-dir\n" in out
    assert f"{check.directory}/none:\n  error: No such file or directory\n" in out
    assert out.endswith("4 files: 4 errors, 0 warnings\n")


def test_files_with_settings(check: Check) -> None:
    check.environment |= {"IRONIC_BASE_URL": "http://[fd00::1]", "DEPLOY_ISO": "/none"}
    status, out, _ = check.run("-", stdin=IPV4)
    assert status == 0
    assert out.startswith("-:\n  warning: IRONIC_BASE_URL: Ironic is at [fd00::1]:6385")
    check.environment["IRONIC_BASE_URL"] = "fd00::1"
    status, out, _ = check.run("-", stdin=IPV4)
    assert status == 1
    assert out.startswith("settings:\n  error: IRONIC_BASE_URL: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-strict=maybe"],
        ["-nosuch"],
        ["-nmstate-dir"],
        ["-nmstate-dir", "x", "-namespace", "y"],
        ["-nmstate-dir", "x", "file"],
        ["-namespace", "y", "file"],
    ],
)
def test_usage_errors(check: Check, arguments: list[str]) -> None:
    status, out, err = check.run(*arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("mic check: ")
    assert err.endswith("see mic check -h\n")


def test_names_a_flag_of_another_mode(check: Check) -> None:
    _, _, err = check.run("-nmstate-dir", "x", "--namespace=y")
    assert err == "mic check: -namespace does not go with -nmstate-dir; see mic check -h\n"
    _, _, err = check.run("file", "-metrics-addr", ":1")
    assert err == "mic check: -metrics-addr does not go with files; see mic check -h\n"


def test_help(check: Check) -> None:
    status, out, err = check.run("-h")
    assert (status, err) == (0, "")
    for expected in ("-strict", "-json", "-nmstate-dir", "-namespace", "IRONIC_BASE_URL"):
        assert expected in out
