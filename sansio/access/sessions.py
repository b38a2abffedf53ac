"""Sessions of the console: secrets in a cookie, each of which stands for a caller for some hours.

Pure: time and secrets are arguments. A session is kept as a ticket is, so whoever reads what is kept learns no
secret, and it ends with the credential that it was begun with. Its digest and its principal are not those of a
ticket: neither counts as the other.
"""

from __future__ import annotations

import hashlib
from typing import Final

from attrs import evolve

from sansio.access import tickets
from sansio.access.credentials import Authentication, CredentialSet
from sansio.access.tickets import SealedTicket, TicketBounds

_OWN: Final = "console "

SESSIONS_EACH: Final = 16
"""Sessions of one principal; the oldest ends where there is another."""


def session_bounds(seconds: float) -> TicketBounds:
    """Return the bounds of sessions. `seconds`: until each ends."""
    return TicketBounds(seconds=seconds, each=SESSIONS_EACH, total=4096)


def seal_session(secret: str, holder: Authentication) -> SealedTicket:
    """Return the session of a caller as it is kept. `secret`: text that nobody can guess."""
    sealed = tickets.seal(secret, holder)
    return evolve(sealed, digest=digest_of_session(secret), principal=_OWN + sealed.principal)


def unseal_session(secret: str, kept: SealedTicket, credentials: CredentialSet, now: float) -> Authentication | None:
    """Return whom a session stands for, as `credentials` have it now. `now`: epoch seconds.

    None where the credential that it was begun with proves nothing any more.
    """
    return tickets.unseal(secret, evolve(kept, principal=kept.principal.removeprefix(_OWN)), credentials, now)


def digest_of_session(secret: str) -> bytes:
    """Return the digest by which a session is found."""
    return hashlib.sha256((_OWN + secret).encode("utf-8", "surrogatepass")).digest()
