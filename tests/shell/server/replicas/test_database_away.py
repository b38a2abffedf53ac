"""PostgreSQL fails under tasks at work: they go on, their readers see it, and all is stored once it is back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import httpx
import pytest
from attrs import evolve
from sqlalchemy import create_engine, make_url, select

from opencode_a2a.server import AgentRequest, RunningTask, open_agent
from opencode_a2a.server.store import SharedOptions, StoreUnavailableError, Write
from opencode_a2a.server.store.schema import EVENT
from opencode_a2a.server.tasks import task_runner
from sansio.a2a.model import TaskState
from tests.faults.replicas.relay import Relay
from tests.shell.folding import artifacts_of, reason_of
from tests.shell.harness import CREDENTIALS, REST_10, RPC_10, Caller, Wire, client, served, until
from tests.shell.server.replicas.test_servers import LAST, PLAIN, Counting, Model, Server, whole_text
from tests.shell.server.test_any_agent import CARD, text_of
from tests.shell.store_cases import postgresql_url

__all__ = ["postgresql_url"]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(60),
    # httpx's generators of a stream that is left early
    pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning"),
]
LEASE = 1.0
LONG_LEASE = 30.0  # longer than an outage here, also on a machine that is busy
outages = pytest.mark.parametrize("silent", [False, True], ids=["cut", "silent"])


@asynccontextmanager
async def away(relay: Relay, *, silent: bool) -> AsyncGenerator[None]:
    """The database is away: its connections are cut, or they stay, and nothing comes."""
    if silent:
        relay.silent = True
    else:
        await relay.kill()
    try:
        yield
    finally:
        if silent:
            relay.silent = False
        else:
            await relay.revive()


@asynccontextmanager
async def before_relays(
    backend: str, url: str, agents: Sequence[Counting], lease: float = LEASE
) -> AsyncGenerator[list[tuple[Server, Relay]]]:
    """A server for each agent, with a relay before the database for each."""
    made: list[tuple[Server, Relay]] = []
    async with AsyncExitStack() as stack:
        for agent in agents:
            database = make_url(url)
            relay = await stack.enter_async_context(Relay(database.port or 5432).running())
            through = database.set(port=relay.port).render_as_string(hide_password=False)
            options = evolve(PLAIN, store=through, shared=SharedOptions(lease=lease))
            opening = open_agent(agent, card=CARD, credentials=CREDENTIALS, options=options)
            server = await stack.enter_async_context(opening)
            address = await stack.enter_async_context(served(backend, server.asgi))
            http = await stack.enter_async_context(client(address))
            made.append((Server(agent, server, Caller(http, RPC_10)), relay))
        yield made


def stored_numbers(url: str, task_id: str) -> list[int]:
    """The numbers of a task's events in the store, as its rows have them, in the order of the rows."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    rows = select(EVENT.c.first_seq, EVENT.c.last_seq).where(EVENT.c.task_id == task_id).order_by(EVENT.c.first_seq)
    with engine.connect() as connection:
        found = [number for first, last in connection.execute(rows) for number in range(first, last + 1)]
    engine.dispose()
    return found


async def all_stored(server: Server) -> None:
    """Wait until all that was published is in the store."""
    tasks = server.server.tasks
    await until(
        lambda: (
            not tasks.store.held and all(active.saved == active.log.last for active in tasks.active_tasks.values())
        )
    )


async def unavailable(caller: Caller) -> None:
    """A list and a new message are refused over JSON-RPC and over HTTP, because the store is away."""
    answers: list[httpx.Response] = []

    async def ask(wire: Wire, operation: str) -> None:
        params = {} if operation == "list" else caller.params("count", {})
        answers.append(await Caller(caller.http, wire).ask(operation, params))

    async with anyio.create_task_group() as tasks:
        for wire in (RPC_10, REST_10):
            for operation in ("list", "send"):
                tasks.start_soon(ask, wire, operation)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]
    assert all("STORE_UNAVAILABLE" in answer.text for answer in answers)
    assert all(answer.headers["retry-after"] == "1" for answer in answers)


