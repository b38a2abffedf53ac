"""The file of credentials: read at the start, on SIGHUP, and whenever it has changed.

A file that cannot be used leaves the credentials as they were, with a line in the log that holds no secret.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import anyio
from attrs import frozen

from opencode_a2a.logs import plain
from opencode_a2a.loose_thread import BlockedError, LooseThread
from opencode_a2a.regular_files import is_open_to_others, read_regular
from sansio.access import CredentialsError, CredentialSet, joined

_log = logging.getLogger(__name__)

LARGEST: Final = 4 * 1024 * 1024
"""Bytes that are read of the file."""

LOOK_EVERY = 2.0
"""Seconds between two looks at the file."""

Stamp: TypeAlias = tuple[int, int, int]
"""Time of modification in nanoseconds, inode and size."""


@frozen
class LoadedFile:
    """The credentials of the file and of the setting beside it. `open_to_others`: not its owner alone may read it."""

    credentials: CredentialSet
    stamp: Stamp
    open_to_others: bool


class CredentialsFile:
    """The file at `path`. `parse`: reads its text. `beside`: credentials that count as well.

    `use`: called with the new credentials whenever they were loaded again.
    """

    def __init__(self, path: str, parse: Callable[[str], CredentialSet], beside: CredentialSet) -> None:
        self.use: Callable[[CredentialSet], None] = lambda credentials: None
        self._path = path
        self._parse = parse
        self._beside = beside
        self._stamp: Stamp | None = None
        self._thread = LooseThread("credentials")
        self._reading = anyio.Lock()

    async def load(self) -> CredentialSet:
        """Read the file for the first time. Raises `CredentialsError`."""
        loaded = await self._thread.run(self.read)
        self._take(loaded)
        return loaded.credentials

    async def reload(self) -> None:
        """Read the file again, and use what is in it. One that cannot be used is logged."""
        async with self._reading:
            await self._reload()

    async def _reload(self) -> None:
        try:
            loaded = await self._thread.run(self.read)
        except (CredentialsError, BlockedError) as error:
            _log.warning("the credentials stay as they were, because of %s: %s", plain(self._path), error)
            return
        self._take(loaded)
        self.use(loaded.credentials)
        count = sum(credential.enabled for credential in loaded.credentials.credentials)
        _log.info("credentials were loaded again from %s: %d are enabled", plain(self._path), count)

    async def watch(self) -> None:
        """Load the file again whenever it has changed, for ever."""
        while True:
            await anyio.sleep(LOOK_EVERY)
            async with self._reading:
                stamp = await self._looked()
                if stamp is not None and stamp != self._stamp:
                    self._stamp = stamp  # one that cannot be used is complained of once
                    await self._reload()

    def _take(self, loaded: LoadedFile) -> None:
        self._stamp = loaded.stamp
        if loaded.open_to_others:
            _log.warning("%s can be read by others than its owner: chmod 600 keeps it private", plain(self._path))

    async def _looked(self) -> Stamp | None:
        """Return the stamp of the file, or None where it cannot be had: it may be about to be replaced."""
        try:
            return _stamp(await self._thread.run(partial(os.stat, self._path)))
        except (OSError, BlockedError):
            return None

    def read(self) -> LoadedFile:
        """Read the file, and take nothing from it. Blocks. Raises `CredentialsError`."""
        try:
            content, status = read_regular(self._path, LARGEST + 1)
        except OSError as error:
            raise CredentialsError([f"it cannot be read: {error.strerror}"]) from None
        if len(content) > LARGEST:
            raise CredentialsError([f"it is larger than {LARGEST} bytes"])
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = None
        if text is None:  # out here, so that no error that holds the content travels along
            raise CredentialsError(["it is not UTF-8"])
        if not text.strip():  # also what somebody who writes it in place has begun
            raise CredentialsError(["it is empty; [] stands for no credentials"])
        credentials = joined(self._beside, self._parse(text))
        return LoadedFile(credentials, _stamp(status), is_open_to_others(status))


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_ino, status.st_size
