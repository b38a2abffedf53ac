"""A server that others may have taken over shows and stores nothing of what it remembers: tasks go on without it."""

from __future__ import annotations

import anyio
import pytest
from attrs import define, field

from opencode_a2a.server import AgentRequest, RunningTask
from opencode_a2a.server.tasks.active_task import SAVE_EVERY
from sansio.a2a.model import TaskState
from tests.shell.folding import artifacts_of
from tests.shell.harness import RPC_10, until
from tests.shell.server.replicas.test_database_away import all_stored, away, before_relays, stored_numbers
from tests.shell.server.replicas.test_servers import LAST, Counting, Model
from tests.shell.store_cases import postgresql_url

__all__ = ["postgresql_url"]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(60),
    # httpx's generators of a stream that is left early
    pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning"),
]


async def test_a_task_that_has_ended_elsewhere_is_not_shown_as_it_was(anyio_backend: str, postgresql: str) -> None:
    model = Model()
    agents = [Counting(Model()), Counting(model)]
    async with before_relays(anyio_backend, postgresql, agents) as [(one, relay), (other, _)]:
        params = one.caller.params("count", {"contextId": "c", "messageId": "m"})
        begun = await one.caller.send("count", contextId="c", messageId="m", configuration=RPC_10.at_once())
        await all_stored(one)
        async with away(relay, silent=False):
            await until(lambda: agents[1].recovered == [begun.id])
            model.allow(LAST)
            done = await other.caller.finished(begun.id)
            requests = {"get": {"id": begun.id}, "list": {}, "subscribe": {"id": begun.id}, "send": params}
            refused = [(await one.caller.ask(name, asked)).text for name, asked in requests.items()]
        await until(lambda: one.server.tasks.store.trouble is None)
        found = await one.caller.get(begun.id)

    assert ["STORE_UNAVAILABLE" in answer for answer in refused] == [True] * 4
    assert found == done
    assert [artifact.text for artifact in artifacts_of(done)] == ["1 2 3 4 5 "]


async def test_a_cancellation_that_was_never_stored_ends_with_the_lease(
    anyio_backend: str, postgresql: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model()
    agents = [Counting(Model()), Counting(model)]
    async with before_relays(anyio_backend, postgresql, agents) as [(one, relay), (other, _)]:
        begun = await one.caller.send("count", configuration=RPC_10.at_once())
        async with away(relay, silent=False):
            refused = await one.caller.ask("cancel", {"id": begun.id})
            await until(lambda: agents[1].recovered == [begun.id])
            model.allow(LAST)
            done = await other.caller.finished(begun.id)
        ended = f"task {begun.id}: another server"  # of its work, of the cancellation, perhaps of a commit
        await until(lambda: caplog.text.count(ended) >= 2)
        agents[0].model.allow(LAST)
        fresh = await one.caller.send("count")
        found = await one.caller.get(begun.id)

    assert "STORE_UNAVAILABLE" in refused.text
    assert (done.status.state, fresh.status.state) == (TaskState.COMPLETED, TaskState.COMPLETED)
    assert found == done


@define(eq=False)
class Late(Counting):
    """Publishes once more after it was stopped, when it is let."""

    goes_on: anyio.Event = field(factory=anyio.Event)

    async def run(self, request: AgentRequest, task: RunningTask) -> None:
        try:
            await super().run(request, task)
        except BaseException:
            with anyio.move_on_after(5, shield=True):
                await self.goes_on.wait()
                task.text("late ", continues=True)
                await anyio.sleep(2 * SAVE_EVERY)
            raise


async def test_what_is_published_after_the_loss_is_not_stored(anyio_backend: str, postgresql: str) -> None:
    model = Model()
    late = Late(Model())
    agents = [late, Counting(model)]
    async with before_relays(anyio_backend, postgresql, agents) as [(one, relay), (other, _)]:
        ownership = one.server.tasks.store.ownership
        before = ownership.replica_id
        begun = await one.caller.send("count", configuration=RPC_10.at_once())
        await all_stored(one)
        async with away(relay, silent=False):
            await until(lambda: agents[1].recovered == [begun.id])
            model.allow(LAST)
            done = await other.caller.finished(begun.id)
        await until(lambda: ownership.replica_id != before and ownership.lease and ownership.lease.servers == 2)
        await one.caller.send("count", configuration=RPC_10.at_once())  # its store is well again
        numbers = stored_numbers(postgresql, begun.id)
        late.goes_on.set()
        await until(lambda: begun.id not in one.server.tasks.active_tasks)
        found = [await server.caller.get(begun.id) for server in (one, other)]

    assert found == [done, done]
    assert stored_numbers(postgresql, begun.id) == numbers
