"""The wire types that all codecs have with nearly the same members. What differs between codecs is a `Traits`.

For the codecs alone. Members stand in the order of the published schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from sansio.a2a.codecs.fields import Fields
from sansio.a2a.codecs.protojson_names import ROLE_NUMBERS, STATE_NUMBERS
from sansio.a2a.codecs.wire_types import (
    FLAG,
    INSTANT,
    INTEGER,
    NATURAL,
    OBJECT,
    QUERY_FLAG,
    TEXT,
    TEXTS,
    TRUE_FLAG,
    VERBATIM,
    Choice,
    Kind,
    Many,
    Member,
    Named,
    Object,
    Plain,
    Tag,
    Union,
    Wrapper,
    required,
    wire_object,
)
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    ListTasksRequest,
    Message,
    Role,
    StatusUpdate,
    StreamItem,
    Task,
    TaskPage,
    TaskState,
    TaskStatus,
)

PAGE_SIZE = 50
LARGEST_PAGE = 100
"""Tasks of a page: the default, and the maximum (specification 1.0, `ListTasksRequest`)."""

_PAGE = Plain(
    lambda fields, name, _: fields.natural(name, least=1, most=LARGEST_PAGE),
    {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
)
_ANY_STATE = ("TASK_STATE_UNSPECIFIED", 0, "0")

METADATA = Member("metadata", OBJECT, "metadata")


@frozen(kw_only=True)
class Traits:
    """Differences between codecs in the types that they share.

    `states`, `roles`: the names that are written. `states_read`, `roles_read`: all names that are read.
    `tagged`: objects say by `kind` what they are. `says_final`: status events say whether the stream ends.
    `parts_name`: of a message's parts, as written. `parts_names`, `status_message_names`: all names they are read by.
    `references`: messages name other tasks. `timestamp`: the kind of a status's time.
    """

    part: Object[Any] | Union[Any]
    states: Mapping[TaskState, str]
    states_read: Mapping[str, TaskState]
    roles: Mapping[Role, str]
    roles_read: Mapping[str, Role]
    tagged: bool = False
    says_final: bool = False
    parts_name: str = "parts"
    parts_names: tuple[str, ...] = ()
    status_message_names: tuple[str, ...] = ()
    references: bool = True
    timestamp: Kind


@frozen(kw_only=True)
class SharedTypes:
    """The types that all codecs have, as one codec has them."""

    state: Choice
    message: Object[Message]
    artifact: Object[Artifact]
    status: Object[TaskStatus]
    task: Object[Task]
    status_update: Object[StatusUpdate]
    artifact_update: Object[ArtifactUpdate]

    def published(self, *parts: Named) -> tuple[Named, ...]:
        """Return all of them, and the types that parts are made of, in the order in which they are published."""
        outputs = (self.message, self.artifact, self.task, self.status_update, self.artifact_update)
        return (self.state, self.status, *parts, *outputs)

    def wrappers(self) -> tuple[Wrapper[Task | Message], Wrapper[StreamItem]]:
        """Make the result of a send and the item of a stream, of a codec that wraps them."""
        results: dict[type, tuple[str, Object[Any]]] = {Task: ("task", self.task), Message: ("message", self.message)}
        updates: dict[type, tuple[str, Object[Any]]] = {
            StatusUpdate: ("statusUpdate", self.status_update),
            ArtifactUpdate: ("artifactUpdate", self.artifact_update),
        }
        return (
            Wrapper(name="SendMessageResponse", choices=results),
            Wrapper(name="StreamResponse", choices={**results, **updates}),
        )


def shared_types(traits: Traits) -> SharedTypes:
    """Make the shared types of a codec."""
    state = Choice(name="TaskState", written=traits.states, read=traits.states_read, numbers=STATE_NUMBERS)
    message = _message(traits)
    status = wire_object(
        "TaskStatus",
        TaskStatus,
        required("state", state, "state"),
        Member("message", message, "message", names=traits.status_message_names),
        Member("timestamp", traits.timestamp, "timestamp"),
    )
    artifact = wire_object(
        "Artifact",
        Artifact,
        required("artifactId", TEXT, "artifact_id"),
        required("parts", Many(traits.part), "parts"),
        Member("name", TEXT, "name"),
        Member("description", TEXT, "description"),
        METADATA,
        Member("extensions", TEXTS, "extensions"),
    )
    task = wire_object(
        "Task",
        Task,
        *_tag(traits, "task"),
        required("id", TEXT, "id"),
        required("contextId", TEXT, "context_id", default=""),
        required("status", status, "status"),
        Member("artifacts", Many(artifact), "artifacts"),
        Member("history", Many(message), "history"),
        METADATA,
    )
    return SharedTypes(
        state=state,
        message=message,
        artifact=artifact,
        status=status,
        task=task,
        status_update=_status_update(traits, status),
        artifact_update=_artifact_update(traits, artifact),
    )


def _tag(traits: Traits, kind: str) -> tuple[Member, ...]:
    return (required("kind", Tag(kind)),) if traits.tagged else ()


def _message(traits: Traits) -> Object[Message]:
    return wire_object(
        "Message",
        Message,
        *_tag(traits, "message"),
        required("role", Choice(written=traits.roles, read=traits.roles_read, numbers=ROLE_NUMBERS), "role"),
        required(traits.parts_name, Many(traits.part, empty=False), "parts", names=traits.parts_names),
        required("messageId", TEXT, "message_id"),
        Member("contextId", TEXT, "context_id"),
        Member("taskId", TEXT, "task_id"),
        METADATA,
        Member("extensions", TEXTS, "extensions"),
        Member("referenceTaskIds", TEXTS, "reference_task_ids", hidden=not traits.references),
        first=("message_id", "parts"),
    )


def _end_of_stream(fields: Fields, found: dict[str, Any]) -> None:
    """Complete `final`: where an event does not say it, a terminal state ends the stream."""
    if "final" not in found and "status" in found:
        found["final"] = found["status"].state.terminal


def _status_update(traits: Traits, status: Object[TaskStatus]) -> Object[StatusUpdate]:
    return wire_object(
        "TaskStatusUpdateEvent",
        StatusUpdate,
        *_tag(traits, "status-update"),
        required("final", FLAG, "final", hidden=not traits.says_final),
        required("taskId", TEXT, "task_id"),
        required("contextId", TEXT, "context_id", default=""),
        required("status", status, "status"),
        METADATA,
        first=("status", "final"),
        check=_end_of_stream,
    )


def _artifact_update(traits: Traits, artifact: Object[Artifact]) -> Object[ArtifactUpdate]:
    return wire_object(
        "TaskArtifactUpdateEvent",
        ArtifactUpdate,
        *_tag(traits, "artifact-update"),
        required("taskId", TEXT, "task_id"),
        required("contextId", TEXT, "context_id", default=""),
        required("artifact", artifact, "artifact"),
        Member("append", FLAG, "append", default=False),
        Member("lastChunk", TRUE_FLAG, "last_chunk", default=False),
        METADATA,
    )


# --- lists of tasks ---------------------------------------------------------------------------------------


def _any_state(fields: Fields, found: dict[str, Any]) -> None:
    """Read a state that is not specified as any state."""
    if fields.value.get("status") in _ANY_STATE:
        found.pop("state", None)


def list_request(name: str, state: Choice, *more: Member) -> Object[ListTasksRequest]:
    """Make the parameters of listing tasks."""
    return wire_object(
        name,
        ListTasksRequest,
        Member("contextId", TEXT, "context_id"),
        Member("pageSize", _PAGE, "page_size", default=PAGE_SIZE),
        Member("pageToken", TEXT, "page_token"),
        Member("historyLength", NATURAL, "history_length"),
        Member("includeArtifacts", QUERY_FLAG, "include_artifacts", default=False),
        Member("statusTimestampAfter", INSTANT, "changed_after"),
        Member("status", state, "state"),
        *more,
        first=("state", "page_size"),
        check=_any_state,
    )


def task_page(name: str, task: Object[Task]) -> Object[TaskPage]:
    """Make a page of tasks. All four members are always there (specification 1.0, section 3.1.4)."""
    return wire_object(
        name,
        None,
        required("tasks", Many(task), "tasks"),
        required("nextPageToken", VERBATIM, "next_page_token"),
        required("pageSize", INTEGER, "page_size"),
        required("totalSize", INTEGER, "total"),
    )
