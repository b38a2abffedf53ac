"""Another agent, connected to: the operations of A2A as methods.

Versions, bindings and encodings are the core's business. Failures are `ClientError`s.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import orjson
from attrs import define, evolve, field, frozen

from opencode_a2a.client.card_signatures import checked_card
from opencode_a2a.client.event_stream import EventStream
from opencode_a2a.client.options import ClientOptions
from opencode_a2a.client.web import Web, parsed
from sansio.a2a.cards.parse import Interface, PeerCard
from sansio.a2a.cards.verification import SignatureCheck
from sansio.a2a.client import calls
from sansio.a2a.client.calls import HttpCall, Request
from sansio.a2a.client.client_errors import ClientError, UnsupportedError
from sansio.a2a.client.following import Following
from sansio.a2a.model import (
    GetTaskRequest,
    JsonObject,
    ListPushConfigsRequest,
    ListTasksRequest,
    Message,
    PushConfig,
    PushConfigId,
    PushConfigPage,
    Role,
    SendConfiguration,
    SendRequest,
    Task,
    TaskIdRequest,
    TaskPage,
    TaskStatus,
    TextPart,
)
from sansio.a2a.operations import Operation


@frozen(kw_only=True)
class Sending:
    """Companions of a message. `extensions`: further URIs to activate. `metadata`: of the request."""

    configuration: SendConfiguration = SendConfiguration()
    metadata: JsonObject | None = None
    extensions: Sequence[str] = ()


@define(eq=False, kw_only=True)
class RemoteAgent:
    """An agent that `connect` has reached. `card`: what it offers; `interface`: the one in use.

    Every method raises the errors of `ClientError`: `UnavailableError`, `TimedOutError`, `AuthenticationError`,
    `PermissionDeniedError`, `UnsupportedError`, another `AgentError`, or `InvalidAnswerError`.
    """

    url: str
    card: PeerCard
    card_body: bytes = field(repr=False)
    interface: Interface
    web: Web = field(repr=False)
    extensions: tuple[str, ...] = ()

    @property
    def options(self) -> ClientOptions:
        """Options of the connection."""
        return self.web.options

    # --- messages -----------------------------------------------------------------------------------------

    async def send(
        self,
        message: Message | str,
        *,
        context_id: str | None = None,
        task_id: str | None = None,
        sending: Sending | None = None,
    ) -> Task | Message:
        """Send a message, and wait for the answer: the task that came of it, or a message.

        A text is sent as a new message of the context and the task. The task may be at work still where
        `sending.configuration` does not block, or where the agent does not wait.
        """
        call = self._sending(message, context_id, task_id, sending or Sending(), streaming=False)
        blocking = sending is None or sending.configuration.blocking
        silence = self.options.patience if blocking else None
        answer = await self.web.read(call, silence=silence)
        return await parsed(partial(calls.read_answer, self.interface), answer)

    @asynccontextmanager
    async def stream(
        self,
        message: Message | str,
        *,
        context_id: str | None = None,
        task_id: str | None = None,
        sending: Sending | None = None,
        streaming: bool = True,
        answering: TaskStatus | None = None,
        on_break: Callable[[ClientError], None] | None = None,
    ) -> AsyncGenerator[EventStream]:
        """Send a message, and give what comes of it as it comes.

        An agent without streams, and any with `streaming` False, is asked for the task now and then. `answering`: the
        status that the message answers; the stream does not end while the task has it. `on_break` is called where a
        stream has broken and is resumed.
        """
        sending = sending or Sending()
        streaming = streaming and self.card.streaming
        if not streaming:  # the task is to be known while it is being worked on; some agents wait all the same
            sending = evolve(sending, configuration=evolve(sending.configuration, blocking=False))
        call = self._sending(message, context_id, task_id, sending, streaming=streaming)
        known = message.task_id if isinstance(message, Message) else task_id
        following = self._following(known, answering)
        stream = EventStream(agent=self, following=following, first=call, streaming=streaming, on_break=on_break)
        try:
            yield stream
        finally:
            await stream.close()

    @asynccontextmanager
    async def subscribe(
        self, task_id: str, *, last_event_id: str = "", on_break: Callable[[ClientError], None] | None = None
    ) -> AsyncGenerator[EventStream]:
        """Give what comes of a task, from now on or from after an event, to its end.

        A task that has ended, and one whose agent has no streams, is read.
        """
        following = self._following(task_id)
        following.last_event_id = last_event_id
        stream = EventStream(agent=self, following=following, first=None, streaming=True, on_break=on_break)
        try:
            yield stream
        finally:
            await stream.close()

    def _following(self, task_id: str | None, answering: TaskStatus | None = None) -> Following:
        options = self.options
        return Following(patience=options.patience, pauses=options.polling, task_id=task_id, answering=answering)

    def _sending(
        self,
        message: Message | str,
        context_id: str | None,
        task_id: str | None,
        sending: Sending,
        *,
        streaming: bool,
    ) -> HttpCall:
        if isinstance(message, str):
            message = Message(
                message_id=str(uuid.uuid4()),
                role=Role.USER,
                parts=(TextPart(text=message),),
                context_id=context_id,
                task_id=task_id,
            )
        request = SendRequest(message=message, configuration=sending.configuration, metadata=sending.metadata)
        operation = Operation.STREAM if streaming else Operation.SEND
        timeout = self.options.patience if sending.configuration.blocking else self.options.timeout
        return self._call(operation, request, extensions=sending.extensions, timeout=timeout)

    # --- tasks --------------------------------------------------------------------------------------------

    async def get_task(self, task_id: str, *, history_length: int | None = None) -> Task:
        """Read a task. `history_length`: the most messages of its history; None: all."""
        request = GetTaskRequest(id=task_id, history_length=history_length)
        answer = await self._ask(Operation.GET_TASK, request)
        return await parsed(partial(calls.read_task_answer, self.interface), answer)

    async def list_tasks(self, request: ListTasksRequest | None = None) -> TaskPage:
        """List tasks, a page at a time. Version 0.3 has no such operation, but some of its agents do."""
        request = request or ListTasksRequest()
        answer = await self._ask(Operation.LIST_TASKS, request)
        return await parsed(partial(calls.read_page_answer, self.interface), answer)

    async def cancel_task(self, task_id: str, *, metadata: JsonObject | None = None) -> Task:
        """Cancel a task; return it as it is then."""
        request = TaskIdRequest(id=task_id, metadata=metadata)
        answer = await self._ask(Operation.CANCEL, request)
        return await parsed(partial(calls.read_task_answer, self.interface), answer)

    def subscription(self, task_id: str, last_event_id: str = "") -> HttpCall:
        """Return the request that subscribes to a task."""
        return self._call(Operation.SUBSCRIBE, TaskIdRequest(id=task_id), last_event_id=last_event_id)

    # --- push configurations ------------------------------------------------------------------------------

    async def set_push_config(self, config: PushConfig) -> PushConfig:
        """Set where the agent reports on a task, which `config.task_id` names; return it with its id."""
        answer = await self._ask(Operation.SET_PUSH_CONFIG, config)
        made = calls.read_push_config_answer(self.interface, config.task_id or "", *answer)
        return evolve(made, interrupts_only=config.interrupts_only)

    async def get_push_config(self, task_id: str, config_id: str, *, interrupts_only: bool = False) -> PushConfig:
        """Read one push configuration of a task. `interrupts_only`: there is no other one.

        Whether a configuration names interrupts only is known only where that was asked for.
        """
        request = PushConfigId(task_id=task_id, id=config_id, interrupts_only=interrupts_only)
        answer = await self._ask(Operation.GET_PUSH_CONFIG, request)
        found = calls.read_push_config_answer(self.interface, task_id, *answer)
        return evolve(found, interrupts_only=interrupts_only)

    async def list_push_configs(
        self,
        task_id: str,
        *,
        page_size: int | None = None,
        page_token: str | None = None,
        interrupts_only: bool = False,
    ) -> PushConfigPage:
        """List the push configurations of a task: all, or those that name interrupts only."""
        request = ListPushConfigsRequest(
            task_id=task_id, page_size=page_size, page_token=page_token, interrupts_only=interrupts_only
        )
        answer = await self._ask(Operation.LIST_PUSH_CONFIGS, request)
        page = calls.read_push_configs_answer(self.interface, task_id, *answer)
        return evolve(page, configs=tuple(evolve(one, interrupts_only=interrupts_only) for one in page.configs))

    async def delete_push_config(self, task_id: str, config_id: str) -> None:
        """Delete a push configuration of a task."""
        request = PushConfigId(task_id=task_id, id=config_id)
        calls.read_deletion(*await self._ask(Operation.DELETE_PUSH_CONFIG, request))

    # --- the card -----------------------------------------------------------------------------------------

    async def extended_card(self) -> JsonObject:
        """Read the card that the agent shows to those it knows. Its signatures are checked too."""
        document = calls.read_card_answer(self.interface, *await self._ask(Operation.EXTENDED_CARD))
        if self.web.options.signatures is SignatureCheck.IGNORE:
            return document
        checked: JsonObject = orjson.loads(await checked_card(self.web, orjson.dumps(document), self.interface.url))
        return checked

    # --- requests -----------------------------------------------------------------------------------------

    async def _ask(self, operation: Operation, request: Request = None) -> tuple[int, bytes]:
        return await self.web.read(self._call(operation, request, timeout=self.options.timeout))

    def _call(
        self,
        operation: Operation,
        request: Request = None,
        *,
        last_event_id: str = "",
        extensions: Sequence[str] = (),
        timeout: float | None = None,
    ) -> HttpCall:
        missing = [uri for uri in calls.extensions_of(request) if uri not in self.card.extensions]
        if missing:
            raise UnsupportedError(f"The agent's card has no extension {missing[0]}")
        return calls.operation_call(
            self.interface,
            operation,
            request,
            request_id=str(uuid.uuid4()),
            extensions=tuple(dict.fromkeys((*self.extensions, *extensions))),
            last_event_id=last_event_id,
            timeout=timeout,
        )
