"""The archive: Linux unpacks it, equal input gives equal bytes, and mic reads it back."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import without_bytes

from mic.media import cpio as cpios
from mic.media.cpio import ArchiveError, Member, archive, config_of


def raw_entry(name: bytes, data: bytes, **fields: bytes) -> bytes:
    """Return a newc entry with the given fields, valid or not."""
    size = fields.get("size", b"%08X" % len(data))
    name_size = fields.get("name_size", b"%08X" % (len(name) + 1))
    magic = fields.get("magic", b"070701")
    zero = b"00000000"
    head = magic + zero * 6 + size + zero * 4 + name_size + zero
    text = head + name + b"\0"
    text += bytes(-len(text) % 4)
    return text + data + bytes(-len(data) % 4)


def packed(data: bytes) -> bytes:
    """Return the same bytes each time: they are part of test names."""
    return gzip.compress(data, mtime=0)


TRAILER = raw_entry(b"TRAILER!!!", b"")


@given(st.binary(max_size=300))
def test_round_trip(config: bytes) -> None:
    assert config_of(archive(config)) == config


@given(st.binary(max_size=300))
def test_archive_length_is_a_multiple_of_4(config: bytes) -> None:
    """The kernel looks for the next archive there (buffer-format.rst)."""
    data = archive(config)
    assert len(data) % 4 == 0
    stream = zlib.decompressobj(wbits=31)
    stream.decompress(data)
    assert stream.eof
    assert len(stream.unused_data) < 4
    assert not any(stream.unused_data)


@given(st.binary(max_size=300))
def test_the_bytes_of_an_archive_are_those_of_earlier_versions(config: bytes) -> None:
    """Entity tags are made of them, so that hosts need not download their images again."""
    stream = zlib.decompressobj(wbits=31)
    data = archive(config)
    cpio = stream.decompress(data)
    plain = gzip.compress(cpio, 6, mtime=0)
    assert data == plain + bytes(-len(plain) % 4)


@given(st.binary(max_size=300))
def test_no_zeros_follow_the_archive_of_a_ramdisk(content: bytes) -> None:
    """zstd, by which Ironic unpacks a whole initramfs, takes them for another stream."""
    data = cpios.packed([Member("file", 0o100644, content)])
    assert len(data) % 4 == 0
    stream = zlib.decompressobj(wbits=31)
    stream.decompress(data)
    assert stream.eof
    assert stream.unused_data == b""


@given(st.binary(max_size=300))
def test_aligns_headers_and_bodies(config: bytes) -> None:
    """usr/init/initramfs.c: header and name, and each body, are padded to 4 with zeros."""
    cpio = gzip.decompress(archive(config))
    name = b"config.ign\0"
    assert cpio[:6] == b"070701"
    assert len(cpio) % 4 == 0
    body = 110 + len(name) + -(110 + len(name)) % 4
    assert cpio[110 : 110 + len(name)] == name
    assert not any(cpio[110 + len(name) : body])
    assert cpio[body : body + len(config)] == config
    trailer = body + len(config) + -len(config) % 4
    assert not any(cpio[body + len(config) : trailer])
    assert cpio[trailer : trailer + 6] == b"070701"
    assert cpio[trailer + 110 : trailer + 121] == b"TRAILER!!!\0"


def test_header_fields() -> None:
    cpio = gzip.decompress(archive(b"12345"))
    fields = [int(cpio[6 + 8 * n : 14 + 8 * n], 16) for n in range(13)]
    inode, mode, uid, gid, links, mtime, size, *devices, name_size, check = fields
    assert (mode, size, name_size) == (0o100644, 5, len("config.ign") + 1)
    assert (uid, gid, mtime, check, set(devices)) == (0, 0, 0, 0, {0})
    assert links == 1
    assert inode != 0


def test_archives_do_not_depend_on_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before = archive(b"{}")
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert archive(b"{}") == before
    assert before[4:8] == bytes(4), "the gzip header has a time"


def test_archives_are_equal_across_processes() -> None:
    code = "import sys; from mic.media.cpio import archive; sys.stdout.buffer.write(archive(b'{}'))"
    root = Path(__file__).parents[3]
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)
    assert other.stdout == archive(b"{}")


def test_gzip_and_cpio_unpack_it(tmp_path: Path) -> None:
    """With the standard tools, instead of the kernel."""
    if not (shutil.which("cpio") and shutil.which("gzip")):
        pytest.skip("no cpio or gzip program here")
    config = b'{"ignition":{"version":"3.2.0"}}'
    cpio = subprocess.run(
        ["gzip", "-dc"], input=archive(config).rstrip(b"\0"), capture_output=True, check=False
    )
    # gzip accepts zeros after the end only in whole words.
    assert cpio.stdout
    run = ["cpio", "-idmv", "--no-absolute-filenames"]
    unpacked = subprocess.run(run, input=cpio.stdout, cwd=tmp_path, capture_output=True, check=True)
    assert unpacked.stderr.split(b"\n")[0] == b"config.ign"
    file = tmp_path / "config.ign"
    assert file.read_bytes() == config
    assert file.stat().st_mode == 0o100644
    assert file.stat().st_mtime == 0
    assert [path.name for path in tmp_path.iterdir()] == ["config.ign"]


def test_ignores_data_after_the_archive() -> None:
    assert config_of(archive(b"{}") + bytes(1000) + b"anything") == b"{}"


def test_skips_files_before_the_config() -> None:
    cpio = raw_entry(b"a", b"12345") + raw_entry(b"config.ign", b"{}") + TRAILER
    assert config_of(packed(cpio)) == b"{}"


def test_reads_an_archive_with_checksums() -> None:
    cpio = raw_entry(b"config.ign", b"{}", magic=b"070702") + TRAILER
    assert config_of(packed(cpio)) == b"{}"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "magic"),
        (b"\x1f", "magic"),
        (bytes(512), "magic"),
        (b"070701 not zipped", "magic"),
        (b"\x1f\x8b\x08 is no gzip", "not valid gzip"),
        (archive(b"{}")[:20], "is truncated"),
        (packed(b""), "no config.ign"),
        (packed(TRAILER), "no config.ign"),
        (packed(b"not cpio" * 50), "not a newc cpio"),
        (packed(TRAILER + raw_entry(b"config.ign", b"{}")), "no config.ign"),
        (packed(raw_entry(b"config.ign", b"{}")[:100]), "no config.ign"),
        (packed(raw_entry(b"config.ign", b"{}", size=b"00000100")), "is truncated"),
        (packed(raw_entry(b"config.ign", b"{}", size=b"-0000001")), "not a newc cpio"),
        (packed(raw_entry(b"config.ign", b"{}", size=b"     +1 ")), "not a newc cpio"),
        (packed(raw_entry(b"a", b"", size=b"0000_0_1")), "not a newc cpio"),
    ],
    ids=without_bytes,
)
def test_refuses_other_data(data: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        config_of(data)


def test_negative_sizes_do_not_hang() -> None:
    """int() accepts a minus sign: an entry that leads back to itself was read forever."""
    entry = raw_entry(b"a", b"", name_size=b"-000006E")
    with pytest.raises(ArchiveError, match="not a newc cpio"):
        config_of(packed(entry + TRAILER))


def test_refuses_a_gzip_bomb() -> None:
    bomb = packed(raw_entry(b"config.ign", bytes(10_000_000)) + TRAILER)
    assert len(bomb) < 20_000
    with pytest.raises(ArchiveError, match="more than 1000000 bytes"):
        config_of(bomb, limit=1_000_000)


@given(st.data())
def test_damage_raises_only_archive_errors(data: st.DataObject) -> None:
    cpio = bytearray(raw_entry(b"config.ign", b"{}") + TRAILER)
    for _ in range(data.draw(st.integers(1, 4))):
        cpio[data.draw(st.integers(0, len(cpio) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ArchiveError):
        config_of(packed(bytes(cpio)))
