"""Problems that keep OpenCode from working for us, in one line each with the remedy. Sends nothing."""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import frozen

from sansio.a2a.codecs.json_values import member, objects_at, text_at
from sansio.opencode.upstream.faults import PAYLOAD, TIMEOUT, TaskFailure


class ProblemType(Enum):
    """The kinds of problems, named for programs; each with a sentence that shows no address and no path."""

    UPSTREAM_UNREACHABLE = "OpenCode cannot be reached"
    UPSTREAM_TIMEOUT = "OpenCode does not answer"
    UPSTREAM_UNAUTHORIZED = "OpenCode refuses our login"
    UPSTREAM_NOT_OPENCODE = "What answers in OpenCode's place does not look like OpenCode"
    UPSTREAM_ERROR = "OpenCode answers with errors"
    WORKSPACE_MISSING = "The workspace root is not a directory that OpenCode can read"
    MODEL_MISSING = "OpenCode has no model to work with"
    TOOL_NOT_CONNECTED = "OpenCode cannot connect to this server for the tool a2a_call"
    TOOL_NAME_TAKEN = "OpenCode has a server of tools named a2a of its own, so its model gets no tool of this server"
    AGENT_MISSING = "OpenCode has no agent of the name that is set"


@frozen
class Problem:
    """A problem, for everybody by its `type`; `detail` is for the operator: what was seen, and what to do."""

    type: ProblemType
    detail: str

    def __str__(self) -> str:
        # a detail may begin with the sentence of its type, which then need not come twice
        return self.detail if self.detail.startswith(self.type.value) else f"{self.type.value}: {self.detail}"


def bus_problem(failure: TaskFailure, url: str) -> Problem:
    """Make the problem behind an event stream that cannot be had, from the failure and the URL without its login."""
    status = failure.status
    if status in (401, 403):
        return Problem(
            ProblemType.UPSTREAM_UNAUTHORIZED,
            f"{url} answered with status {status}; set OPENCODE_SERVER_PASSWORD or its _FILE "
            "(and OPENCODE_SERVER_USERNAME) to what `opencode serve` was started with",
        )
    if status is not None and (status >= 500 or status == 429):
        return Problem(
            ProblemType.UPSTREAM_ERROR, f"{url} answered GET /global/event with status {status}; see OpenCode's log"
        )
    if status is not None:
        return not_opencode(url, f"answered GET /global/event with status {status}")
    if failure.type == PAYLOAD:
        return not_opencode(url, "does not speak HTTP")
    if failure.type == TIMEOUT:
        return Problem(ProblemType.UPSTREAM_TIMEOUT, f"{url} left GET /global/event unanswered; see OpenCode's log")
    return Problem(
        ProblemType.UPSTREAM_UNREACHABLE,
        f"{failure.text}; start it with `opencode serve`, or set OPENCODE_BASE_URL (--opencode) to where it is",
    )


def not_opencode(url: str, seen: str) -> Problem:
    """Make the problem of a URL that leads to something else. `seen`: what gave it away, as a verb and its object."""
    return Problem(
        ProblemType.UPSTREAM_NOT_OPENCODE,
        f"{url} {seen}; set OPENCODE_BASE_URL (--opencode) to where `opencode serve` listens",
    )


def workspace_problem(root: str) -> Problem:
    """Make the problem of a workspace root that OpenCode cannot list."""
    return Problem(
        ProblemType.WORKSPACE_MISSING,
        f"{root}; set OPENCODE_WORKSPACE_ROOT to a directory on the machine where OpenCode runs, or make it",
    )


def tool_problem(reason: str, url: str) -> Problem:
    """Make the problem of a tool that OpenCode was not given. `reason`: as a sentence; `url`: the endpoint's."""
    return Problem(
        ProblemType.TOOL_NOT_CONNECTED,
        f"{url}: {reason}; set A2A_TOOL_URL to where OpenCode reaches this server, or A2A_TOOL_ENABLED=false",
    )


def tool_name_problem(directory: str | None) -> Problem:
    """Make the problem of a configuration of OpenCode's that has the tool's name for something else."""
    where = f" of {directory}" if directory else ""
    return Problem(
        ProblemType.TOOL_NAME_TAKEN,
        f"`mcp.a2a` in the configuration{where}; rename it there, or set A2A_TOOL_ENABLED=false",
    )


def model_problem(config: Any, providers: Any) -> Problem | None:
    """Make the problem of an OpenCode without a usable model, from its `/config` and `/config/providers`.

    Answers of another shape than is known are no problem: OpenCode decides.
    """
    known = _models(providers)
    if known is None:
        return None
    if not any(known.values()):
        return Problem(
            ProblemType.MODEL_MISSING, "no provider is set up; run `opencode auth login` there, or add a provider"
        )
    wanted = text_at(config, "model") or ""
    provider, slash, model = wanted.partition("/")
    if slash and model not in known.get(provider, ()):
        return Problem(
            ProblemType.MODEL_MISSING,
            f"its setting `model` is {wanted!r}, which none of its providers has; see `opencode models`",
        )
    return None


def _models(providers: Any) -> dict[str, frozenset[str]] | None:
    listed = member(providers, "providers")
    if not isinstance(listed, list):
        return None
    found: dict[str, frozenset[str]] = {}
    for provider in objects_at(listed):
        if isinstance(provider.get("id"), str) and isinstance(provider.get("models"), dict):
            found[provider["id"]] = frozenset(provider["models"])
    return found


def agent_problem(agents: Any, wanted: str) -> Problem | None:
    """Make the problem of an agent that OpenCode's `/agent` does not list."""
    names = [agent.get("name") for agent in objects_at(agents)]
    if not names or wanted in names:
        return None
    return Problem(
        ProblemType.AGENT_MISSING, f"OPENCODE_AGENT is {wanted!r}, which `opencode agent list` there does not show"
    )
