"""The parent of worker processes: how it starts them, what it does when one dies, and how it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.supervision.workers import (
    FORCE,
    LOOKS,
    MOST_FAILURES,
    PAUSES,
    SHORT_LIFE,
    Action,
    Announce,
    Drain,
    End,
    GiveUp,
    Hanging,
    Kill,
    Phase,
    Reload,
    Restarting,
    Start,
    Supervisor,
)

TERM, KILLED = 15, 137


def serving(count: int = 2) -> Supervisor:
    """A parent all of whose workers have been ready since 0."""
    parent = Supervisor(count, grace=10.0)
    parent.begin()
    for number in range(1, count + 1):
        parent.ready(number, 0.0)
    return parent


def test_the_first_starts_alone_and_the_last_is_announced() -> None:
    parent = Supervisor(3, grace=10.0)

    assert parent.begin() == [Start(1)]
    assert parent.ready(1, 0.0) == [Start(2), Start(3)]
    assert parent.ready(3, 0.1) == []
    assert parent.ready(2, 0.2) == [Announce()]
    assert parent.phase is Phase.SERVING
    assert parent.due is None


def test_one_worker_is_announced_at_once() -> None:
    parent = Supervisor(1, grace=10.0)
    parent.begin()

    assert parent.ready(1, 0.0) == [Announce()]


def test_a_first_start_that_fails_ends_the_parent_with_its_code() -> None:
    parent = Supervisor(2, grace=10.0)
    parent.begin()

    assert parent.ended(1, 2, 0.0) == [End(2)]


def test_a_later_start_that_fails_lets_the_others_drain_first() -> None:
    parent = Supervisor(3, grace=10.0)
    parent.begin()
    parent.ready(1, 0.0)

    assert parent.ended(3, 2, 0.1) == [Drain(1), Drain(2)]
    assert parent.ready(2, 0.2) == []
    assert parent.ended(1, 0, 0.3) == []
    assert parent.ended(2, 0, 0.4) == [End(2)]


def test_one_that_ends_without_an_error_before_it_serves_is_an_error_of_the_start() -> None:
    parent = Supervisor(1, grace=10.0)
    parent.begin()

    assert parent.ended(1, 0, 0.0) == [End(1)]


def test_a_worker_that_dies_is_started_again_and_the_pause_grows() -> None:
    parent = serving()
    now, pauses = 0.0, []
    for _ in range(len(PAUSES.pauses) + 1):
        [restarting] = parent.ended(2, KILLED, now)
        assert isinstance(restarting, Restarting)
        assert (restarting.worker, restarting.code) == (2, KILLED)
        pauses.append(restarting.pause)
        assert parent.due == now + restarting.pause
        if restarting.pause:
            assert parent.look(now) == []
        now += restarting.pause
        assert parent.look(now) == [Start(2)]
        parent.ready(2, now)

    assert pauses == [*PAUSES.pauses, PAUSES.pauses[-1]]


def test_a_long_life_begins_with_the_first_pause_again() -> None:
    parent = serving()
    parent.ended(1, KILLED, 1.0)
    parent.look(1.0)
    parent.ready(1, 2.0)
    parent.ended(1, KILLED, 3.0)
    parent.look(4.0)
    parent.ready(1, 4.0)

    assert parent.ended(1, KILLED, 4.0 + SHORT_LIFE) == [Restarting(1, KILLED, 0.0)]


def failed_starts(parent: Supervisor, number: int, times: int) -> list[Action]:
    done: list[Action] = []
    for _ in range(times):
        due = parent.due
        assert due is not None
        assert parent.look(due) == [Start(number)]
        done = parent.ended(number, 2, due)
    return done


def test_it_gives_up_where_nobody_serves_and_starts_fail() -> None:
    parent = serving(1)
    parent.ended(1, KILLED, 1.0)

    assert failed_starts(parent, 1, MOST_FAILURES - 1) == [Restarting(1, 2, 4.0)]
    assert failed_starts(parent, 1, 1) == [GiveUp(2), End(2)]


def test_it_does_not_give_up_while_somebody_serves() -> None:
    parent = serving(2)
    parent.ended(1, KILLED, 1.0)

    assert failed_starts(parent, 1, 3 * MOST_FAILURES) == [Restarting(1, 2, 30.0)]


def test_the_end_of_one_that_was_ready_is_no_failed_start_however_many_others_failed() -> None:
    parent = serving(2)
    parent.ended(1, KILLED, 1.0)
    failed_starts(parent, 1, MOST_FAILURES)
    now = parent.due
    assert now is not None
    assert parent.look(now) == [Start(1)]

    assert parent.ended(2, KILLED, now) == [Restarting(2, KILLED, 0.0)]
    assert parent.look(now) == [Start(2)]
    assert isinstance(parent.ended(1, KILLED, now)[0], Restarting)
    assert parent.ready(2, now) == []


def test_a_storm_that_kills_all_that_are_ready_goes_on_for_ever() -> None:
    parent = serving(2)
    now = 1.0
    for _ in range(3 * MOST_FAILURES):
        for number in (1, 2):
            assert isinstance(parent.ended(number, KILLED, now)[0], Restarting)
        now += 30.0
        assert parent.look(now) == [Start(1), Start(2)]
        for number in (1, 2):
            parent.ready(number, now)


def watching(count: int = 2) -> Supervisor:
    """A parent that watches, all of whose workers have been ready since 0."""
    parent = Supervisor(count, grace=10.0, patience=float(LOOKS))
    parent.begin()
    for number in range(1, count + 1):
        parent.ready(number, 0.0)
    return parent


def test_a_worker_without_a_beat_is_killed_once_and_started_again() -> None:
    parent, done = watching(), list[Action]()
    for second in range(1, 3 * LOOKS):
        assert parent.due == second
        assert parent.look(second - 0.5, (second, 7)) == []
        done += parent.look(second, (second, 7))
        if second == LOOKS:
            assert done == []

    assert done == [Hanging(2, LOOKS), Kill(2)]
    assert parent.ended(2, KILLED, 100.0) == [Restarting(2, KILLED, 0.0)]
    assert parent.look(100.0, (100, 7)) == [Start(2)]
    parent.ready(2, 101.0)
    for second in range(1, LOOKS + 1):
        assert parent.look(101.0 + second, (101 + second, 7)) == []
    assert parent.look(102.0 + LOOKS, (0, 7)) == [Hanging(2, LOOKS), Kill(2)]


def test_a_parent_that_was_stopped_with_its_workers_kills_none() -> None:
    parent = watching()
    for second in range(1, LOOKS):
        parent.look(second, (1, 1))

    assert parent.look(1000.0, (1, 1)) == []
    assert parent.look(1001.0, (2, 2)) == []


def test_workers_that_are_not_ready_or_drain_are_not_watched() -> None:
    parent = watching(1)
    parent.ended(1, KILLED, 0.5)
    dues = [parent.due]
    assert parent.look(1.0, (1,)) == [Start(1)]
    dues.append(parent.due)
    parent.ready(1, 2.0)
    dues.append(parent.due)
    parent.stop(2.5, TERM)
    dues.append(parent.due)

    assert dues == [0.5, None, 3.0, 2.5 + 10.0 + FORCE]
    assert parent.look(3.0, (1,)) == []


def test_a_signal_drains_and_the_parent_ends_after_the_last() -> None:
    parent = serving()

    assert parent.stop(1.0, TERM) == [Drain(1), Drain(2)]
    assert parent.due == 1.0 + 10.0 + FORCE
    assert parent.ended(2, 0, 2.0) == []
    assert parent.ended(1, 0, 3.0) == [End(0)]
    assert parent.due is None


def test_a_signal_ends_a_parent_whose_workers_are_to_be_started_again() -> None:
    parent = serving(1)
    parent.ended(1, KILLED, 1.0)

    assert parent.stop(1.0, TERM) == [End(0)]
    assert parent.due is None


def test_a_worker_that_dies_as_it_drains_shows_in_the_exit_code() -> None:
    parent = serving()
    parent.stop(1.0, TERM)
    parent.ended(1, KILLED, 2.0)

    assert parent.ended(2, 0, 2.0) == [End(KILLED)]


def test_a_worker_that_does_not_serve_yet_ends_by_the_signal_and_that_is_no_error() -> None:
    parent = Supervisor(2, grace=10.0)
    parent.begin()
    parent.ready(1, 0.5)
    parent.stop(1.0, TERM)
    parent.ended(1, 128 + TERM, 1.0)

    assert parent.ended(2, 128 + TERM, 1.0) == [End(0)]


def test_the_second_signal_ends_at_once() -> None:
    parent = serving()
    parent.stop(1.0, TERM)
    parent.ended(1, 0, 1.0)

    assert parent.stop(1.5, 2) == [Kill(2), End(130)]


def test_a_drain_that_takes_too_long_ends_by_force() -> None:
    parent = serving()
    parent.stop(1.0, TERM)
    parent.ended(1, 0, 1.0)

    assert parent.look(2.0) == []
    assert parent.look(1.0 + 10.0 + FORCE) == [Kill(2)]
    assert parent.look(100.0) == []
    assert parent.ended(2, KILLED, 100.0) == [End(1)]


def test_a_hang_up_reaches_every_worker_that_runs() -> None:
    parent = serving(3)
    parent.ended(2, KILLED, 1.0)

    assert parent.hang_up() == [Reload(1), Reload(3)]
    parent.stop(1.0, TERM)
    assert parent.hang_up() == []


@pytest.mark.parametrize("count", [0, -1])
def test_there_is_a_worker_at_least(count: int) -> None:
    with pytest.raises(ValueError, match="count"):
        Supervisor(count, grace=0.0)


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from("redshl"), st.integers(1, 4)), max_size=60))
def test_whatever_happens_no_worker_runs_twice_and_none_is_left_at_the_end(
    count: int, events: list[tuple[str, int]]
) -> None:
    parent, running, now = Supervisor(count, grace=1.0), set[int](), 0.0

    def do(actions: list[Action]) -> bool:
        for action in actions:
            match action:
                case Start(worker):
                    assert worker not in running
                    running.add(worker)
                case Drain(worker) | Kill(worker) | Reload(worker):
                    assert worker in running
                    running.difference_update({worker} if isinstance(action, Kill) else ())
                case End():
                    assert not running
                    return True
        return False

    do(parent.begin())
    for kind, worker in events:
        now += 0.7
        actions: list[Action] = []
        if kind == "r" and worker in running:
            actions = parent.ready(worker, now)
        elif kind in "ed" and worker in running:
            running.discard(worker)
            actions = parent.ended(worker, 0 if kind == "d" else 2, now)
        elif kind == "s":
            actions = parent.stop(now, TERM)
        elif kind == "h":
            actions = parent.hang_up()
        elif kind == "l":
            looked = parent.look(now)
            assert not do(looked)
            killed = [action.worker for action in looked if isinstance(action, Kill)]
            actions = [one for worker in killed for one in parent.ended(worker, KILLED, now)]
        if do(actions):
            return
