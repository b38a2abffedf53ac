"""What the tests of a shared store have in common: short leases, states to wait for, a look into the database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import anyio
import psycopg

from opencode_a2a.server.store import SharedOptions, Store, StoredTask, open_store

LEASE = 1.0
OPTIONS = SharedOptions(lease=LEASE)
WAIT = 30.0  # seconds after which a test that waits fails


def shared(url: str, lease: float = LEASE, name: str = "") -> Store:
    return open_store(url, shared=True, options=SharedOptions(lease=lease, name=name))


@asynccontextmanager
async def stores(url: str, count: int, lease: float = LEASE) -> AsyncIterator[list[Store]]:
    """Some stores on one database."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(shared(url, lease, f"store {number}")) for number in range(count)]


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for a true result."""
    with anyio.fail_after(WAIT):
        while not (result := await condition()):  # noqa: ASYNC110 - another process changes it
            await anyio.sleep(0.02)
        return result


@contextmanager
def looking(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the test's own, each statement in a transaction of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def owners(url: str) -> dict[str, str | None]:
    """The column of each task."""
    with looking(url) as connection:
        return dict(
            connection.execute("SELECT task_id, replica_id FROM opencode_a2a_task ORDER BY task_id").fetchall()
        )


def cut(url: str, application: str = "") -> int:
    """End all sessions of the database but this; return how many there were."""
    with looking(url) as connection:
        found = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return len(found)


def ids(stored: list[StoredTask]) -> list[str]:
    return [one.row.task_id for one in stored]
