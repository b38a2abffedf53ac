"""What readers who do not read cost the others: run it with `python -m tests.benchmarks.stalled`.

The same long turns run twice, once with nobody looking and once with a stream open on each that is hardly read or not
at all. Meanwhile a few clients stream as they should: what they wait for, and what the server needs, is compared.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import anyio
import orjson
from anyio.abc import SocketStream
from attrs import define, evolve, field, frozen

from tests.benchmarks.processes import Server, clean_environment, python

RUNTIMES = ("asyncio", "trio")
_BUFFER = 4096  # bytes that the kernel keeps for a reader who does not read
_READ_EVERY = 1.0  # seconds between two bytes of those who read at all
_WATCHERS = 4
_SAMPLE_EVERY = 0.1
_PROBE_EVERY = 0.3
TOKENS = ("of-the-long-turns", "of-the-others")
_TASK_ID = re.compile(rb'"task":\{"id":"([^"]+)"')
_LENGTH = re.compile(rb"content-length: *(\d+)\r\n(?:[^\r\n]+\r\n)*\r\n", re.IGNORECASE)


@frozen(kw_only=True)
class Load:
    """`readers` stalled ones on as many long turns; `turns` long ones in any case; the pace of a turn."""

    readers: int
    turns: int
    tokens: int
    interval: float  # seconds between two tokens


@frozen(kw_only=True)
class Measured:
    """Seconds and megabytes of one load. `resident`: at most, beyond that before the load."""

    readers: int
    resident: float
    kept: float  # beyond that before, once the turns have ended and the stalled readers are still there
    firsts: tuple[float, ...]  # from the others' requests to their streams' first tokens, sorted
    gaps: tuple[float, ...]  # between two tokens of the others' streams, sorted


@define(eq=False)
class _Meter:
    """What the clients that read have seen."""

    firsts: list[float] = field(factory=list)
    gaps: list[float] = field(factory=list)
    peak: float = 0.0


def resident_mb(pid: int) -> float:
    """The memory a process has in use now; Linux only."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@frozen(kw_only=True)
