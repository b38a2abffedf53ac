"""Each upstream call as a value: method, path, query, body, and how long it may take.

Also the ids we choose. Sends nothing; `opencode_a2a.agent.upstream.upstream` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from urllib.parse import quote, urlencode

import orjson
from attrs import frozen

from sansio.a2a.errors import invalid
from sansio.a2a.media_types import JSON
from sansio.a2a.model import DataPart, JsonObject, Part, TextPart
from sansio.opencode.file_inputs import SAFE, file_part
from sansio.opencode.upstream.identifiers import encoded_directory, segment


class TimeoutClass(Enum):
    """Name what bounds a kind of call. An OpenCode that has just opened its port leaves requests unanswered for good,
    while it answers the next: no single request may use up the patience it belongs to.
    """

    PROBE = "answered from memory, and asked beside what callers ask: health, path, settings"
    READ = "answered from the store: sessions, messages, statuses, lists"
    WRITE = "accepted at once: a session, a prompt, a reply"
    STOP = "an abort"
    RUN = "answered when a command, a model or git is done"
    STREAM = "the opening of the event stream, to its first event"

    def attempts(self, limit: float) -> tuple[float, ...]:
        """Return the seconds within which the head of the answer must come, for each attempt.

        Their sum is at most `limit`, the operator's. A call that is not repeatable gets the first attempt alone.
        """
        bounds = _ATTEMPTS[self]
        total = sum(bounds) if bounds else limit
        return tuple(seconds * min(1.0, limit / total) for seconds in bounds) or (limit,)


_ATTEMPTS: Mapping[TimeoutClass, tuple[float, ...]] = {
    TimeoutClass.PROBE: (2.0, 5.0),
    TimeoutClass.READ: (5.0, 10.0, 15.0),
    TimeoutClass.WRITE: (30.0,),  # the first call in a directory has OpenCode set that directory up
    TimeoutClass.STOP: (5.0,),
    TimeoutClass.RUN: (),  # the operator's limit alone
    TimeoutClass.STREAM: (1.0, 2.0, 5.0),  # the subscriber takes them one by one, as it tries again
}


@frozen(kw_only=True)
class UpstreamCall:
    """One HTTP request to OpenCode. `repeatable`: sending it twice does what sending it once does."""

    method: str
    target: str
    body: bytes | None = None
    timeout: TimeoutClass = TimeoutClass.READ
    repeatable: bool = True


@frozen(kw_only=True)
class Location:
    """Location of a call in OpenCode. Without a directory and a workspace it is the instance's own directory."""

    directory: str | None = None
    workspace: str | None = None

    @property
    def query(self) -> str:
        """The query string, with its question mark; empty for nowhere special."""
        if self.workspace:
            return "?" + urlencode({"workspace": self.workspace}, quote_via=quote)
        if self.directory:
            return "?" + urlencode({"directory": encoded_directory(self.directory)}, quote_via=quote)
        return ""


DEFAULT_LOCATION = Location()


@frozen(kw_only=True)
class Model:
    """A model as OpenCode names it."""

    provider_id: str
    model_id: str


@frozen(kw_only=True)
class PromptOptions:
    """Options of a prompt; `None` leaves the choice to OpenCode."""

    model: Model | None = None

    agent: str | None = None
    system: str | None = None
    variant: str | None = None


_HEX_DIGITS = frozenset("0123456789abcdef")


def message_id(epoch_ms: int, counter: int, tail: str) -> str:
    """Return an OpenCode message id that sorts by time. `tail`: 14 letters or digits."""
    return f"msg_{(epoch_ms * 4096 + counter % 4096) % 2**48:012x}{tail}"


