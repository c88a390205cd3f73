"""Print a CycloneDX 1.6 bill of materials: an environment's Python packages, and Debian's packages.

Run by the Dockerfile, with the Python of the environment: ``python sbom.py DPKG-STATUS-FILE``. The
output depends on the packages only. Source of the format: https://cyclonedx.org/docs/1.6/json/.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

_MIC = "machine-image-customizer"
_OURS = {"mic-native"}
"""Packages of this repository: nobody is to look for them on PyPI."""


def main(status: str) -> None:
    """Print the bill of materials."""
    release = _os_release()
    found = {_name(each): each for each in distributions()}
    subject = _python(found.pop(_MIC))
    components = [_python(each) for _, each in sorted(found.items())]
    components += _debian(Path(status).read_text(), release)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**subject, "type": "application"}},
        "components": components,
    }
    print(json.dumps(bill, indent=1, sort_keys=True))


def _name(distribution: Distribution) -> str:
    return re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()


def _python(distribution: Distribution) -> dict[str, Any]:
    name, version = _name(distribution), distribution.version
    kind = "generic" if name in _OURS else "pypi"
    reference = f"pkg:{kind}/{name}@{quote(version)}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": version,
        "purl": reference,
    }
    expression = distribution.metadata.get("License-Expression")
    if expression:
        component["licenses"] = [{"expression": expression}]
    return component


def _debian(status: str, release: str) -> Iterator[dict[str, Any]]:
    """Yield a component for each installed package of a dpkg status file."""
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            name, version = fields["Package"], fields["Version"]
            reference = (
                f"pkg:deb/debian/{quote(name)}@{quote(version)}"
                f"?arch={fields['Architecture']}&distro={release}"
            )
            yield {
                "type": "library",
                "bom-ref": reference,
                "name": name,
                "version": version,
                "purl": reference,
            }


def _os_release() -> str:
    found = re.search(r"^VERSION_ID=\"?([\w.]+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    return f"debian-{found[1]}" if found else "debian"


if __name__ == "__main__":
    main(sys.argv[1])
