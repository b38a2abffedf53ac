"""Follows one task of another agent to its end, over streams that break and over reads now and then.

A state machine: feed it what comes, and `next` says what to do next. It holds no connection and no clock.

    mode        what comes                                next mode
    STREAM      the stream ends where the task rests      DONE
                it ends or breaks before that             RESUME
                it ends as the agent has marked           POLL
    RESUME      a subscription begins                     STREAM
                it is refused                             LOOK
    LOOK        the task is read, and rests               DONE
                it is at work                             POLL, or RESUME where the agent was only busy
    POLL        the task is read, and rests               DONE
    VERIFY      the task is read once more                DONE

A task rests where it has ended or waits for its user. After a break, what was missed is reconciled with the next
snapshot of the task: only the difference is handed on. A stream that was resumed is verified at its end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum, auto
from typing import Final, TypeAlias

from attrs import define, evolve, field, frozen

from sansio.a2a.backoff import Backoff
from sansio.a2a.client.client_errors import (
    AgentError,
    ClientError,
    InvalidAnswerError,
    TimedOutError,
    UnavailableError,
)
from sansio.a2a.codecs.json_values import weight_of
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    FilePart,
    Message,
    Part,
    StatusUpdate,
    StreamItem,
    Task,
    TaskStatus,
    TextPart,
)

RESUMING: Final = Backoff.growing(0.25, 5.0)
"""Pauses before a stream is resumed."""

LONGEST_WAIT: Final = 60.0
"""Seconds that the follower waits at most where the agent asks to be left alone."""

LARGEST_TASK: Final = 64 * 1024 * 1024
"""Characters and bytes of the artifacts of one task."""


@frozen
class Stop:
    """Nothing more will come."""


@frozen
class Subscribe:
    """Subscribe to the task after a pause, in seconds. `last_event_id`: of the last event that has one."""

    pause: float
    last_event_id: str


@frozen
class Read:
    """Read the task after a pause, in seconds."""

    pause: float


Action: TypeAlias = Stop | Subscribe | Read


class _Mode(Enum):
    STREAM = auto()
    RESUME = auto()
    LOOK = auto()
    POLL = auto()
    VERIFY = auto()
    DONE = auto()


@define(eq=False)
class _Seen:
    """An artifact as it was handed on. Texts that follow each other are one part, joined when they are compared."""

    longest: int = 0  # characters that its texts have had at most, before it was replaced too
    parts: list[Part] = field(factory=list)
    ends: list[str] = field(factory=list)  # texts after the parts
    length: int = 0

    def add(self, parts: Sequence[Part]) -> int:
        """Add parts; return by how much there is more to keep. A text that replaces another takes its place."""
        size = 0
        for part in parts:
            if isinstance(part, TextPart):
                if part.text:
                    self.ends.append(part.text)
                self.length += len(part.text)
            else:
                self.join()
                self.parts.append(part)
                size += _size_of(part)
        grown = max(0, self.length - self.longest)
        self.longest += grown
        return size + grown

    def join(self) -> list[Part]:
        """Return the parts, in as few as they can be."""
        if self.ends:
            if self.parts and isinstance(last := self.parts[-1], TextPart):
                self.ends.insert(0, last.text)
                self.parts.pop()
            self.parts.append(TextPart(text="".join(self.ends)))
            self.ends.clear()
        return self.parts

    def missing(self, parts: Sequence[Part]) -> list[Part] | None:
        """Return the parts that continue what was seen to `parts`; None where they contradict it."""
        seen, now = self.join(), joined(parts)
        if not seen:
            return now
        if len(now) < len(seen) or any(not _same(one, other) for one, other in zip(seen[:-1], now, strict=False)):
            return None
        last, other = seen[-1], now[len(seen) - 1]
        rest = now[len(seen) :]
        if _same(last, other):
            return rest
        if isinstance(last, TextPart) and isinstance(other, TextPart) and other.text.startswith(last.text):
            return [evolve(other, text=other.text[len(last.text) :]), *rest]
        return None

    @property
    def text(self) -> str:
        """The texts of the artifact."""
        return "".join(part.text for part in self.join() if isinstance(part, TextPart))


def _text(artifact: Artifact) -> str:
    return "".join(part.text for part in artifact.parts if isinstance(part, TextPart)).strip()


def joined(parts: Sequence[Part]) -> list[Part]:
    """Return the parts with texts that follow each other as one."""
    seen = _Seen()
    seen.add(parts)
    return list(seen.join())


def _size_of(part: DataPart | FilePart) -> int:
    if isinstance(part, FilePart):
        return sum(len(text or "") for text in (part.raw, part.url, part.filename, part.media_type))
    return weight_of(part.data)


def _same(one: Part, other: Part) -> bool:
    """Whether two parts have the same content. Their metadata may be shown or not."""
    match one, other:
        case TextPart(), TextPart():
            return one.text == other.text
        case DataPart(), DataPart():
            return bool(one.data == other.data)
        case FilePart(), FilePart():
            return (one.raw, one.url, one.filename) == (other.raw, other.url, other.filename)
        case _:
            return False


@define(eq=False, kw_only=True)
class Following:
    """One task that is followed. `task_id` None: its message has not been sent yet.

    `patience`: seconds for which the task may stay as it is. `pauses`: between reads; None: it is not read.
    `answering`: the status for which an answer is on its way: with it, the task does not rest.
    """

    patience: float
    pauses: Backoff | None
    task_id: str | None = None
    answering: TaskStatus | None = None
    context_id: str | None = field(default=None, init=False)
    last_event_id: str = field(default="", init=False)
    status: TaskStatus | None = field(default=None, init=False)
    _mode: _Mode = field(default=_Mode.STREAM, init=False)
    _artifacts: dict[str, _Seen] = field(factory=dict, init=False)
    _size: int = field(default=0, init=False)
    _closed: bool = field(default=False, init=False)  # the agent has marked its stream as final
    _known: bool = field(default=False, init=False)  # something of the task was handed on
    _taken: bool = field(default=False, init=False)  # the agent has answered
    _unverified: bool = field(default=False, init=False)
    _refused: AgentError | None = field(default=None, init=False)
    _tries: int = field(default=0, init=False)
    _postponed: float = field(default=0.0, init=False)  # seconds that the agent wants to be left alone
    _reads: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)  # when something last came
    _changed: bool = field(default=False, init=False)
    _lost: UnavailableError | None = field(default=None, init=False)  # what broke a stream since then

    def begin(self, now: float, *, streaming: bool = True) -> None:
        """Note that the message is sent `now`. `streaming` False: no stream will come."""
        self._since = now
        self._mode = _Mode.STREAM if streaming else _Mode.LOOK

    def resume(self, now: float, last_event_id: str = "") -> Subscribe:
        """Begin with a subscription to the task, without a pause."""
        self._since = now
        self._taken = True  # there is no message that could be lost
        self._mode = _Mode.RESUME
        self.last_event_id = last_event_id
        return Subscribe(0.0, last_event_id)

    # --- what comes ---------------------------------------------------------------------------------------

    @property
    def rests(self) -> bool:
        """Whether the task has ended, or waits for an answer that was not given yet."""
        if self._mode is _Mode.DONE:
            return True
        status = self.status
        return (
            status is not None
            and (status.state.terminal or status.state.interrupted)
            and not (status.state.interrupted and status == self.answering)
        )

    @property
    def over(self) -> bool:
        """Whether the rest of the stream is of no use."""
        return self._mode is _Mode.DONE or self._closed or (self.status is not None and self.status.state.terminal)

    def feed(self, item: StreamItem, event_id: str = "") -> list[StreamItem]:
        """Take an item of a stream, or the answer to a message; return what is new of it.

        Raises `InvalidAnswerError` for an item of another task, and for more than can be kept.
        """
        self.last_event_id = event_id or self.last_event_id
        self._taken = True
        if isinstance(item, Task):
            return self._snapshot(item)
        if isinstance(item, Message):
            if self.task_id is None:
                self._mode = _Mode.DONE  # the whole answer
            self._changed = True
            self._count(_Seen().add(item.parts) + len(item.message_id))
            return [item]
        self._check(item.task_id, item.context_id)
        self._known = True
        if isinstance(item, ArtifactUpdate):
            self._changed = self._changed or self._is_new(item)
            self._add(item.artifact, append=item.append)
            return [item]
        if self.status is not None and self.status.state.terminal:
            return []  # the first terminal state wins
        self._closed = item.final
        self._changed = self._changed or item.status != self.status
        self.status = item.status
        return [item]

    def looked(self, now: float) -> None:
        """Note that a piece of the stream was read, whatever it held. Raises `TimedOutError`.

        Comments, and half an event, are signs of life of a connection, and no progress of a task.
        """
        if self._changed or self.rests:
            self._tries, self._since, self._lost = 0, now, None
            self._changed = False
        elif now - self._since > self.patience:
            raise self._lost or TimedOutError(f"The task has not changed for {self.patience:g} s")

    def _check(self, task_id: str, context_id: str) -> None:
        if self.task_id is not None and task_id and task_id != self.task_id:
            raise InvalidAnswerError("The agent's answer is about another task than the one that was asked for")
        self.task_id = self.task_id or task_id or None
        self.context_id = self.context_id or context_id or None

    def _is_new(self, update: ArtifactUpdate) -> bool:
        """Whether an update adds to what was seen. An agent that repeats itself has not come further."""
        seen = self._artifacts.get(update.artifact.artifact_id)
        return update.append or seen is None or seen.missing(update.artifact.parts) != []

    def _add(self, artifact: Artifact, *, append: bool) -> None:
        key = artifact.artifact_id
        before = self._artifacts.get(key)
        if before is None:
            self._count(len(key))
        if before is None or not append:
            self._artifacts[key] = _Seen(0 if before is None else before.longest)
        self._count(self._artifacts[key].add(artifact.parts))

    def _count(self, size: int) -> None:
        self._size += size + 64
        if self._size > LARGEST_TASK:
            raise InvalidAnswerError(f"The agent's answer is larger than {LARGEST_TASK} bytes")

    def _snapshot(self, task: Task) -> list[StreamItem]:
        self._check(task.id, task.context_id)
        self._unverified = False
        if not self._known:
            self._known = self._changed = True
            self.status = task.status
            for artifact in task.artifacts:
                self._add(artifact, append=False)
            return [task]
        renamed = self._renamed(task)
        items: list[StreamItem] = [
            update for artifact in task.artifacts for update in self._difference(task, artifact, renamed)
        ]
        ended = self.status is not None and self.status.state.terminal
        if task.status != self.status and not ended:
            self.status = task.status
            items.append(
                StatusUpdate(task_id=task.id, context_id=task.context_id, status=task.status, metadata=task.metadata)
            )
        self._changed = self._changed or bool(items)
        return items

    def _difference(self, task: Task, artifact: Artifact, renamed: Collection[str]) -> list[StreamItem]:
        seen = self._artifacts.get(artifact.artifact_id)
        if seen is None and _text(artifact) in renamed:
            return []
        missing = None if seen is None else seen.missing(artifact.parts)
        if missing is not None and not missing:
            return []
        append = missing is not None
        shown = artifact if missing is None else evolve(artifact, parts=tuple(missing))
        self._add(shown, append=append)
        return [
            ArtifactUpdate(
                task_id=task.id, context_id=task.context_id, artifact=shown, append=append, last_chunk=True
            )
        ]

    def _renamed(self, task: Task) -> Collection[str]:
        """Return the texts that were streamed under ids which the task lacks: some agents change them."""
        ids = {artifact.artifact_id for artifact in task.artifacts}
        if ids <= self._artifacts.keys():
            return ()
        texts = {seen.text.strip() for name, seen in self._artifacts.items() if name not in ids}
        return texts - {""}

    # --- how it goes on -----------------------------------------------------------------------------------

    def ended(self, now: float, *, whole: bool = False) -> None:
        """Note the end of a stream. `whole`: the agent answered with one item, and has no stream.

        Raises where there is nothing to follow.
        """
        if self._mode is _Mode.DONE:
            return
        if self.rests:
            self._rest()
        elif whole or self._closed or self._mode is _Mode.LOOK:
            self._closed = False
            self._poll(None)
        else:
            self._break(UnavailableError("The agent ended the stream before the task was over"), now)

    def failed(self, error: ClientError, now: float) -> None:
        """Note the failure of the last action. Raises the error where nothing helps."""
        if self._mode is _Mode.DONE or (self.rests and self._mode is not _Mode.LOOK):
            self._mode = _Mode.DONE  # what goes wrong after the end does not matter
        elif isinstance(error, UnavailableError):
            self._break(error, now)
        elif isinstance(error, AgentError) and self._mode is _Mode.RESUME:
            self._refused = error
            self._mode = _Mode.LOOK
        else:
            raise error

    def read(self, task: Task, now: float) -> list[StreamItem]:
        """Take the task that was read; return what is new of it. Raises what the follower cannot go on from."""
        verifying = self._mode is _Mode.VERIFY
        items = self._snapshot(task)
        if verifying or self.rests:
            self._mode = _Mode.DONE
        elif self._mode is _Mode.LOOK:
            refused, self._refused = self._refused, None
            self._poll(refused)
        if items:
            self._since = now
        elif self._mode is _Mode.POLL and now - self._since > self.patience:
            raise TimedOutError(f"The task has not changed for {self.patience:g} s")
        self._changed = False
        return items

    def _rest(self) -> None:
        assert self.status is not None  # a task without a status does not rest
        verify = self._unverified and self.status.state.terminal
        self._mode = _Mode.VERIFY if verify else _Mode.DONE

    def _poll(self, refused: AgentError | None) -> None:
        if self.task_id is None:
            raise InvalidAnswerError("The agent's answer ended without a task and without a message")
        if self.pauses is None:
            raise refused or UnavailableError("The agent has no stream of the task, and reading it is switched off")
        self._mode = _Mode.POLL

    def _break(self, error: UnavailableError, now: float) -> None:
        wait = error.retry_after if isinstance(error, AgentError) else None
        self._postponed = min(wait or 0.0, LONGEST_WAIT)
        if self._changed:
            self._tries, self._since = 0, now
            self._changed = False
        if self.task_id is None or not self._taken or now - self._since > self.patience:
            raise error
        self._lost = error
        if self._mode is not _Mode.POLL:
            self._mode = _Mode.RESUME
            self._unverified = True

    def next(self) -> Action:
        """Return what to do next. Call it after each action's outcome was noted."""
        match self._mode:
            case _Mode.DONE:
                return Stop()
            case _Mode.RESUME | _Mode.STREAM:
                self._mode = _Mode.RESUME
                pause = RESUMING.pause(self._tries)
                self._tries += 1
                return Subscribe(self._not_before(pause), self.last_event_id)
            case _Mode.LOOK | _Mode.VERIFY:
                return Read(self._not_before(0.0))
            case _:
                assert self.pauses is not None  # else it would not be read
                pause = self.pauses.pause(self._reads)
                self._reads += 1
                return Read(self._not_before(pause))

    def _not_before(self, pause: float) -> float:
        """Return the pause, or the longer one that the agent asked for last."""
        postponed, self._postponed = self._postponed, 0.0
        return max(pause, postponed)

    def subscribed(self) -> None:
        """Note that a stream has begun."""
        self._taken = True
        self._mode = _Mode.STREAM
