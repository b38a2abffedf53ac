"""Reads members out of decoded JSON that others wrote, of whatever shape. Nothing here raises.

Each function follows `names` from object to object. Without names it looks at the value itself. What must be there,
with an error that names the field, is read by `sansio.a2a.codecs.fields`.
"""

from __future__ import annotations

from typing import Any

from sansio.a2a.model import JsonObject


def member(value: Any, *names: str) -> Any:
    """Return a member; None where it is missing, or where the way there leads through something else than objects."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def text_at(value: Any, *names: str) -> str | None:
    """Return a text, which may be empty; None for anything else."""
    found = member(value, *names)
    return found if isinstance(found, str) else None


def integer_at(value: Any, *names: str) -> int | None:
    """Return an integer; None for anything else, a boolean too."""
    found = member(value, *names)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def number_at(value: Any, *names: str) -> float | None:
    """Return a number; None for anything else, a boolean too."""
    found = member(value, *names)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def object_at(value: Any, *names: str) -> JsonObject:
    """Return an object, an empty one for anything else."""
    found = member(value, *names)
    return found if isinstance(found, dict) else {}


def list_at(value: Any, *names: str) -> list[Any]:
    """Return a list, an empty one for anything else."""
    found = member(value, *names)
    return found if isinstance(found, list) else []


def objects_at(value: Any, *names: str) -> list[JsonObject]:
    """Return the objects of a list; other items are passed over."""
    return [item for item in list_at(value, *names) if isinstance(item, dict)]


def texts_at(value: Any, *names: str) -> list[str]:
    """Return the texts of a list; other items are passed over."""
    return [item for item in list_at(value, *names) if isinstance(item, str)]


def weight_of(value: Any) -> int:
    """Return about how large a value is: its characters, names among them, and 16 for each value in it."""
    size, left = 0, [value]
    while left:
        one = left.pop()
        size += 16
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, dict):
            size += sum(map(len, one))
            left += one.values()
        elif isinstance(one, list):
            left += one
    return size
