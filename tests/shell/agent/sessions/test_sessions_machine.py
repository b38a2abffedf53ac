"""Whose a session is, after any sequence of claims, turns, waits and restarts: as a simple model says."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import TypeAlias

import anyio
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from opencode_a2a.agent.sessions.location_check import Locations
from opencode_a2a.agent.sessions.session_choice import Sessions
from opencode_a2a.agent.sessions.session_creation import Creations
from opencode_a2a.agent.turns.running_turn import Prompt, RunningTurn
from opencode_a2a.agent.upstream.upstream import Upstream
from opencode_a2a.server.store import Store, open_store
from opencode_a2a.server.tasks.active_task import ActiveTask, Facts
from opencode_a2a.server.tasks.keyed_lock import LocalLocks
from sansio.a2a.errors import ProtocolError
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream.requests import DEFAULT_LOCATION, Location

PRINCIPALS = ("ada", "Bob", "çelik")
SESSIONS = ("ses_1", "ses_2")
CONTEXTS = ("x", "y")
PLACES = (None, Location(directory="/project/a"), Location(workspace="wrk_1"))
TTL = 10.0

Step: TypeAlias = tuple[str, str, str, str, Location | None, float]
steps: st.SearchStrategy[Step] = st.tuples(
    st.sampled_from(["claim", "race", "turn", "own", "move", "wait", "restart"]),
    st.sampled_from(PRINCIPALS),
    st.sampled_from(SESSIONS),
    st.sampled_from(CONTEXTS),
    st.sampled_from(PLACES),
    st.sampled_from([1.0, TTL - 1, TTL + 1]),
)


@define
class Model:
    """The rules in a few lines. `now`: seconds."""

    now: float = 1_000_000.0
    owners: dict[str, str] = field(factory=dict)
    claims: dict[str, tuple[str, float]] = field(factory=dict)
    bound: dict[tuple[str, str], str] = field(factory=dict)
    locations: dict[str, Location] = field(factory=dict)
    made: int = 0

    def may_use(self, principal: str, session_id: str) -> bool:
        if session_id in self.owners:
            return self.owners[session_id] == principal
        claimer, until = self.claims.get(session_id, (principal, 0.0))
        return claimer == principal or until <= self.now

    def claim(self, principal: str, session_id: str) -> bool:
        if not self.may_use(principal, session_id):
            return False
        if session_id not in self.owners:
            self.claims[session_id] = principal, self.now + TTL
        return True

    def turn(self, principal: str, context: str, session_id: str, location: Location | None) -> None:
        self.owners[session_id] = principal
        self.bound[principal, context] = session_id
        self.locations[session_id] = location or DEFAULT_LOCATION

    def may_move(self, principal: str, context: str, location: Location) -> bool:
        session_id = self.bound.get((principal, context))
        return session_id is None or self.locations[session_id] == location


class World:
    """The product's own sessions over a store, and time that only a test moves."""

    def __init__(self, store: Store, model: Model) -> None:
        upstream = Upstream("http://127.0.0.1:9", username="", password=None, timeout=1.0)  # asked by nobody here
        locations = Locations(upstream, DEFAULT_LOCATION, override=True)
        self.store = store
        creations = Creations(lambda: int(model.now * 1000))
        self.sessions = Sessions(
            store,
            upstream,
            locations,
            locks=LocalLocks(),
            creations=creations,
            claim_ttl=TTL,
            claims=True,
            wall=lambda: model.now,
        )

    async def claims(self, principal: str, session_id: str) -> bool:
        try:
            await self.sessions.claim(principal, session_id)
        except ProtocolError:
            return False
        return True

    async def moves(self, principal: str, context: str, location: Location) -> bool:
        try:
            await self.sessions.check_location(principal, context, None, location)
        except ProtocolError:
            return False
        return True

    async def begins(
        self, principal: str, context: str, session_id: str, location: Location | None, *, named: bool
    ) -> None:
        """What a turn puts on record before its prompt goes out."""
        facts = Facts(task_id="t", context_id=context, principal=principal, message_id="m", created_at=0)
        prompt = Prompt(parts=(), session_id=session_id if named else None, location=location)
        turn = Turn(task_id="t", context_id=context, session_id=session_id, prompt_id="msg")
        run = RunningTurn(ActiveTask.new(facts), prompt, turn, location or DEFAULT_LOCATION)
        await self.store.commit(await self.sessions.rows(run, session_id))


async def take(world: World, model: Model, step: Step) -> None:
    name, principal, session_id, context, location, seconds = step
    if name == "claim":
        assert await world.claims(principal, session_id) == model.claim(principal, session_id)
    elif name == "race":
        got: list[str] = []

        async def claim(one: str) -> None:
            if await world.claims(one, session_id):
                got.append(one)

        async with anyio.create_task_group() as tasks:
            for one in PRINCIPALS:
                tasks.start_soon(claim, one)
        allowed = [one for one in PRINCIPALS if model.may_use(one, session_id)]
        assert len(got) == 1
        assert got[0] in allowed
        assert model.claim(got[0], session_id)
    elif name == "turn":
        if model.claim(principal, session_id):
            assert await world.claims(principal, session_id)
            location = location or model.locations.get(session_id)
            await world.begins(principal, context, session_id, location, named=True)
            model.turn(principal, context, session_id, location)
    elif name == "own":
        found = model.bound.get((principal, context))
        if found is None:
            model.made += 1
            found = f"ses_made_{model.made}"
        else:
            location = model.locations[found]  # where a conversation stays
        await world.begins(principal, context, found, location, named=False)
        model.turn(principal, context, found, location)
    elif name == "move":
        requested = location or DEFAULT_LOCATION
        assert await world.moves(principal, context, requested) == model.may_move(principal, context, requested)
    elif name == "wait":
        model.now += seconds


async def agrees(world: World, model: Model) -> None:
    made = [f"ses_made_{number}" for number in range(1, model.made + 1)]
    for session_id in (*SESSIONS, *made):
        assert await world.store.owner_of(session_id) == model.owners.get(session_id)
        for principal in PRINCIPALS:
            assert await world.sessions.may_use(principal, session_id) == model.may_use(principal, session_id)
    for (principal, context), session_id in model.bound.items():
        assert await world.store.session_of(principal, context) == session_id


async def follows_the_model(url: str, sequence: Sequence[Step], *, survives: bool) -> None:
    model = Model()
    left = list(sequence)
    while True:
        async with open_store(url) as store:
            world = World(store, model)
            await agrees(world, model)
            while left and not (left[0][0] == "restart" and survives):
                await take(world, model, left.pop(0))
                await agrees(world, model)
        if not left:
            return
        del left[0]


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
@given(sequence=st.lists(steps, max_size=14))
def test_sessions_are_whose_the_model_says(runtime: str, sequence: list[Step]) -> None:
    anyio.run(lambda: follows_the_model("memory", sequence, survives=False), backend=runtime)


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
@settings(max_examples=30)
@given(sequence=st.lists(steps, max_size=8))
def test_they_stay_so_in_a_file_and_over_restarts(runtime: str, sequence: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tasks.db"
        anyio.run(lambda: follows_the_model(url, sequence, survives=True), backend=runtime)
