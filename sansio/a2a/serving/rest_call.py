"""The HTTP+JSON binding, as it is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import orjson
from attrs import evolve, frozen

from sansio.a2a.bindings import last_event_id as last_event
from sansio.a2a.bindings import rest, sse
from sansio.a2a.bindings.extension_headers import negotiated
from sansio.a2a.bindings.http_messages import Request, Response, refusal
from sansio.a2a.codecs.registry import Codec, rest_codec, rest_codec_of, rest_codec_of_task
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ProtocolError, frame_error
from sansio.a2a.serving.call import SENDS
from sansio.a2a.serving.served import CallRefusedError, ServedProtocol
from sansio.a2a.serving.sse_call import SseCall, json_response

JSON_BODY = True


@frozen(kw_only=True)
class RestCall(SseCall):
    """A call over HTTP+JSON."""

    is_document: ClassVar[bool] = True

    def read(self) -> Any:
        """Parse the params into the typed request of the operation. Raises `ProtocolError` by field.

        A message records the codec that it came in: later answers about its task use the same.
        """
        request = super().read()
        return evolve(request, codec_name=self.codec.NAME) if self.operation in SENDS else request

    def codec_of(self, kept: str | None) -> Codec:
        """Return the codec that answers about a task. `kept`: the one its message came in."""
        return rest_codec_of_task(self.version, kept)

    def respond(self, result: Sequence[bytes] | None) -> Response:
        """Render a whole answer. `result`: JSON in pieces; None: there is none."""
        if result is None:
            return Response(204, b"", self.headers)
        return json_response(result, self.dialect.media_type, self.headers)

    def refuse(self, error: ProtocolError) -> Response:
        """Render a refusal."""
        return refusal(error, self.version)

    def failure_frame(self, error: ProtocolError) -> bytes:
        """Render an error inside a stream: without an id, as nothing was sent that a reader could miss."""
        return b"data: %b\n\n" % sse.json_data(orjson.dumps(frame_error(error, self.version)))


def takes(_request: Request) -> bool:
    """Return True: what no other binding takes is one of HTTP+JSON."""
    return True


def refuse(error: ProtocolError, request: Request, served: ServedProtocol, challenge: str = "") -> Response:
    """Render the refusal of a request that has not been understood. `challenge`: for a caller who is not known."""
    return refusal(error, served.version_of_refusal(request, rest.hint_of(request.path)), challenge)


def check_target(request: Request, served: ServedProtocol) -> None:
    """Refuse a request by its method, path and version, before its body is read.

    Raises `ProtocolError`: NOT_FOUND, METHOD_NOT_ALLOWED, VERSION_NOT_SUPPORTED.
    """
    served.version_of(request, _route(request).hint)


def understand(request: Request, served: ServedProtocol) -> RestCall:
    """Return the call that a request makes. Raises `CallRefusedError`."""
    version = served.version_of_refusal(request, rest.hint_of(request.path))
    try:
        route = _route(request)
        operation = route.operation
        version = served.version_of(request, route.hint)
        request.outcome.operation = operation.name
        served.check_offered(operation)
        params = rest.params_of(route, version, request.parameters, request.body)
    except ProtocolError as error:
        raise CallRefusedError(refusal(error, version), error) from None
    return RestCall(
        dialect=DIALECTS[version],
        method=operation.name,
        operation=operation,
        params=params,
        codec=rest_codec(version, params) if operation in SENDS else rest_codec_of(operation, version),
        activated=negotiated(request.headers, served.extensions),
        last_event_id=request.headers.get(last_event.HEADER),
        takes_push=served.takes_push,
    )


def _route(request: Request) -> rest.Route:
    return rest.route("GET" if request.method == "HEAD" else request.method, request.path)
