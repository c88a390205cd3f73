"""A machine whose only program is NetworkManager, for types that this kernel may not have.

Debian's cloud kernel with the modules of those types, and this machine's NetworkManager, D-Bus
and iproute2 with their libraries, as an initramfs; what happens inside is ``nm_session.sh``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from e2e import guest, kernel, nm, parts

from mic.common.keyfile import Keyfile

_MINUTE = 60.0
_BOOT = 600.0
_PROGRAMS = {
    "NetworkManager": "network-manager",
    "nmcli": "network-manager",
    "dbus-daemon": "dbus-daemon",
    "dash": "dash",  # the shell of busybox prefers the ip of busybox
    "ip": "iproute2",
    "bridge": "iproute2",
}

_INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin 2>/dev/null
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
echo 1 >/proc/sys/kernel/printk
for again in 1 2 3; do
    for module in /modules/*.ko; do
        options=
        case $module in *bonding.ko) options=max_bonds=0 ;; esac # as systemd has it
        insmod "$module" $options 2>/dev/null
    done
done
dash /session /keyfiles "@LINKS@" "" @COUNT@
poweroff -f
"""


def activate(keyfiles: Sequence[Keyfile], directory: Path, links: Sequence[str]) -> nm.Outcome:
    """Have NetworkManager activate keyfiles in a guest, on veth pairs of these names."""
    machine = guest.qemu(memory=768)
    root = directory / "root"
    _write_root(root)
    nm.write(keyfiles, root / "keyfiles")
    init = _INIT.replace("@LINKS@", " ".join(links)).replace("@COUNT@", str(len(keyfiles)))
    (root / "init").write_text(init)
    (root / "init").chmod(0o755)
    initramfs = directory / "initramfs"
    with initramfs.open("wb") as output:
        subprocess.run(
            ["/bin/sh", "-c", "find . | busybox cpio -o -H newc"],
            cwd=root,
            stdout=output,
            stderr=subprocess.DEVNULL,
            timeout=_MINUTE,
            check=True,
        )
    done = subprocess.run(
        [
            *machine,
            *("-kernel", kernel.image(), "-initrd", initramfs),
            *("-append", f"console=ttyS0 quiet panic=-1 {kernel.NO_TIMER_CHECK}"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_BOOT,
        check=False,
    )
    return nm.outcome(done.stdout.decode("utf-8", "replace"))


def _write_root(root: Path) -> None:
    for name in ("bin", "dev", "proc", "sys", "run", "tmp", "etc/NetworkManager"):
        (root / name).mkdir(parents=True)
    (root / "var/lib/NetworkManager").mkdir(parents=True)
    (root / "var/run").symlink_to("/run")
    shutil.copy(parts.file("/bin/busybox", "busybox-static"), root / "bin/busybox")
    shutil.copy(nm.SESSION, root / "session")
    kernel.copy_modules(kernel.TYPES, root / "modules")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    for program, package in _PROGRAMS.items():
        path = parts.program(program, package)
        shutil.copy(path, root / "bin")
        listed = subprocess.run(
            ["ldd", path], capture_output=True, text=True, timeout=_MINUTE, check=True
        )
        for library in re.findall(r"(/\S+) \(0x", listed.stdout):
            target = root / library.lstrip("/")
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, target)
