"""From an operation that was asked for to its answer: parses the parameters, asks the service, renders what it says.

One table of operations for both bindings and both lines. Knows neither HTTP nor JSON-RPC.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import evolve, field, frozen

from opencode_a2a.server.service import OpenStream, Service
from opencode_a2a.server.steps import in_turns
from opencode_a2a.server.tasks.active_task import LiveTask
from sansio.a2a.bindings.last_event_id import cursor_in
from sansio.a2a.codecs.registry import WireForm, rest_form_of_task
from sansio.a2a.json_output import encoded_pieces
from sansio.a2a.model import JsonObject, SendRequest
from sansio.a2a.operations import Operation
from sansio.a2a.task_log import trim_history
from sansio.a2a.versions import CANCELS_AGAIN
from sansio.access import Identity
from sansio.http import Outcome
from sansio.opencode.projections.presentation import View


@frozen(kw_only=True)
class Asked:
    """An operation with its parameters, as they came.

    ``form``: what they are in, and what is answered in, unless ``follows_task``: then a task is answered in the form
    it was made in. ``extensions``: the names of those that were activated. ``cursor``: the ``Last-Event-ID``.
    ``waits``: somebody reads the answer. ``stays_open``: a stream does not end where the task asks its user.
    ``outcome``: is given the task's id.
    """

    operation: Operation
    params: object
    identity: Identity
    form: WireForm
    extensions: frozenset[str] = frozenset()
    cursor: str | None = None
    follows_task: bool = False
    waits: bool = True
    stays_open: bool = False
    outcome: Outcome = field(factory=Outcome)

    def view(self, live: LiveTask | None = None) -> View:
        """How the caller sees a task, or what belongs to none."""
        if live is None:
            return View(self.form, False, self.extensions)
        form = rest_form_of_task(self.form.LINE, live.form) if self.follows_task else self.form
        return View(form, live.text_only, self.extensions)

    def message(self) -> SendRequest:
        """The message that was sent. Where tasks keep the form they were made in, it says which that is."""
        request = self.form.parse_send(self.params)
        return evolve(request, form=self.form.NAME) if self.follows_task else request

    def view_of_sender(self, live: LiveTask) -> View:
        """How the caller sees the task of a message of theirs: in the form the message came in."""
        return View(self.form, live.text_only, self.extensions)


class Dispatch:
    """The operations by name. All of them raise ``ProtocolError``."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._unary: dict[Operation, Callable[[Asked], Awaitable[Any]]] = {
            Operation.SEND: self._send,
            Operation.GET_TASK: self._get_task,
            Operation.LIST_TASKS: self._list_tasks,
            Operation.CANCEL: self._cancel,
            Operation.SET_PUSH_CONFIG: self._set_push_config,
            Operation.GET_PUSH_CONFIG: self._get_push_config,
            Operation.LIST_PUSH_CONFIGS: self._list_push_configs,
            Operation.DELETE_PUSH_CONFIG: self._delete_push_config,
        }

    async def unary(self, asked: Asked) -> list[bytes] | None:
        """The result of an operation that answers once, as JSON in pieces; None: there is nothing to say."""
        result = await self._unary[asked.operation](asked)
        if result is None or asked.operation is Operation.LIST_TASKS:
            pieces: list[bytes] | None = result
            return pieces
        return await in_turns(encoded_pieces(result))

    async def stream(self, asked: Asked) -> tuple[OpenStream, View]:
        """The stream of an operation that answers with one."""
        principal = asked.identity.principal
        if asked.operation is Operation.STREAM:
            message = asked.message()
            cursor = cursor_in(asked.cursor, message.metadata)
            stream = await self.service.stream(principal, message, asked.view(), cursor, stays_open=asked.stays_open)
            asked.outcome.task_id = stream.live.facts.task_id
            return stream, asked.view_of_sender(stream.live)
        request = asked.form.parse_task_id(asked.params)
        asked.outcome.task_id = request.id
        cursor = cursor_in(asked.cursor, request.metadata)
        replays = asked.form.LINE == "0.3"
        stream = await self.service.subscribe(
            principal, request, cursor, replays=replays, stays_open=asked.stays_open
        )
        return stream, asked.view(stream.live)

    # --- one by one ---------------------------------------------------------------------------------------

    async def _send(self, asked: Asked) -> JsonObject:
        request = asked.message()
        if not asked.waits:
            request = evolve(request, configuration=evolve(request.configuration, blocking=False))
        live = await self.service.send(asked.identity.principal, request, asked.view())
        asked.outcome.task_id = live.facts.task_id
        task = trim_history(live.task(), request.configuration.history_length)
        return asked.view_of_sender(live).send_result(task)

    async def _get_task(self, asked: Asked) -> JsonObject:
        request = asked.form.parse_get_task(asked.params)
        asked.outcome.task_id = request.id
        live = await self.service.get_task(asked.identity.principal, request)
        return asked.view(live).task(trim_history(live.task(), request.history_length))

    async def _list_tasks(self, asked: Asked) -> list[bytes]:
        request = asked.form.parse_list_tasks(asked.params)
        page = await self.service.list_tasks(asked.identity.principal, request)
        return await in_turns(asked.view().page(page, artifacts=request.include_artifacts))

    async def _cancel(self, asked: Asked) -> JsonObject:
        request = asked.form.parse_task_id(asked.params)
        asked.outcome.task_id = request.id
        again = CANCELS_AGAIN[asked.form.LINE]
        live = await self.service.cancel(asked.identity.principal, request, again=again)
        return asked.view(live).task(live.task())

    async def _set_push_config(self, asked: Asked) -> JsonObject:
        config = asked.form.parse_push_config_request(asked.params)
        made = await self.service.set_push_config(asked.identity.principal, config, asked.view())
        return asked.form.render_push_config_result(made)

    async def _get_push_config(self, asked: Asked) -> JsonObject:
        request = asked.form.parse_push_config_id(asked.params)
        return asked.form.render_push_config_result(
            await self.service.get_push_config(asked.identity.principal, request)
        )

    async def _list_push_configs(self, asked: Asked) -> Any:
        request = asked.form.parse_list_push_configs(asked.params)
        return asked.form.render_push_configs(await self.service.list_push_configs(asked.identity.principal, request))

    async def _delete_push_config(self, asked: Asked) -> JsonObject | None:
        request = asked.form.parse_push_config_id(asked.params, required=True)
        await self.service.delete_push_config(asked.identity.principal, request)
        return {} if asked.form.LINE == "1.0" else None
