"""Cancelling: at once, wherever the task is; what ended otherwise stays as it is; OpenCode is told to stop."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from opencode_a2a.fake_opencode import Ask, Say
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import Task, TaskState
from tests import schemas
from tests.shell.cases import every_codec, one_codec
from tests.shell.folding import text_of
from tests.shell.harness import REST_03, REST_10, RPC_10, Agent, Caller, Serving, Stream, Wire
from tests.shell.refusals import Refusal, expected, not_found, refusal

pytestmark = pytest.mark.anyio

LONG_AFTER = 60.0
"""Seconds that no test lives to see."""


def not_cancelable(wire: Wire) -> Refusal:
    return expected(wire, code=-32002, http=(409, 400), names=("TaskNotCancelableError", "TASK_NOT_CANCELABLE"))


def aborts(agent: Agent) -> int:
    return agent.asked("POST", "/abort")


def prompts(agent: Agent) -> int:
    return agent.asked("POST", "/prompt_async")


def ends(stream: Stream) -> list[TaskState]:
    """The terminal states a stream tells of, which should be one, and the last thing said."""
    assert stream.items[-1] is stream.statuses[-1]
    return [one.status.state for one in stream.statuses if one.status.state.terminal]


async def cancelled_or_not(caller: Caller, task_id: str) -> Task | Refusal:
    """The answer to a cancellation, whichever way it goes."""
    body = (await caller.ask("cancel", {"id": task_id})).json()
    error = body.get("error") if caller.wire != REST_03 else (body if "code" in body else None)
    if error is not None:
        return await refused(caller, task_id)
    result = body["result"] if caller.wire.binding == "rpc" else body
    schemas.check(caller.wire.version, schemas.TASK, result)
    return CODECS[caller.wire.version].parse_task(result)


async def refused(caller: Caller, task_id: str) -> Refusal:
    return refusal(caller.wire, await caller.refused("cancel", id=task_id))


# --- where a task can be ----------------------------------------------------------------------------------


@one_codec
async def test_a_running_task_ends_as_canceled_for_everyone(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say, tokens=2)
        async with caller.open("LONG 9") as stream, caller.open("hi") as other:
            await stream.until(lambda: stream.text == "w0 w1 ")
            async with caller.subscribed(stream.task.id) as reader:
                answer = await caller.cancel(stream.task.id)
                await stream.whole()
                await reader.whole()
            read = await caller.get(stream.task.id)
            agent.fake_opencode.release()
            await other.whole()
        await agent.until(lambda: aborts(agent) == 1)

    assert answer == read
    assert (answer.status.state, text_of(answer)) == (TaskState.CANCELED, "w0 w1 ")
    assert ends(stream) == ends(reader) == [TaskState.CANCELED]
    assert stream.statuses[-1].status == read.status
    assert other.state == "completed"  # what is none of its business goes on


@one_codec
async def test_opencode_is_told_to_stop_what_was_cancelled(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say)
        task = await caller.send("hi", configuration=wire.at_once())
        await agent.fake_opencode.held()
        bound = await caller.get(task.id)

        await caller.cancel(task.id)
        await agent.until(lambda: aborts(agent))

        [abort] = [one for one in agent.fake_opencode.requests if one.path.endswith("/abort")]
        assert abort.path == f"/session/{(bound.metadata or {})['shared']['session']['id']}/abort"
        assert (await agent.opencode.get("/session/status")).json() == {}


@one_codec
async def test_a_queued_task_is_cancelled_without_touching_the_running_one(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say)
        running = await caller.send("COUNT", contextId="c", configuration=wire.at_once())
        await agent.fake_opencode.held()
        queued = await caller.send("COUNT never", contextId="c", configuration=wire.at_once())
        last = await caller.send("COUNT", contextId="c", configuration=wire.at_once())
        async with caller.subscribed(queued.id) as stream:
            answer = await caller.cancel(queued.id)
            await stream.whole()

        assert answer.status.state is TaskState.CANCELED
        assert ends(stream) == [TaskState.CANCELED]
        assert (await caller.get(running.id)).status.state is TaskState.WORKING
        agent.fake_opencode.release()
        texts = [text_of(await caller.finished(one.id)) for one in (running, last)]

        assert texts == ["You have said 1 things.", "You have said 2 things."]
        assert (await caller.get(queued.id)).status == answer.status
        assert aborts(agent) == 0
        assert not any(b"never" in one.body for one in agent.fake_opencode.requests)


@one_codec
@pytest.mark.parametrize("prompt", ["PERMISSION", "QUESTION"])
async def test_a_task_that_waits_for_its_client_can_be_cancelled(serving: Serving, wire: Wire, prompt: str) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        task = await caller.send(prompt)
        assert task.status.state is TaskState.INPUT_REQUIRED
        async with caller.subscribed(task.id) as stream:
            answer = await caller.cancel(task.id)
            await stream.whole()
        await agent.until(lambda: aborts(agent) == 1)
        memory = agent.fake_opencode.memory
        await agent.until(lambda: not memory.permissions and not memory.questions)

        assert answer.status.state is TaskState.CANCELED
        assert ends(stream) == [TaskState.CANCELED]
        assert await caller.get(task.id) == answer


@one_codec
async def test_a_send_that_waits_is_answered_with_the_cancelled_task(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say)
        answers: list[Task] = []

        async def wait() -> None:
            answers.append(await caller.send("hi", contextId="c"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await agent.fake_opencode.held()
            [task] = (await caller.page(contextId="c"))["tasks"]
            cancelled = await caller.cancel(task["id"])

    assert answers == [cancelled]


@one_codec
async def test_a_task_without_a_session_is_cancelled_before_it_has_one(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.stall_next("POST", "/session")
        task = await caller.send("COUNT", contextId="c", configuration=wire.at_once())
        await agent.until(lambda: agent.asked("POST", "/session"))
        async with caller.subscribed(task.id) as stream:
            answer = await caller.cancel(task.id)
            await stream.whole()
        following = await caller.send("COUNT", contextId="c")

        assert answer.status.state is TaskState.CANCELED
        assert ends(stream) == [TaskState.CANCELED]
        assert text_of(following) == "You have said 1 things."
        assert (prompts(agent), aborts(agent)) == (1, 0)


@one_codec
async def test_a_cancelled_task_stays_so_over_a_restart(serving_on_disk: Serving, wire: Wire) -> None:
    async with serving_on_disk() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say)
        task = await caller.send("hi", configuration=wire.at_once())
        await agent.fake_opencode.held()
        answer = await caller.cancel(task.id)
    async with serving_on_disk() as agent:
        caller = agent.caller(wire)
        read = await caller.get(task.id)
        if wire.version == "0.3":
            assert (await caller.refused("cancel", id=task.id))["code"] == -32002
        else:
            assert await caller.cancel(task.id) == read
        sent_again = prompts(agent)

    assert answer == read
    assert sent_again == 0


@one_codec
async def test_the_next_turn_of_the_session_goes_on(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say, tokens=1)
        task = await caller.send("COUNT", contextId="c", configuration=wire.at_once())
        await agent.fake_opencode.held()
        await caller.cancel(task.id)
        agent.fake_opencode.release()

        following = await caller.send("COUNT", contextId="c")

        assert (following.status.state, text_of(following)) == (TaskState.COMPLETED, "You have said 2 things.")
        assert agent.asked("POST", "/session") == 1


# --- once more, and too late ------------------------------------------------------------------------------


@every_codec
async def test_a_canceled_task_can_be_canceled_again_on_version_1_0_alone(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        task = await caller.send("PERMISSION")

        if wire.version == "0.3":  # for which a canceled task is as terminal as any other
            await caller.cancel(task.id)
            errors = [await caller.refused("cancel", id=task.id) for _ in range(2)]
            assert [refusal(wire, error) for error in errors] == [not_cancelable(wire)] * 2
        else:
            answers = [await caller.cancel(task.id) for _ in range(3)]
            assert answers[0] == answers[1] == answers[2] == await caller.get(task.id)
        await agent.until(lambda: aborts(agent))
        assert aborts(agent) == 1


@every_codec
@pytest.mark.parametrize("state", [TaskState.COMPLETED, TaskState.FAILED], ids=str)
async def test_a_task_that_has_ended_cannot_be_cancelled(serving: Serving, wire: Wire, state: TaskState) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        if state is TaskState.FAILED:
            agent.fake_opencode.fail_next("POST", "/session", 500)
        task = await caller.send("hi")
        assert task.status.state is state

        error = await caller.refused("cancel", id=task.id)

        assert refusal(wire, error) == not_cancelable(wire)
        assert state.value in error["message"]
        assert await caller.get(task.id) == task
        assert aborts(agent) == 0


async def test_version_1_0_tells_which_state_forbids_it(serving: Serving) -> None:
    async with serving() as agent:
        task = await agent.caller(RPC_10).send("hi")
        rpc = await agent.caller(RPC_10).refused("cancel", id=task.id)
        rest = await agent.caller(REST_10).refused("cancel", id=task.id)

    for details in (rpc["data"], rest["details"]):
        assert details[0]["metadata"] == {"taskId": task.id, "state": "completed"}
        assert details[0]["domain"] == "a2a-protocol.org"
    assert rest["status"] == "FAILED_PRECONDITION"


@every_codec
async def test_what_is_not_ones_own_cannot_be_cancelled_nor_told_from_nothing(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller, bob = agent.caller(wire), agent.caller(wire, bob=True)
        task = await caller.send("PERMISSION")

        foreign = await bob.refused("cancel", id=task.id)
        unknown = await bob.refused("cancel", id="no-such-task")

        assert refusal(wire, foreign) == refusal(wire, unknown) == not_found(wire)
        assert str(foreign).replace(task.id, "ID") == str(unknown).replace("no-such-task", "ID")
        assert (await caller.get(task.id)).status == task.status
        assert aborts(agent) == 0


# --- an OpenCode that does not stop -----------------------------------------------------------------------


@one_codec
async def test_an_abort_that_hangs_does_not_delay_the_answer(serving: Serving, wire: Wire) -> None:
    async with serving(cancel_abort_timeout_seconds=LONG_AFTER) as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say)
        async with caller.open("hi") as stream:
            await stream.until(lambda: stream.statuses)
            await agent.fake_opencode.held()
            agent.fake_opencode.stall_next("POST", "/session/")
            answer = await caller.cancel(stream.task.id)
            await stream.whole()

        assert answer.status.state is TaskState.CANCELED
        assert ends(stream) == [TaskState.CANCELED]
        await agent.until(lambda: aborts(agent) == 1)


@one_codec
async def test_a_prompt_that_is_not_accepted_does_not_delay_the_answer(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        first = await caller.send("hi", contextId="c")
        agent.fake_opencode.stall_next("POST", "/session/")
        async with caller.open("hi", contextId="c") as stream:
            await agent.until(lambda: prompts(agent) == 2)
            await stream.until(lambda: stream.items)
            answer = await caller.cancel(stream.task.id)
            await stream.whole()

    assert first.id != answer.id
    assert answer.status.state is TaskState.CANCELED
    assert ends(stream) == [TaskState.CANCELED]


@one_codec
@pytest.mark.parametrize("late", [False, True])
async def test_the_next_turn_does_not_wait_for_an_abort_that_hangs(serving: Serving, wire: Wire, late: bool) -> None:
    async with serving(cancel_abort_timeout_seconds=0.2) as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say)
        task = await caller.send("COUNT", contextId="c", configuration=wire.at_once())
        await agent.fake_opencode.held()
        agent.fake_opencode.stall_next("POST", "/session/", late=late)

        await caller.cancel(task.id)
        following = await caller.send("COUNT", contextId="c", configuration=wire.at_once())
        await agent.until(lambda: prompts(agent) == 2)
        agent.fake_opencode.release()
        done = await caller.finished(following.id)

        assert (done.status.state, text_of(done)) == (TaskState.COMPLETED, "You have said 2 things.")
        assert (await caller.get(task.id)).status.state is TaskState.CANCELED
        assert aborts(agent) == (1 if late else 2)  # said again, unless it is seen to have arrived


@pytest.mark.parametrize("status", [500, 404])
async def test_an_abort_that_fails_changes_nothing_for_the_client(serving: Serving, status: int) -> None:
    async with serving() as agent:
        caller = agent.caller()
        agent.fake_opencode.hold(Ask)
        task = await caller.send("QUESTION", contextId="c", configuration=RPC_10.at_once())
        await agent.fake_opencode.held()
        agent.fake_opencode.fail_next("POST", "/session/", status)

        answer = await caller.cancel(task.id)
        await agent.until(lambda: aborts(agent))

        assert answer.status.state is TaskState.CANCELED
        assert await caller.get(task.id) == answer


# --- the bodies clients send ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["empty", "none", "name", "id", "other"])
@pytest.mark.parametrize("wire", [REST_03, REST_10], ids=str)
async def test_over_http_the_path_names_the_task_whatever_the_body_says(
    serving: Serving, wire: Wire, form: str
) -> None:
    async with serving() as agent:
        task = await agent.caller(wire).send("PERMISSION")
        bodies: dict[str, dict[str, Any]] = {
            "empty": {"content": b""},
            "none": {"json": {}},
            "name": {"json": {"name": f"tasks/{task.id}"}},
            "id": {"json": {"id": task.id}},
            "other": {"json": {"id": "another-task", "metadata": {"why": "enough"}}},
        }
        prefix = "/v1" if wire.version == "0.3" else ""

        answer = await agent.http.post(f"{prefix}/tasks/{task.id}:cancel", **bodies[form])

    assert answer.status_code == 200, answer.text
    schemas.check(wire.version, schemas.TASK, answer.json())
    assert CODECS[wire.version].parse_task(answer.json()).status.state is TaskState.CANCELED


async def test_a_task_is_answered_in_the_proto_form_it_was_made_in(serving: Serving) -> None:
    async with serving() as agent:
        message = {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "PERMISSION"}]}
        sent = await agent.http.post("/v1/message:send", json={"message": message})
        task = sent.json()["task"]

        answer = await agent.http.post(f"/v1/tasks/{task['id']}:cancel", json={"name": f"tasks/{task['id']}"})

    assert answer.json()["status"]["state"] == "TASK_STATE_CANCELLED"
    assert "kind" not in answer.json()


# --- at the same time -------------------------------------------------------------------------------------


@one_codec
async def test_cancellations_at_once_are_one(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        callers = [agent.caller(wire) for _ in range(4)]
        answers: list[Task] = []
        agent.fake_opencode.hold(Say)
        async with callers[0].open("hi") as stream:
            await stream.until(lambda: stream.statuses)

            async def cancel(caller: Caller) -> None:
                response = await caller.ask("cancel", {"id": stream.task.id})
                body = response.json()
                if wire.version == "0.3" and -32002 in (body.get("code"), (body.get("error") or {}).get("code")):
                    return  # it came when the task was canceled already
                answers.append(CODECS[wire.version].parse_task(body["result"] if wire.binding == "rpc" else body))

            async with anyio.create_task_group() as tasks:
                for caller in callers:
                    tasks.start_soon(cancel, caller)
            await stream.whole()

        assert {one.status.state for one in answers} == {TaskState.CANCELED}
        assert len({one.status.timestamp for one in answers}) == 1
        assert ends(stream) == [TaskState.CANCELED]
        await agent.until(lambda: aborts(agent))
        assert aborts(agent) == 1


async def raced(caller: Caller, context: str, seen: int) -> tuple[Stream, Task | Refusal]:
    """A stream that was cancelled once so many items were seen, and what the cancellation was answered."""
    answers: list[Task | Refusal] = []
    async with caller.open("LONG 6", contextId=context) as stream:
        await stream.until(lambda: len(stream.items) > seen or stream.ended)

        async def cancel() -> None:
            answers.append(await cancelled_or_not(caller, stream.task.id))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            await stream.whole()
    return stream, answers[0]


@one_codec
async def test_a_cancellation_and_the_natural_end_leave_one_end_that_all_agree_on(
    serving_on_disk: Serving, wire: Wire
) -> None:
    async with serving_on_disk() as agent:
        caller = agent.caller(wire)
        for number in range(24):
            stream, answer = await raced(caller, f"c{number % 3}", number % 9)
            read = await caller.get(stream.task.id)
            [end] = ends(stream)

            assert end is read.status.state
            assert stream.statuses[-1].status.timestamp == read.status.timestamp
            if end is TaskState.CANCELED:
                assert isinstance(answer, Task)
                assert answer == read
            else:
                assert end is TaskState.COMPLETED
                assert answer == not_cancelable(wire)
        following = await caller.send("hi", contextId="c0")

    assert following.status.state is TaskState.COMPLETED
