"""Rules of tokens without a signature: any text is read or refused, and when keys are fetched."""

from __future__ import annotations

import base64
import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.access import key_schedule
from sansio.access.key_schedule import KeySchedule
from sansio.access.oidc import (
    LARGEST_TOKEN,
    LEEWAY,
    MOST_KEYS,
    OidcPolicy,
    TokenHeader,
    TokenRefusedError,
    authentication_of,
    is_protected,
    read_discovery,
    read_keys,
    read_token,
    suitable_keys,
)

POLICY = OidcPolicy(issuer="https://login.example", audiences=frozenset({"agent"}))
CLAIMS = {"iss": "https://login.example", "aud": "agent", "sub": "gina", "exp": 1000}


def token(**header: object) -> str:
    text = json.dumps({"alg": "RS256", **header}).encode()
    return f"{base64.urlsafe_b64encode(text).decode().rstrip('=')}.e30.AA"


def test_a_token_is_read_up_to_a_size() -> None:
    assert read_token(token(kid="k"), POLICY).kid == "k"
    with pytest.raises(TokenRefusedError, match="longer than"):
        read_token(token().ljust(LARGEST_TOKEN + 1, "A"), POLICY)


@given(st.one_of(st.text(), st.text().map(lambda text: f"eyJ{text}.{text}.{text}")))
def test_any_text_is_read_or_refused(text: str) -> None:
    refusal = ""
    try:
        assert read_token(text, POLICY).alg in POLICY.algorithms
    except TokenRefusedError as refused:
        refusal = str(refused)
    assert len(text) < 8 or text not in refusal


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_any_claim_is_read_or_refused(value: object) -> None:
    for name in (*CLAIMS, "nbf", "iat", "scope", "scp"):
        payload = json.dumps({**CLAIMS, name: value}).encode()
        try:
            found = authentication_of(payload, "t", POLICY, 10.0)
        except TokenRefusedError:
            continue
        assert found.identity.principal.startswith("oidc:")
        assert found.expires is not None


def test_a_token_is_good_up_to_the_leeway_after_its_end() -> None:
    payload = json.dumps(CLAIMS).encode()

    assert authentication_of(payload, "t", POLICY, 999.0 + LEEWAY).expires == 1000 + LEEWAY
    with pytest.raises(TokenRefusedError, match="expired"):
        authentication_of(payload, "t", POLICY, 1000 + LEEWAY)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "no JSON object"),
        ({"issuer": "https://evil.example", "jwks_uri": "https://login.example/keys"}, "another issuer"),
        ({"issuer": "https://login.example", "jwks_uri": "http://login.example/keys"}, "no https URL"),
        ({"issuer": "https://login.example"}, "no https URL"),
    ],
)
def test_a_discovery_document_is_of_the_issuer_and_names_protected_keys(document: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_discovery(json.dumps(document).encode(), POLICY)


def test_of_a_key_set_only_public_members_of_asymmetric_keys_are_kept() -> None:
    keys = [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "EC", "kid": "a", "d": "c2VjcmV0"}, 7]

    assert read_keys(json.dumps({"keys": keys}).encode()) == ({"kty": "EC", "kid": "a"},)
    with pytest.raises(ValueError, match="more than"):
        read_keys(json.dumps({"keys": keys * MOST_KEYS}).encode())


