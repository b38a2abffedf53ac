"""Open connections with the means to end them: `sansio.transport.connections` and its effects."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sansio.transport.connections import Connection, ConnectionLimits, Connections
from sansio.transport.sharing import AcceptShare

_log = logging.getLogger(__name__)
_SAY_AGAIN = 60.0  # seconds between two log lines of the same kind

TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
"""The answer to a connection that is one too many."""


class Pool:
    """The connections of one server. `clock`: the event loop's time, in seconds. `share`: gets their number."""

    def __init__(
        self, limits: ConnectionLimits, clock: Callable[[], float], share: AcceptShare | None = None
    ) -> None:
        self.limits = limits
        self.clock = clock
        self._share = share
        self._connections = Connections(limits)
        self._aborts: dict[Connection, Callable[[], None]] = {}
        self._said = float("-inf")

    def admit(self, peer: str, abort: Callable[[], None]) -> Connection | None:
        """Open a connection, or return None where it is one too many. `abort` ends it at once."""
        added, evicted = self._connections.admit(peer, self.clock())
        if evicted is not None:
            self._aborts.pop(evicted)()
        if (added is None or evicted is not None) and self.clock() - self._said >= _SAY_AGAIN:
            self._said = self.clock()
            what = "ended an idle connection for a new one" if added else "refused a connection"
            _log.warning("too many connections (open: %d): %s", len(self._connections.open), what)
        if added is not None:
            self._aborts[added] = abort
        self._count()
        return added

    def remove(self, connection: Connection) -> None:
        """The connection is closed."""
        self._connections.remove(connection)
        self._aborts.pop(connection, None)
        self._count()

    def end_overdue(self) -> None:
        """Abort the connections whose time is over."""
        for connection in self._connections.overdue(self.clock()):
            self._abort(connection)

    def end_waiting(self) -> None:
        """Abort the connections on which no request is being answered."""
        for connection in self._connections.waiting():
            self._abort(connection)

    def end_all(self) -> None:
        """Abort every connection."""
        for connection in list(self._aborts):
            self._abort(connection)

    def _abort(self, connection: Connection) -> None:
        abort = self._aborts.get(connection)
        self.remove(connection)
        if abort is not None:
            abort()

    def _count(self) -> None:
        if self._share is not None:
            self._share.note(len(self._connections.open))
