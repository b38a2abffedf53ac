"""ProtoJSON as requests have it: every field under both names, enums by number, no field twice, in all codecs.

The cases are made from whole requests, which a test holds against the published schemas: no field can be forgotten.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings import jsonrpc
from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.bindings.rest import params_of, route
from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.protojson_names import FIELDS, NAMES, ROLE_NUMBERS, STATE_NUMBERS, json_name, repeated_member
from sansio.a2a.codecs.registry import rest_codec
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import JsonObject, ListTasksRequest, Role, TaskState
from sansio.a2a.operations import Operation
from sansio.a2a.timestamps import epoch_ms
from tests import schemas, strategies

Path = tuple[str | int, ...]
Parse = Callable[[object], object]

_PAGE: JsonObject = {"pageSize": 7, "pageToken": "p", "tenant": "here"}
_CONFIG: JsonObject = {
    "id": "c",
    "taskId": "t",
    "tenant": "here",
    "url": "https://e/x",
    "token": "k",
    "authentication": {"scheme": "Bearer", "credentials": "s"},
}
_LIST: JsonObject = {
    **_PAGE,
    "contextId": "c",
    "status": "TASK_STATE_WORKING",
    "historyLength": 3,
    "statusTimestampAfter": "2026-01-02T03:04:05Z",
    "includeArtifacts": True,
}
_PARTS: list[JsonObject] = [
    {"text": "a", "metadata": {"some_name": 1}, "filename": "f", "mediaType": "text/plain"},
    {"raw": "aGk=", "mediaType": "image/png"},
    {"url": "https://e/x"},
    {"data": {"some_name": 1}},
]
_MESSAGE: JsonObject = {
    "messageId": "m",
    "contextId": "c",
    "taskId": "t",
    "role": "ROLE_USER",
    "parts": _PARTS,
    "metadata": {"some_name": 1},
    "extensions": ["urn:x"],
    "referenceTaskIds": ["r"],
}
_SEND: JsonObject = {
    "tenant": "here",
    "message": _MESSAGE,
    "metadata": {"some_name": {"context_id": 1}},
    "configuration": {
        "acceptedOutputModes": ["text/plain"],
        "taskPushNotificationConfig": _CONFIG,
        "historyLength": 3,
        "returnImmediately": True,
    },
}
_TASK_ID: JsonObject = {"id": "t", "tenant": "here", "metadata": {"some_name": 1}}

REQUESTS_1_0: dict[str, tuple[Parse, JsonObject]] = {
    "SendMessageRequest": (v1_0.parse_send, _SEND),
    "GetTaskRequest": (v1_0.parse_get_task, {"id": "t", "tenant": "here", "historyLength": 3}),
    "ListTasksRequest": (v1_0.parse_list_tasks, _LIST),
    "CancelTaskRequest": (v1_0.parse_task_id, _TASK_ID),
    "SubscribeToTaskRequest": (v1_0.parse_task_id, {"id": "t", "tenant": "here"}),
    "TaskPushNotificationConfig": (v1_0.parse_push_config_request, _CONFIG),
    "GetTaskPushNotificationConfigRequest": (
        v1_0.parse_push_config_id,
        {"id": "c", "taskId": "t", "tenant": "here"},
    ),
    "DeleteTaskPushNotificationConfigRequest": (
        v1_0.parse_push_config_id,
        {"id": "c", "taskId": "t", "tenant": "here"},
    ),
    "ListTaskPushNotificationConfigsRequest": (v1_0.parse_list_push_configs, {"taskId": "t", **_PAGE}),
}
"""A request of each kind that has parameters, with every field there is."""

_CONFIG_0_3: JsonObject = {
    "id": "c",
    "url": "https://e/x",
    "token": "k",
    "authentication": {"schemes": ["Bearer"], "credentials": "s"},
}
_SEND_0_3: JsonObject = {
    "message": {
        **_MESSAGE,
        "kind": "message",
        "role": "user",
        "parts": [
            {"kind": "text", "text": "a", "metadata": {"some_name": 1}},
            {"kind": "file", "file": {"bytes": "aGk=", "mimeType": "image/png", "name": "f"}},
            {"kind": "file", "file": {"uri": "https://e/x", "mimeType": "image/png", "name": "f"}},
            {"kind": "data", "data": {"some_name": 1}},
        ],
    },
    "metadata": {"some_name": 1},
    "configuration": {
        "acceptedOutputModes": ["text/plain"],
        "pushNotificationConfig": _CONFIG_0_3,
        "historyLength": 3,
        "blocking": False,
    },
}
_ID_0_3: JsonObject = {"id": "t", "metadata": {"some_name": 1}}
REQUESTS_0_3: dict[str, tuple[Parse, JsonObject]] = {
    "MessageSendParams": (v0_3.parse_send, _SEND_0_3),
    "TaskQueryParams": (v0_3.parse_get_task, {**_ID_0_3, "historyLength": 3}),
    "TaskIdParams": (v0_3.parse_task_id, _ID_0_3),
    "TaskPushNotificationConfig": (
        v0_3.parse_push_config_request,
        {"taskId": "t", "pushNotificationConfig": _CONFIG_0_3},
    ),
    "GetTaskPushNotificationConfigParams": (
        v0_3.parse_push_config_id,
        {**_ID_0_3, "pushNotificationConfigId": "c"},
    ),
    "DeleteTaskPushNotificationConfigParams": (
        v0_3.parse_push_config_id,
        {**_ID_0_3, "pushNotificationConfigId": "c"},
    ),
    "ListTaskPushNotificationConfigParams": (v0_3.parse_list_push_configs, _ID_0_3),
}

GATEWAY: dict[str, tuple[Parse, JsonObject]] = {
    "SendMessageRequest": (
        v0_3_gateway.parse_send,
        {
            "message": {
                "messageId": "m",
                "contextId": "c",
                "taskId": "t",
                "role": "ROLE_USER",
                "content": [
                    {"text": "a"},
                    {"file": {"fileWithUri": "https://e/x", "mimeType": "image/png", "name": "f"}},
                    {"file": {"fileWithBytes": "aGk="}},
                ],
            },
            "configuration": {
                "acceptedOutputModes": ["text/plain"],
                "pushNotification": _CONFIG_0_3,
                "historyLength": 3,
                "blocking": True,
            },
        },
    ),
    "GetTaskRequest": (v0_3_gateway.parse_get_task, {"id": "t", "historyLength": 3}),
    "CreateTaskPushNotificationConfigRequest": (
        v0_3_gateway.parse_push_config_request,
        {"taskId": "t", "configId": "d", "config": {"pushNotificationConfig": _CONFIG_0_3}},
    ),
    "ListTaskPushNotificationConfigRequest": (
        v0_3_gateway.parse_list_push_configs,
        {"id": "t", "pageSize": 7, "pageToken": "p"},
    ),
}

ALL = {
    f"{version} {name}": request
    for version, requests in (("1.0", REQUESTS_1_0), ("0.3", REQUESTS_0_3), ("0.3-gateway", GATEWAY))
    for name, request in requests.items()
}


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def fields_of(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all fields, those of free-codec objects left out."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from fields_of(inner, (*path, index))
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*path, name)
            if name not in ("metadata", "data"):
                yield from fields_of(inner, (*path, name))


def changed(document: JsonObject, path: Path, change: Callable[[JsonObject, str], None]) -> JsonObject:
    """A copy of the document in which the object at the path's end was changed."""
    made = copy.deepcopy(document)
    outer: Any = made
    for step in path[:-1]:
        outer = outer[step]
    change(outer, str(path[-1]))
    return made


