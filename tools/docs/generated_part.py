"""The part of a document that is made from tables: between two markers, and brought up to date by a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import frozen


@frozen
class MadePart:
    """``name`` is in the markers, ``command`` tells readers how it is made, ``make`` makes it (Markdown)."""

    name: str
    command: str
    make: Callable[[], str]

    @property
    def start(self) -> str:
        """The marker before it."""
        return f"<!-- {self.name}: begin (made by `{self.command}`) -->"

    @property
    def end(self) -> str:
        """The marker behind it."""
        return f"<!-- {self.name}: end -->"

    def updated(self, document: str) -> str:
        """The document with this part made anew. Raises ValueError where its markers are missing."""
        before, start, rest = document.partition(self.start)
        _, end, after = rest.partition(self.end)
        if not (start and end):
            raise ValueError(f"the document has no markers for the part {self.name}")
        return f"{before}{start}\n\n{self.make()}\n\n{end}{after}"

    def main(self, arguments: list[str]) -> None:
        """Print it, or bring the files that are named up to date."""
        if not arguments:
            print(self.make())
        for name in arguments:
            path = Path(name)
            path.write_text(self.updated(path.read_text("utf-8")), "utf-8")
