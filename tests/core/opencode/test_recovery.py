"""The server dies in mid-turn, what it kept a little behind what it said: the next one goes on to the same task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from sansio.a2a.model import (
    ArtifactUpdate,
    DataPart,
    StreamItem,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.tasks.task_log import ArtifactChunk, Entry, LogEvent, StatusChanged, TaskLog, replacements
from sansio.opencode.turns.open_texts import OpenTexts
from sansio.opencode.turns.recovery import recovered_output
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
    SessionStatus,
    UpstreamFault,
)
from sansio.opencode.upstream.faults import TaskFailure
from tests.core.opencode.test_turn_properties import read_at, turns
from tests.core.recorded import (
    CONTEXT,
    NOW,
    TASK,
    Recording,
    flattened,
    idle,
    output_of,
    play,
    recorded,
    shared_of,
    task_of,
    turn_of,
)
from tests.steps import taken

LATER = "2026-12-31T00:00:00.000Z"
PERMISSION = InterruptAsked(
    session_id="s", kind="permission", request_id="per_1", body={"permission": "bash", "patterns": ["ls"]}
)


@define(eq=False)
class Client:
    """A client that puts together what it is told, and goes on by the number of the last event."""

    texts: dict[str, str] = field(factory=dict)
    numbers: list[int] = field(factory=list)
    cursor: int = 0

    def hear(self, items: Sequence[tuple[int, StreamItem | None]]) -> None:
        for number, item in items:
            self.cursor = number
            self.numbers.append(number)
            if isinstance(item, ArtifactUpdate):
                name = item.artifact.artifact_id
                said = "".join(
                    repr(part) if isinstance(part, DataPart) else text(part) for part in item.artifact.parts
                )
                self.texts[name] = self.texts.get(name, "") + said if item.append else said

    def resume(self, log: TaskLog, upto: int | None = None) -> None:
        """Go on where it was; where the log knows nothing of that, be told anew."""
        try:
            entries = log.since(self.cursor, upto)
        except LookupError:
            self.hear([(log.last, item) for item in replacements(log.task(), final=False)])
            return
        self.hear([(entry.number, entry.item) for entry in entries])


def text(part: object) -> str:
    return part.text if isinstance(part, TextPart) else ""


def texts_of(task: Task) -> dict[str, str]:
    return {
        one.artifact_id: "".join(repr(part) if isinstance(part, DataPart) else text(part) for part in one.parts)
        for one in task.artifacts
    }


def begun(recording: Recording) -> tuple[Turn, TaskLog]:
    turn, log = turn_of(recording), TaskLog(TASK, CONTEXT)
    log.append(StatusChanged(status=TaskStatus(state=TaskState.SUBMITTED)))
    say(log, turn.begin(NOW))
    return turn, log


def say(log: TaskLog, events: Sequence[LogEvent]) -> None:
    for event in events:
        assert log.append(event) is not None, f"the log drops {event}"


def kept_of(log: TaskLog, snapshot: int, upto: int) -> TaskLog:
    """The log as a store has it that knows the task as of one event, and the events up to another."""
    runs: list[tuple[int, list[LogEvent]]] = []
    for entry in log.since(0, upto):
        if runs and entry.number == runs[-1][0] + len(runs[-1][1]) and entry.number % 3:
            runs[-1][1].append(entry.event)
        else:
            runs.append((entry.number, [entry.event]))
    return taken(TaskLog.replaying(log.at(snapshot), snapshot, runs))


def taken_up(recording: Recording, log: TaskLog) -> Turn:
    log.recover()
    turn = turn_of(recording)
    turn.recover(recovered_output(log.task(), log.events, recording.session_id))
    return turn


def waiting_at(heard: Sequence[BusEvent]) -> list[InterruptAsked]:
    asked = {event.request_id: event for event in heard if isinstance(event, InterruptAsked)}
    for event in heard:
        if isinstance(event, InterruptEnded):
            asked.pop(event.request_id, None)
    return list(asked.values())


def reconciled(recording: Recording, turn: Turn, heard: Sequence[BusEvent]) -> list[LogEvent]:
    """What the turn says on reading what OpenCode has after these events."""
    records, status = read_at(recording, heard)
    asked = waiting_at(heard)
    return turn.reconcile(records, status, NOW, asked=asked, waited_for=frozenset(turn.interrupt_tracker.pending))


def number_of(data: DataObject, entries: Sequence[Entry], label: str) -> int:
    return data.draw(st.sampled_from([entry.number for entry in entries]), label=label)


@given(turns, st.data())
def test_a_turn_that_is_gone_on_with_ends_as_if_nothing_had_happened(recording: Recording, data: DataObject) -> None:
    size = len(recording.events)
    turn, log = begun(recording)
    client = Client(cursor=log.last)
    position = 0
    known = log.last  # what a store has for certain: the prompt's row
    for _ in range(data.draw(st.integers(1, 3), label="crashes")):
        died = data.draw(st.integers(position, size), label="dies after")
        for event in recording.events[position:died]:
            say(log, turn.feed(event, NOW))
        if turn.ended:
            break
        client.resume(log, number_of(data, log.since(known) or log.since(0)[-1:], "seen up to"))
        upto = number_of(data, log.since(known) or log.since(0)[-1:], "kept up to")
        old, log = log, kept_of(log, known, upto)
        assert [entry.number for entry in log.since(0)] == [entry.number for entry in old.since(0, upto)]
        turn = taken_up(recording, log)
        known = log.last
        attached = data.draw(st.integers(died, size), label="hears again from")
        position = data.draw(st.integers(attached, size), label="reads after")
        for event in recording.events[attached:position]:
            say(log, turn.feed(event, NOW))
        say(log, reconciled(recording, turn, recording.events[:position]))
    for event in recording.events[position:]:
        say(log, turn.feed(event, NOW))
    if not turn.ended:  # the idle that was told twice, at the latest
        say(log, reconciled(recording, turn, recording.events))
    client.resume(log)

    undisturbed = task_of(play(recording))
    assert len(ends(log.events)) == 1
    assert flattened(output_of(log.task())) == flattened(output_of(undisturbed))
    assert client.texts == texts_of(log.task())
    if not any(isinstance(event, SessionFailed) for event in recording.events):
        assert log.state is undisturbed.status.state


@given(turns, st.data())
def test_nothing_is_told_twice_where_everything_was_kept(recording: Recording, data: DataObject) -> None:
    died = data.draw(st.integers(0, len(recording.events)), label="dies after")
    turn, log = begun(recording)
    for event in recording.events[:died]:
        say(log, turn.feed(event, NOW))
    if turn.ended:
        return
    log = kept_of(log, log.last, log.last)
    turn = taken_up(recording, log)
    before = log.last

    say(log, reconciled(recording, turn, recording.events[:died]))

    assert [event for event in log.since(before) if isinstance(event.event, ArtifactChunk)] == []
    for event in recording.events[died:]:
        say(log, turn.feed(event, NOW))
    tools = [chunk.artifact for chunk in log.events if isinstance(chunk, ArtifactChunk) and is_tool(chunk)]
    told = [chunk.artifact for chunk in play(recording) if isinstance(chunk, ArtifactChunk) and is_tool(chunk)]
    assert [(one.artifact_id, one.parts) for one in tools] == [(one.artifact_id, one.parts) for one in told]
    progress = [
        (one.get("part_id"), one.get("attempt"), one.get("next")) for one in shared_of(log.events, "progress")
    ]
    assert len(progress) == len(set(progress))


@given(turns, st.data())
def test_a_turn_that_another_server_takes_over_goes_on_with_every_delta(
    recording: Recording, data: DataObject
) -> None:
    """The other server has received the same bus all the time, and may be behind or ahead of what was kept."""
    size = len(recording.events)
    died = data.draw(st.integers(0, size), label="dies after")
    attached = data.draw(st.integers(0, size), label="is routed to the turn from")
    position = data.draw(st.integers(attached, size), label="reads after")
    turn, log = begun(recording)
    open_texts = OpenTexts()
    for event in recording.events[:died]:
        say(log, turn.feed(event, NOW))
    if turn.ended:
        return
    for event in recording.events[:attached]:
        open_texts.note(event)
    log = kept_of(log, log.last, log.last)
    turn = taken_up(recording, log)
    turn.gap()

    for event in (*open_texts.take(recording.session_id), *recording.events[attached:position]):
        say(log, turn.feed(event, NOW))
    say(log, reconciled(recording, turn, recording.events[: max(died, position)]))
    for end in range(position, size):
        assert_as_undisturbed(recording, log, max(died, end))
        say(log, turn.feed(recording.events[end], NOW))

    assert_as_undisturbed(recording, log, size)


def assert_as_undisturbed(recording: Recording, log: TaskLog, heard: int) -> None:
    """The task has the texts that it would have if one server had received these events."""
    undisturbed = turn_of(recording)
    out = undisturbed.begin(NOW)
    for event in recording.events[:heard]:
        out += undisturbed.feed(event, NOW)
    expected = flattened(output_of(task_of(out)))
    assert {name: flattened(output_of(log.task())).get(name) for name in expected} == expected


def ends(events: Iterable[LogEvent]) -> list[TaskState]:
    """The states a turn ends in; one that wants other credentials is not the task's end."""
    states = [event.status.state for event in events if isinstance(event, StatusChanged)]
    return [state for state in states if state.closing]