def time_of_id(identifier: str, near_ms: int) -> int | None:
    """Return the epoch milliseconds in an ascending OpenCode id, taking the wrap nearest to `near_ms`."""
    digits = identifier.partition("_")[2][:12]
    if len(digits) != 12 or not _HEX_DIGITS.issuperset(digits):
        return None
    low = int(digits, 16) // 4096
    span = 2**36
    base = near_ms - near_ms % span + low
    return min((base - span, base, base + span), key=lambda ms: abs(ms - near_ms))


# --- paths, and calls to them -----------------------------------------------------------------------------


def session_path(session_id: str) -> str:
    """Return the path of a session."""
    return f"/session/{segment(session_id)}"


def target(path: str, location: Location, query: Mapping[str, object] = {}) -> str:
    """Return a path with its query: the location first, then the members of `query` that are not None."""
    given = {name: _query_text(value) for name, value in query.items() if value is not None}
    more = urlencode(given, quote_via=quote)
    return path + location.query + (("&" if location.query else "?") + more if more else "")


def _query_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def get(
    path: str,
    location: Location = DEFAULT_LOCATION,
    query: Mapping[str, object] = {},
    *,
    timeout: TimeoutClass = TimeoutClass.READ,
) -> UpstreamCall:
    """Read something. `query`: members of the query beside the location; those that are None are left out."""
    return UpstreamCall(method="GET", target=target(path, location, query), timeout=timeout)


def post(
    path: str,
    location: Location,
    body: JsonObject,
    timeout: TimeoutClass = TimeoutClass.WRITE,
    *,
    repeatable: bool = False,
) -> UpstreamCall:
    """Change something. `repeatable`: twice is the same as once."""
    data = orjson.dumps(body)
    return UpstreamCall(
        method="POST", target=target(path, location), body=data, timeout=timeout, repeatable=repeatable
    )


# --- the calls --------------------------------------------------------------------------------------------


def events() -> UpstreamCall:
    """Subscribe to the events of every directory, for as long as the answer is read."""
    return get("/global/event", timeout=TimeoutClass.STREAM)


def health() -> UpstreamCall:
    """Check whether OpenCode answers."""
    return get("/global/health", timeout=TimeoutClass.PROBE)


