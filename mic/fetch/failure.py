"""Why a download ends, or pauses. Pure."""

from __future__ import annotations

from mic.common.errors import MicError


class FetchError(MicError):
    """The file cannot be downloaded or is not what it should be; a retry will not change that."""


class Retryable(MicError):
    """The attempt failed, and the next one may succeed.

    ``afresh``: from the first byte, because what was received cannot be continued.
    ``retry_after`` is the server's Retry-After in seconds, or None.
    """

    def __init__(
        self, reason: str, *, afresh: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.afresh = afresh
        self.retry_after = retry_after
