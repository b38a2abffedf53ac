"""The settings of a server that shares a PostgreSQL database with others.

Knows no database.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from opencode_a2a.config import settings_values as values
from opencode_a2a.config.groups.settings_retention import RetentionSettings
from opencode_a2a.config.settings_rows import row

_REPLICAS: Final = "Several servers on one PostgreSQL database"


@frozen(kw_only=True, init=False, repr=False, eq=False)
class ReplicaSettings(RetentionSettings):
    """The rows of servers that share a database."""

    workers: int = row(
        _REPLICAS,
        "A2A_WORKERS",
        values.whole(1, 64),
        1,
        "how many processes serve on the same port: a whole number from 1 to 64. Several need PostgreSQL "
        "(docs/operations.md#workers)",
    )
    replica_lease_seconds: float = row(
        _REPLICAS,
        "A2A_REPLICA_LEASE_SECONDS",
        values.seconds(zero=False, least=1.0, most=300.0),
        10.0,
        "after how long without a sign of this server the others take over its tasks, the same for all: seconds, "
        "from 1 to 300",
    )
    replica_name: str | None = row(
        _REPLICAS,
        "A2A_REPLICA_NAME",
        str,
        None,
        "how people recognise this server among those on the database: any text",
        default_text="the name of the host",
    )
    listen_database_url: str | None = row(
        _REPLICAS,
        "A2A_LISTEN_DATABASE_URL",
        values.database_url,
        None,
        "the PostgreSQL database for the one connection that listens to the other servers, where the other URL leads "
        "to a pool such as PgBouncer: a database URL that leads past it",
        default_text="the database of tasks",
        secret=True,
    )
