"""Many readers of one task's stream at once: do all see the same, and what does a reader cost the server?

`python -m tests.benchmarks.readers`. Starts everything as processes of its own; measures CPU from `/proc`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import attrs

from tests.benchmarks import processes
from tests.benchmarks.resume import RUNTIMES, agent, fake_opencode, request_body, state_of, unpacked
from tests.benchmarks.wire import VERSIONS, Version

_TOKENS = 600
_TIMEOUT = 90.0
_WARM_UP = "hi"


@attrs.define
class Reader:
    """What one reader was told: each event's number and its bytes without the request's own envelope."""

    events: list[tuple[int, bytes]] = attrs.field(factory=list)
    task_id: str = ""
    state: str = ""

    def take(self, number: int, data: bytes) -> None:
        self.events.append((number, data))
        if len(self.events) == 1:
            self.task_id = unpacked(json.loads(data)["result"])[1]["id"]

    def after(self, number: int) -> list[tuple[int, bytes]]:
        return [event for event in self.events if event[0] > number]

    def ended(self) -> bool:
        kind, value = unpacked(json.loads(self.events[-1][1])["result"])
        return kind == "status" and state_of(value["status"]) == "completed"


@attrs.frozen(kw_only=True)
class Talk:
    """How to reach the server."""

    host: str
    port: int
    token: str
    version: Version

    async def read(
        self,
        reader: Reader,
        *,
        text: str | None = None,
        task_id: str | None = None,
        begun: asyncio.Event | None = None,
    ) -> None:
        """Read one stream to its end. `begun` is set at its first event."""
        body = json.dumps(request_body(self.version, text=text, task_id=task_id)).encode()
        head = (
            f"POST / HTTP/1.1\r\nhost: {self.host}\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"authorization: Bearer {self.token}\r\na2a-version: {self.version}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        incoming, outgoing = await asyncio.open_connection(self.host, self.port)
        try:
            outgoing.write(head.encode() + body)
            async for number, data in _events(incoming):
                reader.take(number, data)
                if begun is not None:
                    begun.set()
        finally:
            outgoing.close()


async def _events(incoming: asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """The events of a chunked response; no line of ours is a chunk's size and an event's field at once."""
    number = 0
    rest = b""
    await incoming.readuntil(b"\r\n\r\n")
    while size := int(await incoming.readline(), 16):
        rest += (await incoming.readexactly(size + 2))[:-2]
        *lines, rest = rest.split(b"\n")
        for line in lines:
            if line.startswith(b"id: "):
                number = int(line[4:])
            elif line.startswith(b"data: "):
                yield number, line[6:]


@attrs.frozen(kw_only=True)
class Row:
    """A turn with so many readers: the server's CPU over the whole of it, and whether all were told the same."""

    runtime: str
    version: str
    readers: int
    events: int
    cpu_ms: float
    same: bool


async def _turn(talk: Talk, readers: int, usage: processes.Usage) -> tuple[int, float, bool]:
    """One turn read by so many, the one who started it among them: events, CPU in ms, whether all saw the same."""
    before = usage.cpu_seconds()
    first, begun = Reader(), asyncio.Event()
    others = [Reader() for _ in range(readers - 1)]
    async with asyncio.timeout(_TIMEOUT), asyncio.TaskGroup() as tasks:
        tasks.create_task(talk.read(first, text=f"LONG {_TOKENS}", begun=begun))
        await begun.wait()
        for other in others:
            tasks.create_task(talk.read(other, task_id=first.task_id))
    spent = (usage.cpu_seconds() - before) * 1000
    same = all(
        other.events and other.after(other.events[0][0]) == first.after(other.events[0][0]) for other in others
    )
    return len(first.events), spent, same and all(one.ended() for one in (first, *others))


async def measure(url: str, token: str, version: Version, runtime: str, counts: list[int], pid: int) -> list[Row]:
    """A row for each number of readers."""
    location = urlsplit(url)
    talk = Talk(host=str(location.hostname), port=int(location.port or 80), token=token, version=version)
    await talk.read(Reader(), text=_WARM_UP)
    rows = []
    for count in counts:
        events, cpu, same = await _turn(talk, count, processes.Usage.start(pid))
        rows.append(Row(runtime=runtime, version=version, readers=count, events=events, cpu_ms=cpu, same=same))
    return rows


def _table(rows: list[Row]) -> str:
    head = (
        "runtime",
        "version",
        "readers",
        "events",
        "CPU ms",
        "CPU ms/further reader",
        "to a single one",
        "all the same",
    )
    lines: list[tuple[object, ...]] = [head, tuple("-" * len(name) for name in head)]
    for row in rows:
        alone = next(one for one in rows if (one.runtime, one.version) == (row.runtime, row.version))
        further = (row.cpu_ms - alone.cpu_ms) / (row.readers - alone.readers) if row is not alone else None
        lines.append(
            (
                *(row.runtime, row.version, row.readers, row.events, f"{row.cpu_ms:.0f}"),
                *("" if further is None else f"{further:.1f}", f"{row.cpu_ms / alone.cpu_ms:.1f} x"),
                "yes" if row.same else "NO",
            )
        )
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main() -> int:
    """Exit code 0: all readers saw the same; 1: not; 2: it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.readers", description=__doc__)
    parser.add_argument("--runtime", choices=RUNTIMES, action="append", help="default: both")
    parser.add_argument("--readers", type=int, default=200, help="at once, on one stream (200)")
    options = parser.parse_args()
    rows: list[Row] = []
    try:
        with fake_opencode() as upstream:
            for runtime in options.runtime or RUNTIMES:
                token = secrets.token_urlsafe(16)
                with (
                    tempfile.TemporaryDirectory(prefix="a2a-readers-") as directory,
                    agent(upstream.url, runtime, token, directory) as server,
                ):
                    for version in VERSIONS:
                        measured = measure(server.url, token, version, runtime, [1, options.readers], server.pid)
                        rows += asyncio.run(measured)
    except processes.StartError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    print(_table(rows))
    return 0 if all(row.same for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
