"""What a person sees of an answer: every piece once, in order, whatever kind of agent speaks."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.client.transcript import AnswerText, Notice, NoticeKind, Transcript, Utterance
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    FilePart,
    Message,
    Part,
    Role,
    StatusUpdate,
    StreamItem,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from tests import strategies


def agent_says(text: str, role: Role = Role.AGENT, task_id: str | None = None) -> Message:
    return Message(message_id=f"m:{text}", role=role, parts=(TextPart(text=text),), task_id=task_id)


def status(state: TaskState, text: str | None = None, **shared: Any) -> StatusUpdate:
    return StatusUpdate(
        task_id="t",
        context_id="c",
        status=TaskStatus(state=state, message=agent_says(text) if text else None),
        final=state.terminal,
        metadata={"shared": shared} if shared else None,
    )


def artifact(*parts: Part | str, id: str = "a", block: str | None = None, **stream: Any) -> Artifact:
    if block is not None:
        stream["block_type"] = block
    return Artifact(
        artifact_id=id,
        parts=tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts),
        metadata={"shared": {"stream": stream}} if stream else None,
    )


def chunk(*parts: Part | str, append: bool = True, **named: Any) -> ArtifactUpdate:
    return ArtifactUpdate(task_id="t", context_id="c", artifact=artifact(*parts, **named), append=append)


def task(state: TaskState, *artifacts: Artifact, text: str | None = None, history: tuple[Message, ...] = ()) -> Task:
    message = agent_says(text) if text else None
    return Task(
        id="t",
        context_id="c",
        status=TaskStatus(state=state, message=message),
        artifacts=artifacts,
        history=history,
    )


COMPLETED = status(TaskState.COMPLETED)
WORKING = status(TaskState.WORKING)


def watch(*items: StreamItem) -> tuple[Transcript, list[Utterance]]:
    transcript = Transcript()
    return transcript, [utterance for item in items for utterance in transcript.feed(item)]


def printed(*items: StreamItem) -> str:
    return "".join(said.text for said in watch(*items)[1] if isinstance(said, AnswerText))


def notices(*items: StreamItem) -> list[tuple[str, str]]:
    return [(said.kind.value, said.text) for said in watch(*items)[1] if isinstance(said, Notice)]


# --------------------------------------------------------------------------------------------- the answer


def test_text_is_told_as_it_comes_without_any_metadata() -> None:
    assert printed(WORKING, chunk("Hel", append=False), chunk("lo "), chunk("\n you"), COMPLETED) == "Hello \n you"


def test_a_final_snapshot_says_nothing_twice() -> None:
    items = (chunk("Hel"), chunk("lo"), task(TaskState.COMPLETED, artifact("Hel", "lo")))

    assert printed(*items) == "Hello"


def test_a_final_snapshot_says_what_the_stream_did_not() -> None:
    items = (chunk("Hel"), task(TaskState.COMPLETED, artifact("Hello"), artifact("more", id="b")))

    assert printed(*items) == "Hello\nmore"


def test_the_text_of_a_final_status_that_the_answer_does_not_have_is_a_notice() -> None:
    assert ("status", "Saved.") in notices(chunk("Hello"), status(TaskState.COMPLETED, "Saved."))
    assert notices(chunk("Hello"), status(TaskState.COMPLETED, "Hello")) == [("state", "completed")]


def test_a_snapshot_under_other_artifact_ids_says_nothing_twice() -> None:
    assert (
        printed(chunk("Hello "), task(TaskState.COMPLETED, artifact("Hello", id="other"), text="Hello")) == "Hello "
    )


def test_a_text_told_whole_again_continues_where_it_was() -> None:
    assert printed(chunk("Hel"), chunk("Hello", append=False), chunk(" you"), COMPLETED) == "Hello you"


def test_a_revised_text_is_told_anew_on_a_line_of_its_own() -> None:
    items = (chunk("Hello"), chunk("Goodbye", append=False), COMPLETED)

    assert printed(*items) == "Hello\nGoodbye"
    assert ("correction", "The agent has revised what it said") in notices(*items)


def test_a_text_that_ends_shorter_than_it_was_told_is_told_anew() -> None:
    assert printed(chunk("one two"), chunk("one", append=False), COMPLETED) == "one two\none"


def test_a_text_that_is_taken_back_whole_is_corrected_by_nothing() -> None:
    taken_back = (chunk("hello", append=False), chunk("", append=False), status(TaskState.COMPLETED))
    assert printed(*taken_back) == "hello\n"
    assert [kind for kind, _ in notices(*taken_back)] == ["correction", "state"]


def test_a_text_cut_back_and_said_again_is_not_told_twice() -> None:
    assert printed(chunk("one two"), chunk("one", append=False), chunk(" two three"), COMPLETED) == "one two three"


def test_texts_of_several_artifacts_stand_on_versions_of_their_own() -> None:
    assert (
        printed(chunk("one", id="a"), chunk("two\n", id="b"), chunk("three", id="c"), COMPLETED) == "one\ntwo\nthree"
    )


def test_a_message_alone_is_the_whole_answer() -> None:
    transcript, said = watch(agent_says("hi", task_id="t9"))

    assert said == [AnswerText("hi")]
    assert transcript.ended
    assert transcript.state is TaskState.COMPLETED


def test_a_message_within_a_task_does_not_end_it() -> None:
    transcript, _ = watch(WORKING, agent_says("one moment"))

    assert not transcript.ended
    assert transcript.state is TaskState.WORKING


def test_the_users_own_words_are_no_answer() -> None:
    assert printed(WORKING, agent_says("me", Role.USER), chunk("me", role="user"), COMPLETED) == ""


@pytest.mark.parametrize(
    "item",
    [
        status(TaskState.COMPLETED, "forty-two"),
        task(TaskState.COMPLETED, text="forty-two"),
        task(TaskState.COMPLETED, history=(agent_says("why?", Role.USER), agent_says("forty-two"))),
    ],
    ids=["status event", "task's status", "task's history"],
)
def test_an_agent_without_artifacts_is_heard_all_the_same(item: StreamItem) -> None:
    assert printed(item) == "forty-two"


def test_the_history_of_a_task_is_no_answer_where_the_user_spoke_last() -> None:
    assert printed(task(TaskState.COMPLETED, history=(agent_says("old"), agent_says("why?", Role.USER)))) == ""


def test_data_is_told_as_json_and_a_file_by_its_name() -> None:
    file = FilePart(url="http://f/1", filename="plan.pdf", media_type="application/pdf")
    items = (chunk("See:", DataPart(data={"a": [1]}), file, append=False), COMPLETED)

    assert printed(*items) == 'See:\n{"a":[1]}\n'
    assert ("file", "plan.pdf application/pdf http://f/1") in notices(*items)


def test_data_that_cannot_be_written_is_named_in_its_place() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]

    assert printed(chunk("See:\n", DataPart(data=deep))) == "See:\n(data that is nested too deeply)\n"


def test_a_revision_behind_a_whole_line_needs_no_line_of_its_own() -> None:
    assert printed(chunk("One\n", append=False), chunk("Two", append=False)) == "One\nTwo"
    assert printed(chunk("One", append=False), chunk("Two", append=False)) == "One\nTwo"


# -------------------------------------------------------------------------------------- beside the answer


def test_a_tool_call_says_when_it_has_ended_and_words_beside_its_data_are_no_answer() -> None:
    call = {"call_id": "1", "tool": "bash"}
    statuses = ("pending", "running", "completed", "error")

    said = watch(*(chunk("words", DataPart(data={**call, "status": one}), block="tool_call") for one in statuses))[1]

    assert all(isinstance(one, Notice) and one.kind is NoticeKind.TOOL for one in said)
    tools = [one.tool for one in said if isinstance(one, Notice) and one.tool is not None]
    assert [(tool.status, tool.ended) for tool in tools] == [
        ("pending", False),
        ("running", False),
        ("completed", True),
        ("error", True),
    ]


def test_reasoning_and_tool_calls_are_no_answer_even_in_one_artifact() -> None:
    call = {"call_id": "1", "tool": "bash", "status": "pending"}
    items = (
        chunk("think", append=False, block="reasoning"),
        chunk("ing", block="reasoning"),
        chunk(DataPart(data=call), block="tool_call"),
        chunk(DataPart(data={**call, "status": "running", "title": "ls"}), block="tool_call"),
        chunk(DataPart(data={**call, "status": "running", "title": "ls", "input": {}}), block="tool_call"),
        chunk(DataPart(data={**call, "status": "error", "error": "no"}), block="tool_call"),
        chunk("Done", block="text"),
        COMPLETED,
    )

    assert printed(*items) == "Done"
    assert notices(*items) == [
        ("reasoning", "think"),
        ("reasoning", "ing"),
        ("tool", "bash: pending"),
        ("tool", "bash: running: ls"),
        ("tool", "bash: error: no"),
        ("state", "completed"),
    ]


def test_a_state_is_told_once_and_retries_every_time() -> None:
    retry = status(TaskState.WORKING, progress={"type": "retry", "attempt": 2, "message": "Rate limited"})
    step = status(TaskState.WORKING, progress={"type": "step-start"})

    _, said = watch(WORKING, step, retry, COMPLETED)

    assert said == [
        Notice(kind=NoticeKind.STATE, text="working"),
        Notice(kind=NoticeKind.PROGRESS, text="step-start", detail=True),
        Notice(kind=NoticeKind.PROGRESS, text="retry 2: Rate limited"),
        Notice(kind=NoticeKind.STATE, text="completed", ends=True),
    ]


def test_what_the_agent_says_of_its_work_is_told_once_and_is_no_answer() -> None:
    items = (status(TaskState.WORKING, "Looking"), status(TaskState.WORKING, "Looking"), chunk("Found"), COMPLETED)

    assert printed(*items) == "Found"
    assert notices(*items) == [("state", "working"), ("status", "Looking"), ("state", "completed")]


def test_a_task_that_waits_says_what_for_and_ends_the_wait_for_it() -> None:
    asked = {"type": "permission", "phase": "asked", "request_id": "per_1"}

    transcript, said = watch(WORKING, status(TaskState.INPUT_REQUIRED, "May I?", interrupt=asked))

    assert said[-1] == Notice(kind=NoticeKind.INTERRUPT, text="May I?\n(request per_1)", asks=True)
    assert transcript.ended
    assert transcript.settled


def test_an_answered_request_is_told() -> None:
    resolved = {"type": "permission", "phase": "resolved", "resolution": "replied"}

    assert ("answered", "permission replied") in notices(WORKING, status(TaskState.WORKING, interrupt=resolved))


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.REJECTED, TaskState.CANCELED])
def test_a_task_that_ends_badly_says_why_beside_the_answer(state: TaskState) -> None:
    transcript, said = watch(chunk("Hel"), status(state, "no more"))

    assert transcript.error == "no more"
    assert said == [
        AnswerText("Hel"),
        Notice(kind=NoticeKind.STATE, text=state.value, ends=True),
        Notice(kind=NoticeKind.ERROR, text="no more"),
    ]


def test_the_first_terminal_state_wins() -> None:
    transcript, _ = watch(COMPLETED, status(TaskState.FAILED, "late"))

    assert transcript.state is TaskState.COMPLETED
    assert transcript.error is None


def test_task_and_context_are_remembered() -> None:
    transcript, _ = watch(WORKING)

    assert (transcript.task_id, transcript.context_id) == ("t", "c")


# -------------------------------------------------------------------------------------------- properties


@given(st.lists(st.text()), st.booleans())
def test_appended_chunks_are_told_to_the_letter_and_a_snapshot_adds_nothing(texts: list[str], snapshot: bool) -> None:
    items: list[StreamItem] = [chunk(text, append=index > 0) for index, text in enumerate(texts)]
    if snapshot:
        items.append(task(TaskState.COMPLETED, artifact(*texts)))

    assert printed(*items) == "".join(texts)


@given(st.lists(st.tuples(st.text("ab", max_size=4), st.booleans())))
def test_what_was_told_always_ends_with_the_text_as_it_ended(changes: list[tuple[str, bool]]) -> None:
    final = ""
    for text, append in changes:
        final = final + text if append else text

    told = printed(*(chunk(text, append=append) for text, append in changes), COMPLETED)

    assert told.endswith(final)


@pytest.mark.parametrize("version", strategies.VERSIONS)
@given(data=st.data())
def test_any_stream_can_be_watched_and_keeps_its_first_end(version: str, data: st.DataObject) -> None:
    transcript = Transcript()
    ends: list[TaskState] = []

    for item in data.draw(st.lists(strategies.items(version), max_size=6)):
        assert all(said.text for said in transcript.feed(item))
        if not isinstance(item, Message) and transcript.state is not None and transcript.state.terminal:
            ends.append(transcript.state)

    assert len(set(ends)) <= 1


# ------------------------------------------------------------------------------------------ what is asked


def asks(text: str, request_id: str | None = None, phase: str = "asked", **more: Any) -> StatusUpdate:
    if request_id is None:
        return status(TaskState.INPUT_REQUIRED, text)
    interrupt = {"request_id": request_id, "type": "permission", "phase": phase, **more}
    return status(TaskState.INPUT_REQUIRED, text, interrupt=interrupt)


def asked_after(*items: StreamItem) -> tuple[str, str | None, str | None, int] | None:
    asked = watch(*items)[0].asked
    return None if asked is None else (asked.text, asked.kind, asked.request_id, len(asked.questions))


def test_what_is_asked_is_known_with_as_much_as_the_agent_says() -> None:
    questions: dict[str, Any] = {"questions": [{}, {}]}

    assert asked_after(WORKING) is None
    assert asked_after(status(TaskState.AUTH_REQUIRED, "log in")) is None
    assert asked_after(WORKING, asks("Name?")) == ("Name?", None, None, 0)
    assert asked_after(asks("May I?", "per_1")) == ("May I?", "permission", "per_1", 0)
    assert asked_after(asks("Two?", "que_1", type="question", details=questions)) == ("Two?", "question", "que_1", 2)
    assert asked_after(task(TaskState.INPUT_REQUIRED, text="Name?")) == ("Name?", None, None, 0)


def test_of_several_requests_the_oldest_is_asked_and_the_next_with_the_text_it_has_then() -> None:
    first, both = asks("One?", "per_1"), asks("One?", "per_2")

    assert asked_after(first, both) == ("One?", "permission", "per_1", 0)
    assert asked_after(first, both, asks("Yes.\n\nTwo?", "per_1", "resolved")) == (
        "Yes.\n\nTwo?",
        "permission",
        "per_2",
        0,
    )


def test_what_is_asked_stays_the_same_object_until_something_else_is_asked() -> None:
    transcript, _ = watch(asks("May I?", "per_1"))
    before = transcript.asked

    for item in (asks("May I?"), chunk("aside"), task(TaskState.INPUT_REQUIRED, text="May I?")):
        transcript.feed(item)
        assert transcript.asked is before

    transcript.feed(task(TaskState.INPUT_REQUIRED, text="Or this?"))
    assert transcript.asked is not None
    assert (transcript.asked.text, transcript.asked.kind) == ("Or this?", None)


def test_nothing_is_asked_once_it_was_answered_or_has_ended() -> None:
    for after in (WORKING, COMPLETED, status(TaskState.CANCELED)):
        assert asked_after(asks("May I?", "per_1"), after) is None


def test_the_same_words_asked_anew_are_another_request() -> None:
    transcript, _ = watch(asks("Name?"))
    before = transcript.asked

    transcript.feed(WORKING)
    transcript.feed(asks("Name?"))

    assert transcript.asked is not None
    assert transcript.asked is not before


@given(st.lists(strategies.items("1.0"), max_size=6))
def test_something_is_asked_exactly_while_input_is_required(items: list[StreamItem]) -> None:
    transcript = Transcript()
    for item in items:
        transcript.feed(item)
        assert (transcript.asked is not None) == (transcript.state is TaskState.INPUT_REQUIRED)


def test_many_artifacts_of_a_snapshot_take_no_longer_for_being_many() -> None:
    transcript = Transcript()
    artifacts = [artifact(f"text {number}", id=str(number)) for number in range(20_000)]
    began = time.process_time()
    transcript.feed(task(TaskState.COMPLETED, *artifacts))
    assert time.process_time() - began < 5.0
    assert transcript.answer.endswith("text 19998\ntext 19999")


def spoken(utterances: list[Utterance]) -> str:
    return "".join(one.text for one in utterances if isinstance(one, AnswerText))


@pytest.mark.parametrize("last", ["\n", " \n\n", ""])
def test_an_artifact_under_another_id_is_old_where_the_answer_ends_with_it(last: str) -> None:
    transcript = Transcript()
    for number, text in enumerate(("first\n", "second", "\n", last)):
        transcript.feed(chunk(text, id=str(number)))
    assert spoken(transcript.feed(task(TaskState.WORKING, artifact("first\nsecond\n", id="other")))) == ""
    assert spoken(transcript.feed(task(TaskState.WORKING, artifact("a first\nsecond", id="more")))) != ""


def test_a_text_that_comes_again_piece_by_piece_is_not_compared_from_its_start() -> None:
    transcript = Transcript()
    transcript.feed(chunk("ab" * 4_000_000))
    transcript.feed(chunk("", append=False))
    began = time.process_time()
    for _ in range(20_000):
        assert transcript.feed(chunk("ab" * 100)) == []
    assert time.process_time() - began < 5.0
    assert transcript.feed(chunk("c")) != []


def test_a_text_that_is_shortened_after_the_end_is_corrected() -> None:
    transcript = Transcript()
    for item in (chunk("twice "), chunk("twice "), status(TaskState.COMPLETED)):
        transcript.feed(item)
    out = transcript.feed(chunk("twice ", append=False))
    assert [one.kind for one in out if isinstance(one, Notice)] == [NoticeKind.CORRECTION]
    assert spoken(out) == "\ntwice "
    assert transcript.feed(chunk("twice ", append=False)) == []


def test_requests_that_are_kept_are_bounded() -> None:
    def asked() -> str | None:
        assert transcript.asked is not None
        return transcript.asked.request_id

    transcript = Transcript()
    large = "x" * (1024 * 1024)
    transcript.feed(status(TaskState.INPUT_REQUIRED, "?", interrupt={"request_id": large[:9], "details": large}))
    assert asked() is None
    for number in range(1000):
        transcript.feed(status(TaskState.INPUT_REQUIRED, "?", interrupt={"request_id": str(number)}))
    for number in range(64):
        assert asked() == str(number)
        resolved = {"request_id": str(number), "phase": "resolved"}
        transcript.feed(status(TaskState.INPUT_REQUIRED, "?", interrupt=resolved))
    assert asked() is None, "no more than 64 were kept"
