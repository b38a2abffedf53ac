"""Readers of the values that have the same members on both versions; what differs is given to them.

For the codecs alone. Documents are ProtoJSON's: each field may come under its `.proto` name too (`protojson`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from attrs import frozen

from sansio.a2a.codecs.fields import MOST_ITEMS, Fields, read_document
from sansio.a2a.codecs.protojson_names import NAMES, ROLE_NUMBERS, STATE_NUMBERS
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    GetTaskRequest,
    ListPushConfigsRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendConfiguration,
    SendRequest,
    StatusUpdate,
    Task,
    TaskIdRequest,
    TaskState,
    TaskStatus,
)

T = TypeVar("T")

PAGE_SIZE = 50
LARGEST_PAGE = 100
"""How many tasks a page has where nobody says, and at most (specification 1.0, `ListTasksRequest`)."""
_ANY_STATE = ("TASK_STATE_UNSPECIFIED", 0, "0")

_NO_STATUS = TaskStatus(state=TaskState.UNKNOWN)
_NO_ARTIFACT = Artifact(artifact_id="", parts=())
_NO_MESSAGE = Message(message_id="", role=Role.USER, parts=())


@frozen(kw_only=True)
class Readers:
    """One version's readers, made from its part, its enums and the fields that it has under several names."""

    part: Callable[[Fields], Part]
    configuration: Callable[[Fields], SendConfiguration]
    states: Mapping[str, TaskState]
    roles: Mapping[str, Role]
    request_names: tuple[str, ...] = ("message",)
    parts_names: tuple[str, ...] = ("parts",)
    status_message_names: tuple[str, ...] = ("message",)
    tenants: bool = False

    def message(self, fields: Fields) -> Message:
        """A message: `messageId`, `role` and at least one part."""
        return Message(
            message_id=fields.required_text("messageId"),
            parts=fields.children(fields.only_one(*self.parts_names), self.part, required=True, empty=False),
            role=fields.choice("role", self.roles, ROLE_NUMBERS, required=True) or Role.USER,
            context_id=fields.text("contextId") or None,
            task_id=fields.text("taskId") or None,
            metadata=fields.mapping("metadata"),
            extensions=fields.texts("extensions"),
            reference_task_ids=fields.texts("referenceTaskIds"),
        )

    def artifact(self, fields: Fields) -> Artifact:
        """An artifact, whole or a chunk."""
        return Artifact(
            artifact_id=fields.required_text("artifactId"),
            parts=fields.children("parts", self.part, required=True),
            name=fields.text("name") or None,
            description=fields.text("description") or None,
            metadata=fields.mapping("metadata"),
            extensions=fields.texts("extensions"),
        )

    def status(self, fields: Fields) -> TaskStatus:
        """A task status."""
        return TaskStatus(
            state=fields.choice("state", self.states, STATE_NUMBERS, required=True) or TaskState.UNKNOWN,
            message=fields.child(fields.only_one(*self.status_message_names), self.message),
            timestamp=fields.text("timestamp") or None,
        )

    def task(self, fields: Fields) -> Task:
        """A task."""
        return Task(
            id=fields.required_text("id"),
            context_id=fields.text("contextId") or "",
            status=fields.child("status", self.status, required=True) or _NO_STATUS,
            artifacts=fields.children("artifacts", self.artifact),
            history=fields.children("history", self.message),
            metadata=fields.mapping("metadata"),
        )

    def status_update(self, fields: Fields) -> StatusUpdate:
        """A status event. Version 1.0 does not say `final`: a terminal state ends the stream."""
        status = fields.child("status", self.status, required=True) or _NO_STATUS
        final = fields.flag("final")
        return StatusUpdate(
            task_id=fields.required_text("taskId"),
            context_id=fields.text("contextId") or "",
            status=status,
            final=status.state.terminal if final is None else final,
            metadata=fields.mapping("metadata"),
        )

    def artifact_update(self, fields: Fields) -> ArtifactUpdate:
        """An artifact event."""
        return ArtifactUpdate(
            task_id=fields.required_text("taskId"),
            context_id=fields.text("contextId") or "",
            artifact=fields.child("artifact", self.artifact, required=True) or _NO_ARTIFACT,
            append=fields.flag("append") or False,
            last_chunk=fields.flag("lastChunk") or False,
            metadata=fields.mapping("metadata"),
        )

    def send(self, fields: Fields) -> SendRequest:
        """The parameters of a send."""
        return SendRequest(
            message=fields.child(fields.only_one(*self.request_names), self.message, required=True) or _NO_MESSAGE,
            configuration=fields.child("configuration", self.configuration) or SendConfiguration(),
            metadata=fields.mapping("metadata"),
            tenant=self.tenant(fields),
        )

    def get_task(self, fields: Fields) -> GetTaskRequest:
        """The parameters of reading a task."""
        return GetTaskRequest(
            id=fields.required_text("id"),
            history_length=fields.natural("historyLength"),
            tenant=self.tenant(fields),
        )

    def list_tasks(self, fields: Fields) -> ListTasksRequest:
        """The parameters of listing tasks. A state that is not specified is any."""
        state = fields.choice("status", self.states, STATE_NUMBERS)
        size = fields.natural("pageSize", least=1, most=LARGEST_PAGE)
        return ListTasksRequest(
            context_id=fields.text("contextId") or None,
            state=None if fields.value.get("status") in _ANY_STATE else state,
            changed_after=fields.instant("statusTimestampAfter"),
            page_size=PAGE_SIZE if size is None else size,
            page_token=fields.text("pageToken") or None,
            history_length=fields.natural("historyLength"),
            include_artifacts=fields.flag("includeArtifacts", texts=True) or False,
            tenant=self.tenant(fields),
        )

    def task_id(self, fields: Fields) -> TaskIdRequest:
        """The parameters of cancelling a task, or of subscribing to it."""
        return TaskIdRequest(
            id=fields.required_text("id"), metadata=fields.mapping("metadata"), tenant=self.tenant(fields)
        )

    def tenant(self, fields: Fields) -> str | None:
        """The tenant, where the line has any."""
        return (fields.text("tenant") or None) if self.tenants else None


def push_configs_page(fields: Fields, task_name: str) -> ListPushConfigsRequest:
    """The parameters of listing push configurations in pages. ProtoJSON's 0 says nothing of the size."""
    return ListPushConfigsRequest(
        task_id=fields.required_text(task_name),
        page_size=fields.natural("pageSize") or None,
        page_token=fields.text("pageToken") or None,
    )


def document(read: Callable[[Fields], T]) -> Callable[[object], T]:
    """A parser of whole documents; it raises one `ProtocolError` that names the wrong fields."""

    def parse(value: object) -> T:
        return read_document(value, read, names=NAMES)

    return parse


def request(read: Callable[[Fields], T]) -> Callable[[object], T]:
    """A parser of what callers send: like `document`, and no list may be longer than `MOST_ITEMS`."""

    def parse(value: object) -> T:
        return read_document(value, read, most_items=MOST_ITEMS, names=NAMES)

    return parse
