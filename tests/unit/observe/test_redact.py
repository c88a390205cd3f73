"""Redaction by form: what is removed from a log line, what stays, and how long it takes."""

from __future__ import annotations

import base64
import json
import time

import pytest
import urllib3
import yaml
from kubernetes.client.exceptions import ApiException
from private_keys import FORMS, body, disguised, forms
from urllib3.exceptions import MaxRetryError

from mic.observe.redact import REDACTED, redacted

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
HMAC = "mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpjatemzu"
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLXdpdGg_-x"
AUTH = base64.b64encode(b"robot:hunter2").decode()
PULL_SECRET = json.dumps({"auths": {"quay.io": {"auth": AUTH}}})
IN_BASE64 = base64.b64encode(PULL_SECRET.encode()).decode()
INDENTED = base64.b64encode(json.dumps(json.loads(PULL_SECRET), indent=2).encode()).decode()
SECRET_DATA = base64.b64encode(b"interfaces:\n- name: eth0\n  psk: hunter2-and-more\n").decode()
KEY = f"-----BEGIN EC PRIVATE KEY-----\n{SECRET_DATA}\nhunter2=\n-----END EC PRIVATE KEY-----"

HOSTILE = [
    (f"GET /{UUID}.iso", UUID),
    (f"GET /{UUID.upper()}.initramfs HTTP/1.1", UUID.upper()),
    (f"http://images.example.com/some/where/{UUID}", UUID),
    (f"KeyError: '{UUID}.iso'", UUID),
    (f"KeyError: b'/{HMAC}.iso'", HMAC),
    (f"{HMAC[:26]}.initramfs is gone", HMAC[:26]),
    ("Authorization: Bearer administrator", "administrator"),
    ("{'authorization': 'Basic cm9ib3Q='}", "cm9ib3Q"),
    ('{"Authorization": "opaque-one"}', "opaque-one"),
    ("[('Authorization', 'Bearer administrator')]", "administrator"),
    (r"{\"authorization\": \"Bearer administrator\"}", "administrator"),
    ("header Proxy-Authorization=Negotiate YIIabc", "YIIabc"),
    (f"Unauthorized: bearer {JWT}", "eyJ"),
    (f"token={JWT}&x=1", "eyJ"),
    (f"what came was {JWT}, sir", "c2lnbmF0"),
    ("{'BearerToken': 'Bearer administrator'}", "administrator"),
    ("https://robot:hunter2@registry.example.com/v2/", "hunter2"),
    ("https://robot:hun/ter2@registry.example.com/v2/", "ter2"),
    ("https://robot:hun@ter2@registry.example.com/v2/", "ter2"),
    ("https://:hunter2@proxy:3128", "hunter2"),
    ("https://hunter2@proxy:3128", "hunter2"),
    ("http://proxy/?user=robot&password=hunter2&x=y", "hunter2"),
    ("http://proxy/?access_token=hunter2", "hunter2"),
    (PULL_SECRET, AUTH),
    (repr(PULL_SECRET), AUTH),
    (json.dumps(PULL_SECRET), AUTH),
    (json.dumps(json.dumps(PULL_SECRET)), AUTH),
    (repr(json.loads(PULL_SECRET)), AUTH),
    ('{"auth": "cut off in the mid', "cut off"),
    (r'{"password": "with a \"quote\" and hunter2"}', "hunter2"),
    ("{'password': b'hunter2'}", "hunter2"),
    ("802-1x.private-key-password=hunter2", "hunter2"),
    ("wifi-sec.psk: 'hunter2'", "hunter2"),
    ('{"client-key-data": "aHVudGVyMg=="}', "aHVudGVyMg"),
    (f"IRONIC_AGENT_PULL_SECRET={IN_BASE64}", IN_BASE64[8:]),
    (f"not JSON: {IN_BASE64}", IN_BASE64[8:]),
    (f"not JSON: {INDENTED}", INDENTED[8:]),
    (f"b'{IN_BASE64[:40]}'", IN_BASE64[8:40]),
    (f'{{"data":{{"nmstate":"{SECRET_DATA}"}}}}', SECRET_DATA[:40]),
    (KEY, "hunter2="),
    (repr(KEY), "hunter2="),
    (KEY[:60], SECRET_DATA[:8]),
]


