"""`python -m opencode_a2a.reference docs/reference.md`: writes the reference of what can be called into a document.

What it says is the core's; only files are known here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from sansio.extensions.reference import markdown

START: Final = "<!-- reference: begin (made by `python -m opencode_a2a.reference docs/reference.md`) -->"
END: Final = "<!-- reference: end -->"


def updated(document: str) -> str:
    """The document with the reference between its markers made anew. Raises ValueError where they are missing."""
    before, start, rest = document.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError("the document has no markers for the reference")
    return f"{before}{start}\n\n{markdown()}\n\n{end}{after}"


def main(arguments: list[str]) -> None:
    if not arguments:
        print(markdown())
    for name in arguments:
        path = Path(name)
        path.write_text(updated(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
