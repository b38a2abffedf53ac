"""Checks logins against hashed passwords beside the event loop, and remembers the ones that were right.

What is remembered is a keyed digest of a login; the key is made for this process and never leaves it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable

import anyio
import anyio.to_thread

from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.access import Authentication, CredentialSet

REMEMBERED = 1024
"""Right logins that are not computed again."""

WAITING = 32
"""Logins that are checked or wait for it; more are refused. One takes a tenth of a second."""

_AT_ONCE = 2  # threads, each with the memory that scrypt takes


class PasswordChecks:
    """The checks of one server, and the logins that were right."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, bytes] = OrderedDict()  # digest of a login -> digest of its credential
        self._waiting = 0
        self._threads: anyio.CapacityLimiter | None = None

    async def prove(self, credentials: CredentialSet, authorization: str) -> Authentication | None:
        """Return what a header with a login proves, or `None`.

        Raises `ProtocolError` (OVERLOADED) where too many logins are checked already.
        """
        login = credentials.login(authorization)
        if login is None:
            return None
        name = hmac.digest(self._key, login.text, hashlib.sha256)
        proof = self._right.get(name)
        known = credentials.named(proof) if proof is not None else None
        if known is not None:
            self._right.move_to_end(name)
            return known
        proof = await self._checked(login.proof)
        if proof is None:
            return None
        self._right[name] = proof
        if len(self._right) > REMEMBERED:
            self._right.popitem(last=False)
        return credentials.named(proof)

    async def _checked(self, check: Callable[[], bytes | None]) -> bytes | None:
        if self._waiting >= WAITING:
            raise ProtocolError(ErrorKind.OVERLOADED, "Too many logins are checked at once; try again later")
        if self._threads is None:  # it belongs to the event loop that runs now
            self._threads = anyio.CapacityLimiter(_AT_ONCE)
        self._waiting += 1
        try:
            return await anyio.to_thread.run_sync(check, limiter=self._threads)
        finally:
            self._waiting -= 1
