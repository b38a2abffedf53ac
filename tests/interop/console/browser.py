"""Chromium, driven through its DevTools protocol over two pipes: it needs neither a package nor a port.

Knows how a person uses a page: elements are found by role and name, in the tree that a screen reader gets. Knows
nothing of the page under test.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import attrs

from tests.interop.environments import browser_path

Json: TypeAlias = dict[str, Any]

ANSWER_SECONDS = 60.0
WAIT_SECONDS = 60.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
_FREE = 10  # file descriptors from here on; Chromium's ends are 3 and 4
_KEYS = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32, "ArrowDown": 40, "ArrowUp": 38}


class DevToolsError(Exception):
    """Chromium refused a command, or a script of the page raised."""


class NotSeenError(AssertionError):
    """The page does not show in time what a test waits for."""


def until(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """Wait until a condition holds, and return what it returned. Raises `NotSeenError`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise NotSeenError(f"not seen in {seconds} s: {what}")
        time.sleep(0.03)
    return value


@attrs.define(eq=False)
class Browser:
    """A running Chromium."""

    commands: IO[bytes]
    answers: IO[bytes]
    waiting: dict[int, queue.SimpleQueue[Json]] = attrs.field(factory=dict)
    pages: dict[str, Page] = attrs.field(factory=dict)
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    last: int = 0

    def listen(self) -> None:
        """Hand out answers and events until Chromium ends."""
        rest = b""
        while piece := os.read(self.answers.fileno(), 1 << 16):
            *messages, rest = (rest + piece).split(b"\0")
            for message in map(json.loads, messages):
                if (waiting := self.waiting.pop(message.get("id", 0), None)) is not None:
                    waiting.put(message)
                elif (page := self.pages.get(message.get("sessionId", ""))) is not None:
                    page.note(message["method"], message["params"])

    def ask(self, method: str, session: str | None = None, **params: Any) -> Json:
        """Send a command and return its result. Raises `DevToolsError`."""
        answer: queue.SimpleQueue[Json] = queue.SimpleQueue()
        with self.lock:
            self.last += 1
            command: Json = {"id": self.last, "method": method, "params": params}
            self.waiting[self.last] = answer
            self.commands.write(json.dumps(command | ({"sessionId": session} if session else {})).encode() + b"\0")
            self.commands.flush()
        try:
            reply = answer.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise DevToolsError(f"{method} was not answered in {ANSWER_SECONDS} s") from None
        if "error" in reply:
            raise DevToolsError(f"{method}: {reply['error']['message']}")
        result: Json = reply["result"]
        return result

    def person(self) -> Person:
        """Make a person: somebody with cookies of their own."""
        return Person(self, self.ask("Target.createBrowserContext")["browserContextId"])


@attrs.frozen(eq=False)
class Person:
    """The cookies and the storage that pages share."""

    browser: Browser
    context: str

    def page(self, url: str, *, width: int = 1200, height: int = 900) -> Page:
        """Open a page, and wait until its module has run."""
        target = self.browser.ask("Target.createTarget", url="about:blank", browserContextId=self.context)["targetId"]
        session = self.browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self.browser, session, target)
        self.browser.pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility", "DOM"):
            page.ask(f"{domain}.enable")
        page.resize(width, height)
        page.go(url)
        return page

    def leave(self) -> None:
        """Close all pages and forget the cookies."""
        self.browser.ask("Target.disposeBrowserContext", browserContextId=self.context)


