"""The Model Context Protocol's server: sessions, versions, calls, progress, cancellation, and every refusal."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sansio.mcp.messages import LARGEST_BATCH, LONGEST_ID, ErrorCode, Fault
from sansio.mcp.server import BODY_LIMIT, CALLS, SESSIONS, Exchange, HttpAnswer, HttpRequest, McpServer, ServerInfo
from sansio.mcp.tools import PROGRESS_TEXT, Link, Text, Tool, ToolCall, ToolResult
from sansio.mcp.versions import LATEST, MCP_VERSIONS

TOOL = Tool(name="call", title="Call", description="calls", input_schema={"type": "object"})
BOTH = "application/json, text/event-stream"
RESULT = ToolResult(content=(Text("done"),), structured={"a": 1})


def server() -> McpServer:
    return McpServer(ServerInfo("test", "1"), lambda: [TOOL])


def post(message: object, session: str | None = None, **headers: str) -> HttpRequest:
    given = {"content-type": "application/json", "accept": BOTH}
    given |= {} if session is None else {"mcp-session-id": session}
    body = message if isinstance(message, bytes) else orjson.dumps(message)
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRequest(method="POST", headers=given, body=body)


def request(method: str, request_id: object = 1, **params: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


def notification(method: str, **params: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def call(request_id: object = 1, **arguments: object) -> dict[str, Any]:
    meta = {"progressToken": 7}
    return request("tools/call", request_id, name="call", arguments=arguments, _meta=meta)


def opened(mcp: McpServer, session: str = "s", version: str = LATEST.name) -> HttpAnswer:
    outcome = mcp.receive(post(request("initialize", 0, protocolVersion=version)), session)
    assert isinstance(outcome, HttpAnswer)
    return outcome


def answer(mcp: McpServer, message: object, session: str | None = "s", **headers: str) -> HttpAnswer:
    outcome = mcp.receive(post(message, session, **headers), "unused")
    assert isinstance(outcome, HttpAnswer)
    return outcome


def exchange(mcp: McpServer, message: object, session: str = "s", **headers: str) -> Exchange:
    outcome = mcp.receive(post(message, session, **headers), "unused")
    assert isinstance(outcome, Exchange)
    return outcome


def error_code(reply: HttpAnswer) -> int:
    return int(orjson.loads(reply.body)["error"]["code"])


@pytest.mark.parametrize("version", MCP_VERSIONS)
def test_a_client_gets_the_version_it_asks_for(version: str) -> None:
    reply = opened(server(), version=version)

    assert reply.status == 200
    assert dict(reply.headers)["mcp-session-id"] == "s"
    result = orjson.loads(reply.body)["result"]
    assert result["protocolVersion"] == version
    assert result["capabilities"] == {"tools": {}}
    assert result["serverInfo"] == {"name": "test", "version": "1"}


def test_a_version_that_is_not_served_is_answered_with_the_latest() -> None:
    assert orjson.loads(opened(server(), version="2199-01-01").body)["result"]["protocolVersion"] == LATEST.name


def test_ping_and_the_list_of_tools_are_answered() -> None:
    mcp = server()
    opened(mcp)

    assert orjson.loads(answer(mcp, request("ping", "p")).body) == {"jsonrpc": "2.0", "id": "p", "result": {}}
    listed = orjson.loads(answer(mcp, request("tools/list")).body)["result"]["tools"]
    assert listed == [{"name": "call", "title": "Call", "description": "calls", "inputSchema": {"type": "object"}}]


def test_notifications_are_accepted() -> None:
    mcp = server()
    opened(mcp)

    assert answer(mcp, notification("notifications/initialized")).status == 202
    assert answer(mcp, {"jsonrpc": "2.0", "id": 1, "result": {}}).status == 202


def test_a_call_is_answered_in_events_with_its_progress() -> None:
    mcp = server()
    opened(mcp)

    running = exchange(mcp, call(5, url="x"))

    assert dict(running.headers)["content-type"] == "text/event-stream"
    [made] = running.calls
    assert (made.id, made.name, made.arguments, made.progress_token) == (5, "call", {"url": "x"}, 7)
    progress = running.progress(made, 1, "x" * 1000)
    assert progress is not None
    assert progress.startswith(b"event: message\ndata: {")
    assert progress.endswith(b"\n\n")
    sent = orjson.loads(progress.partition(b"data: ")[2])
    assert sent["method"] == "notifications/progress"
    assert sent["params"] == {"progressToken": 7, "progress": 1, "message": "x" * PROGRESS_TEXT}
    assert orjson.loads(running.finish(made, RESULT)) == {
        "jsonrpc": "2.0",
        "id": 5,
        "result": {"content": [{"type": "text", "text": "done"}], "structuredContent": {"a": 1}},
    }


def test_a_client_that_takes_json_alone_gets_one_body_and_no_progress() -> None:
    mcp = server()
    opened(mcp)

    running = exchange(mcp, call(), accept="application/json")

    assert dict(running.headers)["content-type"] == "application/json"
    assert running.progress(running.calls[0], 1, "x") is None
    running.finish(running.calls[0], Fault(ErrorCode.INTERNAL_ERROR, "broken"))
    assert orjson.loads(running.whole())["error"] == {"code": -32603, "message": "broken"}


def test_a_failed_call_and_links_have_their_form() -> None:
    link = Link(url="https://x/a.txt", name="a.txt", media_type="text/plain")
    failed = ToolResult(content=(Text("no"), link), structured={"a": 1}, failed=True)

    assert failed.render(LATEST) == {
        "content": [
            {"type": "text", "text": "no"},
            {"type": "resource_link", "uri": "https://x/a.txt", "name": "a.txt", "mimeType": "text/plain"},
        ],
        "structuredContent": {"a": 1},
        "isError": True,
    }
    assert failed.render(MCP_VERSIONS["2025-03-26"]) == {
        "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "a.txt: https://x/a.txt"}],
        "isError": True,
    }


def test_a_call_is_cancelled_by_its_own_session_alone() -> None:
    mcp = server()
    opened(mcp, "s")
    opened(mcp, "other")
    running = exchange(mcp, call(3))
    cancel = notification("notifications/cancelled", requestId=3, reason="enough")

    assert answer(mcp, cancel, "other").stopped == ()
    assert answer(mcp, cancel).stopped == running.calls


def test_a_cancellation_that_comes_after_the_end_is_nothing() -> None:
    mcp = server()
    opened(mcp)
    running = exchange(mcp, call(3))
    running.finish(running.calls[0], RESULT)

    assert answer(mcp, notification("notifications/cancelled", requestId=3)).stopped == ()
    assert answer(mcp, notification("notifications/cancelled", requestId=[3])).stopped == ()


def test_a_dropped_call_makes_room_for_its_id() -> None:
    mcp = server()
    opened(mcp)
    running = exchange(mcp, call(3))
    assert error_code(answer(mcp, call(3))) == ErrorCode.INVALID_REQUEST

    running.drop(running.calls[0])

    assert exchange(mcp, call(3)).calls[0].id == 3


def test_a_session_is_ended_with_its_calls() -> None:
    mcp = server()
    opened(mcp)
    running = exchange(mcp, call(3))

    ended = mcp.receive(HttpRequest(method="DELETE", headers={"mcp-session-id": "s"}), "unused")

    assert isinstance(ended, HttpAnswer)
    assert (ended.status, ended.stopped) == (204, running.calls)
    assert answer(mcp, request("ping")).status == 404
    again = mcp.receive(HttpRequest(method="DELETE", headers={"mcp-session-id": "s"}), "unused")
    assert isinstance(again, HttpAnswer)
    assert again.status == 404


def test_a_batch_is_answered_where_the_version_has_batches() -> None:
    mcp = server()
    opened(mcp, version="2025-03-26")

    plain = answer(mcp, [request("ping", 1), notification("notifications/initialized"), request("nothing", 2)])
    assert [one["id"] for one in orjson.loads(plain.body)] == [1, 2]
    running = exchange(mcp, [request("ping", 1), call(2), call(3)], accept="application/json")
    for one in running.calls:
        running.finish(one, RESULT)
    assert [one["id"] for one in orjson.loads(running.whole())] == [1, 2, 3]
    assert error_code(answer(mcp, [])) == ErrorCode.INVALID_REQUEST
    assert error_code(answer(mcp, [request("ping")] * (LARGEST_BATCH + 1))) == ErrorCode.INVALID_REQUEST
    inside = orjson.loads(answer(mcp, [request("initialize", 1)]).body)
    assert inside[0]["error"]["code"] == ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_a_batch_is_refused_by_other_versions(version: str) -> None:
    mcp = server()
    opened(mcp, version=version)

    assert answer(mcp, [request("ping")]).status == 400


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
def test_other_methods_are_refused(method: str) -> None:
    reply = server().receive(HttpRequest(method=method, headers={}), "unused")

    assert isinstance(reply, HttpAnswer)
    assert reply.status == 405
    assert dict(reply.headers)["allow"] == "DELETE, POST"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": "text/plain"}, 415),
        ({"accept": "text/html"}, 406),
        ({"mcp_protocol_version": "1.0"}, 400),
    ],
    ids=["content type", "accept", "version"],
)
def test_headers_that_cannot_be_served_are_refused(headers: dict[str, str], status: int) -> None:
    mcp = server()
    opened(mcp)

    assert answer(mcp, request("ping"), **headers).status == status


def test_a_body_that_is_too_large_is_refused() -> None:
    assert answer(server(), b" " * (BODY_LIMIT + 1)).status == 413


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"{", ErrorCode.PARSE_ERROR),
        (1, ErrorCode.INVALID_REQUEST),
        ({"id": 1, "method": "ping"}, ErrorCode.INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": 1}, ErrorCode.INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": None, "method": "ping"}, ErrorCode.INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": "x" * (LONGEST_ID + 1), "method": "ping"}, ErrorCode.INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}, ErrorCode.INVALID_PARAMS),
        (request("resources/list"), ErrorCode.METHOD_NOT_FOUND),
        (request("tools/call", name=1), ErrorCode.INVALID_PARAMS),
        (request("tools/call", name="other"), ErrorCode.INVALID_PARAMS),
        (request("tools/call", name="call", arguments=[]), ErrorCode.INVALID_PARAMS),
    ],
)
def test_what_is_no_request_that_is_known_gets_its_code(message: object, code: ErrorCode) -> None:
    mcp = server()
    opened(mcp)

    assert error_code(answer(mcp, message)) == code


def test_a_session_is_required() -> None:
    mcp = server()

    assert answer(mcp, request("ping"), None).status == 400
    assert answer(mcp, request("ping"), "unknown").status == 404


def test_calls_of_a_session_are_bounded() -> None:
    mcp = server()
    opened(mcp)
    for number in range(CALLS):
        exchange(mcp, call(number))

    assert error_code(answer(mcp, call(CALLS))) == ErrorCode.INVALID_REQUEST


def test_the_session_that_was_used_longest_ago_gives_way() -> None:
    mcp = server()
    for number in range(SESSIONS):
        opened(mcp, f"s{number}")
    running = exchange(mcp, call(1), "s1")
    answer(mcp, request("ping"), "s0")
    for number in range(2, SESSIONS):
        answer(mcp, request("ping"), f"s{number}")

    assert opened(mcp, "new").stopped == running.calls
    assert answer(mcp, request("ping"), "s1").status == 404
    assert answer(mcp, request("ping"), "s0").status == 200


def test_arguments_are_not_shown() -> None:
    assert "hunter2" not in repr(ToolCall(id=1, name="call", arguments={"message": "hunter2"}))
    assert "hunter2" not in repr(HttpRequest(method="POST", headers={}, body=b"hunter2"))


def test_a_client_that_takes_anything_gets_json() -> None:
    for accept in ("*/*", "text/html, */*;q=0.1"):
        mcp = server()
        opened(mcp)
        asked = post(call(1), "s", accept=accept)
        found = mcp.receive(asked, "unused")
        assert isinstance(found, Exchange)
        assert not found.in_events


def test_a_server_shows_how_busy_it_is() -> None:
    mcp = server()
    opened(mcp)
    opened(mcp, "other")
    exchange(mcp, call(1))

    assert repr(mcp) == "<McpServer sessions=2 running=1>"
