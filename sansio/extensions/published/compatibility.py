"""The two extensions about the deployment as a whole: the compatibility profile, and the wire contract of a version.

Every list is made from the tables of operations and methods. Does not know where it is published.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from sansio.a2a.bindings.jsonrpc import method_not_found
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import JsonObject
from sansio.a2a.operations import HttpRoute, Operation, methods_of
from sansio.a2a.versions import VERSIONS
from sansio.extensions.methods.method_errors import disabled
from sansio.extensions.methods.method_rows import Access, MethodExtension, MethodRow, Scope
from sansio.extensions.methods.method_table import METHODS, is_on, methods_on_offer, supported
from sansio.extensions.published.contracts import Offer
from sansio.extensions.published.profile import Deployment, availability, profile_of
from sansio.opencode.deployment import MESSAGE_EXTENSIONS

_LOCAL = {"implementation_scope": Scope.LOCAL.value, "identity_scope": "current_authenticated_caller"}

_VERSION_FEATURES = {
    "0.3": [
        "Every operation of the version over JSON-RPC and HTTP+JSON, the latter with its JSON and with ProtoJSON.",
        "Listing tasks (tasks/list), which the specification of the version does not have.",
        "The shared metadata of the extensions, whether or not they were activated.",
    ],
    "1.0": [
        "Every operation of the version over JSON-RPC and HTTP+JSON.",
        "The shared metadata of those extensions that a request activates by A2A-Extensions.",
        "Errors with their details.",
    ],
}

_GUIDANCE = (
    "Rely on the core methods for a client that is to work with any agent.",
    "All callers of this deployment share one OpenCode and one workspace: nothing isolates them from each other "
    "but that tasks and sessions belong to whoever made them.",
    "A model named in a message holds for that message; without one, OpenCode chooses.",
    "Methods whose name begins with opencode. are this agent's own. They stay as they are within a major version.",
    "Methods whose name begins with a2a.interrupt. are an extension that other agents may share.",
    "Look whether a method that a toggle switches is on offer before you call it; it may need a capability too.",
    "What is called experimental here follows interfaces of OpenCode's that may change.",
    "Lists of pending permissions and questions tell the caller's own, and are no queue of OpenCode's.",
)


@frozen
class ServedVersion:
    """A version of a deployment, and the URIs of the extensions published under its names."""

    version: str
    deployment: Deployment
    uris: Sequence[str]

    def uri_of(self, extension: MethodExtension) -> str:
        """Return the extension's URI on this version."""
        return extension.uris[self.version]

    def name_of(self, operation: Operation) -> str:
        """Return the operation's JSON-RPC method on this version."""
        return operation.row.rpc_names[self.version]


def path_of(route: HttpRoute, version: str) -> str:
    """Return a route's path on a version."""
    return f"{DIALECTS[version].path_prefix}{route.path}" if route.prefixed else route.path


def compatibility_profile(of: ServedVersion) -> JsonObject:
    """Render the compatibility profile: the core, the extensions and the methods, each with its stability."""
    return {
        **profile_of(of.deployment),
        **_versions(of),
        "core": _core(of.version),
        "extension_retention": _extension_retention(of),
        "method_retention": _method_retention(of),
        "service_behaviors": service_behaviors(of),
        "consumer_guidance": list(_GUIDANCE),
    }


def wire_contract(of: ServedVersion) -> JsonObject:
    """Render the wire contract: the methods and paths of a version."""
    switched_on = of.deployment.switched_on
    preferred, *others = of.deployment.bindings
    return {
        **_versions(of),
        "preferred_transport": preferred,
        "additional_transports": ["JSON-RPC" if other == "JSONRPC" else other for other in others],
        "core": _core(of.version),
        "extensions": {
            "jsonrpc_methods": methods_on_offer(of.version, switched_on),
            "conditionally_available_methods": {
                row.name: {"reason": "disabled_by_configuration", "toggle": row.toggle.value}
                for row in METHODS.values()
                if row.toggle is not None and of.version in row.versions and not is_on(row, switched_on)
            },
            "extension_uris": list(of.uris),
        },
        "all_jsonrpc_methods": supported(of.version, switched_on),
        "service_behaviors": service_behaviors(of),
        "unsupported_method_error": _refusal(method_not_found("", of.version), of.version),
        "disabled_method_error": _refusal(disabled("", "", of.version, ()), of.version),
        "profile": {**profile_of(of.deployment), "protocol_version": of.version},
    }


def _versions(of: ServedVersion) -> JsonObject:
    default, versions = of.deployment.default_version, list(of.deployment.versions)
    return {
        "protocol_version": of.version,
        "default_protocol_version": default,
        "supported_protocol_versions": versions,
        "protocol_compatibility": {
            "default_protocol_version": default,
            "supported_protocol_versions": versions,
            "versions": {version: _version(version, of.deployment) for version in VERSIONS},
        },
    }


