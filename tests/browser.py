"""A real browser without a window, driven by the WebDriver protocol (W3C), for tests of pages. Needs Chromium and its driver."""

from __future__ import annotations

import re
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = "" if CHROMIUM and DRIVER else "needs Chromium with chromedriver (Debian: apt-get install chromium chromium-driver)"
"""Why there is no browser on this machine; "" where there is one."""

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""What the protocol calls a reference to an element."""

TAB, SPACE, ENTER = "\ue004", " ", "\ue007"

CONTRAST = """
const channel = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = c => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2]);
const colour = text => text.match(/[\\d.]+/g).map(Number);
const behind = e => { for (; e; e = e.parentElement) { const c = colour(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c } return [255, 255, 255] };
return Array.from(document.querySelectorAll(arguments[0])).map(e => {
  const [a, b] = [light(colour(getComputedStyle(e).color)), light(behind(e))];
  return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) });
"""
"""Contrast of text to what is behind it, as WCAG 2.2 defines it."""


@dataclass(slots=True)
class Browser:
    """One window. Every method waits until the page is there."""

    http: httpx.Client
    session: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One command of the protocol; its value."""
        answer = self.http.request(method, f"/session/{self.session}/{path}", json=body if method == "POST" else None)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, url: str) -> None:
        """Go to a page."""
        self.ask("POST", "url", {"url": url})

    def find(self, selector: str) -> list[str]:
        """Elements, by a CSS selector."""
        found = self.ask("POST", "elements", {"using": "css selector", "value": selector})
        return [e[ELEMENT] for e in found]

    def label(self, element: str) -> str:
        """What a screen reader calls it."""
        return str(self.ask("GET", f"element/{element}/computedlabel"))

    def script(self, text: str, *arguments: Any) -> Any:
        """What a script of the test's own says of the page."""
        return self.ask("POST", "execute/sync", {"script": text, "args": list(arguments)})

    def focused(self) -> str:
        """The label of the element that has the keyboard."""
        return self.label(self.ask("GET", "element/active")[ELEMENT])

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def emulate(self, command: str, **values: Any) -> None:
        """A command of Chromium's own protocol: another width, a dark scheme."""
        self.ask("POST", "goog/cdp/execute", {"cmd": f"Emulation.{command}", "params": values})

    def picture(self) -> bytes:
        """The window as a PNG."""
        return b64decode(self.ask("GET", "screenshot"))


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser of one's own, which ends with the block."""
    assert DRIVER
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        port = next(found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=900,1400"]
        wanted = {"goog:chromeOptions": {"args": arguments, "binary": CHROMIUM}}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:
            began = http.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
            browser = Browser(http, began["sessionId"])
            browser.ask("POST", "timeouts", {"implicit": 5000})  # `find` waits so long for what a page is still bringing
            try:
                yield browser
            finally:
                http.delete(f"/session/{browser.session}")
    finally:
        driver.terminate()
        driver.wait()
