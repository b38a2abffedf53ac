"""A task is its events: the rules of the log, its readers' cursors, and how it is written down."""

from __future__ import annotations

import re
import sys
from types import FrameType
from typing import Any

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.errors import LocalError
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    JsonObject,
    Message,
    Part,
    Role,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.tasks.task_log import (
    TRANSITIONS,
    ArtifactChunk,
    LogEvent,
    MessageAdded,
    MetadataChanged,
    Snapshot,
    StatusChanged,
    TaskLog,
    fold,
    merge,
    trim_history,
)
from sansio.a2a.tasks.task_log_codec import (
    decode_events,
    decode_task,
    encode_events,
    encode_task,
    read_task_in_steps,
)
from tests.steps import counted, taken
from tests.strategies import json_objects, log_events, messages, tasks

TERMINAL = {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED}


def status(state: TaskState, **more: Any) -> StatusChanged:
    return StatusChanged(status=TaskStatus(state=state), **more)


def chunk(id: str, *parts: Part | str, **flags: bool) -> ArtifactChunk:
    held = tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts)
    return ArtifactChunk(artifact=Artifact(artifact_id=id, parts=held), **flags)


def message(id: str) -> Message:
    return Message(message_id=id, role=Role.USER, parts=(TextPart(text=id),))


def folded(*events: LogEvent) -> Task:
    return fold("t", "c", events)


def parts_of(task: Task) -> dict[str, list[Any]]:
    return {
        artifact.artifact_id: [part.text if isinstance(part, TextPart) else part for part in artifact.parts]
        for artifact in task.artifacts
    }


# --- transitions ------------------------------------------------------------------------------------------


def test_table_speaks_of_every_state() -> None:
    assert set(TRANSITIONS) == set(TaskState)


@pytest.mark.parametrize("state", TaskState)
def test_nothing_follows_a_terminal_state_and_something_every_other(state: TaskState) -> None:
    assert state.terminal == (state in TERMINAL)
    assert bool(TRANSITIONS[state]) != state.terminal


@pytest.mark.parametrize("state", [state for state in TaskState if state not in TERMINAL])
def test_every_open_state_can_end_in_any_way(state: TaskState) -> None:
    assert TRANSITIONS[state] > TERMINAL


def test_work_once_begun_is_not_submitted_again_and_no_state_becomes_unknown() -> None:
    assert TaskState.SUBMITTED not in TRANSITIONS[TaskState.WORKING] | TRANSITIONS[TaskState.INPUT_REQUIRED]
    assert all(TaskState.UNKNOWN not in following for following in TRANSITIONS.values())


def test_states_that_wait_for_the_client() -> None:
    assert {state for state in TaskState if state.interrupted} == {
        TaskState.INPUT_REQUIRED,
        TaskState.AUTH_REQUIRED,
    }


@pytest.mark.parametrize("before", TaskState)
def test_log_takes_the_transitions_of_the_table_and_drops_the_others(before: TaskState) -> None:
    for after in TaskState:
        log = TaskLog.resume(Task(id="t", context_id="c", status=TaskStatus(state=before)), 1)

        entry = log.append(status(after))

        allowed = after in TRANSITIONS[before]
        assert (entry is not None) == allowed, after
        assert log.state is (after if allowed else before)
        assert log.last == (2 if allowed else 1), after


@pytest.mark.parametrize("first", [state for state in TaskState if state in TERMINAL])
def test_first_terminal_state_wins_and_nothing_comes_after_it(first: TaskState) -> None:
    end = status(first)
    later: list[LogEvent] = [*(status(state) for state in TaskState), chunk("a", "late"), MessageAdded(message("m"))]
    later += [MetadataChanged({"a": 1}), Snapshot(Task(id="x", context_id="y", status=end.status))]

    assert folded(status(TaskState.WORKING), end, *later) == folded(status(TaskState.WORKING), end)


# --- artifacts --------------------------------------------------------------------------------------------


def test_chunks_that_join_continue_the_last_text() -> None:
    task = folded(
        chunk("a", "He"), chunk("a", "ll", append=True, joins=True), chunk("a", "o", append=True, joins=True)
    )

    assert parts_of(task) == {"a": ["Hello"]}


