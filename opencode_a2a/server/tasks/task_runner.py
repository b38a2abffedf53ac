"""Runs an agent's work on tasks, whatever happens to the agent, the store, or the client that started it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from opencode_a2a.server.agent import Agent, AgentHooks, AgentRequest, Work
from opencode_a2a.server.store import EventRow, FencedError, Store, StoreError, StoreUnavailableError
from opencode_a2a.server.tasks.active_task import SAVE_EVERY, ActiveTask
from opencode_a2a.server.tasks.running_task import RunningTask
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from opencode_a2a.server.tasks.task_registry import TaskRegistry
from opencode_a2a.server.tasks.task_span import begin_task_span, end_task_span
from opencode_a2a.tracing.spans import CURRENT, NO_TRACER, Tracer
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import TaskState, TaskStatus
from sansio.a2a.tasks.task_log import StatusChanged
from sansio.a2a.timestamps import timestamp

_log = logging.getLogger(__name__)

_UNTOLD_MS = 100  # milliseconds after which a new task is shown, whether or not its agent has stored it
_ENDING_WAIT = 5.0  # seconds that agents have to end their work once they are stopped
_ENDS = (TaskState.AUTH_REQUIRED,)
"""States beside the terminal ones in which an agent may leave its work: a later message takes it up."""


class TaskRunner:
    """Starts work in `tasks`. `wall`: epoch seconds. `agent_name`: as spans name it."""

    def __init__(
        self,
        agent: Agent,
        hooks: AgentHooks,
        *,
        store: Store,
        registry: TaskRegistry,
        publisher: TaskPublisher,
        tasks: TaskGroup,
        wall: Callable[[], float],
        tracer: Tracer = NO_TRACER,
        agent_name: str = "",
    ) -> None:
        self._tracer = tracer
        self._agent_name = agent_name
        self._agent = agent
        self._hooks = hooks
        self._store = store
        self._registry = registry
        self._publisher = publisher
        self._tasks = tasks
        self._wall = wall

    def start(self, active: ActiveTask, request: AgentRequest) -> None:
        """Run the agent on a task in the background. Its end is in the task, never an exception.

        The agent is called before this returns, so agents see requests in the order of these calls.
        """
        task = self._add(active, request)
        try:
            work = self._agent.run(request, task)
        except Exception as exc:
            work = _raising(exc)
        self._tasks.start_soon(self._supervise, task, work, self._hooks.commits_first)

    async def recover(self, active: ActiveTask, request: AgentRequest) -> None:
        """Carry on a task that an earlier process left unfinished."""
        # durable before anybody can see it, or its numbers might be used twice
        self._store.put(active.recover(self._wall()))
        if active.log.state.terminal:
            return
        task = self._add(active, request)
        try:
            work = self._hooks.recover(request, task)
        except Exception:
            _log.exception("task %s cannot be carried on", task.id)
            work = None
        if work is None:
            work = self._fail(task, "The server was restarted before the task was complete")
        self._tasks.start_soon(self._supervise, task, work, False)

    def _add(self, active: ActiveTask, request: AgentRequest) -> RunningTask:
        active.span = begin_task_span(self._tracer, self._agent_name, active.facts, request.trace)
        task = RunningTask(active, self._now, self._publisher)
        self._registry.add(task)
        return task

    async def cancel(self, active: ActiveTask) -> None:
        """End a task as canceled, durably; its agent is stopped meanwhile. Nothing happens if it has ended."""
        task = self._registry.running(active.facts.task_id)
        events = self._hooks.canceled(active, self._now())
        if active.log.state.terminal or not events:
            return
        active.publish([*task.closed(), *events] if task is not None else events)
        if task is not None:
            self._stopped(task, self._hooks.interrupt)
        try:
            await self._publisher.reveal(active)
        except StoreUnavailableError:
            self._tasks.start_soon(self._publisher.settle, active)
            raise

    async def drain(self, grace: float) -> None:
        """Let work end within `grace` seconds.

        Where the store outlives the server, the rest is left for its next run; else it is ended as failed. No task is
        awaited that can be left while it waits for its user: no answer is taken any more.
        """
        with anyio.move_on_after(grace):
            if not self._store.outlives:
                await self._registry.empty()
            while busy := self.awaited:
                await busy[0].active.paused()
        if self._store.outlives:
            for task in self._registry:
                if row := task.active.unsaved():
                    self._store.put([row])
                task.active.rest()
            return
        for task in self._registry:
            self._stopped(task, self._hooks.stop)
        with anyio.move_on_after(_ENDING_WAIT):
            await self._registry.empty()

    @property
    def awaited(self) -> list[RunningTask]:
        """The tasks that a drain lets end, oldest first."""
        return [task for task in self._registry if not (self._store.outlives and task.active.waits)]

    def leave(self) -> None:
        """Hand the store what agents have published since the drain: streams that were closing have sent it.

        Call it once nobody reads any more.
        """
        if self._store.outlives:
            for task in self._registry:
                if task.active.in_store and (row := task.active.unsaved()):
                    self._store.put([row])

    def abandon(self) -> None:
        """Stop all work at once, without a word to whoever it works with: another server goes on with the tasks.

        Their streams end, and can be resumed.
        """
        for task in self._registry:
            task.abandoned = True
            task.active.in_trouble(FencedError("another server works on the task now"))
            task.active.rest()
            task.scope.cancel()

    def _stopped(self, task: RunningTask, hook: Callable[[RunningTask], None]) -> None:
        """Stop the work on a task, even if its agent fails to."""
        try:
            hook(task)
        except Exception:
            _log.exception("task %s cannot be stopped by its agent", task.id)
            AgentHooks.stop(self._hooks, task)

    async def watch(self) -> None:
        """Hand what was published to the store, and show new tasks whose agent takes long, for ever."""
        while True:
            await anyio.sleep(SAVE_EVERY)
            now = self._wall()
            rows: list[EventRow] = []
            for task in self._registry:
                try:
                    rows += self._unsaved(task.active, now)
                except Exception:
                    _log.exception("task %s cannot be saved", task.id)
            if rows:
                self._store.put(rows)

    def _unsaved(self, active: ActiveTask, now: float) -> list[EventRow]:
        if active.begin_show(int(now * 1000) - _UNTOLD_MS) or active.held_back:
            self._tasks.start_soon(self._show, active)
        elif active.saved < active.log.last and active.in_store:
            active.note_progress(now)
            if row := active.unsaved():
                return [row]
        elif active.log.state.interrupted:
            active.note_progress(now)  # it is the client who is being waited for
        return []

    async def _show(self, active: ActiveTask) -> None:
        """Let readers see what its agent does not make durable; that of a new task usually shares its commit."""
        try:
            await self._publisher.settle(active)
        except StoreError as exc:
            _log.error("task %s: %s", active.facts.task_id, exc)  # its agent meets the same
        except Exception:
            _log.exception("task %s cannot be stored", active.facts.task_id)

    # --- one task -----------------------------------------------------------------------------------------

    async def _supervise(self, task: RunningTask, work: Work, commits_first: bool) -> None:
        """See work to its end."""
        active, started = task.active, self._wall()
        CURRENT.set(active.trace)  # the task group has started this in the context of the request
        try:
            try:
                if commits_first:
                    await self._commit_first(task, work)
                with task.scope:
                    await work
                    if not (active.log.state.terminal or active.log.state in _ENDS):
                        await task.publish(task.ending(TaskState.COMPLETED))
                if active.barrier > active.visible and not task.abandoned:  # ended while it was cancelled
                    await self._publisher.settle(active)
            except ProtocolError as exc:
                await self._fail(task, exc.message)
        except StoreError as exc:
            self._publisher.give_up(active, exc)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            ends = anyio.current_effective_deadline() == -math.inf
            if ends and not isinstance(exc, Exception | SystemExit):
                raise  # the server ends
            # a bug of an agent, or a library that exits, must not end the other tasks with it
            _log.exception("task %s", task.id)
            await self._give_up(task)
        finally:
            self._registry.remove(task)
            end_task_span(active)
            if self._hooks.logs_end:
                _log.info("task=%s %s %.0f ms", task.id, active.log.state.value, (self._wall() - started) * 1000)

    async def _commit_first(self, task: RunningTask, work: Work) -> None:
        try:
            status = TaskStatus(state=TaskState.WORKING, timestamp=task.now())
            await task.publish([StatusChanged(status=status)])
        except BaseException:
            work.close()
            raise

    async def _fail(self, task: RunningTask, text: str) -> None:
        await task.publish(task.ending(TaskState.FAILED, text))

    async def _give_up(self, task: RunningTask) -> None:
        try:
            await self._fail(task, "The server failed on this task")
        except StoreError as exc:
            self._publisher.give_up(task.active, exc)
        except Exception:
            _log.exception("task %s cannot be ended", task.id)
            task.active.lose(StoreError("the task cannot be stored"))

    def _now(self) -> str:
        return timestamp(self._wall())


async def _raising(error: Exception) -> None:
    """The work of an agent that failed before there was any."""
    raise error
