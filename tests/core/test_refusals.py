"""One error names all fields that are wrong, wherever a request is read field by field."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from sansio.a2a.errors import MOST_VIOLATIONS, ErrorKind, ProtocolError, invalid
from sansio.a2a.message_checks import check_message
from sansio.a2a.model import (
    DataPart,
    JsonObject,
    Message,
    PushAuthentication,
    PushConfig,
    Role,
    SendRequest,
    TextPart,
)
from sansio.a2a.refusals import Refusals
from sansio.a2a.tasks.push_notifications import check_headers
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.parameters import read
from sansio.opencode.interrupts.replies import understand
from sansio.opencode.send_options import send_options_of
from sansio.opencode.upstream.events import InterruptAsked
from sansio.opencode.upstream.requests import Location

MESSAGE = Message(message_id="m", role=Role.USER, parts=(TextPart(text="x"),))


def refusal(call: Callable[[], object]) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        call()
    assert caught.value.kind is ErrorKind.INVALID_PARAMS
    return caught.value


def fields(call: Callable[[], object]) -> list[str]:
    return [violation.field for violation in refusal(call).violations]


def fail(error: ProtocolError) -> None:
    raise error


# --- collecting -------------------------------------------------------------------------------------------


def test_nothing_wrong_is_no_error() -> None:
    refusals = Refusals()

    assert refusals.attempt(str, 5) == "5"
    refusals.done()


def test_one_error_is_raised_as_it_is() -> None:
    refusals, error = Refusals(), invalid(("a",), "is wrong")
    refusals.attempt(fail, error)
    refusals.attempt(fail, invalid(("a",), "is wrong"))

    assert refusal(refusals.done) is error


def test_several_errors_are_one_and_name_every_field_in_their_order() -> None:
    refusals, first = Refusals(), invalid(("b",), "is wrong")
    first.data = {"type": "INVALID_FIELD", "field": "b"}
    refusals.add(first)
    refusals.add(invalid(("a", 0), "is odd"))
    error = refusal(refusals.done)

    assert error.message == "b: is wrong; a[0]: is odd"
    assert [violation.field for violation in error.violations] == ["b", "a[0]"]
    assert error.data == {"type": "INVALID_FIELD", "field": "b", "fields": ["b", "a[0]"]}


def test_an_error_of_another_kind_is_not_kept() -> None:
    refusals = Refusals()
    refusals.add(invalid(("a",), "is wrong"))
    with pytest.raises(ProtocolError) as caught:
        refusals.attempt(fail, ProtocolError(ErrorKind.TASK_NOT_FOUND))

    assert caught.value.kind is ErrorKind.TASK_NOT_FOUND


def test_reading_stops_where_an_error_lists_no_more() -> None:
    refusals, calls = Refusals(), 0

    def read_all() -> None:
        nonlocal calls
        for index in range(10 * MOST_VIOLATIONS):
            calls += 1
            refusals.add(invalid((index,), "is wrong"))

    violations = refusal(read_all).violations

    assert calls == MOST_VIOLATIONS + 1
    assert [violation.type for violation in violations[-2:]] == ["value_error", "and_more"]
    assert len(violations) == MOST_VIOLATIONS + 1


# --- where requests are read field by field ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"limit": 0, "x": 1}, ["x", "limit"]),
        ({"limit": 0, "directory": 5, "query": {"search": 5, "y": 1}}, ["query.y", "directory", "limit"]),
        ({"limit": 0, "metadata": {"opencode": 5}}, ["limit", "metadata.opencode"]),
    ],
)
def test_all_wrong_parameters_of_a_method_are_named(params: JsonObject, named: list[str]) -> None:
    row = METHODS["opencode.sessions.list"]

    error = refusal(lambda: read(row.parameters, params, row.unsupported))

    assert set(named) <= {violation.field for violation in error.violations}
    assert error.violations[0].field == named[0]
    assert set(named) <= set(error.data["fields"])


def test_all_that_is_wrong_inside_a_parameter_is_named() -> None:
    parts = [{"type": "text", "x": 1, "y": 1}, {"type": "odd"}, {"type": "file", "url": "file:///x"}]
    row = METHODS["opencode.sessions.prompt_async"]
    request = {"parts": parts, "tools": {"a": "no", "b": "no"}, "model": {}}

    error = refusal(lambda: read(row.parameters, {"request": request}))

    assert {violation.field for violation in error.violations} == {
        "session_id",
        "request.parts[0].text",
        "request.parts[0].x",
        "request.parts[0].y",
        "request.parts[1].type",
        "request.parts[2].mime",
        "request.parts[2].url",
        "request.model.providerID",
        "request.model.modelID",
        "request.tools.a",
        "request.tools.b",
    }


def test_all_wrong_options_of_a_message_are_named() -> None:
    metadata = {
        "shared": {"session": {"id": "../x"}, "model": {"providerID": 5, "modelID": ""}},
        "opencode": {"directory": "", "workspace": {"id": 5}, "instance": "x" * 65},
    }

    assert fields(lambda: send_options_of(SendRequest(message=MESSAGE, metadata=metadata), ())) == [
        "metadata.shared.session.id",
        "metadata.shared.model.providerID",
        "metadata.shared.model.modelID",
        "metadata.opencode.directory",
        "metadata.opencode.workspace.id",
        "metadata.opencode.instance",
    ]


def test_a_wrong_role_and_wrong_ids_of_a_message_are_named_together() -> None:
    message = evolve(MESSAGE, role=Role.AGENT, context_id="\0", task_id="x" * 300)

    assert fields(lambda: check_message(message)) == ["message.role", "message.contextId", "message.taskId"]


def test_all_headers_that_cannot_be_sent_are_named() -> None:
    authentication = PushAuthentication(scheme="a b", credentials="\n")
    config = PushConfig(url="https://e", token="\n", authentication=authentication)

    assert fields(lambda: check_headers(config, ("push",), "0.3")) == [
        "push.token",
        "push.authentication.schemes[0]",
        "push.authentication.credentials",
    ]


@pytest.mark.parametrize(
    ("kind", "data", "named"),
    [
        ("permission", {"reply": 5, "message": 5}, ["reply", "message"]),
        ("question", {"answers": [5, ["a"], [5]]}, ["answers[0]", "answers[2]"]),
    ],
)
def test_all_that_is_wrong_with_a_reply_is_named(kind: str, data: JsonObject, named: list[str]) -> None:
    asked = InterruptAsked(session_id="ses", kind=kind, request_id="r", body={"questions": []})
    message = evolve(MESSAGE, parts=(DataPart(data=data),))

    assert fields(lambda: understand(asked, message, Location())) == [f"message.parts[0].{name}" for name in named]
