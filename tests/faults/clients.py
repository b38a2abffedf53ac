"""Clients of a run: they start tasks, answer what is asked, cut their streams and resume them, and never give up.

They keep what they were told: the task's id once they had it, and what their stream adds up to.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable
from typing import Any, Protocol

import anyio
import httpx
import orjson
from attrs import define, field, frozen

from sansio.a2a.bindings.sse import SseDecoder
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.errors import ErrorKind
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    Part,
    StatusUpdate,
    StreamItem,
    Task,
    TaskState,
    TextPart,
)
from tests.shell.harness import SHARED

_PAUSE = 0.05
_SILENCE = 8.0  # seconds without a byte of a stream, after which a client connects again

_TEMPORARY = (
    ErrorKind.STORE_UNAVAILABLE.row.message,
    ErrorKind.OVERLOADED.row.message,
    "try again later",
    "being stopped",
)
"""What an error says that only holds for now."""

_METHODS = {
    "0.3": {"send": "message/send", "stream": "message/stream", "get": "tasks/get", "subscribe": "tasks/resubscribe"},
    "1.0": {
        "send": "SendMessage",
        "stream": "SendStreamingMessage",
        "get": "GetTask",
        "subscribe": "SubscribeToTask",
    },
}
_CANCEL = {"0.3": "tasks/cancel", "1.0": "CancelTask"}


class NotNowError(Exception):
    """The agent could not be reached, or its answer broke off: to be tried again."""


class RefusedError(Exception):
    """The agent answered with an error."""


@frozen(kw_only=True)
class Script:
    """What to say, and what to answer if OpenCode asks."""

    text: str
    answer: str | None = None


@define(eq=False)
class Said:
    """What a stream adds up to: artifacts by id, as lists of what their parts hold."""

    artifacts: dict[str, list[Any]] = field(factory=dict)

    def add(self, item: StreamItem, *, snapshots: bool) -> None:
        """`snapshots`: a task in the stream replaces what was known, else only what comes first counts."""
        if isinstance(item, Task) and (snapshots or not self.artifacts):
            self.artifacts = artifacts(item.artifacts)
        elif isinstance(item, ArtifactUpdate):
            name = item.artifact.artifact_id
            before = self.artifacts.get(name, []) if item.append else []
            self.artifacts[name] = joined([*before, *_contents(item.artifact.parts)])


def artifacts(found: Iterable[Artifact]) -> dict[str, list[Any]]:
    """Artifacts by id, as a client that only reads sees them."""
    return {one.artifact_id: joined(_contents(one.parts)) for one in found}


def joined(contents: list[Any]) -> list[Any]:
    """Texts that follow each other as one."""
    out: list[Any] = []
    for content in contents:
        if isinstance(content, str) and out and isinstance(out[-1], str):
            out[-1] += content
        else:
            out.append(content)
    return [content for content in out if content != ""]


def _contents(parts: Iterable[Part]) -> list[Any]:
    return [
        part.text if isinstance(part, TextPart) else part.data if isinstance(part, DataPart) else repr(part)
        for part in parts
    ]


class Agents(Protocol):
    """Where a client finds the agent: one server, or any of several."""

    @property
    def url(self) -> str:
        """Where to go with the next request."""

    @property
    def ready(self) -> anyio.Event:
        """Set while the agent can be called."""


@define(eq=False, kw_only=True)
class Client:
    """One message of a client's, with all that became of it."""

    world: Agents
    http: httpx.AsyncClient
    rng: random.Random
    script: Script
    context: str
    version: str
    streams: bool
    cancels: bool = False
    message_id: str = field(factory=lambda: str(uuid.uuid4()))
    task_id: str | None = None
    last: Task | None = None
    said: Said = field(factory=Said)  # as a client that takes each snapshot sees it
    heard: Said = field(factory=Said)  # as one that goes by the updates alone
    cursor: int | None = None
    cuts: int = 0
    retries: int = 0  # of the message itself, while nobody had told of its task
    answers: int = 0
    refusals: list[str] = field(factory=list)
    disorder: list[str] = field(factory=list)  # numbers of events that did not rise, or left one out
    doing: str = ""

    async def run(self) -> None:
        """Until the task has ended."""
        await (self._by_stream() if self.streams else self._by_looking())
        assert self.task_id is not None
        self.doing = "reading the end"
        self.last = await self._get()

    # --- looking now and then -----------------------------------------------------------------------------

    async def _by_looking(self) -> None:
        while self.task_id is None:
            self.doing = "sending"
            try:
                result = await self._call("send", self._sending(), 15.0)
                self._know(self._form.parse_item(result))
            except NotNowError:
                self.retries += 1
                await self._pause()
        cancelled = False
        while True:
            self.doing = "looking"
            task = await self._get()
            self.last = task
            if _ended(task):
                return
            if task.status.state is TaskState.INPUT_REQUIRED:
                await self._answer(task)
            elif self.cancels and not cancelled and task.status.state is TaskState.WORKING:
                self.doing = "cancelling"
                try:
                    await self._call_method(_CANCEL[self.version], {"id": task.id}, 15.0)
                    cancelled = True
                except NotNowError:
                    pass
                except RefusedError as exc:
                    self.refusals.append(str(exc))
            await self._pause()

    # --- streams ------------------------------------------------------------------------------------------

    async def _by_stream(self) -> None:
        while True:
            self.doing = f"streaming after {self.cursor}"
            patience = self.rng.choice((None, None, 3, 10, 30))  # after so many events it hangs up
            try:
                if await self._read(patience):
                    return
            except NotNowError:
                pass
            except RefusedError as exc:
                self.refusals.append(str(exc))
            self.cuts += 1
            self.retries += self.task_id is None
            await self._pause()

    async def _read(self, patience: int | None) -> bool:
        """Read one stream; whether the task has ended in it."""
        if self.task_id is None:
            method, params = "stream", self._sending()
        else:
            method, params = "subscribe", {"id": self.task_id}
        headers = {} if self.cursor is None or self.task_id is None else {"last-event-id": str(self.cursor)}
        count, first = 0, None
        decoder = SseDecoder()
        request = self._request(_METHODS[self.version][method], params, headers)
        try:
            response = await self.http.send(request, stream=True)
        except httpx.HTTPError as exc:
            raise NotNowError from exc
        try:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise _refused(orjson.loads(await response.aread()).get("error"))
            body = response.aiter_raw()
            while True:
                with anyio.move_on_after(_SILENCE) as silence:
                    try:
                        data = await anext(body)
                    except StopAsyncIteration:
                        return self.last is not None and _ended(self.last)
                if silence.cancelled_caught:
                    raise NotNowError
                for event in decoder.feed(data):
                    envelope = orjson.loads(event.data)
                    if "error" in envelope:
                        raise _refused(envelope["error"])
                    item = self._form.parse_item(envelope["result"])
                    self._know(item)
                    self.said.add(item, snapshots=True)
                    self.heard.add(item, snapshots=False)
                    number = int(event.id)
                    first = number if first is None else first
                    self._count(number, item, begins=number == first)
                    count += 1
                    if self.last is not None and self.last.status.state is TaskState.INPUT_REQUIRED:
                        await self._answer(self.last)
                    if patience is not None and count >= patience:
                        return False
        except (httpx.HTTPError, orjson.JSONDecodeError) as exc:
            raise NotNowError from exc
        finally:
            await response.aclose()

    def _count(self, number: int, item: StreamItem, begins: bool) -> None:
        """Take the number of an event.

        Numbers rise. What a stream begins with may be several items with one number; a snapshot may have a smaller
        one than what was seen, where that was not stored yet.
        """
        before = self.cursor if self.cursor is not None else -1
        if number <= before and not (begins and (number == before or isinstance(item, Task))):
            self.disorder.append(f"event {number} after event {before}")
        self.cursor = number

    def _know(self, item: StreamItem) -> None:
        if isinstance(item, Task):
            if self.task_id not in (None, item.id):
                raise AssertionError(f"one message, two tasks: {self.task_id} and {item.id}")
            self.task_id, self.last = item.id, item
        elif isinstance(item, StatusUpdate) and self.last is not None:
            self.last = Task(id=self.last.id, context_id=self.last.context_id, status=item.status)

    # --- requests -----------------------------------------------------------------------------------------

    async def _answer(self, task: Task) -> None:
        """Answer as a person would: with a message to the task, the same again where it is not known to be there."""
        assert self.script.answer is not None, f"{self.script.text}: {task.status}"
        message = self._message(self.script.answer, taskId=task.id)
        self.doing = "answering"
        for _ in range(3):
            try:
                await self._call("send", {"message": message, "configuration": self._at_once}, 15.0)
            except NotNowError:
                await self._pause()
            except RefusedError as exc:
                self.refusals.append(str(exc))
                await self._pause()
                return
            else:
                self.answers += 1
                return

    async def _get(self) -> Task:
        while True:
            try:
                task: Task = self._form.parse_task(await self._call("get", {"id": self.task_id}, 10.0))
                return task
            except NotNowError:
                await self._pause()

    async def _call(self, operation: str, params: dict[str, Any], timeout: float) -> Any:
        return await self._call_method(_METHODS[self.version][operation], params, timeout)

    async def _call_method(self, method: str, params: dict[str, Any], timeout: float) -> Any:
        try:
            with anyio.fail_after(timeout):
                answer = orjson.loads((await self.http.send(self._request(method, params, {}))).content)
        except (httpx.HTTPError, orjson.JSONDecodeError, TimeoutError) as exc:
            raise NotNowError from exc
        if "error" in answer:
            raise _refused(answer["error"])
        return answer["result"]

    def _request(self, method: str, params: dict[str, Any], headers: dict[str, str]) -> httpx.Request:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"a2a-version": self.version, "a2a-extensions": SHARED, **headers}
        return self.http.build_request("POST", self.world.url, json=body, headers=headers)

    @property
    def _form(self) -> Any:
        return CODECS[self.version]

    @property
    def _at_once(self) -> dict[str, Any]:
        return {"blocking": False} if self.version == "0.3" else {"returnImmediately": True}

    def _sending(self) -> dict[str, Any]:
        message = self._message(self.script.text, contextId=self.context, messageId=self.message_id)
        return {"message": message, "configuration": self._at_once}

    def _message(self, text: str, **more: str) -> dict[str, Any]:
        if self.version == "0.3":
            body: dict[str, Any] = {"kind": "message", "role": "user", "parts": [{"kind": "text", "text": text}]}
        else:
            body = {"role": "ROLE_USER", "parts": [{"text": text}]}
        return {"messageId": str(uuid.uuid4()), **body, **more}

    async def _pause(self) -> None:
        with anyio.move_on_after(5):
            await self.world.ready.wait()
        await anyio.sleep(_PAUSE)


def _refused(error: Any) -> Exception:
    """The exception for an error: some say themselves that the request may be sent again."""
    text = str(error)
    return NotNowError() if any(reason in text for reason in _TEMPORARY) else RefusedError(text)


def _ended(task: Task) -> bool:
    state = task.status.state
    return state.terminal or state is TaskState.AUTH_REQUIRED
