"""A person types in a turn's session, or deletes it, or the turn is cancelled: nothing is mixed, nothing dangles."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tests.real import model_server as model
from tests.real.adapter import Adapter
from tests.real.conftest import connected
from tests.real.deadline import Deadline
from tests.real.opencode import TURN_SECONDS, OpenCode
from tests.real.wire import CALL_SECONDS, TERMINAL, Client, Folded, Json, Task, WireError

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

VERSIONS = {"asyncio": "0.3", "trio": "1.0"}
"""Each runtime speaks one version: the tests of the shell have all of both."""

HOLDING = """#!/bin/sh
# Waits for its gate, half a minute at most.
for i in $(seq 600); do [ -e "$1" ] && break; sleep 0.05; done
"""
ASKING = {"permission": {"bash": {"*": "ask", "./hold.sh *": "allow"}}}


@attrs.frozen(kw_only=True)
class Desk:
    """A client, and a directory whose OpenCode asks before it runs any command but `./hold.sh GATE`."""

    client: Client
    opencode: OpenCode
    directory: Path
    gate: str

    @property
    def here(self) -> dict[str, str]:
        return {"directory": str(self.directory)}

    def begin(self, text: str) -> Task:
        """The task of a message, as soon as there is one."""
        tagged = self.client.version == "0.3"
        params = self.client.params(text, None)
        params["metadata"] = {"opencode": self.here}
        params["configuration"] = {"blocking": False} if tagged else {"returnImmediately": True}
        return self.client.reading.sent(self.client.call("message/send", "SendMessage", "", params))

    def begin_holding(self) -> Task:
        """A task whose command runs until its gate is there."""
        task = self.begin(f"RUN ./hold.sh {self.gate}")
        return self.until(
            task.id, lambda one: [call.data[-1]["status"] for call in one.artifact_stream("tool_call")] == ["running"]
        )

    def open_gate(self) -> None:
        (self.directory / self.gate).touch()

    def until(self, task_id: str, holds: Callable[[Task], bool]) -> Task:
        deadline = Deadline.within(CALL_SECONDS)
        while not holds(task := self.client.task(task_id)):
            assert not over(task), task
            deadline.check("a task to change")
        return task

    def cancel(self, task: Task) -> Task:
        return self.client.reading.task(self.client.call("tasks/cancel", "CancelTask", "", {"id": task.id}))

    def end_of(self, task: Task) -> object:
        """What `metadata.opencode.end` says."""
        raw = self.client.call("tasks/get", "GetTask", "", {"id": task.id})
        return raw["metadata"]["opencode"]["end"]

    def method(self, name: str, **params: object) -> Json:
        return self.client.call(name, name, "", dict(params))

    def waiting(self) -> list[Json]:
        """All that our server lists as waiting for this client."""
        return [one for kind in ("permissions", "questions") for one in self.method(f"opencode.{kind}.list")["items"]]

    def pending(self, session_id: str) -> list[Json]:
        """The permissions and questions that OpenCode has pending in a session."""
        paths = ("/permission", "/question")
        listed = [self.opencode.http.get(path, params=self.here).raise_for_status().json() for path in paths]
        return [one for each in listed for one in each if one["sessionID"] == session_id]

    def until_pending(self, session_id: str, count: int) -> list[Json]:
        deadline = Deadline.within(TURN_SECONDS)
        while len(found := self.pending(session_id)) != count:
            deadline.check(f"{count} pending requests")
        return found

    def until_idle(self, session_id: str) -> None:
        deadline = Deadline.within(TURN_SECONDS)
        while session_id in self.opencode.http.get("/session/status", params=self.here).raise_for_status().json():
            deadline.check("OpenCode to come to rest")

    def delete(self, session_id: str) -> None:
        self.opencode.http.delete(f"/session/{session_id}", params=self.here).raise_for_status()


def over(task: Task) -> bool:
    return task.state in TERMINAL


def asks(task: Task) -> bool:
    return task.state == "input-required"


def text(task: Task) -> str:
    return "".join(text for artifact in task.artifact_stream("text") for text in artifact.texts)


@pytest.fixture
def desk(request: pytest.FixtureRequest, adapter: Adapter, opencode: OpenCode) -> Iterator[Desk]:
    directory = opencode.project / "desk"
    directory.mkdir(exist_ok=True)
    (directory / "opencode.json").write_text(json.dumps(ASKING))
    script = directory / "hold.sh"
    script.write_text(HOLDING)
    script.chmod(0o755)
    client = connected(adapter, VERSIONS[request.node.callspec.params["adapter"]], "jsonrpc")
    with client.http:
        one = Desk(client=client, opencode=opencode, directory=directory, gate=f"gate-{uuid.uuid4()}")
        yield one
        one.open_gate()


# --- a person types in the same session -------------------------------------------------------------------


def test_a_persons_answer_is_not_in_the_task(desk: Desk) -> None:
    theirs = f"SAYBACK {uuid.uuid4()}"
    folded, typed = Folded(), False
    for event in desk.client.stream("TICK 20"):
        folded.take(event)
        if not typed and folded.said.startswith("tick0 "):
            [session_id] = folded.session_ids
            desk.opencode.prompt(session_id, theirs)
            typed = True

    deadline = Deadline.within(TURN_SECONDS)
    while theirs not in "".join(desk.opencode.record(session_id).texts):
        deadline.check("the answer to the person")
    task = desk.client.task(folded.task_id)

    assert desk.opencode.user_texts(session_id) == ["TICK 20", theirs]
    assert (folded.state, task.state) == ("completed", "completed")
    assert folded.said == text(task) == "".join(f"tick{tick} " for tick in range(20))
    assert theirs not in repr((folded, task))
    assert desk.end_of(task) == "finished"


def test_a_persons_permission_is_not_asked_of_our_client(desk: Desk) -> None:
    name = f"theirs-{uuid.uuid4()}"
    task = desk.begin_holding()
    desk.opencode.prompt(task.session_id, f"RUN touch {name}", desk.directory)
    desk.open_gate()
    [permission] = desk.until_pending(task.session_id, 1)

    seen = desk.client.task(task.id)
    listed = desk.waiting()
    with pytest.raises(WireError):
        desk.method("a2a.interrupt.permission.reply", request_id=permission["id"], reply="once")
    assert desk.pending(task.session_id) == [permission]
    reply = f"/permission/{permission['id']}/reply"
    desk.opencode.http.post(reply, params=desk.here, json={"reply": "once"}).raise_for_status()
    ended = desk.until(task.id, over)
    desk.until_idle(task.session_id)

    assert seen.state in ("working", "completed")
    assert listed == []
    assert (desk.directory / name).exists()
    assert ended.state == "completed"
    assert len(ended.artifact_stream("tool_call")) == 1
    assert name not in repr(ended)


# --- a turn that ends early -------------------------------------------------------------------------------


def test_a_cancelled_tool_has_an_end(desk: Desk) -> None:
    task = desk.begin_holding()

    canceled = desk.cancel(task)

    desk.until_idle(task.session_id)
    later = desk.client.task(task.id)
    for one in (canceled, later):
        [call] = one.artifact_stream("tool_call")
        assert (one.state, call.data[-1]["status"]) == ("canceled", "error")
    assert desk.end_of(task) == "cancelled"
    deadline = Deadline.within(TURN_SECONDS)
    while desk.opencode.record(task.session_id).tools[0].status == "running":
        deadline.check("OpenCode to record that the command was stopped")


@pytest.mark.parametrize("prompt", ["RUN touch never", "ASK"])
def test_what_a_cancelled_turn_asked_is_asked_nowhere(desk: Desk, prompt: str) -> None:
    task = desk.until(desk.begin(prompt).id, asks)
    assert len(desk.waiting()) == len(desk.pending(task.session_id)) == 1

    canceled = desk.cancel(task)

    assert (canceled.state, desk.end_of(task), desk.waiting()) == ("canceled", "cancelled", [])
    [call] = canceled.artifact_stream("tool_call")
    assert call.data[-1]["status"] == "error"
    desk.until_pending(task.session_id, 0)


@pytest.mark.parametrize("prompt", ["RUN ./hold.sh", "RUN touch"])
def test_a_deleted_session_ends_its_task_and_the_context_goes_on(desk: Desk, prompt: str) -> None:
    """The first is deleted while its command runs, the second while it waits for a permission."""
    if prompt == "RUN touch":
        task = desk.until(desk.begin(f"RUN touch {uuid.uuid4()}").id, asks)
    else:
        task = desk.begin_holding()

    desk.delete(task.session_id)

    ended = desk.until(task.id, over)
    assert (ended.state, "deleted" in ended.reason, desk.end_of(task)) == ("failed", True, "failed")
    assert [call.data[-1]["status"] for call in ended.artifact_stream("tool_call")] == ["error"]
    assert desk.waiting() == []
    following = [desk.client.send("COUNT", task.context_id) for _ in range(2)]
    assert [text(one) for one in following] == ["You have said 1 things.", "You have said 2 things."]
    assert task.session_id not in {one.session_id for one in following}


# --- what is internal -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "state"), [("always", "failed"), ("once", "completed")])
def test_a_providers_internal_text_reaches_no_client(desk: Desk, kind: str, state: str) -> None:
    folded, seen = Folded(), []
    for event in desk.client.stream(f"BREAK {kind} {uuid.uuid4()}"):
        folded.take(event)
        seen.append(repr(event))
    task = desk.client.task(folded.task_id)
    raw = desk.client.call("tasks/get", "GetTask", "", {"id": task.id})
    messages = desk.method("opencode.sessions.messages.list", session_id=task.session_id)
    following = desk.client.send("hi", task.context_id)

    assert task.state == state
    assert ("reference" in task.reason) is (state == "failed")
    assert any("retry" in str(progress) for progress in folded.progress) is (state == "completed")
    for told in (*seen, json.dumps(raw), json.dumps(messages)):
        assert "/opt/provider" not in told
        assert "TypeError" not in told
    assert text(following) == model.HELLO
