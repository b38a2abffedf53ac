"""The extension methods before a real OpenCode, on both versions and both runtimes: each does what its row says.

What would need the internet there is held to its typed error.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import jsonschema
import pytest

from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.types import result_schema
from tests.real import model_server as model
from tests.real.adapter import TOKEN, Adapter, running_adapter
from tests.real.conftest import connected
from tests.real.deadline import Deadline
from tests.real.opencode import OpenCode, running_opencode
from tests.real.wire import Client, Json

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

WAIT_SECONDS = 120
SESSION_BINDING = "urn:opencode-a2a:extension:session-binding:v1"
"""The extension by which version 1.0 tells which session a task had."""


@attrs.frozen(kw_only=True)
class Methods:
    """Calls methods, and holds every answer against what their rows declare."""

    client: Client

    def post(self, method: str, params: object) -> Json:
        body = {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}
        return self.client.answer(self.client.http.post("/", json=body))

    def result(self, method: str, params: object) -> Json:
        answer = self.post(method, params)
        assert "error" not in answer, (method, answer)
        result: Json = answer["result"]
        jsonschema.validate(result, result_schema(METHODS[method], self.client.version))
        return result

    def reason(self, method: str, params: object) -> str:
        """The type of the error, which must be one that the method declares."""
        error = self.post(method, params)["error"]
        reason = error["data"]["type"] if self.client.version == "0.3" else error["data"][0]["reason"]
        assert reason in {kind.name for kind in METHODS[method].all_errors}, (method, error)
        return str(reason)


@pytest.fixture(scope="module")
def opencode(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenCode]:
    """One with workspaces, which are an experiment of OpenCode's and off by default."""
    more = {"OPENCODE_EXPERIMENTAL_WORKSPACES": "true"}
    with (
        model.running_model() as model_url,
        running_opencode(binary, tmp_path_factory.mktemp("opencode"), model_url, more) as running,
    ):
        yield running


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def control(
    request: pytest.FixtureRequest, opencode: OpenCode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Adapter]:
    """A server with all switched on, and a project of its own: a git repository, where commands are asked for."""
    runtime = str(request.param)
    root = tmp_path_factory.mktemp(f"repository-{runtime}").resolve()
    wanted = json.loads((opencode.project / "opencode.json").read_text())
    wanted["permission"] = {"bash": "ask"}
    (root / "opencode.json").write_text(json.dumps(wanted))
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], cwd=root, check=True, timeout=30)
    capabilities = ["session_shell", "workspace_mutation"]
    credentials = [{"scheme": "bearer", "token": TOKEN, "principal": "automation", "capabilities": capabilities}]
    more = {
        "A2A_STATIC_AUTH_CREDENTIALS": json.dumps(credentials),
        "A2A_ENABLE_SESSION_SHELL": "true",
        "A2A_ENABLE_WORKSPACE_MUTATIONS": "true",
        "OPENCODE_WORKSPACE_ROOT": str(root),
    }
    with running_adapter(runtime, tmp_path_factory.mktemp(f"control-{runtime}"), opencode.url, more) as running:
        yield running


@pytest.fixture
def methods(control: Adapter, version: str) -> Iterator[Methods]:
    connection = connected(control, version, "jsonrpc")
    connection.http.headers["a2a-extensions"] = SESSION_BINDING
    with connection.http:
        yield Methods(client=connection)


def said(message: Json) -> str:
    return str(message["parts"][0]["text"])


def started(methods: Methods, text: str) -> None:
    """Send a message, and do not wait for what comes of it."""
    params: dict[str, Any] = methods.client.params(text, None)
    old = methods.client.version == "0.3"
    params["configuration"] = {"blocking": False} if old else {"returnImmediately": True}
    body = {"jsonrpc": "2.0", "id": "1", "method": "message/send" if old else "SendMessage", "params": params}
    methods.client.answer(methods.client.http.post("/", json=body))


def waiting(methods: Methods, kind: str) -> Json:
    """What waits for an answer, once it does."""
    deadline = Deadline.within(WAIT_SECONDS)
    while True:
        items = methods.result(f"opencode.{kind}.list", {})["items"]
        if items:
            found: Json = items[0]
            return found
        deadline.check(f"one of {kind}")


