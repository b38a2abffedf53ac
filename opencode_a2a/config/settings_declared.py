"""The settings that only tell: what the operator declares of the surroundings OpenCode runs in, for cards and health.

Nothing here is enforced by the adapter, and nothing of it is found out.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from opencode_a2a.config import settings_values as values
from opencode_a2a.config.settings_rows import row

UNKNOWN: Final = "unknown"
_DECLARED: Final = "What is declared of OpenCode's surroundings (published to callers, not enforced)"
_SCOPES: Final = ("workspace_only", "workspace_and_declared_roots", "unrestricted", "custom")


def _one_of(name: str, about: str, *choices: str) -> str:
    """A row that takes one of a few words, unknown among them."""
    words = (UNKNOWN, *choices)
    made: str = row(_DECLARED, name, values.one_of(*words), UNKNOWN, f"{about}: one of {', '.join(words)}")
    return made


@frozen(kw_only=True, init=False, repr=False, eq=False)
class Declared:
    """The rows of what is declared."""

    sandbox_mode: str = _one_of(
        "A2A_SANDBOX_MODE",
        "the kind of sandbox OpenCode runs in",
        *("read-only", "workspace-write", "danger-full-access", "custom"),
    )
    sandbox_filesystem_scope: str = _one_of(
        "A2A_SANDBOX_FILESYSTEM_SCOPE", "how much of the file system that sandbox shows", *_SCOPES
    )
    sandbox_writable_roots: tuple[str, ...] = row(
        _DECLARED,
        "A2A_SANDBOX_WRITABLE_ROOTS",
        values.words,
        (),
        "the directories that can be written to, published to callers as they stand here: a list, comma-separated or "
        "in JSON",
        default_text="none are named",
    )
    network_access: str = _one_of(
        "A2A_NETWORK_ACCESS", "what OpenCode reaches over the network", "disabled", "enabled", "restricted", "custom"
    )
    network_allowed_domains: tuple[str, ...] = row(
        _DECLARED,
        "A2A_NETWORK_ALLOWED_DOMAINS",
        values.words,
        (),
        "the domains it reaches where that is restricted: a list, comma-separated or in JSON",
        default_text="none are named",
    )
    approval_policy: str = _one_of(
        "A2A_APPROVAL_POLICY",
        "when OpenCode asks before it acts",
        *("never", "on-request", "on-failure", "untrusted", "custom"),
    )
    approval_escalation_behavior: str = _one_of(
        "A2A_APPROVAL_ESCALATION_BEHAVIOR",
        "how it gets leave to do more",
        *("manual", "automatic", "unsupported", "custom"),
    )
    write_access_scope: str = _one_of("A2A_WRITE_ACCESS_SCOPE", "where it may write", "none", *_SCOPES)
    write_access_outside_workspace: str = _one_of(
        "A2A_WRITE_ACCESS_OUTSIDE_WORKSPACE",
        "whether it may write outside the workspace",
        *("allowed", "disallowed", "custom"),
    )
