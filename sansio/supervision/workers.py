"""Decides what the parent of worker processes does: values in, actions out. Knows no process and no signal.

Workers have the numbers 1 to N. Times are seconds on the monotonic clock of the parent.

    what happens      STARTING                        SERVING                         STOPPING
    a worker ready    1: start the others             -                               -
                      the last: announce, SERVING
    a worker ends     stop the others, STOPPING;      start it again after a pause    end after the last one
                      its exit code is the parent's
    a stop signal     drain all, STOPPING             drain all, STOPPING             kill all, end
    a hang-up         reload all                      reload all                      -
    no beat           kill it, if it was ready        kill it, if it was ready        -

The first worker starts alone: what is wrong with the settings or the database is reported once, and one process alone
migrates the schema. The pause before a restart grows with each life that was short. Where no worker serves, and
`MOST_FAILURES` starts in a row have failed, the parent stops with the exit code of the last: whoever started it, such
as systemd, sees that. While one serves, the others are tried for ever: neither their failed starts count, nor the end
of a worker that was ready. A drain that takes too long ends by force.

Each worker counts beats of its event loop. The parent looks `LOOKS` times within `patience`, and a worker that was
ready and shows the same count each time hangs. Looks count, not times: after the whole group was stopped, as by
Ctrl+Z, or the machine slept, the next look finds a beat again.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final, TypeAlias

from attrs import define, field, frozen
from attrs.validators import ge

from sansio.a2a.backoff import Backoff

PAUSES: Final = Backoff((0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0))
"""Seconds before a worker is started again, after so many short lives in a row."""

SHORT_LIFE: Final = 60.0
"""Seconds. A worker that was ready for as long begins with the first pause again."""

MOST_FAILURES: Final = 5
"""Starts that may fail in a row while no worker serves."""

FORCE: Final = 15.0
"""Seconds beyond the grace after which a worker that still drains is killed."""

HANG: Final = 30.0
"""Seconds without a beat after which a worker hangs."""

BEAT: Final = 1.0
"""Seconds between two beats of a worker."""

LOOKS: Final = 6
"""Looks at a worker without a new beat between them, after which it hangs."""

_UNTOUCHED: Final = 128 + 15  # a worker that SIGTERM ended: it did not serve yet, and had nothing to drain


@frozen
class Start:
    """Start a worker."""

    worker: int


@frozen
class Drain:
    """Let a worker end what it does, and then itself."""

    worker: int


@frozen
class Reload:
    """Let a worker read its files again."""

    worker: int


@frozen
class Kill:
    """End a worker at once."""

    worker: int


@frozen
class Announce:
    """Report that all workers are ready for the first time."""


@frozen
class Restarting:
    """Report that a worker has ended, with this exit code, and is started again after a pause in seconds."""

    worker: int
    code: int
    pause: float


@frozen
class Hanging:
    """Report that a worker has not given a sign for so many seconds, and is killed."""

    worker: int
    silence: float


@frozen
class GiveUp:
    """Report that no worker can be started: the last one ended with this exit code."""

    code: int


@frozen
class End:
    """End the parent with an exit code."""

    code: int


Action: TypeAlias = Start | Drain | Reload | Kill | Announce | Restarting | Hanging | GiveUp | End


class Phase(Enum):
    """Phase of the whole; the module's docstring has the table."""

    STARTING = auto()
    SERVING = auto()
    STOPPING = auto()


@define
class _Worker:
    """A worker: it runs, or it is to be started at `due`, or neither.

    `beats`: as many as it had at the last look; None before the first. `silent`: looks since then that found no more.
    """

    runs: bool = False
    ready_since: float | None = None
    due: float | None = None
    short_lives: int = 0
    beats: int | None = None
    silent: int = 0

    def hangs(self, beats: int) -> bool:
        """Whether it hangs, as a look finds that shows so many beats. True once for each life."""
        self.silent = self.silent + 1 if beats == self.beats else 0
        self.beats = beats
        return self.silent == LOOKS


