"""Commands to the servers that work on a task, and from others to this one, through the database that they share.

Whoever asks waits for the answer, and asks the next owner where the first has gone: each command may be done twice
with the effect of once.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from opencode_a2a.server.replicas.others import OwnedHereError
from opencode_a2a.server.replicas.shared_locks import SharedDatabase
from opencode_a2a.server.store import Store, StoreError
from opencode_a2a.server.store.shared import commands
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.errors import ErrorKind, LocalError, ProtocolError
from sansio.a2a.replicas.commands import (
    Command,
    decode_answer,
    decode_command,
    encode_command,
    encode_error,
    encode_result,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

_log = logging.getLogger(__name__)

POLL_SECONDS: Final = 5.0
"""Between two looks for commands and answers, where no notification came."""

PATIENCE: Final = 20.0
"""Seconds that the servers have to answer a command, an owner's death and its takeover among them."""

_AT_ONCE: Final = 64  # commands that are done at the same time
_AGAIN: Final = 0.2  # seconds before it is looked again who works on a task


@define(eq=False)
class _Asked:
    """A command that waits for its answer. `answer`: None where the server that was asked has gone."""

    answered: anyio.Event = field(factory=anyio.Event)
    answer: bytes | None = None


class Relay:
    """`execute`: does a command in this server; what it returns is JSON. It raises `ProtocolError`."""

    def __init__(
        self,
        database: SharedDatabase,
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
        self._asked: dict[str, _Asked] = {}
        self._working: set[str] = set()
        self._changed = Wakeup()

    async def ask_owner(self, task_id: str, command: Command) -> Any:
        """Have the server that works on a task do a command; return what came of it.

        Raises `OwnedHereError` where no other server works on it, `ProtocolError` as the owner refuses it or where no
        owner answers in time, `StoreError`.
        """
        body = encode_command(command)
        with anyio.move_on_after(self._patience):
            while True:
                stored = await self._store.task(task_id)
                row = None if stored is None else stored.row
                if row is None or not row.at_work or row.replica_id == self._database.replica_id:
                    raise OwnedHereError
                if row.replica_id is not None and (answer := await self._ask(row.replica_id, body)) is not None:
                    return decode_answer(answer)
                await anyio.sleep(_AGAIN)  # somebody is about to take it over
        reason = "The server that works on the task does not answer now; try again later"
        raise ProtocolError(ErrorKind.OVERLOADED, reason, metadata={"taskId": task_id})

    async def run(self) -> None:
        """Do what other servers ask, and give out their answers, for ever."""
        self._database.subscribe(commands.CHANNEL, self._note)
        while True:
            changed = self._changed.next()
            try:
                await self._exchange()
            except StoreError as error:
                _log.warning("commands of other servers cannot be read, and will be later: %s", error)
            with anyio.move_on_after(self._poll):
                await changed.wait()

    def _note(self, replica_ids: Sequence[str] | None) -> None:
        if replica_ids is None or self._database.replica_id in replica_ids:
            self._changed.wake()

    async def _ask(self, replica_id: str, body: bytes) -> bytes | None:
        """Ask one server; None where it is gone. Raises `StoreError`."""
        command_id, asked = uuid.uuid4().hex, _Asked()
        self._asked[command_id] = asked
        try:
            if not await self._database.transact(
                lambda connection, me: commands.ask(connection, command_id, replica_id, me, body)
            ):
                return None
            await asked.answered.wait()
            return asked.answer
        finally:
            del self._asked[command_id]
            if not asked.answered.is_set():
                self._tasks.start_soon(self._withdraw, command_id)

    async def _withdraw(self, command_id: str) -> None:
        try:
            await self._database.transact(lambda connection, _: commands.withdraw(connection, command_id))
        except StoreError as error:
            _log.warning("a command cannot be withdrawn: %s", error)  # it is swept with this server

    async def _exchange(self) -> None:
        """Read commands and answers. Raises `StoreError`."""
        room = _AT_ONCE - len(self._working)

        def work(connection: Connection, me: str) -> tuple[Any, dict[str, bytes | None]]:
            return commands.unanswered(connection, me, _AT_ONCE), commands.answered(connection, me)

        new, answers = await self._database.transact(work)
        for command_id, answer in answers.items():
            asked = self._asked.get(command_id)
            if asked is not None:
                asked.answer = answer
                asked.answered.set()
        fresh = [(command_id, body) for command_id, body in new if command_id not in self._working]
        for command_id, body in fresh[:room]:
            self._working.add(command_id)
            self._tasks.start_soon(self._do, command_id, body)

    async def _do(self, command_id: str, body: bytes) -> None:
        """Do a command, and answer it."""
        try:
            answer = await self._answer(body)
            await self._database.transact(lambda connection, _: commands.answer(connection, command_id, answer))
        except StoreError as error:
            _log.warning("a command of another server cannot be answered: %s", error)
        finally:
            self._working.discard(command_id)
            self._changed.wake()

    async def _answer(self, body: bytes) -> bytes:
        try:
            return encode_result(await self._execute(decode_command(body)))
        except ProtocolError as error:
            return encode_error(error)
        except LocalError as error:
            _log.error("%s", error)
            return encode_error(ProtocolError(ErrorKind.INTERNAL_ERROR))
        except Exception:
            _log.exception("a command of another server")
            return encode_error(ProtocolError(ErrorKind.INTERNAL_ERROR))
