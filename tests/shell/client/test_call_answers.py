"""`opencode-a2a call` where the task asks: a person at a terminal, a rule, or nobody, with our server and others."""

from __future__ import annotations

import fcntl
import io
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import orjson
import pytest
from attrs import define, evolve, field

from opencode_a2a.cli.call import CallTarget, call, run_from_arguments
from opencode_a2a.client.options import ClientOptions
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO, Ask, FakeOpenCode, Prompt, Say, Script
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from opencode_a2a.terminal.output import Printer
from opencode_a2a.terminal.prompts import Answers, Terminal
from sansio.a2a.client.transcript import Notice, NoticeKind
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import StatusUpdate, StreamItem, TaskState
from sansio.extensions.methods.method_rows import MethodExtension
from sansio.redact import Secret
from tests.shell.calling import COMPLETED, DEADLINE, WORKING, Scene, Screen, Seen, parsed, says, status, task
from tests.shell.cases import each_value
from tests.shell.harness import (
    ALICE,
    Agent,
    Serving,
    until,
)
from tests.shell.scripted_agent import CutError, Reply, document, payload, stream

pytestmark = pytest.mark.anyio

WAYS = [("0.3", "JSONRPC"), ("0.3", "HTTP+JSON"), ("1.0", "HTTP+JSON"), ("1.0", "JSONRPC")]
each_way = each_value("version, binding", WAYS)
streamed_or_not = pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "whole"])


@define(eq=False)
class Person:
    """Somebody at a terminal: a pseudo-terminal to type on, and a screen that shows standard error."""

    keyboard: int
    terminal: Terminal
    screen: Screen = field(factory=lambda: Screen(terminal=True))
    prompts: dict[str, int] = field(factory=dict)  # those answered, counted

    async def answers(self, *lines: str, prompt: str = "answer> ") -> None:
        """Type a line whenever asked for one."""
        for line in lines:
            self.prompts[prompt] = count = self.prompts.get(prompt, 0) + 1
            with anyio.fail_after(DEADLINE):
                while self.screen.getvalue().count(prompt) < count:
                    await self.screen.flushed.wait()
            self.types(line + "\n")

    def types(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    @property
    def seen(self) -> str:
        return self.screen.getvalue()


@contextmanager
def pseudo_terminal() -> Iterator[tuple[int, int]]:
    keyboard, tty_end = os.openpty()
    try:
        yield keyboard, tty_end
    finally:
        os.close(keyboard)
        os.close(tty_end)


@pytest.fixture
def person() -> Iterator[Person]:
    with pseudo_terminal() as (keyboard, tty_end):
        attributes = termios.tcgetattr(tty_end)
        attributes[tty.LFLAG] &= ~termios.ECHO
        termios.tcsetattr(tty_end, termios.TCSANOW, attributes)
        with open(tty_end, encoding="utf-8", closefd=False) as stdin:
            terminal = Terminal.between(stdin, Screen(terminal=True))
            assert terminal is not None
            yield Person(keyboard, terminal)


def _two_questions(prompt: Prompt) -> Script:
    asked = [
        {"question": f"{label}?", "header": label, "options": [{"label": label, "description": "yes"}]}
        for label in ("Tea", "Milk")
    ]
    return Script(((Ask(tuple(asked)),), (Say(("Thanks.",)),)))


def interrupt_tracker() -> FakeOpenCode:
    return FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01, scripts={**SCRIPTS, "TWO": _two_questions})


def told(agent: Agent) -> list[Any]:
    """What OpenCode was told."""
    return [
        one.json
        for one in agent.fake_opencode.requests
        if one.method == "POST" and one.path.startswith(("/permission/", "/question/"))
    ]


async def calling(
    agent: Agent,
    text: str,
    *,
    person: Person | None = None,
    rule: str = "ask",
    version: str | None = None,
    binding: str | None = None,
    **more: Any,
) -> Seen:
    """A call of our own server."""
    target = CallTarget(
        agent.url,
        ClientOptions(
            version=version,
            bindings=None if binding is None else (binding,),
            bearer=Secret(ALICE),
            timeout=DEADLINE,
        ),
    )
    out, err = Screen(), person.screen if person is not None else Screen()
    answers = Answers(rule, person.terminal if person is not None else None)
    with anyio.fail_after(2 * DEADLINE):
        code = await call(target, text, out=out, err=err, answers=answers, **more)
    return Seen(code=code, out=out.getvalue(), err=err.getvalue())


async def both(seen: list[Seen], agent: Agent, text: str, person: Person, *lines: str, **more: Any) -> None:
    """A call, and the person who answers it."""

    async def run() -> None:
        seen.append(await calling(agent, text, person=person, **more))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await person.answers(*lines)


