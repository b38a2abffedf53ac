"""The two cards of a deployment: valid on both lines, complete for clients of earlier versions, true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from attrs import evolve

from sansio.a2a.card import CardSpec, render_card
from sansio.a2a.signing import ONLY_0_3
from sansio.access import Identity
from sansio.opencode.deployment import (
    EXTENSION_NAMES,
    EXTENSIONS,
    SESSION_BINDING,
    STREAM_RESUME,
    Deployment,
    ExtensionPair,
    card_of,
    extended_card_of,
)
from tests import schemas

FIXTURES = Path(__file__).parents[1] / "fixtures" / "cards"
DEPLOYMENT = Deployment(
    title="T",
    description="D.",
    version="7",
    url="https://agent.example",
    lines=("0.3", "1.0"),
    schemes=("bearer", "basic"),
    workspace_root="/srv/project",
)
ALICE = Identity(principal="alice", credential_id="laptop", capabilities=frozenset({"session_shell", "more"}))
CARDS: dict[str, CardSpec] = {"public": card_of(DEPLOYMENT), "extended": extended_card_of(DEPLOYMENT, ALICE)}
each_card = pytest.mark.parametrize("kind", CARDS)
each_extension = pytest.mark.parametrize("pair", EXTENSIONS, ids=lambda pair: pair.name)


def rendered(kind: str) -> dict[str, Any]:
    return render_card(CARDS[kind])


def params_of(card: dict[str, Any], uri: str) -> dict[str, Any]:
    [params] = [one["params"] for one in card["capabilities"]["extensions"] if one["uri"] == uri]
    assert isinstance(params, dict)
    return params


def missing(shape: Any, value: Any, path: str = "") -> list[str]:
    """The paths of a recorded shape that a value lacks, or has in another type."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [path]
        absent = [f"{path}/{name}" for name in shape if name not in value]
        there = [name for name in shape if name in value]
        return absent + [found for name in there for found in missing(shape[name], value[name], f"{path}/{name}")]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [path]
        return [found for inner in shape for item in value for found in missing(inner, item, f"{path}[]")]
    names = {str: "string", bool: "boolean", int: "number", float: "number"}
    return [] if names.get(type(value)) == shape else [path]


@each_card
def test_a_card_is_valid_on_both_lines(kind: str) -> None:
    card = rendered(kind)
    new = {name: value for name, value in card.items() if name not in ONLY_0_3}
    # the one place where both lines put their form into one object
    new["securitySchemes"] = {
        name: {"httpAuthSecurityScheme": scheme["httpAuthSecurityScheme"]}
        for name, scheme in card["securitySchemes"].items()
    }

    schemas.check("0.3", schemas.CARD, card)
    schemas.check("1.0", schemas.CARD, new)


@each_card
def test_what_clients_of_0_7_1_found_on_a_card_is_there_in_the_same_types(kind: str) -> None:
    recorded = orjson.loads((FIXTURES / f"0.7.1-{kind}.json").read_bytes())
    recorded_with = evolve(DEPLOYMENT, schemes=("bearer",))
    spec = card_of(recorded_with) if kind == "public" else extended_card_of(recorded_with, ALICE)
    card = render_card(spec)
    extensions = {one["uri"]: one for one in card["capabilities"]["extensions"]}

    assert missing(recorded["card"], card) == []
    assert missing(recorded["extensions"], extensions) == []


def test_a_missing_member_and_another_type_would_be_noticed() -> None:
    shape = {"a": "string", "b": [{"c": "boolean"}]}

    assert missing(shape, {"a": "x", "b": [{"c": True}]}) == []
    assert missing(shape, {"b": [{"c": True}, {"c": 1}]}) == ["/a", "/b[]/c"]


@each_card
def test_a_card_promises_what_the_agent_does(kind: str) -> None:
    card = rendered(kind)

    assert card["supportsAuthenticatedExtendedCard"] is True
    assert {name: value for name, value in card["capabilities"].items() if name != "extensions"} == {
        "streaming": True,
        "pushNotifications": True,
        "extendedAgentCard": True,
    }


@each_card
@each_extension
def test_an_extension_is_published_under_the_names_of_both_lines(kind: str, pair: ExtensionPair) -> None:
    card = rendered(kind)

    assert params_of(card, pair.uri_0_3) == params_of(card, pair.uri_1_0)


@each_extension
def test_either_uri_leads_to_the_extension(pair: ExtensionPair) -> None:
    assert {EXTENSION_NAMES[pair.uri_0_3], EXTENSION_NAMES[pair.uri_1_0]} == {pair.name}


@each_extension
def test_the_extended_card_says_of_an_extension_all_that_the_public_one_says(pair: ExtensionPair) -> None:
    assert missing(_shape(pair.public_params), pair.extended_params) == []


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value[:1]]
    return "boolean" if isinstance(value, bool) else "string"


def test_uris_are_unique() -> None:
    uris = [one.uri for one in CARDS["public"].extensions]

    assert len(set(uris)) == len(uris)
    assert set(uris) == EXTENSION_NAMES.keys()


@pytest.mark.parametrize(("line", "scheme"), [("0.3", "https"), ("1.0", "urn")])
def test_a_deployment_of_one_line_publishes_the_names_of_that_line(line: str, scheme: str) -> None:
    spec = card_of(evolve(DEPLOYMENT, lines=(line,)))

    uris = {EXTENSION_NAMES[one.uri]: one.uri for one in spec.extensions}
    resume = uris.pop(STREAM_RESUME)
    assert resume == "urn:opencode-a2a:extension:stream-resume:v1"
    assert {uri.partition(":")[0] for uri in uris.values()} == {scheme}


def test_the_extended_card_tells_its_readers_who_they_are() -> None:
    [pair] = [pair for pair in EXTENSIONS if pair.name == SESSION_BINDING]

    assert params_of(rendered("extended"), pair.uri_1_0)["caller"] == {
        "principal": "alice",
        "capabilities": ["more", "session_shell"],
        "credential_id": "laptop",
    }


def test_a_credential_without_a_name_is_not_named() -> None:
    nameless = evolve(ALICE, credential_id=None)
    [pair] = [pair for pair in EXTENSIONS if pair.name == SESSION_BINDING]

    card = render_card(extended_card_of(DEPLOYMENT, nameless))

    assert params_of(card, pair.uri_0_3)["caller"].keys() == {"principal", "capabilities"}


def test_the_public_card_knows_nothing_of_callers_and_workspaces() -> None:
    text = orjson.dumps(rendered("public")).decode()

    assert "caller" not in text
    assert "/srv/project" not in text


def test_the_workspace_is_told_where_it_is_known() -> None:
    told = orjson.dumps(render_card(extended_card_of(DEPLOYMENT, ALICE))).decode()
    untold = orjson.dumps(render_card(extended_card_of(evolve(DEPLOYMENT, workspace_root=None), ALICE))).decode()

    assert "/srv/project" in told
    assert "runtime_context" not in untold