def test_chunk_that_does_not_join_is_a_part_of_its_own() -> None:
    task = folded(
        chunk("a", "one"),
        chunk("a", "two", append=True),
        chunk("a", "!", "three", append=True, joins=True),
        chunk("a", append=True, joins=True),
        chunk("a", "?", append=True, joins=True),
    )

    assert parts_of(task) == {"a": ["one", "two!", "three?"]}


def test_text_does_not_join_what_is_no_text() -> None:
    data = DataPart(data=1)

    task = folded(
        chunk("a", data), chunk("a", "x", append=True, joins=True), chunk("a", data, append=True, joins=True)
    )

    assert parts_of(task) == {"a": [data, "x", data]}


def test_text_joins_nothing_in_an_empty_artifact() -> None:
    assert parts_of(folded(chunk("a"), chunk("a", "x", append=True, joins=True))) == {"a": ["x"]}


def test_chunk_without_append_replaces_what_was_said() -> None:
    task = folded(chunk("a", "wrong"), chunk("a", "!", append=True, joins=True), chunk("b", "x"), chunk("a", "right"))

    assert parts_of(task) == {"a": ["right"], "b": ["x"]}
    assert list(parts_of(task)) == ["a", "b"]


def test_first_chunk_may_claim_to_continue() -> None:
    assert parts_of(folded(chunk("a", "x", append=True))) == {"a": ["x"]}


def test_artifact_that_leads_stands_first() -> None:
    task = folded(chunk("tool", "x"), chunk("answer", "y", leads=True), chunk("answer", "z", append=True, leads=True))

    assert list(parts_of(task)) == ["answer", "tool"]


def test_artifact_keeps_its_name_through_chunks_that_do_not_repeat_it() -> None:
    named = Artifact(artifact_id="a", name="response", parts=(TextPart(text="x"),))

    task = folded(ArtifactChunk(artifact=named), chunk("a", "y", append=True, joins=True))

    assert task.artifacts == (evolve(named, parts=(TextPart(text="xy"),)),)


def test_folding_looks_at_the_task_in_the_middle_without_changing_it() -> None:
    log = TaskLog("t", "c")
    for text in "abc":
        log.append(chunk("a", text, append=True, joins=True))
        log.task()

    assert parts_of(log.task()) == {"a": ["abc"]}


@given(st.lists(log_events(), max_size=12))
def test_every_reader_who_puts_text_together_ends_with_the_same_text(events: list[LogEvent]) -> None:
    log = TaskLog("t", "c")
    seen: dict[str, str] = {}
    for event in events:
        entry = log.append(event)
        if entry is not None and isinstance(event, Snapshot):
            seen = {a.artifact_id: "".join(text_of(part) for part in a.parts) for a in event.task.artifacts}
        elif entry is not None and isinstance(entry.item, ArtifactUpdate):
            name, text = entry.item.artifact.artifact_id, "".join(map(text_of, entry.item.artifact.parts))
            seen[name] = seen.get(name, "") + text if entry.item.append else text

    assert {a.artifact_id: "".join(map(text_of, a.parts)) for a in log.task().artifacts} == seen


def text_of(part: Part) -> str:
    return part.text if isinstance(part, TextPart) else "\0"


# --- history and metadata ---------------------------------------------------------------------------------


def test_messages_join_the_history_in_order() -> None:
    task = folded(MessageAdded(message("1")), MessageAdded(message("2")))

    assert [m.message_id for m in task.history] == ["1", "2"]


def test_metadata_is_merged_object_by_object() -> None:
    task = folded(
        MetadataChanged({"shared": {"session": {"id": 1}}, "a": {"b": 1}}),
        MetadataChanged({"shared": {"usage": 2}, "a": 3}),
    )

    assert task.metadata == {"shared": {"session": {"id": 1}, "usage": 2}, "a": 3}


@given(json_objects, json_objects, json_objects)
def test_merging_is_idempotent_and_changes_neither(old: JsonObject, new: JsonObject, other: JsonObject) -> None:
    before = orjson.dumps([old, new])

    merged = merge(old, new)

    assert merge(merged, new) == merged
    assert merge(None, new) == merge(new, {}) == new
    assert orjson.dumps([old, new]) == before
    assert merge(merged, other).keys() == old.keys() | new.keys() | other.keys()


