"""From OpenCode's answers to the problem that an operator reads, with the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from sansio.opencode.upstream.events import is_bus_event
from sansio.opencode.upstream.faults import PAYLOAD, TIMEOUT, UNREACHABLE, TaskFailure, failure_of_status
from sansio.opencode.upstream.problems import (
    Problem,
    ProblemType,
    agent_problem,
    bus_problem,
    model_problem,
    workspace_problem,
)
from tests.strategies import json_values

URL = "http://127.0.0.1:4096"


@pytest.mark.parametrize(
    ("failure", "type", "remedy"),
    [
        (failure_of_status(401, ""), ProblemType.UPSTREAM_UNAUTHORIZED, "OPENCODE_SERVER_PASSWORD"),
        (failure_of_status(403, ""), ProblemType.UPSTREAM_UNAUTHORIZED, "OPENCODE_SERVER_USERNAME"),
        (failure_of_status(404, "<html>"), ProblemType.UPSTREAM_NOT_OPENCODE, "OPENCODE_BASE_URL"),
        (failure_of_status(405, ""), ProblemType.UPSTREAM_NOT_OPENCODE, "status 405"),
        (failure_of_status(502, ""), ProblemType.UPSTREAM_ERROR, "OpenCode's log"),
        (failure_of_status(429, ""), ProblemType.UPSTREAM_ERROR, "429"),
        (TaskFailure(text="no HTTP", type=PAYLOAD), ProblemType.UPSTREAM_NOT_OPENCODE, "OPENCODE_BASE_URL"),
        (TaskFailure(text="late", type=TIMEOUT), ProblemType.UPSTREAM_TIMEOUT, "OpenCode's log"),
        (TaskFailure(text="refused", type=UNREACHABLE), ProblemType.UPSTREAM_UNREACHABLE, "opencode serve"),
    ],
)
def test_a_bus_that_cannot_be_had_is_a_problem_with_a_remedy(
    failure: TaskFailure, type: ProblemType, remedy: str
) -> None:
    problem = bus_problem(failure, URL)

    assert problem.type is type
    assert remedy in problem.detail
    assert "\n" not in str(problem)
    assert URL not in type.value


def providers(**models: list[str]) -> dict[str, Any]:
    listed = [{"id": name, "models": {model: {} for model in known}} for name, known in models.items()]
    return {"providers": listed, "default": {}}


@pytest.mark.parametrize(
    ("config", "known", "missing"),
    [
        ({}, providers(), "no provider"),
        ({}, providers(empty=[]), "no provider"),
        ({"model": "acme/big"}, providers(acme=["small"]), "'acme/big'"),
        ({"model": "other/big"}, providers(acme=["big"]), "'other/big'"),
        ({"model": "acme/big"}, providers(acme=["big"]), None),
        ({"model": "acme/vendor/big"}, providers(acme=["vendor/big"]), None),
        ({}, providers(acme=["big"]), None),
        (None, providers(acme=["big"]), None),
        ({"model": "acme/big"}, None, None),
        ({"model": 5}, providers(acme=["big"]), None),
    ],
)
def test_a_model_that_is_not_there_is_a_problem(config: Any, known: Any, missing: str | None) -> None:
    problem = model_problem(config, known)

    if missing is None:
        assert problem is None
    else:
        assert problem is not None
        assert (problem.type, missing in problem.detail) == (ProblemType.MODEL_MISSING, True)


def test_a_line_says_no_sentence_twice() -> None:
    failure = TaskFailure(text="OpenCode cannot be reached at 127.0.0.1:4096 (Connection refused)", type=UNREACHABLE)

    assert str(bus_problem(failure, URL)).startswith("OpenCode cannot be reached at 127.0.0.1:4096 (Connection")


def test_an_agent_that_is_not_listed_is_a_problem() -> None:
    agents = [{"name": "build"}, {"name": "plan"}]

    assert agent_problem(agents, "plan") is None
    assert agent_problem(None, "plan") is None
    assert agent_problem([], "plan") is None
    found = agent_problem(agents, "no-such")
    assert found is not None
    assert "'no-such'" in found.detail


def test_a_workspace_root_is_named_to_the_operator_alone() -> None:
    problem = workspace_problem("/no/such")

    assert isinstance(problem, Problem)
    assert "/no/such" in str(problem)
    assert "/no/such" not in problem.type.value


@given(json_values, json_values)
def test_an_answer_of_any_shape_is_no_error(config: Any, other: Any) -> None:
    model_problem(config, other)
    model_problem(config, {"providers": other})
    agent_problem(other, "build")


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (b'{"payload": {"type": "server.connected", "properties": {}}}', True),
        (b'{"type": "nobody.knows"}', True),
        (b'{"id": 1, "result": {}}', False),
        (b"{}", False),
        (b"5", False),
        (b"not json", False),
        (b'{"payload": 7}', False),
    ],
)
def test_an_event_of_the_bus_is_told_from_others(data: bytes, is_one: bool) -> None:
    assert is_bus_event(data) is is_one
