"""What goes wrong among servers that share a database, and when: drawn from a seed, so that a run can be had again.

Knows nothing of sockets or processes.
"""

from __future__ import annotations

import random
from collections import Counter

from attrs import define, field, frozen

from tests.faults.plan import kinds_of

KILLED = "server killed"
STOPPED = "server stopped in order"
HUNG = "server hangs, then goes on"
DATABASE_CUT = "server cut off from the database"
OPENCODE_CUT = "server cut off from OpenCode"
DATABASE_RESTARTED = "database restarted"
DATABASE_CRASHED = "database crashed"
CLOCKS = "clocks apart by minutes"
KINDS = (KILLED, STOPPED, HUNG, DATABASE_CUT, OPENCODE_CUT, DATABASE_RESTARTED, DATABASE_CRASHED, CLOCKS)

LEASE = 1.5
"""Seconds of a lease. What hangs, or is cut off, is so for longer in most cases."""

_LATEST = 2.0
_APART = 600.0


@frozen(kw_only=True)
class Strike:
    """A fault that begins after so many seconds and lasts for `seconds`. `server`: the number of the one it meets."""

    kind: str
    server: int
    after: float
    seconds: float


@define(eq=False)
class ReplicaPlan:
    """One run's faults. `clocks`: by how many seconds each server's clock is wrong; there are as many servers."""

    kinds: tuple[str, ...]
    strikes: tuple[Strike, ...]
    clocks: tuple[float, ...]
    runtime: str
    struck: Counter[str] = field(factory=Counter)

    @classmethod
    def of(cls, seed: int) -> ReplicaPlan:
        """The plan of a seed. Every nine seeds in a row have each kind once as the first, and one run in peace."""
        rng = random.Random(seed)
        kinds = kinds_of(seed, KINDS, rng)
        count = rng.choice((2, 3, 3))
        strikes = [
            _strike(rng, kind, count) for kind in kinds if kind != CLOCKS for _ in range(rng.choice((1, 1, 2)))
        ]
        strikes.sort(key=lambda strike: strike.after)
        clocks = tuple(rng.uniform(-_APART, _APART) if CLOCKS in kinds else 0.0 for _ in range(count))
        plan = cls(kinds, tuple(strikes), clocks, rng.choice(("asyncio", "trio")))
        if CLOCKS in kinds:
            plan.struck[CLOCKS] += 1
        return plan

    @property
    def loses_nothing(self) -> bool:
        """Whether every turn must end as OpenCode ended it: only a request to OpenCode can be lost on its way."""
        return OPENCODE_CUT not in self.kinds

    @property
    def loses_answers(self) -> bool:
        """OpenCode is well in all of these runs."""
        return False

    @property
    def may_repeat(self) -> bool:
        """No message may run twice: the servers have its task from the database."""
        return False


def _strike(rng: random.Random, kind: str, servers: int) -> Strike:
    longest = {HUNG: 2.5 * LEASE, DATABASE_CUT: 2.5 * LEASE, OPENCODE_CUT: 1.5}.get(kind, 0.8)
    shortest = {HUNG: 0.8 * LEASE, DATABASE_CUT: 0.3}.get(kind, 0.0)
    return Strike(
        kind=kind,
        server=rng.randrange(servers),
        after=rng.uniform(0.05, _LATEST),
        seconds=rng.uniform(shortest, longest),
    )
