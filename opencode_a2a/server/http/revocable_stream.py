"""A stream that can be ended from outside, without cutting a message in two.

Knows neither what is written nor why it ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

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