def is_tool(chunk: ArtifactChunk) -> bool:
    return any(isinstance(part, DataPart) for part in chunk.artifact.parts)


# --- texts ------------------------------------------------------------------------------------------------

SESSION, PROMPT, ANSWER = "s", "msg_2", "msg_3"


def new_turn() -> Turn:
    return Turn(task_id=TASK, context_id=CONTEXT, session_id=SESSION, prompt_id=PROMPT)


def record(*parts: PartSeen, completed: bool = False) -> MessageRecord:
    info = MessageInfo(id=ANSWER, session_id=SESSION, role="assistant", parent_id=PROMPT, completed=completed)
    return MessageRecord(info=info, parts=parts)


def part(id: str, text: str, *, settled: bool = True, type: str = "text") -> PartSeen:
    time = {"start": 1, "end": 2} if settled else {"start": 1}
    body = {"text": text, "time": time}
    return PartSeen(session_id=SESSION, message_id=ANSWER, part_id=id, type=type, body=body)


BUSY = SessionStatus(session_id=SESSION, type="busy")


def said(*events: BusEvent) -> TaskLog:
    """The log of a turn that has heard this, after the crash."""
    log, turn = TaskLog(TASK, CONTEXT), new_turn()
    log.append(StatusChanged(status=TaskStatus(state=TaskState.SUBMITTED)))
    say(log, turn.begin(NOW))
    for event in (MessageSeen(session_id=SESSION, info=record().info), *events):
        say(log, turn.feed(event, NOW))
    log.recover()
    return log


