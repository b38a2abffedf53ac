"""Tickets: each stands for its holder once, for some seconds, and there is a bound of them."""

from __future__ import annotations

import math

import pytest
from attrs import evolve

from sansio.access import Authentication, Credential, CredentialSet, Identity
from sansio.access.tickets import SealedTicket, TicketBounds, Tickets, digest_of, seal, unseal

ALICE, BOB = (
    Credential.bearer(f"{name}-token", principal=name, credential_id=name, capabilities=("metrics",))
    for name in ("alice", "bob")
)
NOBODY = CredentialSet(())


def holder(credential: Credential) -> Authentication:
    return Authentication(identity=credential.identity, proof=credential.digest)


def ticket(secret: str, credential: Credential = ALICE) -> SealedTicket:
    return seal(secret, holder(credential))


def test_a_ticket_is_good_once() -> None:
    tickets = Tickets()
    tickets.issue(ticket("s"), 0.0)
    assert tickets.redeem(digest_of("other"), 1.0) is None
    assert tickets.redeem(digest_of("s"), 1.0) == ticket("s")
    assert tickets.redeem(digest_of("s"), 1.0) is None


def test_a_ticket_is_good_for_some_seconds() -> None:
    tickets = Tickets(TicketBounds(seconds=30))
    tickets.issue(ticket("s"), 0.0)
    tickets.issue(ticket("t"), 10.0)
    assert tickets.redeem(digest_of("s"), 30.0) is None
    assert tickets.redeem(digest_of("t"), 39.0) == ticket("t")
    assert len(tickets) == 0


def test_the_oldest_ticket_of_a_caller_makes_room() -> None:
    tickets = Tickets(TicketBounds(each=2))
    tickets.issue(ticket("bob", BOB), 0.0)
    for number in range(3):
        tickets.issue(ticket(str(number)), float(number))
    assert len(tickets) == 3
    assert tickets.redeem(digest_of("0"), 3.0) is None
    assert tickets.redeem(digest_of("bob"), 3.0) == ticket("bob", BOB)


def test_all_tickets_have_a_bound() -> None:
    tickets = Tickets(TicketBounds(total=2))
    for secret, credential in (("a", ALICE), ("b", BOB), ("c", ALICE)):
        tickets.issue(ticket(secret, credential), 0.0)
    assert len(tickets) == 2
    assert tickets.redeem(digest_of("a"), 0.0) is None
    assert tickets.redeem(digest_of("c"), 0.0) == ticket("c")


def test_a_ticket_stands_for_the_credential_as_it_is_now() -> None:
    sealed = ticket("s")
    known = CredentialSet((BOB, ALICE))
    assert unseal("s", sealed, known, 0.0) == holder(ALICE)
    demoted = evolve(ALICE, capabilities=frozenset())
    assert unseal("s", sealed, CredentialSet((demoted,)), 0.0) == holder(demoted)
    assert unseal("s", sealed, NOBODY, 0.0) is None
    assert unseal("s", sealed, CredentialSet((evolve(ALICE, enabled=False), BOB)), 0.0) is None
    renamed = evolve(ALICE, principal="carol")
    assert unseal("s", sealed, CredentialSet((renamed,)), 0.0) is None
    assert unseal("another", sealed, known, 0.0) is None


def test_what_is_kept_of_a_ticket_shows_neither_it_nor_the_credential() -> None:
    sealed = ticket("secret-of-the-ticket")
    for secret in (b"secret-of-the-ticket", b"alice-token", ALICE.digest, ALICE.digest.hex().encode()):
        assert secret not in sealed.body
        assert secret not in sealed.digest
    assert sealed.body != ticket("another").body
    assert "secret-of" not in repr(sealed)
    assert "tag" not in repr(sealed)


@pytest.mark.parametrize("expires", [100.5, math.inf])
def test_a_ticket_of_a_token_or_a_certificate_holds_whom_it_stands_for(expires: float) -> None:
    identity = Identity(principal="cert:dave", credential_id=None, capabilities=frozenset({"metrics", "x"}))
    sealed = seal("s", Authentication(identity=identity, proof=b"proof", expires=expires))
    found = unseal("s", sealed, NOBODY, 100.0)
    assert found is not None
    assert (found.identity, found.expires) == (identity, expires)
    assert (unseal("s", sealed, NOBODY, 100.5) is None) is (expires == 100.5)
    assert b"proof" not in sealed.body
