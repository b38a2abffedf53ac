"""What a deployment tells of itself on its cards: made here from a few facts, so that cards and code agree.

Says nothing that the code does not do. Knows neither how a card is written nor how its reader proved who they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Protocol

from attrs import evolve, frozen

from sansio.a2a.card import CardSpec, Extension, Skill
from sansio.a2a.model import JsonObject

_SPECIFICATIONS = "https://github.com/Intelligent-Internet/opencode-a2a/blob/main/docs/extension-specifications.md"
_NAMESPACE = "urn:opencode-a2a:extension"
INPUT_MODES = ("text/plain", "application/octet-stream")
OUTPUT_MODES = ("text/plain", "application/json")

SESSION_BINDING = "session-binding"
MODEL_SELECTION = "model-selection"
STREAM_HINTS = "stream-hints"
STREAM_RESUME = "stream-resume"


@frozen(kw_only=True)
class ExtensionPair:
    """An extension under the names it has on either line, and what each card says of it.

    ``name`` is the code's own; the URIs may be equal. ``extended_params`` are all there are, not an addition.
    """

    name: str
    uri_0_3: str
    uri_1_0: str
    description: str
    public_params: JsonObject
    extended_params: JsonObject

    def uris(self, lines: Sequence[str]) -> tuple[str, ...]:
        """The URIs under which clients of these lines look for it."""
        of_line = (("0.3", self.uri_0_3), ("1.0", self.uri_1_0))
        return tuple(dict.fromkeys(uri for line, uri in of_line if line in lines))


_BINDING_PARAMS: JsonObject = {
    "metadata_field": "metadata.shared.session.id",
    "behavior": "prefer_metadata_binding_else_create_session",
    "supported_metadata": ["shared.session.id"],
    "provider_private_metadata": [],
}

_MODEL_PARAMS: JsonObject = {
    "metadata_field": "metadata.shared.model",
    "behavior": "prefer_metadata_model_else_upstream_default",
    "applies_to_methods": ["message/send", "message/stream", "SendMessage", "SendStreamingMessage"],
    "supported_metadata": ["shared.model.providerID", "shared.model.modelID"],
    "provider_private_metadata": [],
    "fields": {
        "providerID": "metadata.shared.model.providerID",
        "modelID": "metadata.shared.model.modelID",
    },
}

_RESUME_PARAMS: JsonObject = {
    "header": "Last-Event-ID",
    "request_metadata_field": "metadata.shared.resume.last_event_id",
    "event_cursor_field": "metadata.shared.resume.event_id",
    "behavior": "task_as_of_cursor_then_each_later_event_once",
}


def _fields(prefix: str, *names: str) -> JsonObject:
    return {name: f"{prefix}.{name}" for name in names}


def _hints(**fields: JsonObject) -> JsonObject:
    places = ("stream", "progress", "interrupt", "session", "usage")
    return {
        "artifact_metadata_field": "metadata.shared.stream",
        **{f"{name}_metadata_field": f"metadata.shared.{name}" for name in places[1:]},
        "block_types": ["text", "reasoning", "tool_call"],
        **{f"{name}_fields": fields[name] for name in places},
    }


_HINTS_PARAMS = _hints(
    stream=_fields("metadata.shared.stream", "block_type", "message_id", "sequence"),
    progress=_fields("metadata.shared.progress", "type", "status"),
    interrupt=_fields("metadata.shared.interrupt", "request_id", "type", "phase"),
    session=_fields("metadata.shared.session", "id"),
    usage=_fields("metadata.shared.usage", "input_tokens", "output_tokens", "total_tokens"),
)

_ALL_HINTS_PARAMS = _hints(
    stream=_fields(
        "metadata.shared.stream",
        *("block_type", "source", "message_id", "part_id", "event_id", "sequence", "role"),
    ),
    progress=_fields("metadata.shared.progress", "type", "part_id", "reason", "status", "attempt", "message", "next"),
    interrupt=_fields("metadata.shared.interrupt", "request_id", "type", "phase", "details", "resolution"),
    session=_fields("metadata.shared.session", "id"),
    usage={
        **_fields(
            "metadata.shared.usage", "input_tokens", "output_tokens", "total_tokens", "reasoning_tokens", "cost"
        ),
        "cache_tokens": _fields("metadata.shared.usage.cache_tokens", "read_tokens", "write_tokens"),
    },
) | {
    "status_metadata_field": "metadata.shared.stream",
    "block_contracts": {
        "text": {"part_kind": "text", "payload_field": "artifact.parts[].text"},
        "reasoning": {"part_kind": "text", "payload_field": "artifact.parts[].text"},
        "tool_call": {
            "part_kind": "data",
            "payload_field": "artifact.parts[].data",
            "payload_fields": _fields(
                "artifact.parts[].data",
                *("call_id", "tool", "status", "title", "subtitle", "input", "output", "error"),
            ),
        },
    },
}

EXTENSIONS = (
    ExtensionPair(
        name=SESSION_BINDING,
        uri_0_3=f"{_SPECIFICATIONS}#shared-session-binding-v1",
        uri_1_0=f"{_NAMESPACE}:session-binding:v1",
        description="A message may name the OpenCode session it continues; every task says which one it used.",
        public_params=_BINDING_PARAMS,
        extended_params={
            **_BINDING_PARAMS,
            "notes": [
                "A message that names a session goes to that session, if it is the caller's own or nobody's yet.",
                "One that names none goes to its context's session; a new context gets a new session.",
                "Turns of one session run one after the other, in the order in which their messages came.",
            ],
        },
    ),
    ExtensionPair(
        name=MODEL_SELECTION,
        uri_0_3=f"{_SPECIFICATIONS}#shared-model-selection-v1",
        uri_1_0=f"{_NAMESPACE}:model-selection:v1",
        description="A message may name the model that answers it, by provider and model.",
        public_params=_MODEL_PARAMS,
        extended_params={
            **_MODEL_PARAMS,
            "notes": [
                "The choice holds for that message alone. Metadata of the request goes before that of the message.",
                "Without providerID and modelID, OpenCode chooses. One without the other is refused as invalid.",
            ],
        },
    ),
    ExtensionPair(
        name=STREAM_HINTS,
        uri_0_3=f"{_SPECIFICATIONS}#shared-stream-hints-v1",
        uri_1_0=f"{_NAMESPACE}:stream-hints:v1",
        description="Streams say what each chunk is (text, reasoning, tool call), in which order, and at what cost.",
        public_params=_HINTS_PARAMS,
        extended_params=_ALL_HINTS_PARAMS,
    ),
    ExtensionPair(
        name=STREAM_RESUME,
        uri_0_3=f"{_NAMESPACE}:stream-resume:v1",
        uri_1_0=f"{_NAMESPACE}:stream-resume:v1",
        description="A subscription may begin after an event already seen, so that nothing is missed or told twice.",
        public_params=_RESUME_PARAMS,
        extended_params={
            **_RESUME_PARAMS,
            "notes": [
                "Every event of a stream has an id. A subscription that names one, in the header or, where headers "
                "cannot be set, in the request's metadata, begins with the task as of that event.",
                "Where the log does not reach that event, it begins with the task as it is now, followed by one "
                "update for each artifact, which replaces what the reader has of it.",
                "Once the extension is activated, each event also carries its id in its metadata.",
            ],
        },
    ),
)
"""All extensions there are, a row each."""

EXTENSION_NAMES: Mapping[str, str] = {uri: pair.name for pair in EXTENSIONS for uri in (pair.uri_0_3, pair.uri_1_0)}
"""The name of the extension a URI of either line stands for."""

CHAT = Skill(
    id="opencode.chat",
    name="OpenCode Chat",
    description="Works on a coding task in the deployment's workspace: reads, runs and writes, and answers in text. "
    "Clients should accept text/plain; application/json adds tool calls as data.",
    tags=("assistant", "coding", "opencode", "core-a2a", "portable"),
    input_modes=INPUT_MODES,
    output_modes=OUTPUT_MODES,
)

_CHAT_EXAMPLES = (
    "What does this project do, and where would I start reading?",
    "Find out why the tests of the parser fail, and mend it.",
    "Read the attached patch and tell me what could go wrong with it.",
)


class Caller(Protocol):
    """Who reads the extended card. ``capabilities``: what their credential lets them do beyond chatting."""

    @property
    def principal(self) -> str: ...

    @property
    def credential_id(self) -> str | None: ...

    @property
    def capabilities(self) -> Set[str]: ...


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
    workspace_root: str | None = None


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
        extensions=_published(deployment, {pair.name: pair.public_params for pair in EXTENSIONS}),
        documentation_url=deployment.documentation_url,
        push_notifications=True,
        extended_card=True,
    )


def extended_card_of(deployment: Deployment, caller: Caller) -> CardSpec:
    """The card for one who has proved who they are: the public one with all there is to know of the extensions.

    What a session binds to is its principal, so the caller is told who they are among that extension's params.
    """
    params = {pair.name: pair.extended_params for pair in EXTENSIONS}
    profile = _profile(deployment)
    params[SESSION_BINDING] = {**params[SESSION_BINDING], "profile": profile, "caller": _told_of(caller)}
    params[MODEL_SELECTION] = {**params[MODEL_SELECTION], "profile": profile}
    return evolve(
        card_of(deployment),
        skills=(evolve(CHAT, examples=_CHAT_EXAMPLES),),
        extensions=_published(deployment, params),
    )


def _published(deployment: Deployment, params: Mapping[str, JsonObject]) -> tuple[Extension, ...]:
    """Each extension under every URI that a client of the deployment's lines may look for."""
    return tuple(
        Extension(uri=uri, description=pair.description, params=params[pair.name])
        for pair in EXTENSIONS
        for uri in pair.uris(deployment.lines)
    )


def _profile(deployment: Deployment) -> JsonObject:
    """Whom a deployment is for, and which of its features are on: one OpenCode, one workspace, for all callers."""
    profile: JsonObject = {
        "profile_id": "opencode-a2a-single-tenant-coding-v1",
        "deployment": {
            "id": "single_tenant_shared_workspace",
            "single_tenant": True,
            "shared_workspace_across_consumers": True,
            "tenant_isolation": "none",
        },
        "runtime_features": {
            "directory_binding": {"allow_override": False},
            "workspace_binding": {"enabled": False},
            "session_shell": {"enabled": False, "availability": "disabled"},
            "workspace_mutations": {"enabled": False, "availability": "disabled"},
            "service_features": {
                "streaming": {"enabled": True, "availability": "always"},
                "health_endpoint": {"enabled": True, "availability": "always"},
            },
        },
    }
    if deployment.workspace_root:
        profile["runtime_context"] = {"workspace_root": deployment.workspace_root}
    return profile


def _told_of(caller: Caller) -> JsonObject:
    told: JsonObject = {"principal": caller.principal, "capabilities": sorted(caller.capabilities)}
    if caller.credential_id is not None:
        told["credential_id"] = caller.credential_id
    return told
