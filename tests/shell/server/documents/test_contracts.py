"""What is published is so: all that a served agent declares is called as it is declared, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jsonschema
import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from sansio.a2a.model import TaskState
from sansio.extensions.methods.method_table import METHODS
from sansio.opencode.extension_names import COMPATIBILITY_PROFILE, NAMESPACE, SPECIFICATIONS, WIRE_CONTRACT
from tests.paths import FIXTURES
from tests.shapes import lacking
from tests.shell.harness import RPC_03, RPC_10, STAYS_OPEN, Agent, Serving, Wire, client
from tests.shell.method_calls import AS_CAROL, EVERYTHING_ON, Json, Methods, world_of

pytestmark = [
    pytest.mark.anyio,
    # one runtime: no event loop has a part in a document
    pytest.mark.parametrize("anyio_backend", ["trio"]),
]

CONTRACTS = FIXTURES / "contracts"
VERSIONS = pytest.mark.parametrize("version", ["0.3", "1.0"])
SWITCHES = pytest.mark.parametrize("switches", [{}, EVERYTHING_ON], ids=["all-off", "all-on"])
WIRES: Mapping[str, Wire] = {"0.3": RPC_03, "1.0": RPC_10}
NOT_FOUND = -32601


async def described(agent: Agent, *, complete: bool) -> Json:
    """The OpenAPI document as it is served."""
    async with client(agent.url, None) as http:
        answer = await http.get("/openapi.json", headers=AS_CAROL if complete else {})
    assert answer.status_code == 200
    document: Json = answer.json()
    return document


async def params_published(agent: Agent, name: str, version: str) -> Json:
    """What the extended card says of an extension under its name on a line."""
    uri = f"{NAMESPACE}:{name}:v1" if version == "1.0" else f"{SPECIFICATIONS}#{_OLD_NAMES.get(name, name)}-v1"
    card = (await agent.http.get("/extendedAgentCard", headers={**AS_CAROL, "A2A-Version": version})).json()
    [params] = [one["params"] for one in card["capabilities"]["extensions"] if one["uri"] == uri]
    assert isinstance(params, dict)
    return params


_OLD_NAMES = {name: f"a2a-{name}" for name in (COMPATIBILITY_PROFILE, WIRE_CONTRACT)}


def resolved(document: Json, schema: Json) -> Json:
    """The schema with the document's components, so that its references lead somewhere."""
    return {**schema, "components": document["components"]}


def smallest(document: Json, schema: Json, told: Mapping[str, Any]) -> Any:
    """The least that is valid by a schema; `told`: values for members by their names."""
    if "$ref" in schema:
        return smallest(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], told)
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return smallest(document, schema[several][0], told)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if schema.get("type") == "object":
        members = schema.get("properties", {})
        return {
            name: told[name] if name in told else smallest(document, members[name], told)
            for name in schema.get("required", ())
        }
    if schema.get("type") == "array":
        return [smallest(document, schema["items"], told)] * max(1, schema.get("minItems", 0))
    word = next(word for word in _WORDS if re.search(schema.get("pattern", ""), word))
    return {"string": word, "integer": schema.get("minimum", 0), "boolean": True}[schema["type"]]


_WORDS = ("x", "msg_x", "ses_x", "prt_x", "wrk_x", "data:,x")
"""Strings, one of which each published pattern takes."""


# --- everything that is declared --------------------------------------------------------------------------


@SWITCHES
@VERSIONS
async def test_every_method_that_is_declared_can_be_called_with_what_its_schema_demands(
    serving: Serving, version: str, switches: dict[str, Any]
) -> None:
    async with serving(**switches) as agent, world_of(agent, version) as world:
        contract = await params_published(agent, WIRE_CONTRACT, version)
        document = await described(agent, complete=True)
        methods = document["paths"]["/"]["post"]["x-methods"]
        told = {
            "session_id": world.session_id,
            "message_id": world.answer_id,
            "messageID": world.answer_id,
            "message": WIRES[version].message("hello"),
        }

        assert {name for name, one in methods.items() if version in one["results"]} == set(
            contract["all_jsonrpc_methods"]
        )
        for name in contract["all_jsonrpc_methods"]:
            declared = methods[name]
            params = smallest(document, declared["params"], told)
            jsonschema.validate(params, resolved(document, declared["params"]))

            response = await world.methods.post(name, params)

            if declared["streaming"] and response.headers["content-type"].startswith("text/event-stream"):
                continue  # its events are the business of the tests of streams
            answer = response.json()
            if "result" in answer:
                jsonschema.validate(answer["result"], resolved(document, declared["results"][version]))
            else:
                assert answer["error"]["code"] != NOT_FOUND, (name, answer)
                assert answer["error"]["code"] in {*declared.get("errors", {}).values(), *CORE_ERRORS}, (name, answer)


