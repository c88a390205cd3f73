"""A soak: `mic controller` with slow readers, images that change, and API faults.

    KUBEBUILDER_ASSETS=... python bench/soak.py [--minutes 30] [--readers 200] [--rate 100]

The readers (200, at 100 KiB/s each) compare every byte. Secrets are edited, objects recreated,
base images and the pull secret replaced; the API server, a real one, answers 500, 429, 403 and
410, hangs, is killed and compacted, and loses its watches. Prints a line every ten seconds, and at
the end what the process used in the first third (after a tenth to warm up) and in the last. The
status is 1 when that grew, when a byte was wrong, when a reader was refused what was there, when
an object did not become what it describes, or when anything was left once all were gone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from kubeserver import KubeServer  # noqa: E402
from soak import Bounds, Plan, Report, Soak, judge  # noqa: E402
from twisted.internet.defer import Deferred  # noqa: E402
from twisted.internet.task import react  # noqa: E402


def tell(report: Report, plan: Plan) -> int:
    """Print what it came to; the exit status."""
    rows = judge(report, plan, Bounds())
    outcomes = report.outcomes
    print("\ndone to it:", ", ".join(f"{n} {what}" for what, n in sorted(report.done.items())))
    print(
        f"read: {outcomes.bytes / 2**30:.1f} GiB;",
        ", ".join(f"{n} {what}" for what, n in sorted(outcomes.counts.items())),
    )
    print(f"\n{'':24}{'first third':>12}{'last third':>12}{'allowed':>12}")
    for what, first, last, allowed in rows:
        print(f"{what:24}{first:12.1f}{last:12.1f}{'+' + format(allowed, '.0f'):>12}")
    for what in ("threads", "resident", "median", "longest"):
        first, last = report.thirds(plan.warm_up, what)
        print(f"{what:24}{first:12.1f}{last:12.1f}")
    if report.rest is not None:
        before, after = report.rest
        for what in ("anonymous", "descriptors", "files", "deleted", "threads"):
            print(
                f"{'at rest: ' + what:24}{getattr(before, what):12.1f}{getattr(after, what):12.1f}"
            )
    for what, (first, last) in report.held.items():
        print(f"{'at rest: ' + what:24}{first:12.1f}{last:12.1f}")
    begin, end = report.samples[0], report.samples[-1]
    print(f"CPU of mic: {(end.cpu - begin.cpu) / (end.seconds - begin.seconds):.2f} cores")
    print(f"CPU of the readers, the proxy and the rest: {time.process_time():.0f} s")
    grown = ", ".join(f"{n} {kind}" for kind, n in report.grown.most_common(8))
    print(f"more objects at rest than before: {grown}")
    for problem in report.problems:
        print(f"FAILED: {problem}")
    print("FAILED" if report.problems else "passed")
    return 1 if report.problems else 0


def main() -> None:
    """Run it for as long as the arguments say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--rate", type=float, default=100, help="KiB/s of each reader")
    parser.add_argument("--folder", type=Path, help="an empty one, to keep mic's log")
    arguments = parser.parse_args()
    duration = arguments.minutes * 60
    plan = Plan(
        duration=duration,
        warm_up=duration / 10,
        readers=arguments.readers,
        rate=arguments.rate * 1024,
        sample_every=min(10.0, duration / 60),
    )

    async def run(kube: KubeServer, folder: Path) -> Report:
        def say(line: str) -> None:
            print(line, flush=True)

        return await Soak(kube, folder, plan, say).run()

    def soak(_reactor: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(run(kube, folder)).addCallback(reports.append)

    reports: list[Report] = []
    with tempfile.TemporaryDirectory(prefix="mic-soak-") as name:
        folder = arguments.folder or Path(name)
        (folder / "kube").mkdir(parents=True)
        kube = KubeServer(folder / "kube")
        try:
            kube.start()
            kube.install()
            react(soak)
        except SystemExit:
            if not reports:
                raise
        finally:
            kube.stop()
    sys.exit(tell(reports[0], plan))


if __name__ == "__main__":
    main()
