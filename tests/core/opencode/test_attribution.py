"""A turn's messages are those that answer its prompt; what a person types in the same session is not the turn's."""

from __future__ import annotations

import pytest

from sansio.a2a.model import JsonObject, TaskState, TextPart
from sansio.a2a.tasks.task_log import ArtifactChunk, LogEvent, StatusChanged
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream.events import (
    BusEvent,
    InterruptAsked,
    MessageInfo,
    MessageRecord,
    MessageSeen,
    PartSeen,
    SessionDeleted,
    SessionStatus,
)

NOW = "2026-01-01T00:00:00Z"
PROMPT, TYPED = "msg_1", "msg_3"


def turn() -> Turn:
    return Turn(task_id="t", context_id="c", session_id="s", prompt_id=PROMPT)


def user(id: str) -> MessageSeen:
    return MessageSeen(session_id="s", info=MessageInfo(id=id, session_id="s", role="user"))


def answer(id: str, parent: str, *, finish: str | None = None) -> MessageSeen:
    info = MessageInfo(
        id=id, session_id="s", role="assistant", parent_id=parent, completed=finish is not None, finish=finish
    )
    return MessageSeen(session_id="s", info=info)


def part(message: str, id: str, text: str = "", **more: object) -> PartSeen:
    body: JsonObject = {"type": "text", "text": text, "time": {"end": 1}, **more}
    return PartSeen(session_id="s", message_id=message, part_id=id, type=str(body["type"]), body=body)


def status(type: str) -> SessionStatus:
    return SessionStatus(session_id="s", type=type)


def permission(message: str | None, *, session: str = "s", id: str = "per_1") -> InterruptAsked:
    body: JsonObject = {} if message is None else {"tool": {"messageID": message, "callID": "c"}}
    return InterruptAsked(session_id=session, kind="permission", request_id=id, body=body)


def fed(turn: Turn, *events: BusEvent) -> list[LogEvent]:
    out = turn.begin(NOW)
    for event in events:
        out += turn.feed(event, NOW)
    return out


def said(out: list[LogEvent]) -> str:
    chunks = [event.artifact for event in out if isinstance(event, ArtifactChunk)]
    return "".join(one.text for artifact in chunks for one in artifact.parts if isinstance(one, TextPart))


def states(out: list[LogEvent]) -> list[TaskState]:
    return [event.status.state for event in out if isinstance(event, StatusChanged)]


OURS = (user(PROMPT), part(PROMPT, "p1", "ask"), answer("msg_2", PROMPT))
THEIRS = (user(TYPED), part(TYPED, "p3", "typed"), answer("msg_4", TYPED), part("msg_4", "p4", "theirs"))


def test_what_answers_somebody_else_is_not_said() -> None:
    out = fed(turn(), *OURS, part("msg_2", "p2", "ours"), *THEIRS, answer("msg_2", PROMPT, finish="stop"))

    assert said(out) == "ours"


def test_what_opencode_adds_itself_is_the_turns() -> None:
    added = (user(TYPED), part(TYPED, "p3", "Continue", synthetic=True), answer("msg_4", TYPED))
    out = fed(turn(), *OURS, part("msg_2", "p2", "a"), *added, part("msg_4", "p4", "b"))
    compacted = (user(TYPED), part(TYPED, "p3", type="compaction"), answer("msg_4", TYPED))
    also = fed(turn(), *OURS, part("msg_2", "p2", "a"), *compacted, part("msg_4", "p4", "b"))

    assert said(out) == said(also) == "ab"


def test_a_turn_ends_with_its_own_answer_though_the_session_works_on() -> None:
    running = turn()
    out = fed(running, *OURS, status("busy"), *THEIRS)
    assert not running.ended
    out += running.feed(answer("msg_2", PROMPT, finish="stop"), NOW)

    assert states(out)[-1] is TaskState.COMPLETED


