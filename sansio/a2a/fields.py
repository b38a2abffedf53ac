"""Reads typed fields out of decoded JSON and collects every violation with its path.

For the wire forms; knows no A2A names. A reader notes what is wrong, returns a stand-in, and ``done`` raises one
``ProtocolError`` for all of it. Only where very much is wrong does it raise in the middle: then the rest is not read.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

from attrs import define, field

from .errors import MOST_VIOLATIONS, ErrorKind, ProtocolError, Violation
from .model import JsonObject
from .timestamps import epoch_ms

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

INT32_MAX = 2**31 - 1

DEEPEST = 128
"""How many lists and objects may stand in each other. JSON readers take more than writers do (orjson: 1024 and
254), so what is deeper could be read, and then be neither stored nor sent on."""

MOST_ITEMS = 1000
"""Elements of any one list in a request: parts, extensions, references, output modes."""

_FLAGS = {"true": True, "false": False}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


_AND_MORE = Violation((), "and_more", f"and more: only the first {MOST_VIOLATIONS} wrong fields are listed")


@define
class Findings:
    """What is wrong with one document. ``most_items``: elements that a list of it may have; None: any number."""

    most_items: int | None = None
    violations: list[Violation] = field(factory=list)

    def add(self, violation: Violation) -> None:
        """Note a violation. Raises ``ProtocolError`` once there are more than an error lists."""
        if len(self.violations) == MOST_VIOLATIONS:
            self.violations.append(_AND_MORE)
            self.done()
        self.violations.append(violation)

    def done(self) -> None:
        """Raise what was found, if anything, as one ``ProtocolError``."""
        if self.violations:
            summary = "; ".join(f"{v.field or 'params'}: {v.message}" for v in self.violations)
            raise ProtocolError(ErrorKind.INVALID_PARAMS, summary, violations=self.violations)


@define
class Fields:
    """One JSON object being read, at ``path``; ``found`` is shared by all readers of one document."""

    value: JsonObject
    path: tuple[str | int, ...] = ()
    found: Findings = field(factory=Findings)

    def wrong(self, key: str | int | None, type: str, message: str) -> None:
        """Note that ``key`` (None: the object itself) is wrong."""
        path = self.path if key is None else (*self.path, key)
        self.found.add(Violation(path, type, message))

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
        """A string; with ``empty`` false, it must hold something where it is given."""
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
        """A boolean; with ``texts``, as a query string spells it too."""
        value = self.value.get(key)
        if value is None or isinstance(value, bool):
            return value
        if texts and isinstance(value, str) and value in _FLAGS:
            return _FLAGS[value]
        self.wrong(key, "bool_type", "must be true or false")
        return None

    def natural(self, key: str, *, least: int = 0, most: int = INT32_MAX) -> int | None:
        """An integer from ``least`` to ``most``; decimal strings are taken too (ProtoJSON, and query strings)."""
        value = self.value.get(key)
        if value is None:
            return None
        if (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10) or (
            isinstance(value, float) and value.is_integer()
        ):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(key, "int_type", "must be an integer")
            return None
        if not least <= value <= most:
            self.wrong(key, "int_range", f"must be between {least} and {most}")
            return None
        return value

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
        """Base64 text (standard or URL-safe alphabet), returned as it came."""
        value = self.text(key)
        if value is None:
            return None
        try:
            standard = value.replace("-", "+").replace("_", "/") if "-" in value or "_" in value else value
            base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except (binascii.Error, ValueError):
            self.wrong(key, "bytes_invalid_encoding", "must be base64")
            return None
        return value

    def choice(self, key: str, table: Mapping[str, T], *, required: bool = False) -> T | None:
        """A string that is one of the table's keys."""
        value = self.value.get(key)
        if value is None:
            if required:
                self.wrong(key, "missing", "is required")
            return None
        chosen = table.get(value) if isinstance(value, str) else None
        if chosen is None:
            self.wrong(key, "enum", "must be one of " + ", ".join(table))
        return chosen

    def child(self, key: str, read: Callable[[Fields], T], *, required: bool = False) -> T | None:
        """A nested object, read by ``read``."""
        value = self.value.get(key)
        if value is None:
            if required:
                self.wrong(key, "missing", "is required")
            return None
        if not isinstance(value, dict):
            self.wrong(key, "dict_type", "must be an object")
            return None
        return read(Fields(value, (*self.path, key), self.found))

    def children(
        self, key: str, read: Callable[[Fields], T], *, required: bool = False, empty: bool = True
    ) -> tuple[T, ...]:
        """A list of nested objects, each read by ``read``."""
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
            path = (*self.path, key, index)
            if isinstance(item, dict):
                read_items.append(read(Fields(item, path, self.found)))
            else:
                self.found.add(Violation(path, "dict_type", "must be an object"))
        return tuple(read_items)


def nested_deeper(value: object, levels: int = DEEPEST) -> bool:
    """Whether lists and objects stand in each other more than ``levels`` deep."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        if not level:
            return False
        contents = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [inner for content in contents for inner in content if isinstance(inner, dict | list)]
    return bool(level)


def read_document(
    value: object, read: Callable[[Fields], T], *, levels: int = DEEPEST, most_items: int | None = None
) -> T:
    """Read a whole document, nested at most ``levels`` deep, in which no list has more than ``most_items`` elements.

    Raises one ``ProtocolError`` (kind INVALID_PARAMS) naming all wrong fields.
    """
    if not isinstance(value, dict):
        violation = Violation((), "dict_type", "must be an object")
        raise ProtocolError(ErrorKind.INVALID_PARAMS, "params: must be an object", violations=(violation,))
    fields = Fields(value, found=Findings(most_items))
    if nested_deeper(value, levels):
        fields.wrong(None, "too_deep", f"must not be nested more than {levels} levels deep")
        fields.done()
    result = read(fields)
    fields.done()
    return result


def compact(**members: Any) -> JsonObject:
    """A JSON object of the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
