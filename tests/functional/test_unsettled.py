"""Scope: a controller that has not seen its objects yet: a name it does not know may still come."""

from __future__ import annotations

import socket
from pathlib import Path

import urllib3
import yaml
from functional.daemon import Daemon
from functional.media import Media


def _kubeconfig(where: Path, port: int) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    where.write_text(yaml.safe_dump(content))
    return where


def test_unknown_names_are_not_called_missing_before_all_are_known(
    tmp_path: Path, media: Media
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        kubeconfig = _kubeconfig(tmp_path / "config", nobody.getsockname()[1])
        flags = ["-images-bind-addr", "127.0.0.1:0", "-metrics-addr", "0"]
        daemon = Daemon(
            tmp_path / "log",
            ["controller", "-kubeconfig", str(kubeconfig), *flags],
            media.environment,
        )
        try:
            host, port = daemon.tcp
            answer = urllib3.request("GET", f"http://{host}:{port}/x.iso", retries=False)
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "10"
            assert urllib3.request("GET", f"http://{host}:{port}/", retries=False).status == 200
        finally:
            daemon.stop()