CORE_ERRORS = {-32001, -32004}
"""The task of which nothing is known, and the subscription to a task that has ended."""


@SWITCHES
@VERSIONS
async def test_nothing_else_can_be_called(serving: Serving, version: str, switches: dict[str, Any]) -> None:
    async with serving(**switches) as agent:
        methods = Methods(agent.http, version, AS_CAROL)
        contract = await params_published(agent, WIRE_CONTRACT, version)
        conditional = contract["extensions"]["conditionally_available_methods"]
        on_offer = contract["all_jsonrpc_methods"]

        for name in conditional:
            error = await methods.error(name, {})
            data = error["data"] if version == "0.3" else error["data"][1]["value"]
            assert error["code"] == contract["disabled_method_error"]["code"]
            assert set(data) == set(contract["disabled_method_error"]["data_fields"])
            assert data["toggle"] == conditional[name]["toggle"]
            assert "METHOD_DISABLED" in (data.get("type"), data.get("reason"))
        for name in ("opencode.sessions.fly", "opencode.sessions", "tasks/fly", "rpc.discover"):
            error = await methods.error(name, {})
            data = error["data"] if version == "0.3" else error["data"][1]["value"]
            assert error["code"] == contract["unsupported_method_error"]["code"]
            assert set(data) == set(contract["unsupported_method_error"]["data_fields"])
            assert set(data.get("supported_methods", data.get("supportedMethods"))) == set(on_offer)

        assert not set(conditional) & set(on_offer)
        assert set(conditional) | set(on_offer) >= METHODS.keys()


@VERSIONS
async def test_every_endpoint_that_is_declared_is_there(serving: Serving, version: str) -> None:
    async with serving() as agent:
        contract = await params_published(agent, WIRE_CONTRACT, version)
        paths = (await described(agent, complete=False))["paths"]

        for endpoint in contract["core"]["http_endpoints"]:
            method, path = endpoint.split(" ")
            assert method.lower() in paths[path]
            options = await agent.http.options(path.replace("{id}", "t").replace("{config_id}", "c"))
            assert method in options.headers["allow"]


@VERSIONS
async def test_the_declared_behaviour_at_a_tasks_end_is_what_happens(serving: Serving, version: str) -> None:
    async with serving() as agent:
        behaviours = (await params_published(agent, WIRE_CONTRACT, version))["service_behaviors"]["methods"]
        old = version == "0.3"
        cancel = behaviours["tasks/cancel" if old else "CancelTask"]
        subscribe = behaviours["tasks/resubscribe" if old else "SubscribeToTask"]
        caller = agent.caller(WIRES[version])
        agent.fake_opencode.hold()
        running = await caller.send("hello", configuration=caller.wire.at_once())
        agent_cancelled = await caller.cancel(running.id)
        agent.fake_opencode.release()

        again = (await caller.ask("cancel", {"id": running.id})).json()

        told = cancel["idempotency"]["already_canceled"]
        assert agent_cancelled.status.state is TaskState.CANCELED
        if old:
            assert again["error"]["code"] == told["error"] == -32002
        else:
            assert again["result"]["status"]["state"] == told["returns_current_state"]
        ended = subscribe["terminal_state_behavior"]
        if ended["behavior"] == "refuse":
            assert (await caller.refused("subscribe", id=running.id))["code"] == ended["code"]
        else:
            assert len((await caller.subscribe(running.id)).events) == 1


@VERSIONS
@pytest.mark.parametrize("stays_open", [False, True])
async def test_the_declared_behaviour_while_a_task_waits_is_what_happens(
    serving: Serving, version: str, stays_open: bool
) -> None:
    async with serving(stream_stays_open_on_interrupt=stays_open) as agent:
        behaviours = (await params_published(agent, WIRE_CONTRACT, version))["service_behaviors"]["methods"]
        stream = behaviours["message/stream" if version == "0.3" else "SendStreamingMessage"]
        declared = stream["interrupted_state_behavior"]
        async with agent.caller(WIRES[version]).open("PERMISSION") as asked:
            await asked.until(lambda: asked.statuses and asked.state in declared["states"])
            if not declared["closes_stream"]:
                await agent.caller(WIRES[version]).send("once", taskId=asked.task.id)
            await asked.whole()

    assert declared["closes_stream"] is not stays_open
    assert asked.state == ("completed" if stays_open else "input-required")
    assert declared["stays_open_when_activated"] == STAYS_OPEN[version]


