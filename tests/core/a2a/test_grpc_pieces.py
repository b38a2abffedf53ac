"""Large messages of gRPC are encoded in steps, and are the same messages as those that are encoded at once."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings import grpc
from sansio.a2a.codecs import v0_3_protojson, v1_0
from sansio.a2a.model import (
    Artifact,
    DataPart,
    FilePart,
    Message,
    Role,
    Task,
    TaskPage,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.protobuf.conversion import json_of, message_of
from sansio.a2a.protobuf.messages import message
from sansio.a2a.protobuf.pieces import encoded_pieces, length_delimited
from sansio.a2a.tasks.presentation import Presentation
from tests.core.a2a.test_grpc import NEW, OLD, call
from tests.steps import counted, taken

TASK = message("lf.a2a.v1.Task")
SAID = Message(message_id="m", role=Role.USER, parts=(TextPart(text="grüße ☂ " * 40),), task_id="t")


def task_of(text: str, raw: bytes, artifacts: int) -> Task:
    """Make a task with text, data, a file and metadata in each artifact."""
    parts = (
        TextPart(text=text),
        DataPart(data={"a": [1, None, text]}),
        FilePart(raw=base64.b64encode(raw).decode(), media_type="image/png"),
    )
    return Task(
        id="t",
        context_id="c",
        status=TaskStatus(state=TaskState.WORKING, timestamp="2026-01-01T00:00:00.000Z", message=SAID),
        history=(SAID,) * 3,
        artifacts=tuple(
            Artifact(artifact_id=f"a{number}", parts=parts, metadata={"n": number}, extensions=("x" * 40, "y" * 40))
            for number in range(artifacts)
        ),
        metadata={"k": text},
    )


def test_small_members_of_a_large_list_are_encoded_together() -> None:
    value = v1_0.render_task(task_of("", b"", 0))

    found = b"".join(taken(encoded_pieces(TASK, value, size=1000)))

    assert TASK.FromString(found) == message_of(TASK, value)


@given(st.text(max_size=80), st.binary(max_size=80), st.integers(0, 4), st.sampled_from([16, 20, 33, 200, 4000]))
def test_a_message_in_pieces_is_the_message(text: str, raw: bytes, artifacts: int, size: int) -> None:
    value = v1_0.render_task(task_of(text, raw, artifacts)) | {"unknown": "x" * 99}

    found = b"".join(taken(encoded_pieces(TASK, value, size=size)))

    assert TASK.FromString(found) == message_of(TASK, value)


@pytest.mark.parametrize("path", [f"{NEW}SubscribeToTask", f"{OLD}TaskSubscription"])
def test_a_large_task_takes_steps_and_pieces(path: str) -> None:
    made = call(path, {"id": "t"} if path.startswith(NEW) else {"name": "tasks/t"})
    presentation = Presentation(v1_0 if path.startswith(NEW) else v0_3_protojson)
    value = presentation.item(task_of("grüße ☂ " * 40_000, b"\0\1" * 300_000, 3), 1)

    pieces, steps = counted(made.frame_in_steps(1, value))

    assert steps > 8
    assert max(map(len, pieces)) < 800_000
    assert grpc.message_in(b"".join(pieces)) == b"".join(taken(made.result(value)))
    assert made.rpc.answer.FromString(grpc.message_in(b"".join(pieces))) == message_of(made.rpc.answer, value)


def test_a_page_of_large_tasks_takes_a_step_for_each() -> None:
    made = call(f"{NEW}ListTasks", {})
    task = task_of("word " * 8_000, b"", 1)
    page = TaskPage(tasks=(task,) * 30, total=30, page_size=50, next_page_token="p")
    presentation = Presentation(v1_0)

    pieces, steps = counted(made.page(page, presentation, artifacts=True))
    lean, lean_steps = counted(made.page(page, presentation, artifacts=False))
    answer: Any = made.respond(pieces)

    assert steps > 10
    assert lean_steps == counted(presentation.page(page, artifacts=False))[1] > 1
    whole = grpc.message_in(answer.body + b"".join(answer.more))
    assert made.rpc.answer.FromString(whole) == message_of(made.rpc.answer, v1_0.render_task_page(page))
    assert len(json_of(made.rpc.answer, b"".join(lean))["tasks"]) == 30
    assert "artifacts" not in json_of(made.rpc.answer, b"".join(lean))["tasks"][0]


@pytest.mark.parametrize(("size", "head"), [(5, b"\x0a\x05"), (128, b"\x0a\x80\x01"), (300_000, b"\x0a\xe0\xa7\x12")])
def test_a_length_has_seven_bits_in_each_byte(size: int, head: bytes) -> None:
    assert length_delimited(b"\x0a", size) == head
