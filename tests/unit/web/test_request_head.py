"""Heads of requests: whatever bytes come, a part of a head is understood or refused.

Which are refused is shown over real connections, in tests/functional/test_request_heads.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mic.web.request_head import (
    HTTP_1_0,
    HTTP_1_1,
    MAX_BODY,
    REASONS,
    Refusal,
    body_length,
    check_host,
    field,
    path_of,
    request_line,
)

VALUES = st.lists(st.binary(max_size=40) | st.sampled_from([b"chunked", b"5", b"mic:80"]))
VERSIONS = st.sampled_from([HTTP_1_0, HTTP_1_1])


def tried(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call gives; None if it refuses."""
    try:
        return call(*arguments)
    except Refusal as refusal:
        # Every status has a phrase, and every text goes out as it is.
        _ = REASONS[refusal.status], str(refusal).encode("ascii")
        return None


@given(st.binary(max_size=60), VERSIONS, VALUES, VALUES)
def test_no_bytes_lead_to_another_error(
    data: bytes, version: bytes, values: list[bytes], more: list[bytes]
) -> None:
    line = tried(request_line, data)
    assert line is None or b" ".join(line)[:-1] == data[:-1]
    found = tried(field, data)
    assert found is None or data.startswith(found[0] + b":")
    tried(check_host, version, values)
    length = tried(body_length, version, values, more)
    assert length is None or 0 <= length <= MAX_BODY
    path = path_of(data)
    assert path is None or path == b"/" or data.endswith(path)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a/b", b"/a/b"),
        (b"//a", b"//a"),
        (b"http://host/a/b", b"/a/b"),
        (b"HTTP://user@[::1]:80/", b"/"),
        (b"http://host", b"/"),
        (b"x+y-1.z://host/a", b"/a"),
        (b"1x://host/a", None),
        (b"http:///a", None),
        (b"http:/a", None),
        (b"a/b", None),
        (b"*", None),
        (b"", None),
    ],
)
def test_the_path_of_a_target(target: bytes, path: bytes | None) -> None:
    assert path_of(target) == path
