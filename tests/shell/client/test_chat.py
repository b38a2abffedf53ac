"""`opencode-a2a chat` against our own server: at a terminal whose screen is read, and with lines from a pipe."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_a2a.cli.chat import run_from_arguments
from opencode_a2a.cli.main import main, parser
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO, Say
from sansio.a2a.versions import VERSIONS
from sansio.redact import Secret
from tests.shell.calling import WORKING, Scene, Screen, Seen, says
from tests.shell.cases import each_value, runtime_in_turn
from tests.shell.client.typed_screen import (
    ALT_ENTER,
    CTRL_C,
    CTRL_D,
    CTRL_R,
    ENTER,
    PASTE,
    PASTED,
    TAB,
    UP,
    TypedScreen,
    at_terminal,
)
from tests.shell.harness import ALICE, DEADLINE, Agent, Serving
from tests.shell.scripted_agent import Reply, stream

pytestmark = pytest.mark.anyio

LONG = "c" * 3000  # longer than an id may be


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """A runtime in turn: each test starts a process of a second, and what is typed and drawn is above its loop.

    `test_call.py` and `test_call_answers.py` have what a call does, and the signals, on both.
    """
    return runtime_in_turn(request.node.name)


@asynccontextmanager
async def chatting(
    url: str, backend: str, home: Path, *arguments: str, term: str = "xterm-256color"
) -> AsyncGenerator[TypedScreen]:
    """The command at a terminal, as somebody has started it."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TERM": term,
        "A2A_RUNTIME": backend,
        "A2A_CLIENT_BEARER_TOKEN": ALICE,
    }
    command = [sys.executable, "-m", "opencode_a2a", "chat", url, *arguments]
    async with at_terminal(command, env) as screen:
        await screen.until_prompt()
        yield screen


async def enters(screen: TypedScreen, text: str, *expected: str) -> None:
    """Type a line, and wait for what it brings and for the next prompt."""
    screen.types(text + ENTER)
    for line in expected:
        await screen.until(line)
    await screen.until_prompt()


def prompted(agent: Agent) -> list[Any]:
    """The prompts that OpenCode received."""
    return [one.json for one in agent.fake_opencode.requests if one.path.endswith("/prompt_async")]


async def test_messages_go_on_in_one_context_and_new_begins_another(
    serving: Serving, anyio_backend: str, tmp_path: Path
) -> None:
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path) as screen:
        await enters(screen, "COUNT", "You have said 1 things.")
        await enters(screen, "COUNT", "You have said 2 things.")
        await enters(screen, "/new", "a new conversation begins")
        screen.types("COUNT" + ENTER)
        await screen.until("You have said 1 things.", 2)
        await screen.until_prompt()
        await enters(screen, "/tasks", "  completed  ")
        screen.types(CTRL_D)
        code = await screen.ended()

        assert code == 0
        assert screen.lines[0].startswith("OpenCode A2A")
        assert "- OpenCode Chat: Works on a coding task" in screen.text
        [first, second] = agent.fake_opencode.sessions
        assert first != second
        assert f"opencode-a2a chat {agent.url} --context " in screen.text


async def test_a_conversation_is_gone_on_with_and_its_lines_are_remembered(
    serving: Serving, anyio_backend: str, tmp_path: Path
) -> None:
    async with serving() as agent:
        async with chatting(agent.url, anyio_backend, tmp_path) as screen:
            await enters(screen, "COUNT to the end", "You have said 1 things.")
            screen.types("/quit" + ENTER)
            assert await screen.ended() == 0
            context = screen.text.rsplit("--context ", 1)[1].rstrip("]")
        async with chatting(agent.url, anyio_backend, tmp_path, "--context", context) as screen:
            await screen.until_typing(UP, "> COUNT to the end")
            screen.types(ENTER)
            await screen.until("You have said 2 things.")
            await screen.until_prompt()
            await enters(screen, "/context", f"[{context}]")
            screen.types(CTRL_D)
            assert await screen.ended() == 0
        kept = tmp_path / ".local" / "state" / "opencode-a2a" / "chat-history.jsonl"
        assert kept.stat().st_mode & 0o777 == 0o600
        before = kept.read_bytes()
        async with chatting(agent.url, anyio_backend, tmp_path, "--no-history") as screen:
            await enters(screen, "COUNT alone", "You have said 1 things.")
        assert kept.read_bytes() == before


