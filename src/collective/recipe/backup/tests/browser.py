"""A real browser, without a window: Chromium, driven through chromedriver.

chromedriver speaks JSON over HTTP (W3C WebDriver), so the standard library is all it takes.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

FLAGS = (
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

OPEN = build_opener(ProxyHandler({}))
"""Without a proxy: all is on this machine."""


class Browser:
    """One window."""

    def __init__(self, session: str) -> None:
        self._session = session

    def show(self, path: Path, *, width: int, dark: bool, height: int = 900) -> None:
        """Show a file in a window of *width* and *height* pixels, a phone's if it is narrow."""
        self.visit(path.as_uri(), width=width, dark=dark, height=height)

    def visit(self, url: str, *, width: int, dark: bool, height: int = 900) -> None:
        """Show what is at *url*."""
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._cdp("Emulation.setScrollbarsHidden", hidden=True)
        self._cdp("Emulation.setEmulatedMedia", features=[scheme])
        post(f"{self._session}/url", {"url": url})

    def run(self, script: str) -> Any:
        """Return what *script*, the body of a function, returns."""
        return post(f"{self._session}/execute/sync", {"script": script, "args": []})

    def picture(self) -> bytes:
        """Return what the window shows as PNG."""
        shot = self._cdp("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    def log(self) -> list[str]:
        """Return what the console said since the last time."""
        entries = post(f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries]

    def _cdp(self, command: str, **parameters: Any) -> Any:
        return post(f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Start a browser with a new *profile*; it ends with the body."""
    with subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True
    ) as driver:
        try:
            assert driver.stdout is not None
            started = next(line for line in driver.stdout if "started successfully" in line)
            port = started.rstrip(".\n").rpartition(" ")[2]
            root = f"http://127.0.0.1:{port}"
            options = {
                "goog:chromeOptions": {"args": [*FLAGS, f"--user-data-dir={profile}"]},
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            made = post(f"{root}/session", {"capabilities": {"alwaysMatch": options}})
            session = f"{root}/session/{made['sessionId']}"
            yield Browser(session)
            OPEN.open(Request(session, method="DELETE"), timeout=300).close()
        finally:
            driver.terminate()


def post(url: str, content: dict[str, Any]) -> Any:
    request = Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with OPEN.open(request, timeout=300) as answer:
        return json.load(answer)["value"]
