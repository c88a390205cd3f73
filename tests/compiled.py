"""The compiled fast lane of ``native/``, built for the tests as it is in this checkout."""

from __future__ import annotations

import importlib.util
import subprocess
import sysconfig
from pathlib import Path
from typing import cast

import pytest

from mic.web.native import INTERFACE, Native

SOURCE = Path(__file__).resolve().parent.parent / "native/fastlane.c"


def build(directory: Path) -> Path:
    """Compile the module into ``directory``; skip the test where nothing compiles C."""
    made = directory / f"mic_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    headers = sysconfig.get_path("include")
    warnings = ("-Wall", "-Wextra", "-Werror", "-std=c11")
    command = ["cc", "-O2", "-shared", "-fPIC", f"-I{headers}", *warnings, "-o", made, SOURCE]
    if not (Path(headers) / "Python.h").is_file():
        pytest.skip(f"there is no {headers}/Python.h")
    try:
        subprocess.run(command, check=True, timeout=120)
    except FileNotFoundError:
        pytest.skip("there is no C compiler")
    return made


def load(made: Path) -> Native:
    """Return the module that `build` made, whatever is installed."""
    spec = importlib.util.spec_from_file_location("mic_native", made)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.INTERFACE == INTERFACE
    return cast(Native, module)
