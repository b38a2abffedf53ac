"""HTTP for calling one agent: requests whose failures are typed errors, and bodies that can be left at any time.

Credentials go to the origin of the agent's URL and to no other; redirects are not followed. Knows no A2A operation.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from http import HTTPStatus
from typing import Final, TypeAlias, TypeVar
from urllib.request import getproxies

import anyio
import anyio.to_thread
import httpx

from opencode_a2a import __version__
from opencode_a2a.client.options import ClientOptions
from opencode_a2a.outbound.outbound_errors import (
    AnswerTooLargeError,
    CertificatesError,
    EncodedAnswerError,
    TargetRefusedError,
)
from opencode_a2a.tracing.spans import CURRENT
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.cards.parse import Origin
from sansio.a2a.client.agent_errors import postponed
from sansio.a2a.client.calls import HttpCall
from sansio.a2a.client.client_errors import (
    ClientError,
    InvalidAnswerError,
    RefusedTargetError,
    TimedOutError,
    UnavailableError,
    UsageError,
)
from sansio.a2a.tasks.push_notifications import retry_after
from sansio.redact import HIDDEN, redact_url

T = TypeVar("T")

_Send: TypeAlias = Callable[[httpx.Request], Awaitable[httpx.Response]]

_USER_AGENT: Final = f"opencode-a2a/{__version__}".encode()

LARGE_ANSWER: Final = 64 * 1024
"""Bytes of an answer, or an event, that is parsed in a thread, so that it does not hold up the event loop."""

ANSWER_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of an answer that is read whole."""

_POSTPONED: Final = (429, 503)
_LARGEST_REFUSAL: Final = 1024 * 1024  # bytes
_CLOSING: Final = 1.0  # seconds for closing a connection in peace

_UNKNOWN: Final = re.compile(r"self[- ]signed certificate|unable to get (local )?issuer certificate")
"""OpenSSL's words for a certificate whose authority is not trusted; one that has expired is another case."""

_DEEPEST: Final = 8  # errors behind one another that are looked at for words

_TRUST: Final = ". To trust a certificate of your own, name it, or its authority's, in SSL_CERT_FILE (PEM)"


class Answer:
    """An answer whose head has come. Use `pieces` or `read`, and `close` it."""

    def __init__(self, response: httpx.Response, origin: Origin, silence: float, presented: bytes = b"") -> None:
        """`presented`: the credential that the request carried; no error may repeat it."""
        self._presented = presented
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        self._origin = origin
        self._silence = silence
        self._pieces: AsyncIterator[bytes] | None = None

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        text: str = self.headers.get("content-type", "")
        return text.partition(";")[0].strip().lower()

    async def check_postponed(self) -> None:
        """Raise the `AgentError` of an answer that says when to ask again (429 or 503 with `Retry-After`)."""
        if self.status in _POSTPONED:
            seconds = retry_after(self.headers.get("retry-after"), time.time())
            if seconds is not None:
                raise postponed(self.status, await self.read(_LARGEST_REFUSAL), seconds)

    async def piece(self) -> bytes | None:
        """Return the next piece of the body; None at its end. Raises `UnavailableError`, `InvalidAnswerError`."""
        if self._pieces is None:
            encoding = self.headers.get("content-encoding", "identity").strip().lower()
            if encoding not in ("", "identity"):
                raise InvalidAnswerError(f"{self._origin} compressed its answer, which was not asked for")
            self._pieces = self._response.aiter_raw()
        try:
            return await anext(self._pieces, None)
        except httpx.HTTPError as error:
            raise failure(error, self._origin, self._silence) from None

    async def read(self, limit: int = ANSWER_LIMIT) -> bytes:
        """Return the whole body. Raises like `piece`, and where it is larger than `limit` bytes."""
        body = bytearray()
        while (piece := await self.piece()) is not None:
            body += piece
            if len(body) > limit:
                raise InvalidAnswerError(f"The agent's answer is larger than {limit} bytes")
        return self._without_credential(bytes(body))

    def _without_credential(self, body: bytes) -> bytes:
        """Return the body; an error that repeats the request does not show its credential to whoever reads it."""
        if not self._presented or self._presented not in body:
            return body
        is_error = self.status >= HTTPStatus.BAD_REQUEST or b'"error"' in body
        return body.replace(self._presented, HIDDEN.encode()) if is_error else body

    async def close(self) -> None:
        """Give the connection back where the body has ended, or close it."""
        with anyio.move_on_after(_CLOSING, shield=True):
            if self._pieces is not None and not self._response.is_closed:
                await end_early(self._pieces)
            await self._response.aclose()


