"""Extensions of messages, streams and notifications, and the skill: the same on every deployment.

Declares nothing that the code does not do. Knows no method, no single deployment, and no card.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from sansio.a2a.bindings import last_event_id
from sansio.a2a.cards.agent_card import PUSH_INTERRUPTS_EXTENSION, Skill
from sansio.a2a.media_types import JSON, PLAIN_TEXT
from sansio.a2a.model import JsonObject
from sansio.a2a.tasks.shared_metadata import (
    HINTED_MEMBERS,
    PUSH_INTERRUPTS,
    SESSION_BINDING,
    STREAM_HINTS,
    STREAM_RESUME,
)
from sansio.opencode.extension_names import EXTENSION_URIS, MODEL_SELECTION
from sansio.opencode.metadata_fields import FIELDS, SESSION_ID, Carrier, fields_on
from sansio.opencode.turns.blocks import BlockType

INPUT_MODES = (
    PLAIN_TEXT,
    JSON,
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "application/pdf",
)
OUTPUT_MODES = (PLAIN_TEXT, JSON)


@frozen(kw_only=True)
class ExtensionPair:
    """An extension: its names in either version, and its entry in each card.

    `name` is the code's own. `extended_params` are all there are, not an addition. `retention`: the stability that is
    promised to clients. `surface`: where clients meet it.
    """

    name: str
    description: str
    public_params: JsonObject
    extended_params: JsonObject
    retention: str
    surface: str = "core-runtime-metadata"

    @property
    def uris(self) -> Mapping[str, str]:
        """The URI of the extension in each version."""
        return EXTENSION_URIS[self.name]


def _below_metadata(extension: str) -> list[str]:
    """Return the names of the fields that an extension reads of a message, without `metadata`."""
    return [".".join(row.path[1:]) for row in fields_on(extension, Carrier.REQUEST)]


PRIVATE_METADATA = tuple(name for name in _below_metadata(SESSION_BINDING) if not name.startswith("shared."))
"""Metadata that only OpenCode understands: the location for a request, and the instance."""

_BINDING_PARAMS: JsonObject = {
    "metadata_field": ".".join(SESSION_ID.path),
    "behavior": "prefer_metadata_binding_else_create_session",
    "supported_metadata": _below_metadata(SESSION_BINDING),
    "provider_private_metadata": list(PRIVATE_METADATA),
}

_MODEL_PARAMS: JsonObject = {
    "metadata_field": "metadata.shared.model",
    "behavior": "prefer_metadata_model_else_upstream_default",
    "applies_to_methods": ["message/send", "message/stream", "SendMessage", "SendStreamingMessage"],
    "supported_metadata": _below_metadata(MODEL_SELECTION),
    "provider_private_metadata": [],
    "fields": {row.path[-1]: row.name for row in FIELDS[MODEL_SELECTION]},
}

_RESUME_PARAMS: JsonObject = {
    "header": "Last-Event-ID",
    "request_metadata_field": ".".join(last_event_id.METADATA_FIELD),
    "event_cursor_field": "metadata.shared.resume.event_id",
    "behavior": "task_as_of_cursor_then_each_later_event_once",
}


_PUSH_PARAMS: JsonObject = dict(PUSH_INTERRUPTS_EXTENSION.params or {})


def _fields(prefix: str, *names: str) -> JsonObject:
    return {name: f"{prefix}.{name}" for name in names}


def _hints(**fields: JsonObject) -> JsonObject:
    locations = HINTED_MEMBERS
    return {
        "artifact_metadata_field": "metadata.shared.stream",
        **{f"{name}_metadata_field": f"metadata.shared.{name}" for name in locations[1:]},
        "block_types": [block.published for block in BlockType],
        **{f"{name}_fields": fields[name] for name in locations},
    }


_HINTS_PARAMS = _hints(
    stream=_fields("metadata.shared.stream", "block_type", "message_id", "sequence"),
    progress=_fields("metadata.shared.progress", "type", "status"),
    interrupt=_fields("metadata.shared.interrupt", "request_id", "type", "phase"),
    session=_fields("metadata.shared.session", "id", "title"),
    usage=_fields("metadata.shared.usage", "input_tokens", "output_tokens", "total_tokens"),
)


def _all_fields(member: str) -> JsonObject:
    """Return the way to every field of a member of the hints, by its name, nested as the fields are."""
    found: JsonObject = {}
    for row in FIELDS[STREAM_HINTS]:
        if row.path[2] == member:
            holder = found
            for step in row.path[3:-1]:
                holder = holder.setdefault(step, {})
            holder[row.path[-1]] = row.name
    return found


_ALL_HINTS_PARAMS = _hints(**{member: _all_fields(member) for member in HINTED_MEMBERS}) | {
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
        "file": {"part_kind": "file", "payload_field": "artifact.parts[]"},
    },
}

MESSAGE_EXTENSIONS = (
    ExtensionPair(
        name=SESSION_BINDING,
        retention="required",
        description="A message may name the OpenCode session it continues; every task says which one it used.",
        public_params=_BINDING_PARAMS,
        extended_params={
            **_BINDING_PARAMS,
            "notes": [
                "A message that names a session goes to that session, if it is the caller's own or nobody's yet.",
                "One that names none goes to its context's session; a new context gets a new session.",
                "Turns of one session run one after the other, in the order in which their messages came.",
                "A message may name a directory of the workspace, or an OpenCode workspace, which goes before any "
                "directory. A context stays where its session is; a message that wants it elsewhere is refused.",
            ],
        },
    ),
    ExtensionPair(
        name=MODEL_SELECTION,
        retention="stable",
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
        retention="required",
        description="Streams say what each chunk is (text, reasoning, tool call, file), its order, and the cost.",
        public_params=_HINTS_PARAMS,
        extended_params=_ALL_HINTS_PARAMS,
    ),
    ExtensionPair(
        name=STREAM_RESUME,
        retention="stable",
        description="A subscription may begin after an event already seen, so that nothing is missed or repeated.",
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
    ExtensionPair(
        name=PUSH_INTERRUPTS,
        retention="stable",
        surface="push-notifications",
        description=PUSH_INTERRUPTS_EXTENSION.description,
        public_params=_PUSH_PARAMS,
        extended_params={
            **_PUSH_PARAMS,
            "notes": [
                "Activated on the request that brings a push configuration, with a message or by itself, the "
                "extension limits that configuration. To replace it without the extension ends the limit.",
                "Activated on a request that reads configurations, it shows those alone that have the limit.",
            ],
        },
    ),
)
"""The extensions that are no methods, a row each: metadata of messages, tasks and events, and what is notified of."""

CHAT = Skill(
    id="opencode.chat",
    name="OpenCode Chat",
    description="Works on a coding task in the deployment's workspace: reads, runs and writes, and answers in text. "
    "Clients should accept text/plain; application/json adds tool calls as data.",
    tags=("assistant", "coding", "opencode", "core-a2a", "portable"),
    input_modes=INPUT_MODES,
    output_modes=OUTPUT_MODES,
)

CHAT_EXAMPLES = (
    "What does this project do, and where would I start reading?",
    "Find out why the tests of the parser fail, and mend it.",
    "Read the attached patch and tell me what could go wrong with it.",
)
