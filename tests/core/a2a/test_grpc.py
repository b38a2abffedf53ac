"""gRPC: framing and status, messages and their JSON, calls and refusals, health checks and reflection."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

import orjson
import pytest
from attrs import evolve
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings import grpc
from sansio.a2a.bindings.http_messages import Request, Response
from sansio.a2a.bindings.json_input import MOST_VALUES
from sansio.a2a.cards.agent_card import grpc_address
from sansio.a2a.codecs import v1_0
from sansio.a2a.errors import MOST_VIOLATIONS, ErrorKind, ProtocolError, Violation
from sansio.a2a.model import Artifact, ArtifactUpdate, DataPart, SendRequest, Task, TaskState, TaskStatus, TextPart
from sansio.a2a.operations import GRPC_PATHS, Operation
from sansio.a2a.protobuf import services
from sansio.a2a.protobuf.conversion import json_of, message_of
from sansio.a2a.protobuf.messages import POOL, RPCS, STATUS, message
from sansio.a2a.server import CallRefusedError, ServedProtocol, brings_json, check_target, is_grpc, refuse, understand
from sansio.a2a.serving.grpc_call import GrpcCall, ending
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.shared_metadata import SHARED_BY
from tests.steps import taken

BOTH = ServedProtocol(bindings=frozenset({"HTTP+JSON", "JSONRPC", "GRPC"}))
NEW, OLD = "/lf.a2a.v1.A2AService/", "/a2a.v1.A2AService/"
NAMES: Final = tuple(SHARED_BY)
WELL_KNOWN: Final[dict[str, Any]] = {
    "google.protobuf.Struct": {"a": 1, "b": [None, 2.5, {"c": True}]},
    "google.protobuf.Value": ["x", {"y": 3}],
    "google.protobuf.Timestamp": "2026-01-02T03:04:05Z",
}
SCALARS: Final[dict[int, Any]] = {
    FieldDescriptor.TYPE_BOOL: True,
    FieldDescriptor.TYPE_BYTES: "+/8=",
    FieldDescriptor.TYPE_INT32: 7,
    FieldDescriptor.TYPE_STRING: "text",
}
MESSAGE = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}}


def post(path: str, body: bytes = b"", /, **headers: str) -> Request:
    named = {"content-type": "application/grpc", **{name.replace("_", "-"): text for name, text in headers.items()}}
    return Request(method="POST", path=path, query_string=b"", headers=named, body=body, takes_trailers=True)


def asked(path: str, params: dict[str, Any], **headers: str) -> Request:
    made = json_format.ParseDict(params, RPCS[path].request())
    return post(path, grpc.framed(made.SerializeToString()), **headers)


def call(path: str, params: dict[str, Any], **headers: str) -> GrpcCall:
    found = understand(asked(path, params, **headers), BOTH)
    assert isinstance(found, GrpcCall)
    return found


def status(answer: Response) -> Any:
    """The `google.rpc.Status` of an answer."""
    assert (answer.status, answer.body) == (200, b"")
    return status_in(dict(answer.trailers or ()))


def status_in(trailers: dict[str, str]) -> Any:
    text = trailers["grpc-status-details-bin"]
    found = STATUS.FromString(base64.b64decode(text + "=" * (-len(text) % 4)))
    assert (str(found.code), found.message) == (trailers["grpc-status"], unquote(trailers["grpc-message"]))
    return json_format.MessageToDict(found, descriptor_pool=POOL)


# --- bytes ------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 9))
def test_messages_come_out_whole_in_whatever_pieces_they_come(messages: list[bytes], size: int) -> None:
    data = b"".join(map(grpc.framed, messages))
    reader = grpc.MessageReader(40)

    found = [one for start in range(0, len(data), size) for one in reader.feed(data[start : start + size])]
    reader.end()

    assert found == messages


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ErrorKind.INVALID_REQUEST),
        (b"\0\0\0\0", ErrorKind.INVALID_REQUEST),
        (grpc.framed(b"ab")[:-1], ErrorKind.INVALID_REQUEST),
        (grpc.framed(b"a") * 2, ErrorKind.INVALID_REQUEST),
        (b"\1" + grpc.framed(b"a")[1:], ErrorKind.METHOD_NOT_FOUND),
    ],
)
def test_a_request_is_one_message_whole_and_not_compressed(body: bytes, kind: ErrorKind) -> None:
    with pytest.raises(ProtocolError) as caught:
        grpc.message_in(body)

    assert caught.value.kind is kind


def test_a_message_that_is_too_large_compressed_or_cut_ends_the_reading() -> None:
    with pytest.raises(ProtocolError, match="larger"):
        grpc.MessageReader(3).feed(grpc.framed(b"four"))
    with pytest.raises(ProtocolError, match="compressed"):
        grpc.MessageReader(9).feed(b"\1\0\0\0\0")
    reader = grpc.MessageReader(9)
    assert reader.feed(grpc.framed(b"four")[:-1]) == []
    with pytest.raises(ProtocolError, match="whole"):
        reader.end()


@pytest.mark.parametrize(
    ("text", "seconds"), [("3S", 3.0), ("2M", 120.0), ("1H", 3600.0), ("5m", 0.005), ("7u", 7e-6), ("9n", 9e-9)]
)
def test_a_deadline_has_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert grpc.timeout({"grpc-timeout": text}) == pytest.approx(seconds)
    assert grpc.timeout({}) is None
    for wrong in ("", "S", "5", "123456789S", "-1S", "5x"):
        with pytest.raises(ProtocolError, match="grpc-timeout"):
            grpc.timeout({"grpc-timeout": wrong})


def test_a_status_is_written_in_the_characters_of_a_header() -> None:
    assert grpc.trailers("INTERNAL", "größer: 100 %", b"xx") == (
        ("grpc-status", "13"),
        ("grpc-message", "gr%C3%B6%C3%9Fer: 100 %25"),
        ("grpc-status-details-bin", "eHg"),
    )


# --- messages ---------------------------------------------------------------------------------------------

TASK: dict[str, Any] = {
    "id": "t",
    "contextId": "c",
    "status": {"state": "TASK_STATE_WORKING", "timestamp": "2026-01-02T03:04:05.678Z"},
    "artifacts": [
        {
            "artifactId": "a",
            "parts": [
                {"text": "x"},
                {"raw": "AAEC", "mediaType": "image/png"},
                *({"data": value} for value in (True, 2, 2.5, "s", {"a": [1, None]}, [1, {"b": None}], None)),
            ],
            "metadata": {"n": 1, "deep": [{"x": None}]},
        }
    ],
}


def test_json_of_a_codec_and_the_messages_are_each_others() -> None:
    kind = RPCS[f"{NEW}GetTask"].answer
    made = message_of(kind, {**TASK, "unknown": 1, "metadata": None})

    assert json_format.ParseDict(TASK, kind()) == made
    assert json_of(kind, made.SerializeToString()) == TASK


def test_base64_of_either_alphabet_is_bytes_and_a_moment_that_is_none_is_left_out() -> None:
    kind = RPCS[f"{NEW}GetTask"].answer
    made = message_of(
        kind,
        {
            "status": {"state": "TASK_STATE_WORKING", "timestamp": "now"},
            "history": [{"parts": [{"raw": "-_8"}, {"raw": "+/8="}]}],
        },
    )

    assert json_of(kind, made.SerializeToString()) == {
        "status": {"state": "TASK_STATE_WORKING"},
        "history": [{"parts": [{"raw": "+/8="}] * 2}],
    }


def test_maps_of_messages_and_of_texts_are_converted() -> None:
    kind = RPCS[f"{NEW}GetExtendedAgentCard"].answer
    card = {
        "name": "n",
        "securityRequirements": [{"schemes": {"a": {"list": ["x"]}}}],
        "securitySchemes": {
            "a": {"oauth2SecurityScheme": {"flows": {"clientCredentials": {"tokenUrl": "u", "scopes": {"x": "y"}}}}}
        },
    }

    assert json_of(kind, message_of(kind, card).SerializeToString()) == card


def samples(kind: Any, seen: set[str]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A message with each field of a type, and of the types that it holds, by itself."""
    if kind.full_name in seen or kind.full_name in WELL_KNOWN:
        return
    seen.add(kind.full_name)
    for one in kind.fields:
        held = one.message_type
        is_map = held is not None and held.GetOptions().map_entry
        single = held.fields_by_name["value"] if is_map else one
        value = sample(single)
        if is_map:
            value = {"k": value}
        elif one.is_repeated:
            value = [value, value]
        yield message(kind.full_name), {one.json_name: value}
        if single.message_type is not None:
            yield from samples(single.message_type, seen)


