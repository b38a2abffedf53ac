"""`python -m fuzz.http_server [--seconds N] [--seed S] [--runtime NAME]`: throws malformed HTTP at a running server.

The server is the demo, a process of its own, on each runtime in turn. Whatever comes, it has to live, to answer no
500, to write no traceback, and to close what it refuses; at the end it answers as at the start, and has no more
files open. Exit codes: 0 nothing found, 1 something is broken (the bytes of that connection are printed), 2 usage.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from attrs import frozen

from fuzz.mutation import mutated
from tests.real.deadline import Deadline
from tests.real.process import Process

RUNTIMES = ("asyncio", "trio")
_START_SECONDS = 30.0
_PATIENCE = 0.02  # seconds of silence after which a connection is left
_ENDED = 20.0  # seconds for the server to close what was left to it
_SLACK = 8  # files that a working server may have open beyond those it had at first
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_SHOWN = 2000

_SEND = (
    b'{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"kind":"message","messageId":"m",'
    b'"role":"user","parts":[{"kind":"text","text":"hello"}]}}}'
)


def _documents(token: bytes) -> tuple[bytes, ...]:
    """Good requests, which are bent: with a credential and without, with every framing of a body."""
    known = b"Host: a\r\nAuthorization: Bearer " + token + b"\r\nContent-Type: application/json\r\n"
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(_SEND), _SEND)
    return (
        b"GET /.well-known/agent-card.json HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET /readyz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + known + b"\r\n",
        b"POST / HTTP/1.1\r\n" + known + b"Content-Length: %d\r\n\r\n" % len(_SEND) + _SEND,
        b"POST / HTTP/1.1\r\n" + known + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
        b"POST / HTTP/1.1\r\n" + known + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\nnull",
        b"GET /v1/tasks?pageSize=1 HTTP/1.1\r\n" + known + b"A2A-Version: 1.0\r\n\r\n",
        b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\nAccess-Control-Request-Method: POST\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        b"POST / HTTP/1.1\r\nHost: a\r\nForwarded: for=192.0.2.1;proto=https\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
    )


@frozen
class Served:
    """A running demo."""

    process: Process
    host: str
    port: int
    token: bytes

    @property
    def open_files(self) -> int:
        """The number of its open files; 0 where the system does not tell."""
        with suppress(OSError):
            return len(os.listdir(f"/proc/{self.process.popen.pid}/fd"))
        return 0

    @property
    def lives(self) -> bool:
        """Whether it answers as it should."""
        return self.exchange(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 10.0)[:12] == (
            b"HTTP/1.1 200"
        )

    def exchange(self, data: bytes, patience: float) -> bytes:
        """Send bytes on a connection of their own, and return what came until `patience` seconds were silent."""
        received = bytearray()
        with socket.create_connection((self.host, self.port), timeout=10.0) as connection, suppress(OSError):
            connection.sendall(data)
            connection.settimeout(patience)
            while part := connection.recv(65536):
                received += part
        return bytes(received)


@contextmanager
def _served(runtime: str, folder: Path) -> Iterator[Served]:
    command = [sys.executable, "-m", "opencode_a2a", "demo", "--keep", "--runtime", runtime, "--port", "0"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    process = Process.start(command, cwd=folder, env=environment)
    try:
        deadline = Deadline.within(_START_SECONDS)
        token = process.output.wait_for(r"A2A_CLIENT_BEARER_TOKEN=(\S+)", deadline)[1]
        url = urlsplit(process.output.wait_for(r"(http://127\.0\.0\.1:\d+)", deadline)[1])
        yield Served(process, url.hostname or "", url.port or 0, token.encode())
    finally:
        process.stop()


def fault_in(answer: bytes) -> str | None:
    """Return what is wrong with an answer; none need come."""
    statuses = _STATUS.findall(answer)
    if b"500" in statuses:
        return "HTTP 500"
    if answer and not statuses and not answer.startswith(b"\0\0"):  # a frame of HTTP/2 begins with its length
        return f"not HTTP: {answer[:80]!r}"
    return None


def _fault_of(served: Served) -> str | None:
    """What is wrong with a server by its process and its log."""
    if served.process.popen.poll() is not None:
        return f"the server ended with {served.process.popen.returncode}"
    if any("Traceback" in line for line in served.process.output.lines):
        return "there is a traceback in the log"
    return None


def attack(runtime: str, seconds: float, seed: int) -> int:
    """Throw requests for `seconds`; print what came of it; return 1 where something is broken, else 0."""
    random = Random(f"{runtime}:{seed}")
    with tempfile.TemporaryDirectory() as folder, _served(runtime, Path(folder)) as served:
        documents = _documents(served.token)
        for document in documents:
            served.exchange(document, _PATIENCE)
        before, ends, count, answered = served.open_files, time.monotonic() + seconds, 0, 0
        while time.monotonic() < ends:
            data = mutated(documents, random)
            answer = served.exchange(data, _PATIENCE)
            count, answered = count + 1, answered + bool(answer)
            fault = fault_in(answer) or _fault_of(served)
            if fault is not None:
                print(f"http on {runtime}: BROKEN: {fault}\n  by {data[:_SHOWN]!r}\n{served.process.output.tail()}")
                return 1
        fault = _end(served, before)
        print(f"http on {runtime}: {fault or 'ok'}: {count} connections, {answered} answered", flush=True)
        return 1 if fault else 0


def _end(served: Served, before: int) -> str | None:
    """What is wrong with the server once everybody has left."""
    if not served.lives:
        return "BROKEN: it does not answer any more"
    deadline = Deadline.within(_ENDED)
    while served.open_files > before + _SLACK and not deadline.passed:
        time.sleep(0.2)
    left = served.open_files
    return f"BROKEN: {left} files are open, {before} were at first" if left > before + _SLACK else None


def main() -> int:
    """Attack as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz.http_server", description=(__doc__ or "").partition(": ")[2]
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each runtime (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed tries the same bytes in the same order")
    parser.add_argument("--runtime", choices=RUNTIMES, help="default: each in turn")
    asked = parser.parse_args()
    chosen = (asked.runtime,) if asked.runtime else RUNTIMES
    return max(attack(runtime, asked.seconds, asked.seed) for runtime in chosen)


if __name__ == "__main__":
    sys.exit(main())
