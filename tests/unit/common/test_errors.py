"""Errors without the frames that they came through."""

from __future__ import annotations

import pytest

from mic.common.errors import ConfigError, MicError, NotReady, without_frames
from mic.common.problems import DocumentInvalid


@pytest.mark.parametrize(
    "error",
    [
        NotReady("later"),
        ConfigError(["one", "two"], can_pass=True),
        DocumentInvalid(("a.b: one", "a.c: two")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_has_the_same_text_and_attributes_but_no_frames(error: MicError) -> None:
    try:
        try:
            raise ValueError
        except ValueError:
            raise error  # noqa: B904 - with a context
    except MicError as caught:
        again = without_frames(caught)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert (again.__traceback__, again.__context__) == (None, None)
