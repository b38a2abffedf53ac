"""The parameters of a method as rows, and the reading of a request by them.

A parameter is named by its path (`request.messageID`). What no row names is refused, so that nothing is dropped in
silence. Knows no method; raises one `ProtocolError` (INVALID_PARAMS) that names all wrong parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from attrs import field, frozen

from sansio.a2a.codecs.fields import DEEPEST, nested_deeper
from sansio.a2a.errors import ErrorKind, ProtocolError, Violation
from sansio.a2a.model import JsonObject
from sansio.a2a.refusals import Refusals
from sansio.extensions.methods.shapes import INVALID, Path, Shape, first_few, missing, require, wrong

_METADATA = "metadata"


@frozen(kw_only=True)
class Parameter:
    """One parameter. `aliases`: other paths it may come by; `default`: what it is where it is not given."""

    name: str
    shape: Shape
    about: str
    required: bool = False
    aliases: tuple[str, ...] = ()
    default: Any = None

    @property
    def path(self) -> tuple[str, ...]:
        """The names on the way to it."""
        return tuple(self.name.split("."))

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths it may come by, its own first."""
        return (self.name, *self.aliases)


@frozen
class Arguments:
    """The parameters of one request, read: by their names, without those that were not given."""

    values: Mapping[str, Any] = field(factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def get(self, name: str) -> Any:
        """Return the value, or None."""
        return self.values.get(name)

    def below(self, prefix: str) -> JsonObject:
        """Return the values of `prefix.NAME`, by NAME."""
        start = f"{prefix}."
        return {name.removeprefix(start): value for name, value in self.values.items() if name.startswith(start)}


def read(parameters: Sequence[Parameter], params: object, unsupported: Sequence[str] = ()) -> Arguments:
    """Parse the arguments of a request. `unsupported`: names of other ways to page, refused as such."""
    given = _object(params)
    _refuse_paging(parameters, given, unsupported)
    known: set[tuple[str, ...]] = {tuple(path.split(".")) for one in parameters for path in one.paths}
    refusals = Refusals()
    strangers = sorted(first_few(_strangers(known, given, (), refusals)))
    if strangers:
        refusals.add(_unsupported(strangers))
    values: dict[str, Any] = {}
    for parameter in parameters:
        value = refusals.attempt(_value, parameter, given)
        if value is not None:
            values[parameter.name] = value
    refusals.done()
    return Arguments(values)


def _object(params: object) -> JsonObject:
    if params is None:
        return {}
    if not isinstance(params, dict):
        raise wrong((), "must be an object")
    if nested_deeper(params):
        raise wrong((), f"must not be nested more than {DEEPEST} levels deep")
    return params


def _refuse_paging(parameters: Sequence[Parameter], given: JsonObject, unsupported: Sequence[str]) -> None:
    query = given.get("query")
    for names in (given, query if isinstance(query, dict) else {}):
        found = [name for name in unsupported if name in names]
        if found:
            supported = [one.name for one in parameters if one.name in ("limit", "before")]
            raise ProtocolError(
                ErrorKind.INVALID_PARAMS,
                f"Only {' and '.join(supported)} pagination is supported",
                violations=tuple(Violation((name,), "invalid_pagination_mode", "is not supported") for name in found),
                data={
                    "type": "INVALID_PAGINATION_MODE",
                    "supported": supported,
                    "unsupported": list(unsupported),
                },
            )


def _unsupported(strangers: Sequence[tuple[str, ...]]) -> ProtocolError:
    named = [Violation(path, INVALID, "").field for path in strangers]
    data: JsonObject = {"type": INVALID, "fields": named}
    if all(path[0] == "request" for path in strangers):
        data["field"] = "request"
    return ProtocolError(
        ErrorKind.INVALID_PARAMS,
        f"Unsupported fields: {', '.join(named)[:500]}",
        violations=tuple(Violation(path, "invalid_field", "is not supported") for path in strangers),
        data=data,
    )


def _strangers(
    known: set[tuple[str, ...]], given: JsonObject, above: tuple[str, ...], refusals: Refusals
) -> Iterator[tuple[str, ...]]:
    """Yield the paths that no parameter has. Metadata may have any; `refusals` get what should be an object."""
    for name, value in given.items():
        path = (*above, str(name))
        if path in known or path == (_METADATA,):
            continue
        if not any(other[: len(path)] == path for other in known):
            yield path
        elif isinstance(value, dict):
            yield from _strangers(known, value, path, refusals)
        elif value is not None:
            refusals.add(wrong(path, "must be an object"))


def _value(parameter: Parameter, given: JsonObject) -> Any:
    """Return a parameter's value. Where it comes by two paths, it must be the same."""
    read = [(path, parameter.shape.read(raw, path)) for path, raw in _found(parameter, given)]
    if not read:
        if parameter.required:
            _refuse_lacking(parameter, given)
        return parameter.default
    if any(value != read[0][1] for _, value in read):
        named = [Violation(path, INVALID, "").field for path, _ in read]
        raise wrong(read[0][0], f"says something else than {named[1]}", fields=named)
    return read[0][1]


def _found(parameter: Parameter, given: JsonObject) -> Iterator[tuple[Path, Any]]:
    for name in parameter.paths:
        path = tuple(name.split("."))
        value: Any = given
        for step in path[:-1]:
            value = value.get(step) if isinstance(value, dict) else None
            if value is not None and not isinstance(value, dict):
                raise wrong(path[: path.index(step) + 1], "must be an object")
        value = value.get(path[-1]) if isinstance(value, dict) else None
        if value is not None:
            yield path, value


def _refuse_lacking(parameter: Parameter, given: JsonObject) -> NoReturn:
    """Refuse the outermost missing part of a nested parameter. A field of an object that is there is wrong."""
    path = parameter.path
    if len(path) == 1 or given.get(path[0]) is None:
        raise missing(path[:1])
    require(parameter.shape, path)
