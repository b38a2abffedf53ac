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
from collections import Counter
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
        if not given or "\0" in given:
            raise UsageError("--output: must name a file or a directory")
        try:
            is_directory = given.endswith(("/", os.sep)) or path.is_dir()
            if is_directory and os.path.lexists(path) and not path.is_dir():
                raise UsageError(f"--output: {path} is no directory")
            # a link may lead nowhere, or in a circle: better known before the call than after it
            target = Path(os.path.realpath(path))
            if not is_directory and not target.parent.is_dir():
                raise UsageError(f"--output: {target.parent} is no directory")
            if not is_directory and target.is_symlink():
                raise UsageError(f"--output: {path} is a link that leads in a circle")
        except OSError as error:
            raise UsageError(f"--output: {error.strerror}") from None
        return cls(path, is_directory)

    def write(self, answer: str, files: Sequence[FilePart]) -> list[Path]:
        """Write what there is; return the files written. Raises `OSError`."""
        text = answer if not answer or answer.endswith("\n") else f"{answer}\n"
        content = text.encode("utf-8", "replace")
        if not self.is_directory:
            _replace(self.path, content)
            return [self.path]
        self.path.mkdir(parents=True, exist_ok=True)
        given: Counter[str] = Counter()
        written = [_create(self.path, ANSWER_NAME, content, given)] if answer else []
        for part in files:
            if part.raw is None:
                continue  # a link is shown, and not followed
            with suppress(binascii.Error, ValueError):
                octets = base64.b64decode(part.raw, validate=True)
                written.append(_create(self.path, safe_name(part), octets, given))
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


def _create(directory: Path, name: str, content: bytes, given: Counter[str]) -> Path:
    """Write a new file; another name is taken where there is something of that name, be it a link.

    `given`: how many candidates of each name have been tried, so that a thousand files of one name stay cheap.
    """
    for candidate in _names(name, given[name]):
        given[name] += 1
        path = directory / candidate
        try:
            with open(path, "xb") as file:
                file.write(content)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"too many files are named like {name}")


def _names(name: str, first: int) -> Iterator[str]:
    stem, dot, ending = name.rpartition(".")
    if not stem:
        stem, dot, ending = name, "", ""
    for number in range(first, first + _MOST_NAMES):
        yield f"{stem}-{number}{dot}{ending}" if number else name


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that nobody sees half of it. What is no regular file (a pipe, a device) is written to."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    target = Path(os.path.realpath(path))
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".answer.")  # the name itself may be too long
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
