"""One official client at work: its driver as a child process, asked in JSON lines.

Knows how a driver is spoken to, and nothing of servers or of what the answers should be.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import attrs

from tests.interop.environments import DEFAULT_LOCATION, browser_path, node_folder, python_of
from tests.real.deadline import TooLateError

ROOT = DEFAULT_LOCATION.parents[1]
ANSWER_SECONDS = 120
STOP_SECONDS = 10

Json: TypeAlias = dict[str, Any]

PROGRAMS = {
    "python-0.3": "python_0_3",
    "python-1": "python_1",
    "google-adk": "adk",
    "strands": "strands_agent",
    "a2a-handler": "handler",
    "websockets": "websocket_python",
}
SCRIPTS = {"javascript-0.3": "javascript_0_3.mjs", "javascript-1": "javascript_1.mjs"}
PLATFORMS = {"node": "websocket_node.mjs", "chromium": "websocket_chromium.mjs"}
"""Scripts that need no package: what they drive comes with the platform."""
BROWSER = "chromium"
CLIENTS = (*PROGRAMS, *SCRIPTS, *PLATFORMS)


class ClientError(Exception):
    """The client raised; `name`, `text`, `code` and `status` are what it said."""

    def __init__(self, error: Json) -> None:
        super().__init__(f"{error['name']}: {error['text']}")
        self.name: str = error["name"]
        self.text: str = error["text"]
        self.code: int | None = error["code"]
        self.status: int | None = error["status"]


class DriverEndedError(Exception):
    """The driver is gone; the message holds what it printed on standard error."""


@attrs.frozen(eq=False)
class Conversation:
    """The replies to one command, as they come."""

    replies: queue.SimpleQueue[Json]

    def next(self) -> Json | None:
        """The next item, or None at the end. Raises `ClientError` where the client did."""
        try:
            reply = self.replies.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise TooLateError(f"a driver said nothing for {ANSWER_SECONDS} s") from None
        if "error" in reply:
            raise ClientError(reply["error"])
        if "ended" in reply:
            raise DriverEndedError(reply["ended"])
        item: Json | None = reply.get("item")
        return item

    def __iter__(self) -> Iterator[Json]:
        while (item := self.next()) is not None:
            yield item

    def all(self) -> list[Json]:
        return list(self)

    def one(self) -> Json:
        [item] = self
        return item


@attrs.define(eq=False)
class Driver:
    """A running driver."""

    popen: subprocess.Popen[str]
    errors: IO[str]
    waiting: dict[int, queue.SimpleQueue[Json]] = attrs.field(factory=dict)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def begin(self, operation: str, fields: Mapping[str, Any]) -> Conversation:
        """Give a command; the conversation may run while others do."""
        replies: queue.SimpleQueue[Json] = queue.SimpleQueue()
        with self.lock:
            number = len(self.waiting) + 1
            self.waiting[number] = replies
            assert self.popen.stdin is not None
            self.popen.stdin.write(json.dumps({"id": number, "operation": operation, **fields}) + "\n")
            self.popen.stdin.flush()
        return Conversation(replies)

    def listen(self) -> None:
        """Hand out replies until the driver ends; then everyone who waits is told."""
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            reply = json.loads(line)
            self.waiting[reply["id"]].put(reply)
        self.errors.seek(0)
        ended = {"ended": self.errors.read()[-4000:]}
        with self.lock:
            for replies in self.waiting.values():
                replies.put(ended)


def command_of(client: str) -> list[str]:
    """The command line of a client's driver, its environment made first. Raises `UnavailableError`."""
    if client in PROGRAMS:
        return [str(python_of(client)), "-m", f"{__package__}.drivers.{PROGRAMS[client]}"]
    folder = DEFAULT_LOCATION / "drivers"
    if client in PLATFORMS:
        browser = [browser_path()] if client == BROWSER else []
        # Node 20 and 21 have WebSocket by this alone; later ones have it anyway.
        return ["node", "--experimental-websocket", str(folder / PLATFORMS[client]), str(folder), *browser]
    return ["node", str(folder / SCRIPTS[client]), str(node_folder())]


@contextmanager
def running_driver(client: str, home: Path) -> Iterator[Driver]:
    """Start a client's driver; stop it at the end."""
    command: Sequence[str] = command_of(client)
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        popen = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        )
        driver = Driver(popen, errors)
        listener = threading.Thread(target=driver.listen, daemon=True)
        listener.start()
        try:
            yield driver
        finally:
            assert popen.stdin is not None
            assert popen.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                popen.stdin.close()
            popen.terminate()
            try:
                popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
            listener.join(STOP_SECONDS)
            popen.stdout.close()
