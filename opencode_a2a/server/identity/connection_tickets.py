"""Tickets and sessions of pages, as the server keeps them: here, in the memory of one process."""

from __future__ import annotations

from typing import Protocol

import anyio
from attrs import field, frozen

from sansio.access.tickets import SealedTicket, TicketBounds, Tickets


class ConnectionTickets(Protocol):
    """Tickets by which pages open connections, each of which is good once; or their sessions, which last."""

    @property
    def bounds(self) -> TicketBounds:
        """The bounds of their number and of their time."""

    async def issue(self, ticket: SealedTicket) -> None:
        """Keep a ticket. Raises `ProtocolError` where the store cannot."""

    async def redeem(self, digest: bytes) -> SealedTicket | None:
        """Return a ticket, and use it up; None where it is none, is used, or too old.

        Raises `ProtocolError` where the store cannot be asked.
        """

    async def find(self, digest: bytes) -> SealedTicket | None:
        """Return a session; None where it is none, or too old. Raises `ProtocolError` as `redeem` does."""

    async def end(self, digest: bytes) -> None:
        """Keep a session no longer. Raises `ProtocolError` where the store cannot."""


@frozen
class LocalTickets:
    """The tickets of one process."""

    kept: Tickets = field(factory=Tickets)

    @property
    def bounds(self) -> TicketBounds:
        return self.kept.bounds

    async def issue(self, ticket: SealedTicket) -> None:
        self.kept.issue(ticket, anyio.current_time())

    async def redeem(self, digest: bytes) -> SealedTicket | None:
        return self.kept.redeem(digest, anyio.current_time())

    async def find(self, digest: bytes) -> SealedTicket | None:
        return self.kept.find(digest, anyio.current_time())

    async def end(self, digest: bytes) -> None:
        self.kept.end(digest)
