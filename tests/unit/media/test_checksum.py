"""Files with the SHA-256 of the file next to them."""

from __future__ import annotations

import hashlib
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mic.media.checksum import (
    MAX_CHECKSUM,
    ChecksumError,
    checksum_text,
    read_checksum,
)

A, B = (hashlib.sha256(each).hexdigest() for each in (b"a", b"b"))
NAME = "coreos.iso"


@pytest.mark.parametrize(
    "text",
    [
        A,
        f"{A}\n",
        A.upper(),
        f"{A}  {NAME}\n",
        f"{A} *{NAME}\n",
        f"{A}  fedora-coreos-41.iso\r\n",
        f"{A}  some where/coreos.iso",
        f"SHA256 ({NAME}) = {A}\n",
        f"SHA256({NAME})= {A}\n",
        f"SHA2-256({NAME})= {A}\n",
        f"\\{A}  odd\\nname.iso\n",
        f"# of 2026-11-29\n\n{A}  {NAME}\n",
        f"\ufeff{A}\n",
        f"{B}  other.iso\n{A}  {NAME}\n",
        f"SHA256 (other.iso) = {B}\nSHA256 (/srv/{NAME}) = {A}\n",
        f"{A}  {NAME}\n{A}  {NAME}\n",
    ],
)
def test_reads(text: str) -> None:
    assert read_checksum(text.encode(), NAME) == A


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"\n# nothing\n", "it is empty"),
        (A[:-1].encode(), "line 1 is not a SHA-256 digest"),
        (f"{A}0".encode(), "line 1 is not"),
        (f"{A} {NAME}".encode(), "line 1 is not"),
        (hashlib.md5(b"a").hexdigest().encode(), "line 1 is not"),
        (f"{A}  {NAME}\n<html>".encode(), "line 2 is not"),
        (f"MD5 ({NAME}) = {A}".encode(), "line 1 is not"),
        (f"{A}\n{B}\n".encode(), "it has no digest for coreos.iso"),
        (f"{A}  x.iso\n{B}  y.iso\n".encode(), "it has no digest for coreos.iso"),
        (f"{A}  {NAME}\n{B}  {NAME}\n".encode(), "it has several digests for coreos.iso"),
        (b"\xff\xfe", "it is not text"),
        (b"\n" * (MAX_CHECKSUM + 1), f"it has more than {MAX_CHECKSUM} bytes"),
    ],
)
def test_refuses(data: bytes, why: str) -> None:
    with pytest.raises(ChecksumError) as caught:
        read_checksum(data, NAME)
    assert str(caught.value).startswith(why)


@given(st.binary(max_size=300))
def test_reads_or_refuses_any_bytes(data: bytes) -> None:
    with suppress(ChecksumError):
        assert len(read_checksum(data, NAME)) == 64


@pytest.mark.parametrize("name", [NAME, "two words.iso", "back\\slash.iso", "line\nbreak.iso"])
def test_writes_what_it_reads(name: str) -> None:
    assert read_checksum(checksum_text(A, name).encode(), name) == A


def test_sha256sum_accepts_what_is_written(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"a")
    (tmp_path / "sums").write_text(checksum_text(A, NAME))
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "sums"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("flags", [[], ["--tag"], ["--binary"]])
def test_reads_what_sha256sum_writes(tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / NAME).write_bytes(b"a")
    done = subprocess.run(
        ["sha256sum", *flags, NAME], cwd=tmp_path, check=True, capture_output=True
    )
    assert read_checksum(done.stdout, NAME) == A
