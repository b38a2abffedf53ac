"""The server is told to stop: what runs may end, what cannot ends with a reason, and nothing is cut."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, nullcontext
from pathlib import Path

import anyio
import pytest
from attrs import define, field

from opencode_a2a.cli.serve import serve
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import HELLO, FakeOpenCode, Say
from opencode_a2a.fake_opencode.scripts import CallTool
from opencode_a2a.server.tasks import task_runner
from sansio.a2a.model import TaskState
from tests.shell.cases import one_codec
from tests.shell.harness import (
    CREDENTIALS,
    DEADLINE,
    RPC_10,
    RUNTIMES,
    Caller,
    Wire,
    agent_before,
    client,
    quick,
    served,
    until,
)

pytestmark = pytest.mark.anyio


@define(eq=False)
class Server:
    """A server of its own, to be stopped."""

    fake_opencode: FakeOpenCode
    urls: list[str] = field(factory=list)
    told: list[str] = field(factory=list)
    stop: anyio.Event = field(factory=anyio.Event)
    ended: anyio.Event = field(factory=anyio.Event)

    async def gone(self) -> None:
        with anyio.fail_after(DEADLINE):
            await self.ended.wait()


@asynccontextmanager
async def server(
    backend: str, grace: float, *, opencode: str | None = None, database: str | None = None
) -> AsyncGenerator[Server]:
    """A server of its own. `opencode`: None for one of its own, too; `database`: None for a store that is lost."""
    found = Server(quick())
    serving = served(backend, found.fake_opencode) if opencode is None else nullcontext(opencode)
    async with serving as opencode, anyio.create_task_group() as tasks:
        settings = Settings(
            port=0,
            opencode_url=opencode,
            credentials=CREDENTIALS,
            task_store_backend="memory" if database is None else "database",
            task_store_database_url=database or "sqlite:///unused.db",
            shutdown_grace_seconds=grace,
        )

        async def run() -> None:
            stop = found.stop.wait
            await serve(settings, RUNTIMES[backend], stop=stop, ready=found.urls.append, say=found.told.append)
            found.ended.set()

        tasks.start_soon(run)
        await until(lambda: found.urls)
        try:
            yield found
        finally:
            found.stop.set()
            found.fake_opencode.release()
            with anyio.move_on_after(DEADLINE, shield=True):
                await found.ended.wait()


@one_codec
async def test_a_stream_ends_within_the_grace(anyio_backend: str, wire: Wire) -> None:
    async with server(anyio_backend, grace=DEADLINE) as found, client(found.urls[0]) as http:
        caller = Caller(http, wire)
        found.fake_opencode.hold(Say, tokens=2)
        async with caller.open("hi") as stream:
            await stream.until(lambda: stream.text)
            found.stop.set()

            refused = await until_refused(caller)
            found.fake_opencode.release()
            await stream.whole()
        await found.gone()

    assert (stream.state, stream.text) == ("completed", HELLO)
    assert "being stopped" in str(refused)


async def until_refused(caller: Caller) -> dict[str, object]:
    """Ask until the server has heard that it is to stop. What is not refused waits in its held context."""
    with anyio.fail_after(DEADLINE):
        while True:
            response = await caller.ask("get", {"id": "none"})
            assert response.status_code in (200, 404)
            sent = await caller.ask("send", caller.params("hi", {"configuration": caller.wire.at_once()}))
            if "being stopped" in sent.text:
                return dict(sent.json())


@one_codec
async def test_without_grace_a_stream_ends_with_a_reason_and_is_not_cut(anyio_backend: str, wire: Wire) -> None:
    async with server(anyio_backend, grace=0) as found, client(found.urls[0]) as http:
        found.fake_opencode.hold(Say, tokens=2)
        async with Caller(http, wire).open("LONG 9") as stream:
            await stream.until(lambda: stream.text)
            found.stop.set()
            await stream.whole()
        await found.gone()
        aborts = [one for one in found.fake_opencode.requests if one.path.endswith("/abort")]

    assert stream.ended
    assert (stream.state, stream.text) == ("failed", "w0 w1 ")
    assert "stopped" in str(stream.statuses[-1].status.message)
    assert len(aborts) == 1


async def test_without_grace_a_send_is_answered(anyio_backend: str) -> None:
    async with server(anyio_backend, grace=0) as found, client(found.urls[0]) as http:
        answers: list[str] = []
        found.fake_opencode.hold(Say)

        async def send() -> None:
            answers.append((await Caller(http, RPC_10).send("hi")).status.state.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await found.fake_opencode.held()
            found.stop.set()
        await found.gone()

    assert answers == ["failed"]


async def test_those_who_wait_in_line_are_told_too(anyio_backend: str) -> None:
    async with server(anyio_backend, grace=0) as found, client(found.urls[0]) as http:
        caller = Caller(http, RPC_10)
        found.fake_opencode.hold(Say)
        async with caller.open("hi", contextId="c") as first:
            await found.fake_opencode.held()
            async with caller.open("hi", contextId="c") as second:
                await second.until(lambda: second.events)
                found.stop.set()
                await first.whole()
                await second.whole()
        await found.gone()

    assert [first.state, second.state] == ["failed", "failed"]


async def test_what_streams_still_send_after_the_drain_is_stored(
    anyio_backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_runner, "SAVE_EVERY", 60.0)
    fake_opencode, database = quick(), tmp_path / "tasks.db"
    async with agent_before(anyio_backend, fake_opencode, task_store_database_url=f"sqlite:///{database}") as agent:
        fake_opencode.hold(Say, tokens=5)
        task_id = (await agent.caller().send("LONG 40", configuration=RPC_10.at_once())).id
        await fake_opencode.held()
        await agent.running.tasks.drain(0)
        fake_opencode.release()
        fake_opencode.hold(Say, tokens=15)
        active = agent.running.tasks.active_tasks[task_id]
        await until(lambda: "w14 " in str(active.task().artifacts))
        seen = active.visible

    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT max(last_seq) FROM opencode_a2a_task_event").fetchone()
    assert found == (seen,)


async def test_an_idle_server_stops_at_once(anyio_backend: str) -> None:
    async with server(anyio_backend, grace=DEADLINE) as found, client(found.urls[0]) as http:
        await Caller(http, RPC_10).send("hi")  # its connection is kept alive, and must not keep the server
        started = anyio.current_time()
        found.stop.set()
        await found.gone()

        assert anyio.current_time() - started < DEADLINE / 6


@one_codec
async def test_a_task_that_waits_for_its_user_is_not_waited_for(
    anyio_backend: str, wire: Wire, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path / 'tasks.db'}"
    async with served(anyio_backend, quick()) as opencode:
        await waiting_and_resumed(anyio_backend, wire, opencode, database)


async def waiting_and_resumed(backend: str, wire: Wire, opencode: str, database: str) -> None:
    async with (
        server(backend, grace=60, opencode=opencode, database=database) as found,
        client(found.urls[0]) as http,
    ):
        caller = Caller(http, wire)
        task = await caller.send("PERMISSION")
        async with caller.subscribed(task.id) as stream:
            await stream.until(lambda: stream.events)
            found.stop.set()
            await found.gone()  # long before the grace is over
            await stream.whole()

    assert found.told == ["stopping; 1 task waits for its user and goes on at the next start"]
    assert task.status.state is stream.task.status.state is TaskState.INPUT_REQUIRED
    async with (
        server(backend, grace=0, opencode=opencode, database=database) as found,
        client(found.urls[0]) as http,
    ):
        caller = Caller(http, wire)
        async with caller.subscribed(task.id, after=stream.events[-1].number) as resumed:
            await resumed.until(lambda: resumed.events)
            answered = await caller.send("once", taskId=task.id)
            await resumed.whole()

    assert (answered.status.state, resumed.state) == (TaskState.COMPLETED, "completed")


async def test_others_are_waited_for_until_they_end_or_ask_too(anyio_backend: str, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'tasks.db'}"
    async with server(anyio_backend, grace=60, database=database) as found, client(found.urls[0]) as http:
        caller = Caller(http, RPC_10)
        await caller.send("PERMISSION")
        found.fake_opencode.hold(CallTool)
        works = await caller.send("TOOL", configuration=RPC_10.at_once())
        asks = await caller.send("PERMISSION", configuration=RPC_10.at_once())
        await found.fake_opencode.held(2)
        found.stop.set()
        await until_refused(caller)
        assert not found.ended.is_set()
        found.fake_opencode.release()
        await found.gone()

    with closing(sqlite3.connect(tmp_path / "tasks.db")) as connection:
        states = dict(connection.execute("SELECT task_id, state FROM opencode_a2a_task").fetchall())
    assert (states[works.id], states[asks.id]) == ("completed", "input-required")
    assert found.told[0].startswith(
        "stopping: waiting up to 60 s for 2 tasks; 1 task waits for its user and goes on at the next start; SIGINT"
    )


async def test_what_is_lost_with_the_server_has_the_whole_grace(anyio_backend: str) -> None:
    async with server(anyio_backend, grace=0.3) as found, client(found.urls[0]) as http:
        caller = Caller(http, RPC_10)
        task = await caller.send("PERMISSION")
        async with caller.subscribed(task.id) as stream:
            await stream.until(lambda: stream.events)
            found.stop.set()
            await stream.whole()
        await found.gone()

    assert stream.state == "failed"
    assert found.told[0].startswith("stopping: waiting up to 0.3 s for 1 task and 1 stream; SIGINT")
