"""Reads the tables that releases 0.5 to 1.4.0 keep in the same database, and writes what an importer makes of them.

Those tables are never changed, so that a rollback stays possible. Knows rows, and not what a task is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson
from attrs import frozen
from sqlalchemy import Connection, Engine, Inspector, Text, cast, column, func, inspect, select, table

from opencode_a2a.server.store.database.migrate import lock_schema
from opencode_a2a.server.store.rows import SchemaError, Write
from opencode_a2a.server.store.schema import BINDING, IMPORT, SESSION, TASK

OWNERS: Final = "a2a_session_owners"
BINDINGS: Final = "a2a_session_bindings"
_CLAIMS: Final = "a2a_pending_session_claims"
_INTERRUPTS: Final = "a2a_interrupt_requests"
_TASKS: Final = "tasks"  # a common name: it is read only beside the tables above, and with these columns
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    OWNERS: ("session_id", "identity"),
    BINDINGS: ("identity", "context_id", "session_id"),
}
_READABLE: Final[Mapping[str, tuple[str, ...]]] = {
    _CLAIMS: ("session_id", "identity", "expires_at"),
    _INTERRUPTS: ("request_id", "interrupt_type", "task_id", "expires_at"),
    _TASKS: ("id", "context_id", "status", "artifacts", "history", "metadata"),
}
_TASK_OPTIONAL: Final = ("owner", "last_updated", "protocol_version")
_SOURCE: Final = "0.5 to 1.4.0"
_AT_ONCE: Final = 200


@frozen(kw_only=True)
class EarlierState:
    """Who owns what in the earlier tables, and in ours.

    `owners`: (session, identity). `bindings`: (identity, context, session). `claims`: (session, identity, epoch
    seconds until which it is good). `interrupts`: (request, type, task, epoch seconds until which it waits).
    `ours`: the owner that our own tables have for a session. `bound`: the (principal, context) pairs in ours.
    """

    owners: tuple[tuple[str, str], ...]
    bindings: tuple[tuple[str, str, str], ...]
    claims: tuple[tuple[str, str, float], ...]
    interrupts: tuple[tuple[str, str, str, float], ...]
    task_owners: tuple[str, ...]
    ours: Mapping[str, str]
    bound: frozenset[tuple[str, str]]


@frozen(kw_only=True)
class EarlierTask:
    """One row of the earlier `tasks`. `owner` and `protocol_version` are None before 1.x; `members`: decoded JSON."""

    task_id: str
    context_id: str
    owner: str | None
    protocol_version: str | None
    updated_at: int | None
    members: Mapping[str, Any]


class Importer(Protocol):
    """Decides what becomes of earlier rows. A new one is made for every import."""

    def state(self, found: EarlierState) -> Sequence[Write]:
        """Writes for owners, bindings and claims. Raises StoreError where ownership would be lost."""

    def task(self, found: EarlierTask) -> Sequence[Write]:
        """Writes for a task; none where it cannot be read or attributed."""

    def done(self) -> None:
        """The import is committed."""


def import_earlier(engine: Engine, importer: Importer, write: Callable[[Connection, Sequence[Write]], None]) -> None:
    """Import earlier tables once, in one transaction, and again if their size has changed since (a rollback).

    Raises SchemaError for tables that are not understood, and what the importer raises; then nothing is written.
    """
    with engine.connect() as connection:
        if not any(inspect(connection).has_table(name) for name in _NEEDED):
            return
    with engine.connect().execution_options(sqlite_begin="BEGIN IMMEDIATE") as connection, connection.begin():
        lock_schema(connection)
        found = inspect(connection)
        _check(found)
        readable = {name for name, needed in _READABLE.items() if _has(found, name, needed)}
        content = _content(connection, readable)
        recorded = connection.execute(select(IMPORT.c.content).where(IMPORT.c.source == _SOURCE)).scalar()
        if recorded == content:
            return
        _import(connection, connection, found, importer, write)
        connection.execute(IMPORT.delete().where(IMPORT.c.source == _SOURCE))
        record = {"source": _SOURCE, "content": content, "imported_at": int(time.time() * 1000)}
        connection.execute(IMPORT.insert().values(record))
    importer.done()


def import_from(
    source: Engine,
    target: Engine,
    importer: Importer,
    write: Callable[[Connection, Sequence[Write]], None],
    *,
    dry_run: bool = False,
) -> None:
    """Import earlier tables from another database, in one transaction; what is here already is left as it is.

    `dry_run`: nothing is written in the end. Raises as `import_earlier`, and SchemaError where there are no such
    tables.
    """
    with source.connect() as reading, target.connect().execution_options(sqlite_begin="BEGIN IMMEDIATE") as ours:
        found = inspect(reading)
        if not any(found.has_table(name) for name in _NEEDED):
            raise SchemaError("there are no tables of an earlier opencode-a2a in that file")
        _check(found)
        with ours.begin() as transaction:
            lock_schema(ours)
            _import(reading, ours, found, importer, write)
            if dry_run:
                transaction.rollback()
    if not dry_run:
        importer.done()


def _import(
    reading: Connection,
    ours: Connection,
    found: Inspector,
    importer: Importer,
    write: Callable[[Connection, Sequence[Write]], None],
) -> None:
    readable = {name for name, needed in _READABLE.items() if _has(found, name, needed)}
    columns = {one["name"] for one in found.get_columns(_TASKS)} if _TASKS in readable else set()
    write(ours, importer.state(_state(reading, readable, columns, ours)))
    if _TASKS in readable:
        for tasks in _tasks(reading, [name for name in _TASK_OPTIONAL if name in columns], ours):
            write(ours, [one for task in tasks for one in importer.task(task)])


def _check(found: Inspector) -> None:
    for name, needed in _NEEDED.items():
        if not _has(found, name, needed):
            raise SchemaError(
                f"the database holds tables of an earlier opencode-a2a, and {name} is missing or lacks one of the "
                f"columns {', '.join(needed)}: who owns which session cannot be read. Start the earlier release "
                "once, which completes its tables, or set A2A_TASK_STORE_DATABASE_URL to another database"
            )


def _has(found: Inspector, name: str, needed: tuple[str, ...]) -> bool:
    return found.has_table(name) and {one["name"] for one in found.get_columns(name)}.issuperset(needed)


def _select(name: str, *columns: str) -> Any:
    return select(*(column(one) for one in columns)).select_from(table(name))


def _content(connection: Connection, readable: set[str]) -> str:
    names = [*_NEEDED, *(name for name in (_TASKS,) if name in readable)]
    counted = ((name, select(func.count()).select_from(table(name))) for name in names)
    return " ".join(f"{name}={connection.execute(count).scalar_one()}" for name, count in counted)


def _state(connection: Connection, readable: set[str], task_columns: set[str], ours_in: Connection) -> EarlierState:
    owned = select(SESSION.c.session_id, SESSION.c.principal).where(SESSION.c.claimed_until.is_(None))
    bound = ours_in.execute(select(BINDING.c.principal, BINDING.c.context_id, BINDING.c.session_id)).all()
    ours = {session_id: principal for principal, _, session_id in sorted(map(tuple, bound), reverse=True)}
    ours |= {str(session_id): str(principal) for session_id, principal in ours_in.execute(owned)}
    task_owners: list[str] = []
    if "owner" in task_columns:
        found = _select(_TASKS, "owner").where(column("owner").is_not(None)).distinct()
        task_owners = [str(owner) for (owner,) in connection.execute(found)]
    live = column("expires_at").is_not(None)

    def rows(name: str) -> list[Any]:
        if name not in readable:
            return []
        return list(connection.execute(_select(name, *_READABLE[name]).where(live)))

    return EarlierState(
        owners=tuple((str(one), str(two)) for one, two in connection.execute(_select(OWNERS, *_NEEDED[OWNERS]))),
        bindings=tuple(
            (str(one), str(two), str(three))
            for one, two, three in connection.execute(_select(BINDINGS, *_NEEDED[BINDINGS]))
        ),
        claims=tuple((str(one), str(two), float(until)) for one, two, until in rows(_CLAIMS)),
        interrupts=tuple(
            (str(one), str(kind), str(task_id), float(until)) for one, kind, task_id, until in rows(_INTERRUPTS)
        ),
        task_owners=tuple(task_owners),
        ours=ours,
        bound=frozenset((principal, context_id) for principal, context_id, _ in bound),
    )


def _tasks(connection: Connection, optional: Sequence[str], ours_in: Connection) -> Iterator[list[EarlierTask]]:
    """The earlier tasks that our tables do not have, some at once."""
    names = [*_READABLE[_TASKS], *optional]
    # JSON as text, whatever its type is in this database
    texts = [cast(column(name), Text).label(name) for name in names]
    last = ""
    while True:
        query = select(*texts).select_from(table(_TASKS)).where(column("id") > last).order_by(column("id"))
        rows = connection.execute(query.limit(_AT_ONCE)).mappings().all()
        if not rows:
            return
        last = str(rows[-1]["id"])
        ids = [str(row["id"]) for row in rows]
        known = set(ours_in.execute(select(TASK.c.task_id).where(TASK.c.task_id.in_(ids))).scalars())
        yield [_task(dict(row)) for row in rows if row["id"] not in known]


def _task(row: Mapping[str, Any]) -> EarlierTask:
    return EarlierTask(
        task_id=row["id"],
        context_id=row["context_id"],
        owner=row.get("owner"),
        protocol_version=row.get("protocol_version"),
        updated_at=_epoch_ms(row.get("last_updated")),
        members={name: _json(row[name]) for name in ("status", "artifacts", "history", "metadata")},
    )


def _json(text: str | None) -> Any:
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _epoch_ms(text: str | None) -> int | None:
    """A naive date in UTC, as those releases write it."""
    try:
        return None if text is None else int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return None
