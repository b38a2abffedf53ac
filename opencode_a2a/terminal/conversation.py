"""One task of `opencode-a2a call`: a message out, what comes of it shown, answers out where it asks, to its end.

Knows no command line, and neither where answers come from nor how anything is printed.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
from attrs import define, evolve, field

from opencode_a2a.client.event_stream import EventStream
from opencode_a2a.client.remote_agent import RemoteAgent, Sending
from opencode_a2a.terminal.output import Printer
from opencode_a2a.terminal.prompts import Answers
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.client.client_errors import AgentError, ClientError
from sansio.a2a.client.input_requests import InputRequest, Reply
from sansio.a2a.client.transcript import Transcript
from sansio.a2a.model import (
    DataPart,
    Message,
    Role,
    SendConfiguration,
    StreamItem,
    TaskState,
    TaskStatus,
    TextPart,
)

__all__ = ["Conversation"]

_AT_ONCE = SendConfiguration(blocking=False)


@define(eq=False, kw_only=True)
class Conversation:
    """A conversation about one task.

    `left_waiting`: the note where it is left waiting; `{task}` is its id, quoted for a shell.

    It goes in rounds: a message and what follows it, until the task ends, or waits while there is no stream on which
    it could go on. On a stream that stays open, answers are sent beside it, and the round goes on.
    """

    agent: RemoteAgent
    printer: Printer
    answers: Answers
    streaming: bool = True
    left_waiting: str = "the task is {task}; it waits for a message with --task {task}"
    transcript: Transcript = field(factory=Transcript, init=False)
    _news: Wakeup = field(factory=Wakeup, init=False)
    _following: bool = field(default=False, init=False)
    _failure: Exception | None = field(default=None, init=False)
    _asked: InputRequest | None = field(default=None, init=False)  # what the dialogue is about
    _asking: anyio.CancelScope | None = field(default=None, init=False)
    _answered: InputRequest | None = field(default=None, init=False)
    _sending: Sending = field(factory=Sending, init=False)
    _events: EventStream | None = field(default=None, init=False)
    _waits: TaskStatus | None = field(default=None, init=False)  # what the next message answers

    async def hold(self, message: Message) -> None:
        """Send the message, and go on until the task has ended or is left waiting. Raises `ClientError`.

        Extensions that the message uses are activated with it.
        """
        self.transcript.task_id = message.task_id
        self._sending = Sending(extensions=message.extensions)
        await self._rounds(partial(self._exchange, message))

    async def resume(self, task_id: str) -> None:
        """Show a task with what it has said so far, and go on with it as `hold` does."""
        await self._rounds(partial(self.watch, task_id))

    async def cancel(self) -> None:
        """Cancel the task, and show what it is then. Raises `ClientError`."""
        assert self.transcript.task_id is not None  # who cancels has seen a task
        try:
            task = await self.agent.cancel_task(self.transcript.task_id)
        except ClientError:
            state = self.transcript.state
            if state is not None and state.terminal:
                return  # the stream has shown the end before the answer came, and the call has closed the connections
            raise
        self._show(task)

    async def watch(self, task_id: str) -> None:
        """Show a task from now to its end, or until it waits for its user. Raises `ClientError`."""
        self.transcript.task_id = task_id
        async with self.agent.subscribe(task_id, on_break=self._note_break) as self._events:
            await self._show_all(self._events)

    async def _rounds(self, begin: Callable[[], Awaitable[None]]) -> None:
        """Begin, and answer what the task asks until it has ended or is left waiting."""
        try:
            answer = await self._round(begin)
            while answer is not None:
                answer = await self._round(partial(self._exchange, self._answer(answer)))
        except anyio.get_cancelled_exc_class():
            if not self.transcript.settled:
                self._note_task()
            raise
        if self.transcript.state is not None and self.transcript.state.interrupted:
            self.printer.note(self.left_waiting.format(task=shlex.quote(self.transcript.task_id or "")))

    # --- messages -----------------------------------------------------------------------------------------

    def _answer(self, reply: Reply) -> Message:
        """The answer to what is asked; it names the request, where the agent has."""
        transcript = self.transcript
        asked = self._answered = transcript.asked
        named = {"shared": {"interrupt": {"request_id": asked.request_id}}} if asked and asked.request_id else None
        return Message(
            message_id=str(uuid.uuid4()),
            role=Role.USER,
            parts=(TextPart(text=reply.text) if reply.data is None else DataPart(data=reply.data),),
            context_id=transcript.context_id,
            task_id=transcript.task_id,
            metadata=named,
        )

    # --- a round ------------------------------------------------------------------------------------------

    async def _round(self, begin: Callable[[], Awaitable[None]]) -> Reply | None:
        """Send a message, or look at a task, and show what comes of it; return the answer to go on with, if any.

        Neither side of it raises into the task group, which would wrap what it raises.
        """
        answer = None
        self._following, self._failure = True, None
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow, begin)
            try:
                answer = await self._dialogue()
            except Exception as error:  # whatever it is, it is raised below
                self._failure = error
            group.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        return answer

    async def _follow(self, begin: Callable[[], Awaitable[None]]) -> None:
        """Show what comes, to its end or to where it is the user's turn and nothing more will come."""
        try:
            try:
                await begin()
            except AgentError as error:
                if self._answered is None:
                    raise
                await self._go_on_refused(error)
        except Exception as error:  # whatever it is, it is raised by the round
            if not self._to_answer:
                self._failure = error
        finally:
            self._following = False
            self._tell()

    async def _dialogue(self) -> Reply | None:
        """Answer what is asked for as long as there is a stream; the answer, once there is none."""
        while True:
            while self._following and not self._to_answer:
                await self._news.wait()
            asked = self._asked = self._to_answer
            if asked is None or self._failure is not None:
                return None
            answer = await self._obtain(asked)
            if self.transcript.asked is not asked:
                continue  # somebody else has answered
            if answer is None or self.transcript.closed or not self._following:
                return answer
            await self._send_beside(self._answer(answer))

    async def _obtain(self, asked: InputRequest) -> Reply | None:
        """An answer; None: there is none, or it is not asked any more."""
        answer = None
        with anyio.CancelScope() as self._asking:
            answer = await self.answers.to(asked, self.printer)
        self._asking = None
        self.printer.unask()
        return answer

    async def _send_beside(self, message: Message) -> None:
        """Send an answer while its stream is open; its outcome comes in the stream."""
        assert self._events is not None  # there is a stream to send beside
        self._events.answered()
        try:
            await self.agent.send(message, sending=evolve(self._sending, configuration=_AT_ONCE))
        except AgentError as error:
            self._events.unanswered()
            await self._go_on_refused(error)

    async def _go_on_refused(self, error: AgentError) -> None:
        """Ask again, where an answer was refused and there is somebody to ask. Raises the error where there is not.

        An answer that came too late is no trouble: the task goes on.
        """
        asked = self._answered
        assert self.transcript.task_id is not None  # an answer is for a task
        task = await self.agent.get_task(self.transcript.task_id)
        if task.status.state is TaskState.INPUT_REQUIRED and self.transcript.asked is asked:
            if asked is None or self.answers.by_rule(asked) is not None:
                raise error
            self._answered = None
        self.printer.note(f"the answer was not taken: {error.message}")
        self._tell()

    @property
    def _to_answer(self) -> InputRequest | None:
        """The question that has not been answered, and can be."""
        asked = self.transcript.asked
        return asked if asked is not None and asked is not self._answered and self.answers.has(asked) else None

    # --- what comes ---------------------------------------------------------------------------------------

    def _show(self, item: StreamItem) -> None:
        output = self.transcript.feed(item)
        asked = self.transcript.asked
        if asked is not self._asked:
            self.printer.unask()
        self.printer.show(item, output, will_ask=asked is not None and self.answers.asks(asked))
        self._tell()

    def _tell(self) -> None:
        """Wake the dialogue; what is not asked any more need not be answered."""
        if self._asking is not None and self.transcript.asked is not self._asked:
            self._asking.cancel()
        self._news.wake()

    async def _exchange(self, message: Message) -> None:
        opened = self.agent.stream(
            message,
            sending=self._sending,
            streaming=self.streaming,
            answering=self._waits,
            on_break=self._note_break,
        )
        async with opened as self._events:
            await self._show_all(self._events)

    async def _show_all(self, events: EventStream) -> None:
        """Show a stream to its end, or to where nothing more of it is of use."""
        try:
            async for item in events:
                self._show(item)
                if self._over:
                    return
        except ClientError:
            if self.transcript.state is not None:  # of a task that was never seen, the refusal says enough
                self._note_task()
            raise
        finally:
            self._waits = events.status

    def _note_break(self, error: ClientError) -> None:
        refused = isinstance(error, AgentError)  # then the task is read instead, as the agent says
        self.printer.detail(str(error) if refused else f"{error}; resuming the stream")

    @property
    def _over(self) -> bool:
        """Whether more of a stream would be of use: there is none, or nobody can answer what it asks."""
        asked = self.transcript.asked
        return self.transcript.closed or (self.transcript.settled and (asked is None or not self.answers.has(asked)))

    def _note_task(self) -> None:
        if self.transcript.task_id is not None:
            self.printer.note(f"the task is {self.transcript.task_id}")
