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
from typing import Final, Protocol, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import EventLoopToken, current_token
from sqlalchemy import Connection, Engine

from opencode_a2a.server.store import reads
from opencode_a2a.server.store.database.engine import bound, make_engine
from opencode_a2a.server.store.database.faults import store_fault
from opencode_a2a.server.store.database.postgresql_lock import join_postgresql
from opencode_a2a.server.store.database.urls import Database, parse_database_url
from opencode_a2a.server.store.rows import (
    EventRow,
    FencedError,
    LeaseStatus,
    PushRow,
    Replica,
    StoredTask,
    StoreError,
    StoreUnavailableError,
    StoreUrlError,
    TaskRow,
    Write,
)
from opencode_a2a.server.store.shared import commands, push_statements, replica_statements, task_statements, tickets
from opencode_a2a.server.store.shared.change_feed import ChangeFeed
from opencode_a2a.server.store.shared.connection_tickets import sweep_connection_tickets
from opencode_a2a.server.store.shared.listener import Listener
from opencode_a2a.server.store.shared.listening_check import check_listening
from opencode_a2a.server.store.shared.options import SharedOptions
from opencode_a2a.server.store.shared.replica_statements import CHANNEL
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.replicas.changes import EVERYTHING, ORPHANS, Changes, merged, parse_changes
from sansio.a2a.replicas.lease import Lease
from sansio.doctor.listening import judge_listening, listening_fault

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

_DOUBTFUL: Final = 60.0  # seconds in which a commit may succeed whose answer was lost, as of a database that hung


def listening_database(database: Database, options: SharedOptions) -> Database:
    """Where to listen. Raises `StoreUrlError` where servers cannot share the database, or cannot listen there."""
    listening = database if options.listen_url is None else parse_database_url(options.listen_url)
    if database.is_sqlite:
        raise StoreUrlError("several servers can share a PostgreSQL database, and not an SQLite one")
    if listening.is_sqlite:
        raise StoreUrlError("A2A_LISTEN_DATABASE_URL has to lead to the PostgreSQL database of the tasks")
    return listening


class InThread(Protocol):
    """Runs what blocks in a worker thread, after all that was given to the store before is durable, or `at_once`."""

    def __call__(self, blocking: Callable[[], Result], *, at_once: bool = False) -> Awaitable[Result]: ...


