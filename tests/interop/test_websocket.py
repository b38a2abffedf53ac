"""The WebSocket binding with clients that know nothing of A2A: PyPI's websockets, Node, and a page in Chromium."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO
from tests.interop.agent import SOCKETS, Agent, Way, states, texts_of
from tests.interop.driver import BROWSER, ClientError, Driver
from tests.real.adapter import Adapter

pytestmark = pytest.mark.interop

PICTURES = os.environ.get("INTEROP_PICTURES")
"""A folder for pictures of the page; None: none are taken."""


@pytest.fixture(params=SOCKETS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    way = request.param
    assert isinstance(way, Way)
    return way


@pytest.fixture
def agent(way: Way, server: Adapter, driver_of: Callable[[str], Driver]) -> Agent:
    """The server, by one connection of the client's for all tests."""
    return Agent(way=way, driver=driver_of(way.client), server=server)


@pytest.mark.operation("card")
def test_the_card_leads_to_a_connection(agent: Agent) -> None:
    opened = agent.begin("card").one()

    assert opened == {"interface": agent.server.url.replace("http", "ws", 1) + "/websocket", "subprotocol": "a2a.v1"}


@pytest.mark.operation("send")
def test_a_task_is_sent_read_and_listed(agent: Agent) -> None:
    task = agent.send("hi")

    assert (task["state"], HELLO in texts_of(task).values()) == ("completed", True)
    assert agent.get(task["task"]) == task
    assert task["task"] in [one["task"] for one in agent.begin("list").all()]


@pytest.mark.operation("get")
def test_an_error_comes_with_its_code(agent: Agent) -> None:
    with pytest.raises(ClientError) as raised:
        agent.get("nothing")

    assert raised.value.code == -32001


@pytest.mark.operation("list")
def test_a_stranger_gets_no_connection(agent: Agent) -> None:
    with pytest.raises(ClientError) as raised:
        agent.begin("list", token="not-the-token").all()

    assert raised.value.status == 401


@pytest.mark.operation("stream")
def test_a_stream_arrives_to_the_letter(agent: Agent) -> None:
    said = 'ü 🌱 "quoted" \\ <b> next\u0085line\u2028and ' + "x" * 70_000

    items = agent.stream(f"ECHO {said}")

    assert (items[0]["kind"], states(items)[-1]) == ("task", "completed")
    assert said in agent.texts(items).values()


@pytest.mark.operation("cancel")
def test_a_task_is_canceled(agent: Agent) -> None:
    assert agent.begin("cancel", text="LONG 200").one()["state"] == "canceled"


@pytest.mark.operation("subscribe")
def test_a_stream_is_left_and_resumed(agent: Agent) -> None:
    items = agent.begin("subscribe", text="LONG 200").all()

    numbers = [item["event"] for item in items]
    assert (numbers, states(items)[-1]) == (sorted(numbers), "completed")
    assert agent.texts(items) == texts_of(agent.get(items[0]["task"]))


@pytest.mark.operation("dialogue")
def test_a_permission_is_answered_on_the_connection_of_the_stream(agent: Agent) -> None:
    takes_pictures = bool(PICTURES) and agent.way.client == BROWSER

    came = agent.begin("dialogue", text="PERMISSION", picture=takes_pictures).all()

    items = [item for item in came if item["kind"] != "picture"]
    assert [state for state in states(items) if state != "working"][-2:] == ["input-required", "completed"]
    assert AFTER_TOOL in agent.texts(items).values()
    for number, item in enumerate(one for one in came if one["kind"] == "picture"):
        Path(PICTURES or "", f"websocket{number or ''}.png").write_bytes(base64.b64decode(item["png"]))


@pytest.mark.parametrize("way", SOCKETS[1:], ids=str)
def test_a_ticket_is_taken_once(agent: Agent) -> None:
    with pytest.raises(ClientError) as raised:
        agent.begin("again").all()

    assert raised.value.status == 401
