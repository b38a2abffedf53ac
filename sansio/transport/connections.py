"""Connections of a server: how many may be open, and when each has to end.

Pure: time is an argument, in seconds of any clock. The server asks `admit` for each new connection, reports what
happens on it, and ends whatever `overdue` returns.

A connection is in one of these phases:

    HEAD ----> BUSY ----> IDLE ----> HEAD ...      any phase ----> CLOSING

    HEAD     a request head is awaited or has begun, and a     ends after `limits.head`
             handshake of TLS before it
    BUSY     at least one request is being answered            no limit of its own: the application has its own
    IDLE     kept alive between two requests                   ends after `limits.idle`
    CLOSING  the last answer is written, the end is awaited    ends after `limits.closing`

Apart from the phase, a write has `limits.write` seconds, a client that has ended its side gets the answer it waits
for within `limits.gone` seconds, or none with HTTP/2, and one that is sent a ping has `limits.pong` seconds to send
anything.
"""

from __future__ import annotations

import math
from enum import Enum, auto

from attrs import define, field, frozen

from sansio.transport.addresses import NO_NETWORKS, Networks, group_of, parse_address


@frozen(kw_only=True)
class ConnectionLimits:
    """Bounds of one server's connections.

    `total`, `per_address`: numbers of connections, 0 for no limit. Connections from loopback, and from `uncounted`,
    count in the total alone: a reverse proxy brings everybody's requests from one address. Seconds: `head` to a
    complete request head, `idle` between two requests, `write` for 64 kB to leave, `gone` for the answer to a client
    that has ended its side, `closing` for a client to see the end, `pong` to answer a ping. `http2`: whether a client
    may use HTTP/2, by ALPN with TLS, or from its first byte on. `websockets`: a request for WebSocket is served where
    its path ends so; empty: none is. `largest_message`: bytes, 0 for no limit.
    """

    total: int = 0
    per_address: int = 0
    head: float = 10.0
    idle: float = 75.0
    write: float = 60.0
    gone: float = 10.0
    closing: float = 2.0
    pong: float = 20.0
    http2: bool = False
    websockets: str = ""
    largest_message: int = 1_048_576
    uncounted: Networks = NO_NETWORKS

    @property
    def look_every(self) -> float:
        """Seconds between two looks for overdue connections."""
        return min(1.0, min(self.head, self.idle, self.write, self.gone, self.closing) / 4)


class Phase(Enum):
    """Phase of a connection; the module's docstring has the table."""

    HEAD = auto()
    BUSY = auto()
    IDLE = auto()
    CLOSING = auto()


@define(eq=False, kw_only=True)
class Connection:
    """One open connection.

    `group`: the peers it is counted with; None for loopback. `multiplexed`: it uses HTTP/2, where bytes between two
    requests need not begin one.
    """

    group: str | None
    limits: ConnectionLimits
    phase: Phase = Phase.HEAD
    multiplexed: bool = False
    deadline: float
    _waiting: dict[Connection, None] = field(repr=False)
    _writes: dict[int, float] = field(factory=dict, repr=False)
    _gone: float = math.inf
    _silent: float = math.inf

    @property
    def waits(self) -> bool:
        """Return whether no request is being answered, so that nobody loses an answer if it ends."""
        return self.phase in (Phase.HEAD, Phase.IDLE)

    def _enter(self, phase: Phase, deadline: float) -> None:
        self.phase, self.deadline = phase, deadline
        self._waiting.pop(self, None)
        if self.waits:
            self._waiting[self] = None

    def received(self, now: float) -> None:
        """Record that bytes came. Between two requests they begin the next head."""
        self._silent = math.inf
        if self.phase is Phase.IDLE and not self.multiplexed:
            self._enter(Phase.HEAD, now + self.limits.head)

    def busy(self) -> None:
        """Record that a request's head is complete."""
        if self.phase is not Phase.CLOSING:
            self._enter(Phase.BUSY, math.inf)

    def idle(self, now: float) -> None:
        """Record that the last request is answered. No effect unless one was being answered."""
        if self.phase is Phase.BUSY:
            self._enter(Phase.IDLE, now + self.limits.idle)

    def pinged(self, now: float) -> None:
        """Record that the client was sent a ping, which it has to answer."""
        self._silent = min(self._silent, now + self.limits.pong)

    def ended(self, now: float) -> None:
        """Record that the client ended its side. Over HTTP/1.1, what it still waits for may follow.

        With HTTP/2 no client does that before it leaves, and its requests are over.
        """
        self._gone = min(self._gone, now if self.multiplexed else now + self.limits.gone)

    def closing(self, now: float) -> None:
        """Record that the last byte is written. The client has this long to see the end."""
        self._enter(Phase.CLOSING, min(self.deadline, now + self.limits.closing))

    def writing(self, stream: int, now: float) -> None:
        """Record that a write began, on a stream of the connection; 0 is the connection itself."""
        self._writes[stream] = now + self.limits.write

    def written(self, stream: int) -> None:
        """Record that the write is done."""
        self._writes.pop(stream, None)

    def overdue(self, now: float) -> bool:
        """Return whether the connection has to end now."""
        if now >= self.deadline or now >= self._gone or now >= self._silent:
            return True
        return bool(self._writes) and now >= min(self._writes.values())


