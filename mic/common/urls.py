"""URLs without credentials, safe to show."""

from __future__ import annotations

import re

# Up to the last @: an unescaped password may contain any character except white space. Hide too
# much rather than too little, but not the next URL of a list.
_USER_INFORMATION = re.compile(r"(?<=://)(?:(?!,\s*\w+://)\S)*@")


def without_credentials(text: str, *, replacement: str = "") -> str:
    """Return ``text`` with the user information of each URL in it replaced (RFC 3986, 3.2.1).

    ``text`` is a URL, several URLs separated by commas, or prose with URLs. Hosts and ports stay
    unchanged.
    """
    return _USER_INFORMATION.sub(replacement, text)
