"""The store that forgets: the same promises in dicts, for tests and for servers told to keep nothing.

It must never wait and must never touch a disk.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from opencode_a2a.store.rows import Binding, EventRow, Pending, StoredTask, TaskRow, Write


class _AtOnce:
    async def durable(self) -> None:
        return


class MemoryStore:
    """A `Store` whose writes are durable for as long as this object lives."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskRow] = {}
        self._events: dict[str, dict[int, EventRow]] = {}
        self._sessions: dict[tuple[str, str], str] = {}

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
                    self._tasks[write.task_id] = write
                    if write.finished:
                        self._forget_contained(write)
                case EventRow():
                    self._events.setdefault(write.task_id, {})[write.first_seq] = write
                case Binding():
                    self._sessions[write.principal, write.context_id] = write.session_id

    def submit(self, writes: Sequence[Write]) -> Pending:
        self.put(writes)
        return _AtOnce()

    async def commit(self, writes: Sequence[Write] = ()) -> None:
        self.put(writes)

    async def task(self, task_id: str) -> StoredTask | None:
        row = self._tasks.get(task_id)
        return None if row is None else self._stored(row)

    async def unfinished(self) -> list[StoredTask]:
        rows = [row for row in self._tasks.values() if not row.finished]
        rows.sort(key=lambda row: (row.created_at, row.task_id))
        return [self._stored(row) for row in rows]

    async def session_of(self, principal: str, context_id: str) -> str | None:
        return self._sessions.get((principal, context_id))

    async def owner_of(self, session_id: str) -> str | None:
        owners = (principal for (principal, _), bound in self._sessions.items() if bound == session_id)
        return min(owners, default=None)

    def _stored(self, row: TaskRow) -> StoredTask:
        events = self._events.get(row.task_id, {})
        later = (events[first] for first in sorted(events))
        return StoredTask(row, tuple(event for event in later if event.last_seq > row.last_seq))

    def _forget_contained(self, row: TaskRow) -> None:
        events = self._events.get(row.task_id, {})
        for first in [first for first, event in events.items() if event.last_seq <= row.last_seq]:
            del events[first]
        if not events:
            self._events.pop(row.task_id, None)
