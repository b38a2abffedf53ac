"""Reads typed fields out of decoded JSON and collects every violation with its path.

For the codecs; knows no A2A names. Scalars are read as ProtoJSON has them: null means absent, numbers and enum
numbers may be strings, bytes are base64 of either alphabet, and a field may have a second name (`names`). A reader
notes what is wrong, returns a placeholder, and `done` raises one `ProtocolError` for all of it. Only where very much
is wrong does it raise in the middle: then the rest is not read.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from attrs import Factory, define, field

from sansio.a2a.errors import AND_MORE, MOST_VIOLATIONS, ErrorKind, ProtocolError, Violation
from sansio.a2a.model import JsonObject
from sansio.a2a.timestamps import epoch_ms

Names: TypeAlias = Mapping[str, str]
"""Second names of fields, each with the name that the readers ask for."""

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

INT32_MAX = 2**31 - 1

DEEPEST = 128
"""Bound of nested lists and objects. JSON readers take more levels than writers do (orjson: 1024 and 254), so a
deeper value could be read, and then be neither stored nor sent.
"""

MOST_ITEMS = 1000
"""Elements of any one list in a request: parts, extensions, references, output modes."""

_FLAGS = {"true": True, "false": False}
_NO_NAMES: Names = MappingProxyType({})
_NO_NUMBERS: Mapping[int, Any] = MappingProxyType({})
_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,3})?", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@define
class Findings:
    """Violations in one document. `most_items`: elements that a list of it may have; `None`: any number."""

    most_items: int | None = None
    violations: list[Violation] = field(factory=list)

    def add(self, violation: Violation) -> None:
        """Note a violation. Raises `ProtocolError` once there are more than an error lists."""
        if len(self.violations) == MOST_VIOLATIONS:
            self.violations.append(AND_MORE)
            self.done()
        self.violations.append(violation)

    def done(self) -> None:
        """Raise what was found, if anything, as one `ProtocolError`."""
        if self.violations:
            summary = "; ".join(f"{v.field or 'params'}: {v.message}" for v in self.violations)
            raise ProtocolError(ErrorKind.INVALID_PARAMS, summary, violations=self.violations)


class Repeated(tuple[Any, ...]):
    """The values of a field that was given more than once. No reader takes it, so each refuses it."""


def repeated(path: Sequence[str | int]) -> Violation:
    """The violation of a field that is given more than once. `path` empty: it is not known which."""
    return Violation(tuple(path), "repeated", "must be given once" if path else "has a field that is given twice")


def gathered(pairs: Iterable[tuple[str, Any]], names: Names = _NO_NAMES) -> JsonObject:
    """An object of these pairs, under the names that readers ask for; what is given twice is `Repeated`."""
    found: JsonObject = {}
    for given, value in pairs:
        name = names.get(given, given)
        found[name] = Repeated((found[name], value)) if name in found else value
    return found


def renamed(value: JsonObject, names: Names) -> JsonObject:
    """The object with its fields under the names that readers ask for; the same object where none has another."""
    return value if names.keys().isdisjoint(value) else gathered(value.items(), names)


def whole_number(value: object) -> int | None:
    """The integer that a JSON value stands for in ProtoJSON: 7, 7.0, "7", "7.0" and "0.7e1"; None for others."""
    if isinstance(value, str):
        if len(value) > 40 or not _NUMBER.fullmatch(value):
            return None
        value = int(value) if value.isdigit() else float(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@define
class Fields:
    """One JSON object being read, at `path`; `found` is shared by all readers of one document.

    `names`: second names that fields of the document may have. `given` is the object as it came, and `value`
    has its fields under the names that readers ask for.
    """

    given: JsonObject
    path: tuple[str | int, ...] = ()
    found: Findings = field(factory=Findings)
    names: Names = _NO_NAMES
    value: JsonObject = field(init=False, default=Factory(lambda self: renamed(self.given, self.names), True))

    def below(self, value: JsonObject, key: str, *index: int) -> Fields:
        """An object inside this one."""
        return Fields(value, (*self.path, self._given_name(key), *index), self.found, self.names)

    def _given_name(self, key: str) -> str:
        """The name under which a field came, for the paths of violations."""
        if self.given is self.value or key in self.given:
            return key
        return next((name for name, own in self.names.items() if own == key and name in self.given), key)

    def wrong(self, key: str | None, type: str, message: str) -> None:
        """Note that `key` (None: the object itself) is wrong."""
        path = self.path if key is None else (*self.path, self._given_name(key))
        twice = key is not None and isinstance(self.value.get(key), Repeated)
        self.found.add(repeated(path) if twice else Violation(path, type, message))

    def only_one(self, *names: str) -> str:
        """The one of `names` that is a field here; the first where none is. Several are wrong."""
        given = [name for name in names if name in self.value]
        for name in given[1:]:
            self.wrong(name, "repeated", f"must not be given beside {given[0]}, which is the same field")
        return given[0] if given else names[0]

    def done(self) -> None:
        """Raise what was found, if anything."""
        self.found.done()

    def _items(self, key: str, value: list[Any]) -> list[Any]:
        """The elements of a list; none of one that is too long, so that no time is spent on them."""
        most = self.found.most_items
        if most is None or len(value) <= most:
            return value
        self.wrong(key, "too_long", f"must hold at most {most} elements")
        return []

    def text(self, key: str, *, required: bool = False, empty: bool = True) -> str | None:
        """A string; with `empty` false, it must hold something where it is given."""
        value = self.value.get(key)
        if value is None:
            if required:
                self.wrong(key, "missing", "is required")
            return None
        if not isinstance(value, str):
            self.wrong(key, "string_type", "must be a string")
            return None
        if not value and not empty:
            self.wrong(key, "string_too_short", "must not be empty")
            return None
        return value

    def required_text(self, key: str) -> str:
        """A string that must be there and hold something."""
        return self.text(key, required=True, empty=False) or ""

    def flag(self, key: str, *, texts: bool = False) -> bool | None:
        """A boolean; with `texts`, as a query string spells it too."""
        value = self.value.get(key)
        if value is None or isinstance(value, bool):
            return value
        if texts and isinstance(value, str) and value in _FLAGS:
            return _FLAGS[value]
        self.wrong(key, "bool_type", "must be true or false")
        return None

    def natural(self, key: str, *, least: int = 0, most: int = INT32_MAX) -> int | None:
        """An integer from `least` to `most`; strings are taken too (ProtoJSON, and query strings)."""
        value = self.value.get(key)
        if value is None:
            return None
        number = whole_number(value)
        if number is None:
            self.wrong(key, "int_type", "must be an integer")
            return None
        if not least <= number <= most:
            self.wrong(key, "int_range", f"must be between {least} and {most}")
            return None
        return number

    def instant(self, key: str) -> int | None:
        """An RFC 3339 timestamp, as epoch milliseconds."""
        text = self.text(key)
        if text is None:
            return None
        try:
            return epoch_ms(text.upper() if _INSTANT.fullmatch(text) else "")
        except ValueError:
            self.wrong(key, "timestamp", "must be an RFC 3339 timestamp with a time zone")
            return None

    def mapping(self, key: str) -> JsonObject | None:
        """An object, taken as it is."""
        value = self.value.get(key)
        if value is None or isinstance(value, dict):
            return value
        self.wrong(key, "dict_type", "must be an object")
        return None

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; missing is empty."""
        value = self.value.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.wrong(key, "list_type", "must be a list of strings")
            return ()
        value = self._items(key, value)
        for index, item in enumerate(value):
            if not isinstance(item, str):
                self.found.add(Violation((*self.path, key, index), "string_type", "must be a string"))
        return tuple(item for item in value if isinstance(item, str))

    def base64(self, key: str) -> str | None:
        """Base64 text of either alphabet, with or without padding; returned in the standard one, padded."""
        value = self.text(key)
        if value is None:
            return None
        standard = value.replace("-", "+").replace("_", "/")
        standard += "=" * (-len(standard) % 4)
        try:
            base64.b64decode(standard, validate=True)
        except (binascii.Error, ValueError):
            self.wrong(key, "bytes_invalid_encoding", "must be base64")
            return None
        return standard

    def choice(
        self, key: str, table: Mapping[str, T], numbers: Mapping[int, T] = _NO_NUMBERS, *, required: bool = False
    ) -> T | None:
        """A choice by its name, one of the table's keys, or by its number."""
        value = self.value.get(key)
        if value is None:
            if required:
                self.wrong(key, "missing", "is required")
            return None
        chosen = table.get(value) if isinstance(value, str) else None
        if chosen is None:
            number = whole_number(value)
            chosen = None if number is None else numbers.get(number)
        if chosen is None:
            self.wrong(key, "enum", "must be one of " + ", ".join(table))
        return chosen

    def child(self, key: str, read: Callable[[Fields], T], *, required: bool = False) -> T | None:
        """A nested object, read by `read`."""
        value = self.value.get(key)
        if value is None:
            if required:
                self.wrong(key, "missing", "is required")
            return None
        if not isinstance(value, dict):
            self.wrong(key, "dict_type", "must be an object")
            return None
        return read(self.below(value, key))

    def children(
        self, key: str, read: Callable[[Fields], T], *, required: bool = False, empty: bool = True
    ) -> tuple[T, ...]:
        """A list of nested objects, each read by `read`."""
        value = self.value.get(key)
        if value is None:
            if required:
                self.wrong(key, "missing", "is required")
            return ()
        if not isinstance(value, list):
            self.wrong(key, "list_type", "must be a list")
            return ()
        if not value and not empty:
            self.wrong(key, "too_short", "must hold at least one element")
        read_items: list[T] = []
        for index, item in enumerate(self._items(key, value)):
            if isinstance(item, dict):
                read_items.append(read(self.below(item, key, index)))
            else:
                self.found.add(Violation((*self.path, key, index), "dict_type", "must be an object"))
        return tuple(read_items)


