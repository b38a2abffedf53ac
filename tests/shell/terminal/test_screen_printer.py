"""The printer for screens by itself, with a clock of its own: what stays, what is drawn below it, and what waits."""

from __future__ import annotations

import io
import os
from typing import Any

import anyio
import pyte
import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from opencode_a2a.terminal.output import Printer
from opencode_a2a.terminal.screen.look import Look
from opencode_a2a.terminal.screen.printers import printer_for
from opencode_a2a.terminal.screen.screen_printer import ScreenPrinter
from sansio.a2a.client.transcript import Transcript
from sansio.a2a.model import Artifact, ArtifactUpdate, DataPart, StreamItem, TaskState
from tests.shell.calling import COMPLETED, WORKING, says, status

BOTH = Look(out=True, err=True, rendered=True)


class Terminal(io.StringIO):
    """A text stream onto a screen; it breaks at the next write once `broken` is set.

    `is_shown` False: the screen stays empty, which saves a second for each 30 kB.
    """

    def __init__(self, columns: int = 80, lines: int = 40) -> None:
        super().__init__()
        self.screen = pyte.Screen(columns, lines)
        self.broken = False
        self.is_shown = True
        self._stream = pyte.Stream(self.screen)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.broken:
            raise BrokenPipeError
        if self.is_shown:
            self._stream.feed(text.replace("\n", "\r\n"))
        return super().write(text)

    @property
    def text(self) -> str:
        """What is on the screen, without white space at the ends of its lines."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n")


@define(eq=False)
class Shown:
    """A printer, the screen that it prints on, and the time that it goes by."""

    look: Look = BOTH
    options: dict[str, Any] = field(factory=dict)
    now: float = 0.0
    terminal: Terminal = field(factory=Terminal)
    out: io.StringIO | None = None
    transcript: Transcript = field(factory=Transcript)
    printer: ScreenPrinter = field(init=False)

    def __attrs_post_init__(self) -> None:
        out = self.out or self.terminal
        self.printer = ScreenPrinter(out, self.terminal, self.look, clock=lambda: self.now, **self.options)

    def see(self, *items: StreamItem, will_ask: bool = False) -> Shown:
        for item in items:
            self.printer.show(item, self.transcript.feed(item), will_ask=will_ask)
        return self

    def draw(self, after: float = 0.0) -> str:
        """Draw once `after` seconds; return what is on the screen then."""
        self.now += after
        self.printer.draw()
        return self.terminal.text

    def close(self) -> str:
        self.printer.close()
        return self.terminal.text


def tool(state: str, number: int = 1, **more: Any) -> ArtifactUpdate:
    data = {"call_id": f"c{number}", "tool": "bash", "status": state, **more}
    metadata = {"shared": {"stream": {"block_type": "tool_call"}}}
    artifact = Artifact(artifact_id=f"tool{number}", parts=(DataPart(data=data),), metadata=metadata)
    return ArtifactUpdate(task_id="t1", context_id="c1", artifact=artifact)


def test_finished_blocks_stay_and_the_open_one_is_drawn_below_them() -> None:
    shown = Shown().see(WORKING, says("# Result\n\nSome **bold** te", append=False))

    begun = shown.draw()
    shown.see(says("xt\n\nThe end"))

    assert begun == "Result\n\nSome bold te"
    assert shown.draw() == "Result\n\nSome bold text\n\nThe end"
    assert shown.close() == "Result\n\nSome bold text\n\nThe end"


def test_what_is_the_same_is_not_drawn_again() -> None:
    shown = Shown().see(says("Hel", append=False))
    shown.draw()
    before = shown.terminal.getvalue()
    shown.draw()

    assert shown.terminal.getvalue() == before
    assert "\x1b[?25l" in before  # the cursor is hidden while something is drawn
    shown.close()
    assert shown.terminal.getvalue().endswith("\x1b[?25hHel\n")


def test_reasoning_stands_behind_a_bar_line_by_line() -> None:
    shown = Shown().see(says("Easy.\nTwi", append=False, block="reasoning"))

    open_line = shown.draw()
    shown.see(says("ce.", block="reasoning"), says("4", append=False))

    assert open_line == "│ Easy.\n│ Twi"
    assert shown.close() == "│ Easy.\n│ Twice.\n\n4"


def test_a_line_of_reasoning_without_an_end_is_cut_into_pieces() -> None:
    shown = Shown()
    shown.terminal.is_shown = False
    shown.see(says("\n\n" + "x" * 10_001, append=False, block="reasoning"))

    assert shown.terminal.getvalue().count("x") == 10_001


def test_a_tool_at_work_is_drawn_with_its_time_and_stays_when_it_has_ended() -> None:
    shown = Shown().see(says("I look.", append=False), tool("running", title="ls"))

    at_work = shown.draw(after=2)
    shown.see(tool("completed", title="ls"), tool("error", 2, error="no\nsuch"))

    assert at_work.startswith("I look.\n")
    assert at_work.endswith(" bash  ls  2 s")
    assert shown.close() == "I look.\n\n✓ bash  ls  2 s\n✗ bash  no such"


def test_of_many_tools_the_first_are_drawn() -> None:
    shown = Shown().see(*(tool("running", number) for number in range(8)))

    lines = shown.draw().split("\n")

    assert len(lines) == 7
    assert lines[-1] == "  and 2 more"


def test_what_a_tool_took_and_gave_is_for_the_curious() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    given: dict[str, Any] = {
        "input": {"command": "ls"},
        "output": "\n".join(f"line {number}" for number in range(25)),
    }
    shown = Shown(options={"verbose": True}).see(tool("completed", **given, metadata=deep))

    lines = shown.close().split("\n")

    assert lines[:4] == ["✓ bash", '    input: {"command":"ls"}', "    output: line 0", "            line 1"]
    assert "    … 5 more lines" in lines
    assert "line 20" not in shown.terminal.text


def test_a_spinner_comes_back_where_no_text_comes() -> None:
    shown = Shown()
    shown.printer.activity("waiting for\nthe agent")

    assert shown.draw(after=0.5) == ""
    assert shown.draw(after=2).endswith(" waiting for the agent  2 s")
    shown.see(WORKING, says("Hi.\n\n", append=False))
    assert shown.draw() == "Hi."
    assert shown.draw(after=100).startswith("Hi.\n")
    assert shown.terminal.text.endswith(" working  1 min 42 s")
    assert shown.draw(after=7200).endswith(" working  2 h 01 min")
    assert shown.see(COMPLETED).close() == "Hi.\n\n[completed] in 2 h 01 min"


def test_nothing_is_drawn_while_a_person_is_asked_and_what_came_follows() -> None:
    shown = Shown().see(says("Which", append=False))
    shown.printer.ask("Tea?\n  1. yes", "answer> ")
    shown.see(says(" one"), tool("running"))

    assert shown.draw(after=5) == "Which\n\n? Tea?\n    1. yes\nanswer>"
    shown.printer.asked()
    assert "one" in shown.terminal.text
    assert shown.draw().endswith(" bash  0 s")


def test_a_question_that_is_dropped_leaves_its_line() -> None:
    shown = Shown()
    shown.printer.ask("Tea?", "answer> ")
    shown.printer.note("somebody has answered")
    shown.printer.unask()
    shown.see(says("Fine.", append=False))

    assert shown.close().startswith("? Tea?\nanswer>\n[somebody has answered]")
    assert shown.terminal.text.endswith("Fine.")


def test_a_question_of_the_commands_own_comes_between() -> None:
    shown = Shown()
    shown.printer.ask("Tea?", "answer> ")
    with shown.printer.aside("Interrupted", "c> "):
        shown.see(says("Meanwhile.", append=False))

    assert shown.terminal.text.startswith("? Tea?\nanswer>\n? Interrupted\nc>")
    assert shown.terminal.text.endswith("? Tea?\nanswer>")
    assert "Meanwhile." in shown.close()


def test_what_the_task_asks_is_said_once_where_a_person_is_asked() -> None:
    asks = status(TaskState.INPUT_REQUIRED, "Tea?")

    assert "Tea?" not in Shown().see(asks, will_ask=True).close()
    assert "[waiting] Tea?" in Shown().see(asks).close()


def test_a_fault_stands_below_what_was_open() -> None:
    shown = Shown().see(says("Hel", append=False))

    shown.printer.fault("the agent\nis gone")

    assert shown.close() == "Hel\n\nopencode-a2a call: the agent is gone"
    assert shown.printer.failure == "the agent is gone"


def test_results_are_printed_below_what_was_open() -> None:
    shown = Shown().see(says("thinking", append=False, block="reasoning"))

    shown.printer.print("| a |\n")

    assert shown.close() == "│ thinking\n| a |"


def test_colours_are_for_where_they_are_wanted() -> None:
    coloured = Look(out=True, err=True, rendered=True, out_colour=True, err_colour=True)
    shown = Shown(coloured).see(tool("completed"), status(TaskState.FAILED, "no reason"))
    shown.close()

    assert "\x1b[32m✓\x1b[0m bash\n" in shown.terminal.getvalue()
    assert "\x1b[31merror: no reason\x1b[0m\n" in shown.terminal.getvalue()


def test_an_answer_into_a_file_is_exact_and_the_rest_is_on_the_screen() -> None:
    file = io.StringIO()
    shown = Shown(Look(err=True), out=file).see(
        says("think\n", append=False, block="reasoning"), says("**a**", append=False), tool("completed"), COMPLETED
    )
    shown.close()

    assert file.getvalue() == "**a**\n"
    assert shown.terminal.text == "│ think\n\n✓ bash\n[completed] in 0 s"


def test_without_a_screen_for_it_a_tool_is_a_line_when_it_begins() -> None:
    file = io.StringIO()
    look = Look(rendered=True, out_colour=True)
    printer = ScreenPrinter(file, file, look, clock=lambda: 0.0)
    transcript = Transcript()
    for item in (says("hidden", append=False, block="reasoning"), tool("running"), says("*a*", append=False)):
        printer.show(item, transcript.feed(item))
    printer.draw()
    anyio.run(printer.animate)  # at once: there is nothing to draw on
    printer.close()

    assert file.getvalue().startswith("bash\n")
    assert "hidden" not in file.getvalue()
    assert "\x1b[?25l" not in file.getvalue()


def test_a_terminal_that_is_gone_is_an_error_where_the_next_thing_is_shown() -> None:
    shown = Shown().see(says("Hel", append=False))
    shown.terminal.broken = True

    anyio.run(shown.printer.animate)  # to the first drawing that fails

    with pytest.raises(BrokenPipeError):
        shown.see(says("lo"))
    shown.close()


def test_a_reader_that_left_is_no_error_at_the_end() -> None:
    shown = Shown().see(says("Hel", append=False))
    shown.terminal.broken = True

    shown.printer.close()

    assert shown.terminal.text == ""


def test_a_large_answer_is_written_before_anybody_draws() -> None:
    shown = Shown()
    shown.terminal.is_shown = False
    shown.see(says("word\n\n" * 20_000, append=False))

    assert shown.terminal.getvalue().count("word") >= 19_000


def test_the_printer_is_for_screens_where_there_is_one() -> None:
    terminal, file = Terminal(), io.StringIO()
    looks = [
        Look.of(*streams, environ, colour)
        for streams, environ, colour in (
            ((terminal, terminal), {"TERM": "xterm"}, "auto"),
            ((terminal, terminal), {"TERM": "dumb"}, "auto"),
            ((file, file), {"TERM": "xterm"}, "auto"),
            ((file, file), {"TERM": "xterm"}, "always"),
            ((file, file), {"TERM": "xterm", "FORCE_COLOR": "1"}, "auto"),
            ((file, terminal), {"TERM": "xterm", "NO_COLOR": "1"}, "auto"),
        )
    ]
    made = [isinstance(printer_for(file, terminal, look), ScreenPrinter) for look in looks]

    assert made == [True, False, False, True, True, True]
    assert type(printer_for(file, terminal, looks[0], as_json=True)) is Printer


@given(st.lists(st.text(st.sampled_from("ab \n#*`-"), max_size=8), max_size=12), st.lists(st.booleans(), max_size=12))
def test_whenever_it_is_drawn_the_same_stays(pieces: list[str], drawn: list[bool]) -> None:
    often, never = Shown(), Shown()
    for number, piece in enumerate(pieces):
        often.see(says(piece, append=bool(number)))
        never.see(says(piece, append=bool(number)))
        if number < len(drawn) and drawn[number]:
            often.draw(after=1.0)

    assert often.close() == never.close()
    assert often.terminal.screen.cursor.hidden is False


def test_the_width_without_a_terminal_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    words = " ".join(["word"] * 30)
    widths = []
    for columns in ("40", "wide", ""):
        monkeypatch.setitem(os.environ, "COLUMNS", columns)
        shown = Shown().see(says(words, append=False))
        widths.append(max(map(len, shown.close().split("\n"))))

    assert widths == [39, 79, 79]
