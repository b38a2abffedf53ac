"""Files that OpenCode produces: what becomes a file part, what does not, and that each is told once."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.model import FilePart, JsonObject, Message, Role, TaskState, TaskStatus
from sansio.a2a.tasks.task_log import LogEvent, MessageAdded, StatusChanged, TaskLog
from sansio.opencode.turns.file_parts import attachments_of, file_of
from sansio.opencode.turns.recovery import recovered_output
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream.events import (
    BusEvent,
    MessageInfo,
    MessageRecord,
    MessageSeen,
    PartSeen,
    SessionStatus,
)
from tests.core.recorded import CONTEXT, NOW, TASK, output_of, task_of

PNG = {"mime": "image/png", "filename": "a.png"}
SESSION, PROMPT, ANSWER = "ses_1", "msg_2", "msg_3"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("url", "raw"),
    [
        ("data:image/png;base64,aGk=", "aGk="),
        ("data:image/png;base64,aGk", "aGk="),
        ("DATA:image/png;name=a;BASE64,aGk%3D", "aGk="),
        ("data:,h%69", "aGk="),
        ("data:text/plain;charset=utf-8,hi", "aGk="),
        ("data:image/png;base64,", ""),
    ],
)
def test_a_data_url_is_told_by_its_bytes(url: str, raw: str) -> None:
    assert file_of({**PNG, "url": url}) == FilePart(raw=raw, media_type="image/png", filename="a.png")


@pytest.mark.parametrize("url", ["https://example.test/a.png?b=1", "HTTP://example.test/a"])
def test_an_address_on_the_web_is_told_as_it_is(url: str) -> None:
    assert file_of({"url": url}) == FilePart(url=url)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "/etc/passwd", "a.png", "", "blob:x", "data:image/png;base64", "data:;base64,!", None, 5],
)
def test_what_a_client_could_not_read_is_left_out(url: object) -> None:
    assert file_of({**PNG, "url": url}) is None


@given(st.binary())
def test_bytes_arrive_as_they_are(content: bytes) -> None:
    encoded = base64.b64encode(content).decode()

    for url in (f"data:a/b;base64,{encoded}", f"data:a/b;base64,{quote(encoded)}", f"data:a/b,{quote(content)}"):
        file = file_of({"url": url})
        assert file is not None
        assert file.raw == encoded


@given(st.dictionaries(st.sampled_from(("url", "mime", "filename", "state")), json_values))
def test_whatever_opencode_says_there_is_a_file_or_there_is_none(body: JsonObject) -> None:
    file = file_of(body)

    assert file is None or (file.raw is None) != (file.url is None)
    assert all(isinstance(one, FilePart) for one in attachments_of(body))


@given(json_values, json_values)
def test_attachments_that_make_no_sense_are_none(state: Any, attachments: Any) -> None:
    for body in ({"state": state}, {"state": {"attachments": attachments}}):
        assert all(isinstance(one, FilePart) for one in attachments_of(body))


# --- in a turn --------------------------------------------------------------------------------------------


def message(**info: Any) -> MessageInfo:
    return MessageInfo(id=ANSWER, session_id=SESSION, role="assistant", parent_id=PROMPT, **info)


def part(id: str, type: str, **body: Any) -> PartSeen:
    return PartSeen(session_id=SESSION, message_id=ANSWER, part_id=id, type=type, body=body)


def file_part(id: str = "prt_f", url: str = "data:text/plain,hi", **body: Any) -> PartSeen:
    return part(id, "file", url=url, **body)


def tool(*urls: str, status: str = "completed") -> PartSeen:
    attachments = [{"type": "file", "mime": "image/png", "url": url} for url in urls]
    state = {"status": status, "output": "done"} | ({"attachments": attachments} if urls else {})
    return part("prt_t", "tool", tool="read", callID="c", state=state)


def new_turn() -> Turn:
    return Turn(task_id=TASK, context_id=CONTEXT, session_id=SESSION, prompt_id=PROMPT)


def fed(turn: Turn, *events: BusEvent) -> list[LogEvent]:
    return [said for event in events for said in turn.feed(event, NOW)]


SEEN = MessageSeen(session_id=SESSION, info=message())
BUSY = SessionStatus(session_id=SESSION, type="busy")


def test_a_file_is_an_artifact_of_its_own_and_told_once() -> None:
    out = fed(new_turn(), SEEN, file_part(filename="a.txt"), file_part(filename="a.txt"), file_part("prt_g"))

    artifacts = task_of(out).artifacts
    assert [one.artifact_id.removeprefix(f"{TASK}:") for one in artifacts] == ["file:prt_f", "file:prt_g"]
    assert [one.name for one in artifacts] == ["a.txt", None]
    assert artifacts[0].parts == (FilePart(raw="aGk=", filename="a.txt"),)
    assert len(out) == 2


def test_a_file_on_opencodes_own_disk_says_nothing() -> None:
    assert fed(new_turn(), SEEN, file_part(url="file:///etc/passwd")) == []


def test_what_a_tool_attaches_stands_behind_its_data() -> None:
    out = fed(new_turn(), SEEN, tool(status="running"), tool("data:,hi", "file:///x", "https://example.test/a"))

    [artifact] = task_of(out).artifacts
    assert artifact.parts[1:] == (
        FilePart(raw="aGk=", media_type="image/png"),
        FilePart(url="https://example.test/a", media_type="image/png"),
    )


def test_what_a_tool_attaches_late_is_told_and_then_no_more() -> None:
    turn = new_turn()
    fed(turn, SEEN, tool())

    late = fed(turn, tool("data:,hi"))

    assert [len(one.parts) for one in task_of(late).artifacts] == [2]
    assert fed(turn, tool("data:,hi")) == []


def test_nothing_is_told_again_after_a_gap() -> None:
    turn = new_turn()
    events = (file_part(), tool("data:,hi"))
    fed(turn, SEEN, *events)
    turn.gap()

    again = turn.reconcile([MessageRecord(info=message(), parts=events)], BUSY, NOW)

    assert again == []


def test_nothing_is_told_again_by_a_turn_that_is_taken_up() -> None:
    turn = new_turn()
    events = (file_part(), tool("data:,hi"))
    log = TaskLog(TASK, CONTEXT)
    log.append(StatusChanged(status=TaskStatus(state=TaskState.SUBMITTED)))
    log.append(MessageAdded(Message(message_id="m", role=Role.USER, parts=())))
    for event in [*turn.begin(NOW), *fed(turn, SEEN, *events)]:
        log.append(event)
    taken_up = new_turn()
    taken_up.recover(recovered_output(log.task(), [one.event for one in log.since(0)], SESSION))

    record = MessageRecord(info=message(), parts=(*events, file_part("prt_g", "data:,new")))
    again = taken_up.reconcile([record], BUSY, NOW)

    assert list(output_of(task_of(again))) == ["file:prt_g"]
