"""A machine that boots an image and reports which Ignition config it found: QEMU as the BMC.

The guest is Debian's kernel with an initramfs whose only program prints the SHA-256 of
``/config.ign``, which is where an archive of mic's puts the config, and switches the machine off.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e import cache, kernel, parts, release
from e2e.release import Media

_MINUTE = 60.0
_BOOT = 600.0

_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo
/bin/busybox sed "s/^/arguments: /" /proc/cmdline
/bin/busybox sha256sum /config.ign
if /bin/busybox grep -qw mic.medium /proc/cmdline; then
    for module in /modules/*.ko; do /bin/busybox insmod $module; done
    /bin/busybox mount -t devtmpfs devtmpfs /dev
    for attempt in $(/bin/busybox seq 1000); do
        [ -b /dev/vda ] || /bin/busybox usleep 10000
    done
    for tree in norock,nojoliet,map=n norock nojoliet; do
        /bin/busybox mount -t iso9660 -o ro,$tree /dev/vda /medium
        /bin/busybox sha256sum /medium/[Ii][Mm]*/[Ii][Gg]*
        /bin/busybox umount /medium
    done
fi
/bin/busybox poweroff -f
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """What a guest found: the SHA-256 of its config in hexadecimal, and its kernel arguments.

    ``medium`` has the SHA-256 of ``images/ignition.img`` on the medium, as Linux reads it in each
    of the trees of names: ISO 9660, Joliet, Rock Ridge. Empty without the kernel argument
    ``mic.medium``, for which the machine needs the medium as a disk, too.
    """

    digest: str
    arguments: str
    medium: tuple[str, ...]
    console: str


def media() -> Media:
    """The release that the guests boot, BIOS and UEFI, made once and kept in the cache."""
    busybox = parts.file("/bin/busybox", "busybox-static")

    def write_initramfs(target: Path) -> None:
        with cache.scratch() as tree:
            (tree / "bin").mkdir()
            for name in ("dev", "proc", "medium"):
                (tree / name).mkdir()
            kernel.copy_modules(kernel.DISK, tree / "modules")
            shutil.copy(busybox, tree / "bin/busybox")
            (tree / "init").write_text(_INIT)
            (tree / "init").chmod(stat.S_IRWXU)
            with target.open("wb") as output:
                subprocess.run(
                    [busybox, "sh", "-c", "find . | busybox cpio -o -H newc | busybox gzip -9"],
                    cwd=tree,
                    stdout=output,
                    timeout=_MINUTE,
                    check=True,
                )

    return release.made("media", _INIT, write_initramfs)


def qemu(*arguments: str | os.PathLike[str], memory: int = 512) -> list[str | os.PathLike[str]]:
    """The command line of a machine with a serial console on its standard output.

    Never KVM: its device node is often there and useless, and then QEMU hangs. It goes before other
    processes where that is allowed: an emulated machine is slow, and its services have time limits.
    """
    return [
        *(parts.program("nice", "coreutils"), "-n", "-10"),
        parts.program("qemu-system-x86_64", "qemu-system-x86"),
        *("-machine", "q35,accel=tcg", "-m", str(memory)),
        *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *arguments,
    ]


def uefi(directory: Path) -> list[str]:
    """Arguments that give a machine UEFI firmware in place of a BIOS."""
    code = parts.file("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf")
    variables = directory / "OVMF_VARS_4M.fd"
    shutil.copy(parts.file("/usr/share/OVMF/OVMF_VARS_4M.fd", "ovmf"), variables)
    flash = "if=pflash,format=raw"
    return [
        *("-drive", f"{flash},readonly=on,file={code}"),
        *("-drive", f"{flash},file={variables}"),
    ]


def config_digest(command: list[str | os.PathLike[str]]) -> str:
    """Run a guest to its end: the SHA-256 it prints of the config it found."""
    return boot(command).digest


def boot(command: list[str | os.PathLike[str]]) -> Booted:
    """Run a guest to its end; return what it printed."""
    output = console(command)
    found = re.search(r"^([0-9a-f]{64})  /config\.ign\s*$", output, re.MULTILINE)
    assert found, f"the guest printed no digest:\n{output}"
    arguments = re.search(r"^arguments: (.*?)\s*$", output, re.MULTILINE)
    assert arguments, f"the guest printed no kernel arguments:\n{output}"
    medium = re.findall(r"^([0-9a-f]{64})  /medium/", output, re.MULTILINE)
    return Booted(digest=found[1], arguments=arguments[1], medium=tuple(medium), console=output)


def console(command: list[str | os.PathLike[str]], seconds: float = _BOOT) -> str:
    """Run a guest to its end; return all that it printed, and how it ended."""
    try:
        run = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
        output, end = run.stdout, f"status {run.returncode}"
    except subprocess.TimeoutExpired as error:
        output, end = error.stdout or b"", f"not done in {seconds:.0f} s"
    return f"{output.decode('utf-8', 'replace')}\n({end})"
