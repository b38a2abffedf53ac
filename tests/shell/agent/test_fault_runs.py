"""Some seeded runs of the agent among neighbours that fail; the hundreds are `python -m tests.faults`, and
`python -m tests.faults.replicas` for several servers.
"""

from __future__ import annotations

from functools import partial

import anyio

from tests.faults.__main__ import describe
from tests.faults.plan import KINDS, Plan
from tests.faults.replicas import plan as replica_faults
from tests.faults.replicas.plan import ReplicaPlan
from tests.faults.replicas.runs import runs_of_replicas
from tests.faults.runs import runs

_SEEDS = (21, 344, 146, 144, 371)  # a few that have every kind of fault, on both runtimes


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


_SEEDS_OF_REPLICAS = (200, 204, 399)


def test_whichever_server_fails_the_others_go_on() -> None:
    outcomes = anyio.run(partial(runs_of_replicas, _SEEDS_OF_REPLICAS, jobs=3, small=True))

    assert [describe(outcome, "tests.faults.replicas") for outcome in outcomes if outcome.wrong] == []
    assert all(outcome.states.total() == 4 for outcome in outcomes)
    assert {outcome.runtime for outcome in outcomes} == {"asyncio", "trio"}


def test_a_seed_is_a_plan_of_several_servers() -> None:
    plans = [ReplicaPlan.of(seed) for seed in range(len(replica_faults.KINDS) + 1)]

    assert {kind for plan in plans for kind in plan.kinds} == set(replica_faults.KINDS)
    assert any(not plan.kinds for plan in plans)
    again = ReplicaPlan.of(5)
    assert (again.kinds, again.strikes, again.clocks) == (plans[5].kinds, plans[5].strikes, plans[5].clocks)
