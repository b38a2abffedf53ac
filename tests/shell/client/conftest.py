"""Fixtures of the commands that call an agent: a scripted agent, and our own with a card that names its address."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from opencode_a2a.agent.application import application
from opencode_a2a.cli.connection_limits import connection_limits
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode
from sansio.a2a.cards.parse import SERVED
from tests.shell import scripted_agent
from tests.shell.calling import Scene
from tests.shell.harness import BOB, CREDENTIALS, Agent, Serving, client, quick, served
from tests.shell.ports import free_port
from tests.shell.scripted_agent import ScriptedAgent


@pytest.fixture
async def scene(anyio_backend: str) -> AsyncIterator[Scene]:
    agent = ScriptedAgent()
    async with scripted_agent.serving(anyio_backend, agent) as url:
        yield Scene(agent, url)


@pytest.fixture
def serving(anyio_backend: str) -> Serving:
    """Starts a fake OpenCode and the agent before it, whose card names its own address."""

    @asynccontextmanager
    async def start(fake_opencode: FakeOpenCode | None = None, **settings: Any) -> AsyncGenerator[Agent]:
        app, bind = fake_opencode or quick(), f"127.0.0.1:{free_port()}"
        async with served(anyio_backend, app) as opencode:
            given = Settings(
                opencode_url=opencode,
                credentials=CREDENTIALS,
                task_store_backend="memory",
                bindings=SERVED,
                public_url_override=f"http://{bind}",
                **settings,
            )
            async with (
                application(given) as running,
                served(anyio_backend, running.asgi, bind=bind, limits=connection_limits(given)) as url,
                client(url) as http,
                client(url, BOB) as bob,
                client(opencode, None) as direct,
            ):
                yield Agent(url, app, running, http, bob, direct)

    return start