def task_named(seen: Seen) -> str:
    """The task that was left waiting, as it was printed."""
    return seen.err.rsplit("--task ", 1)[1].split("]")[0]


# --- a person ---------------------------------------------------------------------------------------------


@each_way
@streamed_or_not
async def test_a_person_approves_a_command(
    serving: Serving, person: Person, version: str, binding: str, streaming: bool
) -> None:
    seen: list[Seen] = []
    async with serving() as agent:
        await both(seen, agent, "PERMISSION", person, "yes", version=version, binding=binding, stream=streaming)

        assert (seen[0].code, seen[0].out) == (0, f"{AFTER_TOOL}\n")
        assert told(agent) == [{"reply": "once"}]
        assert "echo hello-from-tool" in person.seen
        assert person.seen.count("answer> ") == 1
        assert person.seen.rsplit("[", 2)[1] == "completed]\n"
        assert "[to go on with this conversation: --context " in person.seen
        assert not streaming or "Allowed once: bash." in person.seen  # who looks now and then may miss it


@each_way
@streamed_or_not
async def test_a_person_answers_a_question(
    serving: Serving, person: Person, version: str, binding: str, streaming: bool
) -> None:
    seen: list[Seen] = []
    async with serving() as agent:
        await both(seen, agent, "QUESTION", person, "2", version=version, binding=binding, stream=streaming)

        assert (seen[0].code, seen[0].out) == (0, f"{AFTER_TOOL}\n")
        assert told(agent) == [{"answers": [["B"]]}]
        assert "Which one?" in person.seen


CHOICES = {
    "QUESTION": "Which one? An answer in words is taken too.\n  1. A  the first (Enter)\n  2. B  the second\n",
    "PERMISSION": "permission: bash\n    echo hello-from-tool\n"
    "  1. once    allow it this time\n"
    "  2. always  allow it from now on: echo *\n"
    "  3. reject  do not allow it; `reject REASON` tells the agent why\n",
}


@each_way
@pytest.mark.parametrize("word", CHOICES)
async def test_the_question_is_the_last_thing_before_its_answer(
    serving: Serving, person: Person, version: str, binding: str, word: str
) -> None:
    seen: list[Seen] = []
    async with serving() as agent:
        await both(seen, agent, word, person, "1", version=version, binding=binding)

    *_, before = person.seen.partition("answer> ")[0].rpartition("[waiting] ")
    assert before == CHOICES[word]


def test_what_comes_while_an_answer_is_typed_stands_before_the_question() -> None:
    out, err = io.StringIO(), io.StringIO()
    printer = Printer(out, err)
    tool = Notice(kind=NoticeKind.TOOL, text="question: running")
    question = Notice(kind=NoticeKind.INTERRUPT, text="Which one?\n(request que_1)", asks=True)

    printer.show(WORKING, [question, tool], will_ask=True)
    printer.ask("Which one?\n1. A", "answer 1 of 2> ")
    printer.show(WORKING, [tool])
    printer.show(WORKING, [])
    printer.asked()
    printer.note("noted")
    printer.ask("", "answer 2 of 2> ")
    printer.unask()
    printer.show(WORKING, [tool])

    asked = "[waiting] Which one?\n1. A\n"
    told = "[tool] question: running\n"
    first = f"{told}{asked}answer 1 of 2> \n{told}{asked}answer 1 of 2> "
    assert err.getvalue() == f"{first}[noted]\nanswer 2 of 2> \n{told}"


async def test_several_questions_are_asked_one_by_one(serving: Serving, person: Person) -> None:
    seen: list[Seen] = []
    async with serving(interrupt_tracker()) as agent, anyio.create_task_group() as group:
        group.start_soon(both, seen, agent, "TWO", person)
        await person.answers("1", prompt="answer 1 of 2> ")
        await person.answers("oat", prompt="answer 2 of 2> ")
        await agent.until(lambda: seen)

        assert (seen[0].code, told(agent)) == (0, [{"answers": [["Tea"], ["oat"]]}])


@streamed_or_not
async def test_an_empty_line_is_no_answer(serving: Serving, person: Person, streaming: bool) -> None:
    seen: list[Seen] = []
    async with serving() as agent:
        await both(seen, agent, "PERMISSION", person, "", "  ", "no", stream=streaming)

        assert (seen[0].code, told(agent)) == (0, [{"reply": "reject"}])


async def test_what_was_typed_before_it_was_asked_is_no_answer(serving: Serving, person: Person) -> None:
    seen: list[Seen] = []
    person.types("yes\nalways\n")
    async with serving() as agent:
        await both(seen, agent, "PERMISSION", person, "no")

        assert told(agent) == [{"reply": "reject"}]


