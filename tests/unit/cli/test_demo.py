"""The sample files of mic demo."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from mic.cli.demo import main, write_samples
from mic.media.base import IMAGES, SHARED, Kind, read_base
from mic.media.basefile import open_base
from mic.media.probe import doubts


def test_writes_bases_and_hosts(tmp_path: Path) -> None:
    write_samples(str(tmp_path))
    iso = open_base(str(tmp_path / "coreos.iso"))
    assert 1 << 20 < iso.size < 64 << 20
    for kind in (*IMAGES, *SHARED):
        base = read_base(iso, kind, inside_iso=kind is not Kind.ISO)
        assert [doubt.text for doubt in doubts(base, [platform.machine()])] == []
    inside = read_base(iso, Kind.INITRAMFS, inside_iso=True)
    assert iso.read(inside.start, inside.stop - inside.start) == (
        (tmp_path / "coreos.initramfs").read_bytes()
    )
    hosts = {path.name: path.read_bytes() for path in (tmp_path / "hosts").iterdir()}
    assert set(hosts) == {"worker-0.yaml", "worker-1.yaml"}
    assert b"interfaces:" in hosts["worker-0.yaml"]


def test_writes_the_same_bytes_each_time(tmp_path: Path) -> None:
    write_samples(str(tmp_path / "one"))
    write_samples(str(tmp_path / "other"))
    for path in (tmp_path / "one").rglob("*"):
        other = tmp_path / "other" / path.relative_to(tmp_path / "one")
        assert path.is_dir() or path.read_bytes() == other.read_bytes()


def test_overwrites_nothing(tmp_path: Path) -> None:
    """A directory of ``-dir`` may have a real ISO, or a host that was edited."""
    (tmp_path / "hosts").mkdir()
    for name in ("coreos.iso", "hosts/worker-0.yaml"):
        (tmp_path / name).write_bytes(b"mine")
    write_samples(str(tmp_path))
    assert (tmp_path / "coreos.iso").read_bytes() == b"mine"
    assert (tmp_path / "hosts/worker-0.yaml").read_bytes() == b"mine"
    assert (tmp_path / "coreos.initramfs").exists()


def test_names_a_directory_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["-dir", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == (
        f"mic: cannot start: -dir: {tmp_path / 'file' / 'hosts'}: Not a directory\n"
    )
    assert main(["-dir", "/proc/none"]) == 1
    assert "mic: cannot start: -dir: /proc/none" in capsys.readouterr().err


def test_reports_that_no_temporary_directory_is_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A read-only root file system."""
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert main([]) == 1
    assert "cannot start: -dir" in capsys.readouterr().err
