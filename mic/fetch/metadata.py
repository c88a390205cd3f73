"""Stream metadata of CoreOS: where the files of a release are, and their digests. Pure.

Format: https://coreos.github.io/stream-metadata-go/ and ``fedora-coreos-docs``, "Stream metadata".
Fedora publishes it for each stream; ``openshift-install coreos print-stream-json`` prints that of
RHCOS, which has no signatures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mic.common.text import printable
from mic.fetch.failure import FetchError

MAX_METADATA = 8 * 1024 * 1024
"""Most bytes of stream metadata; a real one has about 60 KiB."""

ARCHITECTURE_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Go's names of architectures, as OpenShift and Kubernetes use them, and the kernel's."""

_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")


class Kind(StrEnum):
    """Which file of a release is wanted."""

    ISO = "iso"
    KERNEL = "kernel"
    INITRAMFS = "initramfs"
    ROOTFS = "rootfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file of a release: its URL, its SHA-256 in hexadecimal, and the URL of its signature.

    ``signature`` is empty for releases without.
    """

    location: str = field(repr=False)
    sha256: str
    signature: str = field(default="", repr=False)


def artifact(data: bytes, architecture: str, kind: Kind) -> Artifact:
    """Return a file of the release that stream metadata describes.

    Raises `FetchError` with the place in the metadata that is missing or malformed.
    """
    if len(data) > MAX_METADATA:
        raise FetchError(f"it has more than {MAX_METADATA} bytes: it is no stream metadata")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise FetchError(f"it is not JSON{_html(data)}: it is no stream metadata") from None
    # Before member() reports a missing architecture as one of a thousand missing names.
    architectures = _member(value, ("architectures",))
    if architecture not in architectures:
        names = sorted(map(printable, architectures))[:10]
        raise FetchError(
            f"it has nothing for the architecture {printable(architecture)}, only for "
            f"{', '.join(names) or 'none'}; -arch chooses one"
        )
    pxe = kind is not Kind.ISO
    place: tuple[str, ...] = ("architectures", architecture, "artifacts", "metal", "formats")
    place += ("pxe", kind.value) if pxe else ("iso", "disk")
    found = _member(value, place)
    url, digest = found.get("location"), found.get("sha256")
    signature = found.get("signature", "")
    if not isinstance(url, str) or not url:
        raise FetchError(f"{_shown(place)} has no location: it cannot be downloaded")
    if not isinstance(digest, str) or not is_digest(digest):
        raise FetchError(f"{_shown(place)} has no sha256 of 64 hexadecimal digits")
    if not isinstance(signature, str):
        raise FetchError(f"{_shown(place)}: its signature is not a URL")
    return Artifact(location=url, sha256=digest.lower(), signature=signature)


def is_digest(text: str) -> bool:
    """Return whether a text is a SHA-256 digest in hexadecimal."""
    return _DIGEST.fullmatch(text) is not None


def _member(value: Any, place: Sequence[str]) -> dict[str, Any]:
    for number, name in enumerate(place):
        if not isinstance(value, dict):
            raise FetchError(f"{_shown(place[:number]) or 'it'} is not a JSON object")
        if name not in value:
            raise FetchError(
                f"it has no {_shown(place[: number + 1])}: it is no stream metadata, or not of a "
                "stream with that file"
            )
        value = value[name]
    if not isinstance(value, dict):
        raise FetchError(f"{_shown(place)} is not a JSON object")
    return value


def _shown(place: Sequence[str]) -> str:
    return printable(".".join(place))


def _html(data: bytes) -> str:
    return " but HTML" if data[:256].lstrip().lower().startswith((b"<!doctype", b"<html")) else ""
