"""OpenStack Ironic's own image service and image cache against a running mic."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e import daemon, venv
from e2e.daemon import Daemon

from mic.cli.demo import write_samples
from mic.cli.show import read_image
from mic.ignition import Agent, Host, config
from mic.media.basefile import peek

_IRONIC = "ironic==39.0.0"
_HOST = "worker-1"
_MINUTE = 60.0

_PREPARE = """\
import hashlib, json, os, sys
from oslo_concurrency import lockutils
from ironic.conf import CONF
from ironic.common.image_service import HttpImageService
from ironic.drivers.modules.image_cache import ImageCache
work, url = sys.argv[1:]
CONF([], project="ironic", default_config_files=[])
CONF.set_override("tempdir", work)
lockutils.set_defaults(work)
"""

_SERVICE = (
    _PREPARE
    + """\
service = HttpImageService()
head = service.validate_href(url)
shown = service.show(url)
target = os.path.join(work, "downloaded")
with open(target, "wb") as file:
    service.download(url, file)
print(json.dumps({
    "status": head.status_code,
    "size": shown["size"],
    "updated_at": shown["updated_at"].timestamp(),
    "downloaded": target,
}))
"""
)

# As its node's virtual media gets it: into the cache, and as a hard link to where it is wanted.
_CACHE = (
    _PREPARE
    + """\
cache = ImageCache(os.path.join(work, "master"), 1 << 40, 1 << 20, force_raw=False)
target = os.path.join(work, "wanted")
cache.fetch_image(url, target)
status = os.stat(target)
print(json.dumps({"wanted": target, "inode": status.st_ino, "mtime": status.st_mtime}))
"""
)


class _Served:
    """A mic whose hosts all change with ``registries``."""

    def __init__(self, mic: Daemon, registries: Path) -> None:
        self.mic = mic
        self._registries = registries

    def url(self, kind: str) -> str:
        return f"{self.mic.url}/{_HOST}.{kind}"

    def change(self, content: bytes) -> None:
        """Change the config of all hosts, and wait for mic to have noticed."""
        before = self._etags()
        self._registries.write_bytes(content)
        self.mic.hang_up()
        end = time.monotonic() + _MINUTE
        while any(map(str.__eq__, before, self._etags())):
            assert time.monotonic() < end, self.mic.log
            time.sleep(0.05)

    def _etags(self) -> list[str]:
        tags = []
        for kind in ("iso", "initramfs"):
            request = urllib.request.Request(self.url(kind), method="HEAD")
            with urllib.request.urlopen(request, timeout=_MINUTE) as answer:
                tags.append(answer.headers["ETag"])
        return tags


@pytest.fixture
def python() -> Path:
    return venv.python_with(_IRONIC)


@pytest.fixture
def served(tmp_path: Path, python: Path) -> Iterator[_Served]:
    write_samples(str(tmp_path))
    (tmp_path / "hosts/worker-0.yaml").unlink()
    registries = tmp_path / "registries.conf"
    registries.write_bytes(b"# first\n")
    environment = {
        "DEPLOY_ISO": str(tmp_path / "coreos.iso"),
        "DEPLOY_INITRD": str(tmp_path / "coreos.initramfs"),
        "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
        "IRONIC_BASE_URL": "http://192.0.2.2:6385",
        "REGISTRIES_CONF_PATH": str(registries),
    }
    with daemon.running(tmp_path / "hosts", environment) as mic:
        yield _Served(mic, registries)


def _config(registries: bytes) -> bytes:
    agent = Agent(
        image="quay.io/metal3-io/ironic-python-agent",
        ironic_urls=("http://192.0.2.2:6385",),
        registries_conf=registries,
    )
    return config(agent, Host(name=_HOST))


def _config_in(image: str) -> bytes:
    with peek(image) as source:
        return read_image(source)[0]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["iso", "initramfs"])
def test_ironic_validates_shows_and_downloads_an_image(
    kind: str, served: _Served, python: Path, tmp_path: Path
) -> None:
    before = int(time.time())
    result = json.loads(venv.run(python, _SERVICE, tmp_path, served.url(kind)))
    downloaded = Path(result["downloaded"]).read_bytes()
    with urllib.request.urlopen(served.url(kind), timeout=_MINUTE) as answer:
        assert _digest(answer.read()) == _digest(downloaded)
    assert result["status"] == 200
    assert result["size"] == len(downloaded)
    assert abs(result["updated_at"] - before) < _MINUTE
    assert _config_in(result["downloaded"]) == _config(b"# first\n")


@pytest.mark.parametrize("kind", ["iso", "initramfs"])
def test_ironics_cache_fetches_what_changed_and_only_that(
    kind: str, served: _Served, python: Path, tmp_path: Path
) -> None:
    def fetch() -> dict[str, Any]:
        return json.loads(venv.run(python, _CACHE, tmp_path, served.url(kind)))

    first = fetch()
    assert _config_in(first["wanted"]) == _config(b"# first\n")

    again = fetch()
    assert again == first, "Ironic fetched an image again that had not changed"

    _pass_second_of(first["mtime"])
    served.change(b"# second, and longer\n")
    changed = fetch()
    assert changed["mtime"] > first["mtime"]
    assert _config_in(changed["wanted"]) == _config(b"# second, and longer\n")

    assert fetch() == changed


def _pass_second_of(moment: float) -> None:
    """HTTP's dates have whole seconds: no cache can see a change in the second of its fetch."""
    while int(time.time()) <= int(moment):
        time.sleep(max(0.0, int(moment) + 1 - time.time()))
