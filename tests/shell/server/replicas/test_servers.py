"""Servers of one agent on one PostgreSQL: whoever is asked shows the same task, and none is lost with its server."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NoReturn

import anyio
import pytest
from anyio.abc import TaskStatus
from attrs import define, field
from sqlalchemy import create_engine, make_url

from opencode_a2a.server import AgentHooks, AgentRequest, AgentServer, RunningTask, ServerOptions, open_agent
from opencode_a2a.server.agent import Work
from opencode_a2a.server.store import SharedOptions
from opencode_a2a.server.store.schema import REPLICA
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.model import TaskState, TextPart
from tests.shell.cases import every_codec
from tests.shell.folding import artifacts_of
from tests.shell.harness import CREDENTIALS, DEADLINE, RPC_10, Caller, Stream, Wire, client, served, until
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
LAST = 5  # number that ends a count


@define(eq=False)
class Model:
    """What all servers' agents ask: it lets the next number be said, and outlives them."""

    allowed: int = 0
    runs: Counter[str] = field(factory=Counter)
    stopped: int = 0
    _changed: Wakeup = field(factory=Wakeup)

    def allow(self, number: int) -> None:
        self.allowed = number
        self._changed.wake()

    async def wait_for(self, number: int) -> None:
        while self.allowed < number:
            await self._changed.wait()


@define(eq=False)
class Counting(AgentHooks):
    """Counts to `LAST`, and goes on from where another server's agent has stopped."""

    model: Model
    recovered: list[str] = field(factory=list)

    async def accept(self, request: AgentRequest) -> None:
        """Take any message."""

    async def run(self, request: AgentRequest, task: RunningTask) -> None:
        self.model.runs[task.id] += 1
        if text_of(request.message) == "ASK":
            task.text(f"You said {text_of(await task.ask('Which one?'))}")
            return
        await self._count(task, 1)

    def recover(self, request: AgentRequest, task: RunningTask) -> Work:
        self.recovered.append(task.id)
        parts = [part for answer in task.active.task().artifacts for part in answer.parts]
        said = "".join(part.text for part in parts if isinstance(part, TextPart))
        return self._count(task, len(said.split()) + 1)

    async def _count(self, task: RunningTask, first: int) -> None:
        try:
            for number in range(first, LAST + 1):
                await self.model.wait_for(number)
                task.text(f"{number} ", continues=True)
        except BaseException:
            self.model.stopped += 1
            raise


@define(eq=False)
class Server:
    """One of the servers."""

    agent: Counting
    server: AgentServer
    caller: Caller
    ending: anyio.Event = field(factory=anyio.Event)
    ended: anyio.Event = field(factory=anyio.Event)

    async def close(self) -> None:
        """Let it end in order, as at SIGTERM, once it has drained."""
        self.server.tasks.leave()
        self.ending.set()
        await self.ended.wait()


@asynccontextmanager
async def several(
    backend: str, url: str, count: int = 2, wire: Wire = RPC_10
) -> AsyncGenerator[tuple[Model, list[Server]]]:
    """Servers, each in a task of its own, so that they can end in any order."""
    model = Model()
    options = ServerOptions(store=url, shared=SharedOptions(lease=LEASE))
    servers: list[Server] = []

    async def run(*, task_status: TaskStatus[None]) -> None:
        agent = Counting(model)
        async with (
            open_agent(agent, card=CARD, credentials=CREDENTIALS, options=options) as server,
            served(backend, server.asgi) as address,
            client(address) as http,
        ):
            made = Server(agent, server, Caller(http, wire))
            servers.append(made)
            task_status.started()
            await made.ending.wait()
        made.ended.set()

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            await tasks.start(run)
        yield model, servers
        for server in servers:
            server.ending.set()


def whole_text(stream: Stream) -> str:
    """The answer as the last chunk has it, which is whole."""
    last = stream.chunks[-1]
    assert last.last_chunk
    assert not last.append
    return "".join(part.text for part in last.artifact.parts if isinstance(part, TextPart))


