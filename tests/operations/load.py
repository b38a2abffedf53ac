"""The steady load of the day: clients of the library that stream, resume, and look afterwards whether all is there.

Each has one stream after another. What the stand-in for OpenCode remembers is the truth that answers are held to.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import anyio
import httpx
from anyio.abc import TaskGroup
from attrs import define, field, frozen

from opencode_a2a.client import ClientOptions, RemoteAgent, connect
from opencode_a2a.fake_opencode import FakeOpenCode, Prompt, Say, Script, words
from sansio.a2a.client.client_errors import AgentError, AuthenticationError, ClientError, UnavailableError
from sansio.a2a.model import Message, Role, Task, TaskState, TextPart
from sansio.redact import Secret
from tests.operations.records import Connection, End, Record
from tests.shell.folding import text_of

BOUND: Final = 60.0
"""Seconds within which a stream has to be whole, whatever happens to the server."""

WORD: Final = "PACED"
WIRES: Final = tuple((version, binding) for version in ("0.3", "1.0") for binding in ("JSONRPC", "HTTP+JSON"))
_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0


def paced(prompt: Prompt) -> Script:
    """Says so many tokens, each with the tag: `PACED COUNT TAG`."""
    count, tag = prompt.rest.split()
    return Script(((Say(words(answer(tag, int(count)))),),))


def answer(tag: str, tokens: int) -> str:
    """The answer to a message with a tag."""
    return " ".join(f"{tag}.{number}" for number in range(tokens))


@define
class Key:
    """A principal's credential. `token` is what its clients use from now on; `is_gone`: no other will follow."""

    principal: str
    token: str = field(repr=False)
    is_gone: bool = False


class _TappedBody(httpx.AsyncByteStream):
    """The body of an answer, whose pieces are noted as they pass."""

    def __init__(self, body: httpx.AsyncByteStream, connection: Connection) -> None:
        self._body = body
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            self._connection.feed(piece)
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


class Tap(httpx.AsyncHTTPTransport):
    """Carries the requests of one client, and notes the ids of the events that come back in `connections`."""

    def __init__(self, verify: ssl.SSLContext, connections: list[Connection]) -> None:
        super().__init__(verify=verify)
        self._connections = connections

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            return response
        after = request.headers.get("last-event-id")
        connection = Connection(None if after is None else int(after))
        self._connections.append(connection)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_TappedBody(response.stream, connection),
            extensions=response.extensions,
        )


@frozen(kw_only=True)
class Target:
    """The agent that is called. `tokens`: the number of tokens of each answer."""

    url: str
    verify: ssl.SSLContext
    opencode: FakeOpenCode
    tokens: int

    def truth(self, tag: str) -> tuple[int, str]:
        """The number of prompts with a tag that the stand-in got, and the text with which it answered them."""
        prompts, texts = 0, []
        for session in self.opencode.sessions.values():
            ids = {message.id for message in session.messages if message.text.split()[-1:] == [tag]}
            prompts += len(ids)
            texts += [message.text for message in session.messages if message.info.get("parentID") in ids]
        return prompts, "".join(texts)


