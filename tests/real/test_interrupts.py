"""What the real OpenCode asks is answered over A2A: in plain words and by method, for it and its subagents."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import httpx
import pytest

from tests.real import model_server as model
from tests.real.adapter import Adapter
from tests.real.conftest import connected
from tests.real.deadline import Deadline
from tests.real.opencode import OpenCode
from tests.real.wire import CALL_SECONDS, Client, Json, Task

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

ASKING = {"permission": {"bash": "ask"}}


@attrs.frozen(kw_only=True)
class Person:
    """A client in a directory whose OpenCode asks before it runs a command."""

    client: Client
    directory: Path

    def say(self, text: str, **message: object) -> Task:
        """What comes of a message: the task at its end, or at its next question."""
        params = self.client.params(text, None)
        params["message"].update(message)
        if "taskId" not in message:
            params["metadata"] = {"opencode": {"directory": str(self.directory)}}
        return self.client.reading.sent(self.client.call("message/send", "SendMessage", "message:send", params))

    def method(self, name: str, **params: object) -> Json:
        """An extension method, which has one name on both versions."""
        return self.client.call(name, name, "", dict(params))

    def asked(self, prompt: str) -> Task:
        task = self.say(prompt)
        assert task.state == "input-required", task
        return task


VERSIONS = {"asyncio": "0.3", "trio": "1.0"}
"""Each runtime speaks one line: the stand-in's tests have all of both."""


@pytest.fixture
def person(request: pytest.FixtureRequest, adapter: Adapter, opencode: OpenCode) -> Iterator[Person]:
    directory = opencode.project / "asking"
    directory.mkdir(exist_ok=True)
    (directory / "opencode.json").write_text(json.dumps(ASKING))
    client = connected(adapter, VERSIONS[request.node.callspec.params["adapter"]], "jsonrpc")
    with client.http:
        yield Person(client=client, directory=directory)


def word() -> str:
    return f"said-{uuid.uuid4()}"


def output(task: Task) -> str:
    """What its commands printed."""
    return "".join(str(call.data[-1].get("output", "")) for call in task.artifact_stream("tool_call"))


def text(task: Task) -> str:
    return "".join(text for artifact in task.artifact_stream("text") for text in artifact.texts)


# --- permissions ------------------------------------------------------------------------------------------


def test_a_command_that_is_allowed_runs_where_it_was_asked_for(person: Person) -> None:
    task = person.asked("RUN pwd")
    assert "pwd" in task.reason

    ended = person.say("Yes, please.", taskId=task.id)

    assert (ended.id, ended.state, text(ended)) == (task.id, "completed", model.AFTER_TOOL)
    assert output(ended).strip() == str(person.directory)


def test_what_is_always_allowed_is_not_asked_again(person: Person) -> None:
    name = word()
    script = person.directory / f"{name}.sh"
    script.write_text("echo always\n")
    command = f"RUN ./{name}.sh"
    script.chmod(0o755)
    task = person.asked(command)

    first = person.say("always", taskId=task.id)
    second = person.say(command)

    assert [one.state for one in (first, second)] == ["completed"] * 2
    assert [text(one) for one in (first, second)] == [model.AFTER_TOOL] * 2


def test_a_command_that_is_rejected_does_not_run(person: Person) -> None:
    name = word()
    task = person.asked(f"RUN touch {name}")

    ended = person.say("no", taskId=task.id)

    assert ended.state == "completed"
    assert not (person.directory / name).exists()
    [call] = ended.artifact_stream("tool_call")
    assert call.data[-1]["status"] == "error"
    assert text(ended) == ""


def test_a_rejection_with_a_reason_lets_the_model_go_on(person: Person) -> None:
    name = word()
    task = person.asked(f"RUN touch {name}")

    ended = person.say("Use another name.", taskId=task.id)

    assert (ended.state, text(ended)) == ("completed", model.AFTER_TOOL)
    assert not (person.directory / name).exists()
    [call] = ended.artifact_stream("tool_call")
    assert "Use another name." in call.data[-1]["error"]


