"""Turns in which something goes wrong: a refused key, a rate limit, an abort from elsewhere."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.real import model_server as model
from tests.real.deadline import Deadline
from tests.real.opencode import API_KEY, TURN_SECONDS, OpenCode
from tests.real.turn import Caller, check_record, check_stream
from tests.real.wire import CALL_SECONDS, Client, Folded, Task

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

TICKS_BEFORE_ABORT = "tick0 tick1 tick2 "


def test_a_refused_key_is_asked_for_and_told_why(caller: Caller, opencode: OpenCode) -> None:
    turn = caller.take_turn(opencode, "FAIL401")

    assert turn.task.state == "auth-required"
    assert model.REFUSAL in turn.task.reason
    assert API_KEY not in repr(turn.task)
    assert turn.record.error == "APIError"


def test_a_rate_limited_turn_completes(caller: Caller, opencode: OpenCode) -> None:
    turn = caller.take_turn(opencode, f"RETRY {uuid.uuid4()}")

    assert turn.task.state == "completed"
    assert turn.record.texts == (model.HELLO,)


def test_a_retry_is_told_as_progress(client: Client, opencode: OpenCode) -> None:
    turn = Caller(client=client, mode="stream").take_turn(opencode, f"RETRY {uuid.uuid4()}")

    assert turn.folded is not None
    assert any("retry" in str(progress) for progress in turn.folded.progress)


def check_aborted(task: Task, opencode: OpenCode) -> None:
    record = opencode.record(task.session_id)
    assert record.error == "MessageAbortedError"
    check_record(task, record)
    assert task.state in {"canceled", "failed"}
    [answer] = task.artifact_stream("text")
    assert "".join(answer.texts).startswith(TICKS_BEFORE_ABORT)


def test_a_stream_ends_when_its_session_is_aborted(client: Client, opencode: OpenCode) -> None:
    folded = Folded()
    aborted = False
    for event in client.stream("SLOW"):
        folded.take(event)
        if not aborted and folded.said.startswith(TICKS_BEFORE_ABORT):
            [session_id] = folded.session_ids
            opencode.abort(session_id)
            aborted = True

    assert aborted
    task = client.task(folded.task_id)
    check_stream(folded, task, client.version)
    check_aborted(task, opencode)


def test_a_send_returns_when_its_session_is_aborted(client: Client, opencode: OpenCode) -> None:
    prompt = f"SLOW {uuid.uuid4()}"
    with ThreadPoolExecutor(1) as pool, opencode.listening(Deadline.within(TURN_SECONDS)) as events:
        sent = pool.submit(client.send, prompt)
        session_id = next(
            event["properties"]["sessionID"]
            for event in events
            if event["type"] == "message.part.updated" and event["properties"]["part"].get("text") == prompt
        )
        next(
            event
            for event in events
            if event["properties"].get("sessionID") == session_id and event["properties"].get("delta") == "tick2 "
        )
        opencode.abort(session_id)
        task = sent.result(CALL_SECONDS)

    assert task.session_id == session_id
    assert client.task(task.id) == task
    check_aborted(task, opencode)
