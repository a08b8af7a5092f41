"""A real headless Chromium, driven over the DevTools protocol through a pipe: no port, no library."""

from __future__ import annotations

import base64
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

LONGEST = 60.0
"""Seconds that an answer may take."""

# The protocol speaks on the file descriptors 3 and 4, wherever ours are.
LAUNCH = "import os, sys; r, w = map(int, sys.argv[1:3]); a, b = os.dup(r), os.dup(w); os.dup2(a, 3); os.dup2(b, 4); "
LAUNCH += "os.set_inheritable(3, True); os.set_inheritable(4, True); os.execvp(sys.argv[3], sys.argv[3:])"


def find() -> str | None:
    """The browser of this machine; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A browser process; `page` opens a file in a fresh tab."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._held = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Ask for something and wait for its answer; events that come meanwhile are kept."""
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session:
            asked["sessionId"] = session
        os.write(self._writer, orjson.dumps(asked) + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + LONGEST
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._reader], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the browser said nothing for {LONGEST:.0f} s"
            data = os.read(self._reader, 1 << 20)
            assert data, "the browser has ended"
            self._held += data
        message, _, self._held = self._held.partition(b"\0")
        value: dict[str, Any] = orjson.loads(message)
        return value

    def page(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False, at: str = "") -> Page:
        """Open a file and wait until its rows are shown."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = "dark" if dark else "light"
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.call("Page.navigate", url=path.resolve().as_uri() + (f"#{at}" if at else ""))
        page.wait("document.documentElement?.dataset.ready")
        return page


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def do(self, expression: str) -> Any:
        """The value of a script in the page; promises are waited for."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a condition of the page has become true."""
        end = time.monotonic() + LONGEST
        while not self.do(f"new Promise((done) => setTimeout(() => done(!!({condition})), 10))"):
            assert time.monotonic() < end, f"never true: {condition}"

    def press(self, *keys: str) -> None:
        """Press keys one after the other: letters, or names such as `Escape`."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
            codes = {"Escape": 27, "Tab": 9, "Enter": 13, "ArrowDown": 40, "ArrowUp": 38}
            more = {"windowsVirtualKeyCode": codes[key]} if key in codes else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **more)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **more)

    def write(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def shot(self, path: Path, *, whole: bool = False) -> Path:
        """A screenshot, of what is seen or of the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def requests(self) -> list[str]:
        """Addresses that the page asked for."""
        return [event["params"]["request"]["url"] for event in self._events("Network.requestWillBeSent")]

    def complaints(self) -> list[str]:
        """What the page logged: errors, exceptions, breaches of its policy."""
        self.do("1")
        logged = [event["params"]["entry"]["text"] for event in self._events("Log.entryAdded")]
        said = [str(event["params"]["args"]) for event in self._events("Runtime.consoleAPICalled")]
        thrown = [str(event["params"]["exceptionDetails"]) for event in self._events("Runtime.exceptionThrown")]
        return logged + said + thrown

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

    def _events(self, method: str) -> Iterator[dict[str, Any]]:
        for event in self._browser.events:
            if event.get("method") == method and event.get("sessionId") == self._session:
                yield event


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile while the block runs."""
    their_input, writer = os.pipe()
    reader, their_output = os.pipe()
    options = [
        *("--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check"),
        *("--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-extensions"),
        *("--disable-component-update", "--hide-scrollbars", "--mute-audio", f"--user-data-dir={profile}"),
        *(("--no-sandbox",) if os.geteuid() == 0 else ()),
    ]
    command = [sys.executable, "-c", LAUNCH, str(their_input), str(their_output), program, *options]
    with subprocess.Popen(
        command,
        pass_fds=(their_input, their_output),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        os.close(their_input)
        os.close(their_output)
        try:
            browser = Browser(reader, writer)
            browser.call("Browser.getVersion")
            yield browser
        finally:
            with suppress(OSError, AssertionError):
                browser.call("Browser.close")
            os.close(writer)
            os.close(reader)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
