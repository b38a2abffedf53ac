"""Resolves the places that messages ask for, on the file system OpenCode works on as far as it is ours too.

What is granted is decided in ``sansio.opencode.places``; nothing is compared before it is resolved.
"""

from __future__ import annotations

import os

import anyio
import anyio.to_thread
import orjson
from attrs import frozen

from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.opencode import requests
from sansio.opencode.places import granted_directory, is_inside
from sansio.opencode.requests import Place

from .upstream import Upstream, UpstreamError


@frozen
class _Looked:
    root: str
    path: str
    exists: bool


class Places:
    """``default``: where turns happen that ask for nothing. ``override``: messages may choose one below it."""

    def __init__(self, upstream: Upstream, default: Place, *, override: bool) -> None:
        self.default = default
        self._upstream = upstream
        self._override = override
        self._root: str | None = default.directory

    async def wished(self, directory: str | None, workspace: str | None) -> Place | None:
        """The place a message asks for, None for none; a workspace goes before a directory.

        Raises ``ProtocolError`` naming the field.
        """
        if workspace is not None:
            return Place(workspace=workspace)
        if directory is None:
            return None
        looked = await self._look(directory)
        granted = granted_directory(looked.root, looked.path, override=self._override, exists=looked.exists)
        # the root by another name is where everybody is, or a context could not be told to stay where it is
        return self.default if looked.path == looked.root else granted

    async def of_session(self, directory: object) -> Place | None:
        """The place of a session that is in this directory; None where that is outside the workspace."""
        if not isinstance(directory, str):
            return self.default
        looked = await self._look(directory)
        if not is_inside(looked.root, looked.path):
            return None
        return self.default if looked.path == looked.root else Place(directory=looked.path)

    async def _look(self, directory: str) -> _Looked:
        root = await self._known_root()
        return await anyio.to_thread.run_sync(_look, root, directory)

    async def _known_root(self) -> str:
        """The directory of the deployment: as it is set, else the one OpenCode was started in."""
        if self._root is None:
            try:
                found = orjson.loads((await self._upstream.request(requests.path())).body)
            except (UpstreamError, orjson.JSONDecodeError):
                found = None
            directory = found.get("directory") if isinstance(found, dict) else None
            if not isinstance(directory, str):
                raise ProtocolError(ErrorKind.INTERNAL_ERROR, "OpenCode does not say which directory it works in")
            self._root = directory
        return self._root


def _look(root: str, directory: str) -> _Looked:
    """Blocks. Where the root is not on this machine, only the text of the paths can be looked at."""
    resolved = os.path.realpath(root)
    path = os.path.realpath(os.path.join(resolved, directory))
    return _Looked(resolved, path, os.path.isdir(path) or not os.path.isdir(resolved))
