"""All codecs: what a version can carry survives it, and what is wrong is named field by field."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.fields import DEEPEST, Fields, read_document
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import (
    ArtifactUpdate,
    DataPart,
    FilePart,
    GetTaskRequest,
    JsonObject,
    Message,
    Part,
    Role,
    SendConfiguration,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from tests.strategies import (
    VERSIONS,
    get_task_requests,
    items,
    json_values,
    parts,
    push_configs,
    send_requests,
    tasks,
)

CODECS: dict[str, ModuleType] = {"0.3": v0_3, "1.0": v1_0}

versions = pytest.mark.parametrize("version", VERSIONS)


def over_the_wire(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


def violations(parse: Callable[[object], object], value: object) -> dict[str, str]:
    """The wrong fields and what is said of them."""
    with pytest.raises(ProtocolError) as caught:
        parse(value)
    assert caught.value.kind is ErrorKind.INVALID_PARAMS
    return {violation.field: violation.message for violation in caught.value.violations}


def with_junk(value: Any) -> Any:
    """The document with a field nobody knows in every object of the protocol's own."""
    if isinstance(value, list):
        return [with_junk(item) for item in value]
    if isinstance(value, dict):
        own = {key: held if key in ("metadata", "data") else with_junk(held) for key, held in value.items()}
        return {**own, "x-unknown": {"kind": 5, "parts": "x"}}
    return value


# --- round trips ------------------------------------------------------------------------------------------


@versions
@given(st.data())
def test_stream_items_survive_the_wire(version: str, data: st.DataObject) -> None:
    item = data.draw(items(version))
    codec = CODECS[version]

    assert codec.parse_item(over_the_wire(codec.render_item(item))) == item


@versions
@given(st.data())
def test_unknown_fields_are_ignored_everywhere(version: str, data: st.DataObject) -> None:
    item = data.draw(items(version))
    codec = CODECS[version]

    assert codec.parse_item(with_junk(over_the_wire(codec.render_item(item)))) == item


@versions
@given(st.data())
def test_tasks_survive_the_wire(version: str, data: st.DataObject) -> None:
    task = data.draw(tasks(version))
    codec = CODECS[version]

    assert codec.parse_task(over_the_wire(codec.render_task(task))) == task


@versions
@given(st.data())
def test_send_requests_survive_the_wire(version: str, data: st.DataObject) -> None:
    request = data.draw(send_requests(version))
    codec = CODECS[version]

    assert codec.parse_send(over_the_wire(codec.render_send(request))) == request


@versions
@given(st.data())
def test_push_configurations_survive_the_wire(version: str, data: st.DataObject) -> None:
    config = data.draw(push_configs(version))
    codec = CODECS[version]

    assert read_document(over_the_wire(codec.render_push_config(config)), codec.read_push_config) == config


@given(st.data())
def test_values_of_the_old_version_survive_the_new_one(data: st.DataObject) -> None:
    item = data.draw(items("0.3"))
    if isinstance(item, StatusUpdate):
        item = evolve(item, final=item.status.state.terminal)

    assert v1_0.parse_item(v1_0.render_item(item)) == item


@versions
@given(st.data())
def test_whatever_is_read_can_be_written_and_read_again(version: str, data: st.DataObject) -> None:
    document = data.draw(json_values | items(version).map(CODECS[version].render_item))
    codec = CODECS[version]
    try:
        item = codec.parse_item(document)
    except ProtocolError:
        return

    assert codec.parse_item(over_the_wire(codec.render_item(item))) == item


@given(get_task_requests())
def test_get_task_requests_are_read(request: GetTaskRequest) -> None:
    document = {"id": request.id, "historyLength": request.history_length, "tenant": request.tenant}

    assert v1_0.parse_get_task(document) == request
    assert v0_3.parse_get_task(document) == evolve(request, tenant=None)


# --- what is wrong is named -------------------------------------------------------------------------------

