"""The texts of errors that a PreprovisioningImage's condition shows. Pure."""

from __future__ import annotations

from mic.common.kube_names import quoted, subdomain_problem
from mic.common.text import printable
from mic.kube.actions import Observation
from mic.kube.objects import DATA_KEYS, NETWORK_KEYS, NetworkSecret, PreprovisioningImage

FORMATS = ("iso", "initrd")
"""The image formats that the API knows."""

MAX_SHOWN = 64
"""Maximum characters of a word of the spec that a message quotes."""

KERNEL_NAMES = {
    "amd64": "x86_64",
    "x86-64": "x86_64",
    "x64": "x86_64",
    "arm64": "aarch64",
    "ppc64el": "ppc64le",
}
"""Architecture names of other tools, and the kernel's name for each."""


def no_data_text(secret: NetworkSecret) -> str:
    """Return the error of a Secret without a key that mic reads."""
    *first, last = (f"'{key}'" for key in NETWORK_KEYS)
    network = f"{', '.join(first)} or {last}"
    others = " or ".join(f"'{key}'" for part, (key, *_) in DATA_KEYS.items() if part != "network")
    has = ", ".join(printable(key) for key in secret.keys) or "none"
    more = f" and {secret.more_keys} more" if secret.more_keys else ""
    return (
        f"Secret {secret.key} has no key {network} (network data), {others}; "
        f"its keys are {has}{more}"
    )


def architecture_text(seen: Observation, image: PreprovisioningImage) -> str:
    """Return the error of an architecture without base images."""
    asked = image.architecture or seen.host_architecture
    text = f"Architecture not supported: {_shown(asked)}"
    kernels = KERNEL_NAMES.get(asked.lower())
    if kernels:
        text += f"; the kernel calls it {kernels}"
    there = ", ".join(seen.architectures) or "none"
    return f"{text}; there are base images for {there}"


def format_text(seen: Observation, image: PreprovisioningImage) -> str:
    """Return the error of formats without base images."""
    asked = ", ".join(map(_shown, image.accept_formats[: len(FORMATS)]))
    asked = asked or "spec.acceptFormats is empty"
    there = ", ".join(sorted(seen.supported_formats)) or "none"
    return f"No acceptable image format supported: {asked}; there are base images for {there}"


def name_text(image: PreprovisioningImage) -> str:
    """Return the error of a name that no Secret can have."""
    name = image.network_data_name
    return (
        f"spec.networkDataName {quoted(name)} cannot be the name of a Secret: "
        f"{subdomain_problem(name)} (lowercase letters, digits, '-' and '.', "
        "a letter or digit at both ends)"
    )


def _shown(word: str) -> str:
    return printable(word[:MAX_SHOWN])
