"""The type of raw JSON inside the fake OpenCode."""

from __future__ import annotations

from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