@pytest.mark.parametrize(
    ("length", "kept"),
    [(None, ["1", "2", "3"]), (5, ["1", "2", "3"]), (3, ["1", "2", "3"]), (2, ["2", "3"]), (0, [])],
)
def test_history_is_trimmed_to_the_newest(length: int | None, kept: list[str]) -> None:
    task = folded(*(MessageAdded(message(name)) for name in "123"))

    assert [m.message_id for m in trim_history(task, length).history] == kept


# --- readers ----------------------------------------------------------------------------------------------


def test_events_are_numbered_from_one_and_dropped_ones_take_no_number() -> None:
    log = TaskLog("t", "c")

    entries = [
        log.append(status(TaskState.SUBMITTED)),
        log.append(status(TaskState.UNKNOWN)),
        log.append(status(TaskState.WORKING)),
    ]

    assert [entry.number if entry else None for entry in entries] == [1, None, 2]
    assert log.last == 2


def test_cursor_gives_what_came_after_it() -> None:
    log = TaskLog("t", "c")
    for text in "abc":
        log.append(chunk("a", text))

    assert [entry.number for entry in log.since(0)] == [1, 2, 3]
    assert [entry.number for entry in log.since(2)] == [3]
    assert log.since(3) == []
    assert [entry.number for entry in log.since(0, to=2)] == [1, 2]
    for cursor in (-1, 4, 99):
        with pytest.raises(LookupError, match="no event"):
            log.since(cursor)


def test_what_was_compacted_away_cannot_be_read_event_by_event() -> None:
    log = TaskLog("t", "c")
    log.append(chunk("a", "x"))

    resumed = TaskLog.resume(log.task(), 7, [chunk("a", "y", append=True, joins=True)])

    assert resumed.last == 8
    assert [entry.number for entry in resumed.since(7)] == [8]
    assert parts_of(resumed.task()) == {"a": ["xy"]}
    for cursor in (-1, 0, 6):
        with pytest.raises(LookupError, match="no event"):
            resumed.since(cursor)


def test_readers_see_statuses_and_chunks_and_nothing_of_the_bookkeeping() -> None:
    log = TaskLog("t", "c")
    working = TaskStatus(state=TaskState.WORKING)
    done = TaskStatus(state=TaskState.COMPLETED)

    log.append(StatusChanged(status=working, metadata={"a": 1}))
    log.append(MessageAdded(message("m")))
    log.append(MetadataChanged({"a": 1}))
    log.append(chunk("a", "x", append=True, last_chunk=True, joins=True, leads=True))
    log.append(StatusChanged(status=done))

    assert [entry.item for entry in log.since(0)] == [
        StatusUpdate(task_id="t", context_id="c", status=working, metadata={"a": 1}),
        None,
        None,
        ArtifactUpdate(
            task_id="t",
            context_id="c",
            artifact=Artifact(artifact_id="a", parts=(TextPart(text="x"),)),
            append=True,
            last_chunk=True,
        ),
        StatusUpdate(task_id="t", context_id="c", status=done, final=True),
    ]


@given(st.lists(log_events(), max_size=12), st.integers(0, 12))
def test_log_resumed_anywhere_is_the_same_task(events: list[LogEvent], cut: int) -> None:
    whole = TaskLog("t", "c")
    for event in events:
        whole.append(event)
    begun = TaskLog("t", "c")
    for event in events[:cut]:
        begun.append(event)

    resumed = TaskLog.resume(begun.task(), begun.last, events[cut:])

    assert resumed.task() == whole.task() == fold("t", "c", events)
    assert (resumed.last, resumed.state) == (whole.last, whole.state)
    seen = [(entry.number, entry.event, entry.item) for entry in resumed.since(begun.last)]
    assert [kept[:2] for kept in seen] == [(entry.number, entry.event) for entry in whole.since(begun.last)]


@given(st.lists(log_events(), max_size=12))
def test_events_written_down_fold_to_the_same_task(events: list[LogEvent]) -> None:
    written = encode_events(events)

    assert decode_events(written) == events
    assert fold("t", "c", decode_events(written)) == fold("t", "c", events)


class Work:
    """Counts function calls and the characters of every text part that is made."""

    def __init__(self) -> None:
        self.calls = 0
        self.characters = 0

    def __call__(self, frame: FrameType, event: str, _arg: object) -> None:
        if event != "call":
            return
        self.calls += 1
        if frame.f_code.co_name == "__init__" and isinstance(text := frame.f_locals.get("text"), str):
            self.characters += len(text)


