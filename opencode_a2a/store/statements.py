"""The writer's SQL, made once: statements for many rows each, in the syntax SQLite and PostgreSQL share.

A worker thread gives up the interpreter lock at every statement it executes and waits for it behind a busy event
loop. So a batch is written in as few statements as possible, not in one per row.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Connection, Table

from opencode_a2a.store.rows import Binding, EventRow, TaskRow, Write
from opencode_a2a.store.schema import BINDING, EVENT, TASK

_MOST_ROWS: Final = 64  # in one statement; what more there is takes another


class ManyRows:
    """One statement in several sizes, and how a row becomes its parameters."""

    def __init__(self, sql: Callable[[int], str], values: Callable[[Any], tuple[object, ...]]) -> None:
        self._sql = cache(sql)
        self._values = values

    def execute(self, connection: Connection, rows: Sequence[Write]) -> None:
        for start in range(0, len(rows), _MOST_ROWS):
            part = rows[start : start + _MOST_ROWS]
            parameters = tuple(chain.from_iterable(map(self._values, part)))
            connection.exec_driver_sql(self._sql(len(part)), parameters)


class WriteStatements:
    """Writes any sequence of rows in a transaction the caller has begun.

    Of several rows with one key only the last is written: a statement must not meet a row twice.
    """

    def __init__(self, mark: str) -> None:
        self._tasks = _upsert(TASK, mark)
        self._events = _upsert(EVENT, mark)
        self._bindings = _upsert(BINDING, mark)
        contained = f"(task_id = {mark} AND last_seq <= {mark})"
        self._contained = ManyRows(
            lambda size: f"DELETE FROM {EVENT.name} WHERE " + " OR ".join([contained] * size),
            attrgetter("task_id", "last_seq"),
        )

    def execute(self, connection: Connection, writes: Sequence[Write]) -> None:
        tasks: dict[str, TaskRow] = {}
        events: dict[tuple[str, int], EventRow] = {}
        bindings: dict[tuple[str, str], Binding] = {}
        for write in writes:
            if isinstance(write, TaskRow):
                tasks[write.task_id] = write
            elif isinstance(write, EventRow):
                events[write.task_id, write.first_seq] = write
            else:
                bindings[write.principal, write.context_id] = write
        self._tasks.execute(connection, list(tasks.values()))
        # Written even if removed next: the row may replace one that reaches beyond the snapshot.
        self._events.execute(connection, list(events.values()))
        self._contained.execute(connection, [row for row in tasks.values() if row.finished])
        self._bindings.execute(connection, list(bindings.values()))


def _upsert(table: Table, mark: str) -> ManyRows:
    names = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key.columns]
    row = "(" + ", ".join([mark] * len(names)) + ")"
    replaced = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    head = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES "
    tail = f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {replaced}"
    return ManyRows(lambda size: head + ", ".join([row] * size) + tail, attrgetter(*names))
