"""The guide on serving another agent: its program runs."""

from __future__ import annotations

from typing import Any

import pytest

from opencode_a2a.server import open_agent
from sansio.a2a.model import TaskState, TextPart
from tests.core.test_docs import program_of
from tests.paths import ROOT
from tests.shell.harness import RPC_10, Caller, client, served

GUIDE = ROOT / "docs" / "serve-another-agent.md"
pytestmark = pytest.mark.anyio


def names_of_guide() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(program_of(GUIDE.read_text("utf-8")), str(GUIDE), "exec"), names)
    return names


@pytest.mark.parametrize("agent", ["Counter", "PatientCounter"])
async def test_the_counter_counts_and_refuses_what_is_no_number(anyio_backend: str, agent: str) -> None:
    names = names_of_guide()
    async with (
        open_agent(names[agent](), card=names["CARD"], credentials=names["CREDENTIALS"]) as server,
        served(anyio_backend, server.asgi) as url,
        client(url, "a-long-secret") as http,
    ):
        caller = Caller(http, RPC_10)
        task = await caller.send("3")
        error = await caller.refused("send", "three")

    assert task.artifacts[0].parts == (TextPart(text="0 1 2 "),)
    assert error["message"] == "Send a number"


async def test_the_greeter_asks(anyio_backend: str) -> None:
    names = names_of_guide()
    async with (
        open_agent(names["Greeter"](), card=names["CARD"], credentials=names["CREDENTIALS"]) as server,
        served(anyio_backend, server.asgi) as url,
        client(url, "a-long-secret") as http,
    ):
        caller = Caller(http, RPC_10)
        asked = await caller.send("hi")
        task = await caller.send("Ada", taskId=asked.id)

    assert asked.status.state is TaskState.INPUT_REQUIRED
    assert task.artifacts[0].parts == (TextPart(text="Hello Ada"),)
