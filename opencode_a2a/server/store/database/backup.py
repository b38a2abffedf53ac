"""Copies an SQLite database into a file of its own, also while a server works with it. Blocks."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from opencode_a2a.server.store.database.inspection import holder_of, read_only_uri
from opencode_a2a.server.store.rows import StoreError, StoreUnavailableError

_SECONDS: Final = 10.0
_ENDINGS: Final = ("", "-wal", "-shm", "-journal", ".lock")
"""Endings of the files of a database, of which SQLite makes three and the server the last."""


class BackupExistsError(StoreError):
    """The file for the backup is there already."""


def back_up(source: Path, target: Path, *, overwrite: bool = False, vacuum: bool = False) -> int:
    """Copy the database as one snapshot into a file of mode 0600; return its bytes.

    The file appears whole, or not at all. `vacuum`: leave out free pages, which takes longer. The server's writer is
    not held up. Raises `BackupExistsError`, `StoreUnavailableError`, and `OSError` for the target.
    """
    if not source.is_file():
        raise StoreUnavailableError(f"there is no database file {source}")
    _check_target(source, target, overwrite=overwrite)
    part = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        try:
            _copy(source, part, vacuum=vacuum)
        except sqlite3.Error as error:
            raise StoreUnavailableError(f"the database could not be copied: {error}") from None
        _to_disk(part)
        if overwrite:
            part.replace(target)
        else:
            _link(part, target)
        _to_disk(target.parent)
        return target.stat().st_size
    finally:
        for end in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{part}{end}").unlink()


def _check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse a file that is there and is no backup, or belongs to a database. Raises `BackupExistsError`."""
    real = Path(os.path.realpath(source))
    place = Path(os.path.realpath(target.parent)) / target.name
    own = [Path(f"{real}{ending}") for ending in _ENDINGS]
    if place in own or any(target.exists() and one.exists() and target.samefile(one) for one in own):
        raise BackupExistsError(f"{target} belongs to the database itself; give the backup another name")
    if not target.exists():
        return
    if not overwrite or not target.is_file():
        raise BackupExistsError(f"{target} is there already; --force overwrites a backup")
    if holder := holder_of(Path(os.path.realpath(target))):
        raise BackupExistsError(f"{target} is the database of a server that runs, process {holder}")


def _copy(source: Path, part: Path, *, vacuum: bool) -> None:
    with closing(sqlite3.connect(read_only_uri(source), uri=True, timeout=_SECONDS)) as database:
        if vacuum:
            database.execute("VACUUM INTO ?", (str(part),))
            return
        with closing(sqlite3.connect(part)) as copy:
            database.backup(copy)  # in one step, so that a busy writer does not make it begin again and again


def _link(part: Path, target: Path) -> None:
    """Give the file its name, unless somebody has taken that meanwhile."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise BackupExistsError(f"{target} is there already; --force overwrites a backup") from None


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
