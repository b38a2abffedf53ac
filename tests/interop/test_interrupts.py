"""What OpenCode asks is answered by the official clients with nothing but plain messages to the task."""

from __future__ import annotations

import pytest

from opencode_a2a.standin import AFTER_TOOL

from .agent import Agent, states, texts_of

pytestmark = pytest.mark.interop


@pytest.mark.operation("send")
def test_a_permission_is_given_by_a_message(agent: Agent) -> None:
    waiting = agent.send("PERMISSION")
    assert waiting["state"] == "input-required"
    assert "Answer once, always or reject." in waiting["text"]

    task = agent.send("yes, please", task=waiting["task"], context=waiting["context"])

    assert (task["task"], task["state"]) == (waiting["task"], "completed")
    assert AFTER_TOOL in texts_of(task).values()
    assert [message["text"] for message in task["history"]][:2] == ["PERMISSION", "yes, please"]


@pytest.mark.operation("stream")
def test_a_question_is_answered_while_its_stream_goes_on(agent: Agent) -> None:
    conversation = agent.begin("stream", text="QUESTION")
    items = []
    for item in conversation:
        items.append(item)
        if item.get("state") == "input-required" and "Which one?" in (item.get("text") or ""):
            break

    beside = agent.stream("2", task=items[0]["task"], context=items[0]["context"])
    items += conversation.all()

    assert states(items)[-1] == states(beside)[-1] == "completed"
    assert "Answered: B." in [item.get("text") for item in items]
    assert AFTER_TOOL in agent.texts(items).values()
