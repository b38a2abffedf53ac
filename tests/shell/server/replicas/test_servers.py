"""Servers of one agent on one PostgreSQL: whoever is asked shows the same task, and none is lost with its server."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import anyio
import httpx
import pytest
from anyio.abc import TaskStatus
from attrs import define, evolve, field
from sqlalchemy import create_engine, make_url, select

from opencode_a2a.server import AgentHooks, AgentRequest, AgentServer, RunningTask, ServerOptions, open_agent
from opencode_a2a.server.agent import Work
from opencode_a2a.server.replicas import relay
from opencode_a2a.server.store import SharedOptions
from opencode_a2a.server.store.schema import COMMAND, REPLICA
from opencode_a2a.server.task_server import TaskLimits
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import JsonObject, TaskIdRequest, TaskState, TextPart
from sansio.a2a.replicas.commands import AgentCommand
from sansio.outbound import OutboundPolicy
from tests.shell.cases import every_http_json_codec
from tests.shell.folding import artifacts_of
from tests.shell.harness import BOB, CREDENTIALS, DEADLINE, RPC_10, Caller, Stream, Wire, client, served, until
from tests.shell.push_receiver import OK, PushReceiver, answer, receiving
from tests.shell.server.test_any_agent import CARD, text_of
from tests.shell.store_cases import postgresql_url

__all__ = ["postgresql_url"]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(60),
    # httpx's generators of a stream that is left early
    pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning"),
]

LEASE = 3.0  # a busy machine renews one of a second too late
PLAIN = ServerOptions()
PUSHING = ServerOptions(outbound=OutboundPolicy(allow_private=True))
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
    ran: list[str] = field(factory=list)
    refuses: bool = False

    async def command(self, principal: str, name: str, arguments: JsonObject) -> object:
        """Whether this server runs a task."""
        if self.refuses:
            raise ProtocolError(ErrorKind.RATE_LIMITED, "no more")
        return arguments["task"] if arguments["task"] in self.ran else None

    async def accept(self, request: AgentRequest) -> None:
        """Take any message."""

    async def run(self, request: AgentRequest, task: RunningTask) -> None:
        self.model.runs[task.id] += 1
        self.ran.append(task.id)
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
    backend: str, url: str, count: int = 2, wire: Wire = RPC_10, options: ServerOptions = PLAIN
) -> AsyncGenerator[tuple[Model, list[Server]]]:
    """Servers, each in a task of its own, so that they can end in any order."""
    model = Model()
    options = evolve(options, store=url, shared=SharedOptions(lease=LEASE))
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


@every_http_json_codec
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
            await until(lambda: model.stopped == 1)
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


async def test_an_answer_of_a_megabyte_travels_in_a_row_that_goes_with_it(
    anyio_backend: str, postgresql: str
) -> None:
    said = "ä " * 350_000
    async with several(anyio_backend, postgresql) as (_, (one, other)):
        task = await one.caller.send("ASK")
        done = await other.caller.send(said, taskId=task.id)
        left = rows_of_commands(postgresql)

    assert [artifact.text for artifact in artifacts_of(done)] == [f"You said {said}"]
    assert left == 0


def rows_of_commands(url: str) -> int:
    """The number of commands in the database, answered or not."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        count = len(connection.execute(select(COMMAND.c.command_id)).all())
    engine.dispose()
    return count


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


async def test_one_principals_commands_leave_places_for_others_and_end_in_time(
    anyio_backend: str, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MOST_ASKED_OF_EACH", 3)
    monkeypatch.setattr(relay, "MOST_DONE_OF_EACH", 2)
    monkeypatch.setattr(relay, "LONGEST", 1.0)
    async with (
        several(anyio_backend, postgresql) as (_, (one, other)),
        client(str(other.caller.http.base_url), BOB) as http,
        client(str(one.caller.http.base_url), BOB) as owner_http,
    ):
        mine = await one.caller.send("count", configuration=RPC_10.at_once())
        his = await Caller(owner_http, RPC_10).send("count", configuration=RPC_10.at_once())
        cancel = one.server.tasks.operations.cancel
        begun: list[str] = []

        async def cancels(principal: str, request: TaskIdRequest, **how: bool) -> ActiveTask:
            begun.append(principal)
            return await (hangs() if principal == "alice" else cancel(principal, request, **how))

        one.server.tasks.operations.cancel = cancels  # type: ignore[method-assign]
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await other.caller.ask("cancel", {"id": mine.id}))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
            await until(lambda: len(begun) == 2)
            too_many = await other.caller.ask("cancel", {"id": mine.id})
            meanwhile = await Caller(http, RPC_10).cancel(his.id)
        one.server.tasks.operations.cancel = cancel  # type: ignore[method-assign]
        after = await other.caller.cancel(mine.id)

    assert meanwhile.status.state is after.status.state is TaskState.CANCELED
    assert Counter(begun) == {"alice": 3, "bob": 1}
    assert [one.json()["error"]["data"][0]["reason"] for one in (*answers, too_many)] == ["OVERLOADED"] * 4
    assert all("does not answer now" in one.json()["error"]["message"] for one in answers)
    assert "Too many requests wait" in too_many.json()["error"]["message"]
    assert {one.headers["retry-after"] for one in (*answers, too_many)} == {"1"}


