"""The schemas of the profile and the contract: what any deployment publishes is of them, and they name all of it."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from sansio.a2a.versions import VERSIONS
from sansio.extensions.methods.method_rows import Toggle
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.published.card_params import CARD_PARAMS, RETENTIONS
from sansio.extensions.published.compatibility import ServedVersion, compatibility_profile, wire_contract
from sansio.extensions.published.profile import Deployment, Environment
from sansio.opencode.deployment import MESSAGE_EXTENSIONS
from sansio.opencode.extension_names import COMPATIBILITY_PROFILE, EXTENSION_URIS, WIRE_CONTRACT

BARE = Deployment(title="T", description="D", version="7", url="https://agent.example", schemes=("bearer",))
FULL = Deployment(
    title="T",
    description="D",
    version="7",
    url="https://agent.example",
    schemes=("bearer",),
    bindings=("JSONRPC", "HTTP+JSON", "GRPC"),
    project="P",
    workspace_root="/srv",
    agent="build",
    variant="high",
    directory_override=False,
    streams_stay_open=True,
    switched_on=frozenset(Toggle),
    environment=Environment(writable_roots=("/srv",), allowed_domains=("example.org",)),
)
PUBLISHED = {COMPATIBILITY_PROFILE: compatibility_profile, WIRE_CONTRACT: wire_contract}


def closed(schema: Any) -> Any:
    """The schema, by which an object has no members but those that are named."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    ours = {name: closed(value) for name, value in schema.items()}
    return {"additionalProperties": False, **ours} if isinstance(schema.get("properties"), dict) else ours


def of_version(deployment: Deployment, version: str) -> ServedVersion:
    return ServedVersion(version, deployment, [uris[version] for uris in EXTENSION_URIS.values()])


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("deployment", [BARE, FULL], ids=["bare", "full"])
def test_what_a_deployment_publishes_is_of_the_schema(name: str, version: str, deployment: Deployment) -> None:
    params = PUBLISHED[name](of_version(deployment, version))

    Draft202012Validator(closed(CARD_PARAMS[name]["params"])).validate(params)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_member_that_is_missing_or_of_another_type_is_refused(name: str) -> None:
    params = PUBLISHED[name](of_version(BARE, "1.0"))
    schema = Draft202012Validator(CARD_PARAMS[name]["params"])

    assert not any(schema.is_valid({key: value for key, value in params.items() if key != gone}) for gone in params)
    assert not any(schema.is_valid({**params, wrong: 5}) for wrong in params)
    assert schema.is_valid({**params, "more": 5})


def test_every_promise_of_stability_is_one_of_those_with_a_meaning() -> None:
    of_methods = {row.retention for row in METHODS.values()}
    of_messages = {pair.retention for pair in MESSAGE_EXTENSIONS}

    assert of_methods | of_messages | {"mixed"} == set(RETENTIONS)
