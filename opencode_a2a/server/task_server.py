"""Keeps and serves an agent's tasks: wires the store, the agent and the operations, and runs what they need."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable

from anyio.abc import TaskGroup
from attrs import frozen

from opencode_a2a.metrics.meters import Meters
from opencode_a2a.server.agent import Agent, AgentHooks
from opencode_a2a.server.memory_release import give_back_memory
from opencode_a2a.server.operations.admission import Admission
from opencode_a2a.server.operations.known_messages import KnownMessages
from opencode_a2a.server.operations.maintenance import Maintenance
from opencode_a2a.server.operations.task_operations import Operations
from opencode_a2a.server.operations.task_quota import TaskQuota
from opencode_a2a.server.push.notifier import Counters, Notifier, Render
from opencode_a2a.server.push.outbound_client import CheckedClient
from opencode_a2a.server.replicas.adoption import Adoption, fenced_again
from opencode_a2a.server.replicas.followed_tasks import FollowedTasks
from opencode_a2a.server.replicas.opening import others_of
from opencode_a2a.server.replicas.replica_metrics import Sharing, watch_sharing
from opencode_a2a.server.store import Store
from opencode_a2a.server.store.size_watch import watch_size
from opencode_a2a.server.store.store_errors import from_store
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.keyed_lock import Locks
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from opencode_a2a.server.tasks.task_registry import TaskRegistry
from opencode_a2a.server.tasks.task_runner import TaskRunner
from opencode_a2a.server.tasks.task_streams import TaskStreams
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.a2a.bindings.json_output import encoded_pieces
from sansio.a2a.counted import counted
from sansio.a2a.model import PushConfigId, TaskIdRequest
from sansio.a2a.replicas.commands import AgentCommand, Cancel, Command, DropPush, Send, SetPush
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.push_notifications import Schedule
from sansio.metrics import ACTIVE_TASKS, PUSHES, PUSHES_PENDING, STORE_UP, STREAMS

_log = logging.getLogger(__name__)


@frozen(kw_only=True)
class TaskLimits:
    """Bounds on tasks. `streams`: that are open at once, 0 for no limit. In seconds: `retention` of the events of a
    task that has ended, `task_retention` of the task itself (0: for ever), `look_every` at streams with a time limit.
    `push_attempts`: for one notification. `tasks_per_principal`: kept at once, 0 for no limit.
    """

    streams: int = 0
    retention: float = 3600.0
    task_retention: float = 0.0
    tasks_per_principal: int = 0
    look_every: float | None = None
    push_attempts: int = 5


class TaskServer:
    """The tasks of one agent. `wall`: epoch seconds. `client` sends push notifications.

    `publisher`, `locks`: shared with an agent that commits or queues its tasks itself. `agent_name`: in spans.
    """

    def __init__(
        self,
        agent: Agent,
        hooks: AgentHooks,
        *,
        store: Store,
        publisher: TaskPublisher,
        client: CheckedClient,
        tasks: TaskGroup,
        wall: Callable[[], float],
        limits: TaskLimits,
        locks: Locks,
        tracer: Tracer = NO_TRACER,
        agent_name: str = "",
    ) -> None:
        self.draining: Callable[[], None] = _nothing
        """Called as a drain begins."""
        self.drained: Callable[[], None] = _nothing
        """Called as a drain ends."""
        self.store = store
        self._tasks = tasks
        self._limits = limits
        self._locks = locks
        self._followed = followed = FollowedTasks(store)
        self._registry = registry = TaskRegistry(store, locks, followed)
        self._streams = streams = TaskStreams(store, limits.streams)
        self._runner = runner = TaskRunner(
            agent,
            hooks,
            store=store,
            registry=registry,
            publisher=publisher,
            locks=locks,
            tasks=tasks,
            wall=wall,
            tracer=tracer,
            agent_name=agent_name,
        )
        self._notifier = notifier = Notifier(
            store=store,
            tasks=tasks,
            client=client,
            find=lambda task_id: registry.find(task_id, kept=True, doubtful=True),
            render=_notification,
            wall=wall,
            rng=random.SystemRandom(),
            schedule=Schedule(attempts=limits.push_attempts),
            tracer=tracer,
        )
        self._hooks = hooks
        self.others = others = others_of(store, self._execute, tasks)
        self._messages = KnownMessages(store, registry, hooks, locks)
        admission = Admission(
            agent,
            hooks,
            registry=registry,
            runner=runner,
            messages=self._messages,
            notifier=notifier,
            quota=TaskQuota(store, registry, locks, limits.tasks_per_principal, publisher.settle),
            others=others,
            wall=wall,
        )
        self._admission = admission
        self.operations = Operations(
            store=store,
            registry=registry,
            runner=runner,
            admission=admission,
            streams=streams,
            notifier=notifier,
            locks=locks,
            others=others,
        )
        self._adoption = Adoption(store, followed, locks, admission.recover, notifier.recover, self._note_gone)
        self.maintenance = Maintenance(
            store=store,
            registry=registry,
            followed=followed,
            runner=runner,
            admission=admission,
            notifier=notifier,
            wall=wall,
            retention=limits.retention,
            task_retention=limits.task_retention,
        )

    @property
    def active_tasks(self) -> dict[str, ActiveTask]:
        """The tasks at work, by their ids, oldest first."""
        return {task.id: task.active for task in self._registry}

    @property
    def awaited_tasks(self) -> int:
        """The number of tasks that a drain lets end, without those that wait for their user and can be left."""
        return len(self._runner.awaited)

    @property
    def open_streams(self) -> int:
        """The number of open streams."""
        return len(self._streams)

    @property
    def push_counters(self) -> Counters:
        """Counts of push notifications by outcome."""
        return self._notifier.counters

    @property
    def pending_pushes(self) -> int:
        """The number of push configurations whose notifications this server delivers."""
        return self._notifier.pending

    @property
    def unready(self) -> tuple[str, ...]:
        """The types of the reasons why no task can be taken now: the store fails, or the server is being stopped."""
        found = {
            "STORE_UNAVAILABLE": self.store.trouble is not None,
            "LEASE_LOST": self.store.ownership.lost,
            "DRAINING": self.maintenance.draining,
        }
        return tuple(reason for reason, holds in found.items() if holds)

    def watch(self, meters: Meters) -> None:
        """Let the meters read what there is, and measure the store as long as the server runs."""
        self._tasks.start_soon(watch_size, self.store, meters)
        meters.read(STREAMS, lambda: len(self._streams))
        meters.read(ACTIVE_TASKS, lambda: Counter(task.active.log.state.value for task in self._registry))
        meters.read(STORE_UP, lambda: float(self.store.trouble is None))
        meters.read(PUSHES_PENDING, lambda: self.pending_pushes)
        meters.read(PUSHES, self._pushes)
        sharing = Sharing(
            ownership=self.store.ownership,
            followed=self._followed,
            adoption=self._adoption,
            runner=self._runner,
            others=self.others,
        )
        watch_sharing(meters, sharing)

    def _pushes(self) -> dict[str, float]:
        counters = self._notifier.counters
        return {"delivered": counters.deliveries, "retried": counters.retries, "given_up": counters.given_up}

    async def start(self) -> None:
        """Recover what an earlier process left, and begin what runs as long as the server. Raises `StoreError`."""
        self._tasks.start_soon(self._locks.run)
        left = await self._adoption.begin()
        if left:
            _log.warning("resuming %s that an earlier run left unfinished", counted(left, "task"))
        self._tasks.start_soon(self._adoption.run)
        self._tasks.start_soon(self._followed.run)
        self._tasks.start_soon(self.others.run)
        self._tasks.start_soon(fenced_again, self.store.ownership, self._runner, self._notifier)
        self._tasks.start_soon(self._runner.watch)
        self._tasks.start_soon(self.maintenance.keep_alive, self._limits.look_every)
        if self.store.ownership.replica_id is None:  # what other servers get is in no filter
            self._tasks.start_soon(self._messages.load)
        self._tasks.start_soon(self.maintenance.prune)
        self._tasks.start_soon(give_back_memory, lambda: bool(self._registry or self._streams))

    def _note_gone(self) -> None:
        """Note that another server may have gone."""
        self.others.note_gone()
        self._hooks.note_gone()

    async def _execute(self, command: Command) -> object:
        """Do what another server asks about a task of this one. Raises `ProtocolError`."""
        await self._followed.settled()
        match command:
            case SetPush():
                view = Presentation.of_key(command.view)
                await self.operations.set_push_config(command.principal, command.config, view)
                return {}
            case DropPush():
                asked_push = PushConfigId(task_id=command.task_id, id=command.config_id)
                await self.operations.delete_push_config(command.principal, asked_push)
                return {}
            case AgentCommand():
                found = self._hooks.command(command.principal, command.name, command.arguments)
                return await from_store(found)
            case Cancel():
                asked = TaskIdRequest(id=command.task_id)
                active = await self.operations.cancel(command.principal, asked, again=command.again)
            case Send():
                view = Presentation.of_key(command.view)
                active, _ = await self._admission.start(command.principal, command.send, view, command.trace)
        return {"task": active.facts.task_id, "last": await from_store(active.shown())}

    async def drain(self, grace: float) -> None:
        """Admit nothing new, let tasks end within `grace` seconds, then end or leave the others."""
        self.draining()
        await self.maintenance.drain(grace)
        self.drained()

    def leave(self) -> None:
        """Leave the tasks that are at work for the next process, with all that was seen of them. Nobody reads now."""
        self._runner.leave()


def _nothing() -> None:
    """Nobody is to know of a drain."""


def _notification(active: ActiveTask, key: str) -> Render:
    presentation = Presentation.of_key(key)
    return lambda item: encoded_pieces(presentation.notification(item))