class _Address:
    host: str
    port: int
    token: str

    def message(self, text: str, *, at_once: bool = False) -> dict[str, object]:
        message = {"messageId": secrets.token_hex(8), "role": "ROLE_USER", "parts": [{"text": text}]}
        return {"message": message, "configuration": {"returnImmediately": at_once}}

    def request(self, method: str, text: str) -> bytes:
        return self._raw(method, self.message(text))

    def _raw(self, method: str, params: dict[str, object]) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        head = (
            f"POST / HTTP/1.1\r\nhost: {self.host}\r\ncontent-type: application/json\r\na2a-version: 1.0\r\n"
            f"authorization: Bearer {self.token}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def connect(self) -> SocketStream:
        return await anyio.connect_tcp(self.host, self.port)

    async def ask(self, method: str, params: dict[str, object]) -> dict[str, object]:
        """A plain answer's result."""
        async with await self.connect() as stream:
            await stream.send(self._raw(method, params))
            data = b""
            while (found := _LENGTH.search(data)) is None or len(data) < found.end() + int(found.group(1)):
                data += await stream.receive()
        return cast("dict[str, object]", orjson.loads(data[found.end() :])["result"])


async def _stalled(address: _Address, *, reads: bool, begun: anyio.Event) -> None:
    """Open a stream, read its beginning, and then a byte now and then or none."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # or the server's kernel would keep megabytes
    raw.setblocking(False)
    with raw:
        try:
            raw.connect((address.host, address.port))
        except BlockingIOError:
            await anyio.wait_writable(raw)
        raw.send(address.request("SendStreamingMessage", "long"))
        await anyio.wait_readable(raw)
        raw.recv(512)
        begun.set()
        while True:
            await anyio.sleep(_READ_EVERY)
            if reads:
                await anyio.wait_readable(raw)
                raw.recv(1)


async def _watch(address: _Address, meter: _Meter) -> None:
    """Stream one turn after the other, as a client should."""
    while True:
        async with await address.connect() as stream:
            await stream.send(address.request("SendStreamingMessage", "read"))
            last = 0.0
            tail = b""
            while b"TASK_STATE_COMPLETED" not in tail:
                data = await stream.receive()
                tail = (tail + data)[-4096:]
                if b"artifactUpdate" in data:
                    now = time.perf_counter()
                    if last:
                        meter.gaps.append(now - last)
                    last = now


async def _probe(address: _Address, meter: _Meter) -> None:
    """Start a stream now and then, wait for its first token, and cancel it."""
    while True:
        async with await address.connect() as stream:
            asked = time.perf_counter()
            await stream.send(address.request("SendStreamingMessage", "begin"))
            data = b""
            while b"artifactUpdate" not in data:
                data += await stream.receive()
            meter.firsts.append(time.perf_counter() - asked)
        found = _TASK_ID.search(data)
        assert found is not None
        await address.ask("CancelTask", {"id": found.group(1).decode()})
        await anyio.sleep(_PROBE_EVERY)


async def _sample(pid: int, meter: _Meter) -> None:
    while True:
        meter.peak = max(meter.peak, resident_mb(pid))
        await anyio.sleep(_SAMPLE_EVERY)


async def measure(agent: Server, load: Load) -> Measured:
    """One load on an agent that is up and fresh."""
    parts = urlsplit(agent.url)
    long, others = (_Address(host=str(parts.hostname), port=int(parts.port or 0), token=token) for token in TOKENS)
    await others.ask("SendMessage", others.message("warm up", at_once=True))
    meter = _Meter()
    before = resident_mb(agent.pid)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_sample, agent.pid, meter)
        begun = [anyio.Event() for _ in range(load.readers)]
        for index, event in enumerate(begun):
            tasks.start_soon(partial(_stalled, long, reads=index % 2 == 0, begun=event))
        for _ in range(load.turns - load.readers):
            await long.ask("SendMessage", long.message("long", at_once=True))
        for event in begun:
            await event.wait()
        for _ in range(_WATCHERS):
            tasks.start_soon(_watch, others, meter)
        tasks.start_soon(_probe, others, meter)
        with anyio.fail_after(8 * load.tokens * load.interval + 60):
            while await _completed(long) < load.turns:  # noqa: ASYNC110 - another process has no event to wait for
                await anyio.sleep(0.2)
        kept = resident_mb(agent.pid)
        tasks.cancel_scope.cancel()
    return Measured(
        readers=load.readers,
        resident=meter.peak - before,
        kept=kept - before,
        firsts=tuple(sorted(meter.firsts)),
        gaps=tuple(sorted(meter.gaps)),
    )


async def _completed(address: _Address) -> int:
    page = await address.ask("ListTasks", {"status": "TASK_STATE_COMPLETED", "pageSize": 1})
    return int(cast("int", page["totalSize"]))


def agent_for(runtime: str, upstream: str, directory: str) -> Server:
    """The agent as a process, not started yet."""
    credentials = [
        {"scheme": "bearer", "token": token, "principal": f"principal-{index}"} for index, token in enumerate(TOKENS)
    ]
    command = python("opencode_a2a", "serve", "--runtime", runtime, "--host", "127.0.0.1", "--port", "0")
    settings = {
        "A2A_STATIC_AUTH_CREDENTIALS": json.dumps(credentials),
        "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{directory}/tasks.db",
        "OPENCODE_MAX_CONCURRENT_REQUESTS": "0",
        "OPENCODE_MAX_CONCURRENT_STREAMS": "0",
    }
    return Server([*command, "--opencode", upstream], clean_environment(settings), directory=directory)


def compare(runtime: str, load: Load) -> tuple[Measured, Measured]:
    """The load with nobody looking, and with its stalled readers, each on a fresh agent."""
    results = []
    pace = ("--tokens", str(load.tokens), "--token-interval-ms", str(load.interval * 1000))
    for readers in (0, load.readers):
        with (
            tempfile.TemporaryDirectory(prefix="opencode-a2a-stalled-") as directory,
            Server(python("tests.benchmarks.upstream", *pace), clean_environment({})) as upstream,
            agent_for(runtime, upstream.url, directory) as agent,
        ):
            results.append(anyio.run(measure, agent, evolve(load, readers=readers)))
    return results[0], results[1]


def _percentile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def table(rows: Sequence[tuple[str, Measured]]) -> str:
    """One row a measurement."""
    lines = [
        "| runtime | stalled readers | RSS at most, MB more | RSS after the turns, MB more | first token p50, ms "
        "| first token p99 | token gap p50, ms | token gap p99 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for runtime, one in rows:
        times = [_percentile(of, share) * 1000 for of in (one.firsts, one.gaps) for share in (0.5, 0.99)]
        cells = [runtime, one.readers, f"{one.resident:.0f}", f"{one.kept:.0f}", *(f"{time:.1f}" for time in times)]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.stalled", description=__doc__)
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="may come twice (default: both)")
    parser.add_argument("--readers", type=int, default=100, metavar="N")
    parser.add_argument("--tokens", type=int, default=1000, metavar="N", help="per turn")
    parser.add_argument("--interval-ms", type=float, default=30.0, metavar="MS", help="between two tokens")
    options = parser.parse_args()
    load = Load(
        readers=options.readers,
        turns=options.readers,
        tokens=options.tokens,
        interval=options.interval_ms / 1000,
    )
    rows = [(runtime, one) for runtime in options.runtime or RUNTIMES for one in compare(runtime, load)]
    print(table(rows))


if __name__ == "__main__":
    main()
