"""The container image: built by buildah, run by podman as its users' platforms run it.

The base is a Debian tree of this machine's making, in the place of Debian's slim image; the
Dockerfile does the rest. Containers have a read-only root without a writable /tmp, a user that
nobody knows and no capabilities. Covers static mode; what the image is and is not made of.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from e2e import cache, debian, parts
from functional.media import Media, make_media

from mic.ignition import Agent, Host, config

ROOT = Path(__file__).parents[2]
USER = "1000660000:0"

_MINUTE = 60.0
_BUILD = 900.0
_SECRET = b'{"auths": {"quay.io": {"auth": "dXNlcjpwYXNz"}}}'
_AGENT = Agent(
    image="quay.io/metal3-io/ironic-python-agent",
    ironic_urls=("https://192.0.2.2:6385",),
    pull_secret=_SECRET,
    ip_options="ip=dhcp6",
)


class Engine:
    """podman and buildah, with a store of their own in the cache."""

    def __init__(self) -> None:
        parts.root("build and run containers without an engine that runs already")
        store = cache.directory() / "containers"
        place = [
            *("--root", os.fspath(store / "root"), "--runroot", os.fspath(store / "run")),
            *("--storage-driver", "overlay"),
        ]
        runtime = parts.program("runc", "runc")
        self._buildah = [parts.program("buildah", "buildah"), *place]
        self._podman = [
            *(parts.program("podman", "podman"), *place),
            *("--cgroup-manager", "cgroupfs", "--runtime", runtime),
        ]

    def podman(self, *arguments: str, check: bool = True) -> str:
        """What podman prints; its own complaints only when it fails."""
        done = subprocess.run(
            [*self._podman, *arguments], capture_output=True, text=True, timeout=_BUILD, check=False
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def image(self) -> str:
        """The image of this checkout, built unless it is there already."""
        base = self._base()
        name = f"localhost/mic-e2e:{_digest_of_sources(base)}"
        with cache.locked("containers"):
            if not self._has(name):
                self._build(base, name)
                # Those of other states of the checkout would fill the disk; not one in use.
                for wanted in ("dangling=true", "reference=localhost/mic-e2e"):
                    found = ("images", "--quiet", "--no-trunc", "--filter", wanted)
                    for other in set(self.podman(*found).split()) - {self._identity(name)}:
                        self.podman("rmi", other, check=False)
        return name

    def _build(self, base: str, name: str) -> None:
        authorities = os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt"
        options = []
        if Path(authorities).is_file():
            options = [f"--volume={authorities}:/run/ca.pem:ro", "--build-arg=PIP_CERT=/run/ca.pem"]
        debian.run(
            [
                *(*self._buildah, "bud", "--isolation=chroot", "--format=docker"),
                *(f"--build-arg=BASE={base}", *options, f"--tag={name}", ROOT),
            ],
            _BUILD,
        )

    def _base(self) -> str:
        tree = debian.tree("debian-minimal", ())
        name = f"localhost/debian:{tree.name.rpartition('-')[2]}"
        with cache.locked("containers"):
            if not self._has(name):
                archive = cache.directory() / ".base.tar"
                try:
                    debian.run(["tar", "-C", tree, "-cf", archive, "."], _BUILD)
                    self.podman("import", "--quiet", os.fspath(archive), name)
                finally:
                    archive.unlink(missing_ok=True)
        return name

    def _has(self, name: str) -> bool:
        return bool(self._identity(name))

    def _identity(self, name: str) -> str:
        return self.podman("images", "--quiet", "--no-trunc", name).strip()


def _digest_of_sources(base: str) -> str:
    digest = hashlib.sha256(base.encode())
    files = [ROOT / name for name in ("Dockerfile", ".dockerignore", "setup.py", "pyproject.toml")]
    files += sorted(path for room in ("mic", "twisted") for path in (ROOT / room).rglob("*.py"))
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Container:
    """A running container of the image, with a network of its own, that is, with none."""

    def __init__(self, engine: Engine, options: Sequence[str], command: Sequence[str]) -> None:
        self._engine = engine
        self._id = engine.podman(
            *("run", "--detach", *_locked_down(), *options, engine.image(), *command)
        ).strip()

    def wait_until_serving(self) -> None:
        end = time.monotonic() + _MINUTE
        while " serving " not in self.log or "images on" not in self.log:
            state = self._engine.podman("inspect", "--format={{.State.Status}}", self._id)
            assert state.strip() == "running", self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.05)

    @property
    def log(self) -> str:
        done = subprocess.run(
            [*self._engine._podman, "logs", self._id],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_MINUTE,
            check=False,
        )
        return done.stdout

    def get(self, path: str) -> bytes:
        """What it serves there."""
        process = self._engine.podman("inspect", "--format={{.State.Pid}}", self._id).strip()
        done = subprocess.run(
            [
                *("nsenter", f"--target={process}", "--net", sys.executable, "-c"),
                "import sys, urllib.request as u;"
                "sys.stdout.buffer.write(u.urlopen(sys.argv[1], timeout=30).read())",
                f"http://127.0.0.1:8084{path}",
            ],
            capture_output=True,
            timeout=_MINUTE,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def execute(self, *command: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in it, as its own user or another."""
        options = [f"--user={user}"] if user else []
        return subprocess.run(
            [*self._engine._podman, "exec", *options, self._id, *command],
            capture_output=True,
            text=True,
            timeout=_MINUTE,
            check=False,
        )

    def healthy(self) -> bool:
        """What the image's HEALTHCHECK says, of one try."""
        command = json.loads(
            self._engine.podman("inspect", "--format={{json .Config.Healthcheck.Test}}", self._id)
        )
        assert command[0] == "CMD"
        return self.execute(*command[1:]).returncode == 0

    def stop(self) -> int:
        """SIGTERM, ten seconds, its exit status."""
        self._engine.podman("stop", "--time=10", self._id)
        return int(self._engine.podman("inspect", "--format={{.State.ExitCode}}", self._id))

    def remove(self) -> None:
        self._engine.podman("rm", "--force", self._id)


