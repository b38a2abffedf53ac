"""The table of methods: every row is whole, and its errors take the shapes of both versions and bindings."""

from __future__ import annotations

import json

import jsonschema
import pytest

from opencode_a2a.config.settings_values import credentials
from sansio.a2a.errors import ProtocolError, http_error, jsonrpc_error
from sansio.extensions.methods.method_errors import (
    ExtensionErrorKind,
    disabled,
    forbidden,
    interrupt_error,
    payload_error,
    session_not_found,
    upstream_error,
)
from sansio.extensions.methods.method_rows import MethodExtension, MethodRow, Ownership, Scope, Toggle
from sansio.extensions.methods.method_table import METHODS, methods_on_offer, row_of, supported
from sansio.extensions.methods.types import result_schema
from sansio.opencode.upstream.faults import PAYLOAD, TIMEOUT, UNREACHABLE, TaskFailure, failure_of_status
from tests.paths import FIXTURES

ROWS = pytest.mark.parametrize("row", METHODS.values(), ids=METHODS)
RECORDED = FIXTURES / "methods"


@ROWS
def test_a_row_is_whole(row: MethodRow) -> None:
    assert row.about.endswith(".")
    assert all(parameter.about.endswith(".") for parameter in row.parameters)
    assert len({path for one in row.parameters for path in one.paths}) == sum(len(p.paths) for p in row.parameters)
    assert (row.call is None) == (row.project is None) == (row.scope is Scope.LOCAL)
    assert (row.toggle is None) == (row.capability is None)
    names = {parameter.name for parameter in row.parameters}
    assert ("session_id" in names) == (row.ownership in (Ownership.READS, Ownership.CLAIMS))


@ROWS
def test_the_schema_of_a_result_is_a_schema(row: MethodRow) -> None:
    for version in row.versions:
        jsonschema.Draft202012Validator.check_schema(result_schema(row, version))


def test_every_method_that_was_recorded_has_a_row() -> None:
    recorded = {json.loads(path.read_text())["method"] for path in RECORDED.glob("*.json")}

    assert recorded <= set(METHODS)


def test_short_names_are_unique_within_an_extension() -> None:
    for extension in MethodExtension:
        keys = [row.key for row in METHODS.values() if row.extension is extension]

        assert len(keys) == len(set(keys)) > 0


def test_a_basic_login_may_call_every_method_that_needs_a_capability() -> None:
    [credential] = credentials('[{"scheme": "basic", "username": "ada", "password": "p"}]').credentials

    assert credential.capabilities == {row.capability for row in METHODS.values() if row.capability is not None}


def test_what_is_switched_on_is_on_offer() -> None:
    shell = "opencode.sessions.shell"

    assert shell not in methods_on_offer("0.3", ())
    assert shell in methods_on_offer("0.3", [Toggle.SESSION_SHELL])
    assert row_of(shell, "1.0", [Toggle.SESSION_SHELL]).name == shell
    assert supported("1.0", list(Toggle))[-len(METHODS) :] == list(METHODS)


@pytest.mark.parametrize("version", ["0.3", "1.0"])
def test_a_method_that_is_off_and_one_that_is_unknown_name_all_others(version: str) -> None:
    name = "supported_methods" if version == "0.3" else "supportedMethods"
    for method in ("opencode.sessions.shell", "opencode.fly"):
        with pytest.raises(ProtocolError) as caught:
            row_of(method, version, ())

        error = jsonrpc_error(caught.value, version)
        assert error["code"] == -32601
        data = error["data"] if version == "0.3" else error["data"][1]["value"]
        assert data[name] == supported(version, ())


# --- errors -----------------------------------------------------------------------------------------------


