"""One task of `opencode-a2a call`: a message out, what comes of it shown, answers out where it asks, to its end.

Knows no command line, and neither where answers come from nor how anything is printed.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Final

import anyio
import httpx
from attrs import define, field

from opencode_a2a.client.transport import CallError, Web, read_body, read_chunks
from opencode_a2a.terminal.output import Printer
from opencode_a2a.terminal.prompts import Answers
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.backoff import Backoff
from sansio.a2a.bindings.extension_headers import HEADER_OF as EXTENSION_HEADERS
from sansio.a2a.cards.parse import Interface
from sansio.a2a.client.agent_errors import AgentError
from sansio.a2a.client.calls import (
    HttpCall,
    StreamReader,
    get_task_call,
    read_answer,
    read_task_answer,
    send_call,
    subscribe_call,
)
from sansio.a2a.client.input_requests import InputRequest, Reply
from sansio.a2a.client.transcript import Transcript
from sansio.a2a.errors import ProtocolError
from sansio.a2a.media_types import EVENT_STREAM
from sansio.a2a.model import (
    DataPart,
    GetTaskRequest,
    Message,
    Role,
    SendConfiguration,
    SendRequest,
    StreamItem,
    Task,
    TaskIdRequest,
    TaskState,
    TextPart,
)

__all__ = ["Conversation"]

_POLLING: Final = Backoff.growing(0.1, 3.0, factor=1.5)
_RESUMING: Final = Backoff.growing(0.25, 5.0)
_TRY_AGAIN: Final = frozenset({429, 502, 503, 504})
"""The HTTP statuses of an agent that is being restarted, or of what stands before it."""


@define(eq=False, kw_only=True)
class Conversation:
    """A conversation about one task.

    It goes in rounds: a message and what follows it, until the task ends, or waits while there is no stream on which
    it could go on. On a stream that stays open, answers are sent beside it, and the round goes on. `stay_open`:
    the URIs of the extension that keeps streams open.
    """

    web: Web
    interface: Interface
    printer: Printer
    answers: Answers
    streaming: bool
    extensions: Sequence[str] = ()
    stay_open: Collection[str] = ()
    transcript: Transcript = field(factory=Transcript, init=False)
    _news: Wakeup = field(factory=Wakeup, init=False)
    _following: bool = field(default=False, init=False)
    _failure: Exception | None = field(default=None, init=False)
    _asked: InputRequest | None = field(default=None, init=False)  # what the dialogue is about
    _asking: anyio.CancelScope | None = field(default=None, init=False)
    _answered: InputRequest | None = field(default=None, init=False)
    _last_id: str = field(default="", init=False)  # of the last event of a stream
    _changes: int = field(default=0, init=False)  # items of which there was something to say

    async def hold(self, message: Message) -> None:
        """Send the message, and go on until the task has ended or is left waiting. Raises what `Web` and the core do.

        Extensions that the message uses are activated with it.
        """
        self.transcript.task_id = message.task_id
        self.extensions = tuple(dict.fromkeys((*self.extensions, *message.extensions)))
        try:
            outgoing: Message | None = message
            while outgoing is not None:
                answer = await self._round(outgoing)
                outgoing = None if answer is None else self._answer(answer)
        except anyio.get_cancelled_exc_class():
            self._tell_task()
            raise
        if self.transcript.state is not None and self.transcript.state.interrupted:
            task = self.transcript.task_id
            self.printer.note(f"the task is {task}; it waits for a message with --task {task}")

    async def watch(self, task_id: str) -> None:
        """Show a task from now to its end, or until it waits for its user. Raises what `Web` and the core do."""
        self.transcript.task_id = task_id
        await self._stream(self._subscribe(), resuming=True)
        await self._poll()

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

    def _call(self, message: Message, *, streaming: bool, blocking: bool = True) -> HttpCall:
        request = SendRequest(message=message, configuration=SendConfiguration(blocking=blocking))
        return send_call(
            self.interface,
            request,
            request_id=str(uuid.uuid4()),
            streaming=streaming,
            extensions=self.extensions,
        )

    # --- a round ------------------------------------------------------------------------------------------

    async def _round(self, message: Message) -> Reply | None:
        """Send a message and show what comes of it; returns the answer to go on with, if there is one.

        Neither side of it raises into the task group, which would wrap what it raises.
        """
        answer = None
        self._following, self._failure = True, None
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow, message)
            try:
                answer = await self._dialogue()
            except Exception as error:  # whatever it is, it is raised below
                self._failure = error
            group.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        return answer

    async def _follow(self, message: Message) -> None:
        """Show what comes of a message, to its end or to where it is the user's turn and nothing more will come."""
        try:
            try:
                await self._exchange(message)
            except AgentError as error:
                if message.task_id is None or self._answered is None:
                    raise
                await self._go_on_refused(error)
            if self.transcript.task_id is not None and not self._at_rest:
                await self._poll()
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
        try:
            read_answer(self.interface, *await self.web.read(self._call(message, streaming=False, blocking=False)))
        except AgentError as error:
            await self._go_on_refused(error)

    async def _go_on_refused(self, error: AgentError) -> None:
        """Ask again, where an answer was refused and there is somebody to ask. Raises the error where there is not.

        An answer that came too late is no trouble: the task goes on.
        """
        asked = self._answered
        task = await self.read_task()
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

    @property
    def _at_rest(self) -> bool:
        """The task has come to its end, or asks what has not been answered yet."""
        asked = self.transcript.asked
        return self.transcript.settled and (asked is None or asked is not self._answered)

    # --- what comes ---------------------------------------------------------------------------------------

    def _show(self, item: StreamItem) -> None:
        output = self.transcript.feed(item)
        self._changes += bool(output)
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
        if self.streaming:
            await self._stream(self._call(message, streaming=True))
            return
        # not blocking, so that the task is known while it is being worked on; some agents wait all the same
        asked = self._call(message, streaming=False, blocking=False)
        self._show(read_answer(self.interface, *await self.web.read(asked, silence=self.web.target.patience)))

    def _subscribe(self) -> HttpCall:
        assert self.transcript.task_id is not None  # who subscribes has seen a task
        return subscribe_call(
            self.interface,
            TaskIdRequest(id=self.transcript.task_id),
            request_id=str(uuid.uuid4()),
            last_event_id=self._last_id,
            extensions=self.extensions,
        )

    async def _stream(self, asked: HttpCall, *, resuming: bool = False) -> None:
        """Show a stream to its end. One that breaks before the task is over is resumed, with growing pauses.

        Raises `CallError` where there is no task yet, or the task has not changed for as long as is allowed.
        """
        pauses, since = 0, anyio.current_time()
        while True:
            changes = self._changes
            try:
                await (self._follow_again(asked) if resuming else self._read_stream(asked))
            except CallError as trouble:
                now = anyio.current_time()
                if self._changes != changes:
                    pauses, since = 0, now
                if self.transcript.task_id is None or now - since > self.web.target.patience:
                    self._tell_task()
                    raise
                if not pauses:
                    self.printer.detail(f"{trouble}; resuming the stream")
            else:
                return
            await anyio.sleep(_RESUMING.pause(pauses))
            pauses, resuming = pauses + 1, True
            asked = self._subscribe()

    async def _follow_again(self, asked: HttpCall) -> None:
        """Subscribe; where the agent refuses that, show the task as it is, and leave the rest to polling."""
        try:
            await self._read_stream(asked)
        except AgentError as refused:
            try:
                self._show(await self.read_task())
            except AgentError as error:
                if error.http_status not in _TRY_AGAIN:
                    raise
                raise CallError(f"The agent refused: {refused.message}") from None

    async def _read_stream(self, asked: HttpCall) -> None:
        """Show one stream. What goes wrong after the task has ended no longer matters."""
        async with self.web.ask(asked) as response:
            content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code != 200 or content_type != EVENT_STREAM:
                self._show(read_answer(self.interface, response.status_code, await read_body(response)))
                return
            reader = StreamReader(self.interface, stays_open=self._stays_open(response))

            def take(chunk: bytes) -> bool:
                for item in reader.feed(chunk):
                    self._show(item)
                    self._last_id = reader.last_id
                    if self._over:
                        return False
                return True

            try:
                await read_chunks(response, take)
            except (ProtocolError, AgentError):
                if not self.transcript.settled:
                    self._tell_task()
                    raise
            except httpx.HTTPError:
                if not self.transcript.settled:
                    raise
        if not self.transcript.ended and self._answered is None:
            raise CallError("The agent ended the stream before the task was over")

    def _stays_open(self, response: httpx.Response) -> bool:
        """Whether the agent has activated the extension by which its streams do not end where a task asks."""
        activated = response.headers.get(EXTENSION_HEADERS[self.interface.version], "")
        return any(uri.strip() in self.stay_open for uri in activated.split(","))

    @property
    def _over(self) -> bool:
        """Whether more of a stream would be of use: there is none, or nobody can answer what it asks."""
        asked = self.transcript.asked
        return self.transcript.closed or (self.transcript.settled and (asked is None or not self.answers.has(asked)))

    def _tell_task(self) -> None:
        if self.transcript.task_id is not None:
            self.printer.note(f"the task is {self.transcript.task_id}")

    async def read_task(self) -> Task:
        """The task as it is. Raises `CallError`, `AgentError` and `ProtocolError`."""
        assert self.transcript.task_id is not None  # who asks has seen one
        asked = get_task_call(
            self.interface,
            GetTaskRequest(id=self.transcript.task_id),
            request_id=str(uuid.uuid4()),
            extensions=self.extensions,
        )
        return read_task_answer(self.interface, *await self.web.read(asked))

    async def _poll(self) -> None:
        """For agents that say no more before they are done: reads the task until it is, or is stuck for long."""
        before = None
        pauses, since = 0, anyio.current_time()
        while not self._at_rest:
            await anyio.sleep(_POLLING.pause(pauses))
            pauses += 1
            late = anyio.current_time() - since > self.web.target.patience
            try:
                task = await self.read_task()
            except CallError:
                if late:
                    self._tell_task()
                    raise
                continue
            if task != before:
                before, since = task, anyio.current_time()
                self._show(task)
            elif late:
                self._tell_task()
                raise CallError(f"The task has not changed for {self.web.target.patience:g} s")