def gone_on_with(log: TaskLog) -> Turn:
    turn = new_turn()
    turn.recover(recovered_output(log.task(), log.events, SESSION))
    return turn


def delta(id: str, text: str) -> PartDelta:
    return PartDelta(session_id=SESSION, message_id=ANSWER, part_id=id, field="text", delta=text)


def texts(log: TaskLog) -> str:
    return "|".join(map(text, next(iter(log.task().artifacts)).parts))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([part("prt_1", "one two"), part("prt_2", "three")], "one two|three", id="as it was said"),
        pytest.param(
            [part("prt_1", "one two!"), part("prt_2", "three")], "one two!|three", id="more before the last"
        ),
        pytest.param(
            [part("prt_1", "one two"), part("prt_2", "three four")], "one two|three four", id="more at the end"
        ),
        pytest.param([part("prt_1", "ONE"), part("prt_2", "three")], "ONE|three", id="another text"),
        pytest.param([part("prt_1", "one two"), part("prt_2", "")], "one two", id="a text withdrawn"),
        pytest.param([part("prt_1", "one two")], "one two", id="a part withdrawn"),
        pytest.param([], "", id="everything withdrawn"),
        pytest.param([part("prt_0", "zero"), part("prt_1", "one two"), part("prt_2", "three")], "zero|one two|three"),
        pytest.param([part("prt_1", "one two"), part("prt_2", "th", settled=False)], "one two|three", id="told less"),
    ],
)
def test_texts_become_what_opencode_has(records: list[PartSeen], expected: str) -> None:
    log = said(part("prt_1", "one two"), part("prt_2", "", settled=False), delta("prt_2", "three"))
    turn = gone_on_with(log)

    say(log, turn.reconcile([record(*records)], BUSY, NOW))

    assert texts(log) == expected


