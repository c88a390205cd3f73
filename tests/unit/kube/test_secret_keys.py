"""Which keys of a Secret are read."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from mic.common.host_data import HostData
from mic.kube.objects import NetworkSecret, secret_from_json


def secret(data: dict[str, str], **more: Any) -> NetworkSecret:
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    body = {"metadata": {"namespace": "metal3", "name": "net"}, "data": encoded}
    return secret_from_json(body | more, keep_data=True)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"nmstate": "a", "networkData": "b", "value": "c"}, b"a"),
        ({"networkData": "b", "value": "c"}, b"b"),
        ({"value": "c"}, b"c"),
        ({"nmstate": "", "networkData": "b"}, b"b"),
        ({"nmstate": "", "other": "b"}, b""),
        ({"ignition": "{}"}, None),
    ],
)
def test_the_first_key_with_network_data_counts(data: dict[str, str], expected: bytes) -> None:
    found = secret(data)
    assert found.has_data
    assert found.data.network == expected
    assert found.size == found.data.size


def test_a_secret_of_cluster_api_is_left_alone() -> None:
    found = secret({"value": "kubeconfig"}, type="cluster.x-k8s.io/secret")
    assert not found.has_data
    assert found.data == HostData()
    assert found.keys == ("value",)
    assert secret({"value": "a", "networkData": "b"}, type="cluster.x-k8s.io/secret").has_data
