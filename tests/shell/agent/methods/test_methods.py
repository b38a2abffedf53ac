"""The extension methods over real sockets: every row answers what it declares, on both versions and both runtimes."""

from __future__ import annotations

from typing import Any

import anyio.lowlevel
import jsonschema
import pytest

from opencode_a2a.server.steps import in_turns
from sansio.extensions.methods.method_rows import Ownership, Scope
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.types import params_schema, result_schema
from sansio.large_json import decoded
from sansio.opencode.projections.provider_catalogue import shrunk
from tests.benchmarks.large_answers import catalogue
from tests.shell.cases import one_version
from tests.shell.harness import Serving
from tests.shell.method_calls import ANSWERING, CALLABLE, EVERYTHING_ON, Methods, world_of

pytestmark = pytest.mark.anyio


def test_there_are_parameters_for_every_row() -> None:
    assert set(CALLABLE) | ANSWERING == set(METHODS)


@one_version
async def test_every_method_answers_what_its_row_declares(serving: Serving, version: str) -> None:
    async with serving(**EVERYTHING_ON) as agent, world_of(agent, version) as world:
        for method in CALLABLE:
            params = world.params(method)

            result = await world.methods.result(method, params)

            jsonschema.validate(params, params_schema(METHODS[method]))
            jsonschema.validate(result, result_schema(METHODS[method], version))


@one_version
async def test_a_session_is_told_as_a_task_and_its_history_as_messages(serving: Serving, version: str) -> None:
    async with serving() as agent, world_of(agent, version) as world:
        task = (await world.methods.result("opencode.sessions.get", {"session_id": world.session_id}))["item"]
        page = await world.methods.result(
            "opencode.sessions.messages.list", {"session_id": world.session_id, "limit": 2}
        )

        assert task["id"] == world.session_id
        assert task["contextId"] == f"ctx:opencode-session:{world.session_id}"
        assert task["metadata"]["shared"]["session"]["id"] == world.session_id
        assert [message["messageId"] for message in page["items"]] == [world.prompt_id, world.answer_id]
        assert page["items"][0]["parts"][0]["text"] == "hello again"
        assert page["items"][0]["role"] == ("user" if version == "0.3" else "ROLE_USER")


@one_version
async def test_a_cursor_leads_to_the_messages_before(serving: Serving, version: str) -> None:
    async with serving() as agent, world_of(agent, version) as world:
        last = await world.methods.result(
            "opencode.sessions.messages.list", {"session_id": world.session_id, "limit": 2}
        )

        first = await world.methods.result(
            "opencode.sessions.messages.list",
            {"session_id": world.session_id, "query": {"limit": 2, "before": last["next_cursor"]}},
        )

        texts = [message["parts"][0]["text"] for message in first["items"]]
        assert texts[0] == "hello"
        assert first["next_cursor"] is None


async def test_without_a_limit_twenty_are_asked_for(serving: Serving) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        await world.methods.result("opencode.sessions.list", {})

        [asked] = [one for one in agent.fake_opencode.requests if (one.method, one.path) == ("GET", "/session")]
        assert asked.query["limit"] == "20"


async def test_what_a_shell_command_wrote_is_the_text_of_its_message(serving: Serving) -> None:
    async with serving(**EVERYTHING_ON) as agent, world_of(agent, "0.3") as world:
        item = (
            await world.methods.result(
                "opencode.sessions.shell",
                {"session_id": world.session_id, "request": {"agent": "build", "command": "ls -l"}},
            )
        )["item"]

        text, call = item["parts"]
        assert text == {"kind": "text", "text": "ls -l\n"}
        assert call["data"]["tool"] == "bash"


async def test_a_prompt_is_carried_out_in_the_background(serving: Serving) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        parts = [
            {"type": "text", "text": "go on"},
            {"type": "file", "mime": "text/plain", "url": "data:text/plain,x"},
            {"type": "agent", "name": "general"},
            {"type": "subtask", "prompt": "look", "description": "a look", "agent": "general"},
        ]

        result = await world.methods.result(
            "opencode.sessions.prompt_async", {"session_id": world.session_id, "request": {"parts": parts}}
        )

        assert result == {"ok": True, "session_id": world.session_id}
        session = agent.fake_opencode.sessions[world.session_id]
        await agent.until(lambda: len(session.messages) == 6)
        said = [part["type"] for part in session.messages[4].parts if not part.get("synthetic")]
        assert said == ["text", "file", "agent", "subtask"]


