"""The operations that a server needs of whoever keeps its tasks and runs its agent."""

from __future__ import annotations

from typing import Protocol

from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.open_stream import OpenStream
from sansio.a2a.model import (
    GetTaskRequest,
    ListPushConfigsRequest,
    ListTasksRequest,
    PushConfig,
    PushConfigId,
    PushConfigPage,
    SendRequest,
    TaskIdRequest,
    TaskPage,
)
from sansio.a2a.tasks.presentation import Presentation


class TaskService(Protocol):
    """The operations for one `principal`. All of them raise `ProtocolError`; what is another's is not found."""

    async def send(self, principal: str, request: SendRequest, presentation: Presentation) -> ActiveTask:
        """Start or continue a task; return it once it is settled, or at once where the request does not block."""

    async def stream(
        self,
        principal: str,
        request: SendRequest,
        presentation: Presentation,
        cursor: int | None = None,
        *,
        stays_open: bool = False,
    ) -> OpenStream:
        """Start or continue a task, and open its stream. `cursor`: the last event that the reader has."""

    async def subscribe(
        self,
        principal: str,
        request: TaskIdRequest,
        cursor: int | None,
        *,
        replays: bool,
        stays_open: bool = False,
    ) -> OpenStream:
        """Open the stream of a task. `replays`: one that has ended is sent once more."""

    def stream_closed(self) -> None:
        """Count a stream as closed. Its task is not touched."""

    async def get_task(self, principal: str, request: GetTaskRequest) -> ActiveTask:
        """Return a task once what it says now is durable."""

    async def list_tasks(self, principal: str, request: ListTasksRequest) -> TaskPage:
        """Return a page of the caller's tasks."""

    async def cancel(self, principal: str, request: TaskIdRequest, *, again: bool) -> ActiveTask:
        """Cancel a task. `again`: one that is canceled can be canceled."""

    async def set_push_config(self, principal: str, config: PushConfig, presentation: Presentation) -> PushConfig:
        """Begin to notify a receiver of a task's events."""

    async def get_push_config(self, principal: str, asked: PushConfigId) -> PushConfig:
        """Return one push configuration."""

    async def list_push_configs(self, principal: str, asked: ListPushConfigsRequest) -> PushConfigPage:
        """Return a page of a task's push configurations."""

    async def delete_push_config(self, principal: str, asked: PushConfigId) -> None:
        """Notify a receiver no more. One that is gone is no error."""
