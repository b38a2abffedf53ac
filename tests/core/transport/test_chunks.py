"""Chunks of bodies counted: floods are found, ordinary bodies pass."""

from __future__ import annotations

from sansio.transport.chunks import ChunkBudget


def test_many_chunks_of_a_byte_are_too_many() -> None:
    budget = ChunkBudget()

    assert all(budget.take(1, begins=True) for _ in range(1000))
    assert not budget.take(1, begins=True)


def test_large_chunks_may_be_many_and_pieces_of_one_chunk_count_once() -> None:
    many, one = ChunkBudget(), ChunkBudget()

    assert all(many.take(16, begins=True) for _ in range(100_000))
    assert one.take(1, begins=True)
    assert all(one.take(1, begins=False) for _ in range(100_000))
