"""Tasks as clients of earlier releases expect them."""

from __future__ import annotations

from attrs import evolve

from sansio.a2a.codecs.json_values import text_at
from sansio.a2a.model import Message, Role, Task, TaskState, TextPart

RESPONSE = "response"
"""The name of the artifact that holds the answer."""


def with_answer_as_message(task: Task) -> Task:
    """Put a completed task's answer into its status message, where clients of version 0.3 read it.

    Only where the status has no message of its own. The message's id is that of the assistant's message.
    """
    if task.status.state is not TaskState.COMPLETED or task.status.message is not None:
        return task
    answer = next((artifact for artifact in task.artifacts if artifact.name == RESPONSE), None)
    if answer is None:
        return task
    message_id = text_at(answer.metadata, "shared", "stream", "message_id")
    message = Message(
        message_id=f"{task.id}:status" if message_id is None else message_id,
        role=Role.AGENT,
        parts=tuple(part for part in answer.parts if isinstance(part, TextPart)) or (TextPart(text=""),),
        context_id=task.context_id,
        task_id=task.id,
    )
    return evolve(task, status=evolve(task.status, message=message))
