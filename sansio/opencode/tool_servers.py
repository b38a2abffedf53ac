"""The tool `a2a_call` in OpenCode: how its server is added, and how its calls look on the event bus.

OpenCode 1.18.33 names a tool SERVER_TOOL, so server `a2a` with tool `call` is `a2a_call`; its permission has that
name too. The bus shows a call as a tool part that is `running`, some milliseconds after the call itself has arrived.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field, frozen

from sansio.a2a.codecs.json_values import member, text_at
from sansio.a2a.model import JsonObject
from sansio.opencode.upstream.events import PartSeen

SERVER_NAME: Final = "a2a"
TOOL: Final = "a2a_call"

CALL_TIMEOUT_MS: Final = 120_000
"""Milliseconds without progress after which OpenCode gives a call up; its own default is 60 000."""

_MOST: Final = 64  # running calls of a turn that are known


def server_config(url: str, secret: str) -> JsonObject:
    """Return the configuration of the tool's server."""
    return {
        "type": "remote",
        "url": url,
        "headers": {"Authorization": f"Bearer {secret}"},
        "oauth": False,
        "timeout": CALL_TIMEOUT_MS,
    }


def is_configured(config: Any) -> bool:
    """Return whether OpenCode's configuration has a server of that name; those added at run time are not in it."""
    return isinstance(member(config, "mcp", SERVER_NAME), dict)


def status_of(servers: Any) -> str | None:
    """Return the status of the server in OpenCode's list: `connected`, or what keeps it from that; None: absent."""
    found = member(servers, SERVER_NAME)
    if not isinstance(found, dict):
        return None
    status = text_at(found, "status")
    return status if status == "connected" else (text_at(found, "error") or status or "unknown")


@frozen(kw_only=True)
class RunningCall:
    """A call of the tool that OpenCode has begun."""

    part_id: str
    call_id: str
    message_id: str
    input: JsonObject = field(repr=False)


@define
class RunningCalls:
    """The calls of the tool that run in a turn, its subagents included."""

    calls: dict[str, RunningCall] = field(factory=dict)

    def note(self, part: PartSeen) -> bool:
        """Take a part as it is now; return whether a call has begun."""
        if part.type != "tool" or part.body.get("tool") != TOOL:
            return False
        state = part.body.get("state")
        given = member(state, "input")
        if member(state, "status") != "running" or not isinstance(given, dict):
            self.calls.pop(part.part_id, None)
            return False
        if part.part_id in self.calls or len(self.calls) >= _MOST:
            return False
        self.calls[part.part_id] = RunningCall(
            part_id=part.part_id,
            call_id=text_at(part.body, "callID") or "",
            message_id=part.message_id,
            input=given,
        )
        return True
