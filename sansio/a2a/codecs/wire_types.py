"""One description per wire type: its reader, its writer and its JSON Schema (2020-12) all come from it.

For the codecs; knows no A2A names. A `Kind` is what a member's value may be. A `Member` joins a name in JSON to an
attribute of the model. An `Object` is a table of members. A `Union` and a `Wrapper` are one of several objects.
Readers note violations in `Fields` and go on, so that `read_document` raises all of them at once.

Writers are compiled from the members: 0.8 us for an artifact event, where 0.5 us were those written by hand, and a
loop over the members takes 1.4 us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

from attrs import Factory, field, frozen

from sansio.a2a.codecs.fields import MOST_ITEMS, Fields, read_document
from sansio.a2a.codecs.protojson_names import NAMES
from sansio.a2a.model import JsonObject
from sansio.a2a.timestamps import timestamp

T = TypeVar("T")

Reader: TypeAlias = Callable[[Fields], T]
"""Read the fields of an object; what is wrong is collected in them."""

Parser: TypeAlias = Callable[[object], T]
"""Parse decoded JSON. Raises `ProtocolError`, which names every wrong field."""

Renderer: TypeAlias = Callable[[T], JsonObject]
"""Render a value of the model as decoded JSON."""

Refer: TypeAlias = Callable[[str], JsonObject]
"""Return the reference to a named type."""

Write: TypeAlias = Callable[[Any], Any]
"""Turn a value of the model into JSON. None: leave the member out."""


class Kind(Protocol):
    """Type of a member's value."""

    def take(self, fields: Fields, name: str, required: bool) -> Any:
        """Read the member. Return None where it is absent or wrong; what is wrong is noted."""

    def writer(self, required: bool) -> Write | None:
        """Return the writer of a value; `None`: it is written unchanged."""

    def schema(self, refer: Refer) -> JsonObject:
        """Return the JSON Schema of the value."""


class Named(Protocol):
    """A type that stands among the published components under its name."""

    @property
    def name(self) -> str: ...

    def definition(self, refer: Refer) -> JsonObject:
        """Return the JSON Schema of the type itself."""


# --- kinds of single values -------------------------------------------------------------------------------


@frozen
class Plain:
    """A value that holds no other. `take` gets the fields, the member's name, and whether it must be there."""

    take: Callable[[Fields, str, bool], Any]
    published: JsonObject
    writes: Write | None = None

    def writer(self, required: bool) -> Write | None:
        return self.writes

    def schema(self, refer: Refer) -> JsonObject:
        return dict(self.published)


def _text(fields: Fields, name: str, required: bool) -> str | None:
    return (fields.required_text(name) if required else fields.text(name)) or None


def _listed(values: tuple[Any, ...]) -> list[Any] | None:
    return list(values) or None


_STRING: JsonObject = {"type": "string"}
_BOOLEAN: JsonObject = {"type": "boolean"}
_STAMP: JsonObject = {"type": "string", "format": "date-time"}
_NATURAL: JsonObject = {"type": "integer", "minimum": 0}
TEXT_LIST: JsonObject = {"type": "array", "items": _STRING}

TEXT = Plain(_text, _STRING)
"""A string; an empty one is absent, or wrong where it is required."""

VERBATIM = Plain(lambda fields, name, required: fields.text(name, required=required), _STRING)
"""A string that may be empty."""

NONEMPTY = Plain(lambda fields, name, required: fields.text(name, required=required, empty=False), _STRING)
TEXTS = Plain(lambda fields, name, _: fields.texts(name), TEXT_LIST, _listed)
BASE64 = Plain(lambda fields, name, _: fields.base64(name), {**_STRING, "contentEncoding": "base64"})
STAMP = Plain(_text, _STAMP)
"""A timestamp, kept as its text."""

INSTANT = Plain(lambda fields, name, _: fields.instant(name), _STAMP, lambda value: timestamp(value / 1000))
"""A timestamp, as epoch milliseconds."""

FLAG = Plain(lambda fields, name, _: fields.flag(name), _BOOLEAN)
TRUE_FLAG = Plain(lambda fields, name, _: fields.flag(name), _BOOLEAN, lambda value: value or None)
"""A boolean that is left out where it is false."""