def test_a_text_goes_on_once_it_is_whole_and_its_deltas_are_not_trusted_before() -> None:
    log = said(part("prt_1", "", settled=False), delta("prt_1", "one"))
    turn = gone_on_with(log)

    say(log, turn.feed(delta("prt_1", " three"), NOW))  # " two" was said while nobody heard
    say(log, turn.reconcile([record(part("prt_1", "", settled=False))], BUSY, NOW))
    say(log, turn.feed(delta("prt_1", " four"), NOW))
    before = texts(log)
    say(log, turn.feed(part("prt_1", "one two three four"), NOW))

    assert (before, texts(log)) == ("one", "one two three four")


def test_what_comes_before_the_session_was_read_counts_after_it() -> None:
    log = said(part("prt_1", "one"))
    turn = gone_on_with(log)

    early = turn.feed(part("prt_2", "two"), NOW) + turn.feed(idle(SESSION), NOW)
    say(log, turn.reconcile([record(part("prt_1", "one"), completed=True)], BUSY, NOW))

    assert early == []
    assert (texts(log), log.state) == ("one|two", TaskState.COMPLETED)


def test_numbers_in_the_metadata_are_not_given_twice() -> None:
    log = said(part("prt_1", "one"))
    turn = gone_on_with(log)
    seen = recovered_output(log.task(), (), SESSION).sequence
    assert recovered_output(log.task(), (), SESSION, last=10 * seen).sequence == 10 * seen

    say(log, turn.reconcile([record(part("prt_1", "one"), part("prt_2", "two"))], BUSY, NOW))

    [entry] = log.since(log.last - 1)
    assert isinstance(entry.event, ArtifactChunk)
    assert entry.event.artifact.metadata is not None
    assert entry.event.artifact.metadata["shared"]["stream"]["sequence"] > max(seen, 1)


@pytest.mark.parametrize("name", ["cancel", "fail"])
def test_a_turn_can_end_before_its_session_was_read(name: str) -> None:
    log = said(part("prt_1", "one"), part("prt_2", "why", type="reasoning"))
    turn = gone_on_with(log)

    out = (
        turn.cancel(NOW)
        if name == "cancel"
        else turn.fail(TaskFailure(text="gone", type="UPSTREAM_UNREACHABLE"), NOW)
    )
    say(log, out)

    assert log.state is (TaskState.CANCELED if name == "cancel" else TaskState.FAILED)
    assert texts(log) == "one"


def test_a_text_that_was_collected_from_the_bus_is_completed_and_goes_on() -> None:
    log = said(part("prt_1", "", settled=False), delta("prt_1", "one"))
    turn = gone_on_with(log)
    turn.gap()

    say(log, turn.feed(part("prt_1", "one two", settled=False), NOW))
    say(log, turn.feed(delta("prt_1", " three"), NOW))
    before = texts(log)
    say(log, turn.reconcile([record(part("prt_1", "", settled=False))], BUSY, NOW))
    missed = texts(log)
    say(log, turn.feed(delta("prt_1", " four"), NOW))

    assert (before, missed, texts(log)) == ("one", "one two three", "one two three four")


