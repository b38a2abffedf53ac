"""Runs an agent's work on tasks, whatever happens to the agent, the store, or the client that started it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from opencode_a2a.server.agent import Agent, AgentHooks, AgentRequest, Work
from opencode_a2a.server.store import EventRow, FencedError, Store, StoreError, StoreUnavailableError
from opencode_a2a.server.tasks.active_task import SAVE_EVERY, STOPPING, ActiveTask
from opencode_a2a.server.tasks.keyed_lock import Locks
from opencode_a2a.server.tasks.running_task import RunningTask
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from opencode_a2a.server.tasks.task_registry import TaskRegistry
from opencode_a2a.server.tasks.task_span import begin_task_span, end_task_span
from opencode_a2a.tracing.spans import CURRENT, NO_TRACER, Tracer
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import TaskState, TaskStatus
from sansio.a2a.tasks.backlog import MOST_BYTES, Backlog
from sansio.a2a.tasks.task_log import StatusChanged
from sansio.a2a.timestamps import timestamp

_log = logging.getLogger(__name__)

_SHOWN_AFTER = 0.1  # seconds after which a new task is shown, whether or not its agent has stored it
_SHOWN_AT_LAST = 1.0  # seconds after which it is, however busy the loop is
_TURNS_TO_COMMIT = 10  # turns of the loop that an agent may take until it has stored its task
_ENDING_WAIT = 5.0  # seconds that agents have to end their work once they are stopped
_LOOKS_WHILE_AWAY = 10  # looks at the tasks, of which one hands over what was published while the store is away
_ROWS_AT_ONCE = 16  # rows that are made in one step of the loop
_LOOKED_AT_ONCE = 512  # tasks that are looked at in one
_NO_ROOM = "The database has been away for too long: what this task publishes cannot be kept any longer"
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
        locks: Locks,
        tasks: TaskGroup,
        wall: Callable[[], float],
        tracer: Tracer = NO_TRACER,
        agent_name: str = "",
    ) -> None:
        self._tracer = tracer
        self._agent_name = agent_name
        self._agent = agent
        self._hooks = hooks
        self._backlog = Backlog(MOST_BYTES)
        self._store = store
        self._registry = registry
        self._publisher = publisher
        self._locks = locks
        self._tasks = tasks
        self._wall = wall
        self.lost = 0  # tasks that went to other servers with the lease

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
        if active.log.state.terminal:  # its last events were stored, and not that it has finished
            self._locks.leave_all(active.facts.task_id)
            return
        task = self._add(active, request)
        try:
            work = self._hooks.recover(request, task)
        except Exception:
            _log.exception("task %s cannot be carried on", task.id)
            work = None
        if work is None:
            work = self._fail(task, "The server was restarted before the task was complete")
        self._tasks.start_soon(self._see_recovered, task, work)

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
            self._tasks.start_soon(self._show, active)
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
                task.active.rest(STOPPING)
            return
        for task in self._registry:
            self._stopped(task, self._hooks.stop)
        with anyio.move_on_after(_ENDING_WAIT):
            await self._registry.empty()

    @property
    def awaited(self) -> list[RunningTask]:
        """The tasks that a drain lets end, oldest first. One at rest is another server's, though it ends late."""
        outlives = self._store.outlives
        return [task for task in self._registry if not (task.active.at_rest or (outlives and task.active.waits))]

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
            self._note_lost(task)
            task.active.leave_to_others(FencedError("another server works on the task now"))
            task.scope.cancel()

    def _note_lost(self, task: RunningTask) -> None:
        if task.active.in_store and not task.abandoned:
            self.lost += 1
        task.abandoned = True

    def _stopped(self, task: RunningTask, hook: Callable[[RunningTask], None]) -> None:
        """Stop the work on a task, even if its agent fails to."""
        try:
            hook(task)
        except Exception:
            _log.exception("task %s cannot be stopped by its agent", task.id)
            AgentHooks.stop(self._hooks, task)

    async def watch(self) -> None:
        """Hand what was published to the store, and show new tasks whose agent takes long, for ever."""
        looks = 0
        while True:
            began = anyio.current_time()
            await anyio.sleep(SAVE_EVERY)
            late = anyio.current_time() - began - SAVE_EVERY
            looks += 1
            if self._store.trouble is not None and looks % _LOOKS_WHILE_AWAY:
                continue  # fewer rows, each of which has its cost, hold more events within the bound
            now = self._wall()
            unseen_since = int((now - _patience(late)) * 1000)
            publishing: set[str] = set()
            rows: list[EventRow] = []
            looked_at = 0
            for task in self._registry:
                looked_at += 1
                try:
                    rows += self._unsaved(task.active, now, unseen_since)
                except Exception:
                    _log.exception("task %s cannot be saved", task.id)
                if len(rows) >= _ROWS_AT_ONCE or looked_at >= _LOOKED_AT_ONCE:
                    publishing |= self._hand_over(rows)
                    rows, looked_at = [], 0
                    await anyio.lowlevel.checkpoint()
            publishing |= self._hand_over(rows)
            self._bound_backlog(publishing)

    def _hand_over(self, rows: list[EventRow]) -> set[str]:
        """Hand rows to the store; return the ids of their tasks."""
        if rows:
            self._store.put(rows)
        return {row.task_id for row in rows}

    def _bound_backlog(self, publishing: set[str]) -> None:
        """Fail tasks where too much waits for the store. None can wait: what feeds one feeds all others, too."""
        reached, held = self._backlog.reached, self._store.held
        if self._store.trouble is None:  # a burst, which is being stored
            publishing = set()
        overdue = self._backlog.overdue(held, {each: self._store.held_by(each) for each in publishing})
        if self._backlog.reached and not reached:
            _log.error("%d bytes wait for the store: tasks fail, the largest first", held)
        elif reached and not self._backlog.reached:
            _log.warning("%d bytes wait for the store: tasks have room again", held)
        for task_id in overdue:
            _log.error("task %s fails: the store does not take what it publishes", task_id)
            if (task := self._registry.running(task_id)) is not None:
                self._stopped(task, lambda one: self._hooks.fail(one, _NO_ROOM))

    def _unsaved(self, active: ActiveTask, now: float, unseen_since: int) -> list[EventRow]:
        """Return what the store has not. New tasks that arrived before `unseen_since`, in epoch ms, are shown."""
        if active.begin_show(unseen_since) or active.held_back:
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

    async def _see_recovered(self, task: RunningTask, work: Work) -> None:
        """See work to its end that was carried on. Places that it had before, and did not take again, go with it."""
        try:
            await self._supervise(task, work, commits_first=False)
        finally:
            if not task.abandoned:
                self._locks.leave_all(task.id)

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
            if isinstance(exc, FencedError):  # before the loss of the lease was noticed
                self._note_lost(task)
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


def _patience(late: float) -> float:
    """Return the seconds that agents have to store a new task themselves, which saves it a commit of its own.

    `late`: seconds by which the loop woke a sleeper late. Where it is busy, agents are slow only because of that.
    """
    return min(_SHOWN_AFTER + max(0.0, late) * _TURNS_TO_COMMIT, _SHOWN_AT_LAST)


async def _raising(error: Exception) -> None:
    """The work of an agent that failed before there was any."""
    raise error
