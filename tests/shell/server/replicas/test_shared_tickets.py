"""Tickets of pages where the database cannot be asked: the page gets an answer in time, and learns to try again."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from opencode_a2a.server.replicas import shared_tickets
from opencode_a2a.server.replicas.shared_tickets import SharedTickets
from opencode_a2a.server.store import StoreUnavailableError
from sansio.a2a.errors import ErrorKind, ProtocolError

pytestmark = pytest.mark.anyio


class Away:
    """A database that hangs, or is away."""

    replica_id = "a"

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs
        self.asking = 0
        self.most = 0  # asked it at the same time

    async def transact(self, work: object, *, at_once: bool = False) -> Any:
        self.asking += 1
        self.most = max(self.most, self.asking)
        try:
            if self.hangs:
                await anyio.sleep_forever()
        finally:
            self.asking -= 1
        raise StoreUnavailableError("it is away")

    def subscribe(self, channel: str, notified: object) -> None:
        """Notify of nothing."""


async def test_a_database_that_is_away_is_named_as_the_reason() -> None:
    with pytest.raises(ProtocolError) as raised:
        await SharedTickets(Away(hangs=False)).redeem(b"digest")
    assert raised.value.kind is ErrorKind.STORE_UNAVAILABLE


async def test_of_many_who_look_for_tickets_few_ask_a_database_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_tickets, "PATIENCE", 0.05)
    database = Away(hangs=True)
    tickets = SharedTickets(database)
    refused: list[ErrorKind] = []

    async def look() -> None:
        with pytest.raises(ProtocolError) as raised:
            await tickets.redeem(b"digest")
        refused.append(raised.value.kind)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(look)
    assert refused == [ErrorKind.OVERLOADED] * 20
    assert database.most == shared_tickets.AT_ONCE
