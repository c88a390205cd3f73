"""The units of deploy/systemd under a real systemd: PID 1 of a container that nspawn boots.

Static mode; controller mode is in test_systemd_controller.py. Covers: the unit starts and says
so, reads credentials, reloads, is restarted when it is killed or hangs, restarts under load
without refusing a connection, and stops. What systemd thinks of the units' hardening is held, too.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import issue
from e2e.machine import ROOT, SECRET, UNITS, Machine, booted, enable, eventually
from functional.media import write_certificate

STATIC = "mic-static.service"

_MINUTE = 60.0


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A system with mic installed, its static mode enabled, booted."""
    with booted(STATIC, _prepare) as machine:
        machine.systemctl("start", STATIC)
        yield machine


def _prepare(tree: Path) -> None:
    shutil.copy(tree / "srv/mic/hosts/worker-0.yaml", tree / "etc/mic/hosts")
    enable(tree, STATIC, "mic-static.socket")


def _config(machine: Machine, name: str) -> str:
    """What mic itself finds in an image that the service serves."""
    return machine.run(
        *("/opt/mic/bin/mic", "show", "-json", "-show-secrets"), f"http://127.0.0.1:8084/{name}"
    )


def test_the_units_are_valid(machine: Machine) -> None:
    for unit in sorted(UNITS.glob("mic-*")):
        assert machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{unit.name}") == ""


@pytest.mark.parametrize(
    ("unit", "most"),
    [("mic-static.service", 11), ("mic-controller.service", 11), ("mic-fetch@x.service", 15)],
)
def test_systemd_finds_little_to_harden(machine: Machine, unit: str, most: int) -> None:
    machine.run("systemd-analyze", "security", f"--threshold={most}", "--no-pager", unit)


def test_both_services_are_hardened_alike() -> None:
    def hardening(mode: str) -> str:
        text = (UNITS / f"mic-{mode}.service").read_text()
        return text[text.index("# A dynamic user, created at the start") : text.index("[Install]")]

    assert hardening("static") == hardening("controller")


def test_downloads_a_base_image_in_its_sandbox(machine: Machine) -> None:
    """One that mic serves, which has all that a base image has."""
    environment = machine.tree / "etc/mic/fetch-other.env"
    image = machine.get("/worker-0.iso")
    digest = hashlib.sha256(image).hexdigest()
    url = "http://127.0.0.1:8084/worker-0.iso"
    environment.write_text(f"MIC_FETCH_FLAGS=-sha256={digest} {url}\n")
    machine.systemctl("start", "mic-fetch@other.service")
    target = machine.tree / "srv/mic/other.iso"
    assert target.read_bytes() == image
    assert target.stat().st_mode & 0o777 == 0o644
    machine.run("sh", "-c", "cd /srv/mic && sha256sum --check --strict other.iso.sha256")
    # A failure changes nothing, and says why.
    environment.write_text(f"MIC_FETCH_FLAGS=-sha256={'0' * 64} {url}\n")
    assert "failed" in machine.run("systemctl", "start", "mic-fetch@other.service", check=False)
    machine.systemctl("stop", "mic-fetch@other.service")
    said = machine.run("journalctl", "--no-pager", "--unit=mic-fetch@other.service")
    assert f"its sha256 is {digest}, expected is 0" in said
    assert target.read_bytes() == image
    assert not [each for each in target.parent.iterdir() if each.name.startswith(".")]
    machine.systemctl("enable", "--now", "mic-fetch@other.timer")
    assert "mic-fetch@other.timer" in machine.systemctl("list-timers", "--no-pager")
    machine.systemctl("disable", "--now", "mic-fetch@other.timer")


def test_it_says_that_it_serves_and_what(machine: Machine) -> None:
    assert machine.show("Type") == "notify"
    assert machine.show("NRestarts") == "0"
    assert machine.show("StatusText").startswith("serving 2 images on [::]:8084")


def test_it_is_no_user_that_the_system_knows(machine: Machine) -> None:
    status = machine.run("cat", f"/proc/{machine.show('MainPID')}/status")
    ids = re.search(r"^Uid:\s+(\d+)\s+(\d+)", status, re.MULTILINE)
    assert ids
    assert 61184 <= int(ids[1]) <= 65519  # systemd's range for DynamicUser=


def test_root_gets_its_status_and_others_are_not(machine: Machine) -> None:
    status = ("/opt/mic/bin/mic", "status")
    told = json.loads(machine.run(*status, "-json"))
    assert str(told["pid"]) == machine.show("MainPID"), "no other, though mic has another user"
    assert {image["label"] for image in told["images"]} == {"worker-0.iso", "worker-0.initramfs"}
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    said = machine.run(*nobody, *status, check=False)
    assert "run mic status as that user or as root" in said


def test_the_pull_secret_comes_from_the_credential(machine: Machine) -> None:
    assert json.loads(SECRET)["auths"]["quay.io"]["auth"] in _config(machine, "worker-0.iso")


def test_a_reload_takes_up_a_new_host_and_is_reported(machine: Machine) -> None:
    process = machine.show("MainPID")
    (machine.tree / "etc/mic/hosts/late.yaml").touch()
    machine.systemctl("reload", STATIC)
    eventually(
        lambda: machine.show("StatusText").startswith("serving 4 images"), "the host in the status"
    )
    assert machine.show("ActiveState") == "active"
    assert machine.get("/late.iso")
    assert "SIGHUP: reloading" in machine.journal()
    assert machine.show("MainPID") == process


