"""Runs turns: one task's prompt from its session to its end, whatever happens to OpenCode or to the client.

`sansio.opencode.turns.turn` decides; this feeds it, saves its events, and watches the time. Turns of one session
run one after the other, in the order of their tasks.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import anyio
from attrs import evolve

from opencode_a2a.agent.sessions.session_choice import Sessions
from opencode_a2a.agent.sessions.session_reads import SessionReads
from opencode_a2a.agent.turns.running_turn import Prompt, RunningTurn
from opencode_a2a.agent.turns.turn_metrics import InterruptTotals, count_turn, first_output
from opencode_a2a.agent.turns.turn_report import describe_turn, log_turn, log_turn_begun
from opencode_a2a.agent.turns.turn_sink import TurnSink
from opencode_a2a.agent.upstream.event_bus import EventBus
from opencode_a2a.agent.upstream.upstream import Upstream, UpstreamError, WithheldError
from opencode_a2a.metrics.meters import NO_METERS, Meters
from opencode_a2a.server.steps import in_turns
from opencode_a2a.server.store import StoreError
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.keyed_lock import Key, Lock, Locks
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.backoff import Backoff
from sansio.a2a.bindings.json_output import Steps
from sansio.a2a.errors import ProtocolError
from sansio.a2a.tasks.task_log import LogEvent, MetadataChanged
from sansio.a2a.timestamps import timestamp
from sansio.metrics import ABORT_ERRORS, ABORTED, ABORTS
from sansio.opencode.file_inputs import holds_media
from sansio.opencode.interrupts.replies import abandoned
from sansio.opencode.locations import location_as_text
from sansio.opencode.tool_servers import TOOL, RunningCall, RunningCalls
from sansio.opencode.turns.recovery import recovered_output
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.events import InterruptEnded, PartSeen
from sansio.opencode.upstream.faults import PAYLOAD, STOPPED, TIMEOUT, UNREACHABLE, TaskFailure
from sansio.opencode.upstream.requests import PromptOptions

_log = logging.getLogger(__name__)

REREADS = Backoff((0.25, 0.5, 1.0, 2.0))
"""Seconds between looks at a session that is idle without an answer."""

LOOKED_AT_ONCE = 512
"""Turns that are looked at in one step of the loop."""

_CONNECT_WAIT = 5.0  # seconds to wait for the event bus before a prompt
_LOOKS_AT_ONCE = (
    16  # after a restart or a gap, thousands of turns look at their sessions: the loop is not theirs alone
)
_LOOKING = 30.0  # seconds that one look at a session may take, however many reads it is
_ABORTS = (0.0, 0.5, 1.0, 2.0)  # seconds before each request to stop, until OpenCode has taken one
_LOST = TaskFailure(text="OpenCode went away and did not come back", type=UNREACHABLE)
_LOOK_EVERY = 0.1  # seconds between two looks at the turns
_LOOKS_AT_PLACES = 10  # looks at the turns, of which one looks at their directories too
_REMOVED = TaskFailure(text="The directory of the session was removed", type="UPSTREAM_RESOURCE_NOT_FOUND")
_STOPPED = TaskFailure(text="The server was stopped before the answer was complete", type=STOPPED)


def _of_context(active: ActiveTask) -> Key:
    return "context", active.facts.principal, active.facts.context_id


def _of_session(session_id: str) -> Key:
    return "session", session_id


async def _no_tools(location: requests.Location) -> None:
    """Give a directory no tools."""


class _SessionGoneError(Exception):
    """OpenCode does not know the session of a context any more: nothing was sent."""


class TurnRunner:
    """Starts and runs turns in `tasks`. `wall`: epoch seconds.

    In seconds: `silence` that ends a turn (None: none does), `abort_timeout` for telling OpenCode to stop,
    `patience` with an event bus that is gone. `give_tools` is awaited before a prompt, with its directory.
    """

    def __init__(
        self,
        *,
        upstream: Upstream,
        bus: EventBus,
        publisher: TaskPublisher,
        sessions: Sessions,
        locks: Locks,
        options: PromptOptions,
        location: requests.Location,
        silence: float | None,
        abort_timeout: float,
        patience: float,
        wall: Callable[[], float],
        meters: Meters = NO_METERS,
    ) -> None:
        self._meters = meters
        self._upstream = upstream
        self._bus = bus
        self._reads = SessionReads(upstream, bus)
        self._publisher = publisher
        self._sessions = sessions
        self._options = options
        self._location = location
        self._silence = silence
        self._abort_timeout = abort_timeout
        self._patience = patience
        self._wall = wall
        self.give_tools: Callable[[requests.Location], Awaitable[None]] = _no_tools
        self.tool_call_began: Wakeup = Wakeup()
        self._counter = 0
        self._locks = locks
        self._stopping = False
        self._looking = anyio.CapacityLimiter(_LOOKS_AT_ONCE)
        self.running: dict[str, RunningTurn] = {}
        self.ended_interrupts: InterruptTotals = InterruptTotals()

    def run(self, active: ActiveTask, prompt: Prompt) -> Coroutine[Any, Any, None]:
        """Return the work of a task's turn. Its end is in the task, never an exception but `StoreError`.

        Its place in the queue is taken before this returns: turns run in the order of these calls.
        """
        run = self._add(active, prompt, self._turn(active))
        named = prompt.session_id
        run.queue = self._locks.of(_of_context(active) if named is None else _of_session(named), active.facts.task_id)
        run.queue.take_place()
        return self._run(run)

    def recover(self, active: ActiveTask, prompt: Prompt) -> Coroutine[Any, Any, None]:
        """Return the work that carries on a task which an earlier process left unfinished.

        One whose prompt may be with OpenCode keeps its places in the queues, or takes others before this returns; any
        other starts again.
        """
        session_id, prompt_id = active.session_id, active.prompt_id
        if session_id is None or prompt_id is None:
            return self.run(active, prompt)
        turn = self._turn(active, session_id, prompt_id)
        turn.recover(recovered_output(active.task(), active.log.events, session_id, last=active.log.last))
        run = self._add(active, prompt, turn)
        keys = (_of_context(active), _of_session(session_id))
        kept = [self._locks.kept(key, active.facts.task_id) for key in keys]
        return self._run(run, [lock for lock in kept if lock is not None])

    def _turn(self, active: ActiveTask, session_id: str = "", prompt_id: str = "") -> Turn:
        facts = active.facts
        return Turn(task_id=facts.task_id, context_id=facts.context_id, session_id=session_id, prompt_id=prompt_id)

    def _add(self, active: ActiveTask, prompt: Prompt, turn: Turn) -> RunningTurn:
        run = self.running[active.facts.task_id] = RunningTurn(
            active, prompt, turn, prompt.location or self._location
        )
        return run

    def canceled(self, active: ActiveTask, now: str) -> list[LogEvent]:
        """The events that end a task as canceled; none if it has ended."""
        run = self.running.get(active.facts.task_id)
        turn = run.turn if run is not None else self._turn(active)
        return turn.cancel(now)

    def interrupt(self, task_id: str) -> None:
        """Stop the turn of a task that is canceled, in OpenCode too."""
        run = self.running.get(task_id)
        if run is not None and run.sink is None:
            run.waiting.cancel()
        elif run is not None and run.sink is not None:
            if run.publishing is not None:
                run.publishing.cancel()  # OpenCode is stopped though the store is away
            run.sink.wake()

    def fail(self, active: ActiveTask, text: str) -> None:
        """End the turn of a task as failed, and stop it in OpenCode, too."""
        task_id = active.facts.task_id
        run = self.running.get(task_id)
        if run is None:
            return
        failure = TaskFailure(text=text, type=STOPPED)
        active.publish(run.turn.fail(failure, self._now()))
        if run.sink is not None:
            run.sink.end(failure)
        self.interrupt(task_id)

    def stop(self, task_id: str) -> None:
        """End a turn as failed, because the server is being stopped."""
        self._stopping = True
        run = self.running.get(task_id)
        if run is not None and run.sink is not None:
            run.sink.end(_STOPPED)

    async def answered(self, run: RunningTurn, ended: InterruptEnded) -> None:
        """Publish that OpenCode has taken an answer, unless the bus has reported it. Raises `StoreError`."""
        if run.active.publish(run.turn.answered(ended, self._now())):
            if run.sink is not None:
                run.sink.wake()
            await self._publisher.reveal(run.active)

    def tool_progress(self, run: RunningTurn, call: RunningCall, text: str) -> None:
        """Show the progress of a call of the tool in its turn's task."""
        run.active.publish(run.turn.tool_progress(TOOL, call.call_id, call.message_id, text))

    def _part_seen(self, calls: RunningCalls, part: PartSeen) -> None:
        if calls.note(part):
            self.tool_call_began.wake()

    async def watch(self) -> None:
        """End the turns that went quiet, or lost OpenCode or their directory, for ever."""
        looks = 0
        while True:
            await anyio.sleep(_LOOK_EVERY)
            looks += 1
            try:
                await in_turns(self._end_quiet())
                if looks % _LOOKS_AT_PLACES == 0:
                    await self._watch_locations()
            except Exception:
                _log.exception("watching the turns")

    def _end_quiet(self) -> Steps[None]:
        """End the turns that OpenCode has left or says nothing of, in steps."""
        now = self._wall()
        silence = math.inf if self._silence is None else self._silence
        for number, run in enumerate(tuple(self.running.values()), 1):
            if number % LOOKED_AT_ONCE == 0:
                yield
            active, sink = run.active, run.sink
            if sink is None:
                continue
            if self._bus.lost_at is not None and now - self._bus.lost_at > self._patience:
                sink.end(_LOST)
            elif now - active.quiet_since > silence:
                if active.saved < active.log.last or active.log.state.interrupted:
                    continue  # it is not quiet, or it is the client who is being waited for
                text = f"OpenCode said nothing for {silence:g} seconds"
                sink.end(TaskFailure(text=text, type=TIMEOUT))

    async def _watch_locations(self) -> None:
        """End the turns whose directory was removed: OpenCode says nothing of it."""
        for run in await in_turns(self._elsewhere()):
            if run.sink is not None and await self._sessions.is_gone(run.location):
                run.sink.end(_REMOVED)

    def _elsewhere(self) -> Steps[list[RunningTurn]]:
        """Return the turns at work outside of the agent's own directory, in steps."""
        found = []
        for number, run in enumerate(tuple(self.running.values()), 1):
            if number % LOOKED_AT_ONCE == 0:
                yield
            if run.sink is not None and run.location != self._location:
                found.append(run)
        return found

    # --- one turn -----------------------------------------------------------------------------------------

    async def _run(self, run: RunningTurn, kept: Sequence[Lock] | None = None) -> None:
        """Run a turn to its end. `kept`: the locks that a recovered turn has its places in."""
        active = run.active
        task_id = active.facts.task_id
        started = self._wall()
        try:
            try:
                locks: list[Lock] = [run.queue] if run.queue is not None else []  # an ExitStack takes 1.9 kB a turn
                locks += kept or ()
                try:
                    prepared = None
                    with run.waiting:
                        if run.queue is not None:
                            prepared = await self._in_queue(run, run.queue, locks)
                        for lock in kept or ():
                            await self._enter(active, lock, locks)
                    # it may have been cancelled meanwhile, which OpenCode must hear if it has the prompt
                    if kept is not None or not active.log.state.terminal:
                        log_turn_begun(active, self._wall() - started)
                        try:
                            await self._drive(run, prepared)
                        except _SessionGoneError:
                            await self._drive(run, await self._in_new_session(run, locks))
                finally:
                    for lock in reversed(locks):
                        lock.leave()
            except UpstreamError as exc:
                await self._publish(active, run.turn.fail(exc.failure, self._now()))
            except ProtocolError as exc:
                failure = TaskFailure(text=f"OpenCode's answer is not as expected: {exc.message}", type=PAYLOAD)
                await self._publish(active, run.turn.fail(failure, self._now()))
        except StoreError:
            raise
        except Exception:
            # a bug of ours must not take the other turns down with it
            _log.exception("task %s", task_id)
            failure = TaskFailure(text="The server failed on this task", type=STOPPED)
            await self._publish(active, run.turn.fail(failure, self._now()))
        finally:
            for scope in tuple(run.tool_scopes):
                scope.cancel()
            log_turn(active, self._wall() - started, run.turn.failure)
            count_turn(self._meters, run, self._wall() - started)
            describe_turn(active, run.prompt.model)
            self.ended_interrupts.add(run.turn)
            if self.running.get(task_id) is run:  # else the task was lost, and taken over again
                del self.running[task_id]

    async def _in_queue(self, run: RunningTurn, queue: Lock, locks: list[Lock]) -> int:
        """Choose the session and wait for the turns before ours, first in its context, then in the session.

        Returns the number of the last event that is durable once the prompt may go out.
        """
        active, session_id = run.active, run.prompt.session_id
        await self._enter(active, queue, locks)
        await self._give_time()
        with ExitStack() as creating:
            if session_id is None:
                session_id = await self._publisher.patiently(active, lambda: self._sessions.of_context(run, creating))
                await self._enter(active, self._locks.of(_of_session(session_id), active.facts.task_id), locks)
            else:
                requested = session_id
                await self._publisher.patiently(active, lambda: self._sessions.requested(run, requested))
            if self._stopping:
                raise UpstreamError(_STOPPED)
            return await self._prepare(run, session_id)

    async def _in_new_session(self, run: RunningTurn, locks: list[Lock]) -> int:
        """Go on in a new session where the context's own is gone in OpenCode. Raises `UpstreamError`."""
        run.prompt = evolve(run.prompt, fresh=True)
        with ExitStack() as creating:
            session_id = await self._sessions.of_context(run, creating)
            lock = self._locks.of(_of_session(session_id), run.active.facts.task_id)
            await self._enter(run.active, lock, locks)
            return await self._prepare(run, session_id)

    async def _give_time(self) -> None:
        """Wait some seconds for an OpenCode that is away. Where it does not come back, the next request says why."""
        if not self._bus.refused:
            await self._bus.wait_connected(_CONNECT_WAIT)

    async def _reachable(self, patience: float) -> None:
        """Give an OpenCode that is away some seconds to come back. Raises `UpstreamError`."""
        if not await self._bus.wait_connected(patience):
            text = f"OpenCode's event stream is not available: {self._bus.trouble}"
            raise UpstreamError(TaskFailure(text=text, type=UNREACHABLE))

    async def _enter(self, active: ActiveTask, queue: Lock, locks: list[Lock]) -> None:
        locks.append(queue)
        queue.take_place()
        # it may wait long: let it be seen
        await self._publisher.patiently(active, lambda: queue.wait(lambda: self._publisher.settle(active)))

    async def _prepare(self, run: RunningTurn, session_id: str) -> int:
        """Make durable, in one commit, what must be known if the server is killed: the task, its session, its prompt.

        A prompt goes out only after that, or a message that is sent again after a crash would run twice.
        """
        active = run.active
        where = await self._publisher.patiently(active, lambda: self._sessions.rows(run, session_id))
        prompt_id = self._prompt_id()
        active.bind(session_id, prompt_id)
        self.ended_interrupts.add(run.turn)
        turn = run.turn = self._turn(active, session_id, prompt_id)
        if active.visible and (task := active.task()).artifacts:
            turn.add_to(recovered_output(task, active.log.events, session_id, last=active.log.last))
        bound = MetadataChanged({"shared": {"session": {"id": session_id}}})
        active.publish([bound, *turn.begin(self._now())])
        last = active.log.last
        if run.location != self._location:
            active.keep("place", location_as_text(run.location))
        await self._publisher.patiently(active, lambda: self._publisher.commit(active, where))
        return last

    async def _drive(self, run: RunningTurn, prepared: int | None) -> None:
        """From the prompt to the turn's end.

        `prepared`: the last event that is durable; None: OpenCode may have the prompt already.
        """
        active, turn = run.active, run.turn
        active.note_progress(self._wall())
        spoke = first_output(self._meters, active.facts.created_at / 1000, self._wall)
        # of the calls, and not of the turn: that would be a cycle, and all of the task were left to the collector
        seen = partial(self._part_seen, run.tool_calls)
        sink = run.sink = TurnSink(active, turn, self._now, seen, spoke)
        if self._stopping:
            sink.end(_STOPPED)
        standing = self._bus.attach(turn.session_id, sink)
        if prepared is None:
            sink.gap()
            for part in standing:  # texts that OpenCode has begun: what follows them is known
                sink.feed(part)
        try:
            await self._reachable(_CONNECT_WAIT if prepared is not None else self._patience)
            if turn.ended:  # cancelled, and OpenCode has no prompt of it unless it was recovered
                if prepared is None:
                    await self._abort(run, sink)
                return
            if prepared is not None:
                await self._send(run, sink)
                active.reveal_settled(prepared)
            else:
                await self._find_again(run, sink)
            await self._follow(run, sink)
        finally:
            self._bus.detach(turn.session_id, sink)

    async def _send(self, run: RunningTurn, sink: TurnSink) -> None:
        turn, prompt = run.turn, run.prompt
        await self._sessions.verify(run.location)
        await self.give_tools(run.location)
        options = evolve(self._options, model=prompt.model) if prompt.model else self._options
        call = requests.prompt(turn.session_id, turn.prompt_id, prompt.parts, options, run.location)
        try:
            await self._request_prompt(call)
        except UpstreamError as exc:
            status = exc.failure.status or 0
            if status == 404 and not exc.sent and prompt.session_id is None and not prompt.fresh:
                raise _SessionGoneError from None
            if not exc.sent and status < 500:
                raise
            sink.doubt()  # it may be running: the session itself will show
            if status:
                await self._look(run, sink, 0)
                if not turn.prompt_seen:
                    await self._publish(run.active, turn.fail(exc.failure, self._now()))
                    await self._abort(run, sink)

    async def _request_prompt(self, call: requests.UpstreamCall) -> None:
        """Send a prompt while no other server can have taken the task over: OpenCode appends one that comes twice.

        Raises `UpstreamError`, `FencedError`.
        """
        while True:
            await self._publisher.sure()
            try:
                await self._upstream.request(call, may_send=self._publisher.is_sure)
            except WithheldError:  # the lease has ended while a connection was made
                continue
            return

    async def _find_again(self, run: RunningTurn, sink: TurnSink) -> None:
        """See what became of a turn while there was no server; a prompt that OpenCode never had is sent now."""
        looks = 0
        while sink.has_gap and not sink.turn.ended and sink.verdict is None:
            looks = await self._look(run, sink, looks)
        if not (sink.turn.ended or sink.has_gap or sink.turn.prompt_seen):
            await self._send(run, sink)

    async def _follow(self, run: RunningTurn, sink: TurnSink) -> None:
        """See the turn to its end: commit what must be, look at the session again where it went quiet."""
        active, turn = run.active, run.turn
        looks = 0
        while True:
            await sink.until_urgent()
            if active.barrier > active.visible and not run.stopped:  # the task's end waits for the store afterwards
                with anyio.CancelScope() as run.publishing:
                    await self._publish(active, ())
            if turn.ended:
                if run.stopped:
                    await self._abort(run, sink)
                elif turn.refused and holds_media(run.prompt.parts):
                    await self._take_back(run)
                return
            if sink.verdict is None and (sink.has_gap or turn.unsettled):
                looks = await self._look(run, sink, looks)
            elif sink.verdict is None:
                looks = 0
            else:
                # published before OpenCode is stopped, or its "aborted" would be the turn's end
                await self._publish(active, turn.fail(sink.verdict, self._now()))
                await self._abort(run, sink)
                return

    async def _look(self, run: RunningTurn, sink: TurnSink, looks: int) -> int:
        """Read the session over REST and feed what it says; returns the number of looks so far.

        An OpenCode that cannot tell just now is asked again; at the last look it is the turn's end.
        """
        turn = run.turn
        if looks or not sink.has_gap:
            await anyio.sleep(REREADS.pause(looks))
            if turn.ended or not (sink.has_gap or turn.unsettled):
                return 0
        last_try = looks >= len(REREADS.pauses)
        async with self._looking:
            if turn.ended:
                return looks
            has_gap, sink.has_gap = sink.has_gap, False
            waited_for, since = frozenset(turn.interrupt_tracker.pending), turn.bus_position
            try:
                with self._upstream.within(_LOOKING):
                    if has_gap:
                        await self._reads.learn_below(turn.session_id, run.location)
                    now = await self._reads.now(turn.session_id, run.location)
            except UpstreamError as exc:
                sink.has_gap = True
                if last_try:
                    sink.end(exc.failure)
                return looks + 1
        events = turn.reconcile(
            now.records,
            now.status,
            self._now(),
            asked=now.asked,
            waited_for=waited_for,
            since=since,
            last_try=last_try,
        )
        with anyio.CancelScope() as run.publishing:
            await self._publish(run.active, events)
        return looks + 1

    async def _publish(self, active: ActiveTask, events: Sequence[LogEvent]) -> None:
        await self._publisher.publish(active, events)

    async def _abort(self, run: RunningTurn, sink: TurnSink) -> None:
        """Tell OpenCode to stop, and let it, so that the next turn of the session finds it at rest; best effort.

        Said again where it may not have arrived: what goes on there would hold up the session for good.
        """
        session_id = run.turn.session_id
        for pause in _ABORTS:
            if pause and self._stopping:
                return
            await anyio.sleep(pause)
            stopped = False
            with anyio.move_on_after(self._abort_timeout):
                try:
                    self._meters.count(ABORTS)
                    await self._upstream.request(requests.abort(session_id, run.location))
                    self._meters.count(ABORTED)
                    stopped = True
                    await sink.until_at_rest()
                except UpstreamError as exc:
                    self._meters.count(ABORT_ERRORS)
                    _log.warning("abort of %s: %s", session_id, exc)
                    stopped = 400 <= (exc.failure.status or 0) < 500
            if stopped or sink.at_rest:
                await self._abandon(run)
                return

    async def _abandon(self, run: RunningTurn) -> None:
        """Reject what a stopped turn has asked, so that OpenCode asks it of nobody any more; best effort."""
        with anyio.move_on_after(self._abort_timeout):
            for asked in run.turn.left:
                try:
                    await self._upstream.request(abandoned(asked, run.location))
                except UpstreamError as exc:
                    if exc.failure.status != 404:  # OpenCode has given it up by itself
                        _log.warning("request %s cannot be rejected: %s", asked.request_id, exc)

    async def _take_back(self, run: RunningTurn) -> None:
        """Revert a prompt that the provider could not take: the session keeps it, and every later turn would fail."""
        turn = run.turn
        try:
            await self._upstream.request(requests.revert(turn.session_id, turn.prompt_id, run.location))
        except UpstreamError as exc:
            _log.warning("task %s: its message cannot be reverted: %s", run.active.facts.task_id, exc)

    # --- time and ids -------------------------------------------------------------------------------------

    def _ms(self) -> int:
        return int(self._wall() * 1000)

    def _now(self) -> str:
        return timestamp(self._wall())

    def _prompt_id(self) -> str:
        self._counter += 1
        created = self._ms() + self._bus.clock_ahead_ms
        return requests.message_id(created, self._counter, secrets.token_hex(7))
