"""Certificates, keys and cipher lists: which are accepted, which are refused and why.

Scope: mic.tls.certificate, with the real OpenSSL and real files; the cryptography library makes
the encrypted and unusual ones.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certificates import Issued, Key, ec_key, issue, pem, rsa_key
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from mic.common.errors import ConfigError
from mic.tls.certificate import (
    DEFAULT_CIPHERS,
    Certificate,
    Tls,
    TlsVersion,
    load_certificate,
    parse_ciphers,
    read_pem,
)

NOW = datetime(2026, 1, 31, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def keys() -> dict[str, Key]:
    return {"ec": ec_key(), "rsa": rsa_key()}


def tls(directory: Path, **more: object) -> Tls:
    cert, key = str(directory / "cert.pem"), str(directory / "key.pem")
    return Tls(cert_file=cert, key_file=key, **more)  # type: ignore[arg-type]


def loaded(issued: Issued, directory: Path, **more: object) -> Certificate:
    issued.write(directory)
    return load_certificate(tls(directory, **more), read_pem(tls(directory)))


def refused(directory: Path, **more: object) -> str:
    """Return the only problem of the files of a directory."""
    (problem,) = problems_of(directory, **more)
    return problem


def problems_of(directory: Path, **more: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_certificate(tls(directory, **more), read_pem(tls(directory)))
    return caught.value.problems


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("version", TlsVersion)
def test_accepts_ec_and_rsa_keys(
    keys: dict[str, Key], tmp_path: Path, kind: str, version: TlsVersion
) -> None:
    root = issue(authority=True, name="root")
    middle = issue(by=root, authority=True, name="middle")
    issued = issue(by=middle, key=keys[kind])
    certificate = loaded(issued, tmp_path, min_version=version)
    serials = [issued.certificate.serial_number, middle.certificate.serial_number]
    assert [entry.serial for entry in certificate.chain] == serials
    text = str(certificate)
    assert text.startswith("CN=localhost with 1 more in its chain, serial number ")
    assert issued.serial in text
    assert f"valid until {certificate.expires:%Y-%m-%d}" in text


def test_names_a_certificate_without_subject_by_its_dns_names(tmp_path: Path) -> None:
    assert str(loaded(issue(name=""), tmp_path)).startswith("localhost, serial number ")


@pytest.mark.parametrize("format", ["TraditionalOpenSSL", "PKCS8"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_accepts_pkcs1_sec1_and_pkcs8_keys(
    keys: dict[str, Key], tmp_path: Path, kind: str, format: str
) -> None:
    key = keys[kind]
    _, path = issue(key=key).write(tmp_path)
    plain = serialization.NoEncryption()
    how = getattr(serialization.PrivateFormat, format)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, how, plain))
    assert load_certificate(tls(tmp_path), read_pem(tls(tmp_path)))


def test_accepts_an_ec_key_after_its_parameters(keys: dict[str, Key], tmp_path: Path) -> None:
    """As ``openssl ecparam -genkey`` writes it."""
    issued = issue(key=keys["ec"])
    _, path = issued.write(tmp_path)
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    path.write_bytes(parameters + issued.key_pem)
    assert load_certificate(tls(tmp_path), read_pem(tls(tmp_path)))


def test_accepts_one_file_with_certificate_and_key(tmp_path: Path) -> None:
    issued = issue()
    both = tmp_path / "both.pem"
    both.write_bytes(issued.chain_pem + issued.key_pem)
    settings = Tls(cert_file=str(both), key_file=str(both))
    assert load_certificate(settings, read_pem(settings))


@pytest.mark.parametrize("format", ["TraditionalOpenSSL", "PKCS8"])
def test_refuses_an_encrypted_key_and_names_the_fix(
    keys: dict[str, Key], tmp_path: Path, format: str
) -> None:
    key = keys["rsa"]
    _, path = issue(key=key).write(tmp_path)
    secret = serialization.BestAvailableEncryption(b"secret")
    how = getattr(serialization.PrivateFormat, format)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, how, secret))
    problem = refused(tmp_path)
    assert problem.startswith(f"-images-tls-key-file: {path} is encrypted")
    assert "openssl pkey" in problem


def test_refuses_a_key_of_another_certificate(keys: dict[str, Key], tmp_path: Path) -> None:
    for first, second in (("ec", "rsa"), ("rsa", "ec")):
        cert, key = issue(key=keys[first]).write(tmp_path)
        key.write_bytes(issue(key=keys[second]).key_pem)
        assert refused(tmp_path) == (
            f"-images-tls-key-file: {key} is not the key of the first certificate in {cert}"
        )


def test_refuses_a_chain_in_the_wrong_order(tmp_path: Path) -> None:
    root = issue(authority=True, name="root")
    issued = issue(by=root)
    cert, _ = issued.write(tmp_path)
    cert.write_bytes(pem(root.certificate) + issued.chain_pem)
    assert "is not the key of the first certificate" in refused(tmp_path)


def test_refuses_every_prefix_of_a_certificate_file(tmp_path: Path) -> None:
    """The file is being written. A prefix that ends between certificates looks complete."""
    middle = issue(by=issue(authority=True, name="root"), authority=True, name="middle")
    issued = issue(by=middle)
    cert, _ = issued.write(tmp_path)
    whole = issued.chain_pem
    first = len(pem(issued.certificate))
    for length in range(len(whole)):
        if first - 1 <= length <= first + len(b"-----BEGIN CERTIFICATE----") or length >= (
            len(whole) - 1
        ):
            continue
        cert.write_bytes(whole[:length])
        assert refused(tmp_path).endswith("holds no whole PEM certificates"), length


def test_refuses_every_prefix_of_a_key_file(keys: dict[str, Key], tmp_path: Path) -> None:
    issued = issue(key=keys["ec"])
    _, key = issued.write(tmp_path)
    for length in range(len(issued.key_pem) - 1):
        key.write_bytes(issued.key_pem[:length])
        assert refused(tmp_path) == f"-images-tls-key-file: {key} holds no PEM private key"


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("cert.pem", Path.mkdir, "it is not a regular file"),
        ("key.pem", lambda path: path.symlink_to("/dev/zero"), "it is not a regular file"),
        ("key.pem", lambda path: path.write_bytes(bytes(2_000_000)), "has more than 1048576 bytes"),
        ("cert.pem", lambda _: None, "No such file or directory"),
    ],
)
def test_refuses_unreadable_files(
    tmp_path: Path, name: str, make: Callable[[Path], object], reason: str
) -> None:
    issue().write(tmp_path)
    (tmp_path / name).unlink()
    make(tmp_path / name)
    assert reason in refused(tmp_path)


def test_reports_the_problems_of_both_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_pem(tls(tmp_path))
    assert len(caught.value.problems) == 2


def test_shows_no_key_in_messages_and_reprs(tmp_path: Path) -> None:
    issued = issue()
    cert, key = issued.write(tmp_path)
    secret = issued.key_pem.decode().splitlines()[1]
    assert secret not in repr(read_pem(tls(tmp_path)))
    assert secret not in repr(load_certificate(tls(tmp_path), read_pem(tls(tmp_path))))
    # Swapped files.
    cert.rename(tmp_path / "x")
    key.rename(cert)
    (tmp_path / "x").rename(key)
    problems = problems_of(tmp_path)
    assert secret not in "".join(problems)
    assert [" ".join(each.split("/")[-1].split()[:3]) for each in problems] == [
        "cert.pem holds no",
        "key.pem holds no",
    ]


def test_refuses_a_key_that_openssl_finds_too_small(tmp_path: Path) -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    issue(key=small).write(tmp_path)
    assert refused(tmp_path).endswith("OpenSSL says: ee key too small")


def test_refuses_ciphers_that_do_not_fit_the_key(keys: dict[str, Key], tmp_path: Path) -> None:
    issue(key=keys["ec"]).write(tmp_path)
    for ciphers in ("ECDHE-RSA-AES128-GCM-SHA256", "AES128-GCM-SHA256", "PSK+AESGCM"):
        problem = refused(tmp_path, ciphers=ciphers)
        assert "cannot serve TLS 1.2 with the ciphers" in problem
        assert problem.endswith("OpenSSL says: no shared cipher")
    # The first two fit RSA keys.
    issue(key=keys["rsa"]).write(tmp_path)
    pair = read_pem(tls(tmp_path))
    assert load_certificate(tls(tmp_path, ciphers="ECDHE-RSA-AES128-GCM-SHA256"), pair)
    assert load_certificate(tls(tmp_path, ciphers="AES128-GCM-SHA256"), pair)
    assert "no shared cipher" in refused(tmp_path, ciphers="PSK+AESGCM")


def test_accepts_a_chain_as_long_as_the_file_may_be(tmp_path: Path) -> None:
    issued = issue()
    cert, _ = issued.write(tmp_path)
    cert.write_bytes(issued.chain_pem + 60 * pem(issue(authority=True, name="x" * 60).certificate))
    assert len(load_certificate(tls(tmp_path), read_pem(tls(tmp_path))).chain) == 61


# Cipher lists


def test_default_ciphers_have_forward_secrecy_and_authenticated_encryption() -> None:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(DEFAULT_CIPHERS.encode())
    suites = [
        name for name in SSL.Connection(context).get_cipher_list() if not name.startswith("TLS_")
    ]
    assert len(suites) == 6
    for name in suites:
        assert name.startswith("ECDHE-")
        assert "GCM" in name or "CHACHA20-POLY1305" in name


@pytest.mark.parametrize(
    "text",
    [
        *["ECDHE+AESGCM", "AES256-SHA256", "ECDHE-RSA-AES128-GCM-SHA256,AES128-GCM-SHA256"],
        *["HIGH:!aNULL:!MD5:!RC4:!3DES", "DEFAULT@SECLEVEL=1", "ECDHE+AESGCM:+AES256:@STRENGTH"],
    ],
)
def test_accepts_cipher_lists(text: str) -> None:
    assert parse_ciphers(text) == text


def test_falls_back_to_the_default_ciphers() -> None:
    assert parse_ciphers("") == DEFAULT_CIPHERS


@pytest.mark.parametrize(
    "text",
    [
        *["ECDHE+AESGCM:!ALL", " ", "@SECLEVEL=0", "ECHDE+CHACHA20", "caf\xe9"],
        "TLS_AES_128_GCM_SHA256",
    ],
)
def test_refuses_a_list_without_a_cipher_for_tls_1_2(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_ciphers(text)
    assert caught.value.problems == [f"-images-tls-ciphers: {text!r} leaves no cipher"]


@pytest.mark.parametrize("ciphers", ["aNULL:@SECLEVEL=0", "eNULL:@SECLEVEL=0"])
def test_refuses_ciphers_that_neither_authenticate_nor_encrypt(
    keys: dict[str, Key], tmp_path: Path, ciphers: str
) -> None:
    issue(key=keys["rsa"]).write(tmp_path)
    assert "cannot serve TLS 1.2 with the ciphers" in refused(tmp_path, ciphers=ciphers)


# Dates


@pytest.mark.parametrize(
    ("life", "left", "warned"),
    [
        (90 * DAY, 8 * DAY, False),
        (90 * DAY, 7 * DAY, False),
        (90 * DAY, 7 * DAY - timedelta(seconds=1), True),
        # Issuers usually renew these with a third of their lifetime left.
        (DAY, DAY / 3, False),
        (DAY, DAY / 6, True),
    ],
)
def test_warns_before_expiry(
    tmp_path: Path, life: timedelta, left: timedelta, warned: bool
) -> None:
    end = NOW + left
    warning = loaded(issue(start=end - life, life=life), tmp_path).validity_warning(NOW)
    assert bool(warning) is warned
    if warned:
        assert warning == (
            f"the certificate of CN=localhost expires soon, on {end:%Y-%m-%d %H:%M} UTC"
        )


def test_warns_of_an_expired_certificate(tmp_path: Path) -> None:
    certificate = loaded(issue(start=NOW - 2 * DAY, life=DAY), tmp_path)
    assert certificate.validity_warning(NOW) == (
        "the certificate of CN=localhost has expired on 2026-01-30 00:00 UTC"
    )


def test_warns_of_a_certificate_that_is_not_valid_yet(tmp_path: Path) -> None:
    certificate = loaded(issue(start=NOW + DAY, life=DAY), tmp_path)
    assert (
        "is not valid before 2026-02-01 00:00 UTC: is the clock right?"
        in certificate.validity_warning(NOW)
    )


def test_checks_the_dates_of_the_whole_chain(tmp_path: Path) -> None:
    root = issue(authority=True, name="root", start=NOW - DAY, life=999 * DAY)
    middle = issue(by=root, authority=True, name="middle", start=NOW - 98 * DAY, life=99 * DAY)
    certificate = loaded(issue(by=middle, start=NOW - DAY, life=90 * DAY), tmp_path)
    assert certificate.expires == NOW + DAY
    assert "certificate of CN=middle expires soon" in certificate.validity_warning(NOW)


def test_accepts_other_curves(tmp_path: Path) -> None:
    certificate = loaded(issue(key=ec.generate_private_key(ec.SECP384R1())), tmp_path)
    assert certificate.validity_warning(datetime.now(UTC)) == ""
