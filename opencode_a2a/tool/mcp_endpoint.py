"""The tool's endpoint: an ASGI application before another one, which answers the requests that bear its secret.

Every other request goes on to the application behind it, and gets the answer of any unknown path. `sansio.mcp`
decides what a request means. A long answer is kept alive by progress: OpenCode 1.18.33 gives up a call after its time
limit (60 s by default) without progress, and a comment in the stream is none. It reports a cancelled call by
`notifications/cancelled`, and leaves the connection of that call open, so it is ended here.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

import anyio
from attrs import define, field

from opencode_a2a.server.http.asgi import Asgi, Receive, Scope, Send
from opencode_a2a.tool.call_origin import CallOrigin
from opencode_a2a.tool.endpoint_span import EndpointSpan
from opencode_a2a.tool.peer_calls import PeerCalls
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.a2a.tool.arguments import INPUT_SCHEMA
from sansio.a2a.tool.outcome import CallOutcome
from sansio.guards.proxies import NO_PROXIES, TrustedProxies, is_passed_on
from sansio.http import header_map
from sansio.mcp.messages import ErrorCode, Fault
from sansio.mcp.server import (
    BODY_LIMIT,
    KEEP_ALIVE,
    Exchange,
    HttpAnswer,
    HttpRequest,
    McpServer,
    ServerInfo,
    event,
)
from sansio.mcp.tools import Link, Text, Tool, ToolCall, ToolResult
from sansio.redact import Secret

_log = logging.getLogger(__name__)

TOOL_PATH: Final = "/internal/mcp"
"""The path of the endpoint."""

TOOL_NAME: Final = "call"

SIGN_OF_LIFE: Final = 10.0
"""Seconds after which a call without news reports progress all the same."""

_PACES: Final = ((30, 1.0), (100, 5.0))  # up to so many reports, seconds between two of them
_SLOWEST: Final = 10.0
_BODY_SECONDS: Final = 30.0  # in which a request's body has to come
_WAITING: Final = "waiting for the agent"


@define(eq=False)
class _News:
    """The latest progress of a call."""

    text: str = _WAITING
    origin: CallOrigin | None = None
    came: anyio.Event = field(factory=anyio.Event)

    def note(self, text: str, origin: CallOrigin) -> None:
        self.text, self.origin = text, origin
        self.came.set()


class ToolEndpoint:
    """The endpoint. `describe`: returns the tool's description as it is now. `anywhere`: callers need not be on this
    machine. `proxies`: who calls by one of them is where that one says. `tracer`: records the requests.
    `secret`: what requests bear; None makes one.
    """

    def __init__(
        self,
        calls: PeerCalls,
        *,
        version: str,
        describe: Callable[[], str],
        anywhere: bool,
        proxies: TrustedProxies = NO_PROXIES,
        tracer: Tracer = NO_TRACER,
        secret: Secret | None = None,
    ) -> None:
        self.secret: Secret = Secret(secrets.token_urlsafe(32)) if secret is None else secret
        self._calls = calls
        self._describe = describe
        self._anywhere = anywhere
        self._proxies = proxies
        self._tracer = tracer
        self._server = McpServer(ServerInfo("opencode-a2a", version), self._tools)
        self._scopes: dict[int, anyio.CancelScope] = {}
        self._has_warned = False

    def before(self, application: Asgi) -> Asgi:
        """Return the application with the endpoint before it."""
        return partial(self._route, application)

    def _tools(self) -> list[Tool]:
        description = self._describe()
        return [Tool(name=TOOL_NAME, title="Call another agent", description=description, input_schema=INPUT_SCHEMA)]

    async def _route(self, application: Asgi, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith(TOOL_PATH) and self._may_enter(scope):
            await self._http(scope, receive, send)
        else:
            await application(scope, receive, send)

    def _may_enter(self, scope: Scope) -> bool:
        """Whether a request bears the secret, and it alone; comes from this machine; and is no browser's."""
        proofs = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        wanted = f"Bearer {self.secret.reveal()}".encode()
        if len(proofs) != 1 or not hmac.compare_digest(proofs[0], wanted):
            return False
        if any(name.lower() == b"origin" for name, _ in scope["headers"]):
            return False
        if self._anywhere or self._is_near(scope):
            return True
        if not self._has_warned:  # it meets what every other path answers, which does not show the reason
            self._has_warned = True
            _log.warning("OpenCode calls the tool from elsewhere, or by a proxy, and is refused: set A2A_TOOL_URL")
        return False

    def _is_near(self, scope: Scope) -> bool:
        """Whether a request comes from this machine, and not by a proxy on it for somebody else."""
        client, server = scope.get("client"), scope.get("server")
        if not client:
            return False
        headers = header_map(scope["headers"])
        source = self._proxies.source(str(client[0]), headers)
        if is_passed_on(headers) and (source.is_unnamed or not source.is_by_proxy):
            return False  # by a proxy, for somebody whom it does not name or may not name
        return _is_near(client, server) and _is_near((source.address,), server)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        with EndpointSpan(self._tracer, scope, headers, TOOL_PATH) as span:
            await self._answer(scope, headers, receive, span.sending(send), span)

    async def _answer(
        self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send, span: EndpointSpan
    ) -> None:
        body = b""
        if scope["method"] == "POST":
            found = await _body(receive)
            if found is None:
                return
            body = found
        request = HttpRequest(method=scope["method"], headers=headers, body=body)
        outcome = self._server.receive(request, secrets.token_urlsafe(24))
        if isinstance(outcome, Exchange):
            # before any wait: a call can be given up before it has begun, by the batch that it came in too
            self._scopes |= {id(call): anyio.CancelScope() for call in outcome.calls}
        for call in outcome.stopped:
            running = self._scopes.get(id(call))
            if running is not None:
                running.cancel()
        if isinstance(outcome, HttpAnswer):
            length = () if outcome.status == 204 else (("content-length", str(len(outcome.body))),)
            await _start(send, outcome.status, (*outcome.headers, *length))
            await send({"type": "http.response.body", "body": outcome.body, "more_body": False})
        else:
            await self._carry_out(outcome, receive, send, span)

    async def _carry_out(self, exchange: Exchange, receive: Receive, send: Send, span: EndpointSpan) -> None:
        """Make the calls of a request, and write its answer; the client's leaving cancels them."""
        writing = anyio.Lock()

        async def write(frame: bytes) -> None:
            async with writing:
                await send({"type": "http.response.body", "body": frame, "more_body": True})

        gone = False

        async def watch(scope: anyio.CancelScope) -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            scope.cancel()

        try:
            if exchange.in_events:
                await _start(send, 200, exchange.headers)
                for response in list(exchange.answered):
                    await write(event(response))
            async with anyio.create_task_group() as outer:
                outer.start_soon(watch, outer.cancel_scope)
                async with anyio.create_task_group() as tasks:
                    for call in exchange.calls:
                        tasks.start_soon(self._one, exchange, call, write, span)
                outer.cancel_scope.cancel()
        finally:
            for call in exchange.calls:
                exchange.drop(call)
                del self._scopes[id(call)]
        if gone:
            return
        if exchange.in_events:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            body = exchange.whole()
            await _start(send, 200, (*exchange.headers, ("content-length", str(len(body)))))
            await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _one(
        self, exchange: Exchange, call: ToolCall, write: Callable[[bytes], Awaitable[None]], span: EndpointSpan
    ) -> None:
        """Make one call, and report its progress meanwhile."""
        news = _News()
        outcome: CallOutcome | None = None
        started = anyio.current_time()
        with self._scopes[id(call)]:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_report, exchange, call, news, write)
                outcome = await self._calls.call(call.arguments, news.note, span.within)
                tasks.cancel_scope.cancel()
        state = "cancelled" if outcome is None else outcome.data.get("error_code") or outcome.data.get("state")
        _log.info("a2a_call: %s after %.1f s", state, anyio.current_time() - started)
        if outcome is not None:
            response = exchange.finish(call, _result(outcome))
        elif exchange.in_events:
            exchange.drop(call)  # nobody waits for the response of a cancelled call
            return
        else:
            response = exchange.finish(call, Fault(ErrorCode.INTERNAL_ERROR, "The call was cancelled"))
        if exchange.in_events:
            with suppress(OSError):
                await write(event(response))


