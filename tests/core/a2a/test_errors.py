"""Every error: its numbers, and its shape on both versions and both bindings."""

from __future__ import annotations

from collections import Counter

import pytest

from sansio.a2a.errors import (
    A2AError,
    ErrorKind,
    LocalError,
    ProtocolError,
    Violation,
    details,
    http_error,
    invalid,
    jsonrpc_error,
)

SPECIFIED = {
    "PARSE_ERROR": (-32700, 400, "INVALID_ARGUMENT"),
    "INVALID_REQUEST": (-32600, 400, "INVALID_ARGUMENT"),
    "METHOD_NOT_FOUND": (-32601, 404, "UNIMPLEMENTED"),
    "INVALID_PARAMS": (-32602, 400, "INVALID_ARGUMENT"),
    "INTERNAL_ERROR": (-32603, 500, "INTERNAL"),
    "TASK_NOT_FOUND": (-32001, 404, "NOT_FOUND"),
    "TASK_NOT_CANCELABLE": (-32002, 400, "FAILED_PRECONDITION"),
    "PUSH_NOTIFICATION_NOT_SUPPORTED": (-32003, 400, "FAILED_PRECONDITION"),
    "UNSUPPORTED_OPERATION": (-32004, 400, "FAILED_PRECONDITION"),
    "CONTENT_TYPE_NOT_SUPPORTED": (-32005, 400, "INVALID_ARGUMENT"),
    "INVALID_AGENT_RESPONSE": (-32006, 500, "INTERNAL"),
    "EXTENDED_AGENT_CARD_NOT_CONFIGURED": (-32007, 400, "FAILED_PRECONDITION"),
    "EXTENSION_SUPPORT_REQUIRED": (-32008, 400, "FAILED_PRECONDITION"),
    "VERSION_NOT_SUPPORTED": (-32009, 400, "FAILED_PRECONDITION"),
}

GRPC_STATUSES = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "UNIMPLEMENTED",
    "INTERNAL",
    "FAILED_PRECONDITION",
    "UNAUTHENTICATED",
    "OUT_OF_RANGE",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
}

kinds = pytest.mark.parametrize("kind", ErrorKind, ids=lambda kind: kind.name)


@pytest.mark.parametrize("name", SPECIFIED)
def test_errors_of_the_specifications_have_their_numbers(name: str) -> None:
    row = ErrorKind[name].row

    assert (row.code, row.http, row.grpc) == SPECIFIED[name]


@kinds
def test_the_old_version_keeps_its_statuses(kind: ErrorKind) -> None:
    kept = {"TASK_NOT_CANCELABLE": 409, "CONTENT_TYPE_NOT_SUPPORTED": 415, "INVALID_AGENT_RESPONSE": 502}

    assert kind.row.status("0.3") == kept.get(kind.name, kind.row.http)
    assert kind.row.status("1.0") == kind.row.http


def test_codes_of_the_specifications_mean_one_error_each() -> None:
    counted = Counter(ErrorKind[name].row.code for name in SPECIFIED)

    assert set(counted.values()) == {1}


def test_no_row_hides_another() -> None:
    assert len(ErrorKind.__members__) == len(list(ErrorKind))


@kinds
def test_row_is_complete(kind: ErrorKind) -> None:
    row = kind.row

    assert -32768 <= row.code <= -32000
    assert 400 <= row.http < 600
    assert row.grpc in GRPC_STATUSES
    assert row.message
    assert row.specific is (kind.name in SPECIFIED and -32099 <= row.code <= -32001)


def test_an_error_that_is_kept_does_not_keep_the_frames_that_raised_it() -> None:
    try:
        try:
            raise ValueError
        except ValueError as cause:
            raise ProtocolError(ErrorKind.TASK_NOT_FOUND, "gone") from cause
    except ProtocolError as error:
        kept = error.kept()

    assert (kept.message, kept.__traceback__, kept.__context__, kept.__cause__) == ("gone", None, None, None)


with_flat_bodies = pytest.mark.parametrize(
    "kind", [kind for kind in ErrorKind if kind is not ErrorKind.UNAUTHENTICATED], ids=lambda kind: kind.name
)


@with_flat_bodies
def test_error_has_its_shape_on_version_0_3(kind: ErrorKind) -> None:
    error = ProtocolError(kind, "what", data={"type": "X"})

    assert jsonrpc_error(error, "0.3") == {"code": kind.row.code, "message": "what", "data": {"type": "X"}}
    name = "error" if kind is ErrorKind.VERSION_NOT_SUPPORTED else "message"
    assert http_error(error, "0.3") == (kind.row.status("0.3"), {"code": kind.row.code, name: "what", "type": "X"})


