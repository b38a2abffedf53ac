"""What is turned away before it is read: callers nobody knows, bodies too large, paths and methods that are not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import anyio
import httpx
import pytest

from tests.shell.cases import json_product
from tests.shell.harness import CAROL, DEADLINE, REST_03, RPC_10, WIRES, Serving, Wire, client, served, until

pytestmark = pytest.mark.anyio

PLACES = {"0.3-rpc": "/", "1.0-rpc": "/", "0.3-rest": "/v1/message:send", "1.0-rest": "/message:send"}
LIMIT = 2000
JSON = {"content-type": "application/json"}


@json_product
async def test_a_caller_nobody_knows_is_turned_away(serving: Serving, wire: Wire) -> None:
    proofs = [{"authorization": proof} for proof in ("Bearer wrong", "Bearer", "Basic YTpi", "Basic //", "Digest x")]
    paths = (PLACES[str(wire)], "/health", "/no/such/path")
    async with serving() as agent, client(agent.url, None) as http:
        for proof, path in product([{}, *proofs], paths):
            headers = {"A2A-Version": wire.version, **proof}
            response = await http.post(path, headers=headers, content=b"{not even json")

            assert response.status_code == 401
            challenge = response.headers["www-authenticate"]
            assert "Bearer" in challenge
            assert "Basic" in challenge
            if wire.version == "0.3":
                assert response.json() == {"error": "Unauthorized"}
            else:
                error = response.json()["error"]
                assert (error["code"], error["status"]) == (401, "UNAUTHENTICATED")
        assert agent.asked("POST", "/session") == 0


async def test_every_way_to_prove_oneself_works(serving: Serving) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        basic = httpx.BasicAuth(*CAROL)
        assert (await http.get("/health", auth=basic)).status_code == 200
        for name in ("Bearer", "bearer", "BEARER"):
            proof = {"authorization": f"{name} {agent.http.headers['authorization'].split()[1]}"}
            assert (await http.get("/health", headers=proof)).status_code == 200


async def test_health_tells_of_the_event_bus(serving: Serving) -> None:
    async with serving() as agent:
        await agent.until(lambda: agent.running.bus.connected)
        response = await agent.http.get("/health")

    assert response.json()["status"] == "ok"
    assert response.json()["upstream"] == {"event_stream": "connected"}


@pytest.mark.parametrize("chunked", [False, True])
@json_product
async def test_a_body_too_large_is_refused_before_it_is_parsed(serving: Serving, wire: Wire, chunked: bool) -> None:
    pieces: list[bytes] = [b"{" * 500] * 10

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async with serving(max_request_body_bytes=LIMIT) as agent:
        content: Any = body() if chunked else b"".join(pieces)
        response = await agent.http.post(
            PLACES[str(wire)], content=content, headers=JSON | {"A2A-Version": wire.version}
        )
        after = await agent.caller(wire).send("hi")

    assert response.status_code == 413
    assert str(LIMIT) in response.text
    assert response.headers["connection"] == "close"
    assert after.status.state.terminal


async def test_a_body_of_just_the_limit_is_read(serving: Serving) -> None:
    async with serving(max_request_body_bytes=LIMIT) as agent:
        response = await agent.http.post("/", content=b" " * LIMIT, headers=JSON | {"A2A-Version": "1.0"})

    assert response.json()["error"]["code"] == -32700


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 405, "OPTIONS, POST"),
        ("PUT", "/", 405, "OPTIONS, POST"),
        ("GET", "/message:send", 405, "OPTIONS, POST"),
        ("GET", "/v1/message:stream", 405, "OPTIONS, POST"),
        ("DELETE", "/tasks/t", 405, "GET, HEAD, OPTIONS"),
        ("POST", "/v1/tasks/t", 405, "GET, HEAD, OPTIONS"),
        ("POST", "/health", 405, "GET, HEAD, OPTIONS"),
        ("POST", "/.well-known/agent-card.json", 405, "GET, HEAD, OPTIONS"),
        ("POST", "/message:sendx", 404, None),
        ("POST", "/v2/message:send", 200, None),
        ("GET", "/v1", 404, None),
        ("GET", "/v1/task", 404, None),
        ("GET", "/tasks/a/b/c", 404, None),
        ("GET", "/%2e%2e/etc/passwd", 404, None),
        ("POST", "/v1/v1/message:send", 404, None),
    ],
)
async def test_paths_and_methods_that_are_not(
    serving: Serving, method: str, path: str, status: int, allow: str | None
) -> None:
    async with serving() as agent:
        body = agent.caller(REST_03).params("hi", {}) if "v1" in path else agent.caller().params("hi", {})
        response = await agent.http.request(method, path, json=body)

    assert response.status_code == status
    assert response.headers.get("allow") == allow
    if status >= 400:
        assert response.json()


async def test_head_is_get_without_a_body(serving: Serving) -> None:
    async with serving() as agent:
        agent.http.headers["accept-encoding"] = "identity"
        task = await agent.caller().send("hi")
        documents = ("/health", "/openapi.json", "/.well-known/agent-card.json")
        for path in (*documents, f"/tasks/{task.id}", f"/v1/tasks/{task.id}"):
            whole = await agent.http.get(path)
            head = await agent.http.head(path)

            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(len(whole.content))


@pytest.mark.parametrize("wire", [REST_03, WIRES[3]], ids=str)
async def test_what_is_no_json_is_said_to_be_none(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        for content in (b"{", b"", b"\xff", b"[1", b"nan"):
            response = await agent.http.post(
                PLACES[str(wire)], content=content, headers=JSON | {"A2A-Version": wire.version}
            )
            assert response.status_code == 400
            assert "JSON" in response.text


WRONG: dict[str, dict[str, Any]] = {
    "message.parts": {"parts": []},
    "message.parts[0]": {"parts": [7]},
    "message.parts[1]": {"parts": [{"text": "a", "kind": "text"}, {"text": 5}]},
    "message.role": {"role": "admin"},
    "message.messageId": {"messageId": ""},
    "message.contextId": {"contextId": 5},
}


@json_product
async def test_a_wrong_field_is_named(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        for field, message in WRONG.items():
            error = await agent.caller(wire).refused(**message)

            said = str(error).replace("'loc': ['params', ", "'loc': [")
            path = field.replace("[", ".").replace("]", "").split(".")
            loc = ", ".join(step if step.isdigit() else repr(step) for step in path)
            assert field in said or f"'loc': [{loc}" in said
            number = error["code"] if wire.binding == "rpc" else error["http"]
            assert number == (-32602 if wire.binding == "rpc" else 400)


async def test_a_client_that_leaves_in_mid_request_leaves_the_server_well(serving: Serving) -> None:
    async with serving() as agent:
        port = int(agent.url.rpartition(":")[2])
        head = f"POST / HTTP/1.1\r\nhost: x\r\n{'authorization: ' + agent.http.headers['authorization']}\r\n"
        for start in ("", "POS", head, f"{head}content-length: 100\r\n\r\n{{", "\x00\x01\x02\r\n\r\n"):
            async with await anyio.connect_tcp("127.0.0.1", port) as raw:
                await raw.send(start.encode())

        assert (await agent.caller().send("hi")).status.state.terminal


async def test_bytes_that_are_no_http_are_answered_or_cut(serving: Serving) -> None:
    async with serving() as agent:
        port = int(agent.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as raw:
            await raw.send(b"this is not http\r\n\r\n")
            with anyio.fail_after(DEADLINE):
                answer = await raw.receive()

    assert answer.startswith(b"HTTP/1.1 400")


async def test_an_upgrade_to_websocket_is_not_made(serving: Serving) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with serving() as agent:
        response = await agent.http.get("/", headers=upgrade)

        assert response.status_code == 405  # what a GET of this path gets without it
        assert (await agent.caller(RPC_10).send("hi")).status.state.terminal


async def test_a_runtime_serves_any_application_and_does_not_name_itself(anyio_backend: str) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with served(anyio_backend, app) as url, client(url, None) as http:
        assert (await http.get("/")).status_code == 204
        assert "server" not in (await http.get("/")).headers
    await until(lambda: seen)
    assert seen == ["lifespan", "http", "http"]
