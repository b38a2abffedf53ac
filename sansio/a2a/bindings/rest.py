"""The HTTP+JSON binding's routes, made from the table of operations, and the parameters a request has over it.

Version 0.3 lives below `/v1`; version 1.0 at the root, optionally below a tenant's segment. The path decides the
version only where none was requested: `/v1` with a 1.0 version header is answered on 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from sansio.a2a.bindings.json_input import decoded
from sansio.a2a.codecs.fields import repeated
from sansio.a2a.codecs.protojson_names import PROTO_NAMES, repeated_member
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, ProtocolError, shortened
from sansio.a2a.model import JsonObject
from sansio.a2a.operations import Operation

PREFIX_0_3 = "v1"


@frozen(kw_only=True)
class Route:
    """A recognised path: the operation, the ids in the path, and the version that the path implies."""

    operation: Operation
    hint: str
    id: str | None = None
    config_id: str | None = None
    tenant: str | None = None


@frozen(kw_only=True)
class _Template:
    method: str
    segments: tuple[str, ...]
    hint: str
    tenants: bool
    operation: Operation

    @property
    def path(self) -> str:
        """The path with its variables in braces."""
        return "/" + "/".join(self.segments)


def _templates() -> list[_Template]:
    """Yield every path. Those that begin with a tenant come last: a tenant's name must not hide a path."""
    plain: list[_Template] = []
    for operation in Operation:
        for route in operation.row.routes:
            for version in route.versions:
                prefix = DIALECTS[version].path_prefix if route.prefixed else ""
                segments = tuple(f"{prefix}{route.path}".strip("/").split("/"))
                plain.append(
                    _Template(
                        method=route.method, segments=segments, hint=version, tenants=False, operation=operation
                    )
                )
    below_tenants = [
        _Template(
            method=template.method,
            segments=("{tenant}", *template.segments),
            hint="1.0",
            tenants=True,
            operation=template.operation,
        )
        for template in plain
        if DIALECTS[template.hint].has_tenants
    ]
    return plain + below_tenants


_TEMPLATES = _templates()


def _match(template: _Template, segments: list[str]) -> dict[str, str] | None:
    """Return the variables of the path where it fits the template."""
    if len(segments) != len(template.segments) or (template.tenants and segments[0] == PREFIX_0_3):
        return None
    found: dict[str, str] = {}
    for pattern, segment in zip(template.segments, segments, strict=True):
        if not pattern.startswith("{"):
            if pattern != segment:
                return None
            continue
        name, _, suffix = pattern[1:].partition("}")
        value = segment.removesuffix(suffix) if suffix else segment
        if not value or (suffix and value == segment):
            return None
        if name == "id" and ":" in value:  # what follows a task's colon is a verb
            return None
        found[name] = value
    return found


def route(method: str, path: str) -> Route:
    """Return the route of a request. `path` is percent-decoded, so no id holds a slash.

    Raises `ProtocolError`: NOT_FOUND, or METHOD_NOT_ALLOWED with the `allow` list in its metadata.
    """
    segments = path.strip("/").split("/")
    for template in _TEMPLATES:
        if template.method == method and (variables := _match(template, segments)) is not None:
            return Route(operation=template.operation, hint=template.hint, **variables)
    raise ProtocolError(
        ErrorKind.METHOD_NOT_ALLOWED,
        f"Method {shortened(method)} is not allowed here",
        metadata={"allow": methods_of(path)},
    )


def methods_of(path: str) -> str:
    """Return the methods of a path's routes, as the header `Allow` has them. Raises `ProtocolError` (NOT_FOUND)."""
    segments = path.strip("/").split("/")
    methods = {template.method for template in _TEMPLATES if _match(template, segments) is not None}
    if not methods:
        raise ProtocolError(ErrorKind.NOT_FOUND, "No such path")
    return ", ".join(sorted(methods))


def template_of(method: str, path: str) -> str | None:
    """Return the path template of a request, such as `/tasks/{id}:cancel`; None for a path that is not known.

    The method only chooses between templates that the path fits: what it may not be asked with has its template, too.
    """
    segments = path.strip("/").split("/")
    other: str | None = None
    for template in _TEMPLATES:
        if (other is None or template.method == method) and _match(template, segments) is not None:
            if template.method == method:
                return template.path
            other = template.path
    return other


def hint_of(path: str) -> str:
    """Return the version that a path implies, known or not: for errors."""
    return "0.3" if path.strip("/").partition("/")[0] in (PREFIX_0_3, "agent") else "1.0"


def params_of(found: Route, version: str, query: Mapping[str, object], body: bytes) -> object:
    """Return the parameters of an operation, named as `version` names them, for the parser of a codec.

    Ids and tenant of the path win over the body's, and the body over the query. Only what has nothing but a body must
    have one. Raises `ProtocolError`: PARSE_ERROR for a body that is no JSON, INVALID_PARAMS for one that names a
    member twice. A body that is no object is passed on, so that the parser refuses it.
    """
    row = found.operation.row
    given = _body(body) if body or row.sends_body else {}
    if not isinstance(given, dict):
        return given
    params: JsonObject = dict(query) if row.reads_query else {}
    params |= given
    names = row.ids[version]
    ids = (value for value in (found.id, found.config_id) if value is not None)
    for name, value in zip(names, ids, strict=False):
        params.pop(PROTO_NAMES.get(name, name), None)
        params[name] = value
    if found.tenant is not None:
        params["tenant"] = found.tenant
    return params


def _body(body: bytes) -> Any:
    """Return the decoded body, in which no object names a member twice."""
    value = decoded(body)
    twice = repeated_member(body, value)
    if twice is not None:
        violation = repeated(twice)
        message = f"{violation.field or 'params'}: {violation.message}"
        raise ProtocolError(ErrorKind.INVALID_PARAMS, message, violations=(violation,))
    return value
