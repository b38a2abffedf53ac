"""What OpenCode says and is told: bus events, blocks, interrupts, faults and requests, as values."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.codecs.fields import DEEPEST
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import DataPart, FilePart, JsonObject, Part, TextPart
from sansio.opencode.interrupts.render import details_of, text_of
from sansio.opencode.session_marks import marked_for
from sansio.opencode.turns.blocks import ArtifactStream, BlockType, TextBlock, is_settled, tool_data, usage_of
from sansio.opencode.upstream import method_requests, requests
from sansio.opencode.upstream.events import (
    BusEvent,
    InterruptAsked,
    InterruptEnded,
    MessageInfo,
    MessageSeen,
    PartDelta,
    PartSeen,
    SessionFailed,
    SessionSeen,
    SessionStatus,
    UpstreamFault,
    decode,
    decode_asked,
    decode_messages,
    decode_sessions,
    decode_statuses,
    event_id,
    join_deltas,
    message_info,
)
from sansio.opencode.upstream.faults import TaskFailure, failure_of, failure_of_status, type_of_status
from sansio.opencode.upstream.requests import Location, PromptOptions, TimeoutClass, UpstreamCall
from tests.core.recorded import NAMES, lines_of, messages_of
from tests.strategies import json_values

# --- the bus ----------------------------------------------------------------------------------------------


def bus(type: Any, **properties: Any) -> bytes:
    return orjson.dumps({"directory": "/w", "payload": {"id": "evt_1", "type": type, "properties": properties}})


PART: JsonObject = {"id": "p", "sessionID": "s", "messageID": "m", "type": "text", "text": "hi"}
INFO: JsonObject = {"id": "m", "sessionID": "s", "role": "assistant", "parentID": "u"}


def ended(kind: str, resolution: str, **more: str) -> InterruptEnded:
    return InterruptEnded(
        session_id="s", kind=kind, request_id=kind[:3], resolution=resolution, by="opencode", **more
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            bus("message.part.updated", part=PART),
            PartSeen(session_id="s", message_id="m", part_id="p", type="text", body=PART),
        ),
        (
            bus("message.part.delta", sessionID="s", messageID="m", partID="p", field="text", delta=""),
            PartDelta(session_id="s", message_id="m", part_id="p", field="text", delta=""),
        ),
        (
            bus("message.updated", info=INFO),
            MessageSeen(session_id="s", info=MessageInfo(id="m", session_id="s", role="assistant", parent_id="u")),
        ),
        (bus("session.status", sessionID="s", status={"type": "busy"}), SessionStatus(session_id="s", type="busy")),
        (
            bus(
                "session.status",
                sessionID="s",
                status={"type": "retry", "attempt": 2, "message": "slow", "next": 9},
            ),
            SessionStatus(session_id="s", type="retry", attempt=2, message="slow", next=9),
        ),
        (
            bus("session.status", sessionID="s", status={"type": "retry", "attempt": True, "next": "9"}),
            SessionStatus(session_id="s", type="retry"),
        ),
        (bus("session.idle", sessionID="s"), SessionStatus(session_id="s", type="idle")),
        (
            bus("session.error", sessionID="s", error={"name": "X", "data": {"message": "no", "statusCode": 429}}),
            SessionFailed(session_id="s", fault=UpstreamFault(name="X", message="no", status=429)),
        ),
        (
            bus("session.error", error={"data": 5}),
            SessionFailed(session_id=None, fault=UpstreamFault(name="UnknownError", message="UnknownError")),
        ),
        (
            bus("session.created", info={"id": "s", "parentID": "r", "title": "t", "directory": "/w"}),
            SessionSeen(session_id="s", parent_id="r"),
        ),
        (bus("session.updated", info={"id": "s"}), SessionSeen(session_id="s")),
        (
            bus("permission.asked", id="per", sessionID="s"),
            InterruptAsked(session_id="s", kind="permission", request_id="per", body={"id": "per", "sessionID": "s"}),
        ),
        (
            bus("question.asked", id="que", sessionID="s"),
            InterruptAsked(session_id="s", kind="question", request_id="que", body={"id": "que", "sessionID": "s"}),
        ),
        (
            bus("permission.replied", requestID="per", sessionID="s", reply="always"),
            ended("permission", "replied", reply="always"),
        ),
        (
            bus("permission.replied", requestID="per", sessionID="s", reply="reject"),
            ended("permission", "rejected", reply="reject"),
        ),
        (bus("permission.replied", requestID="per", sessionID="s", reply="maybe"), ended("permission", "replied")),
        (
            bus("question.replied", requestID="que", sessionID="s", answers=[["A", "B", 3], [], "C"]),
            ended("question", "replied", answer="A, B; nothing; nothing"),
        ),
        (bus("question.replied", requestID="que", sessionID="s", answers="A"), ended("question", "replied")),
        (bus("question.rejected", requestID="que", sessionID="s"), ended("question", "rejected")),
        (bus("server.connected"), None),
        (bus("sync", part=PART), None),
        (bus(["message.updated"]), None),
        (b"{}", None),
        (b'{"payload": {"type": null}}', None),
    ],
)
def test_bus_event_is_decoded(line: bytes, expected: BusEvent | None) -> None:
    assert decode(line) == expected


def test_event_of_one_directory_is_not_wrapped() -> None:
    bare = orjson.dumps({"type": "session.idle", "properties": {"sessionID": "s"}})

    assert decode(bare) == SessionStatus(session_id="s", type="idle")


def test_message_tells_whether_it_is_complete_and_why_it_failed() -> None:
    more = {"time": {"completed": 5}, "finish": "stop", "summary": True, "tokens": {"input": 1}, "cost": 0.5}
    error = {"name": "APIError", "data": {"message": "no", "statusCode": 500}}

    event = decode(bus("message.updated", info={**INFO, **more, "error": error}))

    assert isinstance(event, MessageSeen)
    assert event.info == MessageInfo(
        id="m",
        session_id="s",
        role="assistant",
        parent_id="u",
        completed=True,
        finish="stop",
        summary=True,
        tokens={"input": 1},
        cost=0.5,
        error=UpstreamFault(name="APIError", message="no", status=500),
    )


@pytest.mark.parametrize("time", [None, 5, {}, {"completed": None}, {"completed": True}, {"created": 5}])
def test_message_without_a_time_of_completion_is_not_complete(time: object) -> None:
    event = decode(bus("message.updated", info={**INFO, "time": time, "summary": {"diffs": []}, "cost": "x"}))

    assert isinstance(event, MessageSeen)
    assert (event.info.completed, event.info.summary, event.info.cost) == (False, False, None)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"", "line 1"),
        (b"{", "line 1"),
        (b"[]", "must be an object"),
        (b'{"payload": []}', "payload must be an object"),
        (b'{"payload": {"type": "session.idle"}}', "properties must be an object"),
        (bus("session.idle"), "sessionID must be a string"),
        (bus("session.idle", sessionID=""), "sessionID must be a string"),
        (bus("session.status", sessionID="s"), "status must be an object"),
        (bus("session.status", sessionID="s", status={"type": 1}), "type must be a string"),
        (bus("message.part.updated", part=[]), "part must be an object"),
        (bus("message.part.updated", part={**PART, "id": 1}), "id must be a string"),
        (bus("message.part.delta", sessionID="s", messageID="m", partID="p", field="text"), "delta must be"),
        (bus("message.updated", info={**INFO, "role": None}), "role must be a string"),
        (bus("session.error", sessionID="s"), "error must be an object"),
        (bus("permission.asked", sessionID="s"), "id must be a string"),
        (bus("permission.replied", sessionID="s"), "requestID must be a string"),
    ],
)
def test_event_that_is_not_opencodes_is_refused(line: bytes, what: str) -> None:
    with pytest.raises(ProtocolError, match=what) as caught:
        decode(line)

    assert caught.value.kind is ErrorKind.INVALID_AGENT_RESPONSE


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_line_is_decoded(name: str) -> None:
    for line in lines_of(name):
        decode(line)
        assert event_id(line).startswith("evt_") or b'"sync"' in line


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b'{"id": "evt_2", "type": "x"}', "evt_2"),
        (b'{"payload": {"id": "evt_3"}}', "evt_3"),
        (b'{"payload": {"id": 5}}', ""),
        (b'{"payload": 5}', ""),
        (b"[]", ""),
        (b"{", ""),
    ],
)
def test_id_of_an_event_is_found_where_there_is_one(line: bytes, id: str) -> None:
    assert event_id(line) == id


@pytest.mark.parametrize("name", NAMES)
def test_recorded_messages_are_decoded(name: str) -> None:
    records = decode_messages(messages_of(name))

    assert [record.info.role for record in records][:2] == ["user", "assistant"]
    assert all(part.message_id == record.info.id for record in records for part in record.parts)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b"[5]", b"[{}]", b'[{"parts": []}]', b'[{"parts": {}, "info": {}}]'),
        *(b'[{"parts": [], "info": {}}]', orjson.dumps([{"info": INFO, "parts": [{}]}])),
    ],
)
def test_messages_that_are_not_opencodes_are_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_messages(body)

    assert caught.value.kind is ErrorKind.INVALID_AGENT_RESPONSE


def test_part_that_is_no_object_is_passed_over() -> None:
    (record,) = decode_messages(orjson.dumps([{"info": INFO, "parts": [None, PART]}]))

    assert [part.part_id for part in record.parts] == ["p"]


@given(json_values)
def test_any_json_is_an_event_or_refused(value: Any) -> None:
    refused = {ErrorKind.INVALID_AGENT_RESPONSE}
    for line in (orjson.dumps(value), bus("message.updated", info=value), bus("session.status", status=value)):
        try:
            decode(line)
        except ProtocolError as error:
            refused.add(error.kind)

    assert refused == {ErrorKind.INVALID_AGENT_RESPONSE}


# --- blocks -----------------------------------------------------------------------------------------------


def part(**body: Any) -> PartSeen:
    return PartSeen(session_id="s", message_id="m", part_id="p", type="tool", body=body)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_tool_data_holds_what_the_state_holds() -> None:
    state = {"status": "running", "input": {}, "title": "t", "metadata": {"x": 1}, "time": {"start": 1}}

    assert tool_data(part(callID="c", tool="bash", state=state)) == {
        "call_id": "c",
        "tool": "bash",
        "status": "running",
        "title": "t",
        "input": {},
    }
    assert tool_data(part(tool="bash", state="odd")) == {"tool": "bash"}


def test_tool_data_too_deep_to_be_sent_on_is_left_out() -> None:
    state = {"status": "running", "input": nested(DEEPEST + 1), "output": nested(DEEPEST)}

    assert tool_data(part(state=state)) == {"status": "running", "output": nested(DEEPEST)}


@pytest.mark.parametrize(
    ("body", "settled"),
    [({}, False), ({"time": 5}, False), ({"time": {"start": 1}}, False), ({"time": {"start": 1, "end": 2}}, True)],
)
def test_text_is_settled_when_it_has_an_end(body: JsonObject, settled: bool) -> None:
    assert is_settled(body) == settled


def test_usage_is_told_in_the_shared_form() -> None:
    tokens = {"input": 11, "output": 7, "reasoning": 2, "cache": {"read": 3, "write": 4}}

    assert usage_of(tokens, 0.25) == {
        "input_tokens": 11,
        "output_tokens": 7,
        "total_tokens": 27,
        "reasoning_tokens": 2,
        "cache_tokens": {"read_tokens": 3, "write_tokens": 4},
        "cost": 0.25,
    }
    assert usage_of({**tokens, "total": 18}, None)["total_tokens"] == 18
    assert not {"cost", "model"} & usage_of(tokens, None).keys()
    assert usage_of(tokens, None, {"providerID": "p", "modelID": "m"})["model"] == {"providerID": "p", "modelID": "m"}


@pytest.mark.parametrize("ids", [{}, {"providerID": "p"}, {"modelID": "m"}, {"providerID": "", "modelID": "m"}])
def test_a_model_of_which_an_id_is_missing_is_not_named(ids: JsonObject) -> None:
    info = {"id": "msg", "sessionID": "ses", "role": "assistant"}
    assert message_info({**info, **ids}).model is None
    assert message_info({**info, "providerID": "p", "modelID": 7}).model is None


@given(st.dictionaries(st.sampled_from(("input", "output", "total", "reasoning", "cache")), json_values))
def test_usage_of_anything_can_be_sent_on(tokens: JsonObject) -> None:
    assert orjson.dumps(usage_of(tokens, None))


def test_counts_that_are_no_counts_are_none() -> None:
    usage = usage_of({"input": 2**63, "output": -1, "reasoning": True, "cache": []}, None)

    assert usage["total_tokens"] == 0


def test_blocks_of_a_lane_stand_in_opencodes_order() -> None:
    artifact_stream = ArtifactStream(artifact_id="a", name="response", block_type=BlockType.TEXT)
    first, second, third = (TextBlock(f"prt_{n}", f"msg_{m}") for m, n in ((1, 9), (2, 1), (2, 2)))

    assert [artifact_stream.insert(block) for block in (second, third, first)] == [True, True, False]
    assert artifact_stream.blocks == [first, second, third]
    second.begun = True
    assert artifact_stream.is_last_sent(second)
    assert not artifact_stream.is_last_sent(first)


def test_pieces_of_a_block_are_its_text() -> None:
    block = TextBlock("p", "m")

    assert block.text == ""
    block.pieces += ["a", "b", "c"]
    assert block.text == "abc"
    assert block.pieces == ["abc"]


# --- interrupts -------------------------------------------------------------------------------------------


def asked(kind: str, **body: Any) -> InterruptAsked:
    return InterruptAsked(session_id="s", kind=kind, request_id="r", body={"id": "r", "sessionID": "s", **body})


@pytest.mark.parametrize(
    ("body", "subject"),
    [
        ({"permission": "bash", "metadata": {"command": "ls"}, "patterns": ["l*"]}, "bash: ls"),
        ({"permission": "edit", "patterns": ["a", 5, "b"]}, "edit: a, b"),
        ({"permission": "edit", "metadata": {"command": 5}}, "edit"),
        ({"patterns": "x"}, "an action"),
        ({"permission": nested(900)}, "an action"),
    ],
)
def test_permission_is_asked_in_words(body: JsonObject, subject: str) -> None:
    assert text_of(asked("permission", **body)) == (
        f"OpenCode asks for permission ({subject}).\nAnswer once, always or reject."
    )


@pytest.mark.parametrize(
    ("questions", "text"),
    [
        ([{"question": "Which?"}], "Which?"),
        (
            [{"question": "Which?", "options": [{"label": "A", "description": "a"}, {"label": "B"}, 5]}],
            "Which?\n  1. A - a\n  2. B",
        ),
        ([{"question": "One?", "options": 5}, {"question": "Two?"}], "One?\nTwo?"),
        ([5], "OpenCode asks a question."),
        ("x", "OpenCode asks a question."),
        (None, "OpenCode asks a question."),
        ([{"question": nested(900), "options": [{"label": nested(900)}]}], "\n  1. "),
    ],
)
def test_question_is_asked_in_words(questions: object, text: str) -> None:
    assert text_of(asked("question", questions=questions)) == text


def test_client_is_told_what_it_needs_to_decide() -> None:
    permission = asked("permission", permission="bash", patterns=["x"], always=None, tool={"callID": "c"})

    assert details_of(permission) == {"permission": "bash", "patterns": ["x"]}
    assert details_of(asked("question", questions=[{"question": "?"}], tool={})) == {"questions": [{"question": "?"}]}
    assert details_of(asked("question", questions=nested(DEEPEST + 1))) == {}


# --- faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "type"),
    [
        (400, "UPSTREAM_BAD_REQUEST"),
        (401, "UPSTREAM_UNAUTHORIZED"),
        (403, "UPSTREAM_PERMISSION_DENIED"),
        (404, "UPSTREAM_RESOURCE_NOT_FOUND"),
        (418, "UPSTREAM_CLIENT_ERROR"),
        (429, "UPSTREAM_QUOTA_EXCEEDED"),
        (500, "UPSTREAM_SERVER_ERROR"),
        (599, "UPSTREAM_SERVER_ERROR"),
        (302, "UPSTREAM_HTTP_ERROR"),
    ],
)
def test_status_has_its_error_type(status: int, type: str) -> None:
    assert type_of_status(status) == type


def test_refusal_of_a_provider_is_told_with_its_status() -> None:
    failure = failure_of(UpstreamFault(name="APIError", message="slow down", status=429))

    assert failure == TaskFailure(
        text="The model provider refused the request with status 429: slow down",
        type="UPSTREAM_QUOTA_EXCEEDED",
        status=429,
    )


@pytest.mark.parametrize(
    ("name", "type"),
    [("ProviderAuthError", "UPSTREAM_UNAUTHORIZED"), ("UnknownError", "UPSTREAM_EXECUTION_ERROR")],
)
def test_error_without_a_status_is_told_by_its_name(name: str, type: str) -> None:
    failure = failure_of(UpstreamFault(name=name, message="no"))

    assert failure == TaskFailure(text=f"OpenCode could not finish the turn ({name}): no", type=type)


def test_refusal_of_opencode_itself_is_told() -> None:
    assert failure_of_status(404, "no such session") == TaskFailure(
        text="OpenCode answered with status 404: no such session",
        type="UPSTREAM_RESOURCE_NOT_FOUND",
        status=404,
        answer="no such session",
    )
    assert failure_of_status(502, "").text == "OpenCode answered with status 502"


# --- requests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "method", "target"),
    [
        (requests.events(), "GET", "/global/event"),
        (requests.health(), "GET", "/global/health"),
        (requests.get_session("ses_1"), "GET", "/session/ses_1"),
        (requests.get_session("ses_1:a"), "GET", "/session/ses_1%3Aa"),
        (
            requests.messages("ses_1", Location(directory="/a b&c")),
            "GET",
            "/session/ses_1/message?directory=%252Fa%2520b%2526c",
        ),
        (requests.statuses(Location(workspace="w", directory="/d")), "GET", "/session/status?workspace=w"),
        (requests.abort("ses_1"), "POST", "/session/ses_1/abort"),
        (requests.create_session(), "POST", "/session"),
    ],
)
def test_call_goes_where_opencode_expects_it(call: UpstreamCall, method: str, target: str) -> None:
    assert (call.method, call.target) == (method, target)


def test_only_what_may_happen_twice_is_repeated() -> None:
    calls = {
        "create": requests.create_session("title"),
        "prompt": requests.prompt("s", "m", []),
        "abort": requests.abort("s"),
        "events": requests.events(),
    }

    assert {name for name, call in calls.items() if not call.repeatable} == {"create", "prompt"}
    assert {name for name, call in calls.items() if call.timeout is TimeoutClass.STREAM} == {"events"}


@pytest.mark.parametrize("kind", TimeoutClass)
@pytest.mark.parametrize("limit", [0.5, 3.0, 120.0, 3600.0])
def test_no_request_uses_up_the_patience_it_belongs_to(kind: TimeoutClass, limit: float) -> None:
    bounds = kind.attempts(limit)

    assert all(bound > 0 for bound in bounds)
    assert sum(bounds) <= limit + 1e-9
    assert list(bounds) == sorted(bounds)
    if kind is TimeoutClass.RUN:
        assert bounds == (limit,)
    elif limit >= 120:
        assert max(bounds) <= 30


def test_only_what_waits_for_work_has_the_operators_limit_alone() -> None:
    here = Location()
    waits = {
        "command": method_requests.command("s", {}, here),
        "shell": method_requests.shell("s", {}, here),
        "summarize": method_requests.summarize("s", {}, here),
        "worktree": method_requests.create_worktree({}, here),
    }
    quick = {
        "prompt": requests.prompt("s", "m", []),
        "method": method_requests.prompt_async("s", {}, here),
        "create": requests.create_session(),
        "reply": requests.permission_reply("p", "once", None),
        "messages": requests.messages("s"),
        "list": method_requests.sessions(here, limit=1),
        "path": requests.path(),
        "abort": requests.abort("s"),
    }

    assert {call.timeout for call in waits.values()} == {TimeoutClass.RUN}
    assert TimeoutClass.RUN not in {call.timeout for call in quick.values()}


def test_session_is_made_with_a_title_where_there_is_one() -> None:
    assert requests.create_session("t").body == b'{"title":"t"}'
    assert requests.create_session().body == b"{}"
    assert requests.create_session(metadata=marked_for("me")).body == orjson.dumps({"metadata": marked_for("me")})


def test_prompt_carries_its_id_and_only_the_options_given() -> None:
    options = PromptOptions(agent="build", system="", variant=None)

    call = requests.prompt("s", "msg_1", [{"type": "text", "text": "hi"}], options)

    assert call.target == "/session/s/prompt_async"
    assert orjson.loads(call.body or b"") == {
        "messageID": "msg_1",
        "parts": [{"type": "text", "text": "hi"}],
        "agent": "build",
    }


_times = st.integers(0, 2**43)


@given(_times, _times, st.integers(0, 10_000), st.integers(0, 10_000))
def test_message_ids_sort_by_time(one: int, two: int, first: int, second: int) -> None:
    tail = "A" * 14
    earlier, later = sorted(((one % 2**36, first % 4096), (two % 2**36, second % 4096)))

    ids = [requests.message_id(*when, tail) for when in (earlier, later)]

    assert ids == sorted(ids)
    assert (ids[0] == ids[1]) == (earlier == later)


@given(_times, st.integers(0, 10_000), st.integers(-(2**34), 2**34))
def test_time_of_an_id_is_the_time_it_was_made_with(epoch: int, counter: int, off: int) -> None:
    made = requests.message_id(epoch, counter, "z" * 14)

    assert len(made) == len("msg_") + 26
    assert requests.time_of_id(made, epoch + off) == epoch


@pytest.mark.parametrize(
    "id", ["", "msg", "msg_", "msg_12345678901", "msg_12345678901g", "msg_-12345678901", "msg_1_2345678901"]
)
def test_id_of_another_form_has_no_time(id: str) -> None:
    assert requests.time_of_id(id, 0) is None


def test_ids_of_a_recording_tell_its_time() -> None:
    assert requests.time_of_id("msg_1fd1bc322001TAGi95XUXl7UWa", 1_795_000_000_000) == 1_795_247_817_506


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (TextPart(text=" a\n"), {"type": "text", "text": " a\n"}),
        (
            FilePart(url="https://example.org/a", media_type="text/plain", filename="a"),
            {"type": "file", "mime": "text/plain", "url": "https://example.org/a", "filename": "a"},
        ),
        (
            FilePart(raw="-_8", media_type="image/png"),
            {"type": "file", "mime": "image/png", "url": "data:image/png;base64,+/8="},
        ),
    ],
)
def test_part_becomes_what_opencode_takes(part: Part, expected: JsonObject) -> None:
    assert requests.prompt_parts([part]) == [expected]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (DataPart(data={"a": [1, None]}), 'Data (application/json):\n{"a":[1,null]}'),
        (DataPart(data="ä"), 'Data (application/json):\n"ä"'),
        (DataPart(data=None, media_type="application/vnd.x+json"), "Data (application/vnd.x+json):\nnull"),
        (DataPart(data={}, filename="a\n b.json"), "Data (application/json, a b.json):\n{}"),
    ],
)
def test_data_becomes_text_that_says_what_it_is(part: DataPart, text: str) -> None:
    assert requests.prompt_parts([TextPart(text="a"), part]) == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": text},
    ]


@pytest.mark.parametrize("body", [b"{}", b"null", b"7"])
def test_lists_that_are_none_are_refused(body: bytes) -> None:
    for read, name in (
        (decode_sessions, "sessions"),
        (partial(decode_asked, "permission"), "pending permissions"),
        (partial(decode_asked, "question"), "pending questions"),
    ):
        with pytest.raises(ProtocolError) as caught:
            read(body)
        assert f"{name} must be a list" in str(caught.value)


def test_statuses_may_have_half_a_character_and_what_is_no_json_is_refused() -> None:
    statuses = decode_statuses(rb'{"ses_1": {"type": "retry", "attempt": 2, "message": "\ud83d"}}')

    assert statuses.of("ses_1") == SessionStatus(session_id="ses_1", type="retry", attempt=2, message="\ufffd")
    assert statuses.of("ses_x").type == "idle"
    with pytest.raises(ProtocolError):
        decode_statuses(b"{")


def piece(text: str, part: str = "prt_1", name: str = "text", session: str = "ses_1") -> PartDelta:
    return PartDelta(session_id=session, message_id="msg_1", part_id=part, field=name, delta=text)


@pytest.mark.parametrize(
    ("events", "joined"),
    [
        ([], []),
        ([piece("a")], [piece("a")]),
        ([piece("a"), piece("b"), piece("c")], [piece("abc")]),
        ([piece("a"), piece("b", "prt_2"), piece("c")], [piece("a"), piece("b", "prt_2"), piece("c")]),
        ([piece("a"), piece("b", name="other")], [piece("a"), piece("b", name="other")]),
        ([piece("a"), piece("b", session="ses_2")], [piece("a"), piece("b", session="ses_2")]),
        (
            [piece("a"), piece("b"), SessionStatus(session_id="ses_1", type="idle"), piece("c"), piece("d")],
            [piece("ab"), SessionStatus(session_id="ses_1", type="idle"), piece("cd")],
        ),
        ([piece("a" * 5000), piece("b" * 5000), piece("c")], [piece("a" * 5000 + "b" * 5000), piece("c")]),
    ],
)
def test_deltas_of_one_part_that_follow_each_other_are_joined(events: list[BusEvent], joined: list[BusEvent]) -> None:
    assert join_deltas(events) == joined
