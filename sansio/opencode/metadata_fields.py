"""Fields of metadata that the extensions define: where each stands, its type and bounds, and its meaning.

The reader of messages, the cards and the published schemas are made from these rows. Knows no message and no event.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

from attrs import frozen

from sansio.a2a.bindings import last_event_id
from sansio.a2a.model import JsonObject
from sansio.a2a.tasks.shared_metadata import INTERACTIVE_INTERRUPT, SESSION_BINDING, STREAM_HINTS, STREAM_RESUME
from sansio.opencode.extension_names import MODEL_SELECTION
from sansio.opencode.instances import INSTANCE, LONGEST_NAME
from sansio.opencode.interrupts.tracker import LONGEST_TEXT, MOST_RESOLVED
from sansio.opencode.locations import DIRECTORY, WORKSPACE
from sansio.opencode.projections.summaries import NUMBER, OBJECT, TEXT, WHOLE, Plain, Summary, one_of
from sansio.opencode.turns.blocks import PROGRESS_TYPES, BlockType
from sansio.opencode.upstream.events import REPLIES, RESOLVERS
from sansio.opencode.upstream.identifiers import ID_LIMIT, SESSION, is_identifier

LONGEST_PATH = 4096
"""Characters of the longest directory."""
WITHOUT_NUL = r"^[^\u0000]*$"
"""Regular expression of a string that every store keeps as it is."""


class Kind(Protocol):
    """Type of a field."""

    def schema(self) -> JsonObject:
        """Return the JSON Schema (2020-12) of its values."""


@frozen(kw_only=True)
class Text:
    """A string of one character or more. `longest`: in characters, none of them NUL; `None`: any length.

    `takes`: a noun for it in a refusal.
    """

    takes: str = "a string"
    longest: int | None = None

    def refusal(self, value: Any) -> str | None:
        """Return the rule that a value breaks; `None` for none."""
        if isinstance(value, str) and value and (self.longest is None or self._fits(value, self.longest)):
            return None
        bound = "" if self.longest is None else f" of at most {self.longest} characters"
        return f"must be {self.takes}{bound}"

    def schema(self) -> JsonObject:
        schema: JsonObject = {"type": "string", "minLength": 1}
        if self.longest is not None:
            schema |= {"maxLength": self.longest, "pattern": WITHOUT_NUL}
        return schema

    @staticmethod
    def _fits(value: str, longest: int) -> bool:
        return len(value) <= longest and "\0" not in value


@frozen(kw_only=True)
class Identifier:
    """An id of OpenCode's, which goes into requests to it. `begins`: its beginning."""

    begins: str = ""

    def refusal(self, value: Any) -> str | None:
        """Return the rule that a value breaks; `None` for none."""
        rule = Text(longest=ID_LIMIT).refusal(value)
        if rule is None and not is_identifier(value, self.begins):
            start = f"begin with {self.begins}, and " if self.begins else ""
            rule = f"must {start}hold nothing but letters, digits and any of _ . : -"
        return rule

    def schema(self) -> JsonObject:
        begins = self.begins or "[A-Za-z0-9]"
        return {"type": "string", "maxLength": ID_LIMIT, "pattern": f"^{begins}[A-Za-z0-9_.:-]*$"}


@frozen(kw_only=True)
class TextField:
    """A field of a request's metadata that is a string. `path`: from the object that has the metadata.

    `required`: wherever the object that it stands in is there.
    """

    path: tuple[str, ...]
    kind: Text | Identifier
    about: str
    required: bool = False

    def refusal(self, value: Any) -> str | None:
        """Return the rule that a value breaks, `None` for none. A field that is not there has the value `None`."""
        if value is None:
            return "is required and must be a string" if self.required else None
        return self.kind.refusal(value)


