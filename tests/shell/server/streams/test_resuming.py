"""A stream that was cut goes on where it was cut: by `Last-Event-ID`, whatever has happened to the agent since."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import AFTER_TOOL, CallTool, FakeOpenCode, Say, Script, Think, words
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from sansio.a2a.bindings.sse import SseDecoder
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import ArtifactUpdate, StatusUpdate, StreamItem, Task, TaskState
from tests.shell.cases import every_codec, one_codec
from tests.shell.folding import Said, artifacts_of, folded
from tests.shell.harness import (
    CREDENTIALS,
    DEADLINE,
    RPC_03,
    RPC_10,
    Agent,
    Event,
    Serving,
    Stream,
    Wire,
    agent_at,
    served,
)

pytestmark = [
    pytest.mark.anyio,
    # what the client library leaves behind where a reader hangs up
    pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning"),
]
Starting = Callable[..., AbstractAsyncContextManager[Agent]]
TURN = Script(
    (
        (
            Think(words("I think of it. ")),
            Say(words("First I look, ")),
            CallTool(tool="bash", input={"command": "ls"}, title="ls", output="it", progress=({"output": "i"},)),
        ),
        (Think(words("Now I see. ")), Say(words("and then I know it all."))),
    )
)


def scripted() -> FakeOpenCode:
    """A stand-in with a turn of text, reasoning and a tool; it never pauses."""
    return FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01, scripts={"ALL": lambda prompt: TURN, **SCRIPTS})


@pytest.fixture
def starting(anyio_backend: str, tmp_path: Path) -> Starting:
    """Starts the agent on one file, before an OpenCode that stays."""

    def start(fake_opencode: FakeOpenCode, url: str, **more: Any) -> AbstractAsyncContextManager[Agent]:
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        settings = Settings(
            rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, task_store_database_url=store, **more
        )
        return agent_at(anyio_backend, fake_opencode, settings)

    return start


def told(items: Iterable[StreamItem]) -> list[StreamItem]:
    """The items in updates alone, a task being what replaces all that came before it."""
    found: list[StreamItem] = []
    for item in items:
        if isinstance(item, Task):
            found = [ArtifactUpdate(task_id=item.id, context_id="", artifact=one) for one in item.artifacts]
        else:
            found.append(item)
    return found


def believed(items: Iterable[StreamItem]) -> list[Said]:
    """What a client makes of streams that believes the tasks it is shown."""
    return folded(told(items))


def naively(first: Sequence[StreamItem], *later: Sequence[StreamItem]) -> list[Said]:
    """What a client makes of streams that keeps its own state, and takes no task after the first for news."""
    rest = [item for items in later for item in items if not isinstance(item, Task)]
    return folded([*told(first), *rest])


def last_state(items: Iterable[StreamItem]) -> TaskState:
    return [item.status.state for item in items if isinstance(item, Task | StatusUpdate)][-1]


async def seen_something(stream: Stream) -> None:
    await stream.until(lambda: stream.events)


def pairs(events: Iterable[Event]) -> list[tuple[int, dict[str, Any]]]:
    return [(event.number, event.json) for event in events]


def check_resumed(seen: Sequence[Event], rest: Sequence[Event], whole: Sequence[Event]) -> None:
    """The stream after some events begins with the task as of them, and goes on with each later one, once."""
    cursor = seen[-1].number
    first = rest[0].item
    assert isinstance(first, Task)
    assert rest[0].number == cursor
    assert artifacts_of(first) == believed(event.item for event in seen)
    assert first.status.state is last_state(event.item for event in seen)
    assert pairs(rest[1:]) == pairs(event for event in whole if event.number > cursor)


# --- within one life of the agent -------------------------------------------------------------------------


@every_codec
async def test_a_running_task_is_gone_on_with_from_every_event(serving: Serving, wire: Wire) -> None:
    async with serving(scripted()) as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(CallTool)
        async with caller.open("ALL") as whole:
            await whole.until(lambda: whole.text == "First I look, ")
            seen = list(whole.events)
            rests: list[Stream] = []
            async with anyio.create_task_group() as tasks:

                async def resume(cursor: int) -> None:
                    async with caller.subscribed(whole.task.id, cursor) as rest:
                        rests.append(rest)
                        await rest.whole()

                for event in seen:
                    tasks.start_soon(resume, event.number)
                await agent.until(lambda: len(rests) == len(seen))
                agent.fake_opencode.release()
                await whole.whole()
        done = await caller.get(whole.task.id)

    assert len(seen) >= 8
    for rest in rests:
        location = next(index for index, event in enumerate(seen, 1) if event.number == rest.events[0].number)
        check_resumed(seen[:location], rest.events, whole.events)
        assert naively([event.item for event in seen[:location]], rest.items) == artifacts_of(done)
    assert believed(whole.items) == artifacts_of(done)


@one_codec
async def test_a_task_that_is_over_is_gone_on_with_from_every_event(
    anyio_backend: str, starting: Starting, wire: Wire
) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            whole = await agent.caller(wire).stream("ALL")
            done = await agent.caller(wire).get(whole.task.id)
            at_once = [await agent.caller(wire).subscribe(done.id, event.number) for event in whole.events]
        async with starting(fake_opencode, url) as agent:
            restarted = [await agent.caller(wire).subscribe(done.id, event.number) for event in whole.events]

    assert len(whole.events) > 20
    for rests in (at_once, restarted):
        for location, rest in enumerate(rests, 1):
            check_resumed(whole.events[:location], rest.events, whole.events)
            assert naively(whole.items[:location], rest.items) == artifacts_of(done)


@one_codec
async def test_a_stream_that_is_cut_again_and_again_tells_each_event_once(serving: Serving, wire: Wire) -> None:
    cuts = random.Random(11)
    events: list[Event] = []
    async with serving(FakeOpenCode(pause=0.002)) as agent:
        caller = agent.caller(wire)
        async with caller.open("LONG 120") as stream:
            await stream.until(lambda: stream.events)
            task_id = stream.task.id
            events += stream.events
        with anyio.fail_after(3 * DEADLINE):
            while not last_state(event.item for event in events).terminal:
                async with caller.subscribed(task_id, events[-1].number) as stream:
                    wanted = cuts.randint(2, 12)
                    while len(stream.events) < wanted and not stream.ended:
                        await stream.more()
                    events += stream.events[1:]
        done = await caller.get(task_id)

    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    assert naively([event.item for event in events]) == artifacts_of(done)


@one_codec
async def test_a_message_sent_again_goes_on_with_its_stream(serving: Serving, wire: Wire) -> None:
    message = {"contextId": "c", "messageId": "m-1"}
    async with serving(scripted()) as agent:
        caller = agent.caller(wire)
        whole = await caller.stream("ALL", **message)
        cursor = whole.events[5].number
        request = caller.request("stream", caller.params("ALL", dict(message)), **{"Last-Event-ID": str(cursor)})
        async with caller.opened(request) as rest:
            await rest.whole()
        prompts = agent.asked("POST", "/prompt_async")

    check_resumed(whole.events[:6], rest.events, whole.events)
    assert prompts == 1


@pytest.mark.parametrize("wire", [RPC_03, RPC_10], ids=str)
async def test_clients_that_cannot_set_headers_tell_it_in_the_metadata(serving: Serving, wire: Wire) -> None:
    async with serving(scripted()) as agent:
        caller = agent.caller(wire)
        whole = await caller.stream("ALL")
        cursor = str(whole.events[5].number)
        params = {"id": whole.task.id, "metadata": {"shared": {"resume": {"last_event_id": cursor}}}}
        response = await caller.ask("subscribe", params)

    rest = Stream(wire, response)
    for event in SseDecoder().feed(response.content):
        json = orjson.loads(event.data)["result"]
        rest.events.append(Event(number=int(event.id), item=CODECS[wire.version].parse_item(json), json=json))
    check_resumed(whole.events[:6], rest.events, whole.events)


@every_codec
async def test_what_is_no_events_id_is_refused_by_name(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        done = await caller.send("hi")
        requests = [
            caller.request("subscribe", {"id": done.id}, **{"Last-Event-ID": cursor})
            for cursor in ("x", "-1", "1.5", "9" * 40, "1 2")
        ]
        responses = [await caller.http.send(request) for request in requests]

    for response in responses:
        assert b"Last-Event-ID" in response.content
        assert (b"-32602" in response.content) if wire.binding == "rpc" else response.status_code == 400


async def test_the_metadata_that_holds_no_events_id_is_refused_by_name(serving: Serving) -> None:
    async with serving() as agent:
        done = await agent.caller(RPC_03).send("hi")
        wrong: list[Any] = ["x", {"last_event_id": "x"}, {"last_event_id": -1}, {"last_event_id": []}]
        for resume in wrong:
            error = await agent.caller(RPC_03).refused(
                "subscribe", id=done.id, metadata={"shared": {"resume": resume}}
            )
            assert (error["code"], "shared" in str(error)) == (-32602, True), error


# --- what cannot be reached any more ----------------------------------------------------------------------


def check_told_anew(seen: Sequence[Event], rest: Stream, done: Task) -> None:
    first = rest.items[0]
    assert isinstance(first, Task)
    assert believed(rest.items) == artifacts_of(done)
    assert naively([event.item for event in seen], rest.items) == artifacts_of(done)
    assert last_state(rest.items) is done.status.state
    assert rest.events[-1].number not in {event.number for event in seen[:-1]}


@one_codec
async def test_where_nothing_was_kept_the_task_is_told_anew(
    anyio_backend: str, starting: Starting, wire: Wire
) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            whole = await agent.caller(wire).stream("ALL")
            done = await agent.caller(wire).get(whole.task.id)
        async with starting(
            fake_opencode, url, task_event_retention_seconds=0
        ) as agent:  # which forgets as it starts
            rests = [await agent.caller(wire).subscribe(done.id, event.number) for event in whole.events]

    for location, rest in enumerate(rests[:-1], 1):
        check_told_anew(whole.events[:location], rest, done)
        updates = [type(item) for item in rest.items]
        assert updates == [Task, *([ArtifactUpdate] * len(done.artifacts)), StatusUpdate]
    assert [type(item) for item in rests[-1].items] == [Task]  # of the last event there is nothing to go on with


@one_codec
@pytest.mark.parametrize("cursor", [0, 1, 10**17])
async def test_an_event_nobody_knows_gets_the_task_as_it_is(serving: Serving, wire: Wire, cursor: int) -> None:
    async with serving(scripted()) as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(CallTool)
        async with caller.open("ALL") as whole:
            await whole.until(lambda: whole.text == "First I look, ")
            async with caller.subscribed(whole.task.id, cursor) as rest:
                await rest.until(lambda: rest.statuses)
                agent.fake_opencode.release()
                await rest.whole()
            await whole.whole()
        done = await caller.get(whole.task.id)

    first = rest.items[0]
    assert isinstance(first, Task)
    assert first.history == done.history
    assert believed(rest.items) == artifacts_of(done)
    assert naively([], rest.items) == artifacts_of(done)
    numbers = [event.number for event in rest.events]
    assert numbers == sorted(numbers)
    assert numbers[-1] == whole.events[-1].number
    anew = [number for number in numbers if number != numbers[0]]
    assert anew == sorted(set(anew))


@one_codec
@pytest.mark.parametrize("cursor", [1, 2, 10**6])
async def test_an_id_that_comes_with_a_new_task_has_no_effect(serving: Serving, wire: Wire, cursor: int) -> None:
    async with serving(scripted()) as agent:
        caller = agent.caller(wire)
        new = await caller.stream("ALL", after=cursor)
        done = await caller.get(new.task.id)

    numbers = [event.number for event in new.events]
    assert numbers == sorted(set(numbers))
    assert folded(new.items) == artifacts_of(done)


@one_codec
async def test_a_client_cut_off_while_it_is_told_anew_is_told_anew_again(serving: Serving, wire: Wire) -> None:
    async with serving(scripted()) as agent:
        caller = agent.caller(wire)
        done = await caller.send("ALL")
        lost = 10**9
        rest = await caller.subscribe(done.id, lost)
        for location in range(1, len(rest.events)):
            again = await caller.subscribe(done.id, rest.events[location - 1].number)
            assert naively(rest.items[:location], again.items) == artifacts_of(done)
            assert last_state(again.items) is TaskState.COMPLETED
        after = await caller.subscribe(done.id, rest.events[-1].number)

    assert [type(item) for item in after.items] == [Task]


# --- after a crash ----------------------------------------------------------------------------------------


@one_codec
@pytest.mark.parametrize("hold", [(Think, 2), (Say, 1), (Say, 3), (CallTool, 0)], ids=str)
async def test_a_stream_outlives_a_crash_of_the_agent(
    anyio_backend: str, starting: Starting, wire: Wire, hold: tuple[type[Any], int]
) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            undisturbed = await agent.caller(wire).stream("ALL")
            fake_opencode.hold(hold[0], tokens=hold[1])
            async with agent.caller(wire).open("ALL") as stream:
                with anyio.fail_after(DEADLINE):
                    await fake_opencode.held()
                await stream.until(lambda: len(stream.words) >= max(hold[1], 1))
                seen = list(stream.events)
        async with starting(fake_opencode, url) as agent:
            caller = agent.caller(wire)
            async with caller.subscribed(seen[0].item.id, seen[-1].number) as rest:  # type: ignore[union-attr]  # a task
                await rest.until(lambda: rest.events)
                fake_opencode.release()
                await rest.whole()
            done = await caller.get(rest.task.id)
            again = await caller.subscribe(done.id, seen[-1].number)
            prompts = agent.asked("POST", "/prompt_async")

    items = [event.item for event in seen]
    assert (rest.state, done.status.state) == ("completed", TaskState.COMPLETED)
    assert texts(artifacts_of(done)) == texts(believed(undisturbed.items))
    assert naively(items, rest.items) == believed(rest.items) == artifacts_of(done)
    assert naively(items, again.items) == believed(again.items) == artifacts_of(done)
    assert prompts == 2  # each went out once


def texts(artifacts: Iterable[Said]) -> list[tuple[str | None, str, list[Any]]]:
    """What is said, without the ids, which are the task's own."""
    found = [(one.name, one.text, [{**data, "call_id": ""} for data in one.data]) for one in artifacts]
    return sorted(found, key=lambda one: str(one[0]))


