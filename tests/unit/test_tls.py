"""Certificates, keys and cipher lists: what is taken, what is refused, and in which words.

Scope: mic.tls, with the real OpenSSL. Files are real files; encrypted and odd ones are made by the
library that reads most of the world's.
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

from mic.errors import ConfigError
from mic.tls import (
    DEFAULT_CIPHERS,
    Certificate,
    MinVersion,
    Tls,
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
    """What is said of the files of a directory, which cannot be used."""
    (problem,) = problems_of(directory, **more)
    return problem


def problems_of(directory: Path, **more: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_certificate(tls(directory, **more), read_pem(tls(directory)))
    return caught.value.problems


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("version", MinVersion)
def test_a_certificate_for_either_kind_of_key(
    keys: dict[str, Key], tmp_path: Path, kind: str, version: MinVersion
) -> None:
    root = issue(authority=True, name="root")
    middle = issue(by=root, authority=True, name="middle")
    issued = issue(by=middle, key=keys[kind])
    certificate = loaded(issued, tmp_path, min_version=version)
    serials = [issued.certificate.serial_number, middle.certificate.serial_number]
    assert [link.serial for link in certificate.chain] == serials
    text = str(certificate)
    assert text.startswith("CN=localhost with 1 more in its chain, serial number ")
    assert issued.serial in text
    assert f"valid until {certificate.expires:%Y-%m-%d}" in text


def test_one_without_a_subject_is_called_by_its_names(tmp_path: Path) -> None:
    assert str(loaded(issue(name=""), tmp_path)).startswith("localhost, serial number ")


@pytest.mark.parametrize("format", ["TraditionalOpenSSL", "PKCS8"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_key_in_either_format(
    keys: dict[str, Key], tmp_path: Path, kind: str, format: str
) -> None:
    key = keys[kind]
    _, path = issue(key=key).write(tmp_path)
    plain = serialization.NoEncryption()
    how = getattr(serialization.PrivateFormat, format)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, how, plain))
    assert load_certificate(tls(tmp_path), read_pem(tls(tmp_path)))


def test_a_key_behind_its_parameters(keys: dict[str, Key], tmp_path: Path) -> None:
    """As ``openssl ecparam -genkey`` writes it."""
    issued = issue(key=keys["ec"])
    _, path = issued.write(tmp_path)
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    path.write_bytes(parameters + issued.key_pem)
    assert load_certificate(tls(tmp_path), read_pem(tls(tmp_path)))


def test_one_file_with_both(tmp_path: Path) -> None:
    issued = issue()
    both = tmp_path / "both.pem"
    both.write_bytes(issued.chain_pem + issued.key_pem)
    settings = Tls(cert_file=str(both), key_file=str(both))
    assert load_certificate(settings, read_pem(settings))


@pytest.mark.parametrize("format", ["TraditionalOpenSSL", "PKCS8"])
def test_an_encrypted_key_is_refused_with_the_remedy(
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


def test_keys_of_others_are_refused(keys: dict[str, Key], tmp_path: Path) -> None:
    for first, second in (("ec", "rsa"), ("rsa", "ec")):
        cert, key = issue(key=keys[first]).write(tmp_path)
        key.write_bytes(issue(key=keys[second]).key_pem)
        assert refused(tmp_path) == (
            f"-images-tls-key-file: {key} is not the key of the first certificate in {cert}"
        )


def test_a_chain_in_the_wrong_order_is_refused(tmp_path: Path) -> None:
    root = issue(authority=True, name="root")
    issued = issue(by=root)
    cert, _ = issued.write(tmp_path)
    cert.write_bytes(pem(root.certificate) + issued.chain_pem)
    assert "is not the key of the first certificate" in refused(tmp_path)


def test_every_beginning_of_a_certificate_file_is_refused(tmp_path: Path) -> None:
    """Somebody is writing it. What ends between two certificates cannot be told from a whole."""
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


def test_every_beginning_of_a_key_file_is_refused(keys: dict[str, Key], tmp_path: Path) -> None:
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
def test_what_is_no_such_file(
    tmp_path: Path, name: str, make: Callable[[Path], object], reason: str
) -> None:
    issue().write(tmp_path)
    (tmp_path / name).unlink()
    make(tmp_path / name)
    assert reason in refused(tmp_path)


def test_both_files_are_told_of(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_pem(tls(tmp_path))
    assert len(caught.value.problems) == 2


def test_no_key_is_in_a_message_or_a_repr(tmp_path: Path) -> None:
    issued = issue()
    cert, key = issued.write(tmp_path)
    secret = issued.key_pem.decode().splitlines()[1]
    assert secret not in repr(read_pem(tls(tmp_path)))
    assert secret not in repr(load_certificate(tls(tmp_path), read_pem(tls(tmp_path))))
    # The wrong way round.
    cert.rename(tmp_path / "x")
    key.rename(cert)
    (tmp_path / "x").rename(key)
    told = problems_of(tmp_path)
    assert secret not in "".join(told)
    assert [" ".join(each.split("/")[-1].split()[:3]) for each in told] == [
        "cert.pem holds no",
        "key.pem holds no",
    ]


def test_a_key_that_is_too_small_is_refused_by_openssl(tmp_path: Path) -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    issue(key=small).write(tmp_path)
    assert refused(tmp_path).endswith("OpenSSL says: ee key too small")


def test_ciphers_that_do_not_fit_the_key_are_refused(keys: dict[str, Key], tmp_path: Path) -> None:
    issue(key=keys["ec"]).write(tmp_path)
    for ciphers in ("ECDHE-RSA-AES128-GCM-SHA256", "AES128-GCM-SHA256", "PSK+AESGCM"):
        problem = refused(tmp_path, ciphers=ciphers)
        assert "cannot serve TLS 1.2 with the ciphers" in problem
        assert problem.endswith("OpenSSL says: no shared cipher")
    # For RSA keys the first two do.
    issue(key=keys["rsa"]).write(tmp_path)
    pair = read_pem(tls(tmp_path))
    assert load_certificate(tls(tmp_path, ciphers="ECDHE-RSA-AES128-GCM-SHA256"), pair)
    assert load_certificate(tls(tmp_path, ciphers="AES128-GCM-SHA256"), pair)
    assert "no shared cipher" in refused(tmp_path, ciphers="PSK+AESGCM")


def test_a_chain_of_any_length_that_fits_the_file_makes_a_connection(tmp_path: Path) -> None:
    issued = issue()
    cert, _ = issued.write(tmp_path)
    cert.write_bytes(issued.chain_pem + 60 * pem(issue(authority=True, name="x" * 60).certificate))
    assert len(load_certificate(tls(tmp_path), read_pem(tls(tmp_path))).chain) == 61


# Cipher lists


def test_by_default_secrecy_is_forward_and_encryption_authenticated() -> None:
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
def test_cipher_lists(text: str) -> None:
    assert parse_ciphers(text) == text


def test_an_empty_list_is_the_default() -> None:
    assert parse_ciphers("") == DEFAULT_CIPHERS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ECDHE+AESGCM:ECHDE+CHACHA20", "OpenSSL knows no cipher 'ECHDE+CHACHA20'"),
        ("caf\xe9", "OpenSSL knows no cipher"),
        ("TLS_AES_128_GCM_SHA256:ECDHE+AESGCM", "is of TLS 1.3, whose suites are always on"),
        ("ECDHE+AESGCM:!ALL", "leaves no cipher"),
        (" ", "leaves no cipher"),
        ("@SECLEVEL=0", "leaves no cipher"),
        ("ALL", "holds ADH-AES256-GCM-SHA384, which protects nothing"),
        ("ECDHE+AESGCM:aNULL", "holds ADH-AES256-GCM-SHA384, which protects nothing"),
        ("ALL:!aNULL:eNULL:@SECLEVEL=0", "NULL"),
    ],
)
def test_what_is_no_list_or_a_weak_one(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=r"-images-tls-ciphers: ") as caught:
        parse_ciphers(text)
    assert reason in str(caught.value)


# Dates


@pytest.mark.parametrize(
    ("life", "left", "worried"),
    [
        (90 * DAY, 8 * DAY, False),
        (90 * DAY, 7 * DAY, False),
        (90 * DAY, 7 * DAY - timedelta(seconds=1), True),
        # Replaced by usual issuers with a third of its life left.
        (DAY, DAY / 3, False),
        (DAY, DAY / 6, True),
    ],
)
def test_it_is_told_in_time_that_one_expires(
    tmp_path: Path, life: timedelta, left: timedelta, worried: bool
) -> None:
    end = NOW + left
    worry = loaded(issue(start=end - life, life=life), tmp_path).worry(NOW)
    assert bool(worry) is worried
    if worried:
        assert worry == (
            f"the certificate of CN=localhost expires soon, on {end:%Y-%m-%d %H:%M} UTC"
        )


def test_it_is_told_that_one_has_expired(tmp_path: Path) -> None:
    certificate = loaded(issue(start=NOW - 2 * DAY, life=DAY), tmp_path)
    assert certificate.worry(NOW) == (
        "the certificate of CN=localhost has expired on 2026-01-30 00:00 UTC"
    )


def test_it_is_told_that_one_is_not_valid_yet(tmp_path: Path) -> None:
    certificate = loaded(issue(start=NOW + DAY, life=DAY), tmp_path)
    assert "is not valid before 2026-02-01 00:00 UTC: is the clock right?" in certificate.worry(NOW)


def test_those_of_the_chain_count_too(tmp_path: Path) -> None:
    root = issue(authority=True, name="root", start=NOW - DAY, life=999 * DAY)
    middle = issue(by=root, authority=True, name="middle", start=NOW - 98 * DAY, life=99 * DAY)
    certificate = loaded(issue(by=middle, start=NOW - DAY, life=90 * DAY), tmp_path)
    assert certificate.expires == NOW + DAY
    assert "certificate of CN=middle expires soon" in certificate.worry(NOW)


def test_the_curve_of_a_key_is_the_certificates(tmp_path: Path) -> None:
    certificate = loaded(issue(key=ec.generate_private_key(ec.SECP384R1())), tmp_path)
    assert certificate.worry(datetime.now(UTC)) == ""
