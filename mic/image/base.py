"""Which base file serves which stream, architecture and format, and what is in it.

Names, as deployments rely on them: with ``DEPLOY_ISO=/d/ipa.iso`` the file ``/d/ipa.iso`` is
the base of the host's own architecture; ``ipa[-STREAM][_.]ARCH.iso`` in a search directory is
the base of a stream and an architecture, ``ipa-STREAM.iso`` that of a stream on the host's own.
The same goes for ``DEPLOY_INITRD`` and ``DEPLOY_KERNEL``. Where there is no separate file, the
ISO's own initramfs and kernel serve.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from mic.errors import BaseUnavailable, BuildInvalid, NotReady
from mic.image import coreos
from mic.image.basefile import BaseChanged, BaseFile
from mic.image.iso9660 import Extent, Iso, IsoError, IsoNotFound
from mic.image.layout import FileRange, Layout, Patch, memory, zeros

ARCHITECTURES = ("x86_64", "aarch64", "ppc64le", "s390x")
"""The architectures CoreOS is made for, by the kernel's names."""

HOST = "host"
"""Stands for the architecture of this machine in file selections."""

# Outside bytes go no further: a label value of Kubernetes is up to 63 of these characters.
# As short as possible, so that "_x86_64" is never read as part of it.
_STREAM = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}?[A-Za-z0-9])??"