def test_a_text_that_begins_before_the_session_was_read_is_sent_as_it_comes() -> None:
    log = said(part("prt_1", "", settled=False), delta("prt_1", "one"))
    turn = gone_on_with(log)
    turn.gap()

    for event in (part("prt_1", "one!"), part("prt_2", "", settled=False), delta("prt_2", "two")):
        say(log, turn.feed(event, NOW))
    say(log, turn.reconcile([record(part("prt_1", "one!"), part("prt_2", "", settled=False))], BUSY, NOW))
    say(log, turn.feed(delta("prt_2", " three"), NOW))

    assert texts(log) == "one!|two three"


def test_a_gap_before_the_session_was_read_leaves_what_came_before_it_to_the_read() -> None:
    log = said(part("prt_1", "", settled=False), delta("prt_1", "one"))
    turn = gone_on_with(log)
    fault = SessionFailed(session_id=SESSION, fault=UpstreamFault(name="APIError", message="no"))

    for event in (part("prt_1", "one two", settled=False), delta("prt_1", " three"), fault):
        say(log, turn.feed(event, NOW))
    turn.gap()
    say(log, turn.feed(delta("prt_1", " five"), NOW))
    say(log, turn.reconcile([record(part("prt_1", "", settled=False))], BUSY, NOW))

    assert texts(log) == "one"
    assert turn.unsettled  # the error is not lost: no read has it


# --- tools and interrupts ---------------------------------------------------------------------------------


def test_an_open_question_is_not_asked_again() -> None:
    log = said(PERMISSION)
    turn = gone_on_with(log)

    out = turn.reconcile(
        [record()], BUSY, NOW, asked=[PERMISSION], waited_for=frozenset(turn.interrupt_tracker.pending)
    )

    assert (out, log.state) == ([], TaskState.INPUT_REQUIRED)
    answered = turn.feed(
        InterruptEnded(session_id=SESSION, kind="permission", request_id="per_1", resolution="x"), NOW
    )
    assert [one["phase"] for one in shared_of(answered, "interrupt")] == ["resolved"]


def test_the_tool_call_that_waits_is_known_again() -> None:
    of_call = evolve(PERMISSION, body={**PERMISSION.body, "tool": {"messageID": "msg_9", "callID": "call_1"}})
    log = said(of_call)
    before = (log.task().metadata or {})["shared"]["interrupts"]
    turn = gone_on_with(log)

    say(log, turn.reconcile([record()], BUSY, NOW, asked=[of_call]))
    say(log, turn.feed(evolve(PERMISSION, request_id="per_2"), NOW))

    after = (log.task().metadata or {})["shared"]["interrupts"]
    assert [one.get("call_id") for one in after] == ["call_1", None]
    assert after[0] == before[0]


def test_what_was_answered_before_stays_listed_with_its_times() -> None:
    second = evolve(PERMISSION, request_id="per_2")
    log = said(PERMISSION, PERMISSION.ended("replied", by="opencode", reply="once"), second)
    turn = gone_on_with(log)

    say(log, turn.answered(second.ended("rejected"), LATER))

    shared = (log.task().metadata or {})["shared"]
    assert [(one["request_id"], one["asked_at"], one["resolved_at"]) for one in shared["resolved_interrupts"]] == [
        ("per_1", NOW, NOW),
        ("per_2", NOW, LATER),
    ]


def test_a_turn_that_adds_to_a_task_keeps_what_was_answered_before() -> None:
    log = said(PERMISSION, PERMISSION.ended("replied"))
    turn = new_turn()

    turn.add_to(recovered_output(log.task(), log.events, SESSION))

    assert [one["request_id"] for one in turn.interrupt_tracker.resolved] == ["per_1"]


