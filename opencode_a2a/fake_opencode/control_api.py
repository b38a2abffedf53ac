"""The routes by which sessions, workspaces and worktrees are steered, and the catalogue of providers.

Must know nothing of ASGI, of event streams, or of faults that tests ask for.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from opencode_a2a.fake_opencode.bus import PROJECT
from opencode_a2a.fake_opencode.exchange import Answer, RefusalError, Request, bad_request, json_answer
from opencode_a2a.fake_opencode.ids import epoch_ms
from opencode_a2a.fake_opencode.json_values import JsonObject
from opencode_a2a.fake_opencode.sessions import MODEL, Memory, Message, Session
from opencode_a2a.fake_opencode.turns import Player, Turn

COMMANDS = ("init", "review")
AGENTS = ("build", "plan", "general")
SNAPSHOT = "0" * 40


class Api(Protocol):
    """The parts of the API that these routes need."""

    @property
    def memory(self) -> Memory: ...

    @property
    def player(self) -> Player: ...

    @property
    def start(self) -> Callable[[Turn], None]: ...

    def session(self, session_id: str) -> Session: ...


def failed() -> Answer:
    """The answer of OpenCode to a request that it does not expect."""
    message = "Unexpected server error. Check server logs for details."
    return json_answer({"name": "UnknownError", "data": {"message": message, "ref": "err_00000000"}}, 500)


def _wanted(request: Request, *required: str) -> JsonObject:
    """A body with members that must be strings. Raises `RefusalError`."""
    body = request.json
    if not isinstance(body, dict):
        raise RefusalError(bad_request("Expected object"))
    for name in required:
        if name not in body:
            raise RefusalError(bad_request(f'Missing key\n  at ["{name}"]'))
        if not isinstance(body[name], str):
            raise RefusalError(bad_request(f'Expected string\n  at ["{name}"]'))
    return body


def _message(session: Session, message_id: str) -> Message:
    found = next((message for message in session.messages if message.id == message_id), None)
    if found is None:
        body = {"name": "NotFoundError", "data": {"message": f"Message not found: {message_id}"}}
        raise RefusalError(json_answer(body, 404))
    return found


# --- reading ----------------------------------------------------------------------------------------------


async def messages(api: Api, request: Request, session_id: str) -> Answer:
    """All messages, or the last so many before a cursor, with the cursor of those before them."""
    found = api.session(session_id).messages
    query = request.query
    if "limit" not in query:
        if "before" in query:
            raise RefusalError(json_answer({"_tag": "BadRequest"}, 400))
        return json_answer([message.json() for message in found])
    if "before" in query:
        ids = [message.id for message in found]
        before = _cursor_id(query["before"])
        found = found[: ids.index(before)] if before in ids else []
    limit = int(query["limit"])
    page = found[-limit:]
    answer = json_answer([message.json() for message in page])
    if len(page) == len(found):
        return answer
    mark = orjson.dumps({"id": page[0].id, "time": page[0].info["time"]["created"]})
    cursor = base64.urlsafe_b64encode(mark).rstrip(b"=")
    return Answer(answer.status, answer.body, (*answer.headers, (b"x-next-cursor", cursor)))


def _cursor_id(cursor: str) -> str:
    try:
        return str(orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))["id"])
    except (ValueError, KeyError, TypeError):
        raise RefusalError(json_answer({"_tag": "BadRequest"}, 400)) from None


async def message(api: Api, request: Request, session_id: str, message_id: str) -> Answer:
    """Report an unknown session's messages as missing, not the session."""
    if not message_id.startswith("msg"):
        expected = f'Expected a string starting with "msg", got "{message_id}"\n  at ["messageID"]'
        raise RefusalError(bad_request(expected))
    session = api.memory.sessions.get(session_id) or Session(info={"id": session_id})
    return json_answer(_message(session, message_id).json())


async def todo(api: Api, request: Request, session_id: str) -> Answer:
    return json_answer(api.session(session_id).todos)


