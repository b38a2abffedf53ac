"""The rules by which permissions are answered without asking a person."""

from __future__ import annotations

from typing import Final

ASK: Final = "ask"
RULES: Final = ("once", "always", "reject", ASK)
"""The rules for permissions; the last one is to ask."""
