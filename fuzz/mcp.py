"""Target of the server of tools: HTTP requests of a client of the Model Context Protocol."""

from __future__ import annotations

import orjson

from fuzz.target import Target, require
from sansio.mcp.server import Exchange, HttpRequest, McpServer, ServerInfo
from sansio.mcp.tools import Text, Tool, ToolResult
from tests.strategies import json_values

_TOOL = Tool(name="call", title="Call", description="calls", input_schema={"type": "object"})
_RESULT = ToolResult(content=(Text("done"),))
_STATUSES = frozenset({200, 202, 400, 404, 406, 413, 415})


def check_mcp(data: bytes) -> None:
    """A body of any version gets an answer with a known status, and every answer and event is JSON-RPC."""
    for version in ("2025-03-26", "2025-11-25"):
        server = McpServer(ServerInfo("fuzz", "1"), lambda: [_TOOL])
        hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": version}}
        server.receive(_post(orjson.dumps(hello)), "s")
        outcome = server.receive(_post(data), "t")
        if isinstance(outcome, Exchange):
            for call in outcome.calls:
                progress = outcome.progress(call, 1, "going on")
                require(progress is None or progress.endswith(b"\n\n"), "an event without an end")
                _require_response(outcome.finish(call, _RESULT))
            _require_responses(outcome.whole())
        else:
            require(outcome.status in _STATUSES, "a status that is not known")
            if outcome.body:
                _require_responses(outcome.body)


def _post(body: bytes) -> HttpRequest:
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-session-id": "s",
    }
    return HttpRequest(method="POST", headers=headers, body=body)


def _require_responses(body: bytes) -> None:
    value = orjson.loads(body)
    for one in value if isinstance(value, list) else [value]:
        _require_response(orjson.dumps(one))


def _require_response(body: bytes) -> None:
    value = orjson.loads(body)
    require(value["jsonrpc"] == "2.0" and ("result" in value) != ("error" in value), "no response")


def _message(method: str, params: object, **more: object) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more})


_DOCUMENTS = (
    _message("initialize", {"protocolVersion": "2025-06-18"}, id=1),
    _message("notifications/initialized", {}),
    _message("notifications/cancelled", {"requestId": 1, "reason": "enough"}),
    _message("ping", {}, id="a"),
    _message("tools/list", {}, id=2),
    _message("tools/call", {"name": "call", "arguments": {"url": "x"}, "_meta": {"progressToken": 1}}, id=3),
    b"[" + _message("ping", {}, id=1) + b"," + _message("tools/call", {"name": "call"}, id=4) + b"]",
)

TARGETS = (Target(name="mcp", check=check_mcp, documents=_DOCUMENTS, strategy=json_values.map(orjson.dumps)),)
