"""Serves the agent before a scripted stand-in, and calls it on every line and binding.

Reads answers with the core's parsers, after the published schema has had its say; what a stream adds up to is
worked out here, naively and on its own.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, cast

import anyio
import httpx
import orjson
from attrs import define, field, frozen

import runtime_asyncio
import runtime_trio
from opencode_a2a.agent.application import Running, application
from opencode_a2a.cli.connection_limits import connection_limits
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.server.http.asgi import Asgi
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.a2a.bindings.sse import SseDecoder
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import ArtifactUpdate, StatusUpdate, StreamItem, Task, TextPart
from sansio.access import Credential, CredentialSet
from sansio.extensions.methods.method_rows import MethodExtension
from sansio.transport.connections import ConnectionLimits
from tests import schemas
from tests.shell.folding import folded
from tests.shell.grpc_wire import PREFIX as GRPC_PREFIX
from tests.shell.grpc_wire import GrpcTransport
from tests.shell.round_robin import Replicas
from tests.shell.websocket_wire import PATH as WEBSOCKET_PATH
from tests.shell.websocket_wire import WebSocketTransport

DEADLINE = 30.0  # many: a machine may be busy, and what is waited for comes at once
ALICE, BOB, CAROL = "alice-5f0c9e", "bob-77a1d2", ("carol", "carol-90be13")
CREDENTIALS = CredentialSet(
    (
        Credential.bearer(ALICE, principal="alice", credential_id="a"),
        Credential.bearer(BOB, principal="bob", credential_id="b"),
        Credential.basic(*CAROL, credential_id="c", capabilities=("session_shell", "workspace_mutation")),
    )
)
CLAIMS = {"allow_session_claims": True}
"""Three principals may not claim what nobody owns unless they are allowed to; most tests are about something else."""
_MOST_TESTS = {**CLAIMS, "rate_limit_enabled": False}
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing here speaks TLS, and to load certificates takes long
RUNTIMES: dict[str, Runtime] = {"asyncio": runtime_asyncio, "trio": runtime_trio}


@frozen
class Wire:
    """A protocol version on a binding: how requests are put and answers read.

    `binding`: `rpc` for JSON-RPC, over HTTP or `over_websocket`; `rest` for HTTP+JSON; `grpc`.
    """

    version: str
    binding: str
    over_websocket: bool = False

    def __str__(self) -> str:
        return f"{self.version}-{'websocket' if self.over_websocket else self.binding}"

    def message(self, text: str | None, **more: object) -> dict[str, Any]:
        old = self.version == "0.3"
        body: dict[str, Any] = {"messageId": str(uuid.uuid4()), "role": "user" if old else "ROLE_USER"}
        if text is not None:
            body["parts"] = [{"kind": "text", "text": text} if old else {"text": text}]
        if old:
            body["kind"] = "message"
        return body | more

    def at_once(self) -> dict[str, Any]:
        return {"blocking": False} if self.version == "0.3" else {"returnImmediately": True}


RPC_03, RPC_10 = Wire("0.3", "rpc"), Wire("1.0", "rpc")
REST_03, REST_10 = Wire("0.3", "rest"), Wire("1.0", "rest")
WIRES = (RPC_03, RPC_10, REST_03, REST_10)
"""Those on offer unless others are chosen."""
GRPC_03, GRPC_10 = Wire("0.3", "grpc"), Wire("1.0", "grpc")
WEBSOCKET_03, WEBSOCKET_10 = Wire("0.3", "rpc", over_websocket=True), Wire("1.0", "rpc", over_websocket=True)
HTTP_WIRES = (*WIRES, GRPC_03, GRPC_10)
"""Those on which a call is one HTTP request."""
JSON_WIRES = (*WIRES, WEBSOCKET_03, WEBSOCKET_10)
ALL_WIRES = (*JSON_WIRES, GRPC_03, GRPC_10)

_CONFIGS = "/tasks/{task}/pushNotificationConfigs"
_OPERATIONS: dict[str, tuple[str, str, str, str]] = {
    # each with its name on version 0.3, that on version 1.0, and its HTTP route
    "send": ("message/send", "SendMessage", "POST", "/message:send"),
    "stream": ("message/stream", "SendStreamingMessage", "POST", "/message:stream"),
    "get": ("tasks/get", "GetTask", "GET", "/tasks/{task}"),
    "list": ("tasks/list", "ListTasks", "GET", "/tasks"),
    "cancel": ("tasks/cancel", "CancelTask", "POST", "/tasks/{task}:cancel"),
    "subscribe": ("tasks/resubscribe", "SubscribeToTask", "POST", "/tasks/{task}:subscribe"),
    "push-set": (
        "tasks/pushNotificationConfig/set",
        "CreateTaskPushNotificationConfig",
        "POST",
        _CONFIGS,
    ),
    "push-get": (
        "tasks/pushNotificationConfig/get",
        "GetTaskPushNotificationConfig",
        "GET",
        _CONFIGS + "/{config}",
    ),
    "push-list": ("tasks/pushNotificationConfig/list", "ListTaskPushNotificationConfigs", "GET", _CONFIGS),
    "push-delete": (
        "tasks/pushNotificationConfig/delete",
        "DeleteTaskPushNotificationConfig",
        "DELETE",
        _CONFIGS + "/{config}",
    ),
}
_GRPC_NAMES = {"get": "get_task", "list": "list_tasks"} | {
    f"push-{name}": f"{name}_push_config{'s' if name == 'list' else ''}" for name in ("set", "get", "list", "delete")
}
"""The names of operations in the core, where a test has another."""
_PUSH_IDS = {"0.3": ("id", "pushNotificationConfigId"), "1.0": ("taskId", "id")}
SHARED = "urn:opencode-a2a:extension:session-binding:v1, urn:opencode-a2a:extension:stream-hints:v1"
"""The extensions that give version 1.0 the shared metadata, which version 0.3 has unasked."""
STAYS_OPEN = {
    "0.3": MethodExtension.INTERACTIVE_INTERRUPT.uris["0.3"],
    "1.0": MethodExtension.INTERACTIVE_INTERRUPT.uris["1.0"],
}
"""The extension whose activation keeps streams open while a task asks its user."""


@frozen(kw_only=True)
class Event:
    """One event of a stream: its number, what it says, and its JSON without the JSON-RPC envelope."""

    number: int
    item: StreamItem
    json: dict[str, Any]


@define(eq=False)
class Stream:
    """An open stream: what it has said, read as far as a test wants."""

    wire: Wire
    response: httpx.Response
    events: list[Event] = field(factory=list)
    comments: int = 0
    ended: bool = False
    _chunks: AsyncGenerator[bytes] | None = None
    _decoder: SseDecoder = field(factory=SseDecoder)

    async def more(self) -> None:
        """Read what comes next; `ended` at the proper end of the body. A cut body raises."""
        if self._chunks is None:
            self._chunks = cast("AsyncGenerator[bytes]", self.response.aiter_raw())
        try:
            with anyio.fail_after(DEADLINE):
                chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self.ended = True
            return
        for event in self._decoder.feed(chunk):
            body = orjson.loads(event.data)
            json = body["result"] if self.wire.binding == "rpc" else body
            schemas.check(self.wire.version, schemas.STREAM_ITEM, json)
            self.events.append(
                Event(number=int(event.id), item=CODECS[self.wire.version].parse_item(json), json=json)
            )

    async def until(self, condition: Callable[[], object]) -> None:
        """Read until a condition holds, with a deadline: comments that keep the stream alive do not move it."""
        with anyio.fail_after(DEADLINE):
            while not condition():
                assert not self.ended, f"the stream ended before that: {self.items}"
                await self.more()

    async def whole(self) -> Stream:
        while not self.ended:
            await self.more()
        return self

    async def close(self) -> None:
        """Hang up."""
        if self._chunks is not None:
            await self._chunks.aclose()
        await self.response.aclose()

    @property
    def items(self) -> list[StreamItem]:
        return [event.item for event in self.events]

    @property
    def task(self) -> Task:
        first = self.items[0]
        assert isinstance(first, Task)
        return first

    @property
    def statuses(self) -> list[StatusUpdate]:
        return [item for item in self.items if isinstance(item, StatusUpdate)]

    @property
    def chunks(self) -> list[ArtifactUpdate]:
        return [item for item in self.items if isinstance(item, ArtifactUpdate)]

    @property
    def words(self) -> list[str]:
        """The words of all chunks. Tokens that come together are one chunk, so their number says nothing."""
        texts = [part.text for one in self.chunks for part in one.artifact.parts if isinstance(part, TextPart)]
        return "".join(texts).split()

    @property
    def state(self) -> str:
        return self.statuses[-1].status.state.value

    @property
    def text(self) -> str:
        """What the answer adds up to."""
        return next((one.text for one in folded(self.items) if one.name == "response"), "")

    def shared(self, name: str) -> list[Any]:
        """The values of `metadata.shared.NAME` in the status events."""
        found = [((item.metadata or {}).get("shared") or {}).get(name) for item in self.statuses]
        return [value for value in found if value is not None]


@define(eq=False)
class Caller:
    """Calls the agent on one wire as one principal."""

    http: httpx.AsyncClient
    wire: Wire
    extensions: str = SHARED
    stays_open: bool = False

    def request(self, operation: str, params: dict[str, Any], **more_headers: str) -> httpx.Request:
        version = self.wire.version
        old, new, method, path = _OPERATIONS[operation]
        headers = {"A2A-Version": version, **more_headers}
        extensions = [self.extensions] if self.extensions and version == "1.0" else []
        if self.stays_open:
            extensions.append(STAYS_OPEN[version])
        if extensions:
            headers["A2A-Extensions" if version == "1.0" else "X-A2A-Extensions"] = ", ".join(extensions)
        if self.wire.binding == "rpc":
            body = {"jsonrpc": "2.0", "id": 7, "method": old if version == "0.3" else new, "params": params}
            path = WEBSOCKET_PATH if self.wire.over_websocket else "/"
            return self.http.build_request("POST", path, json=body, headers=headers)
        if self.wire.binding == "grpc":
            path = f"{GRPC_PREFIX}{version}/{_GRPC_NAMES.get(operation, operation)}"
            return self.http.build_request("POST", path, json=params, headers=headers)
        rest = dict(params)
        task_name, config_name = _PUSH_IDS[version] if operation.startswith("push") else ("id", "")
        if operation == "push-set":
            task_name = "taskId"
        if "{task}" in path:
            path = path.replace("{task}", rest.pop(task_name))
        if "{config}" in path:
            path = path.replace("{config}", rest.pop(config_name))
        path = ("/v1" if version == "0.3" else "") + path
        if method == "POST":
            return self.http.build_request(method, path, json=rest, headers=headers)
        return self.http.build_request(method, path, params=rest, headers=headers)

    def raw(self, operation: str, text: str) -> bytes:
        """A request as bytes, for a test that plays with the connection."""
        request = self.request(operation, self.params(text, {}))
        head = b"".join(b"%b: %b\r\n" % pair for pair in request.headers.raw)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (request.method.encode(), request.url.raw_path, head, request.content)

    async def ask(self, operation: str, params: dict[str, Any]) -> httpx.Response:
        """The bare answer to an operation that answers once, or to a stream that is refused."""
        with anyio.fail_after(DEADLINE):
            return await self.http.send(self.request(operation, params))

    def _result(self, response: httpx.Response) -> Any:
        assert response.status_code == 200, response.text
        body = response.json()
        if self.wire.binding != "rpc":
            return body
        assert body["id"] == 7
        assert "error" not in body, body
        return body["result"]

    def params(self, text: str | None, more: dict[str, Any]) -> dict[str, Any]:
        """`more`: members of the message, but for `configuration` and `metadata`."""
        outer: dict[str, Any] = {name: more.pop(name) for name in ("configuration", "metadata") if name in more}
        return {"message": self.wire.message(text, **more)} | outer

    async def send(self, text: str | None, **more: Any) -> Task:
        result = self._result(await self.ask("send", self.params(text, more)))
        schemas.check(self.wire.version, schemas.SEND_RESULT, result)
        item = CODECS[self.wire.version].parse_item(result)
        assert isinstance(item, Task)
        return item

    async def get(self, task_id: str, **more: Any) -> Task:
        result = self._result(await self.ask("get", {"id": task_id, **more}))
        schemas.check(self.wire.version, schemas.TASK, result)
        return CODECS[self.wire.version].parse_task(result)

    async def finished(self, task_id: str) -> Task:
        """The task once it has ended, read again and again."""
        with anyio.fail_after(DEADLINE):
            while True:
                task = await self.get(task_id)
                if task.status.state.terminal:
                    return task

    async def until_waiting(self, task_id: str) -> Task:
        """The task once it waits for its user, read again and again."""
        with anyio.fail_after(DEADLINE):
            while True:
                task = await self.get(task_id)
                if task.status.state.interrupted:
                    return task

    async def refused(self, operation: str = "send", text: str | None = "hi", **more: Any) -> dict[str, Any]:
        """The error of a request that is not carried out: JSON-RPC's member, or the HTTP body with `http`."""
        params = self.params(text, more) if operation in ("send", "stream") else more
        response = await self.ask(operation, params)
        body: dict[str, Any]
        if self.wire == RPC_03 and operation in ("stream", "subscribe"):
            [event] = SseDecoder().feed(response.content)  # that line says it in the stream that was asked for
            body = orjson.loads(event.data)
        else:
            body = response.json()
        if self.wire.binding == "rpc":
            assert response.status_code == 200
            error: dict[str, Any] = body["error"]
            return error
        assert response.status_code >= 400
        flat = self.wire.version == "0.3" and self.wire.binding != "grpc"
        inner: dict[str, Any] = body if flat else body["error"]
        return {"http": response.status_code, **inner}

    @asynccontextmanager
    async def open(self, text: str, *, after: int | None = None, **more: Any) -> AsyncGenerator[Stream]:
        """A stream to read step by step; leaving it hangs up. `after`: the number of the event to go on from."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        async with self.opened(self.request("stream", self.params(text, more), **headers)) as stream:
            yield stream

    @asynccontextmanager
    async def subscribed(self, task_id: str, after: int | None = None, **more: Any) -> AsyncGenerator[Stream]:
        """A stream of a task; `after`: the number of the event to go on from."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        async with self.opened(self.request("subscribe", {"id": task_id, **more}, **headers)) as stream:
            yield stream

    @asynccontextmanager
    async def opened(self, request: httpx.Request) -> AsyncGenerator[Stream]:
        response = await self.http.send(request, stream=True)
        stream = Stream(self.wire, response)
        try:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield stream
        finally:
            await stream.close()

    async def subscribe(self, task_id: str, after: int | None = None, **more: Any) -> Stream:
        async with self.subscribed(task_id, after, **more) as stream:
            return await stream.whole()

    async def cancel(self, task_id: str) -> Task:
        result = self._result(await self.ask("cancel", {"id": task_id}))
        schemas.check(self.wire.version, schemas.TASK, result)
        return CODECS[self.wire.version].parse_task(result)

    async def page(self, **params: Any) -> dict[str, Any]:
        """A page of tasks, as it came; on version 1.0 it is one of the published schema.

        It comes over JSON-RPC where the wire has no lists.
        """
        if self.wire == GRPC_03:
            return await Caller(self.http, RPC_03).page(**params)
        page = self._result(await self.ask("list", params))
        if self.wire.version == "1.0":
            schemas.check("1.0", schemas.TASK_PAGE, page)
        for task in page["tasks"]:
            schemas.check(self.wire.version, schemas.TASK, task)
        return dict(page)

    async def stream(self, text: str, **more: Any) -> Stream:
        async with self.open(text, **more) as stream:
            return await stream.whole()