def sample(one: Any) -> Any:
    if one.message_type is not None:
        return WELL_KNOWN.get(one.message_type.full_name, {})
    if one.enum_type is not None:
        return one.enum_type.values[1].name
    return SCALARS[one.type]


def test_every_field_of_every_message_is_read_as_the_library_reads_it() -> None:
    seen: set[str] = set()
    count = 0
    for rpc in RPCS.values():
        for root in (rpc.request, rpc.answer):
            for kind, value in samples(root.DESCRIPTOR, seen):
                count += 1
                assert json_of(kind, json_format.ParseDict(value, kind()).SerializeToString()) == value

    assert count > 200


def test_a_number_that_json_has_no_word_for_and_a_value_that_is_none() -> None:
    kind = message("google.protobuf.Value")

    for number in (math.inf, -math.inf, math.nan):
        with pytest.raises(ProtocolError, match="no Value"):
            json_of(kind, kind(number_value=number).SerializeToString())
    holder = message("google.protobuf.Struct")
    found = json_of(holder, holder(fields={"a": kind(), "b": kind(number_value=1e300)}).SerializeToString())
    assert found == {"a": None, "b": 1e300}
    task = RPCS[f"{NEW}GetTask"].answer
    assert json_of(task, b"\x1a\x02\x08\x63") == {"status": {"state": 99}}


