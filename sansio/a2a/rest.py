"""The HTTP+JSON binding's routes, made from the table of operations.

Line 0.3 lives below ``/v1``; line 1.0 at the root, optionally below a tenant's segment. The path tells the
line only where no version was asked for: ``/v1`` with a 1.0 version header is answered on 1.0.
"""

from __future__ import annotations

from attrs import frozen

from .errors import ErrorKind, ProtocolError
from .operations import Operation

PREFIX_0_3 = "v1"


@frozen(kw_only=True)
class Route:
    """A path that was recognised: the operation, the ids in the path, and the line it hints at."""

    operation: Operation
    hint: str
    id: str | None = None
    tenant: str | None = None


@frozen
class _Template:
    method: str
    segments: tuple[str, ...]
    operation: Operation


_TEMPLATES = tuple(_Template(op.row.http_method, tuple(op.row.path.strip("/").split("/")), op) for op in Operation)


def _match(template: _Template, segments: list[str]) -> dict[str, str] | None:
    """The variables of the path where it fits the template."""
    if len(segments) != len(template.segments):
        return None
    found: dict[str, str] = {}
    for pattern, segment in zip(template.segments, segments, strict=True):
        if not pattern.startswith("{"):
            if pattern != segment:
                return None
            continue
        name, _, suffix = pattern[1:].partition("}")
        value = segment.removesuffix(suffix) if suffix else segment
        if not value or (suffix and value == segment) or (not suffix and ":" in segment):
            return None
        found[name] = value
    return found


def route(method: str, path: str) -> Route:
    """The route of a request. ``path`` is percent-decoded.

    Raises ``ProtocolError``: NOT_FOUND, or METHOD_NOT_ALLOWED with the ``allow`` list in its metadata.
    """
    segments = path.strip("/").split("/")
    candidates: list[tuple[str, str | None, list[str]]] = []
    if segments[0] == PREFIX_0_3:
        candidates.append(("0.3", None, segments[1:]))
    else:
        candidates.append(("1.0", None, segments))
        candidates.append(("1.0", segments[0], segments[1:]))
    allowed: set[str] = set()
    for hint, tenant, rest in candidates:
        for template in _TEMPLATES:
            variables = _match(template, rest)
            if variables is None:
                continue
            if template.method == method:
                return Route(operation=template.operation, hint=hint, id=variables.get("id"), tenant=tenant)
            allowed.add(template.method)
    if allowed:
        allow = ", ".join(sorted(allowed))
        raise ProtocolError(
            ErrorKind.METHOD_NOT_ALLOWED, f"Method {method} is not allowed here", metadata={"allow": allow}
        )
    raise ProtocolError(ErrorKind.NOT_FOUND, "No such path")
