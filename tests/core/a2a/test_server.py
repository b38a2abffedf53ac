"""A request becomes a call, or a finished refusal in the shape that its client reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.http_messages import Request, Response
from sansio.a2a.bindings.json_output import SLICE
from sansio.a2a.bindings.sse import json_data
from sansio.a2a.codecs import v1_0
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import PushConfig, SendRequest, Task, TaskIdRequest, TaskState, TaskStatus
from sansio.a2a.operations import Operation
from sansio.a2a.server import Call, CallRefusedError, ServedProtocol, check_target, load_bindings, understand
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.shared_metadata import PUSH_INTERRUPTS, PUSH_INTERRUPTS_URI
from tests.steps import counted

URI = "https://example.org/ext"
BOTH = ServedProtocol(extensions={URI: "hints"})
ONLY_1_0 = ServedProtocol(versions=("1.0",), default_version="1.0")
WITHOUT_PUSH = ServedProtocol(withheld=frozenset({Operation.SET_PUSH_CONFIG}))
MESSAGE_1_0 = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}}
MESSAGE_0_3 = {"message": {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}}


def post(path: str, body: object, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Request(method="POST", path=path, query_string=b"", headers=named, body=raw)


def get(path: str, query: bytes = b"", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method="GET", path=path, query_string=query, headers=named)


def rpc(method: str, params: object = None, *, served: ServedProtocol = BOTH, **more: Any) -> Call:
    headers = more.pop("headers", {})
    body = {"jsonrpc": "2.0", "id": "r", "method": method, "params": params, **more}
    return understand(post("/", {k: v for k, v in body.items() if v is not ...}, **headers), served)


def refused(request: Request, served: ServedProtocol = BOTH) -> Response:
    with pytest.raises(CallRefusedError) as caught:
        understand(request, served)
    return caught.value.response


@pytest.mark.parametrize(
    ("method", "params", "version"), [("SendMessage", MESSAGE_1_0, "1.0"), ("message/send", MESSAGE_0_3, "0.3")]
)
def test_the_name_of_a_method_decides_the_version_where_none_is_asked_for(
    method: str, params: object, version: str
) -> None:
    call = rpc(method, params)

    assert (call.version, call.operation, call.is_document) == (version, Operation.SEND, False)
    assert isinstance(request := call.read(), SendRequest)
    assert (request.message.message_id, request.codec_name) == ("m", None)
    assert ("a2a-version", version) in call.headers


def test_a_message_over_http_json_says_which_codec_it_came_in() -> None:
    call = understand(post("/v1/message:send", MESSAGE_0_3), BOTH)

    assert call.read().codec_name == "0.3"
    assert call.codec_of(None).NAME != call.codec_of("0.3").NAME == "0.3"


@pytest.mark.parametrize(
    ("method", "message", "name"),
    [
        ("SendMessage", MESSAGE_1_0, "taskPushNotificationConfig"),
        ("message/stream", MESSAGE_0_3, "pushNotificationConfig"),
    ],
)
def test_a_message_with_a_push_configuration_is_refused_where_there_are_none(
    method: str, message: dict[str, Any], name: str
) -> None:
    call = rpc(method, message | {"configuration": {name: {"url": "https://example.org/"}}}, served=WITHOUT_PUSH)

    with pytest.raises(ProtocolError) as caught:
        call.read()
    assert caught.value.kind is ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED
    assert isinstance(rpc(method, message, served=WITHOUT_PUSH).read(), SendRequest)


def test_an_unknown_method_is_a_call_of_an_extension_method() -> None:
    call = rpc("opencode.sessions.list", {"limit": 1}, headers={"a2a-version": "1.0", "a2a-extensions": URI})

    assert (call.operation, call.method, call.params, call.version) == (
        None,
        "opencode.sessions.list",
        {"limit": 1},
        "1.0",
    )
    assert call.headers == (("a2a-version", "1.0"),)


def test_extensions_that_are_known_are_activated_and_echoed() -> None:
    call = rpc("GetTask", {"id": "t"}, headers={"a2a-extensions": f"{URI}, urn:other"})

    assert call.activated.names == {"hints"}
    assert call.headers == (("a2a-version", "1.0"), ("a2a-extensions", URI))


# --- push configurations that name interrupts only --------------------------------------------------------

SERVED_PUSH = ServedProtocol(extensions={URI: "hints", PUSH_INTERRUPTS_URI: PUSH_INTERRUPTS})
LIMITED = {"a2a_extensions": PUSH_INTERRUPTS_URI}
HOOK: dict[str, Any] = {"url": "https://example.org/", "id": "c"}
OF_TASK = {"taskId": "t", "id": "c"}
WITH_PUSH_1_0 = MESSAGE_1_0 | {"configuration": {"taskPushNotificationConfig": HOOK}}
WITH_PUSH_0_3 = MESSAGE_0_3 | {"configuration": {"pushNotificationConfig": HOOK}}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("SendMessage", WITH_PUSH_1_0),
        ("SendStreamingMessage", WITH_PUSH_1_0),
        ("message/send", WITH_PUSH_0_3),
        ("message/stream", WITH_PUSH_0_3),
    ],
)
@pytest.mark.parametrize("activates", [True, False])
def test_a_message_that_activates_the_extension_limits_its_configuration(
    method: str, params: object, activates: bool
) -> None:
    headers = {"x-a2a-extensions": PUSH_INTERRUPTS_URI} if activates else {}

    request = rpc(method, params, served=SERVED_PUSH, headers=headers).read()

    assert request.configuration.push == PushConfig(**HOOK, interrupts_only=activates)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("CreateTaskPushNotificationConfig", OF_TASK | HOOK),
        ("GetTaskPushNotificationConfig", OF_TASK),
        ("ListTaskPushNotificationConfigs", {"taskId": "t"}),
        ("tasks/pushNotificationConfig/set", {"taskId": "t", "pushNotificationConfig": HOOK}),
        ("tasks/pushNotificationConfig/get", {"id": "t", "pushNotificationConfigId": "c"}),
        ("tasks/pushNotificationConfig/list", {"id": "t"}),
    ],
)
@pytest.mark.parametrize("activates", [True, False])
def test_what_is_set_or_read_with_the_extension_names_interrupts_only(
    method: str, params: object, activates: bool
) -> None:
    headers = {"a2a-extensions": PUSH_INTERRUPTS_URI} if activates else {}

    assert rpc(method, params, served=SERVED_PUSH, headers=headers).read().interrupts_only is activates


def test_over_http_json_the_extension_does_the_same() -> None:
    sent = understand(post("/message:send", WITH_PUSH_1_0, **LIMITED), SERVED_PUSH)
    made = understand(post("/tasks/t/pushNotificationConfigs", HOOK, **LIMITED), SERVED_PUSH)
    read = understand(get("/tasks/t/pushNotificationConfigs/c", b"", a2a_version="1.0", **LIMITED), SERVED_PUSH)

    assert sent.read().configuration.push == PushConfig(**HOOK, interrupts_only=True)
    assert made.read() == PushConfig(**HOOK, task_id="t", interrupts_only=True)
    assert read.read().interrupts_only is True


@pytest.mark.parametrize(
    ("method", "params", "request_of"),
    [
        ("SendMessage", MESSAGE_1_0, lambda call: call.read().configuration.push),
        ("DeleteTaskPushNotificationConfig", OF_TASK, lambda call: call.read().interrupts_only),
        ("GetTask", {"id": "t"}, lambda call: None),
    ],
)
def test_the_extension_means_nothing_to_other_requests(
    method: str, params: object, request_of: Callable[[Call], object]
) -> None:
    call = rpc(method, params, served=SERVED_PUSH, headers={"a2a-extensions": PUSH_INTERRUPTS_URI})

    assert not request_of(call)
    assert call.read() == rpc(method, params, served=SERVED_PUSH).read()


def test_where_the_extension_is_not_offered_nothing_is_limited() -> None:
    headers = {"a2a-extensions": PUSH_INTERRUPTS_URI}

    call = rpc("CreateTaskPushNotificationConfig", OF_TASK | HOOK, headers=headers)

    assert call.read().interrupts_only is False
    assert call.headers == (("a2a-version", "1.0"),)


@pytest.mark.parametrize(
    ("method", "params", "header"),
    [
        ("GetTaskPushNotificationConfig", OF_TASK, "a2a-extensions"),
        ("tasks/pushNotificationConfig/get", {"id": "t"}, "x-a2a-extensions"),
    ],
)
def test_an_answer_reports_that_a_configuration_names_interrupts_only(
    method: str, params: object, header: str
) -> None:
    call = rpc(method, params, served=SERVED_PUSH)
    full, limited = PushConfig(**HOOK), PushConfig(**HOOK, interrupts_only=True)

    assert call.showing([]) is call.showing([full, full]) is call
    assert (header, PUSH_INTERRUPTS_URI) in call.showing([full, limited]).respond([b"{}"]).headers


def test_what_was_activated_is_reported_with_it() -> None:
    call = rpc("GetTaskPushNotificationConfig", OF_TASK, served=SERVED_PUSH, headers={"a2a-extensions": URI})

    shown = call.showing([PushConfig(**HOOK, interrupts_only=True)])

    assert ("a2a-extensions", f"{URI}, {PUSH_INTERRUPTS_URI}") in shown.headers


def test_a_notification_whose_params_name_a_member_twice_is_not_answered_either() -> None:
    text = b'{"jsonrpc":"2.0","method":"GetTask","params":{"id":"a","id":"b"}}'

    assert (refused(post("/", text)).status, refused(post("/", text)).body) == (204, b"")
    assert b"INVALID_PARAMS" in refused(post("/", text[:-1] + b',"id":1}', a2a_version="1.0")).body


def test_a_notification_is_answered_with_nothing_whatever_comes_of_it() -> None:
    call = rpc("SendStreamingMessage", MESSAGE_1_0, id=...)

    assert (call.operation, call.streams) == (Operation.SEND, False)
    assert call.respond([b"{}"]) == call.refuse(ProtocolError(ErrorKind.INTERNAL_ERROR))
    assert call.respond(None).status == 204
    with pytest.raises(CallRefusedError) as refused:
        rpc("GetTask", {"id": "t"}, id=..., headers={"a2a-version": "9.9"})
    assert (refused.value.response.status, refused.value.response.body) == (204, b"")


@pytest.mark.parametrize(("method", "in_stream"), [("message/stream", True), ("SendStreamingMessage", False)])
def test_only_version_0_3_has_the_refusal_of_a_stream_in_a_stream(method: str, in_stream: bool) -> None:
    answer = rpc(method, {}).refuse(ProtocolError(ErrorKind.OVERLOADED))

    kind = dict(answer.headers)["content-type"]
    assert (kind.partition(";")[0] == "text/event-stream", answer.body.startswith(b"data: ")) == (
        in_stream,
        in_stream,
    )


@pytest.mark.parametrize(
    ("path", "kind"), [("/tasks/t", "application/a2a+json"), ("/v1/tasks/t", "application/json")]
)
def test_an_answer_has_the_media_type_of_its_version(path: str, kind: str) -> None:
    call = understand(get(path), BOTH)

    assert isinstance(call.read(), object)
    assert dict(call.respond([b"{", b"}"]).headers)["content-type"] == kind
    assert call.respond([b"{", b"}"]).body == b"{}"
    assert call.respond(None).status == 204


def test_a_large_answer_stays_in_pieces() -> None:
    answer = rpc("GetTask", {"id": "t"}).respond([b"[", b"0" * 70_000, b"]"])

    assert answer.body == b""
    assert b"".join(answer.more) == b'{"jsonrpc":"2.0","id":"r","result":[' + b"0" * 70_000 + b"]}"


def test_a_cursor_comes_from_the_header_or_the_metadata() -> None:
    call = rpc("SubscribeToTask", {"id": "t"}, headers={"last-event-id": "7"})

    assert isinstance(call.read(), TaskIdRequest)
    assert (call.streams, call.cursor(None)) == (True, 7)
    assert rpc("SubscribeToTask", {"id": "t"}).cursor({"shared": {"resume": {"last_event_id": 9}}}) == 9


def test_a_frame_holds_the_envelope_of_its_binding() -> None:
    by_rpc, by_rest = rpc("SubscribeToTask", {"id": "t"}), understand(get("/tasks/t:subscribe"), BOTH)

    assert by_rpc.frame(3, b"{}") == b'id: 3\ndata: {"jsonrpc":"2.0","id":"r","result":{}}\n\n'
    assert by_rest.frame(3, b"{}") == b"id: 3\ndata: {}\n\n"
    large = {"a": "\u2028" * SLICE, "b": "y" * SLICE}
    pieces, steps = counted(by_rpc.frame_in_steps(3, large))
    assert (steps > 1, b"".join(pieces)) == (True, by_rpc.frame(3, json_data(orjson.dumps(large))))
    task = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.WORKING))
    assert orjson.loads(by_rpc.encode(task, 3, Presentation(v1_0)))["task"]["id"] == "t"
    for call in (by_rpc, by_rest):
        frame = call.failure_frame(ProtocolError(ErrorKind.STORE_UNAVAILABLE))
        assert frame.startswith(b"data: {")
        assert b"id: " not in frame


@pytest.mark.parametrize(
    ("request_", "served", "status", "within"),
    [
        (post("/", b"{"), BOTH, 200, b"-32700"),
        (post("/", {"jsonrpc": "2.0", "id": 4, "method": "GetTask"}, a2a_version="9.0"), BOTH, 200, b'"id":4'),
        (post("/", {"jsonrpc": "2.0", "id": 4, "method": "tasks/get"}), ONLY_1_0, 200, b'"id":4,"result"'),
        (post("/message:send", b"{", a2a_version="1.0"), BOTH, 400, b"error"),
        (get("/fly"), BOTH, 404, b"error"),
        (get("/tasks/t", a2a_version="9.0"), BOTH, 400, b"VERSION_NOT_SUPPORTED"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_the_shape_of_its_binding(
    request_: Request, served: ServedProtocol, status: int, within: bytes
) -> None:
    if b"result" in within:  # a name of the other version is understood on the one that is served
        assert understand(request_, served).version == "1.0"
        return
    answer = refused(request_, served)

    assert answer.status == status
    assert within in answer.body


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (get("/fly"), ErrorKind.NOT_FOUND),
        (post("/tasks/t", b""), ErrorKind.METHOD_NOT_ALLOWED),
        (post("/message:send", b"", a2a_version="9.0"), ErrorKind.VERSION_NOT_SUPPORTED),
    ],
)
def test_a_target_is_refused_before_its_body_is_read(request_: Request, kind: ErrorKind) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_target(request_, BOTH)

    assert caught.value.kind is kind


@given(
    st.sampled_from(["/", "/message:send", "/v1/message:stream", "/tasks/t", "/v1/tasks/t:cancel"]),
    st.binary(max_size=200) | st.sampled_from([orjson.dumps(MESSAGE_1_0), orjson.dumps(MESSAGE_0_3)]),
    st.sampled_from(["", "0.3", "1.0", "9", "x"]),
)
def test_every_request_is_a_call_or_a_finished_refusal(path: str, body: bytes, version: str) -> None:
    answer = answered(post(path, body, a2a_version=version))

    assert answer is None or answer.status in (200, 204, 400, 404, 405, 413, 415)


def answered(request: Request) -> Response | None:
    """The refusal of a request; None where it is a call with a typed request."""
    try:
        call = understand(request, BOTH)
    except CallRefusedError as refusal:
        return refusal.response
    try:
        if call.operation is not None:
            call.read()
    except ProtocolError as error:
        return call.refuse(error)
    return None


PUSHES = frozenset(
    {
        Operation.SET_PUSH_CONFIG,
        Operation.GET_PUSH_CONFIG,
        Operation.LIST_PUSH_CONFIGS,
        Operation.DELETE_PUSH_CONFIG,
    }
)


@pytest.mark.parametrize(("bindings", "needed"), [({"JSONRPC"}, False), ({"JSONRPC", "GRPC"}, True)])
def test_only_a_server_of_grpc_needs_its_library(bindings: set[str], needed: bool) -> None:
    code = (
        "import sys; from sansio.a2a.server import ServedProtocol, load_bindings;"
        f"load_bindings(ServedProtocol(bindings=frozenset({bindings})));"
        "print('google.protobuf' in sys.modules, 'sansio.a2a.serving.rpc_call' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.split() == [str(needed), "True"]
    load_bindings(ServedProtocol(bindings=frozenset(bindings)))


LEAN = ServedProtocol(withheld=PUSHES | {Operation.EXTENDED_CARD, Operation.LIST_TASKS})


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("GetTaskPushNotificationConfig", -32003),
        ("CreateTaskPushNotificationConfig", -32003),
        ("GetExtendedAgentCard", -32007),
        ("ListTasks", -32004),
    ],
)
def test_an_operation_that_is_withheld_is_refused_by_its_capability(method: str, code: int) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}

    with pytest.raises(CallRefusedError) as caught:
        understand(post("/", body), LEAN)

    assert orjson.loads(caught.value.response.body)["error"]["code"] == code


def test_a_route_that_is_withheld_is_refused() -> None:
    with pytest.raises(CallRefusedError) as caught:
        understand(Request("GET", "/extendedAgentCard", b"", {"a2a-version": "1.0"}), LEAN)

    assert caught.value.error.kind is ErrorKind.EXTENDED_AGENT_CARD_NOT_CONFIGURED


def test_without_push_a_message_may_bring_no_configuration() -> None:
    message = {**MESSAGE_0_3, "configuration": {"pushNotificationConfig": {"url": "https://example.com"}}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": message}

    assert understand(post("/", body), BOTH).read().configuration.push is not None
    with pytest.raises(ProtocolError) as caught:
        understand(post("/", body), LEAN).read()
    assert caught.value.kind is ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED
