"""The tool in OpenCode: its configuration, its status, and the calls of it that a turn has begun."""

from __future__ import annotations

from typing import Any

import pytest

from sansio.opencode.tool_servers import (
    CALL_TIMEOUT_MS,
    TOOL,
    RunningCall,
    RunningCalls,
    is_configured,
    server_config,
    status_of,
)
from sansio.opencode.upstream.events import PartSeen


def part(status: str, *, number: int = 1, tool: str = TOOL, kind: str = "tool", given: Any = None) -> PartSeen:
    state = {"status": status, "input": {"url": "http://a"} if given is None else given}
    body = {"id": f"prt_{number}", "type": kind, "tool": tool, "callID": f"call_{number}", "state": state}
    return PartSeen(session_id="ses_1", message_id="msg_1", part_id=f"prt_{number}", type=kind, body=body)


def test_the_server_is_remote_and_proves_who_asks_with_the_secret() -> None:
    assert server_config("http://127.0.0.1:8000/mcp", "s3cret") == {
        "type": "remote",
        "url": "http://127.0.0.1:8000/mcp",
        "headers": {"Authorization": "Bearer s3cret"},
        "oauth": False,
        "timeout": CALL_TIMEOUT_MS,
    }


@pytest.mark.parametrize(
    ("config", "known"),
    [
        ({"mcp": {"a2a": {"type": "local"}}}, True),
        ({"mcp": {"b": {}}}, False),
        ({"mcp": {"a2a": 1}}, False),
        (1, False),
    ],
    ids=["ours", "another", "no object", "no config"],
)
def test_a_server_of_the_configuration_is_found(config: object, known: bool) -> None:
    assert is_configured(config) is known


@pytest.mark.parametrize(
    ("servers", "status"),
    [
        ({"a2a": {"status": "connected"}}, "connected"),
        ({"a2a": {"status": "connected", "error": "old"}}, "connected"),
        ({"a2a": {"status": "failed", "error": "refused"}}, "refused"),
        ({"a2a": {"status": "disabled"}}, "disabled"),
        ({"a2a": {}}, "unknown"),
        ({"b": {"status": "connected"}}, None),
        ([], None),
    ],
)
def test_the_status_is_what_opencode_says(servers: object, status: str | None) -> None:
    assert status_of(servers) == status


def test_a_call_is_known_from_when_it_runs_to_its_end() -> None:
    running = RunningCalls()

    assert running.note(part("pending")) is False
    assert running.note(part("running")) is True
    assert running.note(part("running")) is False  # it has begun already
    assert list(running.calls.values()) == [
        RunningCall(part_id="prt_1", call_id="call_1", message_id="msg_1", input={"url": "http://a"})
    ]
    assert running.note(part("completed")) is False
    assert running.calls == {}


@pytest.mark.parametrize(
    "seen",
    [part("running", tool="bash"), part("running", kind="text"), part("running", given=[1])],
    ids=["another tool", "no tool", "no input"],
)
def test_what_is_no_call_of_the_tool_begins_none(seen: PartSeen) -> None:
    running = RunningCalls()

    assert running.note(seen) is False
    assert running.calls == {}


def test_the_calls_that_are_known_are_bounded() -> None:
    running = RunningCalls()

    begun = [running.note(part("running", number=number)) for number in range(100)]

    assert sum(begun) == len(running.calls) == 64
    assert begun[:64] == [True] * 64
