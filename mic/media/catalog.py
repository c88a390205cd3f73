"""Which base file serves which stream, architecture and format.

File names (deployments rely on them): with ``DEPLOY_ISO=/d/ipa.iso`` the file ``/d/ipa.iso`` is
the base of the host's own architecture; ``ipa[-STREAM][_.]ARCH.iso`` in a search directory is
the base of a stream and an architecture, ``ipa-STREAM.iso`` that of a stream on the host's own.
The same goes for ``DEPLOY_INITRD``, ``DEPLOY_KERNEL``, ``DEPLOY_ROOTFS`` and ``MIC_BOOTLOADER``.
Without a separate file, the initramfs, the kernel and the root file system inside the ISO are
served. Ramdisks that are not CoreOS have no ISO: an initramfs and a kernel of one stream and
architecture belong together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mic.media.base import ARCHITECTURES, DERIVED, SERVED, Kind, Ramdisk

HOST = "host"
"""Stands for the architecture of this machine when files are selected."""

# A label value of Kubernetes: up to 63 of these characters. Matched as short as possible, so that
# "_x86_64" never becomes part of it.
_STREAM = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}?[A-Za-z0-9])??"


GRUB_CONFIG: Final = "EFI/BOOT/grub.cfg"
"""Where GRUB looks for its config in an ISO, unless it was built with another prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePaths:
    """Configured paths of base files; empty when not set.

    The rest is for virtual ISOs: ``boot_loader`` is a FAT image for UEFI, ``grub_config`` where its
    GRUB looks for a config in the ISO, and ``isolinux`` a directory with ISOLINUX for BIOS.
    """

    iso: str = ""
    initramfs: str = ""
    kernel: str = ""
    rootfs: str = ""
    shared_dir: str = ""
    ramdisk: Ramdisk = Ramdisk.COREOS
    boot_loader: str = ""
    grub_config: str = GRUB_CONFIG
    isolinux: str = ""

    def exact(self) -> dict[Kind, str]:
        """Return the configured paths by kind."""
        paths = {
            Kind.ISO: self.iso,
            Kind.INITRAMFS: self.initramfs,
            Kind.KERNEL: self.kernel,
            Kind.BOOT_LOADER: self.boot_loader,
            Kind.ROOTFS: self.rootfs,
        }
        return {kind: path for kind, path in paths.items() if path}

    def directories(self) -> tuple[str, ...]:
        """Return the directories to search, in order and without duplicates."""
        if self.shared_dir:
            return (self.shared_dir,)
        return tuple(dict.fromkeys(os.path.dirname(path) or "." for path in self.exact().values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A base file for one kind of image, and whether that is inside an ISO."""

    path: str
    inside_iso: bool = False


class Catalog:
    """The base files by kind, stream and architecture. Immutable."""

    __slots__ = ("_files", "_host", "_ramdisk")

    def __init__(
        self,
        files: Mapping[tuple[Kind, str, str], str],
        host: str,
        ramdisk: Ramdisk = Ramdisk.COREOS,
    ) -> None:
        self._files = dict(files)
        self._host = host
        self._ramdisk = ramdisk

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and self._files == other._files

    __hash__ = None  # type: ignore[assignment]

    @property
    def paths(self) -> frozenset[str]:
        """Paths of all files."""
        return frozenset(self._files.values())

    def kinds_of(self, path: str) -> tuple[Kind, ...]:
        """Return the kinds that a file may be served as, by its name; its own kind first.

        An ISO contains the others too.
        """
        kinds = {kind for (kind, _, _), file in self._files.items() if file == path}
        if Kind.ISO in kinds or not kinds:
            return SERVED
        kinds |= {kind for kind, sources in DERIVED.items() if kinds.intersection(sources)}
        return tuple(kind for kind in Kind if kind in kinds)

    def architectures_of(self, path: str) -> frozenset[str]:
        """Return the architectures of the hosts that a file is served to, by its name."""
        return frozenset(
            self._host if architecture == HOST else architecture
            for (_, _, architecture), file in self._files.items()
            if file == path
        )

    def select(self, kind: Kind, *, stream: str = "", architecture: str = "") -> Part | None:
        """Return the best base for a kind, or None.

        An empty architecture means this machine's. Order of preference: the stream on that
        architecture, no stream on it; for this machine's architecture then the files without an
        architecture in their name, the stream first.
        """
        if kind in DERIVED:
            parts = (
                self.select(source, stream=stream, architecture=architecture)
                for source in DERIVED[kind]
            )
            return next(filter(None, parts), None)
        for wanted_stream, wanted in self._keys(stream, architecture):
            if self._ramdisk is Ramdisk.IPA and self._lacks(kind, wanted_stream, wanted):
                continue
            path = self._files.get((kind, wanted_stream, wanted))
            if path:
                return Part(path=path)
            iso = self._files.get((Kind.ISO, wanted_stream, wanted))
            if iso and kind is not Kind.BOOT_LOADER:
                # The initramfs inside the ISO of the right stream is better than a separate file
                # of another stream: that would not fit the ISO.
                return Part(path=iso, inside_iso=kind is not Kind.ISO)
        return None

    def _keys(self, stream: str, architecture: str) -> Iterable[tuple[str, str]]:
        architecture = architecture or self._host
        keys = [(stream, architecture), ("", architecture)]
        if architecture == self._host:
            keys += [(stream, HOST), ("", HOST)]
        return dict.fromkeys(keys)

    def _lacks(self, kind: Kind, stream: str, architecture: str) -> Kind | None:
        """Return what belongs to a file of that kind and is missing; None for nothing."""
        # The modules in an initramfs are those of its kernel.
        other = {Kind.INITRAMFS: Kind.KERNEL, Kind.KERNEL: Kind.INITRAMFS}.get(kind)
        missing = other is not None and (other, stream, architecture) not in self._files
        return other if missing else None

    def alone(self) -> dict[str, Kind]:
        """Return the files that are not used, each with the kind of file that it lacks."""
        if self._ramdisk is Ramdisk.COREOS:
            return {}
        return {path: lacks for key, path in self._files.items() if (lacks := self._lacks(*key))}

    def known(self) -> set[tuple[str, str]]:
        """Return the streams and architectures that there are files for, by their names."""
        return {
            (stream, self._host if architecture == HOST else architecture)
            for _, stream, architecture in self._files
        }

    def supports(self, architecture: str, stream: str = "") -> bool:
        """Return whether there is all that every host of an architecture may ask for.

        That is an ISO and an initramfs, or an initramfs that is not CoreOS and its kernel.
        """
        other = Kind.ISO if self._ramdisk is Ramdisk.COREOS else Kind.KERNEL
        return all(
            self.select(kind, stream=stream, architecture=architecture) is not None
            for kind in (other, Kind.INITRAMFS)
        )


def catalog(paths: BasePaths, listings: Mapping[str, Iterable[str]], host: str) -> Catalog:
    """Return the catalog of the files in the search directories; ``listings``: directory to names.

    When two names mean the same (``ipa_x86_64.iso``, ``ipa.x86_64.iso``), the first in
    alphabetical order wins.
    """
    files: dict[tuple[Kind, str, str], str] = {}
    for kind, exact in paths.exact().items():
        files[kind, "", HOST] = exact
        pattern = _pattern(exact)
        for directory in paths.directories():
            for name in sorted(listings.get(directory, ())):
                path = os.path.join(directory, name)
                match = pattern.fullmatch(name)
                if match is None or _same_path(path, exact):
                    continue
                key = (kind, match["stream"] or "", match["architecture"] or HOST)
                if key != (kind, "", HOST):
                    files.setdefault(key, path)
    return Catalog(files, host, paths.ramdisk)


def _same_path(one: str, other: str) -> bool:
    return os.path.normpath(one) == os.path.normpath(other)


def _pattern(exact: str) -> re.Pattern[str]:
    stem, extension = os.path.splitext(os.path.basename(exact))
    architectures = "|".join(map(re.escape, ARCHITECTURES))
    return re.compile(
        rf"{re.escape(stem)}(?:-(?P<stream>{_STREAM}))?"
        rf"(?:[_.](?P<architecture>{architectures}))?{re.escape(extension)}",
        re.ASCII,
    )
