"""One HTTP exchange as values: what was asked, what is answered, and the refusals in OpenCode's own shapes.

Must know nothing of ASGI, nor of what the requests mean.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
from attrs import field, frozen

from opencode_a2a.fake_opencode.json_values import JsonObject


def decoded(path: str) -> str:
    """Percent-decode a path as OpenCode does: all of it, or nothing where a piece of it makes no sense."""
    try:
        return path if _LONE_PERCENT.search(path) else unquote(path, errors="strict")
    except UnicodeDecodeError:
        return path


_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")


@frozen(kw_only=True)
class Request:
    """One request as it came in. `target` is the path with its query. Also the values of three headers."""

    method: str
    target: str
    body: bytes = field(repr=False)
    directory: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The first value of each parameter."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def asked_directory(self) -> str | None:
        """The directory that the query or the header names. OpenCode percent-decodes it once more."""
        found = self.query.get("directory") or self.directory
        return decoded(found) if found else None

    @property
    def json(self) -> Any:
        """The body's value; an empty body is an empty object. Raises `RefusalError` as OpenCode does for junk."""
        try:
            return orjson.loads(self.body or b"{}")
        except orjson.JSONDecodeError as error:
            raise RefusalError(broken()) from error


@frozen
class Answer:
    """One answer. `body` None: no content at all."""

    status: int
    body: bytes | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


@frozen
class RefusalError(Exception):
    """Ends the handling of a request with an error answer."""

    answer: Answer


def json_answer(value: object, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(value), ((b"content-type", b"application/json"),))


def bad_request(message: str) -> Answer:
    """The answer to a body that does not fit the schema."""
    return json_answer({"name": "BadRequest", "data": {"message": message, "kind": "Payload"}}, 400)


def no_session(session_id: str) -> Answer:
    return json_answer({"name": "NotFoundError", "data": {"message": f"Session not found: {session_id}"}}, 404)


def no_request(kind: str, request_id: str) -> Answer:
    """An unknown permission or question; these errors are tagged, unlike the older ones."""
    body: JsonObject = {
        "_tag": f"{kind}NotFoundError",
        "requestID": request_id,
        "message": f"{kind} request not found: {request_id}",
    }
    return json_answer(body, 404)


def broken() -> Answer:
    """The answer to a body that is not JSON."""
    return json_answer({"name": "UnknownError", "data": {"message": "Unexpected server error."}}, 500)


UNAUTHORIZED = Answer(401, b"", ((b"www-authenticate", b'Basic realm="Secure Area"'),))
WEB_PAGE = Answer(200, b"<!doctype html><title>OpenCode</title>", ((b"content-type", b"text/html"),))
"""OpenCode's web interface takes every path that the API does not know."""
