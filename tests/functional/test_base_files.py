"""Base files that are replaced, overwritten, cut short or away while a real mic serves them.

No body is ever mixed from two files: it is whole, or it ends early and the client sees that.
"""

from __future__ import annotations

import dataclasses
import email.utils
import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from descriptors import open_files
from functional.daemon import Daemon, eventually
from functional.media import EMBED, Media, Server, make_hosts, make_media, tcp_client
from functional.wire import Answer, Cut

from mic.media.cpio import archive
from mic.media.isowriter import coreos_files, write_iso

MIB = 1024 * 1024
ROOTFS = 8 * MIB


@pytest.fixture(scope="module")
def old_and_new(tmp_path_factory: pytest.TempPathFactory) -> tuple[Media, Media]:
    """Two base ISOs of the same length, every megabyte of them different."""
    directory = tmp_path_factory.mktemp("bases")
    return make_media(directory, ROOTFS, seed=1), make_media(directory, ROOTFS, seed=2)


@pytest.fixture
def new(old_and_new: tuple[Media, Media]) -> Media:
    return old_and_new[1]


def replace_by_rename(path: Path, data: bytes) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    beside.rename(path)


@pytest.fixture(scope="module")
def running(
    old_and_new: tuple[Media, Media], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("running")
    old = old_and_new[0]
    media = dataclasses.replace(old, directory=directory / "media").write()
    hosts = make_hosts(directory / "hosts", "worker-0.yaml")
    flags = ["static", "-images-bind-addr=127.0.0.1:0", f"-nmstate-dir={hosts}"]
    daemon = Daemon(directory / "log", flags, media.environment)
    try:
        connect = tcp_client(*daemon.tcp)
        yield Server(way="tcp", daemon=daemon, media=media, connect_socket=connect)
        daemon.stop()
    finally:
        daemon.kill()


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """A mic whose base files a test may do anything to."""
    replace_by_rename(running.media.iso_path, running.media.iso)
    replace_by_rename(running.media.initramfs_path, running.media.initramfs)
    # Requests have mic open both. A load that began before the replacement may still answer for a
    # moment, with the same bytes if the test before left them.
    eventually(
        lambda: (
            served(running).body == running.iso.data
            and running.get("/worker-0.initramfs").body == running.initramfs.data
            and not _deleted(running)
        ),
        "the base files of the fixture",
    )
    running.daemon.turn_page()
    yield running
    running.daemon.check()


def served(server: Server, status: int = 200) -> Answer:
    """The ISO, as soon as asking for it gives that status."""

    def ask() -> Answer | None:
        answer = server.get("/worker-0.iso")
        return answer if answer.status == status else None

    answer = eventually(ask, f"status {status}")
    assert answer is not None
    return answer


def date(answer: Answer) -> float:
    return email.utils.parsedate_to_datetime(answer.header("Last-Modified") or "").timestamp()


def test_a_body_under_way_is_whole_when_the_base_is_replaced(server: Server, new: Media) -> None:
    before = server.get("/worker-0.iso", method="HEAD")
    with server.connect() as wire, server.connect() as waiting:
        for each in (wire, waiting):
            each.take_little()
            each.ask("/worker-0.iso")
            each.head()
        start = wire.take(MIB)
        replace_by_rename(server.media.iso_path, new.iso)
        after = server.get("/worker-0.iso")
        assert new.with_config(after.body)
        assert start + wire.take(server.iso.size - MIB) == server.iso.data
        # The same connection gets the new image next.
        wire.ask("/worker-0.iso")
        assert wire.answer().body == after.body
        server.daemon.hang_up()
        server.daemon.wait_for("SIGHUP")
        assert waiting.take(server.iso.size) == server.iso.data
    assert after.header("ETag") != before.header("ETag")
    assert date(after) > date(before)


def test_a_range_of_the_old_image_is_not_continued_with_the_new_one(
    server: Server, new: Media
) -> None:
    before = server.get("/worker-0.iso", method="HEAD")
    replace_by_rename(server.media.iso_path, new.iso)
    for validator in (before.header("ETag"), before.header("Last-Modified")):
        answer = server.get("/worker-0.iso", "Range: bytes=5000-", f"If-Range: {validator}")
        assert answer.status == 200
        assert new.with_config(answer.body)
    answer = server.get("/worker-0.iso", "Range: bytes=5-", f"If-Match: {before.header('ETag')}")
    assert answer.status == 412


@pytest.mark.parametrize("size", [ROOTFS // 2, 2 * ROOTFS])
def test_a_new_base_may_have_another_size(server: Server, size: int, tmp_path: Path) -> None:
    other = make_media(tmp_path, size, seed=3)
    replace_by_rename(server.media.iso_path, other.iso)
    answer = served(server)
    assert other.with_config(answer.body)


def read_what_comes(server: Server, meanwhile: Callable[[], object]) -> bytes:
    """The bytes of a body, up to its early end, with something done after the first of them."""
    data = b""
    with server.connect() as wire:
        wire.take_little()
        wire.ask("/worker-0.iso")
        wire.head()
        data += wire.take(100_000)
        meanwhile()
        try:
            while len(data) < server.iso.size:
                data += wire.take(min(10_000, server.iso.size - len(data)))
        except (Cut, ConnectionResetError):
            pass
    return data


def test_a_body_whose_base_is_overwritten_never_comes_to_its_end(
    server: Server, new: Media
) -> None:
    """What the kernel sends of a file may be newer than our last look at it, but not the end."""
    before = server.get("/worker-0.iso", method="HEAD")
    data = read_what_comes(server, lambda: server.media.iso_path.write_bytes(new.iso))
    assert len(data) < server.iso.size
    # Not ==: pytest would spend minutes on showing where megabytes differ.
    assert server.iso.data.startswith(data)
    answer = served(server)
    assert new.with_config(answer.body)
    assert answer.header("ETag") != before.header("ETag")
    assert date(answer) > date(before)
    assert "broken off" in server.daemon.log


def test_a_single_byte_written_into_the_base_cuts_the_body(server: Server) -> None:
    def write() -> None:
        with server.media.iso_path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x00" if server.iso.data[-1] else b"\x01")

    data = read_what_comes(server, write)
    assert len(data) < server.iso.size
    # Not ==: pytest would spend minutes on showing where megabytes differ.
    assert server.iso.data.startswith(data)


def test_a_base_that_is_cut_short_cuts_the_body(server: Server) -> None:
    data = read_what_comes(server, lambda: os.truncate(server.media.iso_path, 3 * MIB))
    assert len(data) < server.iso.size
    # Not ==: pytest would spend minutes on showing where megabytes differ.
    assert server.iso.data.startswith(data)
    assert served(server, 503).header("Retry-After") is not None
    # Back with the same bytes, it is the same image.
    server.media.write()
    assert served(server).body == server.iso.data


def test_many_bodies_and_ranges_while_the_base_is_overwritten_again_and_again(
    server: Server, old_and_new: tuple[Media, Media]
) -> None:
    """Whatever answer is whole is whole: of one file, and the one its ETag is of."""
    bodies: dict[str, bytes] = {}
    for turn in range(12):
        media = old_and_new[turn % 2]
        with server.connect() as wire:
            try:
                wire.take_little()
                wire.ask("/worker-0.iso")
                _, status, headers = wire.head()
                etag = dict(headers).get("ETag", "")
                if turn % 3 == 0:
                    server.media.iso_path.write_bytes(media.iso)
                else:
                    replace_by_rename(server.media.iso_path, media.iso)
                if status == 200:
                    body = wire.take(server.iso.size)
                    assert bodies.setdefault(etag, body) == body
            except (Cut, ConnectionResetError):
                pass
    final = served(server)
    old, new = old_and_new
    for body in [*bodies.values(), final.body]:
        base = old if body[-1000:] == old.iso[-1000:] else new
        assert base.with_config(body)


def test_a_base_that_is_away_is_a_clear_answer_until_it_is_back(server: Server) -> None:
    before = server.get("/worker-0.iso")
    away = server.media.iso_path.with_suffix(".away")
    server.media.iso_path.rename(away)
    answer = server.get("/worker-0.iso")
    assert answer.status == 503
    assert answer.header("Retry-After") is not None
    assert answer.header("ETag") is None
    assert str(server.media.directory).encode() not in answer.body
    assert server.get("/worker-0.iso", "Range: bytes=0-5").status == 503
    # The initramfs has a file of its own.
    assert server.get("/worker-0.initramfs").body == server.initramfs.data
    for _ in range(5):
        assert server.get("/worker-0.iso").status == 503
    lines = [line for line in server.daemon.log.splitlines() if "No such file" in line]
    assert lines
    assert str(server.media.iso_path) in lines[0]
    assert len(lines) <= 3
    away.rename(server.media.iso_path)
    after = served(server)
    assert after.body == before.body
    assert after.header("ETag") == before.header("ETag")
    assert after.header("Last-Modified") == before.header("Last-Modified")


def test_the_dates_of_a_base_do_not_matter(server: Server) -> None:
    before = server.get("/worker-0.iso", method="HEAD")
    os.utime(server.media.iso_path, (1, 1))
    touched = server.get("/worker-0.iso", method="HEAD")
    replace_by_rename(server.media.iso_path, server.media.iso)
    replaced = server.get("/worker-0.iso", method="HEAD")
    for answer in (touched, replaced):
        assert answer.header("ETag") == before.header("ETag")
        assert answer.header("Last-Modified") == before.header("Last-Modified")


def test_a_base_without_embed_area_is_a_clear_answer(server: Server) -> None:
    replace_by_rename(server.media.iso_path, write_iso({"/readme.txt": b"no CoreOS"}))
    assert server.get("/worker-0.iso").status == 503
    server.daemon.wait_for(f"{server.media.iso_path}.*")
    assert server.get("/worker-0.initramfs").status == 200
    replace_by_rename(server.media.iso_path, server.media.iso)
    assert served(server).body == server.iso.data


def test_a_fixed_embed_area_that_is_too_small_is_a_clear_answer(server: Server) -> None:
    files = coreos_files(kernel=b"k", initramfs=b"i", rootfs=b"r", embed_length=100)
    info = {"file": "images/ignition.img", "offset": 0, "length": 100}
    files["/coreos/igninfo.json"] = json.dumps(info).encode()
    replace_by_rename(server.media.iso_path, write_iso(files))
    assert server.get("/worker-0.iso").status == 503
    (line, *_) = server.daemon.wait_for("embed area")
    assert "100" in line


def test_an_initramfs_is_followed_too(server: Server) -> None:
    with server.connect() as wire:
        wire.ask("/worker-0.initramfs")
        before = wire.answer()
        replace_by_rename(server.media.initramfs_path, b"another initramfs")
        wire.ask("/worker-0.initramfs")
        after = wire.answer()
    assert after.body.startswith(b"another initramfs")
    assert after.header("ETag") != before.header("ETag")
    assert date(after) > date(before)


def _deleted(server: Server) -> list[str]:
    """Base files that mic has open and nobody else can open any more."""
    links = open_files(server.daemon.pid)
    return [link for link in links if "(deleted)" in link and "coreos" in link]


def test_old_bases_are_released(server: Server, new: Media) -> None:
    """A deleted file whose descriptor stays open keeps its disk space."""
    with server.connect() as wire:
        wire.take_little()
        wire.ask("/worker-0.iso")
        wire.head()
        replace_by_rename(server.media.iso_path, new.iso)
        served(server)
        server.daemon.hang_up()
        server.daemon.wait_for("SIGHUP")
        assert wire.take(server.iso.size) == server.iso.data
    eventually(lambda: not _deleted(server), f"old base files are closed: {_deleted(server)}")


def test_old_bases_are_released_when_their_last_reader_leaves_in_mid_body(
    server: Server, new: Media
) -> None:
    """At once, not when the garbage collector comes by: with nothing to do it never does."""
    with server.connect() as wire:
        wire.take_little()
        wire.ask("/worker-0.iso")
        wire.head()
        replace_by_rename(server.media.iso_path, new.iso)
        served(server)
        assert _deleted(server)
    eventually(lambda: not _deleted(server), f"old base files are closed: {_deleted(server)}")


def overwrite_unseen(server: Server, path: Path, data: bytes) -> None:
    """Write other bytes into the same file as ``cp -p`` does: size and dates stay.

    mic stands still meanwhile, so it cannot see the date of the write before it is set back.
    """
    status = path.stat()
    server.daemon.process.send_signal(signal.SIGSTOP)
    try:
        with path.open("r+b") as file:
            file.write(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        server.daemon.process.send_signal(signal.SIGCONT)


def test_a_base_overwritten_with_the_same_size_and_date_is_a_new_image(
    server: Server, new: Media
) -> None:
    before = server.get("/worker-0.iso", method="HEAD")
    overwrite_unseen(server, server.media.iso_path, new.iso)
    after = served(server)
    assert new.with_config(after.body)
    assert after.header("ETag") != before.header("ETag")
    assert date(after) > date(before)
    server.daemon.wait_for("overwritten in place")


def test_a_small_range_of_an_overwritten_base_is_not_served_under_the_old_tag(
    server: Server, new: Media
) -> None:
    """In both lanes: the one answers from the bytes of the head, the other has a condition."""
    end = server.iso.size - 1
    wanted = f"Range: bytes={end - 9}-{end}"
    before = server.get("/worker-0.iso", wanted)
    with server.connect() as wire:
        overwrite_unseen(server, server.media.iso_path, new.iso)
        wire.ask("/worker-0.iso", wanted)
        fast = wire.answer()
    overwrite_unseen(server, server.media.iso_path, server.media.iso)
    slow = server.get("/worker-0.iso", wanted, f"If-Match: {before.header('ETag')}")
    assert fast.body == new.iso[-10:]
    assert fast.header("ETag") != before.header("ETag")
    assert (slow.status, slow.body) == (206, before.body)


def test_an_initramfs_overwritten_with_the_same_size_and_date_is_a_new_image(
    server: Server, new: Media
) -> None:
    before = server.get("/worker-0.initramfs")
    data = new.initramfs.ljust(len(server.media.initramfs), b"\0")[: len(server.media.initramfs)]
    overwrite_unseen(server, server.media.initramfs_path, data)
    after = server.get("/worker-0.initramfs")
    assert after.body.startswith(data)
    assert after.header("ETag") != before.header("ETag")


def test_a_body_whose_base_is_overwritten_with_its_date_kept_never_comes_to_its_end(
    server: Server, new: Media
) -> None:
    data = read_what_comes(server, lambda: overwrite_unseen(server, server.media.iso_path, new.iso))
    assert len(data) < server.iso.size


@pytest.mark.parametrize("fields", [(), ("If-Match: *",)], ids=["fast lane", "normal way"])
@pytest.mark.parametrize("seen", [True, False])
def test_a_small_range_that_waits_while_its_base_is_overwritten_never_comes_to_its_end(
    server: Server, new: Media, fields: tuple[str, ...], *, seen: bool
) -> None:
    """What a client does not take at once of a small answer is read again from the file later."""
    path = server.media.iso_path
    start = 4 * MIB
    with server.connect() as wire:
        wire.take_little()
        for _ in range(60):
            wire.ask(server.iso.target, f"Range: bytes={start}-{start + 65535}", *fields)
            # Paced, so that they come one by one.
            time.sleep(0.002)
        # Some were answered, and one waits: the client has room for two.
        server.daemon.wait_until_idle()
        if seen:
            path.write_bytes(new.iso)
        else:
            overwrite_unseen(server, path, new.iso)
        whole = 0
        with suppress(Cut, ConnectionResetError):
            while True:
                assert wire.answer().body == server.iso.data[start : start + 65536]
                whole += 1
        assert whole < 60
    server.daemon.wait_for("broken off")


def rename(path: Path) -> None:
    away = path.with_suffix(".away")
    path.rename(away)
    away.rename(path)


def link(path: Path) -> None:
    other = path.with_suffix(".link")
    other.unlink(missing_ok=True)
    os.link(path, other)


def relabel(path: Path) -> None:
    try:
        os.setxattr(path, "user.mic", b"relabelled")
    except OSError as error:
        pytest.skip(f"the file system of temporary files has no attributes: {error}")


@pytest.mark.parametrize(
    "change", [rename, link, relabel, lambda path: path.chmod(0o640)], ids=lambda c: c.__name__
)
def test_what_leaves_the_bytes_alone_cuts_no_body_and_changes_no_tag(
    server: Server, change: Callable[[Path], None]
) -> None:
    before = server.get("/worker-0.iso", method="HEAD")
    data = read_what_comes(server, lambda: change(server.media.iso_path))
    assert len(data) == server.iso.size
    assert data == server.iso.data
    after = served(server)
    assert after.body == server.iso.data
    assert after.header("ETag") == before.header("ETag")
    assert after.header("Last-Modified") == before.header("Last-Modified")
    assert str(server.media.iso_path) not in server.daemon.log, "nothing worth a line"


def test_a_body_goes_on_when_its_base_is_deleted(server: Server) -> None:
    data = read_what_comes(server, server.media.iso_path.unlink)
    assert len(data) == server.iso.size
    assert data == server.iso.data


def test_a_loop_of_chmod_starves_no_one_and_reads_the_base_seldom(server: Server) -> None:
    over = threading.Event()

    def change_modes() -> None:
        while not over.is_set():
            server.media.iso_path.chmod(0o640)
            server.media.iso_path.chmod(0o644)

    thread = threading.Thread(target=change_modes)
    before = server.get("/worker-0.iso", method="HEAD")
    read = bytes_read(server)
    thread.start()
    try:
        for _ in range(50):
            answer = server.get("/worker-0.iso", "Range: bytes=100-199")
            assert answer.status == 206
            assert answer.header("ETag") == before.header("ETag")
        assert read_what_comes(server, lambda: None) == server.iso.data
    finally:
        over.set()
        thread.join()
    assert bytes_read(server) - read < 6 * server.iso.size


def bytes_read(server: Server) -> int:
    """Bytes that mic has read with system calls; sendfile is not among them."""
    lines = Path(f"/proc/{server.daemon.pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


@contextmanager
def no_descriptors(server: Server) -> Iterator[None]:
    """Have each attempt of mic to open a file fail meanwhile; connections that are open stay."""
    pid = server.daemon.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def test_a_lack_of_descriptors_while_a_base_is_replaced_is_not_remembered(
    server: Server, new: Media
) -> None:
    with server.connect() as wire:
        wire.ask("/worker-0.iso", "Range: bytes=0-99")
        wire.answer()
        with no_descriptors(server):
            replace_by_rename(server.media.iso_path, new.iso)
            wire.ask("/worker-0.iso", "Range: bytes=0-99")
            answer = wire.answer()
            assert answer.status == 503
            assert answer.header("Retry-After") is not None
            server.daemon.wait_for(r"coreos\.iso: Too many open files")
    after = served(server)
    assert new.with_config(after.body)


def test_sighup_does_not_wait_for_the_next_attempt(server: Server, new: Media) -> None:
    """After attempts at 0, 1, 3 and 7 s the next one would be at 15 s."""
    with server.connect() as wire:
        wire.ask("/worker-0.iso", "Range: bytes=0-99")
        wire.answer()
        began = time.monotonic()
        with no_descriptors(server):
            replace_by_rename(server.media.iso_path, new.iso)
            while time.monotonic() < began + 8:
                wire.ask("/worker-0.iso", "Range: bytes=0-99")
                assert wire.answer().status == 503
                # Paced: what counts is that clients ask again, not how often.
                time.sleep(0.1)
        server.daemon.hang_up()
        answer = served(server)
    assert time.monotonic() < began + 15
    assert new.with_config(answer.body)


def test_a_lack_of_descriptors_leaves_a_base_alone_that_is_loaded(server: Server) -> None:
    with server.connect() as wire:
        wire.ask("/worker-0.iso", "Range: bytes=0-99")
        wire.answer()
        with no_descriptors(server):
            server.media.iso_path.chmod(0o640)
            wire.ask("/worker-0.iso")
            answer = wire.answer()
    assert answer.status == 200
    assert answer.body == server.iso.data


def test_an_initramfs_replaced_by_a_program_is_a_clear_answer_until_it_is_right(
    server: Server,
) -> None:
    replace_by_rename(server.media.initramfs_path, Path("/bin/ls").read_bytes())
    answer = server.get("/worker-0.initramfs")
    assert answer.status == 503
    assert answer.header("Retry-After") is not None
    (line,) = server.daemon.wait_for("ELF file.*not an initramfs")[:1]
    assert str(server.media.initramfs_path) in line
    assert server.get("/worker-0.iso").status == 200
    replace_by_rename(server.media.initramfs_path, server.media.initramfs)
    assert server.get("/worker-0.initramfs").body == server.initramfs.data


def test_an_iso_whose_files_look_like_another_architecture_is_served_with_a_warning(
    server: Server,
) -> None:
    files = coreos_files(
        kernel=b"the kernel\n", initramfs=archive(b"{}"), rootfs=b"r", embed_length=EMBED
    )
    iso = write_iso({**files, "/images/cdboot.img": b"1"})
    replace_by_rename(server.media.iso_path, iso)
    assert server.get("/worker-0.iso").status == 200
    (line,) = server.daemon.wait_for("looks made for s390x")
    assert f"base image {server.media.iso_path} " in line
    (line,) = server.daemon.wait_for("its kernel looks like text")
    assert f"base image {server.media.iso_path}: " in line