async def test_a_permission_is_answered_where_it_is_asked(
    serving: Serving, anyio_backend: str, tmp_path: Path
) -> None:
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path) as screen:
        screen.types("PERMISSION" + ENTER)
        await screen.until_prompt("answer>")
        screen.types("yes" + ENTER)
        await screen.until(AFTER_TOOL)
        await screen.until_prompt()
        await enters(screen, "COUNT", "You have said 2 things.")

    [replied] = [one.json for one in agent.fake_opencode.requests if one.path.startswith("/permission/")]
    assert replied == {"reply": "once"}


async def test_ctrl_c_where_a_task_asks_cancels_it(serving: Serving, anyio_backend: str, tmp_path: Path) -> None:
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path) as screen:
        screen.types("PERMISSION" + ENTER)
        await screen.until_prompt("answer>")
        screen.types(CTRL_C)
        await screen.until("[canceled]")
        await screen.until_prompt()
        await enters(screen, "COUNT", "You have said 2 things.")


async def test_a_line_that_is_searched_for_can_be_sent(serving: Serving, anyio_backend: str, tmp_path: Path) -> None:
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path) as screen:
        await enters(screen, "COUNT", "You have said 1 things.")
        await enters(screen, "ECHO zz", "zz")
        screen.types(CTRL_R)
        screen.types("COU")
        await screen.until("I-search backward")
        screen.types(ENTER)  # accepts what was found
        screen.types(ENTER)
        await screen.until("You have said 3 things.")
        await screen.until_prompt()


async def test_a_question_that_is_left_gets_the_next_message(
    serving: Serving, anyio_backend: str, tmp_path: Path
) -> None:
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path) as screen:
        screen.types("PERMISSION" + ENTER)
        await screen.until_prompt("answer>")
        screen.types(CTRL_D)
        await screen.until("the next message answers it")
        await screen.until_prompt("answer>")
        await enters(screen, "yes", AFTER_TOOL)
        screen.types("PERMISSION" + ENTER)
        await screen.until("? permission: bash", 2)
        await screen.until_prompt("answer>")
        screen.types(CTRL_D)
        await screen.until("the next message answers it", 2)
        await screen.until_prompt("answer>")
        await enters(screen, "/cancel", " is canceled]")
        await enters(screen, "COUNT", "You have said 3 things.")


async def test_a_terminal_that_cannot_move_its_cursor_has_plain_lines(
    serving: Serving, anyio_backend: str, tmp_path: Path
) -> None:
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path, term="dumb") as screen:
        await enters(screen, "COUNT", "You have said 1 things.")
        await enters(screen, "/new", "a new conversation begins")
        await enters(screen, "COUNT", "You have said 1 things.")
        screen.types(CTRL_D)

        assert await screen.ended() == 0
        assert screen.lines[-1].startswith("[to go on with this conversation: ")


async def test_ctrl_c_cancels_the_task_at_work_and_the_conversation_goes_on(
    serving: Serving, anyio_backend: str, tmp_path: Path
) -> None:
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path) as screen:
        agent.fake_opencode.hold(Say, tokens=2)
        screen.types("LONG 9" + ENTER)
        await screen.until("w0")
        screen.types(CTRL_C)
        await screen.until("[canceled]")
        await screen.until_prompt()
        agent.fake_opencode.release()
        await enters(screen, "COUNT", "You have said 2 things.")

    assert agent.asked("POST", "/abort") == 1


async def test_ctrl_c_twice_leaves_while_a_task_is_at_work(scene: Scene, anyio_backend: str, tmp_path: Path) -> None:
    never = anyio.Event()
    scene.replies(stream(WORKING, says("Hel", append=False), never), Reply(pieces=[never]))
    async with chatting(scene.url, anyio_backend, tmp_path) as screen:
        screen.types("hi" + ENTER)
        await screen.until("Hel")
        screen.types(CTRL_C)
        await screen.until("[canceling; Ctrl-C again leaves]")
        screen.types(CTRL_C)
        code = await screen.ended()
        never.set()

    assert code == 130
    assert "[the task is t1]" in screen.text
    assert f"opencode-a2a chat {scene.url} --context c1" in screen.text


