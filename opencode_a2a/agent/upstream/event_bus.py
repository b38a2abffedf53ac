"""The one subscription to OpenCode's event bus, shared by all turns: cost grows with events, not with turns.

It decodes each event once and routes it by session; a subagent's session leads to its root's turn. What arrived
together for a turn is delivered together, and then its sink is flushed. Others have their turn between two batches.

Where the server is behind, what has come is decoded before any of it is delivered, and pieces of one text are one.
The further it is behind, the more is delivered at once, and the less a token costs.

When the bus drops it reconnects, and every sink is marked as having a gap.

Texts that OpenCode writes in sessions without a sink are collected: a turn that is taken over from another server, or
recovered a while after the start, goes on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus

from opencode_a2a.agent.upstream.upstream import Upstream, UpstreamError
from opencode_a2a.logs import LIFECYCLE
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.backoff import Backoff
from sansio.a2a.bindings.sse import SseDecoder, SseEvent
from sansio.a2a.errors import ProtocolError
from sansio.opencode.turns.open_texts import OpenTexts
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.events import (
    BusEvent,
    InstanceDisposed,
    PartSeen,
    SessionSeen,
    decode,
    event_id,
    is_bus_event,
    join_deltas,
)
from sansio.opencode.upstream.faults import PAYLOAD, TIMEOUT, UNREACHABLE, TaskFailure
from sansio.opencode.upstream.problems import Problem, bus_problem, not_opencode

_log = logging.getLogger(__name__)
_lifecycle = logging.getLogger(LIFECYCLE)

BACKOFF = Backoff((0.05, 0.2, 0.5, 1.0, 2.0, 5.0))
_BACKOFF_AT_WORK = 0.5  # turns need it, and their patience has an end
_LASTING = 5.0  # seconds after which a connection counts as one that holds
_GENERATIONS = 32  # how deep subagents may nest
_CHILDREN = 10_000  # subagent sessions remembered
_BATCH = 32  # events that are delivered in one step of the loop: one read may bring several hundred, of many turns
_BEHIND = 64 * 1024  # bytes of the stream that have come together: some two hundred tokens
_TOGETHER = 1024 * 1024  # bytes after which events are delivered though more has come
_SKEW_MS = 2000  # clocks closer than this are taken as one: the difference is the way here


class _NotOpenCodeError(Exception):
    """An answer that OpenCode does not give; the text is what it did, as a verb and its object."""


class Sink(Protocol):
    """The methods of a turn that the event bus calls. None of them may wait."""

    def feed(self, event: BusEvent) -> None:
        """One event of the turn's session, or of a session below it."""

    def flush(self) -> None:
        """All events that came together have been fed."""

    def gap(self) -> None:
        """Events may have been missed; the bus is connected again."""


