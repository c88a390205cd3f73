"""A soak: `mic controller`, many slow readers, images that change, and an API server that fails.

``bench/soak.py`` runs it for as long as one likes, ``tests/e2e/test_soak.py`` for a minute or two.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import random
import re
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import census
from certificates import ec_key, issue
from descriptors import open_files
from functional.daemon import Daemon
from functional.media import EMBED, Media, make_media
from kube_samples import bmo_verdict, image_body, secret_body
from kubeproxy import Fault, FaultProxy
from kubeserver import KubeServer
from ports import free_port
from slow_readers import Expected, Outcomes, Readers
from toys import put
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Json
from mic.kube.objects import SECRET_LABEL, SECRET_LABEL_VALUE
from mic.media.cpio import config_of

reactor = cast(Any, _reactor)

NAMESPACE = "soak"
_QUIET = 40.0
"""Seconds after which mic has closed every download that nobody goes on with."""

_CONVERGENCE = 180.0
"""Seconds for all objects to be as described, once nothing fails any more: the longest wait
between two attempts is 60 s."""

_PULL_SECRET = 24 * 1024
"""Bytes of noise in the pull secret, and so in each image: one that is kept shows in the memory."""


_KEPT = {
    "mic.kube.events._History": 4096,
    "mic.kube.events._Suppressed": 8 * 4096,
    "mic.downloads.tracker.Record": 256,
    "mic.downloads.tracker.Download": 4 * 256,
    "mic.downloads.coverage.Coverage": 4 * 256,
    # The key of a record, and that of each of its readers.
    "mic.images.store.ImageId": 5 * 256,
}
"""What mic remembers of objects that are gone, and how many of these at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of it, and for how long; all times in seconds."""

    duration: float
    warm_up: float
    readers: int = 200
    rate: float = 100 * 1024
    hosts: int = 40
    rootfs: int = 16 * 1024 * 1024
    sample_every: float = 5.0
    fault_every: float = 20.0
    fault_lasts: float = 6.0
    base_every: float = 120.0
    pull_secret_every: float = 75.0
    rest: float = 20.0
    patience: float = 400.0
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """By how much the last third may be above the first."""

    memory: float = 8.0
    """MiB, of anonymous memory."""

    descriptors: float = 16.0
    """Connections come and go: the readers' number is theirs."""

    files: float = 4.0
    objects: int = 200
    """Of one type, from rest to rest."""

    own_objects: int = 20
    """Of a type of mic's own."""

    blocks: int = 20_000
    """Small objects of any kind: 4 % of what there are."""

    large: float = 4.0
    """MiB in larger pieces that are in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """mic's process at a moment."""

    seconds: float
    resident: float
    anonymous: float
    """MiB; the second without what is mapped from files, which others share or do not."""

    descriptors: int
    files: int
    deleted: int
    """Of the files, those whose name is gone: base images that were replaced."""

    threads: int
    cpu: float
    """Seconds of processor time since the start."""

    median: float
    longest: float
    """Milliseconds for a small request beside all the others."""

    readers: int


