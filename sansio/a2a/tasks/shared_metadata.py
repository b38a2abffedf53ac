"""The extensions that any agent can have, and the members of `metadata.shared` that some of them give.

A table alone: it loads nothing of the server.
"""

from __future__ import annotations

from collections.abc import Mapping

SESSION_BINDING = "session-binding"
STREAM_HINTS = "stream-hints"
INTERACTIVE_INTERRUPT = "interactive-interrupt"
STREAM_RESUME = "stream-resume"
RESUME_URI = "urn:opencode-a2a:extension:stream-resume:v1"
"""The URI of the extension by which events have their ids in their metadata, for bindings with no other place."""

PUSH_INTERRUPTS = "push-interrupts"
"""The extension by which a push configuration names interrupts only."""

PUSH_INTERRUPTS_URI = "urn:opencode-a2a:extension:push-interrupts:v1"
"""Its URI, on every agent and version."""

HINTED_MEMBERS = ("stream", "progress", "interrupt", "session", "usage")
"""The members that stream hints give."""

STATED_ONCE: Mapping[str, frozenset[str]] = {"stream": frozenset({"message_id", "part_id", "role"})}
"""The keys that a chunk which continues a text does not repeat, by the member that they stand in."""

SHARED_BY: Mapping[str, frozenset[str]] = {
    SESSION_BINDING: frozenset({"session"}),
    STREAM_HINTS: frozenset({*HINTED_MEMBERS, "interrupts", "resolved_interrupts"}),
    INTERACTIVE_INTERRUPT: frozenset({"interrupt", "interrupts", "resolved_interrupts"}),
    STREAM_RESUME: frozenset({"resume"}),
}
"""The members of `metadata.shared` that an extension gives, by the extension's name."""
