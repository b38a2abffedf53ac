"""Calls over the WebSocket binding: the requests of one agent share one connection, and each gets its own answers.

Whoever waits for an answer reads the connection, for all the others too, so that no task has to beside them; one who
leaves passes that on. The next request opens a connection again that has ended. What a message means is decided by
`sansio.a2a.websocket.exchanges`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, Self

import anyio
import anyio.to_thread
import httpx
from attrs import define, field

from opencode_a2a.client.answer import ANSWER_LIMIT, Answer, failure
from opencode_a2a.outbound.exchange import Switched
from opencode_a2a.outbound.websocket import WebSocket, handshake_fault, handshake_headers
from sansio.a2a.client.client_errors import ClientError, InvalidAnswerError, TimedOutError, UsageError
from sansio.a2a.websocket.exchanges import (
    Exchange,
    Exchanges,
    ServerMessage,
    Silence,
    closing_error,
    parse_server_message,
)
from sansio.a2a.websocket.messages import OF_CONNECTION, OF_REQUEST, SUBPROTOCOL, with_service_params
from sansio.redact import HIDDEN

REQUESTS: Final = 100
"""Requests at once on a connection; another waits. Servers of this project take 128."""

LOOK: Final = 5.0
"""Seconds of a silent stream after which whoever follows it has a look at the time."""

_PARSED_BESIDE: Final = 64 * 1024  # bytes of a message that is parsed in a thread
_LOOKING: Final = 0.2  # seconds for what has come while nobody read
_STALE_PIECES: Final = 64  # of 64 KiB
_LEAVING: Final = 1.0  # seconds for word that a stream is not wanted any more
_HANDSHAKE: Final = OF_CONNECTION | {"authorization", "user-agent"}


class WebSocketAnswer(Answer):
    """An answer whose first message has come, or the refusal of a handshake. Each piece of a stream is a message."""

    @property
    def streams(self) -> bool:
        """Whether events come."""
        return self._response.extensions.get("events") is True

    @property
    def may_be_postponed(self) -> bool:
        """Whether the answer is an error that may say when to ask again."""
        return super().may_be_postponed or self._response.extensions.get("error") is True

    async def piece(self) -> bytes | None:
        """Return the next message, an empty one after a while without any; None at the end. Raises `ClientError`."""
        stream = self._response.stream
        if not isinstance(stream, _Messages):
            return await super().piece()
        try:
            return await anext(stream, None)
        except httpx.HTTPError as error:
            raise failure(error, self._origin, self._silence) from None


class WebSocketSender:
    """Sends requests as messages on one connection. `transport`: what opens it, under its own policy and limits.

    A request has the message as its body, the service parameters as its headers, and the extensions `timeout`,
    `message_id` and `stream`. Raises the exceptions of httpx, and `ClientError`.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self._places = anyio.Semaphore(REQUESTS)
        self._opening = anyio.Lock()
        self._channel: _Channel | None = None

    async def aclose(self) -> None:
        """Close the connection; what waits for an answer gets an error."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.end(closing_error(None))

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return the response whose head is the first message, or the refusal of a handshake."""
        times = request.extensions["timeout"]
        try:
            with anyio.fail_after(times["pool"]):
                await self._places.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("too many requests wait for their answers") from None
        try:
            found = await self._opened(request, times)
            if isinstance(found, httpx.Response):
                self._places.release()
                return found
            return await self._exchange(found, request, times)
        except BaseException:
            self._places.release()
            raise

    async def _exchange(self, channel: _Channel, request: httpx.Request, times: dict[str, float]) -> httpx.Response:
        streaming = request.extensions["stream"]
        params = [(name, value) for name, value in request.headers.items() if name in OF_REQUEST]
        exchange = channel.begin(request.extensions["message_id"], streaming=streaming)
        try:
            await channel.send(with_service_params(request.content, params))
            await channel.wait(exchange, times["read"])
            first = exchange.take()
        except BaseException:
            await channel.leave(exchange)
            raise
        if first is None and not exchange.over:
            await channel.leave(exchange)
            raise httpx.ReadTimeout("the answer did not begin in time")
        extensions = {"events": streaming and not (first is not None and first.is_error), "error": _is_error(first)}
        stream = _Messages(channel, exchange, first, self._places, min(times["read"], LOOK))
        return httpx.Response(200, headers=_headers(first), stream=stream, extensions=extensions)

    async def _opened(self, request: httpx.Request, times: dict[str, float]) -> _Channel | httpx.Response:
        """Return the open connection, a new one if need be, or the answer that refuses one."""
        try:
            with anyio.fail_after(times["pool"]):
                await self._opening.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no connection was made in time") from None
        try:
            if self._channel is not None:
                await self._channel.catch_up()
                if self._channel.is_open:
                    return self._channel
            found = await self._open(request, times["connect"])
            if isinstance(found, _Channel):
                self._channel = found
            return found
        finally:
            self._opening.release()

    async def _open(self, request: httpx.Request, seconds: float) -> _Channel | httpx.Response:
        kept = {name: value for name, value in request.headers.items() if name in _HANDSHAKE}
        limits = dict.fromkeys(("connect", "write", "pool", "read"), seconds)
        headers = {**kept, **handshake_headers(SUBPROTOCOL)}
        handshake = httpx.Request("GET", request.url, headers=headers, extensions={"timeout": limits})
        response = await self._transport.handle_async_request(handshake)
        if not response.is_success and not response.is_informational:
            return response
        try:
            fault = handshake_fault(handshake, response)
            if fault:
                raise InvalidAnswerError(f"The agent's answer to the WebSocket handshake {fault}")
            switched = response.extensions.get("switched")
            if not isinstance(switched, Switched):
                raise UsageError("the transport that was given cannot carry WebSocket: CheckedTransport can")
        except BaseException:
            await response.aclose()
            raise
        presented = request.headers.get("authorization", "").partition(" ")[2].encode()
        return _Channel(response, WebSocket(switched, ANSWER_LIMIT), presented, seconds)