@pytest.mark.parametrize(("text", "secret"), HOSTILE)
def test_redacts_secrets(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redacted(text)
    assert secret not in redacted(f"Traceback:\n  File x\nValueError: {text}\n")
    assert REDACTED in redacted(text)


def _from_yaml(line: str) -> str:
    """PyYAML's complaint about a line, which it quotes."""
    with pytest.raises(yaml.YAMLError) as found:
        yaml.safe_load(f"data:\n  {line}: more")
    return str(found.value)


def _from_urllib3(target: str) -> str:
    """urllib3's complaint about a server that does not answer, with the target of the request."""
    with urllib3.HTTPConnectionPool("sso.example") as pool:
        return str(MaxRetryError(pool, target))


def _from_kubernetes(value: str) -> str:
    """The Kubernetes client's error, with the server's complaint about a value."""
    error = ApiException(status=422, reason="Unprocessable Entity")
    error.body = json.dumps({"message": f"data: Invalid value: {value}", "code": 422})
    return str(error)


LIBRARIES = {
    "value of a key, quoted": (_from_yaml('password: "hunter2"'), "hunter2"),
    "value of a key": (_from_urllib3("/realms/metal?client_secret=hunter2"), "hunter2"),
    "JSON in base64": (_from_kubernetes(IN_BASE64[:36]), IN_BASE64[8:36]),
    "binary data": (_from_kubernetes(SECRET_DATA), SECRET_DATA),
}
"""Texts of libraries with a secret that is recognised by a guess alone: one for each guess."""


@pytest.mark.parametrize("guess", LIBRARIES)
def test_redacts_what_libraries_quote(guess: str) -> None:
    text, secret = LIBRARIES[guess]
    assert secret in text
    assert secret not in redacted(text)


@pytest.mark.parametrize("form", FORMS)
def test_redacts_private_keys_in_any_encoding(form: str) -> None:
    left = []
    for what, text in disguised(forms()[form]):
        line = redacted(f"ValueError: {text!r}")
        encoded = base64.b64encode(text.encode()).decode()
        if any(part in line for part in (*body(forms()[form]), encoded[32:64])):
            left.append(what)
        assert redacted(line) == line
    assert left == []


@pytest.mark.parametrize(("text", "secret"), HOSTILE)
def test_redacting_again_changes_nothing(text: str, secret: str) -> None:
    once = redacted(text)
    assert redacted(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "serving http://192.0.2.1:8084/worker-0.iso",
        "serving http://[2001:db8::1]:8084/images/worker-0.initramfs",
        "serving 2 images on 0.0.0.0:8084, published as http://images.example.com/x@y",
        "base image /srv/coreos.iso: iso, 1234567 bytes, digest 0123456789ab",
        "quay.io/metal3-io/agent@sha256:" + "0123456789abcdef" * 4,
        "https://10.96.0.1:443/apis/metal3.io/v1alpha1/namespaces/x@y",
        "metal3/worker-0: interfaces.0.802.1x.private-key-password: must be a string",
        "hosts/worker-0.yaml: password is missing",
        "Secret metal3/net has no key 'nmstate'",
        "IRONIC_AGENT_PULL_SECRET is neither an auth.json nor base64 of one",
        "Cannot read the token file /var/run/secrets/kubernetes.io/serviceaccount/token: gone",
        "the UID in the precondition: 0f8fad5b-d9cb-469f-a165-70867728950e",
        "/var/lib/kubelet/pods/0f8fad5b/volumes/kubernetes.io~secret/Pull-Secret0/..data/x",
        "preprovisioningimages.metal3.io/status of PreprovisioningImages in namespace metal3",
        "/opt/Mic1/lib/python3.11/site-packages/twisted/internet/defer.py",
        "/srv/Images/Machine1/of-hosts/in-the-second-rack/base",
        "a verylongwordwithoutanyspacesinitthatgoesonandon",
        "author: 'Bob', authenticated=true",
    ],
)
def test_keeps_text_that_is_not_secret(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("name", [UUID, HMAC, "worker-0", "abcdefghijklmnopqrstuvwxyz"])
def test_keeps_host_names_in_static_mode(name: str) -> None:
    text = f"serving http://192.0.2.1:8084/{name}.iso"
    assert redacted(text, image_names=False) == text


def test_keeps_the_rest_of_a_line() -> None:
    assert redacted(f"http://u:p@h/{UUID}.iso: Bearer x; auth: {AUTH!r}") == (
        'http://[redacted]@h/[redacted].iso: Bearer [redacted]; auth: "[redacted]"'
    )


@pytest.mark.parametrize(
    "part",
    [
        *("a", "=", "/", "://", "://a:", "://a@", "@", " ", "\\", '"', "'", "-", "ey", "eyJ"),
        *("auth", 'auth"', 'auth="', "auth='\\", "auth=\\'", "password", "token=", "secret: "),
        *("bearer ", "authorization: ", "authorization:bearer ", "A1a", "a1A/", "0f8fad5b-"),
        *("-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "abcdefgh.iso", "\n", "authauth\\"),
    ],
)
def test_takes_linear_time(part: str) -> None:
    """At most 0.5 s of CPU time for 64 KiB."""
    text = part * (64 * 1024 // len(part))
    before = time.process_time()
    redacted(text)
    assert time.process_time() - before < 0.5