def violations(call: Callable[[], object]) -> dict[str, str]:
    with pytest.raises(ProtocolError) as caught:
        call()
    assert caught.value.kind is ErrorKind.INVALID_PARAMS
    return {one.field: one.message for one in caught.value.violations}


_WORDS = [
    pytest.param(parse, document, path, id=f"{name}: {'.'.join(map(str, path))}")
    for name, (parse, document) in ALL.items()
    for path in fields_of(document)
    if snake(str(path[-1])) != path[-1]
]
every_field = pytest.mark.parametrize(("parse", "document", "path"), _WORDS)


# --- the table, and the requests that stand for all ------------------------------------------------------------


def published(version: str, name: str) -> Iterator[Path]:
    """The paths of the fields that the schema gives a request; lists without their indexes."""
    definitions = orjson.loads((schemas.FOLDER / f"a2a-{version}.json").read_bytes())["definitions"]

    def inside(schema: JsonObject, path: Path) -> Iterator[Path]:
        for choice in [schema, *schema.get("anyOf", ())]:
            if "$ref" in choice:
                yield from inside(definitions[choice["$ref"].rpartition("/")[2]], path)
            if "items" in choice:
                yield from inside(choice["items"], path)
            for field, inner in choice.get("properties", {}).items():
                yield (*path, field)
                yield from inside(inner, (*path, field))

    return inside({"$ref": f"#/definitions/{name}"}, ())


