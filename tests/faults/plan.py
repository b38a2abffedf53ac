"""What goes wrong in a run, and when: drawn from a seed, so that a run can be had again.

Knows nothing of sockets or processes: the proxy and the run ask it what to do.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from attrs import define, field, frozen

# What a request to OpenCode, or its answer, meets on the way.
CUT_BEFORE = "cut before the request"
CUT_WITHIN = "cut within the request"
CUT_AFTER = "cut after the request"
TRUNCATED = "answer truncated"
REFUSED = "answered 5xx"
LOST_5XX = "done, answered 5xx"
STALLED = "answer stalls"
SLOW = "byte by byte"
# What the event stream meets.
BUS_CUT = "event stream cut"
BUS_STALLED = "event stream stalls"
BUS_SLOW = "event stream byte by byte"
BUS_REFUSED = "event stream answered 5xx"
# What the processes meet.
KILL_AGENT = "agent killed"
KILL_PROXY = "proxy killed"
KILL_OPENCODE = "OpenCode killed"

ON_CALLS = (CUT_BEFORE, CUT_WITHIN, CUT_AFTER, TRUNCATED, REFUSED, LOST_5XX, STALLED, SLOW)
ON_STREAMS = (BUS_CUT, BUS_STALLED, BUS_SLOW, BUS_REFUSED)
KILLS = (KILL_AGENT, KILL_PROXY, KILL_OPENCODE)
KINDS = (*ON_CALLS, *ON_STREAMS, *KILLS)

HARMLESS = frozenset({SLOW, BUS_CUT, BUS_STALLED, BUS_SLOW, BUS_REFUSED, KILL_AGENT})
"""Faults that lose nothing of what OpenCode was asked: among these alone every turn must end as OpenCode ended it."""

_CALL_CHANCE = 0.2


def kinds_of(seed: int, kinds: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """Draw up to three kinds for a seed: with one more seed than there are kinds, each is the first once, or none."""
    first = (*kinds, None)[seed % (len(kinds) + 1)]
    chosen = {first} if first is not None else set()
    while chosen and len(chosen) < 3 and rng.random() < 0.45:
        chosen.add(rng.choice(kinds))
    return tuple(kind for kind in kinds if kind in chosen)


@frozen(kw_only=True)
class Kill:
    """Ends a process `after` so many seconds; it stays away for `away` seconds."""

    kind: str
    after: float
    away: float


@frozen(kw_only=True)
class StreamFault:
    """What an event stream meets once it has carried `after` bytes; `seconds`: for how long."""

    kind: str
    after: int
    seconds: float


@define(eq=False)
class Plan:
    """One run's faults. `struck` counts those that came to be; after `heal` there are no more."""

    kinds: tuple[str, ...]
    kills: tuple[Kill, ...]
    runtime: str
    _random: random.Random
    struck: Counter[str] = field(factory=Counter)
    healed: bool = False

    @classmethod
    def of(cls, seed: int) -> Plan:
        """The plan of a seed. Every sixteen seeds in a row have each kind once as the first, and one run in peace."""
        rng = random.Random(seed)
        kinds = kinds_of(seed, KINDS, rng)
        kills = [
            Kill(kind=kind, after=rng.uniform(0.05, 1.6), away=rng.uniform(0.0, 0.6))
            for kind in KILLS
            if kind in kinds
            for _ in range(rng.choice((1, 1, 2)))
        ]
        kills.sort(key=lambda kill: kill.after)
        return cls(kinds, tuple(kills), rng.choice(("asyncio", "trio")), random.Random(rng.random()))

    @property
    def loses_nothing(self) -> bool:
        """Whether every turn must end as OpenCode ended it."""
        return set(self.kinds) <= HARMLESS

    @property
    def loses_answers(self) -> bool:
        """Whether OpenCode itself may forget what it has begun to say."""
        return KILL_OPENCODE in self.kinds

    @property
    def may_repeat(self) -> bool:
        """Whether a message may run once more: the agent was killed before it had stored or sent what came of it."""
        return KILL_AGENT in self.struck

    def on_call(self) -> str | None:
        """What the next plain request meets."""
        kinds = [kind for kind in self.kinds if kind in ON_CALLS]
        if self.healed or not kinds or self._random.random() > _CALL_CHANCE:
            return None
        return self._strikes(self._random.choice(kinds))

    def on_stream(self) -> StreamFault | None:
        """What the next event stream meets."""
        kinds = [kind for kind in self.kinds if kind in ON_STREAMS]
        if self.healed or not kinds or self._random.random() < 0.1:
            return None
        after = int(self._random.triangular(1, 60_000, 500))
        kind = self._random.choice(kinds)
        return StreamFault(kind=kind, after=after, seconds=self._random.uniform(0.1, 1.0))

    def strikes(self, kind: str) -> None:
        """A fault that depends on the course of things has come to be."""
        self.struck[kind] += 1

    def pick(self, size: int) -> int:
        """Where to cut something of this size."""
        return self._random.randrange(size) if size > 1 else 0

    def status(self) -> int:
        """A status to refuse with."""
        return self._random.choice((500, 502, 503, 504))

    def heal(self) -> None:
        """From now on nothing fails."""
        self.healed = True

    def _strikes(self, kind: str) -> str:
        self.struck[kind] += 1
        return kind
