"""A turn, rule by rule: whose messages are output, what settles a text, what ends it, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sansio.a2a.model import DataPart, JsonObject, TaskState, TextPart
from sansio.a2a.tasks.task_log import ArtifactChunk, LogEvent, MetadataChanged, StatusChanged
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream.events import (
    BusEvent,
    InterruptAsked,
    InterruptEnded,
    MessageInfo,
    MessageRecord,
    MessageSeen,
    PartDelta,
    PartSeen,
    SessionFailed,
    SessionSeen,
    SessionStatus,
    UpstreamFault,
)
from sansio.opencode.upstream.faults import TaskFailure
from tests.core.recorded import CONTEXT, NOW, TASK, idle, output_of, picture, shared_of, task_of, terminals

SESSION = "ses_1"
PROMPT = "msg_2"
ANSWER = "msg_3"


def new_turn() -> Turn:
    return Turn(task_id=TASK, context_id=CONTEXT, session_id=SESSION, prompt_id=PROMPT)


def message(id: str = ANSWER, **info: Any) -> MessageSeen:
    values = {"role": "assistant", "parent_id": PROMPT, **info}
    return MessageSeen(session_id=SESSION, info=MessageInfo(id=id, session_id=SESSION, **values))


def user(id: str = PROMPT) -> MessageSeen:
    return message(id, role="user", parent_id=None)


def part(id: str, type: str = "text", message_id: str = ANSWER, **body: Any) -> PartSeen:
    return PartSeen(session_id=SESSION, message_id=message_id, part_id=id, type=type, body=body)


def whole(id: str, text: str, type: str = "text", message_id: str = ANSWER) -> PartSeen:
    return part(id, type, message_id, text=text, time={"start": 1, "end": 2})


def delta(id: str, text: str, field: str = "text") -> PartDelta:
    return PartDelta(session_id=SESSION, message_id=ANSWER, part_id=id, field=field, delta=text)


def tool(status: str, **state: Any) -> PartSeen:
    return part("prt_t", "tool", tool="bash", callID="c", state={"status": status, **state})


def failed(name: str = "APIError", session_id: str | None = SESSION) -> SessionFailed:
    return SessionFailed(session_id=session_id, fault=UpstreamFault(name=name, message="no"))


def asked(id: str, kind: str = "permission", session_id: str = SESSION) -> InterruptAsked:
    return InterruptAsked(session_id=session_id, kind=kind, request_id=id, body={"permission": id})


def answered(id: str, resolution: str = "replied") -> InterruptEnded:
    return InterruptEnded(session_id=SESSION, kind="permission", request_id=id, resolution=resolution)


IDLE = idle(SESSION)
BUSY = SessionStatus(session_id=SESSION, type="busy")


def fed(turn: Turn, *events: BusEvent) -> list[LogEvent]:
    return [said for event in events for said in turn.feed(event, NOW)]


def said_by(*events: BusEvent) -> list[LogEvent]:
    """What a new turn says from its beginning."""
    turn = new_turn()
    return turn.begin(NOW) + fed(turn, *events)


def texts(*events: BusEvent) -> dict[str, list[Any]]:
    return output_of(task_of(said_by(*events)))


def states(out: list[LogEvent]) -> list[TaskState]:
    return [event.status.state for event in out if isinstance(event, StatusChanged)]


# --- whose messages are output ----------------------------------------------------------------------------


def test_only_answers_to_our_prompt_are_output() -> None:
    earlier = message("msg_1b", parent_id="msg_1")
    child = PartSeen(session_id="ses_2", message_id=ANSWER, part_id="prt_9", type="text", body={"text": "child"})

    output = texts(
        user(),
        earlier,
        message(),
        whole("prt_0", "of an earlier turn", message_id="msg_1b"),
        whole("prt_1", "of the user", message_id=PROMPT),
        whole("prt_2", "ours"),
        child,
    )

    assert output == {"text": ["ours"]}


def test_tokens_of_a_session_below_are_not_output() -> None:
    child = PartDelta(session_id="ses_2", message_id=ANSWER, part_id="prt_1", field="text", delta=" child")

    assert texts(user(), message(), part("prt_1", text="ours"), child) == {"text": ["ours"]}


def test_answer_to_a_message_opencode_added_later_is_output_too() -> None:
    output = texts(
        message(),
        whole("prt_1", "one"),
        message("msg_5", parent_id="msg_4"),
        whole("prt_2", "two", message_id="msg_5"),
    )

    assert output == {"text": ["one", "two"]}


def test_summary_that_opencode_writes_for_itself_is_not_output() -> None:
    assert texts(message(summary=True), whole("prt_1", "summary")) == {}


@pytest.mark.parametrize("flag", ["synthetic", "ignored"])
def test_text_that_is_not_meant_to_be_read_is_not_output(flag: str) -> None:
    assert texts(message(), part("prt_1", "text", ANSWER, text="x", **{flag: True})) == {}


def test_parts_wait_until_it_is_known_whose_they_are() -> None:
    turn = new_turn()

    early = fed(turn, whole("prt_1", "ours"), whole("prt_0", "user's", message_id=PROMPT), user())
    late = fed(turn, message())

    assert early == []
    assert output_of(task_of(late)) == {"text": ["ours"]}


def test_parts_of_unknown_messages_are_kept_in_bounds() -> None:
    turn = new_turn()
    fed(turn, *(whole(f"prt_{n:04}", "x") for n in range(1500)))

    out = fed(turn, message())

    assert len(output_of(task_of(out))["text"]) == 1000


def test_other_part_types_are_no_output() -> None:
    types = ("patch", "snapshot", "file", "agent", "subtask", "compaction", "retry")

    assert texts(message(), *(part(f"prt_{n}", kind, text="x") for n, kind in enumerate(types))) == {}


def test_news_of_sessions_say_nothing() -> None:
    assert fed(new_turn(), SessionSeen(session_id=SESSION), BUSY) == []


# --- what settles a text ----------------------------------------------------------------------------------


def test_missing_end_of_a_text_is_said_when_it_is_settled() -> None:
    turn = new_turn()
    fed(turn, message(), part("prt_1", text=""), delta("prt_1", "Hel"))

    (rest,) = fed(turn, whole("prt_1", "Hello"))

    assert isinstance(rest, ArtifactChunk)
    assert rest.artifact.parts == (TextPart(text="lo"),)
    assert rest.append
    assert rest.joins


def test_text_that_was_settled_otherwise_replaces_what_was_said() -> None:
    turn = new_turn()
    out = fed(turn, message(), whole("prt_1", "A "), part("prt_2", text=""), delta("prt_2", "wrong"))

    (last,) = fed(turn, whole("prt_2", "right"))

    assert isinstance(last, ArtifactChunk)
    assert not last.append
    assert last.artifact.name == "response"
    assert output_of(task_of([*out, last])) == {"text": ["A ", "right"]}


def test_text_that_is_taken_back_leaves_nothing_readable() -> None:
    assert texts(message(), part("prt_1", text=""), delta("prt_1", "oops"), whole("prt_1", "")) == {"text": [""]}


def test_snapshot_that_lags_behind_its_deltas_changes_nothing() -> None:
    turn = new_turn()
    fed(turn, message(), part("prt_1", text=""), delta("prt_1", "Hello"))

    assert fed(turn, part("prt_1", text="He")) == []
    assert fed(turn, part("prt_1", text="Other")) == []
    assert fed(turn, part("prt_1", text=5)) == []


def test_deltas_of_a_settled_text_or_of_another_field_are_passed_over() -> None:
    events = (message(), part("prt_1", text=""), delta("prt_1", "{", field="raw"), delta("prt_1", ""))

    assert texts(*events) == {}
    assert texts(*events, whole("prt_1", "done"), delta("prt_1", "done")) == {"text": ["done"]}


def test_deltas_before_their_part_keep_it_silent_until_it_is_whole() -> None:
    turn = new_turn()
    fed(turn, message(), delta("prt_1", "Hel"))

    assert fed(turn, part("prt_1", text=""), delta("prt_1", "lo")) == []
    assert output_of(task_of(fed(turn, whole("prt_1", "Hello")))) == {"text": ["Hello"]}


def test_text_without_a_letter_is_no_part() -> None:
    assert texts(message(), whole("prt_1", ""), whole("prt_2", "x"), whole("prt_3", "")) == {"text": ["x"]}


def test_earlier_text_that_comes_late_takes_its_place() -> None:
    out = said_by(message(), whole("prt_2", "two"), whole("prt_1", "one"), whole("prt_3", "three"))

    assert output_of(task_of(out)) == {"text": ["one", "two", "three"]}


def test_reasoning_is_an_artifact_of_its_own_behind_the_answer() -> None:
    out = said_by(message(), whole("prt_1", "hm", "reasoning"), whole("prt_2", "so"))

    artifacts = task_of(out).artifacts
    assert [(a.name, a.artifact_id) for a in artifacts] == [
        ("response", f"{TASK}:text"),
        ("reasoning", f"{TASK}:reasoning"),
    ]


# --- tool calls -------------------------------------------------------------------------------------------


def test_tool_call_is_told_state_by_state_and_never_goes_back() -> None:
    out = said_by(
        message(),
        tool("pending", input={}),
        tool("running", input={"a": 1}),
        tool("pending", input={}),
        tool("running", input={"a": 1}),
        tool("completed", output="x"),
        tool("running", input={"a": 1}),
    )

    chunks = [event for event in out if isinstance(event, ArtifactChunk)]
    data = [part.data for chunk in chunks for part in chunk.artifact.parts if isinstance(part, DataPart)]
    assert [entry["status"] for entry in data] == ["pending", "running", "completed"]
    assert [chunk.last_chunk for chunk in chunks] == [False, False, True]
    assert {chunk.artifact.artifact_id for chunk in chunks} == {f"{TASK}:tool_call:prt_t"}
    assert {chunk.artifact.name for chunk in chunks} == {"bash"}


def test_tool_call_of_odd_shape_is_told_as_far_as_it_can_be() -> None:
    out = said_by(message(), part("prt_t", "tool", tool=5, state=[]))

    (artifact,) = task_of(out).artifacts
    assert artifact.name is None
    assert artifact.parts == (DataPart(data={"tool": 5}),)


# --- progress ---------------------------------------------------------------------------------------------


def test_steps_are_told_once() -> None:
    step = part("prt_s", "step-finish", reason="stop")
    odd = part("prt_o", "step-start", reason=5)

    progress = shared_of(said_by(message(), step, step, odd), "progress")

    assert progress == [
        {"type": "step-finish", "part_id": "prt_s", "reason": "stop"},
        {"type": "step-start", "part_id": "prt_o"},
    ]


def test_retries_are_told_once_each_and_speak_of_the_message_tried() -> None:
    def retry(**values: Any) -> SessionStatus:
        return SessionStatus(session_id=SESSION, type="retry", **values)

    out = said_by(
        retry(attempt=1, message="slow", next=5), message(), retry(attempt=1, message="slow", next=5), retry()
    )

    assert shared_of(out, "progress") == [
        {"type": "retry", "status": "retry", "attempt": 1, "message": "slow", "next": 5},
        {"type": "retry", "status": "retry"},
    ]
    assert [stream["message_id"] for stream in shared_of(out, "stream")] == [PROMPT, ANSWER]


# --- interrupts -------------------------------------------------------------------------------------------


def test_task_waits_until_every_interrupt_is_answered() -> None:
    turn = new_turn()

    out = turn.begin(NOW) + fed(turn, asked("per_1"), asked("per_2"), asked("per_1"), answered("per_2"))
    waiting = out[-1]
    out += fed(turn, answered("per_1", "rejected"), answered("per_1"))

    assert isinstance(waiting, StatusChanged)
    assert waiting.status.message is not None
    assert waiting.status.message.message_id == f"{TASK}:per_1"
    assert states(out) == [TaskState.WORKING, *[TaskState.INPUT_REQUIRED] * 3, TaskState.WORKING]
    assert [entry["phase"] for entry in shared_of(out, "interrupt")] == ["asked", "asked", "resolved", "resolved"]


def test_interrupt_that_was_answered_before_it_was_heard_of_is_not_asked() -> None:
    assert fed(new_turn(), answered("per_1"), asked("per_1")) == []


def test_answer_that_is_taken_after_the_end_says_nothing() -> None:
    turn = new_turn()
    fed(turn, asked("per_1"))
    turn.cancel(NOW)

    assert turn.answered(answered("per_1"), NOW) == []


def test_interrupt_of_a_subagent_is_the_roots() -> None:
    out = fed(new_turn(), asked("per_1", session_id="ses_child"))

    assert states(out) == [TaskState.INPUT_REQUIRED]


def test_progress_while_waiting_says_that_it_waits() -> None:
    out = said_by(message(), asked("per_1"), part("prt_s", "step-start"))

    assert states(out)[-1] is TaskState.INPUT_REQUIRED


# --- the end ----------------------------------------------------------------------------------------------

DONE = message(completed=True, tokens={"input": 1, "output": 2}, cost=0.5)


def test_turn_ends_when_idle_and_complete_in_either_order() -> None:
    for events in ((message(), DONE, IDLE), (message(), IDLE, DONE)):
        assert states(said_by(*events))[-1] is TaskState.COMPLETED


def test_idle_before_any_answer_is_not_the_end_and_asks_for_another_look() -> None:
    turn = new_turn()

    assert fed(turn, user(), IDLE) == []
    assert turn.unsettled
    assert not turn.ended
    fed(turn, BUSY)
    assert not turn.unsettled


def test_every_message_must_be_complete() -> None:
    turn = new_turn()
    early = fed(turn, message(), DONE, message("msg_4"), IDLE)
    late = fed(turn, message("msg_4", completed=True))

    assert terminals(early) == []
    assert states(late) == [TaskState.COMPLETED]
    assert not turn.unsettled


def test_older_state_of_a_message_does_not_undo_its_end() -> None:
    assert states(said_by(DONE, message(), IDLE))[-1] is TaskState.COMPLETED


def test_last_chunks_and_usage_come_before_the_end() -> None:
    out = said_by(message(), whole("prt_1", "hi"), whole("prt_2", "hm", "reasoning"), DONE, IDLE)

    *_, text, reasoning, metadata, end = out
    assert isinstance(text, ArtifactChunk)
    assert isinstance(reasoning, ArtifactChunk)
    assert text.last_chunk
    assert reasoning.last_chunk
    assert isinstance(metadata, MetadataChanged)
    usage: JsonObject = metadata.metadata["shared"]["usage"]
    assert (usage["total_tokens"], usage["cost"]) == (3, 0.5)
    assert isinstance(end, StatusChanged)
    assert output_of(task_of(out)) == {"text": ["hi"], "reasoning": ["hm"]}


def test_usage_is_that_of_the_last_message_that_tells_it() -> None:
    out = said_by(DONE, message("msg_4", completed=True), IDLE)

    assert [usage["input_tokens"] for usage in shared_of(terminals(out), "usage")] == [1]


def test_error_of_the_session_fails_the_turn_even_without_an_answer() -> None:
    out = said_by(user(), failed(), IDLE)

    assert picture(task_of(out))[:2] == (TaskState.FAILED, "OpenCode could not finish the turn (APIError): no")


def test_error_of_the_instance_or_of_another_session_is_not_the_turns() -> None:
    turn = new_turn()

    assert fed(turn, failed(session_id=None), failed(session_id="ses_2"), IDLE) == []
    assert not turn.ended


def test_error_that_opencode_got_over_does_not_fail_the_turn() -> None:
    error = UpstreamFault(name="ContextOverflowError", message="too long")
    overflown = message(completed=True, error=error)
    went_on = message("msg_6", parent_id="msg_5", completed=True)

    for events in ((overflown,), (DONE, failed("ContextOverflowError")), (overflown, failed("ContextOverflowError"))):
        out = said_by(*events, BUSY, went_on, IDLE)
        assert states(out)[-1] is TaskState.COMPLETED


def test_abort_in_opencode_cancels_the_task() -> None:
    for events in (
        (DONE, failed("MessageAbortedError")),
        (message(completed=True, error=UpstreamFault(name="MessageAbortedError", message="")),),
    ):
        assert states(said_by(*events, IDLE))[-1] is TaskState.CANCELED


def test_turn_is_cancelled_or_failed_from_outside_once() -> None:
    turn = new_turn()
    out = turn.begin(NOW) + turn.cancel(NOW, "The client canceled")

    assert picture(task_of(out))[:2] == (TaskState.CANCELED, "The client canceled")
    assert turn.cancel(NOW) == turn.fail(TaskFailure(text="late", type="X"), NOW) == turn.begin(NOW) == []
    assert fed(turn, message(), whole("prt_1", "late"), IDLE) == []


@pytest.mark.parametrize(("status", "told"), [(None, {"type": "X"}), (502, {"type": "X", "upstream_status": 502})])
def test_failure_from_outside_is_told_for_people_and_machines(status: int | None, told: JsonObject) -> None:
    turn = new_turn()

    (end,) = terminals(turn.fail(TaskFailure(text="It broke", type="X", status=status), NOW))

    assert end.metadata is not None
    assert end.metadata["opencode"] == {"error": told, "end": "failed"}
    assert end.status.message is not None
    assert end.status.message.parts == (TextPart(text="It broke"),)


def test_turn_without_a_session_yet_can_fail() -> None:
    turn = Turn(task_id=TASK, context_id=CONTEXT, session_id="", prompt_id="")

    (end,) = terminals(turn.fail(TaskFailure(text="no session", type="X"), NOW))

    assert end.metadata is not None
    assert "session" not in end.metadata["shared"]
    assert "message_id" not in end.metadata["shared"]["stream"]


def texts_of(out: Sequence[LogEvent]) -> list[str]:
    """The texts of chunks, in the order in which they were sent."""
    chunks = [event for event in out if isinstance(event, ArtifactChunk)]
    return [one.text for chunk in chunks for one in chunk.artifact.parts if isinstance(one, TextPart)]


# --- reading again ----------------------------------------------------------------------------------------


def record(info: MessageSeen, *parts: PartSeen) -> MessageRecord:
    return MessageRecord(info=info.info, parts=parts)


def test_after_a_gap_a_text_is_silent_until_its_deltas_have_a_place_again() -> None:
    turn = new_turn()
    fed(turn, message(), part("prt_1", text=""), delta("prt_1", "Hel"))

    turn.gap()

    assert fed(turn, delta("prt_1", "wor")) == []
    assert texts_of(fed(turn, part("prt_1", text="Hello wor"))) == ["lo wor"]
    assert texts_of(fed(turn, delta("prt_1", "l"))) == ["l"]
    assert texts_of(fed(turn, whole("prt_1", "Hello world"))) == ["d"]


def test_text_first_read_over_rest_is_silent_until_it_is_told_whole() -> None:
    turn = new_turn()
    out = turn.reconcile([record(message(), part("prt_1", text="Hel"))], BUSY, NOW)

    assert output_of(task_of(out)) == {"text": ["Hel"]}
    assert fed(turn, delta("prt_1", "Hel")) == []
    out += fed(turn, whole("prt_1", "Hello"))
    assert output_of(task_of(out)) == {"text": ["Hello"]}


def test_idle_that_was_heard_before_the_gap_does_not_end_the_turn_between_two_records() -> None:
    turn = new_turn()
    out = fed(turn, message(), IDLE)

    out += turn.reconcile(
        [record(DONE, whole("prt_1", "one")), record(message("msg_4"), whole("prt_2", "two", message_id="msg_4"))],
        IDLE,
        NOW,
    )

    assert not turn.ended
    assert turn.unsettled


def test_session_that_stays_idle_without_an_answer_fails_the_turn_at_the_last_try() -> None:
    turn = new_turn()
    records = [record(user()), record(message(), part("prt_1", text="Hal"))]

    assert terminals(turn.reconcile(records, IDLE, NOW)) == []
    assert terminals(turn.reconcile(records, BUSY, NOW, last_try=True)) == []
    (end,) = terminals(turn.reconcile(records, IDLE, NOW, last_try=True))

    assert end.status.state is TaskState.FAILED
    assert end.status.message is not None
    assert end.status.message.parts == (TextPart(text="OpenCode stopped before the answer was complete"),)


def test_nothing_is_read_into_a_turn_that_has_ended() -> None:
    turn = new_turn()
    turn.cancel(NOW)

    retry = SessionStatus(session_id=SESSION, type="retry", attempt=1)
    assert turn.reconcile([], retry, NOW) == []
    assert turn.reconcile([record(DONE, whole("prt_1", "late"))], IDLE, NOW, last_try=True) == []


def test_a_tool_reports_its_progress_until_the_turn_has_ended() -> None:
    turn = new_turn()
    turn.begin(NOW)

    (said,) = turn.tool_progress("call", "c", "half done", ANSWER)
    turn.cancel(NOW)

    assert isinstance(said, StatusChanged)
    assert shared_of([said], "progress")[0]["tool"] == "call"
    assert turn.tool_progress("call", "c", "done", ANSWER) == []


def test_an_answer_that_nobody_told_of_is_found_by_a_read_and_only_once() -> None:
    turn = new_turn()
    fed(turn, asked("per_1"), asked("per_2"), answered("per_2"))

    out = turn.reconcile([], BUSY, NOW, waited_for=frozenset({"per_1", "per_2"}))

    assert [entry["phase"] for entry in shared_of(out, "interrupt")] == ["resolved"]
    assert not turn.interrupt_tracker.pending


def test_message_that_becomes_ours_late_can_end_the_turn() -> None:
    error = UpstreamFault(name="APIError", message="no", status=500)

    out = said_by(message(summary=True), message(completed=True, error=error), IDLE)

    assert states(out)[-1] is TaskState.FAILED


def test_turn_without_a_session_yet_can_be_cancelled() -> None:
    turn = Turn(task_id=TASK, context_id=CONTEXT, session_id="", prompt_id="")

    assert states(turn.cancel(NOW)) == [TaskState.CANCELED]
