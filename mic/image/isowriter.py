"""Writing small ISO 9660 images with Rock Ridge names, for the demo and for tests.

Whole images in memory, directories of one level of detail: what CoreOS ISOs have and no more.
Equal input gives equal bytes. References: ECMA-119; RRIP 1.12.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mic.image.coreos import IGNITION_IMAGE, INITRAMFS, KERNEL, ROOTFS
from mic.image.iso9660 import SECTOR, SYSTEM_AREA

_DIRECTORY, _FILE = 0o040755, 0o100644
_EPOCH = bytes([70, 1, 1, 0, 0, 0, 0])
_NO_DATE = b"0" * 16 + b"\0"


@dataclass(slots=True, kw_only=True)
class _Node:
    name: str
    parent: _Node | None = None
    children: dict[str, _Node] = field(default_factory=dict)
    content: bytes | None = None
    sector: int = 0
    size: int = 0
    number: int = 1

    @property
    def identifier(self) -> bytes:
        """The name for readers without Rock Ridge: 8.3, upper case, versioned for files."""
        stem, _, extension = re.sub(r"[^A-Z0-9.]", "_", self.name.upper()).partition(".")
        if self.content is None:
            return stem[:8].encode()
        return f"{stem[:8]}.{extension[:3]};1".encode()

    def sorted_children(self) -> list[_Node]:
        return sorted(self.children.values(), key=lambda node: node.identifier)


def write_iso(files: Mapping[str, bytes], volume_id: str = "mic") -> bytes:
    """The ISO image of ``files``, path to content.

    Raises `ValueError` where two names in a directory are equal in their short form.
    """
    root = _tree(files)
    directories = list(_directories(root))
    for number, node in enumerate(directories, 1):
        node.number = number
        node.size = len(_directory_data(node))
    little, big = (_path_table(directories, order) for order in "<>")
    sector = SYSTEM_AREA // SECTOR + 2
    tables = []
    for table in (little, big):
        tables.append(sector)
        sector += _sectors(len(table))
    for node in [*directories, *_files(root)]:
        node.sector = sector
        sector += _sectors(node.size)
    little, big = (_path_table(directories, order) for order in "<>")

    image = bytearray(sector * SECTOR)

    def put(at: int, data: bytes) -> None:
        image[at * SECTOR : at * SECTOR + len(data)] = data

    put(SYSTEM_AREA // SECTOR, _descriptor(root, volume_id, sector, len(little), tables))
    put(SYSTEM_AREA // SECTOR + 1, b"\xffCD001\x01")
    put(tables[0], little)
    put(tables[1], big)
    for node in directories:
        put(node.sector, _directory_data(node))
    for node in _files(root):
        put(node.sector, node.content or b"")
    return bytes(image)


def coreos_files(
    *, kernel: bytes, initramfs: bytes, rootfs: bytes, embed_length: int = 256 * 1024
) -> dict[str, bytes]:
    """The files of a CoreOS-like live ISO, for `write_iso`: embed area and arguments included."""
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


def _tree(files: Mapping[str, bytes]) -> _Node:
    root = _Node(name="")
    for path, content in sorted(files.items()):
        *directories, name = [part for part in path.split("/") if part]
        node = root
        for part in directories:
            node = node.children.setdefault(part, _Node(name=part, parent=node))
            if node.content is not None:
                raise ValueError(f"{path!r} collides with a file of the name of its directory")
        node.children[name] = _Node(name=name, parent=node, content=content, size=len(content))
    for node in _directories(root):
        short = [child.identifier for child in node.children.values()]
        if len(set(short)) < len(short):
            raise ValueError(f"names under {node.name or '/'!r} collide in their short form")
    return root


def _directories(root: _Node) -> Iterator[_Node]:
    """Directories level by level, as the path table wants them (ECMA-119 section 6.9.1)."""
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
        # SP starts the protocol, ER says which extension is used; its texts may be empty.
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


def _descriptor(root: _Node, volume_id: str, sectors: int, table: int, tables: list[int]) -> bytes:
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
            _both32(table),
            struct.pack("<II", tables[0], 0),
            struct.pack(">II", tables[1], 0),
            b"\x22" + _record(b"\0", root, _DIRECTORY, "")[1:34],  # without its system use
            blank * 4,
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
