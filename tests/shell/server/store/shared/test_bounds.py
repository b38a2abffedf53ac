"""No statement waits for ever: the database ends it, and where the database hangs, this end does."""

from __future__ import annotations

import pytest
from sqlalchemy import exc

from opencode_a2a.server.store.database.engine import make_engine, unbound
from opencode_a2a.server.store.database.urls import parse_database_url
from tests.shell.store_cases import postgresql_url as postgresql_url

_PATIENCE = 0.3


def test_the_database_ends_a_statement_that_takes_too_long_and_the_connection_stays(postgresql: str) -> None:
    engine = make_engine(parse_database_url(postgresql), connections=1, patience=_PATIENCE)
    with engine.connect() as connection:
        with pytest.raises(exc.OperationalError, match="statement timeout") as caught:
            connection.exec_driver_sql("SELECT pg_sleep(20)")
        connection.rollback()
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    engine.dispose()

    assert not caught.value.connection_invalidated


def test_what_hangs_is_given_up_without_the_database(postgresql: str) -> None:
    engine = make_engine(parse_database_url(postgresql), connections=1, patience=_PATIENCE, pooled=True)
    with engine.connect() as connection, pytest.raises(exc.OperationalError, match="did not answer within") as caught:
        connection.exec_driver_sql("SELECT pg_sleep(20)")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    engine.dispose()

    assert caught.value.connection_invalidated


def test_a_migration_takes_as_long_as_it_needs_and_the_next_user_is_bound_again(postgresql: str) -> None:
    engine = make_engine(parse_database_url(f"{postgresql}?options=-c%20geqo=off"), connections=1, patience=_PATIENCE)
    with engine.connect() as connection, connection.begin():
        unbound(connection)
        connection.exec_driver_sql(f"SELECT pg_sleep({2 * _PATIENCE})")
    with engine.connect() as connection:
        own = connection.exec_driver_sql("SHOW geqo").scalar_one()
        bound = connection.exec_driver_sql("SHOW statement_timeout").scalar_one()
        with pytest.raises(exc.OperationalError, match="statement timeout"):
            connection.exec_driver_sql("SELECT pg_sleep(20)")
    engine.dispose()

    assert (own, bound) == ("off", "240ms")