QUERY_FLAG = Plain(lambda fields, name, _: fields.flag(name, texts=True), _BOOLEAN, lambda value: value or None)
INTEGER = Plain(lambda fields, name, _: fields.natural(name), {"type": "integer"})
NATURAL = Plain(lambda fields, name, _: fields.natural(name), _NATURAL)
SIZE = Plain(lambda fields, name, _: fields.natural(name) or None, _NATURAL)
"""A size of which ProtoJSON's 0 says nothing."""

OBJECT = Plain(lambda fields, name, _: fields.mapping(name), {"type": "object"})
ANY = Plain(lambda fields, name, _: fields.value.get(name), {})


@frozen
class Tag:
    """A member that has one value, which is written and published, but not read."""

    value: str

    def schema(self, refer: Refer) -> JsonObject:
        return {"type": "string", "const": self.value}


@frozen
class Made:
    """A member that is made from the whole value, written and published, but not read."""

    write: Write
    published: JsonObject

    def writer(self, required: bool) -> Write:
        return self.write

    def schema(self, refer: Refer) -> JsonObject:
        return dict(self.published)


@frozen(kw_only=True)
class Choice:
    """A value of an enumeration. `written` names each; `read` has all names it is read by.

    `name`: as a type of its own; empty: it is published where it stands.
    """

    written: Mapping[Any, str]
    read: Mapping[str, Enum]
    numbers: Mapping[int, Enum]
    name: str = ""

    def take(self, fields: Fields, name: str, required: bool) -> Enum | None:
        return fields.choice(name, self.read, self.numbers, required=required)

    def writer(self, required: bool) -> Write:
        return self.written.__getitem__

    def schema(self, refer: Refer) -> JsonObject:
        return refer(self.name) if self.name else self.definition(refer)

    def definition(self, refer: Refer) -> JsonObject:
        return {"type": "string", "enum": list(self.written.values())}


# --- objects ----------------------------------------------------------------------------------------------


@frozen
class Member:
    """A member of an object.

    `name`: in JSON. `attribute`: of the model. Empty: it is published alone, or a `Tag`, `Made` or `Nested`.
    `required`: it must be there, and is published so; one that has a `default` may be missing where it is read.
    `default`: the value where it is absent. `names`: all names it is read by, if it has several.
    `of`: the class of the model whose values have it; None: all. `null`: None is written, as null.
    `hidden`: it is read, but neither written nor published.
    """

    name: str
    kind: Kind | Tag | Made
    attribute: str = ""
    required: bool = field(default=False, kw_only=True)
    default: Any = field(default=None, kw_only=True)
    names: tuple[str, ...] = field(default=(), kw_only=True)
    of: type | None = field(default=None, kw_only=True)
    null: bool = field(default=False, kw_only=True)
    hidden: bool = field(default=False, kw_only=True)

    @property
    def reader(self) -> Kind | None:
        """Kind that reads it; None where it is not read."""
        if isinstance(self.kind, Tag | Made) or not (self.attribute or isinstance(self.kind, Nested)):
            return None
        return self.kind

    @property
    def written(self) -> Kind | Made | None:
        """Kind that writes it, out of its attribute or of the whole value; None where it is not written."""
        if self.hidden or isinstance(self.kind, Tag):
            return None
        return self.kind if self.attribute or isinstance(self.kind, Nested | Made) else None


def required(name: str, kind: Kind | Tag | Made, attribute: str = "", **more: Any) -> Member:
    """Make a member that must be there."""
    return Member(name, kind, attribute, required=True, **more)


def _unread(**attributes: Any) -> Any:
    raise TypeError("a type that is only written cannot be read")


_Reading: TypeAlias = tuple[str, bool, tuple[tuple[str, ...], Callable[[Fields, str, bool], Any], bool, str, Any]]
"""Steps of reading a member: its name, whether nothing is read where it is absent, and the rest: all its names,
what takes it, whether it must be there, its attribute and its default."""


