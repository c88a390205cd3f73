"""The real Ignition, run as a process on a tree of files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from e2e import parts

_STAGES = ("fetch-offline", "fetch", "kargs", "disks", "mount", "files")
_PLACE = "/usr/lib/dracut/modules.d/30ignition"
_MINUTE = 60.0


def validate(config: Path) -> str:
    """What ``ignition-validate`` has to say: nothing, when there is nothing to complain of.

    Keys it does not know are only warnings to it, with status 0.
    """
    run = subprocess.run(
        [parts.program("ignition-validate", "ignition"), config],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_MINUTE,
        check=False,
    )
    return run.stdout.decode() + (f"status {run.returncode}" if run.returncode else "")


def apply(config: bytes, tree: Path, work: Path) -> None:
    """Apply a config to ``tree`` with all of Ignition's stages, as at a first boot."""
    ignition = parts.program("ignition", "ignition", _PLACE)
    parts.root("apply an Ignition config")
    system = work / "ignition-system"
    system.mkdir()
    (system / "user.ign").write_bytes(config)
    tools = work / "ignition-tools"
    tools.mkdir()
    # Labels files for SELinux, which no scratch root has.
    (tools / "setfiles").write_text("#!/bin/sh\nexit 0\n")
    (tools / "setfiles").chmod(0o755)
    environment = {
        "PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin",
        "IGNITION_SYSTEM_CONFIG_DIR": os.fspath(system),
    }
    for stage in _STAGES:
        subprocess.run(
            [
                ignition,
                f"--root={tree}",
                "--platform=metal",
                f"--stage={stage}",
                f"--config-cache={work / 'ignition.json'}",
                f"--neednet={work / 'neednet'}",
                f"--state-file={work / 'ignition-state'}",
                "--log-to-stdout",
            ],
            env=environment,
            timeout=_MINUTE,
            check=True,
        )


def scratch_root(tree: Path) -> None:
    """The least that Ignition needs of a system: its accounts, and an SELinux that is off."""
    files = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ncore:x:1000:1000::/home/core:/bin/sh\n",
        "etc/group": "root:x:0:\ncore:x:1000:\n",
        "etc/shadow": "root:*:19000:0:99999:7:::\ncore:*:19000:0:99999:7:::\n",
        "etc/gshadow": "root:*::\ncore:*::\n",
        "etc/selinux/config": "SELINUX=disabled\nSELINUXTYPE=none\n",
        "etc/selinux/none/contexts/files/file_contexts": "",
        "etc/chrony.conf": "# without a newline at its end",
    }
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tree / "home/core").mkdir(parents=True)
    os.chown(tree / "home/core", 1000, 1000)
