"""Commands in a real PostgreSQL: each reaches the server that is asked, and its answer whoever asked."""

from __future__ import annotations

import psycopg
from sqlalchemy import Engine

from opencode_a2a.server.store.shared.commands import (
    CHANNEL,
    answer,
    answered,
    ask,
    new_command_id,
    sweep_commands,
    unanswered,
    withdraw,
)
from tests.shell.server.store.shared.tables import die, engine_of_postgresql, join, transaction
from tests.shell.store_cases import postgresql_url

__all__ = ["engine_of_postgresql", "postgresql_url"]


def test_a_command_reaches_its_server_and_the_answer_whoever_asked(engine: Engine, postgresql: str) -> None:
    join(engine, "a", "b")
    with psycopg.connect(postgresql, autocommit=True) as listening:
        listening.execute(f"LISTEN {CHANNEL}")
        with transaction(engine) as connection:
            assert ask(connection, "1", "b", "a", b"cancel")
            assert ask(connection, "2", "b", "a", b"send")
        with transaction(engine) as connection:
            assert unanswered(connection, "a", 10, 10) == []
            assert unanswered(connection, "b", 1, 10) == [("1", b"cancel")]
            assert answered(connection, "a") == {}
            answer(connection, "1", b"done")
            answer(connection, "1", b"done otherwise")
            assert unanswered(connection, "b", 10, 10) == [("2", b"send")]
        heard = [notice.payload for notice in listening.notifies(timeout=5, stop_after=2)]
    with transaction(engine) as connection:
        assert answered(connection, "b") == {}
        assert answered(connection, "a") == {"1": b"done"}
        assert answered(connection, "a") == {}

    assert heard == ["b", "a"]  # equal notifications of one transaction are one


def test_commands_that_a_server_has_begun_are_not_read_again_and_leave_room_for_others(engine: Engine) -> None:
    join(engine, "a", "b")
    with transaction(engine) as connection:
        for command_id in ("1", "2", "3"):
            ask(connection, command_id, "b", "a", b"send")
        assert unanswered(connection, "b", 1, 10, ("1", "2", "withdrawn")) == [("3", b"send")]
        assert unanswered(connection, "b", 0, 10, ("1",)) == []


def test_no_principal_has_more_than_its_places(engine: Engine) -> None:
    join(engine, "a", "b")
    one, two, three = [new_command_id("ada") for _ in range(3)]
    other = new_command_id("bob")
    with transaction(engine) as connection:
        for command_id in (one, two, three, other):
            ask(connection, command_id, "b", "a", b"send")
        begun = [command_id for command_id, _ in unanswered(connection, "b", 10, 2)]
        withdraw(connection, one)  # it is under way all the same
        later = [command_id for command_id, _ in unanswered(connection, "b", 10, 2, begun)]
        free = [command_id for command_id, _ in unanswered(connection, "b", 10, 2, [two, other])]

    assert (begun, later, free) == ([one, two, other], [], [three])


def test_a_server_that_is_gone_cannot_be_asked(engine: Engine) -> None:
    join(engine, "a")
    with transaction(engine) as connection:
        assert not ask(connection, "1", "b", "a", b"cancel")
        assert unanswered(connection, "b", 10, 10) == []


def test_a_server_that_goes_away_leaves_its_commands_without_an_answer(engine: Engine) -> None:
    join(engine, "a", "b")
    with transaction(engine) as connection:
        ask(connection, "1", "b", "a", b"cancel")
    die(engine, "b")
    with transaction(engine) as connection:
        assert answered(connection, "a") == {"1": None}
        assert answered(connection, "a") == {}


def test_nobody_answers_what_was_withdrawn_or_whose_asker_is_gone(engine: Engine) -> None:
    join(engine, "a", "b")
    with transaction(engine) as connection:
        ask(connection, "1", "b", "a", b"cancel")
        ask(connection, "2", "b", "a", b"cancel")
        withdraw(connection, "1")
        assert [command_id for command_id, _ in unanswered(connection, "b", 10, 10)] == ["2"]
    die(engine, "a")
    with transaction(engine) as connection:
        assert sweep_commands(connection) == 1
        assert unanswered(connection, "b", 10, 10) == []
        answer(connection, "2", b"done")
