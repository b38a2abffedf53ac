"""The store of tasks as its callers see it: what each call promises. Knows nothing of how and where rows are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from opencode_a2a.server.store.rows import (
    EventRow,
    LeaseStatus,
    PushRow,
    Replica,
    SessionRow,
    StoredTask,
    TaskQuery,
    TaskRow,
    TaskRows,
    Write,
)
from sansio.a2a.replicas.changes import Changes


class Pending(Protocol):
    """Writes on their way into the store."""

    async def durable(self) -> None:
        """Wait until they are durable. StoreError: they are not known to be, and will not be tried again."""


class Ownership(Protocol):
    """Which tasks this server works on, of those in a store that several may share.

    Where the store is not shared, this server owns them all.
    """

    @property
    def replica_id(self) -> str | None:
        """This server, as the others know it; None where the store is not shared. `rejoin` changes it."""

    async def adopt(self, limit: int) -> list[StoredTask]:
        """Take over unfinished tasks that nobody works on, `limit` at most, those that were created first.

        Tasks in a state of `RESTING` are left, and those of an affinity that this server does not serve. Of servers
        that adopt at once, each gets others. Where the store is
        not shared, each unfinished task is returned once: so the first call belongs before the first new task.
        Raises `StoreError`, and `FencedError`.
        """

    async def adopt_pushes(self, limit: int) -> list[PushRow]:
        """Take over unfinished push configurations that nobody delivers, `limit` at most, oldest first.

        Those of a task that another server works on, or that rests and has nothing new, are left. Of servers that
        adopt at once, each gets others. Some that this server has may be returned again. Raises `StoreError`, and
        `FencedError`.
        """

    async def claim_pushes(self, task_id: str) -> list[PushRow]:
        """Take over the unfinished push configurations of a task, but for those that another server delivers.

        Raises `StoreError`, and `FencedError`.
        """

    async def claim_push(self, task_id: str, config_id: str) -> str | None:
        """Take over one push configuration unless another server delivers it; return the server that has it now.

        None where there is no such configuration, or the store is not shared. Raises `StoreError`, `FencedError`.
        """

    async def owner(self, task_id: str) -> str | None:
        """The server that works on a task; None where nobody does, or the store is not shared. Raises `StoreError`.

        A server whose lease is over works on its tasks until another takes over.
        """

    async def replicas(self) -> Sequence[Replica]:
        """The servers that share the store, the oldest first; none where it is not shared. Raises `StoreError`."""

    async def sure(self, *, patient: bool = True) -> None:
        """Return once no other server can have taken over this one: before what cannot be undone, nor done twice.

        Before what is shown of the tasks, too: they may have ended elsewhere. It waits only where the lease may
        be over, as after a process was stopped. Raises `FencedError`; `StoreUnavailableError` where it is not
        `patient`, and the lease cannot be renewed now.
        """

    @property
    def lost(self) -> bool:
        """Whether another server has taken over this one's tasks, and this one has not joined again."""

    @property
    def lease(self) -> LeaseStatus | None:
        """The lease of this server now; None where the store is not shared."""

    def doubt(self, task_id: str) -> None:
        """Note that nobody works here on a new task, which the store may have all the same: its answer was lost.

        It is left to whoever adopts it, as what a server left.
        """

    async def fenced(self) -> None:
        """Return once another server has taken over this one's tasks; at once, if that was before.

        From then on every write fails with `FencedError`, however late, until `rejoin`.
        """

    async def rejoin(self) -> None:
        """Join again, with another id and without tasks. What was queued before still fails. Raises `StoreError`.

        Nothing happens where this server was not taken over.
        """

    def changes(self) -> AsyncIterator[Changes]:
        """The changes that other servers commit, without end and in their order, for one reader.

        All that was not read yet is one item. After each connection to the database, the first among them, everything
        may have changed. Where the store is not shared, no item comes.
        """


