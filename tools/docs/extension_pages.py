"""Renders the generated parts of the extensions' pages, and of their index, as Markdown.

Made from the tables of the code: URIs, fields of metadata, methods with their errors, and the entries of the cards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from sansio.a2a.model import JsonObject
from sansio.extensions.methods.method_errors import ExtensionErrorKind
from sansio.extensions.methods.method_rows import MethodExtension, MethodRow
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.published.compatibility import ServedVersion
from sansio.extensions.published.contracts import ERROR_DATA_FIELDS
from sansio.extensions.published.deployment_cards import EXTENSIONS, PublishedExtension
from sansio.extensions.published.profile import Deployment
from sansio.opencode.metadata_fields import FIELDS, WITHOUT_NUL, Carrier, MetadataField

DEPLOYMENT: Final = Deployment(
    title="opencode-a2a", description="An agent.", version="1", url="https://agent.example", schemes=("bearer",)
)
"""Deployment with the default settings, whose cards are the example."""

_LONGEST_VALUE: Final = 90
_MOST_NAMES: Final = 12


def index() -> str:
    """Render the table of all extensions. Each row has the anchor that links to the index use."""
    rows = (
        (
            f'<a id="{one.name}"></a>[`{one.name}`](extensions/{one.name}.md)',
            one.description,
            "yes" if one.public else "on 0.3",
            "<br>".join(_code(uri) for uri in dict.fromkeys(one.uris.values())),
        )
        for one in EXTENSIONS
    )
    return _table(("extension", "purpose", "on the public card", "URIs"), rows)


def fields(name: str) -> str:
    """Render the fields of an extension: of requests, and of what is sent."""
    received = (Carrier.REQUEST, Carrier.RESUMING, Carrier.ANSWER)
    rows = [
        (
            _code(row.name),
            _type_words(row.kind.schema()),
            ", ".join(carrier.words for carrier in row.carriers),
            "client" if row.carriers[0] in received else "server",
            _presence(row),
            row.about,
        )
        for row in FIELDS[name]
    ]
    return _table(("field", "type", "where", "sent by", "presence", "meaning"), rows)


def methods(extension: MethodExtension) -> str:
    """Render the methods of an extension, with what each needs, its result and its errors."""
    rows = (
        (
            f"[`{row.name}`](../reference.md#{_anchor(row.name)})",
            row.about,
            _needs(row),
            ", ".join(f"{_code(member)} ({_code(of)})" for member, of in row.result.members.items()),
        )
        for row in _rows(extension)
    )
    errors = dict.fromkeys(kind for row in _rows(extension) for kind in row.all_errors)
    tables = [_table(("method", "purpose", "needs", "result"), rows)]
    if errors:
        tables.append(_errors(kind for kind in ExtensionErrorKind if kind in errors))
    return "\n\n".join(tables)


def card(name: str) -> str:
    """Render the `params` of an extension on the cards of version 1.0 with the default settings."""
    [one] = [one for one in EXTENSIONS if one.name == name]
    version = "1.0"
    of = ServedVersion(version, DEPLOYMENT, [each.uri(version) for each in EXTENSIONS])
    public = (one.public_params(of) or {}) if one.public else {}
    rows = (
        (_code(member), "both" if member in public else "extended", _value_words(value))
        for member, value in _extended(one, of).items()
    )
    return _table(("member of `params`", "card", "value"), rows)


def _extended(one: PublishedExtension, of: ServedVersion) -> JsonObject:
    return one.extended_params(of) or {}


def _rows(extension: MethodExtension) -> list[MethodRow]:
    return [row for row in METHODS.values() if row.extension is extension]


def _errors(kinds: Iterable[ExtensionErrorKind]) -> str:
    rows = (
        (_code(kind.name), str(kind.row.code), kind.row.when, ", ".join(map(_code, ERROR_DATA_FIELDS[kind])))
        for kind in kinds
    )
    return _table(("error", "code", "when", "data"), rows)


def _needs(row: MethodRow) -> str:
    needs = [row.ownership.value] if row.ownership.value else []
    if row.toggle is not None:
        needs.append(_code(row.toggle.value))
    if row.capability is not None:
        needs.append(f"the capability {_code(row.capability)}")
    return "; ".join(needs) or "nothing"


def _presence(row: MetadataField) -> str:
    if not row.always:
        return "optional"
    return "required" if set(row.always) == set(row.carriers) else f"required in {row.always[0].words}"


def _type_words(schema: JsonObject) -> str:
    """Return a type in words, with its bounds."""
    if "anyOf" in schema:
        return " or ".join(_type_words(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(_code, schema["enum"]))
    bounds = []
    if "maxLength" in schema:
        least = f"{schema['minLength']} to" if "minLength" in schema else "at most"
        bounds.append(f"{least} {schema['maxLength']} characters")
    elif "minLength" in schema:
        bounds.append("not empty")
    if schema.get("pattern") == WITHOUT_NUL:
        bounds.append("no NUL")
    elif "pattern" in schema:
        bounds.append(f"like {_code(schema['pattern'])}")
    if "maximum" in schema:
        bounds.append(f"{schema['minimum']} to {schema['maximum']}")
    elif "minimum" in schema:
        bounds.append(f"{schema['minimum']} or more")
    return ", ".join([schema["type"], *bounds])


def _value_words(value: Any) -> str:
    """Return a value as JSON where it is short, else its names."""
    text = orjson.dumps(value).decode()
    if len(text) <= _LONGEST_VALUE and not (isinstance(value, dict) and value):
        return _code(text)
    if isinstance(value, dict):
        if any("." in name for name in value):
            return "an object by method"
        names = [*map(_code, list(value)[:_MOST_NAMES]), *(["…"] if len(value) > _MOST_NAMES else [])]
        return f"an object with {', '.join(names)}"
    return "a list of objects" if any(isinstance(item, dict) for item in value) else "a list of strings"


def _anchor(heading: str) -> str:
    return "".join(letter for letter in heading.lower() if letter.isalnum() or letter in "-_")


def _code(text: str) -> str:
    return f"`{text}`"


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heading = list(names)
    return "\n".join(_lines([heading, ["---"] * len(heading), *rows]))


def _lines(rows: Iterable[Iterable[str]]) -> Iterator[str]:
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
