"""Check the PreprovisioningImages of a cluster and their Secrets, writing nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from operator import attrgetter

from mic.common.errors import BaseUnavailable, ConfigError, NotReady
from mic.hosts.agent_files import AgentFiles
from mic.hosts.examine import BASES, Examination, defect
from mic.hosts.provider import Provider
from mic.hosts.publish import Publisher
from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, ApiError, NotFound, Unavailable
from mic.kube.builds import BuildRequest, Built
from mic.kube.client import ThreadedKubernetes
from mic.kube.configuration import load_configuration, own_namespace
from mic.kube.dry_run import is_reconciled, refusal
from mic.kube.objects import (
    NetworkSecret,
    PreprovisioningImage,
    image_from_json,
    secret_from_json,
)
from mic.kube.texts import FORMATS

CLUSTER = "cluster"


async def examine_cluster(examination: Examination) -> None:
    """Read all objects and their Secrets once, and report those that would have no image."""
    settings, findings = examination.settings, examination.findings
    try:
        configuration = load_configuration(settings.kubeconfig)
        if settings.leader_elect:
            own_namespace(settings.kubeconfig)
    except ConfigError as error:
        findings.error(CLUSTER, *error.problems)
        return
    api = ThreadedKubernetes(configuration, examination.reactor)
    api.startService()
    try:
        await _ClusterExamination(examination, api).run()
    except ApiError as error:
        findings.error(CLUSTER, str(error))
    finally:
        await api.stopService()


class _Images(Provider):
    """The daemon's provider; what is known to be wrong for all hosts is no host's fault.

    Nothing that it publishes is served.
    """

    def __init__(self, examination: Examination) -> None:
        settings = examination.settings
        super().__init__(
            rootfs_url=settings.rootfs_url,
            host_architecture=settings.host_architecture,
            url_key=b"",
            images=examination.images,
            bases=examination.bases,
            agent_files=AgentFiles(settings.agent, examination.threads),
            builder=examination.builder,
            publisher=Publisher(examination.images, publish_url=settings.publish_url),
        )
        self._examination = examination
        self._has_bases = examination.has_bases

    def supports_architecture(self, architecture: str, stream: str) -> bool:
        """Return as the daemon would; True if there is no base image at all."""
        return not self._has_bases or super().supports_architecture(architecture, stream)

    def supports_format(self, format: str, architecture: str, stream: str) -> bool:
        """Return as the daemon would; True if there is no base image at all."""
        if not self._has_bases:
            return format in FORMATS
        return super().supports_format(format, architecture, stream)

    async def build(self, request: BuildRequest) -> Built:
        """Build as the daemon would; if no image can be built, check only the document."""
        if not (self._has_bases and self._examination.can_build):
            await self._examination.convert(request.data.network or b"")
            return Built(image_url="")
        try:
            return await super().build(request)
        except (BaseUnavailable, NotReady) as error:
            if not self._examination.findings.has(BASES, str(error)):
                raise
            return Built(image_url="")


class _ClusterExamination:
    """Checks the objects of a cluster, one after the other."""

    def __init__(self, examination: Examination, api: ThreadedKubernetes) -> None:
        self._examination = examination
        self._findings = examination.findings
        self._api = api
        self._namespace = examination.settings.namespace
        self._images = _Images(examination)

    async def run(self) -> None:
        """Check all objects; raise `ApiError` if they cannot be listed."""
        # All of them first: a list of several pages expires after some minutes.
        images = [image async for image in self._listed()]
        for image in sorted(images, key=attrgetter("key")):
            if is_reconciled(image):
                await self._examine(image)
        if not images:
            where = f"namespace {self._namespace}" if self._namespace else "any namespace"
            self._findings.warn(CLUSTER, f"there is no PreprovisioningImage in {where}")

    async def _listed(self) -> AsyncIterator[PreprovisioningImage]:
        token = ""
        while True:
            page = await self._api.list(
                PREPROVISIONING_IMAGES, namespace=self._namespace, continue_token=token
            )
            for item in page.items:
                yield image_from_json(item)
            token = page.continue_token
            if not token:
                return

    async def _examine(self, image: PreprovisioningImage) -> None:
        async def read_secret(name: str) -> NetworkSecret | None:
            try:
                body = await self._api.get(SECRETS, namespace=image.key.namespace, name=name)
            except NotFound:
                return None
            return secret_from_json(body, keep_data=True)

        host = str(image.key)
        self._findings.hosts += 1
        self._examination.doubts = ()
        try:
            text = await refusal(
                image, provider=self._images, read_secret=read_secret, now=datetime.now(UTC)
            )
        except Unavailable:
            raise
        except ApiError as error:
            text = str(error)
        except Exception as error:
            text = defect(error)
        self._findings.error(host, *filter(None, [text]), host=host)
        self._findings.warn(host, *map(str, self._examination.doubts), host=host)