def _locked_down() -> tuple[str, ...]:
    return (
        *("--read-only", "--read-only-tmpfs=false", f"--user={USER}", "--cap-drop=all"),
        *("--security-opt=no-new-privileges", "--network=none"),
        # podman's own defaults need a right that not every machine that tests has.
        *("--ulimit=nofile=1024:4096", "--ulimit=nproc=1000:1000"),
    )


@pytest.fixture(scope="module")
def engine() -> Engine:
    parts.program("nsenter", "util-linux")
    return Engine()


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    return engine.image()


@pytest.fixture
def media(tmp_path: Path) -> Media:
    """Base images as cluster-baremetal-operator's init container leaves them."""
    media = make_media(tmp_path / "images", rootfs=1024 * 1024).write()
    place = media.directory
    (place / "coreos.iso").rename(place / "coreos-x86_64.iso")
    (place / "coreos.initramfs").rename(place / "coreos-x86_64-initrd.img")
    for name in ("coreos-x86_64.iso", "coreos-x86_64-initrd.img"):
        digest = hashlib.sha256((place / name).read_bytes()).hexdigest()
        (place / f"{name}.sha256").write_text(f"{digest}  {name}\n")
    (place / "coreos").mkdir()
    (place / "ironic-python-agent.iso").symlink_to("coreos-x86_64.iso")
    (place / "ironic-python-agent.initramfs").symlink_to("coreos-x86_64-initrd.img")
    return media


@pytest.fixture
def container(engine: Engine, media: Media, tmp_path: Path) -> Iterator[Container]:
    """The static server with such images, and the pull secret as a file mounted by itself."""
    hosts = tmp_path / "hosts"
    hosts.mkdir()
    (hosts / "worker-0.yaml").touch()
    secret = tmp_path / "pull-secret"
    secret.write_bytes(base64.encodebytes(_SECRET))
    _open_to_all(tmp_path)
    images = "/shared/html/images"
    environment = {
        "DEPLOY_ISO": f"{images}/ironic-python-agent.iso",
        "DEPLOY_INITRD": f"{images}/ironic-python-agent.initramfs",
        "IMAGE_SHARED_DIR": images,
        "IRONIC_AGENT_IMAGE": _AGENT.image,
        "IRONIC_BASE_URL": _AGENT.ironic_urls[0],
        "IRONIC_AGENT_PULL_SECRET": "",
        "IP_OPTIONS": _AGENT.ip_options,
        "REGISTRIES_CONF_PATH": "",
    }
    container = Container(
        engine,
        [
            *(f"--env={name}={value}" for name, value in environment.items()),
            f"--volume={media.directory}:{images}:ro",
            f"--volume={hosts}:/hosts:ro",
            f"--volume={secret}:/run/secrets/pull-secret:ro",
        ],
        [
            *("/machine-image-customization-server", "-images-bind-addr", ":8084"),
            *("-images-publish-addr", "http://images.example/", "-nmstate-dir", "/hosts"),
        ],
    )
    try:
        container.wait_until_serving()
        yield container
    finally:
        container.remove()


