"""What processes have open."""

from __future__ import annotations

import os


def open_files(pid: int | str = "self") -> list[str]:
    """The targets of a process's descriptors, with Linux's ``(deleted)`` behind what is gone.

    Descriptors that are closed while one looks are left out.
    """
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            continue
    return found
