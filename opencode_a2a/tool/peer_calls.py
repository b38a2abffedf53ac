"""Makes one call of another agent: sends the message, follows the answer, and leaves nothing running behind.

`sansio.a2a.tool` decides what the arguments mean and what the model reads. Logs name neither arguments nor answers.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import anyio

from opencode_a2a.tool.call_origin import CallOrigin, CallOrigins
from opencode_a2a.tracing.spans import NO_ATTRIBUTES, NO_TRACER, Attributes, SpanKind, Tracer, working_for
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.client.client_errors import ClientError
from sansio.a2a.model import Message, Role, StreamItem, Task, TextPart
from sansio.a2a.tool.arguments import CallArguments, parse_arguments
from sansio.a2a.tool.hops import HOP_LIMIT, hop_metadata
from sansio.a2a.tool.outcome import CallOutcome, PeerAnswer, refused
from sansio.a2a.tool.tool_errors import ToolError, ToolErrorCode, tool_error_of

_log = logging.getLogger(__name__)

LONGEST_CALL: Final = 3600.0
"""Seconds that one call may take."""

MOST_CALLS: Final = 64
"""Calls that run at a time."""

_NAME: Final = 255  # characters
_OPERATION: Final = "execute_tool"
_MODELS_NAME: Final = "a2a_call"  # of the tool, as the model has it
_CANCELLING = 5.0  # seconds in which the agent has to take the cancelling of its task


class CalledAgent(Protocol):
    """The methods of an agent that a call uses. They raise `ClientError`."""

    def stream(self, message: Message) -> AbstractAsyncContextManager[AsyncIterator[StreamItem]]:
        """Send a message; give its answer as it comes, up to where the task ends or waits."""

    async def cancel_task(self, task_id: str) -> Task:
        """Cancel a task."""


class PeerAgents(Protocol):
    """The agents that a model may call."""

    def borrow(self, arguments: CallArguments) -> AbstractAsyncContextManager[CalledAgent]:
        """Give the agent that a call names. Raises `ClientError`, and `PeerRefusedError` for one that is refused."""


class PeerRefusedError(Exception):
    """The call names an agent that this server does not call; the text says why."""


class PeerCalls:
    """Makes calls on behalf of a model."""

    def __init__(self, agents: PeerAgents, origins: CallOrigins, tracer: Tracer = NO_TRACER) -> None:
        self._tracer = tracer
        self._agents = agents
        self._origins = origins
        self._running = 0

    @property
    def running(self) -> int:
        """The number of calls that run now."""
        return self._running

    async def call(
        self,
        given: Mapping[str, Any],
        note: Callable[[str, CallOrigin], None],
        within: Callable[[TraceContext | None], TraceContext],
    ) -> CallOutcome:
        """Make a call; return its outcome, whatever happens to the agent. `note` gets each line of progress.

        `within`: from the span of the call's turn, None for none, to the parent of the call's. To cancel the call
        cancels the agent's task.
        """
        arguments = parse_arguments(dict(given))
        if isinstance(arguments, ToolError):
            return refused(arguments)
        if self._running >= MOST_CALLS:
            return refused(ToolError(ToolErrorCode.a2a_call_failed, f"this server makes {MOST_CALLS} calls already"))
        self._running += 1
        try:
            origin = await self._origins.find(given)
            parent = within(origin.trace)
            if origin.hops >= HOP_LIMIT:
                return refused(ToolError(ToolErrorCode.a2a_too_many_hops, f"at most {HOP_LIMIT} are allowed"))
            with anyio.CancelScope() as scope, origin.attached(scope):
                return await self._traced(arguments, origin, note, parent)
            return refused(ToolError(ToolErrorCode.a2a_call_failed, "the turn has ended"))
        finally:
            self._running -= 1

    async def _traced(
        self,
        arguments: CallArguments,
        origin: CallOrigin,
        note: Callable[[str, CallOrigin], None],
        parent: TraceContext,
    ) -> CallOutcome:
        """Make a call as part of its turn's trace, which the agent that is called continues."""
        attributes = NO_ATTRIBUTES
        if self._tracer.records(parent):
            attributes = {
                "gen_ai.operation.name": _OPERATION,
                "gen_ai.tool.name": _MODELS_NAME,
                **_target(arguments),
            }
        span = self._tracer.start(f"{_OPERATION} {_MODELS_NAME}", SpanKind.CLIENT, parent, attributes)
        error = "cancelled"
        try:
            with working_for(span.context):
                outcome = await self._bounded(arguments, origin, note)
            error = str(outcome.data.get("error_code", ""))
            return outcome
        finally:
            span.end(error)

    async def _bounded(
        self, arguments: CallArguments, origin: CallOrigin, note: Callable[[str, CallOrigin], None]
    ) -> CallOutcome:
        answer = PeerAnswer(f"@{arguments.peer}" if arguments.peer else arguments.url or "")
        try:
            with anyio.fail_after(LONGEST_CALL):
                await self._follow(arguments, origin, answer, note)
        except PeerRefusedError as exc:
            return refused(ToolError(ToolErrorCode.a2a_target_refused, str(exc)))
        except TimeoutError:
            return refused(ToolError(ToolErrorCode.a2a_timeout, f"it took longer than {LONGEST_CALL:g} seconds"))
        except ClientError as exc:
            return refused(tool_error_of(exc))
        except Exception as exc:
            # a bug of ours must reach the model as a failed call, not break the turn
            _log.error("a call of another agent failed: %s", type(exc).__name__, exc_info=exc)
            return refused(ToolError(ToolErrorCode.a2a_call_failed))
        return answer.outcome()

    async def _follow(
        self,
        arguments: CallArguments,
        origin: CallOrigin,
        answer: PeerAnswer,
        note: Callable[[str, CallOrigin], None],
    ) -> None:
        message = Message(
            message_id=str(uuid.uuid4()),
            role=Role.USER,
            parts=(TextPart(text=arguments.message),),
            context_id=arguments.context_id,
            task_id=arguments.task_id,
            metadata=hop_metadata(origin.hops + 1),
        )
        async with self._agents.borrow(arguments) as agent:
            try:
                async with agent.stream(message) as items:
                    async for item in items:
                        line = answer.feed(item)
                        if line is not None:
                            note(line, origin)
            finally:
                if answer.unfinished and answer.task_id is not None:
                    await _cancel(agent, answer.task_id)


def _target(arguments: CallArguments) -> Attributes:
    """The agent that a call names, for its span: of a URL the host and the port."""
    if arguments.url is None:
        return {"a2a.peer.name": (arguments.peer or "")[:_NAME]}
    try:
        parts = urlsplit(arguments.url)
        address, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return {}
    return {"server.address": address[:_NAME], "server.port": port}


async def _cancel(agent: CalledAgent, task_id: str) -> None:
    """Cancel an agent's task; best effort."""
    with anyio.move_on_after(_CANCELLING, shield=True):
        try:
            await agent.cancel_task(task_id)
        except ClientError as exc:
            _log.info("the task of an agent that was called cannot be cancelled: %s", type(exc).__name__)
