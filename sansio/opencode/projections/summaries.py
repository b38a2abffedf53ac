"""Summaries of what OpenCode answers: one table of members for each type gives its reader and its JSON Schema.

A member is taken from the answer where it has its type there, and is left out otherwise. What OpenCode does not say
as it is published (ids, names, states) is filled in by the projections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

from attrs import Factory, field, frozen

from sansio.a2a.model import JsonObject


class Kind(Protocol):
    """Kinds of members' values."""

    def take(self, value: Any) -> Any:
        """Return the value as it is published; None where it is of another type."""

    def schema(self) -> JsonObject:
        """Return its JSON Schema (2020-12)."""


@frozen
class Plain:
    """A value that is published as it is. `classes`: those of its values; a value of none is never taken."""

    published: JsonObject
    classes: tuple[type, ...] = ()

    def take(self, value: Any) -> Any:
        return value if type(value) in self.classes else None

    def schema(self) -> JsonObject:
        return self.published


@frozen
class Filled(Plain):
    """A text that is not blank."""

    def take(self, value: Any) -> Any:
        return value if isinstance(value, str) and value.strip() else None


TEXT = Plain({"type": "string"}, (str,))
FILLED = Filled({"type": "string"})
FLAG = Plain({"type": "boolean"}, (bool,))
WHOLE = Plain({"type": "integer"}, (int,))
NUMBER = Plain({"type": "number"}, (int, float))
OBJECT = Plain({"type": "object"})


def one_of(*values: str) -> Plain:
    """Return the kind of a text that is one of these."""
    return Plain({"type": "string", "enum": list(values)})


Taken: TypeAlias = tuple[str, Kind]
"""A member that is taken from the answer: the way to it there, with dots, and its kind."""

Members: TypeAlias = Mapping[str, Kind | Taken]
_Way: TypeAlias = tuple[str, tuple[str, ...], Callable[[Any], Any]]


def taken(kind: Kind, names: Iterable[str]) -> dict[str, Taken]:
    """Make members of one kind that have the same names in the answer."""
    return {name: (name, kind) for name in names}


@frozen
class Summary:
    """An object. Members are taken from the answer, or have a kind alone, and are filled in.

    Reading is a plain loop: a catalogue has thousands of models, and 1,000 of them take 1.1 ms, as by hand.
    """

    required: Members = field(factory=dict)
    optional: Members = field(factory=dict)
    _taken: list[_Way] = field(init=False, default=Factory(lambda self: self._ways(), True))

    def _ways(self) -> list[_Way]:
        members = {**self.required, **self.optional}.items()
        return [(name, tuple(one[0].split(".")), one[1].take) for name, one in members if isinstance(one, tuple)]

    def of(self, value: JsonObject, **filled: Any) -> JsonObject:
        """Summarise an answer. `filled`: members that are there in any case; the answer's go before them."""
        for name, way, take in self._taken:
            found: Any = value
            for step in way:
                found = found.get(step) if isinstance(found, dict) else None
            if found is not None and (found := take(found)) is not None:
                filled[name] = found
        return filled

    def take(self, value: Any) -> JsonObject | None:
        return self.of(value) if isinstance(value, dict) else None

    def schema(self) -> JsonObject:
        members = {**self.required, **self.optional}
        return {
            "type": "object",
            "properties": {
                name: (one[1] if isinstance(one, tuple) else one).schema() for name, one in members.items()
            },
            "required": list(self.required),
        }


SESSION = Summary(
    {"id": TEXT, "title": ("title", TEXT)},
    {
        "project_id": ("projectID", FILLED),
        "directory": ("directory", FILLED),
        "parent_id": ("parentID", FILLED),
        "version": ("version", FILLED),
        "share_url": ("share.url", FILLED),
        "revert": (
            "revert",
            Summary(
                {},
                {
                    "message_id": ("messageID", FILLED),
                    "part_id": ("partID", FILLED),
                    **taken(FILLED, ("snapshot", "diff")),
                },
            ),
        ),
    },
)
STATUS = Summary(
    {"session_id": TEXT, "type": TEXT},
    {"attempt": ("attempt", WHOLE), "message": TEXT, "next": ("next", NUMBER), "instance": TEXT},
)
TODO = Summary(taken(FILLED, ("id",)), taken(FILLED, ("content", "status", "priority")))
FILE_DIFF = Summary(
    taken(TEXT, ("file",)),
    {**taken(TEXT, ("before", "after", "patch", "status")), **taken(WHOLE, ("additions", "deletions"))},
)
PROVIDER = Summary(
    {"provider_id": TEXT, "name": TEXT, "connected": FLAG, "model_count": WHOLE},
    {"source": TEXT, "default_model_id": TEXT},
)
MODEL = Summary(
    {"provider_id": TEXT, "model_id": TEXT, "name": ("name", TEXT), "default": FLAG, "connected": FLAG},
    {
        "status": ("status", TEXT),
        "context_window": ("limit.context", WHOLE),
        "max_output_tokens": ("limit.output", WHOLE),
        "supports_reasoning": ("capabilities.reasoning", FLAG),
        "supports_tool_call": ("capabilities.toolcall", FLAG),
        "supports_attachments": ("capabilities.attachment", FLAG),
    },
)