def nested_deeper(value: object, levels: int = DEEPEST) -> bool:
    """Whether lists and objects stand in each other more than `levels` deep."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        if not level:
            return False
        contents = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [inner for content in contents for inner in content if isinstance(inner, dict | list)]
    return bool(level)


def read_document(
    value: object,
    read: Callable[[Fields], T],
    *,
    levels: int | None = DEEPEST,
    most_items: int | None = None,
    names: Names = _NO_NAMES,
) -> T:
    """Read a whole document, nested at most `levels` deep, in which no list has more than `most_items` elements.

    `levels` None: it is known not to be nested too deep. `names`: second names that its fields may have.

    Raises one `ProtocolError` (kind INVALID_PARAMS) naming all wrong fields.
    """
    if not isinstance(value, dict):
        violation = Violation((), "dict_type", "must be an object")
        raise ProtocolError(ErrorKind.INVALID_PARAMS, "params: must be an object", violations=(violation,))
    fields = Fields(value, found=Findings(most_items), names=names)
    if levels is not None and nested_deeper(value, levels):
        fields.wrong(None, "too_deep", f"must not be nested more than {levels} levels deep")
        fields.done()
    result = read(fields)
    fields.done()
    return result


def compact(**members: Any) -> JsonObject:
    """A JSON object of the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