@define
class Supervisor:
    """The workers of one parent. `count`: their number. `grace`: seconds that a drain may take by the settings.

    `patience`: seconds after which a worker without a beat is killed; None: it is not watched.
    Every method returns the actions that are to be done, in order.
    """

    count: int = field(validator=ge(1))
    grace: float
    patience: float | None = None
    phase: Phase = Phase.STARTING
    _workers: dict[int, _Worker] = field(factory=dict)
    _failures: int = 0
    _code: int = 0
    _force_at: float | None = None
    _look_at: float | None = None  # at the beats

    def begin(self) -> list[Action]:
        """Start the first worker."""
        self._workers = {number: _Worker() for number in range(1, self.count + 1)}
        return [self._start(1)]

    def ready(self, number: int, now: float) -> list[Action]:
        """Note that a worker serves."""
        self._workers[number].ready_since = now
        self._failures = 0
        self._watch(now)
        if self.phase is not Phase.STARTING:
            return []
        waiting = [other for other, worker in self._workers.items() if not worker.runs]
        if waiting:
            return [self._start(other) for other in waiting]
        if all(worker.ready_since is not None for worker in self._workers.values()):
            self.phase = Phase.SERVING
            return [Announce()]
        return []

    def ended(self, number: int, code: int, now: float) -> list[Action]:
        """Note that a worker has ended. `code`: its exit code; 128 and the signal's number where one ended it."""
        worker = self._workers[number]
        began, worker.ready_since, worker.runs = worker.ready_since, None, False
        if self.phase is Phase.STOPPING:
            if code != _UNTOUCHED:
                self._code = self._code or code
            return self._end_if_all_have()
        if self.phase is Phase.STARTING:
            return self._stop(now, code or 1)
        if began is not None and now - began >= SHORT_LIFE:
            worker.short_lives = 0
        if began is None and not self._somebody_serves:
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                return [GiveUp(code or 1), *self._stop(now, code or 1)]
        pause = PAUSES.pause(worker.short_lives)
        worker.short_lives += 1
        worker.due = now + pause
        return [Restarting(number, code, pause)]

    def stop(self, now: float, signal: int) -> list[Action]:
        """Drain at the first signal to stop; end at once at the second. `signal`: its number."""
        if self.phase is Phase.STOPPING:
            return [*(Kill(number) for number in self._running), End(128 + signal)]
        return self._stop(now, 0)

    def hang_up(self) -> list[Action]:
        """Let every worker read its files again."""
        return [] if self.phase is Phase.STOPPING else [Reload(number) for number in self._running]

    def look(self, now: float, beats: Sequence[int] = ()) -> list[Action]:
        """Do what is due by now. `beats`: of each worker until now, in the order of their numbers."""
        if self._force_at is not None and now >= self._force_at:
            self._force_at = None
            self._code = self._code or 1
            return [Kill(number) for number in self._running]
        due = [number for number, worker in self._workers.items() if worker.due is not None and worker.due <= now]
        return [*self._hanging(now, beats), *(self._start(number) for number in due)]

    @property
    def due(self) -> float | None:
        """The time of the next `look`; None where nothing is awaited."""
        times = [worker.due for worker in self._workers.values() if worker.due is not None]
        times += [time for time in (self._force_at, self._look_at) if time is not None]
        return min(times, default=None)

    @property
    def is_stopping(self) -> bool:
        """Whether the next signal to stop ends everything at once."""
        return self.phase is Phase.STOPPING

    @property
    def _running(self) -> list[int]:
        return [number for number, worker in self._workers.items() if worker.runs]

    @property
    def _somebody_serves(self) -> bool:
        return any(worker.ready_since is not None for worker in self._workers.values())

    def _start(self, number: int) -> Start:
        worker = self._workers[number]
        worker.runs, worker.due, worker.beats, worker.silent = True, None, None, 0
        return Start(number)

    def _watch(self, now: float) -> None:
        """Have the beats looked at again after a while, where that is not so and somebody serves."""
        if self.patience is not None and self._look_at is None and self.phase is not Phase.STOPPING:
            self._look_at = now + self.patience / LOOKS

    def _hanging(self, now: float, beats: Sequence[int]) -> list[Action]:
        """Kill who was ready and has not given a sign for too long."""
        if self.patience is None or self._look_at is None or now < self._look_at:
            return []
        self._look_at = None
        done: list[Action] = []
        for (number, worker), count in zip(self._workers.items(), beats, strict=True):
            if worker.ready_since is None:
                continue
            self._watch(now)
            if worker.hangs(count):
                done += [Hanging(number, self.patience), Kill(number)]
        return done

    def _stop(self, now: float, code: int) -> list[Action]:
        self.phase, self._code, self._look_at = Phase.STOPPING, code, None
        self._force_at = now + self.grace + FORCE
        for worker in self._workers.values():
            worker.due = None
        return [*(Drain(number) for number in self._running), *self._end_if_all_have()]

    def _end_if_all_have(self) -> list[Action]:
        if self._running:
            return []
        self._force_at = None
        return [End(self._code)]