async def test_what_somebody_else_answers_is_asked_no_longer(serving: Serving, person: Person) -> None:
    seen: list[Seen] = []
    async with serving() as agent, anyio.create_task_group() as group:
        group.start_soon(both, seen, agent, "PERMISSION", person)
        await person.screen.until("answer> ")
        [request_id] = agent.fake_opencode.memory.permissions
        await agent.opencode.post(f"/permission/{request_id}/reply", json={"reply": "always"})
        await agent.until(lambda: seen)

        assert seen[0].code == 0
        assert "[answered] permission replied\n" in person.seen
        assert told(agent) == [{"reply": "always"}]


@streamed_or_not
async def test_the_end_of_input_leaves_the_task_waiting(serving: Serving, person: Person, streaming: bool) -> None:
    seen: list[Seen] = []
    async with serving() as agent, anyio.create_task_group() as group:
        group.start_soon(calling_into, seen, agent, person, streaming)
        await person.screen.until("answer> ")
        person.types("\x04")
        await agent.until(lambda: seen)

        assert seen[0].code == 3
        assert (await agent.caller().get(task_named(seen[0]))).status.state is TaskState.INPUT_REQUIRED
        assert told(agent) == []


async def calling_into(seen: list[Seen], agent: Agent, person: Person, streaming: bool) -> None:
    seen.append(await calling(agent, "PERMISSION", person=person, stream=streaming))


async def test_json_goes_out_and_the_question_to_the_terminal(serving: Serving, person: Person) -> None:
    seen: list[Seen] = []
    async with serving() as agent:
        await both(seen, agent, "QUESTION", person, "A", as_json=True)

    items = [orjson.loads(line) for line in seen[0].out.splitlines()]
    assert items[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert "Which one?" in person.seen


# --- rules, and nobody ------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize(
    ("rule", "out"), [("once", f"{AFTER_TOOL}\n"), ("always", f"{AFTER_TOOL}\n"), ("reject", "")]
)
async def test_permissions_are_answered_by_rule(
    serving: Serving, rule: str, out: str, version: str, binding: str
) -> None:
    async with serving() as agent:
        seen = await calling(agent, "PERMISSION", rule=rule, version=version, binding=binding)

        assert (seen.code, seen.out, told(agent)) == (0, out, [{"reply": rule}])
        assert f"[answering by --on-permission: {rule}]" in seen.err


async def test_a_rule_for_permissions_goes_before_the_person_who_is_asked_the_rest(
    serving: Serving, person: Person
) -> None:
    seen: list[Seen] = []
    async with serving() as agent:
        await both(seen, agent, "PERMISSION", person, rule="always")
        await both(seen, agent, "QUESTION", person, "A", rule="always")

        assert [one.code for one in seen] == [0, 0]
        assert told(agent) == [{"reply": "always"}, {"answers": [["A"]]}]
        assert person.seen.count("answer> ") == 1


@each_way
@streamed_or_not
@pytest.mark.parametrize(
    ("prompt", "rule", "said", "body"),
    [("PERMISSION", "ask", "yes", {"reply": "once"}), ("QUESTION", "once", "B", {"answers": [["B"]]})],
)
async def test_what_nobody_answers_waits_for_a_later_call(
    serving: Serving, prompt: str, rule: str, said: str, body: object, version: str, binding: str, streaming: bool
) -> None:
    async with serving() as agent:
        first = await calling(agent, prompt, rule=rule, version=version, binding=binding, stream=streaming)
        waiting = task_named(first)
        before = told(agent)
        second = await calling(agent, said, task_id=waiting, version=version, binding=binding, stream=streaming)

        assert (first.code, before, told(agent)) == (3, [], [body])
        assert (second.code, second.out) == (0, f"{AFTER_TOOL}\n")
        assert "[input-required]" not in second.err


@streamed_or_not
async def test_a_later_call_tries_again_what_lacked_credentials(serving: Serving, streaming: bool) -> None:
    async with serving() as agent:
        first = await calling(agent, "FAIL401", stream=streaming)
        await agent.until(lambda: not agent.running.tasks.active_tasks)
        second = await calling(agent, "hi", task_id=task_named(first), stream=streaming)

        assert (first.code, second.code, second.out) == (3, 0, f"{HELLO}\n")


async def test_a_task_that_does_not_wait_refuses_a_message(serving: Serving) -> None:
    async with serving() as agent:
        done = await agent.caller().send("hi")
        seen = await calling(agent, "more", task_id=done.id)

    assert seen.code == 4
    assert "is completed: start a new task" in seen.err


