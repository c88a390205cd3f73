"""The status page in a real browser: how it looks, refreshes, sorts and filters.

Screenshots go to the directory that MIC_SCREENSHOTS names, else among pytest's temporary files.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e import browser
from e2e.browser import Browser
from functional.daemon import Daemon

from mic.cli.demo import write_samples

HOSTS = {
    "worker-0": """\
interfaces:
- {name: eno1, type: ethernet, state: up}
- name: bond0
  type: bond
  state: up
  link-aggregation: {mode: active-backup, port: [eno1]}
- name: bond0.100
  type: vlan
  state: up
  vlan: {id: 100, base-iface: bond0}
  ipv4: {enabled: true, address: [{ip: 192.0.2.20, prefix-length: 24}]}
routes:
  config: [{destination: 0.0.0.0/0, next-hop-address: 192.0.2.1, next-hop-interface: bond0.100}]
""",
    "worker-1": """\
interfaces: [{name: eno1, type: ethernet, state: up, ipv4: {enabled: true, dhcp: true}}]
""",
    "worker-2": "interfaces: [{name: eno1, type: ethernet, state: up, ipv4: {dhcp: true}}]\n",
    "worker-10": "interfaces: [{name: eno1, mtu: <script>alert(1)</script>}]\n",
    "worker-11": "",
    "edge": "interfaces:\n\t- name: eno1\n",
}
PROBLEMS = ["edge", "worker-10"]
MANY = 5_000
NAMES = "[...document.querySelectorAll('tbody th')].map((each) => each.firstChild.data)"


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of screenshots."""
    given = os.environ.get("MIC_SCREENSHOTS")
    directory = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="module")
