"""The text of a record in the log: a line for people, or a JSON object for programs.

A record may have `fields`, and `in_message` with those that the message says in words. Runs in the log's own thread.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from opencode_a2a.redaction import redacted

_encode = json.JSONEncoder(separators=(",", ":")).encode
_LONGEST = 2000  # characters of a message; what callers sent is cut far earlier
_LONGEST_BODY = 32_768  # characters of a logged body, where each byte may become two
_LONGEST_TRACE = 32_000  # characters of a traceback in JSON
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
NO_FIELDS: Final[Mapping[str, object]] = MappingProxyType({})
_SIMPLE: Final = re.compile(r"[A-Za-z0-9_.:/-]+")
_WORD: Final = re.compile(r"[^\s\"=]+")


def plain(text: object, longest: int = 200) -> str:
    """Text that came from elsewhere, as a log may hold it: no control characters, no more than `longest`."""
    found = str(text)
    if len(found) > longest:
        found = found[:longest] + "…"
    elif found.isascii() and found.isprintable():  # nearly all are, and this is ten times as fast
        return found
    return _UNSAFE.sub(_escaped, found)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def word(text: object, longest: int = 200) -> str:
    """The same as one word: in quotes where it has spaces, quotes or `=`, or it could pass for other fields."""
    if isinstance(text, str) and len(text) <= longest and _SIMPLE.fullmatch(text):
        return text
    found = plain(text, longest)
    return found if _WORD.fullmatch(found) else json.dumps(found, ensure_ascii=False)


class _Formatter(logging.Formatter):
    """Keeps the time of the second that is being written. `redact` is given every text that a record has.

    What this process got to know is hidden in any case. `always`: fields that every record has.
    """

    def __init__(self, redact: Callable[[str], str], always: Mapping[str, object] = NO_FIELDS) -> None:
        super().__init__()
        self._always = always
        self._redact = redact
        self._second = (0, "")

    def redact(self, text: str) -> str:
        """Return a text without what no log may hold."""
        return redacted(self._redact(text))

    def time_of(self, record: logging.LogRecord) -> str:
        """Write the time in UTC, to the millisecond."""
        second = int(record.created)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int(record.msecs):03d}Z"


class LineFormatter(_Formatter):
    """Writes `TIME LEVEL LOGGER: MESSAGE NAME=VALUE …`.

    A record is one line; the lines of a traceback follow it, indented, so that none can pass for a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {**getattr(record, "fields", {}), **self._always}
        said = " ".join([record.getMessage(), *(f"{name}={word(value)}" for name, value in fields.items())])
        line = f"{self.time_of(record)} {record.levelname} {record.name}: {plain(self.redact(said), _LONGEST)}"
        body = getattr(record, "body", None)
        if body is not None:
            line += f" body={plain(self.redact(body), _LONGEST_BODY)}"
        if record.exc_info:
            trace = self.redact(self.formatException(record.exc_info))
            line += "".join(f"\n    {plain(part, _LONGEST)}" for part in trace.splitlines())
        return line


class JsonFormatter(_Formatter):
    """Writes an object with `time`, `level`, `logger`, `message`, and the record's fields.

    `exception` is the text of a traceback. Everything but ASCII is escaped.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = {**getattr(record, "in_message", {}), **getattr(record, "fields", {}), **self._always}
        texts = [value for value in fields.values() if isinstance(value, str)]
        between = "\0".join(texts)
        if self.redact(between) != between:  # one look at all of them, since most hold nothing
            fields = {name: self.redact(value) if isinstance(value, str) else value for name, value in fields.items()}
        made: dict[str, object] = {
            "time": self.time_of(record),
            "level": record.levelname,
            "logger": record.name,
            "message": self._text(record.getMessage(), _LONGEST),
            **fields,
        }
        body = getattr(record, "body", None)
        if body is not None:
            made["body"] = self._text(body, _LONGEST_BODY)
        if record.exc_info:
            made["exception"] = self._text(self.formatException(record.exc_info), _LONGEST_TRACE)
        return _encode(made)

    def _text(self, text: str, longest: int) -> str:
        found = self.redact(text)
        return found if len(found) <= longest else found[:longest] + "…"
