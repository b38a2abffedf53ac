"""The memory of the fake OpenCode: sessions, messages, parts, open requests; every change is an event.

Must know nothing of HTTP, nor of when things change: `app` and `turns` say so.
"""

from __future__ import annotations

import base64
import posixpath
from datetime import UTC, datetime

import anyio
import orjson
from attrs import define, field

from opencode_a2a.fake_opencode.bus import PROJECT, Bus
from opencode_a2a.fake_opencode.exchange import decoded
from opencode_a2a.fake_opencode.ids import Ids, epoch_ms
from opencode_a2a.fake_opencode.json_values import JsonObject
from opencode_a2a.fake_opencode.mcp_client import ToolServer

VERSION = "1.18.33"
MODEL = {"providerID": "standin", "modelID": "scripted"}
INPUT_TOKENS = 11
_TAKEN = ("text/", "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")
_UNNAMED = "New session - "


def tokens(output: int = 0, *, asked: bool = False) -> JsonObject:
    """A token count as OpenCode writes it: without a total before the model has answered."""
    cache = {"read": 0, "write": 0}
    if not asked:
        return {"input": 0, "output": 0, "reasoning": 0, "cache": cache}
    return {
        "total": INPUT_TOKENS + output,
        "input": INPUT_TOKENS,
        "output": output,
        "reasoning": 0,
        "cache": cache,
    }


@define(eq=False)
class Message:
    """One message: its info and its parts, in the form the API shows them."""

    info: JsonObject
    parts: list[JsonObject] = field(factory=list)

    @property
    def id(self) -> str:
        return str(self.info["id"])

    @property
    def text(self) -> str:
        """The typed text, without what OpenCode has added."""
        texts = (part for part in self.parts if part["type"] == "text" and not part.get("synthetic"))
        return "\n".join(part["text"] for part in texts)

    def json(self) -> JsonObject:
        return {"info": self.info, "parts": self.parts}


@define(eq=False, kw_only=True)
class Session:
    """One session. `durable` numbers its durable events."""

    info: JsonObject
    status: JsonObject = field(factory=lambda: {"type": "idle"})
    messages: list[Message] = field(factory=list)
    waiting: list[Message] = field(factory=list)
    todos: list[JsonObject] = field(factory=list)
    diffs: list[JsonObject] = field(factory=list)
    durable: int = 0

    @property
    def id(self) -> str:
        return str(self.info["id"])

    @property
    def directory(self) -> str:
        return str(self.info["directory"])

    @property
    def unusable(self) -> str | None:
        """The media type of a file that no model takes: it stays in the session, and every turn fails on it."""
        files = (part for message in self.messages for part in message.parts if part["type"] == "file")
        types = (str(part["mime"]) for part in files)
        return next((mime for mime in types if not mime.startswith(_TAKEN)), None)

    def clean_up(self) -> None:
        """Forget the messages that were reverted, as OpenCode does with the next prompt."""
        back_to = (self.info.pop("revert", None) or {}).get("messageID")
        ids = [message.id for message in self.messages]
        if back_to in ids:
            del self.messages[ids.index(back_to) :]

    @property
    def works_in(self) -> str:
        """Where its tools run: OpenCode percent-decodes the directory of a session once more."""
        return posixpath.normpath(decoded(self.directory))

    @property
    def unnamed(self) -> bool:
        return str(self.info["title"]).startswith(_UNNAMED)

    @property
    def prompts(self) -> int:
        return sum(message.info["role"] == "user" for message in self.messages)


@define(eq=False)
class Pending:
    """A permission or question that waits. `answer`: the reply's body; None says it was rejected or dropped."""

    request: JsonObject
    answered: anyio.Event = field(factory=anyio.Event)
    answer: JsonObject | None = None

    def settle(self, answer: JsonObject | None) -> None:
        self.answer = answer
        self.answered.set()


