"""An admission webhook: a small HTTPS server that a real API server asks before each update."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from base64 import b64encode
from pathlib import Path
from typing import Any

from certificates import issue
from kubeserver import KubeServer

from mic.kube.api import Json

_CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
LABEL = "webhook.test/asked"
"""Objects with this label are put before the webhook, with ``message`` in its refusal."""


class Webhook:
    """Refuses each update of a PreprovisioningImage with `LABEL`, and of its status.

    With ``answers`` false it hangs up instead, as one that is broken does.
    """

    name = "deny.webhook.test"

    def __init__(self, kube: KubeServer, folder: Path, *, answers: bool, message: str = "") -> None:
        self._kube = kube
        self._answers = answers
        self._message = message
        issued = issue()
        certificate, key = issued.write(folder / "webhook")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._authority = b64encode(issued.chain_pem).decode()
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if not webhook._answers:
                    self.close_connection = True
                    return
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(webhook._answer(review)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def _answer(self, review: Json) -> Json:
        response = {
            "uid": review["request"]["uid"],
            "allowed": False,
            "status": {"code": 403, "message": self._message},
        }
        return {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}

    def install(self) -> None:
        """Have the API server ask it."""
        self._kube.ask(
            "POST",
            _CONFIGURATIONS,
            {
                "metadata": {"name": self.name},
                "webhooks": [
                    {
                        "name": self.name,
                        "clientConfig": {
                            "url": f"https://127.0.0.1:{self._server.server_address[1]}/",
                            "caBundle": self._authority,
                        },
                        "rules": [
                            {
                                "apiGroups": ["metal3.io"],
                                "apiVersions": ["*"],
                                "operations": ["UPDATE"],
                                "resources": [
                                    "preprovisioningimages",
                                    "preprovisioningimages/status",
                                ],
                            }
                        ],
                        "objectSelector": {
                            "matchExpressions": [{"key": LABEL, "operator": "Exists"}]
                        },
                        "sideEffects": "None",
                        "timeoutSeconds": 2,
                        "admissionReviewVersions": ["v1"],
                    }
                ],
            },
        )

    def stop(self) -> None:
        """Have nobody ask it any longer, and end it."""
        self._kube.ask("DELETE", f"{_CONFIGURATIONS}/{self.name}", expect=None)
        self._server.shutdown()
        self._server.server_close()
