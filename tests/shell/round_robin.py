"""Three servers of one agent on one PostgreSQL, asked in turn, in place of the one server that a test opens."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
from attrs import frozen
from sqlalchemy import create_engine, make_url

from opencode_a2a.agent.application import Running, application
from opencode_a2a.config.settings import Settings
from opencode_a2a.server.http.asgi import Asgi
from opencode_a2a.server.store.schema import METADATA
from opencode_a2a.tracing.spans import Tracer


@frozen
class Replicas:
    """The servers that stand for one. `url`: of their database, whose tables may be dropped."""

    url: str
    count: int = 3

    def empty(self) -> None:
        """Remove all rows, as if the database were new; the tables stay."""
        engine = create_engine(make_url(self.url).set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            known = connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            names = {table.name for table in METADATA.tables.values()}.intersection(known.scalars())
            for name in sorted(names):
                connection.exec_driver_sql(f"DELETE FROM {name}")
        engine.dispose()

    @asynccontextmanager
    async def opened(self, settings: Settings, tracer: Tracer) -> AsyncGenerator[tuple[Running, Asgi]]:
        """The servers, and an application that hands each request to the next of them; also the first alone."""
        given = _on(settings, self.url)
        async with AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(application(given, tracer=tracer)) for _ in range(self.count)]
            yield servers[0], _in_turn([server.asgi for server in servers])


def _on(settings: Settings, url: str) -> Settings:
    """The same settings on another database."""
    return attrs.evolve(settings, task_store_backend="database", task_store_database_url=url)


def _in_turn(applications: list[Asgi]) -> Asgi:
    """An application that hands each request to the next of some."""
    turns = itertools.cycle(applications)

    async def hand_on(scope: Any, receive: Any, send: Any) -> None:
        chosen = applications[0] if scope["type"] == "lifespan" else next(turns)
        await chosen(scope, receive, send)

    return hand_on
