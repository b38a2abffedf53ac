"""Several servers before one OpenCode and one PostgreSQL: whichever is asked, a request is answered once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import orjson
import psycopg
import pytest
from anyio.abc import TaskStatus
from attrs import define, evolve, field

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.server.store import EventRow, LeaseStatus, StoredTask, StoreUnavailableError, TaskRow, Write
from sansio.a2a.model import JsonObject, TaskState
from sansio.outbound import parse_allowed_hosts
from sansio.redact import Secret
from tests.shell.agent.tool.conftest import Start, node
from tests.shell.harness import ALICE, CREDENTIALS, DEADLINE, RPC_10, Agent, agent_at, quick, served, until
from tests.shell.method_calls import Methods
from tests.shell.store_cases import postgresql_url

__all__ = ["node", "postgresql_url"]

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

PERMISSION_REPLY = "a2a.interrupt.permission.reply"
QUESTION_REPLY = "a2a.interrupt.question.reply"
QUESTION_REJECT = "a2a.interrupt.question.reject"


@define(eq=False)
class Server:
    """One of the servers."""

    agent: Agent
    ending: anyio.Event = field(factory=anyio.Event)
    ended: anyio.Event = field(factory=anyio.Event)

    @property
    def methods(self) -> Methods:
        return Methods(self.agent.http, "1.0")

    @property
    def bob(self) -> Methods:
        return Methods(self.agent.bob, "1.0")

    async def close(self) -> None:
        """Let it end in order."""
        await self.agent.running.tasks.drain(0.1)
        self.ending.set()
        await self.ended.wait()


@asynccontextmanager
async def several(
    backend: str, url: str, count: int = 3, fake_opencode: FakeOpenCode | None = None, **more: Any
) -> AsyncGenerator[list[Server]]:
    """Servers, each in a task of its own, so that they can end in any order."""
    opencode = fake_opencode or quick()
    servers: list[Server] = []

    async def run(settings: Settings, *, task_status: TaskStatus[None]) -> None:
        async with agent_at(backend, opencode, settings) as agent:
            made = Server(agent)
            agent.running.listening(evolve(settings, port=int(agent.url.rpartition(":")[2])))
            servers.append(made)
            task_status.started()
            await made.ending.wait()
        made.ended.set()

    async with served(backend, opencode) as address, anyio.create_task_group() as tasks:
        given: dict[str, Any] = {"rate_limit_enabled": False, "task_store_backend": "database", **more}
        settings = Settings(opencode_url=address, credentials=CREDENTIALS, task_store_database_url=url, **given)
        for _ in range(count):
            await tasks.start(run, settings)
        yield servers
        for server in servers:
            server.ending.set()


async def pending(server: Server) -> list[dict[str, Any]]:
    """What a server lists, permissions first."""
    found: list[dict[str, Any]] = []
    for kind in ("permissions", "questions"):
        found += (await server.methods.result(f"opencode.{kind}.list", {}))["items"]
    return found


async def test_requests_are_listed_and_answered_through_any_server(anyio_backend: str, postgresql: str) -> None:
    async with several(anyio_backend, postgresql) as servers:
        one, other, third = servers
        first = await one.agent.caller().send("PERMISSION")
        second = await other.agent.caller().send("PERMISSION")
        asked = await one.agent.caller().send("QUESTION")
        lists = [await pending(server) for server in servers]
        of_first, of_second, question = [one["request_id"] for one in lists[0]]

        mismatch = await third.methods.reason(QUESTION_REJECT, {"request_id": of_first})
        theirs = await third.bob.reason(PERMISSION_REPLY, {"request_id": of_first, "reply": "once"})
        unknown = await third.methods.error(PERMISSION_REPLY, {"request_id": "per_none", "reply": "once"})
        nowhere = await third.bob.error(PERMISSION_REPLY, {"request_id": "per_none", "reply": "once"})
        replied = await third.methods.result(PERMISSION_REPLY, {"request_id": of_first, "reply": "once"})
        rejected = await third.methods.result(QUESTION_REJECT, {"request_id": question})
        await third.methods.result(PERMISSION_REPLY, {"request_id": of_second, "reply": "once"})
        done = [await third.agent.caller().finished(task.id) for task in (first, second, asked)]
        left = await pending(third)

    assert lists[0] == lists[1] == lists[2]
    assert [one["task_id"] for one in lists[0]] == [first.id, second.id, asked.id]
    assert mismatch == "INTERRUPT_TYPE_MISMATCH"
    assert theirs == "INTERRUPT_REQUEST_NOT_FOUND"
    assert unknown == nowhere
    assert (replied, rejected) == ({"ok": True, "request_id": of_first}, {"ok": True, "request_id": question})
    assert {task.status.state for task in done} == {TaskState.COMPLETED}
    assert left == []


async def test_of_answers_at_several_servers_at_once_one_is_taken(anyio_backend: str, postgresql: str) -> None:
    async with several(anyio_backend, postgresql) as servers:
        task = await servers[0].agent.caller().send("PERMISSION")
        [asked] = await pending(servers[0])
        answers: list[dict[str, Any]] = []

        async def reply(server: Server) -> None:
            given = {"request_id": asked["request_id"], "reply": "once"}
            answers.append(await server.methods.answer(PERMISSION_REPLY, given))

        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(reply, server)
        await servers[1].agent.caller().finished(task.id)
        sent = servers[0].agent.asked("POST", "/reply")

    refused = [answer["error"] for answer in answers if "error" in answer]
    assert sent == 1
    assert len(refused) == 2
    assert refused[0] == refused[1]
    assert "INTERRUPT_REQUEST_NOT_FOUND" in str(refused[0])


def put_and_await(url: str, asked_by: str, replica_id: str, bodies: Sequence[JsonObject | bytes]) -> list[bytes]:
    """Put rows of commands before a server, as another one does, and return its answers in their order."""
    with psycopg.connect(url, autocommit=True) as database:
        for number, body in enumerate(bodies):
            data = body if isinstance(body, bytes) else orjson.dumps(body)
            database.execute(
                "INSERT INTO opencode_a2a_command (command_id, replica_id, asked_by, body) VALUES (%s, %s, %s, %s)",
                (f"{number}", replica_id, asked_by, data),
            )
        database.execute("SELECT pg_notify('opencode_a2a_command', %s)", (replica_id,))
        database.execute("LISTEN opencode_a2a_command")
        wanted = "SELECT answer FROM opencode_a2a_command WHERE answer IS NOT NULL ORDER BY number"
        while len(found := database.execute(wanted).fetchall()) < len(bodies):
            assert list(database.notifies(timeout=DEADLINE, stop_after=1))
    return [bytes(answer) for (answer,) in found]


async def test_commands_of_no_meaning_or_of_another_principal_change_nothing(
    anyio_backend: str, postgresql: str
) -> None:
    async with several(anyio_backend, postgresql, 2) as (one, other):
        task = await one.agent.caller().send("PERMISSION")
        [asked] = await pending(other)
        stored = await one.agent.running.tasks.store.task(task.id)
        assert stored is not None
        principal = stored.row.principal
        reply = {"kind": "AgentCommand", "arguments": {"request_id": asked["request_id"]}}
        bodies: list[JsonObject | bytes] = [
            b"",
            b"{",
            {"kind": "Unknown", "principal": principal},
            {**reply, "principal": principal, "name": "of a later version"},
            {**reply, "principal": "somebody else", "name": "question.reject"},
            {"kind": "Cancel", "principal": "somebody else", "task": task.id, "again": False},
        ]
        me = one.agent.running.tasks.store.ownership.replica_id
        assert me is not None
        with psycopg.connect(postgresql, autocommit=True) as database:
            # a server whose lease does not end, and which never reads its answers
            database.execute(
                "INSERT INTO opencode_a2a_replica SELECT (json_populate_record(r, %s::json)).*"
                " FROM opencode_a2a_replica AS r WHERE replica_id = %s",
                ('{"replica_id": "asker", "expires_at": 9000000000000000}', me),
            )
        answers = await anyio.to_thread.run_sync(put_and_await, postgresql, "asker", me, bodies)
        still = await pending(other)
        await other.methods.result(PERMISSION_REPLY, {"request_id": asked["request_id"], "reply": "once"})
        done = await other.agent.caller().finished(task.id)

    kinds = [(orjson.loads(answer).get("error") or {}).get("kind") for answer in answers]
    assert kinds == ["INTERNAL_ERROR"] * 3 + [None, None, "TASK_NOT_FOUND"]
    assert [found["request_id"] for found in still] == [asked["request_id"]]
    assert done.status.state is TaskState.COMPLETED


async def test_a_request_that_was_given_up_is_expired_on_any_server(anyio_backend: str, postgresql: str) -> None:
    async with several(anyio_backend, postgresql, 2, interrupt_request_ttl_seconds=0.2) as (one, other):
        async with one.agent.caller(stays_open=True).open("QUESTION") as stream:
            await stream.whole()
        given = {"request_id": stream.shared("interrupt")[0]["request_id"], "answers": [["A"]]}
        here, there = [await server.methods.error(QUESTION_REPLY, given) for server in (one, other)]

    assert "INTERRUPT_REQUEST_EXPIRED" in str(here)
    assert here == there


async def test_a_request_is_answered_though_its_server_has_gone(anyio_backend: str, postgresql: str) -> None:
    async with several(anyio_backend, postgresql) as (one, other, third):
        task = await one.agent.caller().send("PERMISSION")
        [asked] = await pending(other)
        await one.close()
        still = await pending(other)
        await third.methods.result(PERMISSION_REPLY, {"request_id": asked["request_id"], "reply": "once"})
        done = await other.agent.caller(RPC_10).finished(task.id)

    assert [found["request_id"] for found in still] == [asked["request_id"]]
    assert done.status.state is TaskState.COMPLETED
    await until(lambda: one.ended.is_set())


async def test_a_prompt_is_withheld_where_the_lease_has_ended_once_there_is_a_connection(
    anyio_backend: str, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []  # prompts in OpenCode, each time that the lease is looked at

    def lease(_: object) -> LeaseStatus:
        asked.append(one.agent.asked("POST", "/prompt_async"))
        return LeaseStatus(held=len(asked) > 2, age=0.0, servers=1, failures=0, losses=0, takeovers=0)

    async with several(anyio_backend, postgresql, 1) as (one,):
        monkeypatch.setattr(type(one.agent.running.tasks.store.ownership), "lease", property(lease))
        task = await one.agent.caller().send("hi")

        assert task.status.state is TaskState.COMPLETED
        assert asked == [0, 0, 0]
        assert one.agent.asked("POST", "/prompt_async") == 1


async def test_whoever_waits_behind_a_turn_goes_on_though_its_server_ends_before_it_could_store_the_end(
    anyio_backend: str, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with several(anyio_backend, postgresql, 2) as (one, other):
        store = one.agent.running.tasks.store
        commit = store.commit

        async def away_at_the_end(writes: Sequence[Write] = (), *, keep_events: bool = False) -> None:
            if any(isinstance(row, TaskRow) and row.finished for row in writes):
                store.put([row for row in writes if isinstance(row, EventRow)])  # which are tried again
                raise StoreUnavailableError("the database is away")
            await commit(writes, keep_events=keep_events)

        monkeypatch.setattr(store, "commit", away_at_the_end)
        first, second = [
            await server.agent.caller().send("hi", contextId="ctx", configuration={"returnImmediately": True})
            for server in (one, other)
        ]
        ending = one.agent.running.tasks.active_tasks[first.id]
        await until(lambda: ending.log.state.terminal and ending.trouble is not None)
        waits = await other.agent.caller().get(second.id)
        await one.close()
        done = [await other.agent.caller().finished(task.id) for task in (first, second)]
        await until(lambda: no_tickets(postgresql))

    assert waits.status.state is TaskState.SUBMITTED
    assert [task.status.state for task in done] == [TaskState.COMPLETED] * 2


async def test_a_turn_that_was_stored_though_its_server_gave_up_its_place_waits_for_the_one_that_has_it(
    anyio_backend: str, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with several(anyio_backend, postgresql, 1, replica_lease_seconds=1.0) as (one,):
        store, caller = one.agent.running.tasks.store, one.agent.caller()
        commit, adopt = store.commit, store.ownership.adopt
        stored: list[str] = []
        taken = anyio.Event()

        async def unanswered(writes: Sequence[Write] = (), *, keep_events: bool = False) -> None:
            await commit(writes, keep_events=keep_events)
            stored.extend(row.task_id for row in writes if isinstance(row, TaskRow) and row.prompt_id is not None)
            if stored:
                monkeypatch.setattr(store, "commit", commit)
                raise StoreUnavailableError("the connection was lost before the answer came")

        async def adopt_later(limit: int) -> list[StoredTask]:
            await taken.wait()
            return await adopt(limit)

        monkeypatch.setattr(store, "commit", unanswered)
        monkeypatch.setattr(store.ownership, "adopt", adopt_later)
        refused = await caller.ask("send", caller.params("hi", {"contextId": "ctx"}))
        inside = await caller.send("PERMISSION", contextId="ctx")
        taken.set()
        sent = partial(one.agent.asked, "POST", "/prompt_async")
        await until(lambda: stored[0] in one.agent.running.tasks.active_tasks or sent() > 1)
        await anyio.sleep(0.1)
        prompts = sent()
        [asked] = await pending(one)
        await one.methods.result(PERMISSION_REPLY, {"request_id": asked["request_id"], "reply": "once"})
        done = [await caller.finished(task_id) for task_id in (inside.id, stored[0])]

    assert "STORE_UNAVAILABLE" in refused.text
    assert prompts == 1
    assert [task.status.state for task in done] == [TaskState.COMPLETED] * 2


def no_tickets(url: str) -> bool:
    """Whether each ticket was given back."""
    with psycopg.connect(url) as database:
        return not database.execute("SELECT key FROM opencode_a2a_ticket").fetchall()


async def test_a_call_of_the_tool_is_counted_for_its_turn_whichever_server_it_reaches(
    anyio_backend: str, postgresql: str, node: Start
) -> None:
    tool: dict[str, Any] = {
        "client_allowed_hosts": parse_allowed_hosts("127.0.0.1"),
        "client_bearer_token": Secret(ALICE),
    }
    async with node() as peer, several(anyio_backend, postgresql, 2, **tool) as servers:
        text = f"PEER {peer.url} PEER {peer.url} hi"  # which takes two hops
        answers = [(await server.agent.caller().stream(text)).text for server in servers]
        await servers[1].close()  # with it goes the tool that OpenCode was given last
        with anyio.fail_after(DEADLINE):  # the other server is notified of that
            while (await servers[0].agent.caller().stream(text)).text.count("state: completed") < 2:
                pass

    assert [answer.count("state: completed") for answer in answers] == [2, 2]
