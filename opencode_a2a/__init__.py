"""The application: thin I/O on anyio around the core. Knows no event loop by import."""

from __future__ import annotations

from typing import Final

# The distribution's version, too: the build reads it here. Metadata of an environment may be older than the code.
__version__: Final = "2.0.0.dev0"