def _compiled(members: Sequence[Member], of: type | None) -> Callable[[Any], JsonObject]:
    """Compile the writer of values of a class of the model; `None`: of any class that has no writer of its own.

    It is a function with a statement for each member, as one would write it by hand. A loop over the members takes
    twice as long, and every event of a stream is written twice: for readers, and for the store.
    """
    tags = {one.name: one.kind.value for one in members if isinstance(one.kind, Tag)}
    lines, names = ["def write(value):", f"    body = {tags!r}"], dict[str, Any]()
    for index, one in enumerate(members):
        kind = one.written
        if kind is None or one.of not in (None, of):
            continue
        source = f"value.{one.attribute}" if one.attribute else "value"
        writer = names[f"write_{index}"] = kind.writer(one.required)
        always = one.null and writer is None
        lines.append(f"    member = {source}")
        if writer is not None:
            lines.append(f"    {'' if one.null else 'if member is not None: '}member = write_{index}(member)")
        lines.append(f"    {'' if always else 'if member is not None: '}body[{one.name!r}] = member")
    lines.append("    return body")
    exec("\n".join(lines), names)  # nothing but the names of our own tables is in it
    made: Callable[[Any], JsonObject] = names["write"]
    return made


def _reading(one: Member, kind: Kind) -> _Reading:
    strict = one.required and one.default is None
    may_lack = not strict and one.default is None and not one.names
    return one.name, may_lack, (one.names, kind.take, strict, one.attribute, one.default)


@frozen(kw_only=True, eq=False)
class Object(Generic[T]):
    """A JSON object that stands for a value of the model.

    `model`: makes that value of its attributes. `first`: the attributes whose violations are noted before
    others'. `check`: notes what no member shows by itself, and completes the attributes.
    """

    name: str
    members: tuple[Member, ...]
    model: Callable[..., T] = _unread
    first: tuple[str, ...] = ()
    check: Callable[[Fields, dict[str, Any]], None] | None = None
    _reading: list[_Reading] = field(init=False, default=Factory(lambda self: self._in_order(), True))
    _write: Callable[[Any], JsonObject] = field(
        init=False, default=Factory(lambda self: _compiled(self.members, None), True)
    )
    _write_of: Mapping[type, Callable[[Any], JsonObject]] = field(
        init=False, default=Factory(lambda self: self._by_class(), True)
    )

    def _in_order(self) -> list[_Reading]:
        rank = {attribute: index for index, attribute in enumerate(self.first)}
        members = sorted(self.members, key=lambda member: rank.get(member.attribute, len(rank)))
        return [_reading(one, kind) for one in members if (kind := one.reader) is not None]

    def _by_class(self) -> dict[type, Callable[[Any], JsonObject]]:
        return {one.of: _compiled(self.members, one.of) for one in self.members if one.of is not None}

    def values(self, fields: Fields) -> dict[str, Any]:
        """Read the attributes of the model's value, without those that are absent and have no default."""
        found: dict[str, Any] = {}
        given = fields.value
        for name, may_lack, reading in self._reading:
            if may_lack and name not in given:
                continue
            names, take, strict, attribute, default = reading
            if names:
                name = fields.only_one(*names)
            value = take(fields, name, strict) if strict or name in given else None
            if value is None:
                value = default
            if attribute and value is not None:
                found[attribute] = value
            elif value is not None:
                found.update(value)
        if self.check is not None:
            self.check(fields, found)
        return found

    def read(self, fields: Fields) -> T:
        """Read the value. Where anything in the document is wrong, no value is made, and None stands in for it."""
        values = self.values(fields)
        return cast("T", None) if fields.found.violations else self.model(**values)

    def write(self, value: T) -> JsonObject:
        """Write the value. Missing values and empty lists are left out, unless they are required."""
        return self._write_of.get(type(value), self._write)(value)

    def take(self, fields: Fields, name: str, required: bool) -> T | None:
        return fields.child(name, self.read, required=required)

    def writer(self, required: bool) -> Write:
        return self.write if required else lambda value: self.write(value) or None

    def schema(self, refer: Refer) -> JsonObject:
        return refer(self.name)

    def definition(self, refer: Refer) -> JsonObject:
        shown = [member for member in self.members if not member.hidden]
        schema: JsonObject = {
            "type": "object",
            "properties": {member.name: member.kind.schema(refer) for member in shown},
        }
        if names := [member.name for member in shown if member.required]:
            schema["required"] = names
        return schema


