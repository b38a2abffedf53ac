"""The file with the lines that were typed in conversations: readable by its user alone, and bounded.

A line of the file is a JSON string, so an entry may have several lines. Reads and writes block.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import orjson
from attrs import frozen

ENTRIES: Final = 1000
"""Entries that are kept."""
SIZE: Final = 1024 * 1024
"""Bytes from which the file is cut to the newest entries."""
_LONGEST: Final = 16_384  # characters of an entry


def state_directory(environ: Mapping[str, str], home: Path) -> Path:
    """Return the user's directory for the state of this program (XDG Base Directory Specification)."""
    given = Path(environ.get("XDG_STATE_HOME", ""))
    return (given if given.is_absolute() else home / ".local" / "state") / "opencode-a2a"


@frozen
class HistoryFile:
    """The entries of earlier conversations. Raises `OSError` where the file cannot be read or written."""

    path: Path

    @classmethod
    def below(cls, directory: Path) -> HistoryFile:
        """Open the file in a directory, which is made."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(directory / "chat-history.jsonl")

    def read(self) -> list[str]:
        """Return the newest entries, oldest first. Lines that are no entries are left out."""
        with suppress(FileNotFoundError):
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - SIZE))
                entries = [entry for line in file.read(SIZE).splitlines() if (entry := _entry(line)) is not None]
            if size > SIZE:
                self._replace(entries[-ENTRIES:])
            return entries[-ENTRIES:]
        return []

    def append(self, entry: str) -> None:
        """Add an entry, unless it begins with white space or is very long."""
        if not entry.strip() or entry[0].isspace() or len(entry) > _LONGEST:
            return
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "ab", buffering=0) as file:
            if os.name == "posix":
                os.fchmod(descriptor, 0o600)  # whatever mode somebody has given it
            file.write(_line(entry))  # one write: several conversations may run at once

    def _replace(self, entries: list[str]) -> None:
        descriptor, name = tempfile.mkstemp(dir=self.path.parent)  # its mode is 0600
        with open(descriptor, "wb") as file:
            file.writelines(map(_line, entries))
        os.replace(name, self.path)


def _line(entry: str) -> bytes:
    return orjson.dumps(entry.encode("utf-8", "replace").decode()) + b"\n"


def _entry(line: bytes) -> str | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, str) else None