SESSION_ID = TextField(
    path=("metadata", "shared", "session", "id"),
    kind=Identifier(begins=SESSION),
    about="the session to work in; without it, that of the context, or a new one",
)
DIRECTORY_FIELD = TextField(
    path=DIRECTORY,
    kind=Text(takes="a path", longest=LONGEST_PATH),
    about="the directory of a new context, inside the workspace root",
)
WORKSPACE_ID = TextField(
    path=WORKSPACE,
    kind=Identifier(),
    about="the OpenCode workspace of a new context; goes before any directory",
    required=True,
)
INSTANCE_FIELD = TextField(
    path=INSTANCE,
    kind=Text(takes="a name", longest=LONGEST_NAME),
    about="the OpenCode of a new context, where the deployment has several",
)
PROVIDER_ID = TextField(
    path=("metadata", "shared", "model", "providerID"),
    kind=Text(),
    about="the provider, as OpenCode names it",
    required=True,
)
MODEL_ID = TextField(
    path=("metadata", "shared", "model", "modelID"),
    kind=Text(),
    about="the model, as that provider names it",
    required=True,
)


class Carrier(Enum):
    """Objects whose `metadata` has fields of extensions: a name for schemas, and words for documents."""

    REQUEST = ("request", "send requests, their messages")
    RESUMING = ("resumingRequest", "requests for streams")
    ANSWER = ("message", "messages")
    TASK = ("task", "tasks")
    ARTIFACT = ("artifact", "artifacts, also in events")
    STATUS = ("statusUpdate", "status events")
    ARTIFACT_EVENT = ("artifactUpdate", "artifact events")

    @property
    def schema_name(self) -> str:
        """The name of its metadata among the definitions of a schema."""
        return f"{self.value[0]}.metadata"

    @property
    def words(self) -> str:
        """The objects in words."""
        return self.value[1]


@frozen(kw_only=True)
class MetadataField:
    """A field of an extension, in requests or in what is sent. `path`: from the object that has the metadata.

    `always`: the carriers on which it is there wherever the object that it stands in is.
    """

    path: tuple[str, ...]
    kind: Kind
    about: str
    carriers: tuple[Carrier, ...]
    always: tuple[Carrier, ...] = ()

    @property
    def name(self) -> str:
        """The path with dots."""
        return ".".join(self.path)


def _requested(row: TextField) -> MetadataField:
    return MetadataField(
        path=row.path,
        kind=row.kind,
        about=row.about,
        carriers=(Carrier.REQUEST,),
        always=(Carrier.REQUEST,) if row.required else (),
    )


def _shared(path: str, kind: Kind, about: str, *carriers: Carrier, always: tuple[Carrier, ...] = ()) -> MetadataField:
    steps = ("metadata", "shared", *path.split("."))
    return MetadataField(path=steps, kind=kind, about=about, carriers=carriers, always=always)


_STAMP = Plain({"type": "string", "format": "date-time"})
_CUT = Plain({"type": "string", "maxLength": LONGEST_TEXT})
_COUNT = Plain({"type": "integer", "minimum": 0})
_OUTPUT = (Carrier.ARTIFACT, Carrier.STATUS)
_STATUS = (Carrier.STATUS,)
_ENDED = (Carrier.TASK, Carrier.STATUS)

