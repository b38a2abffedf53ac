"""OpenCode is given the tool: before the first prompt, again after it was lost, and not where it is not wanted."""

from __future__ import annotations

import anyio
import pytest

from opencode_a2a.agent.turns import tool_origins
from opencode_a2a.agent.upstream import tool_registration
from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.fake_opencode.scripts import HELLO
from opencode_a2a.tool.mcp_endpoint import TOOL_PATH
from tests.shell.agent.tool.conftest import Start
from tests.shell.harness import DEADLINE, Agent, quick, until

HERE = "/workspace"


async def given(agent: Agent) -> None:
    """Waits until OpenCode has the tool."""
    await until(lambda: agent.fake_opencode.memory.tool_servers.get(HERE, {}).get("a2a"))


async def reasons(agent: Agent) -> list[str]:
    return [reason["type"] for reason in (await agent.http.get("/health")).json()["reasons"]]


async def test_the_tool_is_given_once(node: Start) -> None:
    async with node() as agent:
        for _ in range(3):
            assert (await agent.caller().stream("hi")).text == HELLO

        assert agent.asked("POST", "/mcp") == 1
        server = agent.fake_opencode.memory.tool_servers[HERE]["a2a"]

        assert server.config["type"] == "remote"
        assert server.config["url"] == f"{agent.url}{TOOL_PATH}"
        assert server.config["oauth"] is False
        assert server.config["timeout"] == 120_000
        assert list(server.config["headers"]) == ["Authorization"]
        order = [one.path.rpartition("/")[2] for one in agent.fake_opencode.requests if one.method == "POST"]
        assert order.index("mcp") < order.index("prompt_async")


async def test_the_tool_is_given_again_once_its_instance_was_disposed(node: Start) -> None:
    async with node() as peer, node() as agent:
        await agent.caller().send("hi")
        await agent.opencode.post("/instance/dispose")
        await until(lambda: agent.running.bus.disposals > 1)

        answer = (await agent.caller().stream(f"PEER {peer.url} hi")).text

        assert answer.endswith(HELLO)
        assert agent.asked("POST", "/mcp") == 2


async def test_a_tool_that_is_still_there_is_not_given_again(node: Start) -> None:
    async with node() as agent:
        await agent.caller().send("hi")
        agent.fake_opencode.drop_streams()
        await until(lambda: agent.running.bus.disposals > 1)

        await agent.caller().send("hi")

        assert agent.asked("POST", "/mcp") == 1
        assert agent.asked("GET", "/mcp") >= 1


async def test_each_directory_is_given_the_tool(node: Start, tmp_path: object) -> None:
    async with node(allow_directory_override=True, workspace_root="/workspace") as agent:
        await agent.caller().send("hi")
        await agent.caller().send("hi", metadata={"opencode": {"directory": "/workspace/below"}})

        assert set(agent.fake_opencode.memory.tool_servers) == {HERE, "/workspace/below"}


async def test_a_tool_that_cannot_be_given_is_a_problem_and_no_turn_fails(
    node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_registration, "RETRY_SECONDS", 0.1)
    app = quick()
    app.fail_next("POST", "/mcp", 500)
    async with node(app) as agent:
        assert (await agent.caller().stream("hi")).text == HELLO
        await given(agent)
        await agent.caller().send("hi")

        with anyio.fail_after(DEADLINE):
            while await reasons(agent):  # noqa: ASYNC110 - over HTTP there is nothing to wait for
                await anyio.sleep(0.02)


async def test_a_tool_that_opencode_left_unanswered_is_given_soon(
    node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_registration, "PATIENCE", 0.2)
    monkeypatch.setattr(tool_registration, "SILENCE_SECONDS", 0.1)
    app = quick()
    app.stall_next("POST", "/mcp")
    async with node(app) as agent:
        assert (await agent.caller().stream("hi")).text == HELLO
        await given(agent)


async def test_a_problem_with_the_tool_is_reported(node: Start) -> None:
    app = quick()
    for _ in range(5):
        app.fail_next("POST", "/mcp", 500)
    async with node(app) as agent:
        await agent.caller().send("hi")

        assert await reasons(agent) == ["TOOL_NOT_CONNECTED"]
        assert agent.asked("POST", "/mcp") <= 2


async def test_a_server_of_the_operators_of_that_name_is_left_alone(node: Start) -> None:
    app = quick()
    app.memory.configured["mcp"] = {"a2a": {"type": "remote", "url": "http://127.0.0.1:1/own"}}
    async with node(app) as agent:
        assert (await agent.caller().stream("hi")).text == HELLO

        assert agent.asked("POST", "/mcp") == 0
        assert await reasons(agent) == ["TOOL_NAME_TAKEN"]


async def test_a_tool_that_is_turned_off_is_not_there(node: Start) -> None:
    async with node(tool_enabled=False) as agent:
        await agent.caller().send("hi")
        response = await agent.http.post(TOOL_PATH, json={}, headers={"authorization": "Bearer x"})

        assert agent.asked("POST", "/mcp") == 0
        assert agent.running.tool is None
        assert response.status_code == 401


async def test_the_endpoint_answers_others_as_any_path_does(node: Start) -> None:
    async with node() as agent:
        found = await agent.http.post(TOOL_PATH, json={})
        other = await agent.http.post("/internal/other", json={})
        card = (await agent.http.get("/.well-known/agent-card.json")).text
        openapi = (await agent.http.get("/openapi.json")).text

    assert (found.status_code, found.json()["error"]["code"]) == (other.status_code, other.json()["error"]["code"])
    assert TOOL_PATH not in card
    assert TOOL_PATH not in openapi


async def test_the_tool_is_taken_back_at_the_end(node: Start) -> None:
    app = quick()
    async with node(app) as agent:
        await agent.caller().send("hi")

    assert app.memory.tool_servers[HERE]["a2a"].report() == {"status": "disabled"}


async def test_the_address_may_be_another_one(node: Start) -> None:
    async with node(tool_url="http://192.0.2.7:9/a2a/") as agent:
        await given(agent)
        server = agent.fake_opencode.memory.tool_servers[HERE]["a2a"]

    assert server.config["url"] == f"http://192.0.2.7:9/a2a{TOOL_PATH}"


async def test_a_call_that_the_bus_does_not_show_is_made_all_the_same(
    node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_origins, "FINDING", 0.05)
    app = FakeOpenCode(pause=0, tick=0.05)
    async with node() as peer, node(app) as agent, agent.caller().open("SLOW") as stream:
        await stream.until(lambda: stream.chunks)
        server = app.memory.tool_servers[HERE]["a2a"]
        output = await server.call("call", {"url": peer.url, "message": "hi"})
        await agent.caller().cancel(stream.task.id)
        await stream.whole()

    assert output.text.endswith(HELLO)