async def test_a_server_that_was_taken_over_asks_again(anyio_backend: str, postgresql: str) -> None:
    async with several(anyio_backend, postgresql) as (_, (one, other)):
        task = await one.caller.send("count", configuration=RPC_10.at_once())
        cancel = one.server.tasks.operations.cancel
        found: list[TaskState] = []
        asked = anyio.Event()

        async def hanging(*given: object, **more: object) -> NoReturn:
            asked.set()
            await hangs(*given, **more)

        async def ask() -> None:
            found.append((await other.caller.cancel(task.id)).status.state)

        one.server.tasks.operations.cancel = hanging  # type: ignore[method-assign]
        before = other.server.tasks.store.ownership.replica_id
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await asked.wait()
            one.server.tasks.operations.cancel = cancel  # type: ignore[method-assign]
            take_lease(postgresql, before)
        after = other.server.tasks.store.ownership.replica_id

    assert found == [TaskState.CANCELED]
    assert after != before


async def hangs(*_given: object, **_more: object) -> NoReturn:
    """Take a command, and never answer it."""
    await anyio.sleep_forever()
    raise AssertionError


async def test_an_agents_own_command_finds_the_server_that_it_concerns(anyio_backend: str, postgresql: str) -> None:
    async with several(anyio_backend, postgresql, 3) as (_, servers):
        first, second = [await server.caller.send("ASK") for server in servers[:2]]
        principal = (await servers[0].server.tasks.store.task(first.id)).row.principal  # type: ignore[union-attr]
        others = servers[2].server.tasks.others

        def command(task_id: str) -> AgentCommand:
            return AgentCommand(principal=principal, name="has", arguments={"task": task_id})

        everywhere = [await others.ask_any(command(task_id)) for task_id in (first.id, second.id, "none")]
        listed = await others.ask_all(command(first.id))
        servers[1].agent.refuses = True
        with pytest.raises(ProtocolError, match="no more") as refused:
            await others.ask_all(command(second.id))

    assert everywhere == [first.id, second.id, None]
    assert [found for found in listed if found is not None] == [first.id]
    assert refused.value.kind is ErrorKind.RATE_LIMITED


async def test_the_limit_of_tasks_holds_among_all_servers(anyio_backend: str, postgresql: str) -> None:
    options = ServerOptions(limits=TaskLimits(tasks_per_principal=2))
    async with several(anyio_backend, postgresql, 3, options=options) as (model, servers):
        taken: list[str] = []
        refused: list[str] = []

        async def send(server: Server) -> None:
            params = server.caller.params("count", {"configuration": RPC_10.at_once()})
            body = (await server.caller.ask("send", params)).json()
            if "error" in body:
                refused.append(body["error"]["message"])
            else:
                taken.append(body["result"]["task"]["id"])

        async with anyio.create_task_group() as tasks:
            for server in servers * 3:
                tasks.start_soon(send, server)
        model.allow(LAST)
        for task_id in taken:
            await servers[0].caller.finished(task_id)
        next_one = await servers[1].caller.send("count")
        page = await servers[2].caller.page()

    assert (len(taken), len(refused)) == (2, 7)
    assert "the most there may be" in refused[0]
    assert len(page["tasks"]) == 2
    assert page["tasks"][0]["id"] == next_one.id


@pytest.mark.parametrize("names", ["the task", "its context"])
async def test_of_answers_at_several_servers_at_once_one_is_taken(
    anyio_backend: str, postgresql: str, names: str
) -> None:
    async with several(anyio_backend, postgresql, 3) as (model, servers):
        task = await servers[0].caller.send("ASK", contextId="c")
        named = {"taskId": task.id} if names == "the task" else {"contextId": "c"}
        answers: list[dict[str, Any]] = []
        model.allow(LAST)

        async def answer_with(server: Server, number: int) -> None:
            params = server.caller.params(f"the {number}th", {**named, "messageId": f"answer-{number}"})
            answers.append((await server.caller.ask("send", params)).json())

        async with anyio.create_task_group() as tasks:
            for number, server in enumerate(servers):
                tasks.start_soon(answer_with, server, number)
        done = await servers[1].caller.finished(task.id)
        late = await servers[2].caller.refused("send", "later", taskId=task.id)

    user = [message for message in done.history if message.role.value.endswith("user")]
    assert len(user) == 2  # the question's message, and one answer
    errors = [one["error"]["message"] for one in answers if "error" in one]
    if names == "the task":
        assert len(errors) == 2
        assert all("start a new task in its context" in one for one in (*errors, late["message"]))
    else:  # whoever came late has begun a task of the context
        assert errors == []
        assert sum(one["result"]["task"]["id"] == task.id for one in answers) == 1


# --- push notifications -----------------------------------------------------------------------------------


def states_of(receiver: PushReceiver, path: str) -> list[str]:
    """The states that a receiver was notified of."""
    found = [one.json["statusUpdate"] for one in receiver.at(path) if "statusUpdate" in one.json]
    return [update["status"]["state"].removeprefix("TASK_STATE_") for update in found]


