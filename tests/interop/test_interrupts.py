"""What OpenCode asks is answered by the official clients with nothing but plain messages to the task."""

from __future__ import annotations

import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL
from tests.interop.agent import Agent, states, texts_of

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
def test_a_question_ends_its_stream_and_the_answers_own_goes_on(agent: Agent) -> None:
    items = agent.stream("QUESTION")
    assert states(items)[-1] == "input-required"
    assert "Which one?" in (items[-1]["text"] or "")

    after = agent.stream("2", task=items[0]["task"], context=items[0]["context"])

    assert states(after)[-1] == "completed"
    assert "Answered: B." in [item.get("text") for item in after]
    assert AFTER_TOOL in agent.texts(after).values()
