"""`opencode-a2a backup`: copies the database of tasks into a file, also while the server runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from opencode_a2a.config.settings import Settings
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.server.store.database.backup import back_up
from opencode_a2a.server.store.database.urls import parse_database_url
from opencode_a2a.terminal.output import harmless
from sansio.doctor.store import megabytes

EPILOG: Final = """\
To restore it: stop the server, move the file to where the database was (without the -wal and -shm
files beside that), start the server. docs/operations.md has the steps.

exit codes:
  0    the backup is there
  1    the file cannot be written
  2    wrong usage or settings, a file that is there already, or a store without a file
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = "Copies the SQLite database of A2A_TASK_STORE_DATABASE_URL into FILE, readable by you alone."
    parser.epilog = EPILOG
    parser.add_argument("file", metavar="FILE", help="the file for the backup")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    parser.add_argument("--vacuum", action="store_true", help="leave out free space, which takes longer")


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
