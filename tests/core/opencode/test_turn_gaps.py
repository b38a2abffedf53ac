"""A turn whose events were missed for a while: it does not end on what it has not heard, nor wait for what it has."""

from __future__ import annotations

from sansio.a2a.tasks.task_log import LogEvent
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream.events import BusEvent, MessageRecord, PartSeen, SessionStatus
from tests.core.opencode.test_turn import (
    DONE,
    IDLE,
    PROMPT,
    SESSION,
    delta,
    failed,
    message,
    new_turn,
    part,
    texts_of,
    tool,
    user,
    whole,
)
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


# --- texts ------------------------------------------------------------------------------------------------


def read(turn: Turn, *parts: PartSeen) -> list[LogEvent]:
    """The session is read while OpenCode works on the answer, with these parts."""
    return turn.reconcile([MessageRecord(info=message().info, parts=parts)], BUSY, NOW)


def test_a_text_that_begins_after_a_gap_is_sent_as_it_comes() -> None:
    turn = new_turn()
    fed(turn, message(), part("prt_1", text=""), delta("prt_1", "one"))
    turn.gap()

    out = fed(turn, delta("prt_1", " more"), part("prt_2", text=""), delta("prt_2", "two"))
    out += read(turn, whole("prt_1", "one and more"), part("prt_2", text=""))
    out += fed(turn, delta("prt_2", " and"), delta("prt_2", " three"))

    assert texts_of(out) == ["two", "one and more", "two", " and", " three"]


def test_a_text_whose_message_was_missed_is_sent_from_its_beginning_once_that_is_read() -> None:
    turn = new_turn()
    turn.gap()

    assert fed(turn, part("prt_1", text=""), delta("prt_1", "Hel"), delta("prt_2", "part missed")) == []
    assert texts_of(read(turn, part("prt_1", text=""), part("prt_2", text=""))) == ["Hel"]
    assert texts_of(fed(turn, delta("prt_1", "lo"), delta("prt_2", " too"))) == ["lo"]


def test_deltas_for_which_there_is_no_room_leave_a_gap() -> None:
    turn = new_turn()
    fed(turn, part("prt_1", text=""), *(delta("prt_1", "x") for _ in range(1000)))

    fed(turn, message())

    assert fed(turn, delta("prt_1", "y")) == []
    assert texts_of(fed(turn, whole("prt_1", "x" * 1000 + "y"))) == ["x" * 1000 + "y"]


def test_parts_that_wait_for_their_message_are_read_again_after_a_gap() -> None:
    turn = new_turn()
    fed(turn, part("prt_1", text=""), delta("prt_1", "Hel"))
    turn.gap()

    assert read(turn, part("prt_1", text="")) == []
    assert fed(turn, delta("prt_1", "ld")) == []
    assert texts_of(fed(turn, whole("prt_1", "Hello world"))) == ["Hello world"]


def test_a_text_that_was_read_while_its_deltas_come_is_sent_once() -> None:
    turn = new_turn()
    out = fed(turn, message(), part("prt_1", text=""), delta("prt_1", "one"))

    out += read(turn, part("prt_1", text="one two"))
    out += fed(turn, delta("prt_1", " two"))

    assert texts_of(out) == ["one", " two"]


def test_doubt_about_the_session_leaves_its_texts_as_they_are() -> None:
    turn = new_turn()
    fed(turn, message(), part("prt_z", text=""), delta("prt_z", "do"))
    turn.doubt()

    out = fed(turn, delta("prt_z", "n"), whole("prt_z", "done"), DONE, IDLE)

    assert texts_of(out) == ["n", "e"]
    assert not turn.ended
    assert len(terminals(turn.reconcile([WHOLE], IDLE, NOW))) == 1


def test_a_text_that_lacks_deltas_which_came_since_the_gap_gives_them_no_place() -> None:
    turn = new_turn()
    fed(turn, message(), part("prt_1", text=""), delta("prt_1", "a"))
    turn.gap()

    fed(turn, delta("prt_1", "bcd"))

    assert texts_of(fed(turn, part("prt_1", text="ab"), delta("prt_1", "e"))) == ["b"]
    assert texts_of(fed(turn, whole("prt_1", "abcde"))) == ["cde"]


def test_another_text_than_the_one_that_was_sent_gives_deltas_no_place() -> None:
    turn = new_turn()
    fed(turn, message(), part("prt_1", text=""), delta("prt_1", "one"))
    turn.gap()

    assert fed(turn, part("prt_1", text="other"), delta("prt_1", "!")) == []
    assert texts_of(fed(turn, whole("prt_1", "other!"))) == ["other!"]


def test_deltas_that_repeat_what_was_sent_are_passed_over() -> None:
    turn = new_turn()
    fed(turn, message(), part("prt_1", text="one two three"))
    turn.gap()

    assert fed(turn, part("prt_1", text="one"), delta("prt_1", " two")) == []
    assert texts_of(fed(turn, delta("prt_1", " three four"), delta("prt_1", " five"))) == [" four", " five"]


def test_deltas_that_should_repeat_what_was_sent_and_do_not_open_a_gap() -> None:
    turn = new_turn()
    fed(turn, message(), part("prt_1", text="one two"))
    turn.gap()

    assert fed(turn, part("prt_1", text="one"), delta("prt_1", " three"), delta("prt_1", " two")) == []
    assert texts_of(fed(turn, whole("prt_1", "one three two"))) == ["one three two"]


def test_a_text_that_comes_whole_while_deltas_repeat_it_says_anew_what_they_repeat() -> None:
    turn = new_turn()
    fed(turn, message(), part("prt_1", text="one two"))
    turn.gap()

    assert fed(turn, part("prt_1", text="one")) == []
    assert texts_of(fed(turn, part("prt_1", text="one two three"), delta("prt_1", " four"))) == [" three", " four"]


def test_a_second_gap_counts_while_deltas_repeat_what_was_sent() -> None:
    turn = new_turn()
    fed(turn, message(), part("prt_1", text="one two"))
    turn.gap()
    fed(turn, part("prt_1", text="one"))

    turn.gap()

    assert fed(turn, delta("prt_1", " two"), delta("prt_1", " four")) == []
