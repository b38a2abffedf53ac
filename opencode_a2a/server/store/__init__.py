"""The durable store of tasks: rows with opaque bodies, kept in memory or in a database.

It knows nothing of A2A or OpenCode. SQLAlchemy is imported only where a database is asked for. Its exceptions:

    Exception
      StoreError
        StoreUrlError               no store can be opened from the URL; also a `ValueError`
        SchemaError                 the database has a schema that this version cannot work with
        WritesRefusedError          the database takes no such rows, now or later
          TaskTakenError            another server works on the task by now, or has ended it
        FencedError                 another server has taken over the tasks of this one
        StoreUnavailableError       the database cannot be read or written now
          StoreGoneError            the database file was deleted or replaced
        StoreInUseError             another server uses the database
        BackupExistsError           the file for a backup is there already
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from opencode_a2a.metrics.meters import NO_METERS, Meters
from opencode_a2a.server.store.memory import MemoryStore
from opencode_a2a.server.store.protocol import Ownership, Pending, Store
from opencode_a2a.server.store.rows import (
    Binding,
    EventRow,
    EventsPruned,
    FencedError,
    LeaseStatus,
    PushDropped,
    PushRow,
    Replica,
    SchemaError,
    SessionRow,
    StoredTask,
    StoreError,
    StoreGoneError,
    StoreInUseError,
    StoreUnavailableError,
    StoreUrlError,
    TaskQuery,
    TaskRow,
    TaskRows,
    TasksBeyond,
    TasksExpired,
    TaskTakenError,
    Write,
    WritesRefusedError,
)
from opencode_a2a.server.store.shared.options import DEFAULT_OPTIONS, SharedOptions

if TYPE_CHECKING:
    from opencode_a2a.server.store.earlier import Importer

__all__ = [
    "Binding",
    "EventRow",
    "EventsPruned",
    "FencedError",
    "LeaseStatus",
    "MemoryStore",
    "Ownership",
    "Pending",
    "PushDropped",
    "PushRow",
    "Replica",
    "SchemaError",
    "SessionRow",
    "SharedOptions",
    "Store",
    "StoreError",
    "StoreGoneError",
    "StoreInUseError",
    "StoreUnavailableError",
    "StoreUrlError",
    "StoredTask",
    "TaskQuery",
    "TaskRow",
    "TaskRows",
    "TaskTakenError",
    "TasksBeyond",
    "TasksExpired",
    "Write",
    "WritesRefusedError",
    "open_store",
]


def open_store(
    url: str | None,
    importer: Callable[[], Importer] | None = None,
    meters: Meters = NO_METERS,
    *,
    shared: bool = False,
    options: SharedOptions = DEFAULT_OPTIONS,
) -> Store:
    """A store to enter with `async with`: None or "memory" forgets at the end, else a database's URL.

    `importer`: makes what imports the tables of earlier releases, once, as the store is entered. `shared`: other
    servers may have the database open, too, which has to be PostgreSQL; without it, this one has it alone.
    `options`: of a shared store.

    StoreUrlError if the URL is of no supported form, or a store of that kind cannot be shared. Connecting, and its
    errors, come with entering.
    """
    if url is None or url == "memory":
        if shared:
            raise StoreUrlError("a store in memory cannot be shared by several servers; name a PostgreSQL database")
        return MemoryStore()
    from opencode_a2a.server.store.sql import SqlStore

    return SqlStore(url, importer, meters, options if shared else None)
