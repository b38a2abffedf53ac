"""Translates errors of a database's driver into those of the store, without statements, content or the password."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, quote_plus

from sqlalchemy import exc

from opencode_a2a.server.store.database.urls import Database
from opencode_a2a.server.store.rows import StoreError, StoreUnavailableError, WritesRefusedError

_CONFLICTS: Final = ("40001", "40P01")  # SQLSTATE: a serialization failure, a deadlock

_POOLED: Final = "unsupported startup parameter"  # of PgBouncer


def store_fault(error: Exception, doing: str, database: Database) -> StoreError:
    """Return the reason of an error in one line. `doing`: a verb; only a "commit" can be refused for its rows."""
    if isinstance(error, StoreError):
        return error
    cause = (error.orig if isinstance(error, exc.DBAPIError) else None) or error
    line = next(iter(str(cause).splitlines()), "")
    password = database.url.password
    if password:
        for form in {str(password), quote(str(password)), quote_plus(str(password))}:
            line = line.replace(form, "***")
    if refuses_options(error):
        line += "; a pool such as PgBouncer takes no options: A2A_LISTEN_DATABASE_URL has to lead past it"
    text = f"the database could not {doing}: {line} ({type(cause).__name__})"
    return StoreUnavailableError(text) if _may_pass(error) or doing != "commit" else WritesRefusedError(text)


def refuses_options(error: Exception) -> bool:
    """Whether a pool such as PgBouncer refuses the options that a connection begins with."""
    cause = (error.orig if isinstance(error, exc.DBAPIError) else None) or error
    return _POOLED in str(cause)


def is_conflict(error: Exception) -> bool:
    """Whether a transaction was undone because of another at the same time: it succeeds if it is tried again."""
    return isinstance(error, exc.DBAPIError) and getattr(error.orig, "sqlstate", None) in _CONFLICTS


def is_disconnect(error: Exception) -> bool:
    """Whether the connection was found broken."""
    return isinstance(error, exc.DBAPIError) and error.connection_invalidated


def _may_pass(error: Exception) -> bool:
    """Whether the same may succeed later: the fault is the database's, not that of what it was given."""
    passing = exc.OperationalError | exc.InternalError | exc.TimeoutError | OSError
    return is_disconnect(error) or isinstance(error, passing)