async def test_a_command_names_its_model_as_opencode_wants_it(serving: Serving) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        model = {"providerID": "standin", "modelID": "scripted"}

        await world.methods.result(
            "opencode.sessions.command",
            {"session_id": world.session_id, "request": {"command": "init", "arguments": "x", "model": model}},
        )

        [asked] = [one for one in agent.fake_opencode.requests if one.path.endswith("/command")]
        assert asked.json["model"] == "standin/scripted"


@pytest.mark.parametrize(("given", "sent"), [({}, ""), ({"arguments": ""}, ""), ({"arguments": " a\n"}, " a\n")])
async def test_a_command_needs_no_arguments(serving: Serving, given: dict[str, str], sent: str) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        await world.methods.result(
            "opencode.sessions.command", {"session_id": world.session_id, "request": {"command": "init", **given}}
        )

        [asked] = [one for one in agent.fake_opencode.requests if one.path.endswith("/command")]
        assert asked.json["arguments"] == sent


async def test_a_summary_is_written_by_the_sessions_own_model_where_none_is_named(serving: Serving) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        await world.methods.result("opencode.sessions.summarize", {"session_id": world.session_id})

        [asked] = [one for one in agent.fake_opencode.requests if one.path.endswith("/summarize")]
        assert asked.json == {"providerID": "standin", "modelID": "scripted"}


async def test_a_method_works_in_the_directory_that_is_asked_for(serving: Serving, tmp_path: Any) -> None:
    (tmp_path / "below").mkdir()
    async with serving(workspace_root=str(tmp_path)) as agent:
        methods = Methods(agent.http, "0.3")

        await methods.result("opencode.projects.current", {})
        await methods.result("opencode.projects.current", {"metadata": {"opencode": {"directory": "below"}}})
        await methods.result("opencode.projects.current", {"metadata": {"opencode": {"workspace": {"id": "wrk_1"}}}})
        await methods.result("opencode.sessions.list", {"directory": str(tmp_path / "below")})

        asked = [one for one in agent.fake_opencode.requests if one.path in ("/project/current", "/session")]
        below = (str(tmp_path / "below"), None)
        assert [(one.asked_directory, one.query.get("workspace")) for one in asked] == [
            (str(tmp_path), None),
            below,
            (None, "wrk_1"),
            below,
        ]


@one_version
async def test_a_notification_is_carried_out_and_not_answered(serving: Serving, version: str) -> None:
    async with serving() as agent, world_of(agent, version) as world:
        body = {"jsonrpc": "2.0", "method": "opencode.sessions.share", "params": {"session_id": world.session_id}}

        response = await agent.http.post("/", json=body, headers={"A2A-Version": version})

        assert (response.status_code, response.content) == (204, b"")
        assert agent.asked("POST", "/share") == 1


async def test_a_large_answer_is_told_whole(serving: Serving) -> None:
    async with serving() as agent:
        agent.fake_opencode.fail_next("GET", "/provider", 200, catalogue())

        result = await Methods(agent.http, "1.0").result("opencode.models.list", {})

        assert len(result["items"]) == 225 * 36
        assert result["connected"] == ["provider-0"]


async def test_others_have_their_turn_while_a_large_answer_is_read(anyio_backend: str) -> None:
    body = catalogue()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        value = await in_turns(decoded(body, shrunk))
        while_decoded = turns
        tasks.cancel_scope.cancel()

    assert len(value["all"]) == 225
    assert while_decoded > 100


def test_what_is_answered_by_the_adapter_is_asked_of_nobody() -> None:
    local = {name for name, row in METHODS.items() if row.scope is Scope.LOCAL}

    assert all((row.call is None) == (name in local) for name, row in METHODS.items())
    assert all(row.ownership is Ownership.NONE for row in METHODS.values() if row.scope is Scope.LOCAL)