class Memory:
    """All that is remembered. Methods change it and publish the change in one go, and never wait."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.ids = Ids()
        self.bus = Bus(self.ids)
        self.sessions: dict[str, Session] = {}
        self.permissions: dict[str, Pending] = {}
        self.questions: dict[str, Pending] = {}
        self.workspaces: dict[str, JsonObject] = {}
        self.worktrees: list[str] = []
        self.configured: JsonObject = {}  # members of the configuration beside its model
        self.tool_servers: dict[str, dict[str, ToolServer]] = {}  # by directory, then by name

    def dispose(self, directory: str) -> None:
        """Let go of a directory's instance: the servers of tools that were added to it are gone."""
        self.tool_servers.pop(directory, None)
        self.bus.publish(directory, "server.instance.disposed", {"directory": directory})

    def tool_server(self, directory: str, tool: str) -> tuple[ToolServer, str] | None:
        """The server of a tool, and the tool's name there, from the name that the model calls."""
        for name, server in self.tool_servers.get(directory, {}).items():
            if tool.startswith(f"{name}_") and server.status == "connected":
                return server, tool.removeprefix(f"{name}_")
        return None

    def create_session(self, directory: str, wanted: JsonObject) -> Session:
        """A new session; `wanted` may hold title, parentID, agent, permission and metadata."""
        now = epoch_ms()
        stamp = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")
        info: JsonObject = {
            "id": self.ids.descending("ses"),
            "slug": "scripted-session",
            "version": VERSION,
            "projectID": PROJECT,
            "directory": directory,
            "path": "",
            "title": wanted.get("title") or _UNNAMED + stamp.replace("+00:00", "Z"),
            "cost": 0,
            "tokens": tokens(),
            "time": {"created": now, "updated": now},
        }
        info |= {name: wanted[name] for name in ("parentID", "agent", "permission", "metadata") if wanted.get(name)}
        session = Session(info=info)
        self.sessions[session.id] = session
        self.publish(session, "session.created", {"info": info}, durable=True)
        return session

    def update_session(self, session: Session, **changes: object) -> None:
        session.info |= changes
        session.info["time"]["updated"] = epoch_ms()
        self.publish(session, "session.updated", {"info": session.info}, durable=True)

    def set_status(self, session: Session, status: JsonObject) -> None:
        session.status = status
        self.publish(session, "session.status", {"status": status})

    def idle(self, session: Session) -> None:
        """Send the event of a session at rest twice, under two names."""
        self.set_status(session, {"type": "idle"})
        self.publish(session, "session.idle", {})

    def add_prompt(self, session: Session, body: JsonObject) -> tuple[Message, bool]:
        """Stores a prompt as a user message; says whether it is new. A known id only gets its parts again."""
        session.clean_up()
        model = body.get("model") or MODEL
        agent = body.get("agent") or session.info.get("agent") or "build"
        self.update_session(
            session,
            agent=agent,
            model={"id": model["modelID"], "providerID": model["providerID"], "variant": "default"},
        )
        chosen = body.get("messageID")
        known = next((message for message in session.messages if message.id == chosen), None)
        message = known or self._user_message(session, chosen, agent, model)
        self.tell_message(session, message)
        for given in body["parts"]:
            part = {**given, "messageID": message.id, "sessionID": session.id}
            part.setdefault("id", self.ids.ascending("prt"))
            if part["type"] == "file" and part["mime"] == "text/plain" and part["url"].startswith("data:"):
                self._read_out(session, message, part)
            message.parts.append(part)
            self.tell_part(session, part)
        self.update_session(session)
        return message, known is None

    def _read_out(self, session: Session, message: Message, file: JsonObject) -> None:
        """A text file is put into the message as text: first that it was read, then what it holds."""
        text = base64.b64decode(file["url"].partition(",")[2]).decode()
        name = orjson.dumps({"filePath": file.get("filename")}).decode()
        for line in (f"Called the Read tool with the following input: {name}", text):
            self.add_part(session, message, type="text", synthetic=True, text=line)

    def _user_message(self, session: Session, chosen: str | None, agent: str, model: JsonObject) -> Message:
        info = {
            "id": chosen or self.ids.ascending("msg"),
            "role": "user",
            "sessionID": session.id,
            "time": {"created": epoch_ms()},
            "agent": agent,
            "model": model,
        }
        message = Message(info)
        session.messages.append(message)
        return message

    def add_answer(self, session: Session, prompt: Message) -> Message:
        """A new assistant message to a prompt."""
        info = {
            "id": self.ids.ascending("msg"),
            "parentID": prompt.id,
            "role": "assistant",
            "mode": prompt.info["agent"],
            "agent": prompt.info["agent"],
            "path": {"cwd": session.works_in, "root": session.works_in},
            "cost": 0,
            "tokens": tokens(),
            "modelID": prompt.info["model"]["modelID"],
            "providerID": prompt.info["model"]["providerID"],
            "time": {"created": epoch_ms()},
            "sessionID": session.id,
        }
        message = Message(info)
        session.messages.append(message)
        self.tell_message(session, message)
        return message

    def add_part(self, session: Session, message: Message, **content: object) -> JsonObject:
        part: JsonObject = {
            "id": self.ids.ascending("prt"),
            "messageID": message.id,
            "sessionID": session.id,
            **content,
        }
        message.parts.append(part)
        self.tell_part(session, part)
        return part

    def tell_message(self, session: Session, message: Message) -> None:
        self.publish(session, "message.updated", {"info": message.info}, durable=True)

    def tell_part(self, session: Session, part: JsonObject) -> None:
        self.publish(session, "message.part.updated", {"part": part, "time": epoch_ms()}, durable=True)

    def publish(self, session: Session, type: str, properties: JsonObject, *, durable: bool = False) -> None:
        location = (session.id, session.durable) if durable else None
        session.durable += durable
        self.bus.publish(session.directory, type, {"sessionID": session.id, **properties}, location)
