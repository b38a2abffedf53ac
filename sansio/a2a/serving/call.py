"""A request that was understood: what is asked, and how everything that answers it is written.

What differs between the bindings is a subclass for each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from attrs import evolve, frozen

from sansio.a2a.bindings import last_event_id as last_event
from sansio.a2a.bindings import sse
from sansio.a2a.bindings.extension_headers import NOTHING, Negotiated
from sansio.a2a.bindings.http_messages import Response
from sansio.a2a.bindings.json_output import Steps, encoded_pieces, kept_json
from sansio.a2a.codecs.registry import Codec
from sansio.a2a.dialects import Dialect
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import JsonObject, PushConfig, StreamItem, TaskPage
from sansio.a2a.operations import Operation
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.shared_metadata import PUSH_INTERRUPTS, PUSH_INTERRUPTS_URI
from sansio.a2a.versions import HEADER as VERSION_HEADER

SENDS = (Operation.SEND, Operation.STREAM)
_OF_CONFIGS = frozenset({Operation.SET_PUSH_CONFIG, Operation.GET_PUSH_CONFIG, Operation.LIST_PUSH_CONFIGS})

_PARSERS: Mapping[Operation, Callable[[Codec, object], Any]] = {
    Operation.SEND: lambda codec, params: codec.parse_send(params),
    Operation.STREAM: lambda codec, params: codec.parse_send(params),
    Operation.GET_TASK: lambda codec, params: codec.parse_get_task(params),
    Operation.LIST_TASKS: lambda codec, params: codec.parse_list_tasks(params),
    Operation.CANCEL: lambda codec, params: codec.parse_task_id(params),
    Operation.SUBSCRIBE: lambda codec, params: codec.parse_task_id(params),
    Operation.SET_PUSH_CONFIG: lambda codec, params: codec.parse_push_config_request(params),
    Operation.GET_PUSH_CONFIG: lambda codec, params: codec.parse_push_config_id(params),
    Operation.LIST_PUSH_CONFIGS: lambda codec, params: codec.parse_list_push_configs(params),
    Operation.DELETE_PUSH_CONFIG: lambda codec, params: codec.parse_push_config_id(params, required=True),
}


@frozen(kw_only=True)
class Call(ABC):
    """A request that was understood: what is asked, and how everything that answers it is written.

    `operation` None: `method` names an extension method. `params`: decoded, not parsed. `codec`: reads the
    params and writes the results. `last_event_id`: the header, as it came. `takes_push`: a message may bring a push
    configuration. `timeout`: seconds for which the client waits for the whole answer; None: it does not say.
    """

    dialect: Dialect
    method: str
    operation: Operation | None
    params: object
    codec: Codec
    activated: Negotiated = NOTHING
    last_event_id: str | None = None
    takes_push: bool = True
    timeout: float | None = None

    encoding: ClassVar[str] = "json"
    """Names how `encode` renders an item, for those who keep what it made."""

    keep_alive: ClassVar[bytes]
    """Shows in a stream that it lives."""

    is_document: ClassVar[bool] = False
    """Whether a card is answered as a document of HTTP, with an entity tag."""

    @property
    def version(self) -> str:
        """The protocol version, such as `1.0`."""
        return self.dialect.version

    @property
    def notification(self) -> bool:
        """Whether it has no answer."""
        return False

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of every answer but a refusal: the version, and the extensions that are activated."""
        version = ((VERSION_HEADER, self.version),)
        return version if self.operation is None else (*version, *self.activated.headers)

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream."""
        return self.operation is not None and self.operation.row.streaming and not self.notification

    # --- what is asked ------------------------------------------------------------------------------------

    def read(self) -> Any:
        """Parse the params into the typed request of the operation. Raises `ProtocolError` by field."""
        assert self.operation is not None
        request = _PARSERS[self.operation](self.codec, self.params)
        if self.operation in SENDS and not self.takes_push and request.configuration.push is not None:
            raise ProtocolError(ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED)
        return self._limited(request) if PUSH_INTERRUPTS in self.activated.names else request

    def _limited(self, request: Any) -> Any:
        """Limit the push configurations that a request sets or reads to those that name interrupts only."""
        if self.operation in _OF_CONFIGS:
            return evolve(request, interrupts_only=True)
        return request.limited_to_interrupts() if self.operation in SENDS else request

    def showing(self, configs: Iterable[PushConfig]) -> Self:
        """Return the call whose answer reports the extension by which one of these names interrupts only."""
        if not any(config.interrupts_only for config in configs):
            return self
        return evolve(self, activated=self.activated.joined_by(PUSH_INTERRUPTS, PUSH_INTERRUPTS_URI, self.version))

    def cursor(self, metadata: JsonObject | None) -> int | None:
        """Return the number of the last event that the reader of a stream has. Raises `ProtocolError`."""
        return last_event.cursor_in(self.last_event_id, metadata)

    def codec_of(self, _kept: str | None) -> Codec:
        """Return the codec that answers about a task. `_kept`: the one its message came in over HTTP+JSON."""
        return self.codec

    # --- how it is answered -------------------------------------------------------------------------------

    def result(self, value: JsonObject) -> Steps[list[bytes]]:
        """Encode the result of an operation, in steps and pieces, for `respond`."""
        return encoded_pieces(value)

    def page(self, page: TaskPage, presentation: Presentation, *, artifacts: bool) -> Steps[list[bytes]]:
        """Encode a page of tasks, with or without their artifacts, in steps and pieces, for `respond`."""
        return presentation.page(page, artifacts=artifacts)

    @abstractmethod
    def respond(self, result: Sequence[bytes] | None) -> Response:
        """Render a whole answer. `result`: encoded, in pieces; None: there is none."""

    def respond_card(self, card: bytes) -> Response:
        """Render an answer that is a card, as JSON."""
        return self.respond([card])

    @abstractmethod
    def refuse(self, error: ProtocolError) -> Response:
        """Render a refusal."""

    @property
    @abstractmethod
    def stream_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of a stream."""

    def encode(self, item: StreamItem, number: int, presentation: Presentation) -> bytes:
        """Encode an item of a stream for any number of readers: as one line of JSON. `number`: of its event.

        The bytes may be kept for long, and so are no longer than they look.
        """
        return sse.json_data(kept_json(presentation.item(item, number)))

    @abstractmethod
    def frame(self, number: int, encoded: bytes) -> bytes:
        """Render one event of a stream. `encoded`: a stream item, by `encode`."""

    @abstractmethod
    def frame_in_steps(self, number: int, item: JsonObject) -> Steps[list[bytes]]:
        """Render one event of a stream, which may be large, in steps and pieces, one at least."""

    @abstractmethod
    def failure_frame(self, error: ProtocolError) -> bytes:
        """Render an error inside a stream: without an id, as nothing was sent that a reader could miss."""

    @abstractmethod
    def comment(self, text: str) -> bytes:
        """Render a remark inside a stream for whoever looks at its bytes; empty where the binding has none."""

    def trailers(self, _failure: ProtocolError | None) -> tuple[tuple[str, str], ...] | None:
        """Return the trailers that end a stream; None: the binding has none.

        `_failure`: why it ends before its task does; None: nothing is wrong.
        """
        return None