_SESSION_SENT = _shared(
    "session.id", TEXT, "the OpenCode session that is used", *_ENDED, always=(Carrier.TASK, Carrier.STATUS)
)
_RESOLVED: Mapping[str, tuple[Plain, str]] = {
    "resolution": (
        one_of("replied", "rejected"),
        "whether it was answered or rejected; `replied`, without `by`, also where nobody here saw how it ended",
    ),
    "subject": (_CUT, "the tool with its command or patterns, or the questions; the beginning of a long text"),
    "reply": (one_of(*REPLIES), "of a permission: the reply, where it is known"),
    "answer": (_CUT, "the reason of a rejection, or the answers; the beginning of a long text"),
    "by": (
        one_of(*RESOLVERS),
        "who ended it: a client of this server, of the task's own caller; another program or a rule in OpenCode; "
        "nobody in time; the end of the turn. Missing where it is not known",
    ),
    "asked_at": (_STAMP, "the time at which it was asked"),
    "resolved_at": (_STAMP, "the time at which it ended"),
}
"""The published members of a request that has ended, each with its kind and meaning."""
_OF_CALL = "the id of the tool call that waits, as in the data of the call"
_INTERRUPT_SENT = (
    _shared("interrupt.request_id", TEXT, "the id of the permission or question", *_STATUS, always=_STATUS),
    _shared("interrupt.type", one_of("permission", "question"), "the kind of request", *_STATUS, always=_STATUS),
    _shared(
        "interrupt.phase",
        one_of("asked", "resolved"),
        "the request began or stopped to wait",
        *_STATUS,
        always=_STATUS,
    ),
    _shared("interrupt.call_id", TEXT, f"with `asked`: {_OF_CALL}", *_STATUS),
    _shared("interrupt.details", OBJECT, "with `asked`: the request, with its options", *_STATUS),
    *(
        _shared(f"interrupt.{name}", kind, f"with `resolved`: {about}", *_STATUS)
        for name, (kind, about) in _RESOLVED.items()
    ),
)
_PENDING = Summary(
    {"request_id": TEXT, "type": one_of("permission", "question"), "details": OBJECT}, {"call_id": TEXT}
).schema()
_INTERRUPTS_SENT = _shared(
    "interrupts",
    Plain({"type": "array", "items": _PENDING}),
    "the permissions and questions that wait, oldest first, each with `request_id`, `type`, `details` and, where a "
    "tool waits, `call_id`; empty once none waits",
    Carrier.TASK,
)
_RESOLVED_SENT = _shared(
    "resolved_interrupts",
    Plain(
        {
            "type": "array",
            "maxItems": MOST_RESOLVED,
            "items": Summary(
                {
                    "request_id": TEXT,
                    "type": one_of("permission", "question"),
                    "resolution": _RESOLVED["resolution"][0],
                    "resolved_at": _STAMP,
                },
                {name: kind for name, (kind, _) in _RESOLVED.items() if name not in ("resolution", "resolved_at")},
            ).schema(),
        }
    ),
    f"the last {MOST_RESOLVED} permissions and questions that have ended, oldest first, each as in the status event",
    Carrier.TASK,
)
_STREAM_SENT = (
    _shared(
        "stream.block_type",
        one_of(*(block.published for block in BlockType)),
        "the kind of output",
        Carrier.ARTIFACT,
        always=(Carrier.ARTIFACT,),
    ),
    _shared(
        "stream.source",
        one_of("stream", "tool_part_update", "file_part", "progress", "status"),
        "a text, a tool call or a file; a step of progress; the end of the turn",
        *_OUTPUT,
        always=_OUTPUT,
    ),
    _shared("stream.message_id", TEXT, "the message in OpenCode that the output belongs to", *_OUTPUT),
    _shared("stream.part_id", TEXT, "the part in OpenCode that the output belongs to", Carrier.ARTIFACT),
    _shared("stream.event_id", TEXT, "an opaque id, unique within the task", *_OUTPUT, always=_OUTPUT),
    _shared(
        "stream.sequence",
        Plain({"type": "integer", "minimum": 1}),
        "the place in the turn; it grows, and numbers may be left out",
        *_OUTPUT,
        always=(Carrier.ARTIFACT,),
    ),
    _shared("stream.role", one_of("agent"), "the author of the output", Carrier.ARTIFACT),
)
_PROGRESS_SENT = (
    _shared(
        "progress.type",
        one_of(*sorted(PROGRESS_TYPES), "retry", "tool"),
        "a step that began or finished, a retry, or a tool that reports how it gets on",
        *_STATUS,
        always=_STATUS,
    ),
    _shared("progress.part_id", TEXT, "of a step: the part in OpenCode", *_STATUS),
    _shared("progress.reason", TEXT, "of a finished step: why it ended, in OpenCode's word", *_STATUS),
    _shared("progress.status", one_of("retry"), "of a retry", *_STATUS),
    _shared("progress.attempt", WHOLE, "of a retry: its number", *_STATUS),
    _shared("progress.next", WHOLE, "of a retry: its time, in epoch milliseconds", *_STATUS),
    _shared("progress.tool", TEXT, "of a tool: its name", *_STATUS),
    _shared("progress.call_id", TEXT, "of a tool: the id of its call, as in the data of the call", *_STATUS),
    _shared("progress.message", TEXT, "of a retry: its reason; of a tool: its report", *_STATUS),
)
_USAGE_SENT = (
    _shared("usage.input_tokens", _COUNT, "tokens of the input", *_ENDED, always=_ENDED),
    _shared("usage.output_tokens", _COUNT, "tokens of the output", *_ENDED, always=_ENDED),
    _shared("usage.total_tokens", _COUNT, "all tokens", *_ENDED, always=_ENDED),
    _shared("usage.reasoning_tokens", _COUNT, "tokens of the reasoning", *_ENDED, always=_ENDED),
    _shared("usage.cost", NUMBER, "the cost in US dollars, as OpenCode counts it", *_ENDED),
    _shared(
        "usage.cache_tokens.read_tokens", _COUNT, "tokens read from the provider's cache", *_ENDED, always=_ENDED
    ),
    _shared("usage.cache_tokens.write_tokens", _COUNT, "tokens written to that cache", *_ENDED, always=_ENDED),
    _shared(
        "usage.model",
        Plain(Summary({"providerID": TEXT, "modelID": TEXT}).schema()),
        "the model that was used, with its `providerID` and `modelID`",
        *_ENDED,
    ),
)

