"""A server's lease as it is shown: with the servers that are alive, and with failures that are its own."""

from __future__ import annotations

import psycopg
import pytest

from opencode_a2a.server.store import LeaseStatus, Store, open_store
from tests.shell.harness import until
from tests.shell.server.store.shared.cases import LEASE, looking, shared, stores
from tests.shell.store_cases import postgresql_url

__all__ = ["postgresql_url"]

pytestmark = pytest.mark.anyio

SHORT = 0.6


def status(store: Store) -> LeaseStatus:
    found = store.ownership.lease
    assert found is not None
    return found


async def test_a_server_whose_lease_is_over_is_not_alive_and_its_takeover_is_counted_once(postgresql: str) -> None:
    async with stores(postgresql, 2, SHORT) as (one, other):
        with looking(postgresql) as connection:
            connection.execute("INSERT INTO opencode_a2a_replica VALUES ('gone', 0, 0, '')")
        await until(lambda: status(one).servers == status(other).servers == 2)
        await until(lambda: status(one).takeovers + status(other).takeovers == 1)
        after = status(one)

    assert after.held
    assert (after.failures, after.losses) == (0, 0)


async def test_a_renewal_that_fails_is_counted_and_what_follows_a_renewal_is_none(
    postgresql: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with shared(postgresql, LEASE) as store:
        await until(lambda: status(store).servers == 1)
        with psycopg.connect(postgresql) as busy:
            busy.execute("LOCK TABLE opencode_a2a_task IN ACCESS EXCLUSIVE MODE")
            await until(lambda: "what other servers left cannot be looked for" in caplog.text)
            blind = status(store), store.trouble
        with psycopg.connect(postgresql) as busy:
            busy.execute("LOCK TABLE opencode_a2a_replica IN ACCESS EXCLUSIVE MODE")
            await until(lambda: not status(store).held)
            failing = status(store), store.trouble
        await until(lambda: status(store).held)
        renewed = status(store), store.trouble

    assert (blind[0].held, blind[0].failures, blind[1]) == (True, 0, None)
    assert failing[0].failures > 0
    assert failing[0].age >= LEASE
    assert failing[0].servers is None
    assert failing[1] is not None
    assert (renewed[0].servers, renewed[1]) == (1, None)
    assert renewed[0].losses == 0


async def test_a_store_that_is_not_shared_has_no_lease(postgresql: str) -> None:
    async with open_store("memory") as memory, open_store(postgresql) as alone:
        assert memory.ownership.lease is alone.ownership.lease is None
