"""Attacks on a running mic in static mode, each for a fault that was found once.

    python bench/attacks.py [pull] [private-keys] [file-names] [links] [--all] [--checkout DIR]

* ``pull``: an image must not let podman pull the agent from whoever answers.
* ``private-keys``: private keys where every image would show them, and in ``mic show``.
* ``file-names``: NMState documents whose names become paths of files on the host.
* ``links``: links in ``-nmstate-dir`` to files that nobody should see.

A line for each attack; the status is 1 when one gets through. Without ``--all`` few formats and
disguises of private keys are tried. ``--checkout`` attacks another version of mic.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

import forkserver  # noqa: E402
from functional.daemon import Daemon  # noqa: E402
from functional.media import make_media  # noqa: E402
from private_keys import FORMS, body, disguised, forms, public_key  # noqa: E402

from mic.common.keyfile import Keyfile  # noqa: E402
from mic.ignition import Agent, Host, config  # noqa: E402
from mic.media.cpio import archive, config_of  # noqa: E402

CANARY = "canary7hunter2"
"""Stands in files that must not be seen."""

_STARTS = """\
try:
    from mic.cli.main import main
except ImportError:
    from mic.cli import main
main()
"""
_FEW = ("as it is", "base64", "in a public key's line")
_NAMES = {
    "258 bytes": "n" * 258,
    "60,000 bytes": "n" * 60_000,
    "255 characters of two bytes": "\u00e9" * 255,
    "a line break": "a\nb",
    "an escape": "a\x1b[2Jb",
    "a leading dot": ".hidden",
    "two dots": "..",
    "a slash": "eno1/2",
    "a way up": "../../../etc/cron.d/x",
    "a no-break space": "a\u00a0b",
    "a zero-width space": "a\u200bb",
    "text from right to left": "a\u202egnp.b",
}


class Attacks:
    """What was tried on one version of mic, and what got through."""

    def __init__(self, checkout: Path, directory: Path, *, everything: bool) -> None:
        self.checkout = checkout
        self.directory = directory
        self.everything = everything
        self.media = make_media(directory, 1024 * 1024).write()
        self.failed = 0
        self._count = 0

    @property
    def forms(self) -> tuple[str, ...]:
        """The formats of private keys that are tried."""
        return FORMS if self.everything else ("OpenSSH", "PuTTY 3")

    def say(self, attack: str, fault: str) -> None:
        """Print the outcome of an attack: ``fault`` is how it got through."""
        self.failed += bool(fault)
        print(
            f"{'GOT THROUGH' if fault else 'held':11}  {attack}{fault and f': {fault}'}", flush=True
        )

    def hosts(self, documents: dict[str, str]) -> Path:
        """A new directory of host files."""
        self._count += 1
        hosts = self.directory / f"hosts-{self._count}"
        hosts.mkdir()
        for name, text in documents.items():
            (hosts / name).write_text(text)
        return hosts

    @contextmanager
    def mic(self, hosts: Path, **environment: str) -> Iterator[Daemon]:
        """A mic that serves, or has ended."""
        daemon = Daemon(
            self.directory / f"log-{hosts.name}",
            [
                "static",
                "-images-bind-addr=127.0.0.1:0",
                "-metrics-addr=127.0.0.1:0",
                f"-nmstate-dir={hosts}",
            ],
            {**self.environment, **environment},
            # The fork server has this version imported, and no other.
            command=() if self._is_ours else (sys.executable, "-c", _STARTS),
            cwd=self.directory,
        )
        try:
            while daemon.process.poll() is None and " images on " not in daemon.whole_log:
                time.sleep(0.02)
            yield daemon
        finally:
            daemon.kill()

    @property
    def _is_ours(self) -> bool:
        return self.checkout == HERE.parent

    @property
    def environment(self) -> dict[str, str]:
        return {**self.media.environment, "PYTHONPATH": str(self.checkout)}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another of mic's commands."""
        if self._is_ours:
            return forkserver.run(*arguments, environment=self.environment, cwd=self.directory)
        return subprocess.run(
            [sys.executable, "-c", _STARTS, *arguments],
            env={"PATH": os.environ["PATH"], **self.environment},
            cwd=self.directory,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )

    def config(self, daemon: Daemon, host: str) -> dict[str, Any] | None:
        """The Ignition config in a host's initramfs, None when it is not served."""
        connection = http.client.HTTPConnection(*daemon.tcp, timeout=10)
        connection.request("GET", f"/{host}.initramfs")
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if answer.status != 200:
            return None
        value: dict[str, Any] = json.loads(config_of(data[len(self.media.initramfs) :]))
        return value


