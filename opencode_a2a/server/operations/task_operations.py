"""The operations: what a client may ask, for a caller who is known, on values that are parsed.

Knows no codec and no transport. Raises `ProtocolError` for what cannot be done.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TypeAlias

import anyio
import anyio.lowlevel
from attrs import evolve

from opencode_a2a.server.operations.admission import Admission
from opencode_a2a.server.push.notifier import Notifier
from opencode_a2a.server.replicas.others import Others, OwnedHereError
from opencode_a2a.server.store import Store, StoredTask, TaskQuery
from opencode_a2a.server.store.store_errors import Holding, from_store
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.keyed_lock import Locks
from opencode_a2a.server.tasks.open_stream import OpenStream
from opencode_a2a.server.tasks.task_registry import TaskRegistry
from opencode_a2a.server.tasks.task_runner import TaskRunner
from opencode_a2a.server.tasks.task_streams import TaskStreams
from sansio.a2a.bindings.page_tokens import page_of_configs, page_token, read_page_token
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, ProtocolError, invalid
from sansio.a2a.message_checks import check_id
from sansio.a2a.model import (
    GetTaskRequest,
    ListPushConfigsRequest,
    ListTasksRequest,
    PushConfig,
    PushConfigId,
    PushConfigPage,
    SendRequest,
    Task,
    TaskIdRequest,
    TaskPage,
    TaskState,
)
from sansio.a2a.replicas.commands import Cancel, DropPush, SetPush
from sansio.a2a.tasks.presentation import Presentation, as_text
from sansio.a2a.tasks.task_log import trim_history
from sansio.outbound import FieldPath

_AT_ONCE = 128 * 1024  # bytes of stored tasks that are decoded without others having their turn
_BEHIND = 2.0  # seconds that a server may be behind the one that works on a task
_MOST_CONFIGS = 32  # push configurations of one task

WhenGone: TypeAlias = Callable[[Callable[[], None]], None]
"""Has its argument called once the client has left."""


def never(_call: Callable[[], None]) -> None:
    """Nobody reports that the client has left."""


class ClientLeftError(Exception):
    """The client left, and there is nobody to answer."""


class Operations:
    """The operations for one `principal` at a time. What is another's is not found.

    A task that was accepted always ends in the task itself, whatever happens to the client that started it.
    """

    def __init__(
        self,
        *,
        store: Store,
        registry: TaskRegistry,
        runner: TaskRunner,
        admission: Admission,
        streams: TaskStreams,
        notifier: Notifier,
        others: Others,
        locks: Locks,
    ) -> None:
        self._store = store
        self._registry = registry
        self._runner = runner
        self._admission = admission
        self._streams = streams
        self._notifier = notifier
        self._others = others
        self._locks = locks

    # --- messages -----------------------------------------------------------------------------------------

    async def send(
        self,
        principal: str,
        request: SendRequest,
        presentation: Presentation,
        *,
        trace: TraceContext | None = None,
        when_gone: WhenGone = never,
    ) -> ActiveTask:
        """Start a task; blocking, return once it has ended or waits for its client, else at once.

        A message that came before is not run again: its task is answered. `when_gone`: has its argument called once
        the client has left. Its task goes on then, and nobody waits for it. Raises `ClientLeftError`.
        """
        active, _ = await self._start(principal, request, presentation, trace)
        if request.configuration.blocking:
            with anyio.CancelScope() as waiting:
                when_gone(waiting.cancel)
                await from_store(active.settled())
            if waiting.cancelled_caught:
                raise ClientLeftError
        else:
            await self._durable(active)
        return active

    async def _start(
        self, principal: str, request: SendRequest, presentation: Presentation, trace: TraceContext | None
    ) -> tuple[ActiveTask, int | None]:
        """Start or continue a task, as `Admission.start` does, and notify as its message asks."""
        push, message = request.configuration.push, request.message
        if push is not None and message.task_id is not None:
            await self._admission.find(principal, message.task_id)
            member = DIALECTS[presentation.version].push_config_member
            await self._room_for(push, message.task_id, ("configuration", member))
        active, begun = await self._admission.start(principal, request, presentation, trace)
        if push is not None and begun is None and active.facts.message_id != message.message_id:
            await self._notify_of_answer(principal, active, message.message_id, push, presentation)
        return active, begun

    async def _notify_of_answer(
        self, principal: str, active: ActiveTask, message_id: str, push: PushConfig, presentation: Presentation
    ) -> None:
        """Notify about what follows an answer, once however often it comes."""
        task_id = active.facts.task_id
        made = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{task_id} {message_id}"))
        config = evolve(push, task_id=task_id, id=push.id or made)
        if config not in await from_store(self._notifier.configs(task_id)):
            taken = active.log.answered_at(message_id)
            await self._set(principal, config, presentation, None if taken is None else taken - 1)

    async def stream(
        self,
        principal: str,
        request: SendRequest,
        presentation: Presentation,
        cursor: int | None = None,
        *,
        stays_open: bool = False,
        trace: TraceContext | None = None,
    ) -> OpenStream:
        """Start a task and open its stream, which must be closed.

        `cursor`: the id of the last event that was seen, of this message's stream or of the one it goes on from.
        The events of a new task cannot have been seen: then it does not count.
        """
        leave = self._streams.enter()
        try:
            active, begun = await self._start(principal, request, presentation, trace)
            last = active.log.last if begun is None else begun
            await self._durable(active)
            if cursor is not None and begun is None:
                found = await self._admission.find(principal, active.facts.task_id, kept=True)
                stream = await self._resumed(found, cursor, stays_open)
                return evolve(stream, close=leave)
            if request.message.task_id is not None:
                # an answer's stream begins where it was taken: no event is left out
                last = active.log.answered_at(request.message.message_id) or last
            wanted = request.configuration.history_length
            if not active.log.reaches(last):  # a message as large as this leaves the memory once it is stored
                stream = await self._streams.resumed(active, last, stays_open=stays_open)
                first = tuple(trim_history(one, wanted) if isinstance(one, Task) else one for one in stream.first)
                return evolve(stream, first=first, close=leave)
            task = trim_history(active.log.at(last), wanted)
            whole = active.log.waits_at(last) and not stays_open
            return OpenStream((task,), active, last, last, stays_open, whole, close=leave)
        except BaseException:
            leave()
            raise

    async def _resumed(self, active: ActiveTask, cursor: int, stays_open: bool) -> OpenStream:
        """The stream after event `cursor`, which another server may have sent before it has stored it."""
        if active.visible < cursor and self._registry.is_elsewhere(active):
            with anyio.move_on_after(_BEHIND):
                await from_store(active.changed(cursor - 1))
        return await self._streams.resumed(active, cursor, stays_open=stays_open)

    # --- tasks --------------------------------------------------------------------------------------------

    async def get_task(self, principal: str, request: GetTaskRequest) -> ActiveTask:
        """A task of the caller's. What is not theirs does not exist."""
        active = await self._admission.find(principal, request.id)
        await from_store(active.changed(active.barrier - 1))  # a state that a client sees is durable
        return active

    async def list_tasks(self, principal: str, request: ListTasksRequest) -> TaskPage:
        """The caller's tasks, those whose status changed last first."""
        check_id(request.context_id, ("contextId",))
        query = TaskQuery(
            principal=principal,
            limit=request.page_size + 1,
            context_id=request.context_id,
            state=request.state.value if request.state is not None else None,
            # clients name the first moment that counts (ListTasksRequest), the store the last that does not
            changed_after=None if request.changed_after is None else request.changed_after - 1,
            after=read_page_token(request.page_token) if request.page_token else None,
        )
        found = await from_store(self._store.tasks(query))
        rows = found.rows[: request.page_size]
        more = len(found.rows) > len(rows)
        tasks: list[Task] = []
        decoded = 0
        for row in rows:
            active = await from_store(self._registry.of_stored(StoredTask(row, ())))
            task = active.seen()
            tasks.append(trim_history(as_text(task) if active.text_only else task, request.history_length))
            decoded += len(row.snapshot)
            if decoded > _AT_ONCE:
                decoded = 0
                await anyio.lowlevel.checkpoint()
        return TaskPage(
            tasks=tuple(tasks),
            next_page_token=page_token(rows[-1].updated_at, rows[-1].task_id) if more else "",
            page_size=request.page_size,
            total=found.total,
        )

    async def cancel(self, principal: str, request: TaskIdRequest, *, again: bool) -> ActiveTask:
        """End a task, at once: its agent is stopped meanwhile. `again`: one that is cancelled already stays so."""
        active = await self._admission.find(principal, request.id, doubtful=True)  # its agent stops in any case
        if active.log.state is TaskState.CANCELED and not again:
            raise _not_cancelable(active)
        if self._registry.is_elsewhere(active):
            command = Cancel(principal=principal, task_id=request.id, again=again)
            try:
                answer = await from_store(self._others.ask_owner(request.id, command))
                return await self._admission.seen(principal, answer)
            except OwnedHereError:
                active = await self._admission.find(principal, request.id)
        if active.at_rest and not active.log.state.terminal:
            active = await self._cancel_resting(principal, request)
        else:
            await from_store(self._runner.cancel(active))
        await from_store(active.shown())
        if active.log.state is not TaskState.CANCELED:
            raise _not_cancelable(active)
        return active

    async def _cancel_resting(self, principal: str, request: TaskIdRequest) -> ActiveTask:
        """End a task at which nobody worked, unless a message comes first; then its work is ended."""
        async with Holding(self._registry.resting(request.id)):
            active = await self._admission.find(principal, request.id)
            rested = active.at_rest and not active.log.state.terminal
            await from_store(self._runner.cancel(active))
        if rested:
            await from_store(self._notifier.go_on(active))
        return active

    async def subscribe(
        self,
        principal: str,
        request: TaskIdRequest,
        cursor: int | None,
        *,
        replays: bool,
        stays_open: bool = False,
    ) -> OpenStream:
        """Open the stream of a task, from now or from an event on; it must be closed.

        `replays`: a task that has ended is sent once more, where there is no event to go on from. Of a task that
        waits for its user, the stream waits for what comes of the answer (specification 1.0, section 3.1.6).
        """
        leave = self._streams.enter()
        try:
            active = await self._admission.find(principal, request.id, kept=cursor is not None)
            if cursor is not None:
                stream = await self._resumed(active, cursor, stays_open)
                return evolve(stream, close=leave)
            if active.log.state.terminal and not replays:
                raise ProtocolError(
                    ErrorKind.UNSUPPORTED_OPERATION,
                    f"The task is {active.log.state.value}: nothing more will come; read it instead",
                    metadata={"taskId": active.facts.task_id, "state": active.log.state.value},
                )
            last = await from_store(active.shown())
            return OpenStream((active.task(),), active, last, last, stays_open, close=leave)
        except BaseException:
            leave()
            raise

    # --- push notifications -------------------------------------------------------------------------------

    async def set_push_config(self, principal: str, config: PushConfig, presentation: Presentation) -> PushConfig:
        """Notify about a task from now on; a configuration of the same id is replaced."""
        active = await self._admission.find(principal, config.task_id or "")
        path = DIALECTS[presentation.version].push_config_path
        check_id(config.id, (*path, "id"))
        await self._notifier.check(config, path, presentation.key)
        config = evolve(config, task_id=active.facts.task_id, id=config.id or str(uuid.uuid4()))
        return await self._set(principal, config, presentation)

    async def _set(
        self, principal: str, config: PushConfig, presentation: Presentation, cursor: int | None = None
    ) -> PushConfig:
        """Notify about what follows event `cursor`, or what happens from now on, from the server that delivers."""
        command = SetPush(principal=principal, config=config, view=presentation.key)
        made = None
        while made is None:
            if await self._done_elsewhere(command, config.task_id or "", config.id or ""):
                return config
            made = await self._set_here(principal, config, presentation, cursor)
        return made

    async def _set_here(
        self, principal: str, config: PushConfig, presentation: Presentation, cursor: int | None
    ) -> PushConfig | None:
        """Notify about a task from this server; None where another one delivers by now."""
        task_id = config.task_id or ""
        active = await self._admission.find(principal, task_id)
        async with Holding(self._locks.of(("pushes", task_id))):  # until the store counts this one, too
            if await self._room_for(config, task_id, ("taskId",)) and not await self._delivers(
                task_id, config.id or ""
            ):
                return None
            after = active.log.last if cursor is None else cursor
            made = self._admission.notify(active, config, presentation, after)
            await from_store(self._store.commit())
        return made

    async def _room_for(self, config: PushConfig, task_id: str, path: FieldPath) -> bool:
        """Return whether a configuration replaces one of a task's.

        Raises `ProtocolError` that names `path` if there are too many.
        """
        known = {one.id for one in await from_store(self._notifier.configs(task_id))}
        if len(known) >= _MOST_CONFIGS and config.id not in known:
            raise invalid(path, f"the task has {len(known)} push configurations already, and takes no more")
        return config.id in known

    async def _delivers(self, task_id: str, config_id: str) -> bool:
        """Whether no other server delivers a push configuration; nobody else does from then on."""
        ownership = self._store.ownership
        return await from_store(ownership.claim_push(task_id, config_id)) in (None, ownership.replica_id)

    async def _done_elsewhere(self, command: SetPush | DropPush, task_id: str, config_id: str) -> bool:
        """Whether the server that delivers a push configuration has done a command; False: that is this one."""
        try:
            await from_store(self._others.ask_notifier(task_id, config_id, command))
        except OwnedHereError:
            return False
        return True

    async def get_push_config(self, principal: str, asked: PushConfigId) -> PushConfig:
        """One configuration of a task; the oldest where none is named."""
        for config in await self._push_configs(principal, asked.task_id):
            if asked.id in (None, config.id) and (config.interrupts_only or not asked.interrupts_only):
                return config
        raise _no_push_config(asked)

    async def list_push_configs(self, principal: str, asked: ListPushConfigsRequest) -> PushConfigPage:
        """The configurations of a task, oldest first."""
        return page_of_configs(await self._push_configs(principal, asked.task_id), asked)

    async def delete_push_config(self, principal: str, asked: PushConfigId) -> None:
        """Notify no more. To delete what is gone is no error, as the specification has it."""
        await self._admission.find(principal, asked.task_id)
        task_id, config_id = asked.task_id, asked.id or ""
        command = DropPush(principal=principal, task_id=task_id, config_id=config_id)
        while not await self._done_elsewhere(command, task_id, config_id):
            if await self._delivers(task_id, config_id):
                await from_store(self._notifier.drop(task_id, config_id))
                return

    async def _push_configs(self, principal: str, task_id: str) -> tuple[PushConfig, ...]:
        await self._admission.find(principal, task_id)
        return await from_store(self._notifier.configs(task_id))

    async def _durable(self, active: ActiveTask) -> None:
        """Return once a new task is durable, and may be shown."""
        await from_store(active.changed(0))


def _not_cancelable(active: ActiveTask) -> ProtocolError:
    state = active.log.state.value
    return ProtocolError(
        ErrorKind.TASK_NOT_CANCELABLE,
        f"Task cannot be canceled: it is {state}",
        metadata={"taskId": active.facts.task_id, "state": state},
    )


def _no_push_config(asked: PushConfigId) -> ProtocolError:
    return ProtocolError(
        ErrorKind.TASK_NOT_FOUND,
        "Push notification configuration not found",
        metadata={"taskId": asked.task_id[:128], "id": (asked.id or "")[:128]},
    )
