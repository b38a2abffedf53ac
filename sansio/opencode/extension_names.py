"""The names and URIs of all extensions that are published.

Knows nothing else of them: a client reads a card without the server's tables.
"""

from __future__ import annotations

from collections.abc import Mapping

from sansio.a2a.tasks.shared_metadata import (
    INTERACTIVE_INTERRUPT,
    PUSH_INTERRUPTS,
    SESSION_BINDING,
    SHARED_BY,
    STREAM_HINTS,
    STREAM_RESUME,
)

MODEL_SELECTION = "model-selection"
SESSION_MANAGEMENT = "session-management"
PROVIDER_DISCOVERY = "provider-discovery"
WORKSPACE_CONTROL = "workspace-control"
INTERRUPT_RECOVERY = "interrupt-recovery"
COMPATIBILITY_PROFILE = "compatibility-profile"
WIRE_CONTRACT = "wire-contract"

SPECIFICATIONS = "https://github.com/Intelligent-Internet/opencode-a2a/blob/main/docs/extension-specifications.md"
NAMESPACE = "urn:opencode-a2a:extension"

_ANCHORS: Mapping[str, str | None] = {
    SESSION_BINDING: "shared-session-binding-v1",
    MODEL_SELECTION: "shared-model-selection-v1",
    STREAM_HINTS: "shared-stream-hints-v1",
    STREAM_RESUME: None,
    PUSH_INTERRUPTS: None,
    SESSION_MANAGEMENT: "opencode-session-management-v1",
    PROVIDER_DISCOVERY: "opencode-provider-discovery-v1",
    WORKSPACE_CONTROL: "opencode-workspace-control-v1",
    INTERRUPT_RECOVERY: "opencode-interrupt-recovery-v1",
    INTERACTIVE_INTERRUPT: "shared-interactive-interrupt-v1",
    COMPATIBILITY_PROFILE: "a2a-compatibility-profile-v1",
    WIRE_CONTRACT: "a2a-wire-contract-v1",
}
"""The anchor of an extension's URI in version 0.3; None: its URI is the same in both versions."""


def _uris(name: str, anchor: str | None) -> Mapping[str, str]:
    urn = f"{NAMESPACE}:{name}:v1"
    return {"0.3": urn if anchor is None else f"{SPECIFICATIONS}#{anchor}", "1.0": urn}


EXTENSION_URIS: Mapping[str, Mapping[str, str]] = {name: _uris(name, anchor) for name, anchor in _ANCHORS.items()}
"""The URI of an extension in each version, by its name. The two may be equal."""

EXTENSION_NAMES: Mapping[str, str] = {uri: name for name, uris in EXTENSION_URIS.items() for uri in uris.values()}
"""The name of the extension that a URI of either version stands for."""

SHARED_URIS: tuple[str, ...] = tuple(uri for uri, name in EXTENSION_NAMES.items() if name in SHARED_BY)
"""The URIs of the extensions by which a stream marks text, reasoning, tools and what is asked."""
