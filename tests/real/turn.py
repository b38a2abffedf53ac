"""One turn as a client takes it, sent or streamed, with the checks that hold for every turn.

Three witnesses must agree: what the client was told, what it reads afterwards, and OpenCode's own record.
"""

from __future__ import annotations

import attrs

from tests.real.opencode import OpenCode, Record, Tool
from tests.real.wire import Client, Folded, Json, Task, fold


@attrs.frozen(kw_only=True)
class Turn:
    """A finished turn: the task as read afterwards, OpenCode's record, and the stream if there was one."""

    task: Task
    record: Record
    folded: Folded | None


@attrs.frozen(kw_only=True)
class Caller:
    """A client, and whether it sends or streams."""

    client: Client
    mode: str

    def take_turn(self, opencode: OpenCode, text: str, context_id: str | None = None) -> Turn:
        """Run a turn to its end and check that all witnesses agree."""
        folded: Folded | None = None
        if self.mode == "stream":
            folded = fold(self.client.stream(text, context_id))
            task = self.client.task(folded.task_id)
            check_stream(folded, task, self.client.version)
        else:
            sent = self.client.send(text, context_id)
            task = self.client.task(sent.id)
            assert task == sent
        record = opencode.record(task.session_id)
        check_record(task, record)
        return Turn(task=task, record=record, folded=folded)


def check_stream(folded: Folded, task: Task, version: str) -> None:
    """The stream told the task: same state, same artifacts, each chunk in its lane, nothing after the end."""
    assert folded.state == task.state
    assert folded.final == (version == "0.3")
    assert folded.after_end == 0
    assert folded.context_ids == {task.context_id}
    assert folded.session_ids == {task.session_id}
    assert folded.artifacts.keys() == {artifact.id for artifact in task.artifacts}
    for artifact in task.artifacts:
        streamed = folded.artifacts[artifact.id]
        assert "".join(streamed.texts) == "".join(artifact.texts)
        assert streamed.data == artifact.data
        assert streamed.name == artifact.name
        assert folded.block_types[artifact.id] == {artifact.artifact_stream}


def check_record(task: Task, record: Record) -> None:
    """The task holds what OpenCode recorded, to the letter: a part for each part, the text first."""
    assert [artifact.name for artifact in task.artifact_stream("text")] == ["response"] * bool(record.texts)
    assert [text for artifact in task.artifact_stream("text") for text in artifact.texts] == list(record.texts)
    assert [text for artifact in task.artifact_stream("reasoning") for text in artifact.texts] == list(
        record.reasoning
    )
    assert [artifact.data for artifact in task.artifact_stream("tool_call")] == [
        (artifact.data[-1],) for artifact in task.artifact_stream("tool_call")
    ]
    told = {artifact.data[-1]["call_id"]: artifact.data[-1] for artifact in task.artifact_stream("tool_call")}
    recorded = {tool.call_id: tool for tool in record.tools}
    assert told.keys() == recorded.keys()
    for call_id, tool in recorded.items():
        check_tool(told[call_id], tool)
    if record.texts:
        assert task.artifacts[0].name == "response"


def check_tool(told: Json, tool: Tool) -> None:
    assert told["tool"] == tool.name
    assert told["status"] == tool.status
    assert told["input"] == tool.input
    assert told.get("output") == tool.output
    assert told.get("error") == tool.error
    assert told.get("title") in (tool.title, None if tool.title == "" else tool.title)
