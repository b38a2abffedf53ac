"""A stream ends where its task waits for its user, unless its reader wants it open; what follows has no gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from opencode_a2a.fake_opencode import Ask, FakeOpenCode, Prompt, Refuse, Say, Script
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from opencode_a2a.server.http import stream_frames
from sansio.a2a.model import Task, TaskState
from tests.shell.cases import every_codec, one_codec
from tests.shell.folding import reason_of, text_of
from tests.shell.harness import Agent, Event, Serving, Stream, Wire

pytestmark = pytest.mark.anyio

FIRST, SECOND = "Tea or Coffee?", "Milk or Sugar?"
WHOLE = "One. Two. Three."


def _choice(question: str) -> dict[str, Any]:
    options = [{"label": label, "description": label} for label in question.rstrip("?").split(" or ")]
    return {"question": question, "header": "Choice", "options": options}


def _chain(prompt: Prompt) -> Script:
    """Two questions, one after the other, and something said before, between and after them."""
    return Script(
        (
            (Say(("One. ",)), Ask((_choice(FIRST),))),
            (Say(("Two. ",)), Ask((_choice(SECOND),))),
            (Say(("Three.",)),),
        )
    )


def _login(prompt: Prompt) -> Script:
    """Says something and has no key; has one at the next prompt."""
    refused = Script(((Say(("First. ",)),), (Refuse(status=401, message="no key"),)))
    return refused if prompt.turn == 1 else Script(((Say(("Second.",)),),))


def scripted() -> FakeOpenCode:
    scripts = {**SCRIPTS, "CHAIN": _chain, "LOGIN": _login}
    return FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01, scripts=scripts)


def finals(stream: Stream) -> list[bool]:
    """What the status events say of `final`, as it stands in their JSON; nothing on version 1.0."""
    return [event.json["final"] for event in stream.events if "final" in event.json]


def later(events: Sequence[Event], number: int) -> list[tuple[int, dict[str, Any]]]:
    return [(event.number, {**event.json, "final": None}) for event in events if event.number > number]


async def answered(agent: Agent, wire: Wire, stream: Stream, text: str) -> Stream:
    return await agent.caller(wire).stream(text, taskId=stream.task.id)


@every_codec
async def test_a_stream_ends_where_its_task_asks_and_the_answers_own_goes_on(serving: Serving, wire: Wire) -> None:
    async with serving(scripted()) as agent:
        asked = await agent.caller(wire).stream("CHAIN")
        between = await answered(agent, wire, asked, "coffee")
        last = await answered(agent, wire, between, "Milk")
        done = await agent.caller(wire).get(asked.task.id)

    assert [stream.state for stream in (asked, between, last)] == ["input-required", "input-required", "completed"]
    assert (text_of(done), done.status.state) == (WHOLE, TaskState.COMPLETED)
    assert asked.text == "One. "
    for stream in (asked, between, last):
        assert finals(stream) == ([False] * (len(stream.statuses) - 1) + [True] if wire.version == "0.3" else [])
    for before, after in ((asked, between), (between, last)):
        assert after.task.status.state is TaskState.WORKING
        assert reason_of(after.task).startswith("Answered: ")
        numbers = [event.number for event in (*before.events, *after.events)]
        assert numbers == sorted(set(numbers))
    assert [answer_of(stream) for stream in (between, last)] == ["One. Two. ", WHOLE]
    assert [text_of(stream.task) for stream in (between, last)] == ["One. ", "One. Two. "]


def answer_of(stream: Stream) -> str:
    """The answer for a client that believes the task it is shown and appends what is to be appended."""
    text = text_of(stream.task)
    for chunk in stream.chunks:
        if chunk.artifact.artifact_id.endswith(":text"):
            piece = "".join(getattr(part, "text", "") for part in chunk.artifact.parts)
            text = text + piece if chunk.append else piece
    return text


@one_codec
async def test_who_goes_on_after_the_last_event_sees_what_an_open_stream_shows(serving: Serving, wire: Wire) -> None:
    async with serving(scripted()) as agent:
        caller = agent.caller(wire)
        async with agent.caller(wire, stays_open=True).open("CHAIN") as whole:
            await whole.until(lambda: whole.statuses and whole.state == "input-required")
            asked = await caller.subscribe(whole.task.id, whole.events[0].number)
            async with caller.subscribed(whole.task.id, asked.events[-1].number) as between:
                await between.until(lambda: between.events)
                await caller.send("tea", taskId=whole.task.id)
                await between.whole()
            cursor = between.events[-1].number
            params = caller.params("sugar", {"taskId": whole.task.id})
            async with caller.opened(caller.request("stream", params, **{"Last-Event-ID": str(cursor)})) as last:
                await last.whole()
            await whole.whole()

    assert [stream.state for stream in (asked, between, last)] == ["input-required", "input-required", "completed"]
    assert [stream.task.status.state for stream in (between, last)] == [TaskState.INPUT_REQUIRED] * 2
    pieces = [event for stream in (asked, between, last) for event in stream.events[1:]]
    assert later(pieces, 0) == later(whole.events, whole.events[0].number)
    assert (whole.state, whole.text) == ("completed", WHOLE)
    assert finals(whole) == ([False] * (len(whole.statuses) - 1) + [True] if wire.version == "0.3" else [])


@one_codec
async def test_a_subscription_made_while_the_task_waits_ends_with_the_next_question(
    serving: Serving, wire: Wire
) -> None:
    async with serving(scripted()) as agent:
        caller = agent.caller(wire)
        task = await caller.send("CHAIN")
        async with caller.subscribed(task.id) as watching:
            await watching.until(lambda: watching.events)
            assert watching.task.status == task.status
            assert not watching.ended
            next_one = await caller.send("tea", taskId=task.id)
            await watching.whole()

    assert watching.state == "input-required"
    assert watching.statuses[-1].status == next_one.status
    assert watching.items[-1] is watching.statuses[-1]


@one_codec
async def test_a_subscription_does_not_wait_for_an_answer_for_ever(
    serving: Serving, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_frames, "PATIENCE", 0.05)
    async with serving(scripted(), stream_max_duration_seconds=20) as agent:
        task = await agent.caller(wire).send("CHAIN")
        with anyio.fail_after(15):  # which is before the limit
            watching = await agent.caller(wire).subscribe(task.id)
        assert (await agent.caller(wire).get(task.id)).status == task.status

    assert [type(item) for item in watching.items] == [Task]


@one_codec
async def test_the_same_message_again_shows_the_task_that_waits_and_ends(serving: Serving, wire: Wire) -> None:
    async with serving(scripted()) as agent:
        message = {"messageId": "m", "contextId": "c"}
        task = await agent.caller(wire).send("CHAIN", **message)
        again = await agent.caller(wire).stream("CHAIN", **message)

    assert [type(item) for item in again.items] == [Task]
    assert (again.task.id, again.task.status) == (task.id, task.status)


@one_codec
@pytest.mark.parametrize("stays_open", [False, True])
async def test_a_question_that_was_answered_ends_no_stream(serving: Serving, wire: Wire, stays_open: bool) -> None:
    async with serving(scripted()) as agent:
        caller = agent.caller(wire)
        first = await caller.stream("CHAIN")
        await caller.send("tea", taskId=first.task.id)
        await caller.send("milk", taskId=first.task.id)
        whole = await agent.caller(wire, stays_open=stays_open).subscribe(first.task.id, first.events[0].number)

    assert [one.status.state for one in whole.statuses].count(TaskState.INPUT_REQUIRED) == 2
    assert (whole.state, whole.text) == ("completed", WHOLE)
    assert finals(whole) == ([False] * (len(whole.statuses) - 1) + [True] if wire.version == "0.3" else [])


@one_codec
@pytest.mark.parametrize("stays_open", [False, True])
async def test_a_reader_that_is_told_anew_ends_with_the_question_too(
    serving: Serving, wire: Wire, stays_open: bool
) -> None:
    async with serving(scripted()) as agent:
        task = await agent.caller(wire).send("CHAIN")
        async with agent.caller(wire, stays_open=stays_open).subscribed(task.id, 10**9) as anew:
            await anew.until(lambda: anew.statuses)
            if stays_open:
                await agent.caller(wire).send("tea", taskId=task.id)
                await agent.caller(wire).send("milk", taskId=task.id)
            await anew.whole()

    assert anew.state == ("completed" if stays_open else "input-required")
    assert finals(anew)[-1:] == ([True] if wire.version == "0.3" else [])


@one_codec
async def test_the_deployment_can_keep_all_streams_open(serving: Serving, wire: Wire) -> None:
    async with serving(scripted(), stream_stays_open_on_interrupt=True) as agent:
        caller = agent.caller(wire)
        async with caller.open("CHAIN") as stream:
            await stream.until(lambda: stream.statuses and stream.state == "input-required")
            await caller.send("tea", taskId=stream.task.id)
            await caller.send("milk", taskId=stream.task.id)
            await stream.whole()

    assert (stream.state, stream.text) == ("completed", WHOLE)
    assert finals(stream) == ([False] * (len(stream.statuses) - 1) + [True] if wire.version == "0.3" else [])


@one_codec
@pytest.mark.parametrize("stays_open", [False, True])
async def test_missing_credentials_end_every_stream_and_the_next_message_goes_on(
    serving_on_disk: Serving, wire: Wire, stays_open: bool
) -> None:
    async with serving_on_disk(scripted()) as agent:
        caller = agent.caller(wire, stays_open=stays_open)
        refused = await caller.stream("LOGIN")
        await agent.until(lambda: not agent.running.tasks.active_tasks)
        watching = await caller.subscribe(refused.task.id)
        ended = await caller.stream("LOGIN", taskId=refused.task.id)

    assert (refused.state, refused.text) == ("auth-required", "First. ")
    assert finals(refused)[-1:] == ([True] if wire.version == "0.3" else [])
    assert [type(item) for item in watching.items] == [Task]
    assert ended.task.status.state is TaskState.WORKING
    assert ended.state == "completed"
    assert (text_of(ended.task), answer_of(ended)) == ("First. ", "First. Second.")


@one_codec
async def test_an_answer_to_one_of_several_requests_shows_the_next_and_ends(serving: Serving, wire: Wire) -> None:
    async with serving(scripted()) as agent:
        caller, memory = agent.caller(wire), agent.fake_opencode.memory
        task = await caller.send("PERMISSION")
        [session] = memory.sessions.values()
        extra = {"id": "que_extra", "sessionID": session.id, "questions": [_choice(FIRST)]}
        memory.questions["que_extra"] = type(next(iter(memory.permissions.values())))(extra)
        async with caller.subscribed(task.id) as watching:
            await watching.until(lambda: watching.events)
            memory.publish(session, "question.asked", extra)
            await watching.whole()
        agent.fake_opencode.hold(Say)  # OpenCode does not end a turn that waits
        one = await caller.stream("once", taskId=task.id)
        await caller.send("tea", taskId=task.id, configuration=wire.at_once())
        agent.fake_opencode.release()
        done = await caller.finished(task.id)

    assert watching.state == "input-required"
    assert [type(item) for item in one.items] == [Task]
    assert reason_of(one.task).startswith(f"Allowed once: bash.\n\n{FIRST}")
    assert done.status.state is TaskState.COMPLETED
