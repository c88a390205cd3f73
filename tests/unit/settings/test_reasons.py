"""What messages about unusable values say: the reason, and what to write instead."""

from __future__ import annotations

import base64
import json

import pytest

from mic.common.errors import ConfigError
from mic.ignition import VlanInterfaces
from mic.media.base import Kind
from mic.settings.read import base_of
from mic.settings.values import WithWarning, publish_url, pull_secret, vlan_interfaces

AUTH = json.dumps({"auths": {"quay.io": {"auth": "aHVudGVyMg=="}}}, separators=(",", ":")).encode()
ENCODED = base64.b64encode(AUTH)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://2001:db8::1:8084", "write IPv6 addresses in brackets: http://[2001:db8::1]:8084"),
        ("http://2001:db8::1", "write IPv6 addresses in brackets: http://[2001:db8::1]"),
        ("https://::1:8084/x", "write IPv6 addresses in brackets: https://[::1]:8084/x"),
        ("2001:db8::1:8084", "did you mean http://[2001:db8::1]:8084?"),
        ("http://192.0.2.1:99999", "port 99999 is above 65535"),
        ("http://[::1]:65536", "port 65536 is above 65535"),
        ("http://mic:" + "9" * 5000, "port 99999999999999999999 is above 65535"),
        ("http://mic:http", "its port is not a number"),
        ("192.0.2.1:8084", "did you mean http://192.0.2.1:8084?"),
        ("192.0.2.1", "did you mean http://192.0.2.1?"),
        ("mic.example:8084/images", "did you mean http://mic.example:8084/images?"),
        ("//mic.example", "did you mean http://mic.example?"),
        ("http:/192.0.2.1", "did you mean http://192.0.2.1?"),
        ("https:192.0.2.1", "did you mean https://192.0.2.1?"),
        ("ftp://192.0.2.1", "its scheme is ftp"),
        ("htttp://192.0.2.1", "its scheme is htttp; did you mean http://192.0.2.1?"),
        ("http://", "it has no host"),
        ("http://:8084", "it has no host"),
        ("http://mic .example", "it has white space"),
        ("/images", "it is a path"),
        ("", "it is empty"),
    ],
)
def test_says_what_is_wrong_with_a_url(url: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        publish_url("-addr", url)
    assert str(caught.value) == f"-addr: {url!r} is not an http or https URL: {why}"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://hunter2@mic", "the scheme must be http or https"),
        ("http://u:hunter2@2001:db8::1", "write IPv6 addresses in brackets"),
        ("http://u:hunter2@mic:99999", "its port is above 65535"),
        ("u:hunter2@mic", "http:// or https:// is missing"),
    ],
)
def test_shows_no_part_of_a_url_with_a_password(url: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        publish_url("-addr", url)
    assert str(caught.value).endswith(f"is not an http or https URL: {why}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"/etc/mic/pull-secret", ": it is a path: put the file's content there"),
        (b"~/auth.json", ": it is a path: put the file's content there"),
        (b"auth.json", ": it is a path: put the file's content there"),
        (base64.b64encode(ENCODED), ": it is base64 twice: encode it once"),
        (base64.encodebytes(ENCODED), ": it is base64 twice: encode it once"),
        (AUTH[:40], ": JSON ends at character 40: it is cut off"),
        (AUTH[:-1], f": JSON ends at character {len(AUTH) - 1}: it is cut off"),
        (base64.b64encode(AUTH[:39]), ": JSON ends at character 39: it is cut off"),
        (ENCODED[:37], ": its base64 is cut off, or of the variant for URLs"),
        (b"{\n'auths': {}}", ": its JSON is wrong at line 2 column 1"),
        (b"'" + AUTH + b"'", ": it is in quotes: leave them out"),
        (b"kind: Secret\ndata: {}", ": it is YAML: give the content of .dockerconfigjson"),
        (b"hunter2", ""),
    ],
)
def test_says_what_is_wrong_with_a_pull_secret(text: bytes, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pull_secret("SECRET", text)
    assert str(caught.value) == f"SECRET is neither an auth.json nor base64 of one{why}"
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, ""),
        ({"kind": "Secret", "data": {}}, ": it is a Secret: give the content of .dockerconfigjson"),
        ({".dockerconfigjson": "x"}, ": it is a Secret: give the content of .dockerconfigjson"),
        (
            {"quay.io": {"auth": "aHVudGVyMg=="}},
            ': it is an old .dockercfg: put it into {"auths": ...}',
        ),
        ({"auths": []}, ": 'auths' is not an object"),
    ],
)
def test_says_what_other_json_is(document: object, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pull_secret("SECRET", json.dumps(document).encode())
    assert str(caught.value) == f"SECRET is not an auth.json: it has no object 'auths'{why}"


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("alway", "did you mean always?"),
        ("Nevr", "did you mean never?"),
        ("yes", "write always or never, or leave it empty"),
    ],
)
def test_warns_of_a_word_that_is_taken_for_automatic(word: str, advice: str) -> None:
    assert vlan_interfaces("VLAN", word) == WithWarning(
        value=VlanInterfaces.AUTOMATIC,
        warning=f"VLAN: {word!r} is taken for automatic; {advice}",
    )


@pytest.mark.parametrize("word", ["", "auto", "Automatic"])
def test_accepts_words_for_automatic(word: str) -> None:
    assert vlan_interfaces("VLAN", word) is VlanInterfaces.AUTOMATIC


@pytest.mark.parametrize("kind", list(Kind))
def test_says_that_a_base_cannot_be_a_url(kind: Kind) -> None:
    with pytest.raises(ConfigError) as caught:
        base_of(kind)("BASE", "https://u:hunter2@mirror.example/rhcos.iso")
    assert str(caught.value) == (
        "BASE: https://mirror.example/rhcos.iso is a URL: mic reads local files; mic fetch "
        "downloads one"
    )
