"""A task's stream, joined late: the task as it is, then everything after it, the same for everybody."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import orjson
import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL, Say
from sansio.a2a.bindings.sse import SseDecoder
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import ArtifactUpdate, StatusUpdate, StreamItem, Task, TaskState
from tests.shell.cases import every_codec
from tests.shell.folding import Said, artifacts_of, folded, text_of
from tests.shell.harness import DEADLINE, REST_03, REST_10, RPC_03, RPC_10, Agent, Caller, Serving, Stream, Wire

pytestmark = [
    pytest.mark.anyio,
    # what the client library leaves behind where a reader hangs up
    pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning"),
]
OLD, NEW = (RPC_03, REST_03), (RPC_10, REST_10)
READERS = 50


def believed(items: Iterable[StreamItem]) -> list[Said]:
    """What a client makes of a stream that believes the task it is shown."""
    told: list[StreamItem] = []
    for item in items:
        if isinstance(item, Task):
            told = [ArtifactUpdate(task_id=item.id, context_id="", artifact=one) for one in item.artifacts]
        else:
            told.append(item)
    return folded(told)


def after(stream: Stream, number: int) -> list[tuple[int, dict[str, Any]]]:
    return [(event.number, event.json) for event in stream.events if event.number > number]


async def held(agent: Agent) -> None:
    """Wait until the turn is held."""
    with anyio.fail_after(DEADLINE):
        await agent.fake_opencode.held()


async def saying(caller: Caller, task_id: str, text: str) -> Task:
    """The task once each of three servers that are asked in turn has a text: two have it when it is stored."""
    in_a_row = 0
    with anyio.fail_after(DEADLINE):
        while in_a_row < 3:
            task = await caller.get(task_id)
            in_a_row = in_a_row + 1 if text_of(task) == text else 0
    return task


@every_codec
async def test_the_task_as_it_is_and_then_everything_after_it(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say, tokens=2)
        async with caller.open("STEPS") as first:
            await held(agent)
            await first.until(lambda: first.events)
            task = await saying(caller, first.task.id, "First I")
            async with caller.subscribed(first.task.id) as second:
                await second.until(lambda: second.events)
                agent.fake_opencode.release()
                await second.whole()
            await first.whole()
        done = await caller.get(first.task.id)

    joined = second.events[0].number
    assert second.task == task
    assert second.task.history == done.history
    assert after(second, joined) == after(first, joined) != []
    assert len(second.events) == len(after(second, joined)) + 1
    assert (second.state, believed(second.items)) == ("completed", artifacts_of(done))


@every_codec
async def test_many_readers_who_come_when_they_like_see_the_same(serving: Serving, wire: Wire) -> None:
    moments = random.Random(7)
    readers: list[Stream] = []
    async with serving() as agent:
        caller = agent.caller(wire)

        async def read(first: Stream, seen: int, leaves: bool) -> None:
            await agent.until(lambda: len(first.events) >= seen)
            async with caller.subscribed(first.task.id) as stream:
                await stream.until(lambda: stream.events)
                joined[0] += 1
                if leaves:
                    return
                readers.append(await stream.whole())

        async def let_go() -> None:
            await held(agent)
            await agent.until(lambda: joined[0] == READERS + 5)
            agent.fake_opencode.release()

        joined = [0]
        agent.fake_opencode.hold(Say, tokens=40)
        async with caller.open("LONG 60") as first, anyio.create_task_group() as tasks:
            await first.until(lambda: first.events)
            for index in range(READERS + 5):
                tasks.start_soon(read, first, moments.randint(1, 30), index % 11 == 0)
            tasks.start_soon(let_go)
            await first.whole()
        done = await caller.get(first.task.id)

    assert len(readers) == READERS
    assert done.status.state is TaskState.COMPLETED
    for stream in readers:
        number = stream.events[0].number
        assert after(stream, number) == after(first, number)
        assert believed(stream.items) == artifacts_of(done) == believed(first.items)


@pytest.mark.parametrize("wire", OLD, ids=str)
async def test_readers_who_come_as_it_ends_miss_nothing(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say, tokens=3)
        task = await caller.send("LONG 40", configuration=wire.at_once())
        await held(agent)
        streams: list[Stream] = []

        async def read() -> None:
            streams.append(await caller.subscribe(task.id))

        async with anyio.create_task_group() as tasks:
            agent.fake_opencode.release()
            for _ in range(20):
                tasks.start_soon(read)
        done = await caller.finished(task.id)

    assert len(streams) == 20
    assert all(believed(stream.items) == artifacts_of(done) for stream in streams)
    assert all(last_state(stream) is TaskState.COMPLETED for stream in streams)


def last_state(stream: Stream) -> TaskState:
    states = [item.status.state for item in stream.items if isinstance(item, Task | StatusUpdate)]
    return states[-1]


@every_codec
async def test_a_task_that_waits_for_its_client_can_be_watched(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        task = await agent.caller(wire).send("PERMISSION")
        async with agent.caller(wire).subscribed(task.id) as stream:
            await stream.until(lambda: stream.events)
            assert stream.task.status == task.status
            assert stream.task.status.state is TaskState.INPUT_REQUIRED
            [asked] = (await agent.opencode.get("/permission")).json()
            await agent.opencode.post(f"/permission/{asked['id']}/reply", json={"reply": "once"})
            await stream.whole()

    assert [one["phase"] for one in stream.shared("interrupt")] == ["resolved"]
    assert (stream.state, stream.text) == ("completed", AFTER_TOOL)


@pytest.mark.parametrize("wire", OLD, ids=str)
async def test_a_task_that_is_over_is_told_once_on_the_old_version(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        done = await agent.caller(wire).send("STEPS")
        stream = await agent.caller(wire).subscribe(done.id)

    assert [type(item) for item in stream.items] == [Task]
    assert stream.task.status.state is TaskState.COMPLETED
    assert artifacts_of(stream.task) == artifacts_of(done)


@pytest.mark.parametrize("wire", NEW, ids=str)
@pytest.mark.parametrize("prompt", ["hi", "BADPROVIDER"])
async def test_a_task_that_is_over_is_refused_on_the_new_version(serving: Serving, wire: Wire, prompt: str) -> None:
    async with serving() as agent:
        if prompt == "BADPROVIDER":
            agent.fake_opencode.fail_next("POST", "/session", 500)
        done = await agent.caller(wire).send(prompt)
        error = await agent.caller(wire).refused("subscribe", id=done.id)

    state = "completed" if prompt == "hi" else "failed"
    assert done.status.state.value == state
    assert (error["http"], error["code"]) == (400, 400) if wire.binding != "rpc" else error["code"] == -32004
    [detail, *_] = error["data" if wire.binding == "rpc" else "details"]
    assert detail["reason"] == "UNSUPPORTED_OPERATION"
    assert state in error["message"]


@every_codec
async def test_what_is_not_there_or_not_theirs_is_not_found(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say)
        task = await agent.caller(wire).send("hi", configuration=wire.at_once())
        errors = [
            await agent.caller(wire).refused("subscribe", id="no-such-task"),
            await agent.caller(wire, bob=True).refused("subscribe", id=task.id),
        ]
        agent.fake_opencode.release()
        await agent.caller(wire).finished(task.id)

    for error in errors:
        assert "Task not found" in error["message"]
        assert error["http"] == 404 if wire.binding != "rpc" else error["code"] == -32001


@pytest.mark.parametrize("wire", [REST_03, REST_10], ids=str)
@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", None), ("POST", b"{}"), ("POST", b"")])
async def test_routes_take_get_and_post_with_and_without_a_body(
    serving: Serving, wire: Wire, method: str, body: bytes | None
) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say)
        task = await agent.caller(wire).send("hi", configuration=wire.at_once())
        path = ("/v1" if wire.version == "0.3" else "") + f"/tasks/{task.id}:subscribe"
        headers = {"A2A-Version": wire.version} | ({} if body is None else {"content-type": "application/json"})
        request = agent.http.build_request(method, path, content=body, headers=headers)
        response = await agent.http.send(request, stream=True)
        assert response.status_code == 200, await response.aread()
        agent.fake_opencode.release()
        with anyio.fail_after(DEADLINE):
            events = SseDecoder().feed(await response.aread())

    items = [CODECS[wire.version].parse_item(orjson.loads(event.data)) for event in events]
    assert isinstance(items[0], Task)
    assert items[0].id == task.id
    assert isinstance(items[-1], StatusUpdate)
    assert items[-1].status.state is TaskState.COMPLETED


@every_codec
async def test_a_reader_who_leaves_changes_nothing(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say, tokens=3)
        async with caller.open("LONG 9") as first:
            await held(agent)
            await first.until(lambda: first.events)
            for _ in range(3):
                async with caller.subscribed(first.task.id) as leaving:
                    await leaving.until(lambda: leaving.events)
            agent.fake_opencode.release()
            await first.whole()
        done = await caller.get(first.task.id)

    assert (first.state, believed(first.items)) == ("completed", artifacts_of(done))


@every_codec
async def test_the_streams_of_readers_count_and_those_refused_do_not(serving: Serving, wire: Wire) -> None:
    async with serving(max_concurrent_streams=3) as agent, AsyncExitStack() as streams:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say, tokens=3)
        first = await streams.enter_async_context(caller.open("LONG 9"))
        await first.until(lambda: first.events)
        for _ in range(3):
            await caller.refused("subscribe", id="no-such-task")
        second = await streams.enter_async_context(caller.subscribed(first.task.id))
        third = await streams.enter_async_context(caller.subscribed(first.task.id, first.events[0].number))
        error = await caller.refused("subscribe", id=first.task.id)
        agent.fake_opencode.release()
        for stream in (first, second, third):
            await stream.whole()
            await stream.close()
        again = [await caller.stream("hi") for _ in range(4)]

    assert "runs 3 streams already" in error["message"]
    assert {stream.state for stream in (first, second, third, *again)} == {"completed"}