class Store(Protocol):
    """Durable tasks. Open it with `async with`; every other call belongs inside.

    A `TaskRow` is inserted or replaces the row of its `task_id`, an `EventRow` that of its (`task_id`,
    `first_seq`), a `Binding` that of its (`principal`, `context_id`), a `SessionRow` that of its `session_id`, a
    `PushRow` that of its (`task_id`, `config_id`). Writes take effect in the order given. Event rows stay until they
    are pruned. What identifies a task (`context_id`, `principal`, `message_id`, `created_at`, `affinity`) is
    taken from its first row.
    """

    @property
    def outlives(self) -> bool:
        """Whether what is in it is there again when it is opened by another process."""

    @property
    def trouble(self) -> str | None:
        """Why the last commit failed, or the last renewal of the lease; None while they succeed."""

    @property
    def held(self) -> int:
        """Bytes of events, and of all that was put, which are not durable yet, roughly.

        Whoever queues has to bound them.
        """

    def held_by(self, task_id: str) -> int:
        """Bytes of a task's events that were queued and are not durable yet, roughly."""

    @property
    def ownership(self) -> Ownership:
        """Which tasks this server works on."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commits what is queued, then closes; StoreError if some of it could not be committed."""

    def put(self, writes: Sequence[Write]) -> None:
        """Queues writes for the next commit and returns at once.

        What an unavailable database could not commit is tried again until it is back. What it refuses is logged as
        an error.
        """

    def submit(self, writes: Sequence[Write], *, keep_events: bool = False) -> Pending:
        """Queues writes; whoever queues them can do other things before waiting for them. See `commit`."""

    async def commit(self, writes: Sequence[Write] = (), *, keep_events: bool = False) -> None:
        """Queues writes and waits until they and all queued before are durable.

        StoreError: they are not known to be durable, and will not be tried again. `keep_events`: where the database
        is unavailable, the event rows among them are tried again all the same, before any that are queued later. A
        caller that is cancelled while waiting leaves its writes queued.
        """

    async def task(self, task_id: str) -> StoredTask | None:
        """The task, as of all writes given before this call.

        Reads wait until those are durable; StoreError if they cannot become so, or the database cannot be read.
        """

    async def unfinished(self) -> list[StoredTask]:
        """Every unfinished task, oldest first."""

    async def events(self, task_id: str) -> tuple[EventRow, ...]:
        """All event rows of the task that are kept, in order, whether or not its snapshot contains them."""

    async def later_events(self, after: Mapping[str, int], most: int) -> Sequence[EventRow]:
        """The event rows of tasks that reach beyond a number, which is given for each task; in order for each.

        They end with the one that brings their bodies to `most` bytes: there may be more.
        """

    async def ends(self, task_ids: Collection[str]) -> Mapping[str, int]:
        """Those of the tasks that have finished, each with the number of its last event; 0 where it is gone."""

    async def tasks(self, query: TaskQuery) -> TaskRows:
        """A page of tasks."""

    async def started_by(self, principal: str, context_id: str, message_id: str) -> StoredTask | None:
        """The newest task that this message of the principal's started in the context."""

    async def tasks_of_message(self, principal: str, message_id: str, limit: int) -> tuple[TaskRow, ...]:
        """The newest tasks that messages of this id started, in whatever context, newest first."""

    async def message_ids(self, after: tuple[str, str] | None, limit: int) -> Sequence[tuple[str, str]]:
        """The next pairs of a principal and a message id that started a task, each once, in an order of the store's.

        `after`: the last pair that was read before.
        """

    async def push_configs(self, task_id: str) -> tuple[PushRow, ...]:
        """The task's push configurations, oldest first (then by `config_id`)."""

    async def unfinished_pushes(self) -> tuple[PushRow, ...]:
        """Every push configuration that may have something to deliver, oldest first."""

    async def prunable(self, before: int) -> bool:
        """Whether `EventsPruned(before)` has something to prune."""

    async def expired(self, before: int) -> bool:
        """Whether `TasksExpired(before)` has something to remove."""

    async def size(self) -> int | None:
        """The bytes that the store takes on its disk, with free pages and the journal; None where it has none."""

    async def count(self) -> int:
        """The number of tasks."""

    async def session_of(self, principal: str, context_id: str) -> str | None:
        """The upstream session this principal's context is bound to."""

    async def session(self, session_id: str) -> SessionRow | None:
        """The row of this upstream session; None where there is none."""

    async def affinity_of_context(self, principal: str, context_id: str) -> str | None:
        """The affinity of this principal's context: of its binding, else of its newest task; None where it is new."""

    async def affinity_of_session(self, session_id: str) -> str | None:
        """The affinity of this upstream session: of its own row, else of a binding; None where there is neither."""

    async def owner_of(self, session_id: str) -> str | None:
        """The owner of this upstream session: by its own row, unless it is only claimed, else by a binding."""
