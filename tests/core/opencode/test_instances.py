"""Which OpenCode a context is bound to: a pure choice, with its rules as properties."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.errors import ProtocolError
from sansio.opencode.instances import INSTANCE, Candidate, choose

NAMES = ("a", "b", "c", "d")
candidate = st.builds(
    Candidate,
    name=st.just(""),
    connected=st.booleans(),
    running=st.integers(0, 3),
    chosen=st.integers(0, 3),
    serves=st.booleans(),
)
several = st.lists(candidate, min_size=1, max_size=len(NAMES)).map(
    lambda found: [evolve(one, name=name) for one, name in zip(found, NAMES, strict=False)]
)


def refused(candidates: list[Candidate], **more: str) -> str:
    with pytest.raises(ProtocolError) as caught:
        choose(candidates, **more)
    [violation] = caught.value.violations
    assert violation.field == ".".join(INSTANCE)
    return violation.message


@given(several, st.data())
def test_what_is_bound_stays_where_it_is(candidates: list[Candidate], data: st.DataObject) -> None:
    bound = data.draw(st.sampled_from(candidates)).name

    assert choose(candidates, bound=bound) == choose(candidates, bound=bound, asked=bound) == bound


@given(several, st.data())
def test_whoever_names_one_gets_it(candidates: list[Candidate], data: st.DataObject) -> None:
    asked = data.draw(st.sampled_from(candidates)).name

    assert choose(candidates, asked=asked) == asked


@given(several)
def test_a_new_context_goes_to_the_least_busy_that_is_connected_and_serves_it(candidates: list[Candidate]) -> None:
    by_name = {one.name: one for one in candidates}
    found = by_name[choose(candidates)]

    if any(one.serves for one in candidates):
        assert found.serves
    same = [one for one in candidates if one.serves == found.serves]
    if any(one.connected for one in same):
        assert found.connected
    assert found.running == min(one.running for one in same if one.connected == found.connected)


@given(several)
def test_one_that_is_away_gets_nothing_new_while_another_is_there(candidates: list[Candidate]) -> None:
    fine = [evolve(one, serves=True) for one in candidates]
    found = choose([evolve(fine[0], connected=False), *fine[1:]])

    assert found != fine[0].name or not any(one.connected for one in fine[1:])


def test_those_that_are_equally_busy_take_turns() -> None:
    free, given_one = Candidate(name="a", connected=True, chosen=1), Candidate(name="b", connected=True)

    assert choose([free, given_one]) == "b"


def test_a_name_that_is_none_is_refused() -> None:
    assert "names no OpenCode" in refused([Candidate(name="a", connected=True)], asked="b")


def test_a_conversation_is_not_moved() -> None:
    two = [Candidate(name="a", connected=True), Candidate(name="b", connected=True)]

    assert "new context" in refused(two, asked="b", bound="a")
