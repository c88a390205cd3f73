"""Time spans and sizes for people. Pure."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a time span in its largest unit: ``41 s``, ``12 min``, ``3 h``, ``9 days``."""
    for unit, length, least in (("days", 86400, 2), ("h", 3600, 2), ("min", 60, 2)):
        if seconds >= least * length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(int(seconds), 0)} s"


def size_text(count: int) -> str:
    """Return a number of bytes in its largest unit: ``1.1 GiB``."""
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"