def test_it_comes_back_when_it_is_killed_and_no_client_notices(machine: Machine) -> None:
    before = int(machine.show("NRestarts"))
    process = machine.show("MainPID")
    machine.systemctl("kill", "--kill-whom=main", "--signal=KILL", STATIC)
    # Waits in the socket until the service is back.
    assert machine.get("/worker-0.iso")
    assert int(machine.show("NRestarts")) == before + 1
    assert machine.show("MainPID") != process


def test_a_loop_that_hangs_is_noticed_and_ended(machine: Machine) -> None:
    # Not less: on a busy machine a process that does not hang may have no turn for seconds.
    with machine.changed("WatchdogSec=10\n"):
        before = int(machine.show("NRestarts"))
        process = machine.show("MainPID")
        machine.systemctl("kill", "--kill-whom=main", "--signal=STOP", STATIC)
        eventually(lambda: int(machine.show("NRestarts")) == before + 1, "another try")
        assert machine.get("/worker-0.iso")
        assert machine.show("MainPID") != process


def test_tls_works_in_the_sandbox_with_its_key_as_a_credential(
    machine: Machine, tmp_path: Path
) -> None:
    cert, key = write_certificate(tmp_path)
    shutil.copy(cert, machine.tree / "etc/mic/tls.crt")
    shutil.copy(key, machine.tree / "etc/mic/tls.key")
    (machine.tree / "etc/mic/tls.key").chmod(0o600)
    plain = machine.get("/worker-0.iso")
    text = (ROOT / "docs/systemd.md").read_text()
    found = re.search(r"\[Service\]\n(LoadCredential=tls.*?)```", text, re.DOTALL)
    assert found
    with machine.changed(found[1]):
        assert machine.get("/worker-0.iso", "https") == plain


def test_a_key_for_a_group_is_followed_and_plain_http_is_beside_it(machine: Machine) -> None:
    plain = machine.get("/worker-0.iso")
    machine.run("groupadd", "--system", "ssl-cert")
    cert, key = machine.tree / "etc/mic/tls.crt", machine.tree / "etc/mic/tls.key"
    first, second = issue(), issue()
    cert.write_bytes(first.chain_pem)
    key.write_bytes(first.key_pem)
    machine.run("chgrp", "ssl-cert", "/etc/mic/tls.key")
    key.chmod(0o640)
    text = (ROOT / "docs/systemd.md").read_text()
    group = re.search(r"\[Service\]\n(SupplementaryGroups=ssl-cert\n)", text)
    socket_unit = re.search(
        r"```ini\n(\[Unit\]\nDescription=[^\n]*plain HTTP.*?)```", text, re.DOTALL
    )
    assert group
    assert socket_unit
    (machine.tree / "etc/systemd/system/mic-static-http.socket").write_text(socket_unit[1])
    flags = (
        "-images-tls-cert-file=/etc/mic/tls.crt -images-tls-key-file=/etc/mic/tls.key "
        "-images-http-bind-addr=127.0.0.1:1"
    )
    command = f"ExecStart=/opt/mic/bin/mic static -nmstate-dir=/etc/mic/hosts {flags}"
    machine.systemctl("daemon-reload")
    machine.systemctl("stop", STATIC)
    machine.systemctl("start", "mic-static-http.socket")
    with machine.changed(f"{group[1]}ExecStart=\n{command}\n"):
        assert machine.get("/worker-0.iso", "https") == plain
        assert machine.get("/worker-0.iso", port=8085) == plain
        key.write_bytes(second.key_pem)
        cert.write_bytes(second.chain_pem)
        machine.systemctl("reload", STATIC)
        # systemctl does not wait for a service that takes long to begin its reload.
        eventually(lambda: f"serial number {second.serial}" in machine.journal(), "it is in force")
        assert machine.get("/worker-0.iso", "https") == plain
        machine.systemctl("restart", STATIC)
        assert machine.get("/worker-0.iso", port=8085) == plain
        machine.systemctl("stop", "mic-static-http.socket")


def test_restarts_under_load_refuse_no_connection(machine: Machine) -> None:
    path = "/worker-0.initramfs"
    load = machine.load(path, hashlib.sha256(machine.get(path)).hexdigest())
    assert load.stdout is not None
    for _ in range(3):
        assert load.stdout.readline() == "hundred\n"
        machine.systemctl("restart", STATIC)
    counts, _ = load.communicate("", timeout=_MINUTE)
    assert load.returncode == 0
    outcome = json.loads(counts.splitlines()[-1])
    assert outcome.pop("good") >= 300
    assert outcome == {}


def test_a_start_that_fails_reports_the_reason_and_is_tried_again(machine: Machine) -> None:
    iso = machine.tree / "srv/mic/coreos.iso"
    iso.rename(iso.with_name("away"))
    done = machine.run("systemctl", "restart", STATIC, check=False)
    assert "failed" in done
    assert "DEPLOY_ISO: base image /srv/mic/coreos.iso" in machine.journal()
    iso.with_name("away").rename(iso)
    assert machine.get("/worker-0.iso")


def test_it_stops_when_it_is_asked_to(machine: Machine) -> None:
    machine.systemctl("stop", "mic-static.socket", STATIC)
    assert machine.show("Result") == "success"
    assert machine.show("ExecMainStatus") == "0"
    assert not re.search("Traceback|critical", machine.journal())
