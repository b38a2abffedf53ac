"""OpenCode in trouble: every task ends in bounded time, and says why."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import HELLO, FakeOpenCode, Say
from sansio.a2a.model import Task, TaskState
from sansio.redact import Secret
from tests.shell.cases import each_value, every_codec
from tests.shell.folding import reason_of, text_of
from tests.shell.harness import (
    CREDENTIALS,
    DEADLINE,
    REST_10,
    RPC_03,
    RPC_10,
    WIRES,
    Agent,
    Serving,
    Wire,
    agent_at,
    failure_of,
    quick,
    served,
)
from tests.shell.ports import free_port

pytestmark = pytest.mark.anyio
PATIENCE = 2.0  # seconds: all that is to work in such a test has to be quicker, on a slow machine too


def away(port: int, **more: Any) -> Settings:
    """Settings for an OpenCode on a port where none may be."""
    url = f"http://127.0.0.1:{port}"
    return Settings(
        rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, task_store_backend="memory", **more
    )


async def test_an_opencode_that_is_not_there_fails_the_task_until_it_is(anyio_backend: str) -> None:
    port, fake_opencode = free_port(), quick()
    async with agent_at(anyio_backend, fake_opencode, away(port)) as agent:
        health = (await agent.http.get("/health")).json()
        async with agent.caller().open("hi") as stream:  # both at once: each waits for seconds
            sent = await agent.caller(RPC_03).send("hi")
            await stream.whole()

        assert health["upstream"] == {"event_stream": "disconnected"}
        assert failure_of(stream) == "UPSTREAM_UNREACHABLE"
        assert sent.status.state is TaskState.FAILED
        assert "cannot be reached" in reason_of(sent)
        async with served(anyio_backend, fake_opencode, bind=f"127.0.0.1:{port}"):
            assert text_of(await agent.caller().send("hi")) == HELLO


@pytest.mark.usefixtures("hasty")
async def test_an_opencode_that_restarts_in_mid_turn_fails_the_turn_and_takes_the_next(anyio_backend: str) -> None:
    port, first, second = free_port(), quick(), quick()
    async with agent_at(anyio_backend, second, away(port)) as agent:
        async with served(anyio_backend, first, bind=f"127.0.0.1:{port}"):
            first.hold(Say, tokens=2)
            task = await agent.caller().send("hi", configuration=RPC_10.at_once())
            with anyio.fail_after(DEADLINE):
                await first.held()
            first.drop_streams()
        async with served(anyio_backend, second, bind=f"127.0.0.1:{port}"):
            failed = await agent.caller().finished(task.id)
            assert failed.status.state is TaskState.FAILED
            assert reason_of(failed)
            assert text_of(await agent.caller().send("hi")) == HELLO


@each_value(
    "prefix, status, type",
    [
        ("/session", 500, "UPSTREAM_SERVER_ERROR"),
        ("/session", 401, "UPSTREAM_UNAUTHORIZED"),
        ("/session", 429, "UPSTREAM_QUOTA_EXCEEDED"),
        ("/session/", 400, "UPSTREAM_BAD_REQUEST"),
        ("/session/", 404, "UPSTREAM_RESOURCE_NOT_FOUND"),
    ],
)
async def test_an_error_of_opencode_is_the_tasks(serving: Serving, prefix: str, status: int, type: str) -> None:
    async with serving() as agent:
        agent.fake_opencode.fail_next(
            "POST", prefix, status, {"name": "Oops", "data": {"message": "told-by-opencode"}}
        )

        stream = await agent.caller().stream("hi")

        assert failure_of(stream) == type
        assert "told-by-opencode" in str(stream.statuses[-1].status.message)
        assert text_of(await agent.caller().send("hi", contextId=stream.task.context_id)) == HELLO


@each_value("body", [None, [], {}, {"id": 5}, {"id": None}])
async def test_a_session_without_an_id_fails_the_task(serving: Serving, body: object) -> None:
    async with serving() as agent:
        agent.fake_opencode.fail_next("POST", "/session", 200, body)

        assert failure_of(await agent.caller().stream("hi")) == "UPSTREAM_PAYLOAD_ERROR"


async def test_an_opencode_that_does_not_answer_is_not_waited_for_for_ever(serving: Serving) -> None:
    tasks: list[Task] = []

    async def ask(agent: Agent, wire: Wire) -> None:
        tasks.append(await agent.caller(wire).send("hi"))

    async with serving(opencode_timeout=PATIENCE) as agent:
        for _ in WIRES:
            agent.fake_opencode.stall_next("POST", "/session")
        async with anyio.create_task_group() as group:
            for wire in WIRES:
                group.start_soon(ask, agent, wire)

        assert len(tasks) == len(WIRES)
        for task in tasks:
            assert task.status.state is TaskState.FAILED
            assert f"within {PATIENCE:g} seconds" in reason_of(task)
        for wire in WIRES:
            assert text_of(await agent.caller(wire).send("hi")) == HELLO


async def test_a_prompt_that_is_answered_late_is_a_turn_all_the_same(serving: Serving) -> None:
    async with serving(opencode_timeout=PATIENCE) as agent:
        agent.fake_opencode.stall_next("POST", "/session/", late=True)

        stream = await agent.caller().stream("STEPS")

    assert (stream.state, stream.text) == ("completed", "First I look. Now I know.")


@pytest.mark.usefixtures("hasty")
async def test_a_prompt_that_is_lost_fails_the_task(serving: Serving) -> None:
    async with serving(opencode_timeout=PATIENCE) as agent:
        agent.fake_opencode.stall_next("POST", "/session/")

        assert failure_of(await agent.caller().stream("hi")).startswith("UPSTREAM_")


async def test_a_turn_that_goes_silent_is_given_up_and_stopped(serving: Serving) -> None:
    async with serving(opencode_stream_timeout=PATIENCE) as agent:
        agent.fake_opencode.hold(Say, tokens=2)

        stream = await agent.caller().stream("LONG 9")

        assert failure_of(stream) == "UPSTREAM_TIMEOUT"
        assert stream.text == "w0 w1 "
        await agent.until(lambda: agent.asked("POST", "/abort") == 1)


async def test_a_wrong_password_for_opencode_is_told_and_not_shown(anyio_backend: str, serving: Serving) -> None:
    fake_opencode = FakeOpenCode(pause=0, password="right-4c1d")
    async with serving(fake_opencode, opencode_password=Secret("wrong-77b0")) as agent:
        stream = await agent.caller().stream("hi")

    assert failure_of(stream) == "UPSTREAM_UNAUTHORIZED"
    assert "wrong-77b0" not in str(stream.items)
    async with serving(fake_opencode, opencode_password=Secret("right-4c1d")) as agent:
        assert text_of(await agent.caller().send("hi")) == HELLO


@every_codec
async def test_one_stream_too_many_is_refused_at_once(serving: Serving, wire: Wire) -> None:
    async with serving(max_concurrent_streams=1) as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say, tokens=1)
        async with caller.open("hi") as stream:
            await stream.until(lambda: stream.text)

            error = await caller.refused("stream")
            sent = await caller.send("hi", configuration=wire.at_once())

            agent.fake_opencode.release()
            await stream.whole()
        await caller.finished(sent.id)
        again = await caller.stream("hi")

    assert (stream.text, again.text) == (HELLO, HELLO)
    assert error.get("code" if wire.binding == "rpc" else "http") == (-32603 if wire.binding == "rpc" else 503)
    assert "The server runs 1 stream already" in str(error)


async def test_one_request_to_opencode_too_many_fails_its_task_at_once(serving: Serving) -> None:
    async with serving(max_concurrent_requests=1, opencode_timeout=3 * DEADLINE) as agent:
        agent.fake_opencode.stall_next("POST", "/session")
        await agent.caller().send("hi", configuration=RPC_10.at_once())
        await agent.until(lambda: agent.asked("POST", "/session"))

        with anyio.fail_after(DEADLINE):
            stream = await agent.caller(REST_10).stream("hi")

    assert failure_of(stream) == "UPSTREAM_BACKPRESSURE"
