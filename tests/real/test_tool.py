"""The model of a real OpenCode calls other agents: the answer reaches it, it answers questions, and nothing is left.

Two servers, each before an OpenCode of its own, so that they can call each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

from tests.real import model_server as model
from tests.real.adapter import TOKEN, running_adapter
from tests.real.conftest import connected
from tests.real.deadline import Deadline
from tests.real.model_server import running_model
from tests.real.opencode import OpenCode, running_opencode
from tests.real.wire import Client, Json, StatusUpdate
from tests.shell.ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

SOON = 90.0
CALLING = {"A2A_CLIENT_ALLOWED_HOSTS": "127.0.0.1", "A2A_CLIENT_BEARER_TOKEN": TOKEN}


@attrs.frozen(kw_only=True)
class Node:
    """A server before an OpenCode of its own."""

    url: str
    client: Client
    opencode: OpenCode

    def ask(self, text: str) -> str:
        """What the agent answers."""
        task = self.client.send(text)
        assert task.state == "completed", task
        return "".join(text for artifact in task.artifact_stream("text") for text in artifact.texts)

    def tasks(self) -> list[Json]:
        """Its tasks, newest first."""
        found: list[Json] = self.client.call("tasks/list", "ListTasks", "tasks", {})["tasks"]
        return found


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    with running_model() as url:
        yield url


@pytest.fixture(scope="module")
def opencodes(binary: Path, model_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OpenCode]]:
    with ExitStack() as stack:
        folders = [tmp_path_factory.mktemp(f"opencode-{name}") for name in "ab"]
        yield [stack.enter_context(running_opencode(binary, folder, model_url)) for folder in folders]


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def nodes(
    request: pytest.FixtureRequest, opencodes: list[OpenCode], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Node]]:
    with ExitStack() as stack:
        found = []
        for opencode in opencodes:
            folder = tmp_path_factory.mktemp("server")
            adapter = stack.enter_context(running_adapter(request.param, folder, opencode.url, CALLING))
            client = connected(adapter, "1.0", "jsonrpc")
            stack.enter_context(client.http)
            found.append(Node(url=adapter.url, client=client, opencode=opencode))
        yield found


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = Deadline.within(SOON)
    while not condition():
        deadline.check(what)
        time.sleep(0.05)


def test_the_answer_of_an_agent_reaches_the_model(nodes: list[Node]) -> None:
    agent, peer = nodes

    answer = agent.ask(f"PEER {peer.url} hi")

    assert answer.startswith(f"agent: {peer.url}\nstate: completed\ncontext_id: ")
    assert answer.endswith(f"The agent's own words:\n{model.HELLO}")


def test_the_model_answers_what_an_agent_asks(nodes: list[Node]) -> None:
    agent, peer = nodes

    answer = agent.ask(f"PEERASK {peer.url} QUESTION")

    assert "state: completed" in answer
    assert answer.endswith(model.AFTER_TOOL)
    assert peer.tasks()[0]["status"]["state"] == "TASK_STATE_COMPLETED"


def test_a_failed_call_reaches_the_model_with_its_code(nodes: list[Node]) -> None:
    agent, _ = nodes

    assert agent.ask("PEER http://169.254.169.254/ hi").startswith("a2a_target_refused: ")
    assert agent.ask("PEER http://127.0.0.1:1/ hi").startswith("a2a_unavailable: ")


def test_progress_shows_and_cancelling_the_task_cancels_the_agents(nodes: list[Node]) -> None:
    agent, peer = nodes
    before = len(peer.tasks())

    progress: list[Json] = []
    events = agent.client.stream(f"PEER {peer.url} SLOW")
    task_id = ""
    for event in events:
        task_id = task_id or (event.task_id if isinstance(event, StatusUpdate) else "")
        shown = event.shared.get("progress") if isinstance(event, StatusUpdate) else None
        if shown and shown["type"] == "tool":
            progress.append(shown)
            if len(progress) == 2:
                agent.client.call("tasks/cancel", "CancelTask", "", {"id": task_id})
        last = event

    assert isinstance(last, StatusUpdate)
    assert last.state == "canceled"
    assert progress[0]["tool"] == "a2a_call"
    assert progress[0]["message"]
    until(lambda: len(peer.tasks()) > before, "the agent's task")
    until(lambda: peer.tasks()[0]["status"]["state"] == "TASK_STATE_CANCELED", "the agent's task to be cancelled")
    working = peer.opencode.http.get("/session/status", params={"directory": str(peer.opencode.project)}).json()
    assert working == {}


def test_two_servers_that_call_each_other_come_to_an_end(nodes: list[Node]) -> None:
    agent, peer = nodes
    text = "".join(f"PEER {url} " for _ in range(4) for url in (peer.url, agent.url)) + "hi"

    answer = agent.ask(text)

    assert "a2a_too_many_hops: " in answer
    assert model.HELLO not in answer


def test_the_tool_is_given_again_once_the_instance_was_disposed(nodes: list[Node]) -> None:
    agent, peer = nodes
    directory = {"directory": str(agent.opencode.project)}
    agent.opencode.http.post("/instance/dispose", params=directory).raise_for_status()

    def given() -> bool:
        return model.HELLO in agent.ask(f"PEER {peer.url} hi")

    until(given, "the tool")
    assert agent.opencode.http.get("/mcp", params=directory).json() == {"a2a": {"status": "connected"}}


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_the_tool_is_given_again_once_opencode_was_restarted_and_taken_back_at_the_end(
    binary: Path, tmp_path: Path, model_url: str, opencodes: list[OpenCode], runtime: str
) -> None:
    port = free_port()
    folder, server, other = (tmp_path / name for name in ("opencode", "server", "other"))
    for each in (folder, server, other):
        each.mkdir()
    tool_off = {"A2A_TOOL_ENABLED": "false"}
    with running_adapter(runtime, other, opencodes[1].url, tool_off) as peer, ExitStack() as stack:
        adapter = stack.enter_context(running_adapter(runtime, server, f"http://127.0.0.1:{port}", CALLING))
        client = connected(adapter, "1.0", "jsonrpc")
        stack.enter_context(client.http)
        for last in (False, True):
            with running_opencode(binary, folder, model_url, port=port) as opencode:
                task = client.send(f"PEER {peer.url} hi")
                assert task.state == "completed", task
                assert "".join(task.artifact_stream("text")[0].texts).endswith(model.HELLO)
                if last:
                    stack.close()
                    servers = opencode.http.get("/mcp", params={"directory": str(opencode.project)})
                    assert servers.json() == {"a2a": {"status": "disabled"}}