@define(eq=False)
class Agent:
    """A served agent, what stands behind it, and the ways to call it."""

    url: str
    fake_opencode: FakeOpenCode
    running: Running
    http: httpx.AsyncClient
    bob: httpx.AsyncClient
    opencode: httpx.AsyncClient

    def caller(self, wire: Wire = RPC_10, *, bob: bool = False, stays_open: bool = False) -> Caller:
        """`stays_open`: streams do not end where their task asks its user."""
        return Caller(self.bob if bob else self.http, wire, stays_open=stays_open)

    def asked(self, method: str, ending: str) -> int:
        """How often the stand-in got such a request."""
        return sum(one.method == method and one.path.endswith(ending) for one in self.fake_opencode.requests)

    async def until(self, condition: Callable[[], object]) -> None:
        """Look until a condition holds, with a deadline."""
        await until(condition)


class Serving(Protocol):
    """Starts a stand-in and an agent with these settings."""

    def __call__(
        self, fake_opencode: FakeOpenCode | None = None, **settings: Any
    ) -> AbstractAsyncContextManager[Agent]: ...


async def until(condition: Callable[[], object]) -> None:
    """Look until a condition holds, with a deadline."""
    with anyio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110 - most of what is looked at has no event to wait for
            await anyio.sleep(0.005)


