"""A store that cannot commit: nobody sees what is not durable, callers are told to try again, and it mends itself."""

from __future__ import annotations

import logging
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_a2a.fake_opencode import Say
from opencode_a2a.server.tasks import task_runner
from sansio.a2a.bindings.sse import SseDecoder
from sansio.a2a.model import Task, TaskState
from tests.shell.cases import every_codec
from tests.shell.folding import reason_of, text_of
from tests.shell.harness import DEADLINE, REST_03, RPC_10, Agent, Caller, Wire, agent_before

pytestmark = pytest.mark.anyio

WHOLE = "".join(f"w{index} " for index in range(9))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
def serving_briefly(
    anyio_backend: str, database: Path, bindings: dict[str, Any]
) -> Callable[[], AbstractAsyncContextManager[Agent]]:
    """Starts the agent on a file that it waits for only briefly where somebody else has locked it."""
    url = f"sqlite:///{database}?timeout=0.05"
    return lambda: agent_before(anyio_backend, None, task_store_database_url=url, **bindings)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def full(database: Path) -> Iterator[None]:
    """Let no file of this process grow beyond what the database has, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(Path(f"{database}{ending}").stat().st_size for ending in ("", "-wal"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def moved(database: Path) -> Iterator[None]:
    away = database.with_suffix(".away")
    database.rename(away)
    try:
        yield
    finally:
        away.rename(database)


@contextmanager
def replaced(database: Path) -> Iterator[None]:
    with moved(database):
        database.write_bytes(b"")
        yield
        assert database.read_bytes() == b""  # nothing was written to what is not ours


async def ended(caller: Caller, task_id: str) -> Task:
    """The task once it has ended, asked for again where the store is not back yet."""
    with anyio.fail_after(DEADLINE):
        while True:
            answer = (await caller.ask("get", {"id": task_id})).json()
            if "error" not in answer:
                return await caller.finished(task_id)
            assert unavailable(RPC_10, answer["error"])
            await anyio.sleep(0.02)


outages = pytest.mark.parametrize("outage", [locked, full, moved, replaced], ids=lambda one: str(one.__name__))
Outage = Callable[[Path], AbstractContextManager[None]]


def unavailable(wire: Wire, error: dict[str, Any]) -> bool:
    """Whether an error says, in its line's and binding's way, that the store is away and that one may try again."""
    named = "STORE_UNAVAILABLE" in str(error) if (wire.version, wire.binding) != ("0.3", "rest") else True
    return named and "try again" in str(error) and error.get("http", 503) == 503


async def health(agent: Agent) -> str:
    """The store's state in the health check, whose reasons must say the same."""
    answer = (await agent.http.get("/health")).json()
    reasons = {reason["type"] for reason in answer["reasons"]}
    assert ("STORE_UNAVAILABLE" in reasons) == (answer["store"] == "unavailable")
    assert answer["status"] == ("degraded" if reasons else "ok")
    return str(answer["store"])


@outages
async def test_an_end_that_cannot_be_stored_is_shown_to_nobody_until_it_is(
    serving_briefly: Callable[[], AbstractAsyncContextManager[Agent]], database: Path, outage: Outage
) -> None:
    async with serving_briefly() as agent:
        caller = agent.caller()
        agent.fake_opencode.hold(Say, tokens=2)
        response = await caller.http.send(caller.request("stream", caller.params("LONG 9", {})), stream=True)
        decoder = SseDecoder()
        told: list[bytes] = []
        body = response.aiter_raw()
        while "w1 " not in str(told):
            told += [event.data for event in decoder.feed(await anext(body))]
        task_id = (await caller.page())["tasks"][0]["id"]
        with outage(database):
            agent.fake_opencode.release()
            async for chunk in body:
                told += [event.data for event in decoder.feed(chunk)]
            read = await caller.refused("get", id=task_id)
            sent = await caller.refused(text="hi")
            ill = await health(agent)
        task = await ended(caller, task_id)
        await caller.send("hi")
        well = await health(agent)
        prompts = agent.asked("POST", "/prompt_async")

    assert "STORE_UNAVAILABLE" in told[-1].decode()
    assert not any(b"COMPLETED" in event for event in told)
    assert unavailable(RPC_10, read)
    assert unavailable(RPC_10, sent)
    assert (ill, well) == ("unavailable", "ok")
    assert (task.status.state, text_of(task)) == (TaskState.COMPLETED, WHOLE)
    assert prompts == 2  # what was refused never ran


