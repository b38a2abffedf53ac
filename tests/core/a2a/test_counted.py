"""Numbers of things in words."""

from __future__ import annotations

import pytest

from sansio.a2a.counted import counted


@pytest.mark.parametrize(("number", "words"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks")])
def test_a_noun_is_in_the_plural_unless_there_is_one(number: int, words: str) -> None:
    assert counted(number, "task") == words