def idle(methods: Methods, session_id: str) -> None:
    """Return once a session is at rest."""
    deadline = Deadline.within(WAIT_SECONDS)
    while any(item["session_id"] == session_id for item in methods.result("opencode.sessions.status", {})["items"]):
        deadline.check("a session at rest")


def once_it_can(methods: Methods, method: str, params: object) -> Json:
    """The result of a method that OpenCode refuses while it is still busy with what came before."""
    deadline = Deadline.within(WAIT_SECONDS)
    while "error" in methods.post(method, params):
        deadline.check(method)
    return methods.result(method, params)


def test_sessions_are_read(methods: Methods) -> None:
    task = methods.client.send("TODO")
    methods.client.send("hi", task.context_id)
    session = {"session_id": task.session_id}

    listed = methods.result("opencode.sessions.list", {"limit": 5, "roots": True, "start": 0})["items"]
    item = methods.result("opencode.sessions.get", session)["item"]
    page = methods.result("opencode.sessions.messages.list", {**session, "limit": 2})
    before = methods.result("opencode.sessions.messages.list", {**session, "limit": 2, "before": page["next_cursor"]})
    answer = page["items"][-1]
    one = methods.result("opencode.sessions.messages.get", {**session, "message_id": answer["messageId"]})["item"]
    todos = methods.result("opencode.sessions.todo", session)["items"]

    assert task.session_id in [task["id"] for task in listed]
    assert item["id"] == task.session_id
    assert [said(message) for message in page["items"]] == ["hi", model.HELLO]
    assert before["items"]
    assert one == answer
    assert [todo["content"] for todo in todos] == [model.TODO]
    assert methods.result("opencode.sessions.children", session)["items"] == []
    methods.result("opencode.sessions.diff", session)
    methods.result("opencode.sessions.diff", {**session, "message_id": answer["messageId"]})
    methods.result("opencode.sessions.status", {})


def test_sessions_are_steered(methods: Methods) -> None:
    task = methods.client.send("hi")
    session = {"session_id": task.session_id}
    parts = [{"type": "text", "text": "THINK"}, {"type": "file", "mime": "text/plain", "url": "data:text/plain,x"}]
    scripted = {"providerID": "scripted", "modelID": "scripted"}

    done = methods.result("opencode.sessions.prompt_async", {**session, "request": {"parts": parts}})
    idle(methods, task.session_id)
    command = {"command": "init", "arguments": "hi", "model": scripted}
    item = methods.result("opencode.sessions.command", {**session, "request": command})["item"]
    shell = {"agent": "build", "command": "echo out of the shell"}
    written = methods.result("opencode.sessions.shell", {**session, "request": shell})["item"]

    assert done == {"ok": True, **session}
    page = methods.result("opencode.sessions.messages.list", {**session, "limit": 100})
    assert model.AFTER_THOUGHT in [said(message) for message in page["items"]]
    assert said(item)
    assert said(written) == "out of the shell\n"


def test_sessions_are_changed(methods: Methods) -> None:
    task = methods.client.send("hi")
    session = {"session_id": task.session_id}
    page = methods.result("opencode.sessions.messages.list", {**session, "limit": 2})
    message_id = page["items"][-1]["messageId"]

    forked = methods.result("opencode.sessions.fork", session)["item"]
    reverted = methods.result("opencode.sessions.revert", {**session, "request": {"messageID": message_id}})["item"]
    restored = methods.result("opencode.sessions.unrevert", session)["item"]
    summarized = methods.result("opencode.sessions.summarize", session)
    unshared = methods.result("opencode.sessions.unshare", session)["item"]

    assert forked["id"] != task.session_id
    assert reverted["revert"]["message_id"]
    assert "revert" not in restored
    assert summarized == {"ok": True, **session}
    assert unshared["id"] == task.session_id
    assert methods.client.send("hi", f"ctx:opencode-session:{forked['id']}").session_id == forked["id"]


