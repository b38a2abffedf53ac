"""Handshakes of WebSocket connections: the guards of HTTP, tickets, and how many connections one caller may have.

A handshake is refused as a request of HTTP is, before the connection is switched.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import anyio

from opencode_a2a.metrics.request_metrics import count_request
from opencode_a2a.server.http.documents import only
from opencode_a2a.server.http.request_log import log_request
from opencode_a2a.server.http.request_span import begin_request_span, end_request_span, trace_headers
from opencode_a2a.server.identity.rate_guard import RateGuard
from opencode_a2a.server.surface import Surface
from opencode_a2a.server.websocket.connection import Perform, ServedConnection
from sansio import http
from sansio.a2a.bindings.http_messages import Request, Response, json_response
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.server import refuse
from sansio.a2a.websocket import messages
from sansio.a2a.websocket.session import SessionLimits
from sansio.access import Authentication
from sansio.access.tickets import digest_of, seal
from sansio.guards.origins import cors_headers

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SECRET: Final = 32  # bytes of a ticket


class WebSockets:
    """The WebSocket connections of a server.

    `perform`: runs a call. `as_error`: makes an exception the error to send, and logs it.
    """

    def __init__(
        self,
        surface: Surface,
        guard: RateGuard,
        *,
        perform: Perform,
        as_error: Callable[[Exception, Request], ProtocolError],
    ) -> None:
        self._surface = surface
        self._guard = guard
        self._perform = perform
        self._as_error = as_error
        self.limits = SessionLimits()
        self.tickets = surface.tickets
        self.open: set[ServedConnection] = set()
        self.callers: Counter[str] = Counter()
        self._is_draining = False

    async def ticket(self, request: Request, caller: Authentication) -> Response:
        """Issue a ticket for a connection of a caller.

        Raises `ProtocolError`: METHOD_NOT_ALLOWED, STORE_UNAVAILABLE, OVERLOADED.
        """
        only(request, "POST")
        secret = secrets.token_urlsafe(_SECRET)
        await self.tickets.issue(seal(secret, caller))
        body = {
            "ticket": secret,
            "expiresIn": self.tickets.bounds.seconds,
            "subprotocol": messages.TICKET_PREFIX + secret,
        }
        return json_response(200, body, ("cache-control", "no-store"))

    def drain(self) -> None:
        """Begin no request any more, and end each connection with its last answer."""
        self._is_draining = True
        for connection in list(self.open):
            connection.drain()

    def stop(self) -> None:
        """End all connections soon, whatever they run."""
        for connection in list(self.open):
            connection.stop()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection from its handshake to its end."""
        await receive()  # that it is asked for
        headers = http.header_map(scope["headers"])
        source = self._surface.proxies.source((scope.get("client") or ("",))[0], headers)
        request = Request(
            method="GET",
            path=http.without_prefix("GET", scope["path"], self._surface.prefix or source.prefix),
            query_string=scope["query_string"],
            headers=headers,
            source=source,
        )
        started = anyio.current_time()
        span = begin_request_span(self._surface.tracer, request, scope)
        caller: Authentication | None = None
        try:
            caller = await self._admitted(request, scope)
        except Exception as exc:
            error = self._as_error(exc, request)
            answer = refuse(error, request, self._surface.protocol, self._guard.authenticator.challenge(request))
            request.outcome.status = answer.status
            extra = (*cors_headers(headers, self._surface.origins), *request.rate_headers, *trace_headers(request))
            await _deny(answer, extra, scope, send)
        else:
            request.outcome.status = 101
        finally:
            end_request_span(span, request)
            count_request(self._surface.meters, request.outcome)
            log_request(request, anyio.current_time() - started)
        if caller is not None:
            await self._connected(request, caller, scope, receive, send)

    async def _admitted(self, request: Request, scope: Scope) -> Authentication:
        """Return whose connection it is to be. Raises `ProtocolError`."""
        surface = self._surface
        http.check_repeated(scope["headers"], surface.authenticator.headers)
        surface.hosts.check(request.headers.get("host"))
        if request.source.host is not None:
            surface.hosts.check(request.source.host)
        http.answer_before_body(request, surface.origins)
        if request.path != messages.PATH or not surface.protocol.serves_websocket:
            raise ProtocolError(ErrorKind.NOT_FOUND, "There is no WebSocket here")
        caller = await self._caller(request)
        identity = caller.identity
        request.outcome.principal, request.outcome.credential_id = identity.principal, identity.credential_id
        if messages.chosen_subprotocol(_offered(request)) is None:
            raise ProtocolError(
                ErrorKind.INVALID_REQUEST, f"The client must offer the subprotocol {messages.SUBPROTOCOL}"
            )
        if self._is_draining:
            raise ProtocolError(ErrorKind.OVERLOADED, "The server is being stopped")
        most = surface.websockets_per_principal
        if most and self.callers[identity.principal] >= most:
            raise ProtocolError(
                ErrorKind.OVERLOADED,
                f"The caller has {most} connections already",
                metadata={"limit": str(most)},
            )
        return caller

    async def _caller(self, request: Request) -> Authentication:
        """Return who a handshake proves to be its caller. Raises `ProtocolError`."""
        ticket = messages.ticket_in(_offered(request))
        if ticket is None or self._guard.presents(request):
            return await self._guard.authenticate(request)
        self._guard.read(request)
        found = await self.tickets.redeem(digest_of(ticket))
        caller = None if found is None else self._guard.authenticator.unseal(ticket, found)
        if caller is None:
            raise ProtocolError(ErrorKind.UNAUTHENTICATED, "The ticket is none, was used, or is too old")
        return caller

    async def _connected(
        self, request: Request, caller: Authentication, scope: Scope, receive: Receive, send: Send
    ) -> None:
        connection = ServedConnection(
            self._surface,
            self._guard,
            perform=self._perform,
            as_error=self._as_error,
            handshake=request,
            scope=scope,
            caller=caller,
            limits=self.limits,
        )
        with self._place(connection, caller.identity.principal):
            await connection.run(receive, send)

    @contextmanager
    def _place(self, connection: ServedConnection, principal: str) -> Iterator[None]:
        self.open.add(connection)
        self.callers[principal] += 1
        try:
            yield
        finally:
            self.open.discard(connection)
            self.callers[principal] -= 1
            if not self.callers[principal]:
                del self.callers[principal]


def _offered(request: Request) -> list[str]:
    return [part.strip() for part in request.headers.get("sec-websocket-protocol", "").split(",")]


async def _deny(response: Response, more: tuple[tuple[str, str], ...], scope: Scope, send: Send) -> None:
    """Refuse a handshake; a server that cannot pass the answer on says 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    pairs = [*response.headers, *more, ("content-length", str(response.length))]
    headers = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
    await send({"type": "websocket.http.response.start", "status": response.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": response.body, "more_body": False})
