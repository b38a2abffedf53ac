"""`python -m opencode_a2a.error_reference docs/errors.md`: writes the reference of errors into a document.

What it says is the core's; only files are known here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from sansio.a2a.error_table import markdown
from sansio.a2a.errors import ErrorKind
from sansio.http import too_large

START: Final = "<!-- errors: begin (made by `python -m opencode_a2a.error_reference docs/errors.md`) -->"
END: Final = "<!-- errors: end -->"


def reference() -> str:
    """The reference as markdown."""
    return markdown({ErrorKind.PAYLOAD_TOO_LARGE: too_large(1 << 20)})


def updated(document: str) -> str:
    """The document with the reference between its markers made anew. Raises ValueError where they are missing."""
    before, start, rest = document.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError("the document has no markers for the reference of errors")
    return f"{before}{start}\n\n{reference()}\n\n{end}{after}"


def main(arguments: list[str]) -> None:
    if not arguments:
        print(reference())
    for name in arguments:
        path = Path(name)
        path.write_text(updated(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
