"""The operations: what a client may ask, for a caller who is known, on values that are parsed.

Knows no wire form and no transport. Raises ``ProtocolError`` for what cannot be done; a task that was accepted always
ends in the task itself, whatever happens to the client that started it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

import anyio
from attrs import evolve, frozen

from sansio.a2a.errors import ErrorKind, LocalError, ProtocolError, invalid
from sansio.a2a.log import MessageAdded, StatusChanged, trim_history
from sansio.a2a.model import (
    GetTaskRequest,
    SendRequest,
    Task,
    TaskState,
    TaskStatus,
)
from sansio.opencode.deployment import OUTPUT_MODES
from sansio.opencode.requests import prompt_parts
from sansio.opencode.voice import Voice
from sansio.opencode.wishes import wishes_of

from .live import Facts, LiveTask
from .store import Store, StoreError
from .turns import Prompt, Turns, timestamp

_log = logging.getLogger(__name__)

_KEEP_ALIVE = 15.0  # seconds


@frozen
class OpenStream:
    """A stream to be: the task as it is at ``cursor``, and where to read what follows."""

    task: Task
    live: LiveTask
    cursor: int


@frozen
class FoundTask:
    """A task that was asked for, and the wire form it was made in, if that was kept."""

    task: Task
    form: str | None


class Service:
    """The operations over a store and the turns. ``wall``: epoch seconds; ``max_streams`` 0: no limit."""

    def __init__(self, *, store: Store, turns: Turns, wall: Callable[[], float], max_streams: int = 0) -> None:
        self._store = store
        self._turns = turns
        self._wall = wall
        self._max_streams = max_streams
        self._streams = 0
        self.draining = False

    # --- operations ---------------------------------------------------------------------------------------

    async def send(self, principal: str, request: SendRequest) -> Task:
        """Start a task; blocking, return once it has ended or waits for its client, else at once."""
        live = await self._start(principal, request)
        if request.configuration.blocking:
            task = await live.settled()
        else:
            await self.told(live)
            task = live.task()
        return trim_history(task, request.configuration.history_length)

    async def stream(self, principal: str, request: SendRequest) -> OpenStream:
        """Start a task and hand out its stream; ``stream_closed`` must be called once it is over."""
        if self._max_streams and self._streams >= self._max_streams:
            raise ProtocolError(
                ErrorKind.OVERLOADED,
                f"{self._streams} streams are running already; try again later",
                data={"type": "UPSTREAM_BACKPRESSURE", "limit": self._max_streams},
                metadata={"limit": str(self._max_streams)},
            )
        self._streams += 1
        try:
            live = await self._start(principal, request)
        except BaseException:
            self._streams -= 1
            raise
        task = trim_history(live.task(), request.configuration.history_length)
        return OpenStream(task, live, live.log.last)

    async def told(self, live: LiveTask) -> None:
        """Return once a new task may be told of: it is durable then."""
        await live.changed(0)

    def stream_closed(self) -> None:
        """A stream's reader is gone; its task is not touched by it."""
        self._streams -= 1

    async def keep_alive(self) -> None:
        """Let every stream show that it lives, for ever."""
        while True:
            await anyio.sleep(_KEEP_ALIVE)
            for live in self._turns.running.values():
                live.poke()

    async def get_task(self, principal: str, request: GetTaskRequest) -> FoundTask:
        """A task of the caller's. What is not theirs does not exist."""
        live = await self._find(principal, request.id)
        await live.changed(live.barrier - 1)  # a state that is told of is durable
        form = live.options.get("form")
        task = trim_history(live.task(), request.history_length)
        return FoundTask(task, form if isinstance(form, str) else None)

    # --- life ---------------------------------------------------------------------------------------------

    async def recover(self) -> int:
        """End the tasks that an earlier run of the server left unfinished; returns how many there were."""
        unfinished = await self._store.unfinished()
        for stored in unfinished:
            try:
                live = LiveTask.stored(stored)
            except LocalError as exc:
                _log.error("task %s cannot be read and is left as it is: %s", stored.row.task_id, exc)
                continue
            voice = Voice(
                task_id=live.facts.task_id, context_id=live.facts.context_id, session_id=live.session_id or ""
            )
            status = TaskStatus(
                state=TaskState.FAILED,
                message=voice.message(
                    f"{live.facts.task_id}:status", "The server stopped before the answer was complete"
                ),
                timestamp=timestamp(self._wall()),
            )
            live.publish([StatusChanged(status=status)])
            await self._store.commit([live.row(self._ms())])
        return len(unfinished)

    async def drain(self, grace: float) -> None:
        """Take nothing new, let running turns end within ``grace`` seconds, then end the others."""
        self.draining = True
        await self._turns.drain(grace)

    # --- inside -------------------------------------------------------------------------------------------

    async def _start(self, principal: str, request: SendRequest) -> LiveTask:
        if self.draining:
            raise ProtocolError(ErrorKind.OVERLOADED, "The server is being stopped")
        if request.configuration.push is not None:
            raise ProtocolError(ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED)
        wishes = wishes_of(request, OUTPUT_MODES)
        prompt = Prompt(
            parts=prompt_parts(request.message.parts),
            model=wishes.model,
            session_id=wishes.session_id,
            fresh=request.message.context_id is None,
        )
        await self._check_session(principal, wishes.session_id)
        if request.message.task_id is not None:
            await self._refuse_continuation(principal, request.message.task_id)
        facts = Facts(
            task_id=str(uuid.uuid4()),
            context_id=request.message.context_id or str(uuid.uuid4()),
            principal=principal,
            created_at=self._ms(),
        )
        live = LiveTask.new(facts)
        if request.form is not None:
            live.options["form"] = request.form
        message = evolve(request.message, task_id=facts.task_id, context_id=facts.context_id)
        status = TaskStatus(state=TaskState.SUBMITTED, timestamp=timestamp(self._wall()))
        live.publish([StatusChanged(status=status), MessageAdded(message)])
        self._turns.start(live, prompt)
        return live

    async def _refuse_continuation(self, principal: str, task_id: str) -> None:
        task = (await self._find(principal, task_id)).task()
        reason = (
            f"is {task.status.state.value}: start a new task in its context"
            if task.status.state.terminal
            else "is being worked on: wait for its end, then start a new task in its context"
        )
        raise ProtocolError(ErrorKind.UNSUPPORTED_OPERATION, f"message.taskId: the task {reason}")

    async def _check_session(self, principal: str, session_id: str | None) -> None:
        """Refuse another caller's session: for this one it does not exist."""
        if session_id is not None and await self._owner(session_id) not in (None, principal):
            raise invalid(("metadata", "shared", "session", "id"), "no such session")

    async def _owner(self, session_id: str) -> str | None:
        try:
            return await self._store.owner_of(session_id)
        except StoreError as exc:
            raise ProtocolError(ErrorKind.INTERNAL_ERROR, "The task store cannot be read") from exc

    async def _find(self, principal: str, task_id: str) -> LiveTask:
        live = self._turns.running.get(task_id)
        if live is None:
            try:
                stored = await self._store.task(task_id)
            except StoreError as exc:
                raise ProtocolError(ErrorKind.INTERNAL_ERROR, "The task store cannot be read") from exc
            live = LiveTask.stored(stored) if stored is not None else None
        if live is None or live.facts.principal != principal:
            raise ProtocolError(ErrorKind.TASK_NOT_FOUND, "Task not found", metadata={"taskId": task_id[:128]})
        return live

    def _ms(self) -> int:
        return int(self._wall() * 1000)
