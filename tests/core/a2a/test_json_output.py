"""JSON that is encoded in steps is the JSON that is encoded at once, in pieces that are small."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.json_output import encoded_pieces
from tests.steps import counted
from tests.strategies import json_values


def taken(value: Any, size: int) -> tuple[list[bytes], int]:
    """The pieces, and how often others had their turn."""
    pieces, steps = counted(encoded_pieces(value, size=size))
    return pieces, steps - 1


@given(json_values, st.sampled_from((1, 7, 100)))
def test_pieces_add_up_to_the_value(value: Any, size: int) -> None:
    pieces, _ = taken(value, size)

    assert orjson.loads(b"".join(pieces)) == value


def test_a_small_value_is_one_piece_at_once() -> None:
    assert taken({"a": [1, "b"]}, 1000) == ([b'{"a":[1,"b"]}'], 0)


def test_large_values_come_in_small_pieces() -> None:
    value = {
        "text": 'a "b" \u2028\U0001f600\n' * 50_000,
        "many": [{"n": i} for i in range(20_000)],
        "end": "x" * 500_000,
    }

    pieces, steps = taken(value, 10_000)

    assert orjson.loads(b"".join(pieces)) == value
    assert max(map(len, pieces)) < 100_000
    assert steps >= len(pieces)
