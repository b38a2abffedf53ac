"""What is signed of a card: the specification's form, and those forms that the clients' verifiers come to."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import orjson
import pytest
import rfc8785
from attrs import evolve, frozen
from hypothesis import given

from sansio.a2a.cards.agent_card import CardDocument, CardSpec, Extension, Skill, render_card
from sansio.a2a.cards.signatures import cleaned, payloads, signatures, view_0_3, view_1_0
from sansio.a2a.model import JsonObject
from tests import strategies

SPEC = CardSpec(
    name="Karte",
    description="",
    version="1",
    url="https://agent.example/base",
    versions=("0.3", "1.0"),
    schemes=("bearer",),
    skills=(Skill(id="s", name="S", description="", tags=(), input_modes=(), output_modes=("text/plain",)),),
    input_modes=(),
    output_modes=("text/plain",),
    extensions=(Extension(uri="urn:x", description="", params={"none": [], "n": 1, "off": False, "void": None}),),
    push_notifications=False,
    extended_card=True,
)


@frozen
class Digest:
    """Signs with a digest, which anybody can repeat."""

    alg: str = "none-such"
    kid: str = "schlüssel-1"

    def sign(self, message: bytes) -> bytes:
        return hashlib.sha256(message).digest()

    def canonical(self, value: JsonObject) -> bytes:
        return rfc8785.dumps(value)


def decoded(text: str) -> bytes:
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def forms(spec: CardSpec = SPEC) -> list[Any]:
    return [orjson.loads(payload) for payload in payloads(render_card(spec), Digest())]


def test_every_signature_names_algorithm_key_and_key_set() -> None:
    card = orjson.loads(CardDocument.of(SPEC, Digest()).body)

    assert card["signatures"]
    for one in card["signatures"]:
        assert one.keys() == {"protected", "signature"}
        assert orjson.loads(decoded(one["protected"])) == {
            "alg": "none-such",
            "typ": "JOSE",
            "kid": "schlüssel-1",
            "jku": "https://agent.example/base/.well-known/jwks.json",
        }


def test_a_signature_covers_header_and_payload_as_jws_has_it() -> None:
    card = render_card(SPEC)

    found = signatures(card, Digest(), "https://agent.example/jwks", shown=card)

    for one, payload in zip(found, payloads(card, Digest()), strict=True):
        message = f"{one['protected']}.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}"
        assert decoded(one["signature"]) == hashlib.sha256(message.encode()).digest()


def test_a_signed_card_says_what_the_unsigned_one_says() -> None:
    card = orjson.loads(CardDocument.of(SPEC, Digest()).body)
    signatures = card.pop("signatures")

    assert card == orjson.loads(CardDocument.of(SPEC).body)
    assert len(signatures) == 5


def test_the_first_form_has_the_defaults_left_out_that_the_specification_names() -> None:
    form = forms()[0]

    assert form == {
        "name": "Karte",
        "description": "",
        "version": "1",
        "supportedInterfaces": render_card(SPEC)["supportedInterfaces"],
        "capabilities": {
            "streaming": True,
            "pushNotifications": False,
            "extendedAgentCard": True,
            # what is inside params is the extension's own, and has no defaults
            "extensions": [{"uri": "urn:x", "params": {"none": [], "n": 1, "off": False, "void": None}}],
        },
        "securitySchemes": {
            "bearerAuth": {
                "httpAuthSecurityScheme": {
                    "scheme": "bearer",
                    "bearerFormat": "opaque",
                    "description": "A bearer token of the operator's",
                }
            }
        },
        "securityRequirements": [{"schemes": {"bearerAuth": {}}}],
        "defaultInputModes": [],
        "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "s", "name": "S", "description": "", "tags": [], "outputModes": ["text/plain"]}],
    }


def test_the_example_of_the_specification_comes_out_as_it_is_printed_there() -> None:
    card = {
        "name": "Example Agent",
        "description": "",
        "capabilities": {"streaming": False, "pushNotifications": False, "extensions": []},
        "skills": [],
    }

    canonical = rfc8785.dumps(view_1_0(card))

    expected = '{"capabilities":{"pushNotifications":false,"streaming":false},"description":"",'
    assert canonical.decode() == expected + '"name":"Example Agent","skills":[]}'


def test_sdks_of_version_1_0_leave_out_all_that_is_empty() -> None:
    form = forms()[1]

    assert form == cleaned(forms()[0])
    assert form["capabilities"]["extensions"] == [{"uri": "urn:x", "params": {"n": 1, "off": False}}]
    assert not form.keys() & {"description", "defaultInputModes", "securityRequirements"}


def test_an_sdk_of_version_1_0_that_speaks_0_3_knows_the_interfaces_of_that_line() -> None:
    form = forms()[2]

    interfaces = [(one["protocolBinding"], one["protocolVersion"], one["url"]) for one in form["supportedInterfaces"]]
    assert interfaces == [(binding, "0.3", SPEC.url) for binding in ("HTTP+JSON", "HTTP+JSON", "JSONRPC")]
    assert form | {"supportedInterfaces": None} == forms()[1] | {"supportedInterfaces": None}


def test_the_sdk_of_version_0_3_sees_its_own_members_in_ascii() -> None:
    payload = payloads(render_card(evolve(SPEC, name="Größe 🂡")), Digest())[3]
    form = json.loads(payload)

    assert payload.isascii()
    assert form["name"] == "Größe 🂡"
    assert form["preferredTransport"] == "HTTP+JSON"
    assert form["supportsAuthenticatedExtendedCard"] is True
    assert form["securitySchemes"]["bearerAuth"].keys() == {"scheme", "bearerFormat", "description"}
    assert form["capabilities"]["extensions"][0]["required"] is False
    assert not form.keys() & {"supportedInterfaces", "securityRequirements", "security"}
    assert "extendedAgentCard" not in form["capabilities"]


def test_the_last_form_is_the_document_as_it_is() -> None:
    assert forms()[-1] == render_card(SPEC)


def test_a_card_without_security_has_forms_too() -> None:
    assert all("securitySchemes" not in form for form in forms(evolve(SPEC, schemes=())))


def test_views_leave_the_card_as_it_was() -> None:
    card = render_card(SPEC)

    view_1_0(card), view_0_3(card)

    assert card == render_card(SPEC)


@pytest.mark.parametrize("member", ["name", "url", "skills", "capabilities"])
def test_no_form_stays_the_same_when_a_member_that_it_knows_changes(member: str) -> None:
    changed = {
        "name": evolve(SPEC, name="Other"),
        "url": evolve(SPEC, url="https://evil.example"),
        "skills": evolve(SPEC, skills=(evolve(SPEC.skills[0], id="t"),)),
        "capabilities": evolve(SPEC, streaming=False),
    }[member]

    assert not set(payloads(render_card(SPEC), Digest())) & set(payloads(render_card(changed), Digest()))


@given(strategies.json_values)
def test_what_is_cleaned_holds_nothing_empty_and_is_clean(value: Any) -> None:
    def empty(inner: Any) -> bool:
        members = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ()
        return any(member is None or member in ("", [], {}) or empty(member) for member in members)

    once = cleaned(value)

    assert not empty(once)
    assert cleaned(once) == once