@one_codec
async def test_a_stream_outlives_one_crash_after_the_other(
    anyio_backend: str, starting: Starting, wire: Wire
) -> None:
    fake_opencode = FakeOpenCode(pause=0.002)
    events: list[Event] = []
    task_id = ""
    async with served(anyio_backend, fake_opencode) as url:
        for tokens in (5, 40, 41, 90, 0):
            async with starting(fake_opencode, url) as agent:
                caller = agent.caller(wire)
                if tokens:
                    fake_opencode.hold(Say, tokens=tokens)
                going_on = caller.subscribed(task_id, events[-1].number) if task_id else caller.open("LONG 120")
                async with going_on as stream:
                    await seen_something(stream)
                    task_id = task_id or stream.task.id
                    fake_opencode.release()
                    if tokens:
                        fake_opencode.hold(Say, tokens=tokens)
                        with anyio.fail_after(DEADLINE):
                            await fake_opencode.held()
                    else:
                        await stream.whole()
                    events += stream.events
                done = await caller.get(task_id)

    items = [event.item for event in events]
    said = "".join(f"w{index} " for index in range(120))
    assert [one.text for one in naively(items)] == [one.text for one in believed(items)] == [said]
    assert done.status.state is TaskState.COMPLETED


@one_codec
async def test_events_that_were_lost_in_a_crash_are_made_good(
    anyio_backend: str, starting: Starting, wire: Wire
) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        fake_opencode.hold(Say, tokens=3)
        async with starting(fake_opencode, url) as agent:
            task = await agent.caller(wire).send("ALL", configuration=wire.at_once())
            with anyio.fail_after(DEADLINE):
                await fake_opencode.held()
            last = agent.running.tasks.active_tasks[task.id].log.last
        async with starting(fake_opencode, url) as agent:
            caller = agent.caller(wire)
            lost = last + 3  # as if three more had been seen than were kept
            async with caller.subscribed(task.id, lost) as rest:
                await rest.until(lambda: rest.statuses)
                fake_opencode.release()
                await rest.whole()
            done = await caller.get(task.id)

    stale = ArtifactUpdate(
        task_id=task.id,
        context_id=task.context_id,
        artifact=done.artifacts[0],  # a client that has seen more than is known
    )
    assert naively([stale], rest.items) == believed(rest.items) == artifacts_of(done)
    assert rest.state == "completed"


async def test_a_question_is_still_open_after_a_crash_and_asked_once(anyio_backend: str, starting: Starting) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent, agent.caller().open("PERMISSION") as stream:
            await stream.until(lambda: stream.shared("interrupt"))
            seen = list(stream.events)
        async with (
            starting(fake_opencode, url) as agent,
            agent.caller().subscribed(stream.task.id, seen[-1].number) as rest,
        ):
            await rest.until(lambda: rest.events)
            [asked] = (await agent.opencode.get("/permission")).json()
            await agent.opencode.post(f"/permission/{asked['id']}/reply", json={"reply": "once"})
            await rest.whole()

    assert rest.task.status.state is TaskState.INPUT_REQUIRED
    assert [one["phase"] for one in rest.shared("interrupt")] == ["resolved"]
    assert (rest.state, rest.text) == ("completed", AFTER_TOOL)
