"""Every official client before three servers on one database: nginx gives each request to the next of them.

The tests are those of one server, chosen so that what a client begins on one server goes on at others.
`INTEROP_REPLICAS=1` runs all of the others so, too. A client of WebSocket goes on at another server, too.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from opencode_a2a.fake_opencode.scripts import HELLO
from tests.interop.agent import SOCKETS, Agent, states
from tests.interop.driver import Driver
from tests.interop.server import WITH_WEBSOCKET, Served, running_replicas
from tests.interop.test_interrupts import (
    test_a_permission_is_given_by_a_message,
    test_a_question_ends_its_stream_and_the_answers_own_goes_on,
)
from tests.interop.test_talking import test_a_context_goes_on, test_what_a_stream_told_is_what_the_task_holds

__all__ = [
    "test_a_context_goes_on",
    "test_a_permission_is_given_by_a_message",
    "test_a_question_ends_its_stream_and_the_answers_own_goes_on",
    "test_what_a_stream_told_is_what_the_task_holds",
]

pytestmark = pytest.mark.interop


@pytest.fixture(scope="session", params=["replicas"])
def served(replicas: Served) -> Served:
    return replicas


def test_a_stream_over_websocket_goes_on_at_another_server(
    driver_of: Callable[[str], Driver], tmp_path_factory: pytest.TempPathFactory
) -> None:
    client = driver_of(SOCKETS[0].client)
    with running_replicas(tmp_path_factory.mktemp("sockets"), WITH_WEBSOCKET) as served:
        agent = Agent(way=SOCKETS[0], driver=client, server=served.adapter)
        served.hold()
        servers, items = [], []
        for item in agent.begin("moved", text="hi"):
            if item["kind"] != "server":
                items.append(item)
                continue
            servers.append(item["name"])
            if len(servers) == 2:
                served.release()
        task = agent.get(items[0]["task"])

    numbers = [item["event"] for item in items]
    assert len(set(servers)) == 2
    assert numbers == sorted(numbers)
    assert states(items)[-1] == task["state"] == "completed"
    assert HELLO in agent.texts(items).values()
