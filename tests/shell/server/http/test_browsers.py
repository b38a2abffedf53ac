"""Pages in a browser call, or may not; bodies say what they are; a path prefix reaches the server, or does not."""

from __future__ import annotations

import base64
import re
from typing import Any

import anyio
import orjson
import pytest

from sansio.guards.origins import AllowedOrigins
from tests.shell.cases import full_product
from tests.shell.harness import (
    ALICE,
    CAROL,
    DEADLINE,
    REST_03,
    REST_10,
    RPC_03,
    RPC_10,
    WIRES,
    Agent,
    Serving,
    Wire,
)

pytestmark = pytest.mark.anyio

PAGE, OTHER = "https://page.example", "https://other.example"
LISTED = AllowedOrigins(frozenset({PAGE}))
TOKEN = f"Bearer {ALICE}"
JSON = {"authorization": TOKEN, "content_type": "application/json"}
SEND = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": RPC_10.message("hi")}})


async def raw(agent: Agent, method: str, path: str, body: bytes = b"", /, **headers: str) -> tuple[int, str, bytes]:
    """One request in bytes of our own: the status, the head in lower case, the body."""
    lines = [f"{method} {path} HTTP/1.1", "host: agent.test", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}"] if body else []
    async with await anyio.connect_tcp("127.0.0.1", int(agent.url.rpartition(":")[2])) as stream:
        await stream.send("\r\n".join([*lines, "", ""]).encode() + body)
        answer = b""
        with anyio.fail_after(DEADLINE):
            async for piece in stream:
                answer += piece
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), rest


async def test_a_page_of_another_origin_runs_nothing(serving: Serving) -> None:
    login = base64.b64encode(":".join(CAROL).encode()).decode()
    async with serving() as agent:
        for page in ({"origin": OTHER}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}):
            for path in ("/", "/message:send", "/v1/message:send"):
                proof = {"authorization": f"Basic {login}", "content_type": "application/json"}
                status, head, body = await raw(agent, "POST", path, SEND, **proof, **page)
                assert status == 403, body
                assert "access-control" not in head
        assert await agent.caller().page() == {"tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0}
        for kind in ("text/plain", "application/x-www-form-urlencoded"):  # what a page may send unasked
            assert (await raw(agent, "POST", "/", SEND, authorization=TOKEN, content_type=kind))[0] == 415
        assert (await agent.caller().page())["tasks"] == []


async def test_the_servers_own_pages_and_programs_pass(serving: Serving) -> None:
    async with serving(public_url_override="https://host.example/agents/oc/") as agent:
        for page in (
            {},
            {"origin": "http://agent.test"},
            {"origin": "https://agent.test", "sec_fetch_site": "same-origin"},
            {"origin": "https://host.example"},
        ):
            answer = await raw(agent, "POST", "/", SEND, **JSON, **page)
            assert answer[0] == 200
            assert b'"result"' in answer[2]


@pytest.mark.parametrize("path", ["/", "/message:stream", "/tasks", "/.well-known/agent-card.json"])
async def test_a_preflight_is_answered_without_credentials(serving: Serving, path: str) -> None:
    asks = {"access_control_request_method": "POST", "access_control_request_headers": "authorization,content-type"}
    async with serving(allowed_origins=LISTED) as agent:
        status, head, _ = await raw(agent, "OPTIONS", path, origin=PAGE, **asks)
        refused, other, _ = await raw(agent, "OPTIONS", path, origin=OTHER, **asks)

    assert status == 204
    assert f"access-control-allow-origin: {PAGE}" in head
    assert "access-control-allow-credentials: true" in head
    assert "authorization, content-type" in head
    assert "vary: origin" in head
    assert refused in (403, 204)
    assert "access-control" not in other


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {"authorization": TOKEN, "content_type": "application/json"}, 200),
        ("/", {"content_type": "application/json"}, 401),
        ("/nothing", {"authorization": TOKEN, "content_type": "application/json"}, 404),
        ("/", {"authorization": TOKEN, "content_type": "text/plain"}, 415),
        ("/message:stream", {"authorization": TOKEN, "content_type": "application/json"}, 200),
    ],
)
async def test_a_listed_page_may_read_every_answer(
    serving: Serving, path: str, headers: dict[str, str], status: int
) -> None:
    body = SEND if path == "/" else orjson.dumps({"message": REST_10.message("hi")})
    async with serving(allowed_origins=LISTED) as agent:
        answer, head, data = await raw(agent, "POST", path, body, origin=PAGE, **headers)

    assert answer == status, data
    assert f"access-control-allow-origin: {PAGE}" in head
    assert "vary: origin" in head
    assert re.search(r"access-control-expose-headers: .*a2a-version", head)
    if path == "/message:stream":
        assert b"text/event-stream" in head.encode()


