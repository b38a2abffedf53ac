"""Readers of a task who wait, and take what is new in the same step in which it is published, without being woken.

A token costs its reader a turn of the event loop otherwise, through all that waits for it. Knows no task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from opencode_a2a.wakeup import Wakeup
from sansio.a2a.tasks.task_log import Entry, TaskLog

Take: TypeAlias = Callable[[Sequence[Entry]], bool]
"""Takes entries at once, all of them (True) or none: then its reader is woken, and reads them itself."""

_AT_ONCE: Final = 32  # readers who take in one step; each write takes some 20 us
_FEW: Final = 64  # entries that are taken in one step


class Follower:
    """A reader who waits. `cursor`: the last event it has."""

    __slots__ = ("_take", "_woken", "cursor")

    def __init__(self, cursor: int, take: Take) -> None:
        self.cursor = cursor
        self._take = take
        self._woken = Wakeup()

    async def wait(self) -> None:
        """Return once there is something that it has not taken, or it is woken."""
        await self._woken.wait()

    def wake(self) -> None:
        """Have the reader look for itself."""
        self._woken.wake()

    def offer(self, log: TaskLog, visible: int) -> None:
        """Offer the events up to `visible`; one who does not take them is woken.

        A reader's failure is its own: it meets that again as it reads, and whoever publishes does not.
        """
        taken = False
        if visible - self.cursor <= _FEW and log.reaches(self.cursor):
            with suppress(Exception):
                taken = self._take(log.since(self.cursor, visible))
        if taken:
            self.cursor = visible
        else:
            self.wake()


class Followers:
    """Those who wait at one task, in the order in which they came."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[Follower, None] = {}

    def wake(self) -> None:
        """Wake all of them."""
        for follower in self._waiting:
            follower.wake()

    def offer(self, log: TaskLog, visible: int) -> None:
        """Offer the events up to `visible` to all; of many, the first ones take them at once."""
        for number, follower in enumerate(self._waiting):
            if number < _AT_ONCE:
                follower.offer(log, visible)
            else:
                follower.wake()

    async def follow(self, cursor: int, take: Take) -> int:
        """Have `take` take what comes after `cursor`. Returns the last event it has, once it does not take one."""
        follower = Follower(cursor, take)
        self._waiting[follower] = None
        try:
            await follower.wait()
        finally:
            del self._waiting[follower]
        return follower.cursor