def pull(attacks: Attacks) -> None:
    """The unit's podman command must verify the registry."""
    with attacks.mic(attacks.hosts({"w.yaml": ""})) as daemon:
        value = attacks.config(daemon, "w")
        unit = value["systemd"]["units"][0]["contents"] if value else "tls-verify: no image"
    attacks.say("pull of the agent from any server", "--tls-verify" if "tls-verify" in unit else "")


def private_keys(attacks: Attacks) -> None:
    """No private key may get into an image, an error, the log or ``mic show``."""
    hosts = attacks.hosts({"w.yaml": ""})
    for form in attacks.forms:
        for what, text in disguised(forms()[form]):
            if attacks.everything or what in _FEW:
                fault = _embedded(attacks, hosts, form, text, IRONIC_RAMDISK_SSH_KEY=text)
                attacks.say(f"{form} key as IRONIC_RAMDISK_SSH_KEY, {what}", fault)
    text = f"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n{forms()['PKCS#8']}"
    path = attacks.directory / "bundle.pem"
    path.write_text(text)
    for name in ("CA_BUNDLE", "IRONIC_CA_BUNDLE", "REGISTRIES_CONF_PATH"):
        attacks.say(
            f"key in {name}", _embedded(attacks, hosts, "PKCS#8", text, **{name: str(path)})
        )
    with attacks.mic(hosts, IRONIC_RAMDISK_SSH_KEY=f"{CANARY}\n{public_key()}") as daemon:
        value = attacks.config(daemon, "w") if daemon.process.poll() is None else None
        seen = json.dumps(value) + daemon.whole_log
    fault = "mic does not start" if value is None else ""
    attacks.say(
        "prose as IRONIC_RAMDISK_SSH_KEY", fault or (CANARY in seen and "it is shown") or ""
    )
    _shown(attacks)


def _embedded(attacks: Attacks, hosts: Path, form: str, text: str, **environment: str) -> str:
    secrets = [*body(forms()[form]), base64.b64encode(text.encode()).decode()[32:64]]
    with attacks.mic(hosts, **environment) as daemon:
        if any(secret in daemon.whole_log for secret in secrets):
            return "it is in the log"
        if daemon.process.poll() is None:
            return "mic starts"
        return "" if daemon.process.returncode == 1 else f"status {daemon.process.returncode}"


def _shown(attacks: Attacks) -> None:
    """``mic show`` of an image that somebody else made."""
    for form in attacks.forms:
        text = forms()[form]
        agent = Agent(
            image="quay.io/ipa",
            ironic_urls=("http://ironic",),
            ssh_keys=tuple(text.splitlines()),
            registries_conf=base64.b64encode(text.encode()),
            ca_bundle=text.encode(),
        )
        keyfile = Keyfile(name="a.nmconnection", content=f"[802-1x]\nx={text}")
        path = attacks.directory / "third.initramfs"
        path.write_bytes(
            attacks.media.initramfs + archive(config(agent, Host(keyfiles=(keyfile,))))
        )
        done = attacks.command("show", str(path))
        encoded = base64.b64encode(text.encode()).decode()
        secrets = [*body(text), encoded[32:64]]
        fault = "it is shown" if any(part in done.stdout for part in secrets) else ""
        attacks.say(
            f"{form} key in mic show", fault or ("" if done.returncode == 0 else done.stderr)
        )


