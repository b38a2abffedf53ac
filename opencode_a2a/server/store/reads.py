"""The readers' SQL: what is asked for, as rows, on a connection that is in a transaction.

It must not know where the connection comes from. Text is put in order here wherever the database's collation may
order it otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
)

from opencode_a2a.server.store import task_counts
from opencode_a2a.server.store.database import driver_cursor
from opencode_a2a.server.store.rows import (
    EventRow,
    PushRow,
    SessionRow,
    StoredTask,
    TaskQuery,
    TaskRow,
    TaskRows,
    first_bytes,
)
from opencode_a2a.server.store.schema import BINDING, EVENT, METADATA, PRUNABLE, PUSH, SESSION, TASK

MESSAGES_AT_ONCE: Final = 100
"""Messages whose tasks are read together, at most."""

_TASKS_AT_ONCE: Final = 100  # whose events one statement reads: SQLite takes no expression deeper than a thousand

_TASK_COLUMNS: Final = [column.name for column in TASK.columns]
_NEWEST: Final = "task.created_at DESC, task.task_id DESC"
_OF_MESSAGES: Final = (
    f"SELECT asked.number, {', '.join(f'task.{name}' for name in _TASK_COLUMNS)}"
    " FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS asked (principal, message_id, number)"
    f" CROSS JOIN LATERAL (SELECT * FROM {TASK.name} AS task WHERE task.principal = asked.principal"
    f" AND task.message_id = asked.message_id ORDER BY {_NEWEST} LIMIT %s) AS task"
    f" ORDER BY asked.number, {_NEWEST}"
)

_TASK: Final = (
    f"SELECT {', '.join(_TASK_COLUMNS)}, NULL::bigint AS first_seq, NULL::bigint AS last_of_run, NULL::bytea AS body"
    f" FROM {TASK.name} WHERE task_id = %s UNION ALL SELECT {'NULL, ' * len(_TASK_COLUMNS)}"
    f"event.first_seq, event.last_seq, event.body FROM {TASK.name} AS task JOIN {EVENT.name} AS event"
    " ON event.task_id = task.task_id AND event.last_seq > task.last_seq WHERE task.task_id = %s"
    " ORDER BY first_seq NULLS FIRST"
)
_SIZE: Final = "octet_length(event.body)"
_LATER_EVENTS: Final = (
    "SELECT task_id, first_seq, last_seq, body"
    " FROM (SELECT event.task_id, event.first_seq, event.last_seq, event.body,"
    f" sum({_SIZE}) OVER (ORDER BY event.task_id, event.first_seq) - {_SIZE} AS before"
    f" FROM unnest(%s::text[], %s::bigint[]) AS asked (task_id, number) JOIN {EVENT.name} AS event"
    " ON event.task_id = asked.task_id AND event.last_seq > asked.number) AS later"
    " WHERE before < %s ORDER BY task_id, first_seq"
)


def task(connection: Connection, task_id: str) -> StoredTask | None:
    """The task with this id; on PostgreSQL in one statement, which needs no transaction."""
    if connection.dialect.name == "sqlite":
        return _stored(connection, select(TASK).where(TASK.c.task_id == task_id))
    rows = list(driver_cursor.execute(connection, _TASK, (task_id, task_id)))
    if not rows:
        return None
    row = TaskRow(**dict(zip(_TASK_COLUMNS, rows[0], strict=False)))
    return StoredTask(
        row, tuple(EventRow(task_id=task_id, first_seq=run[-3], last_seq=run[-2], body=run[-1]) for run in rows[1:])
    )


def started_by(connection: Connection, principal: str, context_id: str, message_id: str) -> StoredTask | None:
    started = and_(TASK.c.principal == principal, TASK.c.context_id == context_id, TASK.c.message_id == message_id)
    # Not the bare column: for its order, SQLite would read all tasks of the message's id, in every context.
    newest = ((TASK.c.created_at + 0).desc(), TASK.c.task_id.desc())
    return _stored(connection, select(TASK).where(started).order_by(*newest).limit(1))


def tasks_of_message(connection: Connection, principal: str, message_id: str, limit: int) -> tuple[TaskRow, ...]:
    started = and_(TASK.c.principal == principal, TASK.c.message_id == message_id)
    newest = (TASK.c.created_at.desc(), TASK.c.task_id.desc())
    found = connection.execute(select(TASK).where(started).order_by(*newest).limit(limit)).mappings()
    return tuple(TaskRow(**row) for row in found)


def tasks_of_messages(connection: Connection, asked: Sequence[tuple[str, str, int]]) -> list[tuple[TaskRow, ...]]:
    """The same for several at once: each a principal, a message id and a limit; on PostgreSQL in one statement."""
    if connection.dialect.name == "sqlite":
        return [tasks_of_message(connection, *one) for one in asked]
    principals, message_ids, limits = map(list, zip(*asked, strict=True))
    rows = driver_cursor.execute(connection, _OF_MESSAGES, (principals, message_ids, max(limits)))
    found: list[list[TaskRow]] = [[] for _ in asked]
    for number, *values in rows:
        if len(found[number - 1]) < limits[number - 1]:
            found[number - 1].append(TaskRow(**dict(zip(_TASK_COLUMNS, values, strict=True))))
    return [tuple(rows) for rows in found]


def message_ids(connection: Connection, after: tuple[str, str] | None, limit: int) -> Sequence[tuple[str, str]]:
    pair = (TASK.c.principal, TASK.c.message_id)
    query = select(*pair).distinct().order_by(*pair).limit(limit)
    if after is not None:
        query = query.where(tuple_(*pair) > tuple_(*map(literal, after)))
    return [(principal, message_id) for principal, message_id in connection.execute(query)]


def unfinished(connection: Connection) -> list[StoredTask]:
    # `==` rather than IS: the partial index is used for the expression it was made with.
    return _all_stored(connection, TASK.c.finished == false())


def stored_tasks(connection: Connection, task_ids: Sequence[str]) -> list[StoredTask]:
    """The tasks with these ids that are there, oldest first."""
    return _all_stored(connection, TASK.c.task_id.in_(task_ids))


def _all_stored(connection: Connection, wanted: ColumnElement[bool]) -> list[StoredTask]:
    rows = [TaskRow(**found) for found in connection.execute(select(TASK).where(wanted)).mappings()]
    later = (EVENT.c.task_id == TASK.c.task_id) & (EVENT.c.last_seq > TASK.c.last_seq)
    joined = select(EVENT).join(TASK, later).where(wanted).order_by(EVENT.c.first_seq)
    events: defaultdict[str, list[EventRow]] = defaultdict(list)
    for found in connection.execute(joined).mappings():
        events[found["task_id"]].append(EventRow(**found))
    rows.sort(key=lambda row: (row.created_at, row.task_id))
    return [StoredTask(row, tuple(events[row.task_id])) for row in rows]


def events(connection: Connection, task_id: str, after: int | None = None) -> tuple[EventRow, ...]:
    """The task's event rows, or those of them that reach beyond a number."""
    wanted = EVENT.c.task_id == task_id
    if after is not None:
        wanted &= EVENT.c.last_seq > after
    found = connection.execute(select(EVENT).where(wanted).order_by(EVENT.c.first_seq)).mappings()
    return tuple(EventRow(**row) for row in found)


