"""Downloads by stream metadata, with signatures, and continued in the next run."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from fetching import BEFORE, DIGEST, ISO, complete, fetched, files, stream, there_before, wanted
from gpg import Signer, signers
from lying_server import corrupt, cut, honest, other_version, serving, status
from toys import INITRAMFS, KERNEL, live_iso, put

from mic.fetch.failure import FetchError
from mic.fetch.metadata import Kind
from mic.fetch.openpgp import check_keyring, fingerprint
from mic.fetch.partial import Partial
from mic.media.isowriter import coreos_files, write_iso

_NOBODY = 65534

NO_ROOTFS = {
    name: data
    for name, data in coreos_files(kernel=KERNEL, initramfs=INITRAMFS, rootfs=b"").items()
    if "rootfs" not in name
}


@pytest_twisted.ensureDeferred
async def test_knows_url_and_digest_from_metadata_at_a_url(tmp_path: Path) -> None:
    with serving(ISO) as server, serving(b"") as other:
        other.content = stream(server)
        request = wanted(tmp_path, server, url="", stream_json=other.url, architecture="x86_64")
        result = await fetched(request)
    assert result.sha256 == DIGEST
    assert result.warnings == (
        "its volume name is 'mic', which is none of CoreOS",
        "it and its digest came over plain HTTP: use https:// for the stream metadata",
    )
    assert files(tmp_path) == complete()


@pytest_twisted.ensureDeferred
async def test_knows_the_digest_of_a_mirror_from_metadata_in_a_file(tmp_path: Path) -> None:
    output = tmp_path / "images"
    output.mkdir()
    with serving(ISO) as original, serving(ISO, corrupt, corrupt) as server:
        path = str(put(tmp_path / "stable.json", stream(original)))
        request = wanted(output, server, stream_json=path, architecture="x86_64")
        with pytest.raises(FetchError, match=f"expected is {DIGEST}"):
            await fetched(request)
        assert original.asked == []
    assert files(output) == {}


@pytest_twisted.ensureDeferred
async def test_takes_the_files_for_network_boot(tmp_path: Path) -> None:
    digest = hashlib.sha256(INITRAMFS).hexdigest()
    with serving(INITRAMFS) as server:
        request = wanted(
            tmp_path,
            server,
            url="",
            stream_json=str(put(tmp_path / "stable.json", stream(server, digest))),
            architecture="x86_64",
            kind=Kind.INITRAMFS,
            output=str(tmp_path / "coreos.initramfs"),
        )
        result = await fetched(request)
    assert server.asked[0].target.endswith("-initramfs")
    assert (result.sha256, result.warnings) == (digest, ())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "stable.json: it is not JSON"),
        (None, "stable.json: No such file"),
        (b"{}", "stable.json: it has no architectures"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_names_bad_metadata(tmp_path: Path, data: bytes | None, why: str) -> None:
    path = tmp_path / "stable.json"
    if data is not None:
        put(path, data)
    with serving(ISO) as server:
        request = wanted(tmp_path, server, url="", stream_json=str(path), architecture="x86_64")
        with pytest.raises(FetchError, match=why):
            await fetched(request)
    assert server.asked == []


@pytest_twisted.ensureDeferred
async def test_two_digests_must_agree(tmp_path: Path) -> None:
    with serving(ISO) as server:
        path = str(put(tmp_path / "stable.json", stream(server)))
        request = wanted(tmp_path, server, stream_json=path, architecture="x86_64", sha256="0" * 64)
        with pytest.raises(FetchError, match=f"-sha256 is 0.*says {DIGEST}"):
            await fetched(request)
    assert server.asked == []


@pytest_twisted.ensureDeferred
async def test_refuses_an_image_of_another_architecture(tmp_path: Path) -> None:
    before = there_before(tmp_path)
    iso = live_iso(kernel=b"MZ".ljust(56, b"\0") + b"ARM\x64".ljust(100, b"\0"))
    digest = hashlib.sha256(iso).hexdigest()
    with serving(iso) as server:
        request = wanted(
            tmp_path, server, sha256=digest, architecture="x86_64", any_architecture=False
        )
        with pytest.raises(FetchError, match="it is made for aarch64, not for x86_64"):
            await fetched(request)
        assert files(tmp_path) == before
        await fetched(wanted(tmp_path, server, sha256=digest, architecture="x86_64"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<!DOCTYPE html>\n<p>Sign in", "an HTML page: download the file again, maybe with a"),
        (ISO[:-5000], "truncated ISO image"),
        (ISO[:40000], "truncated ISO image"),
        (write_iso(NO_ROOTFS), "no file '/images/pxeboot/rootfs.img'"),
        (
            write_iso(coreos_files(kernel=KERNEL, initramfs=INITRAMFS, rootfs=b"")),
            "its root file system is empty",
        ),
        (bytes(100000), "not an ISO 9660 image"),
    ],
    ids=["page", "truncated", "cut short", "minimal", "empty rootfs", "zeros"],
)
@pytest_twisted.ensureDeferred
async def test_refuses_what_is_no_live_iso(tmp_path: Path, content: bytes, why: str) -> None:
    before = there_before(tmp_path)
    with serving(content) as server:
        with pytest.raises(FetchError, match=why):
            await fetched(wanted(tmp_path, server))
        # Even if that is what was asked for: a digest of a page is no image either.
        digest = hashlib.sha256(content).hexdigest()
        with pytest.raises(FetchError, match=why):
            await fetched(wanted(tmp_path, server, sha256=digest, resume=True))
    assert files(tmp_path) == before


@pytest.mark.parametrize("kind", [Kind.KERNEL, Kind.INITRAMFS, Kind.ROOTFS])
@pytest_twisted.ensureDeferred
async def test_refuses_a_page_as_any_file(tmp_path: Path, kind: Kind) -> None:
    words = f"it is an HTML page, not the {kind} of CoreOS"
    with serving(b"<html>\n") as server, pytest.raises(FetchError, match=words):
        await fetched(wanted(tmp_path, server, kind=kind))
    assert files(tmp_path) == {}


@pytest.mark.parametrize("known", [True, False])
@pytest_twisted.ensureDeferred
async def test_leaves_a_file_that_is_there(tmp_path: Path, known: bool) -> None:
    put(tmp_path / "coreos.iso", ISO)
    inode = (tmp_path / "coreos.iso").stat().st_ino
    with serving(ISO) as server:
        result = await fetched(wanted(tmp_path, server, sha256=DIGEST.upper() if known else ""))
    assert not result.is_new
    assert (tmp_path / "coreos.iso").stat().st_ino == inode
    assert files(tmp_path) == complete()
    assert len(server.asked) == (0 if known else 1)


@pytest_twisted.ensureDeferred
async def test_warns_that_nothing_vouches_for_the_file(tmp_path: Path) -> None:
    with serving(ISO) as server:
        result = await fetched(wanted(tmp_path, server))
    assert "plain HTTP" in result.warnings[-1]


@pytest_twisted.ensureDeferred
async def test_a_disk_that_cannot_write_the_bytes_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File systems with delayed allocation report it only to fsync."""
    before = there_before(tmp_path)

    def fsync(fd: int) -> None:
        if os.fstat(fd).st_size == len(ISO):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    reason = r"coreos\.iso: Input/output error"
    with serving(ISO) as server, pytest.raises(FetchError, match=reason):
        await fetched(wanted(tmp_path, server))
    assert files(tmp_path) == before


