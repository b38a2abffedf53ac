"""The tables as the current version reads and writes them.

`migrations/` says how a database gets there; a test holds the two together. The names carry a prefix: the
database may hold somebody else's tables, a `tasks` among them.
"""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, MetaData, Table, Text, false

VERSION_TABLE: Final = "opencode_a2a_schema"
# Oldest first; the last is the one this code works with.
VERSIONS: Final = ("0001",)

METADATA: Final = MetaData()

TASK: Final = Table(
    "opencode_a2a_task",
    METADATA,
    Column("task_id", Text, primary_key=True),
    Column("context_id", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("finished", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("session_id", Text),
    Column("prompt_id", Text),
    Column("last_seq", BigInteger, nullable=False),
    Column("snapshot", LargeBinary, nullable=False),
    Column("options", LargeBinary, nullable=False),
)
Index("opencode_a2a_task_principal", TASK.c.principal, TASK.c.updated_at)
Index("opencode_a2a_task_context", TASK.c.context_id)
# Holds only what is looked for at a start, so it stays small however many tasks have finished.
Index(
    "opencode_a2a_task_unfinished",
    TASK.c.finished,
    sqlite_where=TASK.c.finished == false(),
    postgresql_where=TASK.c.finished == false(),
)

EVENT: Final = Table(
    "opencode_a2a_task_event",
    METADATA,
    Column("task_id", Text, primary_key=True),
    Column("first_seq", BigInteger, primary_key=True),
    Column("last_seq", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

BINDING: Final = Table(
    "opencode_a2a_binding",
    METADATA,
    Column("principal", Text, primary_key=True),
    Column("context_id", Text, primary_key=True),
    Column("session_id", Text, nullable=False),
)
Index("opencode_a2a_binding_session", BINDING.c.session_id)
