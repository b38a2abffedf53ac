"""The HTTP API as a table of routes on the memory and the turns.

Must know nothing of ASGI, of event streams, or of faults that tests ask for.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from attrs import field, frozen

from opencode_a2a.fake_opencode import control_api
from opencode_a2a.fake_opencode.bus import PROJECT
from opencode_a2a.fake_opencode.exchange import (
    WEB_PAGE,
    Answer,
    RefusalError,
    Request,
    bad_request,
    json_answer,
    no_request,
    no_session,
)
from opencode_a2a.fake_opencode.json_values import JsonObject
from opencode_a2a.fake_opencode.mcp_client import ToolServer
from opencode_a2a.fake_opencode.sessions import MODEL, VERSION, Memory, Pending, Session
from opencode_a2a.fake_opencode.turns import BUSY, Player, Turn

_PART_FIELDS = {"text": ("text",), "file": ("mime", "url"), "agent": ("name",), "subtask": ("prompt",)}
_PERMISSION_REPLIES = ("once", "always", "reject")
_TRUE = json_answer(True)


@frozen(eq=False)
class Api:
    """Answers API requests. `start` lets a turn run in the background."""

    memory: Memory
    player: Player
    start: Callable[[Turn], None]
    takes: JsonObject = field(factory=dict)

    async def answer(self, request: Request) -> Answer:
        """The answer to any request but those for an event stream."""
        for method, pattern, handler in _ROUTES:
            found = pattern.fullmatch(request.path)
            if found and method == request.method:
                try:
                    return await handler(self, request, *found.groups())
                except RefusalError as refusal:
                    return refusal.answer
        return WEB_PAGE

    def directory(self, request: Request) -> str:
        """The directory a request is about, with its links resolved: the one it names, or OpenCode's own."""
        asked = request.asked_directory
        return os.path.realpath(os.path.join(self.memory.directory, asked)) if asked else self.memory.directory

    def session(self, session_id: str) -> Session:
        if session_id not in self.memory.sessions:
            raise RefusalError(no_session(session_id))
        return self.memory.sessions[session_id]

    def sessions_in(self, directory: str) -> list[Session]:
        return [session for session in self.memory.sessions.values() if session.directory == directory]

    async def health(self, request: Request) -> Answer:
        return json_answer({"healthy": True, "version": VERSION})

    async def create_session(self, request: Request) -> Answer:
        wanted = request.json
        if not isinstance(wanted, dict) or not all(
            isinstance(wanted.get(name, ""), str) for name in ("title", "parentID", "agent")
        ):
            raise RefusalError(json_answer({"_tag": "BadRequest"}, 400))
        return json_answer(self.memory.create_session(self.directory(request), wanted).info)

    async def list_sessions(self, request: Request) -> Answer:
        query = request.query
        since = float(query.get("start", "0"))
        found = [
            session.info
            for session in self.sessions_in(self.directory(request))
            if not (query.get("roots") == "true" and "parentID" in session.info)
            and session.info["time"]["updated"] >= since
            and query.get("search", "").lower() in session.info["title"].lower()
        ]
        found.sort(key=lambda info: info["time"]["updated"], reverse=True)
        return json_answer(found[: int(query.get("limit", "100"))])

    async def statuses(self, request: Request) -> Answer:
        at_work = (
            session for session in self.sessions_in(self.directory(request)) if session.status["type"] != "idle"
        )
        return json_answer({session.id: session.status for session in at_work})

    async def get_session(self, request: Request, session_id: str) -> Answer:
        return json_answer(self.session(session_id).info)

    async def children(self, request: Request, session_id: str) -> Answer:
        sessions = self.memory.sessions.values()
        return json_answer([other.info for other in sessions if other.info.get("parentID") == session_id])

    async def prompt(self, request: Request, session_id: str) -> Answer:
        """204 at once, unless the turn is instant: then when it has ended or waits for somebody."""
        body = _prompt_body(request)
        session = self.session(session_id)
        message, new = self.memory.add_prompt(session, body)
        if session.id in self.player.running:
            if new:
                session.waiting.append(message)
        elif new:
            turn = self.player.prepare(session, message)
            self.start(turn)
            if turn.instant:
                await turn.quiet.wait()
        else:
            self.memory.set_status(session, BUSY)
            self.memory.idle(session)
        return Answer(204)

    async def prompt_and_wait(self, request: Request, session_id: str) -> Answer:
        """The answer's message, once the session is idle. Earlier releases of opencode-a2a send their prompts so."""
        await self.prompt(request, session_id)
        session = self.session(session_id)
        while (turn := self.player.running.get(session_id)) is not None:
            await turn.ended.wait()
        return json_answer(session.messages[-1].json())

    async def abort(self, request: Request, session_id: str) -> Answer:
        """True even for a session nobody knows, as OpenCode has it."""
        session = self.memory.sessions.get(session_id)
        if session is not None:
            self.player.abort(session)
        return _TRUE

    async def permissions(self, request: Request) -> Answer:
        return self._open_requests(request, self.memory.permissions)

    async def questions(self, request: Request) -> Answer:
        return self._open_requests(request, self.memory.questions)

    async def reply_permission(self, request: Request, request_id: str) -> Answer:
        """`always` lets the tool run this once: the fake OpenCode remembers no rules, so tests do not meet."""
        body = request.json
        reply = body.get("reply") if isinstance(body, dict) else None
        if reply not in _PERMISSION_REPLIES:
            expected = " | ".join(f'"{name}"' for name in _PERMISSION_REPLIES)
            raise RefusalError(bad_request(f'Expected {expected}\n  at ["reply"]'))
        pending = self._take(request, self.memory.permissions, "Permission", request_id)
        self._tell(pending, "permission.replied", {"requestID": request_id, "reply": reply})
        pending.settle(body)
        return _TRUE

    async def reply_question(self, request: Request, request_id: str) -> Answer:
        body = request.json
        answers = body.get("answers") if isinstance(body, dict) else None
        if not isinstance(answers, list) or not all(_is_labels(labels) for labels in answers):
            raise RefusalError(bad_request('Expected an array of arrays of strings\n  at ["answers"]'))
        pending = self._take(request, self.memory.questions, "Question", request_id)
        self._tell(pending, "question.replied", {"requestID": request_id, "answers": answers})
        pending.settle(body)
        return _TRUE

    async def reject_question(self, request: Request, request_id: str) -> Answer:
        pending = self._take(request, self.memory.questions, "Question", request_id)
        self._tell(pending, "question.rejected", {"requestID": request_id})
        pending.settle(None)
        return _TRUE

    async def paths(self, request: Request) -> Answer:
        home = "/home/user"
        locations = {
            "home": home,
            "state": f"{home}/.local/state/opencode",
            "config": f"{home}/.config/opencode",
        }
        directory = self.directory(request)
        return json_answer({**locations, "worktree": directory, "directory": directory})

    async def project(self, request: Request) -> Answer:
        return json_answer(self._project(request))

    async def projects(self, request: Request) -> Answer:
        return json_answer([self._project(request)])

    async def providers(self, request: Request) -> Answer:
        name = MODEL["modelID"]
        model = {
            "id": name,
            "providerID": MODEL["providerID"],
            "name": "Scripted",
            "capabilities": {"reasoning": True, "toolcall": True, "attachment": False, "input": self.takes},
            "limit": {"context": 100_000, "output": 4_000},
            "status": "active",
        }
        provider = {
            "id": MODEL["providerID"],
            "name": "Stand-in",
            "source": "config",
            "env": [],
            "options": {},
            "models": {name: model},
        }
        return json_answer({"providers": [provider], "default": {MODEL["providerID"]: name}})

    async def config(self, request: Request) -> Answer:
        return json_answer({"model": f"{MODEL['providerID']}/{MODEL['modelID']}", **self.memory.configured})

    async def tool_servers(self, request: Request) -> Answer:
        servers = self.memory.tool_servers.get(self.directory(request), {})
        return json_answer({name: server.report() for name, server in servers.items()})

    async def add_tool_server(self, request: Request) -> Answer:
        body = request.json
        if not isinstance(body, dict) or not isinstance(body.get("name"), str):
            raise RefusalError(bad_request('Missing key\n  at ["name"]'))
        servers = self.memory.tool_servers.setdefault(self.directory(request), {})
        servers[body["name"]] = ToolServer(body["config"])
        return json_answer({name: server.report() for name, server in servers.items()})

    async def disconnect_tool_server(self, request: Request, name: str) -> Answer:
        server = self.memory.tool_servers.get(self.directory(request), {}).get(name)
        if server is not None:
            server.status = "disabled"
        return _TRUE

    async def dispose(self, request: Request) -> Answer:
        self.memory.dispose(self.directory(request))
        return _TRUE

    def _project(self, request: Request) -> JsonObject:
        return {
            "id": PROJECT,
            "worktree": self.directory(request),
            "vcs": "git",
            "time": {"created": 0, "updated": 0},
            "sandboxes": [],
        }

    def _open_requests(self, request: Request, pending: dict[str, Pending]) -> Answer:
        here = {session.id for session in self.sessions_in(self.directory(request))}
        return json_answer([one.request for one in pending.values() if one.request["sessionID"] in here])

    def _take(self, request: Request, pending: dict[str, Pending], kind: str, request_id: str) -> Pending:
        """A request can be answered once, and only from its own directory."""
        found = pending.get(request_id)
        if found is None or self.session(found.request["sessionID"]).directory != self.directory(request):
            raise RefusalError(no_request(kind, request_id))
        return pending.pop(request_id)

    def _tell(self, pending: Pending, type: str, properties: JsonObject) -> None:
        self.memory.publish(self.session(pending.request["sessionID"]), type, properties)


