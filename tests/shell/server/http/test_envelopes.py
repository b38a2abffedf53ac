"""JSON-RPC as it comes in: what is no request, what nobody knows, and what wants no answer."""

from __future__ import annotations

from itertools import product
from typing import Any

import orjson
import pytest

from sansio.extensions.methods.method_table import supported
from tests.shell.cases import json_product
from tests.shell.harness import RPC_03, RPC_10, Serving, Wire

pytestmark = pytest.mark.anyio
VERSIONS = pytest.mark.parametrize("wire", [RPC_03, RPC_10], ids=str)
METHODS = {
    "0.3": ["message/send", "message/stream", "tasks/get"],
    "1.0": ["SendMessage", "SendStreamingMessage", "GetTask"],
}


@VERSIONS
@pytest.mark.parametrize(
    ("body", "code", "id"),
    [
        (b"{", -32700, None),
        (b"", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"[]", -32600, None),
        (b'[{"jsonrpc":"2.0","id":1,"method":"GetTask"}]', -32600, None),
        (b"5", -32600, None),
        (b'{"jsonrpc":"1.0","id":3,"method":"GetTask"}', -32600, 3),
        (b'{"jsonrpc":"2.0","id":"x"}', -32600, "x"),
        (b'{"jsonrpc":"2.0","id":{},"method":"GetTask"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":4,"method":"GetTask","params":[]}', -32602, 4),
        (b'{"jsonrpc":"2.0","id":4,"method":"GetTask"}', -32602, 4),
    ],
)
async def test_what_is_no_request_is_answered_with_why(
    serving: Serving, wire: Wire, body: bytes, code: int, id: object
) -> None:
    async with serving() as agent:
        response = await agent.http.post(
            "/", content=body, headers={"A2A-Version": wire.version, "Content-Type": "application/json"}
        )

    answer = response.json()
    assert (response.status_code, response.headers["a2a-version"]) == (200, wire.version)
    assert (answer["jsonrpc"], answer["id"], answer["error"]["code"]) == ("2.0", id, code)
    if body.startswith(b"["):
        assert "batch" in answer["error"]["message"]


@VERSIONS
async def test_a_method_nobody_knows_is_answered_with_those_on_offer(serving: Serving, wire: Wire) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tasks/frobnicate", "params": {}}
    async with serving() as agent:
        response = await agent.http.post("/", json=body, headers={"A2A-Version": wire.version})

    error = response.json()["error"]
    assert error["code"] == -32601
    if wire.version == "0.3":
        assert error["data"] == {
            "type": "METHOD_NOT_SUPPORTED",
            "method": "tasks/frobnicate",
            "supported_methods": supported("0.3", ()),
            "protocol_version": "0.3",
        }
    else:
        info, methods = error["data"]
        assert info["@type"].endswith("/google.rpc.ErrorInfo")
        assert info["reason"] == "METHOD_NOT_FOUND"
        assert methods["value"] == {
            "method": "tasks/frobnicate",
            "supportedMethods": supported("1.0", ()),
            "protocolVersion": "1.0",
        }


@VERSIONS
async def test_an_id_comes_back_as_it_was(serving: Serving, wire: Wire) -> None:
    message = wire.message("INSTANT")
    async with serving() as agent:
        for request_id, method in product([0, "", "text", 1.5, None, 2**53], METHODS[wire.version][:2]):
            body = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": {"message": message}}
            response = await agent.http.post("/", json=body, headers={"A2A-Version": wire.version})
            if method == METHODS[wire.version][0]:
                answers: list[Any] = [response.json()]
            else:
                lines = response.content.splitlines()
                answers = [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
            assert answers
            assert {(answer["id"], type(answer["id"])) for answer in answers} == {(request_id, type(request_id))}


@VERSIONS
async def test_an_id_that_would_come_back_as_another_is_refused(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        for request_id in (str(2**64 + 1), str(-(2**63) - 1), "1e300"):
            body = b'{"jsonrpc":"2.0","id":%b,"method":"GetTask"}' % request_id.encode()
            headers = {"A2A-Version": wire.version, "Content-Type": "application/json"}
            answer = (await agent.http.post("/", content=body, headers=headers)).json()
            assert (answer["id"], answer["error"]["code"]) == (None, -32600)
            assert "64 bits" in answer["error"]["message"]


@VERSIONS
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_notification_is_carried_out_and_not_answered(serving: Serving, wire: Wire, streaming: bool) -> None:
    method = METHODS[wire.version][int(streaming)]
    body = {"jsonrpc": "2.0", "method": method, "params": {"message": wire.message("hi", contextId="c")}}
    async with serving() as agent:
        response = await agent.http.post("/", json=body, headers={"A2A-Version": wire.version})

        assert (response.status_code, response.content) == (204, b"")
        await agent.until(lambda: agent.asked("POST", "/prompt_async") == 1)
        await agent.until(lambda: not agent.running.tasks.active_tasks)
        after = await agent.caller(wire).send("COUNT", contextId="c")

    assert "You have said 2 things." in str(after)


@VERSIONS
@pytest.mark.parametrize("method", ["nobody/knows", "GetTask", "SendMessage"])
async def test_a_notification_that_fails_is_not_answered_either(serving: Serving, wire: Wire, method: str) -> None:
    body = {"jsonrpc": "2.0", "method": method, "params": {"id": "t"}}
    async with serving() as agent:
        response = await agent.http.post("/", json=body, headers={"A2A-Version": wire.version})

    assert (response.status_code, response.content) == (204, b"")


@json_product
async def test_answers_name_their_line(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        answered = await caller.ask("send", caller.params("hi", {}))
        async with caller.open("hi") as stream:
            await stream.whole()

    assert answered.headers["a2a-version"] == stream.response.headers["a2a-version"] == wire.version
    assert stream.response.headers["cache-control"] == "no-store"
