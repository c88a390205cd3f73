"""An ISO that exists only while it is read: kernel, initramfs with archive, and boot loaders.

Its files are where Ironic's own virtual media have them (ironic, ``image_utils.py`` and
``images.py``). The agent of a ramdisk looks for a medium of the volume name ``config-2``, whose
publisher is what the kernel argument ``ir_pub_id`` says, and copies its settings from there
(ironic-python-agent, ``inject.py``; ironic-python-agent-builder,
``ironic-agent-resolve-config-drive``).
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mic.common.errors import BaseUnavailable, BuildInvalid
from mic.media.base import Base, Kind
from mic.media.customisation import Customisation
from mic.media.eltorito import BootImage, Platform
from mic.media.isolinux import Isolinux
from mic.media.isowriter import MAX_FILE, iso_layout
from mic.media.kernel_arguments import COMMAND_LINE, appended
from mic.media.layout import FileRange, Layout, memory

VOLUME: Final = "config-2"
KERNEL_PATH: Final = "vmlinuz"
INITRAMFS_PATH: Final = "initrd"
BOOT_LOADER_PATH: Final = "boot/grub/efiboot.img"
ISOLINUX_PATH: Final = "isolinux/isolinux.bin"
LINKER_PATH: Final = "isolinux/ldlinux.c32"
ISOLINUX_CONFIG: Final = "isolinux/isolinux.cfg"
NETWORK_DATA_PATH: Final = "openstack/latest/network_data.json"
AGENT_CONF_PATH: Final = "etc/ironic-python-agent.d/50-mic.conf"

_NAMESPACE: Final = uuid.UUID("075612e3-8d2a-45e6-8cfb-38105a1c62aa")
_MAX_DEPTH: Final = 7
"""Directories above a file and the file: ECMA-119 section 6.8.2.1 allows eight with the root."""
_PART: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}")
_ADDED: Final = "BOOT_IMAGE=/vmlinuz initrd=/initrd text  --"
"""What boot loaders add to the arguments."""
_GRUB: Final = """\
set default=0
set timeout=0
set hidden_timeout_quiet=false
menuentry "Ironic Python Agent" {{
    linux /{kernel} {arguments} --
    initrd /{initramfs}
}}
"""
# As in Ironic's template, "text" is for kernels that would start a graphical installer.
_ISOLINUX: Final = """\
default boot
label boot
kernel /{kernel}
append initrd=/{initramfs} text {arguments} --
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualIso(Base):
    """The base of virtual ISOs of one stream and architecture; see `virtual_iso`.

    Its ``file`` is that of the initramfs. ``grub_config`` is where the GRUB of the boot loader
    looks for its config in the ISO.
    """

    kernel: Base
    boot_loader: Base
    grub_config: str
    isolinux: Isolinux | None = None

    def is_current(self) -> bool:
        """Return whether the paths still lead to these versions of all its files."""
        return all(
            base.file.is_current() for base in (self.initramfs, self.kernel, self.boot_loader)
        )

    @property
    def initramfs(self) -> Base:
        """The initramfs, without an archive."""
        return Base(kind=Kind.INITRAMFS, file=self.file, start=self.start, stop=self.stop)

    def layout(self, customisation: Customisation) -> Layout:
        """Return the ISO of a host.

        Raises `BuildInvalid` for kernel arguments to remove, and when the initramfs with its
        archive is too large for an ISO.
        """
        identity = self._identity(customisation)
        publisher = str(uuid.uuid5(_NAMESPACE, identity))
        size = self.initramfs.stop - self.initramfs.start + len(customisation.archive)
        if size > MAX_FILE:
            raise BuildInvalid(
                f"the initramfs {self.file.path} and its archive have {size} bytes: a file in "
                "an ISO has less than 4 GiB"
            )
        texts = {
            "kernel": KERNEL_PATH,
            "initramfs": INITRAMFS_PATH,
            "arguments": _arguments(publisher, customisation),
        }
        files = {path: _layout(content) for path, content in customisation.files}
        files |= {
            KERNEL_PATH: Layout([_range(self.kernel)]),
            INITRAMFS_PATH: Layout([_range(self.initramfs), memory(customisation.archive)]),
            BOOT_LOADER_PATH: Layout([_range(self.boot_loader)]),
            self.grub_config: _layout(_GRUB.format(**texts).encode()),
        }
        boot = [BootImage(path=BOOT_LOADER_PATH, platform=Platform.UEFI)]
        if self.isolinux is not None:
            files |= {
                ISOLINUX_PATH: _layout(self.isolinux.binary),
                LINKER_PATH: _layout(self.isolinux.linker),
                ISOLINUX_CONFIG: _layout(_ISOLINUX.format(**texts).encode()),
            }
            boot.insert(0, BootImage(path=ISOLINUX_PATH, platform=Platform.BIOS, boot_info=True))
        return iso_layout(files, volume_id=VOLUME, publisher=publisher, boot=tuple(boot))

    def etag(self, customisation: Customisation) -> str:
        """Return a strong entity tag; see `Base.etag`. Raises `BuildInvalid` as `layout`."""
        return f'"{self._identity(customisation)}"'

    def _identity(self, customisation: Customisation) -> str:
        """Return a digest of all that the ISO is made of, in hexadecimal."""
        digest = hashlib.blake2b(b"virtual iso 1", digest_size=16)
        for part in self._inputs(customisation):
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return digest.hexdigest()

    def _inputs(self, customisation: Customisation) -> Iterator[bytes]:
        for base in (self.kernel, self.initramfs, self.boot_loader):
            yield b"%d %d" % (base.start, base.stop)
            yield base.file.digest
        yield self.grub_config.encode()
        if self.isolinux is not None:
            yield self.isolinux.binary
            yield self.isolinux.linker
        yield b"files"
        yield customisation.owner.encode()
        yield customisation.archive
        yield " ".join(appended(customisation.kernel_arguments)).encode()
        for path, content in customisation.files:
            yield path.encode()
            yield content