# --- other agents -----------------------------------------------------------------------------------------


def asks(text: str, **more: Any) -> StatusUpdate:
    return status(TaskState.INPUT_REQUIRED, text, **more)


async def answered(scene: Scene, person: Person, *lines: str, **more: Any) -> Seen:
    seen: list[Seen] = []

    async def run() -> None:
        seen.append(await scene.call(answers=Answers(lines=person.terminal), err=person.screen, **more))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await person.answers(*lines)
    return seen[0]


def sent(scene: Scene) -> list[tuple[str, str, str | None]]:
    """The method, the text and the task of each message, over JSON-RPC."""
    bodies = [request.json for request in scene.agent.asked("/rpc")]
    found = [(body["method"], body["params"]["message"]) for body in bodies if "message" in body["params"]]
    return [(method, message["parts"][0]["text"], message.get("taskId")) for method, message in found]


async def test_an_agent_that_closes_its_stream_to_ask_is_answered_on_a_new_one(scene: Scene, person: Person) -> None:
    more = (task(TaskState.WORKING), says("Hello Ada", append=False), COMPLETED)
    scene.replies(
        stream(WORKING, asks("Your name?", final=True), version="0.3"), stream(*more, version="0.3"), version="0.3"
    )

    seen = await answered(scene, person, "Ada")

    assert (seen.code, seen.out) == (0, "Hello Ada\n")
    assert sent(scene) == [("message/stream", "hi", None), ("message/stream", "Ada", "t1")]


@pytest.mark.parametrize("ending", [CutError, b""], ids=["hang-up", "early end"])
async def test_a_stream_that_ends_while_a_person_thinks_is_no_trouble(
    scene: Scene, person: Person, ending: type[CutError] | bytes
) -> None:
    rest, gate = "HTTP+JSON", anyio.Event()
    broken = stream(WORKING, asks("Your name?"), gate, ending, binding=rest)
    scene.replies(broken, stream(COMPLETED, binding=rest), binding=rest)
    # where the answer is faster than the news of the break, it goes beside the stream, and the task is read
    scene.agent.on("/rpc/message:send", Reply(pieces=[payload(task(TaskState.WORKING), "HTTP+JSON", "1.0")]))
    scene.agent.on("/rpc/tasks/t1", document(_rendered(TaskState.COMPLETED)))
    seen: list[Seen] = []

    async def run() -> None:
        seen.append(await answered(scene, person))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await person.screen.until("answer> ")
        gate.set()
        await person.answers("Ada", prompt="Your name?")

    assert seen[0].code == 0
    texts = [one.json["message"]["parts"][0]["text"] for one in scene.agent.requests if one.body]
    assert texts == ["hi", "Ada"]


async def test_an_answer_that_is_refused_is_asked_for_again(scene: Scene, person: Person) -> None:
    waits = evolve(task(TaskState.INPUT_REQUIRED), status=asks("Your name?").status)
    refused = {"jsonrpc": "2.0", "id": "1", "error": {"code": -32602, "message": "no such name"}}
    scene.replies(
        stream(WORKING, asks("Your name?")),
        document(refused),
        document({"jsonrpc": "2.0", "id": "1", "result": CODECS["1.0"].render_task(waits)}),
        stream(WORKING, says("Hello Ada", append=False), COMPLETED),
    )

    seen = await answered(scene, person, "Eve", "Ada")

    assert (seen.code, seen.out) == (0, "Hello Ada\n")
    assert "[the answer was not taken: no such name]" in person.seen


async def test_an_agent_that_keeps_its_stream_is_answered_beside_it(scene: Scene, person: Person) -> None:
    gate = anyio.Event()
    reply = document({"jsonrpc": "2.0", "id": "1", "result": {"task": _rendered(TaskState.WORKING)}})
    kept = stream(WORKING, asks("Your name?"), gate, WORKING, says("Hello", append=False), COMPLETED)
    stays_open = {"a2a-extensions": MethodExtension.INTERACTIVE_INTERRUPT.uris["1.0"]}
    scene.replies(evolve(kept, headers={**kept.headers, **stays_open}), reply)
    seen: list[Seen] = []

    async def run() -> None:
        seen.append(await answered(scene, person, "Ada"))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await until(lambda: len(sent(scene)) == 2)
        gate.set()

    assert (seen[0].code, seen[0].out) == (0, "Hello\n")
    assert sent(scene) == [("SendStreamingMessage", "hi", None), ("SendMessage", "Ada", "t1")]
    [_, beside] = scene.agent.asked("/rpc")
    assert beside.json["params"]["configuration"] == {"returnImmediately": True}