def wire_object(
    name: str,
    model: Callable[..., T] | None,
    *members: Member,
    first: tuple[str, ...] = (),
    check: Callable[[Fields, dict[str, Any]], None] | None = None,
) -> Object[T]:
    """Make an object of these members. `model` None: it is only written, or only published."""
    return Object(name=name, model=model or _unread, members=members, first=first, check=check)


@frozen(kw_only=True)
class Union(Generic[T]):
    """One of several objects. `choose` picks one; where none fits, it notes a violation and returns None."""

    name: str
    choices: Mapping[type, Object[Any]]
    choose: Callable[[Fields], Object[Any] | None]

    def read(self, fields: Fields) -> T:
        """Read the value."""
        chosen = self.choose(fields)
        return cast("T", None if chosen is None else chosen.read(fields))

    def write(self, value: T) -> JsonObject:
        """Write the value as an object of its class."""
        return self.choices[type(value)].write(value)

    def definition(self, refer: Refer) -> JsonObject:
        return {"anyOf": [choice.schema(refer) for choice in self.choices.values()]}


@frozen(kw_only=True)
class Wrapper(Generic[T]):
    """An object with exactly one member, whose name says what its value is."""

    name: str
    choices: Mapping[type, tuple[str, Object[Any]]]
    _by_name: Mapping[str, Object[Any]] = field(
        init=False, default=Factory(lambda self: dict(self.choices.values()), True)
    )

    def read(self, fields: Fields) -> T:
        """Read the value."""
        given = [name for name in self._by_name if fields.value.get(name) is not None]
        if len(given) != 1:
            fields.wrong(None, "union", "must hold exactly one of " + ", ".join(self._by_name))
            return cast("T", None)
        return cast("T", self._by_name[given[0]].take(fields, given[0], True))

    def write(self, value: T) -> JsonObject:
        """Write the value in its wrapper."""
        name, choice = self.choices[type(value)]
        return {name: choice.write(value)}

    def definition(self, refer: Refer) -> JsonObject:
        return {
            "type": "object",
            "properties": {name: choice.schema(refer) for name, choice in self._by_name.items()},
        }


@frozen
class Many:
    """A list of objects. `empty`: it may have none."""

    of: Object[Any] | Union[Any]
    empty: bool = True

    def take(self, fields: Fields, name: str, required: bool) -> tuple[Any, ...]:
        return fields.children(name, self.of.read, required=required, empty=self.empty)

    def writer(self, required: bool) -> Write:
        write = self.of.write
        if required:
            return lambda values: [write(value) for value in values]
        return lambda values: [write(value) for value in values] or None

    def schema(self, refer: Refer) -> JsonObject:
        return {"type": "array", "items": refer(self.of.name)}


@frozen
class Nested:
    """An object inside another one that describes the same value of the model.

    `published`: the names of the types it is published as, where it is not as its own.
    """

    of: Object[Any]
    published: tuple[str, ...] = ()

    def take(self, fields: Fields, name: str, required: bool) -> dict[str, Any] | None:
        return fields.child(name, self.of.values, required=required)

    def writer(self, required: bool) -> Write:
        return self.of.write

    def schema(self, refer: Refer) -> JsonObject:
        if self.published:
            return {"anyOf": [refer(name) for name in self.published]}
        return refer(self.of.name)


# --- whole documents --------------------------------------------------------------------------------------


def document(read: Callable[[Fields], T]) -> Callable[[object], T]:
    """Make a parser of whole documents. It raises one `ProtocolError` that names all wrong fields."""

    def parse(value: object) -> T:
        return read_document(value, read, names=NAMES)

    return parse


def request(read: Callable[[Fields], T]) -> Callable[[object], T]:
    """Make a parser of what callers send: like `document`, and no list may be longer than `MOST_ITEMS`."""

    def parse(value: object) -> T:
        return read_document(value, read, most_items=MOST_ITEMS, names=NAMES)

    return parse
