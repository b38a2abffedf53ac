"""Agents that fail or are hurried at every step: their tasks end, and the server and the other tasks go on."""

from __future__ import annotations

import anyio
import pytest
from attrs import define, field

from opencode_a2a.server import AgentHooks, AgentRequest, RunningTask
from opencode_a2a.server.agent import Work
from sansio.a2a.model import TaskState
from tests.shell.harness import until
from tests.shell.server.test_any_agent import Scripted, scripted, text_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
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
