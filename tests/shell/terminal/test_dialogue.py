"""`opencode-a2a call` at a terminal with our own server: what is picked, and what Ctrl-C does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL, Ask, FakeOpenCode, Prompt, Say, Script
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from sansio.a2a.model import TaskState
from tests.shell.harness import ALICE, Agent, Serving
from tests.shell.terminal.emulator import Emulator, emulator

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def calling(agent: Agent, runtime: str, *arguments: str, **more: Any) -> AsyncIterator[Emulator]:
    environ = {"A2A_RUNTIME": runtime, "A2A_CLIENT_BEARER_TOKEN": ALICE}
    async with emulator(["call", agent.url, *arguments], environ, **more) as terminal:
        yield terminal


def replies_to_opencode(agent: Agent) -> list[Any]:
    return [
        one.json
        for one in agent.fake_opencode.requests
        if one.method == "POST" and one.path.startswith(("/permission/", "/question/"))
    ]


def two_questions(prompt: Prompt) -> Script:
    options = [{"label": label, "description": f"with {label.lower()}"} for label in ("Milk", "Sugar", "Lemon")]
    questions = (
        {"question": "What goes in?", "header": "Tea", "options": options, "multiple": True},
        {"question": "How hot?", "header": "Heat", "options": [{"label": "Hot"}, {"label": "Warm"}]},
    )
    return Script(((Ask(questions),), (Say(("Thanks.",)),)))


async def test_a_permission_is_picked_by_number(serving: Serving, anyio_backend: str) -> None:
    async with serving() as agent, calling(agent, anyio_backend, "PERMISSION") as terminal:
        await terminal.until("answer>")
        asked = terminal.text
        terminal.types("maybe\n")
        await terminal.until(lambda: terminal.text.count("answer>") == 2)
        terminal.types("1\n")
        code = await terminal.exit_code()
        replies = replies_to_opencode(agent)

    assert (code, replies) == (0, [{"reply": "once"}])
    assert asked.endswith(
        "? permission: bash\n"
        "      echo hello-from-tool\n"
        "    1. once    allow it this time\n"
        "    2. always  allow it from now on: echo *\n"
        "    3. reject  do not allow it; `reject REASON` tells the agent why\n"
        "answer>"
    )
    assert "answer> maybe\n[type 1 to 3, once, always or reject]\nanswer> 1\n" in terminal.text
    assert re.search(rf"✓ bash  echo hello-from-tool\n\n{re.escape(AFTER_TOOL)}\n\n\[completed\]", terminal.text)


async def test_a_question_takes_several_choices_and_a_default(serving: Serving, anyio_backend: str) -> None:
    fake = FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01, scripts={**SCRIPTS, "TWO": two_questions})
    async with serving(fake) as agent, calling(agent, anyio_backend, "TWO") as terminal:
        await terminal.until("answer 1 of 2>")
        terminal.types("1, lem\n")
        await terminal.until("answer 2 of 2>")
        terminal.types("\n")
        code = await terminal.exit_code()
        replies = replies_to_opencode(agent)

    assert (code, replies) == (0, [{"answers": [["Milk", "Lemon"], ["Hot"]]}])
    for line in (
        "? What goes in? (several, with commas between them)",
        "    2. Sugar  with sugar",
        "    1. Hot   (Enter)",
    ):
        assert line in terminal.text
    assert "\nThanks.\n" in terminal.text


async def test_a_rejection_takes_a_reason(serving: Serving, anyio_backend: str) -> None:
    async with serving() as agent, calling(agent, anyio_backend, "PERMISSION") as terminal:
        await terminal.until("answer>")
        terminal.types("reject: use ls\n")
        await terminal.exit_code()
        replies = replies_to_opencode(agent)

    assert replies == [{"reply": "reject", "message": "no: use ls"}]


# --- Ctrl-C -----------------------------------------------------------------------------------------------

MENU = "c, d or Enter>"


@asynccontextmanager
async def held(serving: Serving, runtime: str, *arguments: str) -> AsyncIterator[tuple[Agent, Emulator]]:
    """A call of which two words have come, and no more will."""
    async with serving() as agent:
        agent.fake_opencode.hold(Say, tokens=2)
        async with calling(agent, runtime, "LONG 9", *arguments) as terminal:
            await terminal.until("w0 w1")
            try:
                yield agent, terminal
            finally:
                agent.fake_opencode.release()


def task_to_resume(terminal: Emulator) -> str:
    """The task of the command that is printed; a long line is broken by the terminal."""
    found = re.search(r"opencode-a2a call http\S+ --resume ([0-9a-f-]+)", terminal.text.replace("\n", ""))
    assert found is not None, terminal.text
    return found[1]


async def test_ctrl_c_offers_to_cancel_the_task(serving: Serving, anyio_backend: str) -> None:
    async with held(serving, anyio_backend) as (_, terminal):
        terminal.types("\x03")
        await terminal.until(MENU)
        menu = terminal.text
        terminal.types("c\n")
        code = await terminal.exit_code()

    assert "w0 w1" in menu
    assert "? Interrupted: [c]ancel the task, [d]etach from it, or go on (Enter)" in menu
    assert code == 5
    assert "[canceled]" in terminal.text


@pytest.mark.parametrize("typed", ["d\n", "\x03", "\x04"], ids=["detach", "ctrl-c again", "end of input"])
async def test_detaching_leaves_the_task_and_says_how_to_come_back(
    serving: Serving, anyio_backend: str, typed: str
) -> None:
    async with held(serving, anyio_backend) as (agent, terminal):
        terminal.types("\x03")
        await terminal.until(MENU)
        terminal.types(typed)
        code = await terminal.exit_code()
        task = task_to_resume(terminal)
        state = (await agent.caller().get(task)).status.state
        async with calling(agent, anyio_backend, "--resume", task) as again:
            await again.until("w0 w1")
            agent.fake_opencode.release()
            second = await again.exit_code()

    assert (code, state) == (130, TaskState.WORKING)
    assert (second, again.lines[0]) == (0, " ".join(f"w{number}" for number in range(9)))


async def test_a_call_goes_on_where_enter_is_typed(serving: Serving, anyio_backend: str) -> None:
    async with held(serving, anyio_backend) as (agent, terminal):
        terminal.types("\x03")
        await terminal.until(MENU)
        terminal.types("\n")
        agent.fake_opencode.release()
        code = await terminal.exit_code()

    assert code == 0
    assert terminal.text.split("Enter>")[1].split()[:7] == [f"w{number}" for number in range(2, 9)]


async def test_ctrl_c_at_a_question_can_be_gone_on_from(serving: Serving, anyio_backend: str) -> None:
    async with serving() as agent, calling(agent, anyio_backend, "QUESTION") as terminal:
        await terminal.until("answer>")
        terminal.types("half\x03")
        await terminal.until(MENU)
        terminal.types("\n")
        await terminal.until(lambda: terminal.text.count("answer>") == 2)
        terminal.types("2\n")
        code = await terminal.exit_code()
        replies = replies_to_opencode(agent)

    assert (code, replies) == (0, [{"answers": [["B"]]}])
    assert "^C\n? Interrupted: " in terminal.text


async def test_a_question_of_a_task_that_is_canceled_is_not_asked_again(serving: Serving, anyio_backend: str) -> None:
    async with serving() as agent, calling(agent, anyio_backend, "QUESTION") as terminal:
        await terminal.until("answer>")
        terminal.types("\x03")
        await terminal.until(MENU)
        terminal.types("x\n")
        await terminal.until(lambda: terminal.text.count(MENU) == 2)
        terminal.types("c\n")
        code = await terminal.exit_code()

    assert code == 5, terminal.text
    assert terminal.text.count("answer>") <= 2  # once more at most, behind the key that is none
    assert "answer>" not in terminal.text.rpartition(MENU)[2]


async def test_what_comes_while_ctrl_c_asks_is_shown_afterwards(serving: Serving, anyio_backend: str) -> None:
    async with serving() as agent, calling(agent, anyio_backend, "QUESTION") as terminal:
        agent.fake_opencode.hold(Say, tokens=1)
        await terminal.until("answer>")
        terminal.types("1\n")
        await terminal.until(lambda: terminal.lines[-1] == "Now")
        terminal.types("\x03")
        await terminal.until(MENU)
        agent.fake_opencode.release()
        code = await terminal.exit_code()

    assert code == 0
    assert f"{MENU}\n\nI know.\n" in terminal.text.replace(" I know", "I know")


async def test_a_task_that_has_ended_is_shown_when_it_is_resumed(serving: Serving, anyio_backend: str) -> None:
    async with serving() as agent:
        done = await agent.caller().send("LONG 3")
        async with calling(agent, anyio_backend, "--resume", done.id) as terminal:
            code = await terminal.exit_code()

    assert (code, terminal.lines[0]) == (0, "w0 w1 w2")


async def test_a_resumed_task_asks_and_is_answered(serving: Serving, anyio_backend: str) -> None:
    async with serving() as agent:
        waiting = await agent.caller().send("PERMISSION")
        async with calling(agent, anyio_backend, "--resume", waiting.id) as terminal:
            await terminal.until("answer>")
            terminal.types("once\n")
            code = await terminal.exit_code()
        replies = replies_to_opencode(agent)

    assert (code, replies) == (0, [{"reply": "once"}])
    assert AFTER_TOOL in terminal.text


async def test_a_task_is_watched_on_a_screen(serving: Serving, anyio_backend: str) -> None:
    environ = {"A2A_RUNTIME": anyio_backend, "A2A_CLIENT_BEARER_TOKEN": ALICE}
    async with held(serving, anyio_backend) as (agent, first):
        first.types("\x03")
        await first.until(MENU)
        first.types("d\n")
        await first.exit_code()
        async with emulator(["tasks", agent.url, "watch", task_to_resume(first)], environ) as terminal:
            await terminal.until("w0 w1")
            agent.fake_opencode.release()
            code = await terminal.exit_code()

    assert (code, terminal.lines[0]) == (0, " ".join(f"w{number}" for number in range(9)))
    assert "[completed] in" in terminal.text
