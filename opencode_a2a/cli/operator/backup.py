"""`opencode-a2a backup`: copies the database of tasks into a file, also while the server runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from opencode_a2a.config.settings import Settings
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.server.store.database.backup import back_up
from opencode_a2a.server.store.database.urls import parse_database_url
from opencode_a2a.terminal.output import harmless
from sansio.doctor.store import megabytes


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Run the command; return the exit code. Raises `StoreError`, `OSError`."""
    if settings.store_url is None:
        print("opencode-a2a backup: A2A_TASK_STORE_BACKEND is memory, which has no file", file=sys.stderr)
        return 2
    database = parse_database_url(settings.store_url)
    if not database.is_sqlite:
        where = database.url.set(password=None).render_as_string()
        print(
            f"opencode-a2a backup: PostgreSQL has a program of its own: pg_dump --format=custom {where}",
            file=sys.stderr,
        )
        return 2
    if database.path is None:
        print("opencode-a2a backup: the database is in memory, which has no file", file=sys.stderr)
        return 2
    size = back_up(Path(database.path), Path(options.file), overwrite=options.force, vacuum=options.vacuum)
    print(f"{harmless(options.file)}: {megabytes(size)}")
    return 0
