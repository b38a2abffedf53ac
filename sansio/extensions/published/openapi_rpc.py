"""The JSON-RPC endpoint in OpenAPI: a request for each method, distinguished by its name, and the answers.

Made from the tables of operations and methods. Of a deployment it knows only the versions and methods on offer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from sansio.a2a.codecs.schemas import OPERATION_TYPES, REFERENCES, schema_of
from sansio.a2a.errors import ErrorKind
from sansio.a2a.media_types import EVENT_STREAM, JSON
from sansio.a2a.model import JsonObject
from sansio.a2a.operations import Operation
from sansio.extensions.methods.method_rows import MethodRow
from sansio.extensions.methods.types import params_schema, result_schema
from sansio.extensions.published.contracts import NOTIFICATION_STATUS
from sansio.extensions.published.openapi_rest import event_of, failures, headers

_ID: JsonObject = {"type": ["string", "number", "null"], "description": "Without it, nothing is answered."}
_ERRORS = (
    ErrorKind.UNAUTHENTICATED,
    ErrorKind.FORBIDDEN,
    ErrorKind.UNSUPPORTED_MEDIA_TYPE,
    ErrorKind.PAYLOAD_TOO_LARGE,
    ErrorKind.REQUEST_TIMEOUT,
    ErrorKind.INTERNAL_ERROR,
    ErrorKind.OVERLOADED,
)


@frozen
class RpcMethod:
    """A method as it is published: what it takes, and what it answers on each of its lines."""

    name: str
    params: JsonObject
    results: dict[str, JsonObject]
    required: bool
    row: MethodRow | None = None
    streaming: bool = False

    @property
    def request(self) -> str:
        """The component that is its request."""
        return f"rpc.{self.name.replace('/', '.')}"

    @property
    def result(self) -> str:
        """The prefix of the names of its result components."""
        return f"{self.request}.result"


def core_methods(versions: Sequence[str]) -> Iterator[RpcMethod]:
    """Yield the protocol's own methods, by the names of these versions."""
    for version in sorted(versions):
        for operation in Operation:
            row, types = operation.row, OPERATION_TYPES[operation][version]
            name = row.rpc_names[version]
            params = schema_of(version, types.params)
            yield RpcMethod(
                name,
                params,
                {version: schema_of(version, types.result)},
                required=row.needs_params,
                streaming=row.streaming,
            )


def extension_methods(rows: Sequence[MethodRow], versions: Sequence[str]) -> Iterator[RpcMethod]:
    """Yield the methods of these rows."""
    for row in rows:
        results = {version: result_schema(row, version) for version in sorted(versions) if version in row.versions}
        required = any(parameter.required for parameter in row.parameters)
        yield RpcMethod(row.name, params_schema(row), results, required=required, row=row)


def components(methods: Sequence[RpcMethod]) -> dict[str, JsonObject]:
    """Render every request and result, and the two kinds of answers."""
    found: dict[str, JsonObject] = {}
    for method in methods:
        found[method.request] = _request(method)
        found[f"{method.request}.params"] = method.params
        found |= {f"{method.result}.{version}": schema for version, schema in method.results.items()}
    results = [{"$ref": f"{REFERENCES}{method.result}.{version}"} for method in methods for version in method.results]
    found["JsonRpcResult"] = {
        "type": "object",
        "properties": {"jsonrpc": {"const": "2.0"}, "id": _ID, "result": {"anyOf": results}},
        "required": ["jsonrpc", "id", "result"],
        "not": {"required": ["error"]},
    }
    found["JsonRpcError"] = _ERROR
    return found


def _request(method: RpcMethod) -> JsonObject:
    return {
        "type": "object",
        "properties": {
            "jsonrpc": {"type": "string", "const": "2.0"},
            "id": _ID,
            "method": {"type": "string", "const": method.name},
            "params": {"$ref": f"{REFERENCES}{method.request}.params"},
        },
        "required": ["jsonrpc", "method", *(["params"] if method.required else [])],
    }


_ERROR: JsonObject = {
    "type": "object",
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "id": _ID,
        "error": {
            "type": "object",
            "properties": {"code": {"type": "integer"}, "message": {"type": "string"}, "data": {}},
            "required": ["code", "message"],
        },
    },
    "required": ["jsonrpc", "id", "error"],
    "not": {"required": ["result"]},
}


def endpoint(methods: Sequence[RpcMethod], versions: Sequence[str]) -> JsonObject:
    """Return the operation behind which all methods are."""
    references = {method.name: f"{REFERENCES}{method.request}" for method in methods}
    answers = {"anyOf": [{"$ref": f"{REFERENCES}JsonRpcResult"}, {"$ref": f"{REFERENCES}JsonRpcError"}]}
    return {
        "operationId": "jsonrpc",
        "summary": "Every method, over JSON-RPC 2.0",
        "tags": ["JSON-RPC"],
        "description": "The name of the method tells which request it is. Both lines' names are understood on both; "
        "what is answered is of the line asked for, or else of the one that has the name.",
        "parameters": list(headers(None, None)),
        "requestBody": {
            "required": True,
            "content": {
                JSON: {
                    "schema": {
                        "oneOf": [{"$ref": reference} for reference in references.values()],
                        "discriminator": {"propertyName": "method", "mapping": references},
                    }
                }
            },
        },
        "responses": {
            "200": {
                "description": "The result or the error of the call. Methods that stream answer with server-sent "
                "events, the data of each being such an answer.",
                "content": {JSON: {"schema": answers}, EVENT_STREAM: {"schema": event_of(answers)}},
            },
            str(NOTIFICATION_STATUS): {"description": "The call had no id: it was carried out unanswered."},
            **failures(_ERRORS, versions),
        },
        "x-methods": {method.name: _described(method) for method in methods},
    }


def _described(method: RpcMethod) -> JsonObject:
    described: JsonObject = {
        "params": {"$ref": f"{REFERENCES}{method.request}.params"},
        "results": {version: {"$ref": f"{REFERENCES}{method.result}.{version}"} for version in method.results},
        "streaming": method.streaming,
    }
    if method.row is not None:
        described["extension"] = method.row.extension.label
        described["errors"] = {kind.name: kind.row.code for kind in method.row.all_errors}
        if method.row.capability is not None:
            described["capability"] = method.row.capability
        if method.row.toggle is not None:
            described["toggle"] = method.row.toggle.value
    return described
