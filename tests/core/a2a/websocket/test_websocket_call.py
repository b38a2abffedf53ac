"""Calls over WebSocket: what answers them is a message each."""

from __future__ import annotations

import orjson
import pytest

from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.bindings.json_output import SLICE
from sansio.a2a.bindings.jsonrpc import RpcRequest
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.operations import Operation
from sansio.a2a.server import CallRefusedError, ServedProtocol
from sansio.a2a.serving.websocket_call import WebSocketCall, understand
from tests.steps import counted


def call(method: str = "SendStreamingMessage", *, notification: bool = False, version: str = "") -> WebSocketCall:
    envelope = RpcRequest(method=method, params={}, id=None if notification else 7, notification=notification)
    request = Request(method="WS", path="/websocket", query_string=b"", headers={"a2a-version": version})
    return understand(envelope, request, ServedProtocol())


def test_events_are_lines_that_name_their_numbers() -> None:
    one = call()
    whole = one.frame(12, b'{"a":1}')
    assert whole.endswith(b"\n")
    assert orjson.loads(whole) == {"jsonrpc": "2.0", "id": 7, "result": {"a": 1}, "eventId": "12"}
    large = {"a": "x" * SLICE, "b": "y" * SLICE}
    pieces, steps = counted(one.frame_in_steps(12, large))
    assert (steps > 1, b"".join(pieces)) == (True, one.frame(12, orjson.dumps(large)))
    assert (one.comment("x"), one.keep_alive) == (b"", b"")


def test_errors_are_those_of_json_rpc_and_notifications_have_none() -> None:
    error = ProtocolError(ErrorKind.TASK_NOT_FOUND)
    assert orjson.loads(call().refuse(error).body)["error"]["code"] == -32001
    assert orjson.loads(call("message/stream").refuse(error).body)["id"] == 7
    assert orjson.loads(call().failure_frame(error))["error"]["code"] == -32001
    assert call(notification=True).refuse(error).body == b""
    assert call(notification=True).operation is Operation.SEND


def test_a_version_that_is_not_served_is_refused() -> None:
    with pytest.raises(CallRefusedError) as refused:
        call(version="9.0")
    assert orjson.loads(refused.value.response.body)["error"]["code"] == -32009
    with pytest.raises(CallRefusedError) as refused:
        call(notification=True, version="9.0")
    assert refused.value.response.body == b""


def test_the_binding_is_served_where_it_is_on() -> None:
    assert not ServedProtocol().serves_websocket
    assert ServedProtocol(bindings=frozenset({"WEBSOCKET"})).serves_websocket