async def end_early(pieces: AsyncIterator[bytes]) -> None:
    """End an iterator of httpx over a body that is not wanted any more.

    One that is left early is not closed with those inside it; cancelling its next read is what ends them all.
    """
    with anyio.CancelScope() as scope:
        scope.cancel()
        with suppress(httpx.HTTPError):
            # what has come already is given out without a wait, so that cancelling cannot end it
            while await anext(pieces, None) is not None:
                pass


class Web:
    """HTTP to one agent. `home`: the origin that gets the credentials.

    `transport`: what carries the requests; None: connections as the environment's proxy settings want them.
    """

    def __init__(
        self,
        options: ClientOptions,
        home: Origin,
        closing: AsyncExitStack,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.options = options
        self.home = home
        self._closing = closing
        self._transport = transport
        self._senders: dict[bool, _Send] = {}
        self._trace_id = options.trace_id or secrets.token_hex(16)
        self._authorization = options.authorization()

    async def _sender(self, *, proxied: bool) -> _Send:
        """Make what sends requests when it is first needed: loading the trusted certificates takes a while.

        A transport costs a sixth less per request than a client of httpx, which is there for the proxies of the
        environment.
        """
        if proxied not in self._senders:
            if self._transport is not None:
                self._closing.push_async_callback(self._transport.aclose)
                self._senders = dict.fromkeys((False, True), self._transport.handle_async_request)
                return self._senders[proxied]
            try:
                # the trusted certificates are the environment's, whether or not its proxies are used
                trusted = httpx.create_ssl_context(trust_env=True)
                if proxied and getproxies():
                    client = httpx.AsyncClient(trust_env=True, verify=trusted)
                    await self._closing.enter_async_context(client)
                    self._senders[proxied] = partial(client.send, stream=True)
                else:
                    transport = httpx.AsyncHTTPTransport(verify=trusted)
                    self._closing.push_async_callback(transport.aclose)
                    self._senders[proxied] = transport.handle_async_request
            except (ImportError, OSError, ValueError, httpx.InvalidURL):
                raise UsageError(
                    "the environment's proxy or certificate settings cannot be used "
                    "(HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE, SSL_CERT_DIR)"
                ) from None
        return self._senders[proxied]

    def _trace(self) -> TraceContext:
        """Return the span that a request belongs to: that of whoever calls, else one of the connection's trace."""
        return CURRENT.get() or TraceContext(self._trace_id, secrets.token_hex(8))

    async def ask(self, call: HttpCall, silence: float | None = None) -> Answer:
        """Send a request; return the answer with its body unread.

        `silence`: seconds for which the agent may send nothing, where that is not the options' timeout. Raises
        `UnavailableError`, and `InvalidAnswerError` for a redirect.
        """
        origin = Origin.of(call.url)
        headers = {name.encode(): value.encode() for name, value in call.headers.items()}
        headers[b"user-agent"] = _USER_AGENT
        # a compressed stream comes in lumps, and a compressed body can be larger than it looks
        headers[b"accept-encoding"] = b"identity"
        for name, value in self._trace().headers:
            headers[name.encode()] = value.encode()
        presented = b""
        if self._authorization is not None and origin == self.home:
            headers[b"authorization"] = self._authorization
            presented = self._authorization.partition(b" ")[2]
        send = await self._sender(proxied=not origin.is_loopback)
        allowed = self.options.timeout if silence is None else silence
        limits = {**dict.fromkeys(("connect", "write", "pool"), self.options.timeout), "read": allowed}
        try:
            request = httpx.Request(
                call.method, call.url, headers=headers, content=call.body, extensions={"timeout": limits}
            )
            with anyio.fail_after(allowed + self.options.timeout):  # a head that drips is no answer
                response = await send(request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise failure(error, origin, allowed) from None
        except TimeoutError:
            raise self.late(call, allowed) from None
        answer = Answer(response, origin, allowed, presented)
        if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST and answer.status != 304:
            location = redact_url(answer.headers.get("location", "another address"))
            await answer.close()
            raise InvalidAnswerError(f"{origin} redirects to {location}, which is not followed; give that URL")
        return answer

    async def read(
        self, call: HttpCall, limit: int = ANSWER_LIMIT, *, silence: float | None = None
    ) -> tuple[int, bytes]:
        """Send a request; return status and body. Raises like `ask`, and where the body does not end in time."""
        allowed = self.options.timeout if silence is None else silence
        answer = await self.ask(call, silence)
        try:
            with anyio.fail_after(allowed):
                await answer.check_postponed()
                return answer.status, await answer.read(limit)
        except TimeoutError:
            raise self.late(call, allowed) from None
        finally:
            await answer.close()

    def late(self, call: HttpCall, seconds: float | None = None) -> TimedOutError:
        """Return the error for an answer that did not come whole within some seconds; None: the options' timeout."""
        allowed = self.options.timeout if seconds is None else seconds
        return TimedOutError(f"{Origin.of(call.url)} did not answer within {allowed:g} s")


async def parsed(parse: Callable[[int, bytes], T], answer: tuple[int, bytes]) -> T:
    """Parse an answer: its status and its body. Raises what `parse` does."""
    status, body = answer
    if len(body) <= LARGE_ANSWER:
        return parse(status, body)
    return await anyio.to_thread.run_sync(parse, status, body)


def failure(error: Exception, origin: Origin, timeout: float) -> ClientError:
    """Return a network error as one of ours. Of its own text only the system's reason for a failed connection."""
    match error:
        case TargetRefusedError():
            return RefusedTargetError(f"{origin}: {error.refusal.message}")
        case AnswerTooLargeError() | EncodedAnswerError():
            return InvalidAnswerError(f"{origin}: {error}")
        case CertificatesError():
            return UnavailableError(f"Cannot talk to {origin}: {error}")
        case httpx.PoolTimeout():
            return TimedOutError(f"No connection to {origin} was free within {timeout:g} s")
        case httpx.ConnectTimeout():
            return TimedOutError(f"Cannot connect to {origin} within {timeout:g} s")
        case httpx.ConnectError():
            text = _reason(error)
            return UnavailableError(f"Cannot connect to {origin}: {text}{_TRUST if _UNKNOWN.search(text) else ''}")
        case httpx.TimeoutException():
            return TimedOutError(f"{origin} was silent for {timeout:g} s")
        case httpx.ProxyError():
            return UnavailableError(f"Cannot reach {origin} through the proxy: {error}")
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return UnavailableError(f"{origin} broke the connection off")
        case _:
            return UnavailableError(f"Cannot talk to {origin}: {type(error).__name__}")


def _reason(error: BaseException) -> str:
    """Return the words of an error, or of the nearest one behind it that has any: on trio, a handshake's has none."""
    behind: BaseException | None = error
    for _ in range(_DEEPEST):
        if behind is None or str(behind):
            break
        behind = behind.__cause__ or behind.__context__
    return type(error).__name__ if behind is None else str(behind) or type(error).__name__
