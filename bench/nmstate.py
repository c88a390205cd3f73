"""NMState to keyfiles: documents per second, compared with nmstatectl if it is installed.

Times are per document: best and median of many conversions in one process, with the garbage
collector on. A conversion includes parsing the YAML. nmstatectl is started for each document.

    python bench/nmstate.py [--seconds 2] [--corpus FILE.jsonl]

``--corpus`` measures all documents of a file of JSON lines with the member ``nmstate``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from nmstate_documents import BOND_VLAN, DOCUMENTS  # noqa: E402

from mic.nmstate import keyfiles  # noqa: E402

ROUTES = 11_000


def _routes() -> str:
    """A document of 900 KB, nearly as much as mic reads."""
    start = (
        "interfaces:\n- {name: eth0, type: ethernet, ipv4: {enabled: true, "
        "address: [{ip: 192.0.2.5, prefix-length: 24}]}}\nroutes:\n  config:\n"
    )
    return start + "".join(
        f"  - {{destination: 10.{number >> 8}.{number & 255}.0/24, "
        "next-hop-interface: eth0, next-hop-address: 192.0.2.1}\n"
        for number in range(ROUTES)
    )


def _measure(convert: Callable[[str], object], document: str, seconds: float) -> list[float]:
    convert(document)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        convert(document)
        times.append(time.perf_counter() - start)
    return times


def _print(name: str, times: list[float]) -> None:
    median = statistics.median(times)
    best = min(times)
    print(f"{name:32} {best * 1e3:9.3f} {median * 1e3:9.3f} {1 / median:11.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each document")
    parser.add_argument("--corpus", type=Path, help="documents as JSON lines")
    options = parser.parse_args()

    print(f"{'document':32} {'best ms':>9} {'median ms':>9} {'documents/s':>11}")
    for name, document in DOCUMENTS.items():
        _print(name, _measure(keyfiles, document, options.seconds))
    large = _routes()
    name = f"{ROUTES} routes, {len(large) >> 10} KiB"
    _print(name, _measure(keyfiles, large, 3 * options.seconds))
    if options.corpus:
        lines = options.corpus.read_text().splitlines()
        documents = [json.loads(line)["nmstate"] for line in lines]
        times = []
        for document in documents:
            start = time.perf_counter()
            keyfiles(document)
            times.append(time.perf_counter() - start)
        _print(f"corpus ({len(documents)})", times)
        print(f"{'':32} all in {sum(times):.2f} s, slowest {max(times) * 1e3:.1f} ms")

    program = shutil.which("nmstatectl")
    if program is None:
        print("nmstatectl is not installed: no comparison")
        return

    def reference(document: str) -> object:
        command = [program, "gc", "/dev/stdin"]
        return subprocess.run(command, input=document.encode(), capture_output=True, check=True)

    _print("nmstatectl, bond and VLAN", _measure(reference, BOND_VLAN, options.seconds))


if __name__ == "__main__":
    main()
