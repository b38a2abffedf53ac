"""Card entries of the extensions that are methods: the contract of each method, made from its row.

Knows the table, and of a deployment only which methods it offers on which version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import frozen

from sansio.a2a.dialects import DIALECTS
from sansio.a2a.model import JsonObject
from sansio.extensions.methods.method_errors import DOMAIN, ExtensionErrorKind, camel
from sansio.extensions.methods.method_rows import Access, MethodExtension, MethodRow, Ownership
from sansio.extensions.methods.method_table import METHODS, is_on
from sansio.extensions.methods.parameters import Parameter
from sansio.extensions.methods.routing import METADATA_DIRECTORY, WORKSPACE
from sansio.extensions.methods.session_methods import DEFAULT_LIMIT, MAX_LIMIT
from sansio.extensions.methods.shapes import Many, Tagged
from sansio.extensions.methods.types import TYPES
from sansio.extensions.published.profile import Deployment, profile_of
from sansio.opencode.deployment import PRIVATE_METADATA
from sansio.opencode.projections.session_projections import CONTEXT_PREFIX
from sansio.opencode.upstream.events import REPLIES

NOTIFICATION_STATUS = 204
_REQUEST_ID = "metadata.shared.interrupt.request_id"

_UPSTREAM = ("method", "session_id", "upstream_status", "detail")
ERROR_DATA_FIELDS: Mapping[ExtensionErrorKind, tuple[str, ...]] = {
    ExtensionErrorKind.SESSION_NOT_FOUND: ("session_id",),
    ExtensionErrorKind.SESSION_FORBIDDEN: ("session_id",),
    ExtensionErrorKind.SESSION_UNOWNED: ("session_id", "field"),
    ExtensionErrorKind.AUTHORIZATION_FORBIDDEN: ("method", "capability", "credential_id"),
    ExtensionErrorKind.METHOD_DISABLED: ("method", "supported_methods", "protocol_version", "toggle"),
    ExtensionErrorKind.UPSTREAM_UNREACHABLE: ("method", "session_id", "detail"),
    ExtensionErrorKind.UPSTREAM_HTTP_ERROR: _UPSTREAM,
    ExtensionErrorKind.UPSTREAM_PAYLOAD_ERROR: ("method", "session_id", "detail"),
    ExtensionErrorKind.INTERRUPT_REQUEST_NOT_FOUND: ("request_id",),
    ExtensionErrorKind.INTERRUPT_REQUEST_EXPIRED: ("request_id",),
    ExtensionErrorKind.INTERRUPT_TYPE_MISMATCH: (
        "request_id",
        "expected_interrupt_type",
        "actual_interrupt_type",
    ),
}
"""The fields that an error may have besides its type, named as in version 0.3."""


@frozen
class Offer:
    """The methods of an extension on a version: all there are, and those that are switched on."""

    extension: MethodExtension
    version: str
    deployment: Deployment

    @property
    def all(self) -> list[MethodRow]:
        """Every row of the extension."""
        return [row for row in METHODS.values() if row.extension is self.extension and self.version in row.versions]

    @property
    def rows(self) -> list[MethodRow]:
        """The rows of the methods that a caller may call."""
        return [row for row in self.all if is_on(row, self.deployment.switched_on)]


def public_params(offer: Offer) -> JsonObject | None:
    """Return the parameters for the public card: before authentication, only a chat's client needs any."""
    if offer.extension is not MethodExtension.INTERACTIVE_INTERRUPT:
        return None
    return {"methods": _named(offer.rows), **_EVENTS}


def extended_params(offer: Offer) -> JsonObject:
    """Return all parameters of an extension, for the extended card."""
    common: JsonObject = {
        "methods": _named(offer.rows),
        "method_contracts": {row.name: method_contract(row) for row in offer.rows},
        "errors": _errors(offer),
        **_metadata(offer.all),
    }
    return {**common, **_OWN[offer.extension](offer)}


# --- one method -------------------------------------------------------------------------------------------


