"""Tickets: secrets that stand for a caller once, for some seconds, where a client cannot present its credential.

Pure: time and secrets are arguments. What is kept of a ticket is a digest, and whom it stands for: a credential by a
tag that only the ticket makes, so whoever reads what is kept learns nothing of either secret.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from typing import Any

import orjson
from attrs import define, field, frozen

from sansio.access.credentials import Authentication, CredentialSet, Identity


@frozen(kw_only=True)
class TicketBounds:
    """Bounds of tickets: `seconds` until each ends, and numbers that wait for use: of `each` caller, in `total`."""

    seconds: float = 30.0
    each: int = 64
    total: int = 4096


@frozen(kw_only=True)
class SealedTicket:
    """A ticket as it is kept. `digest`: of its secret. `body`: JSON: whom it stands for."""

    digest: bytes = field(repr=False)
    principal: str
    body: bytes = field(repr=False)


def seal(secret: str, holder: Authentication) -> SealedTicket:
    """Return the ticket of a caller as it is kept. `secret`: text that nobody can guess."""
    identity = holder.identity
    body: dict[str, Any]
    if holder.expires is None:
        body = {"tag": _tag(secret, holder.proof).hex()}
    else:
        body = {
            "credential_id": identity.credential_id,
            "capabilities": sorted(identity.capabilities),
            "expires": None if holder.expires == math.inf else holder.expires,
        }
    return SealedTicket(digest=digest_of(secret), principal=identity.principal, body=orjson.dumps(body))


def unseal(secret: str, ticket: SealedTicket, credentials: CredentialSet, now: float) -> Authentication | None:
    """Return whom a ticket stands for, as `credentials` have it now. `now`: epoch seconds.

    None where the credential that it was issued for proves nothing any more.
    """
    body: dict[str, Any] = orjson.loads(ticket.body)
    if (tag := body.get("tag")) is not None:
        found = credentials.tagged(secret.encode(), bytes.fromhex(tag))
        return found if found is not None and found.identity.principal == ticket.principal else None
    expires = math.inf if body["expires"] is None else float(body["expires"])
    if now >= expires:
        return None
    identity = Identity(
        principal=ticket.principal,
        credential_id=body["credential_id"],
        capabilities=frozenset(body["capabilities"]),
    )
    return Authentication(identity=identity, proof=ticket.digest, expires=expires)


def digest_of(secret: str) -> bytes:
    """Return the digest by which a ticket is found."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


@define
class Tickets:
    """Tickets that were issued and not used. Beyond the bounds, the oldest goes."""

    bounds: TicketBounds = TicketBounds()
    _issued: dict[bytes, tuple[SealedTicket, float]] = field(init=False, factory=dict, repr=False)  # oldest first

    def __len__(self) -> int:
        return len(self._issued)

    def issue(self, ticket: SealedTicket, now: float) -> None:
        """Keep a ticket."""
        self._forget(now)
        own = [digest for digest, (other, _) in self._issued.items() if other.principal == ticket.principal]
        if len(own) >= self.bounds.each:
            del self._issued[own[0]]
        elif len(self._issued) >= self.bounds.total:
            del self._issued[next(iter(self._issued))]
        self._issued[ticket.digest] = (ticket, now + self.bounds.seconds)

    def redeem(self, digest: bytes, now: float) -> SealedTicket | None:
        """Return a ticket, and use it up; None where it is none, is used, or too old."""
        found = self.find(digest, now)
        self.end(digest)
        return found

    def find(self, digest: bytes, now: float) -> SealedTicket | None:
        """Return a ticket, and leave it; None where it is none, or too old."""
        self._forget(now)
        found = self._issued.get(digest)
        return None if found is None else found[0]

    def end(self, digest: bytes) -> None:
        """Keep a ticket no longer."""
        self._issued.pop(digest, None)

    def _forget(self, now: float) -> None:
        while self._issued:
            digest, (_, ends) = next(iter(self._issued.items()))
            if now < ends:
                return
            del self._issued[digest]


def _tag(secret: str, proof: bytes) -> bytes:
    return hmac.digest(secret.encode(), proof, "sha256")
