"""`opencode-a2a token`: makes a token, a password or an API key, and the entry that stores its hash.

The secret goes to standard output, once, and is kept nowhere. The entry for the file of credentials goes to standard
error, or with `--entry` to a file of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import sys
from typing import Final

from opencode_a2a.config.settings import Settings
from opencode_a2a.server.runtimes import Runtime
from sansio.a2a.client.client_errors import UsageError
from sansio.access import CredentialsError, PasswordHash, parse_credentials
from sansio.access.passwords import SALT_BYTES

_RANDOM_BYTES: Final = 32
_MARK: Final = "oca2a_"  # by which scanners of repositories and logs can find a token that has leaked


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Print the secret and its entry; return the exit code. Raises `UsageError`."""
    secret = _MARK + secrets.token_urlsafe(_RANDOM_BYTES)
    entry = json.dumps(_entry(options, secret), ensure_ascii=False)
    _check(entry)
    if options.entry is not None:
        _write(options.entry, entry)
    print(secret, flush=True)
    if options.entry is None:
        print(entry, file=sys.stderr)
    return 0


def _entry(options: argparse.Namespace, secret: str) -> dict[str, object]:
    digest = hashlib.sha256(secret.encode()).hexdigest()
    principal = options.principal or "automation"
    entry: dict[str, object]
    if options.basic is not None:
        if options.principal is not None:
            raise UsageError("--principal does not go with --basic: the principal of a login is its user name")
        hashed = PasswordHash.of(secret.encode(), secrets.token_bytes(SALT_BYTES)).text
        entry = {"scheme": "basic", "username": options.basic, "password_scrypt": hashed}
    elif options.api_key:
        entry = {"scheme": "api_key", "key_sha256": digest, "principal": principal}
    else:
        entry = {"scheme": "bearer", "token_sha256": digest, "principal": principal}
    if options.credential_id is not None:
        entry["credential_id"] = options.credential_id
    if options.capability:
        entry["capabilities"] = options.capability
    return entry


def _check(entry: str) -> None:
    """Refuse what a server would refuse. Raises `UsageError`."""
    try:
        parse_credentials(f"[{entry}]")
    except CredentialsError as error:
        text = str(error).replace("entry 1, ", "")
    else:
        return
    raise UsageError(text)


def _write(path: str, entry: str) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(entry + "\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
