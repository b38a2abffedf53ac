"""Streams that have nothing to say for a while, with every official client over every way it has.

The server's keep-alives come every fifteen seconds, so all streams, on both runtimes, wait for them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import attrs
import httpx
import pytest

from tests.interop.agent import WAYS, Agent, Way, states
from tests.interop.driver import Conversation, Driver, Json
from tests.interop.server import running_server
from tests.real.adapter import Adapter

pytestmark = pytest.mark.interop

RUNTIMES = ("asyncio", "trio")
SECONDS = 60.0


@attrs.frozen
class Stream:
    """A conversation that goes on until its task is cancelled, and the task as it was first told of."""

    conversation: Conversation
    first: Json

    @classmethod
    def of(cls, conversation: Conversation) -> Stream:
        first = conversation.next()
        assert first is not None
        return cls(conversation, first)

    def all(self) -> list[Json]:
        return [self.first, *self.conversation]


@attrs.frozen(kw_only=True)
class Readers:
    """Two readers of one task: the client reads what it has sent in another way than what it subscribes to."""

    agent: Agent
    sender: Stream
    subscriber: Stream

    @classmethod
    def begun(cls, agent: Agent) -> Readers:
        sender = Stream.of(agent.begin("stream", text="SLOW"))
        subscriber = Stream.of(agent.begin("subscribe", task=sender.first["task"]))
        return cls(agent=agent, sender=sender, subscriber=subscriber)

    @property
    def task(self) -> str:
        return str(self.sender.first["task"])


def comments(server: Adapter, task: str) -> Iterator[str]:
    """The comments in a task's stream, as bare HTTP."""
    headers = {"Authorization": f"Bearer {server.token}", "A2A-Version": "1.0"}
    url = f"{server.url}/tasks/{task}:subscribe"
    with httpx.stream("POST", url, headers=headers, timeout=SECONDS, trust_env=False) as response:
        assert response.status_code == 200, response.read()
        yield "begun"
        yield from (line for line in response.iter_lines() if line.startswith(":"))


@pytest.fixture(scope="module")
def readers(
    driver_of: Callable[[str], Driver], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, Way], Readers]]:
    """Readers for each runtime and way, and each had at least one keep-alive."""
    found: dict[tuple[str, Way], Readers] = {}
    with ExitStack() as stack:
        watched: list[Iterator[str]] = []
        for runtime in RUNTIMES:
            server = stack.enter_context(running_server(runtime, tmp_path_factory.mktemp(runtime))).adapter
            for way in WAYS:
                found[runtime, way] = Readers.begun(Agent(way=way, driver=driver_of(way.client), server=server))
            # The server lets all of its streams show that they live at once, so that one more tells of all.
            watched.append(comments(server, found[runtime, WAYS[0]].task))
            assert next(watched[-1]) == "begun"
        for comment in watched:
            assert next(comment).startswith(":")
        yield found


@pytest.mark.operation("stream")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_keep_alives_disturb_no_client(readers: dict[tuple[str, Way], Readers], runtime: str, way: Way) -> None:
    both = readers[runtime, way]

    both.agent.cancel(both.task)

    assert states(both.sender.all())[-1] == "canceled"
    assert states(both.subscriber.all())[-1] == "canceled"
