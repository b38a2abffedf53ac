"""Sessions of the console: each stands for its holder until it ends, and is no ticket."""

from __future__ import annotations

import math

from sansio.access import Authentication, Credential, CredentialSet, Identity
from sansio.access.sessions import SESSIONS_EACH, digest_of_session, seal_session, session_bounds, unseal_session
from sansio.access.tickets import Tickets, digest_of

ALICE = Credential.bearer("alice-token", principal="alice", credential_id="a", capabilities=("metrics",))
HOLDER = Authentication(identity=ALICE.identity, proof=ALICE.digest)
KNOWN = CredentialSet((ALICE,))


def test_a_session_stands_for_its_holder_again_and_again_until_it_ends() -> None:
    sessions = Tickets(session_bounds(60.0))
    sessions.issue(seal_session("s", HOLDER), 0.0)
    for now in (1.0, 59.0):
        kept = sessions.find(digest_of_session("s"), now)
        assert kept is not None
        assert unseal_session("s", kept, KNOWN, 0.0) == HOLDER
    assert sessions.find(digest_of_session("s"), 60.0) is None


def test_a_session_that_is_ended_is_gone() -> None:
    sessions = Tickets(session_bounds(60.0))
    sessions.issue(seal_session("s", HOLDER), 0.0)
    for _ in range(2):
        sessions.end(digest_of_session("s"))
        assert sessions.find(digest_of_session("s"), 0.0) is None


def test_a_session_ends_with_its_credential() -> None:
    kept = seal_session("s", HOLDER)
    other = Credential.bearer("other-token", principal="alice", credential_id="a")
    assert unseal_session("s", kept, CredentialSet((other,)), 0.0) is None
    assert unseal_session("t", kept, KNOWN, 0.0) is None


def test_a_session_of_a_token_that_expires_ends_with_it() -> None:
    identity = Identity(principal="oidc:x", credential_id=None, capabilities=frozenset({"metrics"}))
    for expires in (10.0, math.inf):
        kept = seal_session("s", Authentication(identity=identity, proof=b"p", expires=expires))
        found = unseal_session("s", kept, KNOWN, 9.0)
        assert found is not None
        assert found.identity == identity
        assert (unseal_session("s", kept, KNOWN, 10.0) is None) == (expires == 10.0)


def test_neither_is_a_session_a_ticket_nor_a_ticket_a_session() -> None:
    assert digest_of_session("s") != digest_of("s")
    assert seal_session("s", HOLDER).principal != "alice"


def test_a_principal_has_some_sessions_and_the_oldest_makes_room() -> None:
    sessions = Tickets(session_bounds(60.0))
    for number in range(SESSIONS_EACH + 1):
        sessions.issue(seal_session(str(number), HOLDER), float(number))
    assert len(sessions) == SESSIONS_EACH
    assert sessions.find(digest_of_session("0"), 17.0) is None


def test_nothing_that_is_kept_shows_a_secret() -> None:
    kept = seal_session("the-secret", HOLDER)
    assert "the-secret" not in repr(kept)
    assert b"the-secret" not in kept.body + kept.digest
    assert ALICE.digest.hex().encode() not in kept.body