FIELDS: Mapping[str, tuple[MetadataField, ...]] = {
    SESSION_BINDING: (
        *map(_requested, (SESSION_ID, DIRECTORY_FIELD, WORKSPACE_ID, INSTANCE_FIELD)),
        _SESSION_SENT,
    ),
    MODEL_SELECTION: tuple(map(_requested, (PROVIDER_ID, MODEL_ID))),
    STREAM_HINTS: (
        *_STREAM_SENT,
        *_PROGRESS_SENT,
        *_INTERRUPT_SENT,
        _INTERRUPTS_SENT,
        _RESOLVED_SENT,
        _SESSION_SENT,
        _shared("session.title", TEXT, "the session's title, where a method lists sessions", Carrier.TASK),
        *_USAGE_SENT,
    ),
    STREAM_RESUME: (
        _shared(
            "resume.last_event_id",
            Plain(last_event_id.SCHEMA),
            "the id of the last event that the client has",
            Carrier.RESUMING,
        ),
        _shared(
            "resume.event_id",
            Plain({"type": "string", "pattern": f"^{last_event_id.PATTERN}$"}),
            "the id of the event, once the extension is activated",
            *(Carrier.TASK, Carrier.STATUS, Carrier.ARTIFACT_EVENT),
            always=(Carrier.TASK, Carrier.STATUS, Carrier.ARTIFACT_EVENT),
        ),
    ),
    INTERACTIVE_INTERRUPT: (
        _shared(
            "interrupt.request_id",
            TEXT,
            "the request that a message answers, where a task waits for several",
            Carrier.ANSWER,
        ),
        *_INTERRUPT_SENT,
        _INTERRUPTS_SENT,
        _RESOLVED_SENT,
    ),
}
"""The fields of each extension that has some, by its name."""


def fields_on(extension: str, carrier: Carrier) -> list[MetadataField]:
    """Return the fields that an extension has on a carrier."""
    return [row for row in FIELDS[extension] if carrier in row.carriers]


def metadata_schema(extension: str, carrier: Carrier) -> JsonObject:
    """Return the JSON Schema of the metadata that an extension has on a carrier. Other members may be there too."""
    root: JsonObject = {"type": "object", "properties": {}}
    for row in fields_on(extension, carrier):
        holder = root
        steps = row.path[1:]
        for depth, step in enumerate(steps[:-1]):
            # a member of `shared` or `opencode` may be missing; inside of one, a field may be required
            if depth > 1 and carrier in row.always:
                _require(holder, step)
            holder = holder["properties"].setdefault(step, {"type": "object", "properties": {}})
        holder["properties"][steps[-1]] = {**row.kind.schema(), "description": row.about}
        if len(steps) > 2 and carrier in row.always:
            _require(holder, steps[-1])
    return root


def _require(schema: JsonObject, name: str) -> None:
    required = schema.setdefault("required", [])
    if name not in required:
        required.append(name)
