"""Commands to the servers that work on a task, and from others to this one, through the database that they share.

Whoever asks waits for the answer, and asks the next owner where the first has gone: each command may be done twice
with the effect of once.

No principal has all of the places, neither those for commands that wait nor those for commands that are done. A
command that is under way is carried out although whoever asked has gone; one that has not begun is not.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from opencode_a2a.server.replicas.others import CommandCounts, OwnedHereError
from opencode_a2a.server.replicas.shared_locks import SharedDatabase
from opencode_a2a.server.store import Replica, Store, StoreError
from opencode_a2a.server.store.shared import commands, task_statements
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.errors import ErrorKind, LocalError, ProtocolError
from sansio.a2a.model import TaskState
from sansio.a2a.replicas.commands import (
    AgentCommand,
    Command,
    decode_answer,
    decode_command,
    encode_command,
    encode_error,
    encode_result,
    is_refusal,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

_log = logging.getLogger(__name__)

POLL_SECONDS: Final = 5.0
"""Between two looks for commands and answers, where no notification came."""
_LATE: Final = 1.0  # seconds after which an answer is looked for: this server may have been taken over

PATIENCE: Final = 20.0
"""Seconds that the servers have to answer a command, an owner's death and its takeover among them."""

LONGEST: Final = 60.0
"""Seconds that a command may take in the server that does it.

That is longer than whoever asked waits: where OpenCode is slow, a message that is sent again finds itself done.
"""

MOST_ASKED: Final = 512
"""Commands of one server's requests that wait for other servers."""

MOST_ASKED_OF_EACH: Final = 128
"""Commands of one principal's among those."""

MOST_DONE: Final = 64
"""Commands of other servers that are done at the same time."""

MOST_DONE_OF_EACH: Final = 32
"""Commands of one principal's among those."""

_AGAIN: Final = 0.2  # seconds before it is looked again who works on a task
_LOOKS: Final = 10  # looks for who has taken over a task, before a list goes without it
_LITTLE: Final = 2.0  # seconds that a server has to answer which has no task that a command may be about


@define(eq=False)
class _Asked:
    """A command that waits for its answer. `answer`: None where the server that was asked has gone.

    `asked_by`: this server as the command has it; "": it is not put yet.
    """

    asked_by: str = ""
    answered: anyio.Event = field(factory=anyio.Event)
    answer: bytes | None = None


Whom: TypeAlias = Callable[[], Awaitable[str | None]]
"""Finds the server to ask: this one where it may do the command itself; None where there is none for a moment."""


class RelayDatabase(SharedDatabase, Protocol):
    """A database that servers share, and which servers those are."""

    async def replicas(self) -> Sequence[Replica]:
        """The servers that share it. Raises `StoreError`."""

    async def claim_push(self, task_id: str, config_id: str) -> str | None:
        """Take over a push configuration that nobody delivers; return the server that does, None where it is new."""