def _is_error(message: ServerMessage | None) -> bool:
    return message is not None and message.is_error


def _headers(message: ServerMessage | None) -> httpx.Headers:
    """Return the service parameters of an answer as headers."""
    found = {} if message is None else message.service_params
    return httpx.Headers([(name.encode(), value.encode()) for name, value in found.items()])


class _Messages(httpx.AsyncByteStream):
    """The messages of an exchange, one a piece. An empty piece: none came for a while."""

    def __init__(
        self,
        channel: _Channel,
        exchange: Exchange,
        first: ServerMessage | None,
        places: anyio.Semaphore,
        seconds: float,
    ) -> None:
        self._channel = channel
        self._exchange = exchange
        self._first = first
        self._places: anyio.Semaphore | None = places
        self._seconds = seconds

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        message, self._first = self._first, None
        if message is None:
            await self._channel.wait(self._exchange, self._seconds)
            message = self._exchange.take()
        if message is not None:
            return message.body
        if self._exchange.over:
            raise StopAsyncIteration
        return b""

    async def aclose(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.release()
            await self._channel.leave(self._exchange)


@define(eq=False)
class _Channel:
    """One open connection. `seconds`: of silence after which it counts as dead, and for each piece that is sent."""

    _response: httpx.Response
    _socket: WebSocket
    _presented: bytes = field(repr=False)
    _seconds: float
    is_open: bool = field(default=True, init=False)
    _exchanges: Exchanges = field(init=False)
    _is_read: bool = field(default=False, init=False)
    _waiting: dict[Exchange, anyio.Event] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._exchanges = Exchanges(anyio.current_time(), self._seconds)

    # --- one request --------------------------------------------------------------------------------------

    def begin(self, request_id: str, *, streaming: bool) -> Exchange:
        """Begin an exchange, whose request is sent next."""
        return self._exchanges.begin(request_id, streaming=streaming)

    async def send(self, message: bytes) -> None:
        """Send a message. Raises `httpx.WriteTimeout`; the exchange has the error where the connection ends."""
        try:
            await self._socket.send(message, self._seconds)
            await self._flush()
        finally:
            # half a message may be out, and whoever reads waits for what cannot come
            if self._socket.closed is not None:
                await self.end(self._reason())

    async def wait(self, exchange: Exchange, seconds: float) -> None:
        """Wait until something has come for an exchange, or the time is over."""
        try:
            with anyio.move_on_after(seconds):
                while not exchange.is_ready:
                    if self._is_read:
                        await self._woken(exchange)
                    else:
                        await self._read(exchange)
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        """Wake one that waits, to read on, where nobody reads."""
        if not self._is_read and self._waiting:
            next(iter(self._waiting.values())).set()

    async def _woken(self, exchange: Exchange) -> None:
        event = self._waiting[exchange] = anyio.Event()
        try:
            await event.wait()
        finally:
            del self._waiting[exchange]

    async def leave(self, exchange: Exchange) -> None:
        """End an exchange for whoever wants no more of it; an open connection stays open."""
        self._exchanges.leave(exchange)
        with anyio.move_on_after(_LEAVING, shield=True):
            with suppress(httpx.WriteTimeout):
                await self._flush()
        if self._socket.closed is not None:
            await self.end(self._reason())

    # --- the connection -----------------------------------------------------------------------------------

    async def catch_up(self) -> None:
        """Take what has come while nobody read the connection. It ends here where the server has left."""
        if self.is_open and not self._is_read:
            self._is_read = True
            try:
                await self._socket.drain(_LOOKING, _STALE_PIECES)
                await self._deliver()
            finally:
                self._is_read = False
                self._pass_on()

    async def _read(self, exchange: Exchange) -> None:
        """Read the connection until something has come for an exchange."""
        self._is_read = True
        self._exchanges.reads(anyio.current_time())
        try:
            while not exchange.is_ready:
                await self._receive()
        finally:
            self._exchanges.rests(anyio.current_time())
            self._is_read = False

    async def _receive(self) -> None:
        with anyio.move_on_after(self._exchanges.wait(anyio.current_time())) as scope:
            await self._socket.receive()
        if not scope.cancelled_caught:
            self._exchanges.heard(anyio.current_time())
            await self._deliver()
            return
        match self._exchanges.look(anyio.current_time()):
            case Silence.PING:
                await self._socket.ping(self._seconds)
            case Silence.DEAD:
                await self.end(TimedOutError(f"The agent was silent for {self._seconds:g} s"))
            case Silence.WAIT:
                pass

    async def _deliver(self) -> None:
        """Give each message that has come to its exchange."""
        messages = self._socket.messages
        while messages:
            try:
                message = await self._parsed(messages[0])
            except InvalidAnswerError as error:
                messages.clear()
                await self.end(error)
                return
            messages.popleft()
            self._wake(self._exchanges.receive(message))
        if self._socket.closed is None:
            await self._flush()
        if self._socket.closed is not None:
            await self.end(self._reason())

    async def _parsed(self, body: bytes) -> ServerMessage:
        if len(body) > _PARSED_BESIDE:
            message = await anyio.to_thread.run_sync(parse_server_message, body)
        else:
            message = parse_server_message(body)
        if (message.is_error or message.ends) and self._presented and self._presented in body:
            return parse_server_message(body.replace(self._presented, HIDDEN.encode()))
        return message

    async def _flush(self) -> None:
        """Send what the exchanges and the server's pings want; whoever sends just now does so behind its message."""
        while self._exchanges.to_send and not self._socket.is_sending:
            await self._socket.send(self._exchanges.to_send.pop(0), self._seconds)
        await self._socket.flush(self._seconds)

    def _wake(self, exchanges: Iterable[Exchange]) -> None:
        for exchange in exchanges:
            if (event := self._waiting.get(exchange)) is not None:
                event.set()

    def _reason(self) -> ClientError:
        closed: Any = self._socket.closed
        if closed.fault:
            return InvalidAnswerError(f"The agent {closed.fault}")
        reason = closed.reason.replace(self._presented.decode(), HIDDEN) if self._presented else closed.reason
        return closing_error(closed.code, reason)

    async def end(self, error: ClientError) -> None:
        """Close the connection; all that waits gets the error."""
        if self.is_open:
            self.is_open = False
            self._wake(self._exchanges.fail(error))
            with anyio.CancelScope(shield=True):
                await self._socket.aclose()
                await self._response.aclose()
