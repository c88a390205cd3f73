"""Scripts and files for boot loaders, as bytes. That machines take them is shown by QEMU.

Scope: mic.media.netboot and the derived kinds of mic.media.base.
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from toys import INITRAMFS, KERNEL, put

from mic.common.errors import BaseUnavailable, BuildInvalid
from mic.media.base import Base, Kind, read_base
from mic.media.basefile import open_base
from mic.media.customisation import Customisation
from mic.media.isowriter import coreos_files, write_iso
from mic.media.kernel_arguments import ArgumentEdits
from mic.media.netboot import ChainByMac, NetworkBoot, live_arguments, parameter_file

BOOT = NetworkBoot(
    kernel="http://mic/kernel.img",
    initramfs="http://mic/w0.initramfs",
    rootfs="http://mic/rootfs.img",
)
ARM64 = bytes(56) + b"ARM\x64" + bytes(64)
GENERIC_INS = b"""\
* minimal lpar ins file
images/pxeboot/kernel.img 0x00000000
images/pxeboot/initrd.img 0x02000000
images/genericdvd.prm 0x00010480
images/initrd.addrsize 0x00010408
"""


def iso(more: Mapping[str, bytes] | None = None, *, kernel: bytes = KERNEL) -> bytes:
    files = coreos_files(kernel=kernel, initramfs=INITRAMFS, rootfs=b"hsqs")
    return write_iso({**files, **(more or {})})


def s390x(*, ins: bytes = GENERIC_INS) -> bytes:
    return iso(
        {
            "/images/pxeboot/kernel.img": b"the kernel",
            "/images/initrd.addrsize": struct.pack(">QQ", 0x03000000, 4711),
            "/generic.ins": ins,
        }
    )


def base(tmp_path: Path, kind: Kind, data: bytes) -> Base:
    return read_base(open_base(str(put(tmp_path / "ipa.iso", data))), kind, inside_iso=True)


def made(base: Base, customisation: Customisation) -> bytes:
    layout = base.layout(customisation)
    return layout.read(0, layout.size)


def test_a_script_has_the_arguments_of_the_iso(tmp_path: Path) -> None:
    edits = (ArgumentEdits(appended=("console=ttyS0",)),)
    script = made(
        base(tmp_path, Kind.IPXE, iso()), Customisation(kernel_arguments=edits, boot=BOOT)
    )
    lines = script.decode().splitlines()
    assert lines[0] == "#!ipxe"
    assert lines[-3:] == [
        "kernel http://mic/kernel.img initrd=main ignition.firstboot ignition.platform.id=metal "
        "coreos.live.rootfs_url=http://mic/rootfs.img console=ttyS0 || goto retry",
        "initrd --name main http://mic/w0.initramfs || goto retry",
        "boot || goto retry",
    ]
    assert not any("buildarch" in line for line in lines)


def test_a_script_names_the_architecture_of_the_kernel(tmp_path: Path) -> None:
    script = made(base(tmp_path, Kind.IPXE, iso(kernel=ARM64)), Customisation(boot=BOOT)).decode()
    assert "iseq ${buildarch} arm64 && goto boot ||\n" in script
    assert "echo mic: this image is for aarch64, this iPXE is for ${buildarch}\n" in script


@pytest.mark.parametrize(
    ("text", "edits", "words"),
    [
        ("", (), "ignition.firstboot ignition.platform.id=metal coreos.live.rootfs_url=U"),
        (
            "coreos.liveiso=V coreos.live.rootfs_url=old ignition.platform.id=metal x",
            (),
            "ignition.platform.id=metal x ignition.firstboot coreos.live.rootfs_url=U",
        ),
        (
            "ignition.firstboot ignition.platform.id=metal quiet",
            (ArgumentEdits(appended=("a",)), ArgumentEdits(("quiet", "a"), ("b",))),
            "ignition.firstboot ignition.platform.id=metal coreos.live.rootfs_url=U b",
        ),
    ],
)
def test_arguments(text: str, edits: tuple[ArgumentEdits, ...], words: str) -> None:
    boot = NetworkBoot(kernel="", initramfs="", rootfs="U")
    assert live_arguments(text, boot, edits) == words


def test_no_repr_has_a_url_that_may_be_secret() -> None:
    url = "http://admin:hunter2@mic/hunter2"
    boot = NetworkBoot(kernel="", initramfs=url, rootfs=url, others={"aarch64": url})
    made = Customisation(boot=boot, rootfs_url=url)
    assert "hunter2" not in repr(made)


@pytest.mark.parametrize("text", ["a ${net0/mac}", "a;b", "x||y", "#c", 'a="b c"'])
def test_refuses_what_ipxe_would_interpret(text: str) -> None:
    with pytest.raises(BuildInvalid, match=r"^the kernel argument .* cannot stand in a script: "):
        live_arguments(text, BOOT, ())


@pytest.mark.parametrize("url", ["http://mic/$x", "http://mic/a&b", "http://mic/a b"])
def test_refuses_urls_that_ipxe_would_interpret(tmp_path: Path, url: str) -> None:
    script = base(tmp_path, Kind.IPXE, iso())
    wrong = NetworkBoot(kernel=url, initramfs="http://mic/w", rootfs="http://mic/r")
    for boot in (wrong, ChainByMac(url)):
        with pytest.raises(BuildInvalid, match=r"^the URL http://mic/.* cannot stand"):
            script.layout(Customisation(boot=boot))


def test_the_tag_is_that_of_the_bytes(tmp_path: Path) -> None:
    one = base(tmp_path, Kind.IPXE, iso())
    other = base(tmp_path / "other", Kind.IPXE, iso(kernel=b"MZ of another release"))
    here = Customisation(boot=BOOT)
    assert one.etag(here) == other.etag(here)
    assert one.etag(here) != one.etag(Customisation(boot=ChainByMac("http://mic")))


def test_without_a_kernel_there_is_no_script(tmp_path: Path) -> None:
    files = coreos_files(kernel=KERNEL, initramfs=INITRAMFS, rootfs=b"")
    del files["/images/pxeboot/vmlinuz"]
    with pytest.raises(BaseUnavailable, match=r"base image .*vmlinuz"):
        base(tmp_path, Kind.IPXE, write_iso(files))


def test_without_an_iso_a_script_has_the_arguments_that_a_live_system_needs(tmp_path: Path) -> None:
    file = open_base(str(put(tmp_path / "initramfs", INITRAMFS)))
    script = made(read_base(file, Kind.IPXE, inside_iso=False), Customisation(boot=BOOT))
    assert b" initrd=main ignition.firstboot ignition.platform.id=metal coreos.live" in script


def test_s390x_address_and_size(tmp_path: Path) -> None:
    found = base(tmp_path, Kind.ADDRSIZE, s390x())
    size = len(INITRAMFS) + 1000
    assert made(found, Customisation(bytes(1000))) == struct.pack(">QQ", 0x03000000, size)
    file = open_base(str(put(tmp_path / "initramfs", INITRAMFS)))
    alone = read_base(file, Kind.ADDRSIZE, inside_iso=False)
    assert made(alone, Customisation()) == struct.pack(">QQ", 0x02000000, len(INITRAMFS))


def test_s390x_load_list_names_the_files_of_the_host(tmp_path: Path) -> None:
    older = GENERIC_INS.replace(b"pxeboot/", b"")
    for text in (GENERIC_INS, older):
        found = base(tmp_path, Kind.INS, s390x(ins=text))
        assert made(found, Customisation(boot=BOOT)).decode() == (
            "* minimal lpar ins file\n"
            "kernel.img 0x00000000\n"
            "w0.initramfs 0x02000000\n"
            "w0.prm 0x00010480\n"
            "w0.addrsize 0x00010408\n"
        )


def test_s390x_load_list_of_another_form(tmp_path: Path) -> None:
    found = base(tmp_path, Kind.INS, s390x(ins=b"images/other 0x0\n"))
    with pytest.raises(BaseUnavailable, match=r"its generic\.ins has an unknown line"):
        found.layout(Customisation(boot=BOOT))
    spaced = NetworkBoot(kernel="http://mic/k", initramfs="http://mic/a%20b.initramfs", rootfs="")
    with pytest.raises(BuildInvalid, match="white space in the host's name 'a b'"):
        base(tmp_path, Kind.INS, s390x()).layout(Customisation(boot=spaced))
    foreign = NetworkBoot(
        kernel="http://mic/k", initramfs="http://mic/b%C3%BCro.initramfs", rootfs=""
    )
    with pytest.raises(BuildInvalid, match="the host's name 'büro' is not ASCII"):
        base(tmp_path, Kind.INS, s390x()).layout(Customisation(boot=foreign))


def test_other_architectures_have_no_load_list(tmp_path: Path) -> None:
    for kind in (Kind.INS, Kind.ADDRSIZE):
        with pytest.raises(BaseUnavailable):
            base(tmp_path, kind, iso())


def test_parameter_file_fits_cards(tmp_path: Path) -> None:
    words = [f"rd.znet=qeth,0.0.{number:04x},layer2=1" for number in range(12)]
    lines = parameter_file(" ".join([*words, "x" * 100])).decode().splitlines()
    assert " ".join(lines).split() == [*words, "x" * 100]
    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[-1] == "x" * 100
    with pytest.raises(BuildInvalid, match="has room for 896"):
        parameter_file("x" * 900)
    text = made(base(tmp_path, Kind.PRM, s390x()), Customisation(boot=BOOT))
    assert text.split() == [
        *(b"ignition.firstboot", b"ignition.platform.id=metal"),
        b"coreos.live.rootfs_url=http://mic/rootfs.img",
    ]


@pytest.mark.parametrize("release", ["2020-09", "2023-07.s390x", "2023-07.x86_64"])
def test_real_isos(tmp_path: Path, shared: Path, release: str) -> None:
    packed = shared / f"fixtures/coreos-iso/embed-areas-{release}.iso.xz"
    data = lzma.decompress(packed.read_bytes())
    script = made(base(tmp_path, Kind.IPXE, data), Customisation(boot=BOOT)).decode()
    assert " ignition.firstboot ignition.platform.id=metal coreos.live.rootfs_url=http:" in script
    assert "coreos.liveiso" not in script
    if "s390x" in release:
        load_list = made(base(tmp_path, Kind.INS, data), Customisation(boot=BOOT)).decode()
        assert load_list.splitlines()[1:] == [
            "kernel.img 0x00000000",
            "w0.initramfs 0x02000000",
            "w0.prm 0x00010480",
            "w0.addrsize 0x00010408",
        ]
        address = made(base(tmp_path, Kind.ADDRSIZE, data), Customisation())
        assert address[:8] == struct.pack(">Q", 0x02000000)
