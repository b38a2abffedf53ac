"""A receiver of push notifications on loopback, which keeps what came.

Knows HTTP, and nothing of what is pushed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

from tests.real.deadline import Deadline, TooLateError

Json = dict[str, Any]


@attrs.frozen(kw_only=True)
class Push:
    """One notification. Header names are lower-case."""

    path: str
    headers: dict[str, str] = attrs.field(repr=False)
    body: Json


@attrs.define(eq=False)
class Receiver:
    """What has come so far, and where it comes."""

    url: str
    pushes: list[Push] = attrs.field(factory=list)
    changed: threading.Condition = attrs.field(factory=threading.Condition)

    def took(self, push: Push) -> None:
        with self.changed:
            self.pushes.append(push)
            self.changed.notify_all()

    def until(self, enough: Callable[[list[Push]], bool], seconds: float = 30) -> list[Push]:
        """Wait until what came is enough; all of it."""
        deadline = Deadline.within(seconds)
        with self.changed:
            while not enough(self.pushes):
                if deadline.passed:
                    raise TooLateError(f"not enough pushes: {self.pushes}")
                self.changed.wait(deadline.left)
            return list(self.pushes)


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    """A receiver that answers everything with 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.took(Push(path=self.path, headers=headers, body=json.loads(body)))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
