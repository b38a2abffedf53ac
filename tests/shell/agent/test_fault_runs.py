"""Ten seeded runs of the agent among neighbours that fail; the other hundreds are `python -m tests.faults`."""

from __future__ import annotations

from functools import partial

import anyio

from tests.faults.__main__ import describe
from tests.faults.plan import KINDS, Plan
from tests.faults.runs import runs

_SEEDS = (16, 18, 21, 25, 44, 45, 49, 59, 60, 67)


def test_whatever_fails_every_task_ends_as_opencode_has_it() -> None:
    outcomes = anyio.run(partial(runs, _SEEDS, jobs=4, small=True))

    assert [describe(outcome) for outcome in outcomes if outcome.wrong] == []
    assert len(outcomes) == len(_SEEDS)
    assert all(outcome.states.total() == 4 for outcome in outcomes)
    assert sum(outcome.struck.total() for outcome in outcomes) > 0
    assert {kind for outcome in outcomes for kind in outcome.kinds} == set(KINDS)
    assert {outcome.runtime for outcome in outcomes} == {"asyncio", "trio"}


def test_a_seed_is_a_plan() -> None:
    plans = [Plan.of(seed) for seed in range(len(KINDS) + 1)]

    assert {kind for plan in plans for kind in plan.kinds} == set(KINDS)
    assert any(not plan.kinds for plan in plans)
    again = Plan.of(5)
    assert (again.kinds, again.kills, again.runtime) == (plans[5].kinds, plans[5].kills, plans[5].runtime)
