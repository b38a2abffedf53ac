"""Markdown that streams: its blocks, whatever the pieces it comes in, and how little is open at any time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_a2a.terminal.screen.blocks import MOST_CHARACTERS, MOST_LINES, Block, MarkdownBlocks
from opencode_a2a.terminal.screen.cells import cut, width_of, wrap
from opencode_a2a.terminal.screen.markdown import MarkdownRenderer

LINES = st.sampled_from(
    [
        "",
        "text",
        "# head",
        "```",
        "```py",
        "~~~",
        "- item",
        "  more",
        "1. one",
        "| a | b |",
        "|---|---|",
        "> quote",
        "    code",
    ]
)
TEXTS = st.lists(LINES, max_size=25).map("\n".join) | st.text(alphabet="ab` ~#-*_[]()<>|\n\r\t\\", max_size=200)


def blocks_of(*pieces: str) -> list[Block]:
    blocks = MarkdownBlocks()
    return [block for piece in pieces for block in blocks.feed(piece)] + blocks.finish()


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("", []),
        ("one\ntwo\n\nthree", ["one\ntwo", "three"]),
        ("text\n# Head\nmore", ["text", "# Head", "more"]),
        ("text\n```py\na\n\nb\n```\nmore", ["text", "```py\na\n\nb\n```", "more"]),
        ("````\n```\n````\nx", ["````\n```\n````", "x"]),
        ("- a\n\n  more\n- b\n\nend", ["- a\n\n  more\n- b", "end"]),
        ("- a\n  ```\n  x\n\n  y\n  ```\n- b", ["- a\n  ```\n  x\n\n  y\n  ```\n- b"]),
        ("a\r\n\r\nb\r\n", ["a", "b"]),
        ("```\nnever closed", ["```\nnever closed"]),
    ],
)
def test_text_is_cut_into_blocks(text: str, blocks: list[str]) -> None:
    assert [block.text for block in blocks_of(text)] == blocks


@given(TEXTS, st.lists(st.integers(0, 400), max_size=8))
def test_the_pieces_that_text_comes_in_make_no_difference(text: str, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(place for place in cuts if place < len(text))})
    pieces = [text[start:end] for start, end in pairwise(places)]

    assert blocks_of(*pieces) == blocks_of(text)


@given(TEXTS)
def test_no_text_is_lost(text: str) -> None:
    assert "\n".join(block.text for block in blocks_of(text)).split() == text.split()


@pytest.mark.parametrize(
    ("piece", "count"), [("word ", 40_000), ("line\n", 1000), ("x" * 1000, 100), ("- item\n", 1000)]
)
def test_a_block_that_goes_on_and_on_is_cut(piece: str, count: int) -> None:
    blocks = MarkdownBlocks()
    finished = []
    for _ in range(count):
        finished += blocks.feed(piece)
        assert len(blocks.tail(10, 80).text) <= 13 * 800
    finished += blocks.finish()

    assert max(len(block.text) for block in finished) <= 2 * MOST_CHARACTERS + len(piece)
    assert max(block.text.count("\n") for block in finished) <= MOST_LINES
    assert [block.continues for block in finished] == [False, *[True] * (len(finished) - 1)]
    assert len(finished) > 1


def test_code_that_is_cut_goes_on_as_code() -> None:
    finished = blocks_of("```py\n", *(f"x{number} = 1\n" for number in range(300)), "```\n", "end")

    *code, end = [block.text for block in finished]
    assert len(code) == 2
    assert all(text.startswith("```py\n") and text.endswith("\n```") for text in code)
    assert end == "end"


def test_the_open_end_of_a_long_table_keeps_its_head() -> None:
    blocks = MarkdownBlocks()
    blocks.feed("| a | b |\n|---|---|\n" + "".join(f"| {number} | x |\n" for number in range(50)))

    assert blocks.tail(3, 80).text.split("\n") == [
        "| a | b |",
        "|---|---|",
        *(f"| {n} | x |" for n in (47, 48, 49)),
        "",
    ]


@given(TEXTS, st.integers(10, 100), st.booleans())
def test_any_text_is_laid_out_within_the_width(text: str, width: int, colour: bool) -> None:
    for block in blocks_of(text):
        lines = MarkdownRenderer(colour=colour).lines(block.text.replace("\r", "␍"), width)

        assert colour or all(width_of(line) <= width for line in lines)
        assert colour or not any("\x1b" in line for line in lines)


@given(st.text(alphabet="ab 日本é\u0301", max_size=60), st.integers(2, 20))
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    lines = [*wrap(text, width)]

    assert all(width_of(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert width_of(cut(text, width)) <= width
