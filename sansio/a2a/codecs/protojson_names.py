"""Rules of ProtoJSON for a reader beyond the types of fields: second names, enum numbers, no member twice.

One table for both versions, since their messages name equal fields alike. Specification 1.0, section 5.5, and
https://protobuf.dev/programming-guides/json/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import orjson

from sansio.a2a.codecs.fields import Names, nested_deeper
from sansio.a2a.model import Role, TaskState

FIELDS = (
    *("accepted_output_modes", "artifact_id", "artifact_update", "context_id", "history_length"),
    *("include_artifacts", "last_chunk", "media_type", "message_id", "page_size", "page_token"),
    *("push_notification_config", "reference_task_ids", "return_immediately", "status_timestamp_after"),
    *("status_update", "task_id", "task_push_notification_config"),
    # version 0.3 alone
    *("config_id", "file_with_bytes", "file_with_uri", "mime_type", "push_notification"),
    "push_notification_config_id",
)
"""The names of several words that fields have in the `.proto` files, and in version 0.3's schema."""


def json_name(field: str) -> str:
    """The name of a field in JSON: lowerCamelCase."""
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)


NAMES: Names = {field: json_name(field) for field in FIELDS}
"""The second name of each field, which ProtoJSON's readers must take, with the first."""

PROTO_NAMES: Mapping[str, str] = {name: field for field, name in NAMES.items()}

STATE_NUMBERS: Mapping[int, TaskState] = dict(
    enumerate(
        (
            *(TaskState.UNKNOWN, TaskState.SUBMITTED, TaskState.WORKING, TaskState.COMPLETED, TaskState.FAILED),
            *(TaskState.CANCELED, TaskState.INPUT_REQUIRED, TaskState.REJECTED, TaskState.AUTH_REQUIRED),
        )
    )
)
"""`TaskState` by its numbers, which are the same in both versions."""

ROLE_NUMBERS: Mapping[int, Role] = {1: Role.USER, 2: Role.AGENT}
"""`Role` by its numbers. 0 is unspecified, and a message must say who speaks."""

# --- members that are given twice -------------------------------------------------------------------------

Path: TypeAlias = tuple[str | int, ...]

_SEARCHED = 65536  # bytes; to search more for the name would hold the loop for more than a few milliseconds


def repeated_member(text: bytes, value: object) -> Path | None:
    """The path of a member that `text` names twice, of which `value`, the decoded text, has the last.

    None: there is none. Empty: there is one, in a text that is too large, or nested too deep, to be searched for it.

    A member has a colon, and of two with one name the reader keeps one. So colons are missing where `value` is
    written again; those in strings come back, and those that were escaped are counted as well.
    """
    try:
        kept = orjson.dumps(value).count(b":")
    except TypeError:  # nested deeper than can be written; readers refuse that by themselves
        return None
    colons = text.count(b":")
    if b"\\u003" in text:
        escapes = text.replace(rb"\\", b"")  # a backslash that is escaped escapes nothing
        colons += escapes.count(rb"\u003a") + escapes.count(rb"\u003A")
    if colons == kept:
        return None
    if len(text) > _SEARCHED or nested_deeper(value):
        return ()
    document = json.loads(text, object_pairs_hook=_Members, parse_int=_ignored, parse_float=_ignored)
    return next(_repeated(document), ())


class _Members(list[tuple[str, Any]]):
    """The members of an object, in the order of the text."""


def _ignored(text: str) -> None:
    """A number, which no path depends on; the text may be longer than `int` takes."""


def _repeated(document: Any) -> Iterator[Path]:
    """Yield the paths of members with a name that their object has already, the outer ones first."""
    waiting: list[tuple[Path, Any]] = [((), document)]
    for path, outer in waiting:
        seen: set[str | int] = set()
        pairs = outer if isinstance(outer, _Members) else enumerate(outer)
        for name, inner in pairs:
            if name in seen:
                yield (*path, name)
            seen.add(name)
            if isinstance(inner, list):
                waiting.append(((*path, name), inner))
