"""Scope: which Secrets are claimed (label, owner reference), and when the others are read again.

With an owner reference the garbage collector deletes a Secret together with the object; and people
name the wrong one by mistake.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest
from kube_replicas import Pair
from kube_samples import bmo_verdict, condition, secret_body

from mic.kube.api import SECRETS, Json
from mic.kube.objects import SECRET_LABEL, SECRET_LABEL_VALUE

LABELS = {SECRET_LABEL: SECRET_LABEL_VALUE}


def tls_secret(**how: Any) -> Json:
    """One of a web server, which somebody named by mistake."""
    body = secret_body("net", None, **how)
    return {**body, "type": "kubernetes.io/tls", "data": {"tls.crt": "eA==", "tls.key": "eA=="}}


def add_key(pair: Pair) -> None:
    data = {"nmstate": base64.b64encode(b"interfaces: []").decode()}
    pair.api.edit(SECRETS, "hosts", "net", {"data": data})


def secret(pair: Pair) -> Json:
    found = pair.api.find(SECRETS, "hosts", "net")
    assert found is not None
    return found


@pytest.mark.parametrize("labels", [{}, LABELS, {"app": "web"}], ids=["bare", "labelled", "other"])
def test_a_secret_without_a_key_that_mic_reads_is_left_as_it_is(labels: dict[str, str]) -> None:
    pair = Pair(tls_secret(labels=labels))
    pair.pass_time(3600.0)
    assert "ownerReferences" not in secret(pair)["metadata"]
    assert secret(pair)["metadata"].get("labels") == (labels or None)
    assert ("update", "secrets", "net") not in pair.api.requests
    error = condition(pair.image, "Error")
    assert (error["status"], error["reason"]) == ("True", "ImageBuildInvalid")
    assert error["message"] == (
        "Cannot generate image: Secret hosts/net has no key 'nmstate', 'networkData' or "
        "'value' (network data), "
        "'kernelArguments' or 'ignition'; "
        "its keys are tls.crt, tls.key"
    )
    assert bmo_verdict(pair.image, secret(pair)) == f"error {error['message']}"
    pair.stop()


def test_an_unclaimed_secret_is_read_again_as_a_missing_one_is() -> None:
    pair = Pair(tls_secret())
    pair.api.requests.clear()
    pair.pass_time(120.0)
    early = pair.api.requests.count(("get", "secrets", "net"))
    assert 35 <= early <= 40, "every 3 s"
    pair.pass_time(7200.0)
    pair.api.requests.clear()
    pair.pass_time(6000.0)
    assert pair.api.requests.count(("get", "secrets", "net")) == 600, "every 10 s"
    assert set(pair.api.requests) == {("get", "secrets", "net")}
    pair.stop()


@pytest.mark.parametrize("labels", [{}, LABELS], ids=["bare", "labelled"])
def test_a_key_that_is_added_later_leads_to_ready_and_to_a_claim(labels: dict[str, str]) -> None:
    pair = Pair(tls_secret(labels=labels))
    pair.pass_time(30.0)
    add_key(pair)
    # The watch reports a labelled one.
    pair.pass_time(1.0 if labels else 4.0)
    assert bmo_verdict(pair.image, secret(pair)) == f"image {pair.url}"
    (owner,) = secret(pair)["metadata"]["ownerReferences"]
    assert owner["uid"] == pair.image["metadata"]["uid"]
    assert secret(pair)["metadata"]["labels"] == LABELS
    assert pair.follower.images.served.keys() == {pair.url}
    pair.stop()


def test_the_error_is_shown_for_the_version_that_an_unclaimed_secret_has_come_to() -> None:
    pair = Pair(tls_secret())
    pair.api.edit(SECRETS, "hosts", "net", {"data": {"ca.crt": "eA=="}})
    pair.pass_time(60.0)
    verdict = bmo_verdict(pair.image, secret(pair))
    assert verdict.endswith("its keys are ca.crt, tls.crt, tls.key")
    pair.stop()


def test_a_claimed_secret_that_loses_its_key_says_so_and_comes_back() -> None:
    pair = Pair()
    pair.api.edit(SECRETS, "hosts", "net", {"data": {"nmstate": None}})
    pair.pass_time(5.0)
    assert "has no key 'nmstate'" in bmo_verdict(pair.image, secret(pair))
    pair.api.requests.clear()
    pair.pass_time(3600.0)
    assert pair.api.requests == [], "the watch reports it"
    add_key(pair)
    pair.pass_time(5.0)
    assert bmo_verdict(pair.image, secret(pair)) == f"image {pair.url}"
    pair.stop()


def test_a_secret_of_the_right_key_is_claimed_whatever_its_type() -> None:
    body = {**secret_body("net", b"interfaces: []"), "type": "example.com/network"}
    pair = Pair(body)
    assert secret(pair)["metadata"]["labels"] == LABELS
    assert len(secret(pair)["metadata"]["ownerReferences"]) == 1
    pair.stop()


def test_an_empty_document_is_a_document() -> None:
    pair = Pair(secret_body("net", b""))
    assert bmo_verdict(pair.image, secret(pair)) == f"image {pair.url}"
    assert len(secret(pair)["metadata"]["ownerReferences"]) == 1
    pair.stop()


def test_no_value_of_a_secret_named_by_mistake_is_held() -> None:
    body = tls_secret()
    body["data"]["tls.key"] = base64.b64encode(b"private-key").decode()
    pair = Pair(body)
    assert "private-key" not in str(pair.image)
    assert body["data"]["tls.key"] not in str(pair.image)
    pair.stop()