@pytest_twisted.ensureDeferred
async def test_follows_a_link_and_replaces_its_target(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    there_before(tmp_path / "real")
    (tmp_path / "coreos.iso").symlink_to("real/coreos.iso")
    with serving(ISO) as server:
        await fetched(wanted(tmp_path, server, sha256=DIGEST))
    assert (tmp_path / "coreos.iso").is_symlink()
    assert files(tmp_path / "real") == complete()
    assert stat.S_IMODE((tmp_path / "coreos.iso").stat().st_mode) & 0o444


@pytest.fixture(scope="module")
def keys() -> Iterator[list[Signer]]:
    with signers("fedora", "other") as made:
        yield made


class TestSignatures:
    """Made by GnuPG, verified by gpgv."""

    @pytest_twisted.ensureDeferred
    async def test_a_good_one(self, tmp_path: Path, keys: list[Signer]) -> None:
        key = keys[0]
        output = tmp_path / "images"
        output.mkdir()
        with serving(ISO, others={"/coreos.iso.sig": key.sign(ISO)}) as server:
            request = wanted(output, server, keyring=key.keyring(tmp_path / "keys.gpg"))
            result = await fetched(request)
            # Of a file that is there, too.
            again = await fetched(wanted(output, server, sha256=DIGEST, keyring=request.keyring))
        assert result.key == again.key == key.fingerprint
        assert not again.is_new
        assert not [each for each in result.warnings if "HTTP" in each]
        assert files(output) == complete()

    @pytest.mark.parametrize(
        ("signature", "why"),
        [
            ("other key", "it is signed by a key that is not in the keyring"),
            ("other file", "the signature is not of this file"),
            ("nothing", "the file is empty"),
            ("page", "there is no signature in it"),
            ("missing", "answers 404"),
            ("two", "it is signed by a key that is not in the keyring"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_bad_one(
        self, tmp_path: Path, keys: list[Signer], signature: str, why: str
    ) -> None:
        key, other = keys
        output = tmp_path / "images"
        output.mkdir()
        before = there_before(output)
        given = {
            "other key": other.sign(ISO),
            "other file": key.sign(ISO + b"x"),
            "nothing": b"",
            "page": b"<html></html>\n",
            "two": key.sign(ISO) + other.sign(ISO),
        }
        others = {"/coreos.iso.sig": given[signature]} if signature in given else {}
        tricks = [status("404 Not Found")] if signature == "missing" else []
        with serving(ISO, *tricks, others=others) as server:
            request = wanted(
                output,
                server,
                sha256=DIGEST,
                keyring=key.keyring(tmp_path / "keys.gpg"),
                resume=True,
            )
            with pytest.raises(FetchError, match=why):
                await fetched(request)
        assert files(output) == before

    @pytest_twisted.ensureDeferred
    async def test_from_a_file_or_the_metadata(self, tmp_path: Path, keys: list[Signer]) -> None:
        key = keys[0]
        keyring = key.keyring(tmp_path / "keys.gpg")
        with serving(ISO, others={"/coreos.iso.asc": key.sign(ISO)}) as server:
            path = str(put(tmp_path / "stable.json", stream(server)))
            request = wanted(
                tmp_path,
                server,
                url="",
                stream_json=path,
                architecture="x86_64",
                keyring=keyring,
            )
            assert (await fetched(request)).key == key.fingerprint
            signature = str(put(tmp_path / "x.sig", key.sign(ISO)))
            request = wanted(tmp_path, server, keyring=keyring, signature=signature)
            assert (await fetched(request)).key == key.fingerprint

    def test_keyrings(self, tmp_path: Path, keys: list[Signer]) -> None:
        path = keys[0].keyring(tmp_path / "keys.asc", armored=True)
        with pytest.raises(FetchError, match="gpg --dearmor"):
            check_keyring(path)
        with pytest.raises(FetchError, match="No such file"):
            check_keyring(str(tmp_path / "none"))
        with pytest.raises(FetchError, match="it is empty"):
            check_keyring(str(put(tmp_path / "empty", b"")))


GOOD = "[GNUPG:] GOODSIG 05A6AC69 Fedora\n[GNUPG:] VALIDSIG BCA460BD 2026-11-29\n"


@pytest.mark.parametrize(
    ("status_lines", "returned", "why"),
    [
        (GOOD, 1, "gpgv ended with 1"),
        ("", 0, "gpgv ended with 0"),
        ("[GNUPG:] VALIDSIG BCA460BD\n", 0, "could not be verified"),
        (f"{GOOD}[GNUPG:] EXPKEYSIG 1 x\n", 0, "the key of the signature has expired"),
        (f"{GOOD}[GNUPG:] REVKEYSIG 1 x\n", 0, "the key of the signature was revoked"),
        (f"{GOOD}[GNUPG:] EXPSIG 1 x\n", 0, "the signature has expired"),
        (f"{GOOD}[GNUPG:] BADSIG 1 x\n", 0, "the signature is not of this file"),
        ("gpgv: [GNUPG:] GOODSIG 1\n[GNUPG:] VALIDSIG 1\n", 0, "could not be verified"),
    ],
)
def test_anything_but_a_good_signature_is_none(status_lines: str, returned: int, why: str) -> None:
    assert fingerprint(GOOD, 0) == "BCA460BD"
    with pytest.raises(FetchError, match=why):
        fingerprint(status_lines, returned)


class TestTheNextRun:
    """What is kept with ``-resume``, and what becomes of it."""

    @pytest_twisted.ensureDeferred
    async def test_continues(self, tmp_path: Path) -> None:
        before = there_before(tmp_path)
        with serving(ISO, cut(0.5), *[status("404 Not Found")]) as server:
            request = wanted(tmp_path, server, resume=True)
            with pytest.raises(FetchError, match="404"):
                await fetched(request)
            left = files(tmp_path)
            assert left.pop(".coreos.iso.part") == ISO[: len(ISO) // 2]
            assert server.url not in left.pop(".coreos.iso.part.json").decode()
            assert left == before
            await fetched(request)
            assert server.asked[-1].fields["range"] == f"bytes={len(ISO) // 2}-"
        assert files(tmp_path) == complete()

    @pytest.mark.parametrize("way", ["changed", "other URL", "no notes", "too long", "not asked"])
    @pytest_twisted.ensureDeferred
    async def test_begins_again(self, tmp_path: Path, way: str) -> None:
        with serving(ISO, cut(0.5), status("404 Not Found")) as server:
            with pytest.raises(FetchError):
                await fetched(wanted(tmp_path, server, resume=True))
            if way == "changed":
                server.content = live_iso(kernel=b"MZ another")
            elif way == "no notes":
                (tmp_path / ".coreos.iso.part.json").write_bytes(b"\xff{")
            elif way == "too long":
                (tmp_path / ".coreos.iso.part").write_bytes(ISO * 2)
            url = f"{server.url}?other" if way == "other URL" else server.url
            result = await fetched(wanted(tmp_path, server, url=url, resume=way != "not asked"))
            assert result.sha256 == hashlib.sha256(server.content).hexdigest()
            assert ("range" in server.asked[-1].fields) == (way == "changed")
        assert files(tmp_path).keys() == complete().keys()

    @pytest_twisted.ensureDeferred
    async def test_finds_that_it_has_all(self, tmp_path: Path) -> None:
        """The last run ended between the download and the rename."""
        with serving(ISO) as server:
            partial = Partial(str(tmp_path / "coreos.iso"), server.url, keep=True)
            partial.load()
            partial.begin(len(ISO), '"tag"')
            partial.write(ISO)
            partial.close()
            await fetched(wanted(tmp_path, server, resume=True))
        assert server.asked == []
        assert files(tmp_path) == complete()

    @pytest_twisted.ensureDeferred
    async def test_does_not_keep_what_is_wrong(self, tmp_path: Path) -> None:
        lies = [cut(0.5), other_version(same_tag=True)]
        with serving(ISO, *lies, *lies, honest) as server:
            request = wanted(tmp_path, server, sha256=DIGEST, resume=True)
            with pytest.raises(FetchError, match="its sha256 is"):
                await fetched(request)
            assert files(tmp_path) == {}
            await fetched(request)
        assert files(tmp_path) == complete()


class TestTheDirectory:
    """Where the file goes."""

    @pytest.mark.parametrize(
        ("output", "why"),
        [
            ("", "is a directory; name a file"),
            ("sub/", "is a directory; name a file"),
            ("new/", "is a directory; name a file"),
            ("none/coreos.iso", "No such file or directory"),
            ("file/coreos.iso", "Not a directory"),
            ("pipe", "is not a regular file"),
            ("x" * 250, "File name too long"),
            ("a.iso", "a.iso.sha256 is a directory"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_must_be_one(self, tmp_path: Path, output: str, why: str) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "a.iso.sha256").mkdir()
        (tmp_path / "file").write_bytes(b"")
        os.mkfifo(tmp_path / "pipe")
        before = sorted(each.name for each in tmp_path.iterdir())
        with serving(ISO) as server:
            request = wanted(tmp_path, server, output=f"{tmp_path}/{output}")
            with pytest.raises(FetchError, match=why):
                await fetched(request)
        assert server.asked == []
        assert sorted(each.name for each in tmp_path.iterdir()) == before

    def test_is_written_to_by_one_at_a_time(self, tmp_path: Path) -> None:
        target = str(tmp_path / "coreos.iso")
        first = Partial(target, "", keep=False)
        with pytest.raises(FetchError, match="another mic fetch is writing this file"):
            Partial(target, "", keep=False)
        first.close()
        Partial(target, "", keep=False).close()
        assert files(tmp_path) == {}

    @pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
    def test_a_trap_in_the_place_of_the_partial_file_does_no_harm(
        self, tmp_path: Path, kind: str
    ) -> None:
        victim = put(tmp_path / "victim", b"precious")
        place = tmp_path / ".coreos.iso.part"
        if kind == "link":
            place.symlink_to(victim)
        elif kind == "hard link":
            place.hardlink_to(victim)
        else:
            os.mkfifo(place)
        partial = Partial(str(tmp_path / "coreos.iso"), "", keep=False)
        partial.load()
        partial.write(b"bytes")
        partial.close()
        assert files(tmp_path) == {"victim": b"precious"}

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can create files of others")
    def test_may_be_where_files_get_another_owner(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As NFS does with the files of root."""
        tmp_path.chmod(0o777)
        # Directories above are closed to others.
        monkeypatch.chdir(tmp_path)
        setfsuid = ctypes.CDLL(None).setfsuid
        setfsuid(_NOBODY)
        try:
            partial = Partial("coreos.iso", "", keep=False)
            assert os.stat(".coreos.iso.part").st_uid == _NOBODY
            with pytest.raises(FetchError, match="another mic fetch is writing this file"):
                Partial("coreos.iso", "", keep=False)
            partial.close()
        finally:
            setfsuid(0)
        assert files(tmp_path) == {}

    def test_what_an_ended_run_left_is_replaced(self, tmp_path: Path) -> None:
        (tmp_path / ".coreos.iso.part").write_bytes(b"left by kill -9")
        partial = Partial(str(tmp_path / "coreos.iso"), "", keep=False)
        partial.load()
        assert partial.held.size == 0
        partial.close()
        assert files(tmp_path) == {}

    def test_a_failed_rename_changes_nothing(self, tmp_path: Path) -> None:
        before = there_before(tmp_path)
        partial = Partial(str(tmp_path / "coreos.iso"), "", keep=False)
        partial.load()
        partial.write(ISO)
        # Meanwhile there is something that no file can replace.
        (tmp_path / "coreos.iso").unlink()
        (tmp_path / "coreos.iso" / "sub").mkdir(parents=True)
        with pytest.raises(FetchError, match="directory"):
            partial.commit()
        partial.close()
        (tmp_path / "coreos.iso" / "sub").rmdir()
        (tmp_path / "coreos.iso").rmdir()
        (tmp_path / "coreos.iso").write_bytes(BEFORE)
        assert files(tmp_path) == before
