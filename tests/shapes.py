"""Shapes of recorded JSON: its keys and the types of its values; and what another value lacks of a shape."""

from __future__ import annotations

from typing import Any

_NAMES = {bool: "boolean", str: "string", int: "number", float: "number", type(None): "null"}


def shape_of(value: Any) -> Any:
    """Keys with shapes; of a list, each shape that occurs in it; the name of any other type."""
    if isinstance(value, dict):
        return {name: shape_of(member) for name, member in value.items()}
    if isinstance(value, list):
        shapes: list[Any] = []
        for item in value:
            if (shape := shape_of(item)) not in shapes:
                shapes.append(shape)
        return shapes
    return _NAMES[type(value)]


def lacking(shape: Any, value: Any, path: str = "") -> list[str]:
    """The paths of a shape that a value lacks, or has in another type. More than the shape has is no matter."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [path]
        absent = [f"{path}/{name}" for name in shape if name not in value]
        there = [name for name in shape if name in value]
        return absent + [found for name in there for found in lacking(shape[name], value[name], f"{path}/{name}")]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [path]
        return [found for inner in shape for item in value for found in lacking(inner, item, f"{path}[]")]
    return [] if _NAMES.get(type(value)) == shape else [path]


def of_card(card: dict[str, Any]) -> dict[str, Any]:
    """A card with its extensions by URI and its skills by id, so that each is compared with its own."""
    capabilities = dict(card["capabilities"])
    extensions = {one["uri"].rpartition("#")[2]: one for one in capabilities.pop("extensions")}
    skills = {one["id"]: one for one in card["skills"]}
    return {**card, "capabilities": capabilities, "extensions": extensions, "skills": skills}
