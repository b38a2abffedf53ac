"""The OpenAPI 3.1 document of the whole HTTP surface: for everybody, and for authenticated callers.

Made from the tables, so that it matches the code. The path it is served at and the paths of the card are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from attrs import frozen

from sansio.a2a.cards.security import described
from sansio.a2a.cards.signatures import JWKS_PATH
from sansio.a2a.codecs import v0_3, v0_3_protojson, v1_0
from sansio.a2a.codecs.schemas import REFERENCES, components
from sansio.a2a.errors import ErrorKind
from sansio.a2a.media_types import JSON
from sansio.a2a.model import JsonObject
from sansio.extensions.methods.method_table import METHODS, is_on
from sansio.extensions.published import openapi_rest, openapi_rpc
from sansio.extensions.published.openapi_rest import failures
from sansio.extensions.published.profile import Deployment

_VERSION = "3.1.0"
_CODECS = {"0.3": (v0_3.NAME, v0_3_protojson.NAME), "1.0": (v1_0.NAME,)}


@frozen(kw_only=True)
class Served:
    """Routes besides operations and methods. `health`: an answer of the health check, as an example."""

    card_paths: Sequence[str]
    health_path: str
    openapi_path: str
    health: JsonObject
    signs: bool


def document(deployment: Deployment, served: Served, *, complete: bool) -> JsonObject:
    """Render the document. Unless it is `complete`, it has the protocol's methods alone and no operator text."""
    versions = deployment.versions
    rows = [row for row in METHODS.values() if is_on(row, deployment.switched_on)] if complete else []
    methods = [*openapi_rpc.core_methods(versions), *openapi_rpc.extension_methods(rows, versions)]
    schemes = {scheme.name: scheme.openapi for scheme in described(deployment.schemes)}
    codecs = [codec for version in versions for codec in _CODECS[version]]
    paths, responses = _with_shared_failures(
        {
            "/": {"post": openapi_rpc.endpoint(methods, versions)},
            **openapi_rest.paths(versions),
            **_documents(served, versions, schemes),
        }
    )
    return {
        "openapi": _VERSION,
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": deployment.title,
            "description": deployment.description,
            "version": deployment.version,
        },
        "servers": [{"url": deployment.url.rstrip("/")}],
        "security": [{name: []} for name in schemes],
        "paths": paths,
        "components": {
            "responses": responses,
            "securitySchemes": schemes,
            "schemas": {
                **dict(components(codecs)),
                **{
                    f"v{version}.HttpError": openapi_rest.ERROR_SCHEMAS[f"v{version}.HttpError"]
                    for version in versions
                },
                **openapi_rpc.components(methods),
                **_SCHEMAS,
                "Health": _health(served, complete=complete),
            },
        },
    }


def _with_shared_failures(paths: Mapping[str, JsonObject]) -> tuple[dict[str, JsonObject], dict[str, JsonObject]]:
    """Return the paths with references to the responses for failures, and these responses. Most operations share
    them.
    """
    names: dict[bytes, str] = {}
    shared: dict[str, JsonObject] = {}

    def reference(status: str, response: JsonObject) -> JsonObject:
        if status < "400":
            return response
        name = names.setdefault(orjson.dumps(response), f"failure.{status}.{len(names) + 1}")
        shared[name] = response
        return {"$ref": f"#/components/responses/{name}"}

    referring = {
        path: {
            method: {
                **one,
                "responses": {status: reference(status, response) for status, response in one["responses"].items()},
            }
            for method, one in operations.items()
        }
        for path, operations in paths.items()
    }
    return referring, shared


def _health(served: Served, *, complete: bool) -> JsonObject:
    """Return the form of a health check's answer; its profile is for those who may see it."""
    if not complete:
        return {"type": "object", "required": list(served.health)}
    return schema_of_value(served.health)


