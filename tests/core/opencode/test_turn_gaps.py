"""A turn whose events were missed for a while: it does not end on what it has not heard, nor wait for what it has."""

from __future__ import annotations

from sansio.a2a.tasks.task_log import LogEvent
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream.events import BusEvent, MessageRecord, SessionStatus
from tests.core.opencode.test_turn import DONE, IDLE, PROMPT, SESSION, failed, message, new_turn, tool, user, whole
from tests.core.recorded import NOW, output_of, task_of, terminals

BUSY = SessionStatus(session_id=SESSION, type="busy")
WHOLE = MessageRecord(info=DONE.info, parts=(tool("completed"), whole("prt_z", "done")))


def fed(turn: Turn, *events: BusEvent) -> list[LogEvent]:
    return [out for event in events for out in turn.feed(event, NOW)]


def test_an_end_heard_after_a_gap_waits_for_what_the_gap_has_hidden() -> None:
    turn = new_turn()
    out = fed(turn, message())
    turn.gap()

    out += fed(turn, whole("prt_z", "done"), DONE, IDLE)

    assert terminals(out) == []
    assert turn.unsettled
    out += turn.reconcile([WHOLE], IDLE, NOW)
    assert len(terminals(out)) == 1
    assert set(output_of(task_of(out))) == {"text", "tool_call:prt_t"}


def test_a_gap_while_the_session_is_read_needs_another_reading() -> None:
    turn = new_turn()
    fed(turn, message())
    turn.gap()
    since = turn.bus_position
    turn.gap()

    out = turn.reconcile([WHOLE], IDLE, NOW, since=since, last_try=True)

    assert terminals(out) == []
    assert len(terminals(turn.reconcile([WHOLE], IDLE, NOW))) == 1


def test_an_idle_heard_while_the_session_is_read_is_newer_than_the_busy_that_was_read() -> None:
    turn = new_turn()
    fed(turn, message())
    turn.gap()
    since = turn.bus_position
    fed(turn, whole("prt_z", "done"), DONE, IDLE)

    out = turn.reconcile([MessageRecord(info=message().info, parts=())], BUSY, NOW, since=since)

    assert len(terminals(out)) == 1


def test_an_error_heard_while_the_session_is_read_leaves_the_session_in_doubt() -> None:
    turn = new_turn()
    since = turn.bus_position
    fed(turn, failed())

    turn.reconcile([MessageRecord(info=user().info, parts=())], BUSY, NOW, since=since)

    assert turn.unsettled


def test_a_prompt_that_opencode_never_had_is_told_from_an_answer_that_broke_off() -> None:
    reasons = []
    for records in ([], [MessageRecord(info=user(PROMPT).info, parts=())]):
        (end,) = terminals(new_turn().reconcile(records, IDLE, NOW, last_try=True))
        assert end.status.message is not None
        reasons.append(end.status.message.parts[0])

    assert "never got the message" in str(reasons[0])
    assert "stopped before the answer" in str(reasons[1])
