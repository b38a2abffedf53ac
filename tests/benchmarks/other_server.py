"""`python -m tests.benchmarks.other_server`: readers on a server that does not run their task, and its owner's death.

Two servers share a PostgreSQL database. Tasks begin on the first; each has readers on it and on the second, all in
this process, so that an event's two arrivals are on one clock. For the takeover the first is killed, again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from time import monotonic
from urllib.parse import urlsplit

import attrs

from tests.benchmarks import processes
from tests.benchmarks.readers import Reader, Talk
from tests.benchmarks.replicas import Kind, paced_upstream, postgresql
from tests.benchmarks.resume import RUNTIMES
from tests.shell.store_cases import empty_postgresql

DELAY_TARGET, CPU_TARGET, TAKEOVER_TARGET = 150.0, 2.0, 2.0
_DEADLINE = 90.0


@attrs.define
class Clocked(Reader):
    """A reader that knows when each event came."""

    times: dict[int, float] = attrs.field(factory=dict)
    awaited: tuple[int, asyncio.Event] | None = None

    async def until(self, count: int) -> None:
        """Return once so many events have come."""
        if len(self.events) < count:
            self.awaited = count, asyncio.Event()
            await self.awaited[1].wait()

    def take(self, number: int, data: bytes) -> None:
        self.times.setdefault(number, monotonic())
        super().take(number, data)
        if self.awaited is not None and len(self.events) >= self.awaited[0]:
            self.awaited[1].set()


def talk_to(server: processes.Server, token: str) -> Talk:
    location = urlsplit(server.url)
    return Talk(host=str(location.hostname), port=int(location.port or 80), token=token, version="1.0")


async def _tasks(owner: Talk, other: Talk, tasks: int, local: int, remote: int) -> list[list[Clocked]]:
    """Let so many tasks run at once, each with so many further readers on both; return the readers of each."""
    found: list[list[Clocked]] = []

    async def one() -> None:
        first, begun = Clocked(), asyncio.Event()
        others = [(owner, Clocked()) for _ in range(local)] + [(other, Clocked()) for _ in range(remote)]
        async with asyncio.TaskGroup() as group:
            group.create_task(owner.read(first, text="How fast?", begun=begun))
            await begun.wait()
            for talk, reader in others:
                group.create_task(talk.read(reader, task_id=first.task_id))
        found.append([first, *(reader for _, reader in others)])

    async with asyncio.timeout(_DEADLINE), asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(one())
    return found


def _later(one: Clocked, other: Clocked) -> list[float]:
    """How much later the other had each event, in ms; not those that both had at their start."""
    numbers = [number for number in one.times if number in other.times and number > other.events[0][0]]
    return [(other.times[number] - one.times[number]) * 1000 for number in numbers]


def delays(runtime: str, owner: Talk, other: Talk, tasks: int) -> str:
    found = asyncio.run(_tasks(owner, other, tasks, 1, 1))
    here = sorted(late for first, local, _ in found for late in _later(first, local))
    there = sorted(late for _, local, remote in found for late in _later(local, remote))
    whole = all(remote.ended() and local.ended() for _, local, remote in found)
    p50, p99 = there[len(there) // 2], there[int(len(there) * 0.99)]
    met = "met" if p50 <= DELAY_TARGET else "MISSED"
    cells = (runtime, tasks, len(there), f"{here[len(here) // 2]:.1f}", f"{p50:.1f}", f"{p99:.1f}", f"{met}")
    return _line((*cells, "yes" if whole else "NO"))


def costs(runtime: str, servers: Sequence[processes.Server], token: str, tasks: int, readers: int) -> str:
    """The CPU of one more reader of a task, in ms of both servers, on the owner and on another."""
    owner, other = (talk_to(server, token) for server in servers)
    spent: dict[tuple[int, int], list[tuple[float, float]]] = {}
    shapes = ((0, 0), (readers, 0), (0, readers))
    for _ in range(3):
        for shape in shapes:
            usages = [processes.Usage.start(server.pid) for server in servers]
            asyncio.run(_tasks(owner, other, tasks, *shape))
            one, two = (usage.cpu_seconds() * 1000 for usage in usages)
            spent.setdefault(shape, []).append((one, two))
    middle = {
        shape: tuple(statistics.median(column) for column in zip(*found, strict=True))
        for shape, found in spent.items()
    }
    alone, local, remote = (sum(middle[shape]) for shape in shapes)
    number = tasks * readers
    here, there = (local - alone) / number, (remote - alone) / number
    ratio = there / here if here else 0.0
    met = "met" if ratio <= CPU_TARGET else "MISSED"
    return _line(
        (runtime, tasks, readers, f"{alone / tasks:.1f}", f"{here:.2f}", f"{there:.2f}", f"{ratio:.1f} x", met)
    )


async def _takeover(kind: Kind, owner: processes.Server, other: Talk) -> tuple[float, bool]:
    """Kill a task's owner while it streams. Seconds until a reader on the other server has more, and if it ended."""
    first, begun = Clocked(), asyncio.Event()
    reading = asyncio.create_task(talk_to(owner, kind.token).read(first, text="How fast?", begun=begun))
    async with asyncio.timeout(_DEADLINE):
        await begun.wait()
        reader = Clocked()
        following = asyncio.create_task(other.read(reader, task_id=first.task_id))
        await reader.until(10)
        os.kill(owner.pid, signal.SIGKILL)
        killed = monotonic()
        await asyncio.wait([reading])
        reading.exception()
        await asyncio.sleep(0.2)  # what the owner had committed is read by now
        await reader.until(len(reader.events) + 1)
        took = monotonic() - killed
        await following
    return took, reader.ended()