async def diff(api: Api, request: Request, session_id: str) -> Answer:
    """Nothing for a session nobody knows, as OpenCode has it."""
    session = api.memory.sessions.get(session_id)
    return json_answer(session.diffs if session is not None else [])


async def catalogue(api: Api, request: Request) -> Answer:
    """Two providers, of which one can be used."""
    used, other = MODEL["providerID"], "elsewhere"
    models = {
        used: _model(used, MODEL["modelID"], "Scripted"),
        other: _model(other, "large-1", "Large 1", attachment=True),
    }
    every: list[JsonObject] = [
        {
            "id": provider,
            "name": provider.capitalize(),
            "source": "config" if provider == used else "custom",
            "env": [],
            "options": {},
            "models": {model["id"]: model},
        }
        for provider, model in models.items()
    ]
    defaults = {provider: model["id"] for provider, model in models.items()}
    return json_answer({"all": every, "default": defaults, "connected": [used]})


def _model(provider: str, name: str, title: str, *, attachment: bool = False) -> JsonObject:
    return {
        "id": name,
        "providerID": provider,
        "name": title,
        "capabilities": {"temperature": True, "reasoning": True, "toolcall": True, "attachment": attachment},
        "cost": {"input": 0, "output": 0},
        "limit": {"context": 100_000, "output": 4_000},
        "status": "active",
    }


# --- changing sessions ------------------------------------------------------------------------------------


async def fork(api: Api, request: Request, session_id: str) -> Answer:
    wanted, session = _wanted(request), api.session(session_id)
    title = f"{session.info['title']} (fork #1)"
    made = api.memory.create_session(session.directory, {"title": title, "metadata": session.info.get("metadata")})
    for one in session.messages:
        if one.id == wanted.get("messageID"):
            break
        copied = Message({**one.info, "id": api.memory.ids.ascending("msg"), "sessionID": made.id})
        copied.parts = [{**part, "sessionID": made.id, "messageID": copied.id} for part in one.parts]
        made.messages.append(copied)
    return json_answer(made.info)


async def delete(api: Api, request: Request, session_id: str) -> Answer:
    """Delete a session. Its turn runs on, as in OpenCode: no event is sent but the one of the deletion."""
    session = api.session(session_id)
    turn = api.player.running.get(session_id)
    del api.memory.sessions[session_id]
    api.memory.publish(session, "session.deleted", {"info": session.info}, durable=True)
    if turn is not None:
        turn.scope.cancel()
    return json_answer(True)


async def share(api: Api, request: Request, session_id: str) -> Answer:
    session = api.session(session_id)
    api.memory.update_session(session, share={"url": f"https://share.example/{session.id[-8:]}"})
    return json_answer(session.info)


async def unshare(api: Api, request: Request, session_id: str) -> Answer:
    session = api.session(session_id)
    session.info.pop("share", None)
    api.memory.update_session(session)
    return json_answer(session.info)


async def summarize(api: Api, request: Request, session_id: str) -> Answer:
    wanted = _wanted(request, "providerID", "modelID")
    session = api.session(session_id)
    if (wanted["providerID"], wanted["modelID"]) != (MODEL["providerID"], MODEL["modelID"]):
        raise RefusalError(failed())
    api.memory.update_session(session, summary={"additions": 0, "deletions": 0, "files": 0})
    return json_answer(True)


async def revert(api: Api, request: Request, session_id: str) -> Answer:
    """To a user's message: an answer is taken back with its prompt. What is not there changes nothing."""
    wanted, session = _wanted(request, "messageID"), api.session(session_id)
    found = next((one for one in session.messages if one.id == wanted["messageID"]), None)
    if found is not None:
        back_to = found.info.get("parentID", found.id)
        api.memory.update_session(session, revert={"messageID": back_to, "snapshot": SNAPSHOT})
    return json_answer(session.info)


async def unrevert(api: Api, request: Request, session_id: str) -> Answer:
    session = api.session(session_id)
    session.info.pop("revert", None)
    api.memory.update_session(session)
    return json_answer(session.info)


