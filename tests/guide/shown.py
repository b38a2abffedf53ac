"""Writes answers as the guide shows them: laid out to be read, with names in place of what each run has anew.

Ids of tasks and contexts become `TASK` and `CONTEXT`: of the answer that had a new one last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from attrs import define, field

WIDTH = 100
URL = "http://127.0.0.1:8000"
"""The address at which the guide has its server."""
TIME = "2026-01-01T12:00:00.000000"

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OPENCODE_ID = re.compile(r"\b(msg|prt|evt|call)_[0-9A-Za-z]{20,}")
_TRACE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(?=Z|\+00:00)")
_NAMED = {"ses": "SESSION", "per": "REQUEST", "que": "REQUEST"}
"""Prefixes of OpenCode's ids, with the names of the newest of them."""
_NAMED_ID = re.compile(r"\b(ses|per|que)_[0-9A-Za-z]{20,}")
_ID_MEMBERS = {"contextId": "CONTEXT", "taskId": "TASK"}
_NAMED_MEMBERS = {"ticket": "TICKET", "nextPageToken": "CURSOR"}
_MOMENTS = frozenset({"created", "updated", "completed", "expires_at", "start", "end", "next"})
"""Members whose number is a time."""
_PLACEHOLDER = re.compile(r"\b(?:TASK|CONTEXT|SESSION|REQUEST|TOKEN|CURSOR|TICKET)\b|http://127\.0\.0\.1:9000")


class Bare(str):
    """A text that stands in JSON without quotes."""


@define
class Names:
    """The names of values that differ from run to run. `url`: where the server is."""

    url: str
    values: dict[str, str] = field(factory=dict)

    def bind(self, name: str, value: str) -> None:
        """Let a name stand for a value from now on."""
        self.values[name] = value

    def insert(self, text: str) -> str:
        """A request's text with values for names. Raises `KeyError` for a name that no answer had."""
        return _PLACEHOLDER.sub(lambda found: self.values[found[0]], text).replace(URL, self.url)

    def learn(self, value: Any) -> None:
        """Bind the ids that an answer has, in the order in which they stand in it."""
        for name, found in _ids(value):
            if found not in self.values.values():
                self.bind(name, found)

    def text(self, text: str) -> str:
        """A text with names for values."""
        for name, value in self.values.items():
            text = text.replace(value, name)
        text = text.replace(self.url, URL).replace(self.url.removeprefix("http://"), URL.removeprefix("http://"))
        text = text.replace(self.url.replace("http:", "ws:"), URL.replace("http:", "ws:"))
        text = _TIME.sub(lambda found: TIME[: len(found[0])], text)
        text = _TRACE.sub("00-...-...-01", text)
        return _OPENCODE_ID.sub(lambda found: f"{found[1]}_...", _UUID.sub("...", text))

    def json(self, value: Any, hidden: frozenset[str] = frozenset(), name: str = "") -> Any:
        """A value with names in it. `hidden` members are shown by their kind alone."""
        if name in hidden:
            return Bare("{...}" if isinstance(value, dict) else "[...]" if isinstance(value, list) else '"..."')
        if isinstance(value, dict):
            return {self.text(key): self.json(member, hidden, key) for key, member in value.items()}
        if isinstance(value, list):
            return [self.json(item, hidden) for item in value]
        if isinstance(value, str):
            return self.text(value)
        if name in _MOMENTS and isinstance(value, int | float) and not isinstance(value, bool):
            return Bare("...")
        return value


def _ids(value: Any, key: str = "", *, is_task: bool = False) -> Iterator[tuple[str, str]]:
    """The names and values of an answer that later requests may use."""
    if isinstance(value, dict):
        has_status = isinstance(value.get("status"), dict)
        for name, member in value.items():
            yield from _ids(member, name, is_task=has_status and name == "id")
    elif isinstance(value, list):
        for item in value:
            yield from _ids(item)
    elif isinstance(value, str) and value:
        if key in _NAMED_MEMBERS:
            yield _NAMED_MEMBERS[key], value
        elif _UUID.fullmatch(value) and (is_task or key in _ID_MEMBERS):
            yield _ID_MEMBERS.get(key, "TASK"), value
        else:
            yield from ((_NAMED[found[1]], found[0]) for found in _NAMED_ID.finditer(value))


def laid_out(value: Any, indent: int = 0, taken: int = 0) -> str:
    """JSON in one line where it fits, else in lines that are as full as can be. `taken`: characters before it."""
    line = _line(value)
    if taken + len(line) <= WIDTH or not value or not isinstance(value, dict | list):
        return line
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    heads = [f"{_line(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    members = list(value.values()) if isinstance(value, dict) else value
    if len(members) == 1:
        return f"{opening}{heads[0]}{laid_out(members[0], indent, taken + len(heads[0]) + 1)}{closing}"
    inner = indent + 2
    lines = [opening]
    for number, (head, member) in enumerate(zip(heads, members, strict=True), 1):
        item = head + _line(member) + ("," if number < len(members) else "")
        if len(lines) > 1 and "\n" not in lines[-1] and len(lines[-1]) + len(item) < WIDTH:
            lines[-1] += f" {item}"
        else:
            comma = "," if number < len(members) else ""
            lines.append(" " * inner + head + laid_out(member, inner, inner + len(head) + 1) + comma)
    return "\n".join([*lines, " " * indent + closing])


def _line(value: Any) -> str:
    if isinstance(value, Bare):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_line(key)}: {_line(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_line, value)) + "]"
    return orjson.dumps(value).decode()
