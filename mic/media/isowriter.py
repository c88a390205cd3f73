"""Write ISO 9660 images with Rock Ridge names: pieces in, a layout out.

Files are layouts, so that an image of gigabytes is a few KiB of directories and descriptors between
ranges of base files. Equal input gives equal bytes: there are no dates, owners or random values.
References: ECMA-119; RRIP 1.12; El Torito, see `mic.media.eltorito`.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from mic.media.coreos import IGNITION_IMAGE, INITRAMFS, KERNEL, ROOTFS
from mic.media.eltorito import BootImage, boot_catalog, boot_record, with_boot_info
from mic.media.iso9660 import SECTOR, SYSTEM_AREA
from mic.media.layout import Layout, Piece, memory, zeros

MAX_FILE: Final = (1 << 32) - 1
"""Most bytes of a file: it has one extent, whose length has 32 bits (ECMA-119 section 9.1.4)."""

MAX_PUBLISHER: Final = 128
"""Most characters of a publisher (ECMA-119 section 8.4.20)."""

_DIRECTORY, _FILE = 0o040755, 0o100644
_EPOCH = bytes([70, 1, 1, 0, 0, 0, 0])
_NO_DATE = b"0" * 16 + b"\0"


@dataclass(slots=True, kw_only=True)
class _Node:
    name: str
    parent: _Node | None = None
    children: dict[str, _Node] = field(default_factory=dict)
    content: Layout | None = None
    sector: int = 0
    size: int = 0
    number: int = 1

    @property
    def identifier(self) -> bytes:
        """Name for readers without Rock Ridge: 8.3, upper case, with a version for files."""
        stem, _, extension = re.sub(r"[^A-Z0-9.]", "_", self.name.upper()).partition(".")
        if self.content is None:
            return stem[:8].encode()
        return f"{stem[:8]}.{extension[:3]};1".encode()

    def sorted_children(self) -> list[_Node]:
        return sorted(self.children.values(), key=lambda node: node.identifier)


def write_iso(files: Mapping[str, bytes], volume_id: str = "mic") -> bytes:
    """Return the ISO image of ``files``, path to content, in memory; see `iso_layout`."""
    image = iso_layout(
        {path: Layout([memory(content)]) for path, content in files.items()}, volume_id=volume_id
    )
    return image.read(0, image.size)


def iso_layout(
    files: Mapping[str, Layout],
    *,
    volume_id: str,
    publisher: str = "",
    boot: tuple[BootImage, ...] = (),
) -> Layout:
    """Return the ISO image of ``files``, path to content; firmware boots the ``boot`` images.

    Each boot image names one of the files. Raises `ValueError` when two names in a directory have
    the same short form, when a file has more than `MAX_FILE` bytes, and when the publisher is too
    long.
    """
    if len(publisher) > MAX_PUBLISHER:
        raise ValueError(f"a publisher has at most {MAX_PUBLISHER} characters")
    root = _tree(files)
    directories = list(_directories(root))
    for number, node in enumerate(directories, 1):
        node.number = number
        node.size = len(_directory_data(node))
    little, big = (_path_table(directories, order) for order in "<>")
    # The primary descriptor, that of El Torito, and the terminator.
    sector = SYSTEM_AREA // SECTOR + (3 if boot else 2)
    tables = (sector, sector + _sectors(len(little)))
    sector = tables[1] + _sectors(len(big))
    catalog = sector
    sector += 1 if boot else 0
    for node in [*directories, *_files(root)]:
        node.sector = sector
        sector += _sectors(node.size)
    little, big = (_path_table(directories, order) for order in "<>")

    places = (len(little), *tables)
    descriptors = [_descriptor(root, volume_id, publisher, sector, places)]
    if boot:
        descriptors.append(boot_record(catalog))
    parts: list[Layout | bytes] = [bytes(SYSTEM_AREA)]
    parts += [each.ljust(SECTOR, b"\0") for each in (*descriptors, b"\xffCD001\x01")]
    parts += [little, big]
    nodes = {path: _node(root, path) for path in files}
    if boot:
        extents = {path: (node.sector, node.size) for path, node in nodes.items()}
        parts.append(boot_catalog(boot, extents))
    parts += [_directory_data(node) for node in directories]
    patched = {id(nodes[each.path]) for each in boot if each.boot_info}
    for node in _files(root):
        assert node.content is not None  # noqa: S101
        content = node.content
        if id(node) in patched:
            content = with_boot_info(content, SYSTEM_AREA // SECTOR, node.sector)
        parts.append(content)
    return Layout(_pieces(parts))


def _pieces(parts: list[Layout | bytes]) -> Iterator[Piece]:
    """Yield the pieces of parts that start at a sector each, with zeros between them."""
    for part in parts:
        if isinstance(part, bytes):
            yield memory(part.ljust(_sectors(len(part)) * SECTOR, b"\0"))
        else:
            yield from part
            yield from zeros(-part.size % SECTOR)


def coreos_files(
    *, kernel: bytes, initramfs: bytes, rootfs: bytes, embed_length: int = 256 * 1024
) -> dict[str, bytes]:
    """Return the files of a CoreOS-like live ISO, with embed area and kernel arguments."""
    default = "coreos.liveiso=mic ignition.firstboot ignition.platform.id=metal"
    head = "linux /images/pxeboot/vmlinuz "
    size = 512
    area = (default + "\n").ljust(size, "#")
    end = "initrd /images/pxeboot/initrd.img /images/ignition.img\n"
    kargs = {
        "default": default,
        "files": [{"path": "EFI/coreos/grub.cfg", "offset": len(head), "end": "\n", "pad": "#"}],
        "size": size,
    }
    return {
        IGNITION_IMAGE: bytes(embed_length),
        KERNEL: kernel,
        INITRAMFS: initramfs,
        ROOTFS: rootfs,
        "/EFI/coreos/grub.cfg": (head + area + end).encode(),
        "/coreos/igninfo.json": json.dumps({"file": IGNITION_IMAGE.lstrip("/")}).encode(),
        "/coreos/kargs.json": json.dumps(kargs).encode(),
        "/coreos/features.json": b"{}",
    }


def _tree(files: Mapping[str, Layout]) -> _Node:
    root = _Node(name="")
    for path, content in sorted(files.items(), key=lambda item: item[0]):
        if content.size > MAX_FILE:
            raise ValueError(f"{path!r} has {content.size} bytes, an ISO takes {MAX_FILE}")
        *directories, name = [part for part in path.split("/") if part]
        node = root
        for part in directories:
            node = node.children.setdefault(part, _Node(name=part, parent=node))
            if node.content is not None:
                raise ValueError(f"{path!r} collides with a file of the name of its directory")
        node.children[name] = _Node(name=name, parent=node, content=content, size=content.size)
    for node in _directories(root):
        short = [child.identifier for child in node.children.values()]
        if len(set(short)) < len(short):
            raise ValueError(f"names under {node.name or '/'!r} collide in their short form")
    return root


def _node(root: _Node, path: str) -> _Node:
    node = root
    for part in filter(None, path.split("/")):
        node = node.children[part]
    return node


def _directories(root: _Node) -> Iterator[_Node]:
    """Yield directories by level, the order of the path table (ECMA-119 section 6.9.1)."""
    level = [root]
    while level:
        yield from level
        level = [c for node in level for c in node.sorted_children() if c.content is None]


def _files(root: _Node) -> Iterator[_Node]:
    for node in _directories(root):
        yield from (child for child in node.sorted_children() if child.content is not None)


def _directory_data(node: _Node) -> bytes:
    root = node.parent is None
    records = [
        _record(b"\0", node, _DIRECTORY, "", suspended=root),
        _record(b"\1", node.parent or node, _DIRECTORY, ""),
    ]
    for child in node.sorted_children():
        mode = _DIRECTORY if child.content is None else _FILE
        records.append(_record(child.identifier, child, mode, child.name))
    data = b""
    for record in records:
        if len(data) % SECTOR + len(record) > SECTOR:
            data += bytes(-len(data) % SECTOR)
        data += record
    return data + bytes(-len(data) % SECTOR)


def _record(
    identifier: bytes, node: _Node, mode: int, name: str, *, suspended: bool = False
) -> bytes:
    use = b""
    if suspended:
        # SP starts the protocol, ER names the extension; its texts may be empty.
        use += b"SP\x07\x01\xbe\xef\0"
    links = 2 if mode == _DIRECTORY else 1
    use += b"PX\x24\x01" + b"".join(_both32(number) for number in (mode, links, 0, 0))
    if suspended:
        use += b"ER" + bytes([18, 1, 10, 0, 0, 1]) + b"RRIP_1991A"
    if name:
        use += b"NM" + bytes([5 + len(name), 1, 0]) + name.encode()
    padding = bytes(1 - len(identifier) % 2)
    length = 33 + len(identifier) + len(padding) + len(use)
    odd = bytes(length % 2)
    flags = 2 if mode == _DIRECTORY else 0
    return (
        bytes([length + len(odd), 0])
        + _both32(node.sector)
        + _both32(node.size)
        + _EPOCH
        + bytes([flags, 0, 0])
        + _both16(1)
        + bytes([len(identifier)])
        + identifier
        + padding
        + use
        + odd
    )


def _path_table(directories: list[_Node], order: str) -> bytes:
    table = b""
    for node in directories:
        name = node.identifier or b"\0"
        parent = node.parent.number if node.parent else 1
        table += struct.pack(f"{order}BBIH", len(name), 0, node.sector, parent)
        table += name + bytes(len(name) % 2)
    return table


def _descriptor(
    root: _Node, volume_id: str, publisher: str, sectors: int, tables: tuple[int, int, int]
) -> bytes:
    """Return the primary volume descriptor; ``tables``: size and sectors of the path tables."""
    size, little, big = tables
    blank = b" " * 128
    return b"".join(
        [
            b"\x01CD001\x01\0",
            b" " * 32,
            volume_id.encode().ljust(32)[:32],
            bytes(8),
            _both32(sectors),
            bytes(32),
            _both16(1) + _both16(1) + _both16(SECTOR),
            _both32(size),
            struct.pack("<II", little, 0),
            struct.pack(">II", big, 0),
            b"\x22" + _record(b"\0", root, _DIRECTORY, "")[1:34],  # without its system use
            blank,
            publisher.encode().ljust(MAX_PUBLISHER),
            blank * 2,
            b" " * 111,
            _NO_DATE * 4,
            b"\x01\0",
        ]
    )


def _both32(number: int) -> bytes:
    return struct.pack("<I", number) + struct.pack(">I", number)


def _both16(number: int) -> bytes:
    return struct.pack("<H", number) + struct.pack(">H", number)


def _sectors(length: int) -> int:
    return -(-length // SECTOR)
