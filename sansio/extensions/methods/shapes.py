"""The shapes of a method's parameters: what each takes, how it is refused by name, and its JSON Schema.

Knows no method. A shape reads a value, or raises one `ProtocolError` (INVALID_PARAMS) that names all wrong fields.
Its `data` is what version 0.3's clients of these methods expect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NoReturn, Protocol, TypeAlias, TypeVar

from attrs import field, frozen

from sansio.a2a.codecs.fields import MOST_ITEMS, nested_deeper
from sansio.a2a.errors import MOST_VIOLATIONS, ErrorKind, ProtocolError, Violation
from sansio.a2a.model import JsonObject
from sansio.a2a.refusals import Refusals
from sansio.opencode.upstream.identifiers import ID_LIMIT, is_identifier

Path: TypeAlias = tuple[str | int, ...]
T = TypeVar("T")

INVALID, MISSING = "INVALID_FIELD", "MISSING_FIELD"

_DEEPEST = 64


def wrong(path: Path, requirement: str, type: str = INVALID, **more: Any) -> ProtocolError:
    """Make the error of one wrong field. `more`: members for version 0.3's `data`."""
    violation = Violation(path, type.lower(), requirement)
    data = {"type": type, "field": violation.field, **more}
    message = f"{violation.field} {requirement}" if violation.field else f"params {requirement}"
    return ProtocolError(ErrorKind.INVALID_PARAMS, message, violations=(violation,), data=data)


def missing(path: Path) -> ProtocolError:
    """Make the error of a field that has to be there."""
    violation = Violation(path, MISSING.lower(), "is required")
    return ProtocolError(
        ErrorKind.INVALID_PARAMS,
        f"Missing required params.{violation.field}",
        violations=(violation,),
        data={"type": MISSING, "field": violation.field},
    )


class Shape(Protocol):
    """Type of a parameter: its reader and its schema."""

    def read(self, value: Any, path: Path) -> Any:
        """Parse the value as it is used. Raises `ProtocolError`."""

    def schema(self) -> JsonObject:
        """Return the JSON Schema (2020-12) of the values."""


@frozen(kw_only=True)
class Text:
    """A string, without the white space around it. `empty`: it may be blank."""

    empty: bool = False
    longest: int = 65536
    verbatim: bool = False

    def read(self, value: Any, path: Path) -> str:
        kind = "string" if self.empty else "non-empty string"
        if not isinstance(value, str) or not (self.empty or value.strip()):
            raise wrong(path, f"must be a {kind}")
        text = value if self.verbatim else value.strip()
        if len(text) > self.longest or "\0" in text:
            raise wrong(path, f"must be at most {self.longest} characters, none of them NUL", max=self.longest)
        return text

    def schema(self) -> JsonObject:
        schema: JsonObject = {"type": "string", "maxLength": self.longest}
        if not self.empty:
            schema["minLength"] = 1
        return schema


@frozen
class Identifier:
    """An id of OpenCode's: what can stand in a path as it is, and is no step up in it. `begins`: its beginning."""

    begins: str = ""

    def read(self, value: Any, path: Path) -> str:
        text = Text(longest=ID_LIMIT).read(value, path)
        if not text.startswith(self.begins):
            raise wrong(path, f"must be a string starting with {self.begins!r}")
        if not is_identifier(text):
            raise wrong(path, "must be letters, digits and any of _ . : - only, and begin with one of the former")
        return text

    def schema(self) -> JsonObject:
        begins = self.begins or "[A-Za-z0-9]"
        return {"type": "string", "pattern": f"^{begins}[A-Za-z0-9_.:-]*$", "maxLength": ID_LIMIT}


@frozen(kw_only=True)
class Number:
    """An integer from `least` to `most`."""

    least: int
    most: int

    def read(self, value: Any, path: Path) -> int:
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) <= 20:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON has one kind of number
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(path, "must be an integer")
        if value < self.least:
            raise wrong(path, f"must be >= {self.least}", min=self.least)
        if value > self.most:
            raise wrong(path, f"must be <= {self.most}", max=self.most)
        return value

    def schema(self) -> JsonObject:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@frozen
class Flag:
    """True or false."""

    def read(self, value: Any, path: Path) -> bool:
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        if not isinstance(value, bool):
            raise wrong(path, "must be a boolean")
        return value

    def schema(self) -> JsonObject:
        return {"type": "boolean"}


@frozen
class Choice:
    """One of a few strings. `late`: it is checked later, against the request that it answers."""

    values: tuple[str, ...]
    late: bool = False

    def read(self, value: Any, path: Path) -> str:
        if not isinstance(value, str):
            raise wrong(path, "must be a string")
        text = value.strip().lower()
        if text in self.values:
            return text
        if self.late:
            return value
        raise wrong(path, "must be one of " + ", ".join(self.values), supported=list(self.values))

    def schema(self) -> JsonObject:
        return {"type": "string", "enum": list(self.values)}


