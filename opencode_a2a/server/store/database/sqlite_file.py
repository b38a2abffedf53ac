"""Makes an SQLite database file and its folder readable by their owner alone, before any connection opens it.

It knows nothing of what is stored there.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def prepare_file(path: str) -> None:
    """Creates what is missing (folders 0700, file 0600, whatever the umask), tightens an existing file; OSError."""
    file = Path(path)
    for folder in reversed(file.parents):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            folder.chmod(0o700)
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        # Not opened: closing any descriptor of the file would drop the locks that another connection of this
        # process holds on it.
        _tighten(file)
    else:
        os.close(descriptor)
        file.chmod(0o600)


def _tighten(file: Path) -> None:
    # SQLite gives the files beside it the mode of the database, but only when it creates them.
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            Path(f"{file}{suffix}").chmod(0o600)
