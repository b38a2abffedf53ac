"""Executes statements by the driver's own cursor.

SQLAlchemy's costs as much as the exchange with PostgreSQL, and more than SQLite itself takes for a row.

No pipeline of psycopg's: it ends with a message after which PostgreSQL no longer counts the session as idle within
the transaction, and one that stops there would keep its rows. Knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, exc


def execute(connection: Connection, sql: str, parameters: Sequence[object]) -> Any:
    """Return the driver's cursor, with the rows of the statement. SQLAlchemy's transaction has begun.

    Raises the errors of SQLAlchemy.
    """
    dialect = connection.dialect
    raw: Any = connection.connection.driver_connection
    errors: type[Exception] = dialect.loaded_dbapi.Error
    try:
        return raw.execute(sql, parameters)
    except errors as error:
        gone = dialect.is_disconnect(error, raw, None)  # type: ignore[arg-type]  # the connection of the driver
        if gone:
            connection.invalidate(error)
        raise exc.DBAPIError.instance(
            None, None, error, errors, hide_parameters=True, connection_invalidated=gone, dialect=dialect
        ) from None