def quick() -> FakeOpenCode:
    """A stand-in that never pauses."""
    return FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01)


@asynccontextmanager
async def served(
    backend: str,
    app: Any,
    *,
    grace: float = 0.2,
    bind: str = "127.0.0.1:0",
    limits: ConnectionLimits | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
) -> AsyncGenerator[str]:
    """Serves an ASGI application with the runtime's own `serve`; gives its base URL."""
    stop, ended = anyio.Event(), anyio.Event()
    addresses: list[str] = []

    async def run() -> None:
        serve = RUNTIMES[backend].serve
        await serve(app, bind, stop=stop.wait, ready=addresses.extend, grace=grace, limits=limits, tls=tls)
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(lambda: addresses)
        try:
            yield f"{'http' if tls is None else 'https'}://{addresses[0]}"
        finally:
            # waited for here, so that a test that fails does not cancel the server and fail in two ways
            stop.set()
            with anyio.move_on_after(DEADLINE, shield=True):
                await ended.wait()


def client(url: str, token: str | None = ALICE) -> httpx.AsyncClient:
    """An HTTP client that presents a bearer token."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    http = httpx.AsyncHTTPTransport(limits=limits, verify=_NO_TLS)
    transport = WebSocketTransport(GrpcTransport(http))
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=DEADLINE, transport=transport)


in_place_of_one: Replicas | None = None
"""The servers that a test opens where it asks for one, if it is to run on several."""


@asynccontextmanager
async def _alone(settings: Settings, tracer: Tracer) -> AsyncGenerator[tuple[Running, Asgi]]:
    async with application(settings, tracer=tracer) as running:
        yield running, running.asgi


@asynccontextmanager
async def agent_at(
    backend: str,
    fake_opencode: FakeOpenCode,
    settings: Settings,
    bind: str = "127.0.0.1:0",
    tracer: Tracer = NO_TRACER,
) -> AsyncGenerator[Agent]:
    """Serves the agent alone; `settings` say where OpenCode is."""
    limits = connection_limits(settings)
    opening = _alone(settings, tracer) if in_place_of_one is None else in_place_of_one.opened(settings, tracer)
    async with (
        opening as (running, app),
        served(backend, app, limits=limits, bind=bind) as url,
    ):
        opencode = client(settings.opencode_url, None)
        async with client(url) as http, client(url, BOB) as bob, opencode:
            yield Agent(url, fake_opencode, running, http, bob, opencode)


@asynccontextmanager
async def agent_before(backend: str, fake_opencode: FakeOpenCode | None, **settings: Any) -> AsyncGenerator[Agent]:
    """Serves a stand-in and the agent before it."""
    app = fake_opencode or quick()
    async with served(backend, app) as opencode:
        given: dict[str, Any] = {
            "opencode_url": opencode,
            "credentials": CREDENTIALS,
            **_MOST_TESTS,
            **settings,
        }
        async with agent_at(backend, app, Settings(**given)) as agent:
            yield agent


def failure_of(stream: Stream) -> str:
    """The type of error a stream ended with."""
    kind = str((stream.statuses[-1].metadata or {})["opencode"]["error"]["type"])
    assert stream.state == ("auth-required" if kind == "UPSTREAM_UNAUTHORIZED" else "failed")
    return kind
