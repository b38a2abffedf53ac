"""Inspects the database of a store without changing it: nothing is made, migrated, locked or written.

Blocks, for a few seconds at most.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from opencode_a2a.server.store.database.urls import Database, parse_database_url
from opencode_a2a.server.store.rows import StoreError
from opencode_a2a.server.store.shared.options import SharedOptions
from sansio.doctor.store import StoreFacts

_SECONDS: Final = 3.0
_VERSION: Final = "SELECT version_num FROM opencode_a2a_schema"
_FILES: Final = ("", "-wal", "-shm")


def inspect_store(url: str | None, shared: SharedOptions | None = None) -> StoreFacts:
    """Look at the store of a URL; None: the one in memory.

    `shared`: how servers share it. A PostgreSQL database is connected to as they do, and whether they can listen is
    among the facts.
    """
    from opencode_a2a.server.store.schema import VERSIONS

    if url is None:
        return StoreFacts(where="memory", known=VERSIONS, memory=True)
    try:
        database = parse_database_url(url)
    except StoreError as error:
        return StoreFacts(where="the store", known=VERSIONS, error=str(error))
    if not database.is_sqlite:
        return _postgresql(database, VERSIONS, shared)
    if database.path is None:
        return StoreFacts(where="memory", known=VERSIONS, memory=True)
    return _file(Path(os.path.realpath(database.path)), VERSIONS)


def read_only_uri(path: Path, *, unshared: bool = False) -> str:
    """Return the URI by which SQLite opens a file for reading, and never makes it.

    `unshared`: where no journal says that somebody has it open, nothing is made beside it either.
    """
    quiet = "&immutable=1" if unshared and not Path(f"{path}-wal").exists() else ""
    return f"file:{quote(str(path))}?mode=ro{quiet}"


def holder_of(path: Path) -> str:
    """Return the process that serves from a database file; empty where none does.

    A lock's file that was left by a crash names a process that has it no more.
    """
    try:
        lock = os.open(f"{path}.lock", os.O_RDONLY)
    except OSError:
        return ""
    try:
        process = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        if process:  # without a name in it nobody has the lock, or has it in a moment, and must not be disturbed
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return process
    finally:
        os.close(lock)
    return ""


def _file(path: Path, known: tuple[str, ...]) -> StoreFacts:
    folder = next((one for one in path.parents if one.is_dir()), Path("/"))
    free = shutil.disk_usage(folder).free
    if not path.exists():
        reason = None if os.access(folder, os.W_OK | os.X_OK) else f"{folder} is not writable"
        return StoreFacts(where=str(path), known=known, exists=False, read_only=reason, free=free)
    size = sum(file.stat().st_size for end in _FILES if (file := Path(f"{path}{end}")).exists())
    try:
        version = _version_of(path)
    except (sqlite3.Error, OSError) as error:
        return StoreFacts(where=str(path), known=known, error=str(error), free=free, size=size)
    barred = [str(one) for one in (path, path.parent) if not os.access(one, os.W_OK)]
    return StoreFacts(
        where=str(path),
        known=known,
        version=version,
        read_only=f"{barred[0]} is not writable" if barred else None,
        holder=f"process {holder}" if (holder := holder_of(path)) else "",
        free=free,
        size=size,
    )


def _version_of(path: Path) -> str | None:
    with closing(sqlite3.connect(read_only_uri(path, unshared=True), uri=True, timeout=_SECONDS)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "opencode_a2a_schema" not in names:
            return None
        found = connection.execute(_VERSION).fetchone()
    return None if found is None else str(found[0])


def _postgresql(database: Database, known: tuple[str, ...], options: SharedOptions | None) -> StoreFacts:
    from sqlalchemy import inspect

    from opencode_a2a.server.store.database.engine import make_engine
    from opencode_a2a.server.store.database.faults import refuses_options, store_fault
    from opencode_a2a.server.store.database.postgresql_lock import HOLDER
    from opencode_a2a.server.store.schema import REPLICA
    from opencode_a2a.server.store.shared import replica_statements
    from opencode_a2a.server.store.shared.listening_check import check_listening
    from opencode_a2a.server.store.shared.shared_owner import listening_database

    where = database.url.render_as_string(hide_password=True)
    has_url = options is not None and options.listen_url is not None
    listening = None
    try:
        engine = make_engine(database, silence=_SECONDS, patience=_SECONDS, pooled=has_url)
    except StoreError as error:
        return StoreFacts(where=where, known=known, error=str(error))
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(_SECONDS * 1000)}")
            made = inspect(connection).has_table("opencode_a2a_schema")
            version = connection.exec_driver_sql(_VERSION).scalars().first() if made else None
            barred: str | None
            if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
                barred = "the server is a standby"
            else:
                allowed = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
                barred = None if made or connection.exec_driver_sql(allowed).scalar_one() else "no tables may be made"
            holder = connection.exec_driver_sql(HOLDER).scalars().first()
            shared = inspect(connection).has_table(REPLICA.name)
            replicas = replica_statements.living(connection) if shared else None
            size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
        if options is not None and barred is None:
            listening = check_listening(engine, listening_database(database, options), has_url=has_url)
    except Exception as error:
        reason, pooled = str(store_fault(error, "be inspected", database)), not has_url and refuses_options(error)
        return StoreFacts(where=where, known=known, error=reason, refuses_options=pooled)
    finally:
        engine.dispose()
    return StoreFacts(
        where=where,
        known=known,
        version=version,
        read_only=barred,
        holder="" if holder is None else f"PostgreSQL session {holder}",
        size=size,
        listening=listening,
        replicas=None if replicas is None else [(one.name or one.replica_id, one.remaining) for one in replicas],
    )