async def command(api: Api, request: Request, session_id: str) -> Answer:
    """A turn whose prompt is the command's arguments, to its end."""
    wanted = _wanted(request, "command", "arguments")
    session = api.session(session_id)
    model = wanted.get("model")
    if model is not None and not isinstance(model, str):
        raise RefusalError(bad_request('Expected string\n  at ["model"]'))
    if wanted["command"] not in COMMANDS:
        raise RefusalError(failed())
    prompt_body: JsonObject = {"parts": [{"type": "text", "text": wanted["arguments"]}, *wanted.get("parts", [])]}
    prompt_body |= {name: wanted[name] for name in ("messageID", "agent") if wanted.get(name)}
    prompt, _ = api.memory.add_prompt(session, prompt_body)
    turn = api.player.prepare(session, prompt)
    api.start(turn)
    await turn.quiet.wait()
    return json_answer(session.messages[-1].json())


async def shell(api: Api, request: Request, session_id: str) -> Answer:
    """Runs nothing: what a command writes is the command itself."""
    wanted = _wanted(request, "agent", "command")
    session = api.session(session_id)
    if wanted["agent"] not in AGENTS:
        raise RefusalError(failed())
    prompt_body = {
        "agent": wanted["agent"],
        "parts": [{"type": "text", "text": "The following tool was run by the user"}],
    }
    prompt, _ = api.memory.add_prompt(session, prompt_body)
    answer = api.memory.add_answer(session, prompt)
    now = epoch_ms()
    state: JsonObject = {
        "status": "completed",
        "input": {"command": wanted["command"]},
        "output": f"{wanted['command']}\n",
        "title": "",
        "metadata": {"output": f"{wanted['command']}\n"},
        "time": {"start": now, "end": now},
    }
    call_id = api.memory.ids.ascending("call")
    api.memory.add_part(session, answer, type="tool", callID=call_id, tool="bash", state=state)
    answer.info["time"]["completed"] = now
    return json_answer(answer.json())


# --- workspaces and worktrees -----------------------------------------------------------------------------


async def workspaces(api: Api, request: Request) -> Answer:
    return json_answer(list(api.memory.workspaces.values()))


async def create_workspace(api: Api, request: Request) -> Answer:
    wanted = _wanted(request, "type")
    if wanted["type"] != "worktree":
        text = f"Unknown workspace adapter: {wanted['type']}"
        raise RefusalError(json_answer({"name": "WorkspaceCreateError", "data": {"message": text}}, 400))
    made = {
        "id": wanted.get("id") or api.memory.ids.ascending("wrk"),
        "type": wanted["type"],
        "name": "scripted-workspace",
        "branch": wanted.get("branch"),
        "directory": None,
        "extra": wanted.get("extra"),
        "projectID": PROJECT,
        "timeUsed": epoch_ms(),
    }
    api.memory.workspaces[made["id"]] = made
    return json_answer(made)


async def remove_workspace(api: Api, request: Request, workspace_id: str) -> Answer:
    return json_answer(api.memory.workspaces.pop(workspace_id, None))


async def worktrees(api: Api, request: Request) -> Answer:
    return json_answer(list(api.memory.worktrees))


async def create_worktree(api: Api, request: Request) -> Answer:
    name = _wanted(request).get("name") or "scripted-worktree"
    directory = f"/worktrees/{name}"
    api.memory.worktrees.append(directory)
    return json_answer({"name": name, "branch": f"opencode/{name}", "directory": directory})


async def remove_worktree(api: Api, request: Request) -> Answer:
    api.memory.worktrees.remove(_worktree(api, request, "WorktreeRemoveFailedError"))
    return json_answer(True)


async def reset_worktree(api: Api, request: Request) -> Answer:
    _worktree(api, request, "WorktreeResetFailedError")
    return json_answer(True)


def _worktree(api: Api, request: Request, error: str) -> str:
    directory: Any = _wanted(request, "directory")["directory"]
    if directory not in api.memory.worktrees:
        raise RefusalError(json_answer({"name": error, "data": {"message": "Worktree not found"}}, 400))
    return str(directory)
