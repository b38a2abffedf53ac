"""The HTTP+JSON binding in OpenAPI: a path for each route of each version, with parameters, answers and errors.

Made from the tables of operations, codecs and errors. Of a deployment it knows only the versions on offer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from sansio.a2a.bindings import extension_headers as negotiation
from sansio.a2a.bindings import last_event_id as resume
from sansio.a2a.bindings.error_table import ERROR_CONDITIONS
from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.schemas import OPERATION_TYPES, REFERENCES, OperationTypes, object_schema, schema_of
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind
from sansio.a2a.media_types import EVENT_STREAM, JSON
from sansio.a2a.model import JsonObject
from sansio.a2a.operations import HttpRoute, Operation
from sansio.a2a.versions import VERSIONS
from sansio.extensions.published.compatibility import path_of

OF_VERSION = {version: dialect.media_type for version, dialect in DIALECTS.items()}
"""The media type of answers in each version."""

_CODECS = {"0.3": (v0_3_gateway.NAME, v0_3.NAME), "1.0": (v1_0.NAME,)}
_PATH_IDS = {"{id}": "The task's id.", "{config_id}": "The id of the push notification configuration."}
_SEGMENT: JsonObject = {"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9_-]+$"}
_TENANT: JsonObject = {
    "name": "tenant",
    "in": "path",
    "required": True,
    "description": "A tenant that clients may name before any path; this agent has one for all.",
    "schema": {**_SEGMENT, "not": {"const": "v1"}},
}

ALWAYS = (
    ErrorKind.VERSION_NOT_SUPPORTED,
    ErrorKind.UNAUTHENTICATED,
    ErrorKind.FORBIDDEN,
    ErrorKind.INTERNAL_ERROR,
    ErrorKind.OVERLOADED,
)
_OF_OPERATION: Mapping[Operation, tuple[ErrorKind, ...]] = {
    Operation.SEND: (ErrorKind.TASK_NOT_FOUND, ErrorKind.UNSUPPORTED_OPERATION, ErrorKind.CONTENT_TYPE_NOT_SUPPORTED),
    Operation.STREAM: (
        ErrorKind.TASK_NOT_FOUND,
        ErrorKind.UNSUPPORTED_OPERATION,
        ErrorKind.CONTENT_TYPE_NOT_SUPPORTED,
    ),
    Operation.CANCEL: (ErrorKind.TASK_NOT_CANCELABLE,),
    Operation.SUBSCRIBE: (ErrorKind.UNSUPPORTED_OPERATION,),
}


@frozen
class Endpoint:
    """A route on a version, below a tenant or not."""

    operation: Operation
    route: HttpRoute
    version: str
    tenant: bool

    @property
    def path(self) -> str:
        """The path template."""
        return ("/{tenant}" if self.tenant else "") + path_of(self.route, self.version)

    @property
    def codecs(self) -> tuple[str, ...]:
        """The codecs of the endpoint, the usual first."""
        return tuple(codec for codec in _CODECS[self.version] if codec in OPERATION_TYPES[self.operation])

    @property
    def operation_id(self) -> str:
        """A name that no other place has."""
        nth = [route for route in self.operation.row.routes if self.version in route.versions].index(self.route)
        words = [self.operation.name.lower(), f"v{self.version.replace('.', '_')}"]
        return ".".join([*words, *([f"route{nth + 1}"] if nth else []), *(["tenant"] if self.tenant else [])])


def endpoints(versions: Sequence[str]) -> Iterator[Endpoint]:
    """Yield every route of these versions. Those of 1.0 are below a tenant too."""
    for operation in Operation:
        for version in sorted(versions):
            for route in operation.row.routes:
                if version in route.versions:
                    yield Endpoint(operation, route, version, False)
                    if DIALECTS[version].has_tenants:
                        yield Endpoint(operation, route, version, True)


def paths(versions: Sequence[str]) -> dict[str, JsonObject]:
    """Return the paths with their operations."""
    found: dict[str, JsonObject] = {}
    for endpoint in endpoints(versions):
        found.setdefault(endpoint.path, {})[endpoint.route.method.lower()] = _operation(endpoint)
    return found


def _operation(endpoint: Endpoint) -> JsonObject:
    body = _body(endpoint)
    described: JsonObject = {
        "operationId": endpoint.operation_id,
        "summary": f"{endpoint.operation.row.rpc_1_0}, on line {endpoint.version}",
        "tags": [f"HTTP+JSON {endpoint.version}"],
        "parameters": [
            *_path_parameters(endpoint),
            *_query_parameters(endpoint),
            *headers(endpoint.operation, endpoint.version),
        ],
        "responses": {**_success(endpoint), **_failures(endpoint, body is not None)},
    }
    if body is not None:
        described["requestBody"] = body
    return described


# --- parameters and bodies --------------------------------------------------------------------------------


def _path_parameters(endpoint: Endpoint) -> Iterator[JsonObject]:
    if endpoint.tenant:
        yield _TENANT
    for marker, about in _PATH_IDS.items():
        if marker in endpoint.path:
            yield {
                "name": marker.strip("{}"),
                "in": "path",
                "required": True,
                "description": about,
                "schema": _SEGMENT,
            }


def _query_parameters(endpoint: Endpoint) -> Iterator[JsonObject]:
    """Yield the parameters that the query may have: those that are single values."""
    if endpoint.route.method == "POST":
        return
    for name, schema in _beside_the_path(endpoint, endpoint.codecs[0])["properties"].items():
        if (name != "tenant" and schema.get("type") in ("string", "integer", "boolean")) or name == "status":
            yield {"name": name, "in": "query", "required": False, "schema": schema}


def headers(operation: Operation | None, version: str | None) -> Iterator[JsonObject]:
    """Yield the headers that a request may have."""
    versions = [version] if version is not None else list(VERSIONS)
    yield _header("A2A-Version", "The protocol version asked for.", {"type": "string", "enum": versions})
    for of_version, name in negotiation.HEADER_OF.items():
        if version in (None, of_version):
            about = "The URIs of the extensions to activate, separated by commas."
            yield _header(name.title(), about, {"type": "string"})
    if operation is None or operation.row.streaming:
        yield _header(resume.HEADER.title(), "The event after which a stream is to go on.", {"type": "string"})


def _header(name: str, about: str, schema: JsonObject) -> JsonObject:
    return {"name": name, "in": "header", "required": False, "description": about, "schema": schema}


def _beside_the_path(endpoint: Endpoint, codec: str) -> JsonObject:
    """Return the parameters without those in the path."""
    row = endpoint.operation.row
    ids = row.ids[endpoint.version]
    name = OPERATION_TYPES[endpoint.operation][codec].params
    schema: JsonObject = {"type": "object", "properties": {}}
    if name != "object":
        schema = object_schema(codec, name)
    given = ids[: sum(marker in endpoint.route.path for marker in _PATH_IDS)]
    left = {key: value for key, value in schema["properties"].items() if key not in given}
    required = [key for key in schema.get("required", ()) if key not in given]
    return {"type": "object", "properties": left, **({"required": required} if required else {})}


def _body(endpoint: Endpoint) -> JsonObject | None:
    if endpoint.route.method != "POST":
        return None
    row = endpoint.operation.row
    beside = [_beside_the_path(endpoint, codec) for codec in endpoint.codecs]
    needed = row.sends_body or any("required" in schema for schema in beside)
    whole = [schema_of(codec, OPERATION_TYPES[endpoint.operation][codec].params) for codec in endpoint.codecs]
    schemas = whole if row.sends_body else beside
    return {"required": needed, "content": {JSON: {"schema": _any_of(schemas)}}}


# --- answers ----------------------------------------------------------------------------------------------


def _success(endpoint: Endpoint) -> JsonObject:
    types: list[tuple[str, OperationTypes]] = [
        (codec, OPERATION_TYPES[endpoint.operation][codec]) for codec in endpoint.codecs
    ]
    if all(one.result == "null" for _, one in types):
        return {"204": {"description": "Done.", "headers": _VERSION}}
    schema = _any_of([schema_of(codec, one.result) for codec, one in types])
    if endpoint.operation.row.streaming:
        about = "A stream of server-sent events, each of them of this form."
        content: JsonObject = {EVENT_STREAM: {"schema": event_of(schema)}}
        return {"200": {"description": about, "headers": _VERSION, "content": content}}
    if endpoint.operation is Operation.EXTENDED_CARD:
        return {
            "200": {"description": "The card.", "headers": _VERSION, "content": {JSON: {"schema": schema}}},
            "304": {"description": "The card is the one that the caller has."},
        }
    content = {OF_VERSION[endpoint.version]: {"schema": schema}}
    return {"200": {"description": "The result.", "headers": _VERSION, "content": content}}


def event_of(schema: JsonObject) -> JsonObject:
    """Return a server-sent event whose data is JSON of a codec."""
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": schema}
    number = {"type": "string", "description": "The event's number: a stream can go on after it (Last-Event-ID)."}
    return {"type": "object", "properties": {"id": number, "data": data}, "required": ["data"]}


_VERSION: JsonObject = {
    "A2A-Version": {"description": "The line of the answer.", "schema": {"type": "string", "enum": list(VERSIONS)}}
}


def _any_of(schemas: Sequence[JsonObject]) -> JsonObject:
    different: list[JsonObject] = []
    for schema in schemas:
        if schema not in different:
            different.append(schema)
    return different[0] if len(different) == 1 else {"anyOf": different}


def _failures(endpoint: Endpoint, has_body: bool) -> JsonObject:
    kinds = [ErrorKind.INVALID_PARAMS, *ALWAYS, *_OF_OPERATION.get(endpoint.operation, ())]
    if "{id}" in endpoint.path:
        kinds.append(ErrorKind.TASK_NOT_FOUND)
    if has_body:
        kinds += [ErrorKind.PARSE_ERROR, ErrorKind.PAYLOAD_TOO_LARGE, ErrorKind.REQUEST_TIMEOUT]
        kinds.append(ErrorKind.UNSUPPORTED_MEDIA_TYPE)
    return failures(kinds, [endpoint.version])


def failures(kinds: Sequence[ErrorKind], versions: Sequence[str]) -> JsonObject:
    """Return the error responses of these kinds, by status, in the shapes of these lines."""
    found: dict[str, list[ErrorKind]] = {}
    for kind in dict.fromkeys(kinds):
        for version in versions:
            same = found.setdefault(str(kind.row.status(version)), [])
            if kind not in same:
                same.append(kind)
    schema = _any_of([{"$ref": f"{REFERENCES}v{version}.HttpError"} for version in sorted(versions)])
    return {status: _failure(same, schema) for status, same in sorted(found.items())}


def _failure(kinds: Sequence[ErrorKind], schema: JsonObject) -> JsonObject:
    response: dict[str, Any] = {
        "description": " ".join(f"{kind.name}: {ERROR_CONDITIONS[kind].when}" for kind in kinds),
        "content": {JSON: {"schema": schema}},
    }
    if ErrorKind.UNAUTHENTICATED in kinds:
        response["headers"] = {
            "WWW-Authenticate": {"description": "The schemes to choose from.", "schema": {"type": "string"}}
        }
    return response


_ERROR_TEXT: JsonObject = {"type": "string"}
ERROR_SCHEMAS: Mapping[str, JsonObject] = {
    "v0.3.HttpError": {
        "type": "object",
        "minProperties": 1,
        "properties": {
            "code": {"type": "integer"},
            "message": _ERROR_TEXT,
            "type": _ERROR_TEXT,
            "error": _ERROR_TEXT,
            "data": {"type": "array", "items": {"type": "object"}},
        },
    },
    "v1.0.HttpError": {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer"},
                    "status": {
                        "type": "string",
                        "enum": sorted({kind.row.grpc for kind in ErrorKind}),
                    },
                    "message": _ERROR_TEXT,
                    "details": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"@type": _ERROR_TEXT},
                            "required": ["@type"],
                        },
                    },
                },
                "required": ["code", "status", "message", "details"],
            }
        },
        "required": ["error"],
    },
}
"""An error's body over HTTP, by line."""
