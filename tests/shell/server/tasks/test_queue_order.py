"""Messages of one context run in the order they came in, also across a restart, whatever the event loop prefers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode, Say
from opencode_a2a.server.tasks.keyed_lock import LocalLocks
from tests.shell.harness import CREDENTIALS, RPC_10, Agent, agent_at, quick, served, until

pytestmark = pytest.mark.anyio

MANY = 60

Starting = Callable[[FakeOpenCode, str], AbstractAsyncContextManager[Agent]]


@pytest.fixture
def starting(anyio_backend: str, tmp_path: Path) -> Starting:
    """Starts the agent on one file, before an OpenCode that stays."""

    def start(fake_opencode: FakeOpenCode, url: str) -> AbstractAsyncContextManager[Agent]:
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        settings = Settings(
            opencode_url=url, credentials=CREDENTIALS, task_store_database_url=store, allow_session_claims=True
        )
        return agent_at(anyio_backend, fake_opencode, settings)

    return start


def prompted(fake_opencode: FakeOpenCode) -> list[str]:
    """The texts of the prompts that OpenCode got, in order."""
    prompts = [one for one in fake_opencode.requests if one.path.endswith("/prompt_async")]
    return [one.json["parts"][0]["text"] for one in prompts]


@pytest.mark.parametrize("names_session", [False, True], ids=["of a context", "of a session"])
async def test_queued_messages_run_in_their_order_after_a_restart(
    anyio_backend: str, starting: Starting, names_session: bool
) -> None:
    fake_opencode = quick()
    texts = [f"ECHO {number}" for number in range(MANY)]
    async with served(anyio_backend, fake_opencode) as url:
        session_id = ""
        async with starting(fake_opencode, url) as agent:
            if names_session:
                session_id = (await agent.opencode.post("/session", json={})).json()["id"]
            where = {"metadata": {"shared": {"session": {"id": session_id}}}} if names_session else {"contextId": "c"}
            fake_opencode.hold(Say)
            for text in texts:
                await agent.caller().send(text, configuration=RPC_10.at_once(), **where)
            await fake_opencode.held()
        async with starting(fake_opencode, url) as agent:
            fake_opencode.release()
            await until(lambda: len(prompted(fake_opencode)) == MANY)

    assert prompted(fake_opencode) == texts


async def test_messages_run_in_the_order_in_which_their_senders_were_told_of_them(
    anyio_backend: str, starting: Starting
) -> None:
    fake_opencode = quick()
    texts = [f"ECHO {number}" for number in range(MANY)]
    async with served(anyio_backend, fake_opencode) as url, starting(fake_opencode, url) as agent:
        fake_opencode.hold(Say)
        for text in texts:
            await agent.caller().send(text, contextId="c", configuration=RPC_10.at_once())
        fake_opencode.release()
        await until(lambda: len(prompted(fake_opencode)) == MANY)

    assert prompted(fake_opencode) == texts


async def test_who_takes_a_place_first_is_first_whoever_enters_first() -> None:
    locks = LocalLocks()
    locations = [locks.of(("key",)) for _ in range(20)]
    entered: list[int] = []
    assert [location.take_place() for location in locations] == [True, *[False] * 19]

    async def enter(number: int) -> None:
        async with locations[number]:
            entered.append(number)

    locations[5].leave()
    locations[5].leave()
    async with anyio.create_task_group() as tasks:
        for number in reversed([one for one in range(20) if one != 5]):
            tasks.start_soon(enter, number)

    assert entered == [one for one in range(20) if one != 5]
    assert not locks.is_taken(("key",))