def work_of_folding(size: int) -> Work:
    log, work = TaskLog("t", "c"), Work()
    chunks = [chunk("a", "token ", append=True, joins=True) for _ in range(size)]
    sys.setprofile(work)
    try:
        for event in chunks:
            log.append(event)
        log.task()
    finally:
        sys.setprofile(None)
    return work


def test_cost_of_a_log_grows_with_its_events_and_not_with_their_square() -> None:
    small, large = work_of_folding(100), work_of_folding(1000)

    assert large.calls <= 11 * small.calls
    assert large.characters <= 2 * 1000 * len("token ")


# --- written down -----------------------------------------------------------------------------------------


@given(tasks("1.0"))
def test_tasks_survive_being_written_down(task: Task) -> None:
    assert decode_task(encode_task(task)) == task


@given(tasks("1.0"), st.integers(10, 200))
def test_a_task_is_read_in_steps_as_at_once(task: Task, size: int) -> None:
    assert taken(read_task_in_steps(orjson.loads(encode_task(task)), size=size)) == task


def test_a_large_task_is_read_in_steps() -> None:
    artifact = Artifact(artifact_id="a", parts=(TextPart(text="word " * 1000),))
    task = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.WORKING), artifacts=(artifact,) * 100)

    found, steps = counted(read_task_in_steps(orjson.loads(encode_task(task))))

    assert found == task
    assert steps > 3


def test_a_small_task_is_read_at_once() -> None:
    task = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.WORKING))

    assert counted(read_task_in_steps(orjson.loads(encode_task(task)))) == (task, 1)
    with pytest.raises(LocalError, match="a stored task cannot be read"):
        taken(read_task_in_steps([1]))


@pytest.mark.parametrize("parts", [256, 257, 1000])
def test_what_has_many_parts_is_read_in_slices_of_them(parts: int) -> None:
    many = tuple(TextPart(text=f"{number}") for number in range(parts))
    said = Message(message_id="m", role=Role.USER, parts=many, metadata={"n": 1})
    artifact = Artifact(artifact_id="a", parts=many, name="n")
    status = TaskStatus(state=TaskState.WORKING)
    task = Task(id="t", context_id="c", status=status, artifacts=(artifact,), history=(said,))

    found, steps = counted(read_task_in_steps(orjson.loads(encode_task(task)), size=2000))

    assert found == task
    assert steps == 1 + 2 * -(-parts // 256)


@pytest.mark.parametrize("wrong", [{"artifacts": 5}, {"history": [5]}, {"status": None}])
def test_a_large_task_that_was_stored_wrongly_is_a_fault_of_ours(wrong: dict[str, object]) -> None:
    task = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.WORKING), metadata={"x": "x" * 99})

    with pytest.raises(LocalError, match="a stored task cannot be read"):
        taken(read_task_in_steps(orjson.loads(encode_task(task)) | wrong, size=64))


@given(messages("1.0"))
def test_messages_survive_being_written_down(added: Message) -> None:
    assert decode_events(encode_events([MessageAdded(added)])) == [MessageAdded(added)]


def test_form_on_disk_is_stable() -> None:
    events: list[LogEvent] = [
        status(TaskState.SUBMITTED),
        status(TaskState.WORKING, metadata={"a": 1}),
        MessageAdded(message("m")),
        MetadataChanged({}),
        chunk("a", "x"),
        chunk("a", "y", append=True, last_chunk=True, joins=True, leads=True),
        Snapshot(Task(id="t", context_id="c", status=TaskStatus(state=TaskState.WORKING))),
    ]

    assert orjson.loads(encode_events(events)) == [
        {"status": {"state": "TASK_STATE_SUBMITTED"}},
        {"status": {"state": "TASK_STATE_WORKING"}, "metadata": {"a": 1}},
        {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "m"}]}},
        {"merge": {}},
        {"chunk": {"artifactId": "a", "parts": [{"text": "x"}]}},
        {
            "chunk": {"artifactId": "a", "parts": [{"text": "y"}]},
            "append": True,
            "last_chunk": True,
            "joins": True,
            "leads": True,
        },
        {"task": {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}}},
    ]