@define(eq=False, kw_only=True)
class Client:
    """A client with one stream after another, in one context."""

    load: Load
    number: int
    key: Key
    context_id: str = field(factory=lambda: str(uuid.uuid4()))

    @property
    def wire(self) -> tuple[str, str]:
        """The protocol version and the binding that it uses."""
        return WIRES[self.number % len(WIRES)]

    async def run(self, first_pause: float) -> None:
        """Stream until the load ends, or the credential is revoked."""
        await anyio.sleep(first_pause)
        count = 0
        while True:
            await self.load.may_begin.wait()
            if self.load.ended or self.key.is_gone:
                return
            count += 1
            record = Record(
                tag=f"t{self.number}x{count}",
                message_id=str(uuid.uuid4()),
                wire=" ".join(self.wire),
                principal=self.key.principal,
            )
            self.load.records.append(record)
            with anyio.move_on_after(BOUND) as scope:
                await self._follow(record)
            if scope.cancelled_caught:
                record.end, record.reason = End.LOST, f"not whole after {BOUND:g} s"
            record.ended = anyio.current_time()
            self.load.settled()

    # --- one stream ---------------------------------------------------------------------------------------

    async def _follow(self, record: Record) -> None:
        try:
            while not await self._stream(record):
                pass
            if record.end is None:
                await self._compare(record)
        except AuthenticationError as error:
            record.end = End.REVOKED if self.key.is_gone else End.LOST
            record.reason = str(error)
        except ClientError as error:
            record.end, record.reason = End.LOST, f"{type(error).__name__}: {error}"

    async def _stream(self, record: Record) -> bool:
        """Read until the stream ends; return False where it is to be asked for again. Raises `ClientError`."""
        token = self.key.token
        try:
            async with self._agent(token, record.connections) as agent:
                await self._read(agent, record)
        except AuthenticationError:
            if self.key.token == token:
                raise
            return False  # as documented: resumed with another valid credential
        except UnavailableError as error:
            if record.task_id:
                raise  # the library has given up
            # Nobody has answered: the same message, with the same id, is sent again and runs once.
            self.load.postponed += 1
            wait = (error.retry_after if isinstance(error, AgentError) else None) or _PAUSE
            await anyio.sleep(min(wait, _LONGEST_PAUSE))
            return False
        return True

    async def _read(self, agent: RemoteAgent, record: Record) -> None:
        if record.task_id:
            opening = agent.subscribe(record.task_id, last_event_id=record.last_event_id)
        else:
            text = TextPart(text=f"{WORD} {self.load.target.tokens} {record.tag}")
            message = Message(message_id=record.message_id, role=Role.USER, parts=(text,), context_id=self.context_id)
            opening = agent.stream(message)
        async with opening as events:
            try:
                async for item in events:
                    record.take(item)
            finally:
                record.last_event_id = events.last_event_id

    async def _compare(self, record: Record) -> None:
        """Hold the stream to what the stand-in said, to the task, and to the events that the server kept."""
        prompts, text = self.load.target.truth(record.tag)
        while (task := await self._look_again(record)) is None:  # noqa: ASYNC110 - the server comes back
            await anyio.sleep(_PAUSE)
        wrong = {
            f"{prompts} prompts": prompts != 1,
            f"ended as {record.state}": record.state is not TaskState.COMPLETED,
            f"{len(record.text)} of {len(text)} characters": record.text != text,
            "the task has another text": text_of(task) != text,
            "the answer is not the script's": text != answer(record.tag, self.load.target.tokens),
        }
        record.reason = "; ".join(reason for reason, holds in wrong.items() if holds)
        record.end = End.LOST if record.reason else End.WHOLE

    async def _look_again(self, record: Record) -> Task | None:
        """Read the task, and its events from the first one on; None where the server is not there or not that far.

        A task that ended after a backup is at work again once that is restored, until OpenCode's session was read.
        """
        repeated: list[Connection] = []
        token = self.key.token
        try:
            async with self._agent(token, repeated) as agent:
                task = await agent.get_task(record.task_id)
                if record.restored and not task.status.state.terminal:
                    return None
                if not record.restored:
                    async with agent.subscribe(record.task_id, last_event_id=str(record.first_id)) as events:
                        async for _ in events:
                            pass
                    record.replayed = [number for connection in repeated for number in connection.fresh]
                return task
        except UnavailableError:
            return None
        except AuthenticationError:
            if self.key.token == token:
                raise
            return None

    @asynccontextmanager
    async def _agent(self, token: str, connections: list[Connection]) -> AsyncGenerator[RemoteAgent]:
        version, binding = self.wire
        options = ClientOptions(
            version=version, bindings=(binding,), bearer=Secret(token), timeout=30, patience=BOUND
        )
        tap = Tap(self.load.target.verify, connections)
        async with connect(self.load.target.url, options, transport=tap) as agent:
            yield agent


@define(eq=False, kw_only=True)
class Load:
    """All clients of the day. `postponed`: messages that were sent again because nobody had answered."""

    target: Target
    records: list[Record] = field(factory=list)
    postponed: int = 0
    ended: bool = False
    may_begin: anyio.Event = field(factory=anyio.Event)
    _clients: int = field(default=0, init=False)
    _settled: anyio.Event = field(factory=anyio.Event, init=False)

    def add(self, tasks: TaskGroup, key: Key, count: int, over: float) -> None:
        """Start `count` clients of a principal, the first streams spread over so many seconds."""
        for index in range(count):
            client = Client(load=self, number=self._clients, key=key)
            self._clients += 1
            tasks.start_soon(partial(client.run, over * index / count))

    def begin(self) -> None:
        """Let clients begin streams."""
        self.may_begin.set()

    def pause(self) -> None:
        """Begin no more streams; those that are open go on."""
        if self.may_begin.is_set():
            self.may_begin = anyio.Event()

    def finish(self) -> None:
        """Begin no more streams, for good."""
        self.ended = True
        self.may_begin.set()

    def settled(self) -> None:
        """Note that a stream has come to its end."""
        self._settled.set()
        self._settled = anyio.Event()

    @property
    def open(self) -> tuple[Record, ...]:
        """The streams that are open now."""
        return tuple(record for record in self.records if record.is_open)

    async def until_open(self, count: int) -> tuple[Record, ...]:
        """Wait until so many streams are open at once; return them."""
        with anyio.fail_after(BOUND):
            while len(found := self.open) < count:  # noqa: ASYNC110 - streams begin without an event
                await anyio.sleep(0.01)
        return found

    async def until_settled(self, records: tuple[Record, ...]) -> None:
        """Wait until these streams are whole, lost or revoked."""
        with anyio.fail_after(2 * BOUND):
            while any(record.end is None for record in records):
                await self._settled.wait()
