"""`opencode-a2a call` at a terminal: what is on the screen while an answer streams, and when it has ended."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from sansio.a2a.model import Artifact, ArtifactUpdate, DataPart, TaskState
from tests.shell.calling import COMPLETED, WORKING, Scene, says, status
from tests.shell.cases import each_value
from tests.shell.scripted_agent import CutError, stream
from tests.shell.terminal.emulator import Emulator, emulator

pytestmark = pytest.mark.anyio

MARKDOWN = """\
# Result

Some **bold** text with `code`, and [a link](http://example.org/x).

```python
def double(x):
    return 2 * x
```

| Name | Size |
| --- | ---: |
| one | 1 |
| eleven | 11 |

1. first
2. second
"""
LAID_OUT = """\
Result

Some bold text with code, and a link (http://example.org/x).

  def double(x):
      return 2 * x

 Name    Size
 ────────────
 one        1
 eleven    11

 1 first
 2 second"""


def tool(status: str, **more: Any) -> ArtifactUpdate:
    data = {"call_id": "c1", "tool": "bash", "status": status, **more}
    metadata = {"shared": {"stream": {"block_type": "tool_call"}}}
    artifact = Artifact(artifact_id="tool", parts=(DataPart(data=data),), metadata=metadata)
    return ArtifactUpdate(task_id="t1", context_id="c1", artifact=artifact)


@asynccontextmanager
async def calling(
    scene: Scene, runtime: str, *arguments: str, environ: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[Emulator]:
    given = {"A2A_RUNTIME": runtime, **(environ or {})}
    async with emulator(["call", scene.url, "hi", *arguments], given, **more) as terminal:
        yield terminal


def without_end(text: str) -> str:
    """The screen without the lines that tell how the task has ended, and how to go on."""
    return text.partition("\n\n[completed]")[0]


async def test_an_answer_streams_as_markdown_and_stays(scene: Scene, anyio_backend: str) -> None:
    gates = [anyio.Event() for _ in range(3)]
    half = MARKDOWN.index("return")
    scene.offers(
        WORKING,
        says("Easy.\nTwice ", block="reasoning"),
        says("it is.", block="reasoning"),
        tool("running", title="echo 1"),
        gates[0],
        tool("completed", title="echo 1", output="1"),
        says(MARKDOWN[:half], append=False),
        gates[1],
        *(says(MARKDOWN[index : index + 5]) for index in range(half, len(MARKDOWN), 5)),
        gates[2],
        COMPLETED,
    )

    async with calling(scene, anyio_backend) as terminal:
        await terminal.until(lambda: re.search(r"Twice it is\.\n\n\S bash  echo 1  0 s\Z", terminal.text))
        gates[0].set()
        await terminal.until("def double(x):")
        begun = terminal.text
        gates[1].set()
        await terminal.until(" 2 second")
        await terminal.until(lambda: re.search(r" 2 second\n\S working  \d s\Z", terminal.text))
        gates[2].set()
        code = await terminal.exit_code()

    before = "│ Easy.\n│ Twice it is.\n\n✓ bash  echo 1\n\n"
    assert begun.startswith(before + LAID_OUT.partition("\n      return")[0])
    assert code == 0
    assert without_end(terminal.text) == before + LAID_OUT
    assert terminal.lines[-1] == "[to go on with this conversation: --context c1]"
    assert b"\x1b[?25h" in terminal.raw  # the cursor is shown again


async def test_finished_blocks_are_written_once_and_the_open_one_is_drawn_seldom(
    scene: Scene, anyio_backend: str
) -> None:
    words = [says(f"word{number} ") for number in range(3000)]
    blocks = [says(f"para{number}\n\n") for number in range(300)]
    scene.offers(WORKING, says("Begin.\n\n", append=False), *blocks, *words, COMPLETED)

    async with calling(scene, anyio_backend) as terminal:
        code = await terminal.exit_code()

    text = terminal.raw.decode()
    assert code == 0
    assert len(re.findall(r"\bpara150\b", text)) <= 2  # once where it stays, and perhaps once where it was open
    assert "word2999" in terminal.text
    assert len(text) < 40 * 3000


@pytest.mark.parametrize("columns", [24, 40])
async def test_a_narrow_terminal_gets_narrow_lines(scene: Scene, anyio_backend: str, columns: int) -> None:
    scene.offers(WORKING, says(f"{'long words here ' * 8}\n\n{MARKDOWN}", append=False), COMPLETED)

    async with calling(scene, anyio_backend, columns=columns, lines=70) as terminal:
        code = await terminal.exit_code()

    assert code == 0
    assert terminal.text.split("Result")[0].split() == ["long", "words", "here"] * 8
    assert " eleven    11" in terminal.text


async def test_a_terminal_that_changes_its_width_keeps_its_text(scene: Scene, anyio_backend: str) -> None:
    gate = anyio.Event()
    words = " ".join(f"w{number}" for number in range(30))
    scene.offers(WORKING, says(f"First.\n\n{words}", append=False), gate, says(" end\n"), COMPLETED)

    async with calling(scene, anyio_backend, columns=70) as terminal:
        await terminal.until("w29")
        terminal.resize(30, 40)
        await terminal.until(lambda: terminal.text.count("\n") > 4)
        gate.set()
        code = await terminal.exit_code()

    assert code == 0
    shown = without_end(terminal.text).split()
    assert shown == ["First.", *words.split(), "end"]


@each_value(
    "arguments, environ",
    [
        ([], {"NO_COLOR": "1"}),
        ([], {"NO_COLOR": "1", "FORCE_COLOR": "1"}),
        (["--color", "never"], {"FORCE_COLOR": "1"}),
        ([], {"CLICOLOR": "0"}),
    ],
)
async def test_without_colours_the_layout_stays(
    scene: Scene, anyio_backend: str, arguments: list[str], environ: dict[str, str]
) -> None:
    scene.offers(WORKING, says(MARKDOWN, append=False), COMPLETED)

    async with calling(scene, anyio_backend, *arguments, environ=environ) as terminal:
        await terminal.exit_code()

    assert without_end(terminal.text) == LAID_OUT
    assert re.findall(rb"\x1b\[[0-9;]*m", terminal.raw) == []


async def test_a_terminal_has_colours_unless_it_is_told_otherwise(scene: Scene, anyio_backend: str) -> None:
    scene.offers(WORKING, says(MARKDOWN, append=False), COMPLETED)

    async with calling(scene, anyio_backend, "--color", "always", environ={"NO_COLOR": "1"}) as terminal:
        await terminal.exit_code()

    row = terminal.text.split("\n").index("  def double(x):")
    assert terminal.screen.buffer[row][2].fg != "default"
    assert terminal.screen.buffer[0][0].bold


async def test_a_dumb_terminal_gets_plain_text_as_it_comes(scene: Scene, anyio_backend: str) -> None:
    scene.offers(WORKING, says(MARKDOWN, append=False), tool("completed", title="ls"), COMPLETED)

    async with calling(scene, anyio_backend, environ={"TERM": "dumb"}) as terminal:
        await terminal.exit_code()

    assert b"\x1b" not in terminal.raw
    assert "**bold** text with `code`" in terminal.text
    assert "[tool] bash: completed: ls" in terminal.text


HOSTILE = (
    "\x1b[2J\x1b[1;1Hhome \x1b]0;title\x07 \x1b[31mred\r\nback\x08\x08\x08 "
    "[bold red]markup[/] <!-- hidden --> <b>tag</b> &#27;[1m \u202eevil\n\n"
    "```\n\x1b[5A\n```\n\n[safe.org](http://evil.org) ![image](http://x.org/i.png)\n\n? permission: bash\n"
)


async def test_an_agents_text_moves_nothing_and_hides_nothing(scene: Scene, anyio_backend: str) -> None:
    scene.offers(
        WORKING,
        says("thinking\x1b[9A\x1b]0;x\x07\n", block="reasoning"),
        tool("completed", title="\x1b[2Jls\n✓ rm"),
        says(HOSTILE, append=False),
        status(TaskState.FAILED, "\x1b[1A\x1b[2Kno reason\n[completed]"),
    )

    async with calling(scene, anyio_backend) as terminal:
        code = await terminal.exit_code()

    assert code == 1
    assert terminal.screen.title == ""
    assert not re.search(rb"\x1b(?!\[[0-9;]*[mJA]|\[\?25[hl])|\x1b\[2J|\x1b\[1A\x1b\[2K|\x1b\]", terminal.raw)
    for text in ("thinking␛[9A␛]0;x␇", "✓ bash  ␛[2Jls ✓ rm", "␛[2J␛[1;1Hhome", "␛]0;title␇", "[bold red]markup[/]"):
        assert text in terminal.text
    for text in ("<!-- hidden -->", "<b>tag</b>", "&#27;[1m", "␛[5A", "safe.org (http://evil.org)", "x.org/i.png"):
        assert text in terminal.text.replace("\n", " ")
    assert "[failed]" in terminal.text
    assert "error: ␛[1A␛[2Kno reason" in terminal.text


async def test_quiet_shows_the_answer_alone(scene: Scene, anyio_backend: str) -> None:
    scene.offers(
        WORKING, says("why", block="reasoning"), tool("completed", title="ls"), says("Done.", append=False), COMPLETED
    )

    async with calling(scene, anyio_backend, "--quiet") as terminal:
        code = await terminal.exit_code()

    assert (code, terminal.text) == (0, "Done.")


async def test_verbose_shows_what_a_tool_took_and_gave(scene: Scene, anyio_backend: str) -> None:
    scene.offers(
        WORKING,
        tool("running", title="ls", input={"command": "ls"}),
        tool("completed", title="ls", input={"command": "ls"}, output="a\nb\n"),
        says("Done.", append=False),
        COMPLETED,
    )

    async with calling(scene, anyio_backend, "--verbose") as terminal:
        await terminal.exit_code()

    expected = ["✓ bash  ls", '    input: {"command":"ls"}', "    output: a", "            b", "", "Done."]
    interface, *shown = terminal.lines
    assert interface.startswith("[JSONRPC 1.0 at ")
    assert shown[: len(expected)] == expected


async def test_a_spinner_waits_and_leaves_no_trace(scene: Scene, anyio_backend: str) -> None:
    gate = anyio.Event()
    scene.offers(gate, WORKING, says("Done.", append=False), COMPLETED)

    async with calling(scene, anyio_backend) as terminal:
        await terminal.until(lambda: re.fullmatch(r"\S waiting for the agent  1 s", terminal.text))
        gate.set()
        await terminal.exit_code()

    assert without_end(terminal.text) == "Done."


async def test_a_stream_that_breaks_goes_on_in_the_same_paragraph(scene: Scene, anyio_backend: str) -> None:
    gate = anyio.Event()
    scene.replies(
        stream(WORKING, says("**Hello** ", append=False), gate, CutError),
        stream(WORKING, says("there"), COMPLETED),
    )

    async with calling(scene, anyio_backend) as terminal:
        await terminal.until("Hello")
        gate.set()
        code = await terminal.exit_code()

    assert (code, without_end(terminal.text)) == (0, "Hello there")
    assert [one.json["method"] for one in scene.agent.asked("/rpc")] == ["SendStreamingMessage", "SubscribeToTask"]
