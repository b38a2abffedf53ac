"""Parameters and results of listing, cancelling, subscribing and push notifications, in all three codecs."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.rest import params_of, route
from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.registry import rest_codec_of
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import (
    JsonObject,
    ListPushConfigsRequest,
    ListTasksRequest,
    PushAuthentication,
    PushConfig,
    PushConfigId,
    PushConfigPage,
    Task,
    TaskIdRequest,
    TaskPage,
    TaskState,
    TaskStatus,
)
from sansio.a2a.operations import Operation
from sansio.a2a.timestamps import timestamp
from tests import schemas, strategies

CODECS: dict[str, ModuleType] = {codec.NAME: codec for codec in (v0_3, v0_3_gateway, v1_0)}
LISTS = {"1.0": ("ListTasksResponse",)}
CONFIG = {"0.3": ("TaskPushNotificationConfig",), "1.0": ("TaskPushNotificationConfig",)}
CONFIGS = {"1.0": ("ListTaskPushNotificationConfigsResponse",)}

codecs = pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.NAME)


def over_the_wire(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


def violations(parse: Callable[[object], object], value: object) -> dict[str, str]:
    """The wrong fields and what is said of them."""
    with pytest.raises(ProtocolError) as caught:
        parse(value)
    assert caught.value.kind is ErrorKind.INVALID_PARAMS
    return {violation.field: violation.message for violation in caught.value.violations}


# --- listing tasks ----------------------------------------------------------------------------------------


def written(request: ListTasksRequest, states: dict[TaskState, str]) -> JsonObject:
    """The parameters as a client writes them."""
    return {
        "contextId": request.context_id,
        "status": states[request.state] if request.state else None,
        "statusTimestampAfter": None if request.changed_after is None else timestamp(request.changed_after / 1000),
        "pageSize": request.page_size,
        "pageToken": request.page_token,
        "historyLength": request.history_length,
        "includeArtifacts": request.include_artifacts,
        "tenant": request.tenant,
    }


def as_query(document: JsonObject) -> dict[str, str]:
    """The parameters as a query string has them: texts, of what there is."""
    return {name: orjson.dumps(v).decode().strip('"') for name, v in document.items() if v is not None}


@pytest.mark.parametrize("version", strategies.VERSIONS)
@given(st.data())
def test_list_requests_are_read_from_json_and_from_a_query(version: str, data: st.DataObject) -> None:
    letters = st.none() | st.from_regex(r"[a-z]{1,5}", fullmatch=True)
    request = data.draw(strategies.list_tasks_requests(version))
    codec = {"0.3": v0_3, "1.0": v1_0}[version]
    states = {state: name for name, state in codec.STATES.items()}
    document = written(request, states)
    query = {**document, "contextId": data.draw(letters), "pageToken": data.draw(letters), "tenant": None}

    assert codec.parse_list_tasks(over_the_wire(document)) == request
    again = codec.parse_list_tasks(as_query(query))
    assert written(again, states) == {**query, "tenant": None}


@codecs
def test_a_list_that_asks_for_nothing_has_the_defaults(codec: ModuleType) -> None:
    assert codec.parse_list_tasks({}) == ListTasksRequest(page_size=50, include_artifacts=False)
    assert codec.parse_list_tasks({"pageToken": "", "contextId": ""}) == ListTasksRequest()


@codecs
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("pageSize", 0, "must be between 1 and 100"),
        ("pageSize", 101, "must be between 1 and 100"),
        ("pageSize", "1000", "must be between 1 and 100"),
        ("pageSize", -1, "must be between 1 and 100"),
        ("pageSize", "ten", "must be an integer"),
        ("pageSize", "", "must be an integer"),
        ("historyLength", -5, "must be between 0 and 2147483647"),
        ("contextId", 5, "must be a string"),
        ("pageToken", [], "must be a string"),
        ("status", "TASK_STATE_RUNNING", "must be one of"),
        ("status", 30, "must be one of"),
        ("includeArtifacts", "yes", "must be true or false"),
        ("includeArtifacts", 1, "must be true or false"),
        ("statusTimestampAfter", 5, "must be a string"),
        *(
            ("statusTimestampAfter", text, "must be an RFC 3339 timestamp with a time zone")
            for text in (
                *("", "yesterday", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z", "20260102T030405Z"),
                *("2026-01-02 03:04:05Z", "2026-01-02T03:04:05 01:00", "2026-01-02T03:04:05+99:00", "1767323045"),
            )
        ),
    ],
)
def test_wrong_field_of_a_list_request_is_named(codec: ModuleType, field: str, value: object, message: str) -> None:
    found = violations(codec.parse_list_tasks, {field: value})

    assert list(found) == [field]
    assert found[field].startswith(message)


@codecs
@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.5Z", 500),
        ("1970-01-01t00:00:01z", 1000),
        ("1970-01-01T01:00:00.123456789+01:00", 123),
        ("2026-01-02T03:04:05.678Z", 1767323045678),
    ],
)
def test_moment_of_the_last_change_is_read(codec: ModuleType, text: str, milliseconds: int) -> None:
    assert codec.parse_list_tasks({"statusTimestampAfter": text}).changed_after == milliseconds


@codecs
@pytest.mark.parametrize(("value", "taken"), [("true", True), ("false", False), (True, True), (None, False)])
def test_artifacts_are_wanted_by_flag_or_by_text(codec: ModuleType, value: object, taken: bool) -> None:
    assert codec.parse_list_tasks({"includeArtifacts": value}).include_artifacts is taken


def test_states_have_the_names_of_the_line() -> None:
    assert v0_3.parse_list_tasks({"status": "input-required"}).state is TaskState.INPUT_REQUIRED
    assert v0_3.parse_list_tasks({"status": "TASK_STATE_CANCELLED"}).state is TaskState.CANCELED
    assert v1_0.parse_list_tasks({"status": "TASK_STATE_CANCELED"}).state is TaskState.CANCELED
    assert set(violations(v1_0.parse_list_tasks, {"status": "canceled"})) == {"status"}


@codecs
def test_state_that_is_not_specified_is_any(codec: ModuleType) -> None:
    assert codec.parse_list_tasks({"status": "TASK_STATE_UNSPECIFIED"}).state is None


@codecs
def test_page_always_has_its_four_members(codec: ModuleType) -> None:
    empty = TaskPage(tasks=(), next_page_token="", page_size=50, total=0)

    assert codec.render_task_page(empty) == {"tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0}


@codecs
def test_tasks_of_a_page_are_written_as_tasks_are(codec: ModuleType) -> None:
    task = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.WORKING))

    page = codec.render_task_page(TaskPage(tasks=(task,), next_page_token="n", page_size=1, total=2))

    assert page == {"tasks": [codec.render_task(task)], "nextPageToken": "n", "pageSize": 1, "totalSize": 2}


TIMES = st.none() | st.sampled_from(("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678Z"))


@given(strategies.task_pages("1.0"), TIMES)
def test_pages_of_the_new_version_are_as_its_schema_has_them(page: TaskPage, time: str | None) -> None:
    plain = [
        Task(id=task.id, context_id=task.context_id, status=TaskStatus(state=task.status.state, timestamp=time))
        for task in page.tasks
    ]
    page = TaskPage(
        tasks=tuple(plain), next_page_token=page.next_page_token, page_size=page.page_size, total=page.total
    )

    schemas.check("1.0", LISTS, over_the_wire(v1_0.render_task_page(page)))


@given(strategies.task_pages("0.3"))
def test_tasks_of_the_old_versions_pages_are_as_its_schema_has_them(page: TaskPage) -> None:
    for task in over_the_wire(v0_3.render_task_page(page))["tasks"]:
        schemas.check("0.3", schemas.TASK, task)


# --- cancelling and subscribing ---------------------------------------------------------------------------


@codecs
def test_a_task_is_named_by_its_id(codec: ModuleType) -> None:
    document = {"id": "t", "metadata": {"a": 1}, "tenant": "acme", "more": 5}

    tenant = "acme" if codec is v1_0 else None
    assert codec.parse_task_id(document) == TaskIdRequest(id="t", metadata={"a": 1}, tenant=tenant)


@codecs
@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ({}, "id", "is required"),
        ({"id": ""}, "id", "must not be empty"),
        ({"id": 5}, "id", "must be a string"),
        ({"id": "t", "metadata": []}, "metadata", "must be an object"),
        (None, "", "must be an object"),
        ([], "", "must be an object"),
    ],
)
def test_wrong_name_of_a_task_is_told(codec: ModuleType, document: object, field: str, message: str) -> None:
    assert violations(codec.parse_task_id, document) == {field: message}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/tasks/T:cancel", b'{"name":"tasks/T"}'),
        ("/v1/tasks/T:cancel", b""),
        ("/v1/tasks/T:subscribe", b""),
        ("/tasks/T:cancel", b'{"id":"T"}'),
        ("/tasks/T:cancel", b'{"id":"another"}'),
        ("/tasks/T:subscribe", b""),
    ],
)
def test_what_clients_send_to_name_a_task_is_read(path: str, body: bytes) -> None:
    found = route("POST", path)
    codec = rest_codec_of(found.operation, found.hint)

    assert codec.parse_task_id(params_of(found, found.hint, {}, body)) == TaskIdRequest(id="T")


# --- push configurations ----------------------------------------------------------------------------------

WIRE = {
    "id": "c1",
    "url": "http://e/x",
    "token": "tk",
    "authentication": {"schemes": ["Bearer"], "credentials": "cr"},
}
NEW_WIRE = {**WIRE, "authentication": {"scheme": "Bearer", "credentials": "cr"}}
READ = PushConfig(
    url="http://e/x",
    id="c1",
    task_id="T",
    token="tk",
    authentication=PushAuthentication(scheme="Bearer", credentials="cr"),
)
NAME = "tasks/T/pushNotificationConfigs/c1"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/v1/tasks/T/pushNotificationConfigs",
            {"parent": "tasks/T", "configId": "c1", "config": {"name": NAME, "pushNotificationConfig": WIRE}},
        ),
        (
            "/v1/tasks/T/pushNotificationConfigs",
            {"parent": "tasks/T", "config_id": "c1", "config": {"name": NAME, "push_notification_config": WIRE}},
        ),
        ("/v1/tasks/T/pushNotificationConfigs", {"name": NAME, "pushNotificationConfig": WIRE}),
        ("/v1/tasks/T/pushNotificationConfigs", {"taskId": "T", "pushNotificationConfig": WIRE}),
        ("/v1/tasks/T/pushNotificationConfigs", {"task_id": "other", "push_notification_config": WIRE}),
        ("/tasks/T/pushNotificationConfigs", NEW_WIRE),
        ("/tasks/T/pushNotificationConfigs", {**NEW_WIRE, "taskId": "other"}),
    ],
)
def test_every_body_that_sets_a_push_configuration_is_read(path: str, body: JsonObject) -> None:
    found = route("POST", path)
    codec = rest_codec_of(found.operation, found.hint)

    assert codec.parse_push_config_request(params_of(found, found.hint, {}, orjson.dumps(body))) == READ


@pytest.mark.parametrize(("codec", "document"), [(v0_3, {"pushNotificationConfig": WIRE}), (v1_0, NEW_WIRE)])
def test_push_configuration_is_set_over_json_rpc(codec: ModuleType, document: JsonObject) -> None:
    assert codec.parse_push_config_request({**document, "taskId": "T", "more": 1}) == READ


@pytest.mark.parametrize(
    ("body", "config_id"),
    [
        ({"configId": "a", "config": {"name": NAME, "pushNotificationConfig": {"id": "b", "url": "u"}}}, "a"),
        ({"config": {"name": NAME, "pushNotificationConfig": {"id": "b", "url": "u"}}}, "b"),
        ({"configId": "", "config": {"name": NAME, "pushNotificationConfig": {"id": "", "url": "u"}}}, "c1"),
        ({"name": NAME, "pushNotificationConfig": {"url": "u"}}, "c1"),
        ({"name": "tasks/T", "pushNotificationConfig": {"url": "u"}}, None),
        ({"name": "tasks/T/pushNotificationConfigs/", "pushNotificationConfig": {"url": "u"}}, None),
        ({"pushNotificationConfig": {"url": "u"}}, None),
        ({"configId": "a", "pushNotificationConfig": {"url": "u"}}, "a"),
    ],
)
def test_id_of_a_configuration_is_the_nearest_that_is_said(body: JsonObject, config_id: str | None) -> None:
    assert v0_3_gateway.parse_push_config_request({**body, "taskId": "T"}).id == config_id


@pytest.mark.parametrize(
    ("codec", "document", "fields"),
    [
        (v0_3, {}, {"taskId", "pushNotificationConfig"}),
        (v0_3, {"taskId": "T", "pushNotificationConfig": 5}, {"pushNotificationConfig"}),
        (
            v0_3,
            {"taskId": "", "pushNotificationConfig": {"id": 5}},
            {f"pushNotificationConfig.{n}" for n in ("url", "id")} | {"taskId"},
        ),
        (v0_3_gateway, {}, {"taskId", "pushNotificationConfig"}),
        (v0_3_gateway, {"taskId": "T", "config": {}}, {"config.pushNotificationConfig"}),
        (v0_3_gateway, {"taskId": "T", "config": None}, {"config"}),
        (v0_3_gateway, {"taskId": "T", "config": []}, {"config"}),
        (
            v0_3_gateway,
            {"taskId": "T", "config_id": 5, "config": {"push_notification_config": {}}},
            {"config_id", "config.push_notification_config.url"},
        ),
        (v0_3_gateway, {"taskId": "T", "name": 5, "pushNotificationConfig": {"url": "u"}}, {"name"}),
        (v1_0, {}, {"taskId", "url"}),
        (v1_0, {"taskId": 5, "url": "", "authentication": {}}, {"taskId", "url", "authentication.scheme"}),
    ],
)
def test_wrong_field_of_a_push_configuration_is_named(
    codec: ModuleType, document: JsonObject, fields: set[str]
) -> None:
    assert set(violations(codec.parse_push_config_request, document)) == fields


def test_push_configuration_of_a_send_has_both_spellings() -> None:
    message = {"message_id": "M", "role": "ROLE_USER", "content": [{"text": "hi"}]}

    for name in ("push_notification", "pushNotification"):
        request = v0_3_gateway.parse_send({"request": message, "configuration": {name: WIRE, "blocking": True}})

        assert request.configuration.push is not None
        assert (request.configuration.push.id, request.configuration.push.token) == ("c1", "tk")
        assert request.configuration.push.authentication == READ.authentication


@pytest.mark.parametrize("codec", [v0_3, v0_3_gateway])
def test_old_version_reads_a_configuration_that_is_not_named(codec: ModuleType) -> None:
    assert codec.parse_push_config_id({"id": "T"}) == PushConfigId(task_id="T")
    assert codec.parse_push_config_id({"id": "T", "pushNotificationConfigId": ""}) == PushConfigId(task_id="T")
    assert codec.parse_push_config_id({"id": "T", "pushNotificationConfigId": "c"}) == PushConfigId(
        task_id="T", id="c"
    )


@pytest.mark.parametrize("codec", [v0_3, v0_3_gateway])
def test_old_version_deletes_only_what_is_named(codec: ModuleType) -> None:
    def parse(value: object) -> object:
        return codec.parse_push_config_id(value, required=True)

    assert parse({"id": "T", "pushNotificationConfigId": "c"}) == PushConfigId(task_id="T", id="c")
    assert violations(parse, {}) == {"id": "is required", "pushNotificationConfigId": "is required"}
    assert violations(parse, {"id": "T", "pushNotificationConfigId": ""}) == {
        "pushNotificationConfigId": "must not be empty"
    }


@pytest.mark.parametrize("required", [True, False])
def test_new_version_always_names_a_configuration(required: bool) -> None:
    def parse(value: object) -> object:
        return v1_0.parse_push_config_id(value, required=required)

    assert parse({"taskId": "T", "id": "c"}) == PushConfigId(task_id="T", id="c")
    assert parse({"taskId": "T", "id": "c", "tenant": "acme"}) == PushConfigId(task_id="T", id="c", tenant="acme")
    assert violations(parse, {}) == {"taskId": "is required", "id": "is required"}


def test_configurations_are_listed_in_pages_where_the_form_has_them() -> None:
    pages = {"pageSize": "7", "pageToken": "p"}
    paged = ListPushConfigsRequest(task_id="T", page_size=7, page_token="p")

    assert v0_3.parse_list_push_configs({"id": "T", **pages}) == ListPushConfigsRequest(task_id="T")
    assert v0_3_gateway.parse_list_push_configs({"id": "T", **pages}) == paged
    assert v1_0.parse_list_push_configs({"taskId": "T", **pages}) == paged
    assert v1_0.parse_list_push_configs({"taskId": "T", "tenant": "a"}).tenant == "a"
    assert v1_0.parse_list_push_configs({"taskId": "T", "pageSize": 0}).page_size is None
    assert set(violations(v1_0.parse_list_push_configs, {"pageSize": -1})) == {"taskId", "pageSize"}
    assert set(violations(v0_3.parse_list_push_configs, {})) == {"id"}


def test_configurations_are_written_as_each_form_has_them() -> None:
    page = PushConfigPage(configs=(READ,))

    assert v0_3.render_push_config_result(READ) == {"taskId": "T", "pushNotificationConfig": WIRE}
    assert v0_3.render_push_configs(page) == [{"taskId": "T", "pushNotificationConfig": WIRE}]
    assert v0_3_gateway.render_push_config_result(READ) == {"name": NAME, "pushNotificationConfig": WIRE}
    assert v0_3_gateway.render_push_configs(page) == {"configs": [{"name": NAME, "pushNotificationConfig": WIRE}]}
    assert v1_0.render_push_config_result(READ) == {"taskId": "T", **NEW_WIRE}
    assert v1_0.render_push_configs(page) == {"configs": [{"taskId": "T", **NEW_WIRE}], "nextPageToken": ""}


def test_page_after_this_one_is_told_where_the_form_has_pages() -> None:
    page = PushConfigPage(configs=(), next_page_token="n")

    assert v0_3.render_push_configs(page) == []
    assert v0_3_gateway.render_push_configs(page) == {"configs": [], "nextPageToken": "n"}
    assert v1_0.render_push_configs(page) == {"configs": [], "nextPageToken": "n"}


@codecs
@given(st.data())
def test_configurations_that_are_kept_survive_the_wire(codec: ModuleType, data: st.DataObject) -> None:
    config = data.draw(strategies.kept_push_configs())
    document = {**over_the_wire(codec.render_push_config_result(config)), "taskId": config.task_id}

    assert codec.parse_push_config_request(document) == config


@pytest.mark.parametrize("codec", [v0_3, v1_0])
@given(st.data())
def test_configurations_are_as_the_schema_has_them(codec: ModuleType, data: st.DataObject) -> None:
    page = data.draw(strategies.push_config_pages())
    configs = over_the_wire(codec.render_push_configs(page))

    if codec is v1_0:
        schemas.check("1.0", CONFIGS, configs)
    for config in configs["configs"] if codec is v1_0 else configs:
        schemas.check(codec.VERSION, CONFIG, config)


# --- which codec answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", Operation)
def test_form_that_answers_where_nothing_tells(operation: Operation) -> None:
    old = v0_3 if operation is Operation.LIST_TASKS else v0_3_gateway

    assert rest_codec_of(operation, "0.3").NAME == old.NAME
    assert rest_codec_of(operation, "1.0").NAME == v1_0.NAME
