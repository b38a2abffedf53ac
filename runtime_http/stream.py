"""One request over HTTP with its answer: between the protocol of a connection and an ASGI application.

It stands in the place of Hypercorn's `HTTPStream`. A body that is whole is one message with its end, and so is the
rest of an answer with its end. A start that says it has `more` waits for what follows at once, so that both are
written together. Nobody is pushed anything, and there is no access log.

Knows no event loop, and no version of HTTP: a `Writer` writes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from enum import Enum, auto
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import unquote

from hypercorn.typing import Event, TaskGroup, WorkerContext
from hypercorn.utils import UnexpectedMessageError, suppress_body

_log = logging.getLogger(__name__)

Fields: TypeAlias = list[tuple[bytes, bytes]]
Message: TypeAlias = MutableMapping[str, Any]
Application: TypeAlias = Callable[..., Awaitable[None]]
"""An application as Hypercorn calls it: with the three arguments of ASGI, and two more that are not used."""

GONE: Final = "http.response.gone"
"""The extension of ASGI by which an application has a function called once its client has left."""

NOW: Final = "http.response.now"
"""The extension of ASGI by which an application writes a piece of a body without waiting, where there is room."""

WHOLE: Final = "http.request.whole"
"""The extension of ASGI by which an application learns that all of a body has come: to read it waits for nothing."""

ROOM: Final = "http.response.room"
"""The extension of ASGI by which an application waits before it makes an answer, and reports the bytes of one."""

_DISCONNECT: Final = "http.disconnect"
_FAILED: Final = [(b"content-length", b"0"), (b"connection", b"close")]


class Writer(Protocol):
    """Writes the answers of a connection. `number`: of a stream."""

    async def send_head(self, number: int, status: int, headers: Fields, *, more: bool) -> None:
        """Send the head of an answer. `more`: the rest follows at once, and may be written together with it."""

    async def send_body(self, number: int, data: bytes, *, ends: bool) -> None:
        """Send a piece of the body; `ends`: the last one, which may be empty. Returns once there is room for more."""

    def send_now(self, number: int, data: bytes) -> bool:
        """Send a piece of the body if that waits for nothing. Returns whether it is sent."""

    async def send_end(self, number: int, data: bytes, trailers: Fields) -> None:
        """Send the last piece of the body, which may be empty, and the trailers."""

    async def finish(self, number: int, *, whole: bool) -> None:
        """End the stream: the answer is `whole`, or its application has left it."""


class _State(Enum):
    HEAD = auto()
    BODY = auto()
    TRAILERS = auto()
    ENDED = auto()


def scope_of(method: str, version: str, target: bytes, headers: Fields, *, trailers: bool) -> dict[str, Any]:
    """Return the scope of a request, without what its connection adds. `target`: path and query, in ASCII."""
    path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "http_version": version,
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "method": method,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "extensions": {"http.response.trailers": {}} if trailers else {},
    }


class HttpStream:
    """A request and its answer. `most`: pieces of the body that wait for the application; 0: no bound."""

    def __init__(
        self, app: Application, context: WorkerContext, writer: Writer, number: int, scope: Message, most: int = 0
    ) -> None:
        self.is_closed = False
        self.is_whole = False
        self._app = app
        self._context = context
        self._writer = writer
        self._number = number
        self._scope = scope
        self._method = str(scope["method"])
        self._offers_trailers = "http.response.trailers" in scope["extensions"]
        self._most = most
        self._state = _State.HEAD
        self._has_body = True  # of the answer
        self._has_trailers = False
        self._is_sent = False  # all of it
        self._rest = b""  # the last piece of the body, while the trailers are awaited
        self._messages: deque[Message] = deque()
        self._gone: Callable[[], None] | None = None  # called where the client leaves before it has all
        self._came: Event | None = None  # for the application, once it has waited
        self._taken: Event | None = None  # for the protocol
        scope["extensions"][GONE] = {"call": self._call_when_gone}
        scope["extensions"][NOW] = {"call": self._send_now}
        scope["extensions"][WHOLE] = {"call": lambda: self.is_whole}

    # --- the request ----------------------------------------------------------------------------------------

    def begin(self, tasks: TaskGroup) -> None:
        """Have the application run."""
        tasks.spawn(self._run)

    async def give(self, data: bytes, *, more: bool) -> None:
        """Give the application a piece of the body; without `more`, the last one."""
        self.is_whole = not more
        await self._put({"type": "http.request", "body": data, "more_body": more})

    @property
    def is_full(self) -> bool:
        """Whether as many pieces wait for the application as may."""
        return bool(self._most) and len(self._messages) >= self._most and not self.is_closed

    async def room(self) -> None:
        """Return once there is room for another piece, or the stream is closed."""
        while self.is_full:
            if self._taken is None:
                self._taken = self._context.event_class()
            await self._taken.clear()
            await self._taken.wait()

    async def close(self) -> None:
        """Tell the application that its client has left, or has all of the answer."""
        self.is_closed = True
        await self._put({"type": _DISCONNECT})
        if self._gone is not None and not self._is_sent:
            self._gone()
        if self._taken is not None:
            await self._taken.set()

    def _call_when_gone(self, call: Callable[[], None]) -> None:
        self._gone = call
        if self.is_closed:
            call()

    async def _put(self, message: Message) -> None:
        self._messages.append(message)
        if self._came is not None:
            await self._came.set()

    async def _receive(self) -> Message:
        while not self._messages:
            if self.is_closed:
                return {"type": _DISCONNECT}
            if self._came is None:
                self._came = self._context.event_class()
            await self._came.clear()
            await self._came.wait()
        message = self._messages.popleft()
        if self._taken is not None:
            await self._taken.set()
        return message

    # --- the answer -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Run the application. Its failure is its own, and ends the stream."""
        # The scope has functions of this stream: kept here, both would be left to the garbage collector.
        scope, self._scope = self._scope, {}
        try:
            await self._app(scope, self._receive, self._send, _no_threads, _no_threads)
        except Exception as error:
            _log.error("the application failed on a request: %s", type(error).__name__)  # its text may hold secrets
        finally:
            if not self.is_closed:
                await self._leave()

    async def _leave(self) -> None:
        """End the answer that the application has left, or not begun."""
        if self._state is _State.HEAD:
            self._state = _State.ENDED
            await self._writer.send_head(self._number, 500, list(_FAILED), more=True)
            await self._writer.send_body(self._number, b"", ends=True)
            self._is_sent = True
        await self._writer.finish(self._number, whole=self._is_sent)

    async def _send(self, message: Message) -> None:
        kind, state = message["type"], self._state
        if kind == "http.response.body" and state is _State.BODY:
            await self._send_body(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.start" and state is _State.HEAD:
            status = int(message["status"])
            self._state = _State.BODY
            self._has_body = not suppress_body(self._method, status)
            self._has_trailers = self._offers_trailers and message.get("trailers", False)
            fields = [(bytes(name).strip(), bytes(value).strip()) for name, value in message.get("headers", ())]
            await self._writer.send_head(self._number, status, fields, more=message.get("more", False))
        elif kind == "http.response.trailers" and state is _State.TRAILERS and not message.get("more_trailers"):
            trailers = [(bytes(name).strip(), bytes(value).strip()) for name, value in message["headers"]]
            await self._end(trailers)
        else:
            raise UnexpectedMessageError(state, kind)

    async def _send_body(self, data: bytes, *, more: bool) -> None:
        if not self._has_body:
            data = b""
        if more:
            if data:
                await self._writer.send_body(self._number, bytes(data), ends=False)
        elif self._has_trailers:
            self._state, self._rest = _State.TRAILERS, bytes(data)
        else:
            self._rest = bytes(data)
            await self._end(None)

    def _send_now(self, data: bytes) -> bool:
        is_open = self._state is _State.BODY and self._has_body and not self.is_closed
        return is_open and self._writer.send_now(self._number, data)

    async def _end(self, trailers: Fields | None) -> None:
        self._state = _State.ENDED
        rest, self._rest = self._rest, b""
        if trailers is None:
            await self._writer.send_body(self._number, rest, ends=True)
        else:
            await self._writer.send_end(self._number, rest, trailers)
        self._is_sent = True
        await self._writer.finish(self._number, whole=True)


def _no_threads(*_arguments: Any) -> Any:
    """Offer no threads: an ASGI application needs none of the server's."""
    raise NotImplementedError
