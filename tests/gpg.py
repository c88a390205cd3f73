"""Keys and signatures of GnuPG, made for a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_ALONE = ("--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A key; its agent's socket needs a short path."""

    home: Path
    name: str

    def gpg(self, *arguments: str, given: bytes = b"") -> bytes:
        environment = {"PATH": os.environ["PATH"], "GNUPGHOME": str(self.home)}
        done = subprocess.run(
            ["gpg", *_ALONE, *arguments],
            input=given,
            env=environment,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def sign(self, data: bytes) -> bytes:
        return self.gpg("--default-key", self.name, "--detach-sign", given=data)

    def keyring(self, path: Path, *, armored: bool = False) -> str:
        path.write_bytes(self.gpg(*(["--armor"] if armored else []), "--export", self.name))
        return str(path)

    @property
    def fingerprint(self) -> str:
        lines = self.gpg("--with-colons", "--list-keys", self.name).decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))


@contextmanager
def signers(*names: str, expires: str = "never") -> Iterator[list[Signer]]:
    """Make a key for each name; skip without GnuPG."""
    for program in ("gpg", "gpgv"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} here")
    with tempfile.TemporaryDirectory(prefix="gpg-", dir="/tmp") as directory:
        home = Path(directory)
        made = [Signer(home=home, name=f"{name} <{name}@example.com>") for name in names]
        for signer in made:
            signer.gpg("--quick-gen-key", signer.name, "ed25519", "sign", expires)
        try:
            yield made
        finally:
            stop = ["gpgconf", "--homedir", directory, "--kill", "all"]
            subprocess.run(stop, capture_output=True, check=False)