@pytest.mark.parametrize(
    ("version", "name", "document"),
    [
        pytest.param(version, name, document, id=f"{version} {name}")
        for version, requests in (("1.0", REQUESTS_1_0), ("0.3", REQUESTS_0_3))
        for name, (_, document) in requests.items()
    ],
)
def test_the_requests_of_these_tests_have_every_field_of_the_schema(
    version: str, name: str, document: object
) -> None:
    given = {tuple(step for step in path if isinstance(step, str)) for path in fields_of(document)}

    assert given == set(published(version, name))


def test_no_request_of_the_schema_is_left_out() -> None:
    definitions = orjson.loads((schemas.FOLDER / "a2a-1.0.json").read_bytes())["definitions"]
    requests = {name for name in definitions if name.endswith("Request")} - {"GetExtendedAgentCardRequest"}

    assert requests | {"TaskPushNotificationConfig"} == REQUESTS_1_0.keys()


def test_the_table_has_every_field_of_several_words() -> None:
    words = {str(path[-1]) for _, document in ALL.values() for path in fields_of(document)}

    assert {name for name in words if snake(name) != name} <= set(NAMES.values())
    assert len(FIELDS) == len(set(FIELDS))
    assert all(snake(json_name(field)) == field for field in FIELDS)


# --- second names ---------------------------------------------------------------------------------------------


@every_field
def test_a_field_is_read_under_its_proto_name(parse: Parse, document: JsonObject, path: Path) -> None:
    renamed = changed(document, path, lambda outer, name: outer.update({snake(name): outer.pop(name)}))

    assert parse(renamed) == parse(document)


@every_field
def test_a_field_is_missed_where_it_is_not_there(parse: Parse, document: JsonObject, path: Path) -> None:
    """So that the test above shows something: each of these fields makes a difference."""
    without = changed(document, path, lambda outer, name: outer.pop(name))
    null = changed(document, path, lambda outer, name: outer.update({name: None}))

    def outcome(value: JsonObject) -> object:
        try:
            return parse(value)
        except ProtocolError as error:
            return error.message

    assert outcome(without) != parse(document)
    assert outcome(null) == outcome(without)  # null is absent


@every_field
def test_both_names_at_once_are_refused_by_name(parse: Parse, document: JsonObject, path: Path) -> None:
    both = changed(document, path, lambda outer, name: outer.update({snake(name): outer[name]}))
    none = changed(document, path, lambda outer, name: outer.update({snake(name): None}))

    for twice in (both, none):
        found = violations(partial(parse, twice))
        assert list(found.values()) == ["must be given once"]
        assert [field.rpartition(".")[2] for field in found] == [path[-1]]


def test_all_fields_are_read_under_their_proto_names() -> None:
    def spelled(value: Any, free: bool = False) -> Any:
        if isinstance(value, list):
            return [spelled(inner, free) for inner in value]
        if not isinstance(value, dict) or free:
            return value
        return {snake(name): spelled(inner, name in ("metadata", "data")) for name, inner in value.items()}

    for parse, document in ALL.values():
        assert parse(spelled(document)) == parse(document)


def test_free_form_objects_keep_their_names() -> None:
    request = v1_0.parse_send(_SEND)

    assert request.metadata == {"some_name": {"context_id": 1}}
    assert request.message.metadata == {"some_name": 1}