@pytest.mark.parametrize("finish", ["tool-calls", "unknown"])
def test_a_turn_that_goes_on_waits_for_the_session_to_rest(finish: str) -> None:
    running = turn()
    fed(running, *OURS, status("busy"), *THEIRS, answer("msg_2", PROMPT, finish=finish))
    assert not running.ended
    running.feed(status("idle"), NOW)

    assert running.ended


def test_their_permission_is_not_asked_of_our_client() -> None:
    out = fed(turn(), *OURS, *THEIRS, permission("msg_4"))
    ours = fed(turn(), *OURS, *THEIRS, permission("msg_2"))

    assert TaskState.INPUT_REQUIRED not in states(out)
    assert TaskState.INPUT_REQUIRED in states(ours)


@pytest.mark.parametrize(("message", "asked"), [("msg_2", True), ("msg_4", False), (None, True)])
def test_a_subagents_permission_is_whose_message_made_it(message: str | None, asked: bool) -> None:
    state = {"status": "running", "metadata": {"sessionId": "ses_child"}}
    made = () if message is None else (part(message, "p9", type="tool", tool="task", callID="c", state=state),)
    out = fed(turn(), *OURS, *THEIRS, *made, permission("msg_x", session="ses_child"))

    assert (TaskState.INPUT_REQUIRED in states(out)) is asked


def test_a_reading_attributes_likewise() -> None:
    running = turn()
    running.begin(NOW)
    records = [
        MessageRecord(info=user(PROMPT).info, parts=(part(PROMPT, "p1", "ask"),)),
        MessageRecord(info=answer("msg_2", PROMPT, finish="stop").info, parts=(part("msg_2", "p2", "ours"),)),
        MessageRecord(info=user(TYPED).info, parts=(part(TYPED, "p3", "typed"),)),
        MessageRecord(info=answer("msg_4", TYPED).info, parts=(part("msg_4", "p4", "theirs"),)),
    ]
    out = running.reconcile(records, status("busy"), NOW, asked=[permission("msg_4")])

    assert said(out) == "ours"
    assert states(out) == [TaskState.COMPLETED]


# --- how a turn ends --------------------------------------------------------------------------------------


def tool(status: str) -> PartSeen:
    return part("msg_2", "p5", type="tool", tool="bash", callID="c", state={"status": status, "input": {}})


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_nothing_dangles(end: str) -> None:
    running = turn()
    fed(running, *OURS, tool("running"), permission("msg_2"))
    out = running.cancel(NOW) if end == "cancel" else running.feed(SessionDeleted(session_id="s"), NOW)

    [call] = [event for event in out if isinstance(event, ArtifactChunk) and event.last_chunk]
    assert call.artifact.parts[0].data["status"] == "error"  # type: ignore[union-attr]
    [resolved, ended] = [event for event in out if isinstance(event, StatusChanged)]
    assert (resolved.metadata or {})["shared"]["interrupt"]["phase"] == "resolved"
    assert ended.status.state is (TaskState.CANCELED if end == "cancel" else TaskState.FAILED)
    assert running.interrupt_tracker.pending == {}
    assert [asked.request_id for asked in running.left] == ["per_1"]


@pytest.mark.parametrize(
    ("finish", "kind", "words"),
    [("stop", "finished", False), ("length", "length", True), ("content-filter", "refused", True)],
)
def test_the_kind_of_end_is_told(finish: str, kind: str, words: bool) -> None:
    out = fed(turn(), *OURS, answer("msg_2", PROMPT, finish=finish), status("idle"))

    last = out[-1]
    assert isinstance(last, StatusChanged)
    assert (last.metadata or {})["opencode"]["end"] == kind
    assert (last.status.message is not None) is words


def test_a_request_of_a_message_of_ours_is_ours_though_opencodes_clock_is_behind_ours() -> None:
    """Our prompt's id may sort after the ids that OpenCode gives later: it has the time of another clock."""
    ahead = turn()
    early = "msg_0"  # before the prompt's id
    assert early < PROMPT

    fed(ahead, user(PROMPT), answer(early, PROMPT), permission(early))

    assert list(ahead.interrupt_tracker.pending) == ["per_1"]