@define(eq=False)
class Connections:
    """All open connections of a server."""

    limits: ConnectionLimits
    open: set[Connection] = field(factory=set)
    _waiting: dict[Connection, None] = field(factory=dict)  # those that wait, longest first
    _groups: dict[str, int] = field(factory=dict)

    def admit(self, address: str, now: float) -> tuple[Connection | None, Connection | None]:
        """Open a connection from this address.

        Returns it, or None where it is one too many; and a connection that has to end to make room for it. That is
        the one that has waited longest without a request: of this address where the limit of one address is
        reached, of all otherwise. Connections with a request are never ended for new ones.
        """
        group = self._group_of(address)
        evicted: Connection | None = None
        per_address, total = self.limits.per_address, self.limits.total
        if group is not None and per_address and self._groups.get(group, 0) >= per_address:
            evicted = next((one for one in self._waiting if one.group == group), None)
        elif total and len(self.open) >= total:
            evicted = next(iter(self._waiting), None)
        else:
            return self._add(group, now), None
        if evicted is None:
            return None, None
        self.remove(evicted)
        return self._add(group, now), evicted

    def _group_of(self, address: str) -> str | None:
        uncounted = self.limits.uncounted
        return None if uncounted and uncounted.has(parse_address(address)) else group_of(address)

    def _add(self, group: str | None, now: float) -> Connection:
        deadline = now + self.limits.head
        added = Connection(group=group, limits=self.limits, deadline=deadline, waiting=self._waiting)
        self.open.add(added)
        self._waiting[added] = None
        if group is not None:
            self._groups[group] = self._groups.get(group, 0) + 1
        return added

    def remove(self, connection: Connection) -> None:
        """Forget a closed connection. No effect the second time."""
        if connection not in self.open:
            return
        self.open.discard(connection)
        connection.phase = Phase.CLOSING
        self._waiting.pop(connection, None)
        if connection.group is not None:
            left = self._groups[connection.group] - 1
            if left:
                self._groups[connection.group] = left
            else:
                del self._groups[connection.group]

    def overdue(self, now: float) -> list[Connection]:
        """Return the connections that must end now."""
        return [connection for connection in self.open if connection.overdue(now)]

    def waiting(self) -> list[Connection]:
        """Return the connections without a request, longest waiting first."""
        return list(self._waiting)


def affordable(descriptors: int, wanted: int) -> int:
    """Return the number of connections that a process may have open with so many file descriptors.

    `wanted`: what the operator asks for, 0 for as many as there can be. A quarter of the descriptors, at least 32
    and at most 512, is kept for the database, OpenCode, push receivers and files.
    """
    reserve = min(512, max(32, descriptors // 4))
    most = max(8, descriptors - reserve)
    return min(wanted, most) if wanted else most