def takeovers(runtime: str, kind: Kind, count: int, folder: str) -> str:
    found: list[tuple[float, bool]] = []
    with ExitStack() as stack:
        empty_postgresql(kind.store)
        other = stack.enter_context(kind.server(folder))
        for _ in range(count):
            with kind.server(folder) as owner:
                found.append(asyncio.run(_takeover(kind, owner, talk_to(other, kind.token))))
    worst = max(took for took, _ in found)
    met = "met" if worst <= kind.lease + TAKEOVER_TARGET else "MISSED"
    middle = statistics.median(took for took, _ in found)
    ended = "yes" if all(whole for _, whole in found) else "NO"
    return _line((runtime, count, f"{kind.lease:g}", f"{middle:.2f}", f"{worst:.2f}", met, ended))


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _head(*cells: str) -> None:
    print("\n" + _line(cells) + "\n" + _line(["---"] * len(cells)), flush=True)


def _readers(runtimes: Sequence[str], url: str, options: argparse.Namespace) -> None:
    lines: dict[str, list[str]] = {"delay": [], "cost": []}
    for runtime in runtimes:
        with (
            paced_upstream(100, options.pace_ms) as upstream,
            tempfile.TemporaryDirectory(prefix="a2a-other-") as folder,
        ):
            kind = Kind(store=url, upstream=upstream.url, runtime=runtime)
            with kind.servers(2, folder) as servers:
                owner, other = (talk_to(server, kind.token) for server in servers)
                asyncio.run(_tasks(owner, other, 2, 1, 1))  # to warm up
                lines["delay"] += [delays(runtime, owner, other, tasks) for tasks in (1, options.tasks)]
                lines["cost"] += [costs(runtime, servers, kind.token, options.tasks, count) for count in (1, 10)]
    _head("runtime", "tasks", "events", "local p50 ms", "added p50 ms", "added p99 ms", "at most 150 ms", "whole")
    print("\n".join(lines["delay"]))
    _head("runtime", "tasks", "readers each", "CPU ms/task", "a local reader's", "another's", "ratio", "at most 2 x")
    print("\n".join(lines["cost"]), flush=True)


def main() -> int:
    """Exit code 0: it was measured; 2: it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.other_server", description=__doc__)
    parser.add_argument("--runtime", choices=RUNTIMES, action="append", help="default: both")
    parser.add_argument("--tasks", type=int, default=20, help="at once (20)")
    parser.add_argument("--pace-ms", type=float, default=20.0, help="between two of 100 tokens (20)")
    parser.add_argument("--kills", type=int, default=3, help="of owners, for each runtime and lease (3)")
    parser.add_argument("--lease", type=float, action="append", help="seconds; each is tried (2 and 10)")
    options = parser.parse_args()
    runtimes = options.runtime or RUNTIMES
    try:
        with postgresql() as url:
            _readers(runtimes, url, options)
            _head("runtime", "kills", "lease s", "takeover median s", "worst s", "at most lease + 2 s", "whole")
            for runtime in runtimes:
                for lease in options.lease or (2.0, 10.0):
                    with (
                        paced_upstream(1500, options.pace_ms) as upstream,
                        tempfile.TemporaryDirectory(prefix="a2a-other-") as folder,
                    ):
                        kind = Kind(store=url, upstream=upstream.url, runtime=runtime, lease=lease)
                        print(takeovers(runtime, kind, options.kills, folder), flush=True)
    except processes.StartError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
