"""The client side of gRPC: requests on both versions, answers, streams, statuses, addresses of cards."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any
from urllib.parse import quote

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings import grpc
from sansio.a2a.bindings.http_messages import Request as HttpRequest
from sansio.a2a.cards.parse import GRPC, HTTP_JSON, JSONRPC, Interface, choose, grpc_url, read_card
from sansio.a2a.client.calls import (
    HttpCall,
    Request,
    StreamReader,
    operation_call,
    read_answer,
    read_card_answer,
    read_deletion,
    read_page_answer,
    read_push_config_answer,
    read_push_configs_answer,
    read_task_answer,
    send_call,
)
from sansio.a2a.client.client_errors import (
    AgentError,
    AuthenticationError,
    BusyAgentError,
    InvalidAnswerError,
    UnsupportedByBindingError,
    UnsupportedError,
)
from sansio.a2a.client.grpc_answers import GrpcDecoder, message_in, starts_answer, status_in
from sansio.a2a.client.grpc_requests import timeout_text
from sansio.a2a.codecs.registry import GRPC_CODECS
from sansio.a2a.errors import ErrorKind, ProtocolError, invalid
from sansio.a2a.model import (
    Artifact,
    GetTaskRequest,
    ListPushConfigsRequest,
    ListTasksRequest,
    Message,
    PushAuthentication,
    PushConfig,
    PushConfigId,
    Role,
    SendRequest,
    StreamItem,
    Task,
    TaskIdRequest,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.operations import Operation
from sansio.a2a.protobuf.conversion import message_of, status_message
from sansio.a2a.protobuf.messages import RPCS, STATUS, message
from sansio.a2a.server import ServedProtocol, understand
from sansio.a2a.serving import grpc_call
from sansio.a2a.tasks.shared_metadata import RESUME_URI, STREAM_RESUME
from sansio.opencode.extension_names import EXTENSION_URIS
from tests import strategies

NEW = Interface(binding=GRPC, version="1.0", url="http://agent.example:50051")
OLD = evolve(NEW, version="0.3")
each_interface = pytest.mark.parametrize("interface", [NEW, OLD], ids=["1.0", "0.3"])
SERVED = ServedProtocol(bindings=frozenset({GRPC}))
HELLO = SendRequest(message=Message(message_id="m", role=Role.USER, parts=(TextPart(text="hi"),)))
DONE = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.COMPLETED))
CONFIG = PushConfig(
    task_id="t",
    id="c",
    url="http://x.example/",
    token="k",
    authentication=PushAuthentication(scheme="Bearer", credentials="w"),
)


def call_of(interface: Interface, operation: Operation, request: Request = None, **more: Any) -> HttpCall:
    return operation_call(interface, operation, request, request_id="1", **more)


def understood(call: HttpCall) -> grpc_call.GrpcCall:
    """The call as our own server understands it."""
    request = HttpRequest(
        method=call.method,
        path=call.url.removeprefix(NEW.url),
        query_string=b"",
        headers=dict(call.headers),
        body=call.body or b"",
        takes_trailers=True,
    )
    found = understand(request, SERVED)
    assert isinstance(found, grpc_call.GrpcCall)
    return found


def answer(interface: Interface, operation: Operation, value: dict[str, Any]) -> bytes:
    """The message of an answer."""
    [rpc] = [rpc for rpc in RPCS.values() if (rpc.version, rpc.operation) == (interface.version, operation)]
    return message_of(rpc.answer, value).SerializeToString()


# --- requests ---------------------------------------------------------------------------------------------


@each_interface
@given(data=st.data())
def test_a_message_reaches_our_server_as_it_was_sent(interface: Interface, data: st.DataObject) -> None:
    request = data.draw(strategies.send_requests(interface.version))
    call = send_call(interface, request, request_id="1", streaming=True, extensions=["urn:a", "urn:b"])

    found = understood(call)

    assert call.grpc
    assert call.streaming
    assert found.operation is Operation.STREAM
    codec = GRPC_CODECS[interface.version]
    read = codec.parse_send(found.params)
    assert codec.render_send(read) == codec.render_send(codec.parse_send(codec.render_send(read)))
    assert read.message.message_id == request.message.message_id
    assert ", ".join(["urn:a", "urn:b"]) in call.headers.values()


@each_interface
@pytest.mark.parametrize(
    ("operation", "request_", "read"),
    [
        (Operation.GET_TASK, GetTaskRequest(id="t", history_length=3), "parse_get_task"),
        (Operation.CANCEL, TaskIdRequest(id="t"), "parse_task_id"),
        (Operation.SUBSCRIBE, TaskIdRequest(id="t"), "parse_task_id"),
        (Operation.GET_PUSH_CONFIG, PushConfigId(task_id="t", id="c"), "parse_push_config_id"),
        (Operation.DELETE_PUSH_CONFIG, PushConfigId(task_id="t", id="c"), "parse_push_config_id"),
        (Operation.LIST_PUSH_CONFIGS, ListPushConfigsRequest(task_id="t"), "parse_list_push_configs"),
        (Operation.SET_PUSH_CONFIG, CONFIG, "parse_push_config_request"),
    ],
    ids=lambda value: value.name if isinstance(value, Operation) else "",
)
def test_our_server_understands_an_operation(
    interface: Interface, operation: Operation, request_: Request, read: str
) -> None:
    found = understood(call_of(interface, operation, request_))

    assert found.operation is operation
    assert getattr(GRPC_CODECS[interface.version], read)(found.params) == request_


def test_a_page_of_tasks_and_a_card_are_asked_for() -> None:
    found = understood(call_of(NEW, Operation.LIST_TASKS, ListTasksRequest(context_id="c", page_size=3)))
    assert found.params == {"contextId": "c", "pageSize": 3}
    assert understood(call_of(OLD, Operation.EXTENDED_CARD)).operation is Operation.EXTENDED_CARD


def test_version_0_3_has_no_list_of_tasks() -> None:
    with pytest.raises(UnsupportedByBindingError, match=r"ListTasks is no operation of version 0\.3 over gRPC"):
        call_of(OLD, Operation.LIST_TASKS, ListTasksRequest())


def test_a_request_has_the_metadata_of_a_call() -> None:
    call = call_of(NEW, Operation.SUBSCRIBE, TaskIdRequest(id="t"), last_event_id="7", timeout=1.0)

    assert call.url == f"{NEW.url}/lf.a2a.v1.A2AService/SubscribeToTask"
    assert dict(call.headers) == {
        "content-type": "application/grpc+proto",
        "te": "trailers",
        "grpc-accept-encoding": "identity",
        "a2a-version": "1.0",
        "last-event-id": "7",
    }


def test_what_is_no_stream_has_a_deadline() -> None:
    call = call_of(NEW, Operation.GET_TASK, GetTaskRequest(id="t"), timeout=1.5)
    assert call.headers["grpc-timeout"] == "1500m"
    assert timeout_text(10**6) == "1000000S"
    assert timeout_text(10**12) == "99999999S"
    assert understood(call).timeout == 1.5


def test_a_tenant_is_a_field_of_version_1_0() -> None:
    assert understood(call_of(evolve(NEW, tenant="a"), Operation.CANCEL, TaskIdRequest(id="t"))).params == {
        "tenant": "a",
        "id": "t",
    }
    assert understood(call_of(evolve(OLD, tenant="a"), Operation.CANCEL, TaskIdRequest(id="t"))).params == {"id": "t"}


@pytest.mark.parametrize("value", [10**400, "\ud800", object()], ids=["too large", "a lone surrogate", "no JSON"])
def test_a_value_that_no_message_holds_is_refused(value: object) -> None:
    with pytest.raises(ProtocolError, match="cannot be written as a message of gRPC"):
        call_of(NEW, Operation.SEND, evolve(HELLO, metadata={"a": value}))


# --- answers ----------------------------------------------------------------------------------------------


@given(strategies.items("1.0"), st.integers(1, 9))
def test_an_item_is_read_as_it_was_rendered(item: StreamItem, size: int) -> None:
    codec = GRPC_CODECS["1.0"]
    value = _without_times(codec.render_item(item))  # any text stands for one there
    body = grpc.framed(answer(NEW, Operation.STREAM, value))
    reader = StreamReader(NEW, stays_open=True)

    found = [one for at in range(0, len(body), size) for one in reader.feed(body[at : at + size])]

    assert [codec.render_item(one) for one in found] == [codec.render_item(codec.parse_item(value))]
    assert reader.held == 0


def _without_times(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_times(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_times(one) for name, one in value.items() if name != "timestamp"}
    return value


@each_interface
def test_required_members_that_a_message_leaves_out_are_read(interface: Interface) -> None:
    codec = GRPC_CODECS[interface.version]
    status = TaskStatus(state=TaskState.UNKNOWN)
    task = Task(id="t", context_id="c", status=status, artifacts=(Artifact(artifact_id="a", parts=()),))
    body = answer(interface, Operation.GET_TASK, codec.render_task(task))
    assert read_task_answer(interface, 200, body) == task


@each_interface
def test_each_operation_has_its_answer(interface: Interface) -> None:
    codec = GRPC_CODECS[interface.version]
    sent = answer(interface, Operation.SEND, codec.render_send_result(DONE))
    assert read_answer(interface, 200, sent) == DONE
    assert read_task_answer(interface, 200, answer(interface, Operation.GET_TASK, codec.render_task(DONE))) == DONE
    config = codec.render_push_config_result(CONFIG)
    made = read_push_config_answer(interface, "t", 200, answer(interface, Operation.GET_PUSH_CONFIG, config))
    assert (made.task_id, made.id, made.url) == ("t", "c", CONFIG.url)
    many = answer(interface, Operation.LIST_PUSH_CONFIGS, {"configs": [config]})
    assert [one.id for one in read_push_configs_answer(interface, "t", 200, many).configs] == ["c"]
    assert read_push_configs_answer(interface, "t", 200, b"").configs == ()
    read_deletion(200, b"")


def test_a_page_of_tasks_is_read() -> None:
    codec = GRPC_CODECS["1.0"]
    page = answer(NEW, Operation.LIST_TASKS, {"tasks": [codec.render_task(DONE)], "totalSize": 7})
    found = read_page_answer(NEW, 200, page)
    assert (found.tasks, found.total) == ((DONE,), 7)
    assert read_page_answer(NEW, 200, b"").tasks == ()


def test_a_card_of_version_0_3_is_as_its_schema_has_it() -> None:
    body = answer(
        OLD,
        Operation.EXTENDED_CARD,
        {
            "name": "a",
            "securitySchemes": {
                "key": {"apiKeySecurityScheme": {"name": "k", "location": "header"}},
                "bearer": {"httpAuthSecurityScheme": {"scheme": "bearer"}},
                "none": {},
            },
            "security": [{"schemes": {"key": {"list": ["read"]}, "bearer": {}}}, {}],
        },
    )

    assert read_card_answer(OLD, 200, body) == {
        "name": "a",
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "k"},
            "bearer": {"type": "http", "scheme": "bearer"},
            "none": {},
        },
        "security": [{"key": ["read"], "bearer": []}, {}],
    }
    assert read_card_answer(OLD, 200, answer(OLD, Operation.EXTENDED_CARD, {"name": "a"})) == {"name": "a"}
    assert read_card_answer(NEW, 200, answer(NEW, Operation.EXTENDED_CARD, {"name": "a"})) == {"name": "a"}


@pytest.mark.parametrize(
    "body",
    [b"\xff", message("lf.a2a.v1.SendMessageResponse")().SerializeToString()],
    ids=["no message", "an empty one"],
)
def test_a_message_of_another_kind_is_no_answer(body: bytes) -> None:
    with pytest.raises(InvalidAnswerError):
        read_answer(NEW, 200, body)


def test_an_answer_without_grpc_is_an_error_by_its_status() -> None:
    with pytest.raises(BusyAgentError) as caught:
        read_answer(NEW, 503, b"<html>")
    assert caught.value.message == "HTTP 503 Service Unavailable"


def test_the_one_message_of_an_answer_is_whole() -> None:
    assert message_in(grpc.framed(b"abc")) == b"abc"
    for body in (b"", grpc.framed(b"abc") + b"x", b"\1" + grpc.framed(b"abc")[1:]):
        with pytest.raises(InvalidAnswerError, match="is not valid over gRPC"):
            message_in(body)


def test_an_answer_of_grpc_has_its_type() -> None:
    assert starts_answer(200, "application/grpc+proto")
    assert not starts_answer(200, "application/grpc-web")
    assert not starts_answer(204, "application/grpc")


# --- streams ----------------------------------------------------------------------------------------------


def events(*ids: str | None) -> bytes:
    metadata = [{} if id_ is None else {"metadata": {"shared": {"resume": {"event_id": id_}}}} for id_ in ids]
    status = {"taskId": "t", "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}}
    return b"".join(
        grpc.framed(answer(NEW, Operation.STREAM, {"statusUpdate": {**status, **one}})) for one in metadata
    )


def test_the_id_of_an_event_is_in_its_metadata() -> None:
    reader = StreamReader(NEW)
    assert reader.last_id == ""
    assert [reader.last_id for _ in reader.feed(events("7", None, "9"))] == ["7", "7", "9"]


def test_what_is_in_the_metadata_may_be_of_any_kind() -> None:
    value = {"statusUpdate": {"taskId": "t", "contextId": "c", "metadata": {"shared": {"resume": 7}}}}
    decoder = GrpcDecoder("1.0", 1000)
    list(decoder.feed(grpc.framed(answer(NEW, Operation.STREAM, value))))
    list(decoder.feed(grpc.framed(b"")))
    assert decoder.last_id == ""


def test_messages_come_before_the_one_that_is_wrong() -> None:
    found = GrpcDecoder("1.0", 200).feed(events("7") + b"\0\x7f\xff\xff\xff")
    assert "statusUpdate" in next(found)
    with pytest.raises(InvalidAnswerError, match="larger than 200 bytes"):
        next(found)


@pytest.mark.parametrize("frame", [b"\1\0\0\0\1x", grpc.framed(b"\xff")], ids=["compressed", "no message"])
def test_a_message_that_cannot_be_read_ends_the_stream(frame: bytes) -> None:
    with pytest.raises(InvalidAnswerError):
        list(StreamReader(NEW).feed(frame))


# --- status -----------------------------------------------------------------------------------------------


def trailers(*pairs: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in pairs]


def error_of(*pairs: tuple[str, str], **more: Any) -> AgentError:
    found = status_in(trailers(*pairs), **more)
    assert found is not None
    return found.error()


@pytest.mark.parametrize("kind", ErrorKind)
def test_an_error_of_our_server_is_read_as_over_http_json(kind: ErrorKind) -> None:
    found = error_of(*grpc_call.trailers(ProtocolError(kind, "a message")))

    assert found.message == "a message"
    assert found.is_kind(kind)
    assert found.reason == kind.name


def test_the_wrong_fields_are_named() -> None:
    found = error_of(*grpc_call.trailers(invalid(("message", "parts"), "must be a list")))
    assert "message.parts: must be a list" in found.message
    assert found.http_status == 400


@pytest.mark.parametrize(
    ("code", "error", "status"),
    [
        (16, AuthenticationError, 401),
        (12, UnsupportedError, 501),
        (14, BusyAgentError, 503),
        (4, BusyAgentError, 504),
        (2, AgentError, 500),
        (99, AgentError, 500),
    ],
)
def test_a_code_alone_says_what_to_do(code: int, error: type[AgentError], status: int) -> None:
    found = error_of(("grpc-status", str(code)), ("grpc-message", "%E2%82%AC 5%"))
    assert type(found) is error
    assert (found.http_status, found.message) == (status, "€ 5%")


def test_a_status_that_is_ok_is_no_error_and_none_is_no_answer() -> None:
    assert status_in(trailers(("grpc-status", "0"))) is None
    for wrong in ((), (("grpc-status", ""),), (("grpc-status", "-1"),), (("grpc-status", "1" * 4),)):
        with pytest.raises(InvalidAnswerError, match="without a grpc-status"):
            status_in(trailers(*wrong))


def with_details(*details: dict[str, Any]) -> tuple[str, str]:
    value = {"code": 14, "message": "later", "details": list(details)}
    data = status_message(STATUS, value).SerializeToString()
    return "grpc-status-details-bin", base64.b64encode(data).decode()


@pytest.mark.parametrize(("delay", "seconds"), [("3s", 3.0), ("0.500s", 0.5), ("-1s", 0.0)])
def test_the_agent_may_say_when_to_ask_again(delay: str, seconds: float) -> None:
    info = with_details({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    assert error_of(("grpc-status", "14"), info, retry_after=9.0).retry_after == seconds


def test_a_header_may_say_when_to_ask_again() -> None:
    odd = with_details({"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"retryDelay": "soon"}})
    found = error_of(("grpc-status", "14"), ("grpc-message", "busy"), odd, retry_after=9.0)
    assert (found.retry_after, found.message) == (9.0, "busy; try again in 9 s")


@pytest.mark.parametrize("text", ["!", "A", "/w==", base64.b64encode(b"\x1a\x03\x0a\x01x").decode()])
def test_details_that_cannot_be_read_are_left_out(text: str) -> None:
    found = error_of(("grpc-status", "5"), ("grpc-message", "gone"), ("grpc-status-details-bin", text))
    assert (found.reason, found.http_status, found.message) == ("NOT_FOUND", 404, "gone")


def packed(kind: str, value: bytes = b"") -> Any:
    return message("google.protobuf.Any")(type_url=f"type.googleapis.com/{kind}", value=value)


def nested(kind: str, depth: int) -> Any:
    """Details within details, or statuses within statuses."""
    found = packed("google.rpc.ErrorInfo")
    for _ in range(depth):
        value = STATUS(details=[found]) if kind == "google.rpc.Status" else found
        found = packed(kind, value.SerializeToString())
    return found


@pytest.mark.parametrize(
    "detail",
    [
        nested("google.protobuf.Any", 1200),
        nested("google.rpc.Status", 1200),
        packed("google.protobuf.Struct", b"\x0a\x0e\x0a\x01n\x12\x09\x11" + struct.pack("<d", math.nan)),
        packed("google.protobuf.Value"),
    ],
    ids=["details-in-details", "statuses-in-statuses", "no-number", "no-value"],
)
def test_details_that_mean_harm_are_left_out(detail: Any) -> None:
    data = STATUS(code=5, details=[detail]).SerializeToString()
    text = base64.b64encode(data).decode()
    found = error_of(("grpc-status", "5"), ("grpc-message", "gone"), ("grpc-status-details-bin", text))
    assert (found.reason, found.http_status, found.message) == ("NOT_FOUND", 404, "gone")


@given(st.binary(max_size=60), st.text(max_size=20))
def test_any_trailers_are_a_status_or_no_answer(data: bytes, text: str) -> None:
    for code in ("0", "5", text):
        pairs = (("grpc-status", code), ("grpc-message", quote(text, errors="replace")))
        try:
            found = status_in(
                [*((a.encode(), b.encode(errors="replace")) for a, b in pairs), (b"grpc-status-details-bin", data)]
            )
        except InvalidAnswerError:
            continue
        if found is not None:
            assert str(found.error()) is not None


# --- cards ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "source", "url"),
    [
        ("agent.example:50051", "", "https://agent.example:50051"),
        ("agent.example:50051", "https://agent.example/card.json", "https://agent.example:50051"),
        ("agent.example:50051", "http://agent.example/card.json", "http://agent.example:50051"),
        ("agent.example:443", "http://agent.example/card.json", "https://agent.example"),
        ("127.0.0.1:443", "", "https://127.0.0.1"),
        ("localhost:50051", "https://localhost/", "http://localhost:50051"),
        ("localhost:50051", "https://localhost:50051/card.json", "https://localhost:50051"),
        ("[::1]:50051", "https://localhost:50051/card.json", "https://[::1]:50051"),
        ("localhost:50051", "http://localhost:50051/card.json", "http://localhost:50051"),
        ("[::1]:50051", "", "http://[::1]:50051"),
        ("https://agent.example/a/b", "http://x.example", "https://agent.example"),
        ("http://agent.example:1/a", "https://x.example", "http://agent.example:1"),
        ("agent.example", "", "https://agent.example"),
    ],
)
def test_an_address_of_grpc_is_an_origin(address: str, source: str, url: str) -> None:
    assert grpc_url(address, source) == url


def test_a_card_names_its_address_and_grpc_is_the_last_choice() -> None:
    body = b"""{"name": "a", "supportedInterfaces": [
        {"url": "agent.example:50051", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
        {"url": "http://agent.example/", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
        {"url": "user@agent.example:1", "protocolBinding": "GRPC", "protocolVersion": "1.0"}]}"""
    card = read_card(body, "http://agent.example/.well-known/agent-card.json")

    assert card.unusable == ("GRPC 1.0 (its URL: must not hold a user name or password)",)
    assert [one.address for one in card.interfaces] == ["agent.example:50051", "http://agent.example/"]
    assert choose(card).binding == JSONRPC
    assert choose(card, bindings=(JSONRPC, GRPC)) == NEW  # the newest version
    assert choose(card, bindings=(HTTP_JSON, GRPC)) == NEW  # nothing else fits


def test_the_extension_for_resuming_has_one_uri() -> None:
    assert set(EXTENSION_URIS[STREAM_RESUME].values()) == {RESUME_URI}
