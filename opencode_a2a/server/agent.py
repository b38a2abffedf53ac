"""The agent that a server serves: two methods, and hooks for what else an agent can do.

    accept(request)       refuse what cannot be run; there is no task then
    run(request, task)    work, and publish through `task`: to return completes it, to raise fails it

The life of the work does not depend on the client that started it. Knows nothing of any one agent.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeAlias

import orjson
from attrs import define, field

from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.running_task import RunningTask
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import JsonObject, Message, SendRequest, TaskState, TaskStatus
from sansio.a2a.tasks.task_log import LogEvent, StatusChanged

Work: TypeAlias = Coroutine[Any, Any, None]


@define(kw_only=True)
class AgentRequest:
    """A message that starts a task, or resumes one.

    `options`: what the message asks for, as JSON that is kept with the task; `read` and `accept` may add to it.
    `prepared`: what `accept` found out, for `run`. Neither is shown to a client. `trace`: the span that asks for it.
    `affinity`: the place that the task can be worked on in, of several that the agent has: `accept` may choose one.
    """

    principal: str
    send: SendRequest
    options: JsonObject = field(factory=dict)
    prepared: Any = None
    trace: TraceContext | None = None
    affinity: str = ""

    @property
    def message(self) -> Message:
        """The message itself."""
        return self.send.message


class NotHereError(ProtocolError):
    """A message or task belongs to a place of the agent's that this server does not reach. Another server may."""

    def __init__(self, reason: str) -> None:
        super().__init__(ErrorKind.OVERLOADED, reason)


class Agent(Protocol):
    """An agent: the two methods that every agent has. `AgentHooks` has the optional ones."""

    async def accept(self, request: AgentRequest) -> None:
        """Refuse a request that cannot be run. Raises `ProtocolError`; there is no task then."""

    def run(self, request: AgentRequest, task: RunningTask) -> Work:
        """Work on a task until it is done: an `async def`.

        To return completes the task, unless it has another final state, or waits for credentials. To raise fails it:
        the text of a `ProtocolError` is published, any other error is logged. To be cancelled is its cancellation.
        The call itself is made in the order of the messages, its coroutine is awaited in a task of its own.
        """


_OWN = ("form", "kept", "trace")
"""Names among a task's stored options that are the server's: its message's codec, what its agent keeps, its trace."""


def stored_options(request: AgentRequest) -> JsonObject:
    """Copy the options of a request as they are stored with its task. Raises `ValueError` for what is no JSON."""
    own = [name for name in _OWN if name in request.options]
    if own:
        raise ValueError(f"request.options: {own[0]} is a name of the server's")
    try:
        options: JsonObject = orjson.loads(orjson.dumps(request.options))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"request.options cannot be kept as JSON: {error}") from None
    if request.send.codec_name is not None:
        options["form"] = request.send.codec_name
    if request.trace is not None:
        options["trace"] = dict(request.trace.headers)
    return options


def requested_options(task: ActiveTask) -> JsonObject:
    """The options of the request that started a task."""
    return {name: value for name, value in task.options.items() if name not in _OWN}


class AgentHooks:
    """The optional methods of an agent. Each has the behaviour of an agent that lacks it."""

    commits_first = True
    """Whether a new task is stored before the agent runs. False: the agent stores it, with what belongs to it."""

    logs_end = True
    """Whether the server logs the end of a task. False: the agent does."""

    def read(self, request: AgentRequest) -> None:
        """Read what a message asks for, before it is known whether it is new. Raises `ProtocolError`."""

    def restore(self, request: AgentRequest) -> bool:
        """Prepare a request again from its message and its `options`; False where `accept` has to.

        Called for a task that is recovered, or that is tried again once its user has given credentials. `accept` is
        called for the latter only. Raises `LocalError`, `ProtocolError`.
        """
        return False

    def recover(self, request: AgentRequest, task: RunningTask) -> Work | None:
        """The work that carries on a task which an earlier process left unfinished.

        None: it cannot be carried on, and fails.
        """
        return None

    def check_reached(self, task: ActiveTask) -> None:
        """Refuse to try a task again that this server cannot work on. Raises `NotHereError`."""

    def is_repeat(self, task: ActiveTask, request: AgentRequest) -> bool:
        """Whether a message with the id and the parts of a task's first message asks for the same as that did."""
        return requested_options(task) == request.options

    def takes(self, task: ActiveTask, request: AgentRequest) -> bool:
        """Whether a task that waits for its user, in the context of a message, is one that it may answer."""
        return True

    async def answer(self, task: RunningTask, message: Message) -> bool:
        """Take a message as the answer to what a task waits for; False if it waits for none.

        Raises `ProtocolError` where the message cannot be understood as one.
        """
        return await task.take(message)

    async def command(self, principal: str, name: str, arguments: JsonObject) -> Any:
        """Do a command of the agent's own in this server, which any of the servers may have been asked for.

        Returns JSON; None where it is about nothing that this server works on. Raises `ProtocolError`, `StoreError`.
        """
        return None

    def note_gone(self) -> None:
        """Note that another server, of those that share the store, may have gone."""

    def canceled(self, task: ActiveTask, now: str) -> Sequence[LogEvent]:
        """The events that end a task as canceled; none where it has ended. `now`: RFC 3339."""
        return [StatusChanged(status=TaskStatus(state=TaskState.CANCELED, timestamp=now))]

    def interrupt(self, task: RunningTask) -> None:
        """Stop the work on a task that is canceled already."""
        task.scope.cancel()

    def fail(self, task: RunningTask, text: str) -> None:
        """End a task as failed, at once: nothing of it is published after this. `text`: why."""
        task.active.publish(task.ending(TaskState.FAILED, text))
        task.scope.cancel()

    def stop(self, task: RunningTask) -> None:
        """End a task as failed, because the server is being stopped and nothing of it would be there afterwards."""
        task.active.publish(task.ending(TaskState.FAILED, "The server was stopped before the task was complete"))
        task.scope.cancel()