@pytest.mark.parametrize(("reply", "state"), [("once", "completed"), ("reject", "error")])
def test_a_permission_is_answered_by_method(person: Person, reply: str, state: str) -> None:
    task = person.asked(f"RUN echo {word()}")
    listed = person.method("opencode.permissions.list")
    [request] = [one for one in listed["items"] if one["task_id" if "task_id" in one else "taskId"] == task.id]
    request_id = task.shared["interrupt"]["request_id"] if "interrupt" in task.shared else request["request_id"]

    person.method("a2a.interrupt.permission.reply", request_id=request_id, reply=reply)

    ended = until_over(person, task.id)
    [call] = ended.artifact_stream("tool_call")
    assert call.data[-1]["status"] == state


def until_over(person: Person, task_id: str) -> Task:
    deadline = Deadline.within(CALL_SECONDS)
    while (task := person.client.task(task_id)).state not in ("completed", "failed", "canceled"):
        deadline.check("the end of a task")
    return task


# --- questions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "answer"), [("coffee", "Coffee"), ("1", "Tea"), ("Water, please", "Water, please")])
def test_a_question_is_answered_by_label_number_and_free_text(person: Person, said: str, answer: str) -> None:
    task = person.asked("ASK")
    assert model.QUESTION in task.reason
    assert "2. Coffee" in task.reason

    ended = person.say(said, taskId=task.id)

    assert (ended.state, text(ended)) == ("completed", model.AFTER_TOOL)
    assert f'"{answer}"' in output(ended)


def test_a_question_is_rejected_by_data(person: Person) -> None:
    task = person.asked("ASK")
    part: Json = {"data": {"reject": True}} | ({"kind": "data"} if person.client.version == "0.3" else {})

    ended = person.say("", taskId=task.id, parts=[part])

    assert ended.state == "completed"
    [call] = ended.artifact_stream("tool_call")
    assert call.data[-1]["status"] == "error"


# --- below, beside, and the end ---------------------------------------------------------------------------


def test_what_a_subagent_asks_shows_on_the_task_of_its_root(person: Person) -> None:
    name = word()
    task = person.asked(f"DELEGATE RUN touch {name}")
    assert name in task.reason
    assert not (person.directory / name).exists()

    ended = person.say("once", taskId=task.id)

    assert (ended.id, ended.state, text(ended)) == (task.id, "completed", model.AFTER_TOOL)
    assert (person.directory / name).exists()


def test_a_cancelled_command_stops_in_opencode(person: Person, opencode: OpenCode) -> None:
    task = person.asked(f"RUN touch {word()}")

    raw = person.client.call("tasks/cancel", "CancelTask", "", {"id": task.id})

    assert person.client.reading.task(raw).state == "canceled"
    deadline = Deadline.within(CALL_SECONDS)
    here = {"directory": str(person.directory)}
    while task.session_id in opencode.http.get("/session/status", params=here).raise_for_status().json():
        deadline.check("OpenCode to come to rest")
    again = person.say("hi", contextId=task.context_id)
    assert (again.state, text(again)) == ("completed", model.HELLO)


def test_two_clients_in_one_context_wait_for_each_other(person: Person, adapter: Adapter) -> None:
    context_id = word()
    other = connected(adapter, person.client.version, "rest")
    ready = threading.Barrier(2)

    def say(client: Client) -> Task:
        ready.wait(CALL_SECONDS)
        return client.send("COUNT", context_id)

    with other.http, ThreadPoolExecutor(2) as pool:
        ended = [one.result(CALL_SECONDS) for one in [pool.submit(say, one) for one in (person.client, other)]]

    assert sorted(text(task) for task in ended) == ["You have said 1 things.", "You have said 2 things."]


def test_of_two_who_answer_at_once_one_is_heard(person: Person) -> None:
    task = person.asked(f"RUN echo {word()}")

    def answer() -> bool:
        headers = dict(person.client.http.headers)
        params = person.client.params("once", None)
        params["message"]["taskId"] = task.id
        name = "message/send" if person.client.version == "0.3" else "SendMessage"
        body = person.client.envelope(name, params)
        url = str(person.client.http.base_url)
        answered = httpx.post(url, json=body, headers=headers, timeout=CALL_SECONDS, trust_env=False)
        return "result" in answered.raise_for_status().json()

    with ThreadPoolExecutor(2) as pool:
        heard = [one.result(CALL_SECONDS) for one in [pool.submit(answer) for _ in range(2)]]

    assert sorted(heard) == [False, True]
    ended = until_over(person, task.id)
    assert (ended.state, text(ended)) == ("completed", model.AFTER_TOOL)