@every_codec
async def test_a_message_that_cannot_be_stored_is_refused_and_can_be_sent_again(
    serving_briefly: Callable[[], AbstractAsyncContextManager[Agent]], database: Path, wire: Wire
) -> None:
    async with serving_briefly() as agent:
        caller = agent.caller(wire)
        with locked(database):
            errors = [
                await caller.refused(operation, messageId="m", contextId="c") for operation in ("send", "stream")
            ]
            errors.append(await caller.refused("send", messageId="n", configuration=wire.at_once()))
            answer = await caller.http.send(caller.request("send", caller.params("hi", {})))
        assert not agent.running.tasks.active_tasks
        task = await caller.send("hi", messageId="m", contextId="c")
        listed = await caller.page()

    assert all(unavailable(wire, error) for error in errors), errors
    assert answer.headers["retry-after"] == "1"
    assert task.status.state is TaskState.COMPLETED
    assert [one["id"] for one in listed["tasks"]] == [task.id]
    assert agent.asked("POST", "/prompt_async") == 1


async def test_a_cancellation_that_cannot_be_stored_is_an_error_and_takes_effect_later(
    serving_briefly: Callable[[], AbstractAsyncContextManager[Agent]], database: Path
) -> None:
    async with serving_briefly() as agent:
        caller = agent.caller()
        agent.fake_opencode.hold(Say, tokens=2)
        running = await caller.send("LONG 9", contextId="c", configuration=RPC_10.at_once())
        queued = await caller.send("hi", contextId="c", configuration=RPC_10.at_once())
        await agent.fake_opencode.held()
        with locked(database):
            errors = [await caller.refused("cancel", id=one.id) for one in (queued, running)]
            await agent.until(lambda: agent.asked("POST", "/abort") == 1)  # not only once the store is back
        states = [(await ended(caller, one.id)).status.state for one in (queued, running)]

    assert all(unavailable(RPC_10, error) for error in errors)
    assert states == [TaskState.CANCELED] * 2


async def test_a_cancellation_is_passed_on_while_a_question_waits_for_the_store(
    serving_briefly: Callable[[], AbstractAsyncContextManager[Agent]], database: Path
) -> None:
    async with serving_briefly() as agent:
        caller = agent.caller()
        agent.fake_opencode.hold()
        task = await caller.send("PERMISSION", configuration=RPC_10.at_once())
        await agent.fake_opencode.held()
        active = agent.running.tasks.active_tasks[task.id]
        with locked(database):
            agent.fake_opencode.release()
            await agent.until(lambda: active.log.state is TaskState.INPUT_REQUIRED and active.trouble)
            error = await caller.refused("cancel", id=task.id)
            await agent.until(lambda: agent.asked("POST", "/abort") == 1)
        done = await ended(caller, task.id)

    assert unavailable(RPC_10, error)
    assert done.status.state is TaskState.CANCELED


async def test_a_turn_that_fails_for_want_of_room_is_stopped_in_opencode_and_stored_later(
    serving_briefly: Callable[[], AbstractAsyncContextManager[Agent]],
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_runner, "MOST_BYTES", 2_000)
    async with serving_briefly() as agent:
        caller = agent.caller()
        agent.fake_opencode.hold(Say, tokens=2)
        task = await caller.send("LONG 40", configuration=RPC_10.at_once())
        await agent.fake_opencode.held()
        active = agent.running.tasks.active_tasks[task.id]
        with locked(database):
            assert unavailable(RPC_10, await caller.refused())  # by now it is known that the store is away
            agent.fake_opencode.release()
            agent.fake_opencode.hold(Say, tokens=20)
            await agent.until(lambda: active.log.state is TaskState.FAILED)
            await agent.until(lambda: agent.asked("POST", "/abort") == 1)
        done = await ended(caller, task.id)

    assert done.status.state is TaskState.FAILED
    assert "The database has been away for too long" in reason_of(done)
    assert text_of(done).startswith("w0 w1 ")


async def test_a_database_that_is_replaced_is_said_loudly_and_once(
    serving_briefly: Callable[[], AbstractAsyncContextManager[Agent]],
    database: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving_briefly() as agent:
        with replaced(database):
            for _ in range(3):
                assert unavailable(REST_03, await agent.caller(REST_03).refused())
    loud = [record for record in caplog.records if record.levelno >= logging.CRITICAL]

    assert [str(database) in record.getMessage() for record in loud] == [True]
