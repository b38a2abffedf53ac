"""`opencode-a2a call` in a pipe: bytes as they are, colours where they are wanted, and the outcome as JSON."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import anyio
import anyio.to_thread
import orjson
import pytest

from opencode_a2a.cli.call import run_from_arguments
from opencode_a2a.config.settings import Settings
from opencode_a2a.terminal.screen.look import Look
from sansio.a2a.model import TaskState
from tests.shell.calling import COMPLETED, HELLO, WORKING, Scene, Screen, parsed, says, status
from tests.shell.cases import each_value
from tests.shell.scripted_agent import stream
from tests.shell.terminal.emulator import emulator

pytestmark = pytest.mark.anyio

TEXT = "# Head\n\n**bold** \x1b[31m\ttext\r\n| a |\n|---|\n\n"
XTERM = {"TERM": "xterm"}
PROGRAM = """
import sys
from opencode_a2a.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as exit:
    code = exit.code
screens = ("rich.markdown", "markdown_it", "prompt_toolkit", "opencode_a2a.terminal.screen.screen_printer")
print([name for name in screens if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


async def piped(*arguments: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line with pipes on both sides."""

    def run() -> subprocess.CompletedProcess[bytes]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        command = [sys.executable, "-c", PROGRAM, *arguments]
        return subprocess.run(
            command, capture_output=True, timeout=30, stdin=subprocess.DEVNULL, env={**kept, **environ}
        )

    return await anyio.to_thread.run_sync(run)


async def test_a_pipe_gets_every_byte_and_nothing_for_terminals_is_loaded(scene: Scene, anyio_backend: str) -> None:
    scene.offers(WORKING, *(says(character) for character in TEXT), COMPLETED)

    seen = await piped("call", scene.url, "hi", A2A_RUNTIME=anyio_backend, **XTERM)

    assert (seen.returncode, seen.stdout) == (0, TEXT.encode())
    assert seen.stderr.decode().split("\n") == ["[working]", "[completed]", "[]", ""]


@pytest.mark.parametrize("arguments", [["--version"], ["call", "--help"], ["chat", "--help"]], ids=" ".join)
async def test_help_loads_nothing_for_terminals(arguments: list[str]) -> None:
    assert (await piped(*arguments)).stderr == b"[]\n"


async def test_an_answer_in_a_pipe_beside_a_terminal_is_exact_and_the_terminal_shows_the_rest(
    scene: Scene, anyio_backend: str
) -> None:
    scene.offers(WORKING, says("why", block="reasoning"), *(says(character) for character in TEXT), COMPLETED)
    reading, writing = os.pipe()

    async with emulator(["call", scene.url, "hi"], {"A2A_RUNTIME": anyio_backend}, stdout=writing) as terminal:
        os.close(writing)
        code = await terminal.exit_code()
    answer = os.read(reading, 65536)
    os.close(reading)

    assert (code, answer) == (0, TEXT.encode())
    assert terminal.lines[0] == "│ why"
    assert "[completed]" in terminal.text


@each_value(
    "arguments, environ", [(["--color", "always"], {}), ([], {"FORCE_COLOR": "1"}), ([], {"CLICOLOR_FORCE": "1"})]
)
async def test_colours_can_be_forced_on_a_pipe_without_anything_that_moves(
    scene: Scene, anyio_backend: str, arguments: list[str], environ: dict[str, str]
) -> None:
    scene.offers(WORKING, says("# Head\n\n**bold** text", append=False), COMPLETED)

    seen = await piped("call", scene.url, "hi", *arguments, A2A_RUNTIME=anyio_backend, **environ)

    assert seen.stdout == b"\x1b[1;4mHead\x1b[0m\n\n\x1b[1mbold\x1b[0m text\n"
    assert b"\x1b[2m[completed]" in seen.stderr
    assert b"\x1b[J" not in seen.stdout + seen.stderr


@pytest.mark.parametrize(
    ("environ", "option", "coloured"),
    [
        (XTERM, "auto", True),
        ({}, "auto", False),
        ({"TERM": "dumb"}, "auto", False),
        ({**XTERM, "NO_COLOR": ""}, "auto", True),
        ({**XTERM, "NO_COLOR": "1"}, "auto", False),
        ({**XTERM, "FORCE_COLOR": "0"}, "auto", False),
        ({**XTERM, "CLICOLOR_FORCE": "0"}, "auto", True),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, "auto", True),
        ({**XTERM, "NO_COLOR": "1"}, "always", True),
        ({**XTERM, "FORCE_COLOR": "1"}, "never", False),
    ],
)
def test_the_option_goes_before_the_environment(environ: dict[str, str], option: str, coloured: bool) -> None:
    look = Look.of(Screen(terminal=True), Screen(terminal=True), environ, option)

    assert (look.out_colour, look.err_colour) == (coloured, coloured)


# --- JSON -------------------------------------------------------------------------------------------------


async def with_json(scene: Scene, *arguments: str, url: str | None = None) -> tuple[int, list[Any]]:
    out = Screen()
    code = await run_from_arguments(
        parsed(url or scene.url, *arguments, "--json"), Settings(), out, Screen(), Screen()
    )
    return code, [orjson.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("version", ["0.3", "1.0"])
async def test_the_last_line_of_json_is_the_outcome(scene: Scene, version: str) -> None:
    scene.offers(*HELLO, version=version)

    code, lines = await with_json(scene, "hi")

    assert [("outcome" in line) for line in lines] == [False] * 4 + [True]
    assert lines[-1]["outcome"] == {
        "code": code,
        "state": "completed",
        "taskId": "t1",
        "contextId": "c1",
        "protocolVersion": version,
        "binding": "JSONRPC",
        "error": None,
    }


async def test_the_outcome_says_why_a_call_has_failed(scene: Scene) -> None:
    scene.offers(WORKING, status(TaskState.FAILED, "no"))
    failed = await with_json(scene, "hi")
    unreachable = await with_json(scene, "hi", url="http://127.0.0.1:9")
    wrong = await with_json(scene)

    outcomes = [lines[-1]["outcome"] for _, lines in (failed, unreachable, wrong)]
    assert [outcome["code"] for outcome in outcomes] == [failed[0], unreachable[0], wrong[0]] == [1, 4, 2]
    assert outcomes[0]["state"] == "failed"
    assert "Cannot connect" in outcomes[1]["error"]
    assert outcomes[2]["error"] == "TEXT: is missing"
    assert (len(unreachable[1]), outcomes[1]["taskId"], outcomes[1]["protocolVersion"]) == (1, None, None)
    assert outcomes[1]["binding"] is None


async def test_a_reader_of_json_that_leaves_ends_the_call(scene: Scene) -> None:
    scene.offers(*HELLO)

    class Closed(Screen):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    err = Screen()
    code = await run_from_arguments(parsed(scene.url, "hi", "--json"), Settings(), Closed(), err, Screen())

    assert (code, err.getvalue()) == (130, "")


# --- wrong usage ------------------------------------------------------------------------------------------


@each_value("arguments", [[], ["hi", "--resume", "t1"], ["--resume", "t1", "--task", "t2"], ["hi", "--output", ""]])
async def test_what_makes_no_sense_is_refused(scene: Scene, anyio_backend: str, arguments: list[str]) -> None:
    out, err = Screen(), Screen()

    code = await run_from_arguments(parsed(scene.url, *arguments), Settings(), out, err, Screen())

    assert (code, out.getvalue(), scene.agent.requests) == (2, "", [])
    assert err.getvalue().startswith("opencode-a2a call: ")


async def test_quiet_in_a_pipe_is_the_answer_alone(scene: Scene) -> None:
    scene.replies(stream(*HELLO))
    out, err = Screen(), Screen()

    code = await run_from_arguments(parsed(scene.url, "hi", "--quiet"), Settings(), out, err, Screen())

    assert (code, out.getvalue(), err.getvalue()) == (0, "Hello there\n", "")


@each_value(
    "state, shown",
    [(TaskState.FAILED, "error: no such session\n"), (TaskState.INPUT_REQUIRED, "[waiting] no such session\n")],
)
async def test_quiet_shows_what_has_failed_and_what_is_asked(
    scene: Scene, anyio_backend: str, state: TaskState, shown: str
) -> None:
    scene.offers(WORKING, status(state, "no such session"))
    out, err = Screen(), Screen()

    await run_from_arguments(parsed(scene.url, "hi", "--quiet"), Settings(), out, err, Screen())

    assert out.getvalue() == ""
    assert err.getvalue().startswith(shown)
