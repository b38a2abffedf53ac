"""The two cards of a deployment: valid on both versions, complete for clients of earlier versions, true."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from attrs import evolve

from sansio.a2a.cards.agent_card import CardSpec, render_card
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.tasks.shared_metadata import PUSH_INTERRUPTS, PUSH_INTERRUPTS_URI, SESSION_BINDING, STREAM_RESUME
from sansio.access import Identity
from sansio.extensions.published.deployment_cards import EXTENSIONS, PublishedExtension, card_of, extended_card_of
from sansio.extensions.published.profile import Deployment
from sansio.opencode.extension_names import EXTENSION_NAMES
from tests import schemas
from tests.paths import FIXTURES
from tests.shapes import lacking, of_card, shape_of

CONTRACTS = FIXTURES / "contracts"
DEPLOYMENT = Deployment(
    title="T",
    description="D.",
    version="7",
    url="https://agent.example",
    versions=("0.3", "1.0"),
    schemes=("bearer", "basic"),
    workspace_root="/srv/project",
)
ALICE = Identity(principal="alice", credential_id="laptop", capabilities=frozenset({"session_shell", "more"}))
CARDS: dict[str, CardSpec] = {"public": card_of(DEPLOYMENT), "extended": extended_card_of(DEPLOYMENT, ALICE)}
each_card = pytest.mark.parametrize("kind", CARDS)
each_extension = pytest.mark.parametrize("one", EXTENSIONS, ids=lambda one: one.name)

PUBLIC_ON_1_0 = {
    *("session-binding", "model-selection", "stream-hints", "stream-resume", "push-interrupts"),
    "interactive-interrupt",
}
"""What a chat's client has to know before it has proved who it is."""

_HINTS = "/extensions/shared-stream-hints-v1/params"
UNTOLD = {
    f"{_HINTS}/progress_fields/{name}": "progress is told by type, status and time; a tool's title is in its own data"
    for name in ("title", "subtitle")
} | {
    f"/extensions/a2a-{name}-v1/params/service_behaviors/methods/tasks/cancel/idempotency/already_canceled/error": (
        "a canceled task cannot be canceled on 0.3, so there is an error"
    )
    for name in ("compatibility-profile", "wire-contract")
}
"""What the cards of 0.7.1 had and these have not, each with its reason."""


def rendered(kind: str) -> dict[str, Any]:
    return render_card(CARDS[kind])


def published(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["uri"]: one for one in card["capabilities"]["extensions"]}


def params_of(card: dict[str, Any], uri: str) -> dict[str, Any]:
    params = published(card)[uri]["params"]
    assert isinstance(params, dict)
    return params


@each_card
def test_a_card_is_valid_on_both_versions(kind: str) -> None:
    card = rendered(kind)
    new = {name: value for name, value in card.items() if name not in DIALECTS["0.3"].card_members}
    # the one place where both versions put their form into one object
    new["securitySchemes"] = {
        name: {"httpAuthSecurityScheme": scheme["httpAuthSecurityScheme"]}
        for name, scheme in card["securitySchemes"].items()
    }

    schemas.check("0.3", schemas.CARD, card)
    schemas.check("1.0", schemas.CARD, new)


@each_card
def test_what_clients_of_0_7_1_found_on_a_card_is_there_in_the_same_types(kind: str) -> None:
    recorded = orjson.loads((CONTRACTS / f"0.7.1-{kind}.json").read_bytes())
    recorded_with = evolve(DEPLOYMENT, schemes=("bearer",))
    card = render_card(card_of(recorded_with) if kind == "public" else extended_card_of(recorded_with, ALICE))

    found = lacking(recorded, of_card(card))

    assert found == ([] if kind == "public" else list(UNTOLD))
    assert set(recorded["extensions"]) <= of_card(card)["extensions"].keys()
    assert len(recorded["extensions"]) == 10


def test_a_missing_member_and_another_type_would_be_noticed() -> None:
    shape = shape_of({"a": "x", "b": [{"c": True}]})

    assert lacking(shape, {"a": "x", "b": [{"c": True}], "d": 1}) == []
    assert lacking(shape, {"b": [{"c": True}, {"c": 1}]}) == ["/a", "/b[]/c"]


