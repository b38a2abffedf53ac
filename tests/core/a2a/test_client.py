"""The client side: requests, answers, refusals. What it writes, our own server side must read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.bindings.jsonrpc import parse_request, render_error, render_result
from sansio.a2a.bindings.rest import route
from sansio.a2a.bindings.sse import encode
from sansio.a2a.cards.parse import HTTP_JSON, JSONRPC, Interface
from sansio.a2a.client.agent_errors import agent_error
from sansio.a2a.client.calls import (
    MOST_VALUES,
    HttpCall,
    StreamReader,
    extensions_of,
    operation_call,
    read_answer,
    read_deletion,
    read_page_answer,
    read_task_answer,
    send_call,
    to_json,
)
from sansio.a2a.client.calls import Request as CallRequest
from sansio.a2a.client.client_errors import (
    AgentError,
    AuthenticationError,
    BusyAgentError,
    InvalidAnswerError,
    PermissionDeniedError,
)
from sansio.a2a.codecs.registry import CODECS, Codec, rest_codec
from sansio.a2a.errors import ErrorKind, ProtocolError, http_error, invalid, jsonrpc_error
from sansio.a2a.model import (
    DataPart,
    FilePart,
    GetTaskRequest,
    ListPushConfigsRequest,
    ListTasksRequest,
    Message,
    PushConfig,
    PushConfigId,
    Role,
    SendConfiguration,
    SendRequest,
    StatusUpdate,
    StreamItem,
    Task,
    TaskIdRequest,
    TaskPage,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.operations import Operation, operation_of
from sansio.a2a.server import Call, ServedProtocol, understand
from sansio.a2a.tasks.shared_metadata import PUSH_INTERRUPTS_URI
from sansio.a2a.versions import VERSIONS
from tests import strategies

URL = "http://agent.example/a2a"
BINDINGS = (JSONRPC, HTTP_JSON)  # those whose answers are JSON
INTERFACES = [Interface(binding=binding, version=version, url=URL) for version in VERSIONS for binding in BINDINGS]
NAMES = [str(interface) for interface in INTERFACES]
each_interface = pytest.mark.parametrize("interface", INTERFACES, ids=NAMES)
interfaces = st.sampled_from(INTERFACES)

HELLO = SendRequest(
    message=Message(message_id="m1", role=Role.USER, parts=(TextPart(text="hello"),), context_id="c1")
)
SERVED = ServedProtocol()
DONE = Task(id="t1", context_id="c1", status=TaskStatus(state=TaskState.COMPLETED))


def interface_of(binding: str, version: str) -> Interface:
    return Interface(binding=binding, version=version, url=URL)


# ------------------------------------------------------------------------------------------------ requests


def served(call: HttpCall, interface: Interface) -> tuple[Operation | None, Any]:
    """The operation and its parameters as our server side reads the request."""
    assert call.headers["a2a-version"] == interface.version
    parts = urlsplit(call.url)
    if interface.binding == JSONRPC:
        assert call.url == interface.url
        request = parse_request(call.body or b"")
        operation, version = operation_of(request.method)
        assert version == interface.version
        return operation, request.params
    found = route(call.method, unquote(parts.path.removeprefix("/a2a")))
    assert found.hint == interface.version
    body = orjson.loads(call.body) if call.body is not None else {"id": found.id}
    return found.operation, body


def server_form(interface: Interface, params: Any) -> Codec:
    """The codec that our server side reads the parameters in."""
    return CODECS[interface.version] if interface.binding == JSONRPC else rest_codec(interface.version, params)


@each_interface
@pytest.mark.parametrize("streaming", [False, True])
def test_our_server_reads_a_send_from_our_client(interface: Interface, streaming: bool) -> None:
    call = send_call(interface, HELLO, request_id="r1", streaming=streaming)

    operation, params = served(call, interface)

    assert operation is (Operation.STREAM if streaming else Operation.SEND)
    assert evolve(server_form(interface, params).parse_send(params), codec_name=None) == HELLO
    assert call.streaming is streaming
    assert call.headers["content-type"] == "application/json"


@each_interface
def test_our_server_reads_a_task_request_from_our_client(interface: Interface) -> None:
    call = operation_call(
        interface, Operation.GET_TASK, GetTaskRequest(id="a b/c?d", history_length=None), request_id="r1"
    )

    operation, params = served(evolve(call, url=call.url.replace("a%20b%2Fc%3Fd", "one")), interface)

    assert operation is Operation.GET_TASK
    assert params["id"] in ("a b/c?d", "one")


HOOK = PushConfig(url="https://hooks.example.org/", id="c", task_id="t")


@each_interface
@pytest.mark.parametrize(
    ("operation", "request_of"),
    [
        (Operation.SEND, lambda limited: with_push(evolve(HOOK, interrupts_only=limited))),
        (Operation.SET_PUSH_CONFIG, lambda limited: evolve(HOOK, interrupts_only=limited)),
        (
            Operation.GET_PUSH_CONFIG,
            lambda limited: PushConfigId(task_id="t", id="c", interrupts_only=limited),
        ),
        (
            Operation.LIST_PUSH_CONFIGS,
            lambda limited: ListPushConfigsRequest(task_id="t", interrupts_only=limited),
        ),
        (Operation.SEND, lambda limited: HELLO),
    ],
)
def test_a_request_about_interrupts_only_activates_the_extension(
    interface: Interface, operation: Operation, request_of: Callable[[bool], CallRequest]
) -> None:
    header = {"1.0": "a2a-extensions", "0.3": "x-a2a-extensions"}[interface.version]
    limited, plain = (operation_call(interface, operation, request_of(one), request_id="r") for one in (True, False))
    more = operation_call(interface, operation, request_of(True), request_id="r", extensions=["urn:other"])

    activated = extensions_of(request_of(True))

    assert list(activated) == ([] if request_of(True) is HELLO else [PUSH_INTERRUPTS_URI])
    assert limited.headers.get(header) == (PUSH_INTERRUPTS_URI if activated else None)
    assert more.headers[header] == ", ".join(["urn:other", *activated])
    assert header not in plain.headers
    assert limited.body == plain.body


def with_push(config: PushConfig) -> SendRequest:
    return evolve(HELLO, configuration=SendConfiguration(push=config))


def test_the_history_length_goes_into_the_query_of_the_rest_binding() -> None:
    call = operation_call(
        interface_of(HTTP_JSON, "1.0"), Operation.GET_TASK, GetTaskRequest(id="t", history_length=0), request_id=""
    )

    assert call.url == f"{URL}/tasks/t?historyLength=0"


def test_the_0_3_rest_binding_speaks_the_dialect_of_its_published_servers() -> None:
    parts = (
        TextPart(text="hi"),
        DataPart(data={"a": 1}),
        FilePart(url="http://f", media_type="text/plain", filename="f"),
    )
    request = SendRequest(
        message=Message(message_id="m", role=Role.USER, parts=parts),
        configuration=SendConfiguration(blocking=False),
    )

    call = send_call(interface_of(HTTP_JSON, "0.3"), request, request_id="r")

    assert call.url == f"{URL}/v1/message:send"
    assert orjson.loads(call.body or b"") == {
        "message": {
            "messageId": "m",
            "role": "ROLE_USER",
            "content": [
                {"text": "hi"},
                {"data": {"data": {"a": 1}}},
                {"file": {"fileWithUri": "http://f", "mimeType": "text/plain", "name": "f"}},
            ],
        },
        "configuration": {"blocking": False},
    }


def test_an_interfaces_tenant_is_named_in_the_path_or_in_the_parameters() -> None:
    rest = evolve(interface_of(HTTP_JSON, "1.0"), tenant="acme")
    rpc = evolve(interface_of(JSONRPC, "1.0"), tenant="acme")

    assert send_call(rest, HELLO, request_id="").url == f"{URL}/acme/message:send"
    assert orjson.loads(send_call(rpc, HELLO, request_id="").body or b"")["params"]["tenant"] == "acme"
    task = operation_call(rpc, Operation.GET_TASK, GetTaskRequest(id="t"), request_id="")
    assert orjson.loads(task.body or b"")["params"] == {"id": "t", "tenant": "acme"}


@given(interfaces, st.data())
def test_any_message_arrives_as_it_was_sent(interface: Interface, data: st.DataObject) -> None:
    message = data.draw(strategies.messages(interface.version))
    if interface.binding == HTTP_JSON and interface.version == "0.3":
        message = evolve(message, reference_task_ids=())  # that line's proto has no such field
        message = evolve(
            message,
            parts=tuple(p if not isinstance(p, DataPart) else evolve(p, data={"k": p.data}) for p in message.parts),
        )
    request = SendRequest(message=message)

    _, params = served(send_call(interface, request, request_id="r"), interface)

    assert evolve(server_form(interface, params).parse_send(params), codec_name=None) == request


def test_what_json_cannot_say_is_a_protocol_error() -> None:
    deep: Any = []
    for _ in range(1000):
        deep = [deep]

    with pytest.raises(ProtocolError):
        to_json(deep)
    with pytest.raises(ProtocolError):
        to_json("\ud800")


# ------------------------------------------------------------------------------------------------- answers


def answer_of(interface: Interface, item: StreamItem) -> bytes:
    rendered = CODECS[interface.version].render_send_result(item)
    return render_result("r", rendered) if interface.binding == JSONRPC else orjson.dumps(rendered)


@given(interfaces, st.data())
def test_a_whole_answer_is_read_as_it_was_rendered(interface: Interface, data: st.DataObject) -> None:
    item = data.draw(strategies.items(interface.version))

    if isinstance(item, Task | Message):
        assert read_answer(interface, 200, answer_of(interface, item)) == item
    else:
        with pytest.raises(InvalidAnswerError, match="an update"):
            read_answer(interface, 200, answer_of(interface, item))


@pytest.mark.parametrize("stays_open", [False, True])
@pytest.mark.parametrize("state", [TaskState.WORKING, TaskState.INPUT_REQUIRED, TaskState.COMPLETED])
def test_a_stream_of_1_0_ends_where_its_task_waits_unless_it_stays_open(state: TaskState, stays_open: bool) -> None:
    interface = Interface(binding=JSONRPC, version="1.0", url="http://a/")
    sent = StatusUpdate(task_id="t", context_id="c", status=TaskStatus(state=state))

    [read] = StreamReader(interface, stays_open=stays_open).feed(encode(answer_of(interface, sent), id="7"))

    assert isinstance(read, StatusUpdate)
    assert read.final is (state is TaskState.COMPLETED or (state is TaskState.INPUT_REQUIRED and not stays_open))


@pytest.mark.parametrize(("id", "header"), [("7", "7"), ("", None), ("7\r\nx: y", None), ("\u00e9", None)])
@pytest.mark.parametrize("binding", [JSONRPC, HTTP_JSON])
def test_a_subscription_names_the_last_event_where_a_header_can(binding: str, id: str, header: str | None) -> None:
    interface = Interface(binding=binding, version="1.0", url="http://a/x")

    call = operation_call(
        interface,
        Operation.SUBSCRIBE,
        TaskIdRequest(id="t/1"),
        request_id="r",
        last_event_id=id,
        extensions=("urn:e",),
    )

    assert call.headers.get("last-event-id") == header
    assert call.headers["a2a-extensions"] == "urn:e"
    assert call.streaming
    if binding == JSONRPC:
        assert orjson.loads(call.body or b"")["method"] == "SubscribeToTask"
        assert orjson.loads(call.body or b"")["params"] == {"id": "t/1"}
    else:
        assert (call.method, call.url) == ("POST", "http://a/x/tasks/t%2F1:subscribe")


@given(interfaces, st.data())
def test_a_stream_is_read_the_same_however_it_is_cut(interface: Interface, data: st.DataObject) -> None:
    sent = data.draw(st.lists(strategies.items(interface.version), max_size=4))
    wire = b":\n\n" + b"".join(encode(answer_of(interface, item)) for item in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    reader = StreamReader(interface, stays_open=True)

    chunks = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    read = [item for chunk in chunks for item in reader.feed(chunk)]

    assert read == sent


@each_interface
def test_an_event_without_data_is_no_item(interface: Interface) -> None:
    frame = encode(answer_of(interface, DONE))

    assert list(StreamReader(interface, stays_open=True).feed(b"data: \n\n" + frame + b"data: \n\n")) == [DONE]


@each_interface
def test_a_task_is_read_from_the_answer_to_a_task_request(interface: Interface) -> None:
    rendered = CODECS[interface.version].render_task(DONE)
    body = render_result("r", rendered) if interface.binding == JSONRPC else orjson.dumps(rendered)

    assert read_task_answer(interface, 200, body) == DONE


@pytest.mark.parametrize(
    ("wrapped", "kind"),
    [
        ({"task": {"id": "t1", "contextId": "c1", "status": {"state": "TASK_STATE_COMPLETED"}}}, Task),
        ({"message": {"messageId": "m", "role": "ROLE_AGENT", "content": [{"text": "hi"}]}}, Message),
    ],
)
def test_the_wrapper_of_published_0_3_rest_servers_is_understood(wrapped: object, kind: type) -> None:
    assert isinstance(read_answer(interface_of(HTTP_JSON, "0.3"), 200, orjson.dumps(wrapped)), kind)


@each_interface
def test_items_before_an_error_in_the_same_chunk_are_not_lost(interface: Interface) -> None:
    error = ProtocolError(ErrorKind.TASK_NOT_FOUND)
    if interface.binding == JSONRPC:
        refusal = render_error("r", error, interface.version)
    else:
        refusal = orjson.dumps(http_error(error, "1.0")[1])
    reader = StreamReader(interface)
    items = reader.feed(encode(answer_of(interface, DONE)) + encode(refusal))

    assert next(items) == DONE
    with pytest.raises(AgentError, match="Task not found"):
        next(items)


@each_interface
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b"7", b'{"result": {}}', b'{"jsonrpc": "2.0", "id": 1}']
)
def test_an_answer_that_makes_no_sense_is_a_protocol_error(interface: Interface, body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_answer(interface, 200, body)

    assert caught.value.kind is ErrorKind.INVALID_AGENT_RESPONSE


def test_an_event_larger_than_the_limit_is_a_protocol_error() -> None:
    reader = StreamReader(INTERFACES[0], limit=100)

    with pytest.raises(ProtocolError):
        list(reader.feed(b"data: " + b"x" * 200))


@pytest.mark.parametrize("value", [b"{}", b"[[]]"])
def test_an_answer_of_countless_values_is_refused_before_it_takes_their_memory(value: bytes) -> None:
    body = b'{"jsonrpc":"2.0","id":"1","result":[%b]}' % b",".join([value] * MOST_VALUES)

    with pytest.raises(InvalidAnswerError, match="more than"):
        read_answer(INTERFACES[0], 200, body)


_envelopes = st.dictionaries(
    st.sampled_from(
        ["jsonrpc", "id", "result", "error", "task", "message", "statusUpdate", "kind", "detail", "data"]
    ),
    strategies.json_values
    | st.dictionaries(
        st.sampled_from(["code", "message", "data", "details", "status", "kind"]), strategies.json_values
    ),
)
_bodies = st.binary() | (_envelopes | strategies.json_values).map(orjson.dumps)


@given(interfaces, st.integers(100, 599), _bodies)
def test_any_answer_is_an_item_or_one_of_the_two_errors(interface: Interface, status: int, body: bytes) -> None:
    for read in (read_answer, read_task_answer):
        try:
            read(interface, status, body)
        except (AgentError, ProtocolError) as error:
            assert str(error)  # noqa: PT017 - both outcomes are right; a refusal must say something


@given(interfaces, st.lists(_bodies | _bodies.map(encode)))
def test_any_stream_is_items_or_one_of_the_two_errors(interface: Interface, chunks: list[bytes]) -> None:
    reader = StreamReader(interface, limit=200)
    try:
        for chunk in chunks:
            for item in reader.feed(chunk):
                assert CODECS[interface.version].render_item(item)
    except (AgentError, ProtocolError) as error:
        assert str(error)  # noqa: PT017 - both outcomes are right; a refusal must say something


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("version", VERSIONS)
def test_a_json_rpc_refusal_keeps_its_code_and_names_its_reason(version: str) -> None:
    fault = ProtocolError(ErrorKind.VERSION_NOT_SUPPORTED, "no", data={"type": "VERSION_NOT_SUPPORTED"})
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "error": jsonrpc_error(fault, version)})

    with pytest.raises(AgentError) as caught:
        read_answer(interface_of(JSONRPC, version), 200, body)

    error = caught.value
    assert (error.message, error.code, error.http_status) == ("no", -32009, 200)
    assert error.reason == "VERSION_NOT_SUPPORTED"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("binding", BINDINGS)
def test_a_refusal_over_wrong_fields_names_them(version: str, binding: str) -> None:
    fault = invalid(("message", "parts"), "must hold at least one element")
    if binding == JSONRPC:
        error = agent_error(400, orjson.dumps({"error": jsonrpc_error(fault, version)}))
    else:
        status, body = http_error(fault, version)
        error = agent_error(status, orjson.dumps(body))

    assert "parts" in error.message
    assert "must hold at least one element" in error.message
    assert error.http_status == 400
    assert error.code == (-32602 if binding == JSONRPC else None)


@pytest.mark.parametrize(
    ("status", "body", "message", "reason"),
    [
        (
            404,
            {
                "error": {
                    "code": 404,
                    "status": "NOT_FOUND",
                    "message": "gone",
                    "details": [{"reason": "TASK_NOT_FOUND"}],
                }
            },
            "gone",
            "TASK_NOT_FOUND",
        ),
        (503, {"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}}, "busy", "UNAVAILABLE"),
        (404, {"message": "Task not found"}, "Task not found", None),
        (401, {"error": "Unauthorized"}, "Unauthorized", None),
        (400, {"error": "Unsupported", "type": "VERSION_NOT_SUPPORTED"}, "Unsupported", "VERSION_NOT_SUPPORTED"),
        (404, {"detail": "Not Found"}, "Not Found", None),
        (
            422,
            {"detail": [{"loc": ["body", "x"], "msg": "missing"}]},
            "HTTP 422 Unprocessable Entity; body.x: missing",
            None,
        ),
        (400, {"type": "about:blank", "title": "Bad", "detail": "very bad"}, "very bad", "about:blank"),
        (500, {}, "HTTP 500 Internal Server Error", None),
        (500, "it broke", "it broke", None),
        (599, [], "HTTP 599", None),
    ],
)
def test_refusals_of_every_shape_are_understood(status: int, body: object, message: str, reason: str | None) -> None:
    error = agent_error(status, orjson.dumps(body))

    assert (error.message, error.reason, error.http_status) == (message, reason, status)


_BUSY = (
    ErrorKind.OVERLOADED,
    ErrorKind.RATE_LIMITED,
    ErrorKind.STORE_UNAVAILABLE,
    ErrorKind.AUTHENTICATION_UNAVAILABLE,
    ErrorKind.REQUEST_TIMEOUT,
)
REFUSALS = [
    (ErrorKind.UNAUTHENTICATED, AuthenticationError),
    (ErrorKind.FORBIDDEN, PermissionDeniedError),
    *((kind, BusyAgentError) for kind in _BUSY),
]


@pytest.mark.parametrize(("kind", "error"), REFUSALS, ids=[kind.name for kind, _ in REFUSALS])
@pytest.mark.parametrize("interface", INTERFACES, ids=NAMES)
def test_an_error_in_a_stream_is_known_without_an_http_status(
    interface: Interface, kind: ErrorKind, error: type[AgentError]
) -> None:
    call = operation_call(interface, Operation.SUBSCRIBE, TaskIdRequest(id="t-1"), request_id="r")
    frame = understood(call, interface).failure_frame(ProtocolError(kind))

    with pytest.raises(error) as raised:
        list(StreamReader(interface).feed(frame))
    assert raised.value.reason == kind.name


@pytest.mark.parametrize(("kind", "error"), REFUSALS, ids=[kind.name for kind, _ in REFUSALS])
@pytest.mark.parametrize("version", VERSIONS)
def test_an_error_of_json_rpc_is_known_without_an_http_status(
    version: str, kind: ErrorKind, error: type[AgentError]
) -> None:
    interface = Interface(binding=JSONRPC, version=version, url=URL)

    with pytest.raises(error):
        read_answer(interface, 200, render_error("r", ProtocolError(kind), version))


def test_an_agent_with_too_much_to_do_is_asked_again_later() -> None:
    error = ProtocolError(ErrorKind.OVERLOADED, data={"type": "UPSTREAM_BACKPRESSURE", "limit": 4})
    interface = Interface(binding=JSONRPC, version="0.3", url=URL)

    with pytest.raises(BusyAgentError):
        read_answer(interface, 200, render_error("r", error, "0.3"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"no such\n  agent\n", "no such agent"),
        (b"", "HTTP 502 Bad Gateway"),
        (b"<html><h1>nginx</h1>", "HTTP 502 Bad Gateway"),
        (b"x" * 5000, "x" * 299 + "…"),
    ],
)
def test_a_plain_text_refusal_is_one_short_line(body: bytes, message: str) -> None:
    assert agent_error(502, body).message == message


def understood(call: HttpCall, interface: Interface) -> Call:
    """The call as our server side understands it."""
    parts = urlsplit(call.url)
    path = "/" if interface.binding == JSONRPC else unquote(parts.path.removeprefix("/a2a"))
    return understand(Request(call.method, path, parts.query.encode(), dict(call.headers), call.body or b""), SERVED)


@each_interface
def test_our_server_understands_a_cancellation_and_a_list(interface: Interface) -> None:
    cancel = understood(
        operation_call(interface, Operation.CANCEL, TaskIdRequest(id="a b"), request_id="r"), interface
    )
    wanted = ListTasksRequest(context_id="c", state=TaskState.CANCELED, page_size=7, page_token="p", history_length=0)
    listing = understood(operation_call(interface, Operation.LIST_TASKS, wanted, request_id="r"), interface)

    assert (cancel.operation, cancel.version) == (Operation.CANCEL, interface.version)
    assert cancel.read().id == "a b"
    assert (listing.operation, listing.version) == (Operation.LIST_TASKS, interface.version)
    assert listing.read() == wanted


@each_interface
def test_a_page_is_read_and_one_that_is_none_is_an_error(interface: Interface) -> None:
    page = TaskPage(tasks=(), next_page_token="next", page_size=1, total=3)
    value: Any = {"tasks": [], "nextPageToken": "next", "pageSize": 1, "totalSize": 3}

    def answer(value: Any) -> bytes:
        return orjson.dumps({"jsonrpc": "2.0", "id": "r", "result": value} if interface.binding == JSONRPC else value)

    assert read_page_answer(interface, 200, answer(value)) == page
    wrongs: list[Any] = [{}, {"tasks": 5}, {"tasks": [5]}, []]
    for wrong in wrongs:
        with pytest.raises(ProtocolError):
            read_page_answer(interface, 200, answer(wrong))


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b'{"jsonrpc":"2.0","id":"r"}', b'{"jsonrpc":"2.0","id":"r","result":null}']
)
def test_a_deletion_may_be_answered_with_nothing(body: bytes) -> None:
    read_deletion(200, body)


def test_a_deletion_that_is_refused_is_an_error() -> None:
    with pytest.raises(AgentError):
        read_deletion(200, b'{"jsonrpc":"2.0","id":"r","error":{"code":-32001,"message":"Task not found"}}')
    with pytest.raises(AgentError):
        read_deletion(404, b"")
    with pytest.raises(InvalidAnswerError):
        read_deletion(200, b"<html>")
