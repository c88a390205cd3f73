"""Look for base files: the names in their directories, and what to say when there is none."""

from __future__ import annotations

import os

from mic.media.base import DERIVED, Kind


def missing(kind: Kind, stream: str, architecture: str) -> str:
    """Return the error for a kind of base file that is not there."""
    kind = DERIVED.get(kind, (kind,))[0]
    variables = {
        Kind.ISO: "DEPLOY_ISO",
        Kind.INITRAMFS: "DEPLOY_INITRD",
        Kind.KERNEL: "DEPLOY_KERNEL",
        Kind.ROOTFS: "DEPLOY_ROOTFS",
        Kind.BOOT_LOADER: "MIC_BOOTLOADER",
    }
    of_stream = f" of stream {stream}" if stream else ""
    return (
        f"there is no base {kind}{of_stream} for architecture {architecture}: see {variables[kind]}"
    )


def listings(directories: tuple[str, ...]) -> dict[str, list[str] | str]:
    """Return the names in each directory, or why it cannot be read. Blocks: for a thread."""
    found: dict[str, list[str] | str] = {}
    for directory in directories:
        try:
            found[directory] = os.listdir(directory)
        except (FileNotFoundError, NotADirectoryError):
            found[directory] = []
        except OSError as error:
            found[directory] = f"directory of base images {directory}: {error.strerror}"
    return found
