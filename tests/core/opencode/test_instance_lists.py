"""Lists of several OpenCodes as one: order, names, and each session once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.model import JsonObject, Task, TaskState, TaskStatus
from sansio.opencode.projections.instance_lists import Item, id_of, last_used, merged, of_instance

ids = st.sampled_from([f"ses_{number}" for number in range(8)])


def summary(session_id: str) -> JsonObject:
    return {"session_id": session_id}


@given(st.lists(st.lists(ids, unique=True), max_size=3), st.dictionaries(ids, st.integers(0, 9)))
def test_each_session_is_there_once_and_lists_keep_their_order(lists: list[list[str]], times: dict[str, int]) -> None:
    found = [id_of(one) for one in merged([[summary(one) for one in items] for items in lists], times)]

    assert sorted(found) == sorted({one for items in lists for one in items})
    for items in lists:
        alone = [one for one in items if sum(one in other for other in lists) == 1]
        assert [one for one in found if one in alone] == alone


@given(st.lists(st.integers(0, 99), unique=True, max_size=8), st.data())
def test_lists_that_are_in_order_become_one_that_is(used: list[int], data: st.DataObject) -> None:
    lists: list[list[Item]] = [[], []]
    for time in sorted(used, reverse=True):
        lists[data.draw(st.integers(0, 1))].append(summary(f"ses_{time}"))

    found = merged(lists, {f"ses_{time}": time for time in used})

    assert [id_of(one) for one in found] == [f"ses_{time}" for time in sorted(used, reverse=True)]


def test_items_name_their_instance() -> None:
    task = Task(id="ses_1", context_id="c", status=TaskStatus(state=TaskState.COMPLETED), metadata={"shared": {}})
    named = of_instance(task, "a")

    assert isinstance(named, Task)
    assert named.metadata == {"shared": {}, "opencode": {"instance": "a"}}
    assert id_of(named) == "ses_1"
    assert of_instance(summary("ses_2"), "b") == {"session_id": "ses_2", "instance": "b"}


def test_the_times_are_those_that_opencode_has() -> None:
    sessions: dict[str, JsonObject] = {"a": {"time": {"updated": 3}}, "b": {"time": 4}, "c": {}}

    assert last_used(sessions) == {"a": 3}
