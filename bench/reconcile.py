"""Reconciles many PreprovisioningImages, with a Secret each, on a real API server.

    KUBEBUILDER_ASSETS=... python bench/reconcile.py [--objects 1000]

Prints, for a fresh start and for a restart: seconds until all are Ready, API requests per object by
verb (the API server's own count), and CPU seconds and peak memory of the controller's process.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from kube_samples import image_body, secret_body  # noqa: E402
from kubeserver import KubeServer  # noqa: E402
from toys import live_iso, put  # noqa: E402

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS  # noqa: E402

NAMESPACE = "bench"
DOCUMENT = (
    b"interfaces:\n- name: eth0\n  type: ethernet\n  ipv4:\n    enabled: true\n    dhcp: true\n"
)
_REQUESTS = re.compile(
    r'^apiserver_request_total\{[^}]*resource="(preprovisioningimages|secrets)"[^}]*\} (\S+)$', re.M
)


def requests(kube: KubeServer) -> dict[str, int]:
    """Requests for our kinds since the API server started, by verb and resource."""
    text = str(kube.ask("GET", "/metrics")[1]["text"])
    counts: dict[str, int] = {}
    for line in _REQUESTS.finditer(text):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line[0]))
        part = f"/{labels['subresource']}" if labels["subresource"] else ""
        what = f"{labels['verb']} {labels['resource']}{part}"
        counts[what] = counts.get(what, 0) + int(float(line[2]))
    return counts


def ready(kube: KubeServer, stale: set[str]) -> set[str]:
    """The URLs of the objects that are ready with a URL that is not ``stale``."""
    where = f"/apis/metal3.io/v1alpha1/namespaces/{NAMESPACE}/preprovisioningimages"
    urls = set()
    for item in kube.ask("GET", f"{where}?resourceVersion=0")[1]["items"]:
        status = item.get("status") or {}
        states = {each["type"]: each["status"] for each in status.get("conditions", [])}
        if states.get("Ready") == "True" and status.get("imageUrl") not in stale:
            urls.add(status["imageUrl"])
    return urls


AS_POD = [
    *("unshare", "--mount", "sh", "-ec"),
    "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/secrets/kubernetes.io"
    ' && cp -r "$0" /run/secrets/kubernetes.io/serviceaccount && exec "$@"',
]
"""Runs what follows with the service account of a folder, its first argument, where a pod has it.

``/var/run`` is ``/run``. Only root can do this.
"""


def measure(
    kube: KubeServer, folder: Path, count: int, stale: set[str], title: str, *, pod: bool
) -> set[str]:
    """Run a controller until all are ready; the URLs."""
    environment = {
        "PATH": os.environ["PATH"],
        "DEPLOY_ISO": str(folder / "ipa.iso"),
        "DEPLOY_INITRD": "",
        "IRONIC_AGENT_IMAGE": "quay.example/ipa",
        "IRONIC_BASE_URL": "http://ironic.example",
    }
    command = [sys.executable, "-c", "from mic.cli.main import main; main()", "controller"]
    flags = ["-namespace", NAMESPACE]
    if pod:
        command = [*AS_POD, str(folder / "account"), *command]
        environment["KUBERNETES_SERVICE_HOST"] = "127.0.0.1"
        environment["KUBERNETES_SERVICE_PORT"] = str(kube.port)
    else:
        flags += ["-kubeconfig", str(folder / "config")]
    addresses = ["-images-bind-addr", "127.0.0.1:0", "-metrics-addr", "0"]
    before = requests(kube)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with (folder / "mic.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *flags, *addresses], cwd=ROOT, env=environment, stderr=log, stdout=log
        )
    longest, pause = max(300, count / 20), max(0.5, count / 4000)
    while len(urls := ready(kube, stale)) < count:
        if process.poll() is not None or time.monotonic() - began > longest:
            sys.exit(f"{len(urls)} of {count} ready\n{(folder / 'mic.log').read_text()[-3000:]}")
        time.sleep(pause)  # to list all objects costs the API server as much as ten requests
    took = time.monotonic() - began
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
    process.send_signal(signal.SIGTERM)
    stopping = time.monotonic()
    process.wait(10)
    stopped = time.monotonic() - stopping
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    after = requests(kube)
    print(f"{title}: {count} ready in {took:.1f} s; CPU {cpu:.1f} s, peak memory {peak:.0f} MiB")
    writes = 0.0
    for what in sorted(after):
        made = after[what] - before.get(what, 0)
        if made:
            print(f"  {what}: {made} ({made / count:.2f} per object)")
        if what.startswith(("PUT", "PATCH", "POST")):
            writes += made / count
    print(f"  writes per object: {writes:.2f}; SIGTERM to end: {stopped:.2f} s", flush=True)
    return urls


def main() -> None:
    """Fresh start, then restart."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--pod", action="store_true", help="by a service account; as root")
    options = parser.parse_args()
    count: int = options.objects
    with tempfile.TemporaryDirectory(prefix="mic-bench-") as name:
        folder = Path(name)
        kube = KubeServer(folder)
        try:
            kube.start()
            kube.install()
            put(folder / "ipa.iso", live_iso())
            kube.kubeconfig(folder / "config")
            kube.service_account(folder / "account")
            kube.create_namespace(NAMESPACE)
            for number in range(count):
                secret = f"net-{number}"
                kube.create(SECRETS, secret_body(secret, DOCUMENT, namespace=NAMESPACE))
                body = image_body(f"host-{number}", secret=secret, namespace=NAMESPACE)
                kube.create(PREPROVISIONING_IMAGES, body)
            print(f"{count} objects with a Secret each are there", flush=True)
            urls = measure(kube, folder, count, set(), "fresh start", pod=options.pod)
            measure(kube, folder, count, urls, "restart", pod=options.pod)
        finally:
            kube.stop()


if __name__ == "__main__":
    main()
