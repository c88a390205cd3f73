"""The container image: built by buildah, run by podman as its users' platforms run it.

The base is a Debian tree of this machine's making, in the place of Debian's slim image; the
Dockerfile does the rest. Containers have a read-only root without a writable /tmp, a user that
nobody knows and no capabilities. Covers both modes, the controller against a real API server: as
cluster-baremetal-operator runs it, taken from our manifest of that, and as the installer does on
its bootstrap host; and what the image is and is not made of.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e import cache, debian, parts
from e2e.door import Door
from functional.daemon import eventually
from functional.media import Media, make_media, write_certificate
from kube_samples import bmo_verdict, image_body, secret_body
from kubeserver import KubeServer

from mic.ignition import Agent, Host, config
from mic.kube.api import LEASES, PREPROVISIONING_IMAGES, SECRETS, Resource

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
_NAMESPACE = "openshift-machine-api"
_NMSTATE = b"""\
interfaces:
- name: eth0
  type: ethernet
  state: up
  ipv4: {enabled: true, dhcp: true}
"""


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

    def image(self, repository: str = "mic-e2e") -> str:
        """The image of this checkout, built unless it is there already."""
        base = self._base()
        name = f"localhost/{repository}:{_digest_of_sources(base)}"
        with cache.locked("containers"):
            if not self._has(name):
                self._build(base, name)
                # Those of other states of the checkout would fill the disk; not one in use. By
                # name: two builds that are equal are one image with two names.
                listed = ("images", "--format={{.Repository}}:{{.Tag}}", "--filter")
                names = self.podman(*listed, f"reference=localhost/{repository}").split()
                dangling = self.podman("images", "--quiet", "--filter", "dangling=true").split()
                for other in {*names, *dangling} - {name}:
                    self.podman("rmi", other, check=False)
        return name

    def layers_of_two_builds(self) -> tuple[list[str], list[str]]:
        """Return the layers of the image, and those of one that is built again."""
        return self._layers(self.image()), self._layers(self.image("mic-e2e-again"))

    def _layers(self, name: str) -> list[str]:
        (described,) = json.loads(self.podman("image", "inspect", name))
        layers: list[str] = described["RootFS"]["Layers"]
        return layers

    def _build(self, base: str, name: str) -> None:
        authorities = os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt"
        options = []
        if Path(authorities).is_file():
            options = [f"--volume={authorities}:/run/ca.pem:ro", "--build-arg=PIP_CERT=/run/ca.pem"]
        debian.run(
            [
                *(*self._buildah, "bud", "--isolation=chroot", "--format=docker", "--timestamp=0"),
                *(f"--build-arg=BASE={base}", *options, f"--tag={name}", ROOT),
            ],
            _BUILD,
        )

    def _base(self) -> str:
        tree = debian.tree("debian-13-minimal", (), release="trixie")
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
    names = ("Dockerfile", ".dockerignore", "setup.py", "pyproject.toml", "constraints.txt")
    native = ("native/setup.py", "native/fastlane.c")
    files = [ROOT / name for name in (*names, *native, "tools/sbom.py")]
    files += sorted(path for room in ("mic", "twisted") for path in (ROOT / room).rglob("*.py"))
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Container:
    """A running container of the image, with a network of its own, that is, with none."""

    def __init__(
        self, engine: Engine, options: Sequence[str], command: Sequence[str], user: str = USER
    ) -> None:
        self._engine = engine
        self._id = engine.podman(
            *("run", "--detach", *_locked_down(user), *options, engine.image(), *command)
        ).strip()

    @property
    def process(self) -> int:
        """Its number, seen from here."""
        return int(self._engine.podman("inspect", "--format={{.State.Pid}}", self._id))

    def wait_until_serving(self) -> None:
        end = time.monotonic() + _MINUTE
        while " serving " not in self.log or "images on" not in self.log:
            self.check_alive()
            assert time.monotonic() < end, self.log
            time.sleep(0.05)

    def check_alive(self) -> None:
        """Fail the test with what it said, when it has ended."""
        state = self._engine.podman("inspect", "--format={{.State.Status}}", self._id)
        assert state.strip() == "running", self.log

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
        status, body = self.ask(f"http://127.0.0.1:8084{path}")
        assert status == 200, body
        return body

    def ask(self, url: str) -> tuple[int, bytes]:
        """Status and body of the answer, asked from within its network; no certificate matters."""
        done = subprocess.run(
            [
                *("nsenter", f"--target={self.process}", "--net", sys.executable, "-c"),
                "import http.client as h, ssl, sys, urllib.parse as p;"
                "u = p.urlsplit(sys.argv[1]);"
                "c = h.HTTPConnection(u.hostname, u.port, timeout=30) if u.scheme == 'http' else"
                " h.HTTPSConnection(u.hostname, u.port, timeout=30,"
                " context=ssl._create_unverified_context());"
                "c.request('GET', u.path);"
                "a = c.getresponse();"
                "print(a.status, flush=True);"
                "sys.stdout.buffer.write(a.read())",
                url,
            ],
            capture_output=True,
            timeout=_MINUTE,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        status, _, body = done.stdout.partition(b"\n")
        return int(status), body

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


def _locked_down(user: str = USER) -> tuple[str, ...]:
    return (
        *("--read-only", "--read-only-tmpfs=false", f"--user={user}", "--cap-drop=all"),
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


@pytest.fixture
def host(kube: KubeServer) -> Iterator[str]:
    """A host with network data, as users have it in the cluster: its object's name."""
    kube.create_namespace(_NAMESPACE)
    kube.create(SECRETS, secret_body("net", _NMSTATE, namespace=_NAMESPACE))
    kube.create(PREPROVISIONING_IMAGES, image_body("host", secret="net", namespace=_NAMESPACE))
    yield "host"
    for resource, name in ((PREPROVISIONING_IMAGES, "host"), (SECRETS, "net")):
        _let_go(kube, resource, name)


