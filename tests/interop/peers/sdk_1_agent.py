"""Parts of agents that are built with PyPI's a2a-sdk 1.x: how a task begins, how it says something, its card.

Runs in that library's environment, and imports nothing else.
"""

# The library is installed in an environment of its own, never in the one that checks types.
# mypy: disable-error-code="import-not-found, import-untyped, misc"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part, Task, TaskState, TaskStatus


class CancelingExecutor(AgentExecutor):
    """Cancels a task as soon as that is asked for."""

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


async def begun(context: RequestContext, event_queue: EventQueue) -> TaskUpdater:
    """Set the task of a message to work; it is made where there is none yet."""
    if context.current_task is None:
        status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
        task = Task(id=context.task_id, context_id=context.context_id, status=status, history=[context.message])
        await event_queue.enqueue_event(task)
    updater = TaskUpdater(event_queue, context.task_id, context.context_id)
    await updater.start_work()
    return updater


async def say(updater: TaskUpdater, artifact: str, pieces: Sequence[str]) -> None:
    """Say a text in pieces, an artifact event each."""
    last = len(pieces) - 1
    for number, piece in enumerate(pieces):
        await updater.add_artifact([Part(text=piece)], artifact, append=number > 0, last_chunk=number == last)


def card_of(name: str, *interfaces: tuple[str, str, str], **capabilities: Any) -> AgentCard:
    """The card of an agent that streams. `interfaces`: the binding, the version and the URL of each."""
    return AgentCard(
        name=name,
        description="An agent built with a2a-sdk 1.x",
        version="1",
        capabilities=AgentCapabilities(streaming=True, **capabilities),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="echo", name="Echo", description="Repeats", tags=["test"])],
        supported_interfaces=[
            AgentInterface(protocol_binding=binding, protocol_version=version, url=url)
            for binding, version, url in interfaces
        ],
    )