def test_a_question_answered_meanwhile_is_no_longer_open() -> None:
    log = said(PERMISSION)
    turn = gone_on_with(log)

    say(log, turn.reconcile([record()], BUSY, NOW, waited_for=frozenset(turn.interrupt_tracker.pending)))

    assert log.state is TaskState.WORKING
    assert frozenset(turn.interrupt_tracker.pending) == frozenset()


def test_of_two_questions_the_other_is_asked_for_once_one_is_answered() -> None:
    second = evolve(PERMISSION, request_id="per_2", body={"permission": "edit", "patterns": ["*.py"]})
    undisturbed = said(PERMISSION, second)
    log = said(PERMISSION, second)
    turn = gone_on_with(log)
    ended = InterruptEnded(session_id=SESSION, kind="permission", request_id="per_1", resolution="replied")

    say(
        log,
        turn.reconcile(
            [record()], BUSY, NOW, asked=[PERMISSION, second], waited_for=frozenset(turn.interrupt_tracker.pending)
        ),
    )
    say(log, turn.feed(ended, NOW))

    assert frozenset(turn.interrupt_tracker.pending) == {"per_2"}
    assert log.state is undisturbed.state is TaskState.INPUT_REQUIRED
    assert log.status.message is not None
    assert "edit: *.py" in text(log.status.message.parts[0])


def test_a_question_asked_meanwhile_is_asked() -> None:
    log = said()
    turn = gone_on_with(log)

    say(
        log,
        turn.reconcile(
            [record()], BUSY, NOW, asked=[PERMISSION], waited_for=frozenset(turn.interrupt_tracker.pending)
        ),
    )

    assert log.state is TaskState.INPUT_REQUIRED


def test_a_tool_call_goes_on_from_where_it_was() -> None:
    def tool(status: str) -> PartSeen:
        body = {"tool": "bash", "callID": "c", "state": {"status": status}}
        return PartSeen(session_id=SESSION, message_id=ANSWER, part_id="prt_t", type="tool", body=body)

    log = said(tool("pending"), tool("running"))
    turn = gone_on_with(log)

    again = turn.reconcile([record(tool("running"))], BUSY, NOW)
    late = turn.feed(tool("pending"), NOW)
    done = turn.feed(tool("completed"), NOW)

    assert (again, late, len(done)) == ([], [], 1)


def test_a_prompt_that_opencode_never_had_is_not_seen() -> None:
    turn = gone_on_with(said())

    turn.reconcile([], idle(SESSION), NOW)

    assert not turn.prompt_seen
    assert not turn.ended


def test_an_error_that_the_bus_alone_tells_afterwards_ends_the_turn() -> None:
    log = said()
    turn = gone_on_with(log)
    fault = SessionFailed(session_id=SESSION, fault=UpstreamFault(name="APIError", message="no"))

    say(log, turn.reconcile([], BUSY, NOW))
    say(log, turn.feed(fault, NOW) + turn.feed(idle(SESSION), NOW))

    assert log.state is TaskState.FAILED


@pytest.mark.parametrize(
    "name", ["permission-once", "permission-reject", "question-reply", "question-reject", "subtask"]
)
def test_recorded_interrupts_are_taken_up_at_every_event(name: str) -> None:
    recording = recorded(name)
    undisturbed = play(recording)
    for died in range(len(recording.events)):
        turn, log = begun(recording)
        for event in recording.events[:died]:
            say(log, turn.feed(event, NOW))
        if turn.ended:
            break
        turn = taken_up(recording, log)
        say(log, reconciled(recording, turn, recording.events[:died]))
        for event in recording.events[died:]:
            say(log, turn.feed(event, NOW))

        phases = [(one["request_id"], one["phase"]) for one in shared_of(log.events, "interrupt")]
        assert phases == [(one["request_id"], one["phase"]) for one in shared_of(undisturbed, "interrupt")]
        assert flattened(output_of(log.task())) == flattened(output_of(task_of(undisturbed)))
