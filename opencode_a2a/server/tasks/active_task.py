"""A task in memory: its log, those who read it, and what of it is durable.

The rule of durability: chunks and progress reach readers at once and the store within `SAVE_EVERY` seconds; a
change of state reaches the store first. Readers have a cursor, not a queue: a slow one holds back nobody.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from time import monotonic

import orjson
from attrs import define, field, frozen

from opencode_a2a.server.store import EventRow, StoreError, StoreUnavailableError, TaskRow
from opencode_a2a.server.tasks.followers import Followers, Take
from opencode_a2a.server.tasks.keyed_lock import OneAtATime
from opencode_a2a.server.tasks.renderings import Renderings
from opencode_a2a.tracing.spans import Span
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.bindings.json_output import kept_json
from sansio.a2a.bindings.trace_context import TraceContext, trace_context_of
from sansio.a2a.model import JsonObject, Task, TaskState
from sansio.a2a.tasks.task_log import Entry, LogEvent, StatusChanged, TaskLog
from sansio.a2a.tasks.task_log_codec import encode_events, encode_task
from sansio.a2a.timestamps import epoch_ms

_WINDOW = 384 * 1024
"""Bytes of stored events, at least, that stay in memory for readers who are behind; at most twice as many do."""

STOPPING = "the server is being stopped"
ELSEWHERE = "another server works on the task now"
UNREADABLE = "the task cannot be followed here any more"
"""Why a task rests here though it has not ended, for its readers."""

SAVE_EVERY = 0.1
"""Seconds within which what readers may have seen already is handed to the store."""


@frozen(kw_only=True)
class Facts:
    """The identity of a task, which never changes. `created_at`: epoch milliseconds, of no other task.

    `message_id`: the client's message that started it. `affinity`: the place that it can be worked on in, as its
    agent names it; empty: the first, or there is only one.
    """

    task_id: str
    context_id: str
    principal: str
    message_id: str
    created_at: int
    affinity: str = ""


class FarBehindError(LookupError):
    """A reader is behind by more events than are kept in memory. `cursor`: the last event it has."""

    def __init__(self, cursor: int) -> None:
        super().__init__(f"the events after {cursor} are not in memory any more")
        self.cursor = cursor


@define(eq=False)
class ActiveTask:
    """One task's log with its readers. `visible`: the newest event readers may see.

    The newest events stay in memory, so that readers share their rendering. Older ones are there as the task they add
    up to: a slow reader cannot make a long task cost any more than that.
    """

    facts: Facts
    log: TaskLog
    session_id: str | None = None
    prompt_id: str | None = None
    options: JsonObject = field(factory=dict)
    visible: int = 0
    saved: int = 0
    barrier: int = 0  # the newest event that must be durable before it may be seen
    showing: bool = False  # it is being made durable for its own sake
    span: Span | None = None  # of the work on it, while there is any
    at_rest: bool = False  # nobody works on it: nothing more is published, unless a client asks
    left: str | None = None  # why it rests here though it has not ended, in words for its readers
    published_at: float = 0.0  # when the first of the newest events came, on the monotonic clock
    quiet_since: float = 0.0  # when the newest event came, for whoever watches
    in_store: bool = False  # the store has it, as it was at some time
    trouble: StoreError | None = None  # why its events cannot be stored now
    lost: bool = False  # it could not be stored before anybody saw it and never was; or others work on it now
    renderings: Renderings = field(factory=Renderings)
    committing: OneAtATime = field(factory=OneAtATime)
    _unstored: list[EventRow] = field(factory=list)  # rows whose commit failed
    _changed: Wakeup = field(factory=Wakeup)
    _followers: Followers = field(factory=Followers)
    _runs: list[tuple[int, int, int]] = field(factory=list)  # in memory: first and last number, and bytes stored
    _kept: int = 0  # bytes of all runs

    @classmethod
    def new(cls, facts: Facts, options: JsonObject | None = None) -> ActiveTask:
        """Make a task that no client knows yet. `options`: what is kept with it."""
        return cls(facts, TaskLog(facts.task_id, facts.context_id), options={} if options is None else options)

    @classmethod
    def restored(cls, row: TaskRow, log: TaskLog) -> ActiveTask:
        """A task of the store's, with the log that was made of what is kept."""
        facts = Facts(
            task_id=row.task_id,
            context_id=row.context_id,
            principal=row.principal,
            message_id=row.message_id,
            created_at=row.created_at,
            affinity=row.affinity,
        )
        return cls(
            facts,
            log,
            session_id=row.session_id,
            prompt_id=row.prompt_id,
            options=orjson.loads(row.options),
            visible=log.last,
            saved=log.last,
            in_store=True,
            at_rest=True,
        )

    def refresh(self, row: TaskRow) -> None:
        """Take what is kept with the task from its row, after another server has worked on it."""
        self.session_id, self.prompt_id, self.options = row.session_id, row.prompt_id, orjson.loads(row.options)

    # --- work ---------------------------------------------------------------------------------------------

    def begin_work(self) -> None:
        """Somebody works on it from now on."""
        self.at_rest, self.left = False, None

    def rest(self, left: str | None = None) -> None:
        """Nobody works on it any more: whoever waits for more is woken.

        `left`: why that is so though the task goes on elsewhere or later, in words for its readers.
        """
        self.at_rest = True
        self.left = self.left or left
        self.poke()

    def keep(self, name: str, value: object) -> None:
        """Keep a value with the task, as JSON: it is stored with the next commit of the task."""
        self.options[name] = value

    def bind(self, session_id: str, prompt_id: str) -> None:
        """Note where the agent works on it, in the agent's own terms: both are stored with the task."""
        self.session_id, self.prompt_id = session_id, prompt_id

    def recover(self, now: float = 0.0) -> list[TaskRow | EventRow]:
        """Carry on a task that an earlier process left; return the rows to store before anybody sees it.

        Numbers of events that may have been seen but were not stored stay unused. `now`: epoch seconds.
        """
        self.log.recover(int(now * 1000))
        self.reveal(self.log.last)
        return self.rows()

    def note_progress(self, now: float) -> None:
        """Note that it is not quiet. `now`: epoch seconds."""
        self.quiet_since = now

    def begin_show(self, since: int) -> bool:
        """Whether it is to be made durable for its own sake, which is so once; `since`: epoch ms of its arrival."""
        if self.visible or self.showing or self.facts.created_at > since:
            return False
        self.showing = True
        return True

    @property
    def held_back(self) -> bool:
        """Whether a change of state waits for a commit that nobody makes: whoever published it was cancelled."""
        waits = 0 < self.visible < self.barrier
        return waits and self.trouble is None and not self.committing.is_taken

    # --- writing ------------------------------------------------------------------------------------------

    def publish(self, events: Iterable[LogEvent]) -> bool:
        """Append; True if a state changed, so that `row` must be committed before `reveal`.

        What needs no commit is seen by readers at once, unless something before it waits.
        """
        if self.visible == self.log.last:
            self.published_at = monotonic()
        for event in events:
            before = self.log.state
            entry = self.log.append(event)
            if entry is not None and isinstance(event, StatusChanged) and event.status.state is not before:
                self.barrier = entry.number
        if self.barrier > self.visible:
            return True
        self.reveal(self.log.last)
        return False

    def take_in(self, row: EventRow, events: Sequence[LogEvent]) -> None:
        """Add the events of a row that another replica has stored: they keep their numbers, and are seen at once."""
        for number, event in enumerate(events, row.first_seq):
            self.log.receive(number, event)
        if self.log.last > self.saved:
            self._keep_run(max(row.first_seq, self.saved + 1), self.log.last, len(row.body))
            self.saved = self.log.last
            self.reveal(self.saved)

    def reveal(self, number: int) -> None:
        """Let readers see the events up to `number`."""
        if number <= self.visible:
            return
        self.visible = number
        self._forget()
        self._changed.wake()
        self._followers.offer(self.log, number)

    def reveal_settled(self, last: int) -> bool:
        """The events up to `last` are durable: reveal them, and those after them unless a state changed.

        False if one did: it must be made durable as well.
        """
        self.reveal(last)
        if self.barrier > last:
            return False
        self.reveal(self.log.last)
        return True

    def unsaved(self) -> EventRow | None:
        """The events the store does not have yet, as one row; they count as handed over.

        None of a task that is lost: other servers number its events by now.
        """
        if self.lost or self.saved == self.log.last:
            return None
        entries = self.log.since(self.saved)
        row = EventRow(
            task_id=self.facts.task_id,
            first_seq=entries[0].number,
            last_seq=entries[-1].number,
            body=encode_events([entry.event for entry in entries]),
        )
        self.saved = row.last_seq
        self._keep_run(row.first_seq, row.last_seq, len(row.body))
        self._forget()
        return row

    def _keep_run(self, first: int, last: int, size: int) -> None:
        self._runs.append((first, last, size))
        self._kept += size

    def _forget(self) -> None:
        """Let go of the oldest events that were stored and seen, where the window is more than full.

        Of a long run, as much is kept as there is room for: what came in one burst may be larger than the window.
        """
        if self._kept <= 2 * _WINDOW:
            return
        last = 0
        while self._kept > _WINDOW and self._runs[0][0] <= self.visible:
            first, end, size = self._runs.pop(0)
            of_one = size / (end - first + 1)
            last = min(end, self.visible, first + int((self._kept - _WINDOW) / of_one))
            left = int(of_one * (end - last))
            self._kept -= size - left
            if last < end:
                self._runs.insert(0, (last + 1, end, left))
                break
        self.log.compact(last)
        self.renderings.forget(last)

    def rows(self) -> list[TaskRow | EventRow]:
        """The task as it is now, as the store keeps it, with the events that led to it since the last time."""
        events = self.unsaved()
        unstored, self._unstored = self._unstored, []
        row = TaskRow(
            task_id=self.facts.task_id,
            context_id=self.facts.context_id,
            principal=self.facts.principal,
            message_id=self.facts.message_id,
            state=self.log.state.value,
            finished=self.log.state.terminal,
            created_at=self.facts.created_at,
            updated_at=self.changed_at,
            session_id=self.session_id,
            prompt_id=self.prompt_id,
            last_seq=self.log.last,
            snapshot=encode_task(self.log.task()),
            options=kept_json(self.options),
            affinity=self.facts.affinity,
        )
        return [row, *unstored, events] if events is not None else [row, *unstored]

    def stored(self) -> None:
        """The commit of its rows succeeded. What was lost meanwhile stays lost."""
        self.in_store = True
        if not self.lost:
            self.trouble = None

    def not_stored(self, rows: Iterable[TaskRow | EventRow], trouble: StoreError) -> None:
        """The commit of these rows failed: until one succeeds, whoever waits for what they hold gets an error.

        A task that the store does not have yet is given up: nobody has seen it, and nothing of it is stored later.
        Of any other, the store keeps the events where it is unavailable.
        """
        if not (self.in_store and isinstance(trouble, StoreUnavailableError)):
            self._unstored += [row for row in rows if isinstance(row, EventRow)]
        self.lose(trouble)

    def in_trouble(self, trouble: StoreError) -> None:
        """The store fails the task, for now."""
        self.trouble = trouble
        self.poke()

    def lose(self, trouble: StoreError) -> None:
        """Leave a task for which the store fails: one that is not there is given up."""
        self.lost = self.lost or not self.in_store
        self.in_trouble(trouble)

    def leave_to_others(self, trouble: StoreError) -> None:
        """Leave a task that other servers work on now: nothing of it is stored here any more, however late."""
        self.lost = True
        self.in_trouble(trouble)
        self.rest(ELSEWHERE)

    # --- reading ------------------------------------------------------------------------------------------

    @property
    def changed_at(self) -> int:
        """When the status last changed: epoch milliseconds."""
        timestamp = self.log.status.timestamp
        return self.facts.created_at if timestamp is None else epoch_ms(timestamp)

    @property
    def ended(self) -> bool:
        """Whether readers may see its end: it stays as it is."""
        return self.log.state.terminal and self.visible == self.log.last

    @property
    def broken_off(self) -> str | None:
        """Why its streams end before it does, in words; None where nothing ends them, or the task itself does."""
        state = self.log.state
        return None if state.terminal or state is TaskState.AUTH_REQUIRED or not self.at_rest else self.left

    @property
    def over_for_readers(self) -> bool:
        """Whether it is over, and nothing breaks its streams off: they end with its last event."""
        return self.over and self.broken_off is None

    @property
    def over(self) -> bool:
        """Whether every event is published and visible, or nothing more can be."""
        if self.lost or (self.at_rest and self.trouble is not None):
            return True
        return (self.at_rest or self.log.state.terminal) and self.visible == self.log.last

    def _check(self) -> None:
        """Refuse to wait for what cannot be stored now. Raises `StoreError`."""
        if self.trouble is not None:
            raise type(self.trouble)(str(self.trouble))

    def task(self) -> Task:
        """The task as it is now."""
        return self.log.task()

    def seen(self) -> Task:
        """The task as readers may see it."""
        return self.log.task() if self.visible == self.log.last else self.log.at(self.visible)

    def has_message(self, message_id: str) -> bool:
        """Whether it has a message of the client's already: the first, or one that followed."""
        if message_id == self.facts.message_id:
            return True
        return any(known.message_id == message_id for known in self.log.task().history)

    @property
    def codec_name(self) -> str | None:
        """The name of the codec it was asked for in, if that was kept."""
        name = self.options.get("form")
        return name if isinstance(name, str) else None

    @property
    def trace(self) -> TraceContext | None:
        """The span that what is done for it belongs to: of the work on it, or of the request that started it."""
        if self.span is not None:
            return self.span.context
        kept = self.options.get("trace")
        return trace_context_of(kept) if isinstance(kept, dict) else None

    @property
    def text_only(self) -> bool:
        """Whoever asked for it takes nothing but text."""
        return self.options.get("modes") == "text"

    def poke(self) -> None:
        """Wake all who wait, though nothing is new."""
        self._changed.wake()
        self._followers.wake()

    async def changed(self, cursor: int) -> None:
        """Return once events after `cursor` may be seen. Raises `StoreError` while they cannot be stored."""
        while self.visible <= cursor:
            self._check()
            await self._changed.wait()

    async def read(self, cursor: int, take: Take | None = None) -> AsyncGenerator[Sequence[Entry]]:
        """Everything after `cursor`, in batches of what is there, to the end of the task.

        A batch is empty where someone has poked the task, so that a stream can show it lives. `take`: takes events
        in the step that publishes them, while the reader waits; those are in no batch. Raises `FarBehindError`
        where the next events are not in memory any more.
        """
        while True:
            if self.visible > cursor:
                try:
                    entries = self.log.since(cursor, self.visible)
                except LookupError:
                    raise FarBehindError(cursor) from None
                cursor = self.visible
                yield entries
            elif self.over:
                return
            else:
                if take is None:
                    await self._changed.wait()
                else:
                    cursor = await self._followers.follow(cursor, take)
                if self.visible <= cursor and not self.over:
                    yield ()

    async def shown(self) -> int:
        """Return once every published event is visible; the number of the newest one.

        Raises `StoreError` while that cannot be stored.
        """
        while self.visible < self.log.last:
            self._check()
            await self._changed.wait()
        return self.visible

    @property
    def waits(self) -> bool:
        """Whether it waits for its client, and readers see that."""
        return self.log.state.interrupted and self.visible == self.log.last

    async def paused(self) -> None:
        """Return once it waits for its client, or nobody works on it."""
        while not (self.at_rest or self.waits):
            await self._changed.wait()

    async def settled(self) -> Task:
        """The task once it has ended, waits for its client, or is left to the next run of the server.

        Raises `StoreError` where that cannot be stored.
        """
        while True:
            state = self.log.state
            if self.visible == self.log.last and (state.terminal or state.interrupted or self.at_rest):
                return self.log.task()
            self._check()
            await self._changed.wait()
