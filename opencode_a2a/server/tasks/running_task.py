"""A task at work, as its agent sees it: the means to publish, and to ask the user."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import anyio
import orjson
from attrs import define, field

from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from sansio.a2a.codecs.fields import DEEPEST, nested_deeper
from sansio.a2a.model import Artifact, JsonObject, Message, Part, Role, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log import (
    ArtifactChunk,
    LogEvent,
    MessageAdded,
    MetadataChanged,
    StatusChanged,
)
from sansio.a2a.tasks.task_log_codec import encode_events

_LONGEST = 2000  # characters of an error's text in a task
_DEEPEST = DEEPEST - 8  # levels of an event: a stored task, and an answer that holds it, have a few more


@define(eq=False)
class RunningTask:
    """One task at work. `now`: returns the time as RFC 3339. `scope`: what is cancelled where the work has to stop.

    `text`, `artifact` and `metadata` reach readers at once, and the store within a tenth of a second. `status`, `ask`
    and `keep` return once the change is durable; they raise `StoreError` where it never will be.
    """

    active: ActiveTask
    now: Callable[[], str]
    _publisher: TaskPublisher
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    abandoned: bool = False  # another server works on it
    _open: dict[str, str] = field(factory=dict)  # the artifacts that grow, by their names
    _answer: Message | None = None
    _asking: anyio.Lock | None = None  # most agents ask nothing
    _answered: anyio.Event | None = None  # there is one while the agent waits for an answer

    @property
    def id(self) -> str:
        """The task's id."""
        return self.active.facts.task_id

    @property
    def context_id(self) -> str:
        """The id of the context that the task belongs to."""
        return self.active.facts.context_id

    @property
    def principal(self) -> str:
        """Who started the task."""
        return self.active.facts.principal

    # --- what a later process needs ------------------------------------------------------------------------

    @property
    def kept(self) -> JsonObject:
        """The members that `keep` has stored, also by an earlier process."""
        return dict(self.active.options.get("kept", {}))

    async def keep(self, members: JsonObject) -> None:
        """Keep members with the task, where no client sees them. They are durable once this returns.

        Raises `ValueError` for what is no JSON.
        """
        _encodable([MetadataChanged(members)])
        self.active.keep("kept", {**self.kept, **members})
        await self._publisher.settle(self.active)

    # --- publishing ---------------------------------------------------------------------------------------

    def text(self, text: str, artifact: str = "response", *, continues: bool = False) -> None:
        """Add text to an artifact, which begins with the first text of its name.

        `continues`: what an earlier process has published of the artifact stays, and the text is added to it.
        """
        begun = artifact in self._open
        if not begun:
            artifact = _valid(artifact)
            begun = artifact in self._open
        artifact_id = f"{self.id}:{artifact}"
        begun = begun or (continues and self._has(artifact_id))
        self._open[artifact] = artifact_id
        piece = Artifact(artifact_id=artifact_id, name=artifact, parts=(TextPart(text=_valid(text)),))
        self.active.publish([ArtifactChunk(artifact=piece, append=begun, joins=begun)])

    def artifact(self, artifact: Artifact) -> None:
        """Publish a whole artifact; it replaces one with the same id. Raises `ValueError` for what is no JSON."""
        self.active.publish(_encodable([ArtifactChunk(artifact=artifact, last_chunk=True)]))

    def metadata(self, members: JsonObject) -> None:
        """Merge members into the task's metadata. Raises `ValueError` for what is no JSON."""
        self.active.publish(_encodable([MetadataChanged(members)]))

    async def status(
        self, state: TaskState = TaskState.WORKING, text: str | None = None, *, metadata: JsonObject | None = None
    ) -> None:
        """Publish a status. `text`: the message that it has; `metadata`: of the event, not of the task.

        A final state ends the task, whatever the agent does then.
        """
        closed = self.closed() if state.terminal else []
        status = TaskStatus(state=state, message=self._message(text), timestamp=self.now())
        await self.publish([*closed, StatusChanged(status=status, metadata=metadata)])

    async def publish(self, events: Sequence[LogEvent]) -> None:
        """Publish any events of the task's log; those that its rules forbid are dropped.

        Raises `ValueError` for what is no JSON.
        """
        await self._publisher.publish(self.active, _encodable(events))

    async def ask(self, text: str) -> Message:
        """Ask the user, and return the message that answers; of several questions at once, one after the other.

        Where the wait is cancelled, the task works on. Raises `RuntimeError` where it has ended: nobody can answer.
        """
        if self._asking is None:
            self._asking = anyio.Lock()
        async with self._asking:
            answered = self._answered = anyio.Event()
            try:
                await self.status(TaskState.INPUT_REQUIRED, text)
                if self.active.log.state.terminal:
                    raise RuntimeError("the task has ended, and its user can be asked no more")
                await answered.wait()
                await self._publisher.settle(self.active)
                assert self._answer is not None  # set before the event is
                return self._answer
            finally:
                if not answered.is_set():  # a message does not answer it any more
                    working = TaskStatus(state=TaskState.WORKING, timestamp=self.now())
                    self.active.publish([StatusChanged(status=working)])
                self._answer = self._answered = None

    async def take(self, message: Message) -> bool:
        """Take a message as the answer to `ask`; False where none is waited for.

        Returns once it is durable. Raises `StoreError` while that fails: `ask` offers it again.
        """
        waiting = self._answered
        if waiting is None or waiting.is_set():
            return False
        self._answer = message
        working = TaskStatus(state=TaskState.WORKING, timestamp=self.now())
        self.active.publish([MessageAdded(message), StatusChanged(status=working)])
        waiting.set()
        await self.active.shown()
        return True

    # --- the end ------------------------------------------------------------------------------------------

    def ending(self, state: TaskState, text: str | None = None) -> list[LogEvent]:
        """The events that end the task: artifacts that grow are whole, and the status is final."""
        status = TaskStatus(state=state, message=self._message(text), timestamp=self.now())
        return [*self.closed(), StatusChanged(status=status)]

    def _has(self, artifact_id: str) -> bool:
        return any(artifact.artifact_id == artifact_id for artifact in self.active.task().artifacts)

    def closed(self) -> list[LogEvent]:
        """The events that close the artifacts that grow."""
        whole = [Artifact(artifact_id=artifact_id, name=name, parts=()) for name, artifact_id in self._open.items()]
        self._open.clear()
        return [ArtifactChunk(artifact=artifact, append=True, last_chunk=True) for artifact in whole]

    def _message(self, text: str | None) -> Message | None:
        if text is None:
            return None
        parts: tuple[Part, ...] = (TextPart(text=_valid(text[:_LONGEST])),)
        return Message(
            message_id=str(uuid.uuid4()), role=Role.AGENT, parts=parts, task_id=self.id, context_id=self.context_id
        )


def _valid(text: str) -> str:
    """The text with lone surrogates replaced: no JSON can hold them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _encodable(events: Sequence[LogEvent]) -> Sequence[LogEvent]:
    """The events, if they can be stored, and read again. Raises `ValueError` to the agent that made them."""
    try:
        stored = encode_events(events)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"this cannot be published as JSON: {error}") from None
    if stored.count(b"[") + stored.count(b"{") > _DEEPEST and nested_deeper(orjson.loads(stored), _DEEPEST):
        raise ValueError(f"this cannot be published: it is nested more than {_DEEPEST} levels deep")
    return events
