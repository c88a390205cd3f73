"""What parsed objects share of their texts, and that it does not grow.

Scope: mic.kube.objects.
"""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

from kube_samples import image_body

from mic.kube.objects import PreprovisioningImage, image_from_json


def parsed(*, annotation: str, message: str) -> PreprovisioningImage:
    """An object as it comes over the wire: each has texts of its own."""
    body: Any = image_body("host")
    body["metadata"]["annotations"] = {annotation: "x"}
    body["status"] = {
        "conditions": [{"type": "Ready", "status": "False", "reason": "X", "message": message}]
    }
    return image_from_json(json.loads(json.dumps(body)))


def test_objects_share_the_names_of_members_and_short_texts() -> None:
    one, other = (parsed(annotation="example.org/note", message="built") for _ in range(2))
    names = [next(iter(each.raw["metadata"]["annotations"])) for each in (one, other)]
    assert names[0] is names[1]
    assert one.status.conditions[0].message is other.status.conditions[0].message


def test_what_tenants_write_into_objects_is_not_kept() -> None:
    """Names and messages that never come again: of 3,000 objects the latest thousand at most."""

    def held(numbers: range) -> int:
        for number in numbers:
            parsed(annotation=f"example.org/{number:040}", message=f"{number:060}" * 20)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = held(range(2000))
        assert held(range(2000, 5000)) - before < 100_000
    finally:
        tracemalloc.stop()
