"""A real `opencode serve` on loopback, with the scripted model behind it, and what a test may ask of it.

Knows OpenCode's own API and nothing of A2A: it is the other witness of what a turn said.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import httpx

from tests.real.deadline import Deadline
from tests.real.process import Process
from tests.real.streams import data_lines
from tests.shell.ports import free_port

Json: TypeAlias = dict[str, Any]

API_KEY = "scripted-provider-key"
START_SECONDS = 120
TURN_SECONDS = 120
STOP_SECONDS = 2  # now and then OpenCode does not end when asked to; it holds nothing worth waiting for


@attrs.frozen(kw_only=True)
class Tool:
    """One tool call as OpenCode has recorded it."""

    call_id: str
    name: str
    status: str
    input: Json
    output: str | None
    error: str | None
    title: str | None


@attrs.frozen(kw_only=True)
class Record:
    """What OpenCode has recorded of a session's last turn: each text is one part, to the letter."""

    texts: tuple[str, ...]
    reasoning: tuple[str, ...]
    tools: tuple[Tool, ...]
    error: str | None
    input_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, messages: list[Json]) -> Record:
        """From the answer of `GET /session/{id}/message`."""
        asked = max(index for index, each in enumerate(messages) if each["info"]["role"] == "user")
        answers = messages[asked + 1 :]
        parts = [part for answer in answers for part in answer["parts"]]
        errors = [answer["info"]["error"]["name"] for answer in answers if "error" in answer["info"]]
        return cls(
            texts=tuple(part["text"] for part in parts if part["type"] == "text"),
            reasoning=tuple(part["text"] for part in parts if part["type"] == "reasoning"),
            tools=tuple(tool_of(part) for part in parts if part["type"] == "tool"),
            error=errors[-1] if errors else None,
            input_tokens=sum(answer["info"]["tokens"]["input"] for answer in answers),
            output_tokens=sum(answer["info"]["tokens"]["output"] for answer in answers),
        )


def tool_of(part: Json) -> Tool:
    state = part["state"]
    return Tool(
        call_id=part["callID"],
        name=part["tool"],
        status=state["status"],
        input=state["input"],
        output=state.get("output"),
        error=state.get("error"),
        title=state.get("title"),
    )


@attrs.frozen(kw_only=True)
class OpenCode:
    """A running OpenCode. `project` is the directory it works in."""

    url: str
    project: Path
    http: httpx.Client

    def create_session(self) -> str:
        created = self.http.post("/session", json={}).raise_for_status().json()
        return str(created["id"])

    def prompt(self, session_id: str, text: str, directory: Path | None = None) -> None:
        """Start a turn; returns before it ends. `directory`: the session's; None: OpenCode's own."""
        body = {"parts": [{"type": "text", "text": text}]}
        params = {"directory": str(directory or self.project)}
        self.http.post(f"/session/{session_id}/prompt_async", json=body, params=params).raise_for_status()

    def abort(self, session_id: str) -> None:
        self.http.post(f"/session/{session_id}/abort").raise_for_status()

    def messages(self, session_id: str) -> list[Json]:
        """What OpenCode has stored of a session."""
        found: list[Json] = self.http.get(f"/session/{session_id}/message").raise_for_status().json()
        return found

    def record(self, session_id: str) -> Record:
        return Record.of(self.messages(session_id))

    def user_texts(self, session_id: str) -> list[str]:
        """What the user has said in a session, oldest first."""
        messages = self.http.get(f"/session/{session_id}/message").raise_for_status().json()
        return [
            part["text"]
            for message in messages
            if message["info"]["role"] == "user"
            for part in message["parts"]
            if part["type"] == "text" and not part.get("synthetic")
        ]

    @contextmanager
    def listening(self, deadline: Deadline) -> Iterator[Iterator[Json]]:
        """The event bus from now on, each event as `{"type", "properties"}`."""
        with self.http.stream("GET", "/event", timeout=TURN_SECONDS) as response:
            response.raise_for_status()
            events = (json.loads(line) for line in data_lines(response, deadline))
            assert next(events)["type"] == "server.connected"
            yield events

    @contextmanager
    def listening_to_all(self, deadline: Deadline) -> Iterator[Iterator[Json]]:
        """The events of every directory from now on, each as `{"type", "properties"}`."""
        with self.http.stream("GET", "/global/event", timeout=TURN_SECONDS) as response:
            response.raise_for_status()
            events = (json.loads(line)["payload"] for line in data_lines(response, deadline))
            assert next(events)["type"] == "server.connected"
            yield (event for event in events if event["type"] != "sync")


def of_session(events: Iterator[Json], session_id: str) -> Iterator[Json]:
    return (event for event in events if event["properties"].get("sessionID") == session_id)


def until_idle(events: Iterator[Json], session_id: str) -> Iterator[Json]:
    """One session's events up to the one that says its turn is over."""
    for event in of_session(events, session_id):
        yield event
        if event["type"] == "session.idle":
            return
    raise AssertionError("the event bus ended before the turn did")


def configuration(model_url: str) -> Json:
    """One provider, the scripted one; tools run without asking; nothing that would want the internet."""
    return {
        "model": "scripted/scripted",
        "small_model": "scripted/scripted",
        "autoupdate": False,
        "share": "disabled",
        "permission": {"bash": "allow", "edit": "allow"},
        "provider": {
            "scripted": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "Scripted",
                "options": {"baseURL": model_url, "apiKey": API_KEY},
                "models": {
                    "scripted": {
                        "name": "Scripted",
                        "tool_call": True,
                        "reasoning": True,
                        "limit": {"context": 100000, "output": 4000},
                    }
                },
            }
        },
    }


def environment(home: Path) -> dict[str, str]:
    """Nothing of the caller's but the search path: no keys, no proxies, no settings."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
    }


@contextmanager
def running_opencode(
    binary: Path, folder: Path, model_url: str, more: dict[str, str] | None = None, port: int | None = None
) -> Iterator[OpenCode]:
    """Start OpenCode with a HOME and a project directory below `folder`; stop it at the end. `more`: environment.

    A `folder` that another OpenCode had holds what that one has kept. Left to itself OpenCode takes its usual port,
    where every server of other tests that is given no OpenCode looks for one.
    """
    home, project = folder / "home", folder / "project"
    home.mkdir(exist_ok=True)
    project.mkdir(exist_ok=True)
    (project / "opencode.json").write_text(json.dumps(configuration(model_url)))
    command = [str(binary), "serve", "--hostname", "127.0.0.1", "--port", str(free_port() if port is None else port)]
    process = Process.start(command, cwd=project, env=environment(home) | (more or {}))
    try:
        deadline = Deadline.within(START_SECONDS)
        url = process.output.wait_for(r"listening on (http://127\.0\.0\.1:\d+)", deadline).group(1)
        with httpx.Client(base_url=url, timeout=TURN_SECONDS, trust_env=False) as http:
            wait_until_healthy(http, deadline)
            yield OpenCode(url=url, project=project.resolve(), http=http)
    finally:
        process.stop(grace=STOP_SECONDS)


def wait_until_healthy(http: httpx.Client, deadline: Deadline) -> None:
    """Ask with a short timeout, again and again: what is sent in the first moments can stay unanswered."""
    while True:
        deadline.check("OpenCode's health")
        try:
            if http.get("/global/health", timeout=1).is_success:
                return
        except httpx.TransportError:
            continue
