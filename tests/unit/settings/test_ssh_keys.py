"""Scope: which lines of IRONIC_RAMDISK_SSH_KEY are public keys, as sshd reads authorized_keys.

The tables of options were checked against sshd 9.2 by logging in.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from private_keys import FORMS, disguised, forms, public_key

from mic.settings.ssh_keys import PrivateKeyFound, public_keys


def strings(*parts: bytes) -> bytes:
    """RFC 4251 section 5: strings, each behind its length."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def line(kind: str, *fields: bytes, comment: str = "") -> str:
    """A public key with the given fields behind its type."""
    text = f"{kind} {base64.b64encode(strings(kind.encode(), *fields)).decode()}"
    return f"{text} {comment}" if comment else text


ED25519 = line("ssh-ed25519", bytes(32), comment="me@laptop")
RSA = line("ssh-rsa", b"\1\0\1", b"\0" + b"\xc1" * 256)
KEYS = {
    "Ed25519": ED25519,
    "RSA": RSA,
    "RSA under the name of a signature": RSA.replace("ssh-rsa ", "rsa-sha2-512 "),
    "DSA": line("ssh-dss", *[b"\7" * 20] * 4),
    "ECDSA": line("ecdsa-sha2-nistp256", b"nistp256", b"\4" + bytes(64)),
    "ECDSA 521": line("ecdsa-sha2-nistp521", b"nistp521", b"\4" + bytes(132)),
    "FIDO Ed25519": line("sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"),
    "FIDO ECDSA": line(
        "sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\4" + bytes(64), b"ssh:"
    ),
    "a certificate": line("ssh-ed25519-cert-v01@openssh.com", bytes(32), bytes(32)),
    "a certificate under the name of a signature": line(
        "ssh-rsa-cert-v01@openssh.com", bytes(32)
    ).replace("ssh-rsa-cert", "rsa-sha2-256-cert", 1),
    "a type of the future": line("ssh-mldsa65@example.org", bytes(1952), comment="quantum"),
    "a comment with anything": f"{ED25519} - it's \"mine\", = #1 \u00fc\u20ac 'x'",
    "several blanks and tabs": ED25519.replace(" ", " \t ", 1),
    "an option": f"restrict {ED25519}",
    "options": f'no-pty,from="10.0.0.0/8,!10.1.2.3" {ED25519}',
    "an option with blanks": f'command="echo a, b  c" {RSA}',
    "an option with escaped quotes": f'command="echo \\"a b\\" \\\\ ",no-pty {RSA}',
    "an option with a key's type": f'command="ssh-ed25519 AAAA" {RSA}',
    "needless commas": f",restrict,,no-pty, {ED25519}",
    "an authority": f'cert-authority,principals="a b" {ED25519}',
    "an option behind a tab": f"restrict\t{ED25519}",
}

OTHERS = {
    "prose": "Please add my key",
    "a type alone": "ssh-ed25519",
    "a type with a comment": "ssh-ed25519 me@laptop",
    "what is no base64": "ssh-ed25519 !!!!",
    "base64 cut off": RSA[:-3],
    "a key cut off": RSA[:-4],
    "base64 of something else": "ssh-ed25519 aGVsbG8gd29ybGQh",
    "another type inside": ED25519.replace("ssh-ed25519", "ssh-rsa"),
    "a type in capitals": ED25519.replace("ssh-ed25519", "SSH-ED25519"),
    "no type": ED25519.split()[1],
    "more behind the key": line("ssh-ed25519", bytes(32), bytes(64)),
    "a key as ssh-agent gets it": line("ssh-rsa", *[b"\1" * 128] * 6),
    "another curve": line("ecdsa-sha2-nistp256", b"nistp384", b"\4" + bytes(96)),
    "in quotes": f'"{ED25519}"',
    "a quote left open": f'command="x {ED25519}',
    "an option without its quotes": f"command=x {ED25519}",
    "a blank between options": f"no-pty, restrict {ED25519}",
    "protocol 1": "1024 65537 12345678901234567890 me",
    "a known host": f"server.example {ED25519}",
    "a name and a colon": f"key: {ED25519}",
    "a no-break space": ED25519.replace(" ", "\u00a0"),
    "a certificate of X.509": "-----BEGIN CERTIFICATE-----",
    "a path": "/root/.ssh/id_ed25519.pub",
}


