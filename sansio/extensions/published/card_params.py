"""Types of the `params` of the compatibility profile and the wire contract, as JSON Schema (2020-12).

Members may come on top; what is required is always there. Knows no deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sansio.a2a.model import JsonObject
from sansio.a2a.versions import VERSIONS
from sansio.extensions.methods.method_rows import Toggle
from sansio.extensions.published.profile import AVAILABILITIES, PROFILE_ID
from sansio.opencode.extension_names import COMPATIBILITY_PROFILE, WIRE_CONTRACT
from sansio.opencode.projections.summaries import FLAG, TEXT, WHOLE, Kind, Members, Plain, Summary, one_of

RETENTIONS: Final = ("required", "stable", "mixed", "deployment-conditional", "experimental-upstream")
"""The promises of stability."""


def _list(of: Kind = TEXT) -> Plain:
    return Plain({"type": "array", "items": of.schema()})


def _by_name(of: Kind) -> Plain:
    return Plain({"type": "object", "additionalProperties": of.schema()})


_VERSION = one_of(*VERSIONS)
_AVAILABILITY = one_of(*AVAILABILITIES)
_TOGGLE = one_of(*(toggle.value for toggle in Toggle))
_ALWAYS = Summary({"enabled": FLAG, "availability": _AVAILABILITY})
_SWITCHED = Summary({"enabled": FLAG, "availability": _AVAILABILITY, "toggle": _TOGGLE})
_ENVIRONMENT = Summary(
    {
        "sandbox": Summary({"mode": TEXT, "filesystem_scope": TEXT}, {"writable_roots": _list()}),
        "network": Summary({"access": TEXT}, {"allowed_domains": _list()}),
        "approval": Summary({"policy": TEXT, "escalation_behavior": TEXT}),
        "write_access": Summary({"scope": TEXT, "outside_workspace": TEXT}),
    }
)
_FEATURES = Summary(
    {
        "directory_binding": Summary({"allow_override": FLAG, "scope": TEXT, "metadata_field": TEXT}),
        "workspace_binding": Summary(
            {"enabled": FLAG, "metadata_field": TEXT, "upstream_query_param": TEXT, "precedence": TEXT}
        ),
        "session_shell": _SWITCHED,
        "workspace_mutations": _SWITCHED,
        "execution_environment": _ENVIRONMENT,
        "service_features": Summary({"streaming": _ALWAYS, "health_endpoint": _ALWAYS}),
    }
)
_PROFILE: Members = {
    "profile_id": Plain({"const": PROFILE_ID}),
    "deployment": Summary(
        {"id": TEXT, "single_tenant": FLAG, "shared_workspace_across_consumers": FLAG, "tenant_isolation": TEXT}
    ),
    "runtime_features": _FEATURES,
}
_CONTEXT: Members = {
    "runtime_context": Summary({}, {"project": TEXT, "workspace_root": TEXT, "agent": TEXT, "variant": TEXT})
}
_OF_VERSION = Summary(
    {
        "enabled": FLAG,
        "default": FLAG,
        "status": one_of("supported", "disabled"),
        "supported_features": _list(),
        "known_gaps": _list(),
    }
)
_DEFAULTS: Members = {"default_protocol_version": _VERSION, "supported_protocol_versions": _list(_VERSION)}
_VERSIONS: Members = {
    "protocol_version": _VERSION,
    **_DEFAULTS,
    "protocol_compatibility": Summary({**_DEFAULTS, "versions": _by_name(_OF_VERSION)}),
}
_CORE = Summary({"jsonrpc_methods": _list(), "http_endpoints": _list()})
_BEHAVIORS = Summary(
    {
        "classification": TEXT,
        "methods": _by_name(
            Summary(
                {"baseline": TEXT, "retention": one_of(*RETENTIONS)},
                {
                    "idempotency": Summary(
                        {
                            "already_canceled": Summary(
                                {"behavior": TEXT, "returns_current_state": TEXT},
                                {"error": Plain({"type": ["integer", "null"]})},
                            )
                        }
                    ),
                    "terminal_state_behavior": Summary(
                        {"behavior": TEXT}, {"delivery": TEXT, "closes_stream": FLAG, "error": TEXT, "code": WHOLE}
                    ),
                    "interrupted_state_behavior": Summary(
                        {
                            "behavior": TEXT,
                            "states": _list(),
                            "closes_stream": FLAG,
                            "goes_on_with": _list(),
                            "stays_open_when_activated": TEXT,
                        }
                    ),
                },
            )
        ),
    }
)
_PROMISE: Members = {"surface": TEXT, "availability": _AVAILABILITY, "retention": one_of(*RETENTIONS)}
_STABILITY: Members = {"upstream_stability": TEXT, "implementation_scope": TEXT, "identity_scope": TEXT}
_EXTENSION_RETENTION = _by_name(Summary(_PROMISE, _STABILITY))
_METHOD_RETENTION = _by_name(Summary(_PROMISE, {**_STABILITY, "extension_uri": TEXT, "toggle": _TOGGLE}))
_CONDITIONAL = _by_name(Summary({"reason": TEXT, "toggle": _TOGGLE}))
_REFUSAL = Summary({"code": WHOLE, "type": TEXT, "data_fields": _list()})

CARD_PARAMS: Mapping[str, Mapping[str, JsonObject]] = {
    COMPATIBILITY_PROFILE: {
        "params": Summary(
            {
                **_PROFILE,
                **_VERSIONS,
                "core": _CORE,
                "extension_retention": _EXTENSION_RETENTION,
                "method_retention": _METHOD_RETENTION,
                "service_behaviors": _BEHAVIORS,
                "consumer_guidance": _list(),
            },
            _CONTEXT,
        ).schema(),
        "extension_retention": _EXTENSION_RETENTION.schema(),
        "method_retention": _METHOD_RETENTION.schema(),
    },
    WIRE_CONTRACT: {
        "params": Summary(
            {
                **_VERSIONS,
                "preferred_transport": TEXT,
                "additional_transports": _list(),
                "core": _CORE,
                "extensions": Summary(
                    {
                        "jsonrpc_methods": _list(),
                        "conditionally_available_methods": _CONDITIONAL,
                        "extension_uris": _list(),
                    }
                ),
                "all_jsonrpc_methods": _list(),
                "service_behaviors": _BEHAVIORS,
                "unsupported_method_error": _REFUSAL,
                "disabled_method_error": _REFUSAL,
                "profile": Summary({**_PROFILE, "protocol_version": _VERSION}, _CONTEXT),
            }
        ).schema(),
        "conditionally_available_methods": _CONDITIONAL.schema(),
        "refusal": _REFUSAL.schema(),
    },
}
"""The schemas of these extensions by their names: of `params`, and of parts of them."""