def _is_labels(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(label, str) for label in value)


def _prompt_body(request: Request) -> JsonObject:
    body = request.json
    if not isinstance(body, dict):
        raise RefusalError(bad_request("Expected object"))
    message_id = body.get("messageID", "msg")
    if not isinstance(message_id, str) or not message_id.startswith("msg"):
        raise RefusalError(bad_request('Expected a string starting with "msg"\n  at ["messageID"]'))
    if "parts" not in body:
        raise RefusalError(bad_request('Missing key\n  at ["parts"]'))
    if not isinstance(body["parts"], list):
        raise RefusalError(bad_request('Expected array\n  at ["parts"]'))
    for index, part in enumerate(body["parts"]):
        if not isinstance(part, dict) or part.get("type") not in _PART_FIELDS:
            raise RefusalError(bad_request(f'Expected a part\n  at ["parts"][{index}]'))
        for name in _PART_FIELDS[part["type"]]:
            if not isinstance(part.get(name), str):
                raise RefusalError(bad_request(f'Missing key\n  at ["parts"][{index}]["{name}"]'))
    return body


_Handler: TypeAlias = Callable[..., Awaitable[Answer]]


def _route(method: str, path: str, handler: _Handler) -> tuple[str, re.Pattern[str], _Handler]:
    return method, re.compile(path.replace("{}", "([^/]+)")), handler