class EventBus:
    """Run `run` in a task group; attach a sink before its prompt is sent.

    `clock`: epoch seconds. `note` is given the problem with the bus, and None once it is connected.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        silence: float = 60.0,
        clock: Callable[[], float],
        note: Callable[[Problem | None], None] = lambda problem: None,
    ) -> None:
        self._upstream = upstream
        self._note = note
        self._silence = silence  # seconds without a byte (OpenCode sends heartbeats) after which to reconnect
        self._clock = clock
        self._sinks: dict[str, Sink] = {}
        self._parents: dict[str, str] = {}
        self._open_texts = OpenTexts()
        self._waiting = 0  # how many wait until it is connected
        self.came = Wakeup()  # for those who wait for the next connection
        self._unreadable = False  # an event of this connection could not be read, and that is logged
        self._wanted = anyio.Event()  # somebody waits for the bus: no time to sit out a pause
        self._news = True  # the next connection is worth a line in the log
        self.connected = False
        self.lost_at: float | None = None  # when the bus was lost, epoch seconds
        self.refused = False  # OpenCode is there, and does not let us in: to wait does not help
        self.trouble = "it has not answered yet"  # why the bus was lost last, in words
        self.reconnects = 0
        self.disposals = 0  # how often OpenCode has let go of an instance, or may have: it was away
        self.clock_ahead_ms = 0  # OpenCode's clock minus ours

    def __repr__(self) -> str:
        state = "connected" if self.connected else "disconnected"
        return f"<EventBus {state} sinks={len(self._sinks)} reconnects={self.reconnects}>"

    def attach(self, session_id: str, sink: Sink) -> list[PartSeen]:
        """Route the events of a session to `sink`, from now on.

        Return the parts of the session whose text is being written, as far as that is known: each has its text so
        far, and the next delta that `sink` is fed follows it.
        """
        self._sinks[session_id] = sink
        return self._open_texts.take(session_id)

    def detach(self, session_id: str, sink: Sink) -> None:
        """Send `sink` no more events of this session. Another sink that was attached since stays."""
        if self._sinks.get(session_id) is sink:
            del self._sinks[session_id]

    async def wait_connected(self, timeout: float) -> bool:
        """Whether the bus is connected, now or within `timeout` seconds."""
        if self.connected:
            return True
        self._wanted.set()
        self._waiting += 1
        try:
            with anyio.move_on_after(timeout):
                await self.came.wait()
        finally:
            self._waiting -= 1
        return self.connected

    def leads_to(self, session_id: str, root: str) -> bool:
        """Whether a session is `root` or, as far as is known, a subagent's below it."""
        return root in self._line_of(session_id)

    def adopt(self, session_id: str, parent_id: str) -> None:
        """Know a session as a subagent's."""
        if session_id in self._parents:
            return
        if len(self._parents) >= _CHILDREN:
            del self._parents[next(iter(self._parents))]
        self._parents[session_id] = parent_id

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Stay connected, for ever."""
        task_status.started()
        failures = unanswered = 0
        while True:
            self._wanted = anyio.Event()
            started = self._clock()
            failure = TaskFailure(text="OpenCode closed its event stream", type=UNREACHABLE)
            problem: Problem | None = None
            try:
                await self._listen(unanswered)
            except UpstreamError as exc:
                failure = exc.failure
                unanswered += failure.type == TIMEOUT
            except _NotOpenCodeError as exc:
                failure = TaskFailure(text=f"it does not look like OpenCode: it {exc}", type=PAYLOAD)
                problem = not_opencode(self._upstream.url, str(exc))
            except ProtocolError as exc:  # what came is no HTTP, or no event stream
                failure = TaskFailure(text=exc.message, type=PAYLOAD)
            except Exception as exc:
                # whatever it is, every turn depends on the bus: try again
                _log.exception("event bus")
                failure = TaskFailure(text=type(exc).__name__, type=UNREACHABLE)
            self.trouble = failure.text
            self.refused = 400 <= (failure.status or 0) < 500
            if self.lost_at is None:
                self.lost_at = self._clock()
            if self.connected:
                unanswered = 0
                lasted = self._clock() - started > _LASTING
                # one that comes and goes is tried less and less often
                failures = 0 if lasted else failures
                _log.log(logging.WARNING if lasted else logging.INFO, "event bus lost: %s", self.trouble)
                self._news = self._news or lasted
            else:
                self._note(problem or bus_problem(failure, self._upstream.url))
                self._news = True
            self.connected = False
            pause = BACKOFF.pause(failures)
            needed = bool(self._sinks or self._waiting)
            with anyio.move_on_after(min(pause, _BACKOFF_AT_WORK) if needed else pause):
                await self._wanted.wait()
            failures += 1

    async def _listen(self, unanswered: int) -> None:
        """Deliver what the bus says until it ends. Raises `UpstreamError` where it breaks, or goes silent.

        One bound holds for the whole opening, from the connection to OpenCode's first event; it grows with the number
        of openings that were `unanswered` before.
        """
        decoder = SseDecoder()
        found: dict[str, tuple[Sink, list[BusEvent]]] = {}
        size = 0
        call = requests.events()
        bounds = self._upstream.bounds(call)
        within = bounds[min(unanswered, len(bounds) - 1)]
        with anyio.move_on_after(within) as silence:
            async with self._upstream.stream(call, within=within) as pieces:
                try:
                    async for piece in pieces:
                        events = decoder.feed(piece.data)
                        if events and not self.connected:
                            if not is_bus_event(events[0].data):
                                raise _NotOpenCodeError("answered GET /global/event with events of another kind")
                            self._now_connected(events[0].data)
                        if self.connected:
                            silence.deadline = anyio.current_time() + self._silence
                        await self._route_all(events, found)
                        size += len(piece.data)
                        if not piece.more or size > _TOGETHER:
                            together, found, join, size = found, {}, size >= _BEHIND, 0
                            await self._deliver(together, join=join)
                except Exception:
                    await self._deliver(found, join=size >= _BEHIND)  # what came whole before the fault
                    raise
        if not (silence.cancelled_caught or self.connected):
            raise _NotOpenCodeError("answered GET /global/event with no event stream")
        if silence.cancelled_caught:
            quiet = self._silence if self.connected else within
            raise UpstreamError(TaskFailure(text=f"OpenCode said nothing for {quiet:.3g} seconds", type=TIMEOUT))

    async def _route_all(self, events: list[SseEvent], found: dict[str, tuple[Sink, list[BusEvent]]]) -> None:
        for number, event in enumerate(events, 1):
            self._route(event.data, found)
            if number % _BATCH == 0:
                await anyio.lowlevel.checkpoint()

    async def _deliver(self, found: dict[str, tuple[Sink, list[BusEvent]]], *, join: bool) -> None:
        """Deliver what came together, the events of a turn together: whatever comes apart is written apart.

        `join`: deltas of one part that follow each other are delivered as one.
        """
        step = 0
        for session_id, (sink, routed) in found.items():
            for start in range(0, len(routed), _BATCH):
                batch = routed[start : start + _BATCH]
                if step and step + len(batch) > _BATCH:
                    step = 0
                    await anyio.lowlevel.checkpoint()
                if self._sinks.get(session_id) is not sink:
                    break  # the turn has ended meanwhile
                step += len(batch)
                self._feed(sink, join_deltas(batch) if join else batch)

    def _feed(self, sink: Sink, events: Sequence[BusEvent]) -> None:
        for event in events:
            try:
                sink.feed(event)
            except Exception:
                # a bug in one turn must not cut the others off; that turn looks at its session again
                _log.exception("a turn failed on an event of %s", event.session_id)
                sink.gap()
        sink.flush()

    def _now_connected(self, first: bytes) -> None:
        self.connected = True
        self.refused = False
        self.lost_at = None
        now = int(self._clock() * 1000)
        created = requests.time_of_id(event_id(first), now)
        ahead = 0 if created is None else created - now
        self.clock_ahead_ms = ahead if abs(ahead) > _SKEW_MS else 0
        self.reconnects += 1
        self.disposals += 1
        self._unreadable = False
        self._note(None)
        self._open_texts.clear()
        if self._news:
            _lifecycle.info("OpenCode is connected at %s", self._upstream.url)
            self._news = False
        self.came.wake()
        for sink in list(self._sinks.values()):
            sink.gap()

    def _route(self, data: bytes, found: dict[str, tuple[Sink, list[BusEvent]]]) -> None:
        """Decode an event; add it to those of the sink that it belongs to, under the session that has the sink."""
        try:
            event = decode(data)
        except ProtocolError as exc:
            # logged once: what sends one of these may send thousands
            _log.log(
                logging.DEBUG if self._unreadable else logging.WARNING, "an event is passed over: %s", exc.message
            )
            self._unreadable = True
            return
        if event is None:
            return
        if isinstance(event, InstanceDisposed):
            self.disposals += 1
            return
        if isinstance(event, SessionSeen):
            if event.parent_id is not None:
                self.adopt(event.session_id, event.parent_id)
            return
        session_id = event.session_id or ""
        sink = self._sinks.get(session_id)
        if sink is None:
            session_id = self._session_above(session_id)
            sink = self._sinks.get(session_id)
        if sink is None:
            self._open_texts.note(event)
            return
        held = found.get(session_id)
        if held is not None and held[0] is sink:
            held[1].append(event)
        else:  # or the turn that the earlier ones were for has ended meanwhile
            found[session_id] = sink, [event]

    def _session_above(self, session_id: str) -> str:
        """The nearest session above a session that has a sink; empty for none."""
        return next((above for above in self._line_of(session_id) if above in self._sinks), "")

    def _line_of(self, session_id: str | None) -> Iterator[str]:
        """A session and those above it, nearest first."""
        for _ in range(_GENERATIONS):
            if session_id is None:
                return
            yield session_id
            session_id = self._parents.get(session_id)
