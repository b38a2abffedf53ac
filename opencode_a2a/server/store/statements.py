"""The writer's SQL, made once: statements for many rows each, in the syntax SQLite and PostgreSQL share.

A worker thread gives up the interpreter lock at every statement it executes and waits for it behind a busy event
loop. So a batch is written in as few statements as possible, not in one per row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any, Final

from attrs import Factory, evolve, frozen
from sqlalchemy import Connection, Table

from opencode_a2a.server.store import reads
from opencode_a2a.server.store.database import driver_cursor
from opencode_a2a.server.store.rows import (
    PRUNED_AT_ONCE,
    Binding,
    EventRow,
    EventsPruned,
    PushDropped,
    PushRow,
    Removal,
    SessionRow,
    TaskRow,
    TasksBeyond,
    TasksExpired,
    TaskTakenError,
    Write,
)
from opencode_a2a.server.store.schema import BINDING, EVENT, PRUNABLE, PUSH, SESSION, TASK

_MOST_ROWS: Final = 64  # in one statement; what more there is takes another
# Taken from a task's first row. Indexes that hold nothing else are left alone when the row is replaced.
_IDENTIFYING: Final = frozenset({"context_id", "principal", "message_id", "created_at", "affinity"})


class ManyRows:
    """One statement in several sizes, and how a row becomes its parameters."""

    def __init__(self, sql: Callable[[int], str], values: Callable[[Any], tuple[object, ...]]) -> None:
        self._sql = cache(sql)
        self._values = values

    def execute(self, connection: Connection, rows: Sequence[object], *more: object) -> int:
        """Return how many rows were written. `more`: the parameters behind those of the rows."""
        written = 0
        for start in range(0, len(rows), _MOST_ROWS):
            part = rows[start : start + _MOST_ROWS]
            parameters = (*chain.from_iterable(map(self._values, part)), *more)
            sql = self._sql(len(part))
            written += driver_cursor.execute(connection, sql, parameters).rowcount
        return written


@frozen
class _Latest:
    """The writes by key: a statement must not meet a row twice, so the last of a key counts."""

    tasks: dict[str, TaskRow] = Factory(dict)
    events: dict[tuple[str, int], EventRow] = Factory(dict)
    bindings: dict[tuple[str, str], Binding] = Factory(dict)
    sessions: dict[str, SessionRow] = Factory(dict)
    pushes: dict[tuple[str, str], PushRow | PushDropped] = Factory(dict)

    def take(self, write: TaskRow | EventRow | Binding | SessionRow | PushRow | PushDropped) -> None:
        match write:
            case TaskRow():
                first = self.tasks.get(write.task_id)
                self.tasks[write.task_id] = write if first is None else write.continuing(first)
            case EventRow():
                self.events[write.task_id, write.first_seq] = write
            case Binding():
                self.bindings[write.principal, write.context_id] = write
            case SessionRow():
                self.sessions[write.session_id] = write
            case PushRow() | PushDropped():
                self.pushes[write.task_id, write.config_id] = write


class WriteStatements:
    """Writes any sequence of rows, to the effect of one after the other, in a transaction the caller has begun."""

    def __init__(self, mark: str) -> None:
        self._tasks = _upsert(TASK, mark, kept=_IDENTIFYING)
        # Not of a task that another server has claimed since, or has ended.
        mine = (
            f"({TASK.name}.replica_id IS NULL OR {TASK.name}.replica_id = {mark})"
            f" AND ({TASK.name}.last_seq = excluded.last_seq"
            f" OR {TASK.name}.last_seq < excluded.last_seq AND {TASK.name}.finished = false)"
        )
        self._own_tasks = _upsert(TASK, mark, kept=_IDENTIFYING, where=mine)
        # Of finished tasks, whose status changes no more.
        self._prunable = _upsert(PRUNABLE, mark, sources={"finished_at": "updated_at"})
        self._events = _upsert(EVENT, mark)
        self._bindings = _upsert(BINDING, mark)
        self._sessions = _upsert(SESSION, mark)
        self._pushes = _upsert(PUSH, mark)
        dropped = f"(task_id = {mark} AND config_id = {mark})"
        self._dropped = ManyRows(
            lambda size: f"DELETE FROM {PUSH.name} WHERE " + " OR ".join([dropped] * size),
            attrgetter("task_id", "config_id"),
        )
        self._pruned = [_removal(table, mark) for table in (EVENT, PRUNABLE)]
        self._removed = [_removal(table, mark) for table in (EVENT, PRUNABLE, PUSH, TASK)]
        bound = f"(principal = {mark} AND context_id = {mark})"
        self._unbound = ManyRows(
            lambda size: f"DELETE FROM {BINDING.name} WHERE " + " OR ".join([bound] * size), lambda pair: pair
        )

    def execute(self, connection: Connection, writes: Sequence[Write], owner: str | None = None) -> None:
        """Write everything. `owner`: the server that writes, where the store is shared: tasks at work become its own.

        Raises `TaskTakenError` where another server works on one of the tasks, or its row is newer: then the
        transaction must be undone.
        """
        latest = _Latest()
        for write in writes:
            if isinstance(write, Removal):
                # What was given before may be removed, what comes after may not.
                self._write(connection, latest, owner)
                latest = _Latest()
                self._remove(connection, write)
            else:
                latest.take(write)
        self._write(connection, latest, owner)

    def _write(self, connection: Connection, latest: _Latest, owner: str | None) -> None:
        if owner is None:
            self._tasks.execute(connection, list(latest.tasks.values()))
        else:
            self._write_own(connection, list(latest.tasks.values()), owner)
        self._prunable.execute(connection, [row for row in latest.tasks.values() if row.finished])
        self._events.execute(connection, list(latest.events.values()))
        # In the same order everywhere: two servers that write the same rows must not wait for each other.
        self._bindings.execute(connection, [latest.bindings[key] for key in sorted(latest.bindings)])
        self._sessions.execute(connection, [latest.sessions[key] for key in sorted(latest.sessions)])
        if latest.pushes:
            pushes = latest.pushes.values()
            rows = [_delivered_by(owner, push) for push in pushes if isinstance(push, PushRow)]
            self._pushes.execute(connection, rows)
            self._dropped.execute(connection, [push for push in pushes if isinstance(push, PushDropped)])

    def _write_own(self, connection: Connection, rows: Sequence[TaskRow], owner: str) -> None:
        owned = [evolve(row, replica_id=owner if row.at_work else None) for row in rows]
        if self._own_tasks.execute(connection, owned, owner) < len(owned):
            raise TaskTakenError("another server works on the task by now, or has ended it")

    def _remove(self, connection: Connection, removal: Removal) -> None:
        match removal:
            case EventsPruned():
                task_ids = reads.prunable(connection, removal.before, PRUNED_AT_ONCE)
                for statement in self._pruned:
                    statement.execute(connection, task_ids)
                return
            case TasksExpired():
                task_ids = reads.expired(connection, removal.before, PRUNED_AT_ONCE)
            case TasksBeyond():
                task_ids = reads.beyond(connection, removal.principal, removal.kept, PRUNED_AT_ONCE)
        if task_ids:
            self._unbound.execute(connection, reads.left_bindings(connection, task_ids))
            for statement in self._removed:
                statement.execute(connection, task_ids)


def _delivered_by(owner: str | None, push: PushRow) -> PushRow:
    """A push configuration with the server that delivers: the one that writes it, while there is something to."""
    return evolve(push, replica_id=None if push.finished or push.rests else owner)


def _removal(table: Table, mark: str) -> ManyRows:
    """Removes all rows of the tasks with these ids."""
    head = f"DELETE FROM {table.name} WHERE task_id IN"
    return ManyRows(lambda size: f"{head} ({', '.join([mark] * size)})", lambda task_id: (task_id,))


def _upsert(
    table: Table,
    mark: str,
    kept: frozenset[str] = frozenset(),
    sources: Mapping[str, str] | None = None,
    where: str = "",
) -> ManyRows:
    """Inserts, or replaces all but the columns `kept`. `sources`: attributes that are not called as their columns.

    `where`: a row for which it is not true is left as it is.
    """
    names = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key.columns]
    row = "(" + ", ".join([mark] * len(names)) + ")"
    replaced = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys and name not in kept)
    head = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES "
    tail = f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {replaced}{where and f' WHERE {where}'}"
    attributes = [(sources or {}).get(name, name) for name in names]
    return ManyRows(lambda size: head + ", ".join([row] * size) + tail, attrgetter(*attributes))