_ROUTES = (
    _route("GET", "/global/health", Api.health),
    _route("POST", "/session", Api.create_session),
    _route("GET", "/session", Api.list_sessions),
    _route("GET", "/session/status", Api.statuses),
    _route("GET", "/session/{}", Api.get_session),
    _route("DELETE", "/session/{}", control_api.delete),
    _route("GET", "/session/{}/children", Api.children),
    _route("GET", "/session/{}/message", control_api.messages),
    _route("POST", "/session/{}/message", Api.prompt_and_wait),
    _route("GET", "/session/{}/message/{}", control_api.message),
    _route("GET", "/session/{}/todo", control_api.todo),
    _route("GET", "/session/{}/diff", control_api.diff),
    _route("POST", "/session/{}/fork", control_api.fork),
    _route("POST", "/session/{}/share", control_api.share),
    _route("DELETE", "/session/{}/share", control_api.unshare),
    _route("POST", "/session/{}/summarize", control_api.summarize),
    _route("POST", "/session/{}/revert", control_api.revert),
    _route("POST", "/session/{}/unrevert", control_api.unrevert),
    _route("POST", "/session/{}/command", control_api.command),
    _route("POST", "/session/{}/shell", control_api.shell),
    _route("POST", "/session/{}/prompt_async", Api.prompt),
    _route("POST", "/session/{}/abort", Api.abort),
    _route("GET", "/permission", Api.permissions),
    _route("POST", "/permission/{}/reply", Api.reply_permission),
    _route("GET", "/question", Api.questions),
    _route("POST", "/question/{}/reply", Api.reply_question),
    _route("POST", "/question/{}/reject", Api.reject_question),
    _route("GET", "/path", Api.paths),
    _route("GET", "/project", Api.projects),
    _route("GET", "/project/current", Api.project),
    _route("GET", "/config", Api.config),
    _route("GET", "/mcp", Api.tool_servers),
    _route("POST", "/mcp", Api.add_tool_server),
    _route("POST", "/mcp/{}/disconnect", Api.disconnect_tool_server),
    _route("POST", "/instance/dispose", Api.dispose),
    _route("GET", "/config/providers", Api.providers),
    _route("GET", "/provider", control_api.catalogue),
    _route("GET", "/experimental/workspace", control_api.workspaces),
    _route("POST", "/experimental/workspace", control_api.create_workspace),
    _route("DELETE", "/experimental/workspace/{}", control_api.remove_workspace),
    _route("GET", "/experimental/worktree", control_api.worktrees),
    _route("POST", "/experimental/worktree", control_api.create_worktree),
    _route("DELETE", "/experimental/worktree", control_api.remove_worktree),
    _route("POST", "/experimental/worktree/reset", control_api.reset_worktree),
)
