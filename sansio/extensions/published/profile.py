"""The facts of a deployment, and the compatibility profile that cards and the health check publish.

Declares nothing that the code does not do. Knows neither who reads it nor how it is served.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from sansio.a2a.cards.agent_card import BINDINGS
from sansio.a2a.cards.security import SecurityScheme
from sansio.a2a.model import JsonObject
from sansio.a2a.versions import VERSIONS
from sansio.extensions.methods.method_rows import Toggle
from sansio.extensions.methods.routing import METADATA_DIRECTORY, WORKSPACE

PROFILE_ID = "opencode-a2a-single-tenant-coding-v1"
AVAILABILITIES = ("always", "enabled", "disabled")
"""The words for whether something is there."""
_UNKNOWN = "unknown"

_FEATURES = {Toggle.SESSION_SHELL: "session_shell", Toggle.WORKSPACE_MUTATIONS: "workspace_mutations"}


@frozen(kw_only=True)
class Environment:
    """The operator's declaration of OpenCode's surroundings. It is neither enforced nor verified here."""

    sandbox_mode: str = _UNKNOWN
    filesystem_scope: str = _UNKNOWN
    writable_roots: Sequence[str] = ()
    network_access: str = _UNKNOWN
    allowed_domains: Sequence[str] = ()
    approval_policy: str = _UNKNOWN
    escalation_behavior: str = _UNKNOWN
    write_scope: str = _UNKNOWN
    write_outside_workspace: str = _UNKNOWN


@frozen(kw_only=True)
class Deployment:
    """The facts that everything published is made from. `workspace_root`: None where callers may not know it.

    `streams_stay_open`: no stream ends where its task asks its user. `bindings`: on offer, the preferred one first.
    """

    title: str
    description: str
    version: str
    url: str
    schemes: Sequence[str | SecurityScheme]
    versions: Sequence[str] = VERSIONS
    bindings: Sequence[str] = BINDINGS
    default_version: str = "0.3"
    project: str | None = None
    documentation_url: str | None = None
    workspace_root: str | None = None
    agent: str | None = None
    variant: str | None = None
    directory_override: bool = True
    streams_stay_open: bool = False
    switched_on: frozenset[Toggle] = frozenset()
    environment: Environment = Environment()


def profile_of(deployment: Deployment) -> JsonObject:
    """Render the profile: which features are on, and that all callers share one OpenCode and one workspace."""
    profile: JsonObject = {
        "profile_id": PROFILE_ID,
        "deployment": {
            "id": "single_tenant_shared_workspace",
            "single_tenant": True,
            "shared_workspace_across_consumers": True,
            "tenant_isolation": "none",
        },
        "runtime_features": _features(deployment),
    }
    context = {
        "project": deployment.project,
        "workspace_root": deployment.workspace_root,
        "agent": deployment.agent,
        "variant": deployment.variant,
    }
    if known := {name: value for name, value in context.items() if value}:
        profile["runtime_context"] = known
    return profile


def _features(deployment: Deployment) -> JsonObject:
    override = deployment.directory_override
    always = {"enabled": True, "availability": "always"}
    return {
        "directory_binding": {
            "allow_override": override,
            "scope": "workspace_root_or_descendant" if override else "workspace_root_only",
            "metadata_field": METADATA_DIRECTORY,
        },
        "workspace_binding": {
            "enabled": True,
            "metadata_field": WORKSPACE,
            "upstream_query_param": "workspace",
            "precedence": "prefer_workspace_else_directory",
        },
        **{name: _switched(toggle, deployment) for toggle, name in _FEATURES.items()},
        "execution_environment": _surroundings(deployment.environment),
        "service_features": {"streaming": always, "health_endpoint": always},
    }


def _switched(toggle: Toggle, deployment: Deployment) -> JsonObject:
    return {
        "enabled": toggle in deployment.switched_on,
        "availability": availability(toggle, deployment),
        "toggle": toggle.value,
    }


def availability(toggle: Toggle | None, deployment: Deployment) -> str:
    """Return the availability of what a toggle switches: `always`, `enabled` or `disabled`."""
    if toggle is None:
        return "always"
    return "enabled" if toggle in deployment.switched_on else "disabled"


def _surroundings(declared: Environment) -> JsonObject:
    sandbox: JsonObject = {"mode": declared.sandbox_mode, "filesystem_scope": declared.filesystem_scope}
    if declared.writable_roots:
        sandbox["writable_roots"] = list(declared.writable_roots)
    network: JsonObject = {"access": declared.network_access}
    if declared.allowed_domains:
        network["allowed_domains"] = list(declared.allowed_domains)
    return {
        "sandbox": sandbox,
        "network": network,
        "approval": {
            "policy": declared.approval_policy,
            "escalation_behavior": declared.escalation_behavior,
        },
        "write_access": {"scope": declared.write_scope, "outside_workspace": declared.write_outside_workspace},
    }
