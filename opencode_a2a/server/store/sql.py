"""The store in a database, SQLite or PostgreSQL: synchronous code in worker threads, one of them the writer.

It must not know what bodies mean, and the event loop never waits here for a disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic
from types import TracebackType
from typing import Final, Self, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from sqlalchemy import Connection, Engine, create_engine, exc
from sqlalchemy.pool import NullPool

from opencode_a2a.gathering import Gathering
from opencode_a2a.metrics.meters import NO_METERS, Meters
from opencode_a2a.server.store import reads
from opencode_a2a.server.store.database.engine import (
    SILENCE_SECONDS,
    SQLITE_BUSY_SECONDS,
    bound,
    enter_wal_mode,
    make_engine,
)
from opencode_a2a.server.store.database.faults import is_conflict, is_disconnect, store_fault
from opencode_a2a.server.store.database.file_guard import FileGuard
from opencode_a2a.server.store.database.inspection import read_only_uri
from opencode_a2a.server.store.database.migrate import ensure_schema
from opencode_a2a.server.store.database.postgresql_lock import exclude_replicas, hold_postgresql
from opencode_a2a.server.store.database.sqlite_file import prepare_file
from opencode_a2a.server.store.database.urls import parse_database_url
from opencode_a2a.server.store.earlier import Importer, import_earlier, import_from
from opencode_a2a.server.store.protocol import Ownership, Pending
from opencode_a2a.server.store.rows import (
    EventRow,
    FencedError,
    PushRow,
    SessionRow,
    StoredTask,
    StoreError,
    StoreInUseError,
    StoreUnavailableError,
    TaskQuery,
    TaskRow,
    TaskRows,
    TaskTakenError,
    Write,
)
from opencode_a2a.server.store.shared.options import SharedOptions
from opencode_a2a.server.store.shared.shared_owner import SharedOwner, listening_database
from opencode_a2a.server.store.shared.sole_owner import SoleOwner
from opencode_a2a.server.store.statements import WriteStatements
from opencode_a2a.server.store.writer import GroupCommitWriter
from sansio.a2a.counted import counted
from sansio.metrics import STORE_QUEUE, STORE_UNSTORED

Result = TypeVar("Result")

_READERS: Final = 4
OPEN_SECONDS: Final = 15.0
_LOCK_SECONDS: Final = 2.0  # a session of our own that was given up ends about at once
_AT_ONCE: Final = 0.5  # seconds in which a connection is found broken, rather than silent
_ATTEMPTS: Final = 3  # at a commit that another server's got in the way of, or that found its connection broken


class SqlStore:
    """A `Store` in a database; see there for what its calls promise."""

    def __init__(
        self,
        url: str,
        importer: Callable[[], Importer] | None = None,
        meters: Meters = NO_METERS,
        shared: SharedOptions | None = None,
    ) -> None:
        """Reads the URL, without connecting; StoreUrlError. `importer`: imports the tables of earlier releases.

        `shared`: other servers may have the database open, too; None: this one has it for itself.
        """
        self._importer = importer
        self._meters = meters
        self._database = parse_database_url(url)
        self._shared_options = shared
        self._listening = None if shared is None else listening_database(self._database, shared)
        self._shared: SharedOwner | None = None
        self._sole = SoleOwner(self)
        self._engine: Engine | None = None
        self._readers: Engine | None = None
        self._alone: Engine | None = None
        self._connection: Connection | None = None
        self._sent = False  # some of the batch may be in the database
        self._writer: GroupCommitWriter | None = None
        self._tasks: TaskGroup | None = None
        self._of_messages: Gathering[tuple[str, str, int], tuple[TaskRow, ...]] | None = None
        self._turn: AbstractContextManager[object] = nullcontext()
        self._guard = FileGuard(self._database.path) if self._database.path is not None else None
        self._statements = WriteStatements("?" if self._database.is_sqlite else "%s")

    @property
    def outlives(self) -> bool:
        return not self._database.is_sqlite or self._database.path is not None

    @property
    def trouble(self) -> str | None:
        return self._opened().trouble or (None if self._shared is None else self._shared.trouble)

    @property
    def ownership(self) -> Ownership:
        self._opened()
        return self._sole if self._shared is None else self._shared

    async def __aenter__(self) -> Self:
        if self._writer is not None:
            raise StoreError("the store is open already")
        if self._shared_options is not None and self._listening is not None:
            self._shared = SharedOwner(self._database, self._listening, self._shared_options, self._in_thread)
        shared = self._shared
        writer = GroupCommitWriter(
            self._transact, self._meters, lambda: None if shared is None else shared.replica_id
        )
        in_memory = self._database.is_sqlite and self._database.path is None
        # A database in memory is one connection, which the writer and the readers take turns to use.
        self._turn = Lock() if in_memory else nullcontext()
        self._read_limiter = anyio.CapacityLimiter(_READERS)
        await anyio.to_thread.run_sync(self._open)
        self._writer = writer
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._of_messages = Gathering(self._tasks, self._tasks_of_messages, reads.MESSAGES_AT_ONCE)
        self._tasks.start_soon(writer.run, name="store writer")
        if shared is not None:
            shared.begin()
            self._tasks.start_soon(shared.run, name="store lease")
        self._meters.read(STORE_QUEUE, lambda: writer.queued)
        self._meters.read(STORE_UNSTORED, lambda: writer.held)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        writer, tasks = self._opened(), self._tasks
        assert tasks is not None
        writer.close()
        with anyio.CancelScope(shield=True):
            await writer.closed.wait()
            if self._shared is not None:
                await self._shared.end()
            await anyio.to_thread.run_sync(self._close)
        self._writer = self._tasks = None
        # Told of no error: the caller's own must come out as it is, not in a group.
        await tasks.__aexit__(None, None, None)
        if writer.lost_at_close and error is None:
            lost = counted(writer.lost_at_close, "queued write")
            raise StoreError(f"{lost} could not be committed before closing: {writer.trouble}")

    def put(self, writes: Sequence[Write]) -> None:
        self._opened().put(writes)

    @property
    def held(self) -> int:
        return self._opened().held

    def held_by(self, task_id: str) -> int:
        return self._opened().held_by(task_id)

    def submit(self, writes: Sequence[Write], *, keep_events: bool = False) -> Pending:
        return self._opened().submit(writes, keep_events=keep_events)

    async def commit(self, writes: Sequence[Write] = (), *, keep_events: bool = False) -> None:
        await self.submit(writes, keep_events=keep_events).durable()

    async def task(self, task_id: str) -> StoredTask | None:
        return await self._read(lambda connection: reads.task(connection, task_id), alone=True)

    async def unfinished(self) -> list[StoredTask]:
        return await self._read(reads.unfinished)

    async def events(self, task_id: str) -> tuple[EventRow, ...]:
        return await self._read(lambda connection: reads.events(connection, task_id))

    async def later_events(self, after: Mapping[str, int], most: int) -> Sequence[EventRow]:
        return await self._read(lambda connection: reads.later_events(connection, after, most), alone=True)

    async def ends(self, task_ids: Collection[str]) -> Mapping[str, int]:
        return await self._read(lambda connection: reads.ends(connection, task_ids))

    async def tasks(self, query: TaskQuery) -> TaskRows:
        return await self._read(lambda connection: reads.tasks(connection, query))

    async def started_by(self, principal: str, context_id: str, message_id: str) -> StoredTask | None:
        return await self._read(lambda connection: reads.started_by(connection, principal, context_id, message_id))

    async def tasks_of_message(self, principal: str, message_id: str, limit: int) -> tuple[TaskRow, ...]:
        self._opened()
        assert self._of_messages is not None
        return await self._of_messages.ask((principal, message_id, limit))

    async def _tasks_of_messages(self, asked: Sequence[tuple[str, str, int]]) -> Sequence[tuple[TaskRow, ...]]:
        return await self._read(lambda connection: reads.tasks_of_messages(connection, asked), alone=True)

    async def message_ids(self, after: tuple[str, str] | None, limit: int) -> Sequence[tuple[str, str]]:
        return await self._read(lambda connection: reads.message_ids(connection, after, limit))

    async def push_configs(self, task_id: str) -> tuple[PushRow, ...]:
        return await self._read(lambda connection: reads.push_configs(connection, task_id))

    async def unfinished_pushes(self) -> tuple[PushRow, ...]:
        return await self._read(reads.unfinished_pushes)

    async def prunable(self, before: int) -> bool:
        return await self._read(lambda connection: bool(reads.prunable(connection, before, 1)))

    async def expired(self, before: int) -> bool:
        return await self._read(lambda connection: bool(reads.expired(connection, before, 1)))

    async def size(self) -> int | None:
        return await self._read(lambda connection: reads.size(connection) + self._journal_size())

    async def count(self) -> int:
        return await self._read(reads.count)

    async def session_of(self, principal: str, context_id: str) -> str | None:
        return await self._read(lambda connection: reads.session_of(connection, principal, context_id))

    async def session(self, session_id: str) -> SessionRow | None:
        return await self._read(lambda connection: reads.session(connection, session_id))

    async def affinity_of_context(self, principal: str, context_id: str) -> str | None:
        return await self._read(lambda connection: reads.affinity_of_context(connection, principal, context_id))

    async def affinity_of_session(self, session_id: str) -> str | None:
        return await self._read(lambda connection: reads.affinity_of_session(connection, session_id))

    async def owner_of(self, session_id: str) -> str | None:
        return await self._read(lambda connection: reads.owner_of(connection, session_id))

    def _journal_size(self) -> int:
        """The bytes of the journal next to an SQLite file; 0 for another database, or where it cannot be seen."""
        if self._database.path is None:
            return 0
        try:
            return Path(f"{self._database.path}-wal").stat().st_size
        except OSError:
            return 0

    async def import_from(self, source: Path, importer: Importer, *, dry_run: bool = False) -> None:
        """Import the tables that an earlier release keeps in an SQLite file, which is only read. Raises `StoreError`.

        Raises `SchemaError` where they are not understood. `dry_run`: nothing is written in the end.
        """
        self._opened()
        await anyio.to_thread.run_sync(partial(self._import_blocking, source, importer, dry_run=dry_run))

    def _import_blocking(self, source: Path, importer: Importer, *, dry_run: bool) -> None:
        assert self._engine is not None

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(read_only_uri(source, unshared=True), uri=True, timeout=SQLITE_BUSY_SECONDS)

        reading = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
        try:
            with self._turn:
                import_from(reading, self._engine, importer, self._statements.execute, dry_run=dry_run)
        except Exception as error:
            raise self._fault(error, "import") from None
        finally:
            reading.dispose()

    def _opened(self) -> GroupCommitWriter:
        if self._writer is None:
            raise StoreError("the store is not open")
        return self._writer

    async def _read(self, read: Callable[[Connection], Result], *, alone: bool = False) -> Result:
        """Reads in one transaction of a pooled connection, once everything given before is durable.

        `alone`: one statement, or several that need not see the same; on PostgreSQL there is no transaction then.
        """
        return await self._in_thread(lambda: self._read_blocking(read, alone=alone))

    async def _in_thread(self, blocking: Callable[[], Result], *, at_once: bool = False) -> Result:
        writer = self._opened()
        if self._shared is not None and self._shared.trouble is not None:
            # Each thread would wait for a database that hangs, and all who read would wait for the threads.
            raise StoreUnavailableError(self._shared.trouble)
        if writer.busy and not at_once:
            await writer.commit(())
        return await anyio.to_thread.run_sync(blocking, limiter=self._read_limiter)

    def _read_blocking(self, read: Callable[[Connection], Result], *, alone: bool) -> Result:
        engine = self._alone if alone else self._readers
        assert engine is not None
        try:
            self._check_file()
            with self._turn, engine.connect() as connection:
                return read(connection)
        except Exception as error:
            raise self._fault(error, "read") from None

    def _transact(self, writes: Sequence[Write], owner: str | None) -> None:
        """In the writer's thread: all or nothing, on a connection that is kept until something fails."""
        attempts, began = 1, monotonic()
        while True:
            try:
                self._transact_once(writes, owner)
                return
            except (FencedError, TaskTakenError):
                raise  # the connection is as good as before
            except Exception as error:
                at_once = monotonic() - began < _AT_ONCE  # else the database hangs, and callers wait
                again = is_conflict(error) or (is_disconnect(error) and not self._sent and at_once)
                if not is_conflict(error):
                    self._drop_connection()
                if not again or attempts == _ATTEMPTS:
                    self._drop_connection()
                    raise self._fault(error, "commit") from None
                attempts += 1

    def _transact_once(self, writes: Sequence[Write], owner: str | None) -> None:
        self._sent = self._shared is None
        self._check_file()
        if self._connection is None:
            assert self._engine is not None
            self._connection = self._engine.connect()
            if self._shared_options is not None:  # its tasks are others' by then, and callers wait behind it
                bound(self._connection, self._shared_options.lease)
            self._hold_again(self._connection)
        with self._turn, self._connection.begin():
            if self._shared is not None and owner is not None:
                self._shared.fence(self._connection, owner, writes)
            self._sent = True
            self._statements.execute(self._connection, writes, owner)

    def _hold_again(self, connection: Connection) -> None:
        """After a lost connection: while somebody else has the database, it cannot be written."""
        try:
            if not self._database.is_sqlite and self._shared is None:
                hold_postgresql(connection, patience=_LOCK_SECONDS)
                exclude_replicas(connection)
        except StoreInUseError as exc:
            raise StoreUnavailableError(str(exc)) from None

    def _check_file(self) -> None:
        if self._guard is not None:
            self._guard.check()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                if not self._database.is_sqlite:
                    connection.invalidate()  # its session has the lock, which another could not get
                connection.close()
            except exc.SQLAlchemyError:
                connection.invalidate()

    def _open(self) -> None:
        try:
            if self._database.path is not None:
                prepare_file(str(Path(self._database.path).absolute()))
            if self._guard is not None:
                self._guard.hold()
                self._guard.remember()
            self._engine = self._make_engine()
            # One snapshot for all statements of a read; SQLite's transactions have that anyway.
            level = {} if self._database.is_sqlite else {"isolation_level": "REPEATABLE READ"}
            self._readers = self._engine.execution_options(**level)
            self._alone = self._engine if not level else self._engine.execution_options(isolation_level="AUTOCOMMIT")
            if self._database.path is not None:
                enter_wal_mode(self._engine, OPEN_SECONDS)
            if not self._database.is_sqlite and self._shared is None:
                self._connection = self._engine.connect()
                hold_postgresql(self._connection, patience=OPEN_SECONDS / 3)
            if self._shared is not None:
                self._shared.check(self._engine)
            ensure_schema(self._engine)
            if self._connection is not None:
                exclude_replicas(self._connection, patience=OPEN_SECONDS / 3)
            if self._shared is not None:
                self._shared.join(self._engine, patience=OPEN_SECONDS / 3)
            if self._importer is not None:
                import_earlier(self._engine, self._importer(), self._statements.execute)
        except Exception as error:
            self._close()
            raise self._fault(error, "open") from None

    def _make_engine(self) -> Engine:
        options = self._shared_options
        if options is None:
            return make_engine(self._database, connections=_READERS + 1)
        # A connection that leads nowhere is given up while there is time for another.
        silence = min(options.lease / 2, SILENCE_SECONDS)
        pooled = options.listen_url is not None
        return make_engine(self._database, connections=_READERS + 1, silence=silence, pooled=pooled)

    def _close(self) -> None:
        if self._shared is not None:
            self._shared.leave()
        self._drop_connection()
        if self._engine is not None:
            self._engine.dispose()
        self._engine = self._readers = self._alone = self._shared = None
        if self._guard is not None:
            self._guard.release()

    def _fault(self, error: Exception, doing: str) -> StoreError:
        return store_fault(error, doing, self._database)