def later_events(connection: Connection, after: Mapping[str, int], most: int) -> Sequence[EventRow]:
    """The event rows that reach beyond a number, which is given for each task, until they have `most` bytes."""
    task_ids = sorted(after)
    if connection.dialect.name == "postgresql":
        numbers = [after[task_id] for task_id in task_ids]
        rows = driver_cursor.execute(connection, _LATER_EVENTS, (task_ids, numbers, most))
        return [EventRow(task_id=one, first_seq=first, last_seq=last, body=body) for one, first, last, body in rows]
    return first_bytes(_later_events(connection, task_ids, after), most)


def _later_events(connection: Connection, task_ids: Sequence[str], after: Mapping[str, int]) -> Iterator[EventRow]:
    for start in range(0, len(task_ids), _TASKS_AT_ONCE):
        some = task_ids[start : start + _TASKS_AT_ONCE]
        wanted = or_(*((EVENT.c.task_id == task_id) & (EVENT.c.last_seq > after[task_id]) for task_id in some))
        rows = connection.execute(select(EVENT).where(wanted).order_by(EVENT.c.task_id, EVENT.c.first_seq))
        yield from (EventRow(**row) for row in rows.mappings())


def ends(connection: Connection, task_ids: Collection[str]) -> dict[str, int]:
    """The last event that the row of each task contains, for those that have finished or are there no more (0)."""
    found = dict.fromkeys(task_ids, 0)
    wanted = sorted(found)
    columns = (TASK.c.task_id, TASK.c.last_seq, TASK.c.finished)
    for start in range(0, len(wanted), _TASKS_AT_ONCE):
        some = TASK.c.task_id.in_(wanted[start : start + _TASKS_AT_ONCE])
        for task_id, last_seq, finished in connection.execute(select(*columns).where(some)):
            if finished:
                found[task_id] = last_seq
            else:
                del found[task_id]
    return found


