"""`python -m tools.docs.method_reference docs/reference.md`: writes the reference of what can be called into a document.

What it says is the core's; only files are known here.
"""

from __future__ import annotations

import sys

from sansio.extensions.published.reference import markdown
from tools.docs.generated_part import MadePart

PART = MadePart("reference", "python -m tools.docs.method_reference docs/reference.md", markdown)
updated = PART.updated
main = PART.main


if __name__ == "__main__":
    main(sys.argv[1:])
