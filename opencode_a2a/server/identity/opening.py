"""Opens the methods of authentication that the settings turn on, and keeps what they use up to date."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from attrs import frozen

from opencode_a2a.config.settings import Settings, SettingsError
from opencode_a2a.config.settings_values import credentials_of_file
from opencode_a2a.server.identity.authenticator import Authenticator
from opencode_a2a.server.identity.credentials_file import CredentialsFile
from opencode_a2a.server.signals import Reload
from sansio.access import CredentialsError, CredentialSet

FILE = "A2A_STATIC_AUTH_CREDENTIALS_FILE"


@frozen
class ServedIdentities:
    """The authenticator of a server. `credentials`: those that are known at the start."""

    authenticator: Authenticator
    credentials: CredentialSet
    file: CredentialsFile | None = None

    @property
    def reloads(self) -> tuple[Reload, ...]:
        """The functions that load files again."""
        return () if self.file is None else (self.file.reload,)

    async def run(self) -> None:
        """Keep credentials and keys up to date, for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.authenticator.watch)
            if self.file is not None:
                tasks.start_soon(self.file.watch)


async def open_identities(settings: Settings, *, realm: str, wall: Callable[[], float]) -> ServedIdentities:
    """Open what the settings turn on. Raises `SettingsError` for a file that cannot be used."""
    credentials, file = settings.credentials, None
    if settings.credentials_file is not None:
        file = CredentialsFile(settings.credentials_file, credentials_of_file, settings.credentials)
        try:
            credentials = await file.load()
        except CredentialsError as error:
            problems = [f"{FILE}: {settings.credentials_file}: {problem}" for problem in error.problems]
        else:
            problems = []
        if problems:
            raise SettingsError(problems)
    authenticator = Authenticator(credentials, realm=realm, api_key_header=settings.api_key_header, wall=wall)
    if file is not None:
        file.use = authenticator.replace
    return ServedIdentities(authenticator, credentials, file)
