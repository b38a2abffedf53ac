"""The tool's endpoint over real sockets: who may enter, calls with progress, cancellation, and every way to leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import anyio
import httpx
import orjson
import pytest
from attrs import define, field

from opencode_a2a.server.http.asgi import Receive, Scope, Send
from opencode_a2a.tool import mcp_endpoint, peer_calls
from opencode_a2a.tool.mcp_endpoint import TOOL_PATH, ToolEndpoint
from opencode_a2a.tool.peer_calls import PeerCalls, PeerRefusedError
from sansio.a2a.bindings.sse import SseDecoder
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.client.client_errors import AuthenticationError, ClientError, TimedOutError
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    Message,
    Role,
    StatusUpdate,
    StreamItem,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.tool.arguments import CallArguments
from sansio.a2a.tool.hops import HOP_LIMIT
from sansio.guards.proxies import TrustedProxies, parse_networks
from tests.shell.cases import each_value
from tests.shell.harness import DEADLINE, served, until

BOTH = "application/json, text/event-stream"


def working(text: str) -> StatusUpdate:
    message = Message(message_id="m", role=Role.AGENT, parts=(TextPart(text=text),))
    return StatusUpdate(task_id="t", context_id="c", status=TaskStatus(state=TaskState.WORKING, message=message))


def done(text: str) -> list[StreamItem]:
    artifact = Artifact(artifact_id="a", parts=(TextPart(text=text),))
    return [
        ArtifactUpdate(task_id="t", context_id="c", artifact=artifact),
        StatusUpdate(task_id="t", context_id="c", status=TaskStatus(state=TaskState.COMPLETED)),
    ]


@define(eq=False)
class Agents:
    """Scripted agents: `items` are sent, and where `held` is not set the last comes only after it."""

    items: list[StreamItem] = field(factory=lambda: [working("thinking"), *done("Hello")])
    error: Exception | None = None
    held: anyio.Event | None = None
    messages: list[Message] = field(factory=list)
    cancelled: list[str] = field(factory=list)

    @asynccontextmanager
    async def borrow(self, arguments: CallArguments) -> AsyncIterator[Agents]:
        if self.error is not None:
            raise self.error
        yield self

    @asynccontextmanager
    async def stream(self, message: Message) -> AsyncIterator[AsyncIterator[StreamItem]]:
        self.messages.append(message)
        yield Items(self.items, self.held)

    async def cancel_task(self, task_id: str) -> Task:
        self.cancelled.append(task_id)
        return Task(id=task_id, context_id="c", status=TaskStatus(state=TaskState.CANCELED))


class Items:
    """Yields items; waits before the second."""

    def __init__(self, items: list[StreamItem], held: anyio.Event | None) -> None:
        self._items = iter(items)
        self._held = held
        self._count = 0

    def __aiter__(self) -> Items:
        return self

    async def __anext__(self) -> StreamItem:
        self._count += 1
        if self._held is not None and self._count > 1:
            await self._held.wait()
        item = next(self._items, None)
        if item is None:
            raise StopAsyncIteration
        return item


@define(eq=False)
class Origin:
    """An origin, and the finder of it."""

    hops: int = 0
    trace: TraceContext | None = None
    shown: list[str] = field(factory=list)
    scope: anyio.CancelScope | None = None

    async def find(self, arguments: Mapping[str, object]) -> Origin:
        return self

    @contextmanager
    def attached(self, scope: anyio.CancelScope) -> Iterator[None]:
        self.scope = scope
        yield

    def progress(self, text: str) -> None:
        self.shown.append(text)


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind the endpoint."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"behind"})


@define(eq=False)
class Server:
    url: str
    endpoint: ToolEndpoint
    agents: Agents
    origin: Origin
    calls: PeerCalls
    http: httpx.AsyncClient
    session: str = ""

    def headers(self, **more: str) -> dict[str, str]:
        given = {"authorization": f"Bearer {self.endpoint.secret.reveal()}", "accept": BOTH}
        given |= {"mcp-session-id": self.session} if self.session else {}
        return given | more

    async def post(self, method: str, number: int | None = None, **params: Any) -> httpx.Response:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        body = message if number is None else message | {"id": number}
        return await self.http.post(TOOL_PATH, json=body, headers=self.headers())

    async def open(self, version: str = "2025-11-25") -> None:
        self.session = ""
        response = await self.post("initialize", 0, protocolVersion=version)
        self.session = response.headers["mcp-session-id"]

    @asynccontextmanager
    async def call(self, number: int = 1, **arguments: Any) -> AsyncIterator[Messages]:
        params = {"name": "call", "arguments": arguments, "_meta": {"progressToken": number}}
        body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        async with self.http.stream("POST", TOOL_PATH, json=body, headers=self.headers()) as response:
            assert response.status_code == 200
            stream = Messages(response)
            try:
                yield stream
            finally:
                await stream.leave()

    async def result(self, number: int = 1, **arguments: Any) -> dict[str, Any]:
        async with self.call(number, **arguments) as stream:
            [response] = [message async for message in stream if "id" in message]
        result: dict[str, Any] = response["result"]
        return result


class Messages:
    """The messages of an answer in events."""

    def __init__(self, response: httpx.Response) -> None:
        self._chunks = response.aiter_bytes()
        self._decoder = SseDecoder()
        self._ready: list[dict[str, Any]] = []

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> dict[str, Any]:
        while not self._ready:
            self._ready += [orjson.loads(event.data) for event in self._decoder.feed(await anext(self._chunks))]
        return self._ready.pop(0)

    async def leave(self) -> None:
        """Cancel the next read: only that ends all the iterators of httpx."""
        with anyio.CancelScope() as scope:
            scope.cancel()
            async for _ in self._chunks:
                pass


Start = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture
def start(anyio_backend: str) -> Start:
    @asynccontextmanager
    async def starting(agents: Agents | None = None, origin: Origin | None = None) -> AsyncIterator[Server]:
        agents, origin = agents or Agents(), origin or Origin()
        calls = PeerCalls(agents, origin)
        endpoint = ToolEndpoint(calls, version="1", describe=lambda: "calls agents", anywhere=False)
        async with served(anyio_backend, endpoint.before(behind)) as url, httpx.AsyncClient(base_url=url) as http:
            server = Server(url, endpoint, agents, origin, calls, http)
            await server.open()
            yield server

    return starting


async def test_the_tool_is_listed(start: Start) -> None:
    async with start() as server:
        [tool] = (await server.post("tools/list", 1)).json()["result"]["tools"]

    assert tool["name"] == "call"
    assert tool["description"] == "calls agents"
    assert tool["inputSchema"]["required"] == ["message"]


async def test_a_call_brings_the_agents_answer(start: Start) -> None:
    async with start(origin=Origin(hops=1)) as server:
        result = await server.result(url="http://peer", message="hi", context_id="c")

    assert result["content"][0]["text"].endswith("Hello")
    assert result["structuredContent"]["task_id"] == "t"
    assert "isError" not in result
    [sent] = server.agents.messages
    assert (sent.context_id, sent.task_id, sent.role) == ("c", None, Role.USER)
    assert sent.metadata == {"shared": {"a2a_call": {"hops": 2}}}
    assert server.agents.cancelled == []


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({}, TOOL_PATH),
        ({"authorization": "Bearer wrong"}, TOOL_PATH),
        ({"authorization": "SECRET", "origin": "http://evil.example"}, TOOL_PATH),
        ({"authorization": "SECRET"}, "/mcp"),
    ],
    ids=["none", "wrong", "browser", "other path"],
)
async def test_others_meet_the_application_behind(start: Start, headers: dict[str, str], path: str) -> None:
    async with start() as server:
        secret = f"Bearer {server.endpoint.secret.reveal()}"
        given = {name: value.replace("SECRET", secret) for name, value in headers.items()}
        response = await server.http.post(path, json={}, headers=given)

    assert (response.status_code, response.text) == (401, "behind")


async def test_two_authorizations_are_none(start: Start) -> None:
    async with start() as server:
        secret = f"Bearer {server.endpoint.secret.reveal()}"
        response = await server.http.post(
            TOOL_PATH, json={}, headers=[("authorization", secret), ("authorization", secret)]
        )

    assert response.status_code == 401


async def test_the_secret_is_not_shown(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "opencode_a2a")
    async with start() as server:
        await server.result(url="http://peer", message="hunter2")
        secret = server.endpoint.secret.reveal()

    assert len(secret) >= 32
    assert secret not in repr(server.endpoint.secret)
    assert secret not in caplog.text
    assert "hunter2" not in caplog.text
    assert "http://peer" not in caplog.text


async def test_progress_reaches_the_model_and_the_turn(start: Start) -> None:
    held = anyio.Event()
    async with start(Agents(held=held)) as server, server.call(url="http://peer", message="hi") as stream:
        first = await anext(stream)
        assert first["method"] == "notifications/progress"
        assert first["params"] == {"progressToken": 1, "progress": 1, "message": "thinking"}
        assert server.origin.shown == ["thinking"]
        held.set()
        rest = [message async for message in stream]

    assert "Hello" in rest[-1]["result"]["content"][0]["text"]


async def test_a_silent_call_shows_signs_of_life(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_endpoint, "SIGN_OF_LIFE", 0.05)
    held = anyio.Event()
    async with (
        start(Agents(items=done("Hi"), held=held)) as server,
        server.call(url="http://peer", message="hi") as stream,
    ):
        assert (await anext(stream))["method"] == "notifications/progress"
        assert (await anext(stream))["method"] == "notifications/progress"
        held.set()
        assert [message async for message in stream][-1]["id"] == 1


async def test_a_cancelled_call_cancels_the_agents_task_and_ends_its_answer(start: Start) -> None:
    async with start(Agents(held=anyio.Event())) as server:
        async with server.call(7, url="http://peer", message="hi") as stream:
            await anext(stream)
            cancelled = await server.post("notifications/cancelled", requestId=7, reason="AbortError")
            rest = [message async for message in stream if "id" in message]
        await until(lambda: server.calls.running == 0)

    assert cancelled.status_code == 202
    assert rest == []
    assert server.agents.cancelled == ["t"]


async def test_a_call_is_cancelled_by_the_batch_that_it_came_in(start: Start) -> None:
    params = {"name": "call", "arguments": {"url": "http://peer", "message": "hi"}}
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
    ]
    async with start(Agents(held=anyio.Event())) as server:
        await server.open("2025-03-26")
        with anyio.fail_after(DEADLINE):
            answered = await server.http.post(TOOL_PATH, json=batch, headers=server.headers())

    assert answered.text == ""
    assert server.calls.running == 0


async def test_a_client_that_leaves_cancels_its_calls(start: Start) -> None:
    async with start(Agents(held=anyio.Event())) as server:
        async with server.call(url="http://peer", message="hi") as stream:
            await anext(stream)
        await until(lambda: server.agents.cancelled == ["t"])
        await until(lambda: server.calls.running == 0)


async def test_the_end_of_the_turn_cancels_its_calls(start: Start) -> None:
    async with start(Agents(held=anyio.Event())) as server, server.call(url="http://peer", message="hi") as stream:
        await anext(stream)
        assert server.origin.scope is not None
        server.origin.scope.cancel()
        rest = [message async for message in stream if "id" in message]

    assert rest[0]["result"]["isError"]
    assert server.agents.cancelled == ["t"]


async def test_the_end_of_the_session_cancels_its_calls(start: Start) -> None:
    async with start(Agents(held=anyio.Event())) as server, server.call(url="http://peer", message="hi") as stream:
        await anext(stream)
        ended = await server.http.request("DELETE", TOOL_PATH, headers=server.headers())
        await until(lambda: server.agents.cancelled == ["t"])

    assert ended.status_code == 204


async def test_a_cancelled_call_of_a_client_without_events_is_answered(start: Start) -> None:
    async with start(Agents(held=anyio.Event())) as server, anyio.create_task_group() as tasks:
        answers: list[httpx.Response] = []

        async def call() -> None:
            params = {"name": "call", "arguments": {"url": "http://peer", "message": "hi"}}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            headers = server.headers(accept="application/json")
            answers.append(await server.http.post(TOOL_PATH, json=body, headers=headers))

        tasks.start_soon(call)
        await until(lambda: server.agents.messages)
        await server.post("notifications/cancelled", requestId=1)

    assert answers[0].json()["error"]["code"] == -32603


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AuthenticationError("no"), "a2a_peer_auth_failed"),
        (TimedOutError("late"), "a2a_timeout"),
        (ClientError("broken"), "a2a_call_failed"),
        (PeerRefusedError("private"), "a2a_target_refused"),
        (RuntimeError("a bug with hunter2"), "a2a_call_failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_a_failed_call_is_an_error_of_the_tool(start: Start, error: Exception, code: str) -> None:
    async with start(Agents(error=error)) as server:
        result = await server.result(url="http://peer", message="hi")

    assert result["isError"]
    assert result["content"][0]["text"].startswith(f"{code}: ")
    assert result["structuredContent"]["error_code"] == code
    assert "hunter2" not in result["content"][0]["text"]


async def test_arguments_that_are_missing_are_named(start: Start) -> None:
    async with start() as server:
        result = await server.result(message="hi")

    assert result["structuredContent"]["error_code"] == "a2a_missing_required_input"
    assert server.agents.messages == []


async def test_a_call_through_too_many_agents_is_refused(start: Start) -> None:
    async with start(origin=Origin(hops=HOP_LIMIT)) as server:
        result = await server.result(url="http://peer", message="hi")

    assert result["structuredContent"]["error_code"] == "a2a_too_many_hops"
    assert server.agents.messages == []


async def test_a_call_has_a_limit_of_time(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_calls, "LONGEST_CALL", 0.1)
    async with start(Agents(held=anyio.Event())) as server:
        result = await server.result(url="http://peer", message="hi")

    assert result["structuredContent"]["error_code"] == "a2a_timeout"
    assert server.agents.cancelled == ["t"]


async def test_calls_at_a_time_are_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_calls, "MOST_CALLS", 1)
    async with start(Agents(held=anyio.Event())) as server, server.call(1, url="http://peer", message="hi") as stream:
        await anext(stream)
        result = await server.result(2, url="http://peer", message="hi")

    assert result["structuredContent"]["error_code"] == "a2a_call_failed"


async def test_a_stream_of_pushes_is_not_offered(start: Start) -> None:
    async with start() as server:
        response = await server.http.get(TOOL_PATH, headers=server.headers())

    assert response.status_code == 405


@each_value(
    "client, server, anywhere, enters",
    [
        (("127.0.0.9", 5), ("127.0.0.1", 80), False, True),
        (("::1", 5), ("::1", 80), False, True),
        (("::ffff:127.0.0.1", 5), ("::", 80), False, True),
        (("192.0.2.7", 5), ("192.0.2.7", 80), False, True),
        (("192.0.2.8", 5), ("192.0.2.7", 80), False, False),
        (("192.0.2.8", 5), ("192.0.2.7", 80), True, True),
        (None, None, False, False),
        (("socket", 5), None, False, False),
    ],
)
async def test_the_secret_is_taken_from_this_machine_alone(
    anyio_backend: str,
    client: object,
    server: object,
    anywhere: bool,
    enters: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    agents, origin = Agents(), Origin()
    endpoint = ToolEndpoint(PeerCalls(agents, origin), version="1", describe=lambda: "", anywhere=anywhere)
    secret = f"Bearer {endpoint.secret.reveal()}".encode()
    scope = {"type": "http", "method": "GET", "path": TOOL_PATH, "headers": [(b"authorization", secret)]}
    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    for _ in range(2):
        await endpoint.before(behind)({**scope, "client": client, "server": server}, receive, send)

    assert statuses == ([405] if enters else [401]) * 2
    warned = [] if enters else ["A2A_TOOL_URL"]  # once, however often it is refused
    assert [record.getMessage().split()[-1] for record in caplog.records] == warned


@each_value(
    "trusted, name, forwarded, enters",
    [
        ("127.0.0.1", b"x-forwarded-for", [], True),
        ("127.0.0.1", b"x-forwarded-for", [b"203.0.113.7"], False),
        ("127.0.0.1", b"x-forwarded-for", [b"127.0.0.1, 203.0.113.7"], False),
        ("127.0.0.1", b"x-forwarded-for", [b"127.0.0.1"], True),
        ("127.0.0.1", b"x-forwarded-for", [b"unknown"], False),
        ("127.0.0.1", b"X-Forwarded-For", [b"203.0.113.7, 1.2.3.04"], False),
        ("127.0.0.1", b"x-forwarded-proto", [b"https"], False),
        ("127.0.0.1", b"forwarded", [b"for=127.0.0.1"], False),  # of the family that does not count
        ("10.1.0.5", b"x-forwarded-for", [], True),
        ("10.1.0.5", b"x-forwarded-for", [b"127.0.0.1"], False),
        ("10.1.0.5", b"Forwarded", [b"for=203.0.113.7"], False),
    ],
)
async def test_who_calls_by_a_proxy_on_this_machine_is_where_that_one_says(
    anyio_backend: str, trusted: str, name: bytes, forwarded: list[bytes], enters: bool
) -> None:
    proxies = TrustedProxies(parse_networks([trusted]))
    calls = PeerCalls(Agents(), Origin())
    endpoint = ToolEndpoint(calls, version="1", describe=lambda: "", anywhere=False, proxies=proxies)
    headers = [(b"authorization", f"Bearer {endpoint.secret.reveal()}".encode())]
    headers += [(name, text) for text in forwarded]
    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": TOOL_PATH, "headers": headers, "client": ("127.0.0.1", 5)}
    await endpoint.before(behind)({**scope, "server": ("127.0.0.1", 80)}, receive, send)

    assert statuses == ([405] if enters else [401])
