"""A transport for httpx that connects to exactly the addresses that a policy has looked at.

Each new connection resolves the host once, has every address judged, and goes to one of those. No redirect, proxy,
cookie or login of the environment has a say in where a request goes. Knows nothing of what is sent.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from typing import Final, Self

import anyio
import anyio.to_thread
import h11
import httpx
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from attrs import frozen

from opencode_a2a.outbound.http1 import Http1Connection
from opencode_a2a.outbound.outbound_errors import (
    AnswerTooLargeError,
    CertificatesError,
    EncodedAnswerError,
    TargetRefusedError,
)
from opencode_a2a.outbound.resolving import Resolve, addresses_of
from sansio.a2a.errors import ProtocolError, invalid
from sansio.a2a.media_types import EVENT_STREAM
from sansio.outbound import Address, FieldPath, OutboundPolicy, Target

_ADDRESSES_TRIED: Final = 3
_CREDENTIALS: Final = frozenset({b"authorization"})
_NOT_SENT: Final = frozenset({b"host", b"accept-encoding", b"cookie", b"proxy-authorization"})
"""Headers that the transport sets itself, and those by which a client of httpx would bring in a login or a past."""


@frozen(kw_only=True)
class OutboundLimits:
    """Limits of a transport. Times are in seconds.

    `connections`: how many are open at once, idle ones included; one more request waits for a place.
    `idle_seconds`: how long one is kept for the next request to the same origin; 0 keeps none.
    `answer_bytes`: size of a body. `answer_seconds`: time for a body, from the head on, unless it is an event
    stream that the request accepts.

    These hold where the request brings no `timeout` of httpx: `pool_seconds` for a place, `connect_seconds` for
    resolving, connecting and TLS, `silence_seconds` for the head as a whole and between two pieces of a body.
    """

    connections: int = 32
    idle_seconds: float = 60.0
    answer_bytes: int = 64 * 1024 * 1024
    answer_seconds: float = 120.0
    pool_seconds: float = 10.0
    connect_seconds: float = 10.0
    silence_seconds: float = 30.0


@frozen(kw_only=True)
class _Times:
    """Seconds that each step of a request may take."""

    pool: float
    connect: float
    write: float
    read: float

    @classmethod
    def of(cls, request: httpx.Request, limits: OutboundLimits) -> Self:
        asked = request.extensions.get("timeout", {})

        def within(name: str, default: float) -> float:
            value = asked.get(name)
            return default if value is None else float(value)

        return cls(
            pool=within("pool", limits.pool_seconds),
            connect=within("connect", limits.connect_seconds),
            write=within("write", limits.silence_seconds),
            read=within("read", limits.silence_seconds),
        )


class CheckedTransport(httpx.AsyncBaseTransport):
    """Sends where the policy allows it:

        transport = CheckedTransport(peer_policy(settings), OutboundLimits(connections=8))
        async with httpx.AsyncClient(transport=transport) as client:
            answer = await client.get("https://agent.example/.well-known/agent-card.json")

    A request that carries `Authorization` is refused where the policy gives the target no credentials. The silence
    limit of an event stream is httpx's read timeout. Answers come uncompressed, and without `Set-Cookie`.

    Connections are kept by origin, so no name is reached over another one's connection; requests with credentials
    have connections of their own. A new one is resolved and checked again. `path`: the field that a refusal names.
    """

    def __init__(
        self,
        policy: OutboundPolicy,
        limits: OutboundLimits = OutboundLimits(),
        *,
        resolve: Resolve = addresses_of,
        path: FieldPath = ("url",),
    ) -> None:
        self._policy = policy
        self._limits = limits
        self._resolve = resolve
        self._path = path
        self._places = anyio.Semaphore(limits.connections)
        self._active: set[Http1Connection] = set()
        self._idle: list[Http1Connection] = []  # the one that has waited longest comes first
        self._loading = anyio.Lock()
        self._trusted: ssl.SSLContext | None = None
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Number of open connections, idle ones included."""
        return len(self._active) + len(self._idle)

    async def aclose(self) -> None:
        """Close all connections; answers that are still being read break off."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            for connection in (*self._active, *self._idle):
                await connection.aclose()
        self._idle.clear()

    async def check(self, url: str, path: FieldPath) -> None:
        """Judge a URL, and what its host resolves to now, without connecting.

        Raises `ProtocolError` that names the field at `path` and never repeats the URL.
        """
        target = self._policy.target(url, path)
        await self._addresses(target, path, self._limits.connect_seconds, credentials=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return its answer, the body unread.

        Raises exceptions of httpx, which those of this package are too.
        """
        times = _Times.of(request, self._limits)
        target, credentials = self._target_of(request)
        try:
            with anyio.fail_after(times.pool):
                await self._places.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("too many connections are open") from None
        try:
            return await self._exchange(request, target, times, credentials=credentials)
        except BaseException:
            self._places.release()
            raise

    def _target_of(self, request: httpx.Request) -> tuple[Target, bool]:
        """Return where a request goes, and whether it carries credentials."""
        credentials = any(name.lower() in _CREDENTIALS for name, _ in request.headers.raw)
        try:
            target = self._policy.target(str(request.url), self._path)
            if credentials and not self._policy.may_have_credentials(target):
                raise invalid(self._path, "leads to a host that gets no credentials")
        except ProtocolError as refusal:
            raise TargetRefusedError(refusal) from None
        return target, credentials

    # --- the exchange -------------------------------------------------------------------------------------

    async def _exchange(
        self, request: httpx.Request, target: Target, times: _Times, *, credentials: bool
    ) -> httpx.Response:
        message = _message(request, target)
        connection = await self._connection(target, times, credentials=credentials)
        try:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            await connection.send(message, request.stream, times.write)
            with anyio.fail_after(times.read):
                head = await connection.head()
        except BaseException as error:
            await self._drop(connection)
            if isinstance(error, TimeoutError):
                raise httpx.ReadTimeout("the answer did not begin in time") from None
            raise
        return httpx.Response(
            head.status_code,
            headers=[(name, value) for name, value in head.headers if name != b"set-cookie"],
            stream=self._body(connection, request, head, times),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": bytes(head.reason)},
        )

    def _body(self, connection: Http1Connection, request: httpx.Request, head: h11.Response, times: _Times) -> _Body:
        limits, headers = self._limits, httpx.Headers(list(head.headers))
        accepts = EVENT_STREAM in request.headers.get("accept", "")
        streams = accepts and headers.get("content-type", "").partition(";")[0].strip().lower() == EVENT_STREAM
        ends = float("inf") if streams else anyio.current_time() + limits.answer_seconds
        return _Body(self, connection, headers, _BodyLimits(limits.answer_bytes, times.read, ends))

    # --- connections --------------------------------------------------------------------------------------

    async def _connection(self, target: Target, times: _Times, *, credentials: bool) -> Http1Connection:
        """Return a kept connection to the origin, or a new one. The caller has a place."""
        key = (target.origin, credentials)
        connection = await self._kept(key)
        if connection is not None:
            return connection
        try:
            with anyio.fail_after(times.connect):
                addresses = await self._addresses(target, self._path, times.connect, credentials=credentials)
                stream = await self._connected(target, addresses[:_ADDRESSES_TRIED], times.connect)
        except ProtocolError as refusal:
            raise TargetRefusedError(refusal) from None
        except TimeoutError:
            raise httpx.ConnectTimeout(_NO_CONNECTION) from None
        connection = Http1Connection.over(stream, key)
        self._active.add(connection)
        return connection

    async def _kept(self, key: tuple[str, bool]) -> Http1Connection | None:
        """Return a connection that is kept for the key, and make room for another one where there is none."""
        now = anyio.current_time()
        found = None
        for connection in reversed(self._idle[:]):
            wanted = found is None and connection.key == key
            if connection.idle_until <= now or (wanted and connection.is_dead()):
                await self._close_idle(connection)
            elif wanted and connection in self._idle:
                self._idle.remove(connection)
                self._active.add(connection)
                found = connection
        while found is None and len(self._idle) > self._places.value:
            await self._close_idle(self._idle[0])
        return found

    async def _close_idle(self, connection: Http1Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
            with anyio.CancelScope(shield=True):
                await connection.aclose()

    async def _addresses(
        self, target: Target, path: FieldPath, seconds: float, *, credentials: bool
    ) -> tuple[Address, ...]:
        """Return the addresses of a target, all of which the policy admits. Raises `ProtocolError`."""
        found = [target.address] if target.address is not None else await self._resolved(target, seconds)
        return self._policy.admit(target, found, path, credentials=credentials)

    async def _resolved(self, target: Target, seconds: float) -> list[Address]:
        """The addresses of a name; none where it does not resolve in time."""
        with anyio.move_on_after(seconds):
            try:
                texts = await self._resolve(target.host, target.port)
                return [ipaddress.ip_address(text) for text in texts]
            except (OSError, ValueError):  # ValueError: a name or an address nothing can be done with
                return []
        return []

    async def _connected(self, target: Target, addresses: Sequence[Address], seconds: float) -> ByteStream:
        """Connect to the first address that takes it. Each has an equal part of the time."""
        failure: httpx.TransportError = httpx.ConnectTimeout(_NO_CONNECTION)
        trusted = await self._certificates() if target.scheme == "https" else None
        for address in addresses:
            try:
                with anyio.fail_after(seconds / len(addresses)):
                    return await _stream_to(target, address, trusted)
            except TimeoutError:
                failure = httpx.ConnectTimeout(_NO_CONNECTION)
            except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
                failure = httpx.ConnectError(_reason(error))
        raise failure

    async def _certificates(self) -> ssl.SSLContext:
        """The trusted certificates. Loading them takes a while, so it waits for the first https URL."""
        async with self._loading:
            if self._trusted is None:
                try:
                    self._trusted = await anyio.to_thread.run_sync(httpx.create_ssl_context)
                except OSError:
                    raise CertificatesError(
                        "the trusted certificates cannot be loaded (SSL_CERT_FILE, SSL_CERT_DIR)"
                    ) from None
                self._trusted.set_alpn_protocols(["http/1.1"])
            return self._trusted

    async def release(self, connection: Http1Connection, *, whole: bool) -> None:
        """Take a connection back after its answer. `whole`: all of it has been read."""
        seconds = self._limits.idle_seconds
        if whole and seconds > 0 and not self._closed and connection.is_reusable():
            connection.idle_until = anyio.current_time() + seconds
            self._active.discard(connection)
            self._idle.append(connection)
        else:
            await self._drop(connection)
        self._places.release()

    async def _drop(self, connection: Http1Connection) -> None:
        self._active.discard(connection)
        with anyio.CancelScope(shield=True):
            await connection.aclose()


_NO_CONNECTION: Final = "no connection was made in time"


@frozen
class _BodyLimits:
    """Limits of one body: bytes, seconds of silence, and the time of the loop's clock at which it has to end."""

    size: int
    silence: float
    ends: float


class _Body(httpx.AsyncByteStream):
    """The body of an answer, as it comes. Its connection is given back once it is closed."""

    def __init__(
        self, transport: CheckedTransport, connection: Http1Connection, headers: httpx.Headers, limits: _BodyLimits
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._headers = headers
        self._limits = limits
        self._size = 0
        self._whole = False
        self._open = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        limits = self._limits
        if not self._size:
            _check_head(self._headers, limits.size)
        try:
            with anyio.fail_after(max(0.0, min(limits.silence, limits.ends - anyio.current_time()))):
                part = await self._connection.part()
        except TimeoutError:
            raise httpx.ReadTimeout("the rest of the answer did not come in time") from None
        if part is None:
            self._whole = True
            raise StopAsyncIteration
        self._size += len(part)
        if self._size > limits.size:
            raise _too_large(limits.size)
        return part

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            await self._transport.release(self._connection, whole=self._whole)


def _check_head(headers: httpx.Headers, limit: int) -> None:
    """Refuse a body that is too large by its own account, or compressed. Raises `OutboundError`."""
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise EncodedAnswerError("the answer is compressed, which the request did not ask for")


def _too_large(limit: int) -> AnswerTooLargeError:
    return AnswerTooLargeError(f"the answer is larger than {limit} bytes")


def _message(request: httpx.Request, target: Target) -> h11.Request:
    """The head of a request, in the name of the host that the policy has judged."""
    headers = [(b"Host", target.authority.encode()), (b"Accept-Encoding", b"identity")]
    headers += [(name, value) for name, value in request.headers.raw if name.lower() not in _NOT_SENT]
    try:
        return h11.Request(method=request.method, target=target.path, headers=headers)
    except h11.LocalProtocolError:
        raise httpx.LocalProtocolError("the request cannot be written as HTTP/1.1") from None


async def _stream_to(target: Target, address: Address, trusted: ssl.SSLContext | None) -> ByteStream:
    """Connect to an address in the name of the host: that is what the certificate is held against."""
    stream: ByteStream = await anyio.connect_tcp(str(address), target.port)
    if trusted is None:
        return stream
    try:
        return await TLSStream.wrap(stream, hostname=target.host, ssl_context=trusted, standard_compatible=False)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(stream)
        raise


def _reason(error: BaseException) -> str:
    """The reason that the system or TLS gives; the libraries between do not always pass it on."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and str(inner):
            return str(inner)
        inner = inner.__cause__ or inner.__context__
    return type(error).__name__
