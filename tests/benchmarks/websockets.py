"""What streams over WebSocket cost the server, beside streams over SSE: `python -m tests.benchmarks.websockets`.

The same turns run twice, each time on a fresh server: once with a connection for each stream, once with many streams
on a few WebSocket connections. Memory is resident memory beyond that before, with all streams open; CPU is that of
the server from then on, for each event that a client got. Linux only.
"""

from __future__ import annotations

import argparse
import secrets
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from selectors import EVENT_READ, DefaultSelector
from urllib.parse import urlsplit

import orjson
from attrs import frozen

from tests.benchmarks.processes import Server, Usage, clean_environment, credentials, python
from tests.benchmarks.stalled import resident_mb

RUNTIMES = ("asyncio", "trio")
KINDS = ("SSE", "WebSocket")
_TOKEN = "of-the-reader"
_SECONDS = 180.0
_ALIVE, _PONG = 5.0, b"\x8a\x80\0\0\0\0"  # seconds between two signs of life, and the sign
_PAUSE = 0.005  # seconds between two streams: memory of a burst is not that of streams
_EVENTS = {"SSE": b'\ndata: {"jsonrpc"', "WebSocket": b'"eventId":"'}
_ENDS = {"SSE": b"TASK_STATE_COMPLETED", "WebSocket": b'"streamEnd":true'}


@frozen(kw_only=True)
class Load:
    """`streams` of `tokens` each, `interval` milliseconds apart, after `delay` seconds.

    `connections`: of WebSocket, which share the streams.
    """

    streams: int
    connections: int
    tokens: int
    interval: float
    delay: float


@frozen(kw_only=True)
class Cost:
    """Megabytes beyond those before; seconds of CPU, and events that came."""

    memory: float
    cpu: float
    events: int


def _message(number: int) -> bytes:
    message = {"messageId": secrets.token_hex(8), "role": "ROLE_USER", "parts": [{"text": "go"}]}
    asked = {"jsonrpc": "2.0", "id": number, "method": "SendStreamingMessage", "params": {"message": message}}
    return orjson.dumps(asked)


def _head(host: str, line: str, *fields: str) -> bytes:
    common = (f"host: {host}", "a2a-version: 1.0", f"authorization: Bearer {_TOKEN}")
    return "\r\n".join((line, *common, *fields, "", "")).encode()


def _over_sse(host: str, load: Load) -> Iterator[tuple[int, bytes]]:
    """What is sent, with the number of its connection."""
    for number in range(load.streams):
        body = _message(number)
        fields = ("content-type: application/json", "connection: close", f"content-length: {len(body)}")
        yield number, _head(host, "POST / HTTP/1.1", *fields) + body


def _over_websocket(host: str, load: Load) -> Iterator[tuple[int, bytes]]:
    fields = ("upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13")
    more = ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-protocol: a2a.v1")
    for number in range(load.connections):
        yield number, _head(host, "GET /websocket HTTP/1.1", *fields, *more)
    for number in range(load.streams):
        yield number % load.connections, _frame(_message(number))


def _frame(text: bytes) -> bytes:
    return b"\x81\xfe" + struct.pack("!H", len(text)) + b"\0\0\0\0" + text  # a message has more than 125 bytes


_SENT: dict[str, Callable[[str, Load], Iterator[tuple[int, bytes]]]] = {
    "SSE": _over_sse,
    "WebSocket": _over_websocket,
}


