"""Scope: a short soak: slow readers, images that change, a failing API server, and mic stays flat.

The same as ``bench/soak.py``, but smaller and for a minute and a half. What is asserted does not
depend on the machine's speed: every byte, no refusal of what is there, objects that become what
they describe, and memory, descriptors, threads and objects that do not grow.
"""

from __future__ import annotations

from pathlib import Path

import pytest_twisted
from kubeserver import KubeServer
from soak import Bounds, Plan, Soak, judge

PLAN = Plan(
    duration=90,
    warm_up=15,
    readers=60,
    rate=50 * 1024,
    hosts=12,
    rootfs=1024 * 1024,
    sample_every=1.0,
    fault_every=9,
    fault_lasts=3,
    base_every=12,
    pull_secret_every=17,
    rest=5,
)


@pytest_twisted.ensureDeferred
async def test_nothing_grows_and_no_byte_is_wrong(kube: KubeServer, tmp_path: Path) -> None:
    report = await Soak(kube, tmp_path, PLAN).run()
    for row in judge(report, PLAN, Bounds()):
        print(*row)
    print(report.outcomes.counts, report.done, report.grown.most_common(8))
    assert report.problems == [], "\n".join(report.problems)
    assert report.outcomes.bytes > 0
    assert report.outcomes.counts["whole images"] > 0
    assert report.outcomes.counts["ranges"] > 0