def method_contract(row: MethodRow) -> JsonObject:
    """Render the contract of a method: parameters, result, errors, and what it depends on."""
    contract: JsonObject = {
        "params": _params(row),
        "result": _result(row),
        "errors": [kind.name for kind in row.all_errors],
        "ownership": row.ownership.name.lower(),
        "notification_response_status": NOTIFICATION_STATUS,
    }
    if row.capability is not None:
        contract["capability"] = row.capability
    if row.toggle is not None:
        contract["toggle"] = row.toggle.value
    for parameter in row.parameters:
        if isinstance(parameter.shape, Many) and isinstance(parameter.shape.of, Tagged):
            contract |= _parts(row, parameter, parameter.shape.of)
    return contract


def _params(row: MethodRow) -> JsonObject:
    params: JsonObject = {}
    if required := [one.name for one in row.parameters if one.required]:
        params["required"] = required
    if optional := [path for one in row.parameters for path in (one.aliases if one.required else one.paths)]:
        params["optional"] = optional
    if row.unsupported:
        params["unsupported"] = list(row.unsupported)
    return params


def _result(row: MethodRow) -> JsonObject:
    result: JsonObject = {"fields": list(row.result.members)}
    if row.result.items_type is not None:
        result["items_type"] = row.result.items_type
    return result


def _parts(row: MethodRow, parameter: Parameter, parts: Tagged) -> JsonObject:
    """Return the parts that a method takes, by their type."""
    name = "".join(word.capitalize() for word in row.key.split("_"))
    described: JsonObject = {
        f"{parameter.name.replace('.', '_')}": {
            "items_type": f"{name}Part[]",
            "type_field": "type",
            "accepted_types": list(parts.kinds),
            "part_contracts": {
                tag: _lists(required=["type", *kind.required], optional=list(kind.optional))
                for tag, kind in parts.kinds.items()
            },
        }
    }
    if "subtask" in parts.kinds:
        described["subtask_support"] = {
            "support_level": "passthrough-compatible",
            "invocation_path": f"{parameter.name}[]",
            "part_type": "subtask",
            "subagent_selector_field": f"{parameter.name}[].agent",
            "execution_model": "upstream-provider-private-subagent-runtime",
            "notes": [
                "A subtask's fields are checked here; which agents there are, and what they do, is OpenCode's.",
                "There are no methods to find or to direct subagents; their sessions are their parent's children.",
            ],
        }
    return described


def _lists(**lists: list[str]) -> JsonObject:
    return {name: names for name, names in lists.items() if names}


def _named(rows: Iterable[MethodRow]) -> JsonObject:
    return {row.key: row.name for row in rows}


# --- what the methods of an extension have in common ------------------------------------------------------


def _metadata(rows: list[MethodRow]) -> JsonObject:
    """Return the metadata by which they are directed to a place."""
    names = {path for row in rows for parameter in row.parameters for path in parameter.paths}
    supported = [name for name in PRIVATE_METADATA if f"metadata.{name}" in names]
    return {"supported_metadata": supported, "provider_private_metadata": supported}


def _errors(offer: Offer) -> JsonObject:
    """Render the errors of the methods for one version. The codes are the same on both."""
    kinds = _kinds(offer.all)
    names = list(dict.fromkeys(name for kind in kinds for name in ERROR_DATA_FIELDS[kind]))
    detailed = DIALECTS[offer.version].has_error_details
    errors: JsonObject = {}
    if kinds:
        errors["business_codes"] = {kind.name: kind.row.code for kind in kinds}
        errors["error_data_fields"] = ["reason", *map(camel, names)] if detailed else ["type", *names]
    if detailed:
        errors["error_domain"] = DOMAIN
    else:
        errors["invalid_params_data_fields"] = _wrong_fields(offer.all)
    return errors


def _kinds(rows: list[MethodRow]) -> list[ExtensionErrorKind]:
    found = {kind for row in rows for kind in row.all_errors}
    return [kind for kind in ExtensionErrorKind if kind in found]


def _wrong_fields(rows: list[MethodRow]) -> list[str]:
    fields = ["type", "field", "fields"]
    if any(row.parameters for row in rows):
        fields += ["supported", "min", "max"]
    if any(row.unsupported for row in rows):
        fields += ["unsupported"]
    if any(parameter.name == "request_id" for row in rows for parameter in row.parameters):
        fields += ["request_id"]
    return fields


# --- what each extension has of its own -------------------------------------------------------------------

_EVENTS: JsonObject = {
    "supported_interrupt_events": ["permission.asked", "question.asked"],
    "request_id_field": _REQUEST_ID,
}
_PLACES = {"workspace_id": WORKSPACE, "directory": METADATA_DIRECTORY}


