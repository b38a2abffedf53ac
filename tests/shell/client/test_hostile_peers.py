"""Agents that mean harm, or are broken: each ends in the outcome of its row, within bounds of time and memory."""

from __future__ import annotations

import anyio
import pytest

from opencode_a2a.client import ClientOptions, connect
from sansio.a2a.client.client_errors import TimedOutError
from tests.hostile import attempt
from tests.shell.client.hostile import CASES, EVENTS, PACE, WORKING, Case, Outcome, misbehaving, send, slowly
from tests.shell.harness import DEADLINE

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
async def test_the_outcome_is_that_of_the_row(case: Case, anyio_backend: str) -> None:
    assert (await attempt(case)).wrong == ""


@pytest.mark.parametrize("dripping", [b":\n" * 500, b"data: " + b" " * 500], ids=["comments", "half an event"])
async def test_a_stream_that_drips_is_given_up_once_patience_is_over(dripping: bytes, anyio_backend: str) -> None:
    case = Case(name="drips", outcome=Outcome.UNREACHABLE, answer=send(EVENTS, WORKING, slowly(dripping)))
    options = ClientOptions(timeout=10 * PACE, patience=10 * PACE)
    async with misbehaving(case) as agent, connect(agent.url, options) as remote:

        async def listen() -> None:
            async with remote.stream("hi") as events:
                async for _ in events:
                    pass

        with anyio.fail_after(DEADLINE), pytest.raises(TimedOutError, match="has not changed for 1 s"):
            await listen()
