"""The metrics of servers that share a database: who has a lease, what went from one to another, what is asked."""

from __future__ import annotations

from typing import NoReturn

import anyio
import pytest

from opencode_a2a.metrics.prometheus import PrometheusMeters
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import TaskState
from sansio.a2a.replicas.commands import AgentCommand, Cancel
from tests.shell.harness import DEADLINE, RPC_10, until
from tests.shell.server.http.test_metrics import samples
from tests.shell.server.replicas.test_servers import LAST, Server, hangs, several, take_lease
from tests.shell.store_cases import postgresql_url

__all__ = ["postgresql_url"]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(60),
    # httpx's generators of a stream that is left early
    pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning"),
]


class Scraper:
    """The metrics of one server, by their names without `a2a_`, and with the value of the label, if any."""

    def __init__(self, server: Server) -> None:
        self._meters = PrometheusMeters()
        server.server.tasks.watch(self._meters)

    async def read(self) -> dict[str, float]:
        """Scrape."""
        found = samples((await self._meters.text()).decode())
        return {
            " ".join((name.removeprefix("a2a_"), *labels)): value
            for (name, labels), value in found.items()
            if name.startswith("a2a_replica")
        }

    async def until(self, **expected: float) -> dict[str, float]:
        """Scrape until metrics have some values."""
        with anyio.fail_after(DEADLINE):
            while True:
                found = await self.read()
                if expected.items() <= found.items():
                    return found
                await anyio.sleep(0.02)


def outcomes(found: dict[str, float], direction: str) -> dict[str, float]:
    """The commands that were `sent` or `received`, by their outcome, without those that did not occur."""
    prefix = f"replica_commands_{direction}_total "
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix) and value}


async def test_servers_that_are_alive_are_counted_and_a_lease_that_is_taken_is_seen_with_its_tasks(
    anyio_backend: str, postgresql: str
) -> None:
    async with several(anyio_backend, postgresql) as (model, (one, other)):
        scrapers = [Scraper(one), Scraper(other)]
        begun = [await scraper.until(replicas_alive=2) for scraper in scrapers]
        model.allow(2)
        async with one.caller.open("count") as stream:
            await stream.until(lambda: stream.text == "1 2 ")
            async with other.caller.subscribed(stream.task.id):
                following = await scrapers[1].until(replica_tasks_followed=1)
            take_lease(postgresql, one.server.tasks.store.ownership.replica_id)
            await until(lambda: [*one.agent.recovered, *other.agent.recovered] == [stream.task.id])
            lost = await scrapers[0].until(replica_lease_lost_total=1, replica_lease_held=1, replicas_alive=2)
            model.allow(LAST)
            await stream.whole()
        await other.caller.finished(stream.task.id)
        ended = [await scraper.read() for scraper in scrapers]

    for found in begun:
        assert found["replica_lease_held"] == 1
        assert 0 <= found["replica_lease_age_seconds"] < DEADLINE
        events = {name: value for name, value in found.items() if "_total" in name}
        assert len(events) == 14
        assert set(events.values()) == {0}
    assert following["replica_tasks_adopted_total"] == 0
    assert lost["replica_tasks_lost_total"] == 1
    assert sum(found["replica_tasks_adopted_total"] for found in ended) == 1
    assert sum(found["replica_tasks_lost_total"] for found in ended) == 1
    assert ended[1]["replica_tasks_followed"] == 0
    assert ended[1]["replica_lease_lost_total"] == 0


async def test_commands_are_counted_by_what_became_of_them_where_they_come_from_and_where_they_go(
    anyio_backend: str, postgresql: str
) -> None:
    async with several(anyio_backend, postgresql) as (_, (one, other)):
        scrapers = [Scraper(one), Scraper(other)]
        first, second = [await one.caller.send("count", configuration=RPC_10.at_once()) for _ in range(2)]
        canceled = await other.caller.cancel(first.id)
        await other.caller.refused("send", "more", taskId=second.id)
        principal = (await one.server.tasks.store.task(second.id)).row.principal  # type: ignore[union-attr]
        others = other.server.tasks.others
        wrong = AgentCommand(principal=principal, name="has", arguments={})
        with pytest.raises(ProtocolError, match="error"):
            await others.ask_owner(second.id, wrong)
        reached: list[object] = []

        async def hanging(*given: object, **_more: object) -> NoReturn:
            reached.append(given)
            await hangs()

        one.server.tasks.operations.cancel = hanging  # type: ignore[method-assign]
        cancel = Cancel(principal=principal, task_id=second.id, again=False)
        while not others.counts.sent["unanswered"]:  # a slow machine has not sent it by then
            with anyio.move_on_after(0.3):
                await others.ask_owner(second.id, cancel)
        await until(lambda: len(reached) == 1)
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(others.ask_owner, second.id, cancel)
            await until(lambda: len(reached) == 2)
            leaving.cancel_scope.cancel()
        asked = outcomes(await scrapers[1].read(), "sent")
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(other.caller.cancel, second.id)
            await until(lambda: len(reached) == 3)
            await one.server.tasks.drain(0.1)
            received = outcomes(await scrapers[0].read(), "received")
            await one.close()
        last = await scrapers[1].until(replicas_alive=1)

    assert canceled.status.state is TaskState.CANCELED
    assert asked == {"answered": 1, "refused": 2, "unanswered": 1, "withdrawn": 1}
    assert received == {"answered": 1, "refused": 1, "failed": 1}
    assert outcomes(last, "sent") == {**asked, "gone": 1}
    assert last["replica_tasks_adopted_total"] == 1
    assert last["replica_takeovers_total"] == 0  # it stopped in order
