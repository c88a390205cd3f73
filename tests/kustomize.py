"""Kustomizations for the kustomize 2.0 of kubectl 1.20 and older.

It lacks ``patches`` with targets and directories among ``resources``, and has other fields with the
same effect. Newer kubectls build the kustomizations as they are.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

_FILE = "kustomization.yaml"


def translated(folder: Path, into: Path) -> Path:
    """Copy a kustomization, and those that it builds on, for kustomize 2.0; return its place.

    All keep their places to each other below ``into``.
    """
    copy = into / folder.resolve().relative_to("/")
    if copy.exists():
        return copy
    shutil.copytree(folder, copy)
    content: dict[str, Any] = yaml.safe_load((folder / _FILE).read_text())
    content["bases"] = [name for name in content["resources"] if (folder / name).is_dir()]
    content["resources"] = [name for name in content["resources"] if (folder / name).is_file()]
    assert not set(content["bases"]) & set(content["resources"])
    patches = content.pop("patches", [])
    content["patchesJson6902"] = [patch for patch in patches if "target" in patch]
    content["patchesStrategicMerge"] = [patch["path"] for patch in patches if "target" not in patch]
    (copy / _FILE).write_text(yaml.safe_dump(content))
    for name in content["bases"]:
        translated(folder / name, into)
    return copy
