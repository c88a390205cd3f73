"""The sample files of mic demo."""

from __future__ import annotations

from pathlib import Path

import pytest

from mic.demo import main, write_samples
from mic.image.base import Kind, read_base
from mic.image.basefile import open_base


def test_the_samples_are_bases_and_hosts(tmp_path: Path) -> None:
    write_samples(str(tmp_path))
    iso = open_base(str(tmp_path / "coreos.iso"))
    assert 1 << 20 < iso.size < 64 << 20
    for kind in Kind:
        read_base(iso, kind, inside_iso=kind is not Kind.ISO)
    inside = read_base(iso, Kind.INITRAMFS, inside_iso=True)
    assert iso.read(inside.start, inside.stop - inside.start) == (
        (tmp_path / "coreos.initramfs").read_bytes()
    )
    hosts = {path.name: path.read_bytes() for path in (tmp_path / "hosts").iterdir()}
    assert set(hosts) == {"worker-0.yaml", "worker-1.yaml"}
    assert b"interfaces:" in hosts["worker-0.yaml"]


def test_they_are_the_same_each_time(tmp_path: Path) -> None:
    write_samples(str(tmp_path / "one"))
    write_samples(str(tmp_path / "other"))
    for path in (tmp_path / "one").rglob("*"):
        other = tmp_path / "other" / path.relative_to(tmp_path / "one")
        assert path.is_dir() or path.read_bytes() == other.read_bytes()


def test_a_directory_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["-dir", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == (
        f"mic: cannot start: -dir: {tmp_path / 'file' / 'hosts'}: Not a directory\n"
    )
    assert main(["-dir", "/proc/none"]) == 1
    assert "mic: cannot start: -dir: /proc/none" in capsys.readouterr().err


def test_no_place_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A read-only root file system."""
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert main([]) == 1
    assert "cannot start: -dir" in capsys.readouterr().err
