"""Words that were replaced by the field's own do not come back: in identifiers, docstrings and comments."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.paths import ROOT

RETIRED = frozenset(
    {
        *("EventHub", "hub", "Turnstile", "turnstile", "LiveTask", "StandIn", "standin", "WireForm", "FORMS"),
        *("Wishes", "wishes", "Lane", "lane", "Voice", "Asking", "SaidBefore", "said_before", "take_up", "torn"),
        *("RpcFault", "RuntimeUnknown", "Undelivered", "WritesRefused", "StoreUnavailable", "StoreInUse", "Trouble"),
        *("told_anew", "is_last_said", "answer_at_the_door", "_as_told", "wished", "Wishing"),
        *("Asked", "Heard", "Told", "TOLD", "Answering", "Held", "SPOKEN", "Spoken", "is_spoken"),
    }
)
"""The glossary of the documents has the word that is used instead of each."""

ALLOWED = {"tests/faults": {"Trouble"}}
"""Folders that use such a name for something else."""

SHIPPED = ("sansio", "opencode_a2a", "runtime_http", "runtime_asyncio", "runtime_trio")
FOLDERS = (*SHIPPED, "tests", "tools", "fuzz")


def identifiers(source: str) -> set[str]:
    """Every name in a module's code, not in its texts."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_retired_identifier_comes_back(folder: str) -> None:
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        allowed = next((words for start, words in ALLOWED.items() if name.startswith(start)), set())
        retired = (identifiers(path.read_text("utf-8")) & RETIRED) - allowed
        if retired:
            found[name] = retired

    assert found == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_names_in_texts_stand_in_single_backticks(folder: str) -> None:
    double = re.compile(r"(?<!`)``(?!`)[^`\n]+``(?!`)")

    found = [str(path) for path in sorted((ROOT / folder).rglob("*.py")) if double.search(path.read_text("utf-8"))]

    assert found == []


PROSE = re.compile(
    r"\b(told|anew|(un)?heard|wish(es|ed)?|taken up|gone on with|stand-in|turnstiles?|hub|at the door|in line)\b"
)
"""Words that say less than the plain verb or the field's noun."""


def prose(source: str) -> Iterator[str]:
    """Every line of the docstrings and comments of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from node.value.value.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder != "tests"])
def test_docstrings_and_comments_use_the_plain_word(folder: str) -> None:
    modules = sorted((ROOT / folder).rglob("*.py"))
    lines = [(path.name, line.strip()) for path in modules for line in prose(path.read_text("utf-8"))]

    assert [(name, line) for name, line in lines if PROSE.search(line)] == []


CORE_PROSE = re.compile(
    r"\b(tells?|telling|said|hears?|heard|spoken|wish(?:es|ed)?|tak(?:en?|es) up|gone on|made good|lanes?)\b",
    re.IGNORECASE,
)
POINTING = re.compile(r"(What|Whose|How|That which|It)\b")
"""Words that hide the noun: a docstring begins with a verb or a noun."""


def docstrings(source: str) -> list[str]:
    """The docstrings of a module, of what is in it, and below its names; not the texts that it publishes."""
    statements = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr))
    values = (node.value.value for node in statements if isinstance(node.value, ast.Constant))
    return [value for value in values if isinstance(value, str)]


@pytest.mark.parametrize("folder", SHIPPED)
def test_docstrings_begin_with_a_verb_or_a_noun(folder: str) -> None:
    modules = sorted((ROOT / folder).rglob("*.py"))
    texts = [(path.name, text) for path in modules for text in docstrings(path.read_text("utf-8"))]

    assert [(name, text) for name, text in texts if POINTING.match(text)] == []


def test_the_core_keeps_to_plain_verbs() -> None:
    modules = {str(path): path.read_text("utf-8") for path in sorted((ROOT / "sansio").rglob("*.py"))}
    lines = [(name, line.strip()) for name, source in modules.items() for line in prose(source)]

    assert [(name, line) for name, line in lines if CORE_PROSE.search(line)] == []


def test_the_checks_of_the_core_find_one() -> None:
    assert docstrings('A = "told"\n"""What is told."""') == ["What is told."]
    assert CORE_PROSE.search("It was Said.")
    assert not CORE_PROSE.search("The line goes on; a planes outline.")
    assert POINTING.match("What is sent.")
    assert not POINTING.match("Items that are sent.")


PAGES = [
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("index", "getting-started", "requests", "troubleshooting", "clients")
    ),
    *(ROOT / "docs" / f"{name}.md" for name in ("compatibility", "conformance", "streams", "console")),
    *sorted((ROOT / "docs" / "guide").glob("*.md")),
    ROOT / "docs" / "extensions.md",
    *sorted((ROOT / "docs" / "extensions").glob("*.md")),
    ROOT / "README.md",
]
"""Documents that are held to the plain words."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documents_use_the_plain_word(page: Path) -> None:
    lines = page.read_text("utf-8").splitlines()

    assert [line for line in lines if PROSE.search(line)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_document_has_one_title_and_no_level_is_left_out(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    levels = [len(found) for found in re.findall(r"^(#+) ", text, re.MULTILINE)]

    assert levels.count(1) == 1
    assert levels[0] == 1
    assert [pair for pair in pairwise(levels) if pair[1] > pair[0] + 1] == []


def test_the_check_of_prose_finds_one() -> None:
    source = '"""What the hub told."""\nheard = 1  # said anew\ntext = "told"\n'

    assert [line for line in prose(source) if PROSE.search(line)] == ["What the hub told.", "# said anew"]


def test_the_check_finds_one() -> None:
    assert identifiers("hub = EventHub()  # Lane") & RETIRED == {"hub", "EventHub"}
    assert not identifiers('"hub"') & RETIRED


def test_the_glossary_explains_each_retired_word() -> None:
    glossary = Path(ROOT / "docs" / "glossary.md").read_text("utf-8")

    assert [word for word in sorted(RETIRED) if f"`{word}`" not in glossary] == []
