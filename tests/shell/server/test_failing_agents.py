"""Agents that fail or are hurried at every step: their tasks end, and the server and the other tasks go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest
from attrs import define, field

from opencode_a2a.server import AgentHooks, AgentRequest, RunningTask
from opencode_a2a.server.agent import Work
from sansio.a2a.model import Artifact, DataPart, TaskState, TextPart
from tests.shell.harness import DEADLINE, REST_10, RPC_10, Caller, client, until
from tests.shell.server.test_any_agent import Recovering, Scripted, scripted, serving_agent, text_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(60),
    # httpx's generators of a stream that is left early
    pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning"),
]


class OddError(BaseException):
    """An error that no `except Exception` catches."""


def _open() -> anyio.Event:
    event = anyio.Event()
    event.set()
    return event


@define(eq=False)
class Failing(Scripted, AgentHooks):
    """Does what the first word of a message says; the hook named `fails` raises."""

    fails: str = ""
    accepted: int = 0
    levels: int = 0
    may_accept: anyio.Event = field(factory=_open)

    def _hook(self, name: str) -> None:
        if self.fails == name:
            raise RuntimeError(name)

    async def accept(self, request: AgentRequest) -> None:
        self.accepted += 1
        await self.may_accept.wait()
        if text_of(request.message) == "OPTIONS":
            request.options["it"] = object()

    def restore(self, request: AgentRequest) -> bool:
        self._hook("restore")
        return False

    def recover(self, request: AgentRequest, task: RunningTask) -> Work | None:
        self._hook("recover")
        return None

    def interrupt(self, task: RunningTask) -> None:
        self._hook("interrupt")
        super().interrupt(task)

    def stop(self, task: RunningTask) -> None:
        self._hook("stop")
        super().stop(task)

    def run(self, request: AgentRequest, task: RunningTask) -> Work:
        if text_of(request.message) == "CALL":
            raise RuntimeError("no coroutine")
        return self._run(request, task)

    async def _run(self, request: AgentRequest, task: RunningTask) -> None:
        match text_of(request.message):
            case "NAME":
                task.text("text", artifact="a\ud800")
            case "DEEP":
                value: object = 1
                for _ in range(self.levels):
                    value = [value]
                part = DataPart(data={"it": value})
                task.artifact(Artifact(artifact_id="deep", name="deep", parts=(part,)))
            case "ODD":
                raise OddError
            case "GROUP":
                raise BaseExceptionGroup("two", [OddError(), RuntimeError()])
            case "STRAY" if anyio.get_cancelled_exc_class().__module__.startswith("asyncio"):
                raise anyio.get_cancelled_exc_class()
            case "STRAY":
                raise OddError  # nobody can make a cancellation of trio's
            case "ASKS":
                async with anyio.create_task_group() as group:
                    group.start_soon(self._ask, task, "a")
                    group.start_soon(self._ask, task, "b")
            case "DONE":
                await task.status(TaskState.COMPLETED)
                await task.ask("Which one?")
            case "HURRY":
                with anyio.move_on_after(0.01):
                    await task.ask("Which one?")
                task.text("nobody answered")
                await anyio.sleep_forever()
            case "RAISE":
                task.text("begun")
                try:
                    await anyio.sleep_forever()
                finally:
                    raise RuntimeError("at the end")
            case _:
                await Scripted.run(self, request, task)

    async def _ask(self, task: RunningTask, question: str) -> None:
        answer = await task.ask(question)
        task.text(f"{question}: {text_of(answer)}. ")


# --- credentials: a task at rest, and several who change it ----------------------------------------------


async def test_of_two_messages_at_once_to_a_task_at_rest_one_goes_on(anyio_backend: str) -> None:
    agent = Failing()
    async with scripted(anyio_backend, agent=agent) as (_, caller):
        waiting = await caller.send("LOGIN")
        agent.credentials, agent.may_accept = True, anyio.Event()
        answers = []

        async def send(text: str) -> None:
            answers.append(await caller.ask("send", {"message": caller.wire.message(text, taskId=waiting.id)}))

        async with anyio.create_task_group() as group:
            group.start_soon(send, "LOGIN a")
            group.start_soon(send, "LOGIN b")
            await until(lambda: agent.accepted == 3)
            agent.may_accept.set()
        task = await caller.finished(waiting.id)
        other = await caller.send("WORDS still here")

    assert sorted("error" in answer.json() for answer in answers) == [False, True]
    assert len(agent.runs) == 3
    assert len(task.history) == 2
    assert other.status.state is TaskState.COMPLETED


async def test_one_message_sent_twice_at_once_to_a_task_at_rest_runs_once(anyio_backend: str) -> None:
    agent = Failing()
    async with scripted(anyio_backend, agent=agent) as (_, caller):
        waiting = await caller.send("LOGIN")
        agent.credentials, agent.may_accept = True, anyio.Event()
        tasks = []

        async def send() -> None:
            tasks.append(await caller.send("LOGIN again", taskId=waiting.id, messageId="m-2"))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            group.start_soon(send)
            await until(lambda: agent.accepted == 3)
            agent.may_accept.set()

    assert [task.status.state for task in tasks] == [TaskState.COMPLETED] * 2
    assert agent.runs == ["LOGIN", "LOGIN again"]


async def test_a_task_at_rest_that_is_canceled_first_stays_canceled(anyio_backend: str) -> None:
    agent = Failing()
    async with scripted(anyio_backend, agent=agent) as (_, caller):
        waiting = await caller.send("LOGIN")
        agent.credentials, agent.may_accept = True, anyio.Event()
        refusals = []

        async def send() -> None:
            refusals.append(await caller.refused("send", "LOGIN again", taskId=waiting.id))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await until(lambda: agent.accepted == 2)
            await caller.cancel(waiting.id)
            agent.may_accept.set()
        task = await caller.get(waiting.id)

    assert task.status.state is TaskState.CANCELED
    assert [refusal["code"] for refusal in refusals] == [-32004]
    assert agent.runs == ["LOGIN"]


# --- errors of every kind --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["ODD", "GROUP", "STRAY", "CALL"])
async def test_whatever_an_agent_raises_fails_its_task_alone(anyio_backend: str, text: str) -> None:
    async with scripted(anyio_backend, agent=Failing()) as (_, caller):
        task = await caller.send(text)
        other = await caller.send("WORDS still here")

    assert task.status.state is TaskState.FAILED
    assert other.status.state is TaskState.COMPLETED


async def test_an_artifacts_name_that_no_json_can_hold_is_mended(anyio_backend: str) -> None:
    async with scripted(anyio_backend, agent=Failing()) as (_, caller):
        task = await caller.send("NAME")

    assert (task.status.state, task.artifacts[0].name) == (TaskState.COMPLETED, "a?")


@pytest.mark.parametrize(("levels", "state"), [(110, "completed"), (125, "failed"), (240, "failed"), (300, "failed")])
async def test_what_is_nested_too_deep_to_be_read_again_is_not_published(
    anyio_backend: str, levels: int, state: str
) -> None:
    async with scripted(anyio_backend, REST_10, Failing(levels=levels)) as (_, caller):
        task = await caller.send("DEEP")
        listed = (await caller.http.get("/tasks", headers={"A2A-Version": "1.0"})).json()
        again = await caller.get(task.id)

    assert task.status.state.value == state
    assert [one["id"] for one in listed["tasks"]] == [task.id]
    assert again == task


async def test_a_task_that_can_never_be_stored_is_an_error_to_who_waits(anyio_backend: str) -> None:
    async with serving_agent(anyio_backend, Failing()) as (server, url), client(url) as http:
        caller = Caller(http, RPC_10)
        with anyio.fail_after(DEADLINE):
            error = await caller.refused("send", "OPTIONS")
        other = await caller.send("WORDS still here")

    assert error["code"] == -32603
    assert other.status.state is TaskState.COMPLETED
    assert not server.tasks.active_tasks


async def test_a_hook_that_fails_to_interrupt_does_not_keep_its_task(anyio_backend: str) -> None:
    agent = Failing(fails="interrupt")
    async with serving_agent(anyio_backend, agent) as (server, url), client(url) as http:
        caller = Caller(http, RPC_10)
        async with caller.open("HANG") as stream:
            await stream.until(lambda: stream.text)
            await caller.cancel(stream.task.id)
            await stream.whole()
        await until(lambda: not server.tasks.active_tasks)

    assert stream.state == "canceled"
    assert agent.cancelled == [stream.task.id]


async def test_a_hook_that_fails_to_stop_does_not_keep_the_server(anyio_backend: str) -> None:
    agent = Failing(fails="stop")
    async with (
        serving_agent(anyio_backend, agent) as (server, url),
        client(url) as http,
        Caller(http, RPC_10).open("HANG") as stream,
    ):
        await stream.until(lambda: stream.text)
        await server.tasks.drain(0)
        await stream.whole()

    assert stream.state == "failed"


@pytest.mark.parametrize(("fails", "state"), [("restore", "working"), ("recover", "failed")])
async def test_a_server_starts_though_a_hook_fails_on_a_task(
    anyio_backend: str, tmp_path: Path, fails: str, state: str
) -> None:
    store = f"sqlite:///{tmp_path / 'tasks.db'}"
    async with serving_agent(anyio_backend, Failing(), store) as (server, url), client(url) as http:
        left = await Caller(http, RPC_10).send("HANG", configuration=RPC_10.at_once())
        await until(lambda: server.tasks.active_tasks[left.id].log.task().artifacts)
        await server.tasks.drain(0)
    async with serving_agent(anyio_backend, Failing(fails=fails), store) as (_, url), client(url) as http:
        caller = Caller(http, RPC_10)
        other = await caller.send("WORDS still here")
        task = await caller.get(left.id) if fails == "restore" else await caller.finished(left.id)

    assert other.status.state is TaskState.COMPLETED
    assert task.status.state.value == state


async def test_an_error_while_the_server_ends_leaves_its_task_to_the_next_start(
    anyio_backend: str, tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path / 'tasks.db'}"
    async with serving_agent(anyio_backend, Failing(), store) as (server, url), client(url) as http:
        left = await Caller(http, RPC_10).send("RAISE", configuration=RPC_10.at_once())
        await until(lambda: server.tasks.active_tasks[left.id].log.task().artifacts)
        await server.tasks.drain(0)
    async with serving_agent(anyio_backend, Recovering(), store) as (_, url), client(url) as http:
        task = await Caller(http, RPC_10).finished(left.id)

    assert task.status.state is TaskState.COMPLETED
    assert "rest" in [one.name for one in task.artifacts]


# --- questions -------------------------------------------------------------------------------------------


async def test_two_questions_at_once_are_asked_one_after_the_other(anyio_backend: str) -> None:
    async with scripted(anyio_backend, agent=Failing()) as (_, caller):
        asked = await caller.send("ASKS")
        with anyio.fail_after(DEADLINE):
            await caller.send("one", taskId=asked.id)
            await caller.until_waiting(asked.id)
            task = await caller.send("two", taskId=asked.id)

    assert task.status.state is TaskState.COMPLETED
    (said,) = task.artifacts[0].parts
    assert isinstance(said, TextPart)
    assert sorted(said.text.split(". ")) in (["", "a: one", "b: two"], ["", "a: two", "b: one"])


async def test_who_asks_after_the_end_is_no_task_at_work(anyio_backend: str) -> None:
    async with serving_agent(anyio_backend, Failing()) as (server, url), client(url) as http:
        task = await Caller(http, RPC_10).send("DONE")
        await until(lambda: not server.tasks.active_tasks)

    assert task.status.state is TaskState.COMPLETED


async def test_a_question_that_is_given_up_takes_no_message(anyio_backend: str) -> None:
    async with serving_agent(anyio_backend, Failing()) as (server, url), client(url) as http:
        caller = Caller(http, RPC_10)
        asking = await caller.send("HURRY", configuration=RPC_10.at_once())
        await until(lambda: server.tasks.active_tasks[asking.id].log.task().artifacts)
        task = await caller.get(asking.id)
        other = await caller.send("WORDS new", contextId=task.context_id)

    assert task.status.state is TaskState.WORKING
    assert (other.id != task.id, other.status.state) == (True, TaskState.COMPLETED)


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("named", [True, False], ids=["by task", "by context"])
async def test_an_answer_is_an_error_while_the_store_fails_and_counts_once(
    anyio_backend: str, tmp_path: Path, named: bool
) -> None:
    store = f"sqlite:///{tmp_path / 'tasks.db'}?timeout=0.05"
    agent = Failing()
    async with serving_agent(anyio_backend, agent, store) as (server, url), client(url) as http:
        caller = Caller(http, RPC_10)
        asked = await caller.send("ASK")
        names = {"taskId": asked.id} if named else {"contextId": asked.context_id}
        with _locked(tmp_path / "tasks.db"), anyio.fail_after(DEADLINE):
            error = await caller.refused("send", "the second", messageId="m-2", **names)
        active = server.tasks.active_tasks[asked.id]
        await until(lambda: active.over)
        task = await caller.send("the second", messageId="m-2", **names)

    assert error["data"][0]["reason"] == "STORE_UNAVAILABLE"
    assert (task.id, task.status.state) == (asked.id, TaskState.COMPLETED)
    assert [text_of(message) for message in task.history] == ["ASK", "the second"]
    assert agent.runs == ["ASK"]


# --- the end of a task -----------------------------------------------------------------------------------


async def test_to_cancel_a_task_closes_what_grows(anyio_backend: str) -> None:
    async with scripted(anyio_backend) as (_, caller), caller.open("HANG") as stream:
        await stream.until(lambda: stream.text)
        await caller.cancel(stream.task.id)
        await stream.whole()

    assert [chunk.last_chunk for chunk in stream.chunks] == [False, True]
    assert stream.state == "canceled"


@pytest.mark.parametrize("resumes", [False, True], ids=["new", "at rest"])
async def test_what_an_agent_accepts_while_the_server_ends_is_not_begun(anyio_backend: str, resumes: bool) -> None:
    agent = Failing()
    async with serving_agent(anyio_backend, agent) as (server, url), client(url) as http:
        caller = Caller(http, RPC_10)
        names = {"taskId": (await caller.send("LOGIN")).id} if resumes else {}
        accepted, agent.may_accept = agent.accepted, anyio.Event()
        refusals = []

        async def send() -> None:
            refusals.append(await caller.refused("send", "WORDS too late", **names))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await until(lambda: agent.accepted > accepted)
            await server.tasks.drain(0)
            agent.may_accept.set()

    assert [refusal["message"] for refusal in refusals] == ["The server is being stopped"]
    assert "WORDS too late" not in agent.runs
