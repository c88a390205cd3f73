"""Static mode as a process: a directory of host files becomes images, and stays in step with it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from descriptors import open_files
from functional.daemon import DEADLINE, MIC, ROOT, Daemon, eventually
from functional.media import Media, Server, make_hosts, make_media, tcp_client
from functional.wire import Answer, request
from ports import free_port

from mic.media.cpio import config_of

BIND = "-images-bind-addr=127.0.0.1:0"


def document(address: str) -> str:
    """NMState of a host with that address."""
    return f"""\
interfaces:
- name: eth0
  type: ethernet
  state: up
  ipv4:
    enabled: true
    dhcp: false
    address:
    - ip: {address}
      prefix-length: 24
"""


@pytest.fixture(scope="module")
def running(
    media: Media, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Path]]:
    directory = tmp_path_factory.mktemp("static")
    hosts = make_hosts(directory / "hosts", "worker-0.yaml")
    daemon = Daemon(directory / "log", ["static", BIND, f"-nmstate-dir={hosts}"], media.environment)
    try:
        connect = tcp_client(*daemon.tcp)
        yield Server(way="tcp", daemon=daemon, media=media, connect_socket=connect), hosts
        daemon.stop()
    finally:
        daemon.kill()


@pytest.fixture
def hosts(running: tuple[Server, Path]) -> Path:
    """The directory of host files, with nothing in it but an empty ``worker-0.yaml``."""
    server, directory = running
    host = directory / "worker-0.yaml"
    left = [path.stem for path in directory.iterdir() if path != host]
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != host:
            path.unlink()
    # Replaced, never missing: a poll in between would take the image away after the wait below.
    put(host, "")
    server.daemon.hang_up()

    def is_fresh() -> bool:
        # The images of the test before are gone too: otherwise a host of the same name seems to
        # be served before mic has read its new file.
        gone = all(status(server, quote(os.fsencode(f"{name}.iso"))) == 404 for name in left)
        return gone and server.get("/worker-0.initramfs").body == server.initramfs.data

    eventually(is_fresh, "a fresh start")
    return directory


@pytest.fixture
def server(running: tuple[Server, Path], hosts: Path) -> Iterator[Server]:
    server = running[0]
    # The fixture's last answer is logged when this one comes.
    assert status(server, "") == 200
    server.daemon.turn_page()
    yield server
    server.daemon.check()


def put(path: Path, text: str) -> None:
    """Write a file at once: one that is half written is another one to who looks then."""
    beside = path.with_name(f".{path.name}")
    beside.write_text(text)
    beside.rename(path)


def status(server: Server, name: str) -> int:
    return server.get(f"/{name}", method="HEAD").status


def config(answer: Answer, media: Media) -> bytes:
    assert answer.status == 200
    assert answer.body.startswith(media.initramfs)
    return config_of(answer.body[len(media.initramfs) :])


def modified(answer: Answer) -> float:
    return parsedate_to_datetime(answer.header("Last-Modified") or "").timestamp()


def test_hosts_that_come_change_and_go_are_noticed_without_a_signal(
    server: Server, hosts: Path
) -> None:
    assert status(server, "worker-1.iso") == 404
    put(hosts / "worker-1.yaml", document("192.0.2.10"))
    eventually(lambda: status(server, "worker-1.iso") == 200, "worker-1 is served")
    (line,) = server.daemon.wait_for(r"serving http.*worker-1\.iso")
    assert line.endswith("serving http://127.0.0.1:8084/worker-1.iso")
    first = server.get("/worker-1.initramfs")
    assert b"192.0.2.10" in config(first, server.media)

    put(hosts / "worker-1.yaml", document("192.0.2.11"))
    eventually(
        lambda: server.get("/worker-1.initramfs").header("ETag") != first.header("ETag"),
        "the change is served",
    )
    second = server.get("/worker-1.initramfs")
    assert b"192.0.2.11" in config(second, server.media)
    assert modified(second) > modified(first)

    (hosts / "worker-1.yaml").unlink()
    eventually(lambda: status(server, "worker-1.iso") == 404, "worker-1 is gone")
    assert status(server, "worker-1.initramfs") == 404
    assert status(server, "worker-0.iso") == 200


def test_sighup_makes_it_look_at_once(server: Server, hosts: Path) -> None:
    before = server.get("/worker-0.iso", method="HEAD")
    for n in range(1, 6):
        (hosts / f"worker-{n}.json").write_text("{}")
        server.daemon.hang_up()
        eventually(lambda n=n: status(server, f"worker-{n}.iso") == 200, f"worker-{n}")
    after = server.get("/worker-0.iso", method="HEAD")
    for name in ("ETag", "Last-Modified"):
        assert after.header(name) == before.header(name)


def test_a_storm_of_signals_does_no_harm(server: Server, hosts: Path) -> None:
    for n in range(200):
        if n % 20 == 0:
            (hosts / f"storm-{n}.yaml").touch()
        server.daemon.hang_up()
    eventually(lambda: status(server, "storm-180.iso") == 200, "the last host is served")
    assert server.get("/worker-0.iso").body == server.iso.data


def test_a_body_under_way_is_not_disturbed_when_its_host_changes_or_goes(
    server: Server, hosts: Path
) -> None:
    with server.connect() as wire:
        wire.take_little()
        wire.ask("/worker-0.iso")
        wire.head()
        put(hosts / "worker-0.yaml", document("192.0.2.99"))
        server.daemon.hang_up()
        eventually(lambda: server.get("/worker-0.iso").body != server.iso.data, "the change")
        (hosts / "worker-0.yaml").unlink()
        server.daemon.hang_up()
        eventually(lambda: status(server, "worker-0.iso") == 404, "it is gone")
        assert wire.take(server.iso.size) == server.iso.data


def test_what_is_no_host_is_not_served(server: Server, hosts: Path) -> None:
    (hosts / ".hidden.yaml").touch()
    (hosts / "notes.txt").touch()
    (hosts / "no-suffix").touch()
    (hosts / "backup.yaml~").touch()
    (hosts / "UPPER.YAML").touch()
    (hosts / "directory.yaml").mkdir()
    os.mkfifo(hosts / "fifo.yaml")
    (hosts / "dangling.yaml").symlink_to(hosts / "nowhere")
    (hosts / "loop.yaml").symlink_to(hosts / "loop.yaml")
    (hosts / "linked.yaml").symlink_to(hosts / "worker-0.yaml")
    server.daemon.hang_up()
    eventually(lambda: status(server, "linked.iso") == 200, "linked is served")
    for name in (".hidden", "notes", "no-suffix", "backup", "UPPER", "directory", "fifo"):
        assert status(server, f"{name}.iso") == 404, name
    assert status(server, "dangling.iso") == 404
    assert status(server, "loop.iso") == 404


@pytest.mark.parametrize(
    "bad", ["interfaces: 5\n", "{", "\t- :", "interfaces:\n- type: ethernet\n", "x" * 5_000_000]
)
def test_a_file_that_cannot_be_converted_keeps_the_last_good_image(
    server: Server, hosts: Path, bad: str
) -> None:
    put(hosts / "worker-1.yaml", document("192.0.2.10"))
    server.daemon.hang_up()
    eventually(lambda: status(server, "worker-1.iso") == 200, "worker-1 is served")
    good = server.get("/worker-1.initramfs")
    put(hosts / "worker-1.yaml", bad)
    put(hosts / "worker-2.yaml", bad)
    put(hosts / "worker-3.yaml", document("192.0.2.13"))
    server.daemon.hang_up()
    eventually(lambda: status(server, "worker-3.iso") == 200, "worker-3 is served")
    (line,) = server.daemon.wait_for(f"error: {re.escape(str(hosts / 'worker-1.yaml'))}")
    assert "last good image" in line
    (line,) = server.daemon.wait_for(f"error: {re.escape(str(hosts / 'worker-2.yaml'))}")
    assert "last good image" not in line
    assert len(line) < 1000
    kept = server.get("/worker-1.initramfs")
    assert kept.body == good.body
    assert kept.header("ETag") == good.header("ETag")
    assert kept.header("Last-Modified") == good.header("Last-Modified")
    assert status(server, "worker-2.iso") == 404
    # Said once, not at every look.
    server.daemon.hang_up()
    (hosts / "worker-4.yaml").touch()
    server.daemon.hang_up()
    eventually(lambda: status(server, "worker-4.iso") == 200, "worker-4 is served")
    assert len(server.daemon.wait_for(f"error: {re.escape(str(hosts / 'worker-1.yaml'))}")) == 1


def test_two_files_of_one_host_are_reported(server: Server, hosts: Path) -> None:
    put(hosts / "twin.json", document("192.0.2.1"))
    put(hosts / "twin.yaml", document("192.0.2.2"))
    server.daemon.hang_up()
    server.daemon.wait_for(r"twin\.yaml: twin\.json names the same host and is ignored")

    def is_of_yaml() -> bool:
        # A poll may have found the first file alone.
        answer = server.get("/twin.initramfs")
        return answer.status == 200 and b"192.0.2.2" in config(answer, server.media)

    eventually(is_of_yaml, "twin.yaml is served")


def swap(mount: Path, number: int, files: dict[str, str]) -> None:
    """Exchange the content of a ConfigMap mount as the kubelet does."""
    data = mount / f"..2026_01_01_{number}"
    data.mkdir()
    for name, content in files.items():
        (data / name).write_text(content)
        if not (mount / name).is_symlink():
            (mount / name).symlink_to(Path("..data") / name)
    (mount / "..data_tmp").symlink_to(data.name)
    (mount / "..data_tmp").rename(mount / "..data")
    for link in list(mount.iterdir()):
        if link.is_symlink() and not link.name.startswith("..") and link.name not in files:
            link.unlink()
    for old in mount.glob("..2026*"):
        if old != data:
            shutil.rmtree(old)


def test_a_configmap_mount_is_followed(server: Server, hosts: Path) -> None:
    (hosts / "worker-0.yaml").unlink()
    swap(hosts, 1, {"a.yaml": document("192.0.2.1"), "b.yaml": ""})
    server.daemon.hang_up()
    eventually(lambda: status(server, "a.iso") == status(server, "b.iso") == 200, "a and b")
    before = server.get("/b.initramfs")
    swap(hosts, 2, {"a.yaml": document("192.0.2.2"), "b.yaml": "", "c.yaml": ""})
    server.daemon.hang_up()
    eventually(lambda: status(server, "c.iso") == 200, "c is served")
    eventually(
        lambda: b"192.0.2.2" in config(server.get("/a.initramfs"), server.media), "a's change"
    )
    after = server.get("/b.initramfs")
    assert after.header("ETag") == before.header("ETag")
    assert after.header("Last-Modified") == before.header("Last-Modified")
    swap(hosts, 3, {"c.yaml": ""})
    server.daemon.hang_up()
    eventually(lambda: status(server, "a.iso") == 404, "a is gone")
    assert status(server, "c.iso") == 200


def test_a_directory_that_is_away_keeps_the_images(server: Server, hosts: Path) -> None:
    away = hosts.with_name("away")
    hosts.rename(away)
    try:
        server.daemon.hang_up()
        (line,) = server.daemon.wait_for("-nmstate-dir")
        assert str(hosts) in line
        assert status(server, "worker-0.iso") == 200
    finally:
        away.rename(hosts)
    (hosts / "back.yaml").touch()
    server.daemon.hang_up()
    eventually(lambda: status(server, "back.iso") == 200, "it is followed again")


# The log


def test_a_download_is_two_lines_however_it_is_read(server: Server) -> None:
    with server.connect() as wire:
        size = server.iso.size
        step = size // 100 + 1
        for start in range(0, size, step):
            wire.ask("/worker-0.iso", f"Range: bytes={start}-{start + step - 1}")
            wire.answer()
    server.daemon.wait_for(r"worker-0\.iso: .* completed the download")
    lines = [line for line in server.daemon.log.splitlines() if "worker-0.iso" in line]
    begin, end = lines
    assert f"worker-0.iso: 127.0.0.1 started to download ({size} bytes)" in begin
    assert f"worker-0.iso: 127.0.0.1 completed the download: {size} bytes" in end
    assert "100.0 % of the image" in end


def test_requests_that_read_nothing_are_not_logged(server: Server) -> None:
    for method in ("HEAD", "POST"):
        server.get("/worker-0.iso", method=method)
    server.get("/secret-guess.iso")
    server.get("/worker-0.iso", "If-None-Match: *")
    server.get("/worker-0.iso", "Range: bytes=-0")
    server.get("/")
    assert "worker-0" not in server.daemon.log
    assert "secret-guess" not in server.daemon.log


def test_downloads_under_way_are_reported_at_the_end(
    media: Media, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    daemon = start(BIND, f"-nmstate-dir={hosts}", environment=media.environment)
    server = Server(way="tcp", daemon=daemon, media=media, connect_socket=tcp_client(*daemon.tcp))
    with server.connect() as reading, server.connect() as idle, server.connect():
        reading.take_little()
        reading.ask("/worker-0.iso")
        reading.head()
        idle.ask("/worker-0.iso", "Range: bytes=0-5")
        idle.answer()
        daemon.wait_for("started to download", 1)
        daemon.stop()
    (line,) = [
        line for line in daemon.log.splitlines() if "% of the image" in line and ".iso" in line
    ]
    share = re.search(r"([\d.]+) % of the image", line)
    assert share
    assert 0 < float(share[1]) < 100
    assert "was interrupted" in line


# Starting and stopping


def test_it_stops_at_once_when_no_one_downloads(media: Media, tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    patient = "import mic.service; mic.service._DRAIN_SECONDS = 3600; "
    daemon = Daemon(
        tmp_path / "log",
        ["static", BIND, f"-nmstate-dir={hosts}"],
        media.environment,
        command=[*MIC[:2], patient + MIC[2]],
    )
    try:
        daemon.wait_until_serving()
        daemon.stop()
    finally:
        daemon.kill()


def test_a_start_that_fails_for_a_fault_of_ours_is_no_success(media: Media, tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    fault = "import mic.hosts.directory; mic.hosts.directory.StaticHosts.start = None; "
    done = subprocess.run(
        [*MIC[:2], fault + MIC[2], "static", BIND, f"-nmstate-dir={hosts}"],
        env={**os.environ, **media.environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "cannot start" in done.stderr
    assert done.returncode == 1, "whoever restarts what fails must see that it failed"


def test_a_fault_of_ours_does_not_end_the_loop_that_ends_downloads(
    media: Media, tmp_path: Path
) -> None:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    fault = tmp_path / "fault.py"
    fault.write_text(
        "import sys\n"
        "import mic.service\n"
        "from mic.cli.main import main\n"
        "faults = [RuntimeError('a fault')]\n"
        "def sweep(downloads):\n"
        "    if faults:\n"
        "        raise faults.pop()\n"
        "    print('swept', file=sys.stderr)\n"
        "mic.service._SWEEP_SECONDS = 0.01\n"
        "mic.service.Downloads.sweep = sweep\n"
        "main()\n"
    )
    daemon = Daemon(
        tmp_path / "log",
        ["static", BIND, f"-nmstate-dir={hosts}"],
        {**media.environment, "PYTHONPATH": str(ROOT)},
        command=(sys.executable, str(fault)),
    )
    try:
        daemon.wait_for("swept")
        assert "RuntimeError: a fault" in daemon.log
    finally:
        daemon.process.terminate()
        daemon.process.communicate()


def test_idle_connections_are_closed_in_order_when_it_stops(
    media: Media, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    daemon = start(BIND, f"-nmstate-dir={hosts}", environment=media.environment)
    server = Server(way="tcp", daemon=daemon, media=media, connect_socket=tcp_client(*daemon.tcp))
    # The first request for an image is answered in another way than the rest.
    server.get("/worker-0.iso", "Range: bytes=0-5")
    with server.connect() as ranges, server.connect() as heads:
        ranges.ask("/worker-0.iso", "Range: bytes=0-5")
        ranges.answer()
        heads.ask("/worker-0.iso", method="HEAD")
        heads.answer("HEAD")
        daemon.stop()
        # The end, not a reset.
        assert ranges.sock.recv(1) == b""
        assert heads.sock.recv(1) == b""


def test_interrupt_stops_it_too(media: Media, tmp_path: Path, start: Callable[..., Daemon]) -> None:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    # A process that a shell starts in the background ignores SIGINT, and so do its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        daemon = start(BIND, f"-nmstate-dir={hosts}", environment=media.environment)
    finally:
        signal.signal(signal.SIGINT, before)
    daemon.wait_until_serving()
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.process.wait(DEADLINE) == 0


def test_it_stops_in_order_while_it_looks_for_changes(
    media: Media, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    hosts = make_hosts(tmp_path / "hosts", *(f"worker-{number}.yaml" for number in range(200)))
    daemon = start(BIND, f"-nmstate-dir={hosts}", environment=media.environment)
    connect = tcp_client(*daemon.tcp)
    # A client that is still to ask has it wait for a second, in which the look ends.
    with connect():
        for path in hosts.iterdir():
            path.write_text("interfaces: 1\n" if path.stem == "worker-0" else "# changed\n")
        daemon.wait_for("worker-0.yaml: interfaces")
        daemon.stop()


def test_it_stops_while_it_still_reads_a_huge_base(
    media: Media, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    huge = tmp_path / "huge.iso"
    huge.write_bytes(media.iso)
    os.truncate(huge, 200 * 1024**3)
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    daemon = start(
        BIND, f"-nmstate-dir={hosts}", environment={**media.environment, "DEPLOY_ISO": str(huge)}
    )
    # SIGTERM is taken once the reactor runs, which is when the file is read.
    eventually(lambda: str(huge) in open_files(daemon.pid), "the base is being read")
    ticks = daemon.processor_time()
    eventually(lambda: daemon.processor_time() > ticks + 20, "it works")
    daemon.stop()


def test_clients_wait_until_the_hosts_found_at_start_are_served(
    media: Media, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    port = free_port()
    hosts = make_hosts(tmp_path / "hosts", *(f"worker-{n}.yaml" for n in range(50)))
    daemon = start(
        f"-images-bind-addr=127.0.0.1:{port}",
        f"-nmstate-dir={hosts}",
        environment=media.environment,
    )

    def connected() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", port), 20)
        except ConnectionRefusedError:
            return None

    sock = eventually(connected, "it listens")
    assert sock is not None
    with sock:
        sock.sendall(b"HEAD /worker-49.iso HTTP/1.0\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.0 200 ")
    assert daemon.tcp == ("127.0.0.1", port)


def test_two_processes_give_the_same_etags(
    media: Media, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    """Same base by content, same config: the same image, whatever the dates and paths are."""
    other = make_media(tmp_path / "elsewhere", 3 * 1024 * 1024).write()
    assert other.iso == media.iso
    etags = []
    for n, each in enumerate((media, other)):
        hosts = make_hosts(tmp_path / f"hosts-{n}", "worker-1.yaml")
        put(hosts / "worker-0.yaml", document("192.0.2.10"))
        daemon = start(BIND, f"-nmstate-dir={hosts}", environment=each.environment)
        server = Server(
            way="tcp", daemon=daemon, media=each, connect_socket=tcp_client(*daemon.tcp)
        )
        names = ["worker-0.iso", "worker-0.initramfs", "worker-1.iso", "worker-1.initramfs"]
        etags.append([server.get(f"/{name}").header("ETag") for name in names])
    assert etags[0] == etags[1]
    assert len(set(etags[0])) == 4


def test_files_that_the_environment_names_are_followed(
    media: Media, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    registries = tmp_path / "registries.conf"
    registries.write_text("# one\n")
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    daemon = start(
        BIND,
        f"-nmstate-dir={hosts}",
        environment={**media.environment, "REGISTRIES_CONF_PATH": str(registries)},
    )
    server = Server(way="tcp", daemon=daemon, media=media, connect_socket=tcp_client(*daemon.tcp))
    before = server.get("/worker-0.iso", method="HEAD")
    registries.write_text("# two\n")
    daemon.hang_up()
    eventually(
        lambda: server.get("/worker-0.iso", method="HEAD").header("ETag") != before.header("ETag"),
        "the change",
    )
    registries.unlink()
    daemon.hang_up()
    daemon.wait_for("REGISTRIES_CONF_PATH")
    assert status(server, "worker-0.iso") == 200


_CLOCK_THAT_IS_SET_BACK = """
import os, time
real, mark = time.time, os.environ["SET_BACK"]
time.time = lambda: real() - 3600 * os.path.exists(mark)
from mic.cli.main import main
main()
"""


def test_a_clock_that_is_set_back_stops_nothing(media: Media, tmp_path: Path) -> None:
    """As by NTP soon after a machine's start: what was due in two seconds is, not in an hour."""
    hosts, mark = make_hosts(tmp_path / "hosts", "worker-0.yaml"), tmp_path / "set-back"
    daemon = Daemon(
        tmp_path / "log",
        ["static", BIND, f"-nmstate-dir={hosts}"],
        {**media.environment, "SET_BACK": str(mark)},
        command=[sys.executable, "-c", _CLOCK_THAT_IS_SET_BACK],
    )
    try:
        server = Server(
            way="tcp", daemon=daemon, media=media, connect_socket=tcp_client(*daemon.tcp)
        )
        mark.touch()
        put(hosts / "worker-1.yaml", document("192.0.2.10"))
        eventually(lambda: status(server, "worker-1.iso") == 200, "worker-1 is served")
        daemon.stop()
    finally:
        daemon.kill()