def _rendered(state: TaskState) -> Any:
    return orjson.loads(payload(task(state), "REST", "1.0"))["task"]


async def test_an_agent_without_streams_may_ask_again_and_again(scene: Scene, person: Person) -> None:
    def whole(item: StreamItem) -> Reply:
        return Reply(pieces=[payload(item, "JSONRPC", "1.0")])

    waits = task(TaskState.INPUT_REQUIRED)
    first, second = asks("Your name?").status, asks("Your age?").status
    scene.replies(
        whole(evolve(waits, status=first)),
        whole(evolve(waits, status=second)),
        whole(task(TaskState.COMPLETED, "Done")),
        streaming=False,
    )

    seen = await answered(scene, person, "Ada", "36")

    assert (seen.code, seen.out) == (0, "Done\n")
    assert sent(scene) == [("SendMessage", "hi", None), ("SendMessage", "Ada", "t1"), ("SendMessage", "36", "t1")]


async def test_a_rule_says_nothing_about_what_is_not_known_to_be_a_permission(scene: Scene) -> None:
    scene.replies(stream(WORKING, asks("May I?")))

    seen = await scene.call(answers=Answers("always"))

    assert seen.code == 3
    assert len(sent(scene)) == 1


# --- the command line -------------------------------------------------------------------------------------


async def test_the_command_line_knows_rules_and_tasks(serving: Serving) -> None:
    async with serving() as agent:
        settings = Settings(client_bearer_token=Secret(ALICE))
        codes = []
        out, err = Screen(), Screen()
        with anyio.fail_after(2 * DEADLINE):
            codes.append(await run_from_arguments(parsed(agent.url, "QUESTION"), settings, out, err, Screen()))
            waiting = task_named(Seen(code=3, out="", err=err.getvalue()))
            codes.append(
                await run_from_arguments(parsed(agent.url, "A", "--task", waiting), settings, out, err, Screen())
            )
            arguments = parsed(agent.url, "PERMISSION", "--on-permission", "reject")
            codes.append(await run_from_arguments(arguments, settings, out, err, Screen()))

        assert codes == [3, 0, 0]
        assert told(agent) == [{"answers": [["A"]]}, {"reply": "reject"}]


def test_an_unknown_rule_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed("http://a", "hi", "--on-permission", "sometimes")

    assert caught.value.code == 2
    assert "--on-permission" in capsys.readouterr().err


PROGRAM = """
import fcntl, sys, termios
from functools import partial
from importlib import import_module
from tests.shell.calling import parsed
from opencode_a2a.cli.call import run_from_arguments
from opencode_a2a.config.settings import Settings
from sansio.redact import Secret
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runtime, url, token = sys.argv[1:]
settings = Settings(client_bearer_token=Secret(token))
main = partial(run_from_arguments, parsed(url, "PERMISSION"), settings, sys.stdout, sys.stderr)
sys.exit(import_module(runtime).run(main))
"""


@pytest.mark.parametrize(("typed", "code"), [("yes\n", 0), ("\x04", 3)], ids=["yes", "eof"])
async def test_a_program_at_a_real_terminal_is_answered_and_left(
    serving: Serving, anyio_backend: str, typed: str, code: int
) -> None:
    async with serving() as agent:
        with pseudo_terminal() as (keyboard, tty_end):
            command = [sys.executable, "-c", PROGRAM, f"runtime_{anyio_backend}", agent.url, ALICE]
            seen = b""
            with anyio.fail_after(4 * DEADLINE):
                process = await anyio.open_process(
                    command, stdin=tty_end, stdout=tty_end, stderr=tty_end, start_new_session=True
                )
                async with process:
                    seen = await shown(keyboard, b"answer> ")
                    os.write(keyboard, typed.encode())
                    await process.wait()
            seen += everything(keyboard)

        assert (process.returncode, b"Traceback" in seen) == (code, False), seen
        assert b"[the task is " in seen or code == 0
        assert told(agent) == ([{"reply": "once"}] if code == 0 else [])


async def shown(keyboard: int, text: bytes) -> bytes:
    """What the terminal shows, up to a text."""
    seen = b""
    while text not in seen:
        await anyio.wait_readable(keyboard)
        seen += os.read(keyboard, 65536)
    return seen


def everything(keyboard: int) -> bytes:
    """What the terminal shows that has not been read yet."""
    fcntl.fcntl(keyboard, fcntl.F_SETFL, fcntl.fcntl(keyboard, fcntl.F_GETFL) | os.O_NONBLOCK)
    try:
        return os.read(keyboard, 65536)
    except BlockingIOError:
        return b""