class SharedOwner:
    """An `Ownership` in a database that several servers share; see there for what its calls promise.

    Made on the event loop that it is used on. `listening`: the database as the connection that listens reaches it.
    `in_thread`: for what has to see the writes given before.
    """

    def __init__(self, database: Database, listening: Database, options: SharedOptions, in_thread: InThread) -> None:
        self._database = database
        self._listening = listening
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
        self._renewing: Engine | None = None
        self._token: EventLoopToken | None = None
        self._unsure: set[str] = set()  # tasks that may have been taken: the answer to the commit was lost
        self._doubted: dict[str, float] = {}  # new tasks of which the same is true, and until when
        self._unsure_of_pushes = False  # the same for push configurations
        self._unswept = True  # whoever took over last may have ended before it swept
        self._failing = False
        self._blind = False  # what other servers left cannot be looked for
        self._servers: int | None = None
        self._failures = self._losses = self._takeovers = 0
        self.trouble: str | None = None  # why the lease could not be renewed last
        self._rejoined = Wakeup()
        self._renewed = Wakeup()
        self._lost = anyio.Event()
        self._feed = ChangeFeed()
        self._subscribers: dict[str, Callable[[Sequence[str] | None], None]] = {}
        self._listener = Listener(listening, (CHANNEL, commands.CHANNEL, tickets.CHANNEL), self._receive)
        self.replica_id = secrets.token_hex(8)

    # --- what the store calls -----------------------------------------------------------------------------

    def check(self, engine: Engine) -> None:
        """Make sure that notifications arrive at the connection that listens. Blocks.

        Raises `StoreUrlError` where they never can, and the errors of the driver. What may pass is logged.
        """
        has_url = self._options.listen_url is not None
        facts = check_listening(engine, self._listening, has_url=has_url)
        if (fault := listening_fault(facts)) is None:
            return
        finding = judge_listening(facts)
        if fault.is_certain:
            raise StoreUrlError(f"{finding.detail}; {finding.remedy}")
        _log.warning("notifications of other servers may not arrive: %s; %s", finding.detail, finding.remedy)

    def join(self, engine: Engine, patience: float) -> None:
        """Join the servers that share the database. Blocks, for `patience` seconds while one has it for itself.

        Raises `StoreInUseError`, and the errors of the driver.
        """
        bound, pooled = self._options.lease / 2, self._options.listen_url is not None
        self._engine = engine
        # A connection that nothing else waits for, and that is given up while there is time for another.
        self._renewing = make_engine(self._database, connections=1, silence=bound, patience=bound, pooled=pooled)
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
        if self._renewing is not None:
            with suppress(StoreError):
                self._execute(lambda connection: replica_statements.leave(connection, self.replica_id), "be written")
                self._sweep()
            self._renewing.dispose()

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
            self._unsure |= self._doubted.keys()
            adopted = await self.transact(partial(self._adopt, limit))
            self._unsure.clear()
            for stored in adopted:
                self._doubted.pop(stored.row.task_id, None)
            return adopted

    async def adopt_pushes(self, limit: int) -> list[PushRow]:
        again = self._unsure_of_pushes
        self._unsure_of_pushes = True

        def work(connection: Connection, replica_id: str) -> list[PushRow]:
            if again:
                return push_statements.owned(connection, replica_id)
            return push_statements.adopt(connection, replica_id, limit)

        adopted = await self.transact(work)
        self._unsure_of_pushes = False
        return adopted

    async def claim_pushes(self, task_id: str) -> list[PushRow]:
        return await self.transact(
            lambda connection, replica_id: push_statements.claim_of_task(connection, replica_id, task_id)
        )

    async def claim_push(self, task_id: str, config_id: str) -> str | None:
        return await self.transact(
            lambda connection, replica_id: push_statements.claim(connection, replica_id, task_id, config_id)
        )

    async def owner(self, task_id: str) -> str | None:
        return await self._in_thread(
            lambda: self._execute(lambda one: task_statements.owner(one, task_id), "be read", self._engine)
        )

    async def replicas(self) -> Sequence[Replica]:
        return await self._in_thread(lambda: self._execute(replica_statements.living, "be read", self._engine))

    async def sure(self, *, patient: bool = True) -> None:
        replica_id = self.replica_id
        while True:
            if self._lost.is_set() or self.replica_id != replica_id:
                raise replica_statements.taken_over(replica_id)
            if not self._lease.over(monotonic()):
                return
            if not patient and self.trouble is not None:
                raise StoreUnavailableError(self.trouble)
            await self._renewed.wait()

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    @property
    def lease(self) -> LeaseStatus:
        now = monotonic()
        held = not (self._lost.is_set() or self._lease.over(now))
        return LeaseStatus(
            held=held,
            age=self._lease.age(now),
            servers=self._servers if held else None,
            failures=self._failures,
            losses=self._losses,
            takeovers=self._takeovers,
        )

    def doubt(self, task_id: str) -> None:
        self._doubted[task_id] = monotonic() + _DOUBTFUL

    async def fenced(self) -> None:
        await self._lost.wait()

    async def rejoin(self) -> None:
        async with self._joining:
            if not self._lost.is_set():
                return
            replica_id = secrets.token_hex(8)
            await anyio.to_thread.run_sync(self._join_again, replica_id, limiter=self._limiter)
            self.replica_id, self._lost, self._failing = replica_id, anyio.Event(), False
            self._servers = None
            self._unsure.clear()
            self._doubted.clear()
            self._unsure_of_pushes = False
            self._rejoined.wake()

    def changes(self) -> AsyncIterator[Changes]:
        return self._feed

    # --- for what else the servers share ------------------------------------------------------------------

    async def transact(self, work: Callable[[Connection, str], Result], *, at_once: bool = False) -> Result:
        """Run SQL in a transaction of its own, which begins with the fence: with the id of this server.

        It blocks in a thread, after all that was given to the store before is durable, or `at_once`. Raises
        `StoreError`, and `FencedError`.
        """
        replica_id = self.replica_id

        def fenced(connection: Connection) -> Result:
            replica_statements.fence(connection, replica_id, self._lease_ms)
            return work(connection, replica_id)

        try:
            return await self._in_thread(lambda: self._transact(fenced), at_once=at_once)
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
            servers = await anyio.to_thread.run_sync(self._renew_blocking, replica_id, limiter=self._limiter)
        except StoreError as error:
            self._failures += 1
            self._lease.fail()
            self._note_failing(error)
            return
        if servers is None:
            self._lose(replica_id)
            return
        self._servers = servers
        self._lease.renew(now)
        self._note_failing(None)
        await self._look(replica_id, now)

    async def _look(self, replica_id: str, now: float) -> None:
        """Look for servers whose lease is over, and for what was left."""
        try:
            if self._lease.settled(now):
                await anyio.to_thread.run_sync(self._take_over, replica_id, limiter=self._limiter)
            orphaned = await anyio.to_thread.run_sync(self._orphaned, replica_id, limiter=self._limiter)
            if orphaned or self._doubted:
                self._feed.post(ORPHANS)
            self._doubted = {task_id: end for task_id, end in self._doubted.items() if end > now}
        except StoreError as error:
            self._lease.fail()
            if not self._blind:
                _log.warning("what other servers left cannot be looked for, and will be later: %s", error)
            self._blind = True
        else:
            self._blind = False

    def _note_failing(self, error: StoreError | None) -> None:
        if error is not None and not self._failing:
            _log.warning("the lease of this server cannot be renewed, and others may take over its tasks: %s", error)
        elif error is None and self._failing:
            _log.warning("the lease of this server is renewed again")
        self._failing = error is not None
        self.trouble = None if error is None else str(error)
        self._renewed.wake()

    def _lose(self, replica_id: str) -> None:
        """On the event loop: this server was taken over, as long as it has that id."""
        if replica_id == self.replica_id and not self._lost.is_set():
            _log.warning("another server has taken over the tasks of this one (replica %s)", replica_id)
            self._losses += 1
            self._lost.set()
            self._renewed.wake()

    # --- in threads ---------------------------------------------------------------------------------------

    def _execute(self, statement: Callable[[Connection], Result], doing: str, engine: Engine | None = None) -> Result:
        """One statement without a transaction around it; by default on the renewals' connection.

        Raises `StoreError`.
        """
        engine = engine or self._renewing
        assert engine is not None
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                return statement(connection)
        except Exception as error:
            raise store_fault(error, doing, self._database) from None

    def _transact(self, work: Callable[[Connection], Result]) -> Result:
        """In one transaction. Raises `StoreError`."""
        assert self._engine is not None
        try:
            with self._engine.connect() as connection, connection.begin():
                bound(connection, self._options.lease)
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

    def _renew_blocking(self, replica_id: str) -> int | None:
        return self._execute(lambda one: replica_statements.renew(one, replica_id, self._lease_ms), "be written")

    def _take_over(self, replica_id: str) -> None:
        gone = self._execute(lambda one: replica_statements.take_over(one, replica_id), "be written")
        self._takeovers += len(gone)
        for taken in gone:
            _log.warning("the lease of replica %s was over: its tasks are taken over", taken)
        self._unswept = self._unswept or bool(gone)
        if self._unswept:
            self._sweep()

    def _sweep(self) -> None:
        """Remove the tickets and commands of servers that are gone, and what pages did not use."""
        self._execute(tickets.sweep_tickets, "be written")
        self._execute(commands.sweep_commands, "be written")
        self._execute(sweep_connection_tickets, "be written")
        self._unswept = False

    def _orphaned(self, replica_id: str) -> bool:
        affinities = self._options.affinities
        return self._execute(
            lambda one: task_statements.orphaned(one, affinities) or push_statements.are_due(one, replica_id),
            "be read",
        )

    def _adopt(self, limit: int, connection: Connection, replica_id: str) -> list[StoredTask]:
        if self._unsure:
            task_statements.release(connection, replica_id, sorted(self._unsure))
        adopted = task_statements.adopt(connection, replica_id, limit, self._options.affinities)
        tickets.adopt_tickets(connection, adopted, replica_id)
        self._unsure.update(adopted)
        # In the transaction: a task that was adopted and cannot be read would have an owner and no work.
        return reads.stored_tasks(connection, adopted) if adopted else []

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
