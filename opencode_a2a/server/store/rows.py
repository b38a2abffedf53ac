"""The store of tasks: its rows and its errors.

Bodies are opaque JSON bytes: nothing here may know A2A or OpenCode, or how and where rows are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self, TypeAlias

from attrs import evolve, field, frozen

PRUNED_AT_ONCE: Final = 256

RESTING: Final = frozenset({"auth-required"})
"""The states of unfinished tasks that nobody works on until somebody asks."""


class StoreError(Exception):
    """The store could not do what it was asked; the text holds neither passwords nor stored content."""


class StoreUrlError(StoreError, ValueError):
    """A database URL that no store can be opened from."""


class SchemaError(StoreError):
    """The database holds a schema this version cannot work with."""


class WritesRefusedError(StoreError):
    """The database takes no such rows, now or later; other writes are unaffected."""


class StoreUnavailableError(StoreError):
    """The database cannot be read or written now (locked, full, gone); the same call may succeed later."""


class StoreGoneError(StoreUnavailableError):
    """The database file was deleted or replaced while it was in use: nothing is written to what lies there now."""


class StoreInUseError(StoreError):
    """Another server uses the database; the text names its process."""


class FencedError(StoreError):
    """Another server has taken over the tasks of this one, whose lease was over. Nothing was written."""


class TaskTakenError(WritesRefusedError):
    """Another server works on the task by now, or has ended it. Nothing of it was written."""


@frozen(kw_only=True)
class TaskRow:
    """One task: its latest durable snapshot, and what is needed to find and resume it.

    Times are epoch milliseconds; `updated_at` is when its status last changed. `session_id` (upstream) and
    `prompt_id` (our message there) are None until known. `message_id`: the client's message that started it.
    `last_seq` is the number of the last event the snapshot contains; it never goes back. `replica_id`: the server
    that works on it, of those that share the store; None where nobody does, or the store is not shared. Writers leave
    it None: the store fills it. `affinity`: the place that it can be worked on in, of several that an agent has, as
    the agent names it; empty: the first.
    """

    task_id: str
    context_id: str
    principal: str
    message_id: str
    state: str
    finished: bool
    created_at: int
    updated_at: int
    session_id: str | None
    prompt_id: str | None
    last_seq: int
    snapshot: bytes = field(repr=False)
    options: bytes = field(repr=False)
    replica_id: str | None = None
    affinity: str = ""

    @property
    def at_work(self) -> bool:
        """Whether a server works on it."""
        return not self.finished and self.state not in RESTING

    def continuing(self, first: Self) -> Self:
        """This row with what identifies the task as `first`, an earlier row of it, has it."""
        same = (self.context_id, self.principal, self.message_id, self.created_at, self.affinity)
        if same == (first.context_id, first.principal, first.message_id, first.created_at, first.affinity):
            return self
        return evolve(
            self,
            context_id=first.context_id,
            principal=first.principal,
            message_id=first.message_id,
            created_at=first.created_at,
            affinity=first.affinity,
        )


@frozen(kw_only=True)
class EventRow:
    """A run of events of one task, numbered `first_seq` to `last_seq`; the body is a JSON array of them."""

    task_id: str
    first_seq: int
    last_seq: int
    body: bytes = field(repr=False)


def first_bytes(rows: Iterable[EventRow], most: int) -> list[EventRow]:
    """Return the first of some rows, until their bodies have `most` bytes."""
    found: list[EventRow] = []
    size = 0
    for row in rows:
        if size >= most:
            break
        found.append(row)
        size += len(row.body)
    return found


@frozen
class Binding:
    """The upstream session a principal's context continues in. `affinity`: as of a task."""

    principal: str
    context_id: str
    session_id: str
    affinity: str = ""


@frozen(kw_only=True)
class SessionRow:
    """An upstream session beyond its bindings: its owner and its location.

    `claimed_until`: until then (epoch milliseconds) it is only claimed; None: it is theirs. `place`: as its writer
    wrote it; empty: nowhere special. `affinity`: as of a task.
    """

    session_id: str
    principal: str
    claimed_until: int | None = None
    place: str = ""
    affinity: str = ""


