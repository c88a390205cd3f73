"""Write what is generated from the table of settings and from the commands.

Run it as ``python tools/generate.py`` after a change of a setting, a flag or a command. Tests fail
while a file differs from what this writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the checkout, not an installed mic

from reference import completion, manual, tables  # noqa: E402

from mic.cli.main import commands  # noqa: E402

COMMAND = "python tools/generate.py"


def files() -> dict[Path, str]:
    """Return the content of each generated file by its path in the repository."""
    described = commands()
    found: dict[Path, str] = {}
    for name, contents in (
        ("docs/configure.md", {"variables": tables.variables(), "flags": tables.flags()}),
        ("docs/commands.md", {"commands": tables.commands(described)}),
    ):
        found[Path(name)] = tables.inserted((ROOT / name).read_text(), contents)
    for name, text in manual.pages(described).items():
        found[Path("share/man/man1") / name] = text
    bash = Path("share/bash-completion/completions")
    found[bash / "mic"] = completion.bash(described)
    for name in completion.NAMES[1:]:
        # bash-completion finds a file by the name of the program.
        found[bash / name] = '. "${BASH_SOURCE[0]%/*}/mic"\n'
    found[Path("share/zsh/site-functions/_mic")] = completion.zsh(described)
    return found


def main() -> None:
    """Write the files that differ, and print their names."""
    for path, text in files().items():
        target = ROOT / path
        if not target.exists() or target.read_text() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            print(path)


if __name__ == "__main__":
    main()