def test_an_error_of_an_extension_has_its_own_code_and_type_on_version_0_3() -> None:
    error = interrupt_error(ExtensionErrorKind.INTERRUPT_TYPE_MISMATCH, "per_1", expected="question", actual="x")

    told = {
        "type": "INTERRUPT_TYPE_MISMATCH",
        "request_id": "per_1",
        "expected_interrupt_type": "question",
        "actual_interrupt_type": "x",
    }
    assert jsonrpc_error(error, "0.3") == {
        "code": -32008,
        "message": "Interrupt callback type mismatch",
        "data": told,
    }
    assert http_error(error, "0.3") == (
        400,
        {"code": -32008, "message": "Interrupt callback type mismatch", **told},
    )


def test_an_error_of_an_extension_is_an_error_info_on_version_1_0() -> None:
    error = forbidden("opencode.sessions.shell", "session_shell", None)

    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "AUTHORIZATION_FORBIDDEN",
        "domain": "opencode-a2a",
        "metadata": {"method": "opencode.sessions.shell", "capability": "session_shell"},
    }
    assert jsonrpc_error(error, "1.0") == {"code": -32007, "message": "Authorization forbidden", "data": [info]}
    assert http_error(error, "1.0") == (
        403,
        {
            "error": {
                "code": 403,
                "status": "PERMISSION_DENIED",
                "message": "Authorization forbidden",
                "details": [info],
            }
        },
    )


def test_numbers_in_an_error_are_texts_on_version_1_0() -> None:
    error = upstream_error(failure_of_status(500, ""), "opencode.sessions.share", "ses_1")

    assert jsonrpc_error(error, "0.3")["data"]["upstream_status"] == 500
    assert jsonrpc_error(error, "1.0")["data"][0]["metadata"]["upstreamStatus"] == "500"


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (TaskFailure(text="x", type=UNREACHABLE), "UPSTREAM_UNREACHABLE"),
        (TaskFailure(text="x", type=TIMEOUT), "UPSTREAM_UNREACHABLE"),
        (TaskFailure(text="x", type="UPSTREAM_BACKPRESSURE"), "UPSTREAM_UNREACHABLE"),
        (TaskFailure(text="x", type=PAYLOAD), "UPSTREAM_PAYLOAD_ERROR"),
        (failure_of_status(401, ""), "UPSTREAM_HTTP_ERROR"),
        (failure_of_status(404, '{"data":{"message":"Session not found: ses_1"}}'), "SESSION_NOT_FOUND"),
        (failure_of_status(404, '{"data":{"message":"Message not found: msg_1"}}'), "UPSTREAM_HTTP_ERROR"),
    ],
)
def test_a_failure_of_opencode_has_a_type(failure: TaskFailure, kind: str) -> None:
    assert upstream_error(failure, "opencode.sessions.get", "ses_1").reason == kind


def test_what_is_missing_is_no_session_where_none_was_named() -> None:
    error = upstream_error(failure_of_status(404, ""), "opencode.projects.list")

    assert error.data == {"type": "UPSTREAM_HTTP_ERROR", "upstream_status": 404, "method": "opencode.projects.list"}


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ('{"name":"X","data":{"message":"no git"}}', "no git"),
        ('{"_tag":"SessionBusyError","message":"busy"}', "busy"),
        ("Workspace not found: wrk_1", "Workspace not found: wrk_1"),
        ("<html>secrets", None),
        ('{"cut off', None),
        ("[1]", None),
    ],
)
def test_the_sentence_of_an_answer_is_its_detail(answer: str, detail: str | None) -> None:
    error = upstream_error(failure_of_status(400, answer), "opencode.projects.list")

    assert error.data.get("detail") == detail


def test_every_kind_is_rendered_on_both_versions() -> None:
    made = [
        session_not_found("ses_1"),
        payload_error("x", "opencode.projects.list"),
        disabled("opencode.sessions.shell", "A2A_ENABLE_SESSION_SHELL", "0.3", ["a"]),
    ]
    for error in made:
        assert jsonrpc_error(error, "0.3")["data"]["type"] == error.reason
    for kind in ExtensionErrorKind:
        assert kind.row.when.endswith(".")
        assert -32699 <= kind.row.code <= -32001
