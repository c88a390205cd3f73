"""A real headless Chromium, driven through ChromeDriver by plain WebDriver requests.

The protocol: https://www.w3.org/TR/webdriver2/, and ChromeDriver's own commands for DevTools.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e import parts

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
_MINUTE = 60.0

_WAIT = """
const [limit, done] = arguments;
const end = performance.now() + limit;
const look = () => {
  let found;
  try { found = CONDITION; } catch (error) { found = null; }
  if (found) done(found);
  else if (performance.now() > end) done(null);
  else setTimeout(look, 50);
};
look();
"""


class Browser:
    """A window of a browser; ``shots`` is the directory that screenshots go to."""

    def __init__(self, driver: str, shots: Path, profile: Path) -> None:
        self._driver = driver
        self._shots = shots
        options = {
            "binary": parts.program("chromium", "chromium"),
            "args": [*_FLAGS, f"--user-data-dir={profile}"],
        }
        answer = self._ask(
            "POST",
            "/session",
            {
                "capabilities": {
                    "alwaysMatch": {
                        "goog:chromeOptions": options,
                        "goog:loggingPrefs": {"browser": "ALL"},
                        "timeouts": {"script": 60_000, "pageLoad": 60_000},
                    }
                }
            },
        )
        self._session = f"/session/{answer['sessionId']}"

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._driver}{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=2 * _MINUTE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:2000]}") from None

    def _do(self, path: str, body: object) -> Any:
        return self._ask("POST", f"{self._session}{path}", body)

    def devtools(self, command: str, **parameters: object) -> Any:
        """Have DevTools do something, such as ``Emulation.setEmulatedMedia``."""
        return self._do("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Give the window a size in CSS pixels; that of a phone has its sharper screen."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def dark(self, on: bool) -> None:
        """Prefer a dark page, or a light one."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def scripts(self, on: bool) -> None:
        """Run the scripts of pages, or not."""
        self.devtools("Emulation.setScriptExecutionDisabled", value=not on)

    def open(self, url: str) -> None:
        """Load a page."""
        self._do("/url", {"url": url})

    def run(self, script: str) -> Any:
        """Return what an expression gives in the page."""
        return self._do("/execute/sync", {"script": f"return ({script});", "args": []})

    def wait(self, condition: str, seconds: float = 30.0) -> Any:
        """Wait until an expression is true in the page; its value."""
        # In the script itself: the policy of a page may forbid to evaluate texts.
        script = _WAIT.replace("CONDITION", condition)
        found = self._do("/execute/async", {"script": script, "args": [seconds * 1000]})
        assert found, f"not within {seconds} s: {condition}\n{self.text()[:3000]}"
        return found

    def text(self) -> str:
        """The text that the page shows."""
        found: str = self.run("document.body.innerText")
        return found

    def click(self, selector: str) -> None:
        """Click on an element with the mouse."""
        self._do(f"/element/{self._element(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into an element."""
        self._do(f"/element/{self._element(selector)}/value", {"text": text})

    def _element(self, selector: str) -> str:
        found = self._do("/element", {"using": "css selector", "value": selector})
        (id,) = found.values()
        return str(id)

    def complaints(self) -> list[str]:
        """What the browser wrote to its console since the last call: violations and errors."""
        return [str(entry["message"]) for entry in self._do("/se/log", {"type": "browser"})]

    def shoot(self, name: str) -> Path:
        """Keep a picture of the window; where."""
        data: str = self._ask("GET", f"{self._session}/screenshot")
        path = self._shots / f"{name}.png"
        path.write_bytes(base64.b64decode(data))
        return path

    def close(self) -> None:
        """End the browser."""
        self._ask("DELETE", self._session)


@contextmanager
def browser(shots: Path, profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile."""
    program = parts.program("chromedriver", "chromium-driver")
    driver = subprocess.Popen(
        [program, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert driver.stdout is not None
        heard = []
        for line in driver.stdout:
            heard.append(line)
            if found := re.search(r"started successfully on port (\d+)", line):
                break
        else:
            raise AssertionError(f"ChromeDriver did not start: {''.join(heard)}")
        window = Browser(f"http://127.0.0.1:{found[1]}", shots, profile)
        try:
            yield window
        finally:
            window.close()
    finally:
        driver.terminate()
        driver.wait(30)
        if driver.stdout is not None:
            driver.stdout.close()