@pytest.mark.parametrize(
    "stored",
    [
        *(b"", b"{", b"{}", b"[1]", b"[{}]", b'[{"task": 5}]', b'[{"chunk": {}}]', b'[{"chunk": null}]'),
        *(b'[{"status": {"state": "working"}}]', b'[{"status": null}]', b'[{"message": null}]', b'[{"merge": 5}]'),
    ],
)
def test_what_was_stored_wrongly_is_a_fault_of_ours(stored: bytes) -> None:
    with pytest.raises(LocalError, match="a stored event cannot be read"):
        decode_events(stored)


TEXT_CHUNK: JsonObject = {"chunk": {"artifactId": "a", "parts": [{"text": "x"}], "name": "n", "metadata": {"m": 1}}}


@pytest.mark.parametrize(
    "place",
    [
        *("chunk", "chunk.artifactId", "chunk.parts", "chunk.parts[0]", "chunk.parts[0].text", "chunk.name"),
        *("chunk.metadata", "append", "last_chunk", "joins", "leads"),
    ],
)
def test_text_that_was_stored_wrongly_is_a_fault_of_ours_with_its_place(place: str) -> None:
    wrong = orjson.loads(orjson.dumps(TEXT_CHUNK))
    *above, name = place.replace("[0]", ".0").split(".")
    holder: Any = wrong
    for step in above:
        holder = holder[0 if step == "0" else step]
    holder[0 if name == "0" else name] = 5
    with pytest.raises(LocalError, match=re.escape(f"events[1].{place}: must be")):
        decode_events(orjson.dumps([TEXT_CHUNK, wrong]))


def test_a_stored_text_keeps_all_that_it_has() -> None:
    artifact = Artifact(artifact_id="a", parts=(TextPart(text="x"),), name="n", metadata={"m": 1})
    flags: list[dict[str, bool]] = [{}, {"append": True}, {"last_chunk": True}, {"joins": True}, {"leads": True}]
    events: list[LogEvent] = [ArtifactChunk(artifact=artifact, **flag) for flag in flags]
    for more in (
        *({"name": None}, {"metadata": None}, {"description": "d"}, {"extensions": ("e",)}),
        *({"parts": ()}, {"parts": artifact.parts * 2}, {"parts": (TextPart(text="", filename="f"),)}),
        {"parts": (DataPart(data=1),)},
    ):
        events.append(ArtifactChunk(artifact=evolve(artifact, **more), append=True))
    assert decode_events(encode_events(events)) == events
    assert decode_events(b'[{"chunk": {"artifactId": "a", "parts": [{"text": "x"}], "name": ""}}]') == [
        ArtifactChunk(artifact=Artifact(artifact_id="a", parts=(TextPart(text="x"),)))
    ]


@pytest.mark.parametrize(("levels", "fits"), [(120, True), (160, False)])
def test_how_deep_a_stored_text_is_nested_has_a_bound(levels: int, fits: bool) -> None:
    deep: JsonObject = {}
    for _ in range(levels):
        deep = {"m": deep}
    chunk = {**TEXT_CHUNK["chunk"], "metadata": deep}
    stored = orjson.dumps([{"chunk": chunk}, *([TEXT_CHUNK] * 9)])
    if fits:
        assert len(decode_events(stored)) == 10
    else:
        with pytest.raises(LocalError, match="levels deep"):
            decode_events(stored)


@pytest.mark.parametrize("stored", [b"", b"[]", b"{}", b"{"])
def test_task_that_was_stored_wrongly_is_a_fault_of_ours(stored: bytes) -> None:
    with pytest.raises(LocalError, match="a stored task cannot be read"):
        decode_task(stored)


def test_a_stream_pauses_at_the_newest_status_at_which_the_task_still_waits() -> None:
    log = TaskLog("t", "c")
    added = [
        log.append(event)
        for event in (status(TaskState.WORKING), status(TaskState.INPUT_REQUIRED), chunk("a", "text"))
    ]
    working, waiting, text = (entry for entry in added if entry is not None)

    assert log.pause_in([working]) is None
    assert log.pause_in([working, waiting]) == 1
    assert log.pause_in([waiting, text]) == 0
    assert log.pause_in([text]) is None
    log.append(status(TaskState.WORKING))
    assert log.pause_in([working, waiting, text]) is None