@frozen(kw_only=True)
class PushRow:
    """One push configuration of a task, and how far it has been notified.

    `form`: how the notifications look; `body`: the configuration as JSON, with its secrets. `cursor`: the number of
    the last event that was delivered, or needed no delivery. `finished`: nothing more will be delivered.

    `replica_id`: the server that delivers, of those that share the store; None where nobody does now, or the store is
    not shared. Writers leave it None: the store fills it. `rests`: of a write: nobody delivers before its task goes
    on.
    """

    task_id: str
    config_id: str
    form: str
    created_at: int
    cursor: int
    finished: bool
    body: bytes = field(repr=False)
    replica_id: str | None = None
    rests: bool = field(default=False, eq=False)


@frozen
class PushDropped:
    """A push configuration is gone."""

    task_id: str
    config_id: str


@frozen
class EventsPruned:
    """The event rows of tasks that finished before this time (epoch milliseconds) are no longer kept.

    A task is pruned once: event rows written after that stay until its finished row has been written again, too. A
    database takes several of these writes to prune very many tasks, `PRUNED_AT_ONCE` by each.
    """

    before: int


@frozen
class TasksExpired:
    """Finished tasks whose status last changed before this time (epoch milliseconds) are no longer kept.

    With a task go its event rows, its push configurations, and the binding of its context once no task of that is
    left and the session's own row names the owner. A task with an unfinished push configuration stays. Sessions stay:
    without its row, a session could be claimed by anybody. One write removes `PRUNED_AT_ONCE` tasks at most, those
    that finished first.
    """

    before: int


@frozen
class TasksBeyond:
    """The finished tasks of a principal are no longer kept as far as there are more than `kept` tasks in all.

    As `TasksExpired` otherwise.
    """

    principal: str
    kept: int


Removal: TypeAlias = EventsPruned | TasksExpired | TasksBeyond
"""A write that looks at what was given before it."""

Write: TypeAlias = TaskRow | EventRow | Binding | SessionRow | PushRow | PushDropped | Removal


@frozen(kw_only=True)
class TaskQuery:
    """Which of a principal's tasks to read, newest `updated_at` first (then by `task_id`, descending).

    `after`: the `(updated_at, task_id)` of the last row of the page before. `changed_after`: later than this.
    """

    principal: str
    limit: int
    context_id: str | None = None
    state: str | None = None
    changed_after: int | None = None
    after: tuple[int, str] | None = None


@frozen
class TaskRows:
    """Up to `limit` rows, and how many there are in all (`after` does not count)."""

    rows: tuple[TaskRow, ...]
    total: int


@frozen(kw_only=True)
class Replica:
    """A server of those that share a store.

    `began_at`: when it joined, in epoch milliseconds by the clock of the database. `remaining`: the seconds for which
    its lease lasts; negative where it is over, and nobody has taken over yet. `name`: for people.
    """

    replica_id: str
    name: str
    began_at: int
    remaining: float


@frozen(kw_only=True)
class LeaseStatus:
    """The lease of this server, and what it did by it since the server began.

    `held`: nobody can have taken over this server. `age`: seconds since it was renewed, or joined. `servers`: that
    have a lease, this one among them, as the last renewal found them; None where that is not known now.
    `failures`: renewals that failed. `losses`: times that others took over. `takeovers`: other servers removed.
    """

    held: bool
    age: float
    servers: int | None
    failures: int
    losses: int
    takeovers: int


@frozen
class StoredTask:
    """A task as it is read back: its row, and in order the event rows its snapshot does not contain."""

    row: TaskRow
    events: tuple[EventRow, ...]

    @property
    def last(self) -> int:
        """The number of the newest event that was stored."""
        return self.events[-1].last_seq if self.events else self.row.last_seq
