"""Which line, which operation, which request: negotiation, routes and the JSON-RPC envelope."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.jsonrpc import (
    RESULT_SUFFIX,
    RpcRequest,
    RpcRequestError,
    method_not_found,
    parse_request,
    render_error,
    render_result,
    result_prefix,
)
from sansio.a2a.bindings.rest import Route, params_of, route
from sansio.a2a.errors import ErrorKind, ProtocolError, jsonrpc_error
from sansio.a2a.operations import Operation, methods_of, operation_of
from sansio.a2a.versions import VERSIONS, negotiate, version_of, version_of_errors
from tests.strategies import json_values, names

# --- versions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requested", "hint", "version"),
    [
        (None, None, "0.3"),
        ("", None, "0.3"),
        ("  ", None, "0.3"),
        (None, "1.0", "1.0"),
        ("", "1.0", "1.0"),
        (None, "0.3", "0.3"),
        ("0.3", "1.0", "0.3"),
        ("1.0", "0.3", "1.0"),
        ("1.0", None, "1.0"),
        ("0.3.0", None, "0.3"),
        ("1.0.99", None, "1.0"),
        (" 1.0 ", None, "1.0"),
        ("01.00", None, "1.0"),
    ],
)
def test_line_is_what_was_asked_for_else_what_the_request_can_only_be(
    requested: str | None, hint: str | None, version: str
) -> None:
    assert negotiate(requested, hint=hint) == version


@pytest.mark.parametrize(
    "requested", ["2.0", "0.2", "1.1", "1", "v1.0", "1.0, 0.3", "1.0.x", "1.0.0.0", "latest", "\u0661.\u0660"]
)
def test_unsupported_version_is_refused_with_those_on_offer(requested: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        negotiate(requested, hint="1.0")

    error = caught.value
    assert error.kind is ErrorKind.VERSION_NOT_SUPPORTED
    assert jsonrpc_error(error, "0.3")["code"] == -32009
    assert error.data == {
        "type": "VERSION_NOT_SUPPORTED",
        "requested_version": requested,
        "supported_protocol_versions": ["0.3", "1.0"],
        "default_protocol_version": "0.3",
    }
    assert error.metadata == {
        "requestedVersion": requested,
        "supportedVersions": "0.3, 1.0",
        "defaultVersion": "0.3",
    }


def test_only_supported_lines_are_negotiated() -> None:
    assert negotiate(None, hint="1.0", supported=["0.3"]) == "0.3"
    assert negotiate(None, hint=None, supported=["1.0"]) == "1.0"
    assert negotiate(None, hint="1.0", supported=["0.3", "1.0"], default="1.0") == "1.0"
    with pytest.raises(ProtocolError, match=r"1\.0; on offer: 0\.3"):
        negotiate("1.0", hint=None, supported=["0.3"])


def test_long_nonsense_is_not_repeated_in_full() -> None:
    with pytest.raises(ProtocolError) as caught:
        negotiate("x" * 10_000, hint=None)

    assert len(str(caught.value)) < 200


@given(st.text(max_size=20) | st.from_regex(r"\d\.\d(\.\d)?", fullmatch=True))
def test_any_version_text_gives_a_line_or_a_refusal(requested: str) -> None:
    asked_for = version_of(requested)

    if asked_for in VERSIONS:
        assert negotiate(requested, hint=None) == asked_for
    elif not requested.strip():
        assert negotiate(requested, hint=None) == "0.3"
    else:
        with pytest.raises(ProtocolError, match="on offer"):
            negotiate(requested, hint=None)


@given(st.integers(0, 10**8), st.integers(0, 10**8), st.none() | st.integers(0, 10**8))
def test_patch_numbers_are_ignored(major: int, minor: int, patch: int | None) -> None:
    text = f"{major}.{minor}" + ("" if patch is None else f".{patch}")

    assert version_of(text) == f"{major}.{minor}"


@pytest.mark.parametrize(
    ("requested", "hint", "version"),
    [("2.0", None, "1.0"), ("0.9", None, "0.3"), ("two", None, "0.3"), (None, None, "0.3"), ("2.0", "0.3", "0.3")],
)
def test_who_asks_for_a_later_version_reads_errors_of_the_newest(
    requested: str | None, hint: str | None, version: str
) -> None:
    assert version_of_errors(requested, hint, "0.3") == version


# --- operations and routes --------------------------------------------------------------------------------


def test_methods_of_both_versions() -> None:
    assert methods_of("0.3") == [
        "message/send",
        "message/stream",
        "tasks/get",
        "tasks/list",
        "tasks/cancel",
        "tasks/resubscribe",
        "tasks/pushNotificationConfig/set",
        "tasks/pushNotificationConfig/get",
        "tasks/pushNotificationConfig/list",
        "tasks/pushNotificationConfig/delete",
        "agent/getAuthenticatedExtendedCard",
    ]
    assert methods_of("1.0") == [
        "SendMessage",
        "SendStreamingMessage",
        "GetTask",
        "ListTasks",
        "CancelTask",
        "SubscribeToTask",
        "CreateTaskPushNotificationConfig",
        "GetTaskPushNotificationConfig",
        "ListTaskPushNotificationConfigs",
        "DeleteTaskPushNotificationConfig",
        "GetExtendedAgentCard",
    ]


@pytest.mark.parametrize("operation", Operation)
def test_method_names_its_operation_and_the_line_that_alone_has_it(operation: Operation) -> None:
    assert operation_of(operation.row.rpc_0_3) == (operation, "0.3")
    assert operation_of(operation.row.rpc_1_0) == (operation, "1.0")


@pytest.mark.parametrize("method", ["", "message/Send", "sendmessage", "tasks/get ", "rpc.discover"])
def test_unknown_method_is_no_operation(method: str) -> None:
    assert operation_of(method) == (None, None)


def test_two_operations_stream() -> None:
    assert {operation for operation in Operation if operation.row.streaming} == {
        Operation.STREAM,
        Operation.SUBSCRIBE,
    }


@pytest.mark.parametrize("operation", Operation)
def test_parameters_may_be_left_out_where_none_are_needed(operation: Operation) -> None:
    optional = operation in (Operation.LIST_TASKS, Operation.EXTENDED_CARD)

    assert operation.rpc_params(None) == ({} if optional else None)
    assert operation.rpc_params({"id": "t"}) == {"id": "t"}
    assert operation.rpc_params([]) == []


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/message:send", Route(operation=Operation.SEND, hint="1.0")),
        ("POST", "/message:stream", Route(operation=Operation.STREAM, hint="1.0")),
        ("GET", "/tasks/t-1", Route(operation=Operation.GET_TASK, hint="1.0", id="t-1")),
        ("POST", "/v1/message:send", Route(operation=Operation.SEND, hint="0.3")),
        ("POST", "/v1/message:stream", Route(operation=Operation.STREAM, hint="0.3")),
        ("GET", "/v1/tasks/t-1", Route(operation=Operation.GET_TASK, hint="0.3", id="t-1")),
        ("POST", "/acme/message:send", Route(operation=Operation.SEND, hint="1.0", tenant="acme")),
        ("GET", "/acme/tasks/t", Route(operation=Operation.GET_TASK, hint="1.0", id="t", tenant="acme")),
        ("GET", "/tasks/t 1/", Route(operation=Operation.GET_TASK, hint="1.0", id="t 1")),
        ("GET", "/tasks/tasks/tasks", Route(operation=Operation.GET_TASK, hint="1.0", id="tasks", tenant="tasks")),
        ("GET", "/tasks", Route(operation=Operation.LIST_TASKS, hint="1.0")),
        ("GET", "/v1/tasks", Route(operation=Operation.LIST_TASKS, hint="0.3")),
        ("GET", "/acme/tasks/", Route(operation=Operation.LIST_TASKS, hint="1.0", tenant="acme")),
        ("GET", "/tasks/tasks", Route(operation=Operation.GET_TASK, hint="1.0", id="tasks")),
        ("POST", "/tasks/t:cancel", Route(operation=Operation.CANCEL, hint="1.0", id="t")),
        ("POST", "/v1/tasks/t:cancel", Route(operation=Operation.CANCEL, hint="0.3", id="t")),
        ("POST", "/tasks/t:subscribe", Route(operation=Operation.SUBSCRIBE, hint="1.0", id="t")),
        ("GET", "/tasks/t:subscribe", Route(operation=Operation.SUBSCRIBE, hint="1.0", id="t")),
        ("POST", "/v1/tasks/t:subscribe", Route(operation=Operation.SUBSCRIBE, hint="0.3", id="t")),
        ("GET", "/v1/tasks/t:subscribe", Route(operation=Operation.SUBSCRIBE, hint="0.3", id="t")),
        ("GET", "/a/tasks/t:subscribe", Route(operation=Operation.SUBSCRIBE, hint="1.0", id="t", tenant="a")),
        ("GET", "/extendedAgentCard", Route(operation=Operation.EXTENDED_CARD, hint="1.0")),
        ("GET", "/acme/extendedAgentCard", Route(operation=Operation.EXTENDED_CARD, hint="1.0", tenant="acme")),
        ("GET", "/v1/extendedAgentCard", Route(operation=Operation.EXTENDED_CARD, hint="0.3")),
        ("GET", "/v1/card", Route(operation=Operation.EXTENDED_CARD, hint="0.3")),
        ("GET", "/agent/authenticatedExtendedCard", Route(operation=Operation.EXTENDED_CARD, hint="0.3")),
    ],
)
def test_path_is_routed(method: str, path: str, expected: Route) -> None:
    assert route(method, path) == expected


@pytest.mark.parametrize(("root", "hint", "tenant"), [("", "1.0", None), ("/v1", "0.3", None), ("/a", "1.0", "a")])
@pytest.mark.parametrize(
    ("method", "config", "operation"),
    [
        ("POST", "", Operation.SET_PUSH_CONFIG),
        ("GET", "", Operation.LIST_PUSH_CONFIGS),
        ("GET", "/c", Operation.GET_PUSH_CONFIG),
        ("DELETE", "/c", Operation.DELETE_PUSH_CONFIG),
        ("GET", "/urn:c", Operation.GET_PUSH_CONFIG),
    ],
)
def test_push_configurations_are_routed(
    root: str, hint: str, tenant: str | None, method: str, config: str, operation: Operation
) -> None:
    found = route(method, f"{root}/tasks/t/pushNotificationConfigs{config}")

    expected = Route(operation=operation, hint=hint, id="t", config_id=config.lstrip("/") or None, tenant=tenant)
    assert found == expected


def test_path_of_the_old_version_with_a_new_version_is_answered_on_the_new_version() -> None:
    found = route("POST", "/v1/message:send")

    assert negotiate("1.0", hint=found.hint) == "1.0"
    assert negotiate(None, hint=found.hint) == "0.3"


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/v1", "/v1/", "/message", "/message:fly", "/v1/acme/message:send"),
        *("/a/b/message:send", "/tasks/a/b/c", "/tasks/a:b", "/v2/v1/message:send", "/v1/v1/tasks/x", "/card"),
        *("/tasks/:cancel", "/tasks/a:fly", "/tasks/a:b:cancel", "/v1/agent/authenticatedExtendedCard"),
        *("/tasks/t/pushNotificationConfigs/c/d", "/tasks/a:b/pushNotificationConfigs", "/v1/card/x"),
    ],
)
def test_unknown_path_is_not_found(path: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        route("GET", path)

    assert caught.value.kind is ErrorKind.NOT_FOUND


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/message:send", "POST"),
        ("PUT", "/v1/message:stream", "POST"),
        ("post", "/message:send", "POST"),
        ("DELETE", "/tasks/t", "GET"),
        ("POST", "/acme/tasks/t", "GET"),
        ("HEAD", "/v1/tasks/t", "GET"),
        ("POST", "/tasks", "GET"),
        ("GET", "/tasks/t:cancel", "POST"),
        ("PUT", "/v1/tasks/t:subscribe", "GET, POST"),
        ("DELETE", "/tasks/t/pushNotificationConfigs", "GET, POST"),
        ("POST", "/tasks/t/pushNotificationConfigs/c", "DELETE, GET"),
        ("POST", "/v1/card", "GET"),
    ],
)
def test_known_path_with_another_method_tells_which_are_allowed(method: str, path: str, allow: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        route(method, path)

    assert caught.value.kind is ErrorKind.METHOD_NOT_ALLOWED
    assert caught.value.kind.row.http == 405
    assert caught.value.metadata == {"allow": allow}


_segments = (
    st.sampled_from(("v1", "tasks", "tasks", "message:send", "message:stream", "", "acme", "a:b", "t:cancel", "card"))
    | st.sampled_from(("t:subscribe", "pushNotificationConfigs", "extendedAgentCard", "agent"))
    | names
)


@given(st.sampled_from(("GET", "POST", "PUT", "DELETE", "")), st.lists(_segments, max_size=6).map("/".join))
def test_any_path_is_routed_or_refused(method: str, path: str) -> None:
    found: Route | ErrorKind
    try:
        found = route(method, path)
    except ProtocolError as error:
        found = error.kind

    if isinstance(found, Route):
        old = path.strip("/").startswith(("v1/", "agent/authenticatedExtendedCard"))
        assert method in {row.method for row in found.operation.row.routes}
        assert found.hint == ("0.3" if old else "1.0")
        assert not any("/" in (value or "") for value in (found.id, found.config_id, found.tenant))
    else:
        assert found in (ErrorKind.NOT_FOUND, ErrorKind.METHOD_NOT_ALLOWED)


# --- parameters over HTTP+JSON ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("operation", [Operation.SEND, Operation.STREAM])
def test_a_send_needs_a_body_and_has_nothing_else(version: str, operation: Operation) -> None:
    found = Route(operation=operation, hint=version)

    assert params_of(found, version, {"metadata": "x"}, b'{"message":{}}') == {"message": {}}
    with pytest.raises(ProtocolError) as caught:
        params_of(found, version, {}, b"")
    assert caught.value.kind is ErrorKind.PARSE_ERROR


@pytest.mark.parametrize("operation", [one for one in Operation if one not in (Operation.SEND, Operation.STREAM)])
def test_an_empty_body_says_nothing(operation: Operation) -> None:
    assert params_of(Route(operation=operation, hint="1.0"), "1.0", {}, b"") == {}


@pytest.mark.parametrize(
    ("version", "operation", "expected"),
    [
        ("0.3", Operation.GET_TASK, {"id": "t"}),
        ("1.0", Operation.GET_TASK, {"id": "t"}),
        ("0.3", Operation.CANCEL, {"id": "t"}),
        ("0.3", Operation.SUBSCRIBE, {"id": "t"}),
        ("0.3", Operation.SET_PUSH_CONFIG, {"taskId": "t"}),
        ("1.0", Operation.SET_PUSH_CONFIG, {"taskId": "t"}),
        ("0.3", Operation.LIST_PUSH_CONFIGS, {"id": "t"}),
        ("1.0", Operation.LIST_PUSH_CONFIGS, {"taskId": "t"}),
    ],
)
def test_the_id_in_the_path_has_the_name_its_parser_looks_for(
    version: str, operation: Operation, expected: dict[str, str]
) -> None:
    assert params_of(Route(operation=operation, hint=version, id="t"), version, {}, b"") == expected


@pytest.mark.parametrize("operation", [Operation.GET_PUSH_CONFIG, Operation.DELETE_PUSH_CONFIG])
def test_a_push_configuration_in_the_path_has_two_ids(operation: Operation) -> None:
    found = Route(operation=operation, hint="1.0", id="t", config_id="c")

    assert params_of(found, "1.0", {}, b"") == {"taskId": "t", "id": "c"}
    assert params_of(found, "0.3", {}, b"") == {"id": "t", "pushNotificationConfigId": "c"}


def test_the_path_goes_before_the_body_and_the_body_before_the_query() -> None:
    found = Route(operation=Operation.SUBSCRIBE, hint="1.0", id="path", tenant="acme")

    params = params_of(found, "1.0", {"id": "query", "metadata": "q", "more": "q"}, b'{"id":"body","metadata":{}}')

    assert params == {"id": "path", "metadata": {}, "more": "q", "tenant": "acme"}


def test_the_query_of_what_has_a_body_says_nothing() -> None:
    found = Route(operation=Operation.SET_PUSH_CONFIG, hint="1.0", id="t")

    assert params_of(found, "1.0", {"token": "in-the-log"}, b'{"url":"u"}') == {"taskId": "t", "url": "u"}


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'"x"'])
def test_a_body_that_is_no_object_is_left_to_the_parser(body: bytes) -> None:
    found = Route(operation=Operation.CANCEL, hint="1.0", id="t")

    assert params_of(found, "1.0", {}, body) == orjson.loads(body)


def test_a_body_that_is_no_json_is_a_parse_error() -> None:
    with pytest.raises(ProtocolError) as caught:
        params_of(Route(operation=Operation.CANCEL, hint="1.0", id="t"), "1.0", {}, b"{")

    assert caught.value.kind is ErrorKind.PARSE_ERROR


# --- JSON-RPC ---------------------------------------------------------------------------------------------


def fault_of(body: bytes) -> RpcRequestError:
    with pytest.raises(RpcRequestError) as caught:
        parse_request(body)
    return caught.value


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"jsonrpc":"2.0",}', b"\xff", b'"\\ud800"', b"[" * 2000, b"NaN"]
)
def test_what_is_no_json_is_a_parse_error(body: bytes) -> None:
    fault = fault_of(body)

    assert fault.kind is ErrorKind.PARSE_ERROR
    assert fault.request_id is None


@pytest.mark.parametrize("body", [b"[]", b'[{"jsonrpc":"2.0","id":1,"method":"GetTask"}]'])
def test_batch_is_refused_and_says_why(body: bytes) -> None:
    fault = fault_of(body)

    assert fault.kind is ErrorKind.INVALID_REQUEST
    assert "batches are not part of A2A" in fault.message


@pytest.mark.parametrize(
    ("value", "field", "request_id"),
    [
        ("text", (), None),
        (5, (), None),
        (None, (), None),
        ({"method": "m", "id": 1}, ("jsonrpc",), 1),
        ({"jsonrpc": "1.0", "method": "m", "id": "a"}, ("jsonrpc",), "a"),
        ({"jsonrpc": 2.0, "method": "m"}, ("jsonrpc",), None),
        ({"jsonrpc": "2.0", "id": 1.5}, ("method",), 1.5),
        ({"jsonrpc": "2.0", "id": 1, "method": ""}, ("method",), 1),
        ({"jsonrpc": "2.0", "id": 1, "method": 5}, ("method",), 1),
        ({"jsonrpc": "2.0", "id": True, "method": "m"}, ("id",), None),
        ({"jsonrpc": "2.0", "id": {}, "method": "m"}, ("id",), None),
        ({"jsonrpc": "2.0", "id": [1], "method": "m"}, ("id",), None),
    ],
)
def test_invalid_request_names_the_member_and_keeps_the_id(
    value: object, field: tuple[str, ...], request_id: object
) -> None:
    fault = fault_of(orjson.dumps(value))

    assert fault.kind is ErrorKind.INVALID_REQUEST
    assert fault.request_id == request_id
    assert fault.data[0]["loc"] == list(field)
    assert all(name in fault.message for name in field)


@pytest.mark.parametrize("request_id", ["a", "", 0, -1, 2**53, 2**64 - 1, -(2**63), 1.5, None])
def test_id_comes_back_as_it_was(request_id: str | float | None) -> None:
    body = orjson.dumps({"jsonrpc": "2.0", "id": request_id, "method": "GetTask", "params": {"id": "t"}})

    request = parse_request(body)

    assert request == RpcRequest(method="GetTask", params={"id": "t"}, id=request_id)
    answer = orjson.loads(render_result(request.id, {"a": 1}))
    assert answer == {"jsonrpc": "2.0", "id": request_id, "result": {"a": 1}}
    assert type(answer["id"]) is type(request_id)


@pytest.mark.parametrize("text", [str(2**64), str(-(2**63) - 1), "1e300", "-1e16", f"{2**53}.5", "1" * 200])
def test_a_number_that_would_come_back_as_another_is_refused_as_an_id(text: str) -> None:
    with pytest.raises(RpcRequestError, match="64 bits") as caught:
        parse_request(b'{"jsonrpc":"2.0","id":%b,"method":"GetTask"}' % text.encode())

    assert (caught.value.kind, caught.value.request_id) == (ErrorKind.INVALID_REQUEST, None)


def test_request_without_an_id_is_a_notification() -> None:
    assert parse_request(b'{"jsonrpc":"2.0","method":"m"}').notification
    assert not parse_request(b'{"jsonrpc":"2.0","method":"m","id":null}').notification


def test_result_can_be_framed_around_json_made_elsewhere() -> None:
    framed = result_prefix("a") + b'{"b":1}' + RESULT_SUFFIX

    assert framed == render_result("a", {"b": 1})


def test_unknown_method_tells_those_of_version_0_3() -> None:
    answer = orjson.loads(render_error(7, method_not_found("tasks/fly", "0.3"), "0.3"))

    assert answer == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {
            "code": -32601,
            "message": "Unsupported method: tasks/fly",
            "data": {
                "type": "METHOD_NOT_SUPPORTED",
                "method": "tasks/fly",
                "supported_methods": methods_of("0.3"),
                "protocol_version": "0.3",
            },
        },
    }


def test_unknown_method_tells_those_of_version_1_0() -> None:
    answer = orjson.loads(render_error(None, method_not_found("Fly", "1.0"), "1.0"))

    assert answer == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {
            "code": -32601,
            "message": "Method not found",
            "data": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "METHOD_NOT_FOUND",
                    "domain": "a2a-protocol.org",
                    "metadata": {"method": "Fly", "protocolVersion": "1.0"},
                },
                {
                    "@type": "type.googleapis.com/google.protobuf.Struct",
                    "value": {"method": "Fly", "supportedMethods": methods_of("1.0"), "protocolVersion": "1.0"},
                },
            ],
        },
    }


@given(st.binary(max_size=40) | json_values.map(orjson.dumps))
def test_any_body_is_a_request_or_a_fault_that_can_be_answered(body: bytes) -> None:
    try:
        request = parse_request(body)
    except RpcRequestError as fault:
        for version in VERSIONS:
            answer = orjson.loads(render_error(fault.request_id, fault, version))
            assert answer["error"]["code"] in (-32700, -32600)
    else:
        assert request.method


@given(method=names, params=json_values, request_id=st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=5))
def test_every_request_is_read(method: str, params: Any, request_id: str | int | None) -> None:
    body = orjson.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params, "more": 1})

    assert parse_request(body) == RpcRequest(method=method, params=params, id=request_id)
