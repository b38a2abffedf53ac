"""What long streams leave in memory: run it with `python -m tests.benchmarks.memory`.

Streams that are read, then streams that nobody reads, each on a fresh server. The table gives the resident memory
before, at most, at the end, and after a rest. Linux only.
"""

from __future__ import annotations

import argparse
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from urllib.parse import urlsplit

import orjson
from attrs import frozen

from tests.benchmarks.processes import Server, clean_environment, credentials, python
from tests.benchmarks.stalled import resident_mb

RUNTIMES = ("asyncio", "trio")
_TOKEN = "of-the-reader"


@frozen(kw_only=True)
class Load:
    """`streams` of `tokens` each, `at_once`; read to the end, or not `read` at all."""

    name: str
    streams: int
    at_once: int
    tokens: int
    read: bool


@frozen(kw_only=True)
class Memory:
    """Megabytes. `rested`: after `--rest` seconds without any load."""

    before: float
    peak: float
    end: float
    rested: float
    received: float
    seconds: float


def _request(host: str) -> bytes:
    message = {"messageId": secrets.token_hex(8), "role": "ROLE_USER", "parts": [{"text": "long"}]}
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": {"message": message}})
    head = (
        f"POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\na2a-version: 1.0\r\n"
        f"authorization: Bearer {_TOKEN}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _open(url: str) -> socket.socket:
    parts = urlsplit(url)
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    opened.settimeout(120)
    opened.connect((parts.hostname or "", parts.port or 0))
    opened.sendall(_request(parts.netloc))
    return opened


def _read(url: str, count: int, received: list[int]) -> None:
    for _ in range(count):
        with _open(url) as stream:
            while data := stream.recv(1 << 16):
                received.append(len(data))


@contextmanager
def _sampling(pid: int) -> Iterator[list[float]]:
    peaks = [resident_mb(pid)]
    done = Event()

    def sample() -> None:
        while not done.wait(0.05):
            peaks[0] = max(peaks[0], resident_mb(pid))

    sampler = Thread(target=sample)
    sampler.start()
    try:
        yield peaks
    finally:
        done.set()
        sampler.join()


def measure(agent: Server, load: Load, rest: float) -> Memory:
    """One load on a fresh server."""
    received: list[int] = []
    _read(agent.url, 1, [])
    before = resident_mb(agent.pid)
    began = time.monotonic()
    with _sampling(agent.pid) as peaks:
        if load.read:
            count = load.streams // load.at_once
            readers = [Thread(target=_read, args=(agent.url, count, received)) for _ in range(load.at_once)]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
            seconds = time.monotonic() - began
            end = resident_mb(agent.pid)
        else:
            unread = [_open(agent.url) for _ in range(load.streams)]
            still, last = 0, 0.0
            while still < 20:  # until the turns have ended, and nothing grows any more
                time.sleep(0.1)
                now = resident_mb(agent.pid)
                still = still + 1 if abs(now - last) < 0.5 else 0
                last = now
            seconds = time.monotonic() - began
            end = resident_mb(agent.pid)
            for stream in unread:
                stream.close()
    time.sleep(rest)
    return Memory(
        before=before,
        peak=peaks[0],
        end=end,
        rested=resident_mb(agent.pid),
        received=sum(received) / 2**20,
        seconds=seconds,
    )


def run(runtime: str, load: Load, rest: float) -> Memory:
    """A load on a server of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="opencode-a2a-memory-") as directory,
        Server(python("tests.benchmarks.upstream", "--tokens", str(load.tokens)), clean_environment({})) as upstream,
    ):
        command = python("opencode_a2a", "serve", "--runtime", runtime, "--host", "127.0.0.1", "--port", "0")
        settings = {
            "A2A_STATIC_AUTH_CREDENTIALS": credentials(_TOKEN, "reader"),
            "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{directory}/tasks.db",
            "OPENCODE_MAX_CONCURRENT_REQUESTS": "0",
            "OPENCODE_MAX_CONCURRENT_STREAMS": "0",
        }
        agent = Server([*command, "--opencode", upstream.url], clean_environment(settings), directory=directory)
        with agent:
            return measure(agent, load, rest)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory", description=__doc__)
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="may come twice (default: both)")
    parser.add_argument("--rest", type=float, default=30.0, metavar="S", help="seconds")
    parser.add_argument("--tokens", type=int, default=5000, metavar="N", help="of a stream that is read")
    options = parser.parse_args()
    loads = (
        Load(name="200 streams, read", streams=200, at_once=20, tokens=options.tokens, read=True),
        Load(name="10 streams, unread", streams=10, at_once=10, tokens=options.tokens * 2, read=False),
    )
    print("| runtime | load | RSS before, MB | at most | at the end | after a rest | read, MB | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for runtime in options.runtime or RUNTIMES:
        for load in loads:
            one = run(runtime, load, options.rest)
            figures = (one.before, one.peak, one.end, one.rested, one.received, one.seconds)
            cells = " | ".join(f"{figure:.0f}" for figure in figures)
            print(f"| {runtime} | {load.name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
