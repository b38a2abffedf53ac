"""The protocol as one deployment serves it: versions, extensions, and what it does not offer."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from sansio.a2a.bindings.http_messages import Request, Response
from sansio.a2a.cards.parse import HTTP_JSON, JSONRPC, WEBSOCKET
from sansio.a2a.errors import A2AError, ErrorKind, ProtocolError
from sansio.a2a.operations import Operation
from sansio.a2a.versions import VERSIONS, negotiate, version_of_errors

_WITHHELD: Mapping[Operation, ErrorKind] = {
    Operation.EXTENDED_CARD: ErrorKind.EXTENDED_AGENT_CARD_NOT_CONFIGURED,
    Operation.SET_PUSH_CONFIG: ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED,
    Operation.GET_PUSH_CONFIG: ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED,
    Operation.LIST_PUSH_CONFIGS: ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED,
    Operation.DELETE_PUSH_CONFIG: ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED,
}
"""The error of an operation that is not offered, where it is not UNSUPPORTED_OPERATION (specification 1.0, 3.3.2)."""


class CallRefusedError(A2AError):
    """A request that cannot be understood. `response`: the finished refusal; `error`: its reason."""

    def __init__(self, response: Response, error: ProtocolError) -> None:
        super().__init__(error.message)
        self.response = response
        self.error = error


@frozen(kw_only=True)
class ServedProtocol:
    """The protocol as one deployment serves it.

    `versions`: oldest first. `default_version`: of requests that name none. `extensions`: URIs to names. `withheld`:
    the operations that the agent does not offer; without SET_PUSH_CONFIG, a message may not bring a configuration.
    `bindings`: those that are served, by their names on cards.
    """

    versions: tuple[str, ...] = VERSIONS
    default_version: str = "0.3"
    extensions: Mapping[str, str] = field(factory=dict)
    withheld: frozenset[Operation] = frozenset()
    bindings: frozenset[str] = frozenset({HTTP_JSON, JSONRPC})

    @property
    def takes_push(self) -> bool:
        """Whether a message may bring a push configuration."""
        return Operation.SET_PUSH_CONFIG not in self.withheld

    @property
    def serves_websocket(self) -> bool:
        """Whether the WebSocket binding is served."""
        return WEBSOCKET in self.bindings

    def check_offered(self, operation: Operation | None) -> None:
        """Refuse an operation that is withheld. Raises `ProtocolError`, whose kind names the missing capability."""
        if operation in self.withheld:
            raise ProtocolError(_WITHHELD.get(operation, ErrorKind.UNSUPPORTED_OPERATION))

    def version_of(self, request: Request, hint: str | None) -> str:
        """Return the version of a request. Raises `ProtocolError` (VERSION_NOT_SUPPORTED)."""
        return negotiate(request.a2a_version, hint=hint, supported=self.versions, default=self.default_version)

    def version_of_refusal(self, request: Request, hint: str | None) -> str:
        """Return the version in whose shape a request is refused, even where it names one that is not served."""
        try:
            return self.version_of(request, hint)
        except ProtocolError:
            return version_of_errors(request.a2a_version, hint, self.default_version)
