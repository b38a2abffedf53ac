"""The A2A data model, neutral of protocol version: what a task, a message and a stream event are.

Values only. How they look on the wire is for `v0_3` and `v1_0`; nothing here knows a transport or an agent.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import define, evolve, field, frozen

if TYPE_CHECKING:
    from attrs import frozen as value_class

    __all__ = ["value_class"]  # beside what is defined here
else:

    def value_class(cls=None, *, eq=True, kw_only=False):
        """Define a class whose values are made for each token: frozen for a type checker alone.

        To make one that is frozen while the program runs takes two to three times as long.
        """
        return define(cls, eq=eq, unsafe_hash=True if eq else None, kw_only=kw_only)


JsonObject: TypeAlias = dict[str, Any]
"""A decoded JSON object. Treated as immutable once it is part of a model value."""


class Role(Enum):
    """Author of a message."""

    USER = "user"
    AGENT = "agent"


class TaskState(Enum):
    """The life cycle of a task (specification 1.0, section 4.1.3); values are the 0.3 names."""

    SUBMITTED = "submitted"
    WORKING = "working"
    INPUT_REQUIRED = "input-required"
    AUTH_REQUIRED = "auth-required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"

    def __init__(self, name: str) -> None:
        # Attributes: these are asked for with every event, and an enumeration's hash is a call of Python's.
        self.terminal: bool = name in ("completed", "failed", "canceled", "rejected")
        """No event may follow this state."""

        self.interrupted: bool = name in ("input-required", "auth-required")
        """The task waits for its client; a blocking send returns here."""

        self.closing: bool = self.terminal or name == "auth-required"
        """Nothing more is sent unless somebody acts: terminal, or credentials are missing."""

        self.ends_stream: bool = self.terminal or self.interrupted
        """A stream ends here by default: terminal, or the task waits for its user (specification 1.0, 11.7)."""


@value_class(kw_only=True)
class TextPart:
    """Text, to the letter."""

    text: str
    metadata: JsonObject | None = None
    media_type: str | None = None
    filename: str | None = None


@frozen(kw_only=True)
class FilePart:
    """A file: exactly one of `raw` (base64 text, as both versions carry it) and `url` is given."""

    raw: str | None = None
    url: str | None = None
    metadata: JsonObject | None = None
    media_type: str | None = None
    filename: str | None = None


@frozen(kw_only=True)
class DataPart:
    """Structured data: any JSON value (on version 0.3 an object)."""

    data: Any
    metadata: JsonObject | None = None
    media_type: str | None = None
    filename: str | None = None


Part: TypeAlias = TextPart | FilePart | DataPart


@frozen(kw_only=True)
class Message:
    """One unit of communication between client and agent."""

    message_id: str
    role: Role
    parts: tuple[Part, ...]
    context_id: str | None = None
    task_id: str | None = None
    metadata: JsonObject | None = None
    extensions: tuple[str, ...] = ()
    reference_task_ids: tuple[str, ...] = ()


@value_class(kw_only=True)
class Artifact:
    """An output of a task. In an update it holds only the parts of that chunk."""

    artifact_id: str
    parts: tuple[Part, ...]
    name: str | None = None
    description: str | None = None
    metadata: JsonObject | None = None
    extensions: tuple[str, ...] = ()

    @property
    def only_text(self) -> str | None:
        """The text of an artifact that has nothing else beside its name and metadata, as nearly all chunks do."""
        if len(self.parts) != 1 or self.description is not None or self.extensions:
            return None
        part = self.parts[0]
        if type(part) is not TextPart or part.metadata is not None or part.media_type is not None:
            return None
        return part.text if part.filename is None else None


@frozen(kw_only=True)
class TaskStatus:
    """A state, its time (RFC 3339, UTC), and the agent's message about it."""

    state: TaskState
    message: Message | None = None
    timestamp: str | None = None


@frozen(kw_only=True)
class Task:
    """The snapshot of a task: what its events fold to."""

    id: str
    context_id: str
    status: TaskStatus
    artifacts: tuple[Artifact, ...] = ()
    history: tuple[Message, ...] = ()
    metadata: JsonObject | None = None


