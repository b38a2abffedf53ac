"""The store that forgets: the same promises in dicts, for tests and for servers that keep nothing.

It must never wait and must never touch a disk.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import Self, TypeVar

from opencode_a2a.server.store.protocol import Ownership, Pending
from opencode_a2a.server.store.rows import (
    PRUNED_AT_ONCE,
    Binding,
    EventRow,
    EventsPruned,
    PushDropped,
    PushRow,
    SessionRow,
    StoredTask,
    TaskQuery,
    TaskRow,
    TaskRows,
    TasksBeyond,
    TasksExpired,
    Write,
    first_bytes,
)
from opencode_a2a.server.store.shared.sole_owner import SoleOwner

_Key = TypeVar("_Key")


class _AtOnce:
    async def durable(self) -> None:
        return


class MemoryStore:
    """A `Store` whose writes are durable for as long as this object lives."""

    outlives = False
    trouble: str | None = None

    def __init__(self) -> None:
        self._tasks: dict[str, TaskRow] = {}
        # The keys of pages, ascending: of all tasks of a principal, and of those in each context.
        self._listed: defaultdict[tuple[str, str | None], list[tuple[int, str]]] = defaultdict(list)
        self._started: dict[tuple[str, str, str], tuple[int, str]] = {}
        self._of_message: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        self._prunable: set[str] = set()
        self._events: dict[str, dict[int, EventRow]] = {}
        self._sessions: dict[tuple[str, str], Binding] = {}
        self._known: dict[str, SessionRow] = {}
        self._pushes: dict[str, dict[str, PushRow]] = {}
        self.ownership: Ownership = SoleOwner(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def put(self, writes: Sequence[Write]) -> None:
        for write in writes:
            match write:
                case TaskRow():
                    self._put_task(write)
                case EventRow():
                    self._events.setdefault(write.task_id, {})[write.first_seq] = write
                case Binding():
                    self._sessions[write.principal, write.context_id] = write
                case SessionRow():
                    self._known[write.session_id] = write
                case PushRow():
                    self._pushes.setdefault(write.task_id, {})[write.config_id] = write
                case PushDropped():
                    self._drop_push(write)
                case EventsPruned():
                    self._prune(write.before)
                case TasksExpired():
                    self._forget(self._expired(write.before))
                case TasksBeyond():
                    owned = self._listed.get((write.principal, None), [])
                    ended = (task_id for _, task_id in owned if self._removable(task_id))
                    self._forget(list(islice(ended, min(max(0, len(owned) - write.kept), PRUNED_AT_ONCE))))

    @property
    def held(self) -> int:
        return 0

    def held_by(self, task_id: str) -> int:
        return 0

    def submit(self, writes: Sequence[Write], *, keep_events: bool = False) -> Pending:
        self.put(writes)
        return _AtOnce()

    async def commit(self, writes: Sequence[Write] = (), *, keep_events: bool = False) -> None:
        self.put(writes)

    async def task(self, task_id: str) -> StoredTask | None:
        row = self._tasks.get(task_id)
        return None if row is None else self._stored(row)

    async def unfinished(self) -> list[StoredTask]:
        rows = [row for row in self._tasks.values() if not row.finished]
        rows.sort(key=lambda row: (row.created_at, row.task_id))
        return [self._stored(row) for row in rows]

    async def events(self, task_id: str) -> tuple[EventRow, ...]:
        events = self._events.get(task_id, {})
        return tuple(events[first] for first in sorted(events))

    async def later_events(self, after: Mapping[str, int], most: int) -> Sequence[EventRow]:
        later = [
            row for task_id, number in after.items() for row in await self.events(task_id) if row.last_seq > number
        ]
        return first_bytes(later, most)

    async def ends(self, task_ids: Collection[str]) -> Mapping[str, int]:
        rows = {task_id: self._tasks.get(task_id) for task_id in task_ids}
        gone = {task_id: 0 for task_id, row in rows.items() if row is None}
        return gone | {task_id: row.last_seq for task_id, row in rows.items() if row is not None and row.finished}

    async def tasks(self, query: TaskQuery) -> TaskRows:
        keys = self._listed.get((query.principal, query.context_id), [])
        if query.changed_after is not None:
            keys = keys[bisect_right(keys, query.changed_after, key=lambda key: key[0]) :]
        if query.state is not None:
            keys = [key for key in keys if self._tasks[key[1]].state == query.state]
        end = len(keys) if query.after is None else bisect_left(keys, query.after)
        page = islice(range(end - 1, -1, -1), query.limit)
        return TaskRows(tuple(self._tasks[keys[place][1]] for place in page), len(keys))

    async def started_by(self, principal: str, context_id: str, message_id: str) -> StoredTask | None:
        newest = self._started.get((principal, context_id, message_id))
        return None if newest is None else self._stored(self._tasks[newest[1]])

    async def tasks_of_message(self, principal: str, message_id: str, limit: int) -> tuple[TaskRow, ...]:
        newest = islice(reversed(self._of_message.get((principal, message_id), ())), limit)
        return tuple(self._tasks[task_id] for _, task_id in newest)

    async def message_ids(self, after: tuple[str, str] | None, limit: int) -> Sequence[tuple[str, str]]:
        pairs = sorted(pair for pair in self._of_message if after is None or pair > after)
        return pairs[:limit]

    async def push_configs(self, task_id: str) -> tuple[PushRow, ...]:
        rows = self._pushes.get(task_id, {}).values()
        return tuple(sorted(rows, key=lambda row: (row.created_at, row.config_id)))

    async def unfinished_pushes(self) -> tuple[PushRow, ...]:
        rows = [row for rows in self._pushes.values() for row in rows.values() if not row.finished]
        return tuple(sorted(rows, key=lambda row: (row.created_at, row.task_id, row.config_id)))

    async def prunable(self, before: int) -> bool:
        return any(self._tasks[task_id].updated_at < before for task_id in self._prunable)

    async def expired(self, before: int) -> bool:
        return bool(self._expired(before))

    async def size(self) -> int | None:
        return None

    async def count(self) -> int:
        return len(self._tasks)

    async def session_of(self, principal: str, context_id: str) -> str | None:
        bound = self._sessions.get((principal, context_id))
        return None if bound is None else bound.session_id

    async def session(self, session_id: str) -> SessionRow | None:
        return self._known.get(session_id)

    async def affinity_of_context(self, principal: str, context_id: str) -> str | None:
        bound = self._sessions.get((principal, context_id))
        if bound is not None:
            return bound.affinity
        keys = self._listed.get((principal, context_id))
        return self._tasks[keys[-1][1]].affinity if keys else None

    async def affinity_of_session(self, session_id: str) -> str | None:
        known = self._known.get(session_id)
        if known is not None:
            return known.affinity
        found = (bound.affinity for bound in self._sessions.values() if bound.session_id == session_id)
        return min(found, default=None)

    async def owner_of(self, session_id: str) -> str | None:
        known = self._known.get(session_id)
        if known is not None and known.claimed_until is None:
            return known.principal
        owners = (bound.principal for bound in self._sessions.values() if bound.session_id == session_id)
        return min(owners, default=None)

    def _stored(self, row: TaskRow) -> StoredTask:
        events = self._events.get(row.task_id, {})
        later = (events[first] for first in sorted(events))
        return StoredTask(row, tuple(event for event in later if event.last_seq > row.last_seq))

    def _put_task(self, row: TaskRow) -> None:
        before = self._tasks.get(row.task_id)
        if before is None:
            started = (row.principal, row.context_id, row.message_id)
            created = (row.created_at, row.task_id)
            self._started[started] = max(self._started.get(started, created), created)
            insort(self._of_message[row.principal, row.message_id], created)
        else:
            row = row.continuing(before)
        self._tasks[row.task_id] = row
        if before is None or before.updated_at != row.updated_at:
            self._list(row, before)
        if row.finished:
            self._prunable.add(row.task_id)
        else:
            self._prunable.discard(row.task_id)

    def _list(self, row: TaskRow, before: TaskRow | None) -> None:
        for context_id in (None, row.context_id):
            keys = self._listed[row.principal, context_id]
            if before is not None:
                del keys[bisect_left(keys, (before.updated_at, row.task_id))]
            insort(keys, (row.updated_at, row.task_id))

    def _prune(self, before: int) -> None:
        pruned = {task_id for task_id in self._prunable if self._tasks[task_id].updated_at < before}
        self._prunable -= pruned
        for task_id in pruned:
            self._events.pop(task_id, None)

    def _removable(self, task_id: str) -> bool:
        pushes = self._pushes.get(task_id, {}).values()
        return self._tasks[task_id].finished and all(push.finished for push in pushes)

    def _expired(self, before: int) -> list[str]:
        """The finished tasks that are no longer kept, `PRUNED_AT_ONCE` of them, the first to finish first."""
        old = sorted((row.updated_at, row.task_id) for row in self._tasks.values() if row.updated_at < before)
        ended = (task_id for _, task_id in old if self._removable(task_id))
        return list(islice(ended, PRUNED_AT_ONCE))

    def _forget(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            row = self._tasks.pop(task_id)
            self._prunable.discard(task_id)
            self._events.pop(task_id, None)
            self._pushes.pop(task_id, None)
            for context_id in (None, row.context_id):
                _take(self._listed, (row.principal, context_id), (row.updated_at, task_id))
            created = (row.created_at, task_id)
            _take(self._of_message, (row.principal, row.message_id), created)
            started = (row.principal, row.context_id, row.message_id)
            same = self._of_message.get((row.principal, row.message_id), ())
            left = [entry for entry in same if self._tasks[entry[1]].context_id == row.context_id]
            if left:
                self._started[started] = left[-1]
            else:
                self._started.pop(started, None)
            self._unbind(row.principal, row.context_id)

    def _unbind(self, principal: str, context_id: str) -> None:
        """Remove the binding of a context without tasks, whose session has an owner by its own row."""
        if self._listed.get((principal, context_id)):
            return
        bound = self._sessions.get((principal, context_id))
        known = None if bound is None else self._known.get(bound.session_id)
        if known is not None and known.claimed_until is None:
            del self._sessions[principal, context_id]

    def _drop_push(self, dropped: PushDropped) -> None:
        rows = self._pushes.get(dropped.task_id, {})
        rows.pop(dropped.config_id, None)
        if not rows:
            self._pushes.pop(dropped.task_id, None)


def _take(keys: dict[_Key, list[tuple[int, str]]], key: _Key, entry: tuple[int, str]) -> None:
    """Take an entry out of a sorted list, and the list where it was the last."""
    entries = keys[key]
    del entries[bisect_left(entries, entry)]
    if not entries:
        del keys[key]