def test_plain_http_is_for_this_machine_alone() -> None:
    urls = (
        "https://a.example",
        "http://127.0.0.1:8",
        "http://[::1]",
        "http://localhost",
        "http://a.example",
        "ftp://a",
        "https:",
        "https://[::1",
        "",
    )

    assert [is_protected(url) for url in urls] == [True, True, True, True, False, False, False, False, False]


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}, {"alg": ["RS256"]}, {"alg": None}])
def test_only_allowed_asymmetric_algorithms_are_accepted(header: dict[str, object]) -> None:
    for algorithms in (POLICY.algorithms, ("none", "HS256")):  # also where a policy names others
        with pytest.raises(TokenRefusedError, match="algorithm"):
            read_token(token(**header), evolve(POLICY, algorithms=algorithms))


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt"])
def test_types_of_access_tokens_are_accepted(typ: str) -> None:
    assert read_token(token(typ=typ), POLICY).alg == "RS256"


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({"typ": "id+jwt"}, "another type"),
        ({"typ": 7}, "another type"),
        ({"crit": []}, "critical"),
        ({"crit": ["b64"], "b64": False}, "critical"),
        ({"kid": ["k"]}, "names its key"),
    ],
)
def test_other_headers_are_refused(header: dict[str, object], problem: str) -> None:
    with pytest.raises(TokenRefusedError, match=problem):
        read_token(token(**header), POLICY)


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_times_to_come_are_refused_beyond_what_two_clocks_may_differ_by(name: str) -> None:
    def found(at: float) -> object:
        return authentication_of(json.dumps({**CLAIMS, name: at}).encode(), "t", POLICY, 100.0)

    assert found(100 + LEEWAY)
    with pytest.raises(TokenRefusedError, match="not valid yet"):
        found(101 + LEEWAY)
    with pytest.raises(TokenRefusedError, match=name):
        authentication_of(json.dumps({**CLAIMS, name: "soon"}).encode(), "t", POLICY, 100.0)


def test_keys_are_fetched_by_age_for_unknown_ids_and_again_after_failures() -> None:
    schedule = KeySchedule()
    assert (schedule.has_keys(0.0), schedule.is_stale(0.0), schedule.may_look_for_key(0.0)) == (False, True, True)
    schedule.attempted = 0.0
    assert schedule.may_look_for_key(key_schedule.RETRY - 1) is False
    assert schedule.may_look_for_key(key_schedule.RETRY) is True
    schedule.fetched = schedule.attempted = 10.0
    assert schedule.has_keys(11.0)
    assert schedule.may_look_for_key(10.0 + key_schedule.PAUSE - 1) is False
    assert schedule.may_look_for_key(10.0 + key_schedule.PAUSE) is True
    assert schedule.is_stale(10.0 + key_schedule.FRESH) is True
    assert schedule.has_keys(10.0 + key_schedule.USABLE) is False


def jwt(header: bytes) -> str:
    return f"{base64.urlsafe_b64encode(header).decode().rstrip('=')}.e30.AA"


@pytest.mark.parametrize("text", [jwt(b"{"), jwt(b"[]"), "A.e30.AA", "eyJ\u00fc.e30.AA"], ids=range(4))
def test_what_has_no_object_as_its_header_is_no_jwt(text: str) -> None:
    with pytest.raises(TokenRefusedError, match="is no JWT"):
        read_token(text, POLICY)


def test_a_key_is_named_by_a_text() -> None:
    with pytest.raises(TokenRefusedError, match="by something else than a text"):
        read_token(token(kid=7), POLICY)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"\xff"])
def test_claims_are_an_object(payload: bytes) -> None:
    with pytest.raises(TokenRefusedError, match="is no JWT"):
        authentication_of(payload, "t", POLICY, 10.0)


@pytest.mark.parametrize(
    ("member", "fits"),
    [
        ({}, True),
        ({"use": "sig", "alg": "RS256", "key_ops": ["verify"]}, True),
        ({"use": "enc"}, False),
        ({"alg": "PS256"}, False),
        ({"key_ops": ["sign", "encrypt"]}, False),
        ({"kty": "EC", "crv": "P-256"}, False),
        ({"kid": "other"}, False),
    ],
    ids=["bare", "of this use", "other use", "other algorithm", "other operations", "other kind", "other id"],
)
def test_a_key_suits_the_tokens_of_its_id_kind_and_use(member: dict[str, object], fits: bool) -> None:
    key = {"kty": "RSA", "kid": "k", **member}

    assert suitable_keys([key], TokenHeader("RS256", "k")) == ([key] if fits else [])
    assert suitable_keys([key], TokenHeader("RS256", None)) == ([key] if fits or member == {"kid": "other"} else [])