def test_the_publish_address_is_what_urls_begin_with(
    media: Media, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    hosts = make_hosts(tmp_path / "hosts", "worker 0.yaml")
    daemon = start(
        BIND,
        f"-nmstate-dir={hosts}",
        "-images-publish-addr=https://[2001:db8::1]:8443/images/",
        environment=media.environment,
    )
    lines = daemon.wait_for("serving https", 2)
    assert [line.split()[-1] for line in lines] == [
        "https://[2001:db8::1]:8443/images/worker%200.iso",
        "https://[2001:db8::1]:8443/images/worker%200.initramfs",
    ]
    daemon.wait_until_serving()


def test_a_read_only_root_without_tmp_is_enough(media: Media, tmp_path: Path) -> None:
    """As the operator runs it: nothing can be written anywhere."""
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    put(hosts / "worker-1.yaml", document("192.0.2.1"))
    enter = [
        *("unshare", "--mount", "sh", "-ec"),
        "mount --make-rprivate / && mount -o remount,ro,bind / && mount -o remount,ro,bind /dev/shm"
        ' && ! touch /tmp/x 2>/dev/null && exec "$@"',
        "sh",
    ]
    trial = subprocess.run([*enter, "true"], capture_output=True, check=False)
    if trial.returncode:
        pytest.skip(f"no mount namespaces here: {trial.stderr.decode().strip()}")
    daemon = Daemon(
        tmp_path / "log",
        ["static", BIND, f"-nmstate-dir={hosts}"],
        media.environment,
        command=[*enter, *MIC],
    )
    try:
        connect = tcp_client(*daemon.tcp)
        server = Server(way="tcp", daemon=daemon, media=media, connect_socket=connect)
        assert server.get("/worker-0.iso").body == server.iso.data
        assert status(server, "worker-1.iso") == 200
        with server.connect() as wire:
            wire.send(request("/", "Content-Length: 60000", method="POST") + bytes(60_000))
            assert wire.answer().status == 405
        daemon.stop()
    finally:
        daemon.kill()


def test_it_needs_no_home_and_no_path(media: Media, tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, *MIC[1:], "static", BIND, f"-nmstate-dir={hosts}"],
            env=media.environment,
            cwd=ROOT,
            stderr=stderr,
        )
    try:
        eventually(lambda: "serving 2 images" in log.read_text(), "it serves")
    finally:
        process.terminate()
        assert process.wait(DEADLINE) == 0
