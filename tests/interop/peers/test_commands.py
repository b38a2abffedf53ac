"""The commands `card`, `call` and `tasks` with other people's agents, on both runtimes, as a user types them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs
import pytest

from opencode_a2a.cli.main import main
from opencode_a2a.client import ClientOptions, connect
from opencode_a2a.server.runtimes import find_runtime
from sansio.a2a.model import Task
from sansio.redact import Secret
from tests.interop.agent import Way
from tests.interop.driver import ROOT
from tests.interop.peers.peer import OF_NAME, OPERATIONS, WAYS, Peer, Prompts, has
from tests.real.adapter import TOKEN, environment
from tests.real.deadline import Deadline
from tests.real.process import Process

pytestmark = pytest.mark.interop

SECONDS = 60
_Test = TypeVar("_Test", bound=Callable[..., None])
DONE, FAILED, WAITS, BROKEN, CANCELED = 0, 1, 3, 4, 5


@attrs.frozen(kw_only=True)
class Seen:
    """Output of a command, and its exit code."""

    code: int
    out: str
    err: str


@attrs.frozen(kw_only=True)
class Terminal:
    """Runs commands for an agent, one way."""

    peer: Peer
    way: Way
    url: str
    runtime: str
    capsys: pytest.CaptureFixture[str]

    @property
    def prompts(self) -> Prompts:
        return self.peer.prompts

    @property
    def interface(self) -> list[str]:
        return ["--protocol-version", self.way.version, "--binding", self.way.binding.lower()]

    def run(self, command: str, *arguments: str) -> Seen:
        code = main([command, self.url, *arguments, *([] if command == "card" else self.interface)])
        captured = self.capsys.readouterr()
        return Seen(code=code, out=captured.out, err=captured.err)

    def call(self, text: str, *arguments: str) -> Seen:
        return self.run("call", text, "--timeout", str(SECONDS), *arguments)

    def tasks_of(self, text: str, *arguments: str) -> tuple[Seen, str]:
        """Call, and the task's id beside what was seen."""
        seen = self.call(text, "--json", *arguments)
        return seen, task_in(json.loads(seen.out.splitlines()[0]))

    def begin_slow(self) -> str:
        """A task that runs, begun by the client library, which leaves it after its first event."""
        options = ClientOptions(
            bearer=Secret(TOKEN), version=self.way.version, bindings=(self.way.binding,), timeout=SECONDS
        )

        async def begin() -> str:
            async with connect(self.url, options) as agent, agent.stream(self.prompts.slow) as events:
                async for item in events:
                    return item.id if isinstance(item, Task) else str(item.task_id)
            raise AssertionError("nothing came")

        found: str = find_runtime(self.runtime).run(begin)
        return found


def task_in(item: object) -> str:
    """The task that the first item of a stream is about, on either version."""
    assert isinstance(item, dict)
    inner = next((item[kind] for kind in ("task", "statusUpdate", "artifactUpdate") if kind in item), item)
    found = inner.get("taskId") or inner["id"]
    assert isinstance(found, str)
    return found


def ways_with(operation: str) -> Callable[[_Test], _Test]:
    """Go each way on which an agent has the operation, on one runtime in turn: both see each agent and operation."""
    first = OPERATIONS.index(operation)
    runtimes = ("asyncio", "trio")
    ways = [(way, runtimes[(number + first) % 2]) for number, way in enumerate(WAYS) if has(way, operation)]

    def mark(test: _Test) -> _Test:
        marked: _Test = pytest.mark.operation(operation)(
            pytest.mark.parametrize(("way", "runtime"), ways, ids=str)(test)
        )
        return marked

    return mark