@value_class(kw_only=True)
class StatusUpdate:
    """The task's status changed. `final`: nothing follows in this stream; only version 0.3 sends it."""

    task_id: str
    context_id: str
    status: TaskStatus
    final: bool = False
    metadata: JsonObject | None = None


@value_class(kw_only=True)
class ArtifactUpdate:
    """A chunk of an artifact: it replaces what was there, or with `append` continues it.

    `joins`: it continues the last text, and its metadata need not repeat what the chunk before it states. No codec
    writes it.
    """

    task_id: str
    context_id: str
    artifact: Artifact
    append: bool = False
    last_chunk: bool = False
    metadata: JsonObject | None = None
    joins: bool = field(default=False, eq=False)


StreamItem: TypeAlias = Task | Message | StatusUpdate | ArtifactUpdate


@frozen(kw_only=True)
class PushAuthentication:
    """Credentials that the agent sends to a push receiver."""

    scheme: str
    credentials: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class PushConfig:
    """Receiver of push notifications about a task.

    `interrupts_only`: it gets nothing but what the task waits for its user with. No codec has it: requests say it by
    an extension.
    """

    url: str
    id: str | None = None
    task_id: str | None = None
    token: str | None = field(default=None, repr=False)
    authentication: PushAuthentication | None = None
    interrupts_only: bool = False


@frozen(kw_only=True)
class SendConfiguration:
    """Options of a send. `history_length` `None`: no limit; 0: no history."""

    accepted_output_modes: tuple[str, ...] = ()
    history_length: int | None = None
    blocking: bool = True
    push: PushConfig | None = None


@frozen(kw_only=True)
class SendRequest:
    """Parameters of sending a message, streamed or not. `codec_name`: the codec they came in, if it matters."""

    message: Message
    configuration: SendConfiguration = SendConfiguration()
    metadata: JsonObject | None = None
    tenant: str | None = None
    codec_name: str | None = None

    @property
    def interrupts_only(self) -> bool:
        """Whether it brings a push configuration that names interrupts only."""
        push = self.configuration.push
        return push is not None and push.interrupts_only

    def limited_to_interrupts(self) -> SendRequest:
        """Return the request whose push configuration, if it brings one, names interrupts only."""
        push = self.configuration.push
        if push is None:
            return self
        limited = evolve(push, interrupts_only=True)
        return evolve(self, configuration=evolve(self.configuration, push=limited))


@frozen(kw_only=True)
class GetTaskRequest:
    """Parameters of reading one task."""

    id: str
    history_length: int | None = None
    tenant: str | None = None


@frozen(kw_only=True)
class ListTasksRequest:
    """Parameters of listing tasks. `changed_after`: epoch milliseconds. `page_token`: from the page before."""

    context_id: str | None = None
    state: TaskState | None = None
    changed_after: int | None = None
    page_size: int = 50
    page_token: str | None = None
    history_length: int | None = None
    include_artifacts: bool = False
    tenant: str | None = None


@frozen(kw_only=True)
class TaskPage:
    """A page of a list, newest first. `next_page_token` is empty on the last; `total` counts all pages."""

    tasks: tuple[Task, ...]
    next_page_token: str
    page_size: int
    total: int


@frozen(kw_only=True)
class TaskIdRequest:
    """Parameters of cancelling a task, or of subscribing to it."""

    id: str
    metadata: JsonObject | None = None
    tenant: str | None = None


@frozen(kw_only=True)
class PushConfigId:
    """Names one push configuration of a task; on version 0.3 a read may leave `id` out.

    `interrupts_only`: one that does not name interrupts only is not there for this reader.
    """

    task_id: str
    id: str | None = None
    tenant: str | None = None
    interrupts_only: bool = False


@frozen(kw_only=True)
class PushConfigPage:
    """Push configurations of a task; `next_page_token` is empty on the last page."""

    configs: tuple[PushConfig, ...]
    next_page_token: str = ""


@frozen(kw_only=True)
class ListPushConfigsRequest:
    """Parameters of listing a task's push configurations; `page_size` None: all.

    `interrupts_only`: list only those that name interrupts only.
    """

    task_id: str
    page_size: int | None = None
    page_token: str | None = None
    tenant: str | None = None
    interrupts_only: bool = False
