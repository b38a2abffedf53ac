"""The ownership of tasks by one of several servers on a PostgreSQL database, which joins, renews and takes over.

The event loop drives the renewals, each in a thread with a connection that nothing else waits for. So a lease lasts
as long as the event loop turns and the database can be reached, however busy the writer is. An event loop that hangs
for longer than a lease answers no client and reads nothing of its agent; a thread that went on renewing would keep
its tasks from servers that could work on them. A process that was stopped is the same case.

A lease that is over costs nothing by itself. Others remove the server's row, and `fence` finds that before anything
is written. What was queued belongs to the id that the server had then, so a new id does not let it through.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Protocol, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import EventLoopToken, current_token
from sqlalchemy import Connection, Engine

from opencode_a2a.server.store import reads
from opencode_a2a.server.store.database.faults import store_fault
from opencode_a2a.server.store.database.postgresql_lock import join_postgresql
from opencode_a2a.server.store.database.urls import Database, parse_database_url
from opencode_a2a.server.store.rows import (
    EventRow,
    FencedError,
    Replica,
    StoredTask,
    StoreError,
    StoreUrlError,
    TaskRow,
    Write,
)
from opencode_a2a.server.store.shared import commands, replica_statements, task_statements, tickets
from opencode_a2a.server.store.shared.change_feed import ChangeFeed
from opencode_a2a.server.store.shared.listener import Listener
from opencode_a2a.server.store.shared.options import SharedOptions
from opencode_a2a.server.store.shared.replica_statements import CHANNEL
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.replicas.changes import EVERYTHING, ORPHANS, Changes, merged, parse_changes
from sansio.a2a.replicas.lease import Lease

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


def listening_database(database: Database, options: SharedOptions) -> Database:
    """Where to listen. Raises `StoreUrlError` where servers cannot share the database, or cannot listen there."""
    listening = database if options.listen_url is None else parse_database_url(options.listen_url)
    if database.is_sqlite or listening.is_sqlite:
        raise StoreUrlError("several servers can share a PostgreSQL database, and not an SQLite one")
    return listening


class InThread(Protocol):
    """Runs what blocks in a worker thread, after all that was given to the store before is durable."""

    def __call__(self, blocking: Callable[[], Result]) -> Awaitable[Result]: ...


class SharedOwner:
    """An `Ownership` in a database that several servers share; see there for what its calls promise.

    Made on the event loop that it is used on. `listening`: the database as the connection that listens reaches it.
    `in_thread`: for what has to see the writes given before.
    """

    def __init__(self, database: Database, listening: Database, options: SharedOptions, in_thread: InThread) -> None:
        self._database = database
        self._options = options
        self._in_thread = in_thread
        self._lease_ms = int(options.lease * 1000)
        self._lease = Lease(options.lease)
        self._limiter = anyio.CapacityLimiter(1)  # renewals wait for no other thread
        self._taking = anyio.Lock()
        self._joining = anyio.Lock()
        self._scope = anyio.CancelScope(shield=True)
        self._ended = anyio.Event()
        self._engine: Engine | None = None
        self._token: EventLoopToken | None = None
        self._unsure: set[str] = set()  # tasks that may have been taken: the answer to the commit was lost
        self._failing = False
        self._rejoined = Wakeup()
        self._lost = anyio.Event()
        self._feed = ChangeFeed()
        self._subscribers: dict[str, Callable[[Sequence[str] | None], None]] = {}
        self._listener = Listener(listening, (CHANNEL, commands.CHANNEL, tickets.CHANNEL), self._receive)
        self.replica_id = secrets.token_hex(8)

    # --- what the store calls -----------------------------------------------------------------------------

    def join(self, engine: Engine, patience: float) -> None:
        """Join the servers that share the database. Blocks, for `patience` seconds while one has it for itself.

        Raises `StoreInUseError`, and the errors of the driver.
        """
        self._engine = engine
        self._join(self.replica_id, patience)

    def begin(self) -> None:
        """Begin to listen, on the event loop that `run` runs on."""
        self._token = current_token()
        self._listener.start()

    async def run(self) -> None:
        """Renew the lease, and look for servers whose lease is over, until `end`.

        Cancelling does not stop it: the writer may have something to commit yet.
        """
        try:
            with self._scope:
                while True:
                    await anyio.sleep(self._lease.pause(monotonic()))
                    while self._lost.is_set():
                        await self._rejoined.wait()
                    await self._renew()
        finally:
            self._ended.set()

    async def end(self) -> None:
        """Let `run` return, and wait for it: a renewal may be under way."""
        self._scope.cancel()
        await self._ended.wait()

    def leave(self) -> None:
        """Stop listening, and leave the tasks to the others at once. Blocks.

        Where the database cannot be reached, the lease runs out.
        """
        self._listener.end()
        if self._engine is not None:
            with suppress(StoreError):
                self._execute(lambda connection: replica_statements.leave(connection, self.replica_id), "be written")

    def fence(self, connection: Connection, replica_id: str, writes: Sequence[Write]) -> None:
        """Begin a transaction of the writer's, in its thread. `replica_id`: of this server when these were queued.

        Raises `FencedError`.
        """
        changed = dict.fromkeys(write.task_id for write in writes if isinstance(write, TaskRow | EventRow))
        try:
            replica_statements.fence(connection, replica_id, self._lease_ms, Changes(tuple(changed)))
        except FencedError:
            assert self._token is not None
            anyio.from_thread.run_sync(self._lose, replica_id, token=self._token)
            raise

    # --- the ownership ------------------------------------------------------------------------------------

    async def adopt(self, limit: int) -> list[StoredTask]:
        async with self._taking:
            adopted = await self.transact(partial(self._adopt, limit))
            self._unsure.clear()
            return adopted

    async def claim(self, task_id: str) -> bool:
        async with self._taking:
            claimed = await self.transact(partial(self._claim, task_id))
            self._unsure.discard(task_id)
            return claimed

    async def owner(self, task_id: str) -> str | None:
        return await self._in_thread(
            lambda: self._execute(lambda connection: task_statements.owner(connection, task_id), "be read")
        )

    async def replicas(self) -> Sequence[Replica]:
        return await self._in_thread(lambda: self._execute(replica_statements.living, "be read"))

    async def fenced(self) -> None:
        await self._lost.wait()

    async def rejoin(self) -> None:
        async with self._joining:
            if not self._lost.is_set():
                return
            replica_id = secrets.token_hex(8)
            await anyio.to_thread.run_sync(self._join_again, replica_id, limiter=self._limiter)
            self.replica_id, self._lost, self._failing = replica_id, anyio.Event(), False
            self._unsure.clear()
            self._rejoined.wake()

    def changes(self) -> AsyncIterator[Changes]:
        return self._feed

    # --- for what else the servers share ------------------------------------------------------------------

    async def transact(self, work: Callable[[Connection, str], Result]) -> Result:
        """Run SQL in a transaction of its own, which begins with the fence: with the id of this server.

        It blocks in a thread, after all that was given to the store before is durable. Raises `StoreError`, and
        `FencedError`.
        """
        replica_id = self.replica_id

        def fenced(connection: Connection) -> Result:
            replica_statements.fence(connection, replica_id, self._lease_ms)
            return work(connection, replica_id)

        try:
            return await self._in_thread(lambda: self._transact(fenced))
        except FencedError:
            self._lose(replica_id)
            raise

    def subscribe(self, channel: str, notified: Callable[[Sequence[str] | None], None]) -> None:
        """Call a function on the event loop with the texts that a channel notifies of, in order.

        None: the connection is new, and anything may have been notified before. This server's own are among them.
        """
        self._subscribers[channel] = notified

    # --- the lease ----------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        replica_id, now = self.replica_id, monotonic()
        try:
            if not await anyio.to_thread.run_sync(self._renew_blocking, replica_id, limiter=self._limiter):
                self._lose(replica_id)
                return
            self._lease.renew(now)
            self._note_failing(None)
            if self._lease.settled(now):
                await anyio.to_thread.run_sync(self._take_over, replica_id, limiter=self._limiter)
            if await anyio.to_thread.run_sync(self._orphaned, limiter=self._limiter):
                self._feed.post(ORPHANS)
        except StoreError as error:
            self._lease.fail()
            self._note_failing(error)

    def _note_failing(self, error: StoreError | None) -> None:
        if error is not None and not self._failing:
            _log.warning("the lease of this server cannot be renewed, and others may take over its tasks: %s", error)
        elif error is None and self._failing:
            _log.warning("the lease of this server is renewed again")
        self._failing = error is not None

    def _lose(self, replica_id: str) -> None:
        """On the event loop: this server was taken over, as long as it has that id."""
        if replica_id == self.replica_id and not self._lost.is_set():
            _log.warning("another server has taken over the tasks of this one (replica %s)", replica_id)
            self._lost.set()

    # --- in threads ---------------------------------------------------------------------------------------

    def _execute(self, statement: Callable[[Connection], Result], doing: str) -> Result:
        """One statement without a transaction around it. Raises `StoreError`."""
        assert self._engine is not None
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                return statement(connection)
        except Exception as error:
            raise store_fault(error, doing, self._database) from None

    def _transact(self, work: Callable[[Connection], Result]) -> Result:
        """In one transaction. Raises `StoreError`."""
        assert self._engine is not None
        try:
            with self._engine.connect() as connection, connection.begin():
                return work(connection)
        except Exception as error:
            raise store_fault(error, "be written", self._database) from None

    def _join(self, replica_id: str, patience: float) -> None:
        assert self._engine is not None
        name, began = self._options.name, monotonic()
        join_postgresql(
            self._engine, lambda one: replica_statements.join(one, replica_id, name, self._lease_ms), patience
        )
        self._lease.join(began)

    def _join_again(self, replica_id: str) -> None:
        try:
            self._join(replica_id, patience=0)
        except Exception as error:
            raise store_fault(error, "be joined", self._database) from None

    def _renew_blocking(self, replica_id: str) -> bool:
        return self._execute(lambda one: replica_statements.renew(one, replica_id, self._lease_ms), "be written")

    def _take_over(self, replica_id: str) -> None:
        gone = self._execute(lambda one: replica_statements.take_over(one, replica_id), "be written")
        for taken in gone:
            _log.warning("the lease of replica %s was over: its tasks are taken over", taken)
        if gone:
            self._execute(tickets.sweep_tickets, "be written")
            self._execute(commands.sweep_commands, "be written")

    def _orphaned(self) -> bool:
        return self._execute(task_statements.orphaned, "be read")

    def _adopt(self, limit: int, connection: Connection, replica_id: str) -> list[StoredTask]:
        if self._unsure:
            task_statements.release(connection, replica_id, sorted(self._unsure))
        adopted = task_statements.adopt(connection, replica_id, limit)
        tickets.adopt_tickets(connection, adopted, replica_id)
        self._unsure.update(adopted)
        # In the transaction: a task that was adopted and cannot be read would have an owner and no work.
        return reads.stored_tasks(connection, adopted) if adopted else []

    def _claim(self, task_id: str, connection: Connection, replica_id: str) -> bool:
        self._unsure.add(task_id)
        return task_statements.claim(connection, replica_id, task_id)

    def _receive(self, received: Sequence[tuple[str, str]] | None) -> None:
        """In the listener's thread: hand on what was notified, as one, and wait until it is.

        What this server changed is left out: that is the most, and each time it would wake the event loop.
        """
        assert self._token is not None
        if received is None:
            anyio.from_thread.run_sync(self._connected, token=self._token)
            return
        parsed = [parse_changes(text) for channel, text in received if channel == CHANNEL]
        changes = merged([one for sender, one in parsed if sender != self.replica_id])
        others = [one for one in received if one[0] in self._subscribers]
        if changes or others:
            anyio.from_thread.run_sync(self._notify, changes, others, token=self._token)

    def _connected(self) -> None:
        self._feed.post(EVERYTHING)
        for notified in self._subscribers.values():
            notified(None)

    def _notify(self, changes: Changes, others: Sequence[tuple[str, str]]) -> None:
        self._feed.post(changes)
        for channel, notified in self._subscribers.items():
            if texts := [text for name, text in others if name == channel]:
                notified(texts)
