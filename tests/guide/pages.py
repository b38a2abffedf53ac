"""Finds the examples in a page of the guide, and writes their answers into it.

An example is a comment, `<!-- example: NAME options -->`, and the fenced blocks after it: the request, then its
answer. Knows Markdown as text, and nothing of the protocols.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from tests.paths import DOCS

GUIDE = DOCS / "guide"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>example|server)(?:: (?P<words>.*?))? -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_VARIABLE = re.compile(r"\b([A-Z][A-Z0-9_]+)=(\S+)")
_ANSWERS = {"http": "http", "grpc": "grpc", "sh": "text"}
"""The kinds of a request's block, each with the kind of the block that shows its answer."""
_WHOLE = ("websocket",)
"""The kinds of a block that shows requests and answers in turn."""


class PageError(ValueError):
    """A page has a block that no example accounts for."""


@frozen(kw_only=True)
class Example:
    """A request and its answer, as a page shows them. `start` and `end` say where the answer's text is.

    `options`: `hides` names members to leave out, `until` a word after which a stream is left open, and so on.
    """

    name: str
    kind: str
    options: Mapping[str, str] = field(factory=dict)
    request: str
    answer: str
    start: int
    end: int

    def option(self, name: str) -> frozenset[str]:
        """The values of an option, which commas separate."""
        return frozenset(filter(None, self.options.get(name, "").split(",")))


@frozen(kw_only=True)
class Page:
    """A page: its examples in order. `server`: the variables of the command that starts the server of the page."""

    path: Path
    text: str
    examples: tuple[Example, ...]
    server: Mapping[str, str]

    @property
    def name(self) -> str:
        """The path below the guide's folder."""
        return str(self.path.relative_to(GUIDE))

    def with_answers(self, answers: Mapping[str, str]) -> str:
        """The text with other answers, by the names of their examples."""
        text = self.text
        for example in reversed(self.examples):
            if example.name in answers:
                text = text[: example.start] + answers[example.name] + text[example.end :]
        return text


def read_page(path: Path) -> Page:
    """Read a page. Raises `PageError` for a block that belongs to no example."""
    text = path.read_text("utf-8")
    blocks = [*_BLOCK.finditer(text)]
    server = [block for block in blocks if block["mark"] == "server"]
    examples = tuple(_examples([block for block in blocks if block["mark"] != "server"]))
    names = [example.name for example in examples]
    if len({*names}) < len(names):
        raise PageError(f"{path.name} has two examples of one name: {names}")
    variables = dict(_VARIABLE.findall("".join(block["text"] for block in server)))
    return Page(path=path, text=text, examples=examples, server=variables)


def _examples(blocks: list[re.Match[str]]) -> Iterator[Example]:
    while blocks:
        block = blocks.pop(0)
        if block["mark"] is None or not block["words"]:
            raise PageError(f"no example: {block['text'][:60]!r}")
        name, *words = block["words"].split()
        options = dict(word.split("=", 1) for word in words)
        if block["kind"] in _WHOLE or options.keys() & {"continues", "arrives"}:
            request, answer = block["text"], block
        else:
            request = block["text"]
            if not blocks or blocks[0]["mark"] is not None or blocks[0]["kind"] != _ANSWERS.get(block["kind"]):
                raise PageError(f"the example {name} has no answer")
            answer = blocks.pop(0)
        yield Example(
            name=name,
            kind=block["kind"],
            options=options,
            request=request,
            answer=answer["text"],
            start=answer.start("text"),
            end=answer.end("text"),
        )


def pages() -> list[Page]:
    """Read every page of the guide, by name. A page that starts no server has that of the index."""
    index = read_page(GUIDE / "index.md")
    found = [read_page(path) for path in sorted(GUIDE.rglob("*.md"))]
    return [page if page.server else evolve(page, server=index.server) for page in found]
