"""A message answers what OpenCode asks: in plain words or as data, by its owner, once, on every line and binding."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO, Ask, FakeOpenCode, Prompt, Refuse, Say, Script
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from sansio.a2a.model import Task, TaskState
from tests.shell.cases import each_value, every_codec, one_codec
from tests.shell.folding import artifacts_of, reason_of, text_of
from tests.shell.harness import (
    CREDENTIALS,
    DEADLINE,
    RPC_10,
    WIRES,
    Agent,
    Caller,
    Serving,
    Wire,
    agent_at,
    quick,
    served,
)
from tests.shell.refusals import not_found, refusal, unsupported, wrong

pytestmark = pytest.mark.anyio

Starting = Callable[..., AbstractAsyncContextManager[Agent]]


def _choice(*labels: str, **more: object) -> dict[str, Any]:
    options = [{"label": label, "description": f"take {label}"} for label in labels]
    return {"question": f"{labels[0]} or not?", "header": "Choice", "options": options, **more}


def _two_questions(prompt: Prompt) -> Script:
    return Script(((Ask((_choice("Tea", "Coffee"), _choice("Milk", "Sugar", multiple=True))),), (Say(("Thanks.",)),)))


def _login(prompt: Prompt) -> Script:
    """Says something, and finds that it has no key; later it has one."""
    refused = Script(((Say(("First. ",)),), (Refuse(status=401, message="no key"),)))
    return refused if prompt.turn == 1 else Script(((Say(("Second.",)),),))


def interrupt_tracker() -> FakeOpenCode:
    """A stand-in with more to ask."""
    scripts = {**SCRIPTS, "TWO": _two_questions, "LOGIN": _login}
    return FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01, scripts=scripts)


def replies(agent: Agent) -> list[tuple[str, Any]]:
    """What OpenCode was told, and whether as a reply or a rejection."""
    return [
        (one.path.rsplit("/", 1)[-1], one.json)
        for one in agent.fake_opencode.requests
        if one.method == "POST" and one.path.startswith(("/permission/", "/question/"))
    ]


def data(wire: Wire, value: object) -> list[dict[str, Any]]:
    """The parts of a message with nothing but data."""
    return [{"kind": "data", "data": value} if wire.version == "0.3" else {"data": value}]


def ended_in(task: Task) -> list[dict[str, Any]]:
    """The requests of a task that have ended, as it lists them."""
    found: list[dict[str, Any]] = (task.metadata or {})["shared"]["resolved_interrupts"]
    return found


async def waiting(caller: Caller, prompt: str) -> Task:
    task = await caller.send(prompt)
    assert task.status.state is TaskState.INPUT_REQUIRED
    return task


# --- by the context alone ---------------------------------------------------------------------------------


@one_codec
@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_may_name_the_context_alone(serving: Serving, wire: Wire, streamed: bool) -> None:
    async with serving(interrupt_tracker()) as agent:
        caller = agent.caller(wire)
        task = await waiting(caller, "PERMISSION")
        if streamed:
            ended = (await caller.stream("once", contextId=task.context_id, messageId="m")).task
        else:
            ended = await caller.send("once", contextId=task.context_id, messageId="m")
        again = await caller.send("once", contextId=task.context_id, messageId="m")
        following = await caller.send("COUNT", contextId=task.context_id)

        assert (ended.id, again.id) == (task.id, task.id)
        assert (await caller.get(task.id)).status.state is TaskState.COMPLETED
        assert replies(agent) == [("reply", {"reply": "once"})]
    assert following.id != task.id
    assert text_of(following) == "You have said 2 things."


async def test_the_message_that_a_waiting_task_began_with_is_no_answer(serving: Serving) -> None:
    async with serving(interrupt_tracker()) as agent:
        first = await agent.caller().send("hi", messageId="first")
        task = await agent.caller().send("QUESTION", contextId=first.context_id, messageId="m")
        again = await agent.caller().send("QUESTION", contextId=first.context_id, messageId="m")

        assert again.id == task.id
        assert again.status.state is TaskState.INPUT_REQUIRED
        assert replies(agent) == []


async def test_anothers_context_of_that_name_is_not_answered(serving: Serving) -> None:
    async with serving(interrupt_tracker()) as agent:
        task = await waiting(agent.caller(), "PERMISSION")
        theirs = await agent.caller(bob=True).send("once", contextId=task.context_id)

        assert theirs.id != task.id
        assert text_of(theirs) == HELLO
        assert replies(agent) == []


@every_codec
async def test_where_several_tasks_wait_the_error_names_them(serving: Serving, wire: Wire) -> None:
    async with serving(interrupt_tracker()) as agent:
        caller = agent.caller(wire)
        other = await caller.send("hi")
        named = {"shared": {"session": {"id": str((other.metadata or {})["shared"]["session"]["id"])}}}
        agent.fake_opencode.hold()
        first = await caller.send("PERMISSION", contextId="c", configuration=wire.at_once())
        second = await caller.send("QUESTION", contextId="c", metadata=named, configuration=wire.at_once())
        with anyio.fail_after(DEADLINE):
            await agent.fake_opencode.held(2)
        agent.fake_opencode.release()
        for task in (first, second):
            await caller.until_waiting(task.id)

        error = await caller.refused(text="once", contextId="c")
        answered = await caller.send("A", contextId="c", metadata=named)

        assert refusal(wire, error) == wrong(wire, "message.taskId")
        assert first.id in str(error)
        assert second.id in str(error)
        assert answered.id == second.id


# --- permissions ------------------------------------------------------------------------------------------


@each_value(
    "said, body, understood, text",
    [
        ("Yes, please.", {"reply": "once"}, "Allowed once: bash.", AFTER_TOOL),
        ("always", {"reply": "always"}, "Allowed from now on: bash.", AFTER_TOOL),
        ("no", {"reply": "reject"}, "Rejected: bash.", ""),
        (
            "Use printf.",
            {"reply": "reject", "message": "Use printf."},
            "Rejected: bash. Told the model: Use printf.",
            AFTER_TOOL,
        ),
    ],
    wire=True,
)
async def test_a_permission_is_answered_in_plain_words(
    serving: Serving, wire: Wire, said: str, body: dict[str, str], understood: str, text: str
) -> None:
    async with serving() as agent:
        caller = agent.caller(wire, stays_open=True)
        async with caller.open("PERMISSION") as stream:
            await stream.until(lambda: stream.statuses and stream.state == "input-required")
            answered = await caller.send(said, taskId=stream.task.id)
            await stream.whole()
        task = await caller.get(stream.task.id)

        assert replies(agent) == [("reply", body)]
        assert answered == task
        assert (task.status.state, stream.text) == (TaskState.COMPLETED, text)
        assert [one.text for one in artifacts_of(task) if one.name == "response"] == ([text] if text else [])
        after, *_ = [one for one in stream.statuses if one.status.message and one.status.state is TaskState.WORKING]
        assert reason_of(Task(id="t", context_id="c", status=after.status)) == understood
        assert [one["phase"] for one in stream.shared("interrupt")] == ["asked", "resolved"]
        assert [message.parts[0].text for message in task.history[:2]] == ["PERMISSION", said]  # type: ignore[union-attr]  # texts


@one_codec
@pytest.mark.parametrize("operation", ["send", "stream"])
async def test_an_answer_is_answered_with_what_comes_of_it(serving: Serving, wire: Wire, operation: str) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        task = await waiting(caller, "PERMISSION")

        if operation == "send":
            ended = await caller.send("once", taskId=task.id)
        else:
            stream = await caller.stream("once", taskId=task.id, contextId=task.context_id)
            assert (stream.task.id, stream.state) == (task.id, "completed")
            assert stream.task.status.state is not TaskState.INPUT_REQUIRED
            ended = await caller.get(task.id)

        assert (ended.id, ended.status.state, text_of(ended)) == (task.id, TaskState.COMPLETED, AFTER_TOOL)


@one_codec
async def test_an_answer_that_does_not_wait_tells_that_the_task_goes_on(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        task = await waiting(caller, "PERMISSION")
        agent.fake_opencode.hold(Say)

        going_on = await caller.send("ok", taskId=task.id, configuration=wire.at_once())

        assert going_on.status.state is TaskState.WORKING
        agent.fake_opencode.release()
        assert (await caller.finished(task.id)).status.state is TaskState.COMPLETED


# --- questions --------------------------------------------------------------------------------------------


@each_value(
    "prompt, said, answers",
    [
        ("QUESTION", "a", [["A"]]),
        ("QUESTION", "2", [["B"]]),
        ("QUESTION", "Neither, thanks", [["Neither, thanks"]]),
        ("TWO", "Coffee\nmilk, 2", [["Coffee"], ["Milk", "Sugar"]]),
        ("TWO", "1. Water\n2. none", [["Water"], ["none"]]),
    ],
    wire=True,
)
async def test_questions_are_answered_by_label_number_and_free_text(
    serving: Serving, wire: Wire, prompt: str, said: str, answers: list[list[str]]
) -> None:
    async with serving(interrupt_tracker()) as agent:
        caller = agent.caller(wire)
        task = await waiting(caller, prompt)

        ended = await caller.send(said, taskId=task.id)

        assert replies(agent) == [("reply", {"answers": answers})]
        assert ended.status.state is TaskState.COMPLETED


@each_value(
    "prompt, value, told",
    [
        ("TWO", {"answers": [["Tea"], []]}, ("reply", {"answers": [["Tea"], []]})),
        ("QUESTION", {"reject": True}, ("reject", {})),
        ("PERMISSION", {"reply": "reject", "message": "why?"}, ("reply", {"reply": "reject", "message": "why?"})),
    ],
    wire=True,
)
async def test_data_answers_too(
    serving: Serving, wire: Wire, prompt: str, value: object, told: tuple[str, object]
) -> None:
    async with serving(interrupt_tracker()) as agent:
        caller = agent.caller(wire)
        task = await waiting(caller, prompt)

        ended = await caller.send("", taskId=task.id, parts=data(wire, value))

        assert replies(agent) == [told]
        assert ended.status.state is TaskState.COMPLETED


@every_codec
@pytest.mark.parametrize("operation", ["send", "stream"])
async def test_an_answer_that_makes_no_sense_is_refused_by_field_and_the_task_waits_on(
    serving: Serving, wire: Wire, operation: str
) -> None:
    async with serving(interrupt_tracker()) as agent:
        caller = agent.caller(wire)
        task = await waiting(caller, "TWO")
        wrong_ones: list[tuple[dict[str, Any], str]] = [
            ({"text": "Tea"}, "message.parts"),
            ({"parts": data(wire, {"answers": [["Tea"], 7]})}, "message.parts.0.answers.1"),
            ({"parts": data(wire, {"answer": "Tea"})}, "message.parts.0.answers"),
        ]

        for said, field in wrong_ones:
            error = await caller.refused(operation, **{"text": None, **said}, taskId=task.id)
            assert refusal(wire, error) == wrong(wire, field)

        assert replies(agent) == []
        assert await caller.get(task.id) == task
        assert (await caller.send("Tea\nMilk", taskId=task.id)).status.state is TaskState.COMPLETED


# --- who, and how often -----------------------------------------------------------------------------------


class Gate:
    """Holds answers on their way to OpenCode."""

    def __init__(self, fake_opencode: FakeOpenCode) -> None:
        self.fake_opencode = fake_opencode
        self.arrived = 0
        self.open = anyio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/reply"):
            self.arrived += 1
            await self.open.wait()
        await self.fake_opencode(scope, receive, send)


@pytest.fixture
def starting(anyio_backend: str, tmp_path: Path) -> Starting:
    """Starts the agent on one file, before an OpenCode that stays."""

    def start(fake_opencode: FakeOpenCode, url: str, **settings: Any) -> AbstractAsyncContextManager[Agent]:
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        given = Settings(
            rate_limit_enabled=False,
            opencode_url=url,
            credentials=CREDENTIALS,
            task_store_database_url=store,
            **settings,
        )
        return agent_at(anyio_backend, fake_opencode, given)

    return start


@one_codec
async def test_of_two_who_answer_at_once_one_is_told_that_it_came_too_late(
    anyio_backend: str, starting: Starting, wire: Wire
) -> None:
    fake_opencode = quick()
    gate = Gate(fake_opencode)
    async with served(anyio_backend, gate) as url, starting(fake_opencode, url) as agent:
        caller = agent.caller(wire)
        task = await waiting(caller, "PERMISSION")
        ended: list[Task] = []

        async def first() -> None:
            ended.append(await caller.send("once", taskId=task.id))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            await agent.until(lambda: gate.arrived)
            late = await caller.refused(text="no", taskId=task.id)
            gate.open.set()

        assert refusal(wire, late).name in (None, "INTERRUPT_REQUEST_NOT_FOUND")
        assert "INTERRUPT_REQUEST_NOT_FOUND" in str(late)
        assert replies(agent) == [("reply", {"reply": "once"})]
        assert ended[0].status.state is TaskState.COMPLETED
        assert all("no" not in str(message.parts) for message in ended[0].history)


async def test_of_many_who_answer_in_a_rush_one_is_heard(serving: Serving) -> None:
    async with serving() as agent:
        task = await waiting(agent.caller(), "PERMISSION")
        outcomes: list[str] = []

        async def answer(wire: Wire) -> None:
            caller = agent.caller(wire)
            response = await caller.ask("send", caller.params("once", {"taskId": task.id}))
            outcomes.append("error" if "error" in response.json() or response.status_code >= 400 else "taken")

        async with anyio.create_task_group() as tasks:
            for wire in WIRES * 3:
                tasks.start_soon(answer, wire)

        assert sorted(outcomes) == ["error"] * 11 + ["taken"]
        assert replies(agent) == [("reply", {"reply": "once"})]
        assert (await agent.caller().get(task.id)).status.state is TaskState.COMPLETED


@one_codec
async def test_the_same_answer_sent_again_is_taken_once(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        task = await waiting(caller, "PERMISSION")

        first = await caller.send("once", taskId=task.id, messageId="answer")
        second = await caller.send("once", taskId=task.id, messageId="answer")

        assert first == second
        assert len(replies(agent)) == 1


@one_codec
async def test_to_others_the_task_does_not_exist(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        task = await waiting(agent.caller(wire), "PERMISSION")

        error = await agent.caller(wire, bob=True).refused(text="always", taskId=task.id)

        assert refusal(wire, error) == not_found(wire)
        assert replies(agent) == []
        assert await agent.caller(wire).get(task.id) == task


@one_codec
async def test_an_answer_that_was_given_in_opencode_is_not_given_again(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire, stays_open=True)
        async with caller.open("PERMISSION") as stream:
            await stream.until(lambda: stream.shared("interrupt"))
            request_id = stream.shared("interrupt")[0]["request_id"]
            await agent.opencode.post(f"/permission/{request_id}/reply", json={"reply": "once"})
            await stream.whole()

        error = await caller.refused(text="once", taskId=stream.task.id)

        assert refusal(wire, error) == unsupported(wire)
        assert len(replies(agent)) == 1
        [record] = ended_in(await caller.get(stream.task.id))
        assert (record["by"], record["reply"]) == ("opencode", "once")
        assert {"phase": "resolved", **record} == stream.shared("interrupt")[-1]


@one_codec
async def test_an_opencode_that_does_not_take_the_answer_is_told_and_the_task_waits_on(
    serving: Serving, wire: Wire
) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        task = await waiting(caller, "PERMISSION")
        agent.fake_opencode.fail_next("POST", "/permission", 500)

        error = await caller.refused(text="once", taskId=task.id)

        assert "UPSTREAM_HTTP_ERROR" in str(error)
        assert (await caller.get(task.id)).status.state is TaskState.INPUT_REQUIRED
        ended = await caller.send("no", taskId=task.id)
        assert ended.status.state is TaskState.COMPLETED
        assert "Allowed" not in str(ended)


# --- time -------------------------------------------------------------------------------------------------


@each_value("prompt", ["PERMISSION", "QUESTION"], wire=True)
async def test_what_nobody_answers_is_rejected_in_time_and_the_turn_goes_on(
    serving: Serving, wire: Wire, prompt: str
) -> None:
    async with serving(interrupt_request_ttl_seconds=1.0) as agent:
        caller = agent.caller(wire, stays_open=True)
        stream = await caller.stream(prompt)

        error = await caller.refused(text="once", taskId=stream.task.id)

        assert stream.state == "completed"
        expected = ("reply", {"reply": "reject", "message": "Nobody answered in time."})
        assert replies(agent) == [expected if prompt == "PERMISSION" else ("reject", {})]
        told = [reason_of(Task(id="t", context_id="c", status=one.status)) for one in stream.statuses]
        assert "Nobody answered in time, so it was rejected." in told
        assert stream.shared("interrupt")[-1]["resolution"] == "rejected"
        [record] = ended_in(await caller.get(stream.task.id))
        assert (record["resolution"], record["by"]) == ("rejected", "timeout")
        assert refusal(wire, error) == unsupported(wire)


# --- a server that was started again ----------------------------------------------------------------------


@one_codec
@pytest.mark.parametrize(
    ("prompt", "said", "body", "kept"),
    [
        ("PERMISSION", "yes", {"reply": "once"}, {"reply": "once", "subject": "bash: echo hello-from-tool"}),
        (
            "TWO",
            "1\nsugar",
            {"answers": [["Tea"], ["Sugar"]]},
            {"answer": "Tea; Sugar", "subject": "Tea or not?; Milk or not?"},
        ),
    ],
)
async def test_after_a_restart_the_task_can_be_answered_and_keeps_the_answer(
    anyio_backend: str, starting: Starting, wire: Wire, prompt: str, said: str, body: object, kept: dict[str, str]
) -> None:
    fake_opencode = interrupt_tracker()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            task = await waiting(agent.caller(wire), prompt)
        async with starting(fake_opencode, url) as agent:
            caller = agent.caller(wire)
            again = await caller.get(task.id)
            ended = await caller.send(said, taskId=task.id)

            assert again.status == task.status
            assert replies(agent) == [("reply", body)]
            assert ended.status.state is TaskState.COMPLETED
            assert agent.asked("POST", "/prompt_async") == 1
        async with starting(fake_opencode, url) as agent:
            [record] = ended_in(await agent.caller(wire).get(task.id))

    asked_at, resolved_at = record.pop("asked_at"), record.pop("resolved_at")
    assert asked_at == task.status.timestamp <= resolved_at
    assert record.pop("request_id")
    kind = "permission" if prompt == "PERMISSION" else "question"
    assert record == {"type": kind, "resolution": "replied", "by": "client", **kept}


async def test_what_was_asked_before_a_restart_ends_in_its_time(anyio_backend: str, starting: Starting) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            task = await waiting(agent.caller(), "PERMISSION")
        async with starting(fake_opencode, url, interrupt_request_ttl_seconds=1.0) as agent:
            ended = await agent.caller().finished(task.id)

            assert ended.status.state is TaskState.COMPLETED
            assert [body["reply"] for _, body in replies(agent)] == ["reject"]


# --- below, and beside ------------------------------------------------------------------------------------


@one_codec
async def test_what_a_subagent_asks_is_answered_on_the_task_of_its_root(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        task = await waiting(caller, "SUBTASK QUESTION")
        assert "1. A" in reason_of(task)

        ended = await caller.send("B", taskId=task.id)

        assert replies(agent) == [("reply", {"answers": [["B"]]})]
        assert (ended.status.state, text_of(ended)) == (TaskState.COMPLETED, AFTER_TOOL)


@asynccontextmanager
async def asked_twice(agent: Agent, caller: Caller) -> AsyncGenerator[tuple[Any, Task]]:
    """A task whose session asks a permission and, meanwhile, a question, as parallel subagents do."""
    memory = agent.fake_opencode.memory
    async with caller.open("PERMISSION") as stream:
        await stream.until(lambda: stream.shared("interrupt"))
        [session] = memory.sessions.values()
        extra = {"id": "que_extra", "sessionID": session.id, "questions": [_choice("Tea", "Coffee")]}
        memory.questions["que_extra"] = type(next(iter(memory.permissions.values())))(extra)
        memory.publish(session, "question.asked", extra)
        await stream.until(lambda: len(stream.shared("interrupt")) == 2)
        yield stream, await caller.get(stream.task.id)


@one_codec
async def test_of_several_requests_the_one_that_is_shown_is_answered(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire, stays_open=True)
        async with asked_twice(agent, caller) as (stream, task):
            assert "bash" in reason_of(task)
            agent.fake_opencode.hold(Say)  # OpenCode does not end a turn that waits

            next_one = await caller.send("once", taskId=task.id)
            assert next_one.status.state is TaskState.INPUT_REQUIRED
            assert reason_of(next_one).startswith("Allowed once: bash.\n\nTea or not?")
            await caller.send("coffee", taskId=task.id, configuration=wire.at_once())
            agent.fake_opencode.release()
            await stream.whole()

        assert replies(agent) == [("reply", {"reply": "once"}), ("reply", {"answers": [["Coffee"]]})]
        phases = [(one["type"], one["phase"]) for one in stream.shared("interrupt")]
        assert phases == [
            ("permission", "asked"),
            ("question", "asked"),
            ("permission", "resolved"),
            ("question", "resolved"),
        ]
        assert stream.state == "completed"


@one_codec
async def test_of_several_requests_a_message_may_name_one(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire, stays_open=True)
        async with asked_twice(agent, caller) as (stream, task):
            value = {"request_id": "que_extra", "answers": ["Tea"]}
            still = await caller.send("", taskId=task.id, parts=data(wire, value))
            gone = await caller.refused(text=None, taskId=task.id, parts=data(wire, value))
            assert "bash" in reason_of(still)
            await caller.send("once", taskId=task.id)
            await stream.whole()

        assert "INTERRUPT_REQUEST_NOT_FOUND" in str(gone)
        assert [body for _, body in replies(agent)] == [{"answers": [["Tea"]]}, {"reply": "once"}]


# --- credentials that were missing ------------------------------------------------------------------------


@one_codec
@pytest.mark.parametrize("operation", ["send", "stream"])
async def test_a_task_that_lacked_credentials_is_tried_again_and_keeps_what_it_has(
    serving_on_disk: Serving, wire: Wire, operation: str
) -> None:
    async with serving_on_disk(interrupt_tracker()) as agent:
        caller = agent.caller(wire)
        refused = await caller.send("LOGIN")
        await agent.until(lambda: not agent.running.tasks.active_tasks)
        assert (refused.status.state, text_of(refused)) == (TaskState.AUTH_REQUIRED, "First. ")

        if operation == "send":
            ended = await caller.send("LOGIN", taskId=refused.id)
        else:
            stream = await caller.stream("LOGIN", taskId=refused.id)
            assert (stream.task.id, stream.state) == (refused.id, "completed")
            ended = await caller.get(refused.id)

        assert (ended.id, ended.status.state) == (refused.id, TaskState.COMPLETED)
        assert text_of(ended) == "First. Second."
        assert [len(one) for one in (refused.history, artifacts_of(refused), artifacts_of(ended))] == [1, 1, 1]
        assert [message.message_id for message in ended.history][:1] == [refused.history[0].message_id]
        assert agent.asked("POST", "/prompt_async") == 2
        assert agent.asked("POST", "/session") == 1


async def test_a_task_is_tried_again_once_for_two_who_ask_at_once(serving_on_disk: Serving) -> None:
    async with serving_on_disk(interrupt_tracker()) as agent:
        caller = agent.caller()
        refused = await caller.send("LOGIN")
        await agent.until(lambda: not agent.running.tasks.active_tasks)
        agent.fake_opencode.hold(Say)
        outcomes: list[bool] = []

        async def again() -> None:
            params = caller.params("LOGIN", {"taskId": refused.id, "configuration": RPC_10.at_once()})
            outcomes.append("error" in (await caller.ask("send", params)).json())

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(again)
        agent.fake_opencode.release()
        await caller.finished(refused.id)

        assert sorted(outcomes) == [False, True, True, True]
        assert agent.asked("POST", "/prompt_async") == 2


async def test_another_refusal_leaves_the_task_to_be_tried_once_more(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller()
        task = await caller.send("FAIL401")
        for _ in range(2):
            await agent.until(lambda: not agent.running.tasks.active_tasks)
            task = await caller.send("FAIL401", taskId=task.id)
            assert task.status.state is TaskState.AUTH_REQUIRED
        await agent.until(lambda: not agent.running.tasks.active_tasks)
        ended = await caller.send("hi", taskId=task.id)

    assert (ended.status.state, text_of(ended)) == (TaskState.COMPLETED, HELLO)
    assert len([message for message in ended.history if message.role.value == "user"]) == 4
