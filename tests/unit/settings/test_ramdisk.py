"""Settings of a ramdisk that is not CoreOS: what it needs, and what means nothing to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import ramdisk_media
from settings_support import PEM, problems_of
from toys import live_iso, put

from mic.media.base import Ramdisk
from mic.ramdisk.archive import RamdiskNetwork
from mic.settings.load import inspect_agent, load
from mic.settings.model import Mode


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **ramdisk_media.write(tmp_path / "bases"),
        "IRONIC_BASE_URL": "http://192.0.2.2",
    }


def test_needs_neither_an_iso_nor_an_image(
    environment: dict[str, str], flags: dict[str, str]
) -> None:
    settings = load(Mode.STATIC, environment, flags)
    assert settings.bases.ramdisk is Ramdisk.IPA
    assert settings.bases.boot_loader == environment["MIC_BOOTLOADER"]
    assert settings.bases.grub_config == "EFI/BOOT/grub.cfg"
    assert settings.ramdisk_network is RamdiskNetwork.AUTO
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"MIC_RAMDISK": "dib"}, "MIC_RAMDISK: 'dib' is none of coreos, ipa"),
        ({"DEPLOY_KERNEL": ""}, "DEPLOY_KERNEL is empty: MIC_RAMDISK=ipa needs the kernel"),
        ({"DEPLOY_INITRD": ""}, "DEPLOY_INITRD is empty: MIC_RAMDISK=ipa needs the initramfs"),
        ({"DEPLOY_ISO": "/no/iso"}, "DEPLOY_ISO is for CoreOS"),
        ({"MIC_BOOTLOADER": ""}, "MIC_ISOLINUX needs MIC_BOOTLOADER"),
        ({"MIC_ISOLINUX": "/no/isolinux"}, "MIC_ISOLINUX: /no/isolinux/isolinux.bin: No such"),
        ({"MIC_GRUB_CONFIG": "/grub.cfg"}, "MIC_GRUB_CONFIG: '/grub.cfg': it is no path"),
        ({"MIC_RAMDISK_NETWORK": "x"}, "MIC_RAMDISK_NETWORK: 'x' is none of"),
        ({"IRONIC_BASE_URL": ""}, "MIC_BOOTLOADER needs IRONIC_BASE_URL"),
        ({"MIC_KERNEL_ARGUMENTS": "-quiet"}, "MIC_KERNEL_ARGUMENTS: the kernel argument quiet"),
        ({"MIC_KERNEL_ARGUMENTS": "ir_pub_id=x"}, "ir_pub_id=x cannot be added: mic sets it"),
    ],
)
def test_names_what_is_missing_or_wrong(
    changes: dict[str, str], problem: str, environment: dict[str, str], flags: dict[str, str]
) -> None:
    assert any(problem in each for each in problems_of({**environment, **changes}, flags))


def test_refuses_files_of_the_wrong_kind(
    tmp_path: Path, environment: dict[str, str], flags: dict[str, str]
) -> None:
    iso = str(put(tmp_path / "coreos.iso", live_iso()))
    text = str(put(tmp_path / "text", b"<html>\n"))
    bad = put(tmp_path / "isolinux/isolinux.bin", b"another").parent
    put(bad / "ldlinux.c32", b"x")
    changes = {
        "DEPLOY_INITRD": iso,
        "DEPLOY_KERNEL": iso,
        "MIC_BOOTLOADER": text,
        "MIC_ISOLINUX": str(bad),
    }
    found = problems_of({**environment, **changes}, flags)
    assert [each.partition(" ")[0] for each in found] == [
        *("DEPLOY_INITRD:", "DEPLOY_KERNEL:", "MIC_BOOTLOADER:", "MIC_ISOLINUX:")
    ]
    assert "is an ISO 9660 image, not an initramfs" in found[0]
    assert "not a FAT file system" in found[2]
    assert "is not the boot image ISOLINUX" in found[3]


@pytest.mark.parametrize("name", ["MIC_BOOTLOADER", "DEPLOY_INITRD"])
def test_names_an_empty_file(
    name: str, tmp_path: Path, environment: dict[str, str], flags: dict[str, str]
) -> None:
    empty = str(put(tmp_path / "empty", b""))
    (problem,) = problems_of({**environment, name: empty}, flags)
    assert problem.startswith(f"{name}: ")
    assert "is empty" in problem


def test_an_iso_may_learn_ironics_url_from_the_kernel_line(
    environment: dict[str, str], flags: dict[str, str]
) -> None:
    given = {"IRONIC_BASE_URL": "", "MIC_KERNEL_ARGUMENTS": "ipa-api-url=http://192.0.2.2:6385"}
    load(Mode.STATIC, {**environment, **given}, flags)
    without_iso = {"IRONIC_BASE_URL": "", "MIC_BOOTLOADER": "", "MIC_ISOLINUX": ""}
    load(Mode.STATIC, {**environment, **without_iso}, flags)


def test_warns_of_what_means_nothing_and_ignores_it(
    environment: dict[str, str], flags: dict[str, str]
) -> None:
    meaningless = {
        "IRONIC_AGENT_IMAGE": "quay.io/ipa",
        "IRONIC_AGENT_PULL_SECRET": '{"auths": {"quay.io": {"auth": "dXNlcjpwYXNz"}}}',
        "REGISTRIES_CONF_PATH": "/no/such/file",
        "IP_OPTIONS": "ip=dhcp",
        "HTTPS_PROXY": "http://proxy",
        "IRONIC_ROOTFS_URL": "http://rootfs",
        "MIC_IGNITION": "/no/such/file",
        "MIC_ISO": "minimal",
        "MIC_INITRAMFS_NETWORK": "always",
    }
    settings = load(Mode.STATIC, {**environment, **meaningless}, flags)
    assert set(settings.warnings) == {
        f"{name} means nothing with MIC_RAMDISK=ipa: it is ignored" for name in meaningless
    }
    assert replace(settings, warnings=()) == load(Mode.STATIC, environment, flags)


def test_coreos_has_no_use_for_a_boot_loader(tmp_path: Path, flags: dict[str, str]) -> None:
    iso = str(put(tmp_path / "ipa.iso", live_iso()))
    given = {"DEPLOY_ISO": iso, "IRONIC_AGENT_IMAGE": "i", "MIC_BOOTLOADER": "/no/esp.img"}
    settings = load(Mode.STATIC, given, flags)
    assert settings.warnings == (
        "MIC_BOOTLOADER means nothing with MIC_RAMDISK=coreos: it is ignored",
    )
    assert settings.bases.boot_loader == ""


def test_warns_of_time_servers_that_the_agent_does_not_take(
    environment: dict[str, str], flags: dict[str, str]
) -> None:
    given = {"ADDITIONAL_NTP_SERVERS": "a.example,b.example"}
    settings = load(Mode.STATIC, {**environment, **given}, flags)
    assert settings.warnings == (
        "ADDITIONAL_NTP_SERVERS: the agent of an ipa ramdisk takes one: a.example",
    )


def test_documents_are_checked_for_the_ramdisk(environment: dict[str, str]) -> None:
    settings = inspect_agent({**environment, "MIC_IGNITION": "/no/such/file"}).settings
    assert settings.bases.ramdisk is Ramdisk.IPA
    assert settings.agent.ignition == ""


def test_certificates_are_checked(
    tmp_path: Path, environment: dict[str, str], flags: dict[str, str]
) -> None:
    given = {"CA_BUNDLE": str(put(tmp_path / "ca.pem", PEM))}
    assert load(Mode.STATIC, {**environment, **given}, flags).agent.ca_bundle == given["CA_BUNDLE"]
