"""Whole turns that end well: what the scripted model said and did is what the client holds."""

from __future__ import annotations

import uuid

import pytest

from tests.real import model_server as model
from tests.real.opencode import OpenCode
from tests.real.turn import Caller, Turn

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


def texts(turn: Turn) -> list[str]:
    return [text for artifact in turn.task.artifact_stream("text") for text in artifact.texts]


def test_a_text_is_answered_over_json_rpc(caller: Caller, opencode: OpenCode) -> None:
    turn = caller.take_turn(opencode, "hi")

    assert turn.task.state == "completed"
    assert texts(turn) == [model.HELLO]
    assert len(turn.task.artifacts) == 1


def test_a_text_is_answered_over_http_json(rest_caller: Caller, opencode: OpenCode) -> None:
    turn = rest_caller.take_turn(opencode, "hi")

    assert turn.task.state == "completed"
    assert texts(turn) == [model.HELLO]


def test_usage_is_told(caller: Caller, opencode: OpenCode) -> None:
    turn = caller.take_turn(opencode, "hi")

    usage = turn.task.shared["usage"]
    assert usage["input_tokens"] == turn.record.input_tokens == model.PROMPT_TOKENS
    assert usage["output_tokens"] == turn.record.output_tokens == model.COMPLETION_TOKENS
    assert usage["total_tokens"] == model.PROMPT_TOKENS + model.COMPLETION_TOKENS
    assert usage["model"] == {"providerID": "scripted", "modelID": "scripted"}


def test_reasoning_has_a_lane_of_its_own(caller: Caller, opencode: OpenCode) -> None:
    turn = caller.take_turn(opencode, "THINK")

    assert turn.task.state == "completed"
    assert texts(turn) == [model.AFTER_THOUGHT]
    assert [artifact.texts for artifact in turn.task.artifact_stream("reasoning")] == [(model.THOUGHT,)]


def test_a_tool_call_is_told_with_its_output(caller: Caller, opencode: OpenCode) -> None:
    turn = caller.take_turn(opencode, "TOOL")

    assert turn.task.state == "completed"
    assert texts(turn) == [model.AFTER_TOOL]
    [call] = turn.task.artifact_stream("tool_call")
    assert call.data[0]["tool"] == "bash"
    assert call.data[0]["status"] == "completed"
    assert model.TOOL_OUTPUT in call.data[0]["output"]


def test_a_failed_tool_call_is_told_with_its_error(caller: Caller, opencode: OpenCode) -> None:
    turn = caller.take_turn(opencode, "BADTOOL")

    assert turn.task.state == "completed"
    assert texts(turn) == [model.AFTER_TOOL]
    [call] = turn.task.artifact_stream("tool_call")
    assert call.data[0]["status"] == "error"
    assert model.MISSING_FILE in call.data[0]["error"]


def test_a_written_file_is_there(caller: Caller, opencode: OpenCode) -> None:
    name = f"{uuid.uuid4()}.txt"

    turn = caller.take_turn(opencode, f"WRITE {name}")

    assert turn.task.state == "completed"
    assert [call.data[0]["tool"] for call in turn.task.artifact_stream("tool_call")] == ["write"]
    assert (opencode.project / name).read_text() == model.FILE_CONTENT


def test_every_step_of_a_turn_is_kept(caller: Caller, opencode: OpenCode) -> None:
    turn = caller.take_turn(opencode, "STEPS")

    assert turn.task.state == "completed"
    assert texts(turn) == [model.BEFORE_TOOL, model.AFTER_TOOL]
    assert len(turn.task.artifact_stream("tool_call")) == 1


def test_white_space_is_kept_to_the_letter(caller: Caller, opencode: OpenCode) -> None:
    turn = caller.take_turn(opencode, "SPACE")

    assert texts(turn) == [model.SPACED]


def test_a_context_continues_its_session(caller: Caller, opencode: OpenCode) -> None:
    first = caller.take_turn(opencode, "COUNT")
    second = caller.take_turn(opencode, "COUNT again", first.task.context_id)

    assert second.task.id != first.task.id
    assert second.task.context_id == first.task.context_id
    assert second.task.session_id == first.task.session_id
    assert texts(second) == ["You have said 2 things."]
    assert opencode.user_texts(second.task.session_id) == ["COUNT", "COUNT again"]


def test_contexts_do_not_share_a_session(caller: Caller, opencode: OpenCode) -> None:
    first = caller.take_turn(opencode, "COUNT")
    second = caller.take_turn(opencode, "COUNT")

    assert second.task.context_id != first.task.context_id
    assert second.task.session_id != first.task.session_id
    assert texts(second) == ["You have said 1 things."]
