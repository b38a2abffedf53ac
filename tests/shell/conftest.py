"""Fixtures of the shell's tests: every one of them runs on both event loops, over real loopback sockets."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from opencode_a2a.standin import StandIn
from tests.shell.harness import Agent, Serving, agent_before


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def serving(anyio_backend: str) -> Serving:
    """Starts a stand-in and the agent before it, which keeps its tasks in memory."""

    def start(standin: StandIn | None = None, **settings: Any) -> AbstractAsyncContextManager[Agent]:
        return agent_before(anyio_backend, standin, task_store_backend="memory", **settings)

    return start


@pytest.fixture
def serving_on_disk(anyio_backend: str, tmp_path: Path) -> Serving:
    """The same, with its tasks in an SQLite file; started twice in a test, it is the same file."""

    def start(standin: StandIn | None = None, **settings: Any) -> AbstractAsyncContextManager[Agent]:
        url = f"sqlite:///{tmp_path / 'tasks.db'}"
        return agent_before(anyio_backend, standin, task_store_database_url=url, **settings)

    return start
