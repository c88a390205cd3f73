"""NetworkManager at work on keyfiles, in namespaces of its own: what it makes of them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e import parts

from mic.common.keyfile import Keyfile

SESSION = Path(__file__).with_name("nm_session.sh")
_LIMIT = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the session reported, by section."""

    sections: dict[str, str]

    def json(self, section: str) -> list[dict[str, Any]]:
        """The items of a section that ``ip`` or ``bridge`` wrote."""
        found: list[dict[str, Any]] = json.loads(self.sections[section].strip() or "[]")
        return found

    @property
    def reached(self) -> set[str]:
        """The targets that a route leads to."""
        return set(self.sections["reached"].split())

    @property
    def active(self) -> set[str]:
        """The connections that are up."""
        lines = self.sections["active"].splitlines()
        return {line.removesuffix(":activated") for line in lines if line.endswith(":activated")}

    def addresses(self, name: str) -> set[str]:
        """An interface's addresses with prefixes, but for link-local ones."""
        return {
            f"{address['local']}/{address['prefixlen']}"
            for link in self.json("addresses")
            if link.get("ifname") == name
            for address in link["addr_info"]
            if address["scope"] != "link"
        }

    def link(self, name: str) -> dict[str, Any]:
        """What ``ip`` shows of a link."""
        (found,) = [link for link in self.json("links") if link.get("ifname") == name]
        return found


def outcome(text: str) -> Outcome:
    """The outcome in what a session printed; fails the test when it did not come to its end."""
    parts_ = re.split(r"^=== (\w+)\r?\n", text.replace("\r\n", "\n"), flags=re.MULTILINE)
    sections = dict(zip(parts_[1::2], parts_[2::2], strict=False))
    assert "end" in sections, text[-4000:]
    return Outcome(sections=sections)


def write(keyfiles: Iterable[Keyfile], directory: Path) -> None:
    """Put keyfiles into a new directory."""
    directory.mkdir()
    for keyfile in keyfiles:
        (directory / keyfile.name).write_text(keyfile.content)


def activate(
    keyfiles: Sequence[Keyfile],
    directory: Path,
    links: Sequence[str],
    network: str = "",
    *,
    targets: Sequence[str] = (),
) -> Outcome:
    """Have NetworkManager activate keyfiles on veth pairs; ``network`` may be ``dhcp``.

    ``targets`` are addresses to look up in the routing tables.
    """
    parts.root("make network namespaces")
    parts.program("NetworkManager", "network-manager")
    parts.program("dbus-daemon", "dbus-daemon")
    parts.program("ip", "iproute2")
    if network:
        parts.program("busybox", "busybox-static")
    write(keyfiles, directory / "keyfiles")
    done = subprocess.run(
        [
            *(parts.program("unshare", "util-linux"), "--net", "--mount", "--pid", "--fork"),
            *("--mount-proc", "--kill-child", "sh", SESSION, directory / "keyfiles"),
            *(" ".join(links), network, str(len(keyfiles)), " ".join(targets)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    return outcome(done.stdout)
