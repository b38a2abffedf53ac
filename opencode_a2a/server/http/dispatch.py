"""Run an operation: parse its parameters, call it, render the result.

One table of operations for both bindings and both versions. Knows neither HTTP nor JSON-RPC.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import anyio.lowlevel
from attrs import evolve, field, frozen

from opencode_a2a.server.operations.task_operations import Operations, WhenGone, never
from opencode_a2a.server.steps import in_turns
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.open_stream import OpenStream
from sansio.a2a.bindings.http_messages import Outcome, Response
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.model import JsonObject, PushConfig
from sansio.a2a.operations import Operation
from sansio.a2a.server import Call
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.task_log import trim_history
from sansio.access import Identity

_Configs: TypeAlias = tuple[Sequence[PushConfig], Any]
"""Push configurations, and the answer that shows them."""


async def at_once() -> None:
    """There is room for an answer: its connection has no other."""


def note_task(outcome: Outcome, active: ActiveTask) -> None:
    """Note the task that a call is about."""
    outcome.task_id = active.facts.task_id
    outcome.context_id = active.facts.context_id
    outcome.session_id = active.session_id


@frozen(kw_only=True)
class Invocation:
    """A call by a caller who is known.

    `stays_open`: a stream does not end where the task asks its user. `outcome`: is given the task's id. `large`: to
    parse it takes milliseconds, and others have their turn after that. `trace`: what a task of it belongs to. `room`:
    returns once there is room for the answer, before it is made. `when_gone`: has its argument called once the client
    has left.
    """

    call: Call
    identity: Identity
    stays_open: bool = False
    large: bool = False
    outcome: Outcome = field(factory=Outcome)
    trace: TraceContext | None = None
    room: Callable[[], Awaitable[None]] = at_once
    when_gone: WhenGone = never

    async def read(self) -> Any:
        """Parse the params into the typed request of the operation. Raises `ProtocolError` by field."""
        request = self.call.read()
        if self.large:
            await anyio.lowlevel.checkpoint()
        return request

    def found(self, active: ActiveTask) -> None:
        """Note the task that the call is about."""
        note_task(self.outcome, active)

    @property
    def principal(self) -> str:
        """The caller."""
        return self.identity.principal

    def presentation(self, active: ActiveTask | None = None) -> Presentation:
        """The presentation of a task to the caller, or of an answer about none."""
        call = self.call
        if active is None:
            return _presentation(call.codec, False, call.activated.names)
        return _presentation(call.codec_of(active.codec_name), active.text_only, call.activated.names)

    def presentation_of_sender(self, active: ActiveTask) -> Presentation:
        """The presentation of a message's task to its sender: in the codec of the message."""
        return _presentation(self.call.codec, active.text_only, self.call.activated.names)


def _presentation(codec: Any, text_only: bool, extensions: frozenset[str]) -> Presentation:
    return _presentations(codec, text_only, extensions)


_presentations = lru_cache(maxsize=64)(Presentation)
"""Makes presentations, of which there are few. Codecs are modules, which can be keys."""


