"""The tables as the current version reads and writes them.

`migrations/` says how an older database gets there, and a new one is made from this; a test holds the two together.
The names carry a prefix: the database may hold somebody else's tables, a `tasks` among them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
    true,
)

VERSION_TABLE: Final = "opencode_a2a_schema"
# Oldest first; the last is the one this code works with.
VERSIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")

METADATA: Final = MetaData()

# As alembic makes it. It is none of the tables that hold what a server stores.
_VERSION: Final = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)
_WHERE: Final = "where"


def create_tables(connection: Connection) -> None:
    """Make all tables in a database that has none of them, as the migrations would leave them."""
    for table in METADATA.tables.values():
        for index in table.indexes:
            if _WHERE in index.info:
                index.dialect_options[connection.dialect.name][_WHERE] = index.info[_WHERE]
    METADATA.create_all(connection, checkfirst=False)
    _VERSION.create(connection, checkfirst=False)
    connection.execute(_VERSION.insert().values(version_num=VERSIONS[-1]))


def _partial_index(name: str, *columns: Column[object], where: ColumnElement[bool]) -> None:
    """An index of the rows for which `where` is true.

    Its condition is an option of a dialect. To name that of PostgreSQL here would import all of its drivers.
    """
    Index(name, *columns, info={_WHERE: where})


# Pages of tasks are ordered by it: everywhere the same, whatever the collation of the database.
_TASK_ID: Final = Text().with_variant(Text(collation="C"), "postgresql")

TASK: Final = Table(
    "opencode_a2a_task",
    METADATA,
    Column("task_id", _TASK_ID, primary_key=True),
    Column("context_id", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("message_id", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),
    Column("finished", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("session_id", Text),
    Column("prompt_id", Text),
    Column("last_seq", BigInteger, nullable=False),
    Column("snapshot", LargeBinary, nullable=False),
    Column("options", LargeBinary, nullable=False),
    Column("replica_id", Text),
    Column("affinity", Text, nullable=False, server_default=""),
)
# Pages of tasks, and their totals: with the state, so that looking for one reads no other tasks.
_PAGED: Final = (TASK.c.updated_at, TASK.c.task_id, TASK.c.state)
Index("opencode_a2a_task_principal", TASK.c.principal, *_PAGED)
Index("opencode_a2a_task_state", TASK.c.principal, TASK.c.state, TASK.c.updated_at, TASK.c.task_id)
Index("opencode_a2a_task_context", TASK.c.principal, TASK.c.context_id, *_PAGED)
Index("opencode_a2a_task_message", TASK.c.principal, TASK.c.message_id, TASK.c.context_id)
# The newest of a message id: there are clients that give the same id to very many messages.
Index("opencode_a2a_task_repeat", TASK.c.principal, TASK.c.message_id, TASK.c.created_at, TASK.c.task_id)
# Holds only what is looked for at a start, so it stays small however many tasks have finished.
_partial_index("opencode_a2a_task_unfinished", TASK.c.finished, where=TASK.c.finished == false())

# Finished tasks, those that finished first before the others.
_partial_index("opencode_a2a_task_finished", TASK.c.updated_at, TASK.c.task_id, where=TASK.c.finished == true())

# Kept by triggers. `session`: of PostgreSQL, each of which counts in rows of its own; their sum counts.
TASK_COUNT: Final = Table(
    "opencode_a2a_task_count",
    METADATA,
    Column("principal", Text, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("session", BigInteger, primary_key=True, autoincrement=False),
    Column("tasks", BigInteger, nullable=False),
)

EVENT: Final = Table(
    "opencode_a2a_task_event",
    METADATA,
    Column("task_id", _TASK_ID, primary_key=True),
    Column("first_seq", BigInteger, primary_key=True),
    Column("last_seq", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# Finished tasks that have not been pruned since. Not a column of the task, which would be written again with its
# snapshot for each change of it.
PRUNABLE: Final = Table(
    "opencode_a2a_prunable",
    METADATA,
    Column("task_id", _TASK_ID, primary_key=True),
    Column("finished_at", BigInteger, nullable=False),
)
Index("opencode_a2a_prunable_finished", PRUNABLE.c.finished_at)

BINDING: Final = Table(
    "opencode_a2a_binding",
    METADATA,
    Column("principal", Text, primary_key=True),
    Column("context_id", Text, primary_key=True),
    Column("session_id", Text, nullable=False),
    Column("affinity", Text, nullable=False, server_default=""),
)
Index("opencode_a2a_binding_session", BINDING.c.session_id)

SESSION: Final = Table(
    "opencode_a2a_session",
    METADATA,
    Column("session_id", Text, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("claimed_until", BigInteger),
    Column("place", Text, nullable=False),
    Column("affinity", Text, nullable=False, server_default=""),
)

PUSH: Final = Table(
    "opencode_a2a_push",
    METADATA,
    Column("task_id", _TASK_ID, primary_key=True),
    Column("config_id", Text, primary_key=True),
    Column("form", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("finished", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("replica_id", Text),
)
_partial_index("opencode_a2a_push_unfinished", PUSH.c.finished, where=PUSH.c.finished == false())

# `content`: the row counts of the earlier tables that were imported. They differ after a rollback.
IMPORT: Final = Table(
    "opencode_a2a_import",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("content", Text, nullable=False),
    Column("imported_at", BigInteger, nullable=False),
)

# The servers that share a database. Times are epoch milliseconds by the clock of the database.
REPLICA: Final = Table(
    "opencode_a2a_replica",
    METADATA,
    Column("replica_id", Text, primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
)

# The places of those who wait for the same thing, in order. `holder`: a task's id, or another name of who waits.
TICKET: Final = Table(
    "opencode_a2a_ticket",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("holder", Text, primary_key=True),
    Column("position", BigInteger, Identity(), nullable=False),
    Column("replica_id", Text, nullable=False),
)
Index("opencode_a2a_ticket_position", TICKET.c.key, TICKET.c.position)
Index("opencode_a2a_ticket_holder", TICKET.c.holder)

# `replica_id`: the server that is asked. `answer`: NULL until there is one; whoever asked removes the row.
COMMAND: Final = Table(
    "opencode_a2a_command",
    METADATA,
    Column("command_id", Text, primary_key=True),
    Column("number", BigInteger, Identity(), nullable=False),
    Column("replica_id", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("answer", LargeBinary),
)
Index("opencode_a2a_command_replica", COMMAND.c.replica_id, COMMAND.c.number)
Index("opencode_a2a_command_asked_by", COMMAND.c.asked_by)

# Tickets by which pages open connections, each once. `expires_at`: epoch milliseconds by the clock of the database.
CONNECTION_TICKET: Final = Table(
    "opencode_a2a_connection_ticket",
    METADATA,
    Column("digest", LargeBinary, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
Index("opencode_a2a_connection_ticket_principal", CONNECTION_TICKET.c.principal, CONNECTION_TICKET.c.expires_at)
Index("opencode_a2a_connection_ticket_expires", CONNECTION_TICKET.c.expires_at)