GOOD_0_3: JsonObject = {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}
GOOD_1_0: JsonObject = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
GOOD = {"0.3": GOOD_0_3, "1.0": GOOD_1_0}


def send(version: str, **changes: Any) -> JsonObject:
    """A good send with other members in its message; None: without it."""
    message = {key: value for key, value in {**GOOD[version], **changes}.items() if value is not None}
    return {"message": message}


@versions
@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ([], "", "must be an object"),
        (None, "", "must be an object"),
        ({}, "message", "is required"),
        ({"message": "hi"}, "message", "must be an object"),
    ],
)
def test_send_without_a_message_is_refused(version: str, document: object, field: str, message: str) -> None:
    assert violations(CODECS[version].parse_send, document) == {field: message}


@versions
@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"messageId": None}, "message.messageId", "is required"),
        ({"messageId": ""}, "message.messageId", "must not be empty"),
        ({"messageId": 7}, "message.messageId", "must be a string"),
        ({"role": None}, "message.role", "is required"),
        ({"role": 9}, "message.role", "must be one of"),
        ({"role": "system"}, "message.role", "must be one of"),
        ({"parts": None}, "message.parts", "is required"),
        ({"parts": {}}, "message.parts", "must be a list"),
        ({"parts": []}, "message.parts", "must hold at least one element"),
        ({"parts": ["hi"]}, "message.parts[0]", "must be an object"),
        ({"contextId": 5}, "message.contextId", "must be a string"),
        ({"taskId": []}, "message.taskId", "must be a string"),
        ({"metadata": "x"}, "message.metadata", "must be an object"),
        ({"extensions": "x"}, "message.extensions", "must be a list of strings"),
        ({"extensions": ["x", 5]}, "message.extensions[1]", "must be a string"),
        ({"referenceTaskIds": [None]}, "message.referenceTaskIds[0]", "must be a string"),
    ],
)
def test_wrong_field_of_a_message_is_named(version: str, changes: JsonObject, field: str, message: str) -> None:
    found = violations(CODECS[version].parse_send, send(version, **changes))

    assert list(found) == [field]
    assert found[field].startswith(message)


@versions
@pytest.mark.parametrize(
    ("configuration", "field", "message"),
    [
        (5, "configuration", "must be an object"),
        ({"historyLength": "ten"}, "configuration.historyLength", "must be an integer"),
        ({"historyLength": True}, "configuration.historyLength", "must be an integer"),
        ({"historyLength": 1.5}, "configuration.historyLength", "must be an integer"),
        ({"historyLength": -1}, "configuration.historyLength", "must be between 0 and 2147483647"),
        ({"historyLength": 2**31}, "configuration.historyLength", "must be between 0 and 2147483647"),
        ({"acceptedOutputModes": {"a": 1}}, "configuration.acceptedOutputModes", "must be a list of strings"),
        ({"acceptedOutputModes": [1]}, "configuration.acceptedOutputModes[0]", "must be a string"),
    ],
)
def test_wrong_field_of_a_configuration_is_named(
    version: str, configuration: object, field: str, message: str
) -> None:
    document = {**send(version), "configuration": configuration}

    assert violations(CODECS[version].parse_send, document) == {field: message}


@pytest.mark.parametrize(
    ("version", "member", "wrong", "field"),
    [
        ("0.3", "blocking", "yes", "configuration.blocking"),
        ("1.0", "returnImmediately", 1, "configuration.returnImmediately"),
    ],
)
def test_blocking_takes_true_or_false(version: str, member: str, wrong: object, field: str) -> None:
    document = {**send(version), "configuration": {member: wrong}}

    assert violations(CODECS[version].parse_send, document) == {field: "must be true or false"}


