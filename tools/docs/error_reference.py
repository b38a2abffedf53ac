"""`python -m tools.docs.error_reference docs/errors.md`: writes the reference of errors into a document.

What it says is the core's; only files are known here.
"""

from __future__ import annotations

import sys

from sansio.a2a.bindings.error_table import markdown
from sansio.a2a.errors import ErrorKind
from sansio.http import too_large
from tools.docs.generated_part import MadePart


def reference() -> str:
    """The reference as markdown."""
    return markdown({ErrorKind.PAYLOAD_TOO_LARGE: too_large(1 << 20)})


PART = MadePart("errors", "python -m tools.docs.error_reference docs/errors.md", reference)
updated = PART.updated
main = PART.main


if __name__ == "__main__":
    main(sys.argv[1:])