def window(shots: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser.browser(shots, tmp_path_factory.mktemp("profile")) as window:
        yield window


@pytest.fixture(autouse=True)
def _wide_light_and_clean(window: Browser) -> Iterator[None]:
    """Begin with a wide window, and end without a complaint of the browser."""
    window.size(1280, 900)
    window.dark(False)
    window.scripts(True)
    window.complaints()
    yield
    # Violations of the policy, failed requests and errors of scripts.
    assert window.complaints() == []


class Site:
    """A mic with sample bases, its hosts and its page."""

    def __init__(self, directory: Path, daemon: Daemon) -> None:
        self.hosts = directory / "hosts"
        self.daemon = daemon
        (line,) = daemon.wait_for("status page on ")
        self.url = f"http://{line.rpartition(' ')[2]}/"

    def read(self, name: str, length: int) -> None:
        """Read the first bytes of an image."""
        import urllib.request

        host, port = self.daemon.tcp
        request = urllib.request.Request(f"http://{host}:{port}/{name}")
        request.add_header("Range", f"bytes=0-{length - 1}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert len(answer.read()) == length


@contextmanager
def site(directory: Path, hosts: dict[str, str], *, deadline: float = 60.0) -> Iterator[Site]:
    write_samples(os.fspath(directory))
    for path in (directory / "hosts").iterdir():
        path.unlink()
    for name, document in hosts.items():
        (directory / "hosts" / f"{name}.yaml").write_text(document)
    environment = {
        "DEPLOY_ISO": os.fspath(directory / "coreos.iso"),
        "DEPLOY_INITRD": "",
        "IRONIC_BASE_URL": "http://192.0.2.2:6385",
        "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
    }
    flags = ["-images-bind-addr=127.0.0.1:0", "-status-addr=127.0.0.1:0"]
    arguments = ["static", *flags, f"-nmstate-dir={directory / 'hosts'}"]
    daemon = Daemon(directory / "log", arguments, environment)
    try:
        daemon.wait_for(r"serving \d+ images on", deadline=deadline)
        yield Site(directory, daemon)
        daemon.stop()
    finally:
        daemon.kill()


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("six"), HOSTS) as found:
        found.read("worker-0.iso", 1_000_000)
        yield found


def test_six_hosts(window: Browser, six: Site) -> None:
    window.open(six.url)
    text = window.text()
    for word in (
        *("ready", "mic-demo, iso", "bond0.100 192.0.2.20/24", "eno1 DHCP", "no image"),
        *("found a tab", "127.0.0.1", "warning", "6 hosts", "2 without a current image"),
    ):
        assert word in text, word
    names = window.run(NAMES)
    assert names[:2] == PROBLEMS, "what needs attention comes first"
    assert len(names) == len(HOSTS)
    assert window.run("document.querySelector('progress').value") == pytest.approx(20.9, abs=3)
    assert window.run("document.scripts.length") == 1
    assert window.run("document.cookie") == ""
    window.shoot("six-light")
    window.dark(True)
    light = window.run("getComputedStyle(document.body).backgroundColor")
    assert re.fullmatch(r"rgb\((\d|[1-4]\d), (\d|[1-4]\d), (\d|[1-4]\d)\)", light), light
    window.shoot("six-dark")


@pytest.mark.parametrize("width", [320, 390, 760, 1024])
def test_nothing_sticks_out_of_a_small_window(window: Browser, six: Site, width: int) -> None:
    window.size(width, 800, phone=width < 400)
    window.open(six.url)
    window.shoot(f"six-{width}")
    assert window.run("document.documentElement.scrollWidth") <= width


def test_sorts_and_filters_without_a_reload(window: Browser, six: Site) -> None:
    window.open(six.url)
    window.run("window.same = true")
    window.click("#sort-host")
    by_name = ["edge", "worker-0", "worker-1", "worker-2", "worker-10", "worker-11"]
    window.wait(f"String({NAMES}) === '{','.join(by_name)}'")
    window.click("#sort-host")
    window.wait(f"String({NAMES}) === '{','.join(reversed(by_name))}'")
    assert window.run("document.activeElement.id") == "sort-host", "the focus stays"
    window.type("input[name=q]", "192.0.2.20")
    window.wait(f"String({NAMES}) === 'worker-0'")
    assert "q=192.0.2.20&sort=host&order=desc" in window.run("location.search").replace(
        "sort=host&order=desc&q=192.0.2.20", "q=192.0.2.20&sort=host&order=desc"
    )
    window.type("input[name=q]", " nothing")
    window.wait("document.body.innerText.includes('No host matches the filter')")
    window.click("#all")
    window.wait(f"{NAMES}.length === 6")
    assert window.run("document.querySelector('input[name=q]').value") == ""
    window.click("#show-problems")
    window.wait(f"String({NAMES}) === '{','.join(PROBLEMS)}'")
    assert window.run("document.querySelector('select').value") == "problems"
    window.run("history.back()")
    window.wait(f"{NAMES}.length === 6")
    assert window.run("window.same"), "it was never reloaded"


def test_refreshes_itself(window: Browser, tmp_path: Path) -> None:
    with site(tmp_path, {"w-0": ""}) as own:
        window.open(own.url)
        window.run("window.same = true")
        assert "1 host" in window.text()
        (own.hosts / "w-1.yaml").write_text("interfaces: [{name: eth0, mtu: x}]\n")
        window.wait("document.body.innerText.includes('interfaces[0].mtu')")
        assert "2 hosts" in window.run("document.title")
        assert window.run("window.same")
    # It has ended: the page says so, and keeps what it knows.
    window.wait("!document.getElementById('stale').hidden")
    assert "mic does not answer" in window.text()
    assert "interfaces[0].mtu" in window.text()
    window.shoot("stale")
    assert all("ERR_CONNECTION" in each for each in window.complaints())
    window.open("about:blank")


def test_works_without_scripts(window: Browser, six: Site) -> None:
    window.scripts(False)
    window.open(f"{six.url}?sort=host&q=worker-1")
    window.shoot("six-without-scripts")
    window.click("#sort-host")
    window.click("button")
    # Looked at with scripts again: what the browser asked for is in the address.
    window.scripts(True)
    address = window.run("location.search")
    assert sorted(address.removeprefix("?").split("&")) == [
        *("order=desc", "q=worker-1", "show=all", "sort=host")
    ]
    assert window.run(NAMES) == ["worker-11", "worker-10", "worker-1"]


def test_no_hosts(window: Browser, tmp_path: Path) -> None:
    with site(tmp_path, {}) as empty:
        window.open(empty.url)
        assert "put a file NAME.yaml into the directory of -nmstate-dir" in window.text()
        window.click("#warnings summary")
        assert "no host files" in window.text()
        window.shoot("none")
        window.open("about:blank")


def test_five_thousand_hosts(window: Browser, tmp_path: Path) -> None:
    hosts = {f"worker-{number}": "" for number in range(MANY)}
    hosts["worker-4711"] = "interfaces: [{name: eth0, mtu: x}]\n"
    with site(tmp_path, hosts, deadline=300.0) as many:
        window.open(many.url)
        assert "5,000 hosts" in window.text()
        assert window.run(NAMES)[0] == "worker-4711"
        assert window.run(f"{NAMES}.length") == 100
        window.shoot("many")
        window.click("#last")
        window.wait(f"{NAMES}.at(-1) === 'worker-4999'")
        window.type("input[name=q]", "worker-123")
        window.wait(f"{NAMES}.length === 11")
        window.shoot("many-filtered")
        before = many.daemon.processor_time()
        started = time.monotonic()
        window.run("document.getElementById('sort-host').click()")
        window.wait(f"String({NAMES}.slice(0, 2)) === 'worker-123,worker-1230'")
        took, ticks = time.monotonic() - started, many.daemon.processor_time() - before
        print(f"sorted in {took:.2f} s, with {ticks / os.sysconf('SC_CLK_TCK'):.2f} s of CPU time")
        window.open("about:blank")


def test_the_picture_of_the_documentation(window: Browser) -> None:
    """Take docs/images/status-page.png: `MIC_SCREENSHOTS=docs/images` writes it there."""
    examples = (Path(__file__).parents[2] / "examples/nmstate").glob("*.yaml")
    hosts = {f"rack1-{path.stem}": path.read_text() for path in sorted(examples)}
    hosts["rack2-dhcp"] = ""
    hosts["rack2-mtu"] = "interfaces: [{name: eno1, mtu: 9k}]\n"
    # A short name, because the page shows it.
    with (
        tempfile.TemporaryDirectory(prefix="mic-") as directory,
        site(Path(directory), hosts) as found,
    ):
        found.read("rack1-static.iso", 4_000_000)
        found.read("rack1-bridge.iso", 1_000_000)
        window.size(1200, 760)
        window.open(found.url)
        text = window.text()
        assert "rack1-bond-vlan" in text
        assert "interfaces[0].mtu: found '9k'" in text
        picture = window.shoot("status-page")
        assert picture.stat().st_size > 10_000
