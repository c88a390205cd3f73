"""What the metrics page costs: while it is made, nobody is served.

    python bench/metrics.py [--images 20000]

Prints how long the page of a static service takes, for one image and for many: the least and the
median of 200 pages each. CPU time, so that what else the machine does counts little.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.internet import reactor

from mic.images.store import Content, ImageId
from mic.media.base import Kind
from mic.media.cpio import archive
from mic.media.customisation import Customisation
from mic.media.isowriter import coreos_files, write_iso
from mic.service import Mic
from mic.settings.load import load
from mic.settings.model import Mode

PAGES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = coreos_files(kernel=b"", initramfs=archive(b"boots nothing\n"), rootfs=b"")
        Path(folder, "coreos.iso").write_bytes(write_iso(files, "mic-bench"))
        environment = {
            "DEPLOY_ISO": f"{folder}/coreos.iso",
            "IRONIC_BASE_URL": "http://192.0.2.2:6385",
            "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
        }
        mic = Mic(load(Mode.STATIC, environment, {"nmstate-dir": folder}), reactor)
    for count in (1, options.images):
        for number in range(count):
            content = Content(
                id=ImageId("", f"host-{number}", Kind.ISO), customisation=Customisation()
            )
            mic.images.publish(f"host-{number}.iso", content)
        took = []
        for _ in range(PAGES):
            before = time.process_time()
            size = len(mic.metrics.page("")[1])
            took.append((time.process_time() - before) * 1e3)
        print(
            f"{count} images: {min(took):.2f} ms at least, {statistics.median(took):.2f} ms "
            f"in the median, {size} bytes"
        )


if __name__ == "__main__":
    main()
