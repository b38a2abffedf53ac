"""An earlier release at work: asked in its own protocol version, it writes its database, and is ended.

Knows how each release is asked; what becomes of its database is for the tests.
"""

from __future__ import annotations

import base64
import json
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from attrs import Factory, define, frozen

from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import Task
from tests.interop.driver import ROOT
from tests.interop.peers.peer import running_earlier
from tests.real.adapter import environment, listening
from tests.real.deadline import Deadline
from tests.real.process import Process

TOKENS: Final = {"alice": "token-of-alice-29f6b1", "bob": "token-of-bob-7c40d2e8"}
CREDENTIALS: Final = json.dumps(
    [{"scheme": "bearer", "token": token, "principal": who} for who, token in TOKENS.items()]
)
SECONDS: Final = 90.0
WORDS: Final = 'Grüße aus 東京 🌱 und "mehr"\n\tzweite Zeile \\ e\u0301'
IMAGE: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(32))).decode()
DATA: Final = {"größe": [1, 2.5, None, {"雪": True}]}

Json = dict[str, Any]


@frozen(kw_only=True)
class Release:
    """A release, and its words for what all of them have."""

    version: str
    protocol: str
    arguments: tuple[str, ...]
    methods: Mapping[str, str]
    states: Mapping[str, str]
    headers: Mapping[str, str]

    def text(self, text: str) -> Json:
        return {"kind": "text", "text": text} if self.protocol == "0.3" else {"text": text}

    def file(self) -> Json:
        if self.protocol == "0.3":
            return {"kind": "file", "file": {"bytes": IMAGE, "mimeType": "image/png", "name": "bild-ü.png"}}
        return {"raw": IMAGE, "mediaType": "image/png", "filename": "bild-ü.png"}

    def data(self) -> Json:
        return {"kind": "data", "data": DATA} if self.protocol == "0.3" else {"data": DATA}

    def message(self, context_id: str, parts: list[Json]) -> Json:
        kind = {"kind": "message", "role": "user"} if self.protocol == "0.3" else {"role": "ROLE_USER"}
        return {"message": {**kind, "messageId": str(uuid.uuid4()), "contextId": context_id, "parts": parts}}


_EXTENSION: Final = "urn:opencode-a2a:extension:"
RELEASES: Final = {
    "0.7.1": Release(
        version="0.7.1",
        protocol="0.3",
        arguments=(),
        methods={"stream": "message/stream", "send": "message/send", "get": "tasks/get", "cancel": "tasks/cancel"},
        states={"asks": "input-required", "ended": '"final": true'},
        headers={},
    ),
    "1.4.0": Release(
        version="1.4.0",
        protocol="1.0",
        arguments=("serve",),
        methods={"stream": "SendStreamingMessage", "send": "SendMessage", "get": "GetTask", "cancel": "CancelTask"},
        states={"asks": "TASK_STATE_INPUT_REQUIRED", "ended": "TASK_STATE_COMPLETED"},
        headers={
            "A2A-Version": "1.0",
            "A2A-Extensions": f"{_EXTENSION}session-binding:v1,{_EXTENSION}interactive-interrupt:v1",
        },
    ),
}


@define(kw_only=True)
class Written:
    """A database that a release has written, and the tasks as the release itself shows them, with their owners.

    `asking`: a task that waits, by context. `opencode`: the URL of the OpenCode, which goes on.
    """

    release: Release
    database: Path
    opencode: str
    tasks: dict[str, Task] = Factory(dict)
    owners: dict[str, str] = Factory(dict)
    asking: dict[str, str] = Factory(dict)

    @property
    def left_out(self) -> set[str]:
        """The tasks of which the release says neither owner nor session: with two principals, they are nobody's."""
        if self.release.protocol == "1.0":
            return set()
        return {one for one, task in self.tasks.items() if task.context_id in ("ctx-data", "ctx-canceled")}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of one of its tables."""
        uri = f"file:{self.database}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]

    def session_of(self, context_id: str) -> str:
        """The session that the release has bound to a context."""
        found = [row["session_id"] for row in self.rows("a2a_session_bindings") if row["context_id"] == context_id]
        assert len(found) == 1, (context_id, found)
        return str(found[0])


@define(kw_only=True)
class Caller:
    """A client of a running release."""

    release: Release
    url: str
    streams: list[threading.Thread] = Factory(list)

    def ask(self, who: str, operation: str, params: Json) -> Json:
        """Ask once. Raises `AssertionError` for an error."""
        answer = httpx.post(
            self.url, json=self._body(operation, params), headers=self._headers(who), timeout=SECONDS, trust_env=False
        ).json()
        assert "result" in answer, answer
        result: Json = answer["result"]
        return result

    def stream(self, who: str, context_id: str, *parts: Json, until: Callable[[Json], bool]) -> str:
        """Send a message and wait for an item of its stream, which stays open; the task's id."""
        found: list[str] = []
        done = threading.Event()

        def read() -> None:
            try:
                with httpx.stream(
                    "POST",
                    self.url,
                    json=self._body("stream", self.release.message(context_id, list(parts))),
                    headers={**self._headers(who), "accept": "text/event-stream", "accept-encoding": "identity"},
                    timeout=SECONDS,
                    trust_env=False,
                ) as answer:
                    for line in answer.iter_lines():
                        item = json.loads(line[5:])["result"] if line.startswith("data:") else None
                        if item is not None:
                            found.extend(_ids(item))
                            if until(item):
                                done.set()
            except httpx.HTTPError:
                pass  # the release is ended while the stream is open
            done.set()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self.streams.append(thread)
        assert done.wait(SECONDS), "the stream has not come that far"
        return found[0]

    def end(self, who: str, context_id: str, *parts: Json) -> str:
        """Send a message and read its stream to the end; the task's id."""
        task_id = self.stream(who, context_id, *parts, until=lambda item: False)
        self.streams[-1].join(SECONDS)
        return task_id

    def task(self, who: str, task_id: str) -> Task:
        """The task, as the release shows it."""
        shown = self.ask(who, "get", {"id": task_id})
        return CODECS[self.release.protocol].parse_task({"kind": "task", **shown})

    def _body(self, operation: str, params: Json) -> Json:
        return {"jsonrpc": "2.0", "id": 1, "method": self.release.methods[operation], "params": params}

    def _headers(self, who: str) -> dict[str, str]:
        return {"authorization": f"Bearer {TOKENS[who]}", **self.release.headers}


