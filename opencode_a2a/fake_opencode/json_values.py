"""The type of raw JSON inside the stand-in."""

from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
