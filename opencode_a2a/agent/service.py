"""The operations: what a client may ask, for a caller who is known, on values that are parsed.

Knows no codec and no transport. Raises `ProtocolError` for what cannot be done; a task that was accepted always
ends in the task itself, whatever happens to the client that started it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

import anyio
import anyio.lowlevel
from attrs import evolve

from opencode_a2a.agent.known_messages import KnownMessages
from opencode_a2a.agent.sessions.location_check import Locations
from opencode_a2a.agent.sessions.session_choice import Sessions
from opencode_a2a.agent.turns.interrupt_service import Answering
from opencode_a2a.agent.turns.model_inputs import ModelInputs
from opencode_a2a.agent.turns.running_turn import Prompt
from opencode_a2a.agent.turns.turn_runner import TurnRunner
from opencode_a2a.server.push.notifier import Notifier
from opencode_a2a.server.store import EventsPruned, Store, StoredTask, StoreError, TaskQuery
from opencode_a2a.server.store.store_errors import from_store
from opencode_a2a.server.tasks.active_task import ActiveTask, Facts
from opencode_a2a.server.tasks.loading import find_task, loaded
from opencode_a2a.server.tasks.open_stream import OpenStream
from sansio.a2a.bindings.page_tokens import page_of_configs, page_token, read_page_token
from sansio.a2a.counted import counted
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, LocalError, ProtocolError, invalid
from sansio.a2a.model import (
    GetTaskRequest,
    JsonObject,
    ListPushConfigsRequest,
    ListTasksRequest,
    Message,
    PushConfig,
    PushConfigId,
    PushConfigPage,
    SendRequest,
    Task,
    TaskIdRequest,
    TaskPage,
    TaskState,
    TaskStatus,
)
from sansio.a2a.tasks.presentation import Presentation, as_text
from sansio.a2a.tasks.repeated_messages import first_message
from sansio.a2a.tasks.task_log import MessageAdded, StatusChanged, trim_history
from sansio.a2a.timestamps import timestamp
from sansio.opencode.deployment import OUTPUT_MODES
from sansio.opencode.file_inputs import EVERYTHING
from sansio.opencode.locations import location_as_text, location_of_text
from sansio.opencode.send_options import SendOptions, check_id, send_options_of
from sansio.opencode.upstream.requests import prompt_parts

_log = logging.getLogger(__name__)

_AT_ONCE = 128 * 1024  # bytes of stored tasks that are decoded without others having their turn
_KEEP_ALIVE = 15.0  # seconds
_MOST_CONFIGS = 32  # push configurations of one task
_MOST_NAMED = 10  # tasks that an error names
_PRUNING = 15.0  # seconds between two looks for events that are kept no longer


class Service:
    """The operations over a store and the turns.

    `wall`: epoch seconds; `max_streams` 0: no limit; `retention`: seconds for which the events of a task that
    has ended are kept, so that its streams can be resumed.
    """

    def __init__(
        self,
        *,
        store: Store,
        turns: TurnRunner,
        notifier: Notifier,
        answering: Answering,
        sessions: Sessions,
        locations: Locations,
        inputs: ModelInputs,
        wall: Callable[[], float],
        max_streams: int = 0,
        retention: float = 3600.0,
    ) -> None:
        self._store = store
        self._turns = turns
        self._notifier = notifier
        self._answering = answering
        self._sessions = sessions
        self._locations = locations
        self._inputs = inputs
        self._wall = wall
        self._max_streams = max_streams
        self._retention = retention
        self._streams = 0
        self._newest = 0  # when the newest task arrived
        self._messages = KnownMessages(store, turns)
        self.draining = False

    # --- messages -----------------------------------------------------------------------------------------

    async def send(self, principal: str, request: SendRequest, presentation: Presentation) -> ActiveTask:
        """Start a task; blocking, return once it has ended or waits for its client, else at once.

        A message that came before is not run again: its task is answered.
        """
        active, _ = await self._start(principal, request, presentation)
        if request.configuration.blocking:
            await from_store(active.settled())
        else:
            await self.told(active)
        return active

    async def stream(
        self,
        principal: str,
        request: SendRequest,
        presentation: Presentation,
        cursor: int | None = None,
        *,
        stays_open: bool = False,
    ) -> OpenStream:
        """Start a task and hand out its stream; `stream_closed` must be called once it is over.

        `cursor`: the id of the last event that was seen, of this message's stream or of the one it goes on from.
        The events of a new task cannot have been seen: then it does not count.
        """
        self._open_stream()
        try:
            active, new = await self._start(principal, request, presentation)
            last = active.log.last
            await self.told(active)
            if cursor is not None and not new:
                found = await self._find(principal, active.facts.task_id, kept=True)
                return await self._resumed(found, cursor, stays_open=stays_open)
        except BaseException:
            self._streams -= 1
            raise
        if request.message.task_id is not None:  # an answer's stream begins where it was taken: no event is left out
            last = active.log.answered_at(request.message.message_id) or last
        task = trim_history(active.log.at(last), request.configuration.history_length)
        whole = active.log.waits_at(last) and not stays_open
        return OpenStream((task,), active, last, last, stays_open, whole)

    # --- tasks --------------------------------------------------------------------------------------------

    async def get_task(self, principal: str, request: GetTaskRequest) -> ActiveTask:
        """A task of the caller's. What is not theirs does not exist."""
        active = await self._find(principal, request.id)
        await from_store(active.changed(active.barrier - 1))  # a state that is told of is durable
        return active

    async def list_tasks(self, principal: str, request: ListTasksRequest) -> TaskPage:
        """The caller's tasks, those whose status changed last first."""
        check_id(request.context_id, ("contextId",))
        query = TaskQuery(
            principal=principal,
            limit=request.page_size + 1,
            context_id=request.context_id,
            state=request.state.value if request.state is not None else None,
            # clients name the first moment that counts (ListTasksRequest), the store the last that does not
            changed_after=None if request.changed_after is None else request.changed_after - 1,
            after=read_page_token(request.page_token) if request.page_token else None,
        )
        found = await from_store(self._store.tasks(query))
        rows = found.rows[: request.page_size]
        more = len(found.rows) > len(rows)
        running = self._turns.running
        tasks: list[Task] = []
        decoded = 0
        for row in rows:
            active = running.get(row.task_id) or await loaded(StoredTask(row, ()))
            task = active.seen()
            tasks.append(trim_history(as_text(task) if active.text_only else task, request.history_length))
            decoded += len(row.snapshot)
            if decoded > _AT_ONCE:
                decoded = 0
                await anyio.lowlevel.checkpoint()
        return TaskPage(
            tasks=tuple(tasks),
            next_page_token=page_token(rows[-1].updated_at, rows[-1].task_id) if more else "",
            page_size=request.page_size,
            total=found.total,
        )

    async def cancel(self, principal: str, request: TaskIdRequest, *, again: bool) -> ActiveTask:
        """End a task, at once: OpenCode is told meanwhile. `again`: one that is cancelled already stays so."""
        active = await self._find(principal, request.id)
        if active.log.state is TaskState.CANCELED and not again:
            raise _not_cancelable(active)
        rested = active.at_rest and not active.log.state.terminal
        await from_store(self._turns.cancel(active))
        if rested:
            await from_store(self._notifier.go_on(active))
        await from_store(active.shown())
        if active.log.state is not TaskState.CANCELED:
            raise _not_cancelable(active)
        return active

    async def subscribe(
        self,
        principal: str,
        request: TaskIdRequest,
        cursor: int | None,
        *,
        replays: bool,
        stays_open: bool = False,
    ) -> OpenStream:
        """The stream of a task, from now or from an event on; `stream_closed` must be called once it is over.

        `replays`: a task that has ended is told once more, where there is no event to go on from. Of a task that
        waits for its user, the stream waits for what comes of the answer (specification 1.0, section 3.1.6).
        """
        self._open_stream()
        try:
            active = await self._find(principal, request.id, kept=cursor is not None)
            if cursor is not None:
                return await self._resumed(active, cursor, stays_open=stays_open)
            if active.log.state.terminal and not replays:
                raise ProtocolError(
                    ErrorKind.UNSUPPORTED_OPERATION,
                    f"The task is {active.log.state.value}: nothing more will come; read it instead",
                    metadata={"taskId": active.facts.task_id, "state": active.log.state.value},
                )
            last = await from_store(active.shown())
            return OpenStream((active.task(),), active, last, last, stays_open)
        except BaseException:
            self._streams -= 1
            raise

    # --- push notifications -------------------------------------------------------------------------------

    async def set_push_config(self, principal: str, config: PushConfig, presentation: Presentation) -> PushConfig:
        """Notify about a task from now on; a configuration of the same id is replaced."""
        active = await self._find(principal, config.task_id or "")
        path = DIALECTS[presentation.version].push_config_path
        check_id(config.id, (*path, "id"))
        await self._notifier.check(config, path, presentation.key)
        known = {one.id for one in await from_store(self._notifier.configs(active.facts.task_id))}
        if len(known) >= _MOST_CONFIGS and config.id not in known:
            raise invalid(("taskId",), f"has {len(known)} push configurations already, and takes no more")
        made = self._notify(active, config, presentation, active.log.last)
        await from_store(self._store.commit())
        return made

    async def get_push_config(self, principal: str, asked: PushConfigId) -> PushConfig:
        """One configuration of a task; the oldest where none is named."""
        for config in await self._push_configs(principal, asked.task_id):
            if asked.id in (None, config.id):
                return config
        raise _no_push_config(asked)

    async def list_push_configs(self, principal: str, asked: ListPushConfigsRequest) -> PushConfigPage:
        """The configurations of a task, oldest first."""
        return page_of_configs(await self._push_configs(principal, asked.task_id), asked)

    async def delete_push_config(self, principal: str, asked: PushConfigId) -> None:
        """Notify no more. To delete what is gone is no error, as the specification has it."""
        await self._find(principal, asked.task_id)
        await from_store(self._notifier.drop(asked.task_id, asked.id or ""))

    async def _push_configs(self, principal: str, task_id: str) -> tuple[PushConfig, ...]:
        await self._find(principal, task_id)
        return await from_store(self._notifier.configs(task_id))

    # --- streams ------------------------------------------------------------------------------------------

    async def told(self, active: ActiveTask) -> None:
        """Return once a new task may be told of: it is durable then."""
        await from_store(active.changed(0))

    @property
    def at_work(self) -> tuple[int, int]:
        """How many tasks run, and how many streams are open."""
        return len(self._turns.running), self._streams

    def stream_closed(self) -> None:
        """A stream's reader is gone; its task is not touched by it."""
        self._streams -= 1

    # --- life ---------------------------------------------------------------------------------------------

    async def keep_alive(self, look_every: float | None = None) -> None:
        """Let every stream show that it lives, for ever; `look_every`: seconds, where they have a time limit."""
        pause = _KEEP_ALIVE if look_every is None else min(_KEEP_ALIVE, look_every)
        while True:
            await anyio.sleep(pause)
            for active in self._turns.running.values():
                active.poke()

    async def prune(self) -> None:
        """Let go of the events of tasks that ended long ago, for ever: each time until none is left.

        A write prunes a few tasks only, and other commits go in between.
        """
        while True:
            before = self._ms() - int(self._retention * 1000)
            self._store.put([EventsPruned(before)])  # at once, before anybody reads
            try:
                while await self._store.prunable(before):
                    await self._store.commit([EventsPruned(before)])
            except StoreError as error:
                _log.warning("the events of ended tasks could not be removed, and will be later: %s", error)
            await anyio.sleep(_PRUNING)

    async def load_messages(self) -> None:
        """Read which messages are known, so that new ones need no look into the store."""
        await self._messages.load()

    async def recover(self) -> int:
        """Go on with the tasks that an earlier run of the server left unfinished; returns how many there were."""
        waiting = TaskState.AUTH_REQUIRED.value  # for somebody who mends the credentials, and asks again
        unfinished = [stored for stored in await self._store.unfinished() if stored.row.state != waiting]
        self._newest = max((stored.row.created_at for stored in unfinished), default=0)
        unfinished.sort(key=lambda stored: stored.row.prompt_id is None)  # those OpenCode may be working on first
        for stored in unfinished:
            try:
                active = await loaded(stored, await self._store.events(stored.row.task_id))
                prompt = _prompt_again(active)
            except (LocalError, ProtocolError) as exc:
                _log.error("task %s cannot be read and is left as it is: %s", stored.row.task_id, exc)
                continue
            await self._turns.recover(active, prompt)
        await self._store.commit()
        return len(unfinished)

    async def drain(self, grace: float) -> None:
        """Take nothing new, let running turns end within `grace` seconds, then end the others.

        What there is to notify by then gets the time that is left; the rest is kept for the next start.
        """
        self.draining = True
        ends = anyio.current_time() + grace
        await self._turns.drain(grace)
        await self._notifier.drain(max(0.0, ends - anyio.current_time()))

    # --- inside -------------------------------------------------------------------------------------------

    def _open_stream(self) -> None:
        if self._max_streams and self._streams >= self._max_streams:
            raise ProtocolError(
                ErrorKind.OVERLOADED,
                f"The server runs {counted(self._streams, 'stream')} already; try again later",
                data={"type": "UPSTREAM_BACKPRESSURE", "limit": self._max_streams},
                metadata={"limit": str(self._max_streams)},
            )
        self._streams += 1

    async def _resumed(self, active: ActiveTask, cursor: int, *, stays_open: bool) -> OpenStream:
        """The stream after an event: first the task as it was then.

        An event that the log does not reach, or does not know: the task as it is, and what replaces whatever the
        client has of it. An event beyond the newest is one that it does not know; the stream's ids begin with 0 then,
        since they never go backwards.
        """
        last = await from_store(active.shown())
        if cursor > last:
            cursor = 0
        if (
            not active.log.reaches(cursor)
            and (stream := await self._from_past(active, cursor, stays_open)) is not None
        ):
            return stream
        try:
            then = active.log.at(cursor)
        except LookupError:
            then = None
        if then is not None and then.history:  # nobody was told of it before it had its message
            return OpenStream((then,), active, cursor, cursor, stays_open)
        stream = OpenStream((), active, last, cursor, stays_open).replaced(cursor)
        return evolve(stream, first=(active.task(), *stream.first))

    async def _from_past(self, active: ActiveTask, cursor: int, stays_open: bool) -> OpenStream | None:
        """The stream of a running task after an event that only the store has; None where that does not reach it."""
        task_id = active.facts.task_id
        stored = await from_store(self._store.task(task_id))
        if stored is None:
            return None
        log = (await loaded(stored, await from_store(self._store.events(task_id)))).log
        last = min(log.last, active.visible)
        try:
            then, past = log.at(cursor), log.since(cursor, last)
        except LookupError:
            return None
        if not (then.history and active.log.reaches(last)):
            return None
        return OpenStream((then,), active, last, cursor, stays_open, past=tuple(past))

    async def _start(
        self, principal: str, request: SendRequest, presentation: Presentation
    ) -> tuple[ActiveTask, bool]:
        """The task of a message, and whether it is new: it is not if the message came before, or is an answer."""
        if self.draining:
            raise ProtocolError(ErrorKind.OVERLOADED, "The server is being stopped")
        send_options = send_options_of(request, OUTPUT_MODES)
        message = request.message
        if message.task_id is not None:
            return await self._continued(principal, message, message.task_id), False
        if (answered := await self._answered(principal, message, send_options.session_id)) is not None:
            return answered, False
        location = await self._locations.requested(send_options.directory, send_options.workspace)
        new = message.context_id is None and send_options.session_id is None
        takes = await self._inputs.takes(
            message.parts, send_options.model, location or self._locations.default, new=new
        )
        prompt = Prompt(
            parts=prompt_parts(message.parts, takes),
            model=send_options.model,
            session_id=send_options.session_id,
            fresh=message.context_id is None,
            location=location,
        )
        if prompt.location is not None:
            checked = self._sessions.check_location(
                principal, message.context_id, send_options.session_id, prompt.location
            )
            await from_store(checked)
        if send_options.session_id is not None:
            await from_store(self._sessions.claim(principal, send_options.session_id, prompt.location))
        if request.configuration.push is not None:
            name = DIALECTS[presentation.version].push_config_member
            check_id(request.configuration.push.id, ("configuration", name, "id"))
            await self._notifier.check(request.configuration.push, ("configuration", name), presentation.key)
        options = send_options.kept()
        if prompt.location is not None:
            options["place"] = location_as_text(prompt.location)
        if request.codec_name is not None:
            options["form"] = request.codec_name
        async with self._messages.arrival(principal, message, options) as known:
            if known is not None:
                return known, False
            active = self._begin(principal, message, prompt, options)
        if request.configuration.push is not None:
            self._notify(active, request.configuration.push, presentation, 0)
        return active, True

    async def _answered(self, principal: str, message: Message, session_id: str | None) -> ActiveTask | None:
        """The task that a message without a task is the answer to: the one in its context that waits for its user.

        `session_id`: the session that the message names. None where no task waits. Raises `ProtocolError` where
        several wait.
        """
        context_id = message.context_id
        if context_id is None or not self._answering.waiting_in(principal, context_id, session_id):
            return None
        async with self._messages.arrival(principal, message, {}) as known:
            waiting = self._answering.waiting_in(principal, context_id, session_id)
            if known is not None or not waiting:
                return known
            if len(waiting) > 1:
                ids = ", ".join(active.facts.task_id for active in waiting[:_MOST_NAMED])
                said = f"is required: {len(waiting)} tasks of this context wait for an answer ({ids})"
                raise invalid(("message", "taskId"), said)
            active = await self._continued(principal, message, waiting[0].facts.task_id)
            self._messages.answered(principal, message, active.facts.task_id)
            return active

    def _notify(self, active: ActiveTask, config: PushConfig, presentation: Presentation, cursor: int) -> PushConfig:
        return self._notifier.begin(active, config, evolve(presentation, text_only=active.text_only).key, cursor)

    def _begin(self, principal: str, message: Message, prompt: Prompt, options: JsonObject) -> ActiveTask:
        """A new task, in the hands of its turn."""
        facts = Facts(
            task_id=str(uuid.uuid4()),
            context_id=message.context_id or str(uuid.uuid4()),
            principal=principal,
            message_id=message.message_id,
            created_at=self._arrived(),
        )
        active = ActiveTask.new(facts)
        active.options = options
        self._messages.began(active)
        message = evolve(message, task_id=facts.task_id, context_id=facts.context_id)
        status = TaskStatus(state=TaskState.SUBMITTED, timestamp=timestamp(self._wall()))
        active.publish([StatusChanged(status=status), MessageAdded(message)])
        self._turns.start(active, prompt)
        return active

    async def _continued(self, principal: str, message: Message, task_id: str) -> ActiveTask:
        """The task that a message goes on with, which is the one it started: any other is refused, by name."""
        active = await self._find(principal, task_id)
        if message.context_id not in (None, active.facts.context_id):
            raise invalid(("message", "contextId"), "is not the context of message.taskId")
        if message.message_id == active.facts.message_id:
            return active
        if any(known.message_id == message.message_id for known in active.task().history):
            return active
        message = evolve(message, task_id=task_id, context_id=active.facts.context_id)
        state = active.log.state
        if state is TaskState.INPUT_REQUIRED and await self._answering.by_message(active, message):
            return active
        if state is TaskState.AUTH_REQUIRED and active.at_rest and task_id not in self._turns.running:
            return await self._again(active, message)
        reason = (
            f"is {state.value}: start a new task in its context"
            if state.terminal
            else "is being worked on: wait for its end, then start a new task in its context"
        )
        raise ProtocolError(
            ErrorKind.UNSUPPORTED_OPERATION,
            f"message.taskId: the task {reason}",
            metadata={"taskId": active.facts.task_id, "state": state.value},
        )

    async def _again(self, active: ActiveTask, message: Message) -> ActiveTask:
        """Try once more what could not be done for want of credentials."""
        prompt = evolve(_prompt_again(active), parts=prompt_parts(message.parts, EVERYTHING))
        status = TaskStatus(state=TaskState.WORKING, timestamp=timestamp(self._wall()))
        active.publish([MessageAdded(message), StatusChanged(status=status)])  # nobody is to see it wait any more
        self._turns.start(active, prompt)
        await from_store(self._notifier.go_on(active))
        return active

    async def _find(self, principal: str, task_id: str, *, kept: bool = False) -> ActiveTask:
        """A task of the caller's; one that has ended with its past only where it is `kept` for that."""
        if "\0" in task_id:  # which no id holds, and not every database can look for
            raise ProtocolError(ErrorKind.TASK_NOT_FOUND)
        active = await from_store(find_task(self._store, self._turns.running, task_id, kept=kept))
        if active is None or active.facts.principal != principal:
            raise ProtocolError(ErrorKind.TASK_NOT_FOUND, "Task not found", metadata={"taskId": task_id[:128]})
        return active

    def _ms(self) -> int:
        return int(self._wall() * 1000)

    def _arrived(self) -> int:
        """When a task arrives, in epoch milliseconds: no two at once, so that their order is known from it."""
        self._newest = max(self._newest + 1, self._ms())
        return self._newest


def _not_cancelable(active: ActiveTask) -> ProtocolError:
    state = active.log.state.value
    return ProtocolError(
        ErrorKind.TASK_NOT_CANCELABLE,
        f"Task cannot be canceled: it is {state}",
        metadata={"taskId": active.facts.task_id, "state": state},
    )


def _prompt_again(active: ActiveTask) -> Prompt:
    """The prompt of a task that was left unfinished. Raises `LocalError`, `ProtocolError` where it is gone."""
    task = active.task()
    first = first_message(task, active.facts.message_id)
    if first is None:
        raise LocalError("its message is gone")
    send_options = SendOptions.of_kept(active.options)
    location = active.options.get("place")
    return Prompt(
        parts=prompt_parts(first.parts, EVERYTHING),
        model=send_options.model,
        session_id=send_options.session_id,
        location=location_of_text(location) if isinstance(location, str) else None,
    )


def _no_push_config(asked: PushConfigId) -> ProtocolError:
    return ProtocolError(
        ErrorKind.TASK_NOT_FOUND,
        "Push notification configuration not found",
        metadata={"taskId": asked.task_id[:128], "id": (asked.id or "")[:128]},
    )
