"""Nodes: a fake OpenCode and the agent before it, which has given OpenCode its tool, and may call its like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest
from attrs import evolve

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode
from sansio.outbound import parse_allowed_hosts
from sansio.redact import Secret
from tests.shell.harness import ALICE, CREDENTIALS, Agent, agent_at, quick, served

Start: TypeAlias = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def node(anyio_backend: str) -> Start:
    @asynccontextmanager
    async def start(
        fake_opencode: FakeOpenCode | None = None, *, bind: str = "127.0.0.1:0", **more: Any
    ) -> AsyncIterator[Agent]:
        app = fake_opencode or quick()
        async with served(anyio_backend, app) as opencode:
            given: dict[str, Any] = {
                "opencode_url": opencode,
                "credentials": CREDENTIALS,
                "task_store_backend": "memory",
                "client_allowed_hosts": parse_allowed_hosts("127.0.0.1"),
                "client_bearer_token": Secret(ALICE),
                **more,
            }
            settings = Settings(**given)
            async with agent_at(anyio_backend, app, settings, bind) as agent:
                bound = int(agent.url.rpartition(":")[2])
                agent.running.listening(evolve(settings, port=bound))
                yield agent

    return start
