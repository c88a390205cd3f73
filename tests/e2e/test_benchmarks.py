"""Scope: the benchmarks that need other programs run, for a little: controller mode, downloads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import kubeserver
from e2e import parts

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_benchmark_of_controller_mode_runs_and_writes_four_times_per_object() -> None:
    kubeserver.assets()
    done = subprocess.run(
        [sys.executable, ROOT / "bench/reconcile.py", "--objects", "5"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fresh start: 5 ready in " in done.stdout
    assert "restart: 5 ready in " in done.stdout
    assert re.findall(r"writes per object: (\S+);", done.stdout) == ["4.00", "1.00"]


def test_the_benchmark_of_downloads_runs() -> None:
    for program in ("nginx", "curl", "openssl"):
        parts.program(program, program)
    done = subprocess.run(
        [sys.executable, ROOT / "bench/fetch.py", "--rounds", "1", "--mib", "8"],
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(https?) +(\w+) +mic fetch", done.stdout, re.MULTILINE)
    figures = ("seconds", "cpu", "memory")
    assert found == [(way, figure) for way in ("http", "https") for figure in figures]


def test_the_benchmark_of_network_boot_runs() -> None:
    for program in ("nginx", "gcc", "curl", "openssl"):
        parts.program(program, program)
    flags = ["--hosts", "2", "--mebibytes", "8", "--seconds", "0.5", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, ROOT / "bench/netboot.py", *flags],
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| 2 hosts, 8 MiB | mic | nginx |")
    figures = re.findall(r"^\| ([^,|]+), \S+ \| [\d.]+ \| [\d.]+ \|", done.stdout, re.MULTILINE)
    assert len(figures) == 5


def test_the_benchmark_of_a_hostile_tenant_runs() -> None:
    kubeserver.assets()
    flags = ["--documents", "2", "--bytes", "60000", "--seconds", "0.5"]
    done = subprocess.run(
        [sys.executable, ROOT / "bench/tenants.py", *flags],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in ("new object to Ready", "restart: process ready", "range of 4 KiB beside edits"):
        assert line in done.stdout
