"""Health combines its parts, in their order."""

from __future__ import annotations

from mic.common.health import Health


def test_combines_the_parts_in_order() -> None:
    base = Health(not_ready=("no ISO",), warnings=("old kernel",))
    loop = Health(fatal=("a loop stopped",), warnings=("slow disk",))
    assert Health.of([base, Health(), loop]) == Health(
        fatal=("a loop stopped",), not_ready=("no ISO",), warnings=("old kernel", "slow disk")
    )


def test_warnings_do_not_affect_readiness() -> None:
    assert Health(warnings=("one host has no image",)).ready
    assert not Health(not_ready=("no ISO",)).ready