def test_a_request_that_is_no_message_or_holds_too_much_is_refused() -> None:
    kind = RPCS[f"{NEW}SendMessage"].request
    many = {"message": {"parts": [{"text": ""}] * (MOST_VALUES + 1)}}
    few = {"message": {"messageId": "m" * MOST_VALUES, "metadata": {"a": {"b": "c"}}, "extensions": ["e"]}}

    with pytest.raises(ProtocolError, match="no SendMessageRequest"):
        json_of(kind, b"\xff")
    with pytest.raises(ProtocolError, match="more than"):
        json_of(kind, message_of(kind, many).SerializeToString())
    assert json_of(kind, message_of(kind, few).SerializeToString()) == few


texts = st.text(max_size=300)
shown = st.sampled_from(
    [
        None,
        {},
        {"shared": {"stream": {"sequence": 1}}},
        {"shared": {"resume": {}}, "own": 1},
        {"own": 1},
        {"shared": 1},
    ]
)
parts = st.builds(
    TextPart,
    text=texts | st.just("x" * 20_000),
    metadata=shown,
    media_type=st.sampled_from([None, "text/plain"]),
    filename=st.sampled_from([None, "f"]),
) | st.builds(TextPart, text=texts)
updates = st.builds(
    ArtifactUpdate,
    task_id=texts,
    context_id=texts,
    artifact=st.builds(
        Artifact,
        artifact_id=st.sampled_from(["a", "b"]),
        parts=st.tuples(parts) | st.tuples(parts, parts) | st.just((DataPart(data={"a": 1}),)),
        name=st.none() | texts,
        description=st.none() | texts,
        metadata=shown,
        extensions=st.sampled_from([(), ("u:e",)]),
    ),
    append=st.booleans(),
    last_chunk=st.booleans(),
    metadata=shown,
)


@given(st.lists(updates, max_size=4), st.sampled_from(["1.0", "0.3"]), st.sampled_from([(), NAMES[:1], NAMES]))
def test_pieces_of_text_are_the_same_messages_as_any_event(
    items: list[ArtifactUpdate], version: str, names: tuple[str, ...]
) -> None:
    made = call(f"{NEW}SubscribeToTask", {"id": "t"})
    if version == "0.3":
        made = call(f"{OLD}TaskSubscription", {"name": "tasks/t"})
    presentation = Presentation(made.codec, extensions=frozenset(names))
    kind = made.rpc.answer

    for number, item in enumerate(items):
        one = evolve(item, task_id="t", context_id="c")
        expected = message_of(kind, presentation.item(one, number))
        assert kind.FromString(grpc.message_in(made.encode(one, number, presentation))) == expected


