"""Writes an answer to a file, or an answer and the files that came with it to a directory.

An agent's file names are never trusted: they lead nowhere else, and nothing that is there is overwritten.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from sansio.a2a.client.client_errors import UsageError
from sansio.a2a.model import FilePart

ANSWER_NAME: Final = "answer.md"
_LONGEST_NAME: Final = 120
_MOST_NAMES: Final = 1000
_RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


@frozen
class Saving:
    """The place that `--output` names: a file for the answer's text, or a directory."""

    path: Path
    is_directory: bool

    @classmethod
    def at(cls, given: str) -> Saving:
        """Read an option's value; a directory ends with a slash, or is there. Raises `UsageError`."""
        path = Path(given)
        is_directory = given.endswith(("/", os.sep)) or path.is_dir()
        if not given or "\0" in given:
            raise UsageError("--output: must name a file or a directory")
        if not is_directory and not path.absolute().parent.is_dir():
            raise UsageError(f"--output: {path.parent} is no directory")
        if is_directory and path.exists() and not path.is_dir():
            raise UsageError(f"--output: {path} is no directory")
        return cls(path, is_directory)

    def write(self, answer: str, files: Sequence[FilePart]) -> list[Path]:
        """Write what there is; return the files written. Raises `OSError`."""
        text = answer if not answer or answer.endswith("\n") else f"{answer}\n"
        content = text.encode("utf-8", "replace")
        if not self.is_directory:
            _replace(self.path, content)
            return [self.path]
        self.path.mkdir(parents=True, exist_ok=True)
        written = [_create(self.path, ANSWER_NAME, content)] if answer else []
        for part in files:
            if part.raw is None:
                continue  # a link is shown, and not followed
            with suppress(binascii.Error, ValueError):
                written.append(_create(self.path, safe_name(part), base64.b64decode(part.raw, validate=True)))
        return written


def safe_name(part: FilePart) -> str:
    """Return a name for a file within a directory, from the name and the media type that an agent gives."""
    last = re.split(r"[/\\]", part.filename or "")[-1]
    name = re.sub(r"[^\w.\- ()+,=@]", "_", last).strip(" .-")
    if len(name.encode()) > _LONGEST_NAME:
        stem, dot, ending = name.rpartition(".")
        kept = f"{dot}{ending}" if stem and len(ending) <= 10 else ""
        name = name.encode()[: _LONGEST_NAME - len(kept.encode())].decode("utf-8", "ignore").rstrip(" .") + kept
    if not name or _RESERVED.match(name):
        ending = mimetypes.guess_extension(part.media_type or "") or ".bin"
        name = f"file{ending}"
    return name


def _create(directory: Path, name: str, content: bytes) -> Path:
    """Write a new file; another name is taken where there is something of that name, be it a link."""
    for candidate in _names(name):
        path = directory / candidate
        try:
            with open(path, "xb") as file:
                file.write(content)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"too many files are named like {name}")


def _names(name: str) -> Iterator[str]:
    stem, dot, ending = name.rpartition(".")
    if not stem:
        stem, dot, ending = name, "", ""
    yield name
    for number in range(1, _MOST_NAMES):
        yield f"{stem}-{number}{dot}{ending}"


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that nobody sees half of it. What is no regular file (a pipe, a device) is written to."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    target = path.resolve()
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:80]}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
