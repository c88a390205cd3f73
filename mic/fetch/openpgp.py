"""Signatures of releases, verified by ``gpgv`` of GnuPG."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

from mic.common.files import read_regular
from mic.common.text import printable
from mic.fetch.failure import FetchError

MAX_SIGNATURE = 64 * 1024
"""Most bytes of a detached signature; a real one has about 600."""

_MAX_KEYRING = 16 * 1024 * 1024
_SECONDS = 600.0
# Of GnuPG's doc/DETAILS. Anything but GOODSIG is no proof: gpgv takes expired keys, too.
_BAD = {
    "BADSIG": "the signature is not of this file",
    "EXPSIG": "the signature has expired",
    "EXPKEYSIG": "the key of the signature has expired",
    "REVKEYSIG": "the key of the signature was revoked",
    "NO_PUBKEY": "it is signed by a key that is not in the keyring",
    "ERRSIG": "the signature cannot be checked",
    "NODATA": "there is no signature in it",
}


def check_keyring(path: str) -> str:
    """Return the absolute path of a keyring; raise `FetchError` when it cannot be one."""
    try:
        data = read_regular(path, _MAX_KEYRING)
    except OSError as error:
        raise FetchError(f"-gpg-keyring {printable(path)}: {error.strerror or error}") from None
    if not data:
        raise FetchError(f"-gpg-keyring {printable(path)}: it is empty")
    if b"-----BEGIN PGP" in data[:4096]:
        raise FetchError(
            f"-gpg-keyring {printable(path)}: it is armored, and gpgv reads binary keyrings only: "
            "convert it with gpg --dearmor"
        )
    return os.path.abspath(path)


class Verifier:
    """Verifies one signature; `stop` ends it from another thread."""

    def __init__(self, keyring: str) -> None:
        self._keyring = keyring
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def verify(self, path: str, signature: bytes) -> str:
        """Return the key's fingerprint. Blocks while ``gpgv`` reads the file.

        Raises `FetchError` unless a key of the keyring made the signature of this file.
        """
        command = ["gpgv", "--status-fd", "1", "--keyring", self._keyring, "-", path]
        # No keys and options of the user's.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        try:
            with subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as process:
                self._process = process
                if self._stopped:
                    self.stop()
                status, _ = process.communicate(signature, timeout=_SECONDS)
        except FileNotFoundError:
            raise FetchError(
                "-gpg-keyring: gpgv is not installed (package gpgv or gnupg2)"
            ) from None
        except OSError as error:
            raise FetchError(f"gpgv: {error.strerror or error}") from None
        except subprocess.TimeoutExpired:
            raise FetchError(f"gpgv: no result after {_SECONDS:.0f} s") from None
        return fingerprint(status.decode("utf-8", "replace"), process.returncode)

    def stop(self) -> None:
        """End ``gpgv`` if it runs, or when it starts."""
        self._stopped = True
        if self._process is not None:
            with suppress(OSError):
                self._process.kill()


def fingerprint(status: str, returned: int) -> str:
    """Return the fingerprint of the key in the status lines of ``gpgv``, which exited so.

    Raises `FetchError` unless all signatures are good.
    """
    words = [line.split()[1:] for line in status.splitlines() if line.startswith("[GNUPG:] ")]
    names = {each[0] for each in words if each}
    for name, why in _BAD.items():
        # ERRSIG comes with NO_PUBKEY, which says more.
        if name in names:
            raise FetchError(why)
    valid = [each[1] for each in words if len(each) > 1 and each[0] == "VALIDSIG"]
    if returned != 0 or "GOODSIG" not in names or not valid:
        raise FetchError(f"the signature could not be verified: gpgv ended with {returned}")
    return valid[0]
