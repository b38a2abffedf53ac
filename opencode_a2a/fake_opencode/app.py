"""The fake OpenCode as an ASGI 3 application: lifespan, authentication, event streams, and the faults tests ask for.

Must know nothing of who serves it, or on which event loop. All methods are for the loop that serves it.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import anyio
import orjson
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream
from attrs import Factory, define, field, frozen

from opencode_a2a.fake_opencode.api import Api
from opencode_a2a.fake_opencode.exchange import UNAUTHORIZED, Answer, Request
from opencode_a2a.fake_opencode.scripts import SCRIPTS, Act, Prompt, Script
from opencode_a2a.fake_opencode.sessions import Memory, Session
from opencode_a2a.fake_opencode.turns import Pace, Player, Turn

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_STREAM_HEADERS = (
    (b"cache-control", b"no-cache, no-transform"),
    (b"content-type", b"text/event-stream"),
    (b"x-accel-buffering", b"no"),
)


@frozen(kw_only=True)
class _Fault:
    """The fate of the next request that fits. `answer` None: none ever; `late`: once it has been done.

    `until`: it is done at once, and answered once this is set.
    """

    method: str
    path_prefix: str
    answer: Answer | None
    late: bool = False
    until: anyio.Event | None = None

    def fits(self, request: Request) -> bool:
        return request.method == self.method and request.path.startswith(self.path_prefix)


@define(eq=False, kw_only=True)
class FakeOpenCode:
    """An OpenCode without a model. Seconds throughout.

    `pause` lies between two tokens, `tick` between two ticks of SLOW, `retry_wait` before a second try;
    `heartbeat` is how long an event stream may be silent. With a `password` every request must bring it
    (HTTP basic). `answer_before_first_event` makes every turn instant: all its events come before its prompt
    is answered, unless somebody must act first. `takes`: what its model declares. `scripts` are keywords and
    what they make it say. `memory` holds its sessions and the requests that wait for its user. `requests` holds all
    that was asked, in order.
    """

    directory: str = "/workspace"
    pause: float = 0.02
    tick: float = 0.05
    retry_wait: float = 0.3
    heartbeat: float = 10.0
    username: str = "opencode"
    password: str | None = field(default=None, repr=False)
    answer_before_first_event: bool = False
    takes: Sequence[str] = ("text", "image", "pdf")
    scripts: Mapping[str, Callable[[Prompt], Script]] = field(default=SCRIPTS, repr=False)
    memory: Memory = field(default=Factory(lambda self: Memory(self.directory), takes_self=True), repr=False)
    requests: list[Request] = field(factory=list, init=False, repr=False)
    _player: Player = field(init=False, repr=False)
    _api: Api = field(init=False, repr=False)
    _faults: list[_Fault] = field(factory=list, init=False, repr=False)
    _unanswered: int = field(default=0, init=False, repr=False)
    _tasks: TaskGroup | None = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._player = Player(
            memory=self.memory,
            pace=Pace(token=self.pause, tick=self.tick, retry=self.retry_wait),
            scripts=self.scripts,
            always_instant=self.answer_before_first_event,
        )
        self._api = Api(self.memory, self._player, self._start, dict.fromkeys(self.takes, True))

    @property
    def open_streams(self) -> int:
        """The number of open event streams."""
        return self.memory.bus.open_streams

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The sessions, by id."""
        return self.memory.sessions

    def drop_streams(self) -> None:
        """Cut every open event stream, after the events that were sent already."""
        self.memory.bus.drop()

    def mute(self) -> AbstractContextManager[None]:
        """While it is entered, the streams stay open and tell of nothing that happens."""
        return self.memory.bus.mute()

    def hold(self, at: type[Act] | None = None, *, tokens: int = 0) -> None:
        """Turns wait before their next act of this kind (None: any), or in it after so many tokens."""
        self._player.gate.close(at or object, tokens)

    async def held(self, count: int = 1) -> None:
        """Waits until so many turns are held."""
        await self._player.gate.arrival(count)

    def release(self) -> None:
        """Lets the held turns go on, and holds no more."""
        self._player.gate.open()

    def fail_next(self, method: str, path_prefix: str, status: int, body: object = None) -> None:
        """The next request that fits is answered with this instead of being done; `body` as JSON, or bytes."""
        headers = ((b"content-type", b"application/json"),)
        content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        answer = Answer(status, content, headers)
        self._faults.append(_Fault(method=method, path_prefix=path_prefix, answer=answer))

    def forgive(self) -> None:
        """Faults that have not come yet do not come any more."""
        self._faults.clear()

    def stall_next(self, method: str, path_prefix: str, *, late: bool = False) -> None:
        """The next request that fits is never answered; `late`: it is done all the same."""
        self._faults.append(_Fault(method=method, path_prefix=path_prefix, answer=None, late=late))

    def leave_unanswered(self, count: int) -> None:
        """The next so many requests are never answered, as OpenCode leaves those that come as its port opens."""
        self._unanswered = count

    def answer_late(self, method: str, path_prefix: str) -> anyio.Event:
        """The next request that fits is done at once, and answered once the event that is returned is set."""
        until = anyio.Event()
        self._faults.append(_Fault(method=method, path_prefix=path_prefix, answer=None, late=True, until=until))
        return until

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._tasks = None
            tasks.cancel_scope.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    def _start(self, turn: Turn) -> None:
        if self._tasks is None:
            raise RuntimeError("the stand-in must be served by a server that runs the lifespan protocol")
        self._tasks.start_soon(self._player.run, turn)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        request = Request(
            method=scope["method"],
            target=_target(scope),
            body=await _read(receive),
            directory=headers.get(b"x-opencode-directory", b"").decode() or None,
            traceparent=headers.get(b"traceparent", b"").decode() or None,
            tracestate=headers.get(b"tracestate", b"").decode() or None,
        )
        self.requests.append(request)
        if self._unanswered > 0:
            self._unanswered -= 1
            await _gone(receive)
            return
        fault = next((fault for fault in self._faults if fault.fits(request)), None)
        if fault is not None:
            self._faults.remove(fault)
            await self._fail(fault, request, receive, send)
        elif not self._may_enter(headers.get(b"authorization", b"")):
            await _respond(send, UNAUTHORIZED)
        elif request.method == "GET" and request.path in ("/global/event", "/event"):
            own = None if request.path == "/global/event" else self._api.directory(request)
            await self._stream(own, receive, send)
        else:
            await _respond(send, await self._api.answer(request))

    async def _fail(self, fault: _Fault, request: Request, receive: Receive, send: Send) -> None:
        done = await self._api.answer(request) if fault.late else None
        if fault.until is not None and done is not None:
            await fault.until.wait()
            await _respond(send, done)
        elif fault.answer is None:
            await _gone(receive)
        else:
            await _respond(send, fault.answer)

    def _may_enter(self, given: bytes) -> bool:
        if self.password is None:
            return True
        wanted = b"Basic " + base64.b64encode(f"{self.username}:{self.password}".encode())
        return hmac.compare_digest(given, wanted)

    async def _stream(self, directory: str | None, receive: Receive, send: Send) -> None:
        """Relays events until the client goes or the stream is cut.

        It never sends the body's end, so the server closes the connection: to the client that is a cut.
        """
        with self.memory.bus.listen(directory) as frames:
            await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_when_gone, receive, tasks)
                await self._relay(frames, send, wrapped=directory is None)
                tasks.cancel_scope.cancel()

    async def _relay(self, frames: MemoryObjectReceiveStream[bytes], send: Send, *, wrapped: bool) -> None:
        while True:
            data = b""
            with anyio.move_on_after(self.heartbeat):
                try:
                    data = await frames.receive()
                    while frames.statistics().current_buffer_used:
                        data += frames.receive_nowait()
                except anyio.EndOfStream:
                    return
            beat = self.memory.bus.own_frame("server.heartbeat", wrapped=wrapped) if not data else b""
            await send({"type": "http.response.body", "body": data or beat, "more_body": True})


def _target(scope: Scope) -> str:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (path.split(b"?")[0] + (b"?" + query if query else b"")).decode("ascii", "replace")


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel_when_gone(receive: Receive, tasks: TaskGroup) -> None:
    await _gone(receive)
    tasks.cancel_scope.cancel()


async def _respond(send: Send, answer: Answer) -> None:
    headers = answer.headers
    if answer.body is not None:
        headers = (*headers, (b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body or b""})
