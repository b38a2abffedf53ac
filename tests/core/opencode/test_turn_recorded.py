"""Each recorded turn of OpenCode gives exactly the task it should."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sansio.a2a.model import JsonObject, TaskState, TextPart
from sansio.a2a.tasks.task_log import ArtifactChunk, StatusChanged
from sansio.opencode.upstream.events import PartSeen, SessionStatus, decode
from tests.core.recorded import (
    FINISHED,
    NAMES,
    NOW,
    UNFINISHED,
    flattened,
    idle,
    lines_of,
    naive_fold,
    output_of,
    picture,
    play,
    recorded,
    shared_of,
    task_of,
    terminals,
    turn_of,
)

HELLO = "Hello from the fake model."
BASH: JsonObject = {"command": "echo hello-from-tool", "description": "say hello"}
WHICH: JsonObject = {
    "questions": [
        {
            "question": "Which?",
            "header": "Pick",
            "options": [{"label": "A", "description": "a"}, {"label": "B", "description": "b"}],
        }
    ]
}
TODOS: JsonObject = {"todos": [{"content": "one", "status": "pending", "priority": "high", "id": "1"}]}


def call(call_id: str, tool: str, status: str, **more: Any) -> JsonObject:
    return {"call_id": call_id, "tool": tool, "status": status, **more}


EXPECTED: dict[str, tuple[TaskState, str, list[Any]]] = {
    "text": (TaskState.COMPLETED, "", [[HELLO]]),
    "reasoning": (TaskState.COMPLETED, "", [["Done thinking."], ["Let me think."]]),
    "tool-error": (
        TaskState.COMPLETED,
        "",
        [
            [HELLO],
            [
                call(
                    "call_r",
                    "read",
                    "error",
                    input={"filePath": "/workspace/nope.txt"},
                    error="File not found: /workspace/nope.txt",
                )
            ],
        ],
    ),
    "write-file": (
        TaskState.COMPLETED,
        "",
        [
            ["Writing it. ", HELLO],
            [
                call(
                    "call_w",
                    "write",
                    "completed",
                    title="hello.txt",
                    input={"filePath": "/workspace/hello.txt", "content": "hello\n"},
                    output="Wrote file successfully.",
                )
            ],
        ],
    ),
    "permission-once": (
        TaskState.COMPLETED,
        "",
        [
            [HELLO],
            [
                call(
                    "call_1",
                    "bash",
                    "completed",
                    title="echo hello-from-tool",
                    input=BASH,
                    output="hello-from-tool\n",
                )
            ],
        ],
    ),
    "permission-reject": (
        TaskState.COMPLETED,
        "",
        [
            [
                call(
                    "call_1",
                    "bash",
                    "error",
                    input=BASH,
                    error="The user rejected permission to use this specific tool call.",
                )
            ]
        ],
    ),
    "question-reply": (
        TaskState.COMPLETED,
        "",
        [
            [HELLO],
            [
                call(
                    "call_2",
                    "question",
                    "completed",
                    title="Asked 1 question",
                    input=WHICH,
                    output='User has answered your questions: "Which?"="A". '
                    "You can now continue with the user's answers in mind.",
                )
            ],
        ],
    ),
    "question-reject": (
        TaskState.COMPLETED,
        "",
        [[call("call_2", "question", "error", input=WHICH, error="The user dismissed this question")]],
    ),
    "provider-auth-error": (
        TaskState.AUTH_REQUIRED,
        "The model provider refused the request with status 401: bad key",
        [],
    ),
    "abort": (TaskState.CANCELED, "The turn was aborted in OpenCode", [["tick0 tick1 tick2 tick3 tick4 "]]),
    "subtask": (
        TaskState.COMPLETED,
        "",
        [
            [HELLO],
            [
                call(
                    "call_t",
                    "task",
                    "completed",
                    title="look",
                    input={"description": "look", "prompt": "say hello", "subagent_type": "general"},
                    output='<task id="ses_e02e3f2bbffeelr2kMgNffVwOu" state="completed">\n<task_result>\n'
                    f"{HELLO}\n</task_result>\n</task>",
                )
            ],
        ],
    ),
    "todo": (
        TaskState.COMPLETED,
        "",
        [
            [HELLO],
            [
                call(
                    "call_d",
                    "todowrite",
                    "completed",
                    title="1 todos",
                    input=TODOS,
                    output='[\n  {\n    "content": "one",\n    "status": "pending",\n    "priority": "high"\n  }\n]',
                )
            ],
        ],
    ),
    "provider-error": (TaskState.WORKING, "", []),
    "rate-limit-retry": (TaskState.WORKING, "", []),
}


def test_every_recording_has_its_expectation() -> None:
    assert set(EXPECTED) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_turn_gives_its_task(name: str) -> None:
    state, message, output = EXPECTED[name]

    task = task_of(play(recorded(name)))

    assert picture(task)[:2] == (state, message)
    assert list(output_of(task).values()) == output


@pytest.mark.parametrize("name", NAMES)
def test_stream_of_a_recorded_turn_folds_to_its_task(name: str) -> None:
    out = play(recorded(name))

    assert naive_fold(out) == flattened(output_of(task_of(out)))


@pytest.mark.parametrize("name", NAMES)
def test_recorded_turn_ends_once_and_says_nothing_afterwards(name: str) -> None:
    recording = recorded(name)
    turn = turn_of(recording)

    out = [turn.begin(NOW), *(turn.feed(event, NOW) for event in recording.events)]

    ends = [index for index, events in enumerate(out) if terminals(events)]
    assert len(ends) == (0 if name in UNFINISHED else 1)
    assert not ends or not any(out[ends[0] + 1 :])
    assert turn.ended == bool(ends)


@pytest.mark.parametrize("name", FINISHED)
def test_rest_reads_alone_give_the_same_task(name: str) -> None:
    recording = recorded(name)
    turn = turn_of(recording)
    turn.gap()

    out = turn.reconcile(recording.records, idle(recording.session_id), NOW)

    assert picture(task_of(out)) == picture(task_of(play(recording)))


@pytest.mark.parametrize("name", NAMES)
def test_prompt_of_the_user_is_never_output(name: str) -> None:
    recording = recorded(name)
    prompts = {
        event.body["text"]
        for event in recording.events
        if isinstance(event, PartSeen) and event.message_id == recording.prompt_id
    }

    texts = naive_fold(play(recording))

    assert prompts
    assert not prompts & {text for text in texts.values() if isinstance(text, str)}


def test_text_comes_in_the_pieces_opencode_sent_and_as_one_part() -> None:
    out = play(recorded("text"))

    chunks = [event for event in out if isinstance(event, ArtifactChunk)]
    pieces = [part.text for chunk in chunks for part in chunk.artifact.parts if isinstance(part, TextPart)]
    assert pieces == ["Hello", " from", " the", " fake", " model", "."]
    assert [chunk.append for chunk in chunks] == [False, True, True, True, True, True, True]
    assert [chunk.joins for chunk in chunks] == [False, True, True, True, True, True, False]
    assert [chunk.closes for chunk in chunks] == [False] * 6 + [True]
    assert [chunk.artifact.name for chunk in chunks[:-1]] == ["response"] * 6
    assert all(chunk.leads for chunk in chunks[:-1])


def test_white_space_is_kept_to_the_letter() -> None:
    assert naive_fold(play(recorded("abort")))["text"].endswith("tick4 ")
    assert naive_fold(play(recorded("write-file")))["text"] == f"Writing it. {HELLO}"


def test_text_of_a_subagent_is_not_output_of_its_root() -> None:
    recording = recorded("subtask")
    child_texts = [
        event.body["text"]
        for event in recording.events
        if isinstance(event, PartSeen) and event.session_id != recording.session_id and event.type == "text"
    ]

    task = task_of(play(recording))

    assert HELLO in child_texts
    assert output_of(task)["text"] == [HELLO]


def test_end_of_a_subagent_is_not_the_end_of_its_root() -> None:
    recording = recorded("subtask")
    turn = turn_of(recording)
    events = iter(recording.events)

    for event in events:
        turn.feed(event, NOW)
        if isinstance(event, SessionStatus) and event.type == "idle":
            assert event.session_id != recording.session_id
            break

    assert not turn.ended


def test_answer_comes_first_though_reasoning_was_said_first() -> None:
    task = task_of(play(recorded("reasoning")))

    assert [artifact.name for artifact in task.artifacts] == ["response", "reasoning"]


def test_progress_tells_each_step_of_the_turn() -> None:
    progress = shared_of(play(recorded("write-file")), "progress")

    assert [(entry["type"], entry.get("reason")) for entry in progress] == [
        ("step-start", None),
        ("step-finish", "tool-calls"),
        ("step-start", None),
        ("step-finish", "stop"),
    ]


@pytest.mark.parametrize(
    ("name", "message", "attempts"),
    [("provider-error", "provider exploded", [1, 2]), ("rate-limit-retry", "slow down", [1])],
)
def test_retries_of_opencode_are_progress(name: str, message: str, attempts: list[int]) -> None:
    progress = shared_of(play(recorded(name)), "progress")

    assert [entry["attempt"] for entry in progress] == attempts
    assert {(entry["type"], entry["status"], entry["message"]) for entry in progress} == {("retry", "retry", message)}
    assert all(entry["next"] > 1_790_000_000_000 for entry in progress)


def test_events_of_another_session_are_passed_over() -> None:
    recording = recorded("rate-limit-retry")
    others = [event for event in recording.events if event.session_id != recording.session_id]

    assert any(isinstance(event, SessionStatus) and event.type == "retry" for event in others)
    assert len(shared_of(play(recording), "progress")) == 1


def test_usage_is_that_of_the_last_step() -> None:
    task = task_of(play(recorded("permission-once")))

    assert task.metadata is not None
    assert task.metadata["shared"]["usage"] == {
        "input_tokens": 11,
        "output_tokens": 7,
        "total_tokens": 18,
        "reasoning_tokens": 0,
        "cache_tokens": {"read_tokens": 0, "write_tokens": 0},
        "cost": 0,
    }


def test_session_is_told_in_the_task_and_at_the_end() -> None:
    recording = recorded("text")
    out = play(recording)

    session = {"id": recording.session_id}
    metadata = task_of(out).metadata
    assert metadata is not None
    assert metadata["shared"]["session"] == session
    assert shared_of(terminals(out), "session") == [session]


@pytest.mark.parametrize(
    ("name", "kind", "resolution", "text"),
    [
        (
            "permission-once",
            "permission",
            "replied",
            "OpenCode asks for permission (bash: echo hello-from-tool).\nAnswer once, always or reject.",
        ),
        (
            "permission-reject",
            "permission",
            "rejected",
            "OpenCode asks for permission (bash: echo hello-from-tool).\nAnswer once, always or reject.",
        ),
        ("question-reply", "question", "replied", "Which?\n  1. A - a\n  2. B - b"),
        ("question-reject", "question", "rejected", "Which?\n  1. A - a\n  2. B - b"),
    ],
)
def test_task_waits_for_input_until_the_interrupt_is_answered(
    name: str, kind: str, resolution: str, text: str
) -> None:
    out = play(recorded(name))

    asked, resolved = shared_of(out, "interrupt")
    assert (asked["type"], asked["phase"]) == (kind, "asked")
    assert (resolved["type"], resolved["phase"], resolved["resolution"]) == (kind, "resolved", resolution)
    assert asked["request_id"] == resolved["request_id"]
    states = [event.status.state for event in out if isinstance(event, StatusChanged)]
    first = states.index(TaskState.INPUT_REQUIRED)
    assert states[first + 1] is TaskState.WORKING
    waiting = next(
        event.status
        for event in out
        if isinstance(event, StatusChanged) and event.status.state is TaskState.INPUT_REQUIRED
    )
    assert waiting.message is not None
    assert waiting.message.parts == (TextPart(text=text),)


def test_refusal_of_the_provider_is_told_for_machines_too() -> None:
    (end,) = terminals(play(recorded("provider-auth-error")))

    assert end.metadata is not None
    assert end.metadata["opencode"] == {
        "error": {"type": "UPSTREAM_UNAUTHORIZED", "upstream_status": 401},
        "end": "failed",
    }


def test_events_of_the_stream_are_numbered_without_gaps() -> None:
    out = play(recorded("permission-once"))

    chunks = [e.artifact.metadata for e in out if isinstance(e, ArtifactChunk)]
    numbers = [m["shared"]["stream"]["sequence"] for m in chunks if m is not None]
    numbers += [stream["sequence"] for stream in shared_of(out, "stream") if "sequence" in stream]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_sync_copies_on_the_global_stream_are_passed_over() -> None:
    lines = lines_of("text")
    copies = [line for line in lines if orjson.loads(line)["payload"]["type"] == "sync"]

    assert copies
    assert [decode(line) for line in copies] == [None] * len(copies)
