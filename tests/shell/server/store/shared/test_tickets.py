"""Tickets in a real PostgreSQL: one holder at a time for a key, in order, whichever servers live."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import Engine

from opencode_a2a.server.store.shared.tickets import (
    CHANNEL,
    adopt_tickets,
    give_back,
    sweep_tickets,
    take_ticket,
    take_tickets,
    turns_of,
)
from tests.shell.server.store.shared.tables import die, engine_of_postgresql, join, transaction, work_on
from tests.shell.store_cases import postgresql_url

__all__ = ["engine_of_postgresql", "postgresql_url"]


def take(engine: Engine, key: str, holder: str, replica_id: str = "a") -> bool:
    with transaction(engine) as connection:
        return take_ticket(connection, key, holder, replica_id)


def leave(engine: Engine, key: str, holder: str, replica_id: str = "a") -> None:
    with transaction(engine) as connection:
        give_back(connection, [(key, holder, replica_id)])


def first(engine: Engine, replica_id: str, *keys: str) -> set[tuple[str, str]]:
    with transaction(engine) as connection:
        return {ticket for ticket, first in turns_of(connection, keys, replica_id).items() if first}


def test_the_first_holder_is_in_and_the_next_follows(engine: Engine) -> None:
    join(engine, "a", "b")

    assert take(engine, "session", "one", "a")
    assert not take(engine, "session", "two", "b")
    assert not take(engine, "session", "three", "a")
    assert take(engine, "another", "four", "b")
    assert first(engine, "b", "session", "another") == {("another", "four")}
    leave(engine, "session", "one")
    assert first(engine, "b", "session") == {("session", "two")}
    assert first(engine, "a", "session") == set()
    leave(engine, "session", "two", "b")
    assert first(engine, "a", "session") == {("session", "three")}


def test_to_take_a_place_twice_is_to_have_it_once(engine: Engine) -> None:
    join(engine, "a")
    take(engine, "session", "one")
    take(engine, "session", "two")

    assert take(engine, "session", "one")
    assert not take(engine, "session", "two")


def test_whoever_leaves_without_having_been_first_holds_up_nobody(engine: Engine) -> None:
    join(engine, "a")
    for holder in ("one", "two", "three"):
        take(engine, "session", holder)
    leave(engine, "session", "two")
    leave(engine, "session", "two")
    leave(engine, "session", "one")

    assert first(engine, "a", "session") == {("session", "three")}


def test_a_dead_server_holds_up_nobody_but_for_the_task_that_it_works_on(engine: Engine) -> None:
    join(engine, "a", "b")
    work_on(engine, "unfinished", "a")
    work_on(engine, "finished", "a", finished=True)
    work_on(engine, "resting", None)
    for key, holder in (("1", "unfinished"), ("2", "finished"), ("3", "resting"), ("4", "never stored")):
        take(engine, key, holder, "a")
        take(engine, key, "next", "b")
    die(engine, "a")

    assert first(engine, "b", "1", "2", "3", "4") == {("2", "next"), ("3", "next"), ("4", "next")}

    with transaction(engine) as connection:
        adopt_tickets(connection, ["unfinished"], "b")
    assert first(engine, "b", "1") == {("1", "unfinished")}
    assert take(engine, "1", "unfinished", "b")
    leave(engine, "1", "unfinished", "a")  # which has not noticed yet that it was taken over
    assert first(engine, "b", "1") == {("1", "unfinished")}
    leave(engine, "1", "unfinished", "b")
    assert first(engine, "b", "1") == {("1", "next")}


def test_what_does_not_count_any_more_is_swept(engine: Engine) -> None:
    join(engine, "a", "b")
    work_on(engine, "unfinished", "a")
    take(engine, "1", "unfinished", "a")
    take(engine, "1", "never stored", "a")
    take(engine, "1", "next", "b")
    die(engine, "a")

    with transaction(engine) as connection:
        assert sweep_tickets(connection) == 1
        assert sweep_tickets(connection) == 0
    assert first(engine, "b", "1") == set()


def test_whoever_waits_is_notified_once_a_ticket_is_given_back(engine: Engine, postgresql: str) -> None:
    join(engine, "a", "b")
    for key in ("session", "nobody waits"):
        take(engine, key, "one")
    take(engine, "session", "other", "b")
    with psycopg.connect(postgresql, autocommit=True) as listening:
        listening.execute(f"LISTEN {CHANNEL}")
        leave(engine, "session", "never taken")
        leave(engine, "nobody waits", "one")
        leave(engine, "session", "one")
        heard = [notice.payload for notice in listening.notifies(timeout=5, stop_after=1)]

    assert heard == ["session"]


def test_whoever_takes_a_ticket_meanwhile_is_notified_though_it_is_not_seen(engine: Engine, postgresql: str) -> None:
    join(engine, "a", "b")
    take(engine, "session", "one")
    with psycopg.connect(postgresql, autocommit=True) as listening:
        listening.execute(f"LISTEN {CHANNEL}")
        with transaction(engine) as connection:
            assert not take_ticket(connection, "session", "other", "b")
            leave(engine, "session", "one")
        heard = [notice.payload for notice in listening.notifies(timeout=5, stop_after=1)]

    assert heard == ["session"]


def test_several_are_taken_at_once_but_for_the_keys_that_another_takes_just_then(engine: Engine) -> None:
    join(engine, "a", "b")
    take(engine, "1", "before", "b")
    with transaction(engine) as other, transaction(engine) as connection:
        take_ticket(other, "3", "other", "b")

        assert take_tickets(connection, [("3", "x")], "a") == {}
        found = take_tickets(connection, [("1", "x"), ("2", "x"), ("3", "x")], "a")

    assert found == {("1", "x"): False, ("2", "x"): True}
    with transaction(engine) as connection:
        give_back(connection, [])
        assert take_tickets(connection, [("1", "x"), ("3", "x")], "a") == {("1", "x"): False, ("3", "x"): False}


@pytest.mark.parametrize("seed", range(3))
def test_at_most_one_is_in_however_many_come_at_once(engine: Engine, seed: int) -> None:
    """Twelve threads, of three servers, eight times each, for two keys."""
    join(engine, "a", "b", "c")
    inside = {"x": 0, "y": 0}
    most, entered = dict(inside), dict(inside)
    lock = threading.Lock()

    def work(number: int) -> None:
        chance = random.Random(seed * 100 + number)
        replica_id = "abc"[number % 3]
        for turn in range(8):
            key, holder = chance.choice("xy"), f"{number}-{turn}"
            mine = take(engine, key, holder, replica_id)
            for _ in range(2000):
                if mine or (mine := (key, holder) in first(engine, replica_id, key)):
                    break
            assert mine
            with lock:
                inside[key] += 1
                entered[key] += 1
                most[key] = max(most[key], inside[key])
            with lock:
                inside[key] -= 1
            leave(engine, key, holder, replica_id)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))

    assert most == {"x": 1, "y": 1}
    assert sum(entered.values()) == 96


def test_whoever_waits_is_notified_of_what_is_swept(engine: Engine, postgresql: str) -> None:
    join(engine, "a", "b")
    take(engine, "session", "one", "a")
    take(engine, "session", "two", "b")
    die(engine, "a")
    with psycopg.connect(postgresql, autocommit=True) as listening, transaction(engine) as connection:
        listening.execute(f"LISTEN {CHANNEL}")
        assert sweep_tickets(connection) == 1
        connection.commit()
        heard = [notice.payload for notice in listening.notifies(timeout=5, stop_after=1)]

    assert heard == ["session"]


def test_a_ticket_that_a_new_server_takes_while_others_are_swept_stays(engine: Engine, postgresql: str) -> None:
    join(engine, "a")
    take(engine, "session", "one", "a")
    die(engine, "a")
    swept: list[int] = []

    def sweep() -> None:
        with transaction(engine) as connection:
            swept.append(sweep_tickets(connection))

    sweeping = threading.Thread(target=sweep)
    with psycopg.connect(postgresql, autocommit=True) as looking, transaction(engine) as connection:
        assert take_ticket(connection, "session", "one", "c")
        sweeping.start()
        while not looking.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
            pass
        join(engine, "c")
    sweeping.join()

    assert swept == [0]
    assert first(engine, "c", "session") == {("session", "one")}
