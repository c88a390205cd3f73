"""Scope: which texts contain a private key, what is removed, and how long that takes."""

from __future__ import annotations

import base64
import gzip
import time

import pytest
from certificates import issue
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from private_keys import BARE, FORMS, body, disguised, forms, public_key

from mic.common.private_keys import holds_private_key, without_private_keys

MASK = "***"


@pytest.mark.parametrize("form", FORMS)
def test_finds_a_private_key_in_any_disguise(form: str) -> None:
    missed = [what for what, text in disguised(forms()[form]) if not holds_private_key(text)]
    assert missed == []


@pytest.mark.parametrize("form", FORMS)
def test_removes_a_private_key_in_any_disguise(form: str) -> None:
    secret = body(forms()[form])
    left = []
    for what, text in disguised(forms()[form]):
        clean = without_private_keys(text, MASK)
        encoded = base64.b64encode(text.encode()).decode()
        if any(line in clean for line in secret) or encoded[32:64] in clean:
            left.append(what)
        assert MASK in clean
    assert left == []


@pytest.mark.parametrize("form", BARE)
def test_recognises_base64_without_the_lines_around_it(form: str) -> None:
    lines = body(forms()[form])
    for text in ("\n".join(lines), "".join(lines), lines[0], f"key: {lines[0]}\\n{lines[-1]}"):
        assert holds_private_key(text)
        clean = without_private_keys(text, MASK)
        assert not any(line in clean for line in lines)


@pytest.mark.parametrize("form", FORMS)
def test_keeps_text_around_a_key(form: str) -> None:
    text = f"before it: yes\n{forms()[form]}\nafter it: yes\n"
    clean = without_private_keys(text, MASK)
    assert clean.startswith("before it: yes\n")
    assert clean.endswith("after it: yes\n")


@pytest.mark.parametrize("form", FORMS)
def test_removal_is_idempotent(form: str) -> None:
    for _, text in disguised(forms()[form]):
        once = without_private_keys(text, MASK)
        assert without_private_keys(once, MASK) == once


@pytest.mark.parametrize("form", [form for form in FORMS if "PuTTY" not in form])
def test_lines_around_a_key_are_a_sign_of_one(form: str) -> None:
    first, last = forms()[form].splitlines()[0], forms()[form].splitlines()[-1]
    assert holds_private_key(first)
    assert holds_private_key(last)


@pytest.mark.parametrize("form", [form for form in FORMS if "PuTTY" not in form])
def test_removes_a_key_without_its_first_line(form: str) -> None:
    lines = forms()[form].splitlines()
    text = "\n".join(["port: 22", *lines[2:]])
    clean = without_private_keys(text, MASK)
    assert clean.startswith("port:")
    assert not any(line in clean for line in body(text))


def test_removes_an_encrypted_key_without_its_frame() -> None:
    text = "\n".join(forms()["PEM encrypted"].splitlines()[1:-1])
    assert holds_private_key(text)
    clean = without_private_keys(text, MASK)
    assert not any(line in clean for line in body(text))


def test_removes_several_keys() -> None:
    text = "\n".join(forms()[form] for form in FORMS)
    clean = without_private_keys(text, MASK)
    assert not any(line in clean for form in FORMS for line in body(forms()[form]))


def test_removes_a_key_in_compressed_base64() -> None:
    data = base64.b64encode(gzip.compress(forms()["EC"].encode())).decode()
    assert holds_private_key(f"data:;base64,{data}")
    assert without_private_keys(f"data:;base64,{data}", MASK) == f"data:;base64,{MASK}"


def test_keeps_compressed_data_without_a_key() -> None:
    for data in (gzip.compress(b"hello" * 100), b"\x1f\x8b\x08" + bytes(60)):
        text = base64.b64encode(data).decode()
        assert without_private_keys(text, MASK) == text


def test_removes_a_key_in_a_kubeconfig() -> None:
    data = base64.b64encode(forms()["PKCS#1"].encode()).decode()
    text = f"- user:\n    client-key-data: {data}\n    name: admin\n"
    assert without_private_keys(text, MASK) == (
        f"- user:\n    client-key-data: {MASK}\n    name: admin\n"
    )


def test_removes_a_json_web_key() -> None:
    text = '{"kty":"EC","crv":"P-521","x":"AAAAbbbb","d": "c2VjcmV0LWtleS1pbi1hLWp3aw"}'
    assert holds_private_key(text)
    assert without_private_keys(text, MASK) == (
        '{"kty":"EC","crv":"P-521","x":"AAAAbbbb","d": "***"}'
    )


def test_removes_a_key_store() -> None:
    """PKCS #12, the format of browsers and Java, in base64."""
    made = issue()
    for encryption in (serialization.NoEncryption(), serialization.BestAvailableEncryption(b"x")):
        store = pkcs12.serialize_key_and_certificates(
            b"mic", made.key, made.certificate, None, encryption
        )
        text = base64.encodebytes(store).decode()
        assert holds_private_key(text)
        assert without_private_keys(text, MASK).strip() == MASK


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQVYBF\n-----END PGP PRIVATE KEY BLOCK-----",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----***-----END PGP PRIVATE KEY BLOCK-----",
        ),
        ("-----BEGIN TSS2 PRIVATE KEY-----\nMIHuB", "-----BEGIN TSS2 PRIVATE KEY-----***"),
        (
            "# public key: age1qx\nAGE-SECRET-KEY-1QYQSZQGPQYQSZQGPQYQSZQGPQYQ\n",
            "# public key: age1qx\n***\n",
        ),
    ],
)
def test_removes_keys_of_other_programs(text: str, clean: str) -> None:
    assert holds_private_key(text)
    assert without_private_keys(text, MASK) == clean


def test_keeps_certificates_and_public_keys() -> None:
    issuer = issue(name="CA of a PRIVATE KEY vendor", authority=True)
    texts = [
        issuer.chain_pem.decode() + issue(name="Another", authority=True).chain_pem.decode(),
        base64.b64encode(issuer.chain_pem).decode(),
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQ\n-----END PUBLIC KEY-----",
        "---- BEGIN SSH2 PUBLIC KEY ----\nAAAAB3NzaC1yc2E=\n---- END SSH2 PUBLIC KEY ----",
        public_key(),
        public_key("the one that goes with my private key"),
        "# the private key is elsewhere\n[[registry]]\nlocation = 'x'\n",
        "MIC_URL_KEY_FILE MIIS",
        "",
    ]
    for text in texts:
        assert not holds_private_key(text)
        assert without_private_keys(text, MASK) == text


@pytest.mark.parametrize(
    "part",
    [
        *("BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "PRIVATE KEY "),
        *("BEGIN A ", "A" * 64 + "\n", "MIIE", "MIIEowIBAAKC ", "H4sI", "H4sIAAAAAAAA ", "UFJJ "),
        *("b3BlbnNzaC1rZXktdjEA", "b3BlbnNzaC1rZXktdjEA\n", "b\n", "Private-Lines: 1 ", "\\n"),
        *('"kty" "d":"', '"kty","d":"AAAAAAAAAAAAAAAAAAAA",', " ", "=", "DEK-Info: "),
    ],
)
def test_is_fast_for_any_text(part: str) -> None:
    """64 KiB in at most 0.5 s of processor time, which other processes do not affect."""
    text = part * (64 * 1024 // len(part))
    before = time.process_time()
    without_private_keys(text, MASK)
    holds_private_key(text)
    assert time.process_time() - before < 0.5
