"""Reports about objects, of problems and of what took effect: in the log and as Events.

Each text is reported once per change. A failure that the status had before mic was started is
logged once by each process, and is no new Event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from twisted.logger import Logger

from mic.common.once import Once
from mic.common.text import printable
from mic.kube.decide import ERROR, IMAGE_BUILD_FAILED, IMAGE_BUILD_INVALID, READY
from mic.kube.events import Event, ObjectReference
from mic.kube.objects import Condition, Key, PreprovisioningImage, Status
from mic.kube.warnings import one_text

MAX_NAMED = 3
"""How many objects with warnings a health warning names."""

MAX_LOGGED = 2000
"""Maximum characters of an object's failure or warnings in a log line."""

MAX_WORD = 300
"""Maximum characters of an object's warnings in a health warning."""

Record = Callable[[Event], None]


class Reports:
    """The failures and warnings of objects that are current, and their reports."""

    def __init__(self, record: Record) -> None:
        self._log = Logger(namespace=__name__)
        self._record = record
        self._failures = Once()
        self._warnings = Once()

    def failed(self, image: PreprovisioningImage, error: Condition) -> None:
        """Report an object's new ``error``; ``image`` is the object before it."""
        self._warnings.is_over(str(image.key))
        if not self._failures.is_news(error.message, str(image.key)):
            return
        self._log.warn("{key}: {error}", key=image.key, error=_bounded(error.message, MAX_LOGGED))
        before = image.status.condition(ERROR)
        if before is None or (before.status, before.message) != (error.status, error.message):
            reason = IMAGE_BUILD_FAILED if error.reason == IMAGE_BUILD_INVALID else error.reason
            self._event(image, reason, error.message, warning=True)

    def ready(
        self,
        image: PreprovisioningImage,
        status: Status,
        *,
        warnings: tuple[str, ...],
        changes: str = "",
        script_url: str = "",
        replaces: bool,
        same: bool,
    ) -> None:
        """Report an image that ``status`` names now.

        ``replaces`` says that mic serves another image of the object, ``same`` that the status of
        ``image`` names this one. ``script_url`` is a capability, as the status itself has one.
        """
        key = image.key
        if self._failures.is_over(str(key)):
            if changes:
                self._log.info("{key}: fixed: {changes}", key=key, changes=printable(changes))
            else:
                self._log.info("{key}: fixed; {kind} image ready", key=key, kind=status.format)
            self._event(image, "ImageReady", f"The {status.format} image is ready", warning=False)
        elif same:
            self._log.debug("{key}: the same image serves the new configuration", key=key)
        elif replaces and changes:
            self._log.info("{key}: rebuilt: {changes}", key=key, changes=printable(changes))
        elif replaces:
            self._log.info("{key}: rebuilt; {kind} image ready", key=key, kind=status.format)
        else:
            self._log.info("{key}: {kind} image ready", key=key, kind=status.format)
        if script_url and not same:
            self._event(image, "NetworkBootScript", f"iPXE script: {script_url}", warning=False)
        self._warn(image, status, warnings)

    def warned(self, key: Key, warnings: tuple[str, ...]) -> None:
        """Record the warnings of an object that another replica reports; empty for none."""
        self._warnings.is_news(one_text(warnings), str(key))

    def forget(self, key: Key) -> None:
        """Drop an object: it is deleted or no longer concerns mic."""
        self._failures.is_over(str(key))
        self._warnings.is_over(str(key))

    def health_warnings(self) -> list[str]:
        """Return in a sentence which objects have warnings."""
        count = len(self._warnings)
        if not count:
            return []
        first = "; ".join(
            f"{key}: {_bounded(text, MAX_WORD)}" for key, text in self._warnings.first(MAX_NAMED)
        )
        more = f"; and {count - MAX_NAMED} more" if count > MAX_NAMED else ""
        objects = (
            "1 PreprovisioningImage has" if count == 1 else f"{count} PreprovisioningImages have"
        )
        return [f"{objects} warnings: {first}{more}"]

    def _warn(self, image: PreprovisioningImage, status: Status, warnings: tuple[str, ...]) -> None:
        text = one_text(warnings)
        if not text:
            if self._warnings.is_over(str(image.key)):
                self._log.info("{key}: no warnings any longer", key=image.key)
            return
        if not self._warnings.is_news(text, str(image.key)):
            return
        self._log.warn(
            "{key}: {warning}", key=image.key, warning=_bounded(text.partition(": ")[2], MAX_LOGGED)
        )
        before, now = image.status.condition(READY), status.condition(READY)
        if before is None or now is None or before.message != now.message:
            self._event(image, "ImageHasWarnings", text, warning=True)

    def _event(
        self, image: PreprovisioningImage, reason: str, message: str, *, warning: bool
    ) -> None:
        subject = ObjectReference(namespace=image.key.namespace, name=image.key.name, uid=image.uid)
        # A digest: an error may be long, and the recorder remembers what an Event is about.
        about = hashlib.sha256(message.encode(errors="replace")).hexdigest()[:16]
        self._record(
            Event(subject=subject, reason=reason, message=message, about=about, warning=warning)
        )


def _bounded(text: str, most: int) -> str:
    return printable(text if len(text) <= most else text[: most - 1] + "…")
