"""A BMC that reads without a pause: a range of an image each millisecond, in its own process."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

from functional.wire import Wire

INTERVAL = 0.001
"""Seconds from one request to the next, as long as the answers come in time."""

_RANGE = 512
_TIMEOUT = 30.0


class RangePoller:
    """Reads ranges of one image from ``address`` until it is stopped."""

    def __init__(self, address: tuple[str, int], target: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *map(str, address), target],
            env={"PYTHONPATH": str(Path(__file__).parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "reading\n"

    def stop(self) -> int:
        """Stop, see that every answer was a part of the same image, and return how many came."""
        text, _ = self._process.communicate(timeout=_TIMEOUT)
        result = json.loads(text)
        assert set(result["statuses"]) == {"206"}, result
        assert result["wrong"] == 0
        return int(result["statuses"]["206"])

    def kill(self) -> None:
        """End it, whatever it has seen."""
        self._process.kill()
        self._process.communicate()


def _main(host: str, port: str, target: str) -> None:
    random = Random(1)
    statuses: Counter[int] = Counter()
    wrong = 0
    with Wire(socket.create_connection((host, int(port)), timeout=_TIMEOUT)) as wire:
        wire.ask(target)
        whole = wire.answer().body
        print("reading", flush=True)
        due = time.monotonic()
        while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            due = max(due + INTERVAL, time.monotonic())
            start = random.randrange(len(whole) - _RANGE)
            wire.ask(target, f"Range: bytes={start}-{start + _RANGE - 1}")
            answer = wire.answer()
            statuses[answer.status] += 1
            wrong += answer.status == 206 and answer.body != whole[start : start + _RANGE]
    print(json.dumps({"statuses": statuses, "wrong": wrong}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