@versions
def test_all_wrong_fields_are_told_at_once(version: str) -> None:
    document = {
        **send(version, role="nobody", messageId=None, parts=[{"text": 5, "kind": "text"}, 7]),
        "configuration": {"historyLength": -1},
        "metadata": [],
    }

    assert set(violations(CODECS[version].parse_send, document)) == {
        "message.messageId",
        "message.role",
        "message.parts[0].text",
        "message.parts[1]",
        "configuration.historyLength",
        "metadata",
    }


def test_summary_of_an_error_names_the_fields() -> None:
    with pytest.raises(ProtocolError, match=r"message\.messageId: is required; message\.role: is required"):
        v1_0.parse_send({"message": {"parts": [{"text": ""}]}})


@versions
def test_document_nested_too_deep_to_be_written_again_is_refused(version: str) -> None:
    deep: Any = 1
    for _ in range(DEEPEST):
        deep = {"a": deep}

    found = violations(CODECS[version].parse_send, {**send(version), "metadata": deep})

    assert found == {"": f"must not be nested more than {DEEPEST} levels deep"}


@versions
def test_document_as_deep_as_allowed_is_taken(version: str) -> None:
    deep: Any = 1
    for _ in range(DEEPEST - 1):
        deep = {"a": deep}

    request = CODECS[version].parse_send({**send(version), "metadata": deep})

    assert request.metadata == deep


@versions
@pytest.mark.parametrize(("value", "taken"), [("7", 7), ("2147483647", 2**31 - 1), (7.0, 7), (0, 0), (None, None)])
def test_history_length_is_read_from_numbers_and_query_strings(
    version: str, value: object, taken: int | None
) -> None:
    assert CODECS[version].parse_get_task({"id": "t", "historyLength": value}).history_length == taken


@versions
def test_task_and_its_events_need_their_ids_and_statuses(version: str) -> None:
    codec = CODECS[version]

    assert set(violations(codec.parse_task, {})) == {"id", "status"}
    assert set(violations(codec.parse_get_task, {})) == {"id"}
    assert set(violations(lambda value: read_document(value, codec.read_status_update), {})) == {
        "taskId",
        "status",
    }
    assert set(violations(lambda value: read_document(value, codec.read_artifact_update), {})) == {
        "taskId",
        "artifact",
    }
    assert set(violations(codec.parse_task, {"id": "t", "status": {}})) == {"status.state"}


@versions
def test_wrong_fields_of_a_push_configuration_are_named(version: str) -> None:
    found = violations(
        lambda value: read_document(value, CODECS[version].read_push_config), {"authentication": {}, "token": 5}
    )

    assert set(found) == {"url", "token", *({"authentication.scheme"} if version == "1.0" else ())}


@pytest.mark.parametrize("authentication", [{}, {"schemes": []}, {"schemes": None, "credentials": ""}])
def test_push_configuration_of_the_old_version_may_name_no_scheme(authentication: JsonObject) -> None:
    config = read_document({"url": "u", "authentication": authentication}, v0_3.read_push_config)

    assert config.authentication is None


def test_credentials_of_the_old_version_need_a_scheme() -> None:
    document = {"url": "u", "authentication": {"schemes": [], "credentials": "s"}}

    assert [*violations(lambda value: read_document(value, v0_3.read_push_config), document)] == [
        "authentication.schemes"
    ]


@versions
def test_secrets_of_a_push_configuration_are_not_shown(version: str) -> None:
    authentication = {"scheme": "Bearer", "schemes": ["Bearer"], "credentials": "s3cret-a"}
    document = {"url": "https://example.org", "token": "s3cret-b", "authentication": authentication}

    config = read_document(document, CODECS[version].read_push_config)

    assert config.authentication.credentials == "s3cret-a"
    assert "s3cret" not in repr(config)


def test_violation_of_an_index_at_the_root_is_written_as_clients_do() -> None:
    fields = Fields({"a": 1}, (0,))
    fields.wrong("a", "x", "no")

    assert fields.found.violations[0].field == "[0].a"


# --- version 0.3 ---------------------------------------------------------------------------------------------


