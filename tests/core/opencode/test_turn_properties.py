"""However a turn's events come, doubled, mixed, lost and read again, they end in the same task, once."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.strategies import DataObject, DrawFn

from sansio.a2a.model import TaskState, TaskStatus
from sansio.a2a.tasks.task_log import LogEvent, StatusChanged, TaskLog
from sansio.opencode.upstream.events import (
    BusEvent,
    MessageRecord,
    MessageSeen,
    PartDelta,
    PartSeen,
    SessionFailed,
    SessionStatus,
    join_deltas,
)
from sansio.opencode.upstream.faults import TaskFailure
from tests.core.recorded import (
    CONTEXT,
    FINISHED,
    NAMES,
    NOW,
    TASK,
    Recording,
    flattened,
    idle,
    naive_fold,
    output_of,
    picture,
    play,
    recorded,
    recording_of,
    task_of,
    terminals,
    turn_of,
)
from tests.strategies import ScriptedTurn, scripted_turns

RECORDED = tuple(recorded(name) for name in FINISHED)
EVERYTHING = tuple(event for name in NAMES for event in recorded(name).events)

turns = st.sampled_from(RECORDED) | scripted_turns().map(
    lambda script: recording_of("scripted", script.lines, script.messages)
)


def is_part(event: BusEvent) -> bool:
    return isinstance(event, PartSeen | PartDelta)


def assert_same_task(recording: Recording, out: Sequence[LogEvent]) -> None:
    """The task is that of the undisturbed turn, it ended once, and its stream says what it says."""
    assert len(terminals(out)) == 1
    task = task_of(out)
    assert picture(task) == picture(task_of(play(recording)))
    assert naive_fold(out) == flattened(output_of(task))


@given(scripted_turns())
def test_scripted_turn_says_what_opencode_says_its_messages_are(script: ScriptedTurn) -> None:
    recording = recording_of("scripted", script.lines, script.messages)
    texts: dict[str, list[str]] = {}
    for record in recording.records[1:]:
        for part in record.parts:
            if part.type in ("text", "reasoning"):
                texts.setdefault(part.type, []).append(part.body["text"])

    task = task_of(play(recording))

    assert {name: held for name, held in output_of(task).items() if name in texts} == texts
    assert task.status.state.closing


@st.composite
def doubled(draw: DrawFn) -> tuple[Recording, list[BusEvent]]:
    """A turn with any of its events told again, at once or later."""
    recording = draw(turns)
    events = list(recording.events)
    for _ in range(draw(st.integers(1, 8))):
        index = draw(st.integers(0, len(events) - 1))
        event = events[index]
        late = not isinstance(event, SessionFailed | SessionStatus)
        events.insert(draw(st.integers(index + 1, len(events))) if late else index + 1, event)
    return recording, events


@given(doubled())
def test_events_told_twice_change_nothing(case: tuple[Recording, list[BusEvent]]) -> None:
    recording, events = case

    assert_same_task(recording, play(recording, events))


@given(turns, st.data())
def test_deltas_that_come_together_may_come_as_one(recording: Recording, data: DataObject) -> None:
    events, joined = list(recording.events), list[BusEvent]()
    while events:
        size = data.draw(st.integers(1, len(events)))
        joined += join_deltas(events[:size])
        del events[:size]

    assert_same_task(recording, play(recording, joined))


@st.composite
def mixed(draw: DrawFn) -> tuple[Recording, list[BusEvent]]:
    """A turn whose parts are told in another order; the events of each part keep theirs."""
    recording = draw(turns)
    slots = [index for index, event in enumerate(recording.events) if is_part(event)]
    queues: dict[str, list[BusEvent]] = {}
    for index in slots:
        event = recording.events[index]
        assert isinstance(event, PartSeen | PartDelta)
        queues.setdefault(event.part_id, []).append(event)
    order = draw(st.permutations([part for part, queue in queues.items() for _ in queue]))
    events = list(recording.events)
    for index, part in zip(slots, order, strict=True):
        events[index] = queues[part].pop(0)
    return recording, events


@given(mixed())
def test_order_across_parts_changes_nothing(case: tuple[Recording, list[BusEvent]]) -> None:
    recording, events = case

    assert_same_task(recording, play(recording, events))


@given(turns, st.data())
def test_lost_events_are_made_good_by_reading_again(recording: Recording, data: DataObject) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(recording.events), max_size=len(recording.events)))
    turn = turn_of(recording)
    out = turn.begin(NOW)

    for event, heard in zip(recording.events, kept, strict=True):
        if heard and not isinstance(event, SessionStatus):
            out += turn.feed(event, NOW)
    turn.gap()
    out += turn.reconcile(recording.records, idle(recording.session_id), NOW)

    assert_same_task(recording, out)


def read_at(recording: Recording, heard: Sequence[BusEvent]) -> tuple[list[MessageRecord], SessionStatus]:
    """What the session holds, read over REST after these events: texts as far as their last snapshot."""
    messages: dict[str, MessageRecord] = {}
    status = idle(recording.session_id)
    for event in heard:
        if event.session_id != recording.session_id:
            continue
        if isinstance(event, MessageSeen):
            before = messages.get(event.info.id, MessageRecord(info=event.info, parts=()))
            messages[event.info.id] = evolve(before, info=event.info)
        elif isinstance(event, PartSeen):
            before = messages[event.message_id]
            others = tuple(part for part in before.parts if part.part_id != event.part_id)
            messages[event.message_id] = evolve(before, parts=(*others, event))
        elif isinstance(event, SessionStatus):
            status = event
    return list(messages.values()), status


@given(turns, st.data())
def test_reconnect_in_the_middle_changes_nothing(recording: Recording, data: DataObject) -> None:
    size = len(recording.events)
    away = data.draw(st.integers(0, size), label="connection lost before")
    back = data.draw(st.integers(away, size), label="back before")
    read = data.draw(st.integers(back, size), label="session read before")
    turn = turn_of(recording)
    out = turn.begin(NOW)

    for event in recording.events[:away]:
        out += turn.feed(event, NOW)
    turn.gap()
    for event in recording.events[back:read]:
        if isinstance(event, SessionStatus):
            break  # the read is not that late
        out += turn.feed(event, NOW)
        back += 1
    records, status = read_at(recording, recording.events[:back])
    out += turn.reconcile(records, status, NOW)
    for event in recording.events[back:]:
        out += turn.feed(event, NOW)

    assert len(terminals(out)) == 1
    ours = [event for event in recording.events[away:back] if isinstance(event, SessionFailed)]
    if not ours:  # an error that only the bus told is lost with it; its message tells it too
        assert picture(task_of(out)) == picture(task_of(play(recording)))
    assert naive_fold(out) == flattened(output_of(task_of(out)))


@given(st.lists(st.sampled_from(EVERYTHING), max_size=60), st.sampled_from(RECORDED))
def test_garbage_order_never_raises_and_ends_at_most_once(events: list[BusEvent], whose: Recording) -> None:
    out = play(whose, events)

    assert len(terminals(out)) <= 1
    task_of(out)


class AnyTurn(RuleBasedStateMachine):
    """A turn under everything its runner can do to it, in any order."""

    @initialize(recording=st.sampled_from(RECORDED))
    def start(self, recording: Recording) -> None:
        self.recording = recording
        self.turn = turn_of(recording)
        self.log = TaskLog(TASK, CONTEXT)
        self.log.append(StatusChanged(status=TaskStatus(state=TaskState.SUBMITTED)))
        self.out: list[LogEvent] = []
        self.next = 0

    def take(self, out: list[LogEvent], ended_before: bool) -> None:
        assert not (ended_before and out), "said something after the end"
        for event in out:
            assert self.log.append(event) is not None, f"the log drops {event}"
        self.out += out

    @rule()
    def begin(self) -> None:
        ended = self.turn.ended
        self.take(self.turn.begin(NOW), ended)

    @rule(count=st.integers(1, 25))
    def hear_on(self, count: int) -> None:
        for event in self.recording.events[self.next : self.next + count]:
            ended = self.turn.ended
            self.take(self.turn.feed(event, NOW), ended)
        self.next += count

    @rule(event=st.sampled_from(EVERYTHING))
    def hear_anything(self, event: BusEvent) -> None:
        ended = self.turn.ended
        self.take(self.turn.feed(event, NOW), ended)

    @rule()
    def lose_the_connection(self) -> None:
        self.turn.gap()

    @rule(
        size=st.integers(0, 5),
        status=st.sampled_from(("idle", "busy", "retry")),
        last_try=st.booleans(),
    )
    def read_again(self, size: int, status: str, last_try: bool) -> None:
        ended = self.turn.ended
        session_status = SessionStatus(session_id=self.recording.session_id, type=status, attempt=1)
        records = self.recording.records[:size]
        self.take(self.turn.reconcile(records, session_status, NOW, last_try=last_try), ended)

    @rule()
    def cancel(self) -> None:
        ended = self.turn.ended
        self.take(self.turn.cancel(NOW), ended)
        assert self.turn.ended

    @rule()
    def fail(self) -> None:
        ended = self.turn.ended
        self.take(self.turn.fail(TaskFailure(text="no", type="UPSTREAM_TIMEOUT", status=504), NOW), ended)
        assert self.turn.ended

    @invariant()
    def ends_once(self) -> None:
        assert len(terminals(self.out)) == (1 if self.turn.ended else 0)
        assert self.log.state.closing == self.turn.ended

    def teardown(self) -> None:
        assert naive_fold(self.out) == flattened(output_of(self.log.task()))


TestAnyTurn = AnyTurn.TestCase
TestAnyTurn.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
