"""The table of errors: when each is answered, and over which bindings. The published documents are made from it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from sansio.a2a.errors import ErrorKind

BINDINGS = ("JSON-RPC", "HTTP+JSON")
_RPC = BINDINGS[:1]
_HTTP = BINDINGS[1:]  # also of guards, which refuse before it is known whether the request is JSON-RPC at all


@frozen
class ErrorCondition:
    """Condition under which an error is answered, and the bindings that answer with it."""

    when: str
    bindings: tuple[str, ...] = BINDINGS


ERROR_CONDITIONS: Mapping[ErrorKind, ErrorCondition] = {
    ErrorKind.PARSE_ERROR: ErrorCondition("The body is no JSON."),
    ErrorKind.INVALID_REQUEST: ErrorCondition(
        "The body is JSON, but no JSON-RPC request. Batches are no part of A2A, so a list is refused as well.", _RPC
    ),
    ErrorKind.METHOD_NOT_FOUND: ErrorCondition(
        "No operation has this JSON-RPC method name, on either version.", _RPC
    ),
    ErrorKind.INVALID_PARAMS: ErrorCondition(
        "A parameter is missing or wrong. All wrong fields are named at once, each by its path (`loc`: as a list)."
    ),
    ErrorKind.INTERNAL_ERROR: ErrorCondition("The server failed. The server's log says why, the answer does not."),
    ErrorKind.TASK_NOT_FOUND: ErrorCondition(
        "There is no such task, or it is another caller's: the two look the same. A push configuration that is not "
        "there gets this error too."
    ),
    ErrorKind.TASK_NOT_CANCELABLE: ErrorCondition("The task has ended, and not by being cancelled."),
    ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED: ErrorCondition("This deployment sends no push notifications."),
    ErrorKind.UNSUPPORTED_OPERATION: ErrorCondition(
        "Nothing is wrong with the request, but it is not done here: such as following a task that has ended, on "
        "version 1.0."
    ),
    ErrorKind.CONTENT_TYPE_NOT_SUPPORTED: ErrorCondition(
        "A part of the message is of a kind that OpenCode cannot be given."
    ),
    ErrorKind.INVALID_AGENT_RESPONSE: ErrorCondition(
        "What another program answered is not what its protocol promises."
    ),
    ErrorKind.EXTENDED_AGENT_CARD_NOT_CONFIGURED: ErrorCondition("There is no other card than the public one."),
    ErrorKind.EXTENSION_SUPPORT_REQUIRED: ErrorCondition(
        "The client did not ask for an extension that the card requires."
    ),
    ErrorKind.VERSION_NOT_SUPPORTED: ErrorCondition("The `A2A-Version` asked for is none of those on offer."),
    ErrorKind.UNAUTHENTICATED: ErrorCondition(
        "No credentials, or none that are known. The header `WWW-Authenticate` names the schemes.", _HTTP
    ),
    ErrorKind.FORBIDDEN: ErrorCondition(
        "A browser asks for a page of another origin, which `A2A_ALLOWED_ORIGINS` does not allow.", _HTTP
    ),
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: ErrorCondition(
        "The request has a body, and no `Content-Type` that says it is JSON: `application/json`, "
        "`application/a2a+json`, or another that ends in `+json`.",
        _HTTP,
    ),
    ErrorKind.NOT_FOUND: ErrorCondition("No operation has this path.", _HTTP),
    ErrorKind.METHOD_NOT_ALLOWED: ErrorCondition("The path is known; the header `Allow` names its methods.", _HTTP),
    ErrorKind.UPGRADE_REQUIRED: ErrorCondition(
        "A request for the path of the WebSocket binding, where that is served, does not ask for WebSocket. The "
        "headers `Upgrade` and `Sec-WebSocket-Version` say what to ask for.",
        _HTTP,
    ),
    ErrorKind.PAYLOAD_TOO_LARGE: ErrorCondition("The body is larger than is accepted, or holds more JSON values."),
    ErrorKind.REQUEST_TIMEOUT: ErrorCondition("The body stalled, or came more slowly than 4 kB a second.", _HTTP),
    ErrorKind.RATE_LIMITED: ErrorCondition(
        "The credential, or the address of a caller without one, has made more requests than `A2A_RATE_LIMIT_…` "
        "allows. The header `Retry-After` says for how many seconds to wait. The form of JSON-RPC comes over "
        "WebSocket, with that as a service parameter."
    ),
    ErrorKind.STORE_UNAVAILABLE: ErrorCondition(
        "The task store cannot be read or written now: it is full, locked, or gone. The same request may succeed"
        " later: the header `Retry-After` says when. A message that is sent again with the same `messageId` runs "
        "once."
    ),
    ErrorKind.AUTHENTICATION_UNAVAILABLE: ErrorCondition(
        "The keys of the identity provider are not known now, so its tokens can be neither accepted nor refused. The "
        "header `Retry-After` says when to try again.",
        _HTTP,
    ),
    ErrorKind.OVERLOADED: ErrorCondition(
        "The server has as much to do as it takes on, or is being stopped. The header `Retry-After` says when to "
        "try again."
    ),
}
