"""The bytes of a stream: the task as it is, then everything after it, in frames that are written together.

Knows no ASGI and no connection.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing

import anyio
import anyio.lowlevel
from attrs import define, frozen

from opencode_a2a.metrics.event_lag import EventLag
from opencode_a2a.metrics.meters import NO_METERS, Meters
from opencode_a2a.server.steps import in_turns
from opencode_a2a.server.store import StoreError
from opencode_a2a.server.store.store_errors import store_failure
from opencode_a2a.server.tasks.active_task import ActiveTask, FarBehindError
from opencode_a2a.server.tasks.open_stream import OpenStream
from opencode_a2a.server.tasks.renderings import Renderings
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import Task
from sansio.a2a.server import Call
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.task_log import ArtifactChunk, Entry
from sansio.limits import StreamBudget, StreamLimits

LONG = 16384
"""Bytes of a stream after which others have their turn."""

PATIENCE = 300.0
"""Seconds for which a subscription waits with a task for its user's answer."""

_PIECE = 64  # events written at once
_STILL_WAITING = "the stream ends here, as the task still waits for its user; subscribe again to wait on"


@frozen
class Frames:
    """A piece of a stream. `idle`: it only shows that the stream lives; `last`: nothing follows.

    `failure`: why the stream ends before its task does, which is in `data` where the binding has it in the body.
    `reason`: why it does where nothing is wrong, in words; `failure` is for the trailers alone then.
    """

    data: bytes
    idle: bool = False
    last: bool = False
    failure: ProtocolError | None = None
    reason: str | None = None


def _no_trailers(_failure: ProtocolError | None) -> None:
    """Most bindings have none."""


@define
class Shortcut:
    """A way past the stream's task, while it waits. `write`: writes bytes at once, or returns False; None: none."""

    write: Callable[[bytes], bool] | None = None


@frozen
class Streaming:
    """A response whose body comes as frames.

    `access`: calls its argument where the caller may not read on, while the context lasts. `refused`: the last frame
    then. `timeout`: seconds for which the client waits. `trailers`: returns what follows the body, which ends with a
    failure or not; None where the binding has no trailers. `at_once`: the first frame waits for nothing, so that the
    head is written together with it. `shortcut`: where whoever writes the frames offers a way past them.
    """

    headers: tuple[tuple[str, str], ...]
    frames: AsyncGenerator[Frames]
    closed: Callable[[], None]
    access: Callable[[Callable[[], None]], AbstractContextManager[None]]
    refused: bytes
    timeout: float | None = None
    trailers: Callable[[ProtocolError | None], tuple[tuple[str, str], ...] | None] = _no_trailers
    at_once: bool = False
    shortcut: Shortcut | None = None


async def frames_of(
    stream: OpenStream,
    presentation: Presentation,
    call: Call,
    limits: StreamLimits,
    meters: Meters = NO_METERS,
    room: Callable[[], Awaitable[None]] | None = None,
    shortcut: Shortcut | None = None,
) -> AsyncGenerator[Frames]:
    """The task as it is, then everything after it; what is ready together is one piece of bytes.

    `room`: returns once there is room for a piece, before it is made; None: its connection has no other stream.
    `shortcut`: what is published while the stream waits may be written this way, and is in no piece then.

    A reader that falls behind too far gets what replaces all it has, and goes on from there. Where the store
    fails in between, the last frame is an error, without an id: the reader may resume later.
    """
    budget = StreamBudget(limits, anyio.current_time()) if limits.any else None
    lag = None if meters is NO_METERS else EventLag(meters)
    begun = stream.begun()
    while True:
        try:
            async with aclosing(_frames_to_end(stream, presentation, call, budget, lag, room, shortcut)) as frames:
                stream = begun  # a task as it was may be large, and the stream may last for hours
                async for piece in frames:
                    yield piece
                    del piece  # the next one may be hours away
            return
        except FarBehindError as behind:
            stream = begun.replaced(behind.cursor)