async def test_ctrl_c_drops_a_line_and_twice_on_an_empty_one_leaves(
    serving: Serving, anyio_backend: str, tmp_path: Path
) -> None:
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path) as screen:
        screen.types("never sent")
        await screen.until("never sent")
        screen.types(CTRL_C)
        await screen.until_prompt()
        screen.types(CTRL_C)
        await screen.until("[Ctrl-C again, or Ctrl-D, leaves]")
        await screen.until_prompt()
        screen.types(CTRL_C)

        assert await screen.ended() == 0
        assert prompted(agent) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_wait_for_a_line_and_gives_the_terminal_back(
    serving: Serving, anyio_backend: str, tmp_path: Path, number: signal.Signals
) -> None:
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path) as screen:
        assert not termios.tcgetattr(screen.keyboard)[3] & termios.ICANON
        screen.process.send_signal(number)
        code = await screen.ended()

        assert code == 130
        assert termios.tcgetattr(screen.keyboard)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
        assert "Traceback" not in screen.text


async def test_a_message_may_have_several_lines_typed_or_pasted(
    serving: Serving, anyio_backend: str, tmp_path: Path
) -> None:
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path) as screen:
        screen.types("COUNT one" + ALT_ENTER + "two")
        await screen.until("  two")
        await enters(screen, "", "You have said 1 things.")
        screen.types(f"{PASTE}COUNT three\nfour{PASTED}")
        await screen.until("  four")
        await enters(screen, "", "You have said 2 things.")

        assert [body["parts"][0]["text"] for body in prompted(agent)] == ["COUNT one\ntwo", "COUNT three\nfour"]


async def test_commands_attach_files_and_choose_the_model(
    serving: Serving, anyio_backend: str, tmp_path: Path
) -> None:
    (tmp_path / "notes.md").write_text("# Notes")
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path) as screen:
        await enters(screen, "/file ~/notes.md", "[attached to the next message: notes.md]")
        await enters(screen, "/file ~/missing", "/file: ~/missing: No such file")
        screen.types("/mod")
        await screen.until("/model [PROVIDER/MODEL]")
        screen.types(TAB)
        await screen.until("> /model")
        await enters(screen, "claude", "/model: must be PROVIDER/MODEL")
        await enters(screen, "/model a/b", "[the model is a/b]")
        await enters(screen, "COUNT", "You have said 1 things.")
        await enters(screen, "/model default", "[the model is left to the agent]")
        await enters(screen, "COUNT", "You have said 2 things.")
        await enters(screen, "/cancel", "[no task waits for an answer]")
        await enters(screen, "/exit", "there is no command /exit")
        await enters(screen, "/help", "Alt-Enter")

        [first, second] = prompted(agent)
    assert [part.get("filename") for part in first["parts"]] == [None, "notes.md"]
    assert first["model"] == {"providerID": "a", "modelID": "b"}
    assert len(second["parts"]) == 1
    assert "model" not in second


async def test_a_message_that_is_refused_does_not_end_the_conversation(
    serving: Serving, anyio_backend: str, tmp_path: Path
) -> None:
    async with serving() as agent, chatting(agent.url, anyio_backend, tmp_path) as screen:
        await enters(screen, f"/context {LONG}", "cccc")
        await enters(screen, "COUNT", "opencode-a2a chat: The agent refused")
        await enters(screen, "/new", "a new conversation begins")
        await enters(screen, "COUNT", "You have said 1 things.")


# --- without a terminal -----------------------------------------------------------------------------------


async def piped(agent: Agent, text: bytes, *arguments: str, path: Path | None = None) -> Seen:
    """The command with lines from a pipe, or from a file at `path`."""
    reading, writing = os.pipe()
    if path is not None:
        os.close(reading)
        reading = os.open(path, os.O_RDWR | os.O_CREAT)
        os.pwrite(reading, text, 0)
    else:
        os.write(writing, text)
    os.close(writing)
    options = parser("chat").parse_args(["chat", agent.url, *arguments])
    out, err = Screen(), Screen()
    with os.fdopen(reading, encoding="utf-8") as stdin, anyio.fail_after(2 * DEADLINE):
        code = await run_from_arguments(options, Settings(client_bearer_token=Secret(ALICE)), out, err, stdin)
    return Seen(code=code, out=out.getvalue(), err=err.getvalue())