def path(location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Read the directory in which OpenCode works for calls with this location. The first such call sets a directory
    up.
    """
    bound = TimeoutClass.PROBE if location == DEFAULT_LOCATION else TimeoutClass.READ
    return get("/path", location, timeout=bound)


def files(location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """List the files of the directory; an error where it is none."""
    return get("/file", location, {"path": ""}, timeout=TimeoutClass.PROBE)


def config(location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Read OpenCode's settings in a directory, with the model it uses if that is set."""
    return get("/config", location, timeout=TimeoutClass.PROBE)


def usable_providers(location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Read the providers that can be used, with their models."""
    return get("/config/providers", location, timeout=TimeoutClass.PROBE)


def agents(location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Read the list of OpenCode's agents."""
    return get("/agent", location, timeout=TimeoutClass.PROBE)


def create_session(
    title: str | None = None, location: Location = DEFAULT_LOCATION, metadata: JsonObject | None = None
) -> UpstreamCall:
    """Make a new session. `metadata`: what OpenCode keeps with it."""
    body: JsonObject = {"title": title} if title else {}
    if metadata:
        body["metadata"] = metadata
    return post("/session", location, body)


def get_session(session_id: str, location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Read one session."""
    return get(session_path(session_id), location)


def messages(session_id: str, location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Read a session's messages with their parts."""
    return get(f"{session_path(session_id)}/message", location)


def children(session_id: str, location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Read the sessions of a session's subagents."""
    return get(f"{session_path(session_id)}/children", location)


def statuses(location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Read the status of every session that is not idle."""
    return get("/session/status", location)


def permissions(location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Read the permissions that are waited for, in all sessions."""
    return get("/permission", location)


def questions(location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Read the questions that are waited for, in all sessions."""
    return get("/question", location)


def permission_reply(
    request_id: str, reply: str, message: str | None, location: Location = DEFAULT_LOCATION
) -> UpstreamCall:
    """Answer a permission: `once`, `always` or `reject`, the last with a message for the model."""
    body = {"reply": reply} if message is None else {"reply": reply, "message": message}
    return post(f"/permission/{segment(request_id)}/reply", location, body)


def question_reply(
    request_id: str, answers: Sequence[Sequence[str]], location: Location = DEFAULT_LOCATION
) -> UpstreamCall:
    """Answer a question: for each of its questions a list of texts."""
    body = {"answers": [list(answer) for answer in answers]}
    return post(f"/question/{segment(request_id)}/reply", location, body)


def question_reject(request_id: str, location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Leave a question unanswered."""
    return post(f"/question/{segment(request_id)}/reject", location, {})


def abort(session_id: str, location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Stop what a session is doing."""
    return post(f"{session_path(session_id)}/abort", location, {}, TimeoutClass.STOP, repeatable=True)


def revert(session_id: str, message_id: str, location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Take back a message and what follows it."""
    body = {"messageID": message_id}
    return post(f"{session_path(session_id)}/revert", location, body)


def tool_servers(location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Read the servers of tools that a directory has, with the status of each."""
    return get("/mcp", location, timeout=TimeoutClass.PROBE)


def add_tool_server(name: str, config: JsonObject, location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Add a server of tools to a directory, until its instance is disposed; one of that name is replaced.

    OpenCode connects to it before it answers. Calls of the one that is replaced fail.
    """
    return post("/mcp", location, {"name": name, "config": config})


def disconnect_tool_server(name: str, location: Location = DEFAULT_LOCATION) -> UpstreamCall:
    """Disconnect a server of tools. It stays in the list as disabled: OpenCode has no way to remove it."""
    return post(f"/mcp/{segment(name)}/disconnect", location, {}, TimeoutClass.STOP, repeatable=True)


def prompt(
    session_id: str,
    prompt_id: str,
    parts: Sequence[JsonObject],
    options: PromptOptions = PromptOptions(),
    location: Location = DEFAULT_LOCATION,
) -> UpstreamCall:
    """Start a turn. Not repeatable: the same id twice runs once, but its parts are stored twice."""
    body: JsonObject = {"messageID": prompt_id, "parts": list(parts)}
    if options.model is not None:
        body["model"] = {"providerID": options.model.provider_id, "modelID": options.model.model_id}
    for name, value in (
        ("agent", options.agent),
        ("system", options.system),
        ("variant", options.variant),
    ):
        if value:
            body[name] = value
    return post(f"{session_path(session_id)}/prompt_async", location, body)


def prompt_parts(parts: Sequence[Part], takes: frozenset[str] = SAFE) -> list[JsonObject]:
    """Return a message's parts as OpenCode takes them. `takes`: what the model takes beside text.

    Raises `ProtocolError` (CONTENT_TYPE_NOT_SUPPORTED) naming a part that cannot be a prompt.
    """
    return [_prompt_part(part, index, takes) for index, part in enumerate(parts)]


def _prompt_part(part: Part, index: int, takes: frozenset[str]) -> JsonObject:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, DataPart):
        return {"type": "text", "text": _data_text(part)}
    if part.url is not None and not part.url.lower().startswith(FILE_SCHEMES):
        # anything else OpenCode would read where it runs, past its own permissions
        allowed = ", ".join(FILE_SCHEMES)
        raise invalid(("message", "parts", index), f"a file's URL must begin with one of {allowed}")
    return file_part(part, index, takes)


def _data_text(part: DataPart) -> str:
    """Render a data part for the model: compact JSON below a line with its type. OpenCode has no part for it."""
    label = part.media_type or JSON
    if part.filename:
        label += f", {part.filename}"
    return f"Data ({' '.join(label.split())}):\n{orjson.dumps(part.data).decode()}"


FILE_SCHEMES = ("https:", "http:", "data:")
"""The URLs that a file may be given by."""
