"""One task as different clients see it: codecs, text alone, and the shared metadata of what was negotiated."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.json_output import SLICE
from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.registry import Codec
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    Message,
    Role,
    StatusUpdate,
    StreamItem,
    Task,
    TaskPage,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.tasks.presentation import Presentation, as_text
from sansio.a2a.tasks.shared_metadata import SHARED_BY, STREAM_RESUME
from sansio.opencode.extension_names import EXTENSION_NAMES
from tests import strategies
from tests.steps import counted, taken

CODECS: tuple[Codec, ...] = (v0_3, v0_3_gateway, v1_0)
codecs = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.NAME)
old_forms = pytest.mark.parametrize("codec", CODECS[:2], ids=lambda codec: codec.NAME)
names = st.frozensets(st.sampled_from(sorted(SHARED_BY)))
presentations = st.builds(Presentation, st.sampled_from(CODECS), st.booleans(), names)

SHARED: dict[str, Any] = {name: {"id": name} for name in ("session", "stream", "progress", "interrupt", "usage")}
MINE = {"mine": {"shared": "kept"}, "shared": SHARED}
CALL = {"tool": "bash", "input": {"command": "echo ü"}, "count": [1, None, 2.5]}
ANSWER = Artifact(artifact_id="t:text", name="response", parts=(TextPart(text="Hello"),), metadata=MINE)
TOOL = Artifact(artifact_id="t:tool", name="bash", parts=(DataPart(data=CALL),), metadata={"shared": SHARED})
QUESTION = Message(
    message_id="q", role=Role.USER, parts=(TextPart(text="hi"),), metadata={"shared": {"session": "s"}}
)
DONE = TaskStatus(state=TaskState.COMPLETED, timestamp="2026-01-02T03:04:05.678Z")
TASK = Task(id="t", context_id="c", status=DONE, artifacts=(ANSWER, TOOL), history=(QUESTION,), metadata=MINE)
STATUS = StatusUpdate(task_id="t", context_id="c", status=DONE, final=True, metadata=MINE)
CHUNK = ArtifactUpdate(task_id="t", context_id="c", artifact=TOOL, last_chunk=True)


def paged(one: Presentation, page: TaskPage, *, artifacts: bool = True) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(b"".join(taken(one.page(page, artifacts=artifacts))))
    return body


def presentation(codec: Codec, *extensions: str, text_only: bool = False) -> Presentation:
    return Presentation(codec, text_only, frozenset(extensions))


# --- keys -------------------------------------------------------------------------------------------------


@given(presentations)
def test_a_view_is_what_its_key_says(one: Presentation) -> None:
    assert Presentation.of_key(one.key) == one


@given(presentations, presentations)
def test_views_have_the_same_key_only_where_they_are_the_same(one: Presentation, other: Presentation) -> None:
    assert (one.key == other.key) is (one == other)


STREAM = {"block_type": "text", "source": "s", "message_id": "m", "role": "agent", "part_id": "p", "sequence": 2}


@pytest.mark.parametrize("joins", [False, True])
@codecs
def test_a_chunk_that_continues_a_text_does_not_repeat_on_1_0_what_the_one_before_states(
    codec: Codec, joins: bool
) -> None:
    artifact = evolve(ANSWER, metadata={"mine": 1, "shared": {"stream": STREAM, "session": {"id": "s"}}})
    chunk = ArtifactUpdate(task_id="t", context_id="c", artifact=artifact, append=True, joins=joins)

    body = presentation(codec, "stream-hints").item(chunk, 1)
    shown = body.get("artifactUpdate", body)["artifact"]["metadata"]

    stated = {name: value for name, value in STREAM.items() if name not in ("message_id", "part_id", "role")}
    stream = stated if joins and codec is v1_0 else STREAM
    assert shown == {"mine": 1, "shared": {"stream": stream, "session": {"id": "s"}}}
    assert artifact.metadata == {"mine": 1, "shared": {"stream": STREAM, "session": {"id": "s"}}}


@given(presentations, strategies.tasks("0.3"), st.integers(0, 10**9))
def test_who_only_knows_the_key_sees_the_same(one: Presentation, task: Task, number: int) -> None:
    again = Presentation.of_key(one.key)

    assert again.item(task, number) == one.item(task, number)
    assert again.task(task) == one.task(task)
    assert again.version == one.version


@given(presentations)
def test_an_extension_that_shows_nothing_makes_no_other_view(one: Presentation) -> None:
    more = Presentation(one.codec, one.text_only, one.extensions | {"model-selection", "unknown"})

    assert more.key == one.key
    assert more.task(TASK) == one.task(TASK)


def test_extensions_that_show_something_are_those_of_the_agent() -> None:
    assert set(EXTENSION_NAMES.values()) & SHARED_BY.keys() >= {"session-binding", "stream-hints", STREAM_RESUME}


# --- shared metadata --------------------------------------------------------------------------------------

SHOWN = [
    ("", ""),
    ("model-selection", ""),
    ("session-binding", "session"),
    ("interactive-interrupt", "interrupt"),
    ("stream-hints", "stream progress interrupt session usage"),
    ("session-binding interactive-interrupt", "session interrupt"),
]


@pytest.mark.parametrize(("extensions", "shown"), SHOWN)
def test_version_1_0_shows_what_was_negotiated_and_all_that_is_not_shared(extensions: str, shown: str) -> None:
    one = presentation(v1_0, *extensions.split())
    kept = {name: SHARED[name] for name in shown.split()}
    expected = {"shared": kept} if kept else {}
    page = TaskPage(tasks=(TASK,), next_page_token="", page_size=1, total=1)

    for task in (
        one.task(TASK),
        one.send_result(TASK)["task"],
        one.item(TASK, 7)["task"],
        one.notification(TASK)["task"],
        paged(one, page)["tasks"][0],
    ):
        assert task["metadata"] == {"mine": MINE["mine"], **expected}
        assert task["artifacts"][0]["metadata"] == {"mine": MINE["mine"], **expected}
        assert task["artifacts"][1].get("metadata", {}) == expected
        assert task["history"][0]["metadata"] == QUESTION.metadata  # the client's own
    assert one.item(STATUS, 7)["statusUpdate"]["metadata"] == {"mine": MINE["mine"], **expected}
    assert one.item(CHUNK, 7)["artifactUpdate"]["artifact"].get("metadata", {}) == expected


@old_forms
def test_version_0_3_shows_all_of_it_unasked(codec: Codec) -> None:
    task = presentation(codec).task(TASK)

    assert task["metadata"] == MINE
    assert [one["metadata"] for one in task["artifacts"]] == [MINE, {"shared": SHARED}]


@given(presentations, strategies.tasks("0.3") | st.sampled_from([TASK, STATUS, CHUNK]))
def test_looking_changes_nothing(one: Presentation, item: StreamItem) -> None:
    before = copy.deepcopy(item)

    one.item(item, 7)
    one.send_result(item) if isinstance(item, Task) else one.item(item, 8)

    assert item == before


@pytest.mark.parametrize("shared", ["x", [], 5], ids=str)
def test_shared_metadata_of_another_kind_is_not_shown_unasked(shared: object) -> None:
    told = presentation(v1_0, "session-binding").task(evolve(TASK, metadata={"a": 1, "shared": shared}))

    assert told["metadata"].keys() >= {"a"}
    assert "session" not in told["metadata"]


# --- resuming ---------------------------------------------------------------------------------------------


@codecs
@pytest.mark.parametrize("item", [TASK, STATUS, CHUNK], ids=lambda item: type(item).__name__)
def test_the_number_stands_in_the_events_metadata_where_that_was_negotiated(codec: Codec, item: StreamItem) -> None:
    def metadata(one: Presentation) -> dict[str, Any]:
        body = one.item(item, 12)
        inner: dict[str, Any] = body if codec is v0_3 else next(iter(body.values()))
        found: dict[str, Any] = inner.get("metadata", {})
        return found

    assert metadata(presentation(codec, STREAM_RESUME))["shared"]["resume"] == {"event_id": "12"}
    assert "resume" not in metadata(presentation(codec, "stream-hints")).get("shared", {})


def test_a_result_has_no_number() -> None:
    assert "resume" not in orjson.dumps(presentation(v1_0, STREAM_RESUME).task(TASK)).decode()
    assert "resume" not in orjson.dumps(presentation(v1_0, STREAM_RESUME).send_result(TASK)).decode()
    assert "resume" not in orjson.dumps(presentation(v1_0, STREAM_RESUME).notification(STATUS)).decode()


# --- text alone -------------------------------------------------------------------------------------------


def test_data_is_told_as_compact_json() -> None:
    [part] = as_text(TASK).artifacts[1].parts

    assert isinstance(part, TextPart)
    assert part.text == '{"tool":"bash","input":{"command":"echo ü"},"count":[1,null,2.5]}'
    assert part.media_type == "application/json"
    assert as_text(TASK).artifacts[0] == TASK.artifacts[0]


@given(strategies.tasks("1.0"))
def test_a_task_as_text_has_no_data_and_loses_none(task: Task) -> None:
    told = as_text(task)

    for one, other in zip(task.artifacts, told.artifacts, strict=True):
        assert evolve(other, parts=one.parts) == one
        for part, text in zip(one.parts, other.parts, strict=True):
            if isinstance(part, DataPart):
                assert isinstance(text, TextPart)
                assert orjson.loads(text.text) == orjson.loads(orjson.dumps(part.data))
                assert (text.metadata, text.filename) == (part.metadata, part.filename)
            else:
                assert text == part
    assert as_text(told) == told
    assert evolve(told, artifacts=task.artifacts) == task


@codecs
def test_everything_is_text_for_who_takes_only_text(codec: Codec) -> None:
    one = presentation(codec, text_only=True)
    page = TaskPage(tasks=(TASK,), next_page_token="", page_size=1, total=1)
    told = [one.task(TASK), one.send_result(TASK), one.item(TASK, 7), one.item(CHUNK, 8)]
    told += [paged(one, page), one.notification(TASK)]

    for body in told:
        text = orjson.dumps(body).decode()
        assert '"data":' not in text
        assert r"\"tool\":\"bash\"" in text
    assert "data" in presentation(codec).task(TASK)["artifacts"][1]["parts"][0]


# --- the answer on version 0.3 -------------------------------------------------------------------------------


@old_forms
def test_version_0_3_has_the_answer_in_the_status_of_every_task(codec: Codec) -> None:
    one = presentation(codec)
    page = TaskPage(tasks=(TASK,), next_page_token="", page_size=1, total=1)

    def unwrapped(body: dict[str, Any]) -> dict[str, Any]:
        return body if "id" in body else body["task"]

    told = [one.task(TASK), *map(unwrapped, (one.send_result(TASK), one.item(TASK, 7)))]
    told += paged(one, page, artifacts=False)["tasks"]
    for task in told:
        [part] = task["status"]["message"]["parts" if codec is v0_3 else "content"]
        assert part["text"] == "Hello"


def test_version_1_0_has_it_in_the_artifact_alone() -> None:
    assert "message" not in presentation(v1_0).task(TASK)["status"]


@old_forms
def test_a_notification_is_a_task_of_version_0_3s_schema_whichever_binding_asked(codec: Codec) -> None:
    told = presentation(codec).notification(TASK)

    assert told == v0_3.render_task(v0_3.parse_task(told))
    assert (told["kind"], told["status"]["state"]) == ("task", "completed")


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.NAME)
def test_a_message_is_a_result_and_an_item_without_a_task(codec: Codec) -> None:
    answer = Message(message_id="m", role=Role.AGENT, parts=(TextPart(text="hi"),), metadata={"mine": 1})
    one = presentation(codec)

    assert one.send_result(answer) == codec.render_send_result(answer)
    assert one.item(answer, 7) == codec.render_item(answer)


# --- pages ------------------------------------------------------------------------------------------------


@given(presentations, st.lists(strategies.tasks("0.3"), max_size=3).map(tuple), st.booleans())
def test_a_page_shows_artifacts_where_they_are_wanted(
    one: Presentation, tasks: tuple[Task, ...], artifacts: bool
) -> None:
    page = TaskPage(tasks=tasks, next_page_token="n", page_size=9, total=len(tasks))

    body = paged(one, page, artifacts=artifacts)

    assert (body["nextPageToken"], body["pageSize"], body["totalSize"]) == ("n", 9, len(tasks))
    expected = [one.task(task) for task in tasks]
    if not artifacts:
        for task in expected:
            task.pop("artifacts", None)
    assert body["tasks"] == expected


def test_a_large_page_lets_others_have_their_turn_between_its_tasks() -> None:
    artifact = Artifact(artifact_id="a", parts=(TextPart(text="x" * (SLICE // 2)),))
    page = TaskPage(tasks=(evolve(TASK, artifacts=(artifact,)),) * 7, next_page_token="", page_size=7, total=7)
    one = presentation(v1_0)

    pieces, steps = counted(one.page(page, artifacts=True))

    assert steps == 1 + 7 // 2
    assert orjson.loads(b"".join(pieces))["tasks"] == [one.task(task) for task in page.tasks]
    assert counted(one.page(page, artifacts=False))[1] == 1
