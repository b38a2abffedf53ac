"""Readers of a log by cursor: whoever goes on from an event sees each later one once, even after a crash."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import DataObject

from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.tasks.task_log import (
    SKIPPED,
    ArtifactChunk,
    LogEvent,
    Snapshot,
    StatusChanged,
    TaskLog,
    fold,
    replacements,
)
from tests.steps import taken
from tests.strategies import log_events

Numbered = tuple[int, LogEvent]

own_events = log_events().filter(lambda event: not isinstance(event, Snapshot))
running_events = own_events.filter(lambda event: not ends(event))


def ends(event: LogEvent) -> bool:
    return isinstance(event, StatusChanged) and event.status.state.terminal


def log_of(events: Sequence[LogEvent]) -> TaskLog:
    log = TaskLog("t", "c")
    for event in events:
        log.append(event)
    return log


def numbered(log: TaskLog, upto: int | None = None) -> list[Numbered]:
    return [(entry.number, entry.event) for entry in log.since(0, upto)]


def in_runs(events: Sequence[Numbered], sizes: Sequence[int]) -> list[tuple[int, list[LogEvent]]]:
    """The events as rows of a store: cut where the sizes say, and where numbers skip."""
    runs: list[tuple[int, list[LogEvent]]] = []
    left = 0
    wanted = iter(sizes)
    for number, event in events:
        if left == 0 or number != runs[-1][0] + len(runs[-1][1]):
            runs.append((number, []))
            left = next(wanted, 1)
        runs[-1][1].append(event)
        left -= 1
    return runs


def chunk(text: str, **flags: bool) -> ArtifactChunk:
    return ArtifactChunk(artifact=Artifact(artifact_id="a", parts=(TextPart(text=text),)), **flags)


more = chunk("more", append=True, joins=True)
sizes = st.lists(st.integers(1, 4), max_size=8)


@given(st.lists(log_events(), max_size=12))
def test_the_task_as_of_a_cursor_with_what_came_after_it_is_the_task(events: list[LogEvent]) -> None:
    log = log_of(events)

    for cursor in range(log.last + 1):
        later = [entry.event for entry in log.since(cursor)]
        before = log.at(cursor)
        assert before == fold("t", "c", [entry.event for entry in log.since(0, cursor)])
        assert fold(before.id, before.context_id, [Snapshot(before), *later]) == log.task()


@given(st.lists(log_events(), max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_two_readings_are_one(events: list[LogEvent], one: int, other: int) -> None:
    log = log_of(events)
    first, second = sorted((min(one, log.last), min(other, log.last)))

    assert [*log.since(first, second), *log.since(second)] == log.since(first)


@given(st.lists(own_events, max_size=12), st.data(), sizes)
def test_a_log_read_back_is_the_same_to_every_cursor(
    events: list[LogEvent], data: DataObject, cuts: list[int]
) -> None:
    log = log_of(events)
    last = data.draw(st.integers(0, log.last), label="the task is kept as of")

    again = taken(TaskLog.replaying(log.at(last), last, in_runs(numbered(log), cuts)))

    assert (again.task(), again.last) == (log.task(), log.last)
    if log.last:
        assert numbered(again) == numbered(log)
        assert [again.at(cursor) for cursor in range(log.last + 1)] == [log.at(n) for n in range(log.last + 1)]


@given(st.lists(running_events, min_size=2, max_size=12), st.data(), sizes)
def test_runs_that_are_gone_make_no_other_event_of_a_number(
    events: list[LogEvent], data: DataObject, cuts: list[int]
) -> None:
    log = log_of(events)
    runs = in_runs(numbered(log), cuts)
    # a log that refused all of these events has no runs at all
    indexes = st.sampled_from(range(len(runs))) if runs else st.nothing()
    lost = data.draw(st.sets(indexes), label="lost")
    last = data.draw(st.integers(0, log.last), label="the task is kept as of")

    kept = [run for index, run in enumerate(runs) if index not in lost]
    again = taken(TaskLog.replaying(log.at(last), last, kept))

    assert last <= again.last <= log.last
    assert again.task() == log.at(again.last)
    known = dict(numbered(log))
    for entry in again.since(again.last - len(list(again.events))):
        assert known[entry.number] == entry.event


@given(st.lists(running_events, max_size=12), st.data())
def test_a_compacted_log_is_the_same_from_there_on(events: list[LogEvent], data: DataObject) -> None:
    log, whole = log_of(events), log_of(events)
    cut = data.draw(st.integers(0, log.last), label="cut")

    log.compact(cut)

    assert (log.task(), log.last, log.state) == (whole.task(), whole.last, whole.state)
    for cursor in range(cut, whole.last + 1):
        assert log.reaches(cursor)
        assert log.at(cursor) == whole.at(cursor)
        assert [entry.item for entry in log.since(cursor)] == [entry.item for entry in whole.since(cursor)]
    for cursor in range(cut):
        assert not log.reaches(cursor)
        with pytest.raises(LookupError):
            log.since(cursor)


def test_events_after_one_that_was_lost_do_not_count() -> None:
    log = log_of([chunk("one"), more, more, more])
    runs: list[tuple[int, list[LogEvent]]] = [(1, [chunk("one")]), (2, [more]), (4, [more])]

    again = taken(TaskLog.replaying(log.at(1), 1, runs))

    assert (again.last, again.task()) == (2, log.at(2))


def test_a_log_with_a_gap_cannot_be_looked_back_on_beyond_it() -> None:
    log = log_of([chunk("one"), more, more, more])

    again = taken(TaskLog.replaying(log.task(), 4, [(1, [chunk("one")]), (3, [more, more])]))

    assert (again.last, again.task()) == (4, log.task())
    assert [cursor for cursor in range(4) if again.reaches(cursor)] == []


def test_a_log_without_its_beginning_cannot_be_looked_back_on() -> None:
    log = log_of([chunk("one"), more, more])

    again = taken(TaskLog.replaying(log.task(), 3, [(2, [more, more])]))

    assert (again.last, again.task()) == (3, log.task())
    for cursor in (0, 1, 2):
        with pytest.raises(LookupError, match="no event"):
            again.at(cursor)


# --- after a crash ----------------------------------------------------------------------------------------


def test_after_a_crash_no_event_gets_a_number_that_may_have_been_seen() -> None:
    log = log_of([chunk("one"), more])
    log.recover()
    entry = log.append(more)

    assert entry is not None
    assert log.last == entry.number > 2 + SKIPPED
    assert [one.number for one in log.since(2)] == [2 + SKIPPED, 3 + SKIPPED]
    for lost in (3, 2 + SKIPPED - 1, 4 + SKIPPED):
        with pytest.raises(LookupError, match="no event"):
            log.since(lost)
        with pytest.raises(LookupError, match="no event"):
            log.at(lost)


def test_a_log_that_a_backup_has_put_back_gives_no_number_twice() -> None:
    """The log that goes on from the backup and the one that was recovered before have nothing in common."""
    minute, burst = 60_000, 10_000
    upgraded, restored = log_of([chunk("one"), more, more]), log_of([chunk("one")])
    upgraded.recover(1_800_000_000_000)
    restored.recover(1_800_000_000_000 + minute)
    for _ in range(burst):
        upgraded.append(more)
    restored.append(more)

    assert upgraded.last < restored.since(1)[0].number < 2**53
    upgraded.recover(0)  # a clock that was put back
    assert upgraded.last > burst + SKIPPED


def test_readers_see_nothing_of_a_log_being_taken_up() -> None:
    log = log_of([chunk("one")])
    task = log.task()

    log.recover()

    assert [entry.item for entry in log.since(1)] == [None]
    assert log.task() == log.at(1) == log.at(log.last) == task


def test_a_log_that_has_ended_is_not_taken_up() -> None:
    log = log_of([StatusChanged(status=TaskStatus(state=TaskState.COMPLETED))])

    log.recover()

    assert log.last == 1


@given(st.lists(log_events(), max_size=12), st.booleans())
def test_what_is_told_anew_replaces_all_that_a_reader_has(events: list[LogEvent], final: bool) -> None:
    task = log_of(events).task()

    items = replacements(task, final=final)

    assert [one.artifact for one in items if isinstance(one, ArtifactUpdate)] == list(task.artifacts)
    assert all(not one.append for one in items if isinstance(one, ArtifactUpdate))
    last = items[-1]
    assert isinstance(last, StatusUpdate)
    assert (last.status, last.final) == (task.status, final)


class Crashes(RuleBasedStateMachine):
    """A log that is kept now and then and lost again and again; one reader, who believes the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.log = TaskLog("t", "c")
        self.rows: list[Numbered] = []  # what is kept, ever
        self.kept: tuple[int, Task] = (0, self.log.task())
        self.told: dict[int, LogEvent] = {}  # what anybody was ever told under a number
        self.cursor = 0
        self.seen: Task = self.log.task()

    @rule(events=st.lists(running_events, min_size=1, max_size=4))
    def go_on(self, events: list[LogEvent]) -> None:
        for event in events:
            entry = self.log.append(event)
            if entry is not None:
                assert self.told.setdefault(entry.number, event) is event, "a number was given twice"

    @rule(data=st.data())
    def keep_events(self, data: DataObject) -> None:
        known = self.rows[-1][0] if self.rows else 0
        fresh = [pair for pair in numbered(self.log) if pair[0] > known]
        self.rows += fresh[: data.draw(st.integers(0, len(fresh)), label="events")]

    @rule()
    def keep_the_task(self) -> None:
        known = self.rows[-1][0] if self.rows else 0
        self.rows += [pair for pair in numbered(self.log) if pair[0] > known]
        self.kept = (self.log.last, self.log.task())

    @rule()
    def read(self) -> None:
        try:
            before, entries = self.log.at(self.cursor), self.log.since(self.cursor)
        except LookupError:
            self.seen = self.log.task()
        else:
            assert before == self.seen, "the task as of the cursor is not what was seen"
            self.seen = fold("t", "c", [Snapshot(self.seen), *(entry.event for entry in entries)])
        self.cursor = self.log.last
        assert self.seen == self.log.task()

    @precondition(lambda self: self.kept[0])
    @rule(cuts=sizes)
    def crash(self, cuts: list[int]) -> None:
        self.log = taken(TaskLog.replaying(self.kept[1], self.kept[0], in_runs(self.rows, cuts)))
        assert self.log.last == (self.rows[-1][0] if self.rows else 0)
        self.log.recover()
        self.keep_the_task()

    @invariant()
    def numbers_grow(self) -> None:
        numbers = [number for number, _ in numbered(self.log)]
        assert numbers == sorted(set(numbers))


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


@given(events=st.lists(running_events, max_size=20), recovers=st.booleans(), data=st.data())
def test_a_copy_that_receives_what_was_stored_is_the_same_log(
    events: list[LogEvent], recovers: bool, data: DataObject
) -> None:
    """However the events come, and some of them again: the copy has each once, under its number."""
    log = log_of(events)
    if recovers:
        log.recover()
        log.append(StatusChanged(status=TaskStatus(state=TaskState.FAILED)))
    entries = numbered(log)
    known = data.draw(st.integers(0, len(entries)))
    copy = TaskLog("t", "c")
    for number, event in [*entries[:known], *entries]:
        copy.receive(number, event)

    assert numbered(copy) == entries
    assert copy.task() == log.task()
    assert copy.last == log.last
