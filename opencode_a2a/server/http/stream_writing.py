"""The writing of one stream: piece after piece, to its end or until its client leaves, or may not read on.

It can be ended from outside, without cutting a message in two. Knows nothing of what is written.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

import anyio
import anyio.lowlevel

from opencode_a2a.server.grpc.trailers import with_trailers
from opencode_a2a.server.http.stream_frames import LONG, Frames, Streaming
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.limits import StreamLimits

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = tuple[tuple[str, str], ...]

GONE: Final = "http.response.gone"
"""An extension of ASGI that our runtimes have: a call once the client has left."""

_NOW: Final = "http.response.now"  # another: a write that waits for nothing

SLACK = 1.0
"""Seconds that a client has to take what was being written as its stream ended."""


class RevocableStream:
    """The writing of one stream. It is ended where it waits for frames, and not in the midst of a message."""

    def __init__(self) -> None:
        self.is_ended = False
        self.is_left = False
        self._scope: anyio.CancelScope | None = None
        self._is_sending = False

    def within(self, scope: anyio.CancelScope) -> None:
        """Set the scope that all of the writing happens in."""
        self._scope = scope

    def end(self) -> None:
        """End the stream now, or once the message that is being sent is taken."""
        self.is_ended = True
        if self._scope is None:
            return
        if self._is_sending:
            self._scope.deadline = min(self._scope.deadline, anyio.current_time() + SLACK)
        else:
            self._scope.cancel()

    def leave(self) -> None:
        """End the stream at once: its client has left."""
        self.is_left = True
        if self._scope is not None:
            self._scope.cancel()

    @property
    def was_cut(self) -> bool:
        """Whether a message was on its way as the scope was cancelled: nothing may be sent after it."""
        return self._is_sending

    def sending(
        self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]
    ) -> Callable[[MutableMapping[str, Any]], Awaitable[None]]:
        """Return `send`, so that it is known when a message is on its way."""

        async def noted(message: MutableMapping[str, Any]) -> None:
            self._is_sending = True
            await send(message)
            self._is_sending = False

        return noted

    def writing_at_once(self, write: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
        """Return `write`, which writes bytes at once or returns False, for as long as the stream is not ended."""

        def writing(data: bytes) -> bool:
            return not (self.is_ended or self.is_left) and write(data)

        return writing


def too_late() -> ProtocolError:
    """Make the error of a client whose time for its call is over."""
    return ProtocolError(ErrorKind.REQUEST_TIMEOUT, "The time that the client has for the call is over")


async def write_stream(
    streaming: Streaming,
    fields: Headers,
    method: str,
    receive: Receive,
    send: Send,
    limits: StreamLimits,
    extensions: Mapping[str, Any],
) -> None:
    """Write the frames behind a head with these fields. HEAD gets the head alone.

    The client's leaving ends the reading, nothing else. `extensions`: ASGI's; ours report that. Without them a task
    waits for it, once a stream has shown its first sign of life: most end sooner. A client that does not read is cut
    off by the same limits of time as others. One that may not read on any more gets an error as the last frame, and
    so does one whose own time is over.
    """
    gone, now = extensions.get(GONE), extensions.get(_NOW)
    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    frames = streaming.frames
    patience = limits.duration + SLACK if limits.duration else math.inf
    ends = anyio.current_time() + min(patience, math.inf if streaming.timeout is None else streaming.timeout)
    failures: list[ProtocolError] = []  # the last one counts
    if streaming.trailers(None) is not None:
        send = with_trailers(send, lambda: streaming.trailers(failures[-1] if failures else None) or ())
    stream, plain_send = RevocableStream(), send
    is_whole = False
    try:
        with streaming.access(stream.end), anyio.CancelScope(deadline=ends) as scope:
            stream.within(scope)
            if gone is not None:
                gone["call"](stream.leave)
            send = stream.sending(send)
            if limits.idle:
                send = _impatient(send, limits.idle + SLACK, scope)
            more = streaming.at_once or method == "HEAD"
            await send({"type": "http.response.start", "status": 200, "headers": headers, "more": more})
            if method == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                is_whole = True
            else:
                if streaming.shortcut is not None and now is not None:
                    streaming.shortcut.write = stream.writing_at_once(now["call"])
                is_whole = await _write_frames(frames, send, stream, until_idle=gone is None, failures=failures)
            if not is_whole and gone is None:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
                    is_whole = await _write_frames(frames, send, stream, until_idle=False, failures=failures)
                    tasks.cancel_scope.cancel()
        if not (is_whole or stream.was_cut or stream.is_left) and (stream.is_ended or streaming.timeout is not None):
            failures.append(ProtocolError(ErrorKind.UNAUTHENTICATED) if stream.is_ended else too_late())
            refused = streaming.refused if stream.is_ended else b""
            with anyio.move_on_after(SLACK):
                await plain_send({"type": "http.response.body", "body": refused, "more_body": False})
    finally:
        if streaming.shortcut is not None:
            streaming.shortcut.write = None
        streaming.closed()
        await frames.aclose()


def _impatient(send: Send, seconds: float, stream: anyio.CancelScope) -> Send:
    """`send` that cancels the stream where the client takes longer than that to make room for a message."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        with anyio.move_on_after(seconds) as waiting:
            await send(message)
        if waiting.cancelled_caught:
            stream.cancel()

    return sending


async def _write_frames(
    frames: AsyncGenerator[Frames],
    send: Send,
    stream: RevocableStream,
    *,
    until_idle: bool,
    failures: list[ProtocolError],
) -> bool:
    """Write to the end of the body (True), or to where the stream is idle for the first time, or is ended (False).

    `failures`: gets that of the last frame, which comes before the end of the body.
    """
    sent = 0  # bytes since others have had their turn
    async for piece in frames:
        if stream.is_ended:
            return False
        if piece.failure is not None:
            failures.append(piece.failure)
        await send({"type": "http.response.body", "body": piece.data, "more_body": not piece.last})
        if piece.last:
            return True
        sent += len(piece.data)
        if sent > LONG:
            sent = 0
            await anyio.lowlevel.checkpoint()  # to send need not wait for anything
        if piece.idle and until_idle:
            return False
        del piece  # the next one may be hours away
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return True


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