@dataclass(slots=True, kw_only=True)
class Report:
    """What it came to."""

    samples: list[Sample] = field(default_factory=list)
    outcomes: Outcomes = field(default_factory=Outcomes)
    done: Counter[str] = field(default_factory=Counter)
    """What was done to mic, by kind."""

    problems: list[str] = field(default_factory=list)
    rest: tuple[Sample, Sample] | None = None
    """Without readers: before, and after."""

    grown: Counter[str] = field(default_factory=Counter)
    """Objects by type that there are more of at rest than before."""

    held: dict[str, tuple[float, float]] = field(default_factory=dict)
    """At rest before and after: blocks of small objects, MiB of large ones, MiB to spare."""

    threads: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    """At rest before and after: threads by name."""

    def thirds(self, warm_up: float, what: str) -> tuple[float, float]:
        """The medians of a figure in the first third after the warm-up and in the last."""
        figures = [getattr(each, what) for each in self.samples if each.seconds >= warm_up]
        third = max(len(figures) // 3, 1)
        return statistics.median(figures[:third]), statistics.median(figures[-third:])


class Host:
    """A PreprovisioningImage with its Secret, as it ought to be."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"host-{number}"
        self.secret = f"net-{number}"
        self.revision = 0
        self.format = "iso"
        self.deleting = False
        self.image: Expected | None = None
        self.previous = ""
        """The target of the image before this one, which may be served for 10 minutes."""

    @property
    def interface(self) -> str:
        """Names host and revision, in the keyfile of the image."""
        return f"h{self.number}r{self.revision}"

    def rename(self) -> None:
        """Another host in its place."""
        self.name = f"host-{self.number}-{self.revision}"
        self.secret = f"net-{self.number}-{self.revision}"
        self.previous = ""

    def document(self) -> bytes:
        return f"interfaces:\n- name: {self.interface}\n  type: ethernet\n  state: up\n".encode()

    def changed(self) -> None:
        """What was served until now may go."""
        if self.image is not None:
            self.image.stale = True


class Soak:
    """One run, in a folder of its own, against an API server that it may kill."""

    def __init__(
        self, kube: KubeServer, folder: Path, plan: Plan, say: Callable[[str], None] = print
    ) -> None:
        self._kube = kube
        self._folder = folder
        self._plan = plan
        self._say = say
        self._random = random.Random(plan.seed)
        self._proxy = FaultProxy(kube.url)
        self._hosts = [Host(number) for number in range(plan.hosts)]
        self._bases: list[Media] = []
        self._names: dict[str, str] = {}
        self._base_count = 0
        self._pull_secret = 0
        self._readers: Readers | None = None
        self._sampling = False
        self.report = Report()

    async def run(self) -> Report:
        """All of it; the report's ``problems`` are empty when it went well."""
        self._proxy.start()
        try:
            await self._prepare()
            try:
                await self._soak()
            finally:
                self._daemon.kill()
        finally:
            await self._proxy.stop()
        return self.report

    # --- the whole ------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        self._kube.create_namespace(NAMESPACE)
        self._kube.grant_leases(NAMESPACE)
        await self._replace_base()
        self._write_pull_secret()
        self._census = self._folder / "census.json"
        self._daemon = self._start()
        await self._until(lambda: " reconciled: " in self._daemon.whole_log, "an empty cluster")
        # Plain HTTP beside HTTPS, so that readers go both ways.
        self._tls_port = self._daemon.tcp[1]
        found = self._daemon.wait_for(r"plain HTTP too, on \S+:\d+,")
        self._port = int(found[0].partition(", on ")[2].partition(",")[0].rpartition(":")[2])
        for each in self._hosts:
            await deferToThread(self._create, each)
        await self._converge("at the start")
        self.report.done.clear()

    def _start(self) -> Daemon:
        key = self._folder / "key"
        key.write_text("0123456789abcdef" * 4)
        kubeconfig = self._kube.kubeconfig(
            self._folder / "config", url=self._proxy.url, namespace=NAMESPACE
        )
        self._health = free_port()
        self._tls_key = ec_key()
        certificate, tls_key = issue(key=self._tls_key).write(self._folder / "tls")
        return Daemon(
            self._folder / "mic.log",
            [
                *("controller", "-kubeconfig", str(kubeconfig), "-namespace", NAMESPACE),
                *("-images-bind-addr", "127.0.0.1:0", "-leader-elect"),
                *("-images-tls-cert-file", str(certificate), "-images-tls-key-file", str(tls_key)),
                *("-images-http-bind-addr", "127.0.0.1:0"),
                *("-metrics-addr", f"127.0.0.1:{self._health}"),
                *("-images-publish-addr", "https://images.example"),
            ],
            {
                **self._bases[-1].environment,
                "MIC_URL_KEY_FILE": str(key),
                "CREDENTIALS_DIRECTORY": str(self._folder),
                "PYTHONPATH": str(Path(census.__file__).parent),
                census.PLACE: str(self._census),
            },
            command=[sys.executable, "-c", census.COMMAND],
        )

    async def _soak(self) -> None:
        plan = self._plan
        before = await self._sample(0)
        census_before = await self._take_census()
        readers = self._readers = Readers(
            port=self._port,
            tls=self._tls_port,
            count=plan.readers,
            rate=plan.rate,
            choose=self._choose,
            rest=plan.rest,
            patience=plan.patience,
            seed=plan.seed,
        )
        self.report.outcomes = readers.outcomes
        began = time.monotonic()
        readers.start()
        sampling = Deferred.fromCoroutine(self._keep_sampling(began))
        try:
            await self._live(began)
            await self._converge("at the end")
        finally:
            self._sampling = False
            readers.stop()
            await sampling
        self._say("readers are gone; waiting for mic to come to rest")
        await deferLater(reactor, _QUIET)
        await self._check_the_past()
        after = await self._sample(time.monotonic() - began)
        self.report.rest = (before, after)
        census_after = await self._take_census()
        self.report.held = {
            what: (census_before[what], census_after[what]) for what in ("blocks", "large", "loose")
        }
        self.report.threads = (Counter(census_before["threads"]), Counter(census_after["threads"]))
        objects = Counter(census_before["objects"])
        now = Counter(census_after["objects"])
        self.report.grown = now - objects
        self._daemon.stop(within=10)

    async def _live(self, began: float) -> None:
        """Change, break, and look, a round a second."""
        plan = self._plan
        due = {
            self._next_fault: plan.fault_every / 2,
            self._replace_base: plan.base_every / 2,
            self._renew_files: plan.pull_secret_every / 2,
        }
        every = {
            self._next_fault: plan.fault_every,
            self._replace_base: plan.base_every,
            self._renew_files: plan.pull_secret_every,
        }
        self._faults = itertools.cycle(self._days())
        while (now := time.monotonic() - began) < plan.duration:
            for what, when in due.items():
                if now >= when:
                    due[what] = now + every[what]
                    await what()
            await deferToThread(self._churn)
            await deferToThread(self._look)
            await deferLater(reactor, 1.0)
        self._proxy.fault = lambda verb, path: None

    # --- what is done to it ---------------------------------------------------------------------

    def _create(self, host: Host) -> None:
        if self._kube.find(SECRETS, NAMESPACE, host.secret) is None:
            self._create_secret(host)
        formats = (host.format,)
        body = image_body(host.name, secret=host.secret, formats=formats, namespace=NAMESPACE)
        self._kube.create(PREPROVISIONING_IMAGES, body)

    def _create_secret(self, host: Host) -> None:
        labels = {SECRET_LABEL: SECRET_LABEL_VALUE}
        body = secret_body(host.secret, host.document(), namespace=NAMESPACE, labels=labels)
        self._kube.create(SECRETS, body)

    def _churn(self) -> None:
        """One change that users make; in a thread."""
        host = self._random.choice(self._hosts)
        if host.deleting:
            return
        change = self._random.choice(("edit", "edit", "format", "recreate", "other", "secret"))
        self.report.done[f"{change} object" if change == "other" else change] += 1
        host.changed()
        host.revision += 1
        if change in ("recreate", "other"):
            self._kube.delete(PREPROVISIONING_IMAGES, NAMESPACE, host.name)
        if change in ("secret", "other"):
            self._kube.delete(SECRETS, NAMESPACE, host.secret)
        if change == "other":
            # What mic keeps of names must go with them.
            host.rename()
            return
        if change == "format":
            host.format = "initrd" if host.format == "iso" else "iso"
            spec = {"spec": {"acceptFormats": [host.format]}}
            self._kube.edit(PREPROVISIONING_IMAGES, NAMESPACE, host.name, spec)
        if change == "secret":
            self._create_secret(host)
        else:
            data = {"data": {"nmstate": base64.b64encode(host.document()).decode()}}
            self._kube.edit(SECRETS, NAMESPACE, host.secret, data)
        host.deleting = change == "recreate"

    async def _replace_base(self) -> None:
        """Another ISO and initramfs under the same names, by rename."""
        for host in self._hosts:
            host.changed()
        number = self._base_count = self._base_count + 1
        folder = self._folder / "images"
        beside = self._folder / f"next-{number}"
        media = await deferToThread(
            lambda: make_media(beside, self._plan.rootfs, seed=number).write()
        )
        folder.mkdir(exist_ok=True)
        for path in (media.initramfs_path, media.iso_path):
            path.rename(folder / path.name)
        beside.rmdir()
        self._bases.append(
            Media(directory=folder, iso=media.iso, initramfs=media.initramfs, area=media.area)
        )
        # A reader of an older one holds the bytes by itself.
        del self._bases[:-3]
        self.report.done["base replaced"] += 1

    async def _renew_files(self) -> None:
        """Another pull secret, and another certificate."""
        for host in self._hosts:
            host.changed()
        self._pull_secret += 1
        self._write_pull_secret()
        self.report.done["pull secret"] += 1
        put(self._folder / "tls" / "cert.pem", issue(key=self._tls_key).chain_pem)
        self.report.done["certificate"] += 1

    def _write_pull_secret(self) -> None:
        noise = base64.b64encode(self._random.randbytes(_PULL_SECRET)).decode()
        auths = {"quay.example": {"auth": noise, "email": self._serial}}
        put(self._folder / "pull-secret", json.dumps({"auths": auths}).encode())

    @property
    def _serial(self) -> str:
        return f"serial-{self._pull_secret}@example.com"

    def _days(self) -> list[tuple[str, Callable[[], Any]]]:
        """The bad days, one after the other."""
        on = self._refuse
        return [
            ("writes: 500", lambda: on(Fault(code=500, reason="InternalError"), "update")),
            ("watches cut in mid-event", self._cut_watches),
            ("everything: 403", lambda: on(Fault(code=403, reason="Forbidden"), "")),
            ("API server killed", self._kill_api_server),
            (
                "everything: 429",
                lambda: on(
                    Fault(code=429, reason="TooManyRequests", headers={"Retry-After": "1"}), ""
                ),
            ),
            ("compaction", self._compact),
            ("leases: 500", lambda: on(Fault(code=500, reason="InternalError"), "update leases")),
            ("API server hangs", self._pause_api_server),
        ]

    async def _next_fault(self) -> None:
        name, begin = next(self._faults)
        self.report.done[name] += 1
        await begin()

    async def _refuse(self, fault: Fault, verbs: str) -> None:
        def refused(verb: str, path: str) -> Fault | None:
            return fault if verb.startswith(verbs) else None

        def over() -> None:
            if self._proxy.fault is refused:
                self._proxy.fault = lambda verb, path: None

        self._proxy.fault = refused
        self._proxy.cut_watches()
        reactor.callLater(self._plan.fault_lasts, over)

    async def _cut_watches(self) -> None:
        for _ in range(3):
            self._proxy.cut_watches(b'{"type":"MODIFIED","object":{"metadata":{"na')
            await deferLater(reactor, 1.0)

    async def _kill_api_server(self) -> None:
        self._kube.kill_apiserver()
        await deferLater(reactor, self._plan.fault_lasts)
        await deferToThread(self._kube.start_apiserver)

    async def _pause_api_server(self) -> None:
        self._kube.pause_apiserver(True)
        await deferLater(reactor, self._plan.fault_lasts)
        self._kube.pause_apiserver(False)

    async def _compact(self) -> None:
        """All versions that mic knows are too old, and it has to list again."""
        await deferToThread(self._kube.compact)
        await self._refuse(Fault(code=410, reason="Expired"), "watch")

    # --- what there must be ---------------------------------------------------------------------

    def _choose(self) -> Expected | None:
        images = [each.image for each in self._hosts if each.image is not None]
        return self._random.choice(images) if images else None

    def _look(self) -> None:
        """Learn the images that statuses name, and recreate what is gone; in a thread."""
        objects = self._objects()
        for host in self._hosts:
            body = objects.get(host.name)
            if body is None:
                host.deleting = False
                host.previous = ""
                self._create(host)
            elif not host.deleting:
                self._learn(host, body)

    def _objects(self) -> dict[str, Json]:
        where = f"/apis/metal3.io/v1alpha1/namespaces/{NAMESPACE}/preprovisioningimages"
        items = self._kube.ask("GET", where)[1]["items"]
        return {item["metadata"]["name"]: item for item in items}

    def _learn(self, host: Host, body: Json) -> str:
        """Look at an image that is new; why it is not the one that the host ought to have."""
        secret = self._kube.find(SECRETS, NAMESPACE, host.secret)
        verdict = bmo_verdict(body, secret)
        if not verdict.startswith("image "):
            return verdict
        target = "/" + verdict.rpartition("/")[2]
        if host.image is not None and host.image.target == target:
            return "old" if host.image.stale else ""
        tail, parts, newest = self._compose(target)
        if tail is None:
            return parts
        text = _texts(config_of(tail))
        if f"/h{host.number}r" not in text:
            self.report.outcomes.went_wrong(f"{host.name}: another host's config")
        image = Expected(host.name, target, parts)
        right = f"/{host.interface}.nmconnection" in text and self._serial in text and newest
        image.stale = not right
        if host.image is not None:
            host.image.stale = True
            host.previous = host.image.target
        host.image = image
        self._names[target] = host.name
        self.report.done["images learned"] += 1
        return "" if right else "old"

    def _compose(self, target: str) -> Any:
        """What the image is made of, from as little of it as tells that."""
        bases = list(reversed(self._bases))
        if target.endswith(".initramfs"):
            status, data = self._get(target)
            if status != 200:
                return None, f"status {status}", False
            for media in bases:
                if data.startswith(media.initramfs):
                    tail = data[len(media.initramfs) :]
                    return tail, [media.initramfs, tail], media is bases[0]
            return None, "an unknown initramfs", False
        middle = len(bases[0].iso) // 2
        status, mark = self._get(target, middle, middle + 64)
        if status != 206:
            return None, f"status {status}", False
        for media in bases:
            if media.iso[middle : middle + 64] == mark:
                status, area = self._get(target, media.area, media.area + EMBED)
                if status != 206:
                    return None, f"status {status}", False
                iso = memoryview(media.iso)
                parts = [iso[: media.area], area, iso[media.area + EMBED :]]
                return area, parts, media is bases[0]
        return None, "an unknown ISO", False

    def _get(self, target: str, start: int = 0, stop: int = 0) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            headers = {"Range": f"bytes={start}-{stop - 1}"} if stop else {}
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    async def _converge(self, when: str) -> None:
        """Wait until every host has the image that it ought to have."""

        def behind() -> list[str]:
            self._look()
            objects = self._objects()
            names = {host.name for host in self._hosts}
            found = [f"{name}: not released" for name in objects.keys() - names]
            for host in self._hosts:
                body = objects.get(host.name)
                why = "no object" if body is None or host.deleting else self._learn(host, body)
                if why:
                    found.append(f"{host.name}: {why}")
            return found

        began = time.monotonic()
        while left := await deferToThread(behind):
            if time.monotonic() - began > _CONVERGENCE:
                self.report.problems.append(f"{when} not converged: {'; '.join(left[:10])}")
                return
            self._say(f"{when}: {len(left)} to go: {'; '.join(left[:5])}")
            await deferLater(reactor, 3.0)
        took = time.monotonic() - began
        self._say(f"{when}: all {len(self._hosts)} as described after {took:.0f} s")

    async def _check_the_past(self) -> None:
        """Nothing is served but what statuses name, and what each named last before that."""
        current = {host.image.target for host in self._hosts if host.image is not None}
        current |= {host.previous for host in self._hosts}

        def left() -> int:
            past = [name for name in self._names if name not in current]
            return sum(self._get(name, 0, 1)[0] != 404 for name in past)

        if count := await deferToThread(left):
            self.report.problems.append(f"{count} images of the past are still served")

    # --- what is measured -----------------------------------------------------------------------

    async def _keep_sampling(self, began: float) -> None:
        self._sampling = True
        while self._sampling:
            sample = await self._sample(time.monotonic() - began)
            self.report.samples.append(sample)
            self._proxy.forget()
            outcomes = self.report.outcomes
            self._say(
                f"{sample.seconds:6.0f} s"
                f"  RSS {sample.resident:6.1f}  anonymous {sample.anonymous:6.1f} MiB"
                f"  descriptors {sample.descriptors:4d}  files {sample.files:2d}"
                f"  threads {sample.threads:2d}  CPU {sample.cpu:6.1f} s"
                f"  answer {sample.median:5.1f} / {sample.longest:5.1f} ms"
                f"  readers {sample.readers:3d}  {outcomes.bytes / 2**20:7.0f} MiB"
                f"  wrong {outcomes.wrong_count}"
            )
            await deferLater(reactor, self._plan.sample_every)

    async def _sample(self, seconds: float) -> Sample:
        times = await deferToThread(self._probe)
        pid = self._daemon.pid
        status = Path(f"/proc/{pid}/status").read_text()
        files = [each for each in open_files(pid) if each.startswith("/") and "/dev/" not in each]
        figures = dict(re.findall(r"(RssAnon|Threads):\s+(\d+)", status))
        return Sample(
            seconds=seconds,
            resident=self._daemon.resident() / 2**20,
            anonymous=int(figures["RssAnon"]) / 1024,
            descriptors=self._daemon.descriptors(),
            files=len(files),
            deleted=sum(each.endswith(" (deleted)") for each in files),
            threads=int(figures["Threads"]),
            cpu=self._daemon.processor_time() / os.sysconf("SC_CLK_TCK"),
            median=statistics.median(times),
            longest=max(times),
            readers=len(self._readers.wires) if self._readers else 0,
        )

    def _probe(self) -> list[float]:
        """Milliseconds for small requests, one after the other; in a thread."""
        times = []
        for port, target in [(self._port, "/")] * 8 + [(self._health, "/healthz")] * 2:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                began = time.monotonic()
                connection.request("GET", target)
                answer = connection.getresponse()
                answer.read()
                times.append((time.monotonic() - began) * 1000)
                if answer.status != 200:
                    self.report.outcomes.went_wrong(f"status {answer.status} of {target}")
            finally:
                connection.close()
        return times

    async def _take_census(self) -> dict[str, Any]:
        self._census.unlink(missing_ok=True)
        self._daemon.process.send_signal(signal.SIGUSR1)
        await self._until(self._census.exists, "a census")
        found: dict[str, Any] = json.loads(self._census.read_text())
        return found

    async def _until(self, holds: Callable[[], Any], what: str) -> None:
        for _ in range(600):
            if holds():
                return
            await deferLater(reactor, 0.1)
        raise AssertionError(f"never came: {what}:\n{self._daemon.whole_log[-3000:]}")


def judge(report: Report, plan: Plan, bounds: Bounds) -> list[tuple[str, float, float, float]]:
    """Figures with their first and last third and the growth allowed; notes what is wrong."""
    rows = []
    for what, allowed in (
        ("anonymous", bounds.memory),
        ("descriptors", bounds.descriptors),
        ("files", bounds.files),
    ):
        first, last = report.thirds(plan.warm_up, what)
        rows.append((what, first, last, allowed))
        if last - first > allowed:
            report.problems.append(f"{what} grew from {first:.1f} to {last:.1f}")
    outcomes = report.outcomes
    if outcomes.wrong_count:
        report.problems.append(f"{outcomes.wrong_count} readings went wrong")
        report.problems += outcomes.wrong
    if report.rest is not None:
        before, after = report.rest
        if after.deleted:
            report.problems.append(f"{after.deleted} deleted files are open at rest")
        if after.descriptors > before.descriptors + bounds.files:
            report.problems.append(
                f"at rest {before.descriptors} descriptors became {after.descriptors}"
            )
    for what, most in (("blocks", bounds.blocks), ("large", bounds.large)):
        first, last = report.held.get(what, (0, 0))
        if last - first > most:
            report.problems.append(f"at rest {what} grew from {first:.1f} to {last:.1f}")
    began_with, ended_with = report.threads
    for name, count in (ended_with - began_with).items():
        # A pool begins its threads when it first needs them, and numbers them. A name that is there
        # twice is that of a pool that was left behind.
        if began_with[name] or count > 1 or not name.startswith("PoolThread-"):
            report.problems.append(f"at rest there are {count} more threads {name}")
    # Each of these has a few lists, dictionaries and numbers.
    kept = sum(report.grown[kind] for kind in _KEPT)
    for kind, count in report.grown.most_common():
        own = bounds.own_objects if kind.startswith("mic.") else bounds.objects + 4 * kept
        if kind.startswith(("mic.images.", "mic.hosts.")):
            own += plan.hosts  # each may have the image before its present one
        if count > _KEPT.get(kind, own):
            report.problems.append(f"at rest there are {count} more objects of {kind}")
    return rows


def _texts(config: bytes) -> str:
    """Paths and contents of the files in an Ignition config."""
    files = json.loads(config)["storage"]["files"]
    return "\n".join(f"{file['path']}\n{unquote(file['contents']['source'])}" for file in files)
