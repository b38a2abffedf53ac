"""Tickets and sessions of pages, of all servers that share a database: one issues, any other takes.

Anybody may present a ticket, so a bound holds how many look for one in the database at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from attrs import field, frozen

from opencode_a2a.server.replicas.shared_locks import SharedDatabase
from opencode_a2a.server.store.shared import connection_tickets
from opencode_a2a.server.store.store_errors import from_store
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.access.tickets import SealedTicket, TicketBounds

if TYPE_CHECKING:
    from sqlalchemy import Connection

AT_ONCE: Final = 2
"""Looks into the database at the same time; tasks are read beside them."""

PATIENCE: Final = 5.0
"""Seconds for which a ticket waits for the database."""

_Result = TypeVar("_Result")


@frozen
class SharedTickets:
    """The tickets in a database that servers share."""

    _database: SharedDatabase
    bounds: TicketBounds = TicketBounds()
    _places: anyio.Semaphore = field(init=False, factory=lambda: anyio.Semaphore(AT_ONCE))

    async def issue(self, ticket: SealedTicket) -> None:
        await self._ask(lambda connection: connection_tickets.issue(connection, ticket, self.bounds))

    async def redeem(self, digest: bytes) -> SealedTicket | None:
        return await self._ask(lambda connection: connection_tickets.redeem(connection, digest))

    async def find(self, digest: bytes) -> SealedTicket | None:
        return await self._ask(lambda connection: connection_tickets.find(connection, digest))

    async def end(self, digest: bytes) -> None:
        await self._ask(lambda connection: connection_tickets.end(connection, digest))

    async def _ask(self, work: Callable[[Connection], _Result]) -> _Result:
        """Run SQL once there is a place. Raises `ProtocolError`: STORE_UNAVAILABLE, OVERLOADED."""
        with anyio.move_on_after(PATIENCE):
            async with self._places:
                return await from_store(self._database.transact(lambda one, _: work(one), at_once=True))
        raise ProtocolError(ErrorKind.OVERLOADED, "Too many tickets wait for the database; try again later")