def schema_of_value(value: Any) -> JsonObject:
    """Return the schema of a value that always has this form: all of its members are there, in these types."""
    if isinstance(value, dict):
        return {
            "type": "object",
            "properties": {name: schema_of_value(member) for name, member in value.items()},
            "required": list(value),
        }
    if isinstance(value, list):
        return {"type": "array", **({"items": schema_of_value(value[0])} if value else {})}
    return {"type": _TYPES[type(value)]}


_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


# --- what is no operation ---------------------------------------------------------------------------------


def _documents(served: Served, versions: Sequence[str], schemes: Iterable[str]) -> dict[str, JsonObject]:
    card = f"{REFERENCES}AgentCard"
    paths: dict[str, JsonObject] = {
        path: {"get": _document(f"card.{number}", "The public card", card, versions)}
        for number, path in enumerate(sorted(served.card_paths), 1)
    }
    keys = _document("keys", "The keys that sign the cards", f"{REFERENCES}KeySet", versions)
    if not served.signs:
        keys["responses"] = failures((ErrorKind.NOT_FOUND,), versions)
    paths[JWKS_PATH] = {"get": keys}
    described = _document("openapi", "This document, complete for those with credentials", None, versions)
    described["security"] = [{}, *({name: []} for name in schemes)]
    described["responses"] |= failures((ErrorKind.UNAUTHENTICATED, ErrorKind.FORBIDDEN), versions)
    paths[served.openapi_path] = {"get": described}
    paths[served.health_path] = {"get": _check(versions)}
    return paths


def _document(id: str, summary: str, reference: str | None, versions: Sequence[str]) -> JsonObject:
    schema: JsonObject = {"type": "object"} if reference is None else {"$ref": reference}
    etag = {"name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"}}
    return {
        "operationId": id,
        "summary": summary,
        "tags": ["Documents"],
        "security": [],
        "parameters": [etag],
        "responses": {
            "200": {
                "description": "The document.",
                "headers": {"ETag": {"description": "Names this version of it.", "schema": {"type": "string"}}},
                "content": {JSON: {"schema": schema}},
            },
            "304": {"description": "The document is the one that the caller has."},
        },
    }


def _check(versions: Sequence[str]) -> JsonObject:
    return {
        "operationId": "health",
        "summary": "Whether the server is well, and what it is",
        "tags": ["Documents"],
        "responses": {
            "200": {
                "description": "It is.",
                "content": {JSON: {"schema": {"$ref": f"{REFERENCES}Health"}}},
            },
            **failures((ErrorKind.UNAUTHENTICATED, ErrorKind.FORBIDDEN), versions),
        },
    }


_TEXT: JsonObject = {"type": "string"}
_TEXTS: JsonObject = {"type": "array", "items": _TEXT}
_OBJECTS: JsonObject = {"type": "array", "items": {"type": "object"}}
_SCHEMAS: Mapping[str, JsonObject] = {
    "AgentCard": {
        "type": "object",
        "properties": {
            **dict.fromkeys(
                ("name", "description", "version", "url", "protocolVersion", "preferredTransport"), _TEXT
            ),
            **dict.fromkeys(("defaultInputModes", "defaultOutputModes"), _TEXTS),
            **dict.fromkeys(("additionalInterfaces", "supportedInterfaces", "skills", "signatures"), _OBJECTS),
            "documentationUrl": _TEXT,
            "capabilities": {"type": "object", "properties": {"extensions": _OBJECTS}},
            "securitySchemes": {"type": "object"},
            "supportsAuthenticatedExtendedCard": {"type": "boolean"},
        },
        "required": [
            *("name", "description", "version"),
            *("capabilities", "defaultInputModes", "defaultOutputModes", "skills"),
        ],
        "anyOf": [{"required": ["supportedInterfaces"]}, {"required": ["url", "protocolVersion"]}],
    },
    "KeySet": {"type": "object", "properties": {"keys": _OBJECTS}, "required": ["keys"]},
}
