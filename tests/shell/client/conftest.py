"""The fixture of the tests of `opencode-a2a call`: a scripted agent, and the way to call it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.shell.calling import Scene
from tests.shell.scripted_agent import ScriptedAgent, serving


@pytest.fixture
async def scene(anyio_backend: str) -> AsyncIterator[Scene]:
    agent = ScriptedAgent()
    async with serving(anyio_backend, agent) as url:
        yield Scene(agent, url)
