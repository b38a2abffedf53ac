"""Programs made of A2A clients by other people, as their users see them: an answer, a permission, a question."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO
from tests.interop.agent import NAMES_NO_TASK, READY_MADE, Agent, Way
from tests.interop.driver import ANSWER_SECONDS, Driver, Json
from tests.interop.server import OVER_HTTP, SERVERS, running_server
from tests.real.adapter import Adapter

pytestmark = [pytest.mark.interop, pytest.mark.operation("dialogue")]


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapter]:
    """A server of HTTP alone: google-adk takes no card from the network with an address that is no `https` URL."""
    runtime = str(request.param)
    if runtime == "replicas":
        yield request.getfixturevalue("replicas").adapter
        return
    with running_server(runtime, tmp_path_factory.mktemp(f"plain-{runtime}"), OVER_HTTP) as running:
        yield running.adapter


@pytest.fixture(params=READY_MADE, ids=str)
def client(request: pytest.FixtureRequest, server: Adapter, driver_of: Callable[[str], Driver]) -> Agent:
    """The server as one of these programs sees it."""
    way = request.param
    assert isinstance(way, Way)
    return Agent(way=way, driver=driver_of(way.client), server=server)


def talk(client: Agent, *texts: str) -> list[Json]:
    """What comes of each text. Each turn has to end by itself: a client that hangs is an error of its driver."""
    return client.begin("talk", texts=list(texts)).all()


def cancel(client: Agent, task: str) -> None:
    """End a task that its client cannot answer."""
    body = {"jsonrpc": "2.0", "id": str(uuid.uuid4()), "method": "tasks/cancel", "params": {"id": task}}
    headers = {"Authorization": f"Bearer {client.server.token}"}
    httpx.post(client.server.url, json=body, headers=headers, trust_env=False).raise_for_status()


def test_a_plain_answer_is_there_whole(client: Agent) -> None:
    [turn] = talk(client, "hello")

    assert HELLO in turn["text"]
    assert turn["asks"] is None


def test_an_answer_in_steps_is_there_whole(client: Agent) -> None:
    [turn] = talk(client, "STEPS")

    assert AFTER_TOOL in turn["text"]


@pytest.mark.parametrize(
    ("prompt", "question", "answer"),
    [("PERMISSION", "Answer once, always or reject.", "once"), ("QUESTION", "Which one?", "2")],
)
def test_what_is_asked_comes_to_the_user_and_the_answer_goes_on(
    client: Agent, prompt: str, question: str, answer: str
) -> None:
    began = time.monotonic()
    if client.way in NAMES_NO_TASK:
        [asked] = talk(client, prompt)
        cancel(client, asked["task"])
    else:
        asked, ended = talk(client, prompt, answer)
        assert ended["task"] == asked["task"]
        assert ended["asks"] is None
        assert AFTER_TOOL in ended["text"]

    assert question in asked["asks"]
    assert time.monotonic() - began < ANSWER_SECONDS
