"""First come, first served: those who want the same thing, one after the other. Knows nothing of what they do."""

from __future__ import annotations

from collections import deque

import anyio


class Turnstile:
    """First come, first served for one key: inside is one, the others wait in order."""

    def __init__(self, queues: dict[object, deque[anyio.Event]], key: object) -> None:
        self._queues = queues
        self._key = key

    async def __aenter__(self) -> None:
        queue = self._queues.get(self._key)
        if queue is None:
            self._queues[self._key] = deque()
            return
        mine = anyio.Event()
        queue.append(mine)
        try:
            await mine.wait()
        except BaseException:
            if mine.is_set():
                self._leave()
            else:
                queue.remove(mine)
            raise

    async def __aexit__(self, *_exc: object) -> None:
        self._leave()

    def _leave(self) -> None:
        queue = self._queues[self._key]
        if queue:
            queue.popleft().set()
        else:
            del self._queues[self._key]
