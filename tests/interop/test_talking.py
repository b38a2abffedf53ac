"""Reading the card, sending, streaming and reading back, with every official client over every way it has."""

from __future__ import annotations

import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO
from tests.interop.agent import Agent, Way, means, states, texts_of
from tests.interop.driver import ClientError

pytestmark = pytest.mark.interop

BINDING_NAMES = {"jsonrpc": "JSONRPC", "rest": "HTTP+JSON", "grpc": "GRPC"}


@pytest.mark.operation("card")
def test_the_card_tells_a_client_where_and_how_to_call(agent: Agent) -> None:
    card = agent.card()

    version = "" if agent.way.client.endswith("0.3") else f" {agent.way.version}"
    address = agent.server.url
    if agent.way.binding == "grpc":
        address = address.removeprefix("http://")
    assert f"{BINDING_NAMES[agent.way.binding]} {address}{version}" in card["interfaces"]
    assert card["streaming"] is True
    assert card["security"] == ["bearerAuth"]
    assert card["schemes"] == {"bearerAuth": "bearer"}
    assert "opencode.chat" in card["skills"]


@pytest.mark.operation("send")
def test_a_send_waits_for_the_answer(agent: Agent) -> None:
    task = agent.send("TOOL please")

    assert task["state"] == "completed"
    assert AFTER_TOOL in texts_of(task).values()
    assert task["history"][0] == {"kind": "message", "role": "user", "text": "TOOL please"}
    assert task["text"] == (AFTER_TOOL if agent.way.version == "0.3" else None)


@pytest.mark.operation("send")
def test_a_send_that_shall_not_wait_answers_with_unfinished_work(agent: Agent) -> None:
    task = agent.send("LONG 200", blocking=False)

    assert task["state"] in ("submitted", "working")


@pytest.mark.operation("stream")
def test_a_stream_begins_with_the_task_and_ends_with_its_end(agent: Agent) -> None:
    items = agent.stream("TOOL please")

    first, *others = items
    assert first["kind"] == "task"
    assert {item["kind"] for item in others} == {"status", "artifact"}
    assert {item["task"] for item in items} == {first["task"]}
    assert states(items)[-2:] == ["working", "completed"]
    assert items[-1]["kind"] == "status"


@pytest.mark.operation("stream")
def test_what_a_stream_told_is_what_the_task_holds(agent: Agent) -> None:
    items = agent.stream("STEPS please")

    task = agent.get(items[0]["task"])
    assert task["state"] == "completed"
    assert agent.texts(items) == texts_of(task)
    assert any(text.endswith(AFTER_TOOL) for text in agent.texts(items).values())


@pytest.mark.operation("stream")
def test_text_arrives_to_the_letter(agent: Agent) -> None:
    said = 'ü 🌱 "quoted" \\ and <b> & {"json": [1]}'

    items = agent.stream(f"ECHO {said}")

    assert said in agent.texts(items).values()


@pytest.mark.operation("stream")
def test_separators_that_some_clients_take_for_line_ends_do_not_break_a_stream(agent: Agent) -> None:
    said = "next\u0085line\u2028and\u2029paragraph"

    items = agent.stream(f"ECHO {said}")

    assert said in agent.texts(items).values()


@pytest.mark.operation("get")
def test_a_task_reads_as_it_was_answered(agent: Agent) -> None:
    answered = agent.send("THINK please")

    assert agent.get(answered["task"]) == answered


@pytest.mark.operation("get")
def test_a_task_can_be_read_without_its_history(agent: Agent) -> None:
    answered = agent.send("hi")

    task = agent.get(answered["task"], history_length=0)

    # Over gRPC no number at all and 0 are the same on version 0.3.
    left_out = (agent.way.version, agent.way.binding) != ("0.3", "grpc")
    assert task == (answered | {"history": []} if left_out else answered)
    assert HELLO in texts_of(task).values()


@pytest.mark.operation("send")
def test_a_context_goes_on(agent: Agent) -> None:
    first = agent.send("COUNT")

    second = agent.send("COUNT", context=first["context"])

    assert second["context"] == first["context"]
    assert second["task"] != first["task"]
    assert "You have said 2 things." in texts_of(second).values()


@pytest.mark.operation("send")
def test_a_question_hands_the_task_back(agent: Agent) -> None:
    task = agent.send("QUESTION")

    assert task["state"] == "input-required"
    agent.cancel(task["task"])  # else the server, when it is stopped, waits for an answer to the question


@pytest.mark.operation("stream")
def test_a_provider_that_refuses_ends_the_task(agent: Agent) -> None:
    items = agent.stream("FAIL401")

    assert states(items)[-1] in ("failed", "auth-required")
    assert agent.get(items[0]["task"])["state"] == states(items)[-1]


@pytest.mark.parametrize("operation", ["get", "send", "stream"])
def test_a_stranger_is_refused(agent: Agent, operation: str) -> None:
    with pytest.raises(ClientError) as raised:
        agent.begin(operation, task=None if operation != "get" else "t", text="hi", token="not-the-token").all()

    error = raised.value
    assert error.status == 401 or "401" in error.text or "Unauthorized" in error.text or loses_statuses(agent.way)


def loses_statuses(way: Way) -> bool:
    """This client, where a stream is refused, takes the body of any answer for JSON-RPC and drops the status."""
    return way == Way("javascript-1", "0.3", "jsonrpc")


@pytest.mark.operation("stream")
def test_a_client_that_takes_text_alone_is_told_of_tool_calls_in_text(agent: Agent) -> None:
    whole = agent.stream("TOOL please")
    text_alone = agent.stream("TOOL please", modes=["text/plain"])

    assert not all(agent.texts(whole).values())
    assert all(agent.texts(text_alone).values())
    assert agent.texts(text_alone) == texts_of(agent.get(text_alone[0]["task"]))


@pytest.mark.operation("send")
def test_a_client_that_takes_no_text_is_refused(agent: Agent) -> None:
    with pytest.raises(ClientError) as raised:
        agent.send("hi", modes=["image/png"])

    assert means(raised.value, agent.way, name="UnsupportedOperation", code=-32004, status=400), raised.value
