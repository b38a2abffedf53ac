"""What a deployment tells of itself on the card: made here from a few facts, so that card and code agree."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from sansio.a2a.card import CardSpec, Extension, Skill

_SPECIFICATIONS = "https://github.com/Intelligent-Internet/opencode-a2a/blob/main/docs/extension-specifications.md"
INPUT_MODES = ("text/plain", "application/octet-stream")
OUTPUT_MODES = ("text/plain", "application/json")

SESSION_BINDING = Extension(
    uri=f"{_SPECIFICATIONS}#shared-session-binding-v1",
    description="A message may name the OpenCode session it continues; every task says which one it used.",
    params={
        "metadata_field": "metadata.shared.session.id",
        "behavior": "prefer_metadata_binding_else_create_session",
        "supported_metadata": ["shared.session.id"],
        "provider_private_metadata": [],
    },
)

STREAM_HINTS = Extension(
    uri=f"{_SPECIFICATIONS}#shared-stream-hints-v1",
    description="Streams say what each chunk is (text, reasoning, tool call), in which order, and at what cost.",
    params={
        "artifact_metadata_field": "metadata.shared.stream",
        "progress_metadata_field": "metadata.shared.progress",
        "interrupt_metadata_field": "metadata.shared.interrupt",
        "session_metadata_field": "metadata.shared.session",
        "usage_metadata_field": "metadata.shared.usage",
        "block_types": ["text", "reasoning", "tool_call"],
        "stream_fields": {
            "block_type": "metadata.shared.stream.block_type",
            "message_id": "metadata.shared.stream.message_id",
            "sequence": "metadata.shared.stream.sequence",
        },
        "progress_fields": {
            "type": "metadata.shared.progress.type",
            "status": "metadata.shared.progress.status",
        },
        "interrupt_fields": {
            "request_id": "metadata.shared.interrupt.request_id",
            "type": "metadata.shared.interrupt.type",
            "phase": "metadata.shared.interrupt.phase",
        },
        "session_fields": {"id": "metadata.shared.session.id"},
        "usage_fields": {
            "input_tokens": "metadata.shared.usage.input_tokens",
            "output_tokens": "metadata.shared.usage.output_tokens",
            "total_tokens": "metadata.shared.usage.total_tokens",
        },
    },
)

CHAT = Skill(
    id="opencode.chat",
    name="OpenCode Chat",
    description="Works on a coding task in the deployment's workspace: reads, runs and writes, and answers in text. "
    "Clients should accept text/plain; application/json adds tool calls as data.",
    tags=("assistant", "coding", "opencode", "core-a2a", "portable"),
    input_modes=INPUT_MODES,
    output_modes=OUTPUT_MODES,
)


@frozen(kw_only=True)
class Deployment:
    """The facts a card is made from."""

    title: str
    description: str
    version: str
    url: str
    lines: Sequence[str]
    schemes: Sequence[str]
    project: str | None = None
    documentation_url: str | None = None


def card_of(deployment: Deployment) -> CardSpec:
    """The public card: what any client needs to know, and nothing this deployment does not do."""
    description = deployment.description
    if deployment.project:
        description = f"{description} Project: {deployment.project}."
    return CardSpec(
        name=deployment.title,
        description=description,
        version=deployment.version,
        url=deployment.url,
        lines=deployment.lines,
        schemes=deployment.schemes,
        skills=(CHAT,),
        input_modes=INPUT_MODES,
        output_modes=OUTPUT_MODES,
        extensions=(SESSION_BINDING, STREAM_HINTS),
        documentation_url=deployment.documentation_url,
    )