@every_codec
async def test_a_stream_on_another_server_has_the_same_events_each_once(
    anyio_backend: str, postgresql: str, wire: Wire
) -> None:
    async with several(anyio_backend, postgresql, wire=wire) as (model, (one, other)):
        async with one.caller.open("count") as stream:
            model.allow(1)
            await stream.until(lambda: stream.text == "1 ")
            async with other.caller.subscribed(stream.task.id) as elsewhere:
                for number in range(2, LAST + 1):
                    model.allow(number)
                    await stream.until(lambda: stream.text.endswith(f"{model.allowed} ") or stream.ended)
                await stream.whole()
                await elsewhere.whole()
            again = await other.caller.subscribe(stream.task.id, 0)
        task = await other.caller.get(stream.task.id)

    assert whole_text(stream) == whole_text(elsewhere) == whole_text(again) == "1 2 3 4 5 "
    assert stream.state == elsewhere.state == "completed"
    numbers = [event.number for event in elsewhere.events[1:]]
    assert numbers == sorted(set(numbers))
    shown = {event.number: event.json for event in stream.events[1:]}
    assert {event.number: event.json for event in elsewhere.events[1:]}.items() <= shown.items()
    assert [one.text for one in artifacts_of(task)] == ["1 2 3 4 5 "]
    assert sum(model.runs.values()) == 1


async def test_a_task_is_read_and_listed_anywhere_while_it_runs(anyio_backend: str, postgresql: str) -> None:
    async with several(anyio_backend, postgresql) as (model, (one, other)):
        model.allow(2)
        task = await one.caller.send("count", configuration=RPC_10.at_once())
        with anyio.fail_after(DEADLINE):
            while True:
                found = await other.caller.get(task.id)
                if [one.text for one in artifacts_of(found)] == ["1 2 "]:
                    break
        model.allow(LAST)
        done = await other.caller.finished(task.id)

    assert found.status.state is TaskState.WORKING
    assert done.status.state is TaskState.COMPLETED


async def test_the_tasks_of_a_server_that_ends_go_on_in_another_and_so_do_their_readers(
    anyio_backend: str, postgresql: str
) -> None:
    async with several(anyio_backend, postgresql) as (model, (one, other)):
        model.allow(2)
        async with one.caller.open("count") as stream:
            await stream.until(lambda: stream.text == "1 2 ")
            task_id = stream.task.id
            async with other.caller.subscribed(task_id) as elsewhere:
                await anyio.sleep(0.3)  # until what was said is stored
                await one.server.tasks.drain(0.1)
                await stream.whole()
                await one.close()
                await until(lambda: other.agent.recovered == [task_id])
                model.allow(LAST)
                await elsewhere.whole()
        resumed = await other.caller.subscribe(task_id, stream.events[-1].number)

    assert stream.statuses[-1].status.state is TaskState.WORKING  # its stream ended without an end of the task
    assert whole_text(elsewhere) == "1 2 3 4 5 "
    assert elsewhere.state == resumed.state == "completed"
    numbers = [event.number for event in elsewhere.events[1:]]
    assert numbers == sorted(set(numbers))
    assert model.runs[task_id] == 1


async def test_a_server_whose_lease_was_taken_stops_and_another_goes_on(anyio_backend: str, postgresql: str) -> None:
    async with several(anyio_backend, postgresql) as (model, (one, other)):
        model.allow(2)
        async with one.caller.open("count") as stream:
            await stream.until(lambda: stream.text == "1 2 ")
            task_id = stream.task.id
            before = one.server.tasks.store.ownership.replica_id
            take_lease(postgresql, before)
            await until(lambda: [*one.agent.recovered, *other.agent.recovered] == [task_id])
            assert model.stopped == 1
            model.allow(LAST)
            await stream.whole()
        done = await other.caller.finished(task_id)
        after = one.server.tasks.store.ownership.replica_id
        fresh = await one.caller.send("count")

    assert stream.statuses[-1].status.state is TaskState.WORKING
    assert [one.text for one in artifacts_of(done)] == ["1 2 3 4 5 "]
    assert model.runs == {task_id: 1, fresh.id: 1}
    assert after not in (None, before)
    assert fresh.status.state is TaskState.COMPLETED