async def _report(exchange: Exchange, call: ToolCall, news: _News, write: Callable[[bytes], Awaitable[None]]) -> None:
    """Report the progress of a call until it is cancelled: soon where there is news, else as a sign of life."""
    number = 0
    while True:
        with anyio.move_on_after(SIGN_OF_LIFE):
            await news.came.wait()
        number += 1
        if news.came.is_set():
            news.came = anyio.Event()
            if news.origin is not None:
                news.origin.progress(news.text)
        if exchange.in_events:
            await write(exchange.progress(call, number, news.text) or KEEP_ALIVE)
        await anyio.sleep(next((pause for count, pause in _PACES if number <= count), _SLOWEST))


def _result(outcome: CallOutcome) -> ToolResult:
    links = tuple(Link(url=one.url, name=one.name, media_type=one.media_type) for one in outcome.links)
    return ToolResult(content=(Text(outcome.text), *links), structured=outcome.data, failed=outcome.failed)


def _is_near(client: Sequence[Any], server: Sequence[Any] | None) -> bool:
    """Whether a client is on this machine: it has a loopback address, or that at which it has reached the server."""
    try:
        address = ip_address(str(client[0]).partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback or (server is not None and client[0] == server[0])


async def _body(receive: Receive) -> bytes | None:
    """Return the body, cut a little above what is allowed; None where the client left before its end."""
    body = bytearray()
    with anyio.move_on_after(_BODY_SECONDS):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            if len(body) <= BODY_LIMIT:
                body += message.get("body", b"")
            if not message.get("more_body", False):
                return bytes(body)
    return None


async def _start(send: Send, status: int, headers: tuple[tuple[str, str], ...]) -> None:
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
