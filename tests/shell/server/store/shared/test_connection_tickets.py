"""Tickets of pages in a real PostgreSQL: each is taken once, by whichever server, and there is a bound of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from opencode_a2a.server.store.schema import CONNECTION_TICKET
from opencode_a2a.server.store.shared.connection_tickets import end, find, issue, redeem, sweep_connection_tickets
from sansio.access import Authentication, Credential
from sansio.access.tickets import SealedTicket, TicketBounds, digest_of, seal
from tests.shell.server.store.shared.tables import engine_of_postgresql, transaction
from tests.shell.store_cases import postgresql_url

__all__ = ["engine_of_postgresql", "postgresql_url"]

BOUNDS = TicketBounds(each=3, total=5)


def ticket(secret: str, principal: str = "alice") -> SealedTicket:
    credential = Credential.bearer("token", principal=principal)
    return seal(secret, Authentication(identity=credential.identity, proof=credential.digest))


def put(engine: Engine, secret: str, principal: str = "alice", bounds: TicketBounds = BOUNDS) -> None:
    with transaction(engine) as connection:
        issue(connection, ticket(secret, principal), bounds)
        connection.exec_driver_sql("SELECT pg_sleep(0.002)")  # the next is a millisecond younger, at least


def take(engine: Engine, secret: str) -> SealedTicket | None:
    with transaction(engine) as connection:
        return redeem(connection, digest_of(secret))


def kept(engine: Engine) -> int:
    with transaction(engine) as connection:
        return len(connection.execute(CONNECTION_TICKET.select()).all())


def test_of_many_who_present_a_ticket_at_once_one_gets_in(engine: Engine) -> None:
    put(engine, "s")
    with ThreadPoolExecutor(8) as threads:
        found = [*threads.map(lambda _: take(engine, "s"), range(8))]
    assert [one for one in found if one is not None] == [ticket("s")]
    assert take(engine, "never issued") is None


def test_the_oldest_tickets_make_room(engine: Engine) -> None:
    for number in range(4):
        put(engine, f"a{number}")
    assert (kept(engine), take(engine, "a0")) == (3, None)
    for number in range(3):
        put(engine, f"b{number}", "bob")
    assert (kept(engine), take(engine, "a1")) == (5, None)
    assert take(engine, "a2") == ticket("a2")
    assert take(engine, "b0") == ticket("b0", "bob")


def test_a_ticket_that_is_too_old_is_refused_and_removed(engine: Engine) -> None:
    old = TicketBounds(seconds=0)
    put(engine, "s", bounds=old)
    assert take(engine, "s") is None
    put(engine, "t", bounds=old)
    put(engine, "u")
    assert kept(engine) == 1
    put(engine, "v", bounds=old)
    with transaction(engine) as connection:
        assert sweep_connection_tickets(connection) == 1


def test_tickets_that_are_issued_at_once_hinder_nobody(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: put(engine, str(number), "ab"[number % 2]), range(80)))
    put(engine, "last")
    assert kept(engine) <= 5
    assert take(engine, "last") == ticket("last")


def test_a_session_is_found_again_and_again_until_it_is_ended(engine: Engine) -> None:
    put(engine, "s")
    with transaction(engine) as connection:
        assert [find(connection, digest_of("s")) for _ in range(2)] == [ticket("s"), ticket("s")]
        assert find(connection, digest_of("never issued")) is None
        end(connection, digest_of("s"))
        assert find(connection, digest_of("s")) is None


def test_a_session_that_is_too_old_is_not_found(engine: Engine) -> None:
    put(engine, "s", bounds=TicketBounds(seconds=0.001))
    with transaction(engine) as connection:
        connection.exec_driver_sql("SELECT pg_sleep(0.002)")
        assert find(connection, digest_of("s")) is None