def test_sharing_needs_the_internet(methods: Methods) -> None:
    task = methods.client.send("hi")

    assert methods.reason("opencode.sessions.share", {"session_id": task.session_id}) == "UPSTREAM_HTTP_ERROR"


def test_what_is_not_there_is_not_found(methods: Methods) -> None:
    task = methods.client.send("hi")
    missing = {"session_id": task.session_id, "message_id": "msg_nope"}

    for name in ("get", "children", "todo", "diff", "messages.list", "share", "unrevert", "fork"):
        for session_id in ("ses_nope", "nope"):
            assert methods.reason(f"opencode.sessions.{name}", {"session_id": session_id}) == "SESSION_NOT_FOUND"
    assert methods.reason("opencode.sessions.messages.get", missing) == "UPSTREAM_HTTP_ERROR"


def test_providers_and_models_are_listed(methods: Methods) -> None:
    providers = methods.result("opencode.providers.list", {})
    models = methods.result("opencode.models.list", {"provider_id": "scripted"})
    every = methods.result("opencode.models.list", {})

    [scripted] = [item for item in providers["items"] if item["provider_id"] == "scripted"]
    assert (scripted["connected"], scripted["model_count"]) == (True, 1)
    [only] = models["items"]
    assert (only["model_id"], only["connected"], only["supports_tool_call"]) == ("scripted", True, True)
    assert len(every["items"]) == sum(item["model_count"] for item in providers["items"])


def test_projects_workspaces_and_worktrees_are_listed_made_and_removed(methods: Methods) -> None:
    name = f"tree-{methods.client.version.replace('.', '-')}"

    methods.result("opencode.projects.list", {})
    project = methods.result("opencode.projects.current", {})["item"]
    made = methods.result("opencode.worktrees.create", {"request": {"name": name}})["item"]
    directory = {"request": {"directory": made["directory"]}}
    listed = methods.result("opencode.worktrees.list", {})["items"]
    reset = once_it_can(methods, "opencode.worktrees.reset", directory)  # it is filled in the background
    removed = methods.result("opencode.worktrees.remove", directory)
    workspace = methods.result("opencode.workspaces.create", {"request": {"type": "worktree"}})["item"]
    workspaces = methods.result("opencode.workspaces.list", {})["items"]
    inside = {"metadata": {"opencode": {"workspace": {"id": workspace["id"]}}}}
    same = methods.result("opencode.projects.current", inside)["item"]
    gone = methods.result("opencode.workspaces.remove", {"workspace_id": workspace["id"]})["item"]

    assert project["vcs"] == "git"
    assert made["directory"] in listed
    assert reset == removed == {"ok": True}
    assert workspace["id"] in [item["id"] for item in workspaces]
    assert same["id"] == project["id"]
    assert gone["id"] == workspace["id"]
    assert methods.result("opencode.workspaces.remove", {"workspace_id": "wrk_nope"})["item"] is None
    nothing = {"request": {"directory": "/nowhere"}}
    assert methods.reason("opencode.worktrees.reset", nothing) == "UPSTREAM_HTTP_ERROR"


def test_permissions_and_questions_are_found_and_answered(methods: Methods) -> None:
    started(methods, "TOOL")
    permission = waiting(methods, "permissions")
    reply = {"request_id": permission["request_id"], "reply": "once"}
    assert methods.result("a2a.interrupt.permission.reply", reply)["ok"] is True

    started(methods, "QUESTION")
    question = waiting(methods, "questions")
    answers = {"request_id": question["request_id"], "answers": [[model.OPTIONS[0]]]}
    assert methods.result("a2a.interrupt.question.reply", answers)["ok"] is True

    started(methods, "QUESTION")
    rejected = {"request_id": waiting(methods, "questions")["request_id"]}
    assert methods.result("a2a.interrupt.question.reject", rejected)["ok"] is True
    assert methods.reason("a2a.interrupt.question.reject", rejected) == "INTERRUPT_REQUEST_NOT_FOUND"

    task = methods.client.task(permission["task_id"])
    deadline = Deadline.within(WAIT_SECONDS)
    while task.state not in ("completed", "failed"):
        deadline.check("the end of the task")
        task = methods.client.task(permission["task_id"])
    assert task.state == "completed"