def test_the_surroundings_of_some_artifacts_are_kept() -> None:
    made = call(f"{NEW}SubscribeToTask", {"id": "t"})
    presentation = Presentation(v1_0)
    for number in range(200):
        piece = Artifact(artifact_id=f"a{number % 99}", parts=(TextPart(text="x"),))
        item = ArtifactUpdate(task_id="t", context_id="c", artifact=piece)
        found = json_of(made.rpc.answer, grpc.message_in(made.encode(item, number, presentation)))
        assert found["artifactUpdate"]["artifact"]["artifactId"] == f"a{number % 99}"


# --- calls ------------------------------------------------------------------------------------------------


def test_each_operation_has_a_method_of_the_service_with_its_stream() -> None:
    for path, (version, operation) in GRPC_PATHS.items():
        _, service, name = path.split("/")
        method = services_method(service, name)
        assert (RPCS[path].version, RPCS[path].operation) == (version, operation)
        assert method.server_streaming == operation.row.streaming
        assert not method.client_streaming
    assert len(GRPC_PATHS) == 2 * len(Operation) - 1  # version 0.3 lists no tasks


def services_method(service: str, name: str) -> Any:
    from sansio.a2a.protobuf.messages import service as service_of

    return service_of(service).methods_by_name[name]


def test_a_message_is_read_by_the_codec_of_its_version() -> None:
    new = call(f"{NEW}SendMessage", MESSAGE, last_event_id="4", grpc_timeout="3S")
    old = call(f"{OLD}SendMessage", {"message": {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "hi"}]}})

    for one in (new, old):
        assert isinstance(request := one.read(), SendRequest)
        assert (request.message.message_id, one.streams) == ("m", False)
    assert (new.version, old.version, new.timeout, new.cursor(None)) == ("1.0", "0.3", 3.0, 4)
    assert ("a2a-version", "1.0") in new.headers
    assert new.stream_headers == new.headers


@pytest.mark.parametrize(
    ("method", "params", "found"),
    [
        ("GetTask", {"name": "tasks/t"}, {"id": "t"}),
        ("GetTaskPushNotificationConfig", {"name": "tasks/t/pushNotificationConfigs/c"}, ("t", "c")),
        ("ListTaskPushNotificationConfig", {"parent": "tasks/t"}, {"id": "t"}),
    ],
)
def test_the_names_of_version_0_3s_resources_hold_ids(method: str, params: dict[str, Any], found: object) -> None:
    made = call(f"{OLD}{method}", params)

    if isinstance(found, dict):
        assert made.params == found
    else:
        request = made.read()
        assert (request.task_id, request.id) == found


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("GetTask", {"name": "t"}, "name"),
        ("CancelTask", {"name": "tasks/"}, "name"),
        ("TaskSubscription", {}, "name"),
        ("GetTask", {"name": "jobs/t"}, "name"),
        ("ListTaskPushNotificationConfig", {"parent": "t"}, "parent"),
        ("CreateTaskPushNotificationConfig", {"config": {"name": "tasks/t/pushNotificationConfigs/c"}}, "parent"),
    ],
)
def test_a_name_without_an_id_is_refused_by_the_field_that_the_client_has(
    method: str, params: dict[str, Any], name: str
) -> None:
    with pytest.raises(CallRefusedError) as refused:
        call(f"{OLD}{method}", params)

    found = status(refused.value.response)
    assert (found["code"], found["details"][0]["fieldViolations"][0]["field"]) == (3, name)
    assert f"{name}: has the form tasks/ID" in found["message"]


