"""A printer for terminals: text streams as laid-out Markdown, reasoning and tools are set apart, a spinner waits.

What is finished is written once and stays. Below it a live area is drawn at most a dozen times a second: the open
block, tools at work, and the spinner. While a person is asked something, nothing is drawn, and what comes waits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

import anyio

from opencode_a2a.terminal.output import PREFIXES, Printer, harmless, on_one_line
from opencode_a2a.terminal.screen.blocks import Block, MarkdownBlocks
from opencode_a2a.terminal.screen.cells import cut, width_of, wrap
from opencode_a2a.terminal.screen.live_area import LiveArea, size_of
from opencode_a2a.terminal.screen.look import Look
from sansio.a2a.client.calls import to_json
from sansio.a2a.client.transcript import AnswerText, Notice, NoticeKind, ToolCall, Utterance
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import StreamItem

if TYPE_CHECKING:
    from opencode_a2a.terminal.screen.markdown import MarkdownRenderer

_FRAME: Final = 1 / 12
_QUIET_BEFORE_SPINNING: Final = 0.6
"""Seconds without text after which the spinner comes back."""

_MOST_LIVE_LINES: Final = 20
_MOST_TOOLS: Final = 6
_MOST_DETAILS: Final = 20
_MOST_UNWRITTEN: Final = 100_000
_SPINNER: Final = {True: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", False: "-\\|/"}
_ENDED: Final = {"completed": ("✓", "+", "32"), "error": ("✗", "x", "31")}
_DIM: Final = "2"
_STYLES: Final = {
    NoticeKind.ERROR: "31",
    NoticeKind.CORRECTION: "33",
    NoticeKind.INTERRUPT: "33",
    NoticeKind.ANSWERED: _DIM,
    NoticeKind.PROGRESS: _DIM,
    NoticeKind.STATUS: _DIM,
    NoticeKind.STATE: _DIM,
    NoticeKind.FILE: "36",
}


class ScreenPrinter(Printer):
    """Print to streams of which one is a terminal, or is to have colours.

    `animate` draws for as long as it runs; without it everything comes when it is finished.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        look: Look,
        *,
        clock: Callable[[], float] = time.monotonic,
        **more: Any,
    ) -> None:
        super().__init__(out, err, **more)
        self._look = look
        self._clock = clock
        self._screen = err if look.err else out
        self._area = LiveArea(self._screen) if look.err or look.out else None
        self._unicode = "utf" in (self._screen.encoding or "utf-8").lower()
        self._renderer: MarkdownRenderer | None = None
        self._blocks = MarkdownBlocks()
        self._reasoning = ""
        self._flow = ""  # what is open: the answer, the reasoning, or nothing
        self._before = ""  # what was written last
        self._finished: list[Block] = []
        self._unwritten = 0  # characters since blocks were written
        self._pending: list[tuple[Sequence[Utterance], bool]] = []  # what came while a person was asked
        self._tools: dict[tuple[str, str], tuple[ToolCall, float]] = {}
        self._activity = ""
        self._begun = clock()
        self._last_text = -math.inf
        self._broken: OSError | None = None

    # --- what comes ---------------------------------------------------------------------------------------

    def show(self, item: StreamItem, utterances: Sequence[Utterance], *, will_ask: bool = False) -> None:
        if self._broken is not None:
            raise self._broken
        if self._prompt is not None:
            self._pending.append((utterances, will_ask))
        else:
            self._take(utterances, will_ask)

    def _take(self, utterances: Iterable[Utterance], will_ask: bool) -> None:
        for utterance in utterances:
            if isinstance(utterance, AnswerText):
                self._last_text = self._clock()
                self._answer(utterance.text)
            elif not (will_ask and (utterance.asks or utterance.ends)) and self._wants(utterance):
                self._see(utterance)

    def _answer(self, text: str) -> None:
        if not self._look.rendered:
            self._settle("answer")
            self._write_out(text)
            return
        if self._flow != "answer":
            self._settle("answer")
        self._finished.extend(self._blocks.feed(text))
        self._unwritten += len(text)
        if self._unwritten > _MOST_UNWRITTEN:
            self._print_blocks()

    def _see(self, notice: Notice) -> None:
        if notice.kind is NoticeKind.REASONING:
            if self._look.err or self._verbose:
                self._reason(notice.text)
            return
        if notice.tool is not None:
            self._tool(notice.tool)
            return
        if notice.kind is NoticeKind.STATE and not notice.ends:
            self._activity = notice.text
            return
        if notice.kind is NoticeKind.PROGRESS:
            self._activity = on_one_line(notice.text)
        if not notice.detail or self._verbose:
            text = PREFIXES[notice.kind].format(harmless(notice.text))
            if notice.kind is NoticeKind.STATE:
                text += f" in {_duration(self._clock() - self._begun)}"
            self._line("notice", text, _STYLES.get(notice.kind, _DIM))

    def _reason(self, text: str) -> None:
        if self._flow != "reasoning":
            self._settle("reasoning")
        self._last_text = self._clock()
        *lines, self._reasoning = f"{self._reasoning}{text}".split("\n")
        if len(self._reasoning) > 10_000:
            lines, self._reasoning = [*lines, self._reasoning], ""
        for line in lines:
            self._reasoned(line)

    def _reasoned(self, line: str) -> None:
        if line.strip() or self._before == "reasoning":
            for row in self._reasoning_rows(line):
                self._write_line("reasoning", row)

    def _reasoning_rows(self, line: str) -> Iterable[str]:
        width, _ = size_of(self._screen)
        bar = "│" if self._unicode else "|"
        for row in wrap(harmless(line), width - 3):
            yield self._styled(f"{bar} {row}".rstrip(), _DIM)

    def _tool(self, call: ToolCall) -> None:
        if not call.ended:
            _, since = self._tools.get(call.key, (call, self._clock()))
            if call.key not in self._tools:
                self._settle("")
            self._tools[call.key] = (call, since)
            if self._area is None or not self._look.err:
                self._line("tool", self._tool_text(call), "")
            return
        _, since = self._tools.pop(call.key, (call, self._clock()))
        self._print_blocks()
        mark, plain_mark, colour = _ENDED[call.status]
        width, _ = size_of(self._screen)
        took = self._clock() - since
        text = cut(f" {self._tool_text(call)}", width - 10) + (f"  {_duration(took)}" if took >= 1 else "")
        self._write_line("tool", self._styled(mark if self._unicode else plain_mark, colour) + text)
        if self._verbose:
            for line in _details(call.details):
                self._write_line("tool", self._styled(cut(f"    {line}", width - 1), _DIM))

    def _tool_text(self, call: ToolCall) -> str:
        about = on_one_line(call.error or call.title)
        return f"{on_one_line(call.name)}  {about}" if about else on_one_line(call.name)

    # --- the command's own words --------------------------------------------------------------------------

    def activity(self, text: str) -> None:
        self._activity = on_one_line(text)

    def asked(self) -> None:
        super().asked()
        self._resume()

    def _resume(self) -> None:
        """Show what has come while a person was asked."""
        pending, self._pending = self._pending, []
        for utterances, will_ask in pending:
            self._take(utterances, will_ask)

    def fault(self, text: str) -> None:
        self._settle("")
        super().fault(text)

    def print(self, text: str) -> None:
        self._settle("answer")
        super().print(text)

    def close(self) -> None:
        """Write what is open, and leave nothing behind that was not meant to stay."""
        if self._broken is not None:
            return
        if self._prompt is not None:
            self._end_prompt()
        try:
            self._settle("")
            self._erase()
        except BrokenPipeError:
            return
        self._tools.clear()
        self._activity = ""
        super().close()

    def _say(self, text: str) -> None:
        if self._prompt_shown:
            self._prompt_shown = False
            self._write_err("\n")
        self._line("notice", text, _DIM if text.startswith("[") else "31")

    def _put_question(self, question: str) -> None:
        self._settle("")
        self._erase()
        if question:
            first, *rest = harmless(question).split("\n")
            mark = self._styled("?", "36;1")
            self._space("question")
            self._write_err(f"{mark} {self._styled(first, '1')}\n" + "".join(f"  {line}\n" for line in rest))

    def _put_prompt(self) -> None:
        if self._prompt is not None:
            self._erase()
            self._write_err(self._prompt[1])
            self._prompt_shown = True

    def _end_prompt(self) -> None:
        if self._prompt_shown:
            self._write_err("\n")
        super()._end_prompt()
        self._prompt_shown = False
        self._resume()

    # --- writing what stays -------------------------------------------------------------------------------

    def _settle(self, flow: str) -> None:
        """End what is open, where something else goes on."""
        if self._flow == "answer" and flow != "answer":
            self._finished.extend(self._blocks.finish())
        self._print_blocks()
        if self._flow == "reasoning" and flow != "reasoning" and self._reasoning:
            line, self._reasoning = self._reasoning, ""
            self._reasoned(line)
        self._flow = flow if flow in ("answer", "reasoning") else ""

    def _print_blocks(self) -> None:
        blocks, self._finished, self._unwritten = self._finished, [], 0
        if not blocks:
            return
        self._erase()
        if self._renderer is None:
            self._renderer = _renderer(self._look)
        width, _ = size_of(self._out)
        texts = []
        for block in blocks:
            lines = self._renderer.lines(harmless(block.text), width - 1)
            gap = self._before not in ("", "answer") or (self._before == "answer" and not block.continues)
            if lines:
                texts.append(("\n" if gap else "") + "\n".join(lines) + "\n")
                self._before = "answer"
        self._write_out("".join(texts))

    def _line(self, kind: str, text: str, style: str) -> None:
        self._settle("")
        for line in text.split("\n"):
            self._write_line(kind, self._styled(line, style))

    def _write_line(self, kind: str, text: str) -> None:
        self._erase()
        self._space(kind)
        if self._out_open:
            self._end_shared_line()
        self._write_err(f"{text}\n")

    def _space(self, kind: str) -> None:
        """Set kinds of output apart by an empty line, where they stand on one screen."""
        apart = self._before not in ("", kind) and not {self._before, kind} <= {"tool", "notice"}
        apart = apart and (self._before, kind) != ("question", "notice")
        if apart and self._look.err and (self._look.out or self._before != "answer"):
            self._write_err("\n")
        self._before = kind

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if style and text and self._look.err_colour else text

    def _write_out(self, text: str) -> None:
        self._erase()
        super()._write_out(text)

    def _erase(self) -> None:
        if self._area is not None:
            self._area.erase()

    # --- drawing what does not ----------------------------------------------------------------------------

    async def animate(self) -> None:
        if self._area is None:
            return
        while self._broken is None:
            await anyio.sleep(_FRAME)
            try:
                self.draw()
            except OSError as error:  # it is raised where the next thing is shown
                self._broken = error

    def draw(self) -> None:
        """Write the blocks that are finished, and draw the open one, the tools at work and the spinner below them."""
        if self._prompt is not None or self._area is None:
            return
        self._print_blocks()
        columns, rows = size_of(self._screen)
        most = max(min(rows - 2, _MOST_LIVE_LINES), 1)
        below = self._waiting_lines(columns)[-most:]
        lines = [*self._open_lines(columns, max(most - len(below), 0)), *below]
        self._area.draw([_replaced(line, self._screen) for line in lines])

    def _open_lines(self, columns: int, most: int) -> list[str]:
        if not most:
            return []
        if self._flow == "reasoning" and self._reasoning:
            return [*self._reasoning_rows(self._reasoning[-most * columns :])][-most:]
        if self._flow != "answer" or not self._look.rendered or not self._look.out:
            return []
        block = self._blocks.tail(most, columns)
        if not block.text.strip():
            return []
        if self._renderer is None:
            self._renderer = _renderer(self._look)
        lines = self._renderer.lines(harmless(block.text), columns - 1)
        gap = [""] if self._before and not (self._before == "answer" and block.continues) else []
        return [*gap, *lines][-most:]

    def _waiting_lines(self, columns: int) -> list[str]:
        """Return a line for each tool at work, and the spinner where no text comes."""
        if not self._look.err or self._quiet or (self._out_open and not self._look.out):
            return []
        now = self._clock()
        frames = _SPINNER[self._unicode]
        frame = self._styled(frames[int(now / _FRAME) % len(frames)], "36")
        lines = []
        tools = [*self._tools.values()]
        for call, since in tools[:_MOST_TOOLS]:
            lines.append(f"{frame} " + cut(self._tool_text(call), columns - 14) + f"  {_duration(now - since)}")
        if len(tools) > _MOST_TOOLS:
            lines.append(self._styled(f"  and {len(tools) - _MOST_TOOLS} more", _DIM))
        if not lines and self._activity and now - max(self._last_text, self._begun) > _QUIET_BEFORE_SPINNING:
            elapsed = _duration(now - self._begun)
            lines.append(f"{frame} " + self._styled(cut(f"{self._activity}  {elapsed}", columns - 4), _DIM))
        if lines and self._before and self._flow != "answer" and self._before != "tool":
            lines.insert(0, "")
        return lines


def _renderer(look: Look) -> MarkdownRenderer:
    from opencode_a2a.terminal.screen.markdown import MarkdownRenderer

    return MarkdownRenderer(colour=look.out_colour)


def _replaced(line: str, stream: TextIO) -> str:
    encoding = stream.encoding or "utf-8"
    return line.encode(encoding, "replace").decode(encoding)


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _details(details: Mapping[str, Any]) -> Iterable[str]:
    """Yield the lines of a tool's input and output, the first ones where there are many."""
    for name, value in details.items():
        if isinstance(value, str):
            text = value
        else:
            try:
                text = to_json(value).decode()
            except ProtocolError:
                text = "(nested too deeply)"
        lines = text.splitlines()
        for number, line in enumerate(lines[:_MOST_DETAILS]):
            head = f"{name}: " if not number else " " * (width_of(name) + 2)
            yield head + on_one_line(line)[:1000]
        if len(lines) > _MOST_DETAILS:
            yield f"… {len(lines) - _MOST_DETAILS} more lines"
