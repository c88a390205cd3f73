"""Files for boot loaders besides kernels and initramfs: iPXE scripts, and the files of s390x.

Sources: iPXE's command reference (ipxe.org/cmd) and ``src/core/exec.c``; the live system's
``35coreos-live`` (fedora-coreos-config); ``s390-tools`` and coreos-assembler's
``buildextend-live`` for ``.ins`` and ``.addrsize``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from mic.common.errors import BuildInvalid
from mic.common.urls import without_credentials
from mic.media.iso9660 import IsoError
from mic.media.kernel_arguments import ArgumentEdits, appended, argument_problem, edited

S390X_LOAD_ADDRESS: Final = struct.pack(">Q", 0x02000000)
"""Where the initramfs of s390x is loaded, as ``images/initrd.addrsize`` begins."""

MAX_PARAMETERS: Final = 896
"""Most bytes of a parameter file: as many as the kernel of s390x has room for."""

_COLUMNS: Final = 80  # of a punched card, which is a line in z/VM's reader
_IGNITION: Final = ("ignition.firstboot", "ignition.platform.id=metal")
_LIVE_ISO: Final = "coreos.liveiso"
_ROOTFS_URL: Final = "coreos.live.rootfs_url"
_PAUSE: Final = 5  # seconds

BUILD_ARCHITECTURES: Final[Mapping[str, tuple[str, ...]]] = {
    "x86_64": ("x86_64", "i386"),
    "aarch64": ("arm64",),
}
"""Values of iPXE's ``${buildarch}`` by the machine's architecture: BIOS builds are for i386."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkBoot:
    """Where the parts of a host's image are: URLs of kernel, initramfs and root file system.

    ``others`` are URLs of the scripts for other architectures. ``rootfs`` is empty for ramdisks
    that are not CoreOS: they have no other root. No repr has any but the kernel's: names of images
    may be secret, and the root file system may need a password.
    """

    kernel: str
    initramfs: str = field(repr=False)
    rootfs: str = field(repr=False)
    others: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ChainByMac:
    """A script that leads each host to its own: ``MAC.ipxe`` under ``url``."""

    url: str


def live_arguments(text: str, boot: NetworkBoot, edits: Iterable[ArgumentEdits]) -> str:
    """Return the kernel arguments of a host that boots over the network.

    ``text`` are those of the ISO, where they also say which medium to look for. Raises
    `BuildInvalid` when a boot loader would interpret one.
    """
    if not boot.rootfs:
        return " ".join(appended(edits))
    fetches = ArgumentEdits(
        removed=(_LIVE_ISO, _ROOTFS_URL), appended=(f"{_ROOTFS_URL}={boot.rootfs}",)
    )
    present = {word.partition("=")[0] for word in text.split()}
    missing = tuple(word for word in _IGNITION if word.partition("=")[0] not in present)
    words = edited(text, (ArgumentEdits(appended=missing), fetches, *edits))
    for word in words.split():
        problem = argument_problem(word)
        if problem:
            name = word.partition("=")[0]  # a value may be a secret
            raise BuildInvalid(f"the kernel argument {name} cannot stand in a script: {problem}")
    return words


def ipxe_script(boot: NetworkBoot, arguments: str, architecture: str) -> bytes:
    """Return the script that boots a host; it retries for ever.

    ``architecture`` is what the kernel is made for, empty if that is unknown. Raises `BuildInvalid`
    when iPXE would interpret a URL.
    """
    for url in (boot.kernel, boot.initramfs, *boot.others.values()):
        _check_url(url)
    lines = ["#!ipxe", *_choice(architecture, boot.others)]
    lines += [
        ":retry",
        f"echo mic: trying again in {_PAUSE} s",
        f"sleep {_PAUSE}",
        ":boot",
        "imgfree",
        f"kernel {boot.kernel} initrd=main {arguments} || goto retry",
        f"initrd --name main {boot.initramfs} || goto retry",
        "boot || goto retry",
    ]
    for other, url in boot.others.items():
        again = f"sleep {_PAUSE} && goto {other}"
        lines += [f":{other}", f"chain --autofree {url} || {again}"]
    return "".join(f"{line}\n" for line in lines).encode()