def test_a_caller_who_is_not_known_learns_what_proves_who_they_are() -> None:
    unknown = ProtocolError(ErrorKind.UNAUTHENTICATED)

    answer = refuse(unknown, post(f"{NEW}GetTask"), BOTH, 'Bearer error="invalid_token"')

    assert ("www-authenticate", 'Bearer error="invalid_token"') in answer.headers
    other = refuse(ProtocolError(ErrorKind.OVERLOADED), post(f"{NEW}GetTask"), BOTH, "Bearer")
    assert "www-authenticate" not in dict(other.headers)
    assert "www-authenticate" not in dict(refuse(unknown, post(f"{NEW}GetTask"), BOTH).headers)


def test_answers_are_messages_and_their_end_is_in_the_trailers() -> None:
    made = call(f"{NEW}SubscribeToTask", {"id": "t"})
    item = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.WORKING))
    value = Presentation(v1_0).item(item, 3)

    frame = made.frame(3, made.encode(item, 3, Presentation(v1_0)))
    assert json_of(made.rpc.answer, grpc.message_in(frame)) == value
    assert taken(made.frame_in_steps(3, value)) == [frame]
    assert (made.keep_alive, made.comment("x"), made.failure_frame(ProtocolError(ErrorKind.INTERNAL_ERROR))) == (
        b"",
        b"",
        b"",
    )
    assert made.trailers(None) == ending(None) == (("grpc-status", "0"),)
    failed = made.trailers(ProtocolError(ErrorKind.STORE_UNAVAILABLE))
    assert failed is not None
    assert dict(failed)["grpc-status"] == "14"
    answer = call(f"{NEW}GetTask", {"id": "t"}).respond([b"\x0a\x01", b"t"])
    assert (grpc.message_in(answer.body + b"".join(answer.more)), answer.trailers) == (b"\x0a\x01t", grpc.OK)
    assert call(f"{OLD}DeleteTaskPushNotificationConfig", {"name": "tasks/t"}).respond(None).body == grpc.framed(b"")


def test_a_card_of_version_0_3_has_its_schemes_by_kind() -> None:
    made = call(f"{OLD}GetAgentCard", {})
    card = {
        "name": "n",
        "securitySchemes": {
            "b": {"type": "http", "scheme": "bearer"},
            "k": {"type": "apiKey", "in": "header", "name": "x"},
        },
        "security": [{"b": ["s"]}],
    }

    found = json_of(made.rpc.answer, grpc.message_in(made.respond_card(orjson.dumps(card)).body))

    assert found["securitySchemes"] == {
        "b": {"httpAuthSecurityScheme": {"scheme": "bearer"}},
        "k": {"apiKeySecurityScheme": {"location": "header", "name": "x"}},
    }
    assert found["security"] == [{"schemes": {"b": {"list": ["s"]}}}]
    assert grpc.message_in(made.respond_card(b'{"name":"n"}').body) == b"\x0a\x01n"


def test_an_error_has_its_code_its_message_and_its_details() -> None:
    made = call(f"{NEW}GetTask", {"id": "t"})
    error = ProtocolError(
        ErrorKind.INVALID_PARAMS, "id: no", violations=(Violation(("id",), "x", "no"),), data_v1={"n": 1}
    )

    found = status(made.refuse(error))

    assert (found["code"], found["message"]) == (3, "id: no")
    kinds = [one["@type"].rpartition(".")[2] for one in found["details"]]
    assert kinds == ["BadRequest", "ErrorInfo", "Struct"]
    assert found["details"][1]["reason"] == "INVALID_PARAMS"
    retried = made.refuse(ProtocolError(ErrorKind.STORE_UNAVAILABLE))
    assert ("retry-after", "1") in retried.headers


def test_on_version_0_3_the_message_of_an_error_begins_with_the_name_by_which_clients_know_it() -> None:
    made = call(f"{OLD}GetTask", {"name": "tasks/t"})
    error = ProtocolError(ErrorKind.TASK_NOT_FOUND, "no t")
    answers = (made.refuse(error), refuse(error, post(f"{OLD}GetTask"), BOTH))

    named = [status(answer)["message"] for answer in answers]
    assert named == ["TaskNotFoundError: no t"] * 2
    assert dict(made.trailers(error) or ())["grpc-message"] == named[0]
    assert status(made.refuse(ProtocolError(ErrorKind.UNAUTHENTICATED)))["message"] == "Unauthorized"  # has no name
    unknown = refuse(error, post(f"{OLD}Fly"), BOTH)
    assert status(unknown)["message"] == status(call(f"{NEW}GetTask", {"id": "t"}).refuse(error))["message"] == "no t"


