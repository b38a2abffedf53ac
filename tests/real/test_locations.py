"""Where the real OpenCode works: a directory that a message chooses, and a session that it names."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.real import model_server as model
from tests.real.adapter import Adapter
from tests.real.conftest import connected
from tests.real.deadline import Deadline
from tests.real.opencode import TURN_SECONDS, OpenCode, of_session
from tests.real.wire import Client, Json, Task

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


@pytest.fixture
def client(adapter: Adapter) -> Iterator[Client]:
    client = connected(adapter, "1.0", "jsonrpc")
    with client.http:
        yield client


@pytest.fixture
def directory(opencode: OpenCode) -> Path:
    """A directory below OpenCode's own."""
    found = opencode.project / f"below-{uuid.uuid4()}"
    found.mkdir()
    return found


def body(client: Client, text: str, metadata: Json, **message: object) -> Json:
    params = client.params(text, None)
    params["message"].update(message)
    return client.envelope("SendMessage", params | {"metadata": metadata})


def say(client: Client, text: str, metadata: Json | None = None, **message: object) -> Task:
    request = body(client, text, metadata or {}, **message)
    answer = client.answer(client.http.post("/", json=request))
    return client.reading.sent(client.result(answer, request["id"]))


def refused(client: Client, metadata: Json, **message: object) -> str:
    answer = client.http.post("/", json=body(client, "hi", metadata, **message)).raise_for_status().json()
    return str(answer["error"])


def at(directory: Path) -> Json:
    return {"opencode": {"directory": str(directory)}}


def printed(task: Task) -> str:
    assert task.state == "completed", task
    [call] = task.artifact_stream("tool_call")
    return str(call.data[-1]["output"]).strip()


def test_commands_run_in_the_directory_of_the_message_and_its_context_stays(
    client: Client, opencode: OpenCode, directory: Path
) -> None:
    first = say(client, "RUN pwd", at(directory))
    later = say(client, "RUN pwd", contextId=first.context_id)
    elsewhere = say(client, "RUN pwd")

    assert [printed(one) for one in (first, later)] == [str(directory)] * 2
    assert printed(elsewhere) == str(opencode.project)
    session = opencode.http.get(f"/session/{first.session_id}", params={"directory": str(directory)}).json()
    assert session["directory"] == str(directory)
    moved = refused(client, at(opencode.project), contextId=first.context_id)
    assert "metadata.opencode.directory" in moved


def test_a_directory_outside_is_refused_and_no_path_is_told(client: Client, opencode: OpenCode) -> None:
    for outside in (opencode.project.parent, Path("/"), opencode.project / ".."):
        error = refused(client, at(outside))
        assert "metadata.opencode.directory" in error
        assert str(opencode.project) not in error


def test_a_session_is_gone_on_with_by_its_id(client: Client, opencode: OpenCode, directory: Path) -> None:
    here = {"directory": str(directory)}
    session_id = opencode.http.post("/session", json={}, params=here).raise_for_status().json()["id"]
    named: Json = {"shared": {"session": {"id": session_id}}}

    first = say(client, "COUNT", named)
    second = say(client, "RUN pwd", named)

    assert first.session_id == second.session_id == session_id
    assert first.artifact_stream("text")[0].texts == ("You have said 1 things.",)
    assert printed(second) == str(directory)
    assert second.artifact_stream("text")[0].texts == (model.AFTER_TOOL,)


def test_a_session_outside_is_not_gone_on_with(client: Client, opencode: OpenCode) -> None:
    outside = opencode.project.parent / f"outside-{uuid.uuid4()}"
    outside.mkdir()
    made = opencode.http.post("/session", json={}, params={"directory": str(outside)}).raise_for_status().json()

    task = say(client, "hi", {"shared": {"session": {"id": made["id"]}}})

    assert task.state == "failed"
    assert "outside the workspace" in task.reason
    assert str(outside) not in task.reason


@pytest.mark.parametrize("name", ["100%", "a+b", "ü 🌱", "q?x#y&z", "link"])
def test_a_directory_is_the_one_of_that_name_however_it_is_written(
    client: Client, opencode: OpenCode, name: str
) -> None:
    (opencode.project / "led-to").mkdir(exist_ok=True)
    directory = opencode.project / name
    if name == "link":
        directory.unlink(missing_ok=True)
        directory.symlink_to(opencode.project / "led-to")
    else:
        directory.mkdir(exist_ok=True)

    first = say(client, "RUN pwd", at(directory))
    second = say(client, "RUN pwd", contextId=first.context_id)

    assert [printed(one) for one in (first, second)] == [str(directory.resolve())] * 2


# None of these is the decoded name of a directory that another test works in: OpenCode sets that one up when it is
# asked for, and where it did not exist then, later turns in it end without an answer.
@pytest.mark.parametrize("name", ["%2e%2e%2fsecret-sibling", "99%25", "a%20b", "%252e"])
def test_opencode_works_elsewhere_than_in_a_directory_of_such_a_name_so_it_is_refused(
    client: Client, opencode: OpenCode, name: str
) -> None:
    """The first half shows that it is still so: if it fails, the pinned OpenCode is better, and so can we be."""
    directory = opencode.project / name
    directory.mkdir(exist_ok=True)
    (opencode.project.parent / "secret-sibling").mkdir(exist_ok=True)
    params = {"directory": quote(str(directory), safe="")}
    made = opencode.http.post("/session", json={}, params=params).raise_for_status().json()
    assert made["directory"] == str(directory)
    with opencode.listening_to_all(Deadline.within(TURN_SECONDS)) as events:
        opencode.prompt(made["id"], "RUN pwd")
        cwd = next(
            event["properties"]["info"]["path"]["cwd"]
            for event in of_session(events, made["id"])
            if event["type"] == "message.updated" and event["properties"]["info"]["role"] == "assistant"
        )
    assert cwd != str(directory)

    error = refused(client, at(directory))
    task = say(client, "RUN pwd", {"shared": {"session": {"id": made["id"]}}})

    assert "metadata.opencode.directory" in error
    assert (task.state, "outside the workspace" in task.reason) == ("failed", True)


def test_a_link_that_leads_out_is_refused(client: Client, opencode: OpenCode) -> None:
    link = opencode.project / f"link-{uuid.uuid4()}"
    link.symlink_to(opencode.project.parent)

    assert "metadata.opencode.directory" in refused(client, at(link))