@outages
async def test_a_turn_goes_on_and_all_of_it_is_stored(anyio_backend: str, postgresql: str, silent: bool) -> None:
    model = Model()
    async with before_relays(anyio_backend, postgresql, [Counting(model)]) as [(one, relay)]:
        async with one.caller.open("count") as stream:
            model.allow(1)
            await stream.until(lambda: stream.text == "1 ")
            async with away(relay, silent=silent):
                for number in range(2, LAST):
                    model.allow(number)
                    await stream.until(lambda: stream.text.endswith(f"{model.allowed} "))
                await unavailable(one.caller)
                await until(lambda: one.server.tasks.store.trouble is not None)
                await unavailable(one.caller)  # known by now, so nobody waits for it
            await until(lambda: one.server.tasks.store.trouble is None)
            model.allow(LAST)
            await stream.whole()
        done = await one.caller.finished(stream.task.id)

    numbers = [event.number for event in stream.events[1:]]
    assert whole_text(stream) == "1 2 3 4 5 "
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert stored_numbers(postgresql, done.id) == list(range(1, numbers[-1] + 1))
    assert [artifact.text for artifact in artifacts_of(done)] == ["1 2 3 4 5 "]
    assert sum(model.runs.values()) == 1


async def test_a_new_task_that_was_stored_though_the_answer_was_lost_is_worked_on(
    anyio_backend: str, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model()
    model.allow(LAST)
    async with before_relays(anyio_backend, postgresql, [Counting(model), Counting(model)]) as [(one, _), (other, _)]:
        store = one.server.tasks.store
        commit = store.commit

        async def unanswered(writes: Sequence[Write] = (), *, keep_events: bool = False) -> None:
            await commit(writes, keep_events=keep_events)
            if writes:
                monkeypatch.undo()
                raise StoreUnavailableError("the connection was lost before the answer came")

        monkeypatch.setattr(store, "commit", unanswered)
        params = one.caller.params("count", {})
        lost = await one.caller.ask("send", params)
        again = await other.caller.ask("send", params)

    assert "STORE_UNAVAILABLE" in lost.text
    assert "TASK_STATE_COMPLETED" in again.text
    assert len(one.agent.recovered + other.agent.recovered) == 1


class Wordy(Counting):
    """Says so many times more for a task whose message is a number."""

    async def run(self, request: AgentRequest, task: RunningTask) -> None:
        number = int(text_of(request.message))
        self.model.runs[task.id] += 1
        for step in range(1, LAST + 1):
            await self.model.wait_for(step)
            task.text(f"{step}" + "." * number, continues=True)


async def test_where_too_much_waits_the_largest_task_fails_and_the_others_go_on(
    anyio_backend: str, postgresql: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(task_runner, "MOST_BYTES", 100_000)
    model = Model()
    async with before_relays(anyio_backend, postgresql, [Wordy(model)], lease=LONG_LEASE) as [(one, relay)]:
        model.allow(1)
        async with one.caller.open("30000") as large, one.caller.open("1") as small:
            await large.until(lambda: large.text)
            await small.until(lambda: small.text)
            await all_stored(one)
            failing = one.server.tasks.active_tasks[large.task.id]
            async with away(relay, silent=False):
                model.allow(2)
                await until(lambda: one.server.tasks.store.trouble is not None)
                model.allow(3)
                await until(lambda: failing.log.state is TaskState.FAILED)
                model.allow(LAST - 1)
                await small.until(lambda: small.text.endswith("4."))
            await until(lambda: not one.server.tasks.store.held)
            model.allow(LAST)
            await small.whole()
        failed = await one.caller.finished(large.task.id)
        done = await one.caller.finished(small.task.id)
        seen = {task.id: await one.caller.subscribe(task.id, 0) for task in (failed, done)}

    assert failed.status.state is TaskState.FAILED
    assert "The database has been away for too long" in reason_of(failed)
    assert [artifact.text for artifact in artifacts_of(failed)] == [
        "".join(f"{step}{'.' * 30_000}" for step in (1, 2, 3))
    ]
    assert done.status.state is TaskState.COMPLETED
    assert [artifact.text for artifact in artifacts_of(done)] == ["1.2.3.4.5."]
    for task_id, again in seen.items():
        stored = stored_numbers(postgresql, task_id)
        assert stored == list(range(1, again.events[-1].number + 1))
    said = [record.getMessage() for record in caplog.records if "wait for the store:" in record.getMessage()]
    assert ["fail" in line for line in said] == [True, False]


async def test_an_end_within_an_outage_reaches_a_reader_elsewhere_after_all_that_came_before(
    anyio_backend: str, postgresql: str
) -> None:
    model = Model()
    agents = [Counting(model), Counting(model)]
    async with before_relays(anyio_backend, postgresql, agents, lease=LONG_LEASE) as [(one, relay), (other, _)]:
        model.allow(1)
        async with one.caller.open("count") as stream:
            await stream.until(lambda: stream.text == "1 ")
            task_id = stream.task.id
            async with other.caller.subscribed(task_id) as elsewhere:
                async with away(relay, silent=False):
                    model.allow(LAST)
                    await until(lambda: one.server.tasks.store.trouble is not None)
                await elsewhere.whole()
    numbers = [event.number for event in elsewhere.events[1:]]

    assert (whole_text(elsewhere), elsewhere.state) == ("1 2 3 4 5 ", "completed")
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert stored_numbers(postgresql, task_id) == list(range(1, numbers[-1] + 1))
    assert sum(model.runs.values()) == 1


async def test_a_server_that_is_cut_off_for_longer_than_its_lease_loses_its_task_once(
    anyio_backend: str, postgresql: str
) -> None:
    model = Model()
    agents = [Counting(model), Counting(model)]
    async with before_relays(anyio_backend, postgresql, agents) as [(one, relay), (other, _)]:
        model.allow(1)
        async with one.caller.open("count") as stream:
            await stream.until(lambda: stream.text == "1 ")
            task_id = stream.task.id
            async with other.caller.subscribed(task_id) as elsewhere:
                await all_stored(one)
                async with away(relay, silent=False):
                    model.allow(2)
                    await until(lambda: agents[1].recovered == [task_id])
                    model.allow(LAST)
                    await elsewhere.whole()
                await until(lambda: one.server.tasks.store.trouble is None and not one.server.tasks.active_tasks)
            done = await one.caller.finished(task_id)

    numbers = [event.number for event in elsewhere.events[1:]]
    assert whole_text(elsewhere) == "1 2 3 4 5 "
    assert numbers == sorted(set(numbers))
    assert [artifact.text for artifact in artifacts_of(done)] == ["1 2 3 4 5 "]
    assert model.runs == {task_id: 1}


async def test_after_an_outage_longer_than_all_leases_the_tasks_go_on_where_they_were(
    anyio_backend: str, postgresql: str
) -> None:
    model = Model()
    agents = [Counting(model), Counting(model)]
    async with before_relays(anyio_backend, postgresql, agents) as [(one, relay), (_, other_relay)]:
        model.allow(1)
        async with one.caller.open("count") as stream:
            await stream.until(lambda: stream.text == "1 ")
            async with away(relay, silent=False), away(other_relay, silent=False):
                model.allow(3)
                await stream.until(lambda: stream.text == "1 2 3 ")
                await anyio.sleep(1.2 * LEASE)
            await until(lambda: one.server.tasks.store.trouble is None)
            model.allow(LAST)
            await stream.whole()
        done = await one.caller.finished(stream.task.id)

    numbers = [event.number for event in stream.events[1:]]
    assert (whole_text(stream), stream.state) == ("1 2 3 4 5 ", "completed")
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert stored_numbers(postgresql, done.id) == list(range(1, numbers[-1] + 1))
    assert [agent.recovered for agent in agents] == [[], []]
    assert model.runs == {done.id: 1}
