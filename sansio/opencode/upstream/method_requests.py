"""The upstream calls of the extension methods, as values. Sends nothing; knows no method.

Bodies hold what was asked for and nothing else: OpenCode refuses members it does not know.
"""

from __future__ import annotations

import orjson

from sansio.a2a.model import JsonObject
from sansio.opencode.upstream.identifiers import segment
from sansio.opencode.upstream.requests import Location, TimeoutClass, UpstreamCall, get, post, session_path, target


def sessions(
    location: Location, *, limit: int, roots: bool | None = None, start: int | None = None, search: str | None = None
) -> UpstreamCall:
    """Read the sessions of a directory, those used last first. `start`: epoch ms; older ones are left out."""
    return get("/session", location, {"limit": limit, "roots": roots, "start": start, "search": search})


def session_todo(session_id: str, location: Location) -> UpstreamCall:
    """Read a session's list of things to do."""
    return get(f"{session_path(session_id)}/todo", location)


def session_diff(session_id: str, message_id: str | None, location: Location) -> UpstreamCall:
    """Read the changes in files by a session, or by one message of it."""
    return get(f"{session_path(session_id)}/diff", location, {"messageID": message_id})


def session_messages(session_id: str, location: Location, *, limit: int, before: str | None = None) -> UpstreamCall:
    """Read the last messages of a session, oldest first; `before`: the cursor of an earlier answer."""
    return get(f"{session_path(session_id)}/message", location, {"limit": limit, "before": before})


def session_message(session_id: str, message_id: str, location: Location) -> UpstreamCall:
    """Read one message with its parts."""
    return get(f"{session_path(session_id)}/message/{segment(message_id)}", location)


def prompt_async(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """Start a turn, and do not wait for it."""
    return post(f"{session_path(session_id)}/prompt_async", location, body)


def command(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """Run a command that OpenCode has by name, to its end."""
    return _run(f"{session_path(session_id)}/command", location, body)


def shell(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """Run a shell command, to its end."""
    return _run(f"{session_path(session_id)}/shell", location, body)


def fork(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """Make a new session with the messages of another, up to one of them."""
    return _run(f"{session_path(session_id)}/fork", location, body)


def share(session_id: str, location: Location) -> UpstreamCall:
    """Publish a session on the web."""
    return _run(f"{session_path(session_id)}/share", location, {})


def unshare(session_id: str, location: Location) -> UpstreamCall:
    """Publish a session no more."""
    return _delete(f"{session_path(session_id)}/share", location)


def summarize(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """Replace what a session holds by a summary, written by a model."""
    return _run(f"{session_path(session_id)}/summarize", location, body)


def revert(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """Take back a message, what follows it, and what they changed in files."""
    return _run(f"{session_path(session_id)}/revert", location, body)


def unrevert(session_id: str, location: Location) -> UpstreamCall:
    """Bring back what was taken back."""
    return _run(f"{session_path(session_id)}/unrevert", location, {})


def providers(location: Location) -> UpstreamCall:
    """Read every provider with every model: several megabytes."""
    return get("/provider", location)


def projects(location: Location) -> UpstreamCall:
    """Read the projects OpenCode has worked on."""
    return get("/project", location)


def current_project(location: Location) -> UpstreamCall:
    """Read the project of a directory."""
    return get("/project/current", location)


def workspaces(location: Location) -> UpstreamCall:
    """Read the workspaces of the project."""
    return get("/experimental/workspace", location)


def create_workspace(body: JsonObject, location: Location) -> UpstreamCall:
    """Make a new workspace."""
    return _run("/experimental/workspace", location, body)


def remove_workspace(workspace_id: str, location: Location) -> UpstreamCall:
    """Remove a workspace."""
    return _delete(f"/experimental/workspace/{segment(workspace_id)}", location)


def worktrees(location: Location) -> UpstreamCall:
    """Read the directories of the project's worktrees."""
    return get("/experimental/worktree", location)


def create_worktree(body: JsonObject, location: Location) -> UpstreamCall:
    """Make a new worktree."""
    return _run("/experimental/worktree", location, body)


def remove_worktree(body: JsonObject, location: Location) -> UpstreamCall:
    """Remove a worktree and its branch."""
    return _delete("/experimental/worktree", location, body)


def reset_worktree(body: JsonObject, location: Location) -> UpstreamCall:
    """Put a worktree back to the default branch."""
    return _run("/experimental/worktree/reset", location, body)


def _run(path: str, location: Location, body: JsonObject) -> UpstreamCall:
    """Have OpenCode do what may take as long as the operator allows."""
    return post(path, location, body, TimeoutClass.RUN)


def _delete(path: str, location: Location, body: JsonObject | None = None) -> UpstreamCall:
    return UpstreamCall(
        method="DELETE",
        target=target(path, location),
        body=orjson.dumps(body) if body is not None else None,
        timeout=TimeoutClass.RUN,
        repeatable=False,
    )
