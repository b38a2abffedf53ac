"""Targets of OpenCode's side: its bus, its messages, the blocks made of them, and the turn that publishes it all."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fuzz.target import Target, require
from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import TaskState, TaskStatus
from sansio.a2a.tasks.task_log import LogEvent, StatusChanged, TaskLog
from sansio.a2a.tasks.task_log_codec import encode_events
from sansio.opencode.interrupts import render as interrupts
from sansio.opencode.turns.blocks import is_settled, tool_data, usage_of
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream.events import (
    BusEvent,
    InterruptAsked,
    MessageSeen,
    PartSeen,
    SessionStatus,
    decode,
    decode_messages,
    event_id,
)
from sansio.opencode.upstream.faults import TaskFailure
from tests.core.recorded import (
    CONTEXT,
    NAMES,
    NOW,
    TASK,
    flattened,
    lines_of,
    messages_of,
    naive_fold,
    output_of,
    terminals,
)
from tests.strategies import ScriptedTurn, json_objects, json_values, scripted_turns

READ = b"!read "
GAP = b"!gap"
BEGIN = b"!begin"
CANCEL = b"!cancel"
FAIL = b"!fail"


def check_events(data: bytes) -> None:
    """A bus event is decoded, or of no use, or refused as an answer that is not OpenCode's."""
    event_id(data)
    try:
        event = decode(data)
    except ProtocolError as error:
        require(error.kind is ErrorKind.INVALID_AGENT_RESPONSE, "another error")
        return
    require(event is None or repr(event) != "", "an event that cannot be shown")


def check_messages(data: bytes) -> None:
    """Messages are decoded, each with parts that have all their ids, or refused as not OpenCode's."""
    try:
        records = decode_messages(data)
    except ProtocolError as error:
        require(error.kind is ErrorKind.INVALID_AGENT_RESPONSE, "another error")
        return
    for record in records:
        require(bool(record.info.id and record.info.session_id), "a message without ids")
        require(all(part.part_id and part.message_id for part in record.parts), "a part without ids")


def check_blocks(data: bytes) -> None:
    """Whatever a part, its tokens or an interrupt hold, the events made of them can be sent as JSON."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    if not isinstance(body, dict):
        return
    part = PartSeen(session_id="s", message_id="m", part_id="p", type="tool", body=body)
    orjson.dumps([tool_data(part), is_settled(body), usage_of(body, None)])
    for kind in ("permission", "question"):
        asked = InterruptAsked(session_id="s", kind=kind, request_id="r", body=body)
        orjson.dumps([interrupts.details_of(asked), interrupts.text_of(asked)])


class _Session:
    """Plays lines into a turn, and holds it to its promises."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        events = [event for event in map(_decoded, lines) if event is not None]
        prompts = [e.info for e in events if isinstance(e, MessageSeen) and e.info.role == "user"]
        self.session_id = prompts[0].session_id if prompts else "ses_root"
        prompt_id = prompts[0].id if prompts else "msg_"
        self.turn = Turn(task_id=TASK, context_id=CONTEXT, session_id=self.session_id, prompt_id=prompt_id)
        self.log = TaskLog(TASK, CONTEXT)
        self.log.append(StatusChanged(status=TaskStatus(state=TaskState.SUBMITTED)))
        self.out: list[LogEvent] = []

    def play(self) -> None:
        for line in self.lines:
            ended = self.turn.ended
            out = self._step(line)
            require(not (ended and out), "something was said after the end")
            for event in out:
                require(self.log.append(event) is not None, f"the log drops {event}")
            self.out += out

    def _step(self, line: bytes) -> list[LogEvent]:
        if line == BEGIN:
            return self.turn.begin(NOW)
        if line == CANCEL:
            return self.turn.cancel(NOW)
        if line == FAIL:
            return self.turn.fail(TaskFailure(text="failed", type="UPSTREAM_TIMEOUT"), NOW)
        if line == GAP:
            self.turn.gap()
            return []
        if line.startswith(READ):
            return self._read(line.removeprefix(READ))
        event = _decoded(line)
        return self.turn.feed(event, NOW) if event is not None else []

    def _read(self, body: bytes) -> list[LogEvent]:
        try:
            records = decode_messages(body)
        except ProtocolError:
            return []
        status = SessionStatus(session_id=self.session_id, type="idle")
        return self.turn.reconcile(records, status, NOW, last_try=len(body) % 2 == 0)


def _decoded(line: bytes) -> BusEvent | None:
    try:
        return decode(line)
    except ProtocolError:
        return None


def check_turn(data: bytes) -> None:
    """Whatever a session says, a turn takes it, ends at most once and then is silent, and its stream is its task."""
    session = _Session(data.split(b"\n"))
    session.play()
    task = session.log.task()
    require(len(terminals(session.out)) == int(session.turn.ended), "it did not end just once")
    require(naive_fold(session.out) == flattened(output_of(task)), "the stream is not the task")
    encode_events(session.out)
    orjson.dumps([v0_3.render_task(task), v1_0.render_task(task)])


def _script(lines: list[bytes], messages: bytes) -> bytes:
    read = READ + orjson.dumps(orjson.loads(messages))
    return b"\n".join([BEGIN, *lines, GAP, read, CANCEL])


_RECORDED = tuple(_script(lines_of(name), messages_of(name)) for name in NAMES)
_PARTS = tuple(
    orjson.dumps(event.body)
    for name in NAMES
    for event in map(_decoded, lines_of(name))
    if isinstance(event, PartSeen | InterruptAsked)
)


@st.composite
def _disturbed(draw: st.DrawFn) -> bytes:
    """A scripted turn with its lines thinned out and doubled, and control lines between them."""
    script: ScriptedTurn = draw(scripted_turns())
    extra = (GAP, BEGIN, READ + script.messages, FAIL)
    lines: list[bytes] = [BEGIN]
    for line in script.lines:
        lines += [line] * draw(st.sampled_from((0, 1, 1, 1, 2)))
        if draw(st.integers(0, 9)) == 0:
            lines.append(draw(st.sampled_from(extra)))
    return b"\n".join(lines)


def _bus(values: SearchStrategy[Any]) -> SearchStrategy[bytes]:
    types = ("message.part.updated", "message.updated", "session.status", "session.error", "permission.asked")
    return st.builds(
        lambda kind, properties: orjson.dumps({"payload": {"type": kind, "properties": properties}}),
        st.sampled_from(types),
        values,
    )


TARGETS = (
    Target(
        name="events",
        check=check_events,
        documents=tuple(line for name in NAMES for line in lines_of(name)),
        strategy=_bus(json_objects) | _bus(json_values) | json_values.map(orjson.dumps),
    ),
    Target(
        name="messages",
        check=check_messages,
        documents=tuple(messages_of(name) for name in NAMES),
        strategy=scripted_turns().map(lambda script: script.messages) | json_values.map(orjson.dumps),
    ),
    Target(
        name="blocks",
        check=check_blocks,
        documents=(
            *_PARTS,
            b'{"input":1,"output":2,"total":3,"reasoning":0,"cache":{"read":1,"write":1}}',
        ),
        strategy=json_objects.map(orjson.dumps),
    ),
    Target(name="turn", check=check_turn, documents=_RECORDED, strategy=_disturbed()),
)