def _flags(rows: list[MethodRow]) -> JsonObject:
    return {
        row.name: {"enabled_by_default": False, "config_key": row.toggle.value}
        for row in rows
        if row.toggle is not None
    }


def _item_fields(type_name: str) -> JsonObject:
    return {name: f"items[].{name}" for name in TYPES[type_name]["properties"]}


def _with_parameter(name: str, rows: list[MethodRow]) -> list[str]:
    return [row.name for row in rows if any(parameter.name == name for parameter in row.parameters)]


def _sessions(offer: Offer) -> JsonObject:
    of = {access: _named(row for row in offer.rows if row.access is access) for access in Access}
    return {
        "read_methods": of[Access.READ],
        "mutation_methods": of[Access.MUTATION],
        "control_methods": of[Access.CONTROL],
        "control_method_flags": _flags(offer.all),
        "pagination": {
            "mode": "limit_and_optional_cursor",
            "default_limit": DEFAULT_LIMIT,
            "max_limit": MAX_LIMIT,
            "behavior": "passthrough",
            "params": ["limit", "before"],
            "cursor_param": "before",
            "result_cursor_field": "next_cursor",
            "applies_to": _with_parameter("limit", offer.rows),
            "cursor_applies_to": _with_parameter("before", offer.rows),
        },
        "context_semantics": {
            "a2a_context_id_field": "contextId",
            "a2a_context_id_prefix": CONTEXT_PREFIX,
            "upstream_session_id_field": "metadata.shared.session.id",
        },
        "ownership": {rule.name.lower(): rule.value for rule in Ownership if rule is not Ownership.NONE},
        "profile": profile_of(offer.deployment),
    }


def _providers(offer: Offer) -> JsonObject:
    return {
        "context_fields": _PLACES,
        "provider_item_fields": _item_fields("ProviderSummary"),
        "model_item_fields": _item_fields("ModelSummary"),
        "profile": profile_of(offer.deployment),
        "notes": [
            "OpenCode's catalogue, which is some megabytes long, is answered as short summaries.",
            "A workspace named in the metadata goes before a directory; without either it is the deployment's own.",
        ],
    }


def _workspaces(offer: Offer) -> JsonObject:
    return {
        "control_method_flags": _flags(offer.all),
        "upstream_stability": {row.name: "experimental" if row.experimental else "stable" for row in offer.all},
        "routing_fields": _PLACES,
        "profile": profile_of(offer.deployment),
        "notes": [
            "Methods that change anything are there only where the operator has switched them on; they need a "
            "capability besides.",
            "OpenCode calls its interfaces for workspaces and worktrees experimental, and may change them.",
        ],
    }


def _recovery(offer: Offer) -> JsonObject:
    return {
        "recovery_scope": {
            "data_source": "local_interrupt_binding_registry",
            "identity_scope": "current_authenticated_caller",
            "empty_result_when_identity_unavailable": True,
        },
        "item_fields": _item_fields("InterruptRequest"),
        "profile": profile_of(offer.deployment),
        "notes": [
            "The lists hold what the caller's own tasks wait for, as the adapter knows it; OpenCode is not asked.",
            "They are for looking. What is listed is answered by the methods of a2a.interrupt.",
        ],
    }


def _answers(offer: Offer) -> JsonObject:
    return {
        **_EVENTS,
        "permission_reply_values": list(REPLIES),
        "question_reply_contract": {
            "answers": "array of arrays of strings: for each question asked, in order, what is chosen or said"
        },
        "context_fields": _PLACES,
        "success_result_fields": list(dict.fromkeys(name for row in offer.rows for name in row.result.members)),
        "errors": {**_errors(offer), "error_types": [kind.name for kind in _kinds(offer.all)]},
        "profile": profile_of(offer.deployment),
    }


_OWN: Mapping[MethodExtension, Callable[[Offer], dict[str, Any]]] = {
    MethodExtension.SESSION_MANAGEMENT: _sessions,
    MethodExtension.PROVIDER_DISCOVERY: _providers,
    MethodExtension.WORKSPACE_CONTROL: _workspaces,
    MethodExtension.INTERRUPT_RECOVERY: _recovery,
    MethodExtension.INTERACTIVE_INTERRUPT: _answers,
}
