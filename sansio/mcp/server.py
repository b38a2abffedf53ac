"""The server's side of the Model Context Protocol over streamable HTTP, as a state machine.

`McpServer.receive` takes an HTTP request and returns an `HttpAnswer`, or an `Exchange`: the tool calls to make, whose
results are the rest of the answer. The shell makes the calls, and gives each result to the exchange.

| request | answer |
| --- | --- |
| POST `initialize` | 200, a new session in `Mcp-Session-Id`, the version that both have |
| POST of notifications alone | 202; `notifications/cancelled` names the calls to stop |
| POST `ping`, `tools/list` | 200 |
| POST `tools/call` | an exchange: one JSON body, or events with progress where the client accepts them |
| POST of a batch | as its messages; 400 where the version has none |
| POST of an unknown session | 404, which has the client initialise again |
| DELETE | 204; the session ends, and its calls are to be stopped |
| GET | 405: the server has nothing to say unasked |

Ids are the client's and count in its session alone. Who may send requests is decided before. Sessions, the calls of
each, and the bytes of a body are bounded; the session that was used longest ago gives way to a new one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import define, field, frozen

from sansio.mcp.messages import (
    Body,
    ErrorCode,
    Fault,
    Id,
    Notification,
    Request,
    is_id,
    parse_body,
    render_fault,
    render_notification,
    render_result,
)
from sansio.mcp.tools import PROGRESS_TEXT, Tool, ToolCall, ToolResult, parse_call
from sansio.mcp.versions import LATEST, MCP_VERSIONS, McpVersion, negotiated

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a request body."""

SESSIONS: Final = 256
"""Sessions that are known at a time."""

CALLS: Final = 32
"""Calls of one session that run at a time."""

SESSION_HEADER: Final = "mcp-session-id"
VERSION_HEADER: Final = "mcp-protocol-version"
JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"


@frozen
class ServerInfo:
    """The name and version that a client is shown."""

    name: str
    version: str


@frozen(kw_only=True)
class HttpRequest:
    """A request. Names of headers are in lower case."""

    method: str
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)


@frozen(kw_only=True)
class HttpAnswer:
    """A whole answer. `stopped`: calls that run, which their client has given up."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    stopped: tuple[ToolCall, ...] = ()


@define(eq=False)
class _Session:
    version: McpVersion
    running: dict[Id, ToolCall] = field(factory=dict)


@define(eq=False, kw_only=True)
class Exchange:
    """A request whose answer is still to come.

    `calls`: to be made at once. `answered`: responses that are ready, with which an answer in events begins.
    `in_events`: progress and responses go out as they come; else `whole` is the body once all calls have ended.
    `stopped`: calls that run, which their client has given up.
    """

    calls: tuple[ToolCall, ...]
    in_events: bool
    stopped: tuple[ToolCall, ...]
    answered: list[bytes]
    _session: _Session
    _is_batch: bool

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of the answer, whose status is 200."""
        kind = EVENTS if self.in_events else JSON
        return (("content-type", kind), ("cache-control", "no-store"))

    def progress(self, call: ToolCall, number: int, text: str) -> bytes | None:
        """Return the event for the progress of a call; None where nobody asked for it. `number` must grow."""
        if call.progress_token is None or not self.in_events:
            return None
        params = {"progressToken": call.progress_token, "progress": number, "message": text[:PROGRESS_TEXT]}
        return event(render_notification("notifications/progress", params))

    def finish(self, call: ToolCall, result: ToolResult | Fault) -> bytes:
        """End a call; return its response, which belongs to `answered` as well."""
        self.drop(call)
        if isinstance(result, Fault):
            response = render_fault(Fault(result.code, result.message, call.id))
        else:
            response = render_result(call.id, result.render(self._session.version))
        self.answered.append(response)
        return response

    def drop(self, call: ToolCall) -> None:
        """End a call without a response: its client does not wait for it any more."""
        if self._session.running.get(call.id) is call:
            del self._session.running[call.id]

    def whole(self) -> bytes:
        """Return the body of an answer in JSON."""
        return b"[" + b",".join(self.answered) + b"]" if self._is_batch else self.answered[0]


Outcome: TypeAlias = HttpAnswer | Exchange


def event(message: bytes) -> bytes:
    """Frame a message as an event of a stream."""
    return b"event: message\ndata: " + message + b"\n\n"


KEEP_ALIVE: Final = b": keep-alive\n\n"
"""A sign of life for an answer in events whose client asked for no progress."""


