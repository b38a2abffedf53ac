"""The bytes of a stream: the task as it is, then everything after it, in frames that are written together.

Knows no ASGI and no connection.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing

import anyio
from attrs import frozen

from opencode_a2a.metrics.event_lag import EventLag
from opencode_a2a.metrics.meters import NO_METERS, Meters
from opencode_a2a.server.steps import in_turns
from opencode_a2a.server.store import StoreError
from opencode_a2a.server.store.store_errors import store_failure
from opencode_a2a.server.tasks.active_task import FarBehindError
from opencode_a2a.server.tasks.open_stream import OpenStream
from opencode_a2a.server.tasks.renderings import Renderings
from sansio.a2a.bindings import sse
from sansio.a2a.bindings.json_output import encoded_pieces
from sansio.a2a.server import Call
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.task_log import Entry
from sansio.limits import StreamBudget, StreamLimits

LONG = 16384
"""Bytes of a stream after which others have their turn."""

PATIENCE = 300.0
"""Seconds for which a subscription waits with a task for its user's answer."""

_PIECE = 64  # events written at once
_STILL_WAITING = b": the stream ends here, as the task still waits for its user; subscribe again to wait on\n"


@frozen
class Frames:
    """A piece of a stream. `idle`: it only shows that the stream lives; `last`: nothing follows."""

    data: bytes
    idle: bool = False
    last: bool = False


async def frames_of(
    stream: OpenStream, presentation: Presentation, call: Call, limits: StreamLimits, meters: Meters = NO_METERS
) -> AsyncGenerator[Frames]:
    """The task as it is, then everything after it; what is ready together is one piece of bytes.

    A reader that falls behind too far gets what replaces all it has, and goes on from there. Where the store
    fails in between, the last frame is an error, without an id: the reader may resume later.
    """
    budget = StreamBudget(limits, anyio.current_time()) if limits.any else None
    lag = None if meters is NO_METERS else EventLag(meters)
    while True:
        try:
            async with aclosing(_frames_to_end(stream, presentation, call, budget, lag)) as frames:
                async for piece in frames:
                    yield piece
            return
        except FarBehindError as behind:
            stream = stream.replaced(behind.cursor)


async def _frames_to_end(
    stream: OpenStream, presentation: Presentation, call: Call, budget: StreamBudget | None, lag: EventLag | None
) -> AsyncGenerator[Frames]:
    """The frames of a stream. Raises `FarBehindError`."""
    active, cursor = stream.active, stream.cursor
    json_of = active.renderings.json
    numbers = (*(stream.before for _ in stream.first[1:]), stream.before if stream.past else cursor)
    ready = b""
    for number, item in zip(numbers, stream.first, strict=True):
        pieces = await in_turns(encoded_pieces(presentation.item(item, number)))
        if budget is not None:
            budget.take(sum(map(len, pieces)), anyio.current_time())
        ready += b"id: %d\ndata: %b" % (number, call.frame_prefix)
        for part in pieces[:-1]:
            yield Frames(ready + sse.json_data(part))
            ready = b""
        ready += b"%b%b\n\n" % (sse.json_data(pieces[-1]), call.frame_suffix)
    past = Renderings()  # of its own: what is not in memory is not kept for other readers either
    for run in _pieces(stream.past) if stream.past else ():
        seen = [entry for entry in run if entry.item is not None]
        frames = [call.frame(entry.number, past.json(entry, presentation, ends=False)) for entry in seen]
        data, limit = (b"".join(frames), None) if budget is None else _within(budget, frames)
        if limit is not None:
            yield Frames(ready + data + _beyond(limit), last=True)
            return
        yield Frames(ready + data)
        ready = b""
    if stream.whole:
        try:
            await active.changed(cursor - 1)
        except StoreError as exc:
            ready = call.failure_frame(store_failure(exc))
        yield Frames(ready, last=True)
        return
    if active.visible == cursor or len(ready) > LONG or not active.log.reaches(cursor):
        yield Frames(ready, last=active.visible == cursor and active.over)
        ready = b""
    patience = anyio.current_time() + PATIENCE if stream.waits else math.inf
    async with aclosing(active.read(cursor)) as batches:
        async for batch in batches:
            if not batch and active.trouble is not None:
                break
            over = active.over  # as of this batch; a slow reader takes its time over the pieces
            pause = stream.pause_in(batch)
            entries = batch if pause is None else batch[: pause + 1]
            if entries:
                patience = math.inf
            elif anyio.current_time() > patience:
                yield Frames(ready + _STILL_WAITING, last=True)
                return
            for piece in _pieces(entries):
                ends = over or pause is not None
                last = ends and (not piece or piece[-1] is entries[-1])
                rendered = (
                    call.frame(entry.number, json_of(entry, presentation, ends=last and entry is piece[-1]))
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
                    # the reader may go on from the last id it has; the task does anyway
                    yield Frames(ready + _beyond(limit), last=True)
                    return
                yield Frames(ready or sse.COMMENT, idle=not piece, last=last)
                ready = b""
            if entries and lag is not None:
                lag.written(active.published_at)
            if pause is not None:
                return
    if active.trouble is not None and active.visible < active.log.last:
        yield Frames(ready + call.failure_frame(store_failure(active.trouble)), last=True)


def _pieces(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Split entries into those written at once: a reader far behind does not get the rest rendered together."""
    if len(entries) <= _PIECE:
        yield entries
        return
    for start in range(0, len(entries), _PIECE):
        yield entries[start : start + _PIECE]


def _beyond(limit: str) -> bytes:
    return b": the stream ends here, as %b\n" % limit.encode()


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