def take_lease(url: str, replica_id: str | None) -> None:
    """Remove a server, as another does that finds its lease over."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(REPLICA.delete().where(REPLICA.c.replica_id == replica_id))
    engine.dispose()


async def test_one_message_at_two_servers_at_once_is_one_task(anyio_backend: str, postgresql: str) -> None:
    async with several(anyio_backend, postgresql, 3) as (model, servers):
        model.allow(LAST)
        found: list[str] = []

        async def send(server: Server, number: int) -> None:
            more = {"messageId": f"m-{number}", "contextId": "c"}
            found.append((await server.caller.send("count", **more)).id)

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                for server in servers:
                    tasks.start_soon(send, server, number)

    assert len(found) == 15
    assert model.runs == dict.fromkeys(found, 1)
    assert len(model.runs) == 5


async def test_a_task_is_canceled_through_any_server(anyio_backend: str, postgresql: str) -> None:
    async with several(anyio_backend, postgresql) as (model, (one, other)):
        async with one.caller.open("count") as stream:
            model.allow(1)
            await stream.until(lambda: stream.text == "1 ")
            canceled = await other.caller.cancel(stream.task.id)
            await stream.whole()
        again = await other.caller.cancel(stream.task.id)

    assert again == canceled
    assert canceled.status.state is TaskState.CANCELED
    assert stream.state == "canceled"
    assert model.stopped == 1


@pytest.mark.parametrize("names", ["the task", "its context"])
async def test_a_question_is_answered_through_any_server_once(
    anyio_backend: str, postgresql: str, names: str
) -> None:
    async with several(anyio_backend, postgresql, 3) as (_, (one, other, third)):
        task = await one.caller.send("ASK", contextId="c")
        assert task.status.state is TaskState.INPUT_REQUIRED
        named = {"taskId": task.id} if names == "the task" else {"contextId": "c"}
        async with third.caller.subscribed(task.id) as stream:
            done = await other.caller.send("the blue one", messageId="answer", **named)
            await stream.whole()
        again = await third.caller.send("the blue one", messageId="answer", **named)

    assert done.id == again.id == task.id
    assert done.status.state is TaskState.COMPLETED
    assert [one.text for one in artifacts_of(done)] == ["You said the blue one"]
    assert whole_text(stream) == "You said the blue one"


async def test_what_the_owner_refuses_is_refused_everywhere_in_the_same_words(
    anyio_backend: str, postgresql: str
) -> None:
    async with several(anyio_backend, postgresql) as (_, (one, other)):
        task = await one.caller.send("count", configuration=RPC_10.at_once())
        here, there = [await server.caller.refused("send", "more", taskId=task.id) for server in (one, other)]

    assert "is being worked on" in here["message"]
    assert here == there


async def test_a_command_for_a_server_that_dies_reaches_the_next_owner(anyio_backend: str, postgresql: str) -> None:
    async with several(anyio_backend, postgresql) as (_, (one, other)):
        task = await one.caller.send("count", configuration=RPC_10.at_once())
        found: list[TaskState] = []

        async def cancel() -> None:
            found.append((await other.caller.cancel(task.id)).status.state)

        one.server.tasks.operations.cancel = hangs  # type: ignore[method-assign]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            await anyio.sleep(0.3)
            await one.server.tasks.drain(0.1)
            await one.close()

    assert found == [TaskState.CANCELED]


async def hangs(*_given: object, **_more: object) -> NoReturn:
    """Take a command, and never answer it."""
    await anyio.sleep_forever()
    raise AssertionError
