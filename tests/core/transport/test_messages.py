"""Messages of WebSocket connections: their size, and frames that carry nothing."""

from __future__ import annotations

from sansio.transport.messages import MessageBudget, ReadAhead


def test_control_frames_have_a_budget_that_time_refills() -> None:
    budget = MessageBudget(0.0, most=3, per_second=1)
    assert [budget.control(0.0) for _ in range(4)] == [True, True, True, False]
    assert budget.control(10.0)


def test_small_fragments_cost_and_ends_and_pieces_of_frames_do_not() -> None:
    budget = MessageBudget(0.0, most=1, per_second=0)
    for _ in range(10):
        assert budget.fragment(1, 0.0, frame_ends=False, message_ends=False)
        assert budget.fragment(16, 0.0, frame_ends=True, message_ends=False)
        assert budget.fragment(0, 0.0, frame_ends=True, message_ends=True)
    assert budget.fragment(0, 0.0, frame_ends=True, message_ends=False)
    assert not budget.fragment(0, 0.0, frame_ends=True, message_ends=False)


def test_a_message_is_bounded_with_all_its_fragments() -> None:
    budget = MessageBudget(0.0, 10)
    assert not budget.is_too_large(10)
    assert budget.is_too_large(11)
    budget.fragment(8, 0.0, frame_ends=True, message_ends=False)
    assert budget.is_too_large(3)
    budget.fragment(2, 0.0, frame_ends=True, message_ends=True)
    assert not budget.is_too_large(10)
    assert not MessageBudget(0.0).is_too_large(10**9)


def test_messages_that_wait_count_though_they_are_empty() -> None:
    ahead = ReadAhead(1000)
    seen = []
    for change, size in ((ahead.put, 0), (ahead.put, 0), (ahead.take, 0), (ahead.put, 1001), (ahead.take, 0)):
        change(size)
        seen.append(ahead.is_full)
    assert seen == [False, True, False, True, True]
