"""Memory of many streams at once: `python -m tests.benchmarks.many_streams`.

1,000 streams on 10 connections of WebSocket, against 1,000 over SSE, each on a connection of its own: once each of a
task of its own, once all of one task. All are open and silent when the server's memory is read. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen

from tests.benchmarks.processes import Server, clean_environment, credentials, python
from tests.benchmarks.report import Ratio
from tests.benchmarks.stalled import resident_mb
from tests.benchmarks.wire import Binding, Wire, websocket_frame

RUNTIMES: Final = ("asyncio", "trio")
MOST: Final = 0.5  # the target: the memory of WebSocket, as a part of that of SSE
_TOKEN: Final = "of-the-reader"
_INTERVAL_MS: Final = 120_000  # so that a turn says its first token, and nothing more while it is measured
_AT_ONCE: Final = 50  # streams that are being opened
_BEGUN: Final = b'"result":{"task":'
_SETTLE: Final = 2.0  # seconds after the last stream has begun
_TIMEOUT: Final = 120.0


@frozen
class Connection:
    """A connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@frozen(kw_only=True)
class Address:
    """The server, and how many streams a connection of WebSocket has."""

    url: str
    per_connection: int

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    async def connect(self) -> Connection:
        return Connection(*await asyncio.open_connection(urlsplit(self.url).hostname, urlsplit(self.url).port))

    def wire(self, binding: Binding) -> Wire:
        return Wire(version="1.0", binding=binding, mode="stream")


def _params(task: str | None) -> tuple[str, dict[str, Any]]:
    if task is not None:
        return "SubscribeToTask", {"id": task}
    message = {"messageId": secrets.token_hex(8), "role": "ROLE_USER", "parts": [{"text": "hello"}]}
    return "SendStreamingMessage", {"message": message}


def _rpc(number: int, task: str | None) -> bytes:
    method, params = _params(task)
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


async def over_sse(address: Address, count: int, task: str | None) -> list[Connection]:
    """Open streams, a connection each; return once each has its first event."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> Connection:
        async with gate:
            connection = await address.connect()
            body = _rpc(number, task)
            head = (
                f"POST / HTTP/1.1\r\nhost: {address.host}\r\nauthorization: Bearer {_TOKEN}\r\na2a-version: 1.0\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            connection.writer.write(head.encode() + body)
            await connection.reader.readuntil(_BEGUN)
            return connection

    return await asyncio.gather(*map(one, range(count)))


async def over_websocket(address: Address, count: int, task: str | None) -> list[Connection]:
    """Open streams, many on a connection; return once each has its first event."""
    at_once = max(1, _AT_ONCE * address.per_connection // count)
    opening = address.wire("websocket").opening(host=address.host, path="", token=_TOKEN)

    async def one(numbers: range) -> Connection:
        connection = await address.connect()
        connection.writer.write(opening)
        await connection.reader.readuntil(b"\r\n\r\n")
        seen = b""
        for done, number in enumerate(numbers, start=1):
            connection.writer.write(websocket_frame(_rpc(number, task)))
            while (done % at_once == 0 or done == len(numbers)) and seen.count(_BEGUN) < done:
                data = await connection.reader.read(1 << 16)
                if not data:
                    raise RuntimeError("the server ended a connection")
                seen += data
        return connection

    every = [
        range(start, min(count, start + address.per_connection)) for start in range(0, count, address.per_connection)
    ]
    return await asyncio.gather(*map(one, every))


OPEN: Final[dict[str, Callable[[Address, int, str | None], Any]]] = {"SSE": over_sse, "WebSocket": over_websocket}


async def _drain(connection: Connection) -> None:
    with suppress(OSError):
        while await connection.reader.read(1 << 16):
            pass


async def grown(server: Server, address: Address, binding: str, streams: int, *, one_task: bool) -> float:
    """Return the megabytes that the server takes for the streams."""
    async with asyncio.timeout(_TIMEOUT):
        first = await OPEN[binding](address, 1, None)  # what the first request loads counts for none
        task = await _task_of(address) if one_task else None
        await asyncio.sleep(_SETTLE)
        before = resident_mb(server.pid)
        connections = await OPEN[binding](address, streams, task)
        readers = [asyncio.create_task(_drain(one)) for one in (*first, *connections)]
        await asyncio.sleep(_SETTLE)
        found = resident_mb(server.pid) - before
        for reader in readers:
            reader.cancel()
        for connection in (*first, *connections):
            connection.writer.close()
    return found


async def _task_of(address: Address) -> str:
    """Begin a task whose turn goes on; return its id."""
    connection = await address.connect()
    message = _params(None)[1] | {"configuration": {"returnImmediately": True}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message}).encode()
    head = (
        f"POST / HTTP/1.1\r\nhost: {address.host}\r\nauthorization: Bearer {_TOKEN}\r\na2a-version: 1.0\r\n"
        f"connection: close\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    connection.writer.write(head.encode() + body)
    answer = await connection.reader.read()
    connection.writer.close()
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["result"]["task"]["id"])


def measure(runtime: str, binding: str, streams: int, connections: int, *, one_task: bool) -> float:
    """Measure on a fresh server: the megabytes of the streams."""
    with (
        tempfile.TemporaryDirectory(prefix="opencode-a2a-streams-") as directory,
        Server(
            python("tests.benchmarks.upstream", "--token-interval-ms", str(_INTERVAL_MS)), clean_environment({})
        ) as upstream,
    ):
        command = python("opencode_a2a", "serve", "--runtime", runtime, "--host", "127.0.0.1", "--port", "0")
        settings = {
            "A2A_STATIC_AUTH_CREDENTIALS": credentials(_TOKEN, "reader"),
            "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{directory}/tasks.db",
            "A2A_BINDINGS": "HTTP+JSON,JSONRPC,WEBSOCKET",
        }
        environment = clean_environment(settings)
        with Server([*command, "--opencode", upstream.url], environment, directory=directory) as server:
            address = Address(url=server.url, per_connection=-(-streams // connections))
            return asyncio.run(grown(server, address, binding, streams, one_task=one_task))


def main() -> int:
    """Print a row for each runtime and kind of streams."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.many_streams", description=__doc__)
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="may come twice (default: both)")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=10, help="of WebSocket (10)")
    options = parser.parse_args()
    for runtime in options.runtime or RUNTIMES:
        for one_task in (False, True):
            found = {
                binding: measure(runtime, binding, options.streams, options.connections, one_task=one_task)
                for binding in OPEN
            }
            title = f"{runtime}, {options.streams} streams of {'one task' if one_task else 'a task each'}"
            print(f"{title}: {', '.join(f'{name} {value:.1f} MB' for name, value in found.items())}")
            ratio = found["WebSocket"] / found["SSE"]
            print(Ratio(name=f"{title}, WebSocket to SSE", value=ratio, target=MOST, at_least=False), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
