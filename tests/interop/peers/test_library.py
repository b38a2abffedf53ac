"""What the commands do not offer, through the client library: push configurations and the extended card."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from opencode_a2a.client import ClientOptions, connect
from opencode_a2a.server.runtimes import find_runtime
from sansio.a2a.model import PushConfig, Task
from sansio.redact import Secret
from tests.interop.agent import Way
from tests.interop.peers.peer import OF_NAME, WAYS
from tests.real.adapter import TOKEN

pytestmark = pytest.mark.interop

PUSHING = [way for way in WAYS if (way.client, way.version) == ("a2a-sdk 1", "1.0") or way.client == "opencode-a2a"]
"""On 0.3, a2a-sdk 1 answers a deletion with neither result nor error, and has no list over HTTP+JSON."""
RUNS = [(way, ("asyncio", "trio")[number % 2]) for number, way in enumerate(PUSHING)]


@pytest.mark.parametrize(("way", "runtime"), RUNS, ids=str)
def test_push_configurations_and_the_extended_card(way: Way, runtime: str, url_of: Callable[[str], str]) -> None:
    url = url_of(way.client)
    options = ClientOptions(bearer=Secret(TOKEN), version=way.version, bindings=(way.binding,))

    async def run() -> None:
        async with connect(url, options) as agent:
            task = await agent.send(OF_NAME[way.client].prompts.plain)
            assert isinstance(task, Task)
            wanted = PushConfig(id="mine", url="http://127.0.0.1:9/push", task_id=task.id)
            made = await agent.set_push_config(wanted)
            read = await agent.get_push_config(task.id, "mine")
            listed = await agent.list_push_configs(task.id)
            await agent.delete_push_config(task.id, "mine")
            left = await agent.list_push_configs(task.id)
            card = await agent.extended_card()

        assert (made.url, read.url) == (wanted.url, wanted.url)
        assert [one.id for one in listed.configs] == ["mine"]
        assert left.configs == ()
        assert card["name"]

    find_runtime(runtime).run(run)
