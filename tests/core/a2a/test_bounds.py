"""Whatever a caller sends, the error about it is small, and to find it takes bounded work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.bindings.json_input import MOST_VALUES, decoded, values_in
from sansio.a2a.bindings.jsonrpc import (
    LONGEST_ID,
    RpcRequestError,
    method_not_found,
    parse_request,
    render_error,
)
from sansio.a2a.bindings.rest import route
from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.fields import MOST_ITEMS
from sansio.a2a.errors import (
    LONGEST_ECHO,
    ErrorKind,
    ProtocolError,
    Violation,
    http_error,
    jsonrpc_error,
)
from sansio.a2a.model import Artifact, Task, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log_codec import decode_task, encode_task
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.parameters import read
from tests.strategies import json_values

LARGEST_ERROR = 65536  # bytes of all shapes together
MANY = 5000
CODECS: tuple[ModuleType, ...] = (v0_3, v0_3_gateway, v1_0)
LISTS = ("parts", "extensions", "referenceTaskIds")

codecs = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.NAME)


class Counted(list[Any]):
    """A list that counts how many of its elements were looked at."""

    seen = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self.seen += 1
            yield item


def refusal(call: Callable[[], object]) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        call()
    return caught.value


def refused(call: Callable[[], object]) -> ProtocolError | None:
    """The refusal, if it is one."""
    try:
        call()
    except ProtocolError as error:
        return error
    return None


def size_of(error: ProtocolError) -> int:
    shapes = [[jsonrpc_error(error, version), http_error(error, version)] for version in ("0.3", "1.0")]
    return len(orjson.dumps(shapes))


def a_send(codec: ModuleType, **message: Any) -> dict[str, Any]:
    old = codec is not v1_0
    part = {"kind": "text", "text": "hi"} if old else {"text": "hi"}
    role = "user" if old else "ROLE_USER"
    return {"message": {"messageId": "m", "role": role, "parts": [part], **message}}


@codecs
@pytest.mark.parametrize("name", LISTS)
def test_many_wrong_elements_are_not_all_told(codec: ModuleType, name: str) -> None:
    error = refusal(lambda: codec.parse_send(a_send(codec, **{name: [5] * 900})))

    assert len(error.violations) == 21
    assert error.violations[0].field == f"message.{name}[0]"
    assert "and more" in error.message
    assert size_of(error) < LARGEST_ERROR


@codecs
@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_too_many_elements_is_refused_unread(codec: ModuleType, name: str) -> None:
    items = Counted([5] * (MOST_ITEMS + 1))
    # the depth of all lists is looked at once: then each is iterated over by that alone
    error = refusal(lambda: codec.parse_send(a_send(codec, **{name: items})))

    assert [violation.field for violation in error.violations] == [f"message.{name}"]
    assert f"at most {MOST_ITEMS}" in error.message
    assert items.seen <= len(items)


@codecs
def test_a_list_as_long_as_allowed_is_taken(codec: ModuleType) -> None:
    request = codec.parse_send(a_send(codec, extensions=["urn:x"] * MOST_ITEMS))

    assert len(request.message.extensions) == MOST_ITEMS


def test_what_the_store_holds_may_have_longer_lists() -> None:
    parts = tuple(TextPart(text="x") for _ in range(MOST_ITEMS + 1))
    artifact = Artifact(artifact_id="a", parts=parts)
    task = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.COMPLETED), artifacts=(artifact,))

    assert decode_task(encode_task(task)) == task


@given(codec=st.sampled_from(CODECS), name=st.sampled_from((*LISTS, "metadata", "role", "taskId")), item=json_values)
def test_the_error_about_any_message_is_small(codec: ModuleType, name: str, item: Any) -> None:
    for value in (item, [item] * MANY, {f"{item}{i}"[:20000]: item for i in range(MANY)}, f"{item}" * MANY):
        error = refused(partial(codec.parse_send, a_send(codec, **{name: value})))
        assert error is None or size_of(error) < LARGEST_ERROR


@given(
    method=st.sampled_from(sorted(METHODS)),
    name=st.sampled_from(("x", "session_id", "request", "query", "limit", "answers", "reply", "metadata")),
    item=json_values,
)
def test_the_error_about_any_parameters_is_small(method: str, name: str, item: Any) -> None:
    row = METHODS[method]
    long = "x" * MANY
    values = (item, [item] * MANY, {f"{long}{i}": item for i in range(50)}, {"parts": [item] * MANY}, long)
    for params in (*({name: value} for value in values), {f"{long}{i}": item for i in range(200)}):
        error = refused(partial(read, row.parameters, params, row.unsupported))
        assert error is None or len(error.violations) <= 21
        assert error is None or size_of(error) < LARGEST_ERROR


@pytest.mark.parametrize("version", ["0.3", "1.0"])
def test_a_long_method_name_is_shortened(version: str) -> None:
    error = method_not_found("m" * 1_000_000, version)

    assert "m" * 100 in orjson.dumps(jsonrpc_error(error, version)).decode()
    assert "m" * (LONGEST_ECHO + 1) not in orjson.dumps(jsonrpc_error(error, version)).decode()
    assert size_of(error) < LARGEST_ERROR


def test_a_long_http_method_is_shortened() -> None:
    error = refusal(lambda: route("M" * 10_000, "/message:send"))

    assert len(error.message) < 2 * LONGEST_ECHO


def test_a_long_request_id_is_refused_and_not_repeated() -> None:
    body = orjson.dumps({"jsonrpc": "2.0", "id": "i" * (LONGEST_ID + 1), "method": "GetTask"})
    with pytest.raises(RpcRequestError) as caught:
        parse_request(body)

    assert caught.value.request_id is None
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert len(render_error(None, caught.value, "1.0")) < 1000


def test_names_in_a_path_are_shortened() -> None:
    violation = Violation(("a" * 10_000, 3, "b" * 10_000, *("c" for _ in range(500))), "x", "no")

    assert len(violation.field) < 2 * LONGEST_ECHO
    assert "[3]" in violation.field


def test_whatever_an_error_is_given_it_is_small() -> None:
    long = "x" * 1_000_000
    error = ProtocolError(
        ErrorKind.UNSUPPORTED_OPERATION,
        long,
        data={long: [long] * 5000, "a": {"b": {"c": {"d": {"e": long}}}}},
        data_v1={"a": long},
        metadata={"a": long},
        violations=[Violation((long,), "x", "no")] * 5000,
    )

    assert size_of(error) < LARGEST_ERROR


# --- the number of values ---------------------------------------------------------------------------------

TOO_MANY = (
    b"[" + b"0," * MOST_VALUES + b"0]",
    b"[" + b"{}," * MOST_VALUES + b"{}]",
    b"[" + b'"",' * MOST_VALUES + b'""]',
    b'[{"' + b'a":{"' * MOST_VALUES,
    b"[" + b'"",' * 2 * MOST_VALUES + b'""]',
    b"[" + b'"",' * 5 * MOST_VALUES + b'""]',
    b"[" * (MOST_VALUES + 10) * 3,
    b'{"method":"' + b"m" * MOST_VALUES + b'","params":[' + b"0," * MOST_VALUES + b"0]}",
)


@pytest.mark.parametrize("body", TOO_MANY, ids=range(len(TOO_MANY)))
def test_too_many_values_are_refused_before_they_are_decoded(body: bytes) -> None:
    error = refusal(lambda: decoded(body))

    assert error.kind is ErrorKind.PAYLOAD_TOO_LARGE
    assert error.data["max_values"] == MOST_VALUES
    with pytest.raises(RpcRequestError):
        parse_request(body)


@pytest.mark.parametrize("text", [",[{" * 100_000, '",' * 100_000, "\\\\[," * 100_000, '\\"[{' * 100_000])
def test_a_text_is_one_value_whatever_it_holds(text: str) -> None:
    assert decoded(orjson.dumps({"text": text, "more": [1, 2]})) == {"text": text, "more": [1, 2]}


@given(json_values)
def test_no_value_goes_uncounted(value: Any) -> None:
    def count(one: Any) -> int:
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        return 1 + sum(map(count, inner))

    assert values_in(orjson.dumps(value), MOST_VALUES) >= count(value)


def test_empty_containers_count_once_each_and_the_texts_behind_them_too() -> None:
    value: list[Any] = [[]] * 15_000 + ["x" * 100_000]

    assert decoded(orjson.dumps(value)) == value
    assert refused(lambda: decoded(orjson.dumps(value + [[]] * 6_000))) is not None


def test_a_query_has_a_bounded_number_of_parameters() -> None:
    request = Request(method="GET", path="/tasks", query_string=b"a=1&" * 101, headers={})

    error = refusal(lambda: request.query)

    assert error.kind is ErrorKind.INVALID_PARAMS
    assert error.violations[0].field == "query"