def _ids(item: Json) -> list[str]:
    inner = next((item[kind] for kind in ("task", "statusUpdate", "artifactUpdate") if kind in item), item)
    return [str(inner.get("taskId") or inner["id"])]


@contextmanager
def written_by(version: str, folder: Path, ending: signal.Signals) -> Iterator[Written]:
    """A database that the release has written before it was ended by a signal. OpenCode runs until the end."""
    release = RELEASES[version]
    path = folder / "earlier.db"
    more = {
        "A2A_TASK_STORE_BACKEND": "database",
        "A2A_TASK_STORE_DATABASE_URL": f"sqlite+aiosqlite:///{path}",
        "A2A_STATIC_AUTH_CREDENTIALS": CREDENTIALS,
    }
    opencode_environment = environment(folder) | {"PYTHONPATH": str(ROOT)}
    with listening(["tests.interop.upgrade.opencode"], folder, opencode_environment) as opencode:
        with running_earlier(version, release.arguments, folder, opencode, more) as (url, process):
            written = Written(release=release, database=path, opencode=opencode)
            caller = Caller(release=release, url=f"{url}/")
            _write(caller, written)
            _end(process, ending)
            for thread in caller.streams:
                thread.join(SECONDS)
        yield written


def _write(caller: Caller, written: Written) -> None:
    """Have tasks of all states written."""
    release = caller.release
    text = release.text
    ended = [
        ("alice", "ctx-words", [text(f"ECHO {WORDS}")]),
        ("alice", "ctx-file", [text("COUNT"), release.file()]),
        ("alice", "ctx-file", [text("COUNT")]),
        ("alice", "ctx-data", [text("hello"), release.data()]),
        ("bob", "ctx-tools", [text("TOOL")]),
        ("bob", "ctx-tools", [text("THINK")]),
        ("bob", "ctx-refused", [text("FAIL401")]),
        ("bob", "ctx-wrong", [text("BADTOOL")]),
    ]
    for who, context_id, parts in ended:
        written.owners[caller.end(who, context_id, *parts)] = who
    sent = caller.ask("alice", "send", release.message("ctx-sent", [text("hello")]))
    written.owners[_ids(sent)[0]] = "alice"
    canceled = caller.stream("alice", "ctx-canceled", text("SLOW"), until=lambda item: True)
    _busy(written.opencode, written.database.parent)
    caller.ask("alice", "cancel", {"id": canceled})
    caller.streams[-1].join(SECONDS)
    written.owners[canceled] = "alice"
    for who, context_id, keyword in (
        ("alice", "ctx-permission-asyncio", "PERMISSION"),
        ("alice", "ctx-permission-trio", "PERMISSION"),
        ("bob", "ctx-question", "QUESTION"),
    ):
        asking = caller.stream(
            who, context_id, text(keyword), until=lambda item: release.states["asks"] in json.dumps(item)
        )
        written.asking[context_id] = asking
        written.owners[asking] = who
    for task_id, who in written.owners.items():
        written.tasks[task_id] = caller.task(who, task_id)


def in_opencode(opencode: str, path: str, folder: Path) -> Any:
    """Read something of OpenCode, in the directory where the release was at work."""
    query = {"directory": str(folder)}
    return httpx.get(f"{opencode}{path}", params=query, timeout=SECONDS, trust_env=False).raise_for_status().json()


def answer_in_opencode(opencode: str, path: str, folder: Path, body: Json) -> None:
    """Answer in OpenCode what it asks, as its own user does."""
    query = {"directory": str(folder)}
    httpx.post(f"{opencode}{path}", params=query, json=body, timeout=SECONDS, trust_env=False).raise_for_status()


def _busy(opencode: str, folder: Path) -> None:
    """Wait until OpenCode is at work."""
    deadline = Deadline.within(SECONDS)
    while not in_opencode(opencode, "/session/status", folder):
        assert not deadline.passed
        time.sleep(0.05)


def _end(process: Process, ending: signal.Signals) -> None:
    if ending is signal.SIGKILL:
        process.signal(ending)
        process.popen.wait(SECONDS)
    process.stop(SECONDS)