async def _frames_to_end(
    stream: OpenStream,
    presentation: Presentation,
    call: Call,
    budget: StreamBudget | None,
    lag: EventLag | None,
    room: Callable[[], Awaitable[None]] | None,
    shortcut: Shortcut | None,
) -> AsyncGenerator[Frames]:
    """The frames of a stream. Raises `FarBehindError`."""
    active, cursor = stream.active, stream.cursor
    encoded = active.renderings.encoded
    numbers = (*(stream.before for _ in stream.first[1:]), stream.before if stream.past else cursor)
    ready = b""
    if room is not None:
        await room()
    for number, item in zip(numbers, stream.first, strict=True):
        if len(ready) > LONG:  # what replaces a task may be thousands of items
            yield Frames(ready)
            ready = b""
            if room is not None:
                await room()
        large = isinstance(item, Task) and bool(item.artifacts)
        if large:
            await anyio.lowlevel.checkpoint()  # to make it took a while, and to render it will
        value = presentation.item(item, number)
        if large:
            await anyio.lowlevel.checkpoint()
        *most, end = pieces = await in_turns(call.frame_in_steps(number, value))
        if budget is not None:
            budget.take(sum(map(len, pieces)), anyio.current_time())
        del pieces
        while most:
            yield Frames(ready + most.pop(0))
            ready = b""
        ready += end
        del end, item, value  # what orjson gives takes 4 kB, and the stream may last for hours
    for frames in _frames_of_past(stream.past, presentation, call):
        data, limit = (b"".join(frames), None) if budget is None else _within(budget, frames)
        if limit is not None:
            yield _early_end(ready + data, call, limit)
            return
        yield Frames(ready + data)
        ready = b""
        del frames, data
        if room is not None:
            await room()
    stream = stream.begun()
    if stream.whole:
        try:
            await active.changed(cursor - 1)
        except StoreError as exc:
            failure = store_failure(exc)
            yield Frames(call.failure_frame(failure), last=True, failure=failure)
            return
        yield Frames(ready, last=True)
        return
    if active.visible == cursor or len(ready) > LONG or not active.log.reaches(cursor):
        yield Frames(ready, last=active.visible == cursor and active.over_for_readers)
        ready = b""
    patience = anyio.current_time() + PATIENCE if stream.waits else math.inf

    # one that waits for its user's answer may have to end before anything is published
    take = None
    if shortcut is not None and budget is None and not stream.waits:
        take = _PastTask(shortcut, active, presentation, call, lag).take
    async with aclosing(active.read(cursor, take)) as batches:
        async for batch in batches:
            if not batch and active.trouble is not None:
                break
            # As of this batch: a slow reader takes its time over the pieces.
            over = active.over_for_readers
            pause = stream.pause_in(batch)
            entries = batch if pause is None else batch[: pause + 1]
            if entries:
                patience = math.inf
            elif anyio.current_time() > patience:
                yield Frames(ready + call.comment(_STILL_WAITING), last=True, reason=_STILL_WAITING)
                return
            for piece in _pieces(entries):
                if room is not None:
                    await room()
                ends = over or pause is not None
                last = ends and (not piece or piece[-1] is entries[-1])
                rendered = (
                    call.frame(entry.number, encoded(entry, presentation, call, ends=last and entry is piece[-1]))
                    for entry in piece
                    if entry.item is not None
                )
                limit = None
                if budget is None:
                    ready += b"".join(rendered)
                else:
                    data, limit = _within(budget, rendered)
                    ready += data
                if limit is not None:
                    yield _early_end(ready, call, limit)
                    return
                yield Frames(ready or call.keep_alive, idle=not piece, last=last)
                ready = b""
            if entries and lag is not None:
                lag.written(active.published_at)
            if pause is not None:
                return
    if active.trouble is not None and active.visible < active.log.last:
        failure = store_failure(active.trouble)
        yield Frames(ready + call.failure_frame(failure), last=True, failure=failure)
    elif active.broken_off is not None:
        yield _early_end(ready, call, f"{active.broken_off}; go on after the last event id")
    elif ready:  # nothing followed the first items, whose end could not be seen yet as the stream began
        yield Frames(ready, last=True)


@frozen
class _PastTask:
    """Writes pieces of artifacts past the stream's task. Anything else may end the stream, which decides then."""

    _shortcut: Shortcut
    _active: ActiveTask
    _presentation: Presentation
    _call: Call
    _lag: EventLag | None

    def take(self, entries: Sequence[Entry]) -> bool:
        active, write = self._active, self._shortcut.write
        if write is None or active.over or not all(isinstance(entry.event, ArtifactChunk) for entry in entries):
            return False
        encoded, frame = active.renderings.encoded, self._call.frame
        shown = [entry for entry in entries if entry.item is not None]
        data = b"".join(
            [frame(entry.number, encoded(entry, self._presentation, self._call, ends=False)) for entry in shown]
        )
        if data and not write(data):
            return False
        if self._lag is not None:
            self._lag.written(active.published_at)
        return True


def _frames_of_past(past: Sequence[Entry], presentation: Presentation, call: Call) -> Iterator[list[bytes]]:
    """Render what is not in memory; it is not kept for other readers either."""
    renderings = Renderings()
    for run in _pieces(past) if past else ():
        seen = [entry for entry in run if entry.item is not None]
        yield [call.frame(entry.number, renderings.encoded(entry, presentation, call, ends=False)) for entry in seen]


def _pieces(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Split entries into those written at once: a reader far behind does not get the rest rendered together."""
    if len(entries) <= _PIECE:
        yield entries
        return
    for start in range(0, len(entries), _PIECE):
        yield entries[start : start + _PIECE]


def _early_end(ready: bytes, call: Call, why: str) -> Frames:
    """End a stream before its task: the reader may go on from the last id it has; the task does anyway."""
    reason = f"the stream ends here, as {why}"
    failure = ProtocolError(ErrorKind.OVERLOADED, reason)  # over gRPC, an end without one looks like the task's
    return Frames(ready + call.comment(reason), last=True, failure=failure, reason=reason)


def _within(budget: StreamBudget, frames: Iterable[bytes]) -> tuple[bytes, str | None]:
    """The frames up to the one that is beyond a limit, and which limit that is."""
    data: list[bytes] = []
    for frame in frames:
        now = anyio.current_time()
        budget.take(len(frame), now)
        data.append(frame)
        if budget.passed(now) is not None:
            break
    return b"".join(data), budget.passed(anyio.current_time())