def test_the_status_of_the_largest_error_stays_within_what_clients_take() -> None:
    worst = [Violation(("message", "parts", n, "metadata"), "x", "é" * 400) for n in range(MOST_VIOLATIONS + 5)]
    answer = call(f"{NEW}GetTask", {"id": "t"}).refuse(
        ProtocolError(ErrorKind.INVALID_PARAMS, "é" * 9999, violations=worst)
    )

    assert sum(len(name) + len(text) + 32 for name, text in answer.trailers or ()) <= 8192
    assert [one["reason"] for one in status(answer)["details"]] == ["INVALID_PARAMS"]


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_error_has_a_code_of_grpc(kind: ErrorKind) -> None:
    assert dict(ending(ProtocolError(kind)))["grpc-status"] == str(grpc.CODES[kind.row.grpc])


# --- what is one of gRPC, and what is refused -------------------------------------------------------------


def test_a_request_is_one_of_grpc_by_its_content_type_where_trailers_can_follow() -> None:
    request = post(f"{NEW}GetTask")
    assert is_grpc(request, BOTH)
    assert not is_grpc(request, ServedProtocol())
    assert not brings_json(request, BOTH)
    assert brings_json(request, ServedProtocol())
    request.takes_trailers = False
    assert not is_grpc(request, BOTH)
    assert is_grpc(post("/x", content_type="application/grpc+proto; a=b"), BOTH)
    assert not is_grpc(post("/x", content_type="application/grpc-web"), BOTH)


@pytest.mark.parametrize(
    ("path", "method", "headers", "served", "kind"),
    [
        (f"{NEW}Fly", "POST", {}, BOTH, ErrorKind.METHOD_NOT_FOUND),
        (f"{NEW}GetTask", "GET", {}, BOTH, ErrorKind.METHOD_NOT_ALLOWED),
        (f"{NEW}Fly", "OPTIONS", {}, BOTH, ErrorKind.METHOD_NOT_ALLOWED),
        (f"{NEW}GetTask", "POST", {"a2a_version": "9.0"}, BOTH, ErrorKind.VERSION_NOT_SUPPORTED),
        (f"{NEW}GetTask", "POST", {"grpc_timeout": "x"}, BOTH, ErrorKind.INVALID_PARAMS),
        (
            f"{OLD}GetTask",
            "POST",
            {},
            ServedProtocol(versions=("1.0",), bindings=BOTH.bindings),
            ErrorKind.METHOD_NOT_FOUND,
        ),
    ],
)
def test_a_target_is_refused_before_its_body_is_read(
    path: str, method: str, headers: dict[str, str], served: ServedProtocol, kind: ErrorKind
) -> None:
    request = post(path, b"", **headers)
    request.method = method

    with pytest.raises(ProtocolError) as caught:
        check_target(request, served)

    assert caught.value.kind is kind


def test_what_cannot_be_understood_is_a_status() -> None:
    for request, reason in (
        (post(f"{NEW}GetTask", b"{}"), "INVALID_REQUEST"),
        (post(f"{NEW}GetTask", grpc.framed(b"\xff")), "PARSE_ERROR"),
        (post(f"{NEW}Fly"), "METHOD_NOT_FOUND"),
    ):
        with pytest.raises(CallRefusedError) as caught:
            understand(request, BOTH)
        assert status(caught.value.response)["details"][0]["reason"] == reason
    lean = ServedProtocol(bindings=BOTH.bindings, withheld=frozenset({Operation.EXTENDED_CARD}))
    with pytest.raises(CallRefusedError) as caught:
        understand(asked(f"{NEW}GetExtendedAgentCard", {}), lean)
    assert status(caught.value.response)["code"] == 9
    answer = refuse(ProtocolError(ErrorKind.UNAUTHENTICATED), post(f"{NEW}GetTask"), BOTH, "Bearer")
    assert status(answer)["code"] == 16


