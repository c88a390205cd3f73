"""The private names of Twisted that mic uses, checked when the package is imported.

Twisted may rename them in any version. Then mic must not start and fail later with the first slow
client: the import fails and names what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Final

from twisted.internet.tcp import Port
from twisted.protocols.basic import LineReceiver
from twisted.web.http import HTTPChannel

import twisted

PRIVATE: Final[Mapping[type, tuple[str, ...]]] = {
    HTTPChannel: (
        "_dataBuffer",
        "_finishRequestBody",
        "_handlingRequest",
        "_networkProducer",
        "_requestProducer",
        "_respondToBadRequestAndDisconnect",
        "_waitingForTransport",
    ),
    LineReceiver: ("_buffer", "_busyReceiving"),
    Port: ("_fromListeningDescriptor",),
}
"""By class: what the class itself, or its methods on ``self``, must know."""


def missing(private: Mapping[type, tuple[str, ...]]) -> Iterator[str]:
    """Yield the names that this version of Twisted does not have, as ``Class._name``."""
    for kind, names in private.items():
        # Some are set on objects only, when those are made or connected.
        used = {
            name
            for each in kind.__mro__
            for member in vars(each).values()
            if isinstance(member, FunctionType)
            for name in member.__code__.co_names
        }
        for name in names:
            if not hasattr(kind, name) and name not in used:
                yield f"{kind.__name__}.{name}"


def check(private: Mapping[type, tuple[str, ...]] = PRIVATE) -> None:
    """Raise `ImportError` with the names that this version of Twisted does not have."""
    names = list(missing(private))
    if names:
        raise ImportError(
            f"mic does not work with Twisted {twisted.__version__}: it has no "
            f"{', '.join(names)}; install the version of mic's constraints"
        )


check()
