"""Headless Chromium, led by its DevTools protocol: real clicks on a page that a server gives."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60.0  # seconds for what a page is to do


class Page:
    """said: what the console heard, what wasn't caught, and what was against the page's rules."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.numbers = itertools.count(1)
        self.said: list[str] = []
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **asked: Any) -> Any:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": asked}))
        while True:
            told = json.loads(self.socket.recv(timeout=PATIENCE))
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]
            if told.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                self.said.append(json.dumps(told["params"])[:500])

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def value(self, code: str) -> Any:
        done = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, code: str) -> None:
        """Wait until it is true."""
        end = time.monotonic() + PATIENCE
        while not self.value(code):
            assert time.monotonic() < end, f"never {code}; the page says {self.value('document.body.innerText')}"
            time.sleep(0.1)

    def click(self, selector: str) -> None:
        self.value(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        left, top, width, height = self.box(selector)
        self.drag((left + width / 2, top + height / 2))

    def box(self, selector: str) -> list[float]:
        """x, y, width, height in the window."""
        found = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        return self.value(f"(({{x, y, width, height}}) => [x, y, width, height])({found})")

    def drag(self, *places: tuple[float, float]) -> None:
        """Press at the first place, move over the others, and let go at the last; one place is a click."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*places, places[-1]], strict=True):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def enter(self) -> None:
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def choose(self, selector: str, file: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def photograph(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))


@contextmanager
def browsing() -> Iterator[Page]:
    """A new browser's page. Skips where there is no Chromium."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    # Its own folder, not the test's: it puts sockets in there, whose paths have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="b", ignore_cleanup_errors=True) as folder:
        profile, said = Path(folder) / "browser", Path(folder) / "said"
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        words += [f"--user-data-dir={profile}", "--remote-debugging-port=0", "--window-size=1200,1000", "about:blank"]
        own = os.environ | {"HOME": folder, "TMPDIR": folder}
        with said.open("w") as stream:
            process = subprocess.Popen([browser, *words], env=own, stdout=stream, stderr=stream)
        try:
            end = time.monotonic() + PATIENCE
            while not (told := _told(profile / "DevToolsActivePort")):
                there = process.poll() is None and time.monotonic() < end
                assert there, f"Chromium doesn't start: {said.read_text()}"
                time.sleep(0.1)
            with urllib.request.urlopen(f"http://127.0.0.1:{told[0]}/json/list", timeout=PATIENCE) as answer:
                (page,) = [each for each in json.load(answer) if each["type"] == "page"]
            with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def _told(file: Path) -> list[str]:
    return file.read_text().split() if file.is_file() else []