def virtual_iso(
    *,
    kernel: Base,
    initramfs: Base,
    boot_loader: Base,
    grub_config: str,
    isolinux: Isolinux | None = None,
) -> VirtualIso:
    """Return the base of virtual ISOs; raise `BaseUnavailable` for a file too large for an ISO.

    Kernel and initramfs must belong together.
    """
    for base in (kernel, initramfs, boot_loader):
        problem = size_problem(base)
        if problem:
            raise BaseUnavailable(problem)
    return VirtualIso(
        kind=Kind.ISO,
        file=initramfs.file,
        start=initramfs.start,
        stop=initramfs.stop,
        kernel=kernel,
        boot_loader=boot_loader,
        grub_config=grub_config,
        isolinux=isolinux,
    )


def size_problem(base: Base) -> str:
    """Return why a file is too large for an ISO; empty if it is not."""
    size = base.stop - base.start
    if size <= MAX_FILE:
        return ""
    return f"base image {base.file.path} has {size} bytes: a file in an ISO has less than 4 GiB"


def grub_config_problem(path: str) -> str:
    """Return why GRUB's config cannot be at a path of an ISO; empty if it can."""
    parts = path.split("/")
    if len(parts) > _MAX_DEPTH or not all(map(_PART.fullmatch, parts)):
        return "it is no path in an ISO such as EFI/BOOT/grub.cfg, without a slash at the start"
    taken = (
        *(KERNEL_PATH, INITRAMFS_PATH, BOOT_LOADER_PATH),
        *(ISOLINUX_PATH, LINKER_PATH, ISOLINUX_CONFIG),
        *(NETWORK_DATA_PATH, AGENT_CONF_PATH),
    )
    try:
        iso_layout(dict.fromkeys((*taken, path), Layout([])), volume_id=VOLUME)
    except ValueError:
        collides = True
    else:
        collides = path in taken
    return "the ISO has another file of that name, or of the same short name" if collides else ""


def _range(base: Base) -> FileRange:
    return FileRange(source=base.file, start=base.start, stop=base.stop)


def _layout(content: bytes) -> Layout:
    return Layout([memory(content)])


def _arguments(publisher: str, customisation: Customisation) -> str:
    words = (
        "boot_method=vmedia",
        f"ir_pub_id={publisher}",
        *appended(customisation.kernel_arguments),
    )
    text = " ".join(words)
    if len(_ADDED) + len(text) > COMMAND_LINE:
        raise BuildInvalid(
            f"the kernel arguments have {len(text)} characters: a kernel takes "
            f"{COMMAND_LINE - len(_ADDED)}"
        )
    return text