class Relay:
    """`execute`: does a command in this server; what it returns is JSON. It raises `ProtocolError`."""

    def __init__(
        self,
        database: RelayDatabase,
        store: Store,
        execute: Callable[[Command], Awaitable[object]],
        tasks: TaskGroup,
        *,
        poll: float = POLL_SECONDS,
        patience: float = PATIENCE,
    ) -> None:
        self._database = database
        self._store = store
        self._execute = execute
        self._tasks = tasks
        self._poll = poll
        self._patience = patience
        self.counts = CommandCounts()
        self._places: Counter[str] = Counter()  # of each principal's commands that wait
        self._asked: dict[str, _Asked] = {}
        self._working: set[str] = set()
        self._changed = Wakeup()

    async def ask_owner(self, task_id: str, command: Command) -> Any:
        """Have the server that works on a task do a command; return what came of it.

        Raises `OwnedHereError` where no other server works on it, `ProtocolError` as the owner refuses it or where no
        owner answers in time, `StoreError`.
        """
        return await self._ask_about(task_id, lambda: self._owner(task_id), command)

    async def ask_notifier(self, task_id: str, config_id: str, command: Command) -> Any:
        """Have the server that delivers a push configuration's notifications, or its task's owner, do a command.

        Returns and raises as `ask_owner`. Where nobody delivers, it is this server's from now on.
        """

        async def notifier() -> str | None:
            claimed = await self._database.claim_push(task_id, config_id)
            return await self._owner(task_id) if claimed is None else claimed

        return await self._ask_about(task_id, notifier, command)

    async def ask_all(self, command: AgentCommand) -> Sequence[Any]:
        """Have each server with a task of the principal's that waits for its user do a command, this one included.

        Returns what came of it in each. Raises `ProtocolError` where one refuses it, or does not answer in time,
        `StoreError`.
        """
        results: Sequence[Any] | None = None
        looks = 0
        with self._place(command.principal), anyio.move_on_after(self._patience):
            while results is None:
                owners = await self._waiting(command.principal)
                looks += 1
                if looks > _LOOKS:  # a task that no server can take over keeps nobody from the others
                    owners &= {one.replica_id for one in await self._database.replicas()}
                results = await self._ask_each(owners, command)
                if results is None:
                    await anyio.sleep(_AGAIN)
        if results is None:
            raise _unanswered({})
        return [*results, await self._execute(command)]

    async def ask_any(self, command: AgentCommand) -> Any:
        """Have the server that a command concerns do it; None where it concerns none.

        Asked are this server, then those with a task of the principal's that waits for its user, then all others,
        which have little time. Raises `ProtocolError` as the first refuses it, or where one of those with such a task
        does not answer in time, `StoreError`.
        """
        ends = anyio.current_time() + self._patience
        results: Sequence[Any] | None = None
        with self._place(command.principal):
            while results is None:
                if anyio.current_time() >= ends:
                    raise _unanswered({})
                owners = await self._waiting(command.principal)
                if (found := await self._execute(command)) is not None:  # after that: it may have taken one over
                    return found
                with anyio.CancelScope(deadline=ends):
                    results = await self._ask_each(owners, command, first=True)
                    if results is None:
                        await anyio.sleep(_AGAIN)
            return results[0] if results else await self._ask_living(command, owners)

    async def ask_others(self, command: AgentCommand) -> Any:
        """Have all other servers do a command, which have little time. Return the first result, if there is one.

        Raises `ProtocolError` as the first refuses it, `StoreError`.
        """
        with self._place(command.principal):
            return await self._ask_living(command)

    async def run(self) -> None:
        """Do what other servers ask, and give out their answers, for ever."""
        self._database.subscribe(commands.CHANNEL, self._note)
        failing = False
        while True:
            changed = self._changed.next()
            try:
                await self._exchange()
            except StoreError as error:
                if not failing:  # logged once: an outage lasts for many looks
                    _log.warning("commands of other servers cannot be read, and will be later: %s", error)
                failing = True
            else:
                failing = False
            with anyio.move_on_after(self._poll):
                await changed.wait()

    def note_gone(self) -> None:
        """Note that a server may have gone: what was asked of it is asked of the next one."""
        if self._asked:
            self._changed.wake()

    def _note(self, replica_ids: Sequence[str] | None) -> None:
        if replica_ids is None or self._database.replica_id in replica_ids:
            self._changed.wake()

    @contextmanager
    def _place(self, principal: str) -> Iterator[None]:
        """Hold a place for a command that waits. Raises `ProtocolError` (OVERLOADED) where there is none."""
        if self._places[principal] >= MOST_ASKED_OF_EACH or self._places.total() >= MOST_ASKED:
            reason = "Too many requests wait for the servers that work on their tasks; try again later"
            raise ProtocolError(ErrorKind.OVERLOADED, reason)
        self._places[principal] += 1
        try:
            yield
        finally:
            self._places[principal] -= 1
            if not self._places[principal]:
                del self._places[principal]

    async def _owner(self, task_id: str) -> str | None:
        """The server that works on a task, or had it; this one where nobody has to. None: it is about to be taken."""
        stored = await self._store.task(task_id)
        row = None if stored is None else stored.row
        return self._database.replica_id if row is None or not row.at_work else row.replica_id

    async def _waiting(self, principal: str) -> frozenset[str | None]:
        """The servers with tasks of a principal's that wait for their user; None: such a task is nobody's now."""
        state = TaskState.INPUT_REQUIRED.value
        return await self._database.transact(
            lambda connection, _: task_statements.owners_of(connection, principal, state)
        )

    async def _ask_about(self, task_id: str, whom: Whom, command: Command) -> Any:
        """Ask the one server that may do a command about a task, and the next one where it has gone.

        Raises `OwnedHereError` where that is this one, `ProtocolError` as it refuses it or where none answers in
        time, `StoreError`.
        """
        with self._place(command.principal), anyio.move_on_after(self._patience):
            while True:
                replica_id = await whom()
                if replica_id == self._database.replica_id:
                    raise OwnedHereError
                if replica_id is not None and (answer := await self._ask(replica_id, command)) is not None:
                    return decode_answer(answer)
                await anyio.sleep(_AGAIN)  # somebody is about to take over
        raise _unanswered({"taskId": task_id})

    async def _ask_each(
        self, replica_ids: Collection[str | None], command: Command, *, first: bool = False
    ) -> Sequence[Any] | None:
        """Ask several servers at once; return the results that are not None, and None where one of them has gone.

        `first`: return the first result alone. Raises `ProtocolError` as the first refuses it, `StoreError`.
        """
        results: list[Any] = []
        errors: list[Exception] = []
        gone = None in replica_ids

        async def ask(replica_id: str) -> None:
            nonlocal gone
            try:
                answer = await self._ask(replica_id, command)
                result = None if answer is None else decode_answer(answer)
            except (ProtocolError, LocalError, StoreError) as error:
                errors.append(error)
                group.cancel_scope.cancel()
                return
            gone = gone or answer is None
            if result is not None:
                results.append(result)
                if first:
                    group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for replica_id in replica_ids:
                if replica_id is not None and replica_id != self._database.replica_id:
                    group.start_soon(ask, replica_id)
        if errors and not (first and results):
            raise errors[0]
        return results[:1] if first and results else None if gone else results

    async def _ask_living(self, command: Command, asked: frozenset[str | None] = frozenset()) -> Any:
        """Ask all other servers but those that were asked; return the first result, None where none comes soon."""
        results: Sequence[Any] | None = None
        with anyio.move_on_after(_LITTLE):
            living = {one.replica_id for one in await self._database.replicas()}
            results = await self._ask_each(living - asked, command, first=True)
        return results[0] if results else None

    async def _ask(self, replica_id: str, command: Command) -> bytes | None:
        """Ask one server; None where it is gone, or this one was taken over. Raises `StoreError`."""
        command_id, asked = commands.new_command_id(command.principal), _Asked()
        ends = anyio.current_effective_deadline()
        body = encode_command(command)

        def work(connection: Connection, me: str) -> str:
            return me if commands.ask(connection, command_id, replica_id, me, body) else ""

        self._asked[command_id] = asked
        put = True  # it may have been, where the answer is lost
        try:
            asked.asked_by = await self._database.transact(work)
            put = bool(asked.asked_by)
            if not put:
                return None
            while not asked.answered.is_set():
                with anyio.move_on_after(_LATE) as late:
                    await asked.answered.wait()
                if late.cancelled_caught:
                    self._changed.wake()
            return asked.answer
        finally:
            del self._asked[command_id]
            if put:
                self.counts.sent[_outcome(asked, ends)] += 1
            if put and not asked.answered.is_set():
                self._tasks.start_soon(self._withdraw, command_id)

    async def _withdraw(self, command_id: str) -> None:
        try:
            await self._database.transact(lambda connection, _: commands.withdraw(connection, command_id))
        except StoreError as error:
            _log.warning("a command cannot be withdrawn: %s", error)  # it is swept with this server

    async def _exchange(self) -> None:
        """Read commands and answers. Raises `StoreError`."""
        begun = tuple(self._working)  # whose bodies, of up to megabytes each, are not read again with every look

        def work(connection: Connection, me: str) -> tuple[str, Any, dict[str, bytes | None]]:
            new = commands.unanswered(connection, me, MOST_DONE - len(begun), MOST_DONE_OF_EACH, begun)
            return me, new, commands.answered(connection, me)

        me, new, answers = await self._database.transact(work)
        for command_id, answer in answers.items():
            asked = self._asked.get(command_id)
            if asked is not None:
                asked.answer = answer
                asked.answered.set()
        for asked in self._asked.values():
            if asked.asked_by not in ("", me):  # commands went with the id that this server had
                asked.answered.set()
        for command_id, body in new:
            self._working.add(command_id)
            self._tasks.start_soon(self._do, command_id, body)

    async def _do(self, command_id: str, body: bytes) -> None:
        """Do a command, and answer it."""
        try:
            outcome, answer = await self._answer(body)
            await self._database.transact(lambda connection, _: commands.answer(connection, command_id, answer))
        except StoreError as error:
            _log.warning("a command of another server cannot be answered: %s", error)
            self.counts.received["unanswered"] += 1
        else:
            self.counts.received[outcome] += 1
        finally:
            self._working.discard(command_id)
            self._changed.wake()

    async def _answer(self, body: bytes) -> tuple[str, bytes]:
        """Do a command; return the outcome and the answer."""
        try:
            with anyio.move_on_after(LONGEST):
                return "answered", encode_result(await self._execute(decode_command(body)))
            return "failed", encode_error(_unanswered({}))
        except ProtocolError as error:
            return "refused", encode_error(error)
        except LocalError as error:
            _log.error("%s", error)
        except Exception:
            _log.exception("a command of another server")
        return "failed", encode_error(ProtocolError(ErrorKind.INTERNAL_ERROR))


def _outcome(asked: _Asked, ends: float) -> str:
    """Name what became of a command. `ends`: until when it could be answered; -inf where nobody waited even then."""
    if asked.answered.is_set():
        return "gone" if asked.answer is None else "refused" if is_refusal(asked.answer) else "answered"
    return "unanswered" if -math.inf < ends <= anyio.current_time() else "withdrawn"


def _unanswered(metadata: dict[str, str]) -> ProtocolError:
    reason = "The server that works on the task does not answer now; try again later"
    return ProtocolError(ErrorKind.OVERLOADED, reason, metadata=metadata)