@frozen
class AnyJson:
    """Anything, which OpenCode is to judge."""

    def read(self, value: Any, path: Path) -> Any:
        if nested_deeper(value, _DEEPEST):
            raise wrong(path, f"must not be nested more than {_DEEPEST} levels deep")
        return value

    def schema(self) -> JsonObject:
        return {}


@frozen
class Many:
    """A list of things of one shape."""

    of: Shape
    least: int = 0

    def read(self, value: Any, path: Path) -> list[Any]:
        if not isinstance(value, list):
            raise wrong(path, "must be an array")
        if len(value) < self.least:
            raise wrong(path, f"must hold at least {self.least}")
        if len(value) > MOST_ITEMS:
            raise wrong(path, f"must hold at most {MOST_ITEMS}", max=MOST_ITEMS)
        refusals = Refusals()
        items = [refusals.attempt(self.of.read, item, (*path, index)) for index, item in enumerate(value)]
        refusals.done()
        return items

    def schema(self) -> JsonObject:
        least = {"minItems": self.least} if self.least else {}
        return {"type": "array", "items": self.of.schema(), **least, "maxItems": MOST_ITEMS}


@frozen
class MapOf:
    """An object whose members, of any name, are of one shape."""

    of: Shape

    def read(self, value: Any, path: Path) -> JsonObject:
        if not isinstance(value, dict):
            raise wrong(path, "must be an object")
        if len(value) > MOST_ITEMS:
            raise wrong(path, f"must hold at most {MOST_ITEMS} members", max=MOST_ITEMS)
        refusals = Refusals()
        members = {
            str(name): refusals.attempt(self.of.read, member, (*path, str(name))) for name, member in value.items()
        }
        refusals.done()
        return members

    def schema(self) -> JsonObject:
        return {"type": "object", "additionalProperties": self.of.schema(), "maxProperties": MOST_ITEMS}


@frozen(kw_only=True)
class Record:
    """An object with members of its own shapes. `open`: others pass as they are, for OpenCode to judge."""

    required: Mapping[str, Shape] = field(factory=dict)
    optional: Mapping[str, Shape] = field(factory=dict)
    open: bool = False

    def read(self, value: Any, path: Path) -> JsonObject:
        if not isinstance(value, dict):
            raise wrong(path, "must be an object")
        refusals = Refusals()
        for name, shape in self.required.items():
            if value.get(name) is None:
                refusals.attempt(require, shape, (*path, name))
        known = {**self.required, **self.optional}
        strangers = [] if self.open else sorted(first_few(str(name) for name in value if name not in known))
        for stranger in strangers:
            refusals.add(wrong((*path, stranger), "is not supported", fields=_named(path, strangers)))
        members = {
            str(name): refusals.attempt(known.get(name, AnyJson()).read, member, (*path, str(name)))
            for name, member in value.items()
            if member is not None
        }
        refusals.done()
        return members

    def schema(self) -> JsonObject:
        members = {**self.required, **self.optional}
        schema: JsonObject = {
            "type": "object",
            "properties": {name: shape.schema() for name, shape in members.items()},
        }
        if self.required:
            schema["required"] = list(self.required)
        if not self.open:
            schema["additionalProperties"] = False
        return schema


def require(shape: Shape, path: Path) -> NoReturn:
    """Refuse a field that is missing: in the shape's words, which say what it takes, if it has any."""
    shape.read(None, path)
    raise wrong(path, "is required")


def first_few(found: Iterable[T]) -> list[T]:
    """Return as many as an error lists; the others are not looked for."""
    return list(islice(found, MOST_VIOLATIONS))


def _named(path: Path, names: list[str]) -> list[str]:
    return [Violation((*path, name), INVALID, "").field for name in names]


@frozen
class Tagged:
    """An object whose `type` selects one of several shapes."""

    kinds: Mapping[str, Record]

    def read(self, value: Any, path: Path) -> JsonObject:
        if not isinstance(value, dict):
            raise wrong(path, "must be an object")
        tag = value.get("type")
        kind = self.kinds.get(tag) if isinstance(tag, str) else None
        if kind is None:
            raise wrong((*path, "type"), "must be one of: " + ", ".join(self.kinds), supported=list(self.kinds))
        rest = {name: member for name, member in value.items() if name != "type"}
        return {"type": tag, **kind.read(rest, path)}

    def schema(self) -> JsonObject:
        return {"oneOf": [_tagged(tag, kind.schema()) for tag, kind in self.kinds.items()]}


def _tagged(tag: str, schema: JsonObject) -> JsonObject:
    return {
        **schema,
        "properties": {"type": {"const": tag}, **schema["properties"]},
        "required": ["type", *schema.get("required", ())],
    }


MODEL = Record(required={"providerID": Text(), "modelID": Text()})
"""A model, by provider and name; both or neither."""
