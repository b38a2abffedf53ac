"""Agents that mean harm, or are broken: each ends in the outcome of its row, within bounds of time and memory."""

from __future__ import annotations

import pytest

from tests.hostile import attempt
from tests.shell.client.hostile import CASES, Case

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
async def test_the_outcome_is_that_of_the_row(case: Case, anyio_backend: str) -> None:
    assert (await attempt(case)).wrong == ""
