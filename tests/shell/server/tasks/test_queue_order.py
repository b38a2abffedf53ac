"""Messages of one context run in the order they came in, also across a restart, whatever the event loop prefers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import Say, StandIn
from opencode_a2a.server.tasks.keyed_lock import Turnstile
from tests.shell.harness import CREDENTIALS, RPC_10, Agent, agent_at, quick, served, until

pytestmark = pytest.mark.anyio

MANY = 60

Starting = Callable[[StandIn, str], AbstractAsyncContextManager[Agent]]


@pytest.fixture
def starting(anyio_backend: str, tmp_path: Path) -> Starting:
    """Starts the agent on one file, before an OpenCode that stays."""

    def start(standin: StandIn, url: str) -> AbstractAsyncContextManager[Agent]:
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        settings = Settings(
            opencode_url=url, credentials=CREDENTIALS, task_store_database_url=store, allow_session_claims=True
        )
        return agent_at(anyio_backend, standin, settings)

    return start


def prompted(standin: StandIn) -> list[str]:
    """The texts of the prompts that OpenCode got, in order."""
    prompts = [one for one in standin.requests if one.path.endswith("/prompt_async")]
    return [one.json["parts"][0]["text"] for one in prompts]


@pytest.mark.parametrize("names_session", [False, True], ids=["of a context", "of a session"])
async def test_queued_messages_run_in_their_order_after_a_restart(
    anyio_backend: str, starting: Starting, names_session: bool
) -> None:
    standin = quick()
    texts = [f"ECHO {number}" for number in range(MANY)]
    async with served(anyio_backend, standin) as url:
        session_id = ""
        async with starting(standin, url) as agent:
            if names_session:
                session_id = (await agent.opencode.post("/session", json={})).json()["id"]
            where = {"metadata": {"shared": {"session": {"id": session_id}}}} if names_session else {"contextId": "c"}
            standin.hold(Say)
            for text in texts:
                await agent.caller().send(text, configuration=RPC_10.at_once(), **where)
            await standin.held()
        async with starting(standin, url) as agent:
            standin.release()
            await until(lambda: len(prompted(standin)) == MANY)

    assert prompted(standin) == texts


async def test_messages_run_in_the_order_in_which_their_senders_were_told_of_them(
    anyio_backend: str, starting: Starting
) -> None:
    standin = quick()
    texts = [f"ECHO {number}" for number in range(MANY)]
    async with served(anyio_backend, standin) as url, starting(standin, url) as agent:
        standin.hold(Say)
        for text in texts:
            await agent.caller().send(text, contextId="c", configuration=RPC_10.at_once())
        standin.release()
        await until(lambda: len(prompted(standin)) == MANY)

    assert prompted(standin) == texts


async def test_who_takes_a_place_first_is_first_whoever_enters_first() -> None:
    queues: dict[object, deque[anyio.Event]] = {}
    places = [Turnstile(queues, "key") for _ in range(20)]
    entered: list[int] = []
    assert [place.take_place() for place in places] == [True, *[False] * 19]

    async def enter(number: int) -> None:
        async with places[number]:
            entered.append(number)

    places[5].leave()
    places[5].leave()
    async with anyio.create_task_group() as tasks:
        for number in reversed([one for one in range(20) if one != 5]):
            tasks.start_soon(enter, number)

    assert entered == [one for one in range(20) if one != 5]
    assert queues == {}
