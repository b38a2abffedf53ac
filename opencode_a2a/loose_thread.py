"""Threads for what may block for ever: nobody has to wait for one, and at most one of a kind is left behind.

A worker thread of anyio's is no place for a read from a mount that hangs. Its caller cannot be cancelled; and with
`abandon_on_cancel`, the interpreter waits at its end for the thread (asyncio).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

import anyio
import anyio.from_thread
from anyio.lowlevel import current_token

T = TypeVar("T")


class BlockedError(RuntimeError):
    """An earlier call, which nobody waits for any more, has not returned."""


class LooseThread:
    """Runs blocking functions, one at a time, each in a thread of its own. `name`: of the threads.

    A caller that is cancelled leaves its thread behind, which keeps neither the event loop nor the process from
    ending. Until it has returned, no other function is run.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: Thread | None = None

    async def run(self, function: Callable[[], T]) -> T:
        """Return what the function returns, or raise what it raises. Raises `BlockedError`."""
        if self._thread is not None and self._thread.is_alive():
            raise BlockedError("an earlier read still hangs")
        token, returned = current_token(), anyio.Event()
        results: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(function())
            except BaseException as error:
                errors.append(error)
            with suppress(RuntimeError):  # the loop has ended
                anyio.from_thread.run_sync(returned.set, token=token)

        self._thread = Thread(target=work, name=self._name, daemon=True)
        self._thread.start()
        await returned.wait()
        self._thread = None  # it has nothing left to do
        if errors:
            raise errors.pop()
        return results.pop()
