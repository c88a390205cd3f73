"""EFI system partitions with GRUB, made with the tools of this machine."""

from __future__ import annotations

from pathlib import Path

from e2e import debian, parts

GRUB_MODULES = (
    *("iso9660", "fat", "part_gpt", "part_msdos", "search", "linux", "boot", "normal"),
    *("configfile", "regexp"),
)
_MINUTE = 60.0


class Tools:
    """The programs that `write` needs: found before something is made, so that a test skips."""

    def __init__(self) -> None:
        parts.file("/usr/lib/grub/x86_64-efi/linux.mod", "grub-efi-amd64-bin")
        self._mkimage = parts.program("grub-mkimage", "grub-common")
        self._mkfs = parts.program("mkfs.vfat", "dosfstools")
        self._mcopy = parts.program("mcopy", "mtools")
        self._mmd = parts.program("mmd", "mtools")

    def write(self, target: Path, work: Path, config: Path | None = None) -> None:
        """Write an image with GRUB for x86_64, as docs/ramdisks.md does.

        ``config`` is built into GRUB; without one it reads ``/EFI/BOOT/grub.cfg``.
        """
        loader = work / "BOOTX64.EFI"
        given = [] if config is None else ["-c", config]
        image = ["-O", "x86_64-efi", "-p", "/EFI/BOOT", *given, "-o", loader, *GRUB_MODULES]
        for command in (
            [self._mkimage, *image],
            [self._mkfs, "-C", target, "2880"],
            [self._mmd, "-i", target, "::EFI", "::EFI/BOOT"],
            [self._mcopy, "-i", target, loader, "::EFI/BOOT/"],
        ):
            debian.run(command, _MINUTE)