class Kind(StrEnum):
    """What is made from a base: the whole ISO, the initramfs, or the kernel as it is."""

    ISO = "iso"
    INITRAMFS = "initramfs"
    KERNEL = "kernel"


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePaths:
    """Where base files are looked for; empty strings where nothing is given."""

    iso: str = ""
    initramfs: str = ""
    kernel: str = ""
    shared_dir: str = ""

    def exact(self) -> dict[Kind, str]:
        """The given paths, by kind."""
        paths = {Kind.ISO: self.iso, Kind.INITRAMFS: self.initramfs, Kind.KERNEL: self.kernel}
        return {kind: path for kind, path in paths.items() if path}

    def directories(self) -> tuple[str, ...]:
        """The directories to search, in order and without duplicates."""
        if self.shared_dir:
            return (self.shared_dir,)
        return tuple(dict.fromkeys(os.path.dirname(path) or "." for path in self.exact().values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A base for one kind of image: a file, and whether the kind is inside an ISO."""

    path: str
    inside_iso: bool = False


class Catalog:
    """The base files found, by kind, stream and architecture. Immutable."""

    __slots__ = ("_files", "_host")

    def __init__(self, files: Mapping[tuple[Kind, str, str], str], host: str) -> None:
        self._files = dict(files)
        self._host = host

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and self._files == other._files

    __hash__ = None  # type: ignore[assignment]

    @property
    def paths(self) -> frozenset[str]:
        """Every file that may serve."""
        return frozenset(self._files.values())

    def kind_of(self, path: str) -> Kind:
        """What a file is by its name; one that is several things counts as the first of `Kind`."""
        kinds = {kind for (kind, _, _), file in self._files.items() if file == path}
        return next((kind for kind in Kind if kind in kinds), Kind.ISO)

    def select(self, kind: Kind, *, stream: str = "", architecture: str = "") -> Part | None:
        """The best base for a kind, or None.

        An empty architecture is the host's. Order of preference: the stream on that
        architecture, no stream on it; when it is the host's, also the files without an
        architecture in their name, the stream first.
        """
        architecture = architecture or self._host
        keys = [(stream, architecture), ("", architecture)]
        if architecture == self._host:
            keys += [(stream, HOST), ("", HOST)]
        for wanted_stream, wanted in dict.fromkeys(keys):
            path = self._files.get((kind, wanted_stream, wanted))
            if path:
                return Part(path=path)
            iso = self._files.get((Kind.ISO, wanted_stream, wanted))
            if iso:
                # The ISO of the right stream is a better home for an initramfs than a
                # separate file of another stream: the two would not fit together.
                return Part(path=iso, inside_iso=kind is not Kind.ISO)
        return None

    def supports(self, architecture: str, stream: str = "") -> bool:
        """Whether both an ISO and an initramfs are there for an architecture."""
        return all(
            self.select(kind, stream=stream, architecture=architecture) is not None
            for kind in (Kind.ISO, Kind.INITRAMFS)
        )


def catalog(paths: BasePaths, listings: Mapping[str, Iterable[str]], host: str) -> Catalog:
    """What the names in the search directories stand for; ``listings``: directory to names.

    Where two files claim the same place (``ipa_x86_64.iso``, ``ipa.x86_64.iso``) the first by
    name has it, whatever the order in which the directory gives them.
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
    return Catalog(files, host)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What one kind of image is made from: a range of a base file and, in ISOs, the embed area.

    ``volume`` is the name of the ISO it is in, which of CoreOS media tells their version.
    """

    kind: Kind
    file: BaseFile
    start: int
    stop: int
    embed_area: Extent | None = None
    volume: str = ""

    def layout(self, archive: bytes) -> Layout:
        """The image with ``archive`` in its place: over the embed area, or behind the initramfs.

        A kernel takes none. Raises `BuildInvalid`, naming both sizes, when it does not fit.
        """
        whole = FileRange(source=self.file, start=self.start, stop=self.stop)
        if self.kind is Kind.KERNEL:
            return Layout([whole])
        if self.embed_area is None:
            return Layout([whole, memory(archive)])
        room = self.embed_area.length
        if len(archive) > room:
            raise BuildInvalid(
                f"the Ignition config needs {len(archive)} bytes compressed, "
                f"the embed area of {self.file.path} has {room}"
            )
        fill = (memory(archive), *zeros(room - len(archive)))
        return Layout.patched(self.file, [Patch(offset=self.embed_area.offset, pieces=fill)])

    def etag(self, archive: bytes) -> str:
        """A strong entity tag (RFC 9110 section 8.8.3): equal exactly when the bytes are.

        It depends on content alone, so that every process serving the same base and the same
        archive gives the same one.
        """
        area = self.embed_area
        place = (self.kind.value, self.start, self.stop, area and (area.offset, area.length))
        digest = hashlib.blake2b(repr(place).encode(), digest_size=16)
        digest.update(self.file.digest)
        if self.kind is not Kind.KERNEL:
            digest.update(archive)
        return f'"{digest.hexdigest()}"'


def read_base(file: BaseFile, kind: Kind, *, inside_iso: bool) -> Base:
    """Find in an open base file what an image of ``kind`` needs.

    Raises `BaseUnavailable` when it is not there, with the file and the reason, and `NotReady`
    when the file changed meanwhile.
    """
    if kind is not Kind.ISO and not inside_iso:
        return Base(kind=kind, file=file, start=0, stop=file.size)
    try:
        iso = Iso(file)
        if kind is Kind.ISO:
            area = coreos.embed_area(iso, file)
            return Base(
                kind=kind,
                file=file,
                start=0,
                stop=file.size,
                embed_area=area,
                volume=iso.volume_id,
            )
        extent = iso.find(coreos.INITRAMFS if kind is Kind.INITRAMFS else coreos.KERNEL)
    except IsoNotFound as error:
        raise BaseUnavailable(
            f"base image {file.path}: {error}; is it a CoreOS live ISO?"
        ) from None
    except IsoError as error:
        raise BaseUnavailable(f"base image {file.path}: {error}") from None
    except BaseChanged:
        raise NotReady(f"base image {file.path} is being written") from None
    except OSError as error:
        raise BaseUnavailable(f"base image {file.path}: {error.strerror or error}") from None
    if not extent.length:
        raise BaseUnavailable(f"base image {file.path}: its {kind} is empty")
    return Base(kind=kind, file=file, start=extent.offset, stop=extent.offset + extent.length)