@pytest.mark.parametrize(
    "body",
    [
        {"request": _MESSAGE, "message": _MESSAGE},
        {"message": {**_MESSAGE, "content": _PARTS}},
        {"message": _MESSAGE, "configuration": {"pushNotification": None, "pushNotificationConfig": None}},
        {"message": {**_MESSAGE, "parts": [{"file": {"bytes": "aGk=", "fileWithBytes": "aGk="}}]}},
    ],
)
def test_both_names_of_version_0_3_at_once_are_refused(body: JsonObject) -> None:
    [message] = {text for text in violations(lambda: v0_3_gateway.parse_send(body)).values() if "beside" in text}

    assert message.endswith("which is the same field")


# --- what stands for a value ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [7, 7.0, "7", "7.0", "0.7e1", "70E-1"])
def test_an_integer_may_be_written_in_these_ways(value: object) -> None:
    assert v1_0.parse_list_tasks({"pageSize": value}) == ListTasksRequest(page_size=7)


@pytest.mark.parametrize("value", [7.5, "7.5", "", " 7", "7 ", "0x7", "1e400", "NaN", "7" * 50, True, [7], {}])
def test_other_values_are_no_integers(value: object) -> None:
    assert violations(lambda: v1_0.parse_list_tasks({"pageSize": value})) == {"pageSize": "must be an integer"}


@pytest.mark.parametrize("spell", [int, float, str])
def test_a_state_may_be_given_by_its_number(spell: Callable[[int], object]) -> None:
    names = orjson.loads((schemas.FOLDER / "a2a-1.0.json").read_bytes())["definitions"]["TaskStatus"]
    [state] = [choice["enum"] for choice in names["properties"]["state"]["anyOf"] if "enum" in choice]
    numbered = ["TASK_STATE_UNSPECIFIED", *state]  # the schema has them in the order of their numbers

    for number in STATE_NUMBERS:
        by_number = v1_0.parse_list_tasks({"status": spell(number)})

        assert by_number == v1_0.parse_list_tasks({"status": numbered[number]}), number
        assert (by_number.state is None) is (number == 0)


@pytest.mark.parametrize(("number", "role"), ROLE_NUMBERS.items())
def test_a_role_may_be_given_by_its_number(number: int, role: Role) -> None:
    body = {"message": {**_MESSAGE, "parts": [{"text": "a"}], "role": number}}

    assert v1_0.parse_send(body).message.role is role
    assert v0_3_gateway.parse_send(body).message.role is role


@pytest.mark.parametrize("value", [9, -1, 1.5, True, "ten", [1]])
def test_a_number_that_no_state_has_is_refused(value: object) -> None:
    [message] = violations(lambda: v1_0.parse_list_tasks({"status": value})).values()

    assert message.startswith("must be one of TASK_STATE_SUBMITTED, ")


def test_an_unspecified_role_is_none() -> None:
    assert [*violations(lambda: v1_0.parse_send({"message": {**_MESSAGE, "role": 0}}))] == ["message.role"]


@given(st.binary(max_size=9), st.booleans(), st.booleans())
def test_bytes_of_any_base64_are_the_standard_one_afterwards(data: bytes, url_safe: bool, padded: bool) -> None:
    text = strategies.base64_of(data, url_safe, padded)

    [part] = v1_0.parse_send({"message": {**_MESSAGE, "parts": [{"raw": text}]}}).message.parts

    assert v1_0.render_part(part) == {"raw": strategies.base64_of(data, False, True)}


@pytest.mark.parametrize("text", ["a", "aGk==", "aGk=aGk=", "a b", "aG*="])
def test_other_texts_are_no_bytes(text: str) -> None:
    found = violations(lambda: v1_0.parse_send({"message": {**_MESSAGE, "parts": [{"raw": text}]}}))

    assert found == {"message.parts[0].raw": "must be base64"}


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2016-12-31T23:59:60Z", 1483228800),
        ("2016-12-31T23:59:60.5Z", 1483228800),
        ("2017-01-01T00:59:60+01:00", 1483228800),
        ("2016-12-31T23:59:59Z", 1483228799),
        ("2016-12-31T18:59:59-05:00", 1483228799),
        ("2016-12-31t23:59:59.123456789z", 1483228799),
    ],
)
def test_a_time_may_be_written_in_every_form_of_rfc_3339(text: str, second: int) -> None:
    after = v1_0.parse_list_tasks({"statusTimestampAfter": text}).changed_after

    assert after is not None
    assert after // 1000 == second


