"""`python -m opencode_a2a.reference docs/reference.md`: writes the reference of what can be called into a document.

What it says is the core's; only files are known here.
"""

from __future__ import annotations

import sys

from sansio.extensions.reference import markdown

from .made_documents import MadePart

PART = MadePart("reference", "python -m opencode_a2a.reference docs/reference.md", markdown)
updated = PART.updated
main = PART.main


if __name__ == "__main__":
    main(sys.argv[1:])
