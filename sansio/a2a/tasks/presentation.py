"""Presentation of tasks and stream items to one client: its codec, text only, the metadata of its extensions.

Clients of version 0.3 get the shared metadata of every extension, activated or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from attrs import evolve, field, frozen

from sansio.a2a.bindings.json_output import SLICE, Steps, encoded_pieces
from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.registry import Codec
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.media_types import JSON
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    JsonObject,
    Message,
    Part,
    StreamItem,
    Task,
    TaskPage,
    TextPart,
)
from sansio.a2a.tasks.answer_projection import with_answer_as_message
from sansio.a2a.tasks.shared_metadata import SHARED_BY, STATED_ONCE, STREAM_RESUME
from sansio.a2a.tasks.task_log import merge

_CODECS: Mapping[str, Codec] = {codec.NAME: codec for codec in (v0_3, v0_3_gateway, v1_0)}


TASKS_AT_ONCE: Final = 16
"""Tasks of a page that are rendered in one step, however small: large ones without their artifacts take as long."""


def as_text(task: Task) -> Task:
    """Return the task for a client that takes only text: data parts become compact JSON."""
    if not any(isinstance(part, DataPart) for artifact in task.artifacts for part in artifact.parts):
        return task
    return evolve(task, artifacts=tuple(_textual(artifact) for artifact in task.artifacts))


def _textual(artifact: Artifact) -> Artifact:
    return evolve(artifact, parts=tuple(_text_of(part) for part in artifact.parts))


def _text_of(part: Part) -> Part:
    if not isinstance(part, DataPart):
        return part
    text = orjson.dumps(part.data).decode()
    return TextPart(text=text, metadata=part.metadata, media_type=JSON, filename=part.filename)


@frozen
class Presentation:
    """Presentation to one client. `extensions`: names of the activated ones. `key`: equal for equal presentations."""

    codec: Codec
    text_only: bool = False
    extensions: frozenset[str] = frozenset()
    key: str = field(init=False)
    _shared: frozenset[str] | None = field(init=False)  # None: all of it

    @key.default
    def _make_key(self) -> str:
        names = sorted(SHARED_BY.keys() & self.extensions)
        return " ".join((self.codec.NAME, *(("text",) if self.text_only else ()), *names))

    @_shared.default
    def _make_shared(self) -> frozenset[str] | None:
        if DIALECTS[self.codec.VERSION].shows_all_metadata:
            return None
        return frozenset().union(*(SHARED_BY.get(name, ()) for name in self.extensions))

    @classmethod
    def of_key(cls, key: str) -> Presentation:
        """Return the view with this `key`."""
        codec, *words = key.split(" ")
        return cls(_CODECS[codec], "text" in words, frozenset(words) - {"text"})

    @property
    def version(self) -> str:
        """The protocol version it belongs to."""
        return self.codec.VERSION

    def task(self, task: Task) -> JsonObject:
        """Return a task as the result of an operation."""
        return self._task_seen(self.codec.render_task(self._prepared(task)))

    def send_result(self, item: Task | Message) -> JsonObject:
        """Return the result of a send."""
        if isinstance(item, Task):
            item = self._prepared(item)
        return self._item_seen(self.codec.render_send_result(item))

    def page(self, page: TaskPage, *, artifacts: bool) -> Steps[list[bytes]]:
        """Render a page of tasks as JSON, in steps and pieces, with or without their artifacts."""
        pieces = [b'{"tasks":[']
        made = 0
        for number, task in enumerate(self.tasks_of(page, artifacts=artifacts), 1):
            if len(pieces) > 1:
                pieces.append(b",")
            encoded = yield from encoded_pieces(task)
            pieces += encoded
            made += sum(map(len, encoded))
            if made > SLICE or number % TASKS_AT_ONCE == 0:
                made = 0
                yield
        pieces.append(b"]," + orjson.dumps(self.rest_of(page))[1:])
        return pieces

    def tasks_of(self, page: TaskPage, *, artifacts: bool) -> Iterator[JsonObject]:
        """Render the tasks of a page one by one, with or without their artifacts."""
        for task in page.tasks:
            seen = self._prepared(task)
            yield self._task_seen(self.codec.render_task(seen if artifacts else evolve(seen, artifacts=())))

    def rest_of(self, page: TaskPage) -> JsonObject:
        """Render the members of a page beside its tasks."""
        rest = self.codec.render_task_page(evolve(page, tasks=()))
        del rest["tasks"]
        return rest

    def notification(self, item: StreamItem) -> JsonObject:
        """Return a push notification. Version 0.3 sends a task in its own schema, whichever binding asked for it."""
        if DIALECTS[self.codec.VERSION].push_sends_task:
            assert isinstance(item, Task)  # what version 0.3 sends
            return v0_3.render_task(self._prepared(item))
        return self._item_seen(self.codec.render_item(self._readable(item)))

    @property
    def marks_events(self) -> bool:
        """Whether the number of an event stands in its item."""
        return STREAM_RESUME in self.extensions

    def metadata(self, metadata: JsonObject | None, *, joins: bool = False) -> JsonObject | None:
        """Return the metadata of an artifact's chunk as far as it is shown; `None`: there is none.

        `joins`: it continues the text of the chunk before it, and does not repeat what that one has stated.
        """
        if metadata is None or self._shared is None or "shared" not in metadata:
            return metadata
        kept = _kept(metadata, self._shared)
        shared = kept.get("shared")
        if joins and isinstance(shared, dict):
            kept["shared"] = {name: _unstated(name, value) for name, value in shared.items()}
        return kept or None

    def item(self, item: StreamItem, number: int) -> JsonObject:
        """Return an item of a stream; `number`: its event's."""
        if self.text_only or isinstance(item, Task):
            item = self._readable(item)
        if isinstance(item, ArtifactUpdate) and item.joins and item.artifact.metadata is not None:
            metadata = self.metadata(item.artifact.metadata, joins=True)
            item = evolve(item, artifact=evolve(item.artifact, metadata=metadata))
        if self.marks_events and not isinstance(item, Message):
            mark = {"shared": {"resume": {"event_id": str(number)}}}
            item = evolve(item, metadata=merge(item.metadata, mark))
        return self._item_seen(self.codec.render_item(item))

    def text_alone(self, item: StreamItem) -> str | None:
        """Return the text of a piece of text, of whose metadata the client sees nothing; None for any other item."""
        if not isinstance(item, ArtifactUpdate) or len(item.artifact.parts) != 1 or STREAM_RESUME in self.extensions:
            return None
        part = item.artifact.parts[0]
        if not isinstance(part, TextPart) or part.metadata is not None or (part.media_type or part.filename):
            return None
        if self._shows_some(item.metadata) or self._shows_some(item.artifact.metadata):
            return None
        return part.text

    # --- inside -------------------------------------------------------------------------------------------

    def _readable(self, item: StreamItem) -> StreamItem:
        if isinstance(item, Task):
            return self._prepared(item)
        if self.text_only and isinstance(item, ArtifactUpdate):
            return evolve(item, artifact=_textual(item.artifact))
        return item

    def _prepared(self, task: Task) -> Task:
        if self.text_only:
            task = as_text(task)
        return with_answer_as_message(task) if DIALECTS[self.codec.VERSION].answers_as_message else task

    def _item_seen(self, body: JsonObject) -> JsonObject:
        """Remove what was not negotiated from a rendered item of version 1.0. Its members change in place."""
        if self._shared is None:
            return body
        if (update := body.get("artifactUpdate")) is not None:
            self._strip(update["artifact"])
            if "metadata" in update:
                self._strip(update)
        elif (update := body.get("statusUpdate")) is not None:
            self._strip(update)
        elif (task := body.get("task")) is not None:
            self._task_seen(task)
        return body

    def _task_seen(self, task: JsonObject) -> JsonObject:
        if self._shared is not None:
            self._strip(task)
            for artifact in task.get("artifacts", ()):
                self._strip(artifact)
        return task

    def _shows_some(self, metadata: JsonObject | None) -> bool:
        """Return whether a client may see anything of metadata."""
        if metadata is None:
            return False
        hides_shared = self._shared is not None and not self._shared and isinstance(metadata.get("shared"), dict)
        return not hides_shared or len(metadata) > 1

    def _strip(self, holder: JsonObject) -> None:
        metadata = holder.get("metadata")
        if metadata is None or "shared" not in metadata:
            return
        kept = _kept(metadata, self._shared or frozenset())
        if kept:
            holder["metadata"] = kept
        else:
            del holder["metadata"]


def _unstated(name: str, member: Any) -> Any:
    """Return a member of the shared metadata without what the chunk before has stated."""
    once = STATED_ONCE.get(name)
    if once is None or not isinstance(member, dict):
        return member
    return {key: value for key, value in member.items() if key not in once}


def _kept(metadata: JsonObject, names: frozenset[str]) -> JsonObject:
    """Return the metadata with the shared members that are named; the original is left as it is."""
    shared: Any = metadata["shared"]
    if isinstance(shared, dict):
        shared = {name: value for name, value in shared.items() if name in names}
    rest = {name: value for name, value in metadata.items() if name != "shared"}
    return {**rest, "shared": shared} if shared else rest
