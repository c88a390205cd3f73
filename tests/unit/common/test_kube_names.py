"""Names of objects and namespaces, and the paths that are made of them."""

from __future__ import annotations

import pytest

from mic.common.kube_names import MAX_QUOTED, namespace_problem, quoted, subdomain_problem
from mic.kube.api import LEASES, PREPROVISIONING_IMAGES, SECRETS, Invalid, list_path, object_path

NAMES = ("a", "0", "a-b", "a.b", "worker-0.example.com", "a--b", "9" * 253, "a." * 126 + "a")

NO_NAMES = (
    *("", ".", "..", "...", "a/b", "/", "a/", "/a", "a/../b", "a\\b", "%2f", "a%2fb", "%2e%2e"),
    *("A", "Worker-0", "a_b", "a b", " a", "a ", "a\n", "\na", "a\x00", "a\x1b[31m", "a?b", "a#b"),
    *(
        "a;b",
        "a:b",
        "a@b",
        "a,b",
        "a+b",
        "a*",
        "~a",
        ".a",
        "a.",
        "a..b",
        "-a",
        "a-",
        "a.-b",
        "a-.b",
    ),
    *(
        "é",
        "а",
        "a\u2011b",
        "a\u202eb",
        "a\u200bb",
        "\ud800",
        "١",
        "ａ",
        "a" * 254,
        "a" * 1_500_000,
    ),
)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_accepts_subdomains(name: str) -> None:
    assert subdomain_problem(name) == ""
    assert object_path(SECRETS, "hosts", name) == f"/api/v1/namespaces/hosts/secrets/{name}"


@pytest.mark.parametrize("name", NO_NAMES, ids=lambda name: ascii(name[:20]))
def test_makes_no_path_of_any_other_name(name: str) -> None:
    assert subdomain_problem(name)
    for namespace, object_name in (("hosts", name), (name, "net")):
        with pytest.raises(Invalid) as caught:
            object_path(SECRETS, namespace, object_name)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 2000
    if name:
        with pytest.raises(Invalid):
            list_path(PREPROVISIONING_IMAGES, name)


@pytest.mark.parametrize("name", ["a.b", "a" * 64, "metal3."])
def test_refuses_a_namespace_that_is_no_label(name: str) -> None:
    assert namespace_problem(name)
    with pytest.raises(Invalid):
        list_path(SECRETS, name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is empty"),
        ("a/b", "character 2 is '/'"),
        ("Worker", "character 1 is 'W'"),
        ("a\u2011b", "character 2 is U+2011"),
        ("a..b", "a dot must stand between letters or digits"),
        ("a-", "letters or digits must stand at its beginning"),
        ("a" * 254, "it has 254 characters, 253 are allowed"),
    ],
)
def test_names_the_fault_of_a_name(name: str, reason: str) -> None:
    assert reason in subdomain_problem(name)


def test_quotes_bounded_and_printable() -> None:
    assert quoted("a/b") == "'a/b'"
    assert quoted("a\x1b\u202e\ud800") == r"'a\x1b\u202e\ud800'"
    long = quoted("x" * 1_000_000)
    assert long.endswith("… (1000000 characters)")
    assert len(long) < MAX_QUOTED + 50


def test_paths_are_those_of_the_api() -> None:
    assert list_path(SECRETS, "") == "/api/v1/secrets"
    assert list_path(SECRETS, "hosts") == "/api/v1/namespaces/hosts/secrets"
    images = "/apis/metal3.io/v1alpha1"
    assert list_path(PREPROVISIONING_IMAGES, "") == f"{images}/preprovisioningimages"
    path = object_path(PREPROVISIONING_IMAGES, "hosts", "a.b", "status")
    assert path == f"{images}/namespaces/hosts/preprovisioningimages/a.b/status"
    lease = object_path(LEASES, "mic", "mic")
    assert lease == "/apis/coordination.k8s.io/v1/namespaces/mic/leases/mic"