def _let_go(kube: KubeServer, resource: Resource, name: str) -> None:
    if kube.find(resource, _NAMESPACE, name) is not None:
        kube.edit(resource, _NAMESPACE, name, {"metadata": {"finalizers": None}})
        kube.delete(resource, _NAMESPACE, name)


def _image_url(kube: KubeServer, host: str, container: Container) -> str:
    """Where the status says that a host's image is, once baremetal-operator would use it."""

    def there() -> str:
        container.check_alive()
        image = kube.find(PREPROVISIONING_IMAGES, _NAMESPACE, host)
        assert image is not None
        verdict = bmo_verdict(image, kube.find(SECRETS, _NAMESPACE, "net"))
        assert not verdict.startswith("error"), verdict
        return verdict.removeprefix("image ") if verdict != "wait" else ""

    return eventually(there, "an image in the status", _MINUTE)


def _keyfiles(content: bytes) -> list[str]:
    """The keyfiles in a config."""
    paths = [file["path"] for file in json.loads(content)["storage"]["files"]]
    return [path.rpartition("/")[2] for path in paths if path.endswith(".nmconnection")]


def _open_to_all(path: Path) -> None:
    """Bind mounts are for a user of another number."""
    if path.is_file():
        path.chmod(0o644)
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


def _pod(kube: KubeServer, overlay: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod of an overlay, and its only container."""
    objects = yaml.safe_load_all(kube.rendered(overlay))
    (deployment,) = (each for each in objects if each and each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


@contextmanager
def _run_pod(
    engine: Engine,
    kube: KubeServer,
    container: Mapping[str, Any],
    mounted: Mapping[str, Path],
    environment: Mapping[str, str],
    user: str,
) -> Iterator[Container]:
    """A container as the kubelet runs it, with what is at ``mounted``, and the API server.

    ``environment`` is put over the manifest's. Files are where its service account's are in pods.
    """
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == mounted.keys()
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    variables = {each["name"]: each["value"] for each in container["env"]}
    variables |= {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(kube.port),
        **environment,
    }
    with cache.scratch() as folder:
        account = kube.service_account(folder / "serviceaccount")
        places = {**mounted, "/var/run/secrets/kubernetes.io/serviceaccount": account}
        for place in places.values():
            _open_to_all(place)
        words = [*container["command"], *container.get("args", [])]
        running = Container(
            engine,
            [
                *(f"--env={name}={value}" for name, value in variables.items()),
                *(f"--volume={place}:{path}:ro" for path, place in places.items()),
            ],
            [re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], word) for word in words],
            user,
        )
        try:
            with closing(Door(running.process, kube.port)) as door:
                door.open()
                yield running
        finally:
            running.remove()


def test_the_operators_pod_is_honoured_unchanged(
    engine: Engine, kube: KubeServer, media: Media, host: str, tmp_path: Path
) -> None:
    _, spec = _pod(kube, "cluster-baremetal-operator")
    secret, registries = tmp_path / "pull-secret", tmp_path / "registries.conf"
    secret.write_bytes(base64.encodebytes(_SECRET))
    registries.touch()
    mounted = {
        "/etc/containers/registries.conf": registries,
        "/shared/html/images": media.directory,
        "/run/secrets/pull-secret": secret,
    }
    with _run_pod(engine, kube, spec, mounted, {}, USER) as container:
        url = _image_url(kube, host, container)
        service = f"metal3-image-customization-service.{_NAMESPACE}.svc.cluster.local"
        assert url.startswith(f"http://{service}/")
        content = media.with_config(container.get(url.removeprefix(f"http://{service}")))
        assert _keyfiles(content) == ["eth0.nmconnection"]
        assert b"dXNlcjpwYXNz" in content
        assert "dXNlcjpwYXNz" not in container.log
        # As the operator leaves the flag to its default, health is served at :8080.
        status, said = container.ask("http://127.0.0.1:8080/readyz")
        assert status == 200, said
        assert container.stop() == 0


@pytest.mark.usefixtures("leader_rights")
@pytest.mark.parametrize("overlay", ["plain", "tls", "high-availability"])
def test_our_own_pods_get_ready_and_serve(
    engine: Engine, kube: KubeServer, media: Media, host: str, tmp_path: Path, overlay: str
) -> None:
    pod, spec = _pod(kube, overlay)
    cert, key = write_certificate(tmp_path)
    for name, file in (("tls.crt", cert), ("tls.key", key)):
        (tmp_path / "tls").mkdir(exist_ok=True)
        file.rename(tmp_path / "tls" / name)
    (tmp_path / "key").mkdir()
    (tmp_path / "key/url-key").write_text("0123456789abcdef" * 2)
    mounted = {
        "/shared/html/images": media.directory,
        **({"/etc/mic/tls": tmp_path / "tls"} if overlay == "tls" else {}),
        **({"/etc/mic/url-key": tmp_path / "key"} if overlay == "high-availability" else {}),
    }
    scheme = "https" if overlay == "tls" else "http"
    site = {
        "IRONIC_BASE_URL": _AGENT.ironic_urls[0],
        "IMAGES_URL": f"{scheme}://images.example",
        "IMAGES_HTTP_URL": "http://images.example",
    }
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    with _run_pod(engine, kube, spec, mounted, site, user) as container:
        url = _image_url(kube, host, container)
        assert url.startswith(f"{scheme}://images.example/")
        path = url.removeprefix(f"{scheme}://images.example")
        ports = {port["name"]: port["containerPort"] for port in spec["ports"]}
        for name in ports.keys() - {"metrics"}:
            status, iso = container.ask(f"{name}://127.0.0.1:{ports[name]}{path}")
            assert status == 200
            assert _keyfiles(media.with_config(iso)) == ["eth0.nmconnection"]
        for probe in ("livenessProbe", "readinessProbe"):
            asked = spec[probe]["httpGet"]
            where = f"http://127.0.0.1:{ports[asked['port']]}{asked['path']}"
            eventually(lambda where=where: container.ask(where)[0] == 200, probe)
        lease = kube.find(LEASES, "machine-image-customizer", "machine-image-customizer")
        assert bool((lease or {}).get("spec", {}).get("holderIdentity")) == (
            overlay == "high-availability"
        )
        assert container.stop() == 0


def test_the_installers_bootstrap_host_is_served(
    engine: Engine, kube: KubeServer, media: Media, host: str, tmp_path: Path
) -> None:
    losetup = parts.program("losetup", "mount")
    kubeconfig = kube.portable_kubeconfig(tmp_path / "kubeconfig")
    iso = (media.directory / "coreos-x86_64.iso").resolve()
    drive = debian.run([losetup, "--find", "--show", "--read-only", iso], _MINUTE).strip()
    health = "http://127.0.0.1:7373"
    environment = {
        "KUBECONFIG": "/opt/openshift/auth/kubeconfig",
        "DEPLOY_ISO": "/dev/sr0",
        "DEPLOY_INITRD": "/images/ironic-python-agent.initramfs",
        "IRONIC_BASE_URL": "http://localhost:6385",
        "IRONIC_AGENT_IMAGE": _AGENT.image,
        "IRONIC_AGENT_PULL_SECRET": base64.b64encode(_SECRET).decode(),
    }
    try:
        container = Container(
            engine,
            [
                *(f"--env={name}={value}" for name, value in environment.items()),
                f"--device={drive}:/dev/sr0:r",
                f"--volume={media.directory}:/images:ro",
                f"--volume={kubeconfig}:{environment['KUBECONFIG']}:ro",
            ],
            [
                *("/image-customization-controller", f"--namespace={_NAMESPACE}"),
                *("--images-publish-addr=http://127.0.0.1:8084", "--metrics-addr=127.0.0.1:7373"),
            ],
            # The drive is root's.
            user="0:0",
        )
        try:
            container.wait_until_serving()
            status, said = container.ask(f"{health}/readyz")
            assert status == 503
            assert b"not listed yet" in said
            assert container.ask(f"{health}/healthz")[0] == 200
            assert container.healthy()
            with closing(Door(container.process, kube.port)) as door:
                door.open()
                url = _image_url(kube, host, container)
                assert url.startswith("http://127.0.0.1:8084/")
                content = media.with_config(
                    container.get(url.removeprefix("http://127.0.0.1:8084"))
                )
                assert _keyfiles(content) == ["eth0.nmconnection"]
                eventually(lambda: container.ask(f"{health}/readyz")[0] == 200, "readiness")
                assert container.stop() == 0
        finally:
            container.remove()
    finally:
        debian.run([losetup, "--detach", drive], _MINUTE)


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
    said = _once(engine, image, "sh", "-c", "python -I -m mic.cli.healthcheck 2>&1; echo status $?")
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


def test_a_plain_run_reports_how_it_is_used(engine: Engine, image: str) -> None:
    assert _once(engine, image).startswith("Usage: mic COMMAND")


def test_what_manifests_have_it_run_beside_mic_is_there(engine: Engine, image: str) -> None:
    overlay = (ROOT / "deploy/kubernetes/overlays/high-availability/deployment.yaml").read_text()
    (container,) = yaml.safe_load(overlay)["spec"]["template"]["spec"]["containers"]
    program, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert 0 < int(seconds) < 20
    assert _once(engine, image, program, "0") == ""


def test_there_is_no_compiler_and_nothing_of_the_packaging_left(engine: Engine, image: str) -> None:
    look = (
        "for name in cc gcc c++ g++ make pip pip3; do command -v $name; done;"
        "find /opt/mic -name pip -o -name setuptools;"
        "find /var/lib/apt/lists /var/cache/apt -type f;"
        "ls -d /var/log/apt /var/log/dpkg.log /src /wheel /tools /names 2> /dev/null; true"
    )
    assert _once(engine, image, "sh", "-c", look) == ""


def test_a_second_build_has_equal_layers(engine: Engine) -> None:
    first, second = engine.layers_of_two_builds()
    assert len(first) == 3
    assert first == second


def test_it_has_the_libraries_of_the_constraints_and_a_bill_of_materials(
    engine: Engine, image: str
) -> None:
    bill = json.loads(_once(engine, image, "cat", "/opt/mic/sbom.cdx.json"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "machine-image-customizer"
    found = {each["purl"].partition("?")[0] for each in bill["components"]}
    pinned = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), re.M)
    libraries = {f"pkg:pypi/{name}@{version}" for name, version in pinned}
    # Some are for other versions of Python.
    assert {name for name in found if name.startswith("pkg:pypi/")} <= libraries
    assert any(name.startswith("pkg:pypi/twisted@") for name in found)
    assert any(name.startswith("pkg:generic/mic-native@") for name in found)
    assert any(name.startswith("pkg:deb/debian/python3-minimal@") for name in found)
    references = [each["bom-ref"] for each in bill["components"]]
    assert len(set(references)) == len(references)


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
