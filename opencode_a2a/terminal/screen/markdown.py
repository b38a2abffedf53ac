"""Markdown of an agent as lines for a terminal, laid out by `rich`.

Nothing in it is trusted: HTML, images and references are shown as the text that they are, and a link shows where it
leads to. Control characters must have been replaced before. Importing this module imports `rich`.
"""

from __future__ import annotations

import io
from typing import ClassVar, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.color import ColorSystem
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, HorizontalRule, Markdown, MarkdownElement
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import Segment
from rich.syntax import Syntax
from rich.theme import Theme

from opencode_a2a.terminal.screen.cells import wrap

_THEME: Final = Theme(
    {
        "markdown.h1": "bold underline",
        "markdown.h2": "bold underline",
        "markdown.h3": "bold",
        "markdown.h4": "bold",
        "markdown.code": "bold cyan",
        "markdown.code_block": "cyan",
        "markdown.link": "underline",
        "markdown.link_url": "blue",
        "markdown.hr": "dim",
        "markdown.item.bullet": "yellow",
        "markdown.item.number": "yellow",
        "markdown.block_quote": "magenta",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
    }
)


class _Heading(Heading):
    LEVEL_ALIGN: ClassVar = {f"h{level}": "left" for level in range(1, 7)}


class _Code(CodeBlock):
    """Code set in by two cells, in the terminal's own colours."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip("\n")
        syntax = Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, background_color="default")
        yield Padding(syntax, (0, 0, 0, 2))


class _Line(HorizontalRule):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Rule(style=console.get_style("markdown.hr", default="none"))


class _AgentMarkdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "hr": _Line,
    }

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__("", code_theme="ansi_dark", hyperlinks=False)
        self.parsed = tokens


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return parser.disable(["html_block", "html_inline", "image", "reference", "entity"])


def _keep_lines(tokens: list[Token]) -> None:
    """Make every line end of the text one on the screen: agents end lines where they mean it."""
    for token in tokens:
        if token.type == "softbreak":
            token.type = "hardbreak"
        _keep_lines(token.children or [])


class MarkdownRenderer:
    """Lays blocks out. `colour`: with the terminal's colours and faces, else as bare text."""

    def __init__(self, *, colour: bool) -> None:
        self._parser = _parser()
        self._console = Console(
            file=io.StringIO(),
            force_terminal=True,
            color_system="standard" if colour else None,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
            theme=_THEME,
            width=80,
        )
        self._colour = colour

    def lines(self, text: str, width: int) -> list[str]:
        """Lay a block out in lines of at most so many cells, without white space at their ends."""
        try:
            tokens = self._parser.parse(text)
            _keep_lines(tokens)
            options = self._console.options.update(width=width, height=None)
            rows = self._console.render_lines(_AgentMarkdown(tokens), options, pad=False)
        except Exception:  # a fault of the libraries in what an agent has made up; the text is shown all the same
            return [row for line in text.split("\n") for row in wrap(line, width)]
        lines = [self._line(row) for row in rows]
        while lines and not lines[-1]:
            lines.pop()
        while lines and not lines[0]:
            lines.pop(0)
        return lines

    def _line(self, row: list[Segment]) -> str:
        pieces = [*Segment.simplify(row)]
        while pieces and not pieces[-1].text.strip():
            pieces.pop()
        if pieces:
            pieces[-1] = Segment(pieces[-1].text.rstrip(), pieces[-1].style)
        if not self._colour:
            return "".join(piece.text for piece in pieces)
        return "".join(
            piece.style.render(piece.text, color_system=ColorSystem.STANDARD) if piece.style else piece.text
            for piece in pieces
        )
