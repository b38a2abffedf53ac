"""What the other tests here build on: each script makes the real OpenCode do what it is for."""

from __future__ import annotations

import uuid

import pytest

from tests.real import model_server as model
from tests.real.deadline import Deadline
from tests.real.opencode import TURN_SECONDS, OpenCode, Record, until_idle

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


def turn(opencode: OpenCode, text: str) -> Record:
    session = opencode.create_session()
    with opencode.listening(Deadline.within(TURN_SECONDS)) as events:
        opencode.prompt(session, text)
        for _ in until_idle(events, session):
            pass
    return opencode.record(session)


@pytest.mark.parametrize(
    ("keyword", "texts", "reasoning"),
    [
        ("hi", [model.HELLO], []),
        ("THINK", [model.AFTER_THOUGHT], [model.THOUGHT]),
        ("SPACE", [model.SPACED], []),
        ("COUNT", ["You have said 1 things."], []),
    ],
)
def test_text_is_recorded_to_the_letter(
    opencode: OpenCode, keyword: str, texts: list[str], reasoning: list[str]
) -> None:
    record = turn(opencode, keyword)

    assert list(record.texts) == texts
    assert list(record.reasoning) == reasoning
    assert (record.input_tokens, record.output_tokens) == (model.PROMPT_TOKENS, model.COMPLETION_TOKENS)


@pytest.mark.parametrize(
    ("prompt", "texts", "tool", "status"),
    [
        ("TOOL", [model.AFTER_TOOL], "bash", "completed"),
        ("BADTOOL", [model.AFTER_TOOL], "read", "error"),
        ("WRITE from-opencode.txt", [model.AFTER_TOOL], "write", "completed"),
        ("STEPS", [model.BEFORE_TOOL, model.AFTER_TOOL], "bash", "completed"),
    ],
)
def test_tools_run(opencode: OpenCode, prompt: str, texts: list[str], tool: str, status: str) -> None:
    record = turn(opencode, prompt)

    assert list(record.texts) == texts
    assert [(each.name, each.status) for each in record.tools] == [(tool, status)]
    assert (record.tools[0].error is None) == (status == "completed")


def test_a_refused_key_is_not_tried_again(opencode: OpenCode) -> None:
    record = turn(opencode, "FAIL401")

    assert record.error == "APIError"
    assert record.texts == ()


def test_a_rate_limit_is_tried_again(opencode: OpenCode) -> None:
    session = opencode.create_session()
    with opencode.listening(Deadline.within(TURN_SECONDS)) as events:
        opencode.prompt(session, f"RETRY {uuid.uuid4()}")
        statuses = [
            event["properties"]["status"]
            for event in until_idle(events, session)
            if event["type"] == "session.status"
        ]

    assert {"type": "retry", "attempt": 1, "message": model.RATE_LIMIT}.items() <= next(
        status for status in statuses if status["type"] == "retry"
    ).items()
    assert opencode.record(session).texts == (model.HELLO,)


def test_an_aborted_turn_keeps_what_it_said(opencode: OpenCode) -> None:
    session = opencode.create_session()
    with opencode.listening(Deadline.within(TURN_SECONDS)) as events:
        opencode.prompt(session, "SLOW")
        mine = until_idle(events, session)
        next(event for event in mine if event["properties"].get("delta") == "tick2 ")
        opencode.abort(session)
        for _ in mine:
            pass

    record = opencode.record(session)
    assert record.error == "MessageAbortedError"
    assert record.texts[0].startswith("tick0 tick1 tick2 ")
