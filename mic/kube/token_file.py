"""A bearer token in a file that is renewed in place, as kubelet does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger

from mic.common.errors import ConfigError
from mic.common.once import Once
from mic.kube.api_server import is_header_value

TOKEN_SECONDS = 60.0
"""Maximum age of a token read from a file: kubelet renews it in place. client-go has the same."""


class TokenFile:
    """The token of a file, read again when it is a minute old.

    ``now`` is a clock in seconds. Raises `OSError` and `ConfigError` when there is no token now. A
    later failure is logged: the last token may still be valid, and the API server rejects it
    otherwise.
    """

    _log = Logger()

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._complaint = Once()
        self._authorization = self._read()
        self._read_at = now()

    def authorization(self) -> str:
        """Return the value of the header of that name (RFC 6750 section 2.1)."""
        if self._now() - self._read_at >= TOKEN_SECONDS:
            try:
                self._authorization = self._read()
            except (OSError, ConfigError) as error:
                why = (error.strerror if isinstance(error, OSError) else "") or "it holds no token"
                if self._complaint.is_news(why):
                    self._log.warn(
                        "Cannot read the token file {path}: {why}", path=self._path, why=why
                    )
            else:
                self._read_at = self._now()
                self._complaint.is_over()
        return self._authorization

    def _read(self) -> str:
        try:
            token = self._path.read_text().strip()
        except UnicodeDecodeError:
            raise ConfigError([f"the token file {self._path} is not text"]) from None
        if not token:
            raise ConfigError([f"the token file {self._path} is empty"])
        if not is_header_value(token):
            why = "has a character that no header may have"
            raise ConfigError([f"the token file {self._path} {why}"])
        return f"Bearer {token}"
