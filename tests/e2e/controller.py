"""``mic controller`` as a process, for the namespace of a real API server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from functional.daemon import Daemon
from toys import live_iso, put


def start(
    folder: Path,
    kubeconfig: Path,
    namespace: str,
    *flags: str,
    environment: Mapping[str, str] | None = None,
) -> Daemon:
    """Start it, with a small base image of its own in ``folder``; it logs there as well."""
    folder.mkdir(exist_ok=True)
    put(folder / "ipa.iso", live_iso())
    return Daemon(
        folder / "log",
        [
            "controller",
            *("-kubeconfig", str(kubeconfig)),
            *("-namespace", namespace),
            *("-images-bind-addr", "127.0.0.1:0"),
            *("-metrics-addr", "0"),
            *flags,
        ],
        {
            "DEPLOY_ISO": str(folder / "ipa.iso"),
            "DEPLOY_INITRD": "",
            "IRONIC_AGENT_IMAGE": "quay.example/ipa",
            "IRONIC_BASE_URL": "http://ironic.example",
            **(environment or {}),
        },
    )


def served(daemon: Daemon, url: str) -> str:
    """Where this process serves what it published under ``url``."""
    host, port = daemon.tcp
    return f"http://{host}:{port}/{url.rpartition('/')[2]}"