async def test_curl_is_told_what_to_add(serving: Serving) -> None:
    async with serving() as agent:
        status, _, body = await raw(
            agent, "POST", "/", SEND, authorization=TOKEN, content_type="application/x-www-form-urlencoded"
        )

    assert status == 415
    assert b"-H 'Content-Type: application/json'" in body


# --- the prefix -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["https://host.example/agents/oc/", "https://host.example/agents/oc"])
async def test_behind_a_prefix_everything_is_found(serving: Serving, written: str) -> None:
    paths = ["", "/", "/message:send", "/v1/message:send"]
    async with serving(public_url_override=written) as agent:
        for prefix in ("", "/agents/oc"):
            card = (await agent.http.get(f"{prefix}/.well-known/agent-card.json")).json()
            assert {one["url"] for one in card["supportedInterfaces"]} == {card["url"]} == {written}
            assert (await agent.http.get(f"{prefix}/openapi.json")).status_code == 200
            assert (await agent.http.get(f"{prefix}/health")).status_code == 200
            for path in paths if prefix else paths[1:]:
                wire = {"/message:send": REST_10, "/v1/message:send": REST_03}.get(path, RPC_10)
                params = {"message": wire.message("hi")}
                body: Any = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
                answer = await agent.http.post(f"{prefix}{path}", json=body if wire is RPC_10 else params)
                assert answer.status_code == 200, (prefix, path, answer.text)
                assert not answer.json().get("error")


# --- versions, and what they say ------------------------------------------------------------------------------


@full_product
async def test_data_reaches_the_model_as_text(serving: Serving, wire: Wire) -> None:
    part = {"kind": "data", "data": {"n": [1]}} if wire.version == "0.3" else {"data": {"n": [1]}}
    async with serving() as agent:
        task = await agent.caller(wire).send("", parts=[part])
        [prompt] = [one for one in agent.fake_opencode.requests if one.path.endswith("/prompt_async")]

    assert task.status.state.value == "completed"
    assert prompt.json["parts"] == [{"type": "text", "text": 'Data (application/json):\n{"n":[1]}'}]


async def test_proto_names_are_read_over_every_binding(serving: Serving) -> None:
    async with serving() as agent:
        first = await agent.caller().send("hi")
        await agent.caller().send("ho")
        again = await agent.caller(RPC_10).send("hi", context_id=first.context_id)
        old = await agent.caller(RPC_03).send("hi", context_id=first.context_id)

        assert again.context_id == old.context_id == first.context_id
        for wire in WIRES:
            page = await agent.caller(wire).page(context_id=first.context_id, page_size=2)
            assert len(page["tasks"]) == 2
            assert {task["contextId"] for task in page["tasks"]} == {first.context_id}
            if wire != REST_03:  # which reads a task of JSON-RPC in its own form
                assert (await agent.caller(wire).get(first.id, history_length=0)).history == ()
            error = await agent.caller(wire).refused("list", contextId="a", context_id="a")
            assert "contextId" in str(error)


async def test_an_unsupported_version_has_details_and_their_info(serving: Serving) -> None:
    async with serving() as agent:
        for method in ("SendMessage", "Fly"):
            answer = await agent.http.post(
                "/", json={"jsonrpc": "2.0", "id": 1, "method": method}, headers={"A2A-Version": "2.0"}
            )
            [info] = answer.json()["error"]["data"]
            assert (info["reason"], answer.json()["error"]["code"]) == ("VERSION_NOT_SUPPORTED", -32009)
        answer = await agent.http.post(
            "/", json={"jsonrpc": "2.0", "id": 1, "method": "message/send"}, headers={"A2A-Version": "2.0"}
        )
        assert answer.json()["error"]["data"]["type"] == "VERSION_NOT_SUPPORTED"
