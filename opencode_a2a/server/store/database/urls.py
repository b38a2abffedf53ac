"""Reads the database URLs an operator may write, and says what is wrong with the others.

It opens nothing, and never repeats a URL: it may hold a password.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from opencode_a2a.server.store.rows import StoreUrlError

_SQLITE: Final = frozenset({"sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"})
_POSTGRESQL: Final = frozenset({"postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg"})
_CODECS: Final = "sqlite:///relative.db, sqlite:////absolute.db, or postgresql://user@host/name"

# asyncpg's own words in URLs of existing deployments: what libpq calls them, None where it has no such thing.
_ASYNCPG_OPTIONS: Final = {"ssl": "sslmode", "prepared_statement_cache_size": None, "async_fallback": None}


@frozen
class Database:
    """Where to connect: the URL for the synchronous driver, and the file's path if it is an SQLite file."""

    url: URL = field(repr=lambda url: repr(url.render_as_string(hide_password=True)))
    path: str | None

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"


def parse_database_url(text: str) -> Database:
    """Accepts the drivers of existing deployments too, and replaces them; raises StoreUrlError."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StoreUrlError(f"the database URL cannot be read; write {_CODECS}") from None
    if url.drivername in _SQLITE:
        return _sqlite(url)
    if url.drivername in _POSTGRESQL:
        return _postgresql(url)
    raise StoreUrlError(f"the database URL names {url.drivername!r}, which is not supported; write {_CODECS}")


def _sqlite(url: URL) -> Database:
    if url.host or url.username or url.password or url.port:
        raise StoreUrlError("an SQLite URL names no host; write sqlite:///relative.db or sqlite:////absolute.db")
    if "uri" in url.query or (url.database or "").startswith("file:"):
        raise StoreUrlError("SQLite's file: names are not supported; write sqlite:///relative.db")
    in_memory = url.database in (None, "", ":memory:")
    return Database(url.set(drivername="sqlite+pysqlite"), None if in_memory else url.database)


def _postgresql(url: URL) -> Database:
    if not url.database:
        raise StoreUrlError("the PostgreSQL URL names no database; write postgresql://user@host/name")
    if url.drivername.endswith("+asyncpg"):
        query = {}
        for name, value in url.query.items():
            known_as = _ASYNCPG_OPTIONS.get(name, name)
            if known_as is not None:
                query[known_as] = value
        url = url.set(query=query)
    return Database(url.set(drivername="postgresql+psycopg"), None)