def test_a_request_that_is_no_post_is_refused_by_http_and_by_grpc() -> None:
    request = post(f"{NEW}GetTask")
    request.method = "PUT"
    answer = refuse(ProtocolError(ErrorKind.METHOD_NOT_ALLOWED), request, BOTH)

    assert (answer.status, dict(answer.headers)["allow"]) == (405, "POST")
    assert status_in(dict(answer.trailers or ()))["code"] == 12


def test_a_path_of_a_binding_that_is_off_is_not_there() -> None:
    only_grpc = ServedProtocol(bindings=frozenset({"GRPC"}))
    request = Request(method="POST", path="/", query_string=b"", headers={})

    with pytest.raises(ProtocolError) as caught:
        check_target(request, only_grpc)

    assert caught.value.kind is ErrorKind.NOT_FOUND
    assert refuse(caught.value, request, only_grpc).status == 404


@given(st.sampled_from(sorted(GRPC_PATHS)), st.binary(max_size=200), st.booleans())
def test_every_request_is_a_call_or_a_status(path: str, body: bytes, framed: bool) -> None:
    request = post(path, grpc.framed(body) if framed else body)
    try:
        made = understand(request, BOTH)
        if made.operation is not Operation.EXTENDED_CARD:
            made.read()
        answer = None
    except CallRefusedError as refused:
        answer = refused.response
    except ProtocolError as error:
        answer = made.refuse(error)
    assert answer is None or status(answer)["code"]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("https://a.example/x", "a.example:443"),
        ("http://[::1]", "[::1]:80"),
        ("", ""),
    ],
)
def test_clients_of_grpc_are_given_a_host_and_a_port(url: str, address: str) -> None:
    assert grpc_address(url) == address


# --- the services beside ----------------------------------------------------------------------------------


def checked(name: str = "", *, serving: bool = True) -> int:
    asked_for = message("grpc.health.v1.HealthCheckRequest")(service=name).SerializeToString()
    answer = services.health(asked_for, serving=serving, versions=("1.0",))
    found: int = message("grpc.health.v1.HealthCheckResponse").FromString(answer).status
    return found


def test_a_health_check_says_whether_the_server_takes_work() -> None:
    assert (checked(), checked("lf.a2a.v1.A2AService"), checked(serving=False)) == (1, 1, 2)
    with pytest.raises(ProtocolError, match=r"no service a2a\.v1"):
        checked("a2a.v1.A2AService")
    with pytest.raises(ProtocolError, match="HealthCheckRequest"):
        services.health(b"\xff", serving=True, versions=())


@pytest.mark.parametrize("path", grpc.REFLECTION_PATHS)
def test_reflection_names_the_services_and_gives_the_files_of_what_it_is_asked_for(path: str) -> None:
    package = grpc.REFLECTION_PATHS[path]

    def reflected(**what: Any) -> Any:
        made = message(f"{package}.ServerReflectionRequest")(host="h", **what)
        answer = services.reflection(path, made.SerializeToString(), ("1.0", "0.3"))
        found = message(f"{package}.ServerReflectionResponse").FromString(answer)
        assert (found.valid_host, found.original_request) == ("h", made)
        return found

    listed = [one.name for one in reflected(list_services="").list_services_response.service]
    assert listed == services.services(("0.3", "1.0"))
    by_symbol = reflected(file_containing_symbol="lf.a2a.v1.A2AService").file_descriptor_response
    by_name = reflected(file_by_filename="a2a_v1_0.proto").file_descriptor_response
    by_method = reflected(file_containing_symbol="lf.a2a.v1.A2AService.GetTask").file_descriptor_response
    assert by_symbol == by_name == by_method
    assert len(by_name.file_descriptor_proto) > 5
    none = reflected(all_extension_numbers_of_type="google.rpc.ErrorInfo").all_extension_numbers_response
    assert (none.base_type_name, list(none.extension_number)) == ("google.rpc.ErrorInfo", [])
    for lost in (
        {"file_by_filename": "x"},
        {"file_containing_symbol": "x"},
        {"all_extension_numbers_of_type": "x"},
    ):
        assert reflected(**lost).error_response.error_code == 5
    with pytest.raises(ProtocolError, match="ServerReflectionRequest"):
        services.reflection(path, b"\xff", ())