def file_names(attacks: Attacks) -> None:
    """A name of a profile must not become a path that is more than a file name."""
    documents = {
        f"h{number}.yaml": json.dumps(
            {"interfaces": [{"name": "eth0", "profile-name": name, "type": "dummy", "state": "up"}]}
        )
        for number, name in enumerate(_NAMES.values())
    }
    hosts = attacks.hosts(documents)
    checked = attacks.command("keyfiles", *(str(hosts / name) for name in documents)).stderr
    with attacks.mic(hosts) as daemon:
        for number, what in enumerate(_NAMES):
            value = attacks.config(daemon, f"h{number}")
            fault = "" if value is None else "it is in an image"
            if value is None and f"{hosts}/h{number}.yaml: " not in checked:
                fault = "mic keyfiles accepts it"
            attacks.say(f"profile name with {what}", fault)
        text = daemon.whole_log
    attacks.say("names in the log", "an escape" if "\x1b" in text else "")


def links(attacks: Attacks) -> None:
    """Files that links lead to must not be seen in the log or on a page."""
    secrets = attacks.directory / "secrets"
    secrets.mkdir()
    targets = {
        "passwd": f"root:{CANARY}:0:0:root:/root:/bin/bash\nmic:x:1:1::/:{CANARY}\n",
        "kubeconfig": f"apiVersion: v1\nusers:\n- name: {CANARY}\n  {CANARY}: {CANARY}\n",
        "key": f"{CANARY}: 1\n",
        "value": f"interfaces:\n- name: eth0\n  type: {CANARY}\n  mtu: {CANARY}\n",
        "name": f"interfaces:\n- {{name: '{CANARY}/', type: dummy, state: up}}\n",
        "broken": f"{CANARY}: {CANARY}: {CANARY}\n",
        "tag": f"a: !{CANARY} b\n",
        "json": f'{{"interfaces": "{CANARY}", "{CANARY}": 1}}',
        "twice": f"{CANARY}: 1\n{CANARY}: 2\n",
    }
    hosts = attacks.hosts({"good.yaml": ""})
    for name, text in targets.items():
        (secrets / name).write_text(text)
        (hosts / f"{name}.yaml").symlink_to(secrets / name)
    (hosts / "sub").symlink_to(secrets)
    (hosts / "chain.yaml").symlink_to("sub/key")
    (hosts / "environment.yaml").symlink_to("/proc/self/environ")
    with attacks.mic(hosts, IP_OPTIONS=CANARY) as daemon:
        served = attacks.config(daemon, "good") is not None
        (where,) = re.findall(r"health and metrics on (\S+)", daemon.whole_log)
        host, _, port = where.rpartition(":")
        seen = {
            "the log": daemon.whole_log,
            "/readyz": _page(host, int(port), "/readyz"),
            "/metrics": _page(host, int(port), "/metrics"),
            "mic status": attacks.command("status", f"-pid={daemon.pid}").stdout,
            "mic status -json": attacks.command("status", "-json", f"-pid={daemon.pid}").stdout,
        }
    for place, text in seen.items():
        fault = "a file's content is there" if CANARY in text else ""
        attacks.say(f"links out of -nmstate-dir, in {place}", fault or ("" if text else "nothing"))
    attacks.say("links beside a good host", "" if served else "it is not served")
    unnamed = [name for name in targets if f"{name}.yaml: " not in seen["/readyz"]]
    attacks.say("bad links are named", f"{unnamed} are not" if unnamed else "")


def _page(host: str, port: int, path: str) -> str:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


ATTACKS: dict[str, Callable[[Attacks], None]] = {
    "pull": pull,
    "private-keys": private_keys,
    "file-names": file_names,
    "links": links,
}


def main() -> int:
    """Attack; return 1 when something got through."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    parser.add_argument("--all", action="store_true", help="every disguise of every private key")
    parser.add_argument("--checkout", type=Path, default=HERE.parent, help="version to attack")
    options = parser.parse_args()
    unknown = [name for name in options.attacks if name not in ATTACKS]
    if unknown:
        parser.error(f"no such attack: {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="mic-attacks-") as directory:
        attacks = Attacks(options.checkout.resolve(), Path(directory), everything=options.all)
        for name in options.attacks or ATTACKS:
            ATTACKS[name](attacks)
    print(f"{attacks.failed} got through")
    return 1 if attacks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
