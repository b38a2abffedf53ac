"""Reviews of cards: the facts, and every member that is missing or wrong, by its path."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from attrs import evolve
from hypothesis import given

from sansio.a2a.cards.agent_card import CardDocument, CardSpec, Skill
from sansio.a2a.cards.review import review
from sansio.a2a.errors import ProtocolError
from tests.strategies import json_values

TEXT = ("text/plain",)
SPEC = CardSpec(
    name="Echo",
    description="Repeats a text.",
    version="1.2.3",
    url="https://agent.example",
    schemes=("bearer", "basic"),
    skills=[Skill(id="echo", name="Echo", description="Repeats.", tags=["t"], input_modes=TEXT, output_modes=TEXT)],
    input_modes=TEXT,
    output_modes=TEXT,
    push_notifications=True,
)


def card(**changes: Any) -> bytes:
    document = orjson.loads(CardDocument.of(SPEC).body) | changes
    return orjson.dumps({name: value for name, value in document.items() if value is not ...})


@pytest.mark.parametrize("versions", [("0.3",), ("1.0",), ("0.3", "1.0")])
def test_our_own_card_is_valid_and_its_facts_are_found(versions: tuple[str, ...]) -> None:
    found = review(CardDocument.of(evolve(SPEC, versions=versions)).body)

    assert found.problems == ()
    assert (found.card.name, found.version, found.description) == ("Echo", "1.2.3", "Repeats a text.")
    assert (found.card.streaming, found.push_notifications, found.extended_card) == (True, True, False)
    assert found.schemes == (("bearerAuth", "http bearer"), ("basicAuth", "http basic")) or versions == ("1.0",)
    assert [(skill.id, skill.tags) for skill in found.skills] == [("echo", ("t",))]
    assert (found.input_modes, found.output_modes, found.keys) == (TEXT, TEXT, ())


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"name": ...}, ["name: is missing"]),
        ({"description": 5}, ["description: must be a string"]),
        ({"capabilities": []}, ["capabilities: must be an object"]),
        ({"capabilities": {"streaming": "yes"}}, ["capabilities.streaming: must be true or false"]),
        ({"defaultInputModes": "text/plain"}, ["defaultInputModes: must be a list"]),
        ({"defaultOutputModes": [1]}, ["defaultOutputModes: must be a list of strings"]),
        ({"skills": [5]}, ["skills.0: must be an object"]),
        (
            {"skills": [{"id": "x", "name": "X", "tags": 1}]},
            ["skills.0.description: is missing", "skills.0.tags: must be a list"],
        ),
        ({"additionalInterfaces": [{"transport": "SMTP", "url": "x"}]}, ["interface SMTP 0.3: cannot be used"]),
        ({"additionalInterfaces": [{"transport": "urn:x:binding:v1", "url": "x"}]}, []),
    ],
)
def test_what_is_wrong_is_named_by_its_path(changes: dict[str, Any], problems: list[str]) -> None:
    assert list(review(card(**changes)).problems) == problems


def test_members_of_a_version_that_is_not_offered_are_not_missed() -> None:
    found = review(card(url=..., protocolVersion=..., additionalInterfaces=...))

    assert {interface.version for interface in found.card.interfaces} == {"1.0", "0.3"}
    assert list(found.problems) == ["url: is missing", "protocolVersion: is missing"]
    only = [{"url": "https://a.example", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]
    assert (
        review(card(url=..., protocolVersion=..., additionalInterfaces=..., supportedInterfaces=only)).problems == ()
    )


def test_a_signature_names_its_key() -> None:
    protected = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImtleS0xIn0"  # {"alg":"ES256","kid":"key-1"}
    signatures = [{"protected": protected, "signature": "x"}, {"protected": "%", "header": {"kid": "key-2"}}, {}]

    assert review(card(signatures=signatures)).keys == ("key-1", "key-2", "")


def test_many_problems_are_not_all_named() -> None:
    assert len(review(card(skills=[{}] * 1000)).problems) == 50


@given(json_values)
def test_any_document_is_reviewed_or_is_no_card(value: Any) -> None:
    try:
        review(orjson.dumps({"url": "https://a.example", "name": value, "skills": value, "securitySchemes": value}))
        review(orjson.dumps(value))
    except ProtocolError:
        pass


def test_a_card_that_names_no_interface_is_reviewed_all_the_same() -> None:
    reviewed = review(b'{"name": "x"}')

    assert reviewed.card.interfaces == ()
    for path in ("supportedInterfaces", "url", "description", "skills", "capabilities"):
        assert any(problem.startswith(f"{path}:") for problem in reviewed.problems), path