def part_0_3(**body: Any) -> Part:
    return v0_3.parse_send({"message": {**GOOD_0_3, "parts": [body]}}).message.parts[0]


def test_parts_of_the_old_version_are_tagged() -> None:
    assert part_0_3(kind="text", text="a", metadata={"b": 1}) == TextPart(text="a", metadata={"b": 1})
    assert part_0_3(kind="data", data={"a": 1}) == DataPart(data={"a": 1})
    assert part_0_3(kind="file", file={"bytes": "YQ==", "mimeType": "text/plain", "name": "a"}) == FilePart(
        raw="YQ==", media_type="text/plain", filename="a"
    )
    assert part_0_3(kind="file", file={"uri": "https://example.org/a"}) == FilePart(url="https://example.org/a")


@pytest.mark.parametrize(
    ("part", "field", "message"),
    [
        ({"kind": "image"}, ".kind", "must be one of text, file, data"),
        ({"kind": ["text"]}, ".kind", "must be one of text, file, data"),
        ({}, ".kind", "is required"),
        ({"text": "a", "data": {}}, ".kind", "is required"),
        ({"kind": "text"}, ".text", "is required"),
        ({"kind": "text", "text": 1}, ".text", "must be a string"),
        ({"kind": "data"}, ".data", "is required"),
        ({"kind": "data", "data": [1]}, ".data", "must be an object"),
        ({"kind": "file"}, ".file", "is required"),
        ({"kind": "file", "file": "x"}, ".file", "must be an object"),
        ({"kind": "file", "file": {}}, ".file", "must hold exactly one of bytes, uri"),
        ({"kind": "file", "file": {"bytes": "YQ==", "uri": "u"}}, ".file", "must hold exactly one of bytes, uri"),
        ({"kind": "file", "file": {"bytes": "?"}}, ".file.bytes", "must be base64"),
        ({"kind": "file", "file": {"bytes": "é"}}, ".file.bytes", "must be base64"),
        ({"kind": "file", "file": {"bytes": 1}}, ".file.bytes", "must be a string"),
        ({"kind": "file", "file": {"uri": ""}}, ".file.uri", "must not be empty"),
        ({"kind": "file", "file": {"uri": "u", "name": 1}}, ".file.name", "must be a string"),
        ({"kind": "text", "text": "", "metadata": 1}, ".metadata", "must be an object"),
    ],
)
def test_wrong_part_of_the_old_version_is_named(part: JsonObject, field: str, message: str) -> None:
    found = violations(v0_3.parse_send, send("0.3", parts=[part]))

    assert found == {f"message.parts[0]{field}": message}


def test_gateway_dialect_of_the_old_version_is_taken() -> None:
    message = {
        "messageId": "m",
        "role": "ROLE_AGENT",
        "content": [
            {"text": "a"},
            {"file": {"fileWithUri": "u", "mimeType": "text/plain"}},
            {"file": {"fileWithBytes": "YQ=="}},
            {"data": {"data": {"a": 1}}},
        ],
    }

    request = v0_3_gateway.parse_send({"message": message})

    assert request.message == Message(
        message_id="m",
        role=Role.AGENT,
        parts=(
            TextPart(text="a"),
            FilePart(url="u", media_type="text/plain"),
            FilePart(raw="YQ=="),
            DataPart(data={"a": 1}),
        ),
    )


def test_wrong_part_of_the_gateway_dialect_is_named_by_its_own_word() -> None:
    found = violations(v0_3.parse_send, send("0.3", parts=None, content=[{"kind": "text", "text": 1}]))

    assert found == {"message.content[0].text": "must be a string"}


def test_tagged_data_is_never_unwrapped() -> None:
    assert part_0_3(kind="data", data={"data": {"a": 1}}) == DataPart(data={"data": {"a": 1}})


