"""HTTP for calling one agent: requests whose failures are typed errors.

Credentials go to the origin of the agent's URL and to no other; redirects are not followed. Knows no A2A operation.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from http import HTTPStatus
from itertools import product
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar
from urllib.request import getproxies

import anyio
import anyio.to_thread
import httpx

from opencode_a2a import __version__
from opencode_a2a.client.answer import ANSWER_LIMIT, Answer, failure
from opencode_a2a.client.options import ClientOptions
from opencode_a2a.outbound.exchange import PING_AFTER
from opencode_a2a.tracing.spans import CURRENT
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.cards.parse import Origin
from sansio.a2a.client.calls import HttpCall
from sansio.a2a.client.client_errors import InvalidAnswerError, TimedOutError, UsageError
from sansio.redact import redact_url

if TYPE_CHECKING:
    from opencode_a2a.client.websocket_channel import WebSocketSender

T = TypeVar("T")

_Send: TypeAlias = Callable[[httpx.Request], Awaitable[httpx.Response]]

_USER_AGENT: Final = f"opencode-a2a/{__version__}".encode()

LARGE_ANSWER: Final = 64 * 1024
"""Bytes of an answer, or an event, that is parsed in a thread, so that it does not hold up the event loop."""

QUIET: Final = PING_AFTER + 30.0
"""Seconds for which a stream over gRPC may be silent: it has no comments, and the connection is probed meanwhile."""

_LONGEST_STREAM: Final = 2**40
"""Bytes of a stream over gRPC: whoever follows the task has limits of its own, and so has a whole answer."""


_TRUSTING_NONE: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


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
        self._senders: dict[tuple[bool, bool], _Send] = {}
        self._direct: httpx.AsyncBaseTransport | None = None
        self._websockets: WebSocketSender | None = None
        self._trace_id = options.trace_id or secrets.token_hex(16)
        self._authorization = options.authorization()

    async def _sender(self, *, proxied: bool, secure: bool) -> _Send:
        """Make what sends requests when it is first needed. `secure`: over TLS.

        A transport costs a sixth less per request than a client of httpx, which is there for the proxies of the
        environment.
        """
        kind = (proxied, secure)
        if kind not in self._senders:
            if self._transport is not None:
                self._closing.push_async_callback(self._transport.aclose)
                self._senders = dict.fromkeys(
                    product((False, True), (False, True)), self._transport.handle_async_request
                )
                return self._senders[kind]
            try:
                if proxied and getproxies():
                    # the trusted certificates are the environment's; a proxy may need them where the agent does not
                    client = httpx.AsyncClient(trust_env=True, verify=httpx.create_ssl_context(trust_env=True))
                    await self._closing.enter_async_context(client)
                    self._senders[kind] = partial(client.send, stream=True)
                else:
                    # loading the trusted certificates takes 25 ms: what speaks no TLS trusts none
                    trusted = httpx.create_ssl_context(trust_env=True) if secure else _TRUSTING_NONE
                    transport = httpx.AsyncHTTPTransport(verify=trusted)
                    self._closing.push_async_callback(transport.aclose)
                    self._senders[kind] = transport.handle_async_request
            except (ImportError, OSError, ValueError, httpx.InvalidURL):
                raise UsageError(
                    "the environment's proxy or certificate settings cannot be used "
                    "(HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE, SSL_CERT_DIR)"
                ) from None
        return self._senders[kind]

    def _direct_transport(self) -> httpx.AsyncBaseTransport:
        """Return what sends requests over HTTP/2 and opens WebSocket connections, past the environment's proxies."""
        if self._direct is None:
            from opencode_a2a.outbound.peer_policy import CALLER_POLICY
            from opencode_a2a.outbound.transport import CheckedTransport, OutboundLimits  # which loads h2

            limits = OutboundLimits(answer_bytes=_LONGEST_STREAM)
            self._direct = self._transport or CheckedTransport(CALLER_POLICY, limits)
            self._closing.push_async_callback(self._direct.aclose)
        return self._direct

    def _websocket_sender(self) -> _Send:
        """Return what sends messages on the WebSocket connection to the agent."""
        if self._websockets is None:
            from opencode_a2a.client.websocket_channel import WebSocketSender  # which loads wsproto

            self._websockets = WebSocketSender(self._direct_transport())
            self._closing.push_async_callback(self._websockets.aclose)
        return self._websockets.send

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
        if call.message_id:
            send = self._websocket_sender()
        elif call.grpc:
            send = self._direct_transport().handle_async_request
        else:
            send = await self._sender(proxied=not origin.is_loopback, secure=origin.scheme == "https")
        allowed = self.options.timeout if silence is None else silence
        if call.grpc and call.streaming:
            allowed = max(allowed, min(self.options.patience, QUIET))
        limits = {**dict.fromkeys(("connect", "write", "pool"), self.options.timeout), "read": allowed}
        try:
            extensions = {"timeout": limits, "http2": call.grpc, "stream": call.streaming}
            extensions |= {"message_id": call.message_id} if call.message_id else {}
            request = httpx.Request(call.method, call.url, headers=headers, content=call.body, extensions=extensions)
            with anyio.fail_after(allowed + self.options.timeout):  # a head that drips is no answer
                response = await send(request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise failure(error, origin, allowed) from None
        except TimeoutError:
            raise self.late(call, allowed) from None
        answer = _answer_class(call)(response, origin, allowed, presented)
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


def _answer_class(call: HttpCall) -> type[Answer]:
    if call.message_id:
        from opencode_a2a.client.websocket_channel import WebSocketAnswer

        return WebSocketAnswer
    if call.grpc:
        from opencode_a2a.client.grpc_answer import GrpcAnswer  # which needs the extra `grpc`

        return GrpcAnswer
    return Answer


async def parsed(parse: Callable[[int, bytes], T], answer: tuple[int, bytes]) -> T:
    """Parse an answer: its status and its body. Raises what `parse` does."""
    status, body = answer
    if len(body) <= LARGE_ANSWER:
        return parse(status, body)
    return await anyio.to_thread.run_sync(parse, status, body)