@pytest.mark.parametrize("text", ["2016-12-31T23:58:60Z", "2016-12-31T23:59:61Z", "2016-12-31T24:00:00Z"])
def test_a_second_that_never_was_is_no_time(text: str) -> None:
    assert [*violations(lambda: v1_0.parse_list_tasks({"statusTimestampAfter": text}))] == ["statusTimestampAfter"]


# --- the query --------------------------------------------------------------------------------------------------


def asked(version: str, target: str) -> Any:
    path, _, query = target.partition("?")
    request = Request("GET", path, query.encode(), {})
    found = route("GET", path)
    return params_of(found, version, request.parameters, b"")


@pytest.mark.parametrize("name", ["historyLength", "history_length"])
@pytest.mark.parametrize(("version", "prefix"), [("1.0", ""), ("0.3", "/v1")])
def test_both_names_are_read_in_a_query(version: str, prefix: str, name: str) -> None:
    codec = v1_0 if version == "1.0" else v0_3_gateway

    assert codec.parse_get_task(asked(version, f"{prefix}/tasks/t?{name}=0")).history_length == 0
    assert codec.parse_list_tasks(asked(version, f"{prefix}/tasks?{name}=2&context_id=c")).context_id == "c"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("historyLength=1&historyLength=2", "historyLength"),
        ("historyLength=1&history_length=1", "historyLength"),
        ("contextId=a&contextId=a", "contextId"),
        ("includeArtifacts=true&includeArtifacts=true", "includeArtifacts"),
        ("status=1&status=1", "status"),
        ("statusTimestampAfter=2026-01-02T03:04:05Z&status_timestamp_after=x", "statusTimestampAfter"),
    ],
)
def test_a_parameter_that_is_given_twice_is_refused_by_name(query: str, field: str) -> None:
    assert violations(lambda: v1_0.parse_list_tasks(asked("1.0", f"/tasks?{query}"))) == {field: "must be given once"}


def test_parameters_that_nobody_reads_may_come_twice() -> None:
    assert v1_0.parse_list_tasks(asked("1.0", "/tasks?x=1&x=2&A2A-Version=1.0")) == ListTasksRequest()


def test_the_ids_of_the_path_go_before_those_of_the_body_under_either_name() -> None:
    found = route("POST", "/tasks/t/pushNotificationConfigs")

    params = params_of(found, "1.0", {}, b'{"task_id": "other", "url": "https://e/x"}')

    assert v1_0.parse_push_config_request(params).task_id == "t"


# --- the codec of a send over HTTP+JSON on version 0.3 -----------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ({"role": 1, "parts": []}, "0.3-gateway"),
        ({"role": "user", "parts": [{"text": "hi"}]}, "0.3-gateway"),
        ({"role": "user", "context_id": "c", "parts": []}, "0.3-gateway"),
        ({"role": "user", "parts": [{"kind": "text", "text": "hi"}]}, "0.3"),
        ({"role": "user", "parts": "hi"}, "0.3"),
    ],
)
def test_the_form_is_known_by_what_protojson_alone_has(message: JsonObject, name: str) -> None:
    assert name == rest_codec("0.3", {"message": message}).NAME


def test_a_part_without_kind_is_refused_where_the_schema_is_used() -> None:
    body = {"message": {**_SEND_0_3["message"], "parts": [{"text": "hi"}]}}

    assert violations(lambda: v0_3.parse_send(body)) == {"message.parts[0].kind": "is required"}
    assert v0_3_gateway.parse_send(body).message.parts
    assert v0_3.parse_item(body["message"]) is not None  # an answer of another agent may be less strict


