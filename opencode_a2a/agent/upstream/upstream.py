"""The HTTP/1.1 client for OpenCode: anyio moves bytes. The hot path, asked several times per turn.

One origin, a pool of kept-alive connections, limits that fail at once, timeouts by cancel scope. Most answers are
short, and come whole in one read: only the others need h11, which takes several times as long. Knows nothing of turns
or tasks: it sends `UpstreamCall` values and raises `UpstreamError` for everything that goes wrong.
"""

from __future__ import annotations

import base64
import select
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

import anyio
import h11
from anyio.abc import ByteStream, SocketAttribute
from attrs import define, frozen

from opencode_a2a.agent.upstream.call_span import call_span
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.a2a.counted import counted
from sansio.a2a.media_types import JSON
from sansio.chunked import ChunkedDecoder
from sansio.opencode.upstream.faults import (
    BACKPRESSURE,
    PAYLOAD,
    TIMEOUT,
    UNREACHABLE,
    TaskFailure,
    failure_of_status,
)
from sansio.opencode.upstream.http1 import request_head, whole_answer
from sansio.opencode.upstream.requests import TimeoutClass, UpstreamCall
from sansio.transport.addresses import host_and_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Event: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]
Headers: TypeAlias = Sequence[tuple[str, str]]

_ENDED = getattr(select, "POLLRDHUP", 0)  # the other end sends no more; not every system says so by itself
_IDLE_LIMIT = 64  # connections kept for reuse
BODY_LIMIT = 64 * 1024 * 1024  # bytes of an answer that is read whole
_READ_SIZE = 65536
_STREAM_READ_SIZE = 256 * 1024  # as much as asyncio reads at once: nothing stays behind in its buffers
_MUCH = 32 * 1024  # bytes of a stream in one read: there may be more

_BROKEN = (h11.RemoteProtocolError, anyio.BrokenResourceError, ssl.SSLError)
"""The errors of a connection whose other end fails."""


class UpstreamError(Exception):
    """A call that OpenCode did not carry out. `sent`: it may have been, the answer is what is missing."""

    def __init__(self, failure: TaskFailure, *, sent: bool = False) -> None:
        super().__init__(failure.text)
        self.failure = failure
        self.sent = sent


class WithheldError(Exception):
    """A call that was not sent: it might not be, once there was a connection for it."""


@frozen
class UpstreamResponse:
    """A successful answer (status below 400). The names of headers are in lower case."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()

    def header(self, name: bytes) -> str | None:
        """The value of a header."""
        return next((value.decode("latin-1") for found, value in self.headers if found == name), None)


@frozen
class Piece:
    """A piece of a stream's body. `more`: what follows has come already."""

    data: bytes
    more: bool


class _NotHttpError(Exception):
    """The head of an answer is none."""


class _StaleConnectionError(Exception):
    """A kept-alive connection turned out to be closed before it gave one byte of an answer."""


@define(eq=False)
class _Connection:
    stream: ByteStream
    poller: select.poll
    tls: bool
    used: bool = False
    answered: bool = False  # a byte of the answer to the last request has come

    async def send(self, data: bytes) -> None:
        """Send a request whole, in one write."""
        self.answered = False
        try:
            await self.stream.send(data)
        except (*_BROKEN, anyio.ClosedResourceError) as exc:
            raise _StaleConnectionError from exc

    async def receive(self) -> bytes:
        """Take what comes next; empty at the end of the stream. Raises anyio's errors."""
        try:
            data = await self.stream.receive(_READ_SIZE)
        except anyio.EndOfStream:
            return b""
        self.answered = True
        return data

    def is_dead(self) -> bool:
        """Whether an idle connection has something to read: the end of the stream, or what nobody asked for."""
        return bool(self.poller.poll(0))

    def has_more(self) -> bool:
        """Whether more has come that can be read without a wait, and not the end of the stream.

        Over TLS that is not known: what came may be a part of a record.
        """
        return not self.tls and [event for _, event in self.poller.poll(0)] == [select.POLLIN]

    async def close(self) -> None:
        await anyio.aclose_forcefully(self.stream)


