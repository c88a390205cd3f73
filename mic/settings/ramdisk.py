"""Requirements between the settings of a ramdisk that is not CoreOS."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mic.common.errors import BuildInvalid
from mic.media.kernel_arguments import ArgumentEdits
from mic.ramdisk.archive import checked_arguments
from mic.settings.table import BOOT_LOADER, RAMDISK

_API_URL = "ipa-api-url"


def ramdisk_findings(
    given: Collection[str], *, arguments: ArgumentEdits, ntp_servers: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return problems and warnings; ``given`` are the names of variables that are not empty."""
    problems = []
    if "DEPLOY_ISO" in given:
        problems.append(
            f"DEPLOY_ISO is for CoreOS: with {RAMDISK}=ipa leave it empty, and give the ramdisk as "
            "DEPLOY_INITRD and DEPLOY_KERNEL"
        )
    problems += [
        f"{name} is empty: {RAMDISK}=ipa needs the {what} of the ramdisk"
        for name, what in (("DEPLOY_INITRD", "initramfs"), ("DEPLOY_KERNEL", "kernel"))
        if name not in given
    ]
    problems += [
        f"{name} needs {BOOT_LOADER}: without it no ISO is made"
        for name in ("MIC_GRUB_CONFIG", "MIC_ISOLINUX")
        if name in given and BOOT_LOADER not in given
    ]
    has_url = any(word.partition("=")[0] == _API_URL for word in arguments.appended)
    if BOOT_LOADER in given and "IRONIC_BASE_URL" not in given and not has_url:
        problems.append(
            f"{BOOT_LOADER} needs IRONIC_BASE_URL: Ironic adds nothing to an ISO, so the agent "
            "would not know where Ironic is"
        )
    try:
        checked_arguments([arguments])
    except BuildInvalid as error:
        problems.append(f"MIC_KERNEL_ARGUMENTS: {error}")
    warnings = []
    if len(ntp_servers) > 1:
        warnings.append(
            f"ADDITIONAL_NTP_SERVERS: the agent of an ipa ramdisk takes one: {ntp_servers[0]}"
        )
    return problems, warnings