@with_flat_bodies
def test_flat_body_names_the_error_as_official_clients_do(kind: ErrorKind) -> None:
    _, body = http_error(ProtocolError(kind), "0.3")

    assert body["type"] == kind.row.name
    assert body["type"].endswith("Error")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ErrorKind.TASK_NOT_FOUND, "TaskNotFoundError"),
        (ErrorKind.TASK_NOT_CANCELABLE, "TaskNotCancelableError"),
        (ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED, "PushNotificationNotSupportedError"),
        (ErrorKind.UNSUPPORTED_OPERATION, "UnsupportedOperationError"),
        (ErrorKind.CONTENT_TYPE_NOT_SUPPORTED, "ContentTypeNotSupportedError"),
        (ErrorKind.INVALID_AGENT_RESPONSE, "InvalidAgentResponseError"),
        (ErrorKind.EXTENDED_AGENT_CARD_NOT_CONFIGURED, "AuthenticatedExtendedCardNotConfiguredError"),
        (ErrorKind.INVALID_PARAMS, "InvalidParamsError"),
        (ErrorKind.INTERNAL_ERROR, "InternalError"),
        (ErrorKind.METHOD_NOT_FOUND, "MethodNotFoundError"),
    ],
)
def test_official_clients_find_the_names_of_their_error_classes(kind: ErrorKind, name: str) -> None:
    assert kind.row.name == name


def test_who_is_unknown_on_version_0_3_is_told_nothing_else() -> None:
    assert http_error(ProtocolError(ErrorKind.UNAUTHENTICATED), "0.3") == (401, {"error": "Unauthorized"})


@kinds
def test_error_has_its_shape_on_version_1_0(kind: ErrorKind) -> None:
    error = ProtocolError(kind, "what", metadata={"a": "b"})
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": kind.name,
        "domain": "a2a-protocol.org",
        "metadata": {"a": "b"},
    }

    assert jsonrpc_error(error, "1.0") == {"code": kind.row.code, "message": "what", "data": [info]}
    assert http_error(error, "1.0") == (
        kind.row.http,
        {"error": {"code": kind.row.http, "status": kind.row.grpc, "message": "what", "details": [info]}},
    )


def test_error_without_words_of_its_own_says_what_its_row_says() -> None:
    error = ProtocolError(ErrorKind.TASK_NOT_FOUND)

    assert str(error) == error.message == "Task not found"
    assert jsonrpc_error(error, "0.3") == {"code": -32001, "message": "Task not found"}
    assert http_error(error, "0.3") == (
        404,
        {"code": -32001, "message": "Task not found", "type": "TaskNotFoundError"},
    )


def test_data_that_is_no_object_is_left_out_of_the_flat_body() -> None:
    error = ProtocolError(ErrorKind.INVALID_REQUEST, "no", data=[{"type": "x"}])

    assert http_error(error, "0.3") == (400, {"code": -32600, "message": "no", "type": "InvalidRequestError"})


def test_wrong_field_is_located_on_version_0_3() -> None:
    error = invalid(("message", "parts", 0, "text"), "must be a string", "string_type")
    located = {"type": "string_type", "msg": "must be a string"}

    assert str(error) == "message.parts[0].text: must be a string"
    assert jsonrpc_error(error, "0.3") == {
        "code": -32602,
        "message": "Invalid parameters",
        "data": [{**located, "loc": ["params", "message", "parts", 0, "text"]}],
    }
    assert http_error(error, "0.3") == (
        400,
        {
            "code": -32602,
            "message": "message.parts[0].text: must be a string",
            "type": "INVALID_PARAMS",
            "data": [{**located, "loc": ["message", "parts", 0, "text"]}],
        },
    )


def test_wrong_fields_are_a_bad_request_on_version_1_0() -> None:
    wrong = (Violation(("id",), "missing", "is required"), Violation(("a", 1, "b"), "x", "no"))
    error = ProtocolError(ErrorKind.INVALID_PARAMS, violations=wrong)

    bad_request = {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [
            {"field": "id", "description": "is required"},
            {"field": "a[1].b", "description": "no"},
        ],
    }
    told, info = details(error)
    assert told == bad_request
    assert info["reason"] == "INVALID_PARAMS"  # over HTTP, all that tells it from other answers of its status
    assert jsonrpc_error(error, "1.0")["data"] == http_error(error, "1.0")[1]["error"]["details"] == [told, info]


def test_wrong_field_behind_an_error_of_a2a_itself_is_told_beside_it() -> None:
    wrong = (Violation(("message", "parts", 0), "value_error", "no"),)
    error = ProtocolError(ErrorKind.CONTENT_TYPE_NOT_SUPPORTED, violations=wrong)

    info, bad_request = details(error)

    assert (info["reason"], info["domain"]) == ("CONTENT_TYPE_NOT_SUPPORTED", "a2a-protocol.org")
    assert bad_request["fieldViolations"] == [{"field": "message.parts[0]", "description": "no"}]


def test_data_meant_for_version_1_0_is_a_detail_more() -> None:
    error = ProtocolError(ErrorKind.METHOD_NOT_FOUND, data={"old": 1}, data_v1={"new": 1})

    info, more = jsonrpc_error(error, "1.0")["data"]
    assert info["reason"] == "METHOD_NOT_FOUND"
    assert more == {"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"new": 1}}
    assert jsonrpc_error(error, "0.3")["data"] == {"old": 1}


def test_their_faults_and_ours_have_one_root() -> None:
    assert issubclass(ProtocolError, A2AError)
    assert issubclass(LocalError, A2AError)
    assert not issubclass(LocalError, ProtocolError)