# --- members that a text names twice ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"a": 1, "a": 2}', ("a",)),
        ('{"a": 1, "a" : 1}', ("a",)),
        ('{"a": {"b": [{"c": 1}, {"c": 1, "d": {}, "c": 2}]}}', ("a", "b", 1, "c")),
        ('{"a": {"b": 1}, "c": {}, "a": {}}', ("a",)),
        ('{"a:b": ":", "c": 1, "c": "\\"c\\": 1"}', ("c",)),
        ('[{"a": 1, "\\u0061": 2}]', (0, "a")),
        ('{"a": 1, "b": "\\u003a", "a": 1e999999, "c": ' + "9" * 5000 + "}", ("a",)),
    ],
)
def test_a_member_given_twice_is_found(text: str, path: Path) -> None:
    assert repeated_member(text.encode(), _loaded(text)) == path


def _loaded(text: str) -> object:
    """What a reader makes of the text; numbers that orjson does not take are of no concern here."""
    return orjson.loads(text.replace("1e999999", "1").replace("9" * 5000, "9"))


@given(st.dictionaries(st.text(max_size=3), strategies.json_values, max_size=4), st.booleans())
def test_nothing_is_found_where_no_member_is_given_twice(value: JsonObject, indented: bool) -> None:
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else None)

    assert repeated_member(text, orjson.loads(text)) is None


@given(st.data())
def test_a_member_given_twice_anywhere_is_found(data: st.DataObject) -> None:
    inner = data.draw(st.dictionaries(st.text(max_size=3), strategies.json_values, min_size=1, max_size=3))
    name = data.draw(st.sampled_from(sorted(inner)))
    twice = orjson.dumps(inner)[:-1] + b", " + orjson.dumps(name) + b": " + orjson.dumps(data.draw(strategies.texts))
    text = b'{"around": [1, ' + twice + b'}], "beside": ' + orjson.dumps(data.draw(strategies.json_values)) + b"}"

    assert repeated_member(text, orjson.loads(text)) == ("around", 1, name)


def test_a_large_text_is_refused_without_a_search() -> None:
    text = b'{"a": 1, "b": "' + b":" * 70_000 + b'", "a": 1}'

    assert repeated_member(text, orjson.loads(text)) == ()


@pytest.mark.parametrize(
    ("body", "kind", "field"),
    [
        ('"params": {"id": "a", "id": "b"}', ErrorKind.INVALID_PARAMS, "id"),
        ('"params": {"message": {"parts": [{"text": "a", "text": "a"}]}}', ErrorKind.INVALID_PARAMS, None),
        ('"params": {}, "params": {}', ErrorKind.INVALID_REQUEST, "params"),
        ('"method": "GetTask", "params": {}', ErrorKind.INVALID_REQUEST, None),
    ],
)
def test_a_json_rpc_request_that_names_a_member_twice_is_refused(
    body: str, kind: ErrorKind, field: str | None
) -> None:
    with pytest.raises(jsonrpc.RpcRequestError) as caught:
        jsonrpc.parse_request(f'{{"jsonrpc": "2.0", "id": 7, "method": "GetTask", {body}}}'.encode())

    assert caught.value.request_id == 7
    assert caught.value.kind is kind
    assert "must be given once" in caught.value.message or "given twice" in caught.value.message
    if field is not None:
        assert field in caught.value.message


def test_a_body_that_names_a_member_twice_is_refused() -> None:
    found = route("POST", "/message:send")
    body = b'{"message": {"messageId": "m", "messageId": "n"}}'

    assert violations(lambda: params_of(found, "1.0", {}, body)) == {"message.messageId": "must be given once"}


def test_every_operation_reads_its_parameters_from_these_parsers() -> None:
    assert len(REQUESTS_1_0) + 2 == len(Operation)  # the two sends share one, and the card takes none
    assert TaskState.UNKNOWN is STATE_NUMBERS[0]


def test_a_text_that_could_not_be_written_again_is_left_to_its_reader() -> None:
    text = b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}"

    assert repeated_member(text, orjson.loads(text)) is None


def test_colons_that_no_member_explains_are_refused() -> None:
    assert repeated_member(b'{"a": 1}', {}) == ()


def test_milliseconds_are_of_a_time_with_its_zone() -> None:
    assert epoch_ms("1970-01-01T00:00:01.5005Z") == 1500
    with pytest.raises(ValueError, match="time zone"):
        epoch_ms("1970-01-01T00:00:01")
