"""Secrets and places in the settings that no log may hold: the values of secrets, and directories of this machine.

Knows no variable by name: what is a secret says so by its type.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

from opencode_a2a.config.settings_table import Settings
from sansio.access import Credential, CredentialSet
from sansio.redact import Redactor, Secret


def redactor_of(settings: Settings) -> Redactor:
    """Make what takes the settings' secrets and the machine's directories out of a text."""
    directories = {str(Path.home()): "~"}
    if settings.workspace_root:
        directories[settings.workspace_root] = "<workspace>"
    directories |= {one.workspace_root: "<workspace>" for one in settings.opencode_instances if one.workspace_root}
    return Redactor.of(secrets_of(settings), directories, digests_of(settings.credentials))


def redactor_of_credentials(credentials: CredentialSet) -> Redactor:
    """Make what takes the secrets of credentials out of a text, also of those that are known by a hash."""
    secrets = [secret for credential in credentials.credentials for secret in _of_credential(credential)]
    return Redactor.of(secrets, digests=digests_of(credentials))


def digests_of(credentials: CredentialSet) -> frozenset[bytes]:
    """The hashes that stand in the place of tokens and keys."""
    return frozenset(one.token_sha256 for one in credentials.credentials if one.token_sha256 is not None)


def secrets_of(settings: Settings) -> Iterator[str]:
    """The values of all secrets, as they are, and as a login presents them."""
    for attribute in attrs.fields(Settings):
        match getattr(settings, attribute.name):
            case Secret() as secret:
                yield secret.reveal()
            case CredentialSet() as credentials:
                for credential in credentials.credentials:
                    yield from _of_credential(credential)
            case str() as text if "@" in text and "//" in text:
                yield from _of_url(text)
    for instance in settings.opencode_instances:
        if instance.password is not None:
            yield instance.password.reveal()
            yield f"{instance.username or settings.opencode_username}:{instance.password.reveal()}"
    if settings.opencode_password is not None:
        yield f"{settings.opencode_username}:{settings.opencode_password.reveal()}"


def _of_credential(credential: Credential) -> Iterator[str]:
    if credential.token is not None:
        yield credential.token.reveal()
    if credential.password is not None:
        yield credential.password.reveal()
        yield f"{credential.username}:{credential.password.reveal()}"


def _of_url(url: str) -> Iterator[str]:
    """The password in a URL, as it stands there and decoded."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