class McpServer:
    """The sessions of one server. `tools` returns the tools as they are now."""

    def __init__(self, info: ServerInfo, tools: Callable[[], Sequence[Tool]]) -> None:
        self._info = info
        self._tools = tools
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def __repr__(self) -> str:
        running = sum(len(session.running) for session in self._sessions.values())
        return f"<McpServer sessions={len(self._sessions)} running={running}>"

    def receive(self, request: HttpRequest, new_session_id: str) -> Outcome:
        """Take a request. `new_session_id`: unguessable, for a session that it may begin."""
        if request.method == "DELETE":
            return self._delete(request)
        if request.method != "POST":
            return HttpAnswer(status=405, headers=(("allow", "DELETE, POST"),))
        refusal = _refusal(request)
        if refusal is not None:
            return refusal
        body = parse_body(request.body)
        first = body.messages[0]
        if not body.is_batch and isinstance(first, Request) and first.method == "initialize":
            return self._initialize(first, new_session_id)
        named = request.headers.get(SESSION_HEADER)
        if named is None:
            return _refused(400, Fault(ErrorCode.INVALID_REQUEST, f"The header {SESSION_HEADER} is missing"))
        session = self._sessions.get(named)
        if session is None:
            return _refused(404, Fault(ErrorCode.INVALID_REQUEST, "There is no such session: initialise again"))
        self._sessions.move_to_end(named)
        if body.is_batch and not session.version.batches:
            text = f"Version {session.version.name} has no batches: send one message at a time"
            return _refused(400, Fault(ErrorCode.INVALID_REQUEST, text))
        if not body.is_batch and isinstance(first, Fault):
            return _refused(400, first)
        return self._carry_out(body, session, request)

    def _delete(self, request: HttpRequest) -> HttpAnswer:
        session = self._sessions.pop(request.headers.get(SESSION_HEADER, ""), None)
        if session is None:
            return HttpAnswer(status=404)
        return HttpAnswer(status=204, stopped=tuple(session.running.values()))

    def _initialize(self, request: Request, session_id: str) -> HttpAnswer:
        version = negotiated(request.params.get("protocolVersion"))
        stopped: tuple[ToolCall, ...] = ()
        while len(self._sessions) >= SESSIONS:
            _, oldest = self._sessions.popitem(last=False)
            stopped += tuple(oldest.running.values())
        self._sessions[session_id] = _Session(version)
        result: dict[str, Any] = {
            "protocolVersion": version.name,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": self._info.name, "version": self._info.version},
        }
        headers = (("content-type", JSON), (SESSION_HEADER, session_id))
        return HttpAnswer(status=200, body=render_result(request.id, result), headers=headers, stopped=stopped)

    def _carry_out(self, body: Body, session: _Session, request: HttpRequest) -> Outcome:
        answered: list[bytes] = []
        calls: list[ToolCall] = []
        stopped: list[ToolCall] = []
        for message in body.messages:
            if isinstance(message, Notification):
                stopped += _cancelled(message, session)
            elif isinstance(message, Fault):
                answered.append(render_fault(message))
            elif isinstance(message, Request):
                done = self._request(message, session)
                if isinstance(done, ToolCall):
                    session.running[done.id] = done
                    calls.append(done)
                else:
                    answered.append(render_fault(done) if isinstance(done, Fault) else done)
        if not (answered or calls):
            return HttpAnswer(status=202, stopped=tuple(stopped))
        exchange = Exchange(
            calls=tuple(calls),
            in_events=EVENTS in _accepted(request),
            stopped=tuple(stopped),
            answered=answered,
            session=session,
            is_batch=body.is_batch,
        )
        if calls:
            return exchange
        headers = (("content-type", JSON),)
        return HttpAnswer(status=200, body=exchange.whole(), headers=headers, stopped=tuple(stopped))

    def _request(self, request: Request, session: _Session) -> bytes | ToolCall | Fault:
        if request.method == "ping":
            return render_result(request.id, {})
        if request.method == "tools/list":
            return render_result(request.id, {"tools": [tool.render() for tool in self._tools()]})
        if request.method == "tools/call":
            return self._call(request, session)
        if request.method == "initialize":
            return Fault(ErrorCode.INVALID_REQUEST, "initialize must not be part of a batch", request.id)
        return Fault(ErrorCode.METHOD_NOT_FOUND, "There is no such method", request.id)

    def _call(self, request: Request, session: _Session) -> ToolCall | Fault:
        call = parse_call(request.id, request.params)
        if isinstance(call, Fault):
            return call
        if call.name not in {tool.name for tool in self._tools()}:
            return Fault(ErrorCode.INVALID_PARAMS, "There is no such tool", call.id)
        if call.id in session.running:
            return Fault(ErrorCode.INVALID_REQUEST, "A request with this id is running", call.id)
        if len(session.running) >= CALLS:
            return Fault(ErrorCode.INVALID_REQUEST, f"{CALLS} calls run already", call.id)
        return call


def _refusal(request: HttpRequest) -> HttpAnswer | None:
    """Refuse a POST by its headers and size."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        return _refused(415, Fault(ErrorCode.INVALID_REQUEST, f"Content-Type must be {JSON}"))
    if len(request.body) > BODY_LIMIT:
        return _refused(413, Fault(ErrorCode.INVALID_REQUEST, f"The body is larger than {BODY_LIMIT} bytes"))
    if not _accepted(request):
        return _refused(406, Fault(ErrorCode.INVALID_REQUEST, f"Accept must name {JSON} or {EVENTS}"))
    version = request.headers.get(VERSION_HEADER)
    if version is not None and version not in MCP_VERSIONS:
        text = f"{VERSION_HEADER} must be one of {', '.join(MCP_VERSIONS)}; the latest is {LATEST.name}"
        return _refused(400, Fault(ErrorCode.INVALID_REQUEST, text))
    return None


def _accepted(request: HttpRequest) -> frozenset[str]:
    """Return the media types of answers that a client takes, of the two that there are."""
    named = {one.partition(";")[0].strip().lower() for one in request.headers.get("accept", "*/*").split(",")}
    if "*/*" in named:
        return frozenset({JSON})
    return frozenset({JSON, EVENTS}) & named


def _refused(status: int, fault: Fault) -> HttpAnswer:
    return HttpAnswer(status=status, body=render_fault(fault), headers=(("content-type", JSON),))


def _cancelled(message: Notification, session: _Session) -> list[ToolCall]:
    """Return the running call that a notification cancels. Clients send one for calls that have ended, too."""
    request_id = message.params.get("requestId")
    if message.method != "notifications/cancelled" or not is_id(request_id):
        return []
    call = session.running.get(request_id)
    return [] if call is None else [call]