class Dispatch:
    """The operations by name. All of them raise `ProtocolError`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._unary: dict[Operation, Callable[[Invocation], Awaitable[Any]]] = {
            Operation.SEND: self._send,
            Operation.GET_TASK: self._get_task,
            Operation.LIST_TASKS: self._list_tasks,
            Operation.CANCEL: self._cancel,
            Operation.DELETE_PUSH_CONFIG: self._delete_push_config,
        }
        self._showing_configs: dict[Operation, Callable[[Invocation], Awaitable[_Configs]]] = {
            Operation.SET_PUSH_CONFIG: self._set_push_config,
            Operation.GET_PUSH_CONFIG: self._get_push_config,
            Operation.LIST_PUSH_CONFIGS: self._list_push_configs,
        }

    async def unary(self, invocation: Invocation) -> Response:
        """The answer of an operation that answers once."""
        call = invocation.call
        operation = call.operation
        assert operation is not None
        if operation is not Operation.SEND:  # which may wait for its task's end
            await invocation.room()
        if operation in self._showing_configs:
            configs, result = await self._showing_configs[operation](invocation)
            call = call.showing(configs)
        else:
            result = await self._unary[operation](invocation)
            if result is None or operation is Operation.LIST_TASKS:
                return call.respond(result)
        return call.respond(await in_turns(call.result(result)))

    async def stream(self, invocation: Invocation) -> tuple[OpenStream, Presentation]:
        """The stream of an operation that answers with one."""
        principal = invocation.principal
        if invocation.call.operation is Operation.STREAM:
            message = await invocation.read()
            cursor = invocation.call.cursor(message.metadata)
            stream = await self._operations.stream(
                principal,
                message,
                invocation.presentation(),
                cursor,
                stays_open=invocation.stays_open,
                trace=invocation.trace,
            )
            invocation.found(stream.active)
            return stream, invocation.presentation_of_sender(stream.active)
        await invocation.room()
        request = await invocation.read()
        invocation.outcome.task_id = request.id
        cursor = invocation.call.cursor(request.metadata)
        replays = invocation.call.dialect.replays_ended
        stream = await self._operations.subscribe(
            principal, request, cursor, replays=replays, stays_open=invocation.stays_open
        )
        invocation.found(stream.active)
        return stream, invocation.presentation(stream.active)

    # --- one by one ---------------------------------------------------------------------------------------

    async def _send(self, invocation: Invocation) -> JsonObject:
        request = await invocation.read()
        if invocation.call.notification:
            request = evolve(request, configuration=evolve(request.configuration, blocking=False))
        active = await self._operations.send(
            invocation.principal,
            request,
            invocation.presentation(),
            trace=invocation.trace,
            when_gone=invocation.when_gone,
        )
        invocation.found(active)
        await invocation.room()
        task = trim_history(active.task(), request.configuration.history_length)
        return invocation.presentation_of_sender(active).send_result(task)

    async def _get_task(self, invocation: Invocation) -> JsonObject:
        request = await invocation.read()
        invocation.outcome.task_id = request.id
        active = await self._operations.get_task(invocation.principal, request)
        invocation.found(active)
        return invocation.presentation(active).task(trim_history(active.task(), request.history_length))

    async def _list_tasks(self, invocation: Invocation) -> list[bytes]:
        request = await invocation.read()
        page = await self._operations.list_tasks(invocation.principal, request)
        presentation, artifacts = invocation.presentation(), request.include_artifacts
        return await in_turns(invocation.call.page(page, presentation, artifacts=artifacts))

    async def _cancel(self, invocation: Invocation) -> JsonObject:
        request = await invocation.read()
        invocation.outcome.task_id = request.id
        again = invocation.call.dialect.cancels_canceled
        active = await self._operations.cancel(invocation.principal, request, again=again)
        invocation.found(active)
        return invocation.presentation(active).task(active.task())

    async def _set_push_config(self, invocation: Invocation) -> _Configs:
        config = await invocation.read()
        made = await self._operations.set_push_config(invocation.principal, config, invocation.presentation())
        return (made,), invocation.call.codec.render_push_config_result(made)

    async def _get_push_config(self, invocation: Invocation) -> _Configs:
        request = await invocation.read()
        config = await self._operations.get_push_config(invocation.principal, request)
        return (config,), invocation.call.codec.render_push_config_result(config)

    async def _list_push_configs(self, invocation: Invocation) -> _Configs:
        request = await invocation.read()
        page = await self._operations.list_push_configs(invocation.principal, request)
        return page.configs, invocation.call.codec.render_push_configs(page)

    async def _delete_push_config(self, invocation: Invocation) -> JsonObject | None:
        request = await invocation.read()
        await self._operations.delete_push_config(invocation.principal, request)
        return {} if invocation.call.dialect.confirms_deletion else None