class _Answer:
    """An answer that h11 parses."""

    def __init__(self, connection: _Connection, method: str) -> None:
        self._connection = connection
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=65536)
        # The request is sent already. Of it, the method alone says how the answer is to be read.
        self._protocol.send(h11.Request(method=method, target="/", headers=[("host", "")]))
        self._protocol.send(h11.EndOfMessage())

    def feed(self, data: bytes) -> None:
        """Take what came; empty at the end of the stream."""
        self._protocol.receive_data(data)

    async def head(self) -> h11.Response:
        """Return the head of the answer. Raises `_StaleConnectionError` where not a byte has come, else `_BROKEN`."""
        try:
            event = await self.next()
            while isinstance(event, h11.InformationalResponse):
                event = await self.next()
        except _BROKEN as exc:
            if not self._connection.answered:
                raise _StaleConnectionError from exc
            raise
        if not isinstance(event, h11.Response):
            raise _StaleConnectionError
        return event

    async def body(self) -> bytes:
        """Return the whole body. Raises `UpstreamError` for one that is too large."""
        whole = BytesIO()  # what it gathers is handed out without a copy, which takes milliseconds of some megabytes
        size = 0
        while not isinstance(event := await self.next(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                size += len(event.data)
                if size > BODY_LIMIT:
                    raise UpstreamError(
                        TaskFailure(text=f"OpenCode's answer is larger than {BODY_LIMIT} bytes", type=PAYLOAD),
                        sent=True,
                    )
                whole.write(event.data)
        return whole.getvalue()

    async def next(self) -> Event:
        """The next event, reading as needed. Raises `h11.RemoteProtocolError` and anyio's errors."""
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._protocol.receive_data(await self._connection.receive())
        return event

    @property
    def rest(self) -> bytes:
        """The bytes that came and are not parsed."""
        return self._protocol.trailing_data[0]

    @property
    def leaves_open(self) -> bool:
        """Whether the connection can be used again behind the whole answer, of which nothing more may have come."""
        return self._protocol.their_state is h11.DONE and not self.rest


class Upstream:
    """The client. Use as an async context manager: leaving it closes every connection.

    `timeout`: seconds for a whole plain call, all its attempts included; how long each attempt waits for the head
    of its answer is the call's `TimeoutClass`. `max_requests`: plain calls at once, 0 for no limit; one more is
    refused at once with UPSTREAM_BACKPRESSURE.
    """

    def __init__(
        self,
        base_url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        timeout: float = 120.0,
        max_requests: int = 0,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._tracer = tracer
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the OpenCode URL must be http://HOST[:PORT] or https://HOST[:PORT]")
        self._host = parts.hostname
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/")
        self._headers = [("host", parts.netloc.rpartition("@")[2])]
        if password is not None:
            proof = base64.b64encode(f"{username or ''}:{password}".encode()).decode()
            self._headers.append(("authorization", f"Basic {proof}"))
        self._timeout = timeout
        self._max_requests = max_requests
        self._running = 0
        self._idle: list[_Connection] = []
        self._closed = False
        self._ssl_context = ssl.create_default_context() if self._tls else None

    def __repr__(self) -> str:
        return f"<Upstream {self._host}:{self._port} running={self._running} idle={len(self._idle)}>"

    @property
    def url(self) -> str:
        """Where OpenCode is, without the login."""
        return f"{'https' if self._tls else 'http'}://{host_and_port(self._host, self._port)}{self._prefix}"

    async def __aenter__(self) -> Upstream:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._closed = True
        idle, self._idle = self._idle, []
        with anyio.CancelScope(shield=True):
            for connection in idle:
                await connection.close()

    # --- plain calls --------------------------------------------------------------------------------------

    async def request(self, call: UpstreamCall, *, may_send: Callable[[], bool] = lambda: True) -> UpstreamResponse:
        """Send a call and read its answer whole. Raises `UpstreamError`, also for statuses from 400 on.

        `may_send`: asked just before anything is written, as a connection can take seconds. Raises `WithheldError`
        where it returns False.
        """
        beside = call.timeout is TimeoutClass.PROBE  # not on a caller's behalf: it takes no caller's place
        if self._max_requests and self._running >= self._max_requests and not beside:
            text = f"OpenCode is busy: it works on {counted(self._running, 'request')} already"
            raise UpstreamError(TaskFailure(text=text, type=BACKPRESSURE))
        bounds = self.bounds(call)
        started = anyio.current_time()
        self._running += not beside
        try:
            with call_span(self._tracer, call, self._host, self._port) as span:
                for bound in bounds:
                    with anyio.move_on_after(bound) as head:
                        response = await self._attempt(call, span.headers, head, started + self._timeout, may_send)
                        span.answered(response.status)
                        return response
                text = f"OpenCode did not answer within {sum(bounds):.3g} seconds"
                raise UpstreamError(TaskFailure(text=text, type=TIMEOUT), sent=True)
        finally:
            self._running -= not beside

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Bound several calls together, by half of the operator's limit at most. Raises `UpstreamError`."""
        bound = min(seconds, self._timeout / 2)
        with anyio.move_on_after(bound) as scope:
            yield
        if scope.cancelled_caught:
            text = f"OpenCode did not answer within {bound:.3g} seconds"
            raise UpstreamError(TaskFailure(text=text, type=TIMEOUT), sent=True)

    def bounds(self, call: UpstreamCall) -> tuple[float, ...]:
        """The seconds that each attempt at a call waits for the head of its answer."""
        bounds = call.timeout.attempts(self._timeout)
        return bounds if call.repeatable else bounds[:1]

    async def _attempt(
        self,
        call: UpstreamCall,
        trace: Headers,
        head: anyio.CancelScope,
        ends: float,
        may_send: Callable[[], bool],
    ) -> UpstreamResponse:
        """Send a call once; twice where a kept-alive connection has been closed under our hands.

        `trace`: the headers of the trace. `head`: the scope that bounds the wait for the answer's head. The rest of
        the answer has until `ends`.
        """
        connection = await self._take()
        if not may_send():
            await self._give_back(connection, keep=True)
            raise WithheldError
        try:
            return await self._exchange(connection, call, trace, head, ends)
        except _StaleConnectionError as exc:
            if not call.repeatable or not connection.used:
                raise self._unreachable(exc.__cause__, sent=True) from exc
        try:
            return await self._exchange(await self._connect(), call, trace, head, ends)
        except _StaleConnectionError as exc:
            raise self._unreachable(exc.__cause__, sent=True) from exc

    async def _exchange(
        self, connection: _Connection, call: UpstreamCall, trace: Headers, head: anyio.CancelScope, ends: float
    ) -> UpstreamResponse:
        keep = False
        try:
            data = await self._ask(connection, call, trace)
            if (whole := whole_answer(data)) is not None:
                keep = True
                status, fields, body = whole
            else:
                answer = _Answer(connection, call.method)
                answer.feed(data)
                response = await answer.head()
                head.deadline = ends
                body = await answer.body()
                keep = answer.leaves_open
                status, fields = response.status_code, list(response.headers)
        except _BROKEN as exc:
            raise UpstreamError(TaskFailure(text="OpenCode's answer broke off", type=PAYLOAD), sent=True) from exc
        finally:
            await self._give_back(connection, keep=keep)
        if status >= 400:
            raise UpstreamError(failure_of_status(status, _detail(body)))
        return UpstreamResponse(status, body, fields)

    async def _ask(self, connection: _Connection, call: UpstreamCall, trace: Headers = ()) -> bytes:
        """Send a request, and return the first bytes of its answer; empty at the end of the stream."""
        fields = [*self._headers, *trace]
        if call.body is not None:
            fields += [("content-type", JSON), ("content-length", str(len(call.body)))]
        await connection.send(request_head(call.method, self._prefix + call.target, fields) + (call.body or b""))
        try:
            return await connection.receive()
        except _BROKEN as exc:
            raise _StaleConnectionError from exc

    # --- streams ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def stream(
        self, call: UpstreamCall, *, within: float | None = None
    ) -> AsyncGenerator[AsyncIterator[Piece]]:
        """Send a call and hand out its body as it comes, on a connection of its own.

        Raises `UpstreamError` where the head of the answer does not come `within` some seconds (None: those of
        the call's last attempt), and where the stream breaks.
        """
        bound = self.bounds(call)[-1] if within is None else within
        ends = anyio.current_time() + bound
        late = UpstreamError(
            TaskFailure(text=f"OpenCode did not open its event stream within {bound:.3g} seconds", type=TIMEOUT)
        )
        try:
            with anyio.fail_after(bound):
                connection = await self._connect()
        except TimeoutError:
            raise late from None
        try:
            with anyio.fail_after(max(0.0, ends - anyio.current_time())):
                answer = _Answer(connection, call.method)
                answer.feed(await self._ask(connection, call))
                try:
                    response = await answer.head()
                except h11.RemoteProtocolError as exc:
                    raise _NotHttpError from exc
                if response.status_code >= 400:
                    detail = _detail(await answer.body())
                    raise UpstreamError(failure_of_status(response.status_code, detail))
            async with aclosing(_body_as_it_comes(connection, answer, response)) as pieces:
                yield pieces
        except TimeoutError:
            raise late from None
        except _NotHttpError as exc:
            text = f"What answers at {self._host}:{self._port} does not speak HTTP"
            raise UpstreamError(TaskFailure(text=text, type=PAYLOAD)) from exc
        except (_StaleConnectionError, *_BROKEN) as exc:
            raise self._unreachable(exc.__cause__ or exc) from exc
        finally:
            with anyio.CancelScope(shield=True):
                await connection.close()

    # --- connections --------------------------------------------------------------------------------------

    async def _take(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_dead():
                return connection
            await connection.close()
        return await self._connect()

    async def _give_back(self, connection: _Connection, *, keep: bool) -> None:
        """Keep a connection for the next call, where there is room, or close it."""
        if keep and not self._closed and len(self._idle) < _IDLE_LIMIT:
            connection.used = True
            self._idle.append(connection)
        else:
            with anyio.CancelScope(shield=True):
                await connection.close()

    async def _connect(self) -> _Connection:
        try:
            stream: ByteStream
            if self._ssl_context is not None:
                stream = await anyio.connect_tcp(
                    self._host,
                    self._port,
                    ssl_context=self._ssl_context,
                    tls_hostname=self._host,
                    tls_standard_compatible=False,
                )
            else:
                stream = await anyio.connect_tcp(self._host, self._port)
        except (OSError, ssl.SSLError) as exc:
            raise self._unreachable(exc) from exc
        poller = select.poll()
        try:
            poller.register(stream.extra(SocketAttribute.raw_socket).fileno(), select.POLLIN | _ENDED)
        except (AttributeError, ValueError) as exc:
            # closed by the other end already: there is no socket any more, or none with a number
            await anyio.aclose_forcefully(stream)
            raise self._unreachable(None) from exc
        return _Connection(stream, poller, self._tls)

    def _unreachable(self, cause: BaseException | None, *, sent: bool = False) -> UpstreamError:
        reason = f" ({cause.strerror or type(cause).__name__})" if isinstance(cause, OSError) else ""
        text = f"OpenCode cannot be reached at {self._host}:{self._port}{reason}"
        return UpstreamError(TaskFailure(text=text, type=UNREACHABLE), sent=sent)


async def _body_as_it_comes(
    connection: _Connection, answer: _Answer, response: h11.Response
) -> AsyncGenerator[Piece]:
    """The body of a stream: what arrives together comes together, in pieces that are decoded in one step."""
    if (b"transfer-encoding", b"chunked") not in response.headers:
        while isinstance(event := await answer.next(), h11.Data):
            yield Piece(bytes(event.data), more=False)
        return
    decoder = ChunkedDecoder()
    data = answer.rest
    while True:
        has_more = len(data) >= _MUCH and connection.has_more()
        for start in range(0, len(data), _READ_SIZE):
            body = decoder.feed(data[start : start + _READ_SIZE])
            goes_on = decoder.fault is None and not decoder.ended
            more = goes_on and (has_more or start + _READ_SIZE < len(data))
            if body or not more:
                yield Piece(body, more=more)
            if decoder.fault is not None:
                raise decoder.fault
            if decoder.ended:
                return
        try:
            data = await connection.stream.receive(_STREAM_READ_SIZE)
        except anyio.EndOfStream:
            raise h11.RemoteProtocolError("the stream broke off in mid-chunk") from None


def _detail(body: bytes) -> str:
    """The text of an error answer, shortened."""
    return body[:300].decode("utf-8", "replace").strip()