def numbers_of(receiver: PushReceiver, path: str) -> list[int]:
    """The numbers of the events that a receiver was notified of."""
    return [one.number for one in receiver.at(path)]


async def push(server: Server, operation: str, task_id: str, **config: str) -> Any:
    response = await server.caller.ask(f"push-{operation}", {"taskId": task_id, **config})
    body = response.json()
    assert "error" not in body, body
    return body["result"]


async def test_a_push_configuration_is_set_read_replaced_and_deleted_through_any_server(
    anyio_backend: str, postgresql: str
) -> None:
    async with (
        receiving() as receiver,
        several(anyio_backend, postgresql, 3, options=PUSHING) as (model, (one, other, third)),
    ):
        task = await one.caller.send("count", configuration=RPC_10.at_once())
        made = await push(other, "set", task.id, id="a", url=receiver.url("/first"))
        await push(third, "set", task.id, id="a", url=receiver.url("/a"))
        await push(third, "set", task.id, id="b", url=receiver.url("/b"))
        unnamed = await push(other, "set", task.id, url=receiver.url("/c"))
        lists = [await push(server, "list", task.id) for server in (one, other, third)]
        await push(other, "delete", task.id, id="b")
        deliverers = [server.server.tasks.pending_pushes for server in (one, other, third)]
        model.allow(LAST)
        await receiver.until(lambda: states_of(receiver, "/a") == ["COMPLETED"])
        await receiver.until(lambda: states_of(receiver, "/c") == ["COMPLETED"])

    assert (made["id"], made["url"]) == ("a", receiver.url("/first"))
    assert lists[0] == lists[1] == lists[2]
    assert [found["id"] for found in lists[0]["configs"]] == ["a", "b", unnamed["id"]]
    assert deliverers == [2, 0, 0]
    assert receiver.at("/first") == receiver.at("/b") == []
    assert numbers_of(receiver, "/a") == sorted(set(numbers_of(receiver, "/a")))


async def test_notifications_go_on_once_and_in_order_after_their_server_has_gone(
    anyio_backend: str, postgresql: str
) -> None:
    async with (
        receiving() as receiver,
        several(anyio_backend, postgresql, 3, options=PUSHING) as (model, (one, other, third)),
    ):
        config = {"url": receiver.url("/a"), "id": "a"}
        task = await one.caller.send(
            "ASK", contextId="c", configuration={**RPC_10.at_once(), "taskPushNotificationConfig": config}
        )
        await receiver.until(lambda: "INPUT_REQUIRED" in states_of(receiver, "/a"))
        await one.server.tasks.drain(0.1)
        await one.close()
        await until(lambda: [*other.agent.recovered, *third.agent.recovered] == [task.id])
        model.allow(LAST)
        await receiver.until(lambda: "COMPLETED" in states_of(receiver, "/a"))
        left = await other.server.tasks.store.unfinished_pushes()

    assert numbers_of(receiver, "/a") == sorted(set(numbers_of(receiver, "/a")))
    assert states_of(receiver, "/a").count("COMPLETED") == 1
    assert left == () or left[0].cursor > 0


async def test_the_last_notification_of_a_task_that_has_ended_survives_its_server(
    anyio_backend: str, postgresql: str
) -> None:
    async with (
        receiving() as receiver,
        several(anyio_backend, postgresql, 3, options=PUSHING) as (model, (one, other, third)),
    ):
        url = receiver.plan("/a", answer(503, "retry-after: 60"), OK)
        model.allow(LAST)
        config = {"url": url, "id": "a"}
        task = await one.caller.send("count", configuration={"taskPushNotificationConfig": config})
        await receiver.until(lambda: receiver.at("/a"))
        await one.server.tasks.drain(0.1)
        await one.close()
        await receiver.until(lambda: "COMPLETED" in states_of(receiver, "/a"))
        await until(lambda: other.server.tasks.pending_pushes == third.server.tasks.pending_pushes == 0)
        rows = await other.server.tasks.store.push_configs(task.id)

    assert [row.finished for row in rows] == [True]
    assert states_of(receiver, "/a").count("COMPLETED") <= 2  # the first answer was an error


async def test_a_server_that_was_taken_over_stops_delivering(anyio_backend: str, postgresql: str) -> None:
    async with (
        receiving() as receiver,
        several(anyio_backend, postgresql, 2, options=PUSHING) as (model, (one, other)),
    ):
        task = await one.caller.send("count", configuration=RPC_10.at_once())
        await push(other, "set", task.id, id="a", url=receiver.url("/a"))
        take_lease(postgresql, one.server.tasks.store.ownership.replica_id)
        await until(lambda: [*one.agent.recovered, *other.agent.recovered] == [task.id])
        model.allow(LAST)
        await receiver.until(lambda: "COMPLETED" in states_of(receiver, "/a"))
        await other.caller.finished(task.id)

    assert numbers_of(receiver, "/a") == sorted(set(numbers_of(receiver, "/a")))
    assert states_of(receiver, "/a") == ["COMPLETED"]