async def test_without_a_terminal_each_line_is_a_message(serving: Serving, tmp_path: Path) -> None:
    async with serving() as agent:
        seen = await piped(agent, b"COUNT\n\nCOUNT /new\n/new\nCOUNT")
        from_file = await piped(agent, b"COUNT\r\nCOUNT\n", path=tmp_path / "lines")

    said = ("You have said 1 things.", "You have said 2 things.", HELLO, "You have said 4 things.")
    assert (seen.code, seen.out) == (0, "".join(f"{line}\n" for line in said))
    assert (from_file.code, from_file.out) == (0, "You have said 1 things.\nYou have said 2 things.\n")


@each_value("version", VERSIONS)
async def test_a_conversation_is_held_over_grpc(serving: Serving, version: str) -> None:
    async with serving() as agent:
        seen = await piped(agent, b"COUNT\nCOUNT\n", "--binding", "grpc", "--protocol-version", version)

    assert (seen.code, seen.out) == (0, "You have said 1 things.\nYou have said 2 things.\n")


async def test_without_a_terminal_a_line_answers_the_task_that_waits(serving: Serving) -> None:
    async with serving() as agent:
        seen = await piped(agent, b"PERMISSION\nonce\n")
        left = await piped(agent, b"PERMISSION\n")

    assert (seen.code, seen.out) == (0, f"{AFTER_TOOL}\n")
    assert left.code == 3


async def test_without_a_terminal_the_first_message_that_is_not_taken_ends_it(serving: Serving) -> None:
    async with serving() as agent:
        refused = await piped(agent, b"COUNT\nCOUNT\n", "--session", "nothing")
        not_text = await piped(agent, b"COUNT\n\xff\xff\nCOUNT\n")
        long = await piped(agent, b"x" * 60_000 + b"\n", "--context", LONG)

    assert refused.code == 4
    assert refused.err.count("opencode-a2a chat: The agent refused") == 1
    assert (not_text.code, not_text.out) == (2, "You have said 1 things.\n")
    assert "not text" in not_text.err
    assert long.code == 4


PIPED = """
import sys
from opencode_a2a.cli.main import main
code = main(["chat", sys.argv[1]])
print("prompt_toolkit" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


async def test_without_a_terminal_an_interrupt_ends_it_and_no_line_editor_is_loaded(
    serving: Serving, anyio_backend: str, tmp_path: Path
) -> None:
    env = {**os.environ, "A2A_RUNTIME": anyio_backend, "A2A_CLIENT_BEARER_TOKEN": ALICE, "HOME": str(tmp_path)}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    out = err = b""
    async with serving() as agent:
        agent.fake_opencode.hold(Say, tokens=2)
        with anyio.fail_after(3 * DEADLINE):
            async with await anyio.open_process(
                [sys.executable, "-c", PIPED, agent.url], env=env, cwd=tmp_path
            ) as chat:
                assert chat.stdin is not None
                assert chat.stdout is not None
                assert chat.stderr is not None
                await chat.stdin.send(b"LONG 9\nCOUNT\n")
                while b"w1" not in out:
                    out += await chat.stdout.receive()
                chat.send_signal(signal.SIGINT)
                out += b"".join([chunk async for chunk in chat.stdout])
                err += b"".join([chunk async for chunk in chat.stderr])
        agent.fake_opencode.release()

    assert (chat.returncode, out.split()) == (130, [b"w0", b"w1"])
    assert err.splitlines()[-1] == b"False"
    assert len(prompted(agent)) == 1


async def test_a_choice_that_the_agent_does_not_offer_is_refused_at_once(serving: Serving) -> None:
    async with serving() as agent:
        seen = await piped(agent, b"hi\n", "--file", "/nowhere")

    assert seen.code == 2
    assert "--file: /nowhere" in seen.err


def test_the_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["chat", "--help"])

    assert caught.value.code == 0
    assert "exit codes:" in capsys.readouterr().out
