"""Calls the extension methods, and knows parameters with which each of them succeeds before the stand-in."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio
import httpx
from attrs import frozen

from tests.shell.harness import CAROL, DEADLINE, RPC_10, Agent

Json: TypeAlias = dict[str, Any]

EVERYTHING_ON: dict[str, Any] = {"enable_session_shell": True, "enable_workspace_mutations": True}
AS_CAROL = {"authorization": "Basic " + base64.b64encode(":".join(CAROL).encode()).decode()}
"""Carol has every capability; Alice and Bob have none."""


@frozen
class Methods:
    """Calls methods on a line as one caller. `headers`: of a caller other than the client's own."""

    http: httpx.AsyncClient
    version: str
    headers: Mapping[str, str] | None = None

    async def post(self, method: str, params: object, **more: object) -> httpx.Response:
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params, **more}
        headers = {"A2A-Version": self.version, **(self.headers or {})}
        with anyio.fail_after(DEADLINE):
            return await self.http.post("/", json=body, headers=headers)

    async def answer(self, method: str, params: object) -> Json:
        """The whole JSON-RPC response."""
        response = await self.post(method, params)
        assert response.status_code == 200, response.text
        assert response.headers["a2a-version"] == self.version
        body: Json = response.json()
        assert body["id"] == 7
        return body

    async def result(self, method: str, params: object) -> Json:
        body = await self.answer(method, params)
        assert "error" not in body, body
        result: Json = body["result"]
        return result

    async def error(self, method: str, params: object) -> Json:
        body = await self.answer(method, params)
        assert "result" not in body, body
        error: Json = body["error"]
        return error

    async def reason(self, method: str, params: object) -> str:
        """The type of an error, wherever the line has it."""
        error = await self.error(method, params)
        if self.version == "0.3":
            return str(error["data"]["type"])
        return str(next(detail["reason"] for detail in error["data"] if "reason" in detail))


@frozen
class World:
    """A session of the caller's with two turns, and what is in it."""

    agent: Agent
    methods: Methods
    session_id: str
    prompt_id: str
    answer_id: str

    def params(self, method: str) -> Json:
        """Parameters with which a method succeeds."""
        return _PARAMS[method](self)


@asynccontextmanager
async def world_of(agent: Agent, version: str, headers: Mapping[str, str] | None = AS_CAROL) -> AsyncGenerator[World]:
    """A session made by a message of the caller's, with a list of things to do and a changed file."""
    caller = agent.caller(RPC_10)
    if headers is not None:
        agent.http.headers.update(headers)
    task = await caller.send("hello")
    await caller.send("hello again", contextId=task.context_id)
    [session_id] = {session.id for session in agent.fake_opencode.sessions.values()}
    session = agent.fake_opencode.sessions[session_id]
    session.todos.append({"content": "write it", "status": "pending", "priority": "high"})
    session.diffs.append({"file": "a.py", "patch": "@@", "additions": 1, "deletions": 0, "status": "added"})
    prompt, answer = session.messages[-2:]
    yield World(agent, Methods(agent.http, version), session_id, prompt.id, answer.id)


def _session(**more: object) -> Callable[[World], Json]:
    return lambda world: {"session_id": world.session_id, **more}


def _nothing(world: World) -> Json:
    return {}


_PARAMS: Mapping[str, Callable[[World], Json]] = {
    "opencode.sessions.status": _nothing,
    "opencode.sessions.list": lambda world: {"limit": 2, "query": {"roots": True, "start": 0}},
    "opencode.sessions.messages.list": _session(limit=1),
    "opencode.sessions.get": _session(),
    "opencode.sessions.children": _session(),
    "opencode.sessions.todo": _session(),
    "opencode.sessions.diff": _session(),
    "opencode.sessions.messages.get": lambda world: {"session_id": world.session_id, "message_id": world.answer_id},
    "opencode.sessions.prompt_async": _session(
        request={"parts": [{"type": "text", "text": "go"}], "tools": {"bash": False}}
    ),
    "opencode.sessions.command": _session(
        request={"command": "init", "arguments": "x", "model": {"providerID": "standin", "modelID": "scripted"}}
    ),
    "opencode.sessions.fork": _session(),
    "opencode.sessions.share": _session(),
    "opencode.sessions.unshare": _session(),
    "opencode.sessions.summarize": _session(),
    "opencode.sessions.revert": lambda world: {
        "session_id": world.session_id,
        "request": {"messageID": world.answer_id},
    },
    "opencode.sessions.unrevert": _session(),
    "opencode.sessions.shell": _session(request={"agent": "build", "command": "ls"}),
    "opencode.providers.list": _nothing,
    "opencode.models.list": lambda world: {"provider_id": "standin"},
    "opencode.projects.list": _nothing,
    "opencode.projects.current": _nothing,
    "opencode.workspaces.list": _nothing,
    "opencode.workspaces.create": lambda world: {"request": {"type": "worktree", "id": "wrk_one"}},
    "opencode.workspaces.remove": lambda world: {"workspace_id": "wrk_one"},
    "opencode.worktrees.list": _nothing,
    "opencode.worktrees.create": lambda world: {"request": {"name": "one"}},
    "opencode.worktrees.reset": lambda world: {"request": {"directory": "/worktrees/one"}},
    "opencode.worktrees.remove": lambda world: {"request": {"directory": "/worktrees/one"}},
    "opencode.permissions.list": _nothing,
    "opencode.questions.list": _nothing,
}
ANSWERING = frozenset(
    {"a2a.interrupt.permission.reply", "a2a.interrupt.question.reply", "a2a.interrupt.question.reject"}
)
"""The methods that need something to answer, and have tests of their own."""

CALLABLE = tuple(_PARAMS)