def _open_to_all(path: Path) -> None:
    """Bind mounts are for a user of another number."""
    for directory, _, files in os.walk(path):
        os.chmod(directory, 0o755)
        for name in files:
            os.chmod(os.path.join(directory, name), 0o644)


def _once(engine: Engine, image: str, *command: str) -> str:
    """What a command prints in a container of its own."""
    return engine.podman("run", "--rm", *_locked_down(), image, *command)


def test_it_serves_the_right_bytes(container: Container, media: Media) -> None:
    expected = config(_AGENT, Host(name="worker-0"))
    assert media.with_config(container.get("/worker-0.iso")) == expected
    initramfs = container.get("/worker-0.initramfs")
    assert initramfs.startswith(media.initramfs)
    assert len(initramfs) > len(media.initramfs)
    assert "http://images.example/worker-0.iso" in container.log


def test_it_neither_warns_nor_shows_a_secret(container: Container) -> None:
    assert not re.search("warn|error|Traceback", container.log), container.log
    assert "dXNlcjpwYXNz" not in container.log


def test_its_health_can_be_asked(container: Container) -> None:
    assert container.healthy()


def test_its_status_can_be_asked_inside(container: Container) -> None:
    container.get("/worker-0.initramfs")
    for user in ("", "0:0"):
        done = container.execute("mic", "status", "-json", user=user)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        states = {
            image["label"]: [reader["state"] for reader in image["readers"]]
            for image in told["images"]
        }
        assert states == {"worker-0.iso": [], "worker-0.initramfs": ["complete"]}
    done = container.execute("mic", "status", user="4711:4711")
    assert done.returncode == 1
    assert "run mic status as that user or as root" in done.stderr


def test_health_without_a_server_is_none(engine: Engine, image: str) -> None:
    said = _once(engine, image, "sh", "-c", "python -I -m mic.health 2>&1; echo status $?")
    assert said == "mic: http://127.0.0.1:8084/: [Errno 111] Connection refused\nstatus 1\n"


def test_it_ends_cleanly(container: Container) -> None:
    assert container.stop() == 0


def test_it_has_every_name_of_the_go_implementation(engine: Engine, image: str) -> None:
    setup = (ROOT / "setup.py").read_text()
    names = re.findall(r'"((?:machine-)?image-customization-\w+) = ', setup)
    assert {"machine-image-customization-server", "image-customization-server"} <= set(names)
    listed = _once(engine, image, "sh", "-c", "ls -d /*image-customization-*").split()
    assert sorted(listed) == sorted(f"/{name}" for name in names)
    for name in names:
        assert _once(engine, image, f"/{name}", "-h").startswith(f"Usage of {name}:")


def test_twistd_knows_mic_without_writing_a_plugin_cache(engine: Engine, image: str) -> None:
    said = _once(engine, image, "sh", "-c", "twistd mic --help 2>&1")
    assert "static" in said
    assert "cache" not in said


def test_a_plain_run_tells_how_it_is_used(engine: Engine, image: str) -> None:
    assert _once(engine, image).startswith("Usage: mic COMMAND")


def test_there_is_no_compiler_and_nothing_of_the_packaging_left(engine: Engine, image: str) -> None:
    look = (
        "for name in cc gcc c++ g++ make pip pip3; do command -v $name; done;"
        "find /opt/mic -name pip -o -name setuptools;"
        "find /var/lib/apt/lists /var/cache/apt -type f;"
        "ls -d /var/log/apt /var/log/dpkg.log /src /wheel /tools /names 2> /dev/null; true"
    )
    assert _once(engine, image, "sh", "-c", look) == ""


def test_all_bytecode_is_there(engine: Engine, image: str) -> None:
    code = (
        "import importlib.util as u, pathlib as p;"
        "print(*(f for f in p.Path('/opt/mic/lib').rglob('*.py')"
        " if not p.Path(u.cache_from_source(f)).exists()))"
    )
    assert _once(engine, image, "python", "-c", code) == "\n"


def test_it_says_what_it_is_and_leaves_user_and_command_to_its_users(
    engine: Engine, image: str
) -> None:
    (told,) = json.loads(engine.podman("image", "inspect", image))
    settings = told["Config"]
    version = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text())
    assert version
    labels = settings["Labels"]
    assert labels["org.opencontainers.image.version"] == version[1]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert settings.get("User", "") == ""
    assert not settings.get("Entrypoint")
    assert list(settings["ExposedPorts"]) == ["8084/tcp"]