def _version(version: str, deployment: Deployment) -> JsonObject:
    enabled = version in deployment.versions
    return {
        "enabled": enabled,
        "default": version == deployment.default_version,
        "status": "supported" if enabled else "disabled",
        "supported_features": _VERSION_FEATURES[version] if enabled else [],
        "known_gaps": [],
    }


def _core(version: str) -> JsonObject:
    endpoints = [
        f"{route.method} {path_of(route, version)}"
        for operation in Operation
        for route in operation.row.routes
        if version in route.versions
    ]
    return {"jsonrpc_methods": methods_of(version), "http_endpoints": endpoints}


# --- retention --------------------------------------------------------------------------------------------


def _extension_retention(of: ServedVersion) -> JsonObject:
    kept: JsonObject = {
        pair.uris[of.version]: {
            "surface": pair.surface,
            "availability": "always",
            "retention": pair.retention,
        }
        for pair in MESSAGE_EXTENSIONS
    }
    for extension in MethodExtension:
        rows = Offer(extension, of.version, of.deployment).all
        kept[of.uri_of(extension)] = {
            "surface": "jsonrpc-extension",
            "availability": "always",
            **({"retention": "mixed", "upstream_stability": "mixed"} if _mixed(rows) else {"retention": "stable"}),
            **(_LOCAL if all(_is_local_view(row) for row in rows) else {}),
        }
    return kept


def _mixed(rows: Sequence[MethodRow]) -> bool:
    return len({row.experimental for row in rows}) > 1


def _is_local_view(row: MethodRow) -> bool:
    return row.scope is Scope.LOCAL and row.access is Access.READ


def _method_retention(of: ServedVersion) -> JsonObject:
    kept: JsonObject = {
        name: {"surface": "core", "availability": "always", "retention": "required"}
        for name in methods_of(of.version)
    }
    return kept | {row.name: _retention(row, of) for row in METHODS.values() if of.version in row.versions}


def _retention(row: MethodRow, of: ServedVersion) -> JsonObject:
    described: JsonObject = {
        "surface": "extension",
        "availability": availability(row.toggle, of.deployment),
        "retention": row.retention,
        "extension_uri": of.uri_of(row.extension),
    }
    if row.toggle is not None:
        described["toggle"] = row.toggle.value
    if row.experimental:
        described["upstream_stability"] = "experimental"
    return {**described, **(_LOCAL if _is_local_view(row) else {})}


# --- behaviour --------------------------------------------------------------------------------------------


def service_behaviors(of: ServedVersion) -> JsonObject:
    """Render the behaviours that the protocol leaves open, or on which earlier clients rely."""
    after_the_end: JsonObject = {
        "behavior": "replay_terminal_task_once_then_close",
        "delivery": "single_task_snapshot",
        "closes_stream": True,
    }
    if not DIALECTS[of.version].replays_ended:
        after_the_end = {
            "behavior": "refuse",
            "error": ErrorKind.UNSUPPORTED_OPERATION.name,
            "code": ErrorKind.UNSUPPORTED_OPERATION.row.code,
        }
    return {
        "classification": "service-level-semantic-enhancement",
        "methods": {
            of.name_of(Operation.CANCEL): {
                "baseline": "core",
                "retention": "stable",
                "idempotency": {
                    "already_canceled": _cancelled_again(of.version),
                },
            },
            of.name_of(Operation.SUBSCRIBE): {
                "baseline": "core",
                "retention": "stable",
                "terminal_state_behavior": after_the_end,
                "interrupted_state_behavior": _while_it_waits(of),
            },
            of.name_of(Operation.STREAM): {
                "baseline": "core",
                "retention": "stable",
                "interrupted_state_behavior": _while_it_waits(of),
            },
        },
    }


def _cancelled_again(version: str) -> JsonObject:
    """Describe the answer to a request to cancel a canceled task."""
    if DIALECTS[version].cancels_canceled:
        return {
            "behavior": "return_current_terminal_task",
            "returns_current_state": "TASK_STATE_CANCELED",
            "error": None,
        }
    code = ErrorKind.TASK_NOT_CANCELABLE.row.code
    return {"behavior": "refuse", "returns_current_state": "canceled", "error": code}


def _while_it_waits(of: ServedVersion) -> JsonObject:
    """Describe the behaviour of a stream whose task waits for its user."""
    stays = of.deployment.streams_stay_open
    return {
        "behavior": "status_event_then_stay_open" if stays else "status_event_then_close",
        "states": ["input-required", "auth-required"],
        "closes_stream": not stays,
        "goes_on_with": ["the answer's own stream", "a subscription"],
        "stays_open_when_activated": of.uri_of(MethodExtension.INTERACTIVE_INTERRUPT),
    }


def _refusal(error: ProtocolError, version: str) -> JsonObject:
    """Describe the error of a refused method, taken from an instance."""
    data = error.data_v1 if DIALECTS[version].has_error_details else error.data
    kind = "METHOD_NOT_SUPPORTED" if error.reason == ErrorKind.METHOD_NOT_FOUND.name else error.reason
    return {"code": error.row.code, "type": kind, "data_fields": list(data)}
