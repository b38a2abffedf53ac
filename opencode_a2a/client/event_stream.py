"""A stream of a task's events that outlives its connections: it resumes, reads the task, and ends with the task.

`sansio.a2a.client.following` decides; this asks the agent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol, Self

import anyio
import anyio.to_thread
from attrs import define, field

from opencode_a2a.client.answer import Answer
from opencode_a2a.client.web import LARGE_ANSWER, Web, parsed
from sansio.a2a.bindings.extension_headers import HEADER_OF as EXTENSION_HEADERS
from sansio.a2a.cards.parse import Interface
from sansio.a2a.client.calls import HttpCall, StreamReader, read_answer
from sansio.a2a.client.client_errors import ClientError
from sansio.a2a.client.following import Action, Following, Read, Stop, Subscribe
from sansio.a2a.model import StreamItem, Task, TaskStatus


class FollowedAgent(Protocol):
    """The agent whose task is followed."""

    @property
    def interface(self) -> Interface: ...

    @property
    def web(self) -> Web: ...

    def subscription(self, task_id: str, last_event_id: str = "") -> HttpCall: ...

    async def get_task(self, task_id: str) -> Task: ...


@define(eq=False, kw_only=True)
class EventStream:
    """An async iterator of what a task sends: `Task`, `Message`, `StatusUpdate`, `ArtifactUpdate`.

    It ends where the task has ended or waits for its user. A stream that breaks is resumed after its last event; an
    agent that has no streams is asked now and then. Raises the errors of `ClientError` where nothing helps.
    """

    _agent: FollowedAgent
    _following: Following
    _first: HttpCall | None  # the message; None: a subscription
    _streaming: bool
    _on_break: Callable[[ClientError], None] | None = None
    _next: Action | None = field(default=None, init=False)  # None: the message is to be sent
    _answer: Answer | None = field(default=None, init=False)
    _reader: StreamReader | None = field(default=None, init=False)
    _items: deque[StreamItem] = field(factory=deque, init=False)
    _failure: ClientError | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)

    @property
    def task_id(self) -> str | None:
        """The task's id, once it is known."""
        return self._following.task_id

    @property
    def context_id(self) -> str | None:
        """The id of the task's context, once it is known."""
        return self._following.context_id

    @property
    def status(self) -> TaskStatus | None:
        """The last status of the task."""
        return self._following.status

    @property
    def last_event_id(self) -> str:
        """The id of the last event that has one; empty: none had. A later subscription can begin after it."""
        return self._following.last_event_id

    def answered(self) -> None:
        """Note that what the task waits for was sent to it meanwhile: it does not end here."""
        self._following.answering = self._following.status

    def unanswered(self) -> None:
        """Note that the answer was not taken."""
        self._following.answering = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamItem:
        while not self._items:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if self._ended:
                raise StopAsyncIteration
            await self._advance()
        return self._items.popleft()

    async def close(self) -> None:
        """End the stream; the task goes on."""
        self._ended = True
        answer, self._answer = self._answer, None
        if answer is not None:
            await answer.close()

    # --- steps --------------------------------------------------------------------------------------------

    async def _advance(self) -> None:
        """Do one step: read a piece of the stream, or begin what comes after it."""
        following = self._following
        try:
            if self._answer is not None:
                await self._read_piece(self._answer)
            elif self._next is None:
                await self._begin()
            else:
                await self._act(self._next)
        except ClientError as error:
            await self._drop()
            broken = following.task_id is not None and not following.rests
            try:
                following.failed(error, anyio.current_time())
            except ClientError as final:
                self._failure, self._ended = final, True
                return
            if broken and self._on_break is not None:
                self._on_break(error)
        if self._answer is None:
            self._next = following.next()
            self._ended = isinstance(self._next, Stop)

    async def _begin(self) -> None:
        agent, now = self._agent, anyio.current_time()
        if self._first is None:
            self._next = self._following.resume(now, self._following.last_event_id)
            await self._act(self._next)
            return
        self._following.begin(now, streaming=self._streaming)
        if self._streaming:
            await self._open(self._first)
            return
        patience = agent.web.options.patience
        whole = await agent.web.read(self._first, silence=patience)
        answer = await parsed(partial(read_answer, agent.interface), whole)
        self._items += self._following.feed(answer)
        self._following.ended(anyio.current_time())

    async def _act(self, action: Action) -> None:
        agent, following = self._agent, self._following
        assert following.task_id is not None  # what follows a task knows which
        if isinstance(action, Subscribe):
            await anyio.sleep(action.pause)
            await self._open(agent.subscription(following.task_id, action.last_event_id))
        elif isinstance(action, Read):
            await anyio.sleep(action.pause)
            task = await agent.get_task(following.task_id)
            self._items += following.read(task, anyio.current_time())

    async def _open(self, call: HttpCall) -> None:
        agent = self._agent
        answer: Answer | None = await agent.web.ask(call)
        assert answer is not None
        try:
            if not answer.streams:
                with anyio.fail_after(agent.web.options.timeout):
                    await answer.check_postponed()
                    body = await answer.read()
                item = await parsed(partial(read_answer, agent.interface), (answer.status, body))
                self._items += self._following.feed(item)
                self._following.ended(anyio.current_time(), whole=True)
                return
            await answer.begin()
            activated = answer.headers.get(EXTENSION_HEADERS[agent.interface.version], "").split(",")
            stays_open = any(uri.strip() in agent.web.options.stay_open for uri in activated)
            self._reader = StreamReader(agent.interface, stays_open=stays_open)
            self._following.subscribed()
            self._answer, answer = answer, None
        except TimeoutError:
            raise agent.web.late(call) from None
        finally:
            if answer is not None:
                await answer.close()

    async def _read_piece(self, answer: Answer) -> None:
        assert self._reader is not None  # it was made with the answer
        piece = await answer.piece()
        if piece is not None:
            if self._reader.held > LARGE_ANSWER:
                over = await anyio.to_thread.run_sync(self._take, self._reader, piece)
            else:
                over = self._take(self._reader, piece)
            if not over:
                self._following.looked(anyio.current_time())
                return
        else:
            answer.check_end()
        await self._drop()
        self._following.ended(anyio.current_time())

    def _take(self, reader: StreamReader, piece: bytes) -> bool:
        """Take a piece of the stream; return whether the rest of it is of no use."""
        for item in reader.feed(piece):
            self._items += self._following.feed(item, reader.last_id)
            if self._following.over:
                return True
        return False

    async def _drop(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            await answer.close()
