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
import httpx
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from attrs import frozen

from opencode_a2a.outbound.exchange import AnswerHead, Connection, Key
from opencode_a2a.outbound.http1 import Http1Connection
from opencode_a2a.outbound.http2 import ALPN, Http2Connection, speaks_http2
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

    HTTP/1.1 is spoken unless the request has the extension `http2`; with `stream`, its body may last. The response's
    extension `trailers` is a list, which is whole at the end of the body. A connection that was switched to another
    protocol is the extension `switched` of its 101, and closed with that.

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
        self._active: set[Connection] = set()
        self._idle: list[Connection] = []  # the one that has waited longest comes first
        self._loading = anyio.Lock()
        self._trusted: dict[bool, ssl.SSLContext] = {}
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
        key = Key(target.origin, credentials, http2=bool(request.extensions.get("http2")))
        connection = await self._connection(target, times, key)
        try:
            await connection.send(request, target, times.write)
            with anyio.fail_after(times.read):
                head = await connection.head()
        except BaseException as error:
            await self._drop(connection)
            if isinstance(error, TimeoutError):
                raise httpx.ReadTimeout("the answer did not begin in time") from None
            raise
        return httpx.Response(
            head.status,
            headers=[(name, value) for name, value in head.headers if name != b"set-cookie"],
            stream=self._body(connection, request, head, times),
            extensions=head.extensions,
        )

    def _body(self, connection: Connection, request: httpx.Request, head: AnswerHead, times: _Times) -> _Body:
        limits, headers = self._limits, httpx.Headers(head.headers)
        accepts = EVENT_STREAM in request.headers.get("accept", "")
        streams = accepts and headers.get("content-type", "").partition(";")[0].strip().lower() == EVENT_STREAM
        streams = streams or (connection.key.http2 and bool(request.extensions.get("stream")))
        ends = float("inf") if streams else anyio.current_time() + limits.answer_seconds
        return _Body(self, connection, headers, _BodyLimits(limits.answer_bytes, times.read, ends))

    # --- connections --------------------------------------------------------------------------------------

    async def _connection(self, target: Target, times: _Times, key: Key) -> Connection:
        """Return a kept connection to the origin, or a new one. The caller has a place."""
        kept = await self._kept(key)
        if kept is not None:
            return kept
        try:
            with anyio.fail_after(times.connect):
                addresses = await self._addresses(target, self._path, times.connect, credentials=key.credentials)
                stream = await self._connected(target, addresses[:_ADDRESSES_TRIED], times.connect, key.http2)
        except ProtocolError as refusal:
            raise TargetRefusedError(refusal) from None
        except TimeoutError:
            raise httpx.ConnectTimeout(_NO_CONNECTION) from None
        connection: Connection = (Http2Connection if key.http2 else Http1Connection).over(stream, key)
        self._active.add(connection)
        return connection

    async def _kept(self, key: Key) -> Connection | None:
        """Return a connection that is kept for the key, and make room for another one where there is none."""
        now = anyio.current_time()
        found = None
        for connection in reversed(self._idle[:]):
            wanted = found is None and connection.key == key
            if connection.idle_until <= now or (wanted and await connection.is_dead()):
                await self._close_idle(connection)
            elif wanted and connection in self._idle:
                self._idle.remove(connection)
                self._active.add(connection)
                found = connection
        while found is None and len(self._idle) > self._places.value:
            await self._close_idle(self._idle[0])
        return found

    async def _close_idle(self, connection: Connection) -> None:
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

    async def _connected(
        self, target: Target, addresses: Sequence[Address], seconds: float, http2: bool
    ) -> ByteStream:
        """Connect to the first address that takes it. Each has an equal part of the time."""
        failure: httpx.TransportError = httpx.ConnectTimeout(_NO_CONNECTION)
        trusted = await self._certificates(http2) if target.scheme == "https" else None
        for address in addresses:
            try:
                with anyio.fail_after(seconds / len(addresses)):
                    stream = await _stream_to(target, address, trusted)
                    if http2 and trusted is not None and not speaks_http2(stream):
                        await anyio.aclose_forcefully(stream)
                        raise httpx.ConnectError("the server does not offer HTTP/2")
                    return stream
            except TimeoutError:
                failure = httpx.ConnectTimeout(_NO_CONNECTION)
            except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
                failure = httpx.ConnectError(_reason(error))
        raise failure

    async def _certificates(self, http2: bool) -> ssl.SSLContext:
        """The trusted certificates. Loading them takes a while, so it waits for the first https URL."""
        async with self._loading:
            if http2 not in self._trusted:
                try:
                    trusted = await anyio.to_thread.run_sync(httpx.create_ssl_context)
                except OSError:
                    raise CertificatesError(
                        "the trusted certificates cannot be loaded (SSL_CERT_FILE, SSL_CERT_DIR)"
                    ) from None
                trusted.set_alpn_protocols([ALPN if http2 else "http/1.1"])
                self._trusted[http2] = trusted
            return self._trusted[http2]

    async def release(self, connection: Connection, *, whole: bool) -> None:
        """Take a connection back after its answer. `whole`: all of it has been read."""
        seconds = self._limits.idle_seconds
        if whole and seconds > 0 and not self._closed and connection.is_reusable():
            connection.idle_until = anyio.current_time() + seconds
            self._active.discard(connection)
            self._idle.append(connection)
        else:
            await self._drop(connection)
        self._places.release()

    async def _drop(self, connection: Connection) -> None:
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
        self, transport: CheckedTransport, connection: Connection, headers: httpx.Headers, limits: _BodyLimits
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
