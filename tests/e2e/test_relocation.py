"""Archives at the end of an ISO, found by readers that are not mic's."""

from __future__ import annotations

import lzma
import random
import subprocess
from pathlib import Path

import pytest
from e2e import parts

from mic.media.base import Kind, read_base
from mic.media.basefile import open_base
from mic.media.cpio import archive
from mic.media.customisation import Customisation

_ARCHIVE = archive(random.Random(13).randbytes(300_000).hex().encode())


@pytest.fixture(params=["2020-09", "2021-12", "2023-07.x86_64"])
def image(request: pytest.FixtureRequest, shared: Path, tmp_path: Path) -> Path:
    """An ISO with the archive at its end."""
    packed = shared / f"fixtures/coreos-iso/embed-areas-{request.param}.iso.xz"
    plain = tmp_path / "plain.iso"
    plain.write_bytes(lzma.decompress(packed.read_bytes()))
    layout = read_base(open_base(str(plain)), Kind.ISO, inside_iso=False).layout(
        Customisation(_ARCHIVE)
    )
    image = tmp_path / "image.iso"
    image.write_bytes(layout.read(0, layout.size))
    return image


@pytest.mark.parametrize("tree", ["Rock Ridge", "Joliet", "ISO 9660"])
def test_another_reader_extracts_a_relocated_archive(image: Path, tree: str) -> None:
    extract = parts.program("isoinfo", "genisoimage")
    option, path = {
        "Rock Ridge": ("-R", "/images/ignition.img"),
        "Joliet": ("-J", "/images/ignition.img"),
        "ISO 9660": ("-s", "/IMAGES/IGNITION.IMG;1"),
    }[tree]
    found = subprocess.run(
        [extract, option, "-i", image, "-x", path], check=True, capture_output=True
    )
    assert found.stdout == _ARCHIVE


def test_xorriso_finds_a_consistent_volume(image: Path, tmp_path: Path) -> None:
    xorriso = parts.program("xorriso", "xorriso")
    target = tmp_path / "ignition.img"
    subprocess.run(
        [
            *(xorriso, "-indev", image, "-osirrox", "on"),
            *("-extract", "/images/ignition.img", target),
        ],
        check=True,
        capture_output=True,
    )
    assert target.read_bytes() == _ARCHIVE
