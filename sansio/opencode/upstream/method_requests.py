"""The upstream calls of the extension methods, as values. Sends nothing; knows no method.

Bodies hold what was asked for and nothing else: OpenCode refuses members it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

import orjson

from sansio.a2a.model import JsonObject
from sansio.opencode.upstream.identifiers import segment
from sansio.opencode.upstream.requests import Location, TimeoutClass, UpstreamCall


def sessions(
    location: Location, *, limit: int, roots: bool | None = None, start: int | None = None, search: str | None = None
) -> UpstreamCall:
    """The sessions of a directory, those used last first. `start`: epoch ms; older ones are left out."""
    return _get("/session", location, limit=limit, roots=roots, start=start, search=search)


def session(session_id: str, location: Location) -> UpstreamCall:
    """One session."""
    return _get(_session(session_id), location)


def session_statuses(location: Location) -> UpstreamCall:
    """The status of every session that is not idle."""
    return _get("/session/status", location)


def session_children(session_id: str, location: Location) -> UpstreamCall:
    """The sessions that were made from within a session."""
    return _get(f"{_session(session_id)}/children", location)


def session_todo(session_id: str, location: Location) -> UpstreamCall:
    """A session's list of things to do."""
    return _get(f"{_session(session_id)}/todo", location)


def session_diff(session_id: str, message_id: str | None, location: Location) -> UpstreamCall:
    """What a session, or one message of it, has changed in files."""
    return _get(f"{_session(session_id)}/diff", location, messageID=message_id)


def session_messages(session_id: str, location: Location, *, limit: int, before: str | None = None) -> UpstreamCall:
    """The last messages of a session, oldest first; `before`: the cursor of an earlier answer."""
    return _get(f"{_session(session_id)}/message", location, limit=limit, before=before)


def session_message(session_id: str, message_id: str, location: Location) -> UpstreamCall:
    """One message with its parts."""
    return _get(f"{_session(session_id)}/message/{segment(message_id)}", location)


def prompt_async(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """Start a turn, and do not wait for it."""
    return _post(f"{_session(session_id)}/prompt_async", location, body, TimeoutClass.WRITE)


def command(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """Run a command that OpenCode has by name, to its end."""
    return _post(f"{_session(session_id)}/command", location, body)


def shell(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """Run a shell command, to its end."""
    return _post(f"{_session(session_id)}/shell", location, body)


def fork(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """A new session with the messages of another, up to one of them."""
    return _post(f"{_session(session_id)}/fork", location, body)


def share(session_id: str, location: Location) -> UpstreamCall:
    """Publish a session on the web."""
    return _post(f"{_session(session_id)}/share", location, {})


def unshare(session_id: str, location: Location) -> UpstreamCall:
    """Publish a session no more."""
    return _delete(f"{_session(session_id)}/share", location)


def summarize(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """Replace what a session holds by a summary, written by a model."""
    return _post(f"{_session(session_id)}/summarize", location, body)


def revert(session_id: str, body: JsonObject, location: Location) -> UpstreamCall:
    """Take back a message, what follows it, and what they changed in files."""
    return _post(f"{_session(session_id)}/revert", location, body)


def unrevert(session_id: str, location: Location) -> UpstreamCall:
    """Bring back what was taken back."""
    return _post(f"{_session(session_id)}/unrevert", location, {})


def providers(location: Location) -> UpstreamCall:
    """Every provider with every model: several megabytes."""
    return _get("/provider", location)


def projects(location: Location) -> UpstreamCall:
    """The projects OpenCode has worked on."""
    return _get("/project", location)


def current_project(location: Location) -> UpstreamCall:
    """The project of a directory."""
    return _get("/project/current", location)


def workspaces(location: Location) -> UpstreamCall:
    """The workspaces of the project."""
    return _get("/experimental/workspace", location)


def create_workspace(body: JsonObject, location: Location) -> UpstreamCall:
    """A new workspace."""
    return _post("/experimental/workspace", location, body)


def remove_workspace(workspace_id: str, location: Location) -> UpstreamCall:
    """Remove a workspace."""
    return _delete(f"/experimental/workspace/{segment(workspace_id)}", location)


def worktrees(location: Location) -> UpstreamCall:
    """The directories of the project's worktrees."""
    return _get("/experimental/worktree", location)


def create_worktree(body: JsonObject, location: Location) -> UpstreamCall:
    """A new worktree."""
    return _post("/experimental/worktree", location, body)


def remove_worktree(body: JsonObject, location: Location) -> UpstreamCall:
    """Remove a worktree and its branch."""
    return _delete("/experimental/worktree", location, body)


def reset_worktree(body: JsonObject, location: Location) -> UpstreamCall:
    """Put a worktree back to the default branch."""
    return _post("/experimental/worktree/reset", location, body)


def _session(session_id: str) -> str:
    return f"/session/{segment(session_id)}"


def _target(path: str, location: Location, query: Mapping[str, object]) -> str:
    given = {name: _as_text(value) for name, value in query.items() if value is not None}
    more = urlencode(given, quote_via=quote)
    return path + location.query + (("&" if location.query else "?") + more if more else "")


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _get(path: str, location: Location, **query: object) -> UpstreamCall:
    return UpstreamCall(method="GET", target=_target(path, location, query))


def _post(path: str, location: Location, body: JsonObject, timeout: TimeoutClass = TimeoutClass.RUN) -> UpstreamCall:
    data = orjson.dumps(body)
    return UpstreamCall(
        method="POST", target=_target(path, location, {}), body=data, timeout=timeout, repeatable=False
    )


def _delete(path: str, location: Location, body: JsonObject | None = None) -> UpstreamCall:
    return UpstreamCall(
        method="DELETE",
        target=_target(path, location, {}),
        body=orjson.dumps(body) if body is not None else None,
        timeout=TimeoutClass.RUN,
        repeatable=False,
    )