def test_status_of_the_gateway_dialect_is_read() -> None:
    status = {"state": "TASK_STATE_WORKING", "update": {**GOOD_0_3, "role": "ROLE_AGENT"}}

    task = v0_3.parse_task({"id": "t", "contextId": "c", "status": status})

    assert task.status.state is TaskState.WORKING
    assert task.status.message is not None
    assert task.status.message.role is Role.AGENT


def test_send_of_the_old_version_blocks_unless_told_otherwise() -> None:
    def blocking(**configuration: Any) -> bool:
        return v0_3.parse_send({**send("0.3"), "configuration": configuration}).configuration.blocking

    assert v0_3.parse_send(send("0.3")).configuration == SendConfiguration(blocking=True)
    assert blocking()
    assert blocking(blocking=True)
    assert not blocking(blocking=False)


@pytest.mark.parametrize("name", ["pushNotificationConfig", "pushNotification"])
def test_push_configuration_of_the_old_version_has_two_names(name: str) -> None:
    request = v0_3.parse_send({**send("0.3"), "configuration": {name: {"url": "u"}}})

    assert request.configuration.push is not None
    assert request.configuration.push.url == "u"


def test_stream_items_of_the_old_version_are_told_apart_by_kind() -> None:
    assert violations(v0_3.parse_item, {}) == {"kind": "is required"}
    assert violations(v0_3.parse_item, {"kind": "event"}) == {
        "kind": "must be one of task, message, status-update, artifact-update"
    }
    assert violations(v0_3.parse_item, []) == {"": "must be an object"}


def test_data_that_is_no_object_is_wrapped_for_the_old_version() -> None:
    assert v0_3.render_part(DataPart(data=[1])) == {"kind": "data", "data": {"value": [1]}}


def test_wire_form_of_the_old_version() -> None:
    status = TaskStatus(state=TaskState.INPUT_REQUIRED, timestamp="2026-01-02T03:04:05Z")
    update = StatusUpdate(task_id="t", context_id="c", status=status, metadata={"a": 1})

    assert v0_3.render_item(update) == {
        "kind": "status-update",
        "taskId": "t",
        "contextId": "c",
        "status": {"state": "input-required", "timestamp": "2026-01-02T03:04:05Z"},
        "final": False,
        "metadata": {"a": 1},
    }
    assert v0_3.render_task(Task(id="t", context_id="c", status=status)) == {
        "kind": "task",
        "id": "t",
        "contextId": "c",
        "status": {"state": "input-required", "timestamp": "2026-01-02T03:04:05Z"},
    }


# --- version 1.0 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"text": ""}, TextPart(text="")),
        ({"text": "a", "mediaType": "text/markdown"}, TextPart(text="a", media_type="text/markdown")),
        ({"raw": "YQ=="}, FilePart(raw="YQ==")),
        ({"raw": "-_8"}, FilePart(raw="+/8=")),
        ({"raw": ""}, FilePart(raw="")),
        ({"url": "u", "filename": "f"}, FilePart(url="u", filename="f")),
        ({"data": {"a": None}}, DataPart(data={"a": None})),
        ({"data": [1]}, DataPart(data=[1])),
        ({"data": False}, DataPart(data=False)),
        ({"data": None}, DataPart(data=None)),
        ({"text": "a", "data": None}, TextPart(text="a")),
    ],
)
def test_parts_of_the_new_version_are_named_by_their_member(part: JsonObject, expected: Part) -> None:
    request = v1_0.parse_send(send("1.0", parts=[part]))

    assert request.message.parts == (expected,)


