"""Stream metadata, as Fedora and OpenShift publish it, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mic.fetch.failure import FetchError
from mic.fetch.metadata import MAX_METADATA, Kind, artifact

DIGEST = "ab" * 32
URL = "https://builds.example/fedora-coreos-41.iso"


def stream(**formats: Any) -> dict[str, Any]:
    """Stream metadata as Fedora's of 2024, of one architecture."""
    disk = {"location": URL, "signature": f"{URL}.sig", "sha256": DIGEST.upper()}
    pxe = {
        name: {"location": f"{URL}-{name}", "sha256": DIGEST}
        for name in ("kernel", "initramfs", "rootfs")
    }
    given_formats = {"iso": {"disk": disk}, "pxe": pxe, "raw.xz": {"disk": disk}, **formats}
    metal = {"release": "41.20241109.3.0", "formats": given_formats}
    return {
        "stream": "stable",
        "metadata": {"last-modified": "2024-11-25T18:50:49Z"},
        "architectures": {"x86_64": {"artifacts": {"metal": metal}, "images": {}}},
    }


def test_finds_the_iso() -> None:
    found = artifact(json.dumps(stream()).encode(), "x86_64", Kind.ISO)
    assert (found.location, found.sha256, found.signature) == (URL, DIGEST, f"{URL}.sig")


@pytest.mark.parametrize("kind", [Kind.KERNEL, Kind.INITRAMFS, Kind.ROOTFS])
def test_finds_the_files_for_network_boot(kind: Kind) -> None:
    found = artifact(json.dumps(stream()).encode(), "x86_64", kind)
    assert (found.location, found.signature) == (f"{URL}-{kind}", "")


PLACE = "architectures.x86_64.artifacts.metal.formats.iso.disk"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "it is not a JSON object"),
        ({}, "it has no architectures: it is no stream metadata"),
        ({"architectures": []}, "architectures is not a JSON object"),
        ({"architectures": {"x86_64": None}}, "architectures.x86_64 is not a JSON object"),
        (stream(iso={}), f"it has no {PLACE}"),
        (stream(iso={"disk": []}), f"{PLACE} is not a JSON object"),
        (stream(iso={"disk": {}}), f"{PLACE} has no location"),
        (stream(iso={"disk": {"location": 1}}), f"{PLACE} has no location"),
        (stream(iso={"disk": {"location": URL}}), f"{PLACE} has no sha256"),
        (stream(iso={"disk": {"location": URL, "sha256": "ab"}}), f"{PLACE} has no sha256"),
        (
            stream(iso={"disk": {"location": URL, "sha256": DIGEST, "signature": {}}}),
            "its signature is not a URL",
        ),
    ],
)
def test_names_the_place_that_is_wrong(value: object, why: str) -> None:
    with pytest.raises(FetchError) as caught:
        artifact(json.dumps(value).encode(), "x86_64", Kind.ISO)
    assert str(caught.value).startswith(why) or why in str(caught.value)


@pytest.mark.parametrize("architecture", ["aarch64", "", "x86_64\n", "../x"])
def test_names_the_architectures_that_there_are(architecture: str) -> None:
    with pytest.raises(FetchError, match=r"only for x86_64; -arch chooses one"):
        artifact(json.dumps(stream()).encode(), architecture, Kind.ISO)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is not JSON: it is no stream metadata"),
        (b"{", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"<!DOCTYPE html><p>Sign in", "it is not JSON but HTML"),
        (b"[" * 200_000, "it is not JSON"),
        (b" " * (MAX_METADATA + 1), "bytes: it is no stream metadata"),
    ],
)
def test_refuses_other_bytes(data: bytes, why: str) -> None:
    with pytest.raises(FetchError, match=why):
        artifact(data, "x86_64", Kind.ISO)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(PLACE.split(".")), inner),
)


@given(JSON)
def test_refuses_any_other_json(value: object) -> None:
    with pytest.raises(FetchError):
        artifact(json.dumps(value).encode(), "x86_64", Kind.ISO)
