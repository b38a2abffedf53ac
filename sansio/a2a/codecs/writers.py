"""Writers of the values that have the same members on both versions; what differs is given to them.

The twin of `readers`, for the codecs alone. Empty lists and missing values are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from sansio.a2a.codecs.fields import compact
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    JsonObject,
    Message,
    Part,
    Role,
    StatusUpdate,
    StreamItem,
    Task,
    TaskPage,
    TaskState,
    TaskStatus,
)


@frozen(kw_only=True)
class Writers:
    """One form's writers, made from its part, its enum names, and whether its values are tagged by `kind`.

    `parts_name`: of a message's parts; `says_final`: of status events; `references`: messages name tasks.
    """

    part: Callable[[Part], JsonObject]
    states: Mapping[TaskState, str]
    roles: Mapping[Role, str]
    tagged: bool
    parts_name: str = "parts"
    says_final: bool = False
    references: bool = True

    def _tag(self, kind: str) -> str | None:
        return kind if self.tagged else None

    def message(self, message: Message) -> JsonObject:
        """A message."""
        references = list(message.reference_task_ids) if self.references else None
        return compact(
            kind=self._tag("message"),
            messageId=message.message_id,
            contextId=message.context_id,
            taskId=message.task_id,
            role=self.roles[message.role],
            metadata=message.metadata,
            extensions=list(message.extensions) or None,
            referenceTaskIds=references or None,
            **{self.parts_name: [self.part(part) for part in message.parts]},
        )

    def artifact(self, artifact: Artifact) -> JsonObject:
        """An artifact, whole or a chunk."""
        body: JsonObject = {
            "artifactId": artifact.artifact_id,
            "parts": [self.part(part) for part in artifact.parts],
        }
        if artifact.name is not None:
            body["name"] = artifact.name
        if artifact.description is not None:
            body["description"] = artifact.description
        if artifact.metadata is not None:
            body["metadata"] = artifact.metadata
        if artifact.extensions:
            body["extensions"] = list(artifact.extensions)
        return body

    def status(self, status: TaskStatus) -> JsonObject:
        """A task status."""
        body: JsonObject = {"state": self.states[status.state]}
        if status.message is not None:
            body["message"] = self.message(status.message)
        if status.timestamp is not None:
            body["timestamp"] = status.timestamp
        return body

    def task(self, task: Task) -> JsonObject:
        """A task."""
        return compact(
            kind=self._tag("task"),
            id=task.id,
            contextId=task.context_id,
            status=self.status(task.status),
            artifacts=[self.artifact(artifact) for artifact in task.artifacts] or None,
            history=[self.message(message) for message in task.history] or None,
            metadata=task.metadata,
        )

    def task_page(self, page: TaskPage) -> JsonObject:
        """A page of tasks; all four members are always there (specification 1.0, section 3.1.4)."""
        return {
            "tasks": [self.task(task) for task in page.tasks],
            "nextPageToken": page.next_page_token,
            "pageSize": page.page_size,
            "totalSize": page.total,
        }

    def artifact_update(self, item: ArtifactUpdate) -> JsonObject:
        """An artifact event."""
        body: JsonObject = {"kind": "artifact-update"} if self.tagged else {}
        body["taskId"] = item.task_id
        body["contextId"] = item.context_id
        body["artifact"] = self.artifact(item.artifact)
        body["append"] = item.append
        if item.last_chunk:
            body["lastChunk"] = True
        if item.metadata is not None:
            body["metadata"] = item.metadata
        return body

    def status_update(self, item: StatusUpdate) -> JsonObject:
        """A status event."""
        body: JsonObject = {"kind": "status-update"} if self.tagged else {}
        if self.says_final:
            body["final"] = item.final
        body["taskId"] = item.task_id
        body["contextId"] = item.context_id
        body["status"] = self.status(item.status)
        if item.metadata is not None:
            body["metadata"] = item.metadata
        return body

    def item(self, item: StreamItem) -> tuple[str, JsonObject]:
        """A stream item with its name as version 1.0 wraps it."""
        if isinstance(item, ArtifactUpdate):
            return "artifactUpdate", self.artifact_update(item)
        if isinstance(item, StatusUpdate):
            return "statusUpdate", self.status_update(item)
        if isinstance(item, Task):
            return "task", self.task(item)
        return "message", self.message(item)