def _choice(architecture: str, others: Iterable[str]) -> list[str]:
    """Return the lines that go on by the architecture of the machine, if it is known here."""
    lines = [
        f"iseq ${{buildarch}} {build} && goto {other} ||"
        for other in others
        for build in BUILD_ARCHITECTURES.get(other, ())
    ]
    builds = BUILD_ARCHITECTURES.get(architecture, ())
    if not builds:
        return [*lines, "goto boot"]
    return [
        *lines,
        *(f"iseq ${{buildarch}} {build} && goto boot ||" for build in builds),
        f"echo mic: this image is for {architecture}, this iPXE is for ${{buildarch}}",
        f"sleep {_PAUSE}",
        "exit 1",
    ]


def chain_script(chain: ChainByMac) -> bytes:
    """Return a script that chains to that of the interface booted from, then to the others'.

    Raises `BuildInvalid` when iPXE would interpret the URL.
    """
    _check_url(chain.url)
    return f"""\
#!ipxe
:retry
chain --autofree {chain.url}/${{mac:hexhyp}}.ipxe ||
set i:int8 0
:next
isset ${{net${{i}}/mac}} || goto none
chain --autofree {chain.url}/${{net${{i}}/mac:hexhyp}}.ipxe ||
inc i
goto next
:none
echo mic: no host has the MAC address ${{mac}}; trying again in {_PAUSE} s
sleep {_PAUSE}
goto retry
""".encode()


def parameter_file(arguments: str) -> bytes:
    """Return kernel arguments as a parameter file of s390x, in lines of a punched card's width.

    A word that is longer has a line of its own. Raises `BuildInvalid` when they are too long.
    """
    lines = [""]
    for word in arguments.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if len(longer) > _COLUMNS and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    content = "".join(f"{line}\n" for line in lines).encode()
    if len(content) > MAX_PARAMETERS:
        raise BuildInvalid(
            f"no parameter file: the kernel arguments have {len(content)} bytes, the kernel of "
            f"s390x has room for {MAX_PARAMETERS}"
        )
    return content


def address_and_size(address: bytes, size: int) -> bytes:
    """Return ``initrd.addrsize``: where an initramfs is loaded, and its length in bytes."""
    return address[:8] + struct.pack(">Q", size)


def ins_file(text: bytes, boot: NetworkBoot) -> bytes:
    """Return a release's ``generic.ins`` with the names of a host's files, relative to it.

    Raises `IsoError` when it names a file that is none of the usual four, and `BuildInvalid` when
    a name cannot stand in it.
    """
    host = unquote(boot.initramfs.rpartition("/")[2]).removesuffix(".initramfs")
    if re.search(r"\s", host):
        raise BuildInvalid(
            f"no .ins file: white space in the host's name {host!r} cannot stand there: rename the "
            "host's file"
        )
    if not host.isascii():
        raise BuildInvalid(
            f"no .ins file: the host's name {host!r} is not ASCII: rename the host's file"
        )
    names = {
        "kernel.img": unquote(boot.kernel.rpartition("/")[2]),
        "initrd.img": f"{host}.initramfs",
        "initrd.addrsize": f"{host}.addrsize",
    }
    lines: list[str] = []
    for line in text.decode("ascii", "replace").splitlines():
        path, *address = line.split()[:2] or [""]
        file = path.rpartition("/")[2]
        name = f"{host}.prm" if file.endswith(".prm") else names.get(file)
        if not path or path.startswith("*"):
            lines.append(line)
        elif name is None or not address:
            raise IsoError(f"its generic.ins has an unknown line: {line[:_COLUMNS]!r}")
        else:
            lines.append(f"{name} {address[0]}")
    return "".join(f"{line}\n" for line in lines).encode("ascii", "replace")


def _check_url(url: str) -> None:
    problem = argument_problem(url)
    if problem:
        shown = without_credentials(url)
        raise BuildInvalid(f"the URL {shown} cannot stand in a script: {problem}")