def measure(agent: Server, load: Load, kind: str) -> Cost:
    """Open all streams of a fresh server, one after the other, and read them to their ends."""
    parts = urlsplit(agent.url)
    before = resident_mb(agent.pid)
    selector = DefaultSelector()
    connections: dict[int, socket.socket] = {}
    left: dict[socket.socket, int] = {}
    usage: Usage | None = None
    for number, data in _SENT[kind](parts.netloc, load):
        if number not in connections:
            connections[number] = socket.create_connection((parts.hostname or "", parts.port or 0))
            selector.register(connections[number], EVENT_READ)
            left[connections[number]] = load.streams // (load.streams if kind == "SSE" else load.connections)
        connections[number].sendall(data)
        time.sleep(_PAUSE)
    events, memory, ends_at = 0, 0.0, time.monotonic() + _SECONDS
    tail: dict[socket.socket, bytes] = dict.fromkeys(left, b"")
    keep = max(len(_EVENTS[kind]), len(_ENDS[kind])) - 1
    measured_at = time.monotonic() + (load.delay - _PAUSE * load.streams) * 0.6
    alive_at = time.monotonic()
    while left:
        if usage is None and time.monotonic() > measured_at:
            memory, events = resident_mb(agent.pid) - before, 0
            usage = Usage.start(agent.pid)
        if kind == "WebSocket" and time.monotonic() > alive_at:
            alive_at += _ALIVE
            for opened in left:
                opened.sendall(_PONG)
        if time.monotonic() > ends_at:
            raise TimeoutError(f"{sum(left.values())} streams did not end")
        for key, _ in selector.select(0.1):
            source = key.fileobj
            assert isinstance(source, socket.socket)
            data = source.recv(1 << 18)
            known, seen = tail[source], tail[source] + data
            events += seen.count(_EVENTS[kind]) - known.count(_EVENTS[kind])
            left[source] -= seen.count(_ENDS[kind]) - known.count(_ENDS[kind])
            tail[source] = seen[-keep:]
            if left[source] <= 0 or not data:
                selector.unregister(source)
                source.close()
                del left[source]
    assert usage is not None
    return Cost(memory=memory, cpu=usage.cpu_seconds(), events=events)


def run(runtime: str, load: Load, kind: str) -> Cost:
    """A load on a server of its own."""
    pace = ("--tokens", str(load.tokens), "--token-interval-ms", str(load.interval))
    waiting = ("--delay-ms", str(load.delay * 1000))
    with (
        tempfile.TemporaryDirectory(prefix="opencode-a2a-websockets-") as directory,
        Server(python("tests.benchmarks.upstream", *pace, *waiting), clean_environment({})) as upstream,
    ):
        command = python("opencode_a2a", "serve", "--runtime", runtime, "--host", "127.0.0.1", "--port", "0")
        settings = {
            "A2A_STATIC_AUTH_CREDENTIALS": credentials(_TOKEN, "reader"),
            "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{directory}/tasks.db",
            "A2A_BINDINGS": "JSONRPC,WEBSOCKET",
            "OPENCODE_MAX_CONCURRENT_REQUESTS": "0",
            "OPENCODE_MAX_CONCURRENT_STREAMS": "0",
        }
        agent = Server([*command, "--opencode", upstream.url], clean_environment(settings), directory=directory)
        with agent:
            return measure(agent, load, kind)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.websockets", description=__doc__)
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="may come twice (default: both)")
    parser.add_argument("--streams", type=int, default=1000, metavar="N", help="at once (default: 1000)")
    parser.add_argument("--connections", type=int, default=10, metavar="N", help="of WebSocket (default: 10)")
    parser.add_argument("--tokens", type=int, default=20, metavar="N", help="of each stream (default: 20)")
    parser.add_argument("--delay", type=float, default=30.0, metavar="S", help="until the first token (default: 30)")
    options = parser.parse_args(arguments)
    load = Load(
        streams=options.streams,
        connections=options.connections,
        tokens=options.tokens,
        interval=50.0,
        delay=options.delay,
    )
    print("| runtime | binding | memory, MB | events | CPU, us an event | memory to SSE | CPU to SSE |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for runtime in options.runtime or RUNTIMES:
        first: tuple[float, float] | None = None
        for kind in KINDS:
            cost = run(runtime, load, kind)
            each = cost.cpu / cost.events * 1e6
            first = first or (cost.memory, each)
            ratios = f"{cost.memory / first[0]:.2f} | {each / first[1]:.2f}"
            print(f"| {runtime} | {kind} | {cost.memory:.0f} | {cost.events} | {each:.0f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
