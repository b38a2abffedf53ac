"""The reference of all that can be called, as markdown: operations, extensions, methods, their errors and types.

Made from the tables. Where the text goes is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sansio.a2a.codecs.schemas import OPERATION_TYPES
from sansio.a2a.model import JsonObject
from sansio.a2a.operations import Operation
from sansio.extensions.methods.method_errors import ExtensionErrorKind
from sansio.extensions.methods.method_rows import MethodExtension, MethodRow, Ownership, Scope
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.parameters import Parameter
from sansio.extensions.methods.types import TYPES
from sansio.extensions.published.compatibility import path_of
from sansio.extensions.published.contracts import ERROR_DATA_FIELDS
from sansio.extensions.published.deployment_cards import EXTENSIONS


def markdown() -> str:
    """The whole reference."""
    sections = (_operations(), _extensions(), _methods(), _errors(), _types())
    return "\n".join(line for section in sections for line in section).strip()


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(*names: str) -> Iterator[str]:
    yield from ("", _row(*names), _row(*["---"] * len(names)))


def _code(text: str) -> str:
    return f"`{text}`"


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(map(_code, texts))


# --- the protocol -----------------------------------------------------------------------------------------


def _operations() -> Iterator[str]:
    yield from ("### Operations", "")
    yield "JSON-RPC is at `/`. On version 1.0, the paths of HTTP+JSON work below a tenant's segment too."
    yield from _table("operation", "0.3", "1.0", "takes", "answers")
    for operation in Operation:
        row = operation.row
        old, new = OPERATION_TYPES[operation]["0.3"], OPERATION_TYPES[operation]["1.0"]
        yield _row(
            operation.name.lower().replace("_", " ") + (" (a stream)" if row.streaming else ""),
            _names(operation, "0.3"),
            _names(operation, "1.0"),
            _listed(dict.fromkeys((old.params, new.params))),
            _listed(dict.fromkeys((old.result, new.result))),
        )


def _names(operation: Operation, version: str) -> str:
    row = operation.row
    routes = [route for route in row.routes if version in route.versions]
    rpc = row.rpc_1_0 if version == "1.0" else row.rpc_0_3
    return "<br>".join([_code(rpc), *(_code(f"{route.method} {path_of(route, version)}") for route in routes)])


def _extensions() -> Iterator[str]:
    yield from ("", "### Extensions", "")
    yield "A request activates an extension by naming its URI in `A2A-Extensions`; either version's URI does."
    yield from _table("extension", "URI on 0.3", "URI on 1.0", "on the public card of 1.0")
    for one in EXTENSIONS:
        yield _row(_code(one.name), _code(one.uris["0.3"]), _code(one.uris["1.0"]), "yes" if one.public else "no")


# --- the methods ------------------------------------------------------------------------------------------


def _methods() -> Iterator[str]:
    yield from ("", "### Methods", "")
    yield "They are called over JSON-RPC, by the same names and with the same parameters on both versions. What no"
    yield "row names is refused, but for `metadata`, which is everybody's. A call without an `id` is not answered."
    for extension in MethodExtension:
        yield from ("", f"#### {extension.label}", "", extension.about)
        for row in METHODS.values():
            if row.extension is extension:
                yield from _method(row)


def _method(row: MethodRow) -> Iterator[str]:
    yield from ("", f"##### `{row.name}`", "", row.about, "")
    yield from (f"- {fact}" for fact in _facts(row))
    if row.parameters:
        yield from _table("parameter", "takes", "needed", "about")
        for parameter in row.parameters:
            yield _parameter(parameter)


def _facts(row: MethodRow) -> Iterator[str]:
    answers = ", ".join(f"{_code(name)} ({_code(of)})" for name, of in row.result.members.items())
    yield f"Answers: {answers}"
    yield f"Kind: {row.access.value}; answered by {'the adapter' if row.scope is Scope.LOCAL else 'OpenCode'}" + (
        ", whose interface for it is experimental" if row.experimental else ""
    )
    if row.ownership is not Ownership.NONE:
        yield f"Sessions: {row.ownership.value}"
    if row.toggle is not None:
        yield f"Only where `{row.toggle.value}` is on"
    if row.capability is not None:
        yield f"Needs a credential with the capability `{row.capability}`"
    if row.unsupported:
        yield f"Refused as other ways to page: {_listed(row.unsupported)}"
    if row.all_errors:
        yield f"Errors: {_listed(kind.name for kind in row.all_errors)}"


def _parameter(parameter: Parameter) -> str:
    name = " or ".join(map(_code, parameter.paths))
    default = "" if parameter.default is None else f" Default: {_default(parameter.default)}."
    needed = "yes" if parameter.required else "no"
    return _row(name, words(parameter.shape.schema()), needed, parameter.about + default)


def _default(value: object) -> object:
    return '`""`' if value == "" else value


def words(schema: JsonObject) -> str:
    """A schema in a few words."""
    for name, joined in (("oneOf", "; or "), ("anyOf", "; or ")):
        if name in schema:
            return joined.join(words(one) for one in schema[name])
    if "const" in schema:
        return _code(str(schema["const"]))
    if "enum" in schema:
        return "one of " + _listed(map(str, schema["enum"]))
    kind = schema.get("type")
    if kind == "object":
        return _object_in_words(schema)
    if kind == "array":
        least = schema.get("minItems")
        return f"a list{f' of at least {least}' if least else ''}: {words(schema['items'])}"
    if kind == "integer":
        return f"a whole number from {schema['minimum']} to {schema['maximum']}"
    if kind == "string":
        pattern = f" like {_code(schema['pattern'])}" if "pattern" in schema else ""
        return f"a text{pattern}"
    return "true or false" if kind == "boolean" else "any JSON"


def _object_in_words(schema: JsonObject) -> str:
    members = schema.get("properties")
    if members is None:
        inner = schema.get("additionalProperties")
        return f"an object of any names, each with {words(inner)}" if isinstance(inner, dict) else "an object"
    required = schema.get("required", ())
    told = [
        f"{_code(name)} {words(member)}{'' if name in required else ' (optional)'}"
        for name, member in members.items()
        if "const" not in member
    ]
    kind = next((f"{_code(str(member['const']))} " for member in members.values() if "const" in member), "")
    return f"{kind}object" + (f" with {', '.join(told)}" if told else "")


# --- errors and types -------------------------------------------------------------------------------------


def _errors() -> Iterator[str]:
    yield from ("", "### Errors of the methods", "")
    yield "On version 0.3, `data` is an object: its `type` is the error's name, beside further members."
    yield "On version 1.0 it is a list with an `ErrorInfo`: its `reason` is that name, and its metadata has"
    yield "the rest in camel case."
    yield from _table("error", "code", "when", "data")
    for kind in ExtensionErrorKind:
        yield _row(_code(kind.name), str(kind.row.code), kind.row.when, _listed(ERROR_DATA_FIELDS[kind]))


def _types() -> Iterator[str]:
    yield from ("", "### Types of the results", "")
    yield "`Task` and `Message` are those of the version. Others may have more members; those in bold are required."
    yield from _table("type", "members")
    for name, schema in TYPES.items():
        if "properties" in schema:
            required = schema.get("required", ())
            members = (
                f"**{_code(member)}**" if member in required else _code(member) for member in schema["properties"]
            )
            yield _row(_code(name), ", ".join(members))