# --- what else is told ------------------------------------------------------------------------------------


async def test_the_health_check_tells_what_that_of_0_7_1_told(serving: Serving) -> None:
    recorded = orjson.loads((CONTRACTS / "0.7.1-health.json").read_bytes())
    async with serving(workspace_root="/srv/project", expose_workspace_root_in_card=True) as agent:
        health = (await agent.http.get("/health")).json()

    assert lacking(recorded, health) == []
    assert health["profile"]["runtime_context"]["workspace_root"] == "/srv/project"
    assert health["push_notifications"] == {"deliveries": 0, "retries": 0, "given_up": 0}
    assert health["upstream"] == {"event_stream": "connected"}


async def test_no_local_path_leaves_unless_the_operator_says_so(serving: Serving) -> None:
    async with serving(workspace_root="/srv/s3cret-project") as agent:
        for path in ("/health", "/extendedAgentCard", "/.well-known/agent-card.json", "/openapi.json"):
            assert "s3cret-project" not in (await agent.http.get(path)).text


async def test_what_is_declared_of_the_surroundings_is_told(serving: Serving) -> None:
    declared: dict[str, Any] = {
        "sandbox_mode": "workspace-write",
        "sandbox_filesystem_scope": "workspace_and_declared_roots",
        "sandbox_writable_roots": ("/srv/a",),
        "network_access": "restricted",
        "network_allowed_domains": ("a.example",),
        "approval_policy": "on-request",
        "approval_escalation_behavior": "manual",
        "write_access_scope": "workspace_only",
        "write_access_outside_workspace": "disallowed",
    }
    async with serving(**declared, **EVERYTHING_ON, allow_directory_override=False) as agent:
        features = (await agent.http.get("/health")).json()["profile"]["runtime_features"]
        published = await params_published(agent, COMPATIBILITY_PROFILE, "1.0")

    assert features["execution_environment"] == {
        "sandbox": {
            "mode": "workspace-write",
            "filesystem_scope": "workspace_and_declared_roots",
            "writable_roots": ["/srv/a"],
        },
        "network": {"access": "restricted", "allowed_domains": ["a.example"]},
        "approval": {"policy": "on-request", "escalation_behavior": "manual"},
        "write_access": {"scope": "workspace_only", "outside_workspace": "disallowed"},
    }
    assert features["session_shell"] == {
        "enabled": True,
        "availability": "enabled",
        "toggle": "A2A_ENABLE_SESSION_SHELL",
    }
    assert features["directory_binding"]["allow_override"] is False
    assert published["runtime_features"] == features


# --- OpenAPI ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("versions", [("0.3", "1.0"), ("0.3",), ("1.0",)], ids="+".join)
@pytest.mark.parametrize("complete", [False, True])
async def test_the_description_is_valid_openapi(serving: Serving, versions: tuple[str, ...], complete: bool) -> None:
    settings: dict[str, Any] = {"supported_protocol_versions": versions, "protocol_version": versions[0]}
    async with serving(**settings, **EVERYTHING_ON) as agent:
        document = await described(agent, complete=complete)

    errors = [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]
    assert errors == []
    assert document["openapi"].startswith("3.1")


async def test_who_has_proved_nothing_is_told_of_no_extension_method(serving: Serving) -> None:
    async with serving(**EVERYTHING_ON) as agent:
        public, complete = await described(agent, complete=False), await described(agent, complete=True)
        wrong = await agent.http.get("/openapi.json", headers={"authorization": "Bearer wrong"})

    told = {name: set(one["paths"]["/"]["post"]["x-methods"]) for name, one in (("a", public), ("b", complete))}
    assert told["b"] - told["a"] == METHODS.keys()
    assert "opencode." not in orjson.dumps(public).decode()
    assert wrong.status_code == 401


async def test_the_description_is_only_read(serving: Serving) -> None:
    async with serving() as agent:
        posted = await agent.http.post("/openapi.json", json={})
        asked = await agent.http.options("/openapi.json")

    assert posted.status_code == 405
    assert posted.headers["allow"] == asked.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_caches_keep_the_two_descriptions_apart(serving: Serving) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        public, complete = await http.get("/openapi.json"), await agent.http.get("/openapi.json")
        again = await http.get("/openapi.json", headers={"if-none-match": public.headers["etag"]})

    assert public.headers["etag"] != complete.headers["etag"]
    assert "authorization" in public.headers["vary"].lower()
    assert public.headers["cache-control"].startswith("private")
    assert again.status_code == 304