def tasks(connection: Connection, query: TaskQuery) -> TaskRows:
    """A page, found in an index: neither finding nor counting reads the snapshots of other tasks."""
    counted = _filtered(query)
    total = _total(connection, query, counted)
    if query.after is not None:
        updated_at, task_id = query.after
        place = tuple_(literal(updated_at, BigInteger), literal(task_id, TASK.c.task_id.type))
        counted = [*counted, tuple_(TASK.c.updated_at, TASK.c.task_id) < place]
    newest_first = (TASK.c.updated_at.desc(), TASK.c.task_id.desc())
    # Sorting, where it takes that, is done with the keys alone.
    page = select(TASK.c.task_id).where(*counted).order_by(*newest_first).limit(query.limit)
    found = connection.execute(select(TASK).where(TASK.c.task_id.in_(page))).mappings()
    rows = sorted((TaskRow(**row) for row in found), key=lambda row: (row.updated_at, row.task_id), reverse=True)
    return TaskRows(tuple(rows), total)


def _total(connection: Connection, query: TaskQuery, wanted: Sequence[ColumnElement[bool]]) -> int:
    """Count the tasks that a query wants: one by one only those of a context, or since a moment."""
    if query.context_id is None and query.changed_after is None:
        return task_counts.count(connection, query.principal, query.state)
    return connection.execute(select(func.count()).select_from(TASK).where(*wanted)).scalar_one()


def push_configs(connection: Connection, task_id: str) -> tuple[PushRow, ...]:
    return _pushes(connection, select(PUSH).where(PUSH.c.task_id == task_id))


def unfinished_pushes(connection: Connection) -> tuple[PushRow, ...]:
    return _pushes(connection, select(PUSH).where(PUSH.c.finished == false()))


def prunable(connection: Connection, before: int, most: int) -> Sequence[str]:
    """Finished tasks whose event rows are no longer kept, those that finished first before the others."""
    old = (PRUNABLE.c.finished_at < before) & TASK.c.finished
    joined = PRUNABLE.join(TASK, PRUNABLE.c.task_id == TASK.c.task_id)
    oldest = select(PRUNABLE.c.task_id).select_from(joined).where(old).order_by(PRUNABLE.c.finished_at)
    return connection.execute(oldest.limit(most)).scalars().all()


def expired(connection: Connection, before: int, most: int) -> Sequence[str]:
    """Finished tasks that are no longer kept, those that finished first before the others."""
    return _removable(connection, TASK.c.updated_at < before, most)


def beyond(connection: Connection, principal: str, kept: int, most: int) -> Sequence[str]:
    """Finished tasks of a principal, as many as there are tasks beyond those that are `kept`."""
    owned = TASK.c.principal == principal
    total = task_counts.count(connection, principal)
    return _removable(connection, owned, min(total - kept, most)) if total > kept else ()


def _removable(connection: Connection, wanted: ColumnElement[bool], most: int) -> Sequence[str]:
    delivering = select(PUSH.c.task_id).where(PUSH.c.finished == false())
    ended = (TASK.c.finished == true()) & wanted & TASK.c.task_id.not_in(delivering)
    oldest = select(TASK.c.task_id).where(ended).order_by(TASK.c.updated_at, TASK.c.task_id)
    return connection.execute(oldest.limit(most)).scalars().all()