@attrs.define(eq=False)
class Page:
    """A tab. `troubles` are the errors of scripts and what a policy has refused; `requests` the URLs asked for."""

    browser: Browser
    session: str
    target: str
    troubles: list[str] = attrs.field(factory=list)
    requests: list[str] = attrs.field(factory=list)
    downloads: list[str] = attrs.field(factory=list)

    def note(self, event: str, params: Json) -> None:
        if event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.troubles.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Log.entryAdded" and params["entry"]["source"] in ("security", "javascript", "other"):
            self.troubles.append(params["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(f"{params['request']['method']} {params['request']['url']}")
        elif event == "Page.downloadWillBegin":
            self.downloads.append(params["suggestedFilename"])

    def ask(self, method: str, **params: Any) -> Json:
        return self.browser.ask(method, self.session, **params)

    def go(self, url: str) -> None:
        self.ask("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def reload(self) -> None:
        self.run("window.isOld = true")
        self.ask("Page.reload")
        until(lambda: not self.run("window.isOld"), "a page that is loaded again")
        self.until("document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """Evaluate an expression in the page, and return its value. Raises `DevToolsError`."""
        try:
            answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        except DevToolsError as error:
            if "navigated" in str(error) or "context" in str(error):
                return None  # the page is about to be another one
            raise
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise DevToolsError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = WAIT_SECONDS) -> Any:
        """Wait until an expression is true in the page, and return its value; that of an element is true."""
        script = f"(found => found instanceof Element || found)({expression})"
        try:
            return until(lambda: self.run(script), expression, seconds)
        except NotSeenError as error:
            raise NotSeenError(f"{error}; the page shows:\n{self.text[:3000]}\ntroubles: {self.troubles}") from None

    @property
    def text(self) -> str:
        """What the page shows as text, and the dialog above it."""
        return str(self.run("document.body.innerText"))

    def sees(self, text: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until the page shows a text."""
        self.until(f"document.body.innerText.includes({json.dumps(text)})", seconds)

    def sees_not(self, text: str) -> None:
        """Wait until the page shows a text no more."""
        self.until(f"!document.body.innerText.includes({json.dumps(text)})")

    def all(self, role: str, name: str | None = None) -> list[int]:
        """Find the elements of a role, by their exact accessible name where one is given."""
        root = self.ask("DOM.getDocument", depth=0)["root"]["nodeId"]
        wanted = {"role": role} | ({"accessibleName": name} if name is not None else {})
        nodes = self.ask("Accessibility.queryAXTree", nodeId=root, **wanted)["nodes"]
        return [node["backendDOMNodeId"] for node in nodes if not node["ignored"]]

    def find(self, role: str, name: str | None = None, number: int = 0) -> int:
        """Wait for an element of a role, and return its node."""

        def found() -> list[int]:
            try:
                return self.all(role, name)[number : number + 1]
            except DevToolsError:
                return []  # the document has changed meanwhile

        try:
            [node] = until(found, f"{role} {name!r}")
        except NotSeenError as error:
            raise NotSeenError(f"{error}; the page shows:\n{self.text[:3000]}\ntroubles: {self.troubles}") from None
        return int(node)

    def click(self, role: str, name: str | None = None, number: int = 0) -> None:
        """Click in the middle of an element, as soon as it can be clicked."""
        self.click_node(self.find(role, name, number))

    def click_node(self, node: int) -> None:
        def point() -> list[float] | None:
            with contextlib.suppress(DevToolsError):
                self.ask("DOM.scrollIntoViewIfNeeded", backendNodeId=node)
                corners: list[float] = self.ask("DOM.getContentQuads", backendNodeId=node)["quads"][0]
                return corners
            return None

        corners = until(point, "an element that can be clicked")
        x, y = (corners[0] + corners[4]) / 2, (corners[1] + corners[5]) / 2
        for event in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=event, x=x, y=y, button="left", clickCount=1)

    def fill(self, role: str, name: str, text: str) -> None:
        """Write a text into an element, in place of what it has."""
        self.ask("DOM.focus", backendNodeId=self.find(role, name))
        self.run("document.activeElement.select?.()")
        self.write(text)

    def write(self, text: str) -> None:
        """Write a text where the focus is."""
        self.ask("Input.insertText", text=text)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key."""
        code = _KEYS[key]
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common = {
            "key": key,
            "code": "Space" if key == " " else key,
            "windowsVirtualKeyCode": code,
            "modifiers": 8 if shift else 0,
        }
        self.ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **common)

    @property
    def focused(self) -> str:
        """The name or text of the element that has the focus."""
        script = "(e => e.ariaLabel || e.labels?.[0]?.innerText || e.innerText || e.tagName)(document.activeElement)"
        return str(self.run(script)).strip()

    def tab_to(self, name: str, limit: int = 60) -> None:
        """Press Tab until the element of this name or text has the focus. Raises `NotSeenError`."""
        passed = []
        for _ in range(limit):
            if self.focused == name:
                return
            self.press("Tab")
            passed.append(self.focused)
        raise NotSeenError(f"Tab does not reach {name!r}, but {passed}")

    def attach(self, name: str, *files: Path) -> None:
        """Choose files in an input of this label."""
        all_inputs = "[...document.querySelectorAll('input[type=file]')]"
        script = f"{all_inputs}.find(input => input.labels[0].innerText === {json.dumps(name)})"
        found = self.ask("Runtime.evaluate", expression=script)["result"]["objectId"]
        self.ask("DOM.setFileInputFiles", files=[str(file) for file in files], objectId=found)

    def resize(self, width: int, height: int, *, is_mobile: bool = False) -> None:
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_mobile
        )

    def prefer(self, scheme: str) -> None:
        """Prefer a light or a dark scheme."""
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path, *, whole: bool = True) -> None:
        answer = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        self.browser.ask("Target.closeTarget", targetId=self.target)


@contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """Start Chromium; stop it at the end. Raises `UnavailableError` where there is none."""
    path = browser_path()
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
    # Both numbers must be free of what they are moved to.
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _FREE) for end in (their_in, their_out)]
    os.close(their_in)
    os.close(their_out)
    log = folder / "chromium.log"
    actions = [
        (os.POSIX_SPAWN_DUP2, moved[0], 3),
        (os.POSIX_SPAWN_DUP2, moved[1], 4),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        env = {"PATH": os.environ["PATH"], "HOME": profile, "LANG": "C.UTF-8"}
        pid = os.posix_spawn(path, command, env, file_actions=actions, setpgroup=0)
        for end in moved:
            os.close(end)
        with os.fdopen(our_out, "wb") as commands, os.fdopen(our_in, "rb", buffering=0) as answers:
            browser = Browser(commands, answers)
            listener = threading.Thread(target=browser.listen, daemon=True)
            listener.start()
            try:
                yield browser
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                listener.join(ANSWER_SECONDS)
