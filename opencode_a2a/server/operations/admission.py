"""Decides what a message starts: a new task, the task it has already, or the next step of one that waits."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import anyio
from attrs import evolve

from opencode_a2a.server.agent import Agent, AgentHooks, AgentRequest, NotHereError, requested_options, stored_options
from opencode_a2a.server.operations.known_messages import KnownMessages
from opencode_a2a.server.operations.task_quota import TaskQuota
from opencode_a2a.server.push.notifier import Notifier
from opencode_a2a.server.replicas.others import Others, OwnedHereError
from opencode_a2a.server.store.store_errors import Holding, from_store
from opencode_a2a.server.tasks.active_task import ActiveTask, Facts
from opencode_a2a.server.tasks.task_registry import TaskRegistry
from opencode_a2a.server.tasks.task_runner import TaskRunner
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, LocalError, ProtocolError, invalid
from sansio.a2a.message_checks import check_id, check_message
from sansio.a2a.model import JsonObject, Message, PushConfig, SendRequest, TaskState, TaskStatus
from sansio.a2a.replicas.commands import Send
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.repeated_messages import first_message
from sansio.a2a.tasks.task_log import MessageAdded, StatusChanged
from sansio.a2a.timestamps import timestamp

_CATCHING_UP = 5.0  # seconds for what another server has done to be seen here
_MOST_NAMED = 10  # tasks that an error names


class Admission:
    """Admits messages. `wall`: epoch seconds. `draining`: nothing new is admitted any more."""

    def __init__(
        self,
        agent: Agent,
        hooks: AgentHooks,
        *,
        registry: TaskRegistry,
        runner: TaskRunner,
        messages: KnownMessages,
        notifier: Notifier,
        quota: TaskQuota,
        others: Others,
        wall: Callable[[], float],
    ) -> None:
        self._agent = agent
        self._hooks = hooks
        self._registry = registry
        self._runner = runner
        self._messages = messages
        self._notifier = notifier
        self._quota = quota
        self._others = others
        self._wall = wall
        self._newest = 0  # when the newest task arrived
        self.draining = False

    async def start(
        self, principal: str, send: SendRequest, presentation: Presentation, trace: TraceContext | None = None
    ) -> tuple[ActiveTask, int | None]:
        """The task of a message, and the number of the last event that it began with.

        None where it is not new: the message came before, or is an answer.

        Raises `ProtocolError` for a message that cannot be run; there is no task then.
        """
        self._check_open()
        check_message(send.message)
        request = AgentRequest(principal=principal, send=send, trace=trace)
        self._hooks.read(request)
        push = send.configuration.push
        if push is not None:
            name = DIALECTS[presentation.version].push_config_member
            check_id(push.id, ("configuration", name, "id"))
            await self._notifier.check(push, ("configuration", name), presentation.key)
        if send.message.task_id is not None:
            return await self._continued(request, send.message.task_id, presentation), None
        if (answered := await self._answered(request, presentation)) is not None:
            return answered, None
        try:
            await self._agent.accept(request)
        except NotHereError:
            if (relayed := await self._begun_elsewhere(request, presentation)) is None:
                raise
            return relayed, None
        async with self._messages.arrival(request):
            if (known := await self._messages.known(request)) is not None:
                return known, None
            async with self._quota.place(principal):
                self._check_open()  # to accept it took a while
                active = self._begin(request)
                begun = active.log.last
                if push is not None:  # becomes durable with the task: whoever finds the one finds the other
                    self.notify(active, push, presentation, 0)
            await self._messages.findable(active)
        return active, begun

    async def find(self, principal: str, task_id: str, *, kept: bool = False, doubtful: bool = False) -> ActiveTask:
        """A task of the caller's, as the registry finds it.

        Raises `ProtocolError` (TASK_NOT_FOUND): what is another's does not exist.
        """
        if "\0" in task_id:  # which no id holds, and not every database can look for
            raise ProtocolError(ErrorKind.TASK_NOT_FOUND)
        active = await from_store(self._registry.find(task_id, kept=kept, doubtful=doubtful))
        if active is None or active.facts.principal != principal:
            raise ProtocolError(ErrorKind.TASK_NOT_FOUND, "Task not found", metadata={"taskId": task_id[:128]})
        return active

    def notify(self, active: ActiveTask, config: PushConfig, presentation: Presentation, cursor: int) -> PushConfig:
        """Notify about a task from event `cursor` on; return the configuration with its ids."""
        return self._notifier.begin(active, config, evolve(presentation, text_only=active.text_only).key, cursor)

    async def recover(self, active: ActiveTask) -> None:
        """Carry on a task that an earlier process left.

        Raises `LocalError`, `ProtocolError` where it cannot be read.
        """
        request = self._request_again(active)
        self._hooks.restore(request)
        self._newest = max(self._newest, active.facts.created_at)
        await self._runner.recover(active, request)

    def _check_open(self) -> None:
        if self.draining:
            raise ProtocolError(ErrorKind.OVERLOADED, "The server is being stopped")

    # --- inside -------------------------------------------------------------------------------------------

    async def _answered(self, request: AgentRequest, presentation: Presentation) -> ActiveTask | None:
        """The task that a message without a task answers: the one in its context that waits for its user.

        None where no task waits. Raises `ProtocolError` where several wait.
        """
        if not self._waiting(request):
            elsewhere = await self._waiting_elsewhere(request)
            if len(elsewhere) > 1:
                raise _ambiguous(elsewhere)
            return await self._relayed(request, elsewhere[0], presentation) if elsewhere else None
        async with self._messages.arrival(request):
            known = await self._messages.known(request)
            waiting = self._waiting(request)
            if known is not None or not waiting:
                return known
            elsewhere = await self._waiting_elsewhere(request)
            waiting = self._waiting(request)
            if not waiting:
                return None
            if len(waiting) + len(elsewhere) > 1:
                raise _ambiguous([*(active.facts.task_id for active in waiting), *elsewhere])
            asking = waiting[0]
            try:
                return await self._continued(request, asking.facts.task_id, presentation)
            finally:
                if asking.has_message(request.message.message_id):  # which may not be durable yet
                    self._messages.answered(request.principal, request.message, asking.facts.task_id)

    async def _waiting_elsewhere(self, request: AgentRequest) -> list[str]:
        """The caller's tasks in the message's context that wait for their user in other servers."""
        context_id = request.message.context_id
        if context_id is None:
            return []
        found = await from_store(self._registry.waiting_elsewhere(request.principal, context_id))
        waiting = [await from_store(self._registry.find(task_id)) for task_id in found]
        return [
            active.facts.task_id for active in waiting if active is not None and self._hooks.takes(active, request)
        ]

    async def _begun_elsewhere(self, request: AgentRequest, presentation: Presentation) -> ActiveTask | None:
        """The task that a message starts in a server which works in its context; None where none does."""
        context_id = request.message.context_id
        if context_id is None:
            return None
        working = await from_store(self._registry.working_elsewhere(request.principal, context_id))
        return None if working is None else await self._relayed(request, working, presentation)

    async def _relayed(self, request: AgentRequest, task_id: str, presentation: Presentation) -> ActiveTask | None:
        """The task of a message that was given to the server which works on a task; None: that is this one now."""
        command = Send(principal=request.principal, send=request.send, view=presentation.key, trace=request.trace)
        try:
            answer = await from_store(self._others.ask_owner(task_id, command))
        except OwnedHereError:
            return None
        return await self.seen(request.principal, answer)

    async def seen(self, principal: str, answer: JsonObject) -> ActiveTask:
        """The task that another server has worked on, once what came of it is seen here.

        `answer`: its id, and the number of the event that it is to be seen up to.
        """
        active = await self.find(principal, answer["task"])
        with anyio.move_on_after(_CATCHING_UP):
            await from_store(active.changed(answer["last"] - 1))
        return active

    def _waiting(self, request: AgentRequest) -> list[ActiveTask]:
        """The caller's tasks in the message's context that wait for their user, oldest first."""
        context_id = request.message.context_id
        if context_id is None:
            return []
        return [
            task.active
            for task in self._registry
            if task.context_id == context_id
            and task.principal == request.principal
            and task.active.log.state is TaskState.INPUT_REQUIRED
            and self._hooks.takes(task.active, request)
        ]

    def _begin(self, request: AgentRequest) -> ActiveTask:
        """A new task, in the hands of its agent."""
        message = request.message
        facts = Facts(
            task_id=str(uuid.uuid4()),
            context_id=message.context_id or str(uuid.uuid4()),
            principal=request.principal,
            message_id=message.message_id,
            created_at=self._arrived(),
            affinity=request.affinity,
        )
        active = ActiveTask.new(facts, stored_options(request))
        self._messages.began(active)
        message = evolve(message, task_id=facts.task_id, context_id=facts.context_id)
        status = TaskStatus(state=TaskState.SUBMITTED, timestamp=self._now())
        active.publish([StatusChanged(status=status), MessageAdded(message)])
        self._runner.start(active, request)
        return active

    async def _continued(self, request: AgentRequest, task_id: str, presentation: Presentation) -> ActiveTask:
        """The task that a message continues. Raises `ProtocolError`, which says why it cannot."""
        message = request.message
        active = await self.find(request.principal, task_id)
        if message.context_id not in (None, active.facts.context_id):
            raise invalid(("message", "contextId"), "is not the context of message.taskId")
        if active.has_message(message.message_id):
            return active
        if self._registry.is_elsewhere(active):
            relayed = await self._relayed(request, task_id, presentation)
            if relayed is not None:
                return relayed
            active = await self.find(request.principal, task_id)
        message = evolve(message, task_id=task_id, context_id=active.facts.context_id)
        state, running = active.log.state, self._registry.running(task_id)
        waits = running if state is TaskState.INPUT_REQUIRED else None
        if waits is not None and await from_store(self._hooks.answer(waits, message)):
            return active
        if state is TaskState.AUTH_REQUIRED and active.at_rest and running is None:
            return await self._again(active, message, request.trace)
        raise _not_continued(active)

    async def _again(self, active: ActiveTask, message: Message, trace: TraceContext | None) -> ActiveTask:
        """Try once more what could not be done for want of credentials."""
        self._hooks.check_reached(active)
        request = self._request_again(active, message)
        request.trace = trace
        if not self._hooks.restore(request):
            await self._agent.accept(request)
        async with Holding(self._registry.resting(active.facts.task_id)):
            # another message, or its cancellation, may have come first
            active = await self.find(active.facts.principal, active.facts.task_id)
            if active.has_message(message.message_id):
                return active
            if not (active.log.state is TaskState.AUTH_REQUIRED and active.at_rest):
                raise _not_continued(active)
            self._check_open()
            active.options.update(stored_options(request))
            status = TaskStatus(state=TaskState.WORKING, timestamp=self._now())
            last = active.visible
            active.publish([MessageAdded(message), StatusChanged(status=status)])  # nobody is to see it wait any more
            self._runner.start(active, request)
            await self._messages.findable(active, last)
        await from_store(self._notifier.go_on(active))
        return active

    def _request_again(self, active: ActiveTask, message: Message | None = None) -> AgentRequest:
        """Make the request of a task again, with another message if there is one.

        Raises `LocalError` where the first message is gone.
        """
        first = first_message(active.task(), active.facts.message_id)
        if first is None:
            raise LocalError("its message is gone")
        send = SendRequest(message=message or first)
        return AgentRequest(
            principal=active.facts.principal,
            send=send,
            options=requested_options(active),
            trace=active.trace,
            affinity=active.facts.affinity,
        )

    def _now(self) -> str:
        return timestamp(self._wall())

    def _arrived(self) -> int:
        """When a task arrives, in epoch milliseconds: no two at once, so that their order is known from it."""
        self._newest = max(self._newest + 1, int(self._wall() * 1000))
        return self._newest


def _ambiguous(task_ids: Sequence[str]) -> ProtocolError:
    named = ", ".join(task_ids[:_MOST_NAMED])
    reason = f"is required: {len(task_ids)} tasks of this context wait for an answer ({named})"
    return invalid(("message", "taskId"), reason)


def _not_continued(active: ActiveTask) -> ProtocolError:
    state = active.log.state
    reason = (
        f"is {state.value}: start a new task in its context"
        if state.terminal
        else "is being worked on: wait for its end, then start a new task in its context"
    )
    return ProtocolError(
        ErrorKind.UNSUPPORTED_OPERATION,
        f"message.taskId: the task {reason}",
        metadata={"taskId": active.facts.task_id, "state": state.value},
    )
