"""A problem is news when it appears or changes, and when it ends."""

from __future__ import annotations

from mic.common.once import Once


def test_text_is_news_once() -> None:
    once = Once()
    assert [once.is_news(text) for text in ("disk", "disk", "net", "net", "disk")] == [
        *(True, False),
        *(True, False),
        True,
    ]
    assert once.get() == "disk"


def test_end_is_news_once() -> None:
    once = Once()
    once.is_news("disk")
    assert [once.is_over(), once.is_over()] == [True, False]
    assert once.is_news("disk")


def test_empty_text_ends_a_problem() -> None:
    once = Once()
    once.is_news("disk")
    assert not once.is_news("")
    assert once.texts() == ()
    assert once.is_news("disk")


def test_subjects_are_independent() -> None:
    once = Once()
    assert once.is_news("bad", "worker-1")
    assert once.is_news("bad", "worker-0")
    once.is_news("worse", "worker-0")
    assert once.texts() == ("worse", "bad")
    assert once.subjects() == {"worker-0", "worker-1"}
    assert once.is_over("worker-0")
    assert once.texts() == ("bad",)
