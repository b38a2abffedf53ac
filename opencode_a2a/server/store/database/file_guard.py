"""Holds an SQLite database file for one process, and notices when the file is deleted or replaced.

The lock is an advisory lock of the operating system on a file beside the database. A process that ends, however it
ends, gives it up. It knows nothing of SQL.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from pathlib import Path

from opencode_a2a.server.store.rows import StoreGoneError, StoreInUseError

_log = logging.getLogger(__name__)


class FileGuard:
    """`hold`, then `check` before each use of the file, then `release`."""

    def __init__(self, path: str) -> None:
        self._path = os.path.realpath(path)
        self._lock: int | None = None
        self._identity: tuple[int, int] | None = None
        self._gone = False

    def hold(self) -> None:
        """Locks the file for this process; StoreInUseError names the process that has it. OSError."""
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise StoreInUseError(
                f"the database file {self._path} is in use by another opencode-a2a, process {holder};"
                " stop that one, give this one a file of its own, or let both use a PostgreSQL database"
            ) from None
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def remember(self) -> None:
        """Takes the file that lies there now for the database. OSError."""
        self._identity = self._look()

    def check(self) -> None:
        """Raises StoreGoneError unless the database is still the file that was opened. Costs some microseconds."""
        try:
            same = self._look() == self._identity
        except OSError:
            same = False
        if same:
            self._gone = False
            return
        text = (
            f"the database file {self._path} was deleted or replaced while it was in use: nothing is written;"
            " put it back, or restart the server"
        )
        if not self._gone:
            self._gone = True
            _log.critical("%s", text)
        raise StoreGoneError(text)

    def release(self) -> None:
        """Gives up the lock. The lock's file stays: to remove it would let two processes hold two locks."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(lock, 0)
            os.close(lock)

    def _look(self) -> tuple[int, int]:
        found = Path(self._path).stat()
        return found.st_dev, found.st_ino
