"""Resolves the places that messages ask for, on the file system OpenCode works on as far as it is ours too.

What is granted is decided in `sansio.opencode.locations`; nothing is compared before it is resolved.
"""

from __future__ import annotations

import logging
import os

import anyio
import anyio.to_thread
import orjson
from attrs import frozen

from opencode_a2a.agent.upstream.upstream import Upstream, UpstreamError
from sansio.a2a.codecs.json_values import text_at
from sansio.a2a.errors import ErrorKind, ProtocolError, invalid
from sansio.opencode.locations import (
    DIRECTORY,
    granted_directory,
    is_inside,
    is_misread,
    is_where_opencode_works,
)
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.faults import PAYLOAD, TaskFailure
from sansio.opencode.upstream.requests import Location

_log = logging.getLogger(__name__)


_VERIFIED_LIMIT = 1024  # directories remembered as verified
MISTAKEN = TaskFailure(text="OpenCode takes the name of this directory for another one", type="SESSION_FORBIDDEN")


@frozen
class _Looked:
    root: str
    path: str
    exists: bool


class Locations:
    """`default`: where turns happen that ask for nothing. `override`: messages may choose one below it."""

    def __init__(self, upstream: Upstream, default: Location, *, override: bool) -> None:
        self.default = default
        self._upstream = upstream
        self._override = override
        self._root: str | None = default.directory
        self._verified: dict[str | None, None] = {}

    async def requested(self, directory: str | None, workspace: str | None) -> Location | None:
        """The place a message asks for, None for none; a workspace goes before a directory.

        Raises `ProtocolError` naming the field.
        """
        if workspace is not None:
            return Location(workspace=workspace)
        if directory is None:
            return None
        looked = await self._look(directory)
        granted = granted_directory(looked.root, looked.path, override=self._override, exists=looked.exists)
        if looked.path == looked.root:
            # the root by another name is the default, or a context could not be asked to stay where it is
            return self.default
        try:
            await self.verify(granted)
        except UpstreamError as exc:
            if exc.failure is MISTAKEN:
                raise invalid(DIRECTORY, "is another directory to OpenCode") from None
            # OpenCode cannot be asked now: the turn asks again before its prompt goes out
        return granted

    async def is_served(self, directory: str) -> bool:
        """Whether a requested directory is in the workspace, and there. Raises `ProtocolError`."""
        looked = await self._look(directory)
        return is_inside(looked.root, looked.path) and looked.exists

    async def verify(self, location: Location) -> None:
        """Check that OpenCode works in the directory of a place, and not in what it may take its name for.

        Asked once for each directory. Raises `UpstreamError`.
        """
        directory = location.directory
        if location.workspace is not None or directory in self._verified:
            return
        reported = await self._directory_of(location)
        asked, same, root = directory or reported, True, None
        if reported != asked:
            same, here = await anyio.to_thread.run_sync(_compare, asked, reported, self._root or asked)
            if not here:
                root = reported if location == self.default else await self._directory_of(self.default)
        if not is_where_opencode_works(asked, reported, same=same, root=root):
            _log.warning("OpenCode takes the directory %r for another one; it says %r", asked, reported)
            raise UpstreamError(MISTAKEN)
        if len(self._verified) >= _VERIFIED_LIMIT:
            del self._verified[next(iter(self._verified))]
        self._verified[directory] = None

    async def is_gone(self, location: Location) -> bool:
        """Whether the directory of a place was removed, as far as the workspace is on this machine."""
        directory = location.directory
        if directory is None or location.workspace is not None or location == self.default:
            return False
        return await anyio.to_thread.run_sync(_is_gone, self._root or directory, directory)

    def is_at(self, location: Location, reported: object) -> bool:
        """Whether a session that OpenCode has just made in a place is there, as far as OpenCode says where it is."""
        return (
            location.workspace is not None
            or location in (self.default, Location())
            or reported in (None, location.directory)
        )

    async def of_session(self, directory: object) -> Location | None:
        """The place of a session that is in this directory; None where that is outside the workspace."""
        if not isinstance(directory, str):
            return self.default
        looked = await self._look(directory)
        if not is_inside(looked.root, looked.path) or is_misread(looked.path):
            return None
        return self.default if looked.path == looked.root else Location(directory=looked.path)

    async def _look(self, directory: str) -> _Looked:
        root = await self._known_root()
        return await anyio.to_thread.run_sync(_look, root, directory)

    async def _known_root(self) -> str:
        """The directory of the deployment: as it is set, else the one OpenCode was started in."""
        if self._root is None:
            try:
                self._root = await self._directory_of(Location())
            except UpstreamError as exc:
                text = "OpenCode does not say which directory it works in"
                raise ProtocolError(ErrorKind.INTERNAL_ERROR, text) from exc
        return self._root

    async def _directory_of(self, location: Location) -> str:
        """The directory that OpenCode works in, for calls that name a place. Raises `UpstreamError`."""
        body = (await self._upstream.request(requests.path(location))).body
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            found = None
        directory = text_at(found, "directory")
        if directory is None:
            text = "OpenCode does not say which directory it works in"
            raise UpstreamError(TaskFailure(text=text, type=PAYLOAD))
        return directory


def _compare(asked: str, reported: str, root: str) -> tuple[bool, bool]:
    """Whether two names mean one directory, and whether the workspace is on this machine. Blocks."""
    return os.path.realpath(asked) == os.path.realpath(reported), os.path.isdir(root)


def _is_gone(root: str, directory: str) -> bool:
    """Blocks."""
    return os.path.isdir(root) and not os.path.isdir(directory)


def _look(root: str, directory: str) -> _Looked:
    """Blocks. Where the root is not on this machine, only the text of the paths can be looked at."""
    resolved = os.path.realpath(root)
    path = os.path.realpath(os.path.join(resolved, directory))
    return _Looked(resolved, path, os.path.isdir(path) or not os.path.isdir(resolved))
