"""How a task of ours looks to clients that expect what earlier versions gave."""

from __future__ import annotations

from attrs import evolve

from sansio.a2a.model import Message, Role, Task, TaskState, TextPart

RESPONSE = "response"
"""The name of the artifact that holds the answer."""


def with_answer_as_message(task: Task) -> Task:
    """Version 0.3's clients read a completed task's answer from its status message too: put it there.

    Only where the status has no message of its own. The message's id is that of the assistant's message.
    """
    if task.status.state is not TaskState.COMPLETED or task.status.message is not None:
        return task
    answer = next((artifact for artifact in task.artifacts if artifact.name == RESPONSE), None)
    if answer is None:
        return task
    shared = (answer.metadata or {}).get("shared")
    stream = shared.get("stream") if isinstance(shared, dict) else None
    message_id = stream.get("message_id") if isinstance(stream, dict) else None
    message = Message(
        message_id=message_id if isinstance(message_id, str) else f"{task.id}:status",
        role=Role.AGENT,
        parts=tuple(part for part in answer.parts if isinstance(part, TextPart)) or (TextPart(text=""),),
        context_id=task.context_id,
        task_id=task.id,
    )
    return evolve(task, status=evolve(task.status, message=message))