@each_card
def test_a_card_promises_what_the_agent_does(kind: str) -> None:
    card = rendered(kind)

    assert card["supportsAuthenticatedExtendedCard"] is True
    assert {name: value for name, value in card["capabilities"].items() if name != "extensions"} == {
        "streaming": True,
        "pushNotifications": True,
        "extendedAgentCard": True,
    }


@each_extension
def test_the_extended_card_has_an_extension_under_the_names_of_both_versions(one: PublishedExtension) -> None:
    card = rendered("extended")

    of_old, of_new = params_of(card, one.uris["0.3"]), params_of(card, one.uris["1.0"])

    assert of_old
    assert of_new


@each_extension
def test_the_public_card_has_ten_names_of_version_0_3_and_of_version_1_0_what_a_chat_needs(
    one: PublishedExtension,
) -> None:
    uris = published(rendered("public"))

    assert one.uris["0.3"] in uris
    assert (one.uris["1.0"] in uris) is (one.name in PUBLIC_ON_1_0)


@each_extension
def test_either_uri_leads_to_the_extension(one: PublishedExtension) -> None:
    assert {EXTENSION_NAMES[one.uris["0.3"]], EXTENSION_NAMES[one.uris["1.0"]]} == {one.name}


@each_extension
def test_the_extended_card_says_of_an_extension_all_that_the_public_one_says(one: PublishedExtension) -> None:
    public, extended = published(rendered("public")), published(rendered("extended"))

    assert public.keys() <= extended.keys()
    if one.uris["0.3"] in public:
        assert lacking(shape_of(public[one.uris["0.3"]]), extended[one.uris["0.3"]]) == []


def test_uris_are_unique() -> None:
    uris = [one.uri for one in CARDS["extended"].extensions]

    assert len(set(uris)) == len(uris)
    assert set(uris) == EXTENSION_NAMES.keys()


@pytest.mark.parametrize(("version", "scheme"), [("0.3", "https"), ("1.0", "urn")])
def test_a_deployment_of_one_line_publishes_the_names_of_that_line(version: str, scheme: str) -> None:
    spec = extended_card_of(evolve(DEPLOYMENT, versions=(version,)), ALICE)

    uris = {EXTENSION_NAMES[one.uri]: one.uri for one in spec.extensions}
    for name in (STREAM_RESUME, PUSH_INTERRUPTS):  # which clients of 0.7.1 do not know
        assert uris.pop(name) == f"urn:opencode-a2a:extension:{name}:v1"
    assert {uri.partition(":")[0] for uri in uris.values()} == {scheme}


def test_the_extended_card_tells_its_readers_who_they_are() -> None:
    [one] = [one for one in EXTENSIONS if one.name == SESSION_BINDING]

    assert params_of(rendered("extended"), one.uris["1.0"])["caller"] == {
        "principal": "alice",
        "capabilities": ["more", "session_shell"],
        "credential_id": "laptop",
    }


@each_card
def test_the_card_names_the_requests_that_limit_a_push_configuration_on_both_versions(kind: str) -> None:
    params = params_of(rendered(kind), PUSH_INTERRUPTS_URI)

    assert params["activated_on"] == [
        *("message/send", "SendMessage", "message/stream", "SendStreamingMessage"),
        *("tasks/pushNotificationConfig/set", "CreateTaskPushNotificationConfig"),
    ]
    assert params["states"] == ["input-required", "auth-required"]


def test_a_credential_without_a_name_is_not_named() -> None:
    nameless = evolve(ALICE, credential_id=None)
    [one] = [one for one in EXTENSIONS if one.name == SESSION_BINDING]

    card = render_card(extended_card_of(DEPLOYMENT, nameless))

    assert params_of(card, one.uris["0.3"])["caller"].keys() == {"principal", "capabilities"}


def test_the_public_card_knows_nothing_of_callers_and_workspaces() -> None:
    text = orjson.dumps(rendered("public")).decode()

    assert '"caller":' not in text
    assert "alice" not in text
    assert "/srv/project" not in text


def test_the_workspace_is_told_where_it_may_be_known() -> None:
    told = orjson.dumps(render_card(extended_card_of(DEPLOYMENT, ALICE))).decode()
    untold = orjson.dumps(render_card(extended_card_of(evolve(DEPLOYMENT, workspace_root=None), ALICE))).decode()

    assert "/srv/project" in told
    assert "runtime_context" not in untold
