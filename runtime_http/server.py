"""The state that the connections of one server share. Knows no event loop: the worker context hides it."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from ssl import SSLContext
from time import time
from typing import Any

from hypercorn.config import Config
from hypercorn.events import Event
from hypercorn.typing import ASGIFramework, ConnectionState, TaskGroup, WorkerContext
from hypercorn.utils import wrap_app

from runtime_http.accepting import SharedListener
from runtime_http.pool import Pool
from runtime_http.protocols import Protocol
from runtime_http.tls import TlsSession
from sansio.transport.addresses import host_and_port
from sansio.transport.connections import Connection, ConnectionLimits
from sansio.transport.heads import LARGEST_LIST, LONGEST_FIELDS, LONGEST_LINE
from sansio.transport.sharing import AcceptShare

_log = logging.getLogger(__name__)

_BACKLOG = 2048
"""Connections that may wait to be accepted. Of what finds no place, the client sends its first bytes again after 0.2,
0.4, 0.8 seconds and so on: where 1,000 came at once, and 100 could wait, some were begun seconds after the others."""


class Server:
    """One application that is served: its configuration, its connections, and the protocol of each.

    `context`: the runtime's clock, sleep and events. `bind`: `host:port`. `grace`: seconds that running requests
    have once the server stops. `limits`: bounds of connections; the defaults where None. `tls`: returns the context
    for the next handshake; None serves HTTP without TLS. `share`: that of this process, where others accept from the
    same socket; `bind` is then `fd://N`.
    """

    def __init__(
        self,
        app: ASGIFramework,
        context: WorkerContext,
        *,
        bind: str,
        grace: float,
        limits: ConnectionLimits | None,
        tls: Callable[[], SSLContext] | None = None,
        share: AcceptShare | None = None,
    ) -> None:
        self.config = _configuration(bind, grace)
        self.app = wrap_app(app, self.config.wsgi_max_body_size, "asgi")
        self.context = context
        self.state: dict[str, Any] = {}
        self.pool = Pool(limits or ConnectionLimits(), context.time, share)
        self._share = share
        self._tls = tls

    def listen(self) -> list[socket.socket]:
        """Open the sockets that connections come to. Raises `OSError` where the address cannot be had."""
        sockets = self.config.create_sockets().insecure_sockets
        for sock in sockets:
            sock.listen(self.config.backlog)
        return sockets

    def shared(self, sockets: list[socket.socket]) -> list[SharedListener]:
        """Begin to accept from sockets that other processes accept from, too; none where there are no others."""
        if self._share is None:
            return []
        self._share.join()
        return [SharedListener(sock, self._share) for sock in sockets]

    def accept_no_more(self) -> None:
        """Leave what comes from now on to the other processes that accept from the same socket."""
        if self._share is not None:
            self._share.leave()

    def protocol(
        self,
        tasks: TaskGroup,
        client: tuple[Any, ...] | None,
        server: tuple[Any, ...] | None,
        send: Callable[[Event], Awaitable[None]],
        write_now: Callable[[bytes], bool],
        connection: Connection,
        tls: TlsSession | None = None,
    ) -> Protocol:
        """Make the protocol of a connection, once the handshake of its `tls` is complete.

        `client` and `server`: socket addresses, None where there is none. `write_now`: writes bytes if nobody has to
        wait for that, and returns whether it did.
        """
        state = ConnectionState(self.state.copy())
        client, server = client and client[:2], server and server[:2]
        parts = (self.app, self.config, self.context, tasks, state, client, server)
        return Protocol(*parts, send, write_now, connection, tls)

    @property
    def speaks_tls(self) -> bool:
        """Whether connections begin with a handshake of TLS."""
        return self._tls is not None

    def tls_session(self) -> TlsSession | None:
        """Make the TLS of a new connection; None where HTTP is served without."""
        return None if self._tls is None else TlsSession(self._tls())

    async def end_overdue(self) -> None:
        """End overdue connections, again and again."""
        while True:
            await self.context.sleep(self.pool.limits.look_every)
            self.pool.end_overdue()

    async def stop(self) -> None:
        """End the connections that answer no request, and let the others end with their answer."""
        await self.context.terminated.set()
        self.pool.end_waiting()


def log_failure(group: BaseExceptionGroup[BaseException]) -> None:
    """Log that a connection failed, with the types of its errors. Their texts may hold what a client sent."""
    _log.warning("a connection failed and was closed: %s", ", ".join(_kinds(group)))


def addresses(sockets: list[socket.socket]) -> list[str]:
    """Write the sockets' addresses as `host:port`."""
    return [host_and_port(*sock.getsockname()[:2]) for sock in sockets]


def _kinds(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """Name the types of the errors in a group, each once."""
    found: set[str] = set()
    for error in group.exceptions:
        found.update(_kinds(error) if isinstance(error, BaseExceptionGroup) else [type(error).__name__])
    return sorted(found)


class _Config(Config):
    """Hypercorn's configuration, which makes the header `date` once a second and not for each answer."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._fields: list[tuple[bytes, bytes]] = []

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        second = int(time())
        if second != self._second:
            self._second, self._fields = second, super().response_headers(protocol)
        return self._fields


def _configuration(bind: str, grace: float) -> Config:
    """Configure Hypercorn's protocols."""
    config = _Config()
    config.bind = [bind]
    config.backlog = _BACKLOG
    config.errorlog = None
    config.accesslog = None
    config.include_server_header = False
    config.graceful_timeout = grace
    config.max_app_queue_size = sys.maxsize  # `Http1` has a bound of its own, in bytes
    config.h11_max_incomplete_size = LONGEST_LINE + LONGEST_FIELDS + 1024  # `Http1` refuses a larger head before
    config.h2_max_header_list_size = LARGEST_LIST
    config.keep_alive_max_requests = 1_000_000
    return config