def left_bindings(connection: Connection, task_ids: Sequence[str]) -> Sequence[tuple[str, str]]:
    """Bindings of contexts that have none but these tasks, and whose sessions have an owner by their own row."""
    other = TASK.alias()
    remaining = exists().where(
        other.c.principal == BINDING.c.principal,
        other.c.context_id == BINDING.c.context_id,
        other.c.task_id.not_in(task_ids),
    )
    pair = (BINDING.c.principal, BINDING.c.context_id)
    mine = (TASK.c.principal == BINDING.c.principal) & (TASK.c.context_id == BINDING.c.context_id)
    owned = (SESSION.c.session_id == BINDING.c.session_id) & SESSION.c.claimed_until.is_(None)
    joined = BINDING.join(TASK, mine).join(SESSION, owned)
    found = select(*pair).distinct().select_from(joined).where(TASK.c.task_id.in_(task_ids), ~remaining)
    return [(principal, context_id) for principal, context_id in connection.execute(found)]


def size(connection: Connection) -> int:
    """The bytes of the database file, or of our tables with their indexes."""
    if connection.dialect.name == "sqlite":
        pages, page = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size")
        )
        return int(pages * page)
    names = ", ".join(f"pg_total_relation_size('{name}')" for name in METADATA.tables)
    return int(sum(connection.exec_driver_sql(f"SELECT {names}").one()))


def count(connection: Connection) -> int:
    """The number of tasks."""
    return task_counts.count(connection)


def session_of(connection: Connection, principal: str, context_id: str) -> str | None:
    bound = (BINDING.c.principal == principal) & (BINDING.c.context_id == context_id)
    return connection.execute(select(BINDING.c.session_id).where(bound)).scalars().first()


def session(connection: Connection, session_id: str) -> SessionRow | None:
    found = connection.execute(select(SESSION).where(SESSION.c.session_id == session_id)).mappings().first()
    return None if found is None else SessionRow(**found)


def affinity_of_context(connection: Connection, principal: str, context_id: str) -> str | None:
    """The affinity of a binding, else of the newest task of a context that has no session yet."""
    bound = (BINDING.c.principal == principal) & (BINDING.c.context_id == context_id)
    found: str | None = connection.execute(select(BINDING.c.affinity).where(bound)).scalars().first()
    if found is not None:
        return found
    begun = (TASK.c.principal == principal) & (TASK.c.context_id == context_id)
    newest = select(TASK.c.affinity).where(begun).order_by(TASK.c.updated_at.desc(), TASK.c.task_id.desc()).limit(1)
    return connection.execute(newest).scalars().first()


def affinity_of_session(connection: Connection, session_id: str) -> str | None:
    known = session(connection, session_id)
    if known is not None:
        return known.affinity
    bound = select(BINDING.c.affinity).where(BINDING.c.session_id == session_id)
    return min(connection.execute(bound).scalars(), default=None)


def owner_of(connection: Connection, session_id: str) -> str | None:
    known = session(connection, session_id)
    if known is not None and known.claimed_until is None:
        return known.principal
    owners = connection.execute(select(BINDING.c.principal).where(BINDING.c.session_id == session_id)).scalars()
    return min(owners, default=None)


def _stored(connection: Connection, query: Select[tuple[object, ...]]) -> StoredTask | None:
    found = connection.execute(query).mappings().first()
    if found is None:
        return None
    row = TaskRow(**found)
    return StoredTask(row, events(connection, row.task_id, after=row.last_seq))


def _filtered(query: TaskQuery) -> Sequence[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [TASK.c.principal == query.principal]
    if query.context_id is not None:
        wanted.append(TASK.c.context_id == query.context_id)
    if query.state is not None:
        # Within a context, its index has the state. SQLite might take the index of all tasks in the state instead.
        state = TASK.c.state if query.context_id is None else TASK.c.state.concat("")
        wanted.append(state == query.state)
    if query.changed_after is not None:
        wanted.append(TASK.c.updated_at > query.changed_after)
    return wanted


def _pushes(connection: Connection, query: Select[tuple[object, ...]]) -> tuple[PushRow, ...]:
    rows = (PushRow(**found) for found in connection.execute(query).mappings())
    return tuple(sorted(rows, key=lambda row: (row.created_at, row.task_id, row.config_id)))