@pytest.fixture
def terminal(
    way: Way,
    runtime: str,
    url_of: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Terminal:
    url = url_of(way.client)
    monkeypatch.setenv("A2A_RUNTIME", runtime)
    monkeypatch.setenv("A2A_CLIENT_BEARER_TOKEN", TOKEN)
    return Terminal(peer=OF_NAME[way.client], way=way, url=url, runtime=runtime, capsys=capsys)


@ways_with("card")
def test_the_card_is_shown_with_its_interface(terminal: Terminal) -> None:
    seen = terminal.run("card")

    assert f"{terminal.way.binding} {terminal.way.version}" in seen.out
    assert seen.err == ""
    assert seen.code == DONE


@ways_with("send")
def test_a_message_is_answered_whole(terminal: Terminal) -> None:
    seen = terminal.call(terminal.prompts.plain, "--no-stream")

    assert seen.out.rstrip("\n") == terminal.prompts.answer.rstrip("\n")
    assert seen.code == DONE


@ways_with("stream")
def test_an_answer_is_streamed(terminal: Terminal) -> None:
    seen = terminal.call(terminal.prompts.plain)

    if terminal.prompts.stream_repeats:
        assert seen.out.rstrip("\n").endswith(terminal.prompts.answer)
    else:
        assert seen.out.rstrip("\n") == terminal.prompts.answer.rstrip("\n")
    assert seen.code == DONE


@ways_with("get")
def test_a_task_is_read(terminal: Terminal) -> None:
    _, task = terminal.tasks_of(terminal.prompts.plain)
    seen = terminal.run("tasks", "get", task)

    assert seen.out.startswith(f"{task}  completed")
    assert terminal.prompts.answer.split()[-1] in seen.out
    assert seen.code == DONE


@ways_with("list")
def test_tasks_are_listed(terminal: Terminal) -> None:
    _, task = terminal.tasks_of(terminal.prompts.plain)
    seen = terminal.run("tasks", "list", "--limit", "1000")

    assert task in [line.split()[0] for line in seen.out.splitlines()]
    assert seen.code == DONE


@ways_with("cancel")
def test_a_running_task_is_canceled(terminal: Terminal) -> None:
    task = terminal.begin_slow()

    seen = terminal.run("tasks", "cancel", task)

    assert (seen.code, seen.out.split()[:2]) == (DONE, [task, "canceled"]), seen


@ways_with("subscribe")
def test_a_running_task_is_watched_to_its_end(terminal: Terminal, runtime: str, tmp_path: Path) -> None:
    task = terminal.begin_slow()
    environ = environment(tmp_path) | {"A2A_RUNTIME": runtime, "A2A_CLIENT_BEARER_TOKEN": TOKEN}
    command = [sys.executable, "-m", "opencode_a2a", "tasks", terminal.url, "watch", task, *terminal.interface]
    process = Process.start(command, cwd=ROOT, env=environ)
    try:
        process.output.wait_for("working", Deadline.within(SECONDS))
        if has(terminal.way, "cancel"):
            terminal.run("tasks", "cancel", task)
        process.reader.join(SECONDS)
    finally:
        process.stop()

    assert process.popen.returncode == (CANCELED if has(terminal.way, "cancel") else DONE), process.output.tail()


@ways_with("dialogue")
def test_a_question_is_shown_and_its_answer_ends_the_task(terminal: Terminal) -> None:
    asked, task = terminal.tasks_of(terminal.prompts.ask)
    answered = terminal.call(terminal.prompts.reply, "--task", task)

    assert terminal.prompts.question in asked.out
    assert asked.code == WAITS
    assert answered.out.rstrip("\n").endswith(terminal.prompts.replied)
    assert answered.code == DONE


@ways_with("message")
def test_an_answer_without_a_task_is_shown(terminal: Terminal) -> None:
    for how in ([], ["--no-stream"]):
        seen = terminal.call(terminal.prompts.message, *how)

        assert (seen.code, seen.out) == (DONE, f"{terminal.prompts.message}\n")


@ways_with("failure")
def test_a_task_that_fails_is_an_exit_code_and_its_reason(terminal: Terminal) -> None:
    seen = terminal.call(terminal.prompts.fail)

    assert terminal.prompts.failure in seen.err
    assert seen.code == FAILED


@ways_with("refusal")
def test_an_unknown_task_is_refused_in_one_line(terminal: Terminal) -> None:
    seen = terminal.run("tasks", "get", "00000000-0000-0000-0000-000000000000")

    assert (seen.code, seen.out, seen.err.count("\n")) == (BROKEN, "", 1)
    assert "not found" in seen.err.lower()


@ways_with("authentication")
def test_a_caller_without_a_token_is_told_which_setting_helps(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("A2A_CLIENT_BEARER_TOKEN")
    seen = terminal.call(terminal.prompts.plain)

    assert (seen.code, seen.out, seen.err.count("\n")) == (BROKEN, "", 1)
    assert "A2A_CLIENT_BEARER_TOKEN" in seen.err