@pytest.mark.parametrize(
    ("part", "field", "message"),
    [
        ({}, "", "must hold exactly one of text, raw, url, data"),
        ({"kind": "text"}, "", "must hold exactly one of text, raw, url, data"),
        ({"text": "a", "url": "u"}, "", "must hold exactly one of text, raw, url, data"),
        ({"text": "a", "data": 0}, "", "must hold exactly one of text, raw, url, data"),
        ({"raw": "YQ==", "text": "", "url": "u"}, "", "must hold exactly one of text, raw, url, data"),
        ({"text": 1}, ".text", "must be a string"),
        ({"raw": "?"}, ".raw", "must be base64"),
        ({"raw": "YQ===="}, ".raw", "must be base64"),
        ({"url": ""}, ".url", "must not be empty"),
        ({"url": "u", "filename": 1}, ".filename", "must be a string"),
        ({"text": "a", "mediaType": 1}, ".mediaType", "must be a string"),
        ({"text": "a", "metadata": []}, ".metadata", "must be an object"),
    ],
)
def test_wrong_part_of_the_new_version_is_named(part: JsonObject, field: str, message: str) -> None:
    found = violations(v1_0.parse_send, send("1.0", parts=[GOOD_1_0["parts"][0], part]))

    assert found == {f"message.parts[1]{field}": message}


def test_old_words_are_not_taken_on_the_new_version() -> None:
    assert set(violations(v1_0.parse_send, send("1.0", role="user"))) == {"message.role"}
    assert set(violations(v1_0.parse_task, {"id": "t", "status": {"state": "working"}})) == {"status.state"}


@pytest.mark.parametrize(
    "value",
    [{}, {"task": None}, {"task": {}, "message": {}}, {"kind": "task", "id": "t"}],
)
def test_stream_response_holds_exactly_one_value(value: JsonObject) -> None:
    assert violations(v1_0.parse_item, value) == {
        "": "must hold exactly one of task, message, statusUpdate, artifactUpdate"
    }


def test_wrong_field_within_the_wrapper_is_named_with_it() -> None:
    assert violations(v1_0.parse_item, {"statusUpdate": {"taskId": "t", "status": {"state": "x"}}}).keys() == {
        "statusUpdate.status.state"
    }
    assert violations(v1_0.parse_item, {"task": 5}) == {"task": "must be an object"}


def test_send_of_the_new_version_blocks_unless_told_otherwise() -> None:
    def blocking(**configuration: Any) -> bool:
        return v1_0.parse_send({**send("1.0"), "configuration": configuration}).configuration.blocking

    assert blocking()
    assert blocking(returnImmediately=False)
    assert not blocking(returnImmediately=True)


def test_end_of_a_stream_is_read_from_the_state_on_the_new_version() -> None:
    def final(state: str) -> bool:
        item = v1_0.parse_item({"statusUpdate": {"taskId": "t", "contextId": "c", "status": {"state": state}}})
        assert isinstance(item, StatusUpdate)
        return item.final

    assert final("TASK_STATE_COMPLETED")
    assert not final("TASK_STATE_INPUT_REQUIRED")
    assert not final("TASK_STATE_UNSPECIFIED")


def test_wire_form_of_the_new_version() -> None:
    item = ArtifactUpdate(
        task_id="t",
        context_id="c",
        artifact=v1_0.parse_task(
            {
                "id": "t",
                "status": {"state": "TASK_STATE_WORKING"},
                "artifacts": [{"artifactId": "a", "name": "response", "parts": [{"text": "hi"}]}],
            }
        ).artifacts[0],
        last_chunk=True,
    )

    assert v1_0.render_item(item) == {
        "artifactUpdate": {
            "taskId": "t",
            "contextId": "c",
            "artifact": {"artifactId": "a", "name": "response", "parts": [{"text": "hi"}]},
            "append": False,
            "lastChunk": True,
        }
    }


@versions
@given(st.data())
def test_a_part_is_written_with_one_content(version: str, data: st.DataObject) -> None:
    body = CODECS[version].render_part(data.draw(parts(version)))

    content = {"text", "file", "data"} if version == "0.3" else {"text", "raw", "url", "data"}
    assert len(content & body.keys()) == 1


def test_choice_may_be_left_out_where_it_is_not_required() -> None:
    fields = Fields({})

    assert fields.choice("role", {"user": Role.USER}) is None
    assert fields.found.violations == []
