"""Which line a request is answered on: what it names, what only one line can mean, and what is not on offer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.shell.cases import full_product
from tests.shell.harness import REST_03, REST_10, RPC_03, RPC_10, Agent, Serving, Wire

pytestmark = pytest.mark.anyio


async def post(agent: Agent, path: str, body: dict[str, Any], version: str | None = None) -> httpx.Response:
    headers = {} if version is None else {"A2A-Version": version}
    return await agent.http.post(path, json=body, headers=headers)


def call(method: str, wire: Wire) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": wire.message("INSTANT")}}


def version_of(response: httpx.Response) -> str:
    """The line an answer is on, by its header and by its form alike."""
    body = response.json()
    result = body.get("result", body)
    version = "1.0" if "task" in result else "0.3"
    assert result.get("task", result)["status"]["state"] == (
        "TASK_STATE_COMPLETED" if version == "1.0" else "completed"
    )
    assert response.headers["a2a-version"] == version
    return version


async def test_no_version_named_is_the_default_unless_the_method_tells(serving: Serving) -> None:
    async with serving() as agent:
        assert version_of(await post(agent, "/", call("message/send", RPC_03))) == "0.3"
        assert version_of(await post(agent, "/", call("SendMessage", RPC_10))) == "1.0"
        assert version_of(await post(agent, "/", call("message/send", RPC_03), "")) == "0.3"


async def test_no_version_named_is_the_default_unless_the_path_tells(serving: Serving) -> None:
    async with serving() as agent:
        assert version_of(await post(agent, "/v1/message:send", {"message": REST_03.message("INSTANT")})) == "0.3"
        assert version_of(await post(agent, "/message:send", {"message": REST_10.message("INSTANT")})) == "1.0"


async def test_a_default_of_1_0_does_not_change_what_a_0_3_name_means(serving: Serving) -> None:
    async with serving(protocol_version="1.0") as agent:
        assert version_of(await post(agent, "/", call("message/send", RPC_03))) == "0.3"
        unknown = await post(agent, "/", {"jsonrpc": "2.0", "id": 1, "method": "nobody/knows"})

    assert unknown.headers["a2a-version"] == "1.0"


@pytest.mark.parametrize("version", ["1.0", "1.0.0", "1.0.7", "01.0"])
async def test_patch_numbers_do_not_count(serving: Serving, version: str) -> None:
    async with serving() as agent:
        assert version_of(await post(agent, "/", call("SendMessage", RPC_10), version)) == "1.0"


async def test_the_query_names_a_version_where_no_header_does(serving: Serving) -> None:
    async with serving() as agent:
        body = call("SendMessage", RPC_10)
        assert version_of(await post(agent, "/?A2A-Version=1.0", body)) == "1.0"
        assert version_of(await post(agent, "/?A2A-Version=9.9", body, "1.0")) == "1.0"
        rest = {"message": REST_10.message("INSTANT")}
        assert version_of(await post(agent, "/v1/message:send?A2A-Version=1.0", rest)) == "1.0"


async def test_a_name_of_the_other_line_is_understood_where_a_version_is_named(serving: Serving) -> None:
    async with serving() as agent:
        assert version_of(await post(agent, "/", call("message/send", RPC_10), "1.0")) == "1.0"
        assert version_of(await post(agent, "/", call("SendMessage", RPC_03), "0.3")) == "0.3"


@pytest.mark.parametrize("version", ["2.0", "1.0-beta"])
@full_product
async def test_a_version_not_on_offer_is_refused_with_those_that_are(
    serving: Serving, wire: Wire, version: str
) -> None:
    async with serving() as agent:
        if wire.binding == "rpc":
            name = "message/send" if wire.version == "0.3" else "SendMessage"
            response = await post(agent, "/", call(name, wire), version)
            assert response.status_code == 200
            assert response.json()["error"]["code"] == -32009
        else:
            path = "/v1/message:send" if wire.version == "0.3" else "/message:send"
            response = await post(agent, path, {"message": wire.message("hi")}, version)
            assert response.status_code == 400
        assert agent.asked("POST", "/session") == 0

    assert "0.3, 1.0" in response.text
    assert version in response.text


async def test_a_line_that_is_switched_off_is_not_on_offer(serving: Serving) -> None:
    async with serving(protocol_version="1.0", supported_protocol_versions=("1.0",)) as agent:
        refused = await post(agent, "/", call("message/send", RPC_03), "0.3")
        plain = await post(agent, "/", call("message/send", RPC_10))
        path = await post(agent, "/v1/message:send", {"message": REST_10.message("INSTANT")})
        card = (await agent.http.get("/.well-known/agent-card.json")).json()

    assert refused.json()["error"]["code"] == -32009
    assert "on offer: 1.0" in refused.text
    assert (version_of(plain), version_of(path)) == ("1.0", "1.0")
    assert {one["protocolVersion"] for one in card["supportedInterfaces"]} == {"1.0"}
