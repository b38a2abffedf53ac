"""What the signatures of another agent's card prove: which key counts, which form is covered, what is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given

from opencode_a2a.client.card_verifier import CardVerifier
from opencode_a2a.server.http.card_keys import canonical, private_key
from opencode_a2a.server.http.card_signing import CardKey
from sansio.a2a.cards.agent_card import CardDocument
from sansio.a2a.cards.signatures import cleaned, view_1_0
from sansio.a2a.cards.verification import (
    LARGEST_KEY_SET,
    MOST_SIGNATURES,
    KeySet,
    SignatureCheck,
    SignatureOutcome,
    SignedCard,
    Verdict,
    check_signatures,
    key_set_url,
)
from tests import strategies
from tests.core.a2a.test_signing import SPEC


def card_key(key: Any, kid: str = "k") -> CardKey:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made = private_key(pem)
    return CardKey(alg=made.alg, kid=kid, public=made.public, sign=made.sign, canonical=canonical)


KEY = card_key(ec.generate_private_key(ec.SECP256R1()))
KEYS = {
    "ES256": KEY,
    "ES384": card_key(ec.generate_private_key(ec.SECP384R1())),
    "EdDSA": card_key(ed25519.Ed25519PrivateKey.generate()),
    "RS256": card_key(rsa.generate_private_key(65537, 2048)),
}


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(payload: bytes, key: CardKey = KEY, **header: Any) -> dict[str, str]:
    protected = b64(orjson.dumps({"alg": key.alg, "kid": key.kid, **header}))
    return {"protected": protected, "signature": b64(key.sign(f"{protected}.{b64(payload)}".encode()))}


def ours(key: CardKey = KEY) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(CardDocument.of(SPEC, key).body)
    return document


def outcome(card: dict[str, Any], key: CardKey = KEY) -> SignatureOutcome:
    keys = KeySet.of(json.dumps(key.jwks()).encode(), trusted=True)
    return check_signatures(SignedCard.of(card), lambda signature: keys, CardVerifier())


@pytest.mark.parametrize("alg", KEYS)
def test_our_own_card_is_valid_as_a_whole_with_every_kind_of_key(alg: str) -> None:
    found = outcome(ours(KEYS[alg]), KEYS[alg])

    assert (found.verdict, found.alg, found.kid, found.whole) == (Verdict.VALID, alg, "k", True)
    assert str(found) == f"valid, {alg}, key k (a trusted key)"


@pytest.mark.parametrize("member", ["name", "description", "skills", "capabilities", "supportedInterfaces"])
def test_a_changed_member_is_never_covered(member: str) -> None:
    card = ours()
    before = card[member]
    card[member] = "changed"

    found = outcome(card)

    assert found.verdict is Verdict.WRONG or (found.covered or {}).get(member, before) != "changed"


def test_an_address_that_nobody_signed_is_not_covered() -> None:
    card = {"name": "n", "supportedInterfaces": [{"url": "https://good.example", "protocolBinding": "JSONRPC"}]}
    card["signatures"] = [signed(canonical(cleaned(view_1_0(card))))]
    card["url"] = "https://evil.example"

    found = outcome(card)

    assert (found.verdict, found.whole) == (Verdict.VALID, False)
    assert found.covered is not None
    assert "url" not in found.covered


def test_another_key_of_the_same_name_is_wrong_and_another_name_unknown() -> None:
    other = ec.generate_private_key(ec.SECP256R1())

    assert outcome(ours(), card_key(other)).verdict is Verdict.WRONG
    assert outcome(ours(), card_key(other, "other")).verdict is Verdict.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        ({"alg": "none"}, Verdict.MALFORMED),
        ({"alg": "HS256"}, Verdict.MALFORMED),
        ({"alg": "ES512"}, Verdict.UNKNOWN_KEY),
        ({"alg": "RS256"}, Verdict.UNKNOWN_KEY),
        ({"crit": ["x"]}, Verdict.MALFORMED),
        ({"b64": False}, Verdict.MALFORMED),
        ({"kid": ""}, Verdict.MALFORMED),
        ({"kid": "k" * 1000}, Verdict.MALFORMED),
        ({"jku": 1}, Verdict.MALFORMED),
    ],
    ids=["none", "hmac", "unused", "other kind", "crit", "b64", "no kid", "long kid", "jku"],
)
def test_a_header_that_is_refused(header: dict[str, Any], verdict: Verdict) -> None:
    card: dict[str, Any] = {"name": "n"}
    card["signatures"] = [signed(canonical(card), **header)]

    assert outcome(card).verdict is verdict


def test_bounds_are_kept() -> None:
    card: dict[str, Any] = {"name": "n"}
    one = signed(canonical(card))
    deep: Any = []
    for _ in range(200):
        deep = [deep]

    assert outcome({**card, "signatures": [one] * (MOST_SIGNATURES + 1)}).verdict is Verdict.MALFORMED
    assert outcome({**card, "x": deep, "signatures": [one]}).verdict is Verdict.MALFORMED
    assert outcome({**card, "signatures": [{**one, "signature": "A" * 5000}]}).verdict is Verdict.MALFORMED
    with pytest.raises(ValueError, match="keys"):
        KeySet.of(json.dumps({"keys": [{}] * 100}).encode())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"protected": "e30="}, "protected: must be a JSON object in base64url"),
        ({"protected": "A"}, "protected: must be a JSON object in base64url"),
        ({"protected": b64(b"{")}, "protected: must be a JSON object in base64url"),
        ({"protected": b64(b"[]")}, "protected: must be a JSON object in base64url"),
        ({"protected": b64(b'{"alg":7,"kid":"k"}')}, "alg: must be the name of an algorithm"),
        ({"protected": b64(b'{"alg":"A\\n","kid":"k"}')}, "alg: must be the name of an algorithm"),
        ({"signature": "AA=="}, "signature: must be base64url without padding"),
        ({"signature": "A"}, "signature: must be base64url without padding"),
    ],
    ids=[
        "padded",
        "cut off",
        "no JSON",
        "no object",
        "no name",
        "no printable name",
        "padded value",
        "cut off value",
    ],
)
def test_a_signature_of_another_form_is_named_with_its_member(change: dict[str, str], fault: str) -> None:
    card = {"name": "n"}
    found = SignedCard.of({**card, "signatures": [signed(canonical(card)), {**signed(canonical(card)), **change}]})

    assert found.faults == (f"signatures.1: {fault}",)
    assert [one.kid for one in found.signatures] == ["k"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b" " * (LARGEST_KEY_SET + 1), "larger than"),
        (b"{", "is not JSON"),
        (b"[]", "a list `keys`"),
        (b'{"keys":{}}', "a list `keys`"),
    ],
    ids=["large", "no JSON", "no object", "no list"],
)
def test_what_is_no_key_set_is_refused_with_the_reason(body: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        KeySet.of(body)


def test_of_a_key_set_what_can_be_no_key_is_left_out() -> None:
    key = {"kty": "EC", "kid": "k"}
    others = [7, {**key, "key_ops": "verify"}, {**key, "x": 5}, {**key, "x": "A" * 2000}, {**key, "x": "A="}]

    assert KeySet.of(json.dumps({"keys": [key, *others]}).encode()).keys == (key,)


def test_no_key_is_for_an_algorithm_that_is_not_checked() -> None:
    keys = KeySet.of(json.dumps(KEY.jwks()).encode())
    (known,) = SignedCard.of({"signatures": [signed(b"")]}).signatures
    (unknown,) = SignedCard.of({"signatures": [signed(b"", alg="ES512")]}).signatures

    assert len(keys.find(known)) == 1
    assert keys.find(unknown) == ()


def test_a_signature_of_another_size_than_its_algorithm_has_fits_nothing() -> None:
    card: dict[str, Any] = {"name": "n"}
    short = {**signed(canonical(card)), "signature": b64(b"s" * 63)}

    assert outcome({**card, "signatures": [short]}).verdict is Verdict.WRONG


def test_a_number_without_a_canonical_form_is_never_covered() -> None:
    card = {"name": "n", "version": "1", "url": 10**400}  # version 1.0 has no such member
    kept = canonical(view_1_0(card))

    found = outcome({**card, "signatures": [signed(kept)]})

    assert (found.verdict, found.whole) == (Verdict.VALID, False)
    assert found.covered == {"name": "n", "version": "1"}


def test_a_key_set_counts_only_at_the_origin_of_the_card() -> None:
    assert key_set_url("http://localhost:1/k", "http://127.0.0.1:1/c.json") == "http://127.0.0.1:1/k"
    for jku in (None, "https://evil.example/k", "http://a.example/k", "https://a.example:8443/k", "file:///k"):
        with pytest.raises(ValueError, match=r"."):
            key_set_url(jku, "https://a.example/c.json")


def test_what_is_refused_is_decided_by_the_setting() -> None:
    taken = {
        check: [one for one in Verdict if SignatureOutcome(verdict=one).refusal(check) is None]
        for check in SignatureCheck
    }

    assert taken[SignatureCheck.IGNORE] == list(Verdict)
    assert taken[SignatureCheck.CHECK] == [Verdict.UNSIGNED, Verdict.VALID, Verdict.UNKNOWN_KEY]
    assert taken[SignatureCheck.REQUIRE] == [Verdict.VALID]


@given(strategies.json_values, strategies.json_values)
def test_no_value_makes_it_raise_or_valid(value: Any, card: Any) -> None:
    document = {**(card if isinstance(card, dict) else {"skills": card, "capabilities": card}), "signatures": value}

    assert outcome(document).verdict in (Verdict.UNSIGNED, Verdict.MALFORMED)


@given(strategies.json_values)
def test_every_card_has_forms_that_are_checked(value: Any) -> None:
    card = {"capabilities": value, "skills": [value], "securitySchemes": value, "securityRequirements": [value]}

    assert outcome({**card, "signatures": [signed(b"else")]}).verdict is Verdict.WRONG