# ssh-keygen does not look at options.
SSHD_ALONE_REFUSES = {"a known host", "a name and a colon", "an option without its quotes"}


@pytest.mark.parametrize("text", KEYS.values(), ids=KEYS)
def test_keeps_a_public_key_unchanged(text: str) -> None:
    assert public_keys(text) == ((text,), ())


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_leaves_out_other_lines(text: str) -> None:
    assert public_keys(text) == ((), (1,))
    assert public_keys(f"{ED25519}\n{text}\n{RSA}") == ((ED25519, RSA), (2,))


def test_skips_blank_lines_and_comments() -> None:
    text = f"\n  \n# {ED25519}\n\t#\n{RSA}\n\n"
    assert public_keys(text) == ((RSA,), ())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_break_ends_a_line(end: str) -> None:
    text = end.join([ED25519, "", "# comment", "nonsense", f"  {RSA}  ", ""])
    assert public_keys(text) == ((ED25519, RSA), (4,))


def test_drops_a_byte_order_mark() -> None:
    assert public_keys(f"\ufeff{ED25519}\n") == ((ED25519,), ())


def test_replaces_bytes_that_are_not_utf_8() -> None:
    """A comment in Latin-1 must not keep a key from working; the Go program does the same."""
    assert public_keys(f"{RSA} J\udcfcrgen") == ((f"{RSA} J\ufffdrgen",), ())
    assert public_keys("ssh-rsa \udcff") == ((), (1,))


def test_empty_text_has_no_key() -> None:
    assert public_keys("") == ((), ())


@pytest.mark.parametrize("form", FORMS)
def test_refuses_a_private_key(form: str) -> None:
    missed = []
    for what, text in disguised(forms()[form]):
        try:
            public_keys(text)
        except PrivateKeyFound:
            continue
        missed.append(what)
    assert missed == []


@given(st.text(max_size=200))
def test_accepts_any_text(text: str) -> None:
    keys, left_out = public_keys(text)
    assert len(keys) + len(left_out) <= text.count("\n") + text.count("\r") + 1


@pytest.mark.parametrize(
    "part", ["a", "a,", 'a="', 'a="",', '\\"', '"', 'a="\\"', "ssh-rsa ", "A ", " ", "#\n", "\n"]
)
def test_is_fast_for_any_text(part: str) -> None:
    """In processor time, that others on the machine do not change: 64 KiB at most 0.5 s."""
    text = part * (64 * 1024 // len(part))
    before = time.process_time()
    public_keys(text)
    assert time.process_time() - before < 0.5


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen")
@pytest.mark.parametrize("what", sorted({*KEYS, *OTHERS} - SSHD_ALONE_REFUSES))
def test_keeps_all_lines_that_openssh_accepts(what: str, tmp_path: Path) -> None:
    text = KEYS.get(what) or OTHERS[what]
    path = tmp_path / "authorized_keys"
    path.write_text(f"{text}\n")
    accepted = subprocess.run(["ssh-keygen", "-l", "-f", path], capture_output=True, check=False)
    keys, left_out = public_keys(text)
    assert keys or left_out
    assert bool(keys) or accepted.returncode != 0


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen")
@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_keeps_keys_made_by_ssh_keygen(kind: str, tmp_path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "my key", "-f", tmp_path / "key"],
        check=True,
    )
    text = (tmp_path / "key.pub").read_text()
    assert public_keys(text) == ((text.strip(),), ())
    with pytest.raises(PrivateKeyFound):
        public_keys((tmp_path / "key").read_text())


def test_keeps_a_key_made_by_cryptography() -> None:
    assert public_keys(public_key()) == ((public_key(),), ())
